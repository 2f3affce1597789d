"""The one interface of all engines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

PRECISIONS: Mapping[str, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
"""The floating point types that a network may run in."""


class EngineError(ValueError):
    """An engine, device or precision that is not to be had here."""


class OutOfMemory(RuntimeError):  # noqa: N818 (named as torch and CUDA name it)
    """The device has too little memory for this batch; a smaller one may fit."""


class Engine(Protocol):
    """Runs a system's `forward`.

    Attributes
    ----------
    name:
        The name it is chosen by.
    device:
        Where it takes its input and leaves its outputs.
    """

    name: str
    device: torch.device

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) float32 RGB in [0, 1] on `device` to the system's named outputs on `device`.

        Raises
        ------
        OutOfMemory
            If the device's memory does not suffice.
        """
