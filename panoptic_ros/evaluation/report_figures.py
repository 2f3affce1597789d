"""What a report draws and tabulates beside the classes: confusion, times, and the other metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from panoptic_ros.confusion import ClassConfusion
from panoptic_ros.evaluation.document import StageSeconds
from panoptic_ros.evaluation.metrics import EvaluationResult
from panoptic_ros.evaluation.panoptic_quality import MeanQuality
from panoptic_ros.evaluation.tables import percent
from panoptic_ros.labels import LabelSet

MATRIX_WIDTH = 760
CELL_SIDES = (6, 26)
LETTERS = 11
LARGEST = 12
"""How many confusions are listed."""

SHOWN_SHARE = 0.002
"""The share of a class's pixels from which a cell is drawn; what is less would not be seen."""

NUMBERED_SIDE = 20
NUMBERED_SHARE = 0.01
"""The side of a cell, and the share, from which it has its percentage written in it."""

TIME_WIDTH = 640
STAGE_STYLES = (("second", "#7fb1de"), ("bar", "#2a6fb0"), ("third", "#b9c4ce"))
"""The classes of style of the stages in turn, and their colours for whoever draws without the page's styles."""


def confusion_figure(confusion: ClassConfusion, labels: LabelSet) -> dict[str, Any]:
    """The matrix of those classes that occur, as places and shades of its cells, in SVG's pixels."""
    counts = confusion.probabilities * confusion.pixels[:, None]
    rows = np.flatnonzero(confusion.pixels > 0)
    columns = np.flatnonzero(counts.sum(axis=0) > 0)
    columns = np.concatenate((columns[columns > 0], columns[columns == 0]))  # void last
    row_names = [labels.name_of(class_id) for class_id in confusion.class_ids[rows].tolist()]
    column_names = [labels.name_of(class_id) for class_id in confusion.predicted_ids[columns].tolist()]
    cell = int(np.clip(MATRIX_WIDTH // max(1, len(columns)), *CELL_SIDES))
    letters = min(LETTERS, max(5, cell - 1))
    room = round(0.62 * letters * max(map(len, [*row_names, *column_names]), default=0)) + 12
    cells = []
    for row, index in enumerate(rows):
        for column, predicted in enumerate(columns):
            share = float(confusion.probabilities[index, predicted])
            if share >= SHOWN_SHARE:
                what = f"{row_names[row]} as {column_names[column]}: {percent(share)} %"
                cells.append(
                    {
                        "row": row,
                        "column": column,
                        # The root shows small confusions beside a diagonal near 1.
                        "shade": round(share**0.5, 3),
                        "number": str(round(100 * share)) if cell >= NUMBERED_SIDE and share >= NUMBERED_SHARE else "",
                        "ink": "light" if share > 0.45 else "dark",
                        "title": f"{what} ({round(counts[index, predicted]):,} pixels)",
                    }
                )
    return {
        "rows": row_names,
        "columns": column_names,
        "cell": cell,
        "letters": letters,
        "numbered": cell >= NUMBERED_SIDE,
        "left": room,
        "top": room,
        "width": room + cell * len(columns) + room // 2,
        "height": room + cell * len(rows) + 4,
        "cells": cells,
        "largest": _largest(confusion, labels),
    }


def _largest(confusion: ClassConfusion, labels: LabelSet) -> list[dict[str, Any]]:
    """The pairs of different classes that share the most pixels, void among the predicted."""
    counts = confusion.probabilities * confusion.pixels[:, None]
    counts[confusion.class_ids[:, None] == confusion.predicted_ids] = 0
    order = np.argsort(-counts, axis=None, kind="stable")[:LARGEST]
    total = max(1, int(confusion.pixels.sum()))
    return [
        {
            "true": labels.name_of(int(confusion.class_ids[row])),
            "predicted": labels.name_of(int(confusion.predicted_ids[column])),
            "of_class": float(confusion.probabilities[row, column]),
            "of_all": float(counts[row, column] / total),
        }
        for row, column in zip(*np.unravel_index(order, counts.shape), strict=True)
        if counts[row, column] > 0
    ]


def time_figure(seconds: Mapping[str, StageSeconds]) -> dict[str, Any]:
    """The stages one after another, each as wide as its median is long, and their figures in milliseconds."""
    total = sum(one.p50 for one in seconds.values()) or 1.0
    stages = []
    x = 0.0
    for index, (name, one) in enumerate(seconds.items()):
        width = TIME_WIDTH * one.p50 / total
        style, fill = STAGE_STYLES[index % len(STAGE_STYLES)]
        stages.append(
            {
                "name": name,
                "style": style,
                "fill": fill,
                "x": round(x, 1),
                "width": round(width, 1),
                **{key: f"{1e3 * getattr(one, key):.1f}" for key in ("p50", "p99", "mean")},
            }
        )
        x += width
    return {"stages": stages, "images": max(one.images for one in seconds.values())}


Row = tuple[str | float | None, ...]
"""A row of a table: what it is of, then shares."""


@dataclass(frozen=True, slots=True)
class FigureTable:
    """A table of shares; the first column is text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    caption: str


def other_tables(metrics: EvaluationResult) -> list[FigureTable]:
    """The metrics beside panoptic quality and IoU that have more than one figure."""
    tables = []
    if (covering := metrics.parsing_covering) is not None:
        rows: tuple[Row, ...] = (("all", covering.all), ("things", covering.things), ("stuff", covering.stuff))
        caption = "How well each region of the truth is covered by the best region of its class, weighted by area."
        tables.append(FigureTable("Parsing covering", ("classes", "PC"), rows, caption))
    if (precision := metrics.average_precision) is not None:
        keys = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar1", "ar10", "ar100")
        names = ("AP", "AP50", "AP75", "small", "medium", "large", "AR1", "AR10", "AR100")
        parts = (("masks", precision.masks), ("boxes", precision.boxes))
        rows = tuple((of, *(getattr(part, key) for key in keys)) for of, part in parts)
        tables.append(FigureTable("Average precision (COCO)", ("of", *names), rows, "By pycocotools."))
    if (cityscapes := metrics.cityscapes_average_precision) is not None:
        rows = (("all", cityscapes.ap, cityscapes.ap50),)
        rows += tuple((one.name, one.ap, one.ap50) for one in cityscapes.per_class)
        caption = "By Cityscapes' rules: of masks, with instances of 100 pixels and more."
        tables.append(FigureTable("Average precision (Cityscapes)", ("class", "AP", "AP50"), rows, caption))
    if (recall := metrics.proposal_recall) is not None:
        columns = ("IoU", *(f"{iou:.2f}" for iou, _ in recall.by_iou))
        rows = (("mean recall", *(value for _, value in recall.by_iou)),)
        caption = f"Of the boxes of {recall.objects} things in {recall.images} images."
        tables.append(FigureTable("Mean recall", columns, rows, caption))
    if (calibration := metrics.calibration) is not None:
        rows = tuple(
            (f"{one.low:.2f} to {one.high:.2f}", one.pixels / max(1, calibration.pixels), one.confidence, one.accuracy)
            for one in calibration.bins
        )
        columns = ("confidence", "pixels", "mean confidence", "accuracy")
        caption = "A calibrated network is right as often as it is confident."
        tables.append(FigureTable("Calibration", columns, rows, caption))
    if (video := metrics.video) is not None:
        drives = (("all", video.tracking), *((part.sequence, part.quality) for part in video.sequences))
        rows = tuple((name, one.stq, one.association, one.segmentation) for name, one in drives)
        caption = "Segmentation and tracking quality: the geometric mean of association and segmentation."
        tables.append(FigureTable("Video: STQ", ("drive", "STQ", "association", "segmentation"), rows, caption))
        rows = tuple(
            (f"{window.frames} frames", *map(_pq, (window.quality.all, window.quality.things, window.quality.stuff)))
            for window in video.windows
        )
        caption = "Panoptic quality of the tubes in stretches of so many frames."
        tables.append(FigureTable("Video: VPQ", ("stretch", "all", "things", "stuff"), rows, caption))
    return tables


def _pq(mean: MeanQuality | None) -> float | None:
    return None if mean is None else mean.pq
