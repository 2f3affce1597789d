"""``make bench``: measure everything that takes less than a minute or two, and keep the figures.

The tables go to the terminal, the figures with what they depend on to ``out/bench/benchmarks.json``.  Run it on a
machine that has nothing else to do.  ``soak.py`` takes minutes and is run by itself.
"""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path

from timing import environment

BENCHMARKS: dict[str, tuple[object, ...]] = {
    "decode": (),
    "drawing": (),
    "node_cost": (4.0,),
    "panoptic_quality": (),
    "evaluation": (200, 2000),
    "loader": (),
    "grid": (),
    "grid_accuracy": (),
    "grid_fusion": (),
}
"""Modules here, and what their `main` is given."""

OUT = Path("out/bench/benchmarks.json")


def run(name: str, arguments: tuple[object, ...]) -> dict[str, object]:
    """The figures of one benchmark, from a process of its own: one's threads and caches must not be another's."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_main, name, arguments).result()


def _main(name: str, arguments: tuple[object, ...]) -> dict[str, object]:
    figures: dict[str, object] = import_module(name).main(*arguments)
    return figures


def main() -> dict[str, object]:
    figures: dict[str, object] = {"environment": environment()}
    for name, arguments in BENCHMARKS.items():
        started, load = time.monotonic(), os.getloadavg()[0]
        print(f"{name} (load {load:.1f})", flush=True)
        results = run(name, arguments)
        figures[name] = {"load_before": load, "seconds": time.monotonic() - started, **results}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(figures, indent=2))
    print(f"figures: {OUT}")
    return figures


if __name__ == "__main__":
    main()
