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
    return measure_with_cpu(alternatives, repeats, warmup)[0]


def measure_with_cpu(
    alternatives: Mapping[str, Callable[[], object]], repeats: int = 30, warmup: int = 3
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """See `measure`; with the seconds of CPU time that this thread took: what others do to the machine is left out."""
    for _ in range(warmup):
        for call in alternatives.values():
            call()
    wall: dict[str, list[float]] = {name: [] for name in alternatives}
    cpu: dict[str, list[float]] = {name: [] for name in alternatives}
    for _ in range(repeats):
        for name, call in alternatives.items():
            started, began = time.perf_counter(), time.thread_time()
            call()
            cpu[name].append(time.thread_time() - began)
            wall[name].append(time.perf_counter() - started)
    arrays = [{name: np.array(values) for name, values in seconds.items()} for seconds in (wall, cpu)]
    return arrays[0], arrays[1]


def report(
    title: str, seconds: Mapping[str, np.ndarray], cpu: Mapping[str, np.ndarray] | None = None
) -> dict[str, dict[str, float]]:
    """Print medians, p99, the ratio to the first alternative and medians of CPU time; return them in milliseconds."""
    first = float(np.median(next(iter(seconds.values()))))
    table = Table("", "median ms", "p99 ms", "x the first", *(["median CPU ms"] if cpu else []), title=title)
    figures = {}
    for name, values in seconds.items():
        median, p99 = float(np.median(values)), float(np.quantile(values, 0.99))
        cells = [f"{median * 1e3:.2f}", f"{p99 * 1e3:.2f}", f"{median / first:.2f}"]
        figures[name] = {"median_ms": median * 1e3, "p99_ms": p99 * 1e3, "ratio": median / first}
        if cpu:
            figures[name]["median_cpu_ms"] = float(np.median(cpu[name])) * 1e3
            cells.append(f"{figures[name]['median_cpu_ms']:.2f}")
        table.add_row(name, *cells)
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
