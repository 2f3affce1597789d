"""The network in PyTorch itself: runs everywhere that torch does."""

from __future__ import annotations

import torch
from torch import Tensor

from panoptic_ros.engines.engine import PRECISIONS, OutOfMemory
from panoptic_ros.models.model import PanopticModel


class TorchEngine:
    """Eager PyTorch, channels last.

    Parameters
    ----------
    model:
        The system; it is moved to the device.
    device, precision:
        Where and in which type it runs, as `check_engine` accepts them.
    """

    name = "torch"

    def __init__(self, model: PanopticModel, device: torch.device, precision: str) -> None:
        self.device = device
        self._dtype = PRECISIONS[precision]
        self._model = model.to(device=device, dtype=self._dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """See `Engine`."""
        try:
            outputs: dict[str, Tensor] = self._model(images.to(dtype=self._dtype, memory_format=torch.channels_last))
        except torch.cuda.OutOfMemoryError as error:
            raise OutOfMemory(f"{self.device} has too little memory for {tuple(images.shape)}: {error}") from error
        return outputs
