"""How a network runs: engines, found by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from panoptic_ros.engines.engine import PRECISIONS, Engine, EngineError, OutOfMemory
from panoptic_ros.engines.torch_engine import TorchEngine
from panoptic_ros.models.model import PanopticModel

ENGINES: Mapping[str, Callable[[PanopticModel, torch.device, str], Engine]] = {"torch": TorchEngine}

__all__ = ["ENGINES", "PRECISIONS", "Engine", "EngineError", "OutOfMemory", "check_engine", "find_device"]


def find_device(name: str) -> torch.device:
    """The device that a name stands for; ``auto`` is the GPU where there is one.

    Raises
    ------
    EngineError
        If there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise EngineError(f"device {name!r}: expected auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise EngineError(f"device {name!r}: expected auto, cpu, cuda or cuda:N")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise EngineError(f"device {name!r}: this machine has {count} usable CUDA devices")
    return device


def check_engine(engine: str, device: str, precision: str) -> torch.device:
    """The device to run on, if the engine, the device and the precision exist and go together.

    Raises
    ------
    EngineError
        If not; the message says what there is.
    """
    if engine not in ENGINES:
        raise EngineError(f"engine {engine!r}: expected one of {', '.join(sorted(ENGINES))}")
    if precision not in PRECISIONS:
        raise EngineError(f"precision {precision!r}: expected one of {', '.join(PRECISIONS)}")
    found = find_device(device)
    if found.type == "cpu" and precision == "fp16":
        raise EngineError("precision 'fp16' needs a GPU; on the CPU use fp32 or bf16")
    return found
