"""The evaluation of a run, of a bag or live: its document, and what its tables say of each camera."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from panoptic_ros.evaluation.camera_metrics import CameraMetrics
from panoptic_ros.evaluation.document import EvaluationDocument, Source
from panoptic_ros.evaluation.metrics import EvaluationResult, Metrics
from panoptic_ros.evaluation.recorded_run import RunReport, some_stamps
from panoptic_ros.evaluation.tables import GROUPS, NONE, percent

CAMERAS = "cameras"
"""The key of the cameras in the document's `recording`."""

QUALITY = "quality"
"""The key of a camera's figures there."""


class RunTable(NamedTuple):
    """A table of texts; the first column says what a row is of."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def camera_quality(metrics: Metrics | None) -> dict[str, float | None]:
    """See `result_quality`; all None without metrics."""
    return result_quality(None if metrics is None else metrics.result())


def result_quality(result: EvaluationResult | None) -> dict[str, float | None]:
    """The quality in a few figures in [0, 1]: PQ by group of classes, and mIoU.

    None where nothing was measured, or there is no class of the group.
    """
    quality = None if result is None else result.panoptic_quality
    means = {group: None if quality is None else getattr(quality, group) for group in GROUPS}
    iou = None if result is None else result.semantic_iou
    figures = {f"pq_{group}": None if mean is None else float(mean.pq) for group, mean in means.items()}
    return {**figures, "mean_iou": None if iou is None else iou.mean_iou}


def document_run(
    metrics: CameraMetrics,
    run: RunReport,
    kind: Literal["bag", "live"],
    path: str,
    name: str,
    mapping: str = "",
    **rest: Any,
) -> EvaluationDocument:
    """The document of a run.

    Parameters
    ----------
    metrics, run:
        What was measured, and how the run went.
    kind, path, name, mapping:
        See `Source`.
    rest:
        See `EvaluationDocument`.
    """
    total, names = metrics.combined()
    recording = run.to_json()
    for camera in recording[CAMERAS]:
        camera[QUALITY] = camera_quality(metrics.by_camera.get(camera["camera"]))
    source = Source(kind, path, name, metrics.labels, len(names), mapping=mapping)
    return EvaluationDocument.of(total, source, names, recording=recording, **rest)


def run_tables(recording: Mapping[str, Any]) -> list[RunTable]:
    """A document's `recording` as tables: the quality of each camera, and what came of its frames.

    None where it has no cameras.
    """
    cameras: Sequence[Mapping[str, Any]] = recording.get(CAMERAS, ())
    if not cameras:
        return []
    names = tuple(camera["camera"] or "the camera" for camera in cameras)
    quality = tuple(
        (name, str(camera["pairs"]), *(percent(figure) for figure in camera[QUALITY].values()))
        for name, camera in zip(names, cameras, strict=True)
    )
    rows = [
        ("images", *(_count(camera["images"]) for camera in cameras)),
        ("predictions", *(_count(camera["predictions"]) for camera in cameras)),
        ("truths", *(_count(camera["truths"]) for camera in cameras)),
        ("evaluated", *(_count(camera["pairs"]) for camera in cameras)),
        ("images without a prediction", *(_many(camera["dropped"]) for camera in cameras)),
        ("truths without a prediction", *(_many(camera["unmatched_truths"]) for camera in cameras)),
        ("predictions without a truth", *(_many(camera["unmatched_predictions"]) for camera in cameras)),
        ("repeated stamps", *(_count(camera["repeated"]) for camera in cameras)),
        ("predictions a second", *(_figure(camera["rate"], 1.0, 2) for camera in cameras)),
        ("longest gap (ms)", *(_figure(camera["longest_gap"], 1e3, 1) for camera in cameras)),
        *(
            (f"latency {part} (ms)", *(_figure((camera["latency"] or {}).get(part), 1e3, 1) for camera in cameras))
            for part in ("p50", "p99", "max")
        ),
    ]
    return [
        RunTable("Quality by camera", ("camera", "frames", "PQ", "PQ things", "PQ stuff", "mIoU"), quality),
        RunTable("The run", ("", *names), tuple(rows)),
    ]


def unmatched_stamps(recording: Mapping[str, Any]) -> list[str]:
    """Which frames were not evaluated, a line for each camera and kind that has some."""
    lines = []
    for camera in recording.get(CAMERAS, ()):
        where = f"{camera['camera']}: " if camera["camera"] else ""
        for key, what in (("unmatched_truths", "no prediction for"), ("unmatched_predictions", "no truth for")):
            if stamps := camera[key]:
                lines.append(f"{where}{what} {some_stamps(stamps)}")
    return lines


def print_run(recording: Mapping[str, Any], console: Console) -> None:
    """Print the tables of a run, and the stamps of what was not evaluated."""
    for made in run_tables(recording):
        table = Table(made.columns[0], *(escape(column) for column in made.columns[1:]), box=None, pad_edge=False)
        for column in table.columns[1:]:
            column.justify = "right"
        for row in made.rows:
            table.add_row(*map(escape, row))
        console.print(table)
    for line in unmatched_stamps(recording):
        console.print(line, markup=False, soft_wrap=True)


def _count(value: int | None) -> str:
    return NONE if value is None else str(value)


def _many(stamps: Sequence[int] | None) -> str:
    return NONE if stamps is None else str(len(stamps))


def _figure(value: float | None, unit: float, digits: int) -> str:
    return NONE if value is None else f"{value * unit:.{digits}f}"
