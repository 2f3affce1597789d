"""What the systems learn by, one module each under the system's file name, and how one is found by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from panoptic_training.losses.yolo_panoptic import YoloPanopticLoss, YoloPanopticLossOptions

LOSSES: Mapping[str, tuple[Callable[[Any, Any], nn.Module], type]] = {
    "yolo_panoptic": (YoloPanopticLoss, YoloPanopticLossOptions),
}
"""Each system's loss, made of a model and options, and the dataclass of its options.

A loss takes images (B, 3, H, W) float32 RGB in [0, 1] and their `Targets`, runs the model itself and returns scalars by
name: its terms, unweighted, and ``loss``, their weighted sum.  Its ``evaluate`` returns beside them what the model's
own forward gives, from the same run of the model.
"""
