"""The exponential moving average of what a training learns."""

from __future__ import annotations

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


class ExponentialAverage(WeightAveraging):
    """Averages weights, and the statistics of batch norms too: those of the last step fit the last weights alone.

    After n steps the decay is at most (1 + n) / (10 + n), so that the random weights of the start are soon forgotten,
    as in TensorFlow's ``ExponentialMovingAverage``.  Whole numbers (counts, class ids) are the last step's.

    Parameters
    ----------
    decay:
        The share of the average that a step keeps, in (0, 1).
    """

    def __init__(self, decay: float) -> None:
        @torch.no_grad()
        def update(averages: list[Tensor], currents: list[Tensor], updates: Tensor | int) -> None:
            kept = min(decay, (1.0 + int(updates)) / (10.0 + int(updates)))
            if averages[0].is_floating_point():
                torch._foreach_lerp_(averages, currents, 1.0 - kept)
            else:
                torch._foreach_copy_(averages, currents)

        super().__init__(use_buffers=True, multi_avg_fn=update)
