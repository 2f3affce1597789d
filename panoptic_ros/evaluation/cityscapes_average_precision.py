"""Average precision of instances by the rules of Cityscapes (Cordts et al. 2016, section 4.2; cityscapesScripts'
``evalInstanceLevelSemanticLabeling``).

It differs from COCO's: thresholds are exceeded and not reached; true instances below 100 pixels are ignored; a
prediction without a match is ignored if void, groups and small instances of its class cover more of it than the
threshold; void stays in the union; precision is integrated over the steps of recall and not sampled at 101 points.  A
group that is itself below 100 pixels is ignored twice over, as it is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.evaluation.instances import InstanceCollector, InstanceOverlaps
from panoptic_ros.evaluation.rows import exact_sum

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
class _Instances:
    """Instances of many images: (T,) true ones, (P,) predicted ones, and (N,) pairs that overlap."""

    class_ids: NDArray[np.int32]
    areas: NDArray[np.int32]
    crowd: NDArray[np.bool_]
    predicted_class_ids: NDArray[np.int32]
    predicted_areas: NDArray[np.int32]
    scores: NDArray[np.float64]
    on_void: NDArray[np.int32]
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    shared: NDArray[np.int32]

    @property
    def to_be_found(self) -> NDArray[np.bool_]:
        """(T,) which true instances count."""
        counted: NDArray[np.bool_] = ~self.crowd & (self.areas >= MINIMUM_REGION)
        return counted

    @classmethod
    def of(cls, images: Sequence[InstanceOverlaps]) -> _Instances:
        """Those of all images, of which there is at least one, numbered through."""
        truths, predictions = [image.truth for image in images], [image.prediction for image in images]
        pairs = np.array([len(image.pairs) for image in images])
        before = [
            np.repeat(np.cumsum([0, *(len(table.areas) for table in tables)])[:-1], pairs)
            for tables in (truths, predictions)
        ]
        joined = np.concatenate([image.pairs for image in images])
        return cls(
            class_ids=np.concatenate([table.class_ids for table in truths]),
            areas=np.concatenate([table.areas for table in truths]),
            crowd=np.concatenate([table.crowd for table in truths]),
            predicted_class_ids=np.concatenate([table.class_ids for table in predictions]),
            predicted_areas=np.concatenate([table.areas for table in predictions]),
            scores=np.concatenate([table.scores for table in predictions]),
            on_void=np.concatenate([image.on_void for image in images]),
            rows=before[0] + joined[:, 0],
            columns=before[1] + joined[:, 1],
            shared=np.concatenate([image.shared for image in images]),
        )

    def of_class(self, class_id: int) -> _Instances:
        """Those of one class."""
        true, predicted = self.class_ids == class_id, self.predicted_class_ids == class_id
        pairs = true[self.rows]  # the two of a pair are of one class
        return _Instances(
            class_ids=self.class_ids[true],
            areas=self.areas[true],
            crowd=self.crowd[true],
            predicted_class_ids=self.predicted_class_ids[predicted],
            predicted_areas=self.predicted_areas[predicted],
            scores=self.scores[predicted],
            on_void=self.on_void[predicted],
            rows=np.cumsum(true)[self.rows[pairs]] - 1,
            columns=np.cumsum(predicted)[self.columns[pairs]] - 1,
            shared=self.shared[pairs],
        )


class CityscapesAveragePrecision(InstanceCollector):
    """Collects instances image by image and evaluates them by the rules of Cityscapes."""

    def result(self) -> CityscapesAveragePrecisionResult:
        """The precision over all images so far."""
        images = self.images()
        if not images:
            return CityscapesAveragePrecisionResult(None, None, ())
        every = _Instances.of(images)
        per_class = []
        for class_id in np.unique(every.class_ids[every.to_be_found]).tolist():
            instances = every.of_class(class_id)
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


def _average_precision(instances: _Instances, threshold: float) -> float:
    """The area under the steps of one curve of precision over recall, of a class that has something to be found."""
    areas, shared, rows, columns = instances.areas, instances.shared, instances.rows, instances.columns
    ious = shared / (areas[rows] + instances.predicted_areas[columns] - shared)
    over = ious > threshold
    counted = instances.to_be_found
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
