"""Semantic quality: the confusion matrix of pixels, and the intersections over union that follow from it.

Of a class, with TP, FP and FN counted in pixels over the whole data set, IoU = TP / (TP + FP + FN) (Everingham et al.
2015). Pixels whose truth is void count nowhere; a predicted void is a miss.  A crowd has a class and counts as any
other region.  The mean is over the classes with TP + FP + FN > 0; the frequency-weighted one weighs a class by its
share of the truth's pixels (Long et al. 2015).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.confusion import ClassConfusion
from panoptic_ros.evaluation.overlaps import Overlaps
from panoptic_ros.evaluation.rows import ImageNames, exact_sum
from panoptic_ros.labels import LabelSet
from panoptic_ros.segmentation import VOID


@dataclass(frozen=True, slots=True)
class ClassIou:
    """The intersection over union of one class, in [0, 1], and its pixels in the truth and in the prediction."""

    class_id: int
    name: str
    is_thing: bool
    iou: float
    truth_pixels: int
    predicted_pixels: int


@dataclass(frozen=True, slots=True)
class SemanticIouResult:
    """Semantic quality over a set of images; None where no class of the kind occurs.

    Attributes
    ----------
    mean_iou, things_iou, stuff_iou:
        Means over the classes that occur, all or of one kind.
    frequency_weighted_iou:
        Weighted by the classes' pixels in the truth.
    pixel_accuracy:
        The share of the truth's pixels that have the right class.
    per_class:
        The classes that occur, in the order of their ids.
    """

    mean_iou: float | None
    things_iou: float | None
    stuff_iou: float | None
    frequency_weighted_iou: float | None
    pixel_accuracy: float | None
    per_class: tuple[ClassIou, ...]


class SemanticIou:
    """Counts the pixels of each pair of classes, image by image.

    Attributes
    ----------
    counts:
        (C + 1, C + 1) int64, rows by the truth's class and columns by the predicted one, void first, then the label
        set's classes in their order.
    """

    def __init__(self, labels: LabelSet) -> None:
        self.labels = labels
        self.counts = np.zeros((len(labels) + 1, len(labels) + 1), dtype=np.int64)
        self._names = ImageNames()

    def update(self, overlaps: Overlaps) -> None:
        """Count one image.

        Raises
        ------
        EvaluationError
            If it was counted already.
        """
        self._names.add(overlaps.name)
        rows, columns = self._indices(overlaps.truth.class_ids), self._indices(overlaps.prediction.class_ids)
        np.add.at(self.counts, (rows[:, None], columns), overlaps.counts)

    def _indices(self, class_ids: NDArray[np.int32]) -> NDArray[np.intp]:
        """The row of void and those of some segments' classes."""
        ids = self.labels.class_ids
        order = np.argsort(ids)
        return np.concatenate(([0], 1 + order[np.searchsorted(ids, class_ids, sorter=order)]))

    def merge(self, other: SemanticIou) -> None:
        """Add the counts of other images.

        Raises
        ------
        EvaluationError
            If an image is in both.
        """
        self._names.add(*other._names)
        self.counts += other.counts

    def confusion(self) -> ClassConfusion:
        """P(predicted class | true class) over all images so far."""
        counts = self.counts[1:]
        pixels = counts.sum(axis=1)
        return ClassConfusion(
            label_set=self.labels.name,
            class_ids=self.labels.class_ids,
            predicted_ids=np.concatenate(([VOID], self.labels.class_ids)).astype(np.int32),
            probabilities=counts / np.maximum(pixels, 1)[:, None],
            pixels=pixels,
        )

    def result(self) -> SemanticIouResult:
        """The quality over all images so far."""
        counts = self.counts[1:]
        right, truth, predicted = np.diagonal(counts, offset=1), counts.sum(axis=1), counts[:, 1:].sum(axis=0)
        union = truth + predicted - right
        ious = right / np.maximum(union, 1)
        is_thing = np.array([label.is_thing for label in self.labels.labels])
        occurs, pixels = union > 0, int(truth.sum())
        return SemanticIouResult(
            mean_iou=_mean(ious[occurs]),
            things_iou=_mean(ious[occurs & is_thing]),
            stuff_iou=_mean(ious[occurs & ~is_thing]),
            frequency_weighted_iou=exact_sum(ious * truth) / pixels if pixels else None,
            pixel_accuracy=int(right.sum()) / pixels if pixels else None,
            per_class=tuple(
                ClassIou(
                    label.id, label.name, label.is_thing, float(ious[index]), int(truth[index]), int(predicted[index])
                )
                for index, label in sorted(enumerate(self.labels.labels), key=lambda item: item[1].id)
                if occurs[index]
            ),
        )


def _mean(values: NDArray[np.float64]) -> float | None:
    return exact_sum(values) / len(values) if len(values) else None
