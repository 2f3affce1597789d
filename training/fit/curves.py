"""Learning curves of runs, read from their CSV logs and drawn."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from panoptic_ros.configuration import ConfigurationError
from panoptic_ros.files import written_whole

Curves = Mapping[str, tuple[NDArray[np.int64], NDArray[np.float64]]]
"""Steps and values of each measure that a run has logged."""

COLUMNS = 3
PANEL = 4.2, 3.2
"""Inches of a panel."""


def read_curves(run: Path) -> Curves:
    """What a run has logged, its parts joined: where one has gone on from an earlier step, it replaces what was after.

    Parameters
    ----------
    run:
        The folder of ``panoptic-train fit``.

    Raises
    ------
    ConfigurationError
        If it has logged nothing, or a log is damaged.
    """
    parts = sorted((run / "csv").glob("version_*/metrics.csv"), key=lambda path: int(path.parent.name.split("_")[1]))
    found: dict[str, dict[int, float]] = {}
    for path in parts:
        rows = _rows(path)
        if not rows:
            continue
        first = min(step for step, _ in rows)
        for values in found.values():
            for step in [step for step in values if step >= first]:
                del values[step]
        for step, row in rows:
            for name, value in row.items():
                found.setdefault(name, {})[step] = value
    curves = {
        name: (np.array(sorted(values), dtype=np.int64), np.array([values[step] for step in sorted(values)]))
        for name, values in found.items()
        if values
    }
    if not curves:
        raise ConfigurationError(
            f"{run}: has no learning curves; expected csv/version_0/metrics.csv with a step or more"
        )
    return curves


def _rows(path: Path) -> list[tuple[int, dict[str, float]]]:
    """Steps, and what was logged of each."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                (
                    int(row["step"]),
                    {name: float(value) for name, value in row.items() if value and name not in ("step", "epoch")},
                )
                for row in csv.DictReader(file)
            ]
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{path}: is no log of a training: {error!r}") from error


def common_measures(runs: Sequence[Curves]) -> list[str]:
    """The loss and its terms, then what validation measures, of any of some runs; not the learning rate."""
    names = {name for curves in runs for name in curves if name != "train/learning_rate"}
    return sorted(names, key=lambda name: (not name.startswith("train/"), name))


def draw_curves(runs: Mapping[str, Curves], measures: Sequence[str]) -> Figure:
    """A panel for each measure with a line for each run.

    Raises
    ------
    ConfigurationError
        If no run has logged a measure.
    """
    for measure in measures:
        if not any(measure in curves for curves in runs.values()):
            known = ", ".join(sorted({name for curves in runs.values() for name in curves}))
            raise ConfigurationError(f"no run has logged {measure!r}; there are {known}")
    columns = min(COLUMNS, len(measures))
    rows = math.ceil(len(measures) / columns)
    figure = Figure(figsize=(PANEL[0] * columns, PANEL[1] * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, measure in zip(axes, measures, strict=False):
        for label, curves in runs.items():
            if measure in curves:
                steps, values = curves[measure]
                marker = "o" if len(steps) == 1 else ""
                axis.plot(steps, values, label=label, linewidth=1.2, marker=marker)
        axis.set_title(measure)
        axis.set_xlabel("step")
        axis.grid(alpha=0.4)
    for axis in axes[len(measures) :]:
        axis.set_visible(False)
    if len(runs) > 1:
        handles = {
            label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=min(len(runs), 4))
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    content = BytesIO()
    figure.savefig(content, format="png", dpi=120)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as file:
        file.write_bytes(content.getvalue())
