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
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path

from timing import environment

from panoptic_ros.files import written_whole
from panoptic_ros.resources import FULL_MODEL, SMALL_MODEL

COMMANDS: dict[str, tuple[str, ...]] = {
    "pipeline_small": ("--model", SMALL_MODEL, "--rounds", "30"),
    "pipeline_full": ("--model", FULL_MODEL, "--size", "640x640", "--rounds", "5", "--warmup", "1"),
}
"""What ``panoptic-ros benchmark`` is given."""

BENCHMARKS: dict[str, tuple[object, ...]] = {
    "peers": (640, 3),
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


def run(name: str) -> dict[str, object]:
    """The figures of one benchmark, from a process of its own: one's threads and caches must not be another's."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_command if name in COMMANDS else _main, name).result()


def _main(name: str) -> dict[str, object]:
    figures: dict[str, object] = import_module(name).main(*BENCHMARKS[name])
    return figures


def _command(name: str) -> dict[str, object]:
    from panoptic_ros.commands.main import app  # in the process that is measured alone

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "figures.json"
        app(["benchmark", *COMMANDS[name], "--out", str(out)], standalone_mode=False)
        figures: dict[str, object] = json.loads(out.read_text(encoding="utf-8"))
    return figures


def main(*names: str) -> dict[str, object]:
    known = (*COMMANDS, *BENCHMARKS)
    if unknown := sorted(set(names) - set(known)):
        sys.exit(f"{', '.join(unknown)}: expected some of {', '.join(known)}")
    figures: dict[str, object] = {"environment": environment()}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    for name in names or known:
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
