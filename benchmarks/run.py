"""``make bench``: measure everything that takes less than a few minutes, and keep the figures.

The tables go to the terminal, the figures with what they depend on to ``out/bench/benchmarks.json``, after each
benchmark, so that what was measured is there if the next one is interrupted.  Run it on a machine that has nothing else
to do.  ``python benchmarks/run.py NAME ...`` measures some of them only.  ``soak.py`` takes minutes and is run by
itself.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path

from timing import environment

from panoptic_ros.files import written_whole
from panoptic_ros.resources import DEFAULT_MODEL, FULL_MODEL
from panoptic_ros.workers import wait_passively

BENCHMARKS: dict[str, tuple[str, tuple[object, ...]]] = {
    "engines_small": ("engines", (DEFAULT_MODEL, "640x384", 30)),
    "eager": ("eager", (DEFAULT_MODEL, "640x384", 30)),
    "engines_full": ("engines", (FULL_MODEL, "640x640", 5)),
    "peers": ("peers", (640, 3)),
    "decode": ("decode", ()),
    "drawing": ("drawing", ()),
    "region_align": ("region_align", ()),
    "node_cost": ("node_cost", (4.0,)),
    "panoptic_quality": ("panoptic_quality", ()),
    "evaluation": ("evaluation", (200, 2000)),
    "loader": ("loader", ()),
    "grid": ("grid", ()),
    "grid_accuracy": ("grid_accuracy", ()),
    "grid_fusion": ("grid_fusion", ()),
}
"""Modules here, and what their `main` is given, by name."""

OUT = Path("out/bench/benchmarks.json")


def run(name: str) -> dict[str, object]:
    """The figures of one benchmark, from a process of its own: one's threads and caches must not be another's."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_main, name).result()


def _main(name: str) -> dict[str, object]:
    module, arguments = BENCHMARKS[name]
    figures: dict[str, object] = import_module(module).main(*arguments)
    return figures


def main(*names: str) -> dict[str, object]:
    if unknown := sorted(set(names) - set(BENCHMARKS)):
        sys.exit(f"{', '.join(unknown)}: expected some of {', '.join(BENCHMARKS)}")
    wait_passively()  # as the commands and the nodes have it; the processes inherit it
    figures: dict[str, object] = {"environment": environment()}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    for name in names or BENCHMARKS:
        started, load = time.monotonic(), os.getloadavg()[0]
        print(f"{name} (load {load:.1f})", flush=True)
        results = run(name)
        figures[name] = {"load_before": load, "seconds": time.monotonic() - started, **results}
        with written_whole(OUT) as file:
            file.write_text(json.dumps(figures, indent=2), encoding="utf-8")
    print(f"figures: {OUT}")
    return figures


if __name__ == "__main__":
    main(*sys.argv[1:])
