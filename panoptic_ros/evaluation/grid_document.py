"""The evaluation of grids as one JSON file, and as tables in a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from panoptic_ros import __version__
from panoptic_ros.evaluation.document import ModelDescription, environment
from panoptic_ros.evaluation.grid_bag import GridEvaluation, GridScore
from panoptic_ros.evaluation.grid_cells import CellResult, ProbabilityScore
from panoptic_ros.evaluation.grid_objects import ObjectScore
from panoptic_ros.evaluation.tables import NONE, percent
from panoptic_ros.files import written_whole

if TYPE_CHECKING:
    from panoptic_ros.grid.options import GridOptions

DOCUMENT = "grid.json"
FORMAT = 1
"""The number of this form; it rises when a reader of the one before could misunderstand it."""

CELL_ROWS: tuple[tuple[str, Callable[[CellResult], float | None]], ...] = (
    ("coverage", lambda cells: cells.coverage),
    ("  of free cells", lambda cells: cells.free_coverage),
    ("  of occupied cells", lambda cells: cells.occupied_coverage),
    ("IoU occupied", lambda cells: cells.occupied_iou),
    ("IoU free", lambda cells: cells.free_iou),
    ("occupied, called free", lambda cells: cells.false_free),
    ("coverage of classes", lambda cells: cells.class_coverage),
    ("mIoU of classes", lambda cells: cells.mean_iou),
    ("macro accuracy", lambda cells: cells.macro_accuracy),
    ("accuracy", lambda cells: cells.accuracy),
)
"""Shares of the cells' result with their names in the table."""

PROBABILITY_ROWS: tuple[tuple[str, Callable[[CellResult], ProbabilityScore | None]], ...] = (
    ("P(occupied)", lambda cells: cells.occupancy),
    ("P(class)", lambda cells: cells.classes),
    ("P(class), kind right", lambda cells: cells.classes_of_kind),
)

OBJECT_ROWS: tuple[tuple[str, Callable[[ObjectScore], float | None], int], ...] = (
    ("objects: recall (%)", lambda score: None if score.recall is None else 100 * score.recall, 1),
    ("objects: precision (%)", lambda score: None if score.precision is None else 100 * score.precision, 1),
    ("centre (m)", lambda score: score.centre, 2),
    ("length (m)", lambda score: score.length, 2),
    ("width (m)", lambda score: score.width, 2),
    ("height (m)", lambda score: score.height, 2),
    ("heading (°)", lambda score: score.heading, 1),
    ("velocity (m/s)", lambda score: score.velocity, 2),
)


def grid_document(
    evaluation: GridEvaluation,
    bag: Path,
    labels_from: str,
    options: GridOptions,
    confusion: str,
    model: ModelDescription | None = None,
    command: Sequence[str] = (),
) -> dict[str, Any]:
    """Everything that was measured and what it depends on, as plain values.

    Parameters
    ----------
    evaluation:
        What was measured.
    bag:
        Of what.
    labels_from:
        Where the labels are from: ``truth``, ``predictions`` or ``model``.
    options:
        Of the grids.
    confusion:
        The file of the confusion matrix; empty without.
    model:
        What made the labels; None where they were recorded.
    command:
        The arguments.
    """
    return {
        "format": FORMAT,
        "panoptic_ros": __version__,
        "command": list(command),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "environment": environment(model.device if model else "cpu"),
        "bag": str(bag),
        "label_set": evaluation.alignment.labels.name,
        "mapping": evaluation.alignment.name,
        "labels_from": labels_from,
        "confusion": confusion,
        "model": None if model is None else asdict(model),
        "options": asdict(options),
        "truth_resolution": evaluation.resolution,
        "moments": evaluation.moments,
        "without_pose": evaluation.without_pose,
        "notes": list(evaluation.notes()),
        "problems": evaluation.problems,
        "grids": {
            score.name: {
                "inputs": list(score.inputs),
                "results": score.results,
                "unmatched": score.unmatched,
                "dropped": score.dropped,
                **score.quality.to_json(),
            }
            for score in evaluation.scores
        },
    }


def save_grid_document(content: dict[str, Any], path: Path) -> None:
    """Write the document as JSON, whole or not at all.

    Raises
    ------
    OSError
        If the file cannot be written.
    ValueError
        If a figure is not finite.
    """
    lines = [f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in content.items()]
    with written_whole(path) as unfinished:
        unfinished.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def print_grids(evaluation: GridEvaluation, bag: Path, labels_from: str, console: Console) -> None:
    """Print what was measured, a column for each grid, and each class below it."""
    scores = evaluation.scores
    moments = ", ".join(str(score.quality.moments) for score in scores)
    console.print(
        f"{bag}: {moments} moments, labels of {evaluation.alignment.labels.name} from {labels_from}, truth in cells of "
        f"{evaluation.resolution:g} m",
        markup=False,
        soft_wrap=True,
    )
    table = _table("cells (%)", *(score.name for score in scores))
    for name, share in CELL_ROWS:
        table.add_row(name, *(percent(share(score.quality.cells)) for score in scores))
    for name, part in PROBABILITY_ROWS:
        probabilities = [part(score.quality.cells) for score in scores]
        for figure in ("nll", "brier", "ece"):
            table.add_row(f"{name}: {figure.upper()}", *(_probability(one, figure) for one in probabilities))
    for name, error, digits in OBJECT_ROWS:
        values = [error(score.quality.objects.all) for score in scores]
        table.add_row(name, *(NONE if value is None else f"{value:.{digits}f}" for value in values))
    console.print(table)
    console.print(_classes(scores))
    for note in evaluation.notes():
        console.print(f"note: {note}", markup=False, soft_wrap=True)


def _classes(scores: Sequence[GridScore]) -> Table:
    """IoU of the cells of each class, and of its things how many were found of how many."""
    cells = [{one.class_id: one for one in score.quality.cells.per_class} for score in scores]
    objects = [{one.class_id: one for one in score.quality.objects.per_class} for score in scores]
    names = {class_id: one.name for part in cells for class_id, one in part.items()}
    names |= {class_id: found.name for part in objects for class_id, found in part.items()}
    table = _table("class", *(f"{score.name}: {what}" for score in scores for what in ("IoU (%)", "found")))
    for class_id in sorted(names):
        figures: list[str] = []
        for of_cells, of_objects in zip(cells, objects, strict=True):
            cell, thing = of_cells.get(class_id), of_objects.get(class_id)
            figures.append(percent(cell.iou if cell else None))
            figures.append(f"{thing.score.matched}/{thing.score.truths}" if thing else NONE)
        table.add_row(escape(names[class_id]), *figures)
    return table


def _probability(score: ProbabilityScore | None, figure: str) -> str:
    return NONE if score is None else f"{getattr(score, figure):.3f}"


def _table(*columns: str) -> Table:
    table = Table(*(escape(column) for column in columns), box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    return table
