"""The one interface of all engines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from panoptic_ros.models import ModelConfig
from panoptic_ros.models.model import PanopticModel

PRECISIONS = ("fp32", "fp16", "bf16", "int8")
"""The numbers that a network may run in; ``int8`` is a network that was exported so."""

FLOATS: Mapping[str, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
"""The floating point types among them."""


class EngineError(ValueError):
    """An engine, device or precision that is not to be had here."""


class OutOfMemory(RuntimeError):  # noqa: N818 (named as torch and CUDA name it)
    """The device has too little memory for this batch; a smaller one may fit."""


@dataclass(frozen=True, slots=True)
class Network:
    """What an engine runs.

    Attributes
    ----------
    model:
        The system.  Of an exported network it can `decode` only.
    config:
        What it was built from; has the size of the input.
    exported:
        The file that the network was exported to, or None where `model` is whole.
    """

    model: PanopticModel
    config: ModelConfig
    exported: Path | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input."""
        return self.config.input_height, self.config.input_width


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a network runs.

    Attributes
    ----------
    device:
        Where: ``cpu``, ``cuda:N`` or, for OpenVINO, ``xpu:N``.
    precision:
        One of `PRECISIONS`.
    threads:
        CPU threads; 0 is the engine's own choice.
    """

    device: torch.device
    precision: str
    threads: int = 0


class Engine(Protocol):
    """Runs a system's `forward` for one size of the input.

    Attributes
    ----------
    name:
        The name of what runs.
    device:
        Where it takes its input and leaves its outputs.
    precision:
        What it runs in, one of `PRECISIONS`.
    notes:
        Sentences for people: what was made anew, which fallback was taken.
    """

    device: torch.device
    precision: str

    @property
    def name(self) -> str: ...

    @property
    def notes(self) -> tuple[str, ...]: ...

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) float32 RGB in [0, 1] on `device` to the system's named outputs on `device`.

        The outputs are the engine's memory: they hold until the next call.

        Raises
        ------
        OutOfMemory
            If the device's memory does not suffice.
        """


@dataclass(frozen=True, slots=True)
class EngineKind:
    """One way to run networks.

    Attributes
    ----------
    check:
        Raises `EngineError` where the engine cannot run here with the options, given its name, the options, and the
        exported file or None.
    make:
        The engine for a network that `check` has let pass, given its name, the network and the options.
    suffixes:
        Of the exported files that it runs.
    """

    check: Callable[[str, RunOptions, Path | None], None]
    make: Callable[[str, Network, RunOptions], Engine]
    suffixes: tuple[str, ...] = ()
