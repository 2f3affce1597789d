"""Which segments of a prediction lie on which segments of the truth: counted once per image, used by every metric.

Two id maps are compared by their common runs: stretches of pixels along the rows in which neither map changes.  There
are a hundred times fewer of them than pixels, so that looking up segments and adding lengths costs next to nothing
beside finding where the maps change.  `np.unique` over 64-bit keys sorts all pixels instead
(`benchmarks/panoptic_quality.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.datasets.dataset import Truth
from panoptic_ros.labels import LabelSet
from panoptic_ros.segmentation import INSTANCE_DIVISOR, VOID, PanopticSegmentation


class EvaluationError(ValueError):
    """A prediction or a truth cannot be evaluated; the message names the image and what was expected."""


@dataclass(frozen=True, slots=True, eq=False)
class SegmentTable:
    """The N segments of one image as arrays, in the order of `PanopticSegmentation.segments`.

    Attributes
    ----------
    ids, class_ids:
        (N,) int32.
    is_thing, crowd:
        (N,) bool; a crowd is several instances that the truth does not tell apart.
    areas:
        (N,) int64, counted from the pixels.
    boxes:
        (N, 4) int32, x0, y0, x1, y1 in pixels, half open.
    scores:
        (N,) float64 in [0, 1].
    """

    ids: NDArray[np.int32]
    class_ids: NDArray[np.int32]
    is_thing: NDArray[np.bool_]
    crowd: NDArray[np.bool_]
    areas: NDArray[np.int64]
    boxes: NDArray[np.int32]
    scores: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True, eq=False)
class Overlaps:
    """The overlaps of T segments of the truth with P segments of a prediction in one image.

    Attributes
    ----------
    name:
        The image's.
    sequence, frame:
        The drive that it is from, empty where there is none, and its number there.
    truth, prediction:
        The segments.
    counts:
        (1 + T, 1 + P) int64, the pixels that each pair shares; row 0 is the truth's void, column 0 the prediction's.
    truth_map, prediction_map:
        What was compared.
    """

    name: str
    sequence: str
    frame: int
    truth: SegmentTable
    prediction: SegmentTable
    counts: NDArray[np.int64]
    truth_map: PanopticSegmentation
    prediction_map: PanopticSegmentation

    @property
    def intersections(self) -> NDArray[np.int64]:
        """(T, P) int64, the pixels that each pair of segments shares."""
        return self.counts[1:, 1:]

    @property
    def prediction_on_void(self) -> NDArray[np.int64]:
        """(P,) int64, the pixels of each predicted segment where the truth is void."""
        return self.counts[0, 1:]

    @property
    def same_class(self) -> NDArray[np.bool_]:
        """(T, P) bool, whether the two are of one class."""
        same: NDArray[np.bool_] = self.truth.class_ids[:, None] == self.prediction.class_ids
        return same


def overlaps(name: str, prediction: PanopticSegmentation, truth: Truth, labels: LabelSet) -> Overlaps:
    """Compare the prediction of an image with its truth.

    Parameters
    ----------
    name:
        The image's, for errors.
    prediction, truth:
        Of one size, with class ids of `labels`.  The prediction has no crowds.

    Raises
    ------
    EvaluationError
        If the sizes differ, a class is unknown, an id map and its list of segments do not agree, a score is not in
        [0, 1], or a crowd is not a segment of the truth.
    """
    seen = truth.segmentation
    if prediction.ids.shape != seen.ids.shape:
        raise EvaluationError(
            f"{name}: the prediction is {_size(prediction)} pixels, the truth {_size(seen)}; they must be of one size"
        )
    stray = truth.crowd - {segment.id for segment in seen.segments}
    if stray:
        raise EvaluationError(f"{name}: crowd {min(stray)} is not a segment of the truth")
    counts = count_pairs(
        name, _checked(name, "truth", seen, labels), _checked(name, "prediction", prediction, labels), seen, prediction
    )
    return Overlaps(
        name=name,
        sequence=truth.sequence,
        frame=truth.frame,
        truth=_table(seen, truth.crowd, counts[1:].sum(axis=1), labels),
        prediction=_table(prediction, frozenset(), counts[:, 1:].sum(axis=0), labels),
        counts=counts,
        truth_map=seen,
        prediction_map=prediction,
    )


def count_pairs(
    name: str,
    truth_ids: NDArray[np.int32],
    prediction_ids: NDArray[np.int32],
    truth: PanopticSegmentation,
    prediction: PanopticSegmentation,
) -> NDArray[np.int64]:
    """Count the pixels that each pair of segments shares.

    Parameters
    ----------
    name:
        The image's, for errors.
    truth_ids, prediction_ids:
        (T,) and (P,) int32, the ids in the order of rows and columns.
    truth, prediction:
        Of one size.

    Returns
    -------
    (1 + T, 1 + P) int64; void is first in both directions.

    Raises
    ------
    EvaluationError
        If an id of a map is not listed, or a listed one has no pixel.
    """
    first, second = np.ravel(truth.ids), np.ravel(prediction.ids)
    changes = np.empty(first.size, dtype=np.bool_)
    changes[:1] = True
    np.not_equal(first[1:], first[:-1], out=changes[1:])
    changes[1:] |= second[1:] != second[:-1]
    starts = np.flatnonzero(changes)
    rows = _positions(name, "truth", first[starts], truth_ids)
    columns = _positions(name, "prediction", second[starts], prediction_ids)
    width = len(prediction_ids) + 1
    # Sums of lengths are whole numbers far below 2^53, which float64 holds exactly.
    sums = np.bincount(
        rows * width + columns,
        weights=np.diff(starts, append=first.size),
        minlength=(len(truth_ids) + 1) * width,
    )
    counts: NDArray[np.int64] = sums.astype(np.int64).reshape(-1, width)
    for what, ids, areas in (
        ("truth", truth_ids, counts.sum(axis=1)),
        ("prediction", prediction_ids, counts.sum(axis=0)),
    ):
        absent = ids[areas[1:] == 0]
        if absent.size:
            raise EvaluationError(f"{name}: segment {absent[0]} is listed but has no pixel in the {what}'s id map")
    return counts


def _positions(name: str, what: str, values: NDArray[np.int32], ids: NDArray[np.int32]) -> NDArray[np.intp]:
    """1 + the position of each value among `ids`, 0 for void."""
    place = np.full(int(ids.max(initial=VOID)) + 1, -1, dtype=np.intp)
    place[VOID] = 0
    place[ids] = np.arange(1, len(ids) + 1)
    outside = (values < 0) | (values >= len(place))
    found = np.where(outside, -1, place[np.where(outside, 0, values)]) if outside.any() else place[values]
    if found.min(initial=0) < 0:
        raise EvaluationError(
            f"{name}: id {values[found.argmin()]} is in the {what}'s id map but not among its segments"
        )
    return found


def _checked(name: str, what: str, segmentation: PanopticSegmentation, labels: LabelSet) -> NDArray[np.int32]:
    """The ids of a segmentation's segments, (N,) int32, in order."""
    if segmentation.ids.ndim != 2 or segmentation.ids.dtype != np.int32:
        raise EvaluationError(
            f"{name}: the {what}'s ids must be a (H, W) int32 array, "
            f"got {segmentation.ids.shape} {segmentation.ids.dtype}"
        )
    known = set(labels.class_ids.tolist())
    ids = set()
    for segment in segmentation.segments:
        if segment.class_id not in known:
            raise EvaluationError(
                f"{name}: class {segment.class_id} of the {what}'s segment {segment.id} "
                f"is not in the label set {labels.name!r}"
            )
        if segment.id // INSTANCE_DIVISOR != segment.class_id:
            raise EvaluationError(
                f"{name}: the {what}'s segment {segment.id} is listed with class {segment.class_id}; "
                f"an id is class * {INSTANCE_DIVISOR} + instance"
            )
        if not (math.isfinite(segment.score) and 0 <= segment.score <= 1):
            raise EvaluationError(
                f"{name}: the score of the {what}'s segment {segment.id} is {segment.score}; it must be in [0, 1]"
            )
        if segment.id in ids:
            raise EvaluationError(f"{name}: segment {segment.id} is listed twice in the {what}")
        ids.add(segment.id)
    return np.array([segment.id for segment in segmentation.segments], dtype=np.int32)


def _table(
    segmentation: PanopticSegmentation, crowd: frozenset[int], areas: NDArray[np.int64], labels: LabelSet
) -> SegmentTable:
    segments = segmentation.segments
    things = labels.thing_ids
    return SegmentTable(
        ids=np.array([segment.id for segment in segments], dtype=np.int32),
        class_ids=np.array([segment.class_id for segment in segments], dtype=np.int32),
        is_thing=np.array([segment.class_id in things for segment in segments], dtype=np.bool_),
        crowd=np.array([segment.id in crowd for segment in segments], dtype=np.bool_),
        areas=areas,
        boxes=np.array([segment.bbox for segment in segments], dtype=np.int32).reshape(-1, 4),
        scores=np.array([segment.score for segment in segments], dtype=np.float64),
    )


def _size(segmentation: PanopticSegmentation) -> str:
    return "x".join(str(side) for side in segmentation.ids.shape[::-1])
