"""Mean recall of proposals: how many of the objects in an image some box covers (de Geus et al. 2018, JSIS-Net,
section 4.2).

The recall of an image is the share of its true boxes that have an IoU of at least 0.5 with any proposal, whatever its
class; the mean is over the images that have objects.  There is no matching: one proposal may cover several objects.
Crowds are no objects.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.evaluation.overlaps import EvaluationError, Overlaps
from panoptic_ros.evaluation.rows import NamedRows, exact_sum

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))


@dataclass(frozen=True, slots=True)
class RecallResult:
    """Recall of proposals over a set of images; None where no image has an object.

    Attributes
    ----------
    mean_recall:
        At an IoU of 0.5.
    average_recall:
        The mean over the IoUs 0.50, 0.55 … 0.95.
    by_iou:
        Those IoUs, each with its mean recall.
    images, objects:
        How many images have objects, and how many objects there are.
    """

    mean_recall: float | None
    average_recall: float | None
    by_iou: tuple[tuple[float, float], ...]
    images: int
    objects: int


class ProposalRecall:
    """Measures the recall of boxes image by image."""

    def __init__(self) -> None:
        self._rows = NamedRows(("objects", "i4"), ("covered", f"({len(THRESHOLDS)},)i4"))

    def update(self, overlaps: Overlaps) -> None:
        """Take one image into account, with the predicted instances' boxes as proposals.

        Raises
        ------
        EvaluationError
            If it was taken already.
        """
        truth, prediction = overlaps.truth, overlaps.prediction
        self.update_boxes(
            overlaps.name, prediction.boxes[prediction.is_thing], truth.boxes[truth.is_thing & ~truth.crowd]
        )

    def update_boxes(self, name: str, proposals: NDArray[np.number], objects: NDArray[np.number]) -> None:
        """Take one image into account.

        Parameters
        ----------
        name:
            The image's.
        proposals, objects:
            (P, 4) and (T, 4), x0, y0, x1, y1 in pixels, half open.

        Raises
        ------
        EvaluationError
            If it was taken already, or boxes are of another shape, not finite or end before they begin.
        """
        for what, boxes in (("proposals", proposals), ("objects", objects)):
            if boxes.ndim != 2 or boxes.shape[1] != 4:
                raise EvaluationError(f"{name}: {what} must be (N, 4) boxes x0, y0, x1, y1, got {boxes.shape}")
            if not (np.isfinite(boxes).all() and (boxes[:, 2:] >= boxes[:, :2]).all()):
                raise EvaluationError(f"{name}: {what} hold a box that is not finite or ends before it begins")
        best = box_ious(objects, proposals).max(axis=1, initial=0.0)
        covered = (best[:, None] >= np.array(THRESHOLDS)).sum(axis=0)
        self._rows.add(name, objects=[len(objects)], covered=covered[None])

    def merge(self, other: ProposalRecall) -> None:
        """Take over other images.

        Raises
        ------
        EvaluationError
            If an image is in both.
        """
        self._rows.merge(other._rows)

    def result(self) -> RecallResult:
        """The recall over all images so far."""
        rows = self._rows.table()
        rows = rows[rows["objects"] > 0]
        if not len(rows):
            return RecallResult(None, None, (), 0, 0)
        recalls = [exact_sum(column / rows["objects"]) / len(rows) for column in rows["covered"].T]
        return RecallResult(
            mean_recall=recalls[0],
            average_recall=exact_sum(np.array(recalls)) / len(recalls),
            by_iou=tuple(zip(THRESHOLDS, recalls, strict=True)),
            images=len(rows),
            objects=int(rows["objects"].sum()),
        )


def box_ious(first: NDArray[np.number], second: NDArray[np.number]) -> NDArray[np.float64]:
    """(N, M) float64 intersections over union of (N, 4) and (M, 4) boxes; 0 for a pair without area."""
    first, second = first.astype(np.float64), second.astype(np.float64)
    low = np.maximum(first[:, None, :2], second[:, :2])
    high = np.minimum(first[:, None, 2:], second[:, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1] - shared
    ious: NDArray[np.float64] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return ious
