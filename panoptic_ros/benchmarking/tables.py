"""The figures of a benchmark as tables in a terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from panoptic_ros.benchmarking.variants import STAGES

Column = Callable[[dict[str, Any]], str]

WIDTH = 120
"""Columns of the terminal that tables take if they must: a file, and a narrow terminal, would have cut names."""

NONE = "–"
"""What stands for a figure that there is not."""


def print_benchmark(figures: dict[str, Any], console: Console) -> None:
    """Print what `run_benchmark` has measured."""
    frames, around, variants = figures["frames"], figures["environment"], figures["variants"]
    models = dict.fromkeys((one["model"], one["weights"] or "its own or random weights") for one in variants)
    console.print(
        f"{'; '.join(', '.join(model) for model in models)}: {frames['count']} frames of "
        f"{frames['width']}x{frames['height']}, {figures['rounds']} rounds; {around['cpu']}, "
        f"{around['usable_cores']} of {around['cores']} cores, {around['torch_threads']} threads of torch, "
        f"load {around['load']} before and {around['load_after']} after; device {figures['device']}",
        markup=False,
        soft_wrap=True,
    )
    wide = Console(file=console.file, width=max(console.width, WIDTH))
    for title, columns in (
        ("ms a batch, medians: stages", {stage: _stage(stage) for stage in STAGES}),
        ("ms a batch: frame to result (prepare, network and fuse)", _RESULT),
        ("the network, the most memory, and what was found", _NETWORK),
    ):
        wide.print(_table(title, variants, columns))
    for one in variants:
        if one["ran_on"] != one["engine"]:
            console.print(f"{one['name']}: ran on {one['ran_on']}", markup=False, soft_wrap=True)
    for precision, peak in figures["peak"].items():
        console.print(
            f"peak in {precision}, a product of large matrices: {peak['gflops']:.0f} GFLOP/s, "
            f"{peak['cpu_gflops']:.0f} a second of the processor",
            markup=False,
            soft_wrap=True,
        )


def _table(title: str, variants: list[dict[str, Any]], columns: dict[str, Column]) -> Table:
    table = Table(title=title)
    table.add_column("variant", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for one in variants:
        table.add_row(one["name"], *(column(one) for column in columns.values()))
    return table


def _stage(stage: str) -> Column:
    return lambda one: _number(one["stages"][stage]["median_ms"] if stage in one["stages"] else None, 2)


def _number(value: float | None, decimals: int) -> str:
    return NONE if value is None else f"{value:.{decimals}f}"


def _share(value: float | None) -> str:
    return NONE if value is None else f"{value:.1%}"


_RESULT: dict[str, Column] = {
    "median": lambda one: _number(one["frame_to_result"]["median_ms"], 2),
    "p99": lambda one: _number(one["frame_to_result"]["p99_ms"], 2),
    "CPU": lambda one: _number(one["frame_to_result"]["cpu_median_ms"], 2),
    "x first": lambda one: _number(one["result_ratio_to_first"], 3),
    "all stages": lambda one: _number(one["whole"]["median_ms"], 2),
    "frames/s": lambda one: _number(one["frames_per_second"], 1),
}
_NETWORK: dict[str, Column] = {
    "GFLOP": lambda one: _number(one["gflop_per_frame"], 1),
    "GFLOP/s": lambda one: _number(one["gflops"], 1),
    "of peak": lambda one: _share(one["share_of_peak"]),
    "in CPU": lambda one: _share(one["cpu_share_of_peak"]),
    "MB": lambda one: _number(one["memory_mb"], 0),
    "found": lambda one: f"{one['segments']:.0f}, {one['things']:.0f} things",
}
