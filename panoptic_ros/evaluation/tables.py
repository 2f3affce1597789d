"""An evaluation as tables in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from panoptic_ros.evaluation.document import EvaluationDocument

NONE = "–"
"""What stands for a figure that there is not: no class of the kind occurs, or it was not measured."""

GROUPS = ("all", "things", "stuff")


def percent(value: float | None) -> str:
    """A share in percent with one decimal, as tables and the report show it."""
    return NONE if value is None else f"{100 * value:.1f}"


def print_tables(document: EvaluationDocument, console: Console) -> None:
    """Print what was measured, over all classes and for each, and how long it took.

    Parameters
    ----------
    document:
        The evaluation.
    console:
        Where to print.
    """
    source = document.source
    title = f"{source.path}: {source.name}, {source.images} images, labels {source.labels.name}"
    console.print(title, markup=False, soft_wrap=True)
    if document.metrics.panoptic_quality is not None:
        console.print(_groups_table(document))
    facts = headline(document)
    if facts:
        console.print(", ".join(f"{name} {percent(value)}" for name, value in facts), markup=False, soft_wrap=True)
    console.print(_classes_table(document))
    if document.seconds:
        table = _table("ms per image", "p50", "p99", "mean")
        for stage, one in document.seconds.items():
            table.add_row(stage, *(f"{1e3 * value:.1f}" for value in (one.p50, one.p99, one.mean)))
        console.print(table)
    for remark in document.remarks():
        console.print(f"note: {remark}", markup=False, soft_wrap=True)


def headline(document: EvaluationDocument) -> list[tuple[str, float | None]]:
    """Every measure beside panoptic quality in one figure, a share, with its name."""
    metrics = document.metrics
    facts: list[tuple[str, float | None]] = []
    if (iou := metrics.semantic_iou) is not None:
        facts += [
            ("mIoU", iou.mean_iou),
            ("frequency-weighted IoU", iou.frequency_weighted_iou),
            ("pixel accuracy", iou.pixel_accuracy),
        ]
    if (covering := metrics.parsing_covering) is not None:
        facts.append(("parsing covering", covering.all))
    if (precision := metrics.average_precision) is not None:
        facts += [("mask AP", precision.masks.ap), ("box AP", precision.boxes.ap)]
    if (cityscapes := metrics.cityscapes_average_precision) is not None:
        facts += [("Cityscapes AP", cityscapes.ap), ("Cityscapes AP50", cityscapes.ap50)]
    if (recall := metrics.proposal_recall) is not None:
        facts += [("mean recall", recall.mean_recall), ("average recall", recall.average_recall)]
    if (calibration := metrics.calibration) is not None:
        facts.append(("calibration error", calibration.expected_error))
    if (video := metrics.video) is not None:
        facts += [("STQ", video.tracking.stq), ("VPQ", video.vpq)]
    return facts


def _groups_table(document: EvaluationDocument) -> Table:
    quality = document.metrics.panoptic_quality
    assert quality is not None, "its caller has looked"
    table = _table(f"rule {quality.rule}", "PQ", "SQ", "RQ", "classes")
    for group in GROUPS:
        mean = getattr(quality, group)
        figures = (NONE,) * 4 if mean is None else (*map(percent, (mean.pq, mean.sq, mean.rq)), str(mean.classes))
        table.add_row(group, *figures)
    return table


def _classes_table(document: EvaluationDocument) -> Table:
    quality, iou = document.metrics.panoptic_quality, document.metrics.semantic_iou
    qualities = {} if quality is None else {one.class_id: one for one in quality.per_class}
    ious = {} if iou is None else {one.class_id: one for one in iou.per_class}
    columns = [*(("PQ", "SQ", "RQ", "TP", "FP", "FN") if quality else ()), *(("IoU",) if iou else ())]
    table = _table("class", "", *columns)
    table.columns[1].justify = "left"
    for class_id in sorted(qualities.keys() | ious.keys()):
        of, iou_of = qualities.get(class_id), ious.get(class_id)
        either = of or iou_of
        assert either is not None, "the id is of one of them"
        figures: list[str] = []
        if quality:
            parts = (percent(of.pq), percent(of.sq), percent(of.rq), of.tp, of.fp, of.fn) if of else (NONE,) * 6
            figures += map(str, parts)
        if iou:
            figures.append(percent(iou_of.iou if iou_of else None))
        table.add_row(escape(either.name), "thing" if either.is_thing else "stuff", *figures)
    return table


def _table(*columns: str) -> Table:
    table = Table(*columns, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    return table
