"""The machine that figures are of: what it is, what else it does, what memory a process has had, and its peak."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import cv2
import numpy as np
import torch

PACKAGES = ("onnxruntime", "onnxruntime-gpu", "openvino", "nncf", "tensorrt", "tensorrt-cu12", "torchvision")
"""What engines are made of, if it is installed."""

PRODUCT_SIDE = {"cpu": 2048, "cuda": 8192}
"""Side of the matrices whose product is a device's peak: large enough that loading them is no part of the time."""

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_CLEAR_PEAK = "5"  # man 5 proc: resets VmHWM


def environment() -> dict[str, object]:
    """What a figure depends on, at this moment."""
    return {
        "machine": platform.platform(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "usable_cores": _usable_cores(),
        "load": load(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
        "opencv": cv2.__version__,
        "opencv_threads": cv2.getNumThreads(),
        "numpy": np.__version__,
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        **{name: version for name in PACKAGES if (version := _version(name))},
    }


def load() -> float | None:
    """Programs that wanted a core in the last minute, this one included; None where the system does not tell."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _usable_cores() -> int | None:
    """Cores that this process may run on, which `taskset` and containers limit."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _cpu_name() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found.group(1) if found else platform.processor()


class PeakMemory:
    """The most memory that was in use at a time between `start` and `stop`, beyond what was there at the start.

    On a GPU that is what torch has allocated on it; what other engines take there is not seen.  On the CPU it is the
    resident memory of this process, which Linux tells.  Memory that was freed before and not given back to the system
    is used again unseen, so that the first of several measurements in a process is the most exact one.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before = 0

    def start(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = torch.cuda.memory_allocated(self._device)
            return
        try:
            _CLEAR.write_text(_CLEAR_PEAK, encoding="ascii")
        except OSError:  # no Linux, or a container that forbids it
            self._before = -1
        else:
            self._before = _status("VmRSS")

    def stop(self) -> int | None:
        """Bytes; None where the system does not tell."""
        if self._device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self._device)) - self._before
        return None if self._before < 0 else max(0, _status("VmHWM") - self._before)


def _status(key: str) -> int:
    """A size in ``/proc/self/status``, in bytes."""
    found = re.search(rf"^{key}:\s+(\d+) kB$", _STATUS.read_text(encoding="ascii"), re.MULTILINE)
    return 1024 * int(found.group(1)) if found else 0


def matrix_product(device: torch.device, precision: str) -> tuple[Callable[[], object], float] | None:
    """A product of two large matrices on a device, whose speed is taken for the device's peak.

    Parameters
    ----------
    precision:
        ``fp32``, ``fp16``, ``bf16`` or ``int8``, summed in int32.  On a GPU fp32 is as exact as torch is set to be,
        which by default is without TF32.

    Returns
    -------
    The call, which ends when the product is there, and its number of floating point or integer operations, an addition
    and a multiplication being two; None where torch has no such product.
    """
    side = PRODUCT_SIDE[device.type]
    generator = torch.Generator().manual_seed(0)
    multiply: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = torch.mm
    if precision == "int8":
        multiply = torch._int_mm
        left, right = (torch.randint(-99, 99, (side, side), generator=generator, dtype=torch.int8) for _ in range(2))
    else:
        kind = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
        left, right = (torch.rand((side, side), generator=generator).to(kind) for _ in range(2))
    left, right = left.to(device), right.to(device)

    def product() -> None:
        multiply(left, right)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    try:
        product()
    except (RuntimeError, NotImplementedError):  # this build of torch has none for these types on this device
        return None
    return product, 2.0 * side**3
