"""Average precision of instances by the rules of Cityscapes (Cordts et al. 2016, section 4.2; cityscapesScripts'
``evalInstanceLevelSemanticLabeling``).

It differs from COCO's: thresholds are exceeded and not reached; true instances below 100 pixels are ignored; a
prediction without a match is ignored if void, groups and small instances of its class cover more of it than the
threshold; void stays in the union; precision is integrated over the steps of recall and not sampled at 101 points.  A
group that is itself below 100 pixels is ignored twice over, as it is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.evaluation.instances import InstanceOverlaps, InstanceStore
from panoptic_ros.evaluation.overlaps import Overlaps
from panoptic_ros.evaluation.rows import exact_sum
from panoptic_ros.labels import LabelSet

THRESHOLDS = np.arange(0.5, 1.0, 0.05)
MINIMUM_REGION = 100
"""The least pixels of an instance that has to be found."""


@dataclass(frozen=True, slots=True)
class CityscapesClassPrecision:
    """The average precision of one class of the truth: over thresholds 0.50 to 0.95, and at 0.50."""

    class_id: int
    name: str
    ap: float
    ap50: float


@dataclass(frozen=True, slots=True)
class CityscapesAveragePrecisionResult:
    """Means over the classes of the truth, in [0, 1]; None where it has no instance of 100 pixels."""

    ap: float | None
    ap50: float | None
    per_class: tuple[CityscapesClassPrecision, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _ClassInstances:
    """All instances of one class: (T,) true ones, (P,) predicted ones, and (N,) pairs that overlap."""

    areas: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    predicted_areas: NDArray[np.int64]
    scores: NDArray[np.float64]
    on_void: NDArray[np.int64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    shared: NDArray[np.int64]


class CityscapesAveragePrecision:
    """Collects instances image by image and evaluates them by the rules of Cityscapes."""

    def __init__(self, labels: LabelSet) -> None:
        self.labels = labels
        self._store = InstanceStore()

    def update(self, overlaps: Overlaps) -> None:
        """Take one image into account.

        Raises
        ------
        EvaluationError
            If it was taken already.
        """
        self._store.add(InstanceOverlaps.of(overlaps))

    def merge(self, other: CityscapesAveragePrecision) -> None:
        """Take over other images.

        Raises
        ------
        EvaluationError
            If an image is in both.
        """
        self._store.merge(other._store)

    def result(self) -> CityscapesAveragePrecisionResult:
        """The precision over all images so far."""
        images = self._store.images()
        per_class = []
        for class_id in sorted(self.labels.thing_ids) if images else ():
            instances = _of_class(images, class_id)
            if _to_be_found(instances).any():
                precisions = np.array([_average_precision(instances, threshold) for threshold in THRESHOLDS])
                per_class.append(
                    CityscapesClassPrecision(
                        class_id, self.labels.name_of(class_id), float(precisions.mean()), float(precisions[0])
                    )
                )
        count = len(per_class)
        return CityscapesAveragePrecisionResult(
            ap=exact_sum(np.array([part.ap for part in per_class])) / count if count else None,
            ap50=exact_sum(np.array([part.ap50 for part in per_class])) / count if count else None,
            per_class=tuple(per_class),
        )


def _to_be_found(instances: _ClassInstances) -> NDArray[np.bool_]:
    """(T,) which true instances count."""
    counted: NDArray[np.bool_] = ~instances.crowd & (instances.areas >= MINIMUM_REGION)
    return counted


def _of_class(images: Sequence[InstanceOverlaps], class_id: int) -> _ClassInstances:
    """The instances of one class in all images, of which there is at least one, numbered through."""
    parts: list[_ClassInstances] = []
    truths = predictions = 0
    for image in images:
        true, predicted = image.truth.class_ids == class_id, image.prediction.class_ids == class_id
        pairs = true[image.pairs[:, 0]]  # the two of a pair are of one class
        parts.append(
            _ClassInstances(
                areas=image.truth.areas[true].astype(np.int64),
                crowd=image.truth.crowd[true],
                predicted_areas=image.prediction.areas[predicted].astype(np.int64),
                scores=image.prediction.scores[predicted],
                on_void=image.on_void[predicted].astype(np.int64),
                rows=truths + np.cumsum(true)[image.pairs[pairs, 0]] - 1,
                columns=predictions + np.cumsum(predicted)[image.pairs[pairs, 1]] - 1,
                shared=image.shared[pairs].astype(np.int64),
            )
        )
        truths += int(true.sum())
        predictions += int(predicted.sum())
    columns: dict[str, Any] = {
        column.name: np.concatenate([getattr(part, column.name) for part in parts])
        for column in fields(_ClassInstances)
    }
    return _ClassInstances(**columns)


def _average_precision(instances: _ClassInstances, threshold: float) -> float:
    """The area under the steps of one curve of precision over recall, of a class that has something to be found."""
    areas, shared, rows, columns = instances.areas, instances.shared, instances.rows, instances.columns
    ious = shared / (areas[rows] + instances.predicted_areas[columns] - shared)
    over = ious > threshold
    counted = _to_be_found(instances)
    # Neither true nor predicted instances overlap each other, so above one half a match is the only one of both.
    right = over & counted[rows]
    missed = int(counted.sum()) - int(right.sum())

    touched = np.zeros(len(instances.scores), dtype=np.bool_)
    touched[columns[over]] = True
    weight = instances.crowd.astype(np.int64) + (areas < MINIMUM_REGION)
    ignored = instances.on_void + np.bincount(columns, shared * weight[rows], minlength=len(touched))
    wrong = ~touched & (ignored / instances.predicted_areas <= threshold)

    scores = np.concatenate((instances.scores[columns[right]], instances.scores[wrong]))
    if not len(scores):
        return 0.0
    is_right = np.arange(len(scores)) < right.sum()
    order = np.argsort(scores)
    _, first = np.unique(scores[order], return_index=True)
    below = np.concatenate(([0], np.cumsum(is_right[order])))[first]
    found = is_right.sum() - below
    precision = np.append(found / (len(scores) - first), 1.0)
    recall = np.append(found / (is_right.sum() + missed), 0.0)
    # Each point stands for half of the way to either neighbour.
    ends = np.concatenate((recall[:1], recall, [0.0]))
    return float(np.dot(precision, (ends[:-2] - ends[2:]) / 2))
