"""Average precision of an instance branch by itself, by COCO's rules: what instance segmentation is measured by.

Its instances are taken before a panoptic segmentation is made of them, so that masks may overlap and those of low
scores are there too.  `AveragePrecision` measures what is left of them in the segmentation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.evaluation.average_precision import CocoPrecision, coco_precision, require_pycocotools
from panoptic_ros.evaluation.instances import InstanceCollector, InstanceOverlaps
from panoptic_ros.evaluation.overlaps import EvaluationError, Overlaps, SegmentTable
from panoptic_ros.labels import LabelSet

Place = tuple[slice, slice]
"""Rows and columns of a frame."""


class DetectionPrecision:
    """Collects detections image by image and evaluates their masks.

    Raises
    ------
    EvaluationError
        If pycocotools is not installed.
    """

    def __init__(self, labels: LabelSet) -> None:
        require_pycocotools()
        self.labels = labels
        self._images = InstanceCollector(labels)

    def update_detections(
        self,
        overlaps: Overlaps,
        class_ids: NDArray[np.int32],
        scores: NDArray[np.float64],
        masks: Sequence[tuple[Place, NDArray[np.bool_]]],
    ) -> None:
        """Take the detections of an image.

        Parameters
        ----------
        overlaps:
            Of whatever was predicted there with the truth, which is all that is read of it.
        class_ids, scores:
            (N,) of the detections.
        masks:
            Of each detection a part of the frame, and which of its pixels (h, w) are the instance.

        Raises
        ------
        EvaluationError
            If there are not as many of each, a class is no thing, or the image was taken already.
        """
        self._check(overlaps.name, class_ids, scores, masks)
        truth = overlaps.truth
        row_of = np.zeros(int(truth.ids.max(initial=0)) + 1, dtype=np.intp)
        row_of[truth.ids] = np.arange(1, len(truth) + 1)
        rows = row_of[overlaps.truth_map.ids]
        counts = np.zeros((1 + len(truth), 1 + len(masks)), dtype=np.int64)
        boxes = np.zeros((len(masks), 4), dtype=np.int32)  # of the parts: only masks are evaluated
        for column, (place, mask) in enumerate(masks):
            counts[:, 1 + column] = np.bincount(rows[place][mask], minlength=len(counts))
            down, across = place
            boxes[column] = across.start, down.start, across.stop, down.stop
        found = SegmentTable(
            ids=np.arange(1, len(masks) + 1, dtype=np.int32),
            class_ids=class_ids,
            is_thing=np.ones(len(masks), dtype=np.bool_),
            crowd=np.zeros(len(masks), dtype=np.bool_),
            areas=counts[:, 1:].sum(axis=0),
            boxes=boxes,
            scores=scores,
        )
        self._images.add(InstanceOverlaps.between(overlaps.name, truth, found, counts))

    def _check(
        self, name: str, class_ids: NDArray[np.int32], scores: NDArray[np.float64], masks: Sequence[object]
    ) -> None:
        if not len(class_ids) == len(scores) == len(masks):
            raise EvaluationError(
                f"{name}: there are {len(class_ids)} classes, {len(scores)} scores and {len(masks)} masks of detections"
            )
        if strange := sorted(set(class_ids.tolist()) - self.labels.thing_ids):
            raise EvaluationError(f"{name}: class {strange[0]} of a detection is no thing of {self.labels.name!r}")

    def merge(self, other: DetectionPrecision) -> None:
        """Take over other images.

        Raises
        ------
        EvaluationError
            If an image is in both.
        """
        self._images.merge(other._images)

    def result(self) -> CocoPrecision:
        """The precision of the masks over all images so far."""
        return coco_precision(self._images.images(), self.labels, "segm")
