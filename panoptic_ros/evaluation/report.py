"""The report of an evaluation: one HTML file that a person can read without a network."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, StrictUndefined
from numpy.typing import NDArray

from panoptic_ros.drawing import OverlayPainter
from panoptic_ros.evaluation.document import EvaluationDocument
from panoptic_ros.evaluation.error_maps import COLORS, NAMES, PixelError, draw_errors, error_map, error_pixels
from panoptic_ros.evaluation.examples import Example
from panoptic_ros.evaluation.overlaps import overlaps
from panoptic_ros.evaluation.panoptic_quality import Rule
from panoptic_ros.evaluation.report_figures import confusion_figure, other_tables, time_figure
from panoptic_ros.evaluation.run_document import CAMERAS, run_tables, unmatched_stamps
from panoptic_ros.evaluation.tables import GROUPS, NONE, headline, percent
from panoptic_ros.files import written_whole
from panoptic_ros.labels import LabelSet
from panoptic_ros.segmentation import PanopticSegmentation

TEMPLATE = Path(__file__).with_name("report.html.jinja")

PICTURE_WIDTH = 640
PICTURE_QUALITY = 85  # JPEG
GREY = 96
"""What pictures are where the images are not to be had."""

HEADINGS = {"worst": "Among the worst", "best": "Among the best", "sample": "Sample"}


def write_report(document: EvaluationDocument, examples: Iterable[Example], path: Path) -> None:
    """Write the report, whole or not at all.

    Parameters
    ----------
    document:
        The evaluation.
    examples:
        The images to show, in order; taken one by one, so that they need not all be in memory.
    path:
        The HTML file.  It holds everything that it shows, and refers to nothing.

    Raises
    ------
    OSError
        If the file cannot be written.
    EvaluationError
        If the prediction of an example does not fit its truth.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["percent"] = percent
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    with written_whole(path) as unfinished:
        unfinished.write_text(template.render(_context(document, examples)), encoding="utf-8")


def _context(document: EvaluationDocument, examples: Iterable[Example]) -> dict[str, Any]:
    """What the template calls by name."""
    source, model, metrics = document.source, document.model, document.metrics
    quality, labels = metrics.panoptic_quality, source.labels
    recording = document.recording or {}
    painter = OverlayPainter(labels)
    described = None if model is None else asdict(model)
    config = None if described is None else described.pop("config")
    return {
        "none": NONE,
        "title": f"{model.name if model else Path(source.predictions).stem or 'Recorded predictions'} on {source.name}",
        "document": document,
        "source": source,
        "quality": quality,
        "iou": metrics.semantic_iou,
        "groups": [(group, getattr(quality, group)) for group in GROUPS] if quality else [],
        "headline": headline(document),
        "classes": _class_rows(document),
        "absent": _absent(document),
        "confusion": None if document.confusion is None else confusion_figure(document.confusion, labels),
        "error_kinds": [(NAMES[kind], _css(COLORS[kind])) for kind in PixelError],
        "score_name": "PQ" if source.has_instances else "pixel accuracy",
        "examples": [_shown(example, labels, quality.rule if quality else "coco", painter) for example in examples],
        "times": time_figure(document.seconds) if document.seconds else None,
        "run": {key: value for key, value in recording.items() if key != CAMERAS},
        "run_tables": run_tables(recording),
        "unmatched": unmatched_stamps(recording),
        "tables": other_tables(metrics),
        "command": shlex.join(document.command),
        "model": described,
        "config": json.dumps(config, indent=1) if config else "",
    }


def _class_rows(document: EvaluationDocument) -> list[dict[str, Any]]:
    """A row for each class that occurs: things before stuff, the best first."""
    labels, metrics = document.source.labels, document.metrics
    qualities = {one.class_id: one for one in metrics.panoptic_quality.per_class} if metrics.panoptic_quality else {}
    ious = {one.class_id: one.iou for one in metrics.semantic_iou.per_class} if metrics.semantic_iou else {}
    rows = [
        {
            "name": label.name,
            "kind": "thing" if label.is_thing else "stuff",
            "color": _css(label.color),
            "quality": qualities.get(label.id),
            "iou": ious.get(label.id),
            "order": (not label.is_thing, -qualities[label.id].pq if label.id in qualities else -ious.get(label.id, 0)),
        }
        for label in labels.labels
        if label.id in qualities or label.id in ious
    ]
    return sorted(rows, key=lambda row: row["order"])


def _absent(document: EvaluationDocument) -> list[str]:
    shown = {row["name"] for row in _class_rows(document)}
    return [label.name for label in document.source.labels.labels if label.name not in shown]


def _shown(example: Example, labels: LabelSet, rule: Rule, painter: OverlayPainter) -> dict[str, Any]:
    """An example as the template shows it."""
    compared = overlaps(example.name, example.prediction, example.truth, labels)
    height, width = example.truth.segmentation.ids.shape
    # Scaled before it is drawn on, so that lines and letters keep their size.
    size = (min(width, PICTURE_WIDTH), max(1, round(height * min(1, PICTURE_WIDTH / width))))
    picture = np.full((size[1], size[0], 3), GREY, dtype=np.uint8)
    if example.picture is not None:
        picture = np.asarray(cv2.resize(example.picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    errors = cv2.resize(error_map(compared, rule), size, interpolation=cv2.INTER_NEAREST)
    drawn = draw_errors(np.asarray(errors, dtype=np.uint8), None if example.picture is None else picture)
    shown = [
        ("Truth", painter(picture, _scaled(example.truth.segmentation, size, labels))),
        ("Prediction", painter(picture, _scaled(example.prediction, size, labels))),
        ("Errors", drawn),
    ]
    if example.picture is not None:
        shown.insert(0, ("Picture", picture))
    pixels = error_pixels(compared, rule)
    shares = [
        f"{NAMES[kind]} {percent(count / max(1, width * height))} %"
        for kind, count in sorted(pixels.items(), key=lambda item: -item[1])
        if count
    ]
    return {
        "name": example.name,
        "heading": HEADINGS[example.place],
        "score": example.score,
        "pictures": [(caption, _jpeg(image)) for caption, image in shown],
        "errors": f"Of {width}x{height} pixels: {', '.join(shares)}.",
    }


def _scaled(segmentation: PanopticSegmentation, size: tuple[int, int], labels: LabelSet) -> PanopticSegmentation:
    small = np.asarray(cv2.resize(segmentation.ids, size, interpolation=cv2.INTER_NEAREST), dtype=np.int32)
    scores = {segment.id: segment.score for segment in segmentation.segments}
    return PanopticSegmentation.from_ids(small, labels.thing_ids, scores)


def _jpeg(image: NDArray[np.uint8]) -> str:
    content = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, PICTURE_QUALITY))[1]
    return base64.b64encode(content.tobytes()).decode("ascii")


def _css(color: tuple[int, int, int]) -> str:
    return f"rgb({', '.join(map(str, color))})"
