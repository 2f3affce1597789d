"""What the benchmarks here share: the package's own timing in rounds, and a table of what it measured."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from panoptic_ros.benchmarking import Times, environment, measure

__all__ = ["environment", "measure", "report"]


def report(title: str, times: Mapping[str, Times]) -> dict[str, dict[str, float]]:
    """Print medians, p99, the processor's time and the ratio to the first alternative; return them in milliseconds."""
    first = next(iter(times.values()))
    table = Table("", "median ms", "p99 ms", "CPU ms", "x the first", "CPU x", title=title)
    figures = {}
    for name, one in times.items():
        figures[name] = {**one.figures(), "ratio": one.ratio_to(first), "cpu_ratio": one.cpu_ratio_to(first)}
        columns = ("median_ms", "p99_ms", "cpu_median_ms", "ratio", "cpu_ratio")
        table.add_row(name, *(f"{figures[name][column]:.2f}" for column in columns))
    Console().print(table)
    return figures
