"""The instances of things in one image and how they overlap: what average precision needs of it, and no pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.evaluation.overlaps import Overlaps, SegmentTable
from panoptic_ros.evaluation.rows import ImageNames
from panoptic_ros.labels import LabelSet


@dataclass(frozen=True, slots=True, eq=False)
class InstanceTable:
    """N instances, sorted by class, box and area: an order that does not depend on how they are numbered.

    Attributes
    ----------
    class_ids, areas:
        (N,) int32; areas in pixels.
    boxes:
        (N, 4) int32, x0, y0, x1, y1 in pixels, half open.
    crowd:
        (N,) bool.
    scores:
        (N,) float64.
    """

    class_ids: NDArray[np.int32]
    areas: NDArray[np.int32]
    boxes: NDArray[np.int32]
    crowd: NDArray[np.bool_]
    scores: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class InstanceOverlaps:
    """The T true and P predicted instances of one image.

    Attributes
    ----------
    name:
        The image's.
    truth, prediction:
        The instances.
    pairs:
        (N, 2) int32, which true and which predicted instance of one class overlap.
    shared:
        (N,) int32, the pixels that each pair shares.
    on_void:
        (P,) int32, the pixels of each predicted instance where the truth is void.
    """

    name: str
    truth: InstanceTable
    prediction: InstanceTable
    pairs: NDArray[np.int32]
    shared: NDArray[np.int32]
    on_void: NDArray[np.int32]

    @classmethod
    def of(cls, overlaps: Overlaps) -> InstanceOverlaps:
        """The instances among the segments of an image."""
        return cls.between(overlaps.name, overlaps.truth, overlaps.prediction, overlaps.counts)

    @classmethod
    def between(
        cls, name: str, truth: SegmentTable, prediction: SegmentTable, counts: NDArray[np.int64]
    ) -> InstanceOverlaps:
        """The instances among T true and P predicted segments, which share `counts` (1 + T, 1 + P), void first."""
        rows, columns = _order(truth), _order(prediction)
        same = truth.class_ids[:, None] == prediction.class_ids
        shared = (counts[1:, 1:] * same)[np.ix_(rows, columns)]
        pairs = np.argwhere(shared)
        return cls(
            name=name,
            truth=_chosen(truth, rows),
            prediction=_chosen(prediction, columns),
            pairs=pairs.astype(np.int32),
            shared=shared[shared > 0].astype(np.int32),
            on_void=counts[0, 1:][columns].astype(np.int32),
        )


class InstanceCollector:
    """Collects the instances of images, each image once: what the metrics over instances begin with.

    Parameters
    ----------
    labels:
        The classes.
    """

    def __init__(self, labels: LabelSet) -> None:
        self.labels = labels
        self._names = ImageNames()
        self._images: list[InstanceOverlaps] = []

    def update(self, overlaps: Overlaps) -> None:
        """Take one image into account.

        Raises
        ------
        EvaluationError
            If it was taken already.
        """
        self.add(InstanceOverlaps.of(overlaps))

    def add(self, image: InstanceOverlaps) -> None:
        """The same with the instances alone."""
        self._names.add(image.name)
        self._images.append(image)

    def merge(self, other: InstanceCollector) -> None:
        """Take over other images.

        Raises
        ------
        EvaluationError
            If an image is in both.
        """
        self._names.add(*other._names)
        self._images += other._images

    def images(self) -> list[InstanceOverlaps]:
        """All images by name, an order that does not depend on when they came."""
        return sorted(self._images, key=lambda instances: instances.name)


def _order(table: SegmentTable) -> NDArray[np.intp]:
    """The positions of the instances of things, sorted by class, box and area."""
    things = np.flatnonzero(table.is_thing)
    keys = (table.areas[things], *table.boxes[things].T, table.class_ids[things])
    return things[np.lexsort(keys)]


def _chosen(table: SegmentTable, positions: NDArray[np.intp]) -> InstanceTable:
    return InstanceTable(
        class_ids=table.class_ids[positions],
        areas=table.areas[positions].astype(np.int32),
        boxes=table.boxes[positions],
        crowd=table.crowd[positions],
        scores=table.scores[positions],
    )
