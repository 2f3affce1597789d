"""How a run went, from the stamps of its frames alone: what is missing, how late answers came, and how regularly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from panoptic_ros.evaluation.matching import Unmatched
from panoptic_ros.evaluation.recorded_cameras import RecordedCamera
from panoptic_ros.messages import NANOSECONDS

_LATENCIES = (-0.1, 3600.0)
"""Seconds; what is outside was logged by another clock than it was stamped by.  Clocks of two hosts differ a little."""

Times = Mapping[int, int]
"""When each frame of a topic was logged or arrived, by its stamp; both in nanoseconds."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds between the stamp of an image and the arrival of its prediction."""

    p50: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class CameraRun:
    """What came of one camera's frames.

    Attributes
    ----------
    camera, truth_topic, predictions_topic, images_topic:
        See `RecordedCamera`.
    images, predictions, truths:
        How many frames of each there are, by their stamps; None where there is no such topic.
    pairs:
        How many were evaluated.
    repeated:
        How many frames were passed over because their stamp had come before.
    rate:
        Predictions a second, by their stamps; None of fewer than two.
    longest_gap:
        The most seconds between the stamps of two predictions that follow each other; None of fewer than two.
    latency:
        None without predictions, or where log times and stamps are of different clocks.
    dropped:
        The stamps, ns, of images without a prediction; None where either topic is missing.
    unmatched_predictions, unmatched_truths:
        The stamps, ns, of those that were not evaluated, because the other is missing.
    """

    camera: str
    truth_topic: str
    predictions_topic: str
    images_topic: str
    images: int | None
    predictions: int | None
    truths: int
    pairs: int
    repeated: int
    rate: float | None
    longest_gap: float | None
    latency: Latency | None
    dropped: tuple[int, ...] | None
    unmatched_predictions: tuple[int, ...]
    unmatched_truths: tuple[int, ...]

    @classmethod
    def of(
        cls,
        camera: RecordedCamera,
        truths: Times,
        predictions: Times | None,
        images: Times | None,
        pairs: int,
        unmatched: Unmatched,
    ) -> CameraRun:
        """Describe a camera's run from when each of its frames was taken and logged."""
        stamps = np.array(sorted(predictions or ()), dtype=np.int64)
        gaps = np.diff(stamps) / NANOSECONDS
        return cls(
            camera=camera.name,
            truth_topic=camera.truth,
            predictions_topic=camera.predictions,
            images_topic=camera.images,
            images=None if images is None else len(images),
            predictions=None if predictions is None else len(predictions),
            truths=len(truths),
            pairs=pairs,
            repeated=unmatched.repeated,
            rate=float(len(gaps) / gaps.sum()) if len(gaps) else None,
            longest_gap=float(gaps.max()) if len(gaps) else None,
            latency=_latency(predictions or {}),
            dropped=None if images is None or predictions is None else tuple(sorted(set(images) - set(predictions))),
            unmatched_predictions=tuple(unmatched.predictions),
            unmatched_truths=tuple(unmatched.truths),
        )


@dataclass(frozen=True, slots=True)
class RunReport:
    """How a run went, camera by camera; `tolerance` is that of stamps, in seconds."""

    tolerance: float
    cameras: tuple[CameraRun, ...]

    def to_json(self) -> dict[str, Any]:
        """Everything in it as dictionaries, lists, numbers, strings and None."""
        content = asdict(self)
        content["cameras"] = [
            {key: list(value) if isinstance(value, tuple) else value for key, value in camera.items()}
            for camera in content["cameras"]
        ]
        return content

    def notes(self) -> tuple[str, ...]:
        """What a reader has to know of the run beside its figures, a sentence for each thing."""
        notes = []
        for run in self.cameras:
            where = f"{run.camera}: " if run.camera else ""
            missing = len(run.unmatched_truths)
            if missing:
                notes.append(
                    f"{where}{missing} of {run.truths} frames with a truth have no prediction and do not count."
                )
            if run.unmatched_predictions:
                what = "images" if run.predictions is None else "predictions"
                notes.append(f"{where}{len(run.unmatched_predictions)} {what} have no truth and do not count.")
            if run.repeated:
                notes.append(f"{where}{run.repeated} frames came with a stamp that had come before; the first counts.")
            if run.predictions and run.latency is None:
                notes.append(f"{where}log times and stamps are of different clocks, so no latency can be told.")
        return tuple(notes)


def seconds_of(stamp: int) -> str:
    """A stamp in nanoseconds as seconds, to the last digit."""
    return f"{stamp // NANOSECONDS}.{stamp % NANOSECONDS:09d}"


def some_stamps(stamps: Sequence[int], most: int = 5) -> str:
    """The first few of some stamps, to be read."""
    more = f" and {len(stamps) - most} more" if len(stamps) > most else ""
    return ", ".join(seconds_of(stamp) for stamp in stamps[:most]) + more


def _latency(times: Times) -> Latency | None:
    if not times:
        return None
    seconds = np.array([logged - stamp for stamp, logged in times.items()], dtype=np.float64) / NANOSECONDS
    if seconds.min() < _LATENCIES[0] or seconds.max() > _LATENCIES[1]:
        return None
    p50, p99 = np.percentile(seconds, (50, 99))
    return Latency(float(p50), float(p99), float(seconds.max()))
