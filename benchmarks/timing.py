"""Timing of alternatives against each other, interleaved, so that what slows the machine slows them all."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table


def measure(
    alternatives: Mapping[str, Callable[[], object]], repeats: int = 30, warmup: int = 3
) -> dict[str, np.ndarray]:
    """Seconds of each call, (repeats,) for each alternative, called in turns."""
    for _ in range(warmup):
        for call in alternatives.values():
            call()
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    for _ in range(repeats):
        for name, call in alternatives.items():
            started = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - started)
    return {name: np.array(values) for name, values in seconds.items()}


def report(title: str, seconds: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Print medians, p99 and the ratio to the first alternative; return them in milliseconds."""
    first = float(np.median(next(iter(seconds.values()))))
    table = Table("", "median ms", "p99 ms", "x the first", title=title)
    figures = {}
    for name, values in seconds.items():
        median, p99 = float(np.median(values)), float(np.quantile(values, 0.99))
        table.add_row(name, f"{median * 1e3:.2f}", f"{p99 * 1e3:.2f}", f"{median / first:.2f}")
        figures[name] = {"median_ms": median * 1e3, "p99_ms": p99 * 1e3, "ratio": median / first}
    Console().print(table)
    return figures


def environment() -> dict[str, object]:
    """What a figure depends on."""
    return {
        "machine": platform.platform(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
        "opencv": cv2.__version__,
        "numpy": np.__version__,
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
