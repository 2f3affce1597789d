"""``panoptic-ros compare``: two evaluations side by side, and whether their difference means anything."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from panoptic_ros.commands.terminal import OUT, user_errors
from panoptic_ros.evaluation.compare import (
    MIN_IMAGES,
    RESAMPLES,
    Comparison,
    ComparisonError,
    check_comparable,
)
from panoptic_ros.evaluation.compare import compare as compare_documents
from panoptic_ros.evaluation.document import DocumentError, EvaluationDocument
from panoptic_ros.evaluation.tables import NONE, headline, percent
from panoptic_ros.files import written_whole


def compare(
    a: Annotated[Path, typer.Argument(metavar="A.json", help="What `evaluate` or `evaluate-bag` wrote.")],
    b: Annotated[Path, typer.Argument(metavar="B.json", help="Another, of the same images.")],
    resamples: Annotated[int, typer.Option(min=100, max=1_000_000, help="How often images are drawn.")] = RESAMPLES,
    seed: Annotated[int, typer.Option(min=0, help="Of the drawing.")] = 0,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.999, help="Of the intervals.")] = 0.95,
    out: Annotated[Path | None, typer.Option(metavar="JSON", help="Write the comparison too.")] = None,
) -> None:
    """Compare two evaluations of the same images.

    A difference has an interval, by drawing images anew, and means something where that leaves out 0.
    """
    with user_errors(DocumentError, ComparisonError):
        first, second = EvaluationDocument.load(a), EvaluationDocument.load(b)
        comparison = None
        try:
            check_comparable(first, second)
            if first.qualities is not None and second.qualities is not None:
                comparison = compare_documents(first, second, resamples, seed, confidence)
        except ComparisonError as error:
            raise ComparisonError(f"{a} (A) and {b} (B) cannot be compared: {error}") from error
        _print(first, second, a, b, comparison)
        if out is not None:
            content = {"a": str(a), "b": str(b), "seed": seed}
            content |= dataclasses.asdict(comparison) if comparison is not None else {}
            with written_whole(out) as unfinished:
                unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _print(
    first: EvaluationDocument, second: EvaluationDocument, a: Path, b: Path, comparison: Comparison | None
) -> None:
    for letter, path, document in (("A", a, first), ("B", b, second)):
        model = document.model.name if document.model else document.source.predictions or "recorded predictions"
        OUT.print(f"{letter}: {path}: {model} on {document.source.path}", markup=False, soft_wrap=True)
        for remark in document.remarks():
            OUT.print(f"   note: {remark}", markup=False, soft_wrap=True)
    OUT.print(_class_ious(first, second) if comparison is None else _qualities(comparison))
    OUT.print(_figures(first, second))
    if comparison is None:
        OUT.print("Without panoptic quality there are no counts of single images, and so no intervals.", soft_wrap=True)
        return
    by_chance = round(100 * (1 - comparison.confidence))
    OUT.print(
        f"Intervals: {comparison.resamples} draws of {first.source.images} images, the same for A and B. Of 100 rows "
        f"that are alike some {by_chance} seem to differ by chance. Fewer than {MIN_IMAGES} images are too few to say.",
        markup=False,
        soft_wrap=True,
    )
    if first.source.kind != "dataset":
        OUT.print("Frames of a drive resemble each other, so that these intervals are too narrow.", soft_wrap=True)


def _qualities(comparison: Comparison) -> Table:
    """Panoptic quality, of groups and of classes."""
    table = _table("PQ", "A", "B", "B - A", f"{100 * comparison.confidence:g} % interval", "images", "")
    table.columns[-1].justify = "left"
    for rows in (comparison.groups, comparison.per_class):
        for row in rows:
            interval = NONE if row.low is None or row.high is None else f"{100 * row.low:+.1f} … {100 * row.high:+.1f}"
            figures = (percent(row.a), percent(row.b), _signed(row.a, row.b), interval, str(row.images))
            table.add_row(escape(row.name), *figures, row.verdict)
        table.add_section()
    return table


def _class_ious(first: EvaluationDocument, second: EvaluationDocument) -> Table:
    """The intersection over union of each class, where panoptic quality was not measured."""
    table = _table("IoU", "A", "B", "B - A")
    results = [document.metrics.semantic_iou for document in (first, second)]
    before, after = ({one.name: one.iou for one in result.per_class} if result else {} for result in results)
    for name in dict.fromkeys((*before, *after)):
        one, other = before.get(name), after.get(name)
        table.add_row(escape(name), percent(one), percent(other), _signed(one, other))
    return table


def _figures(first: EvaluationDocument, second: EvaluationDocument) -> Table:
    """What both have beside panoptic quality, and their times."""
    table = _table("", "A", "B", "B - A")
    after = dict(headline(second))
    for name, value in headline(first):
        if name in after:
            table.add_row(name, percent(value), percent(after[name]), _signed(value, after[name]))
    later = second.seconds or {}
    for stage, seconds in (first.seconds or {}).items():
        if stage in later:
            one, other = 1e3 * seconds.p50, 1e3 * later[stage].p50
            table.add_row(f"{stage}, ms (p50)", f"{one:.1f}", f"{other:.1f}", f"{other - one:+.1f}")
    return table


def _signed(before: float | None, after: float | None) -> str:
    return NONE if before is None or after is None else f"{100 * (after - before):+.1f}"


def _table(*columns: str) -> Table:
    table = Table(*columns, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    return table
