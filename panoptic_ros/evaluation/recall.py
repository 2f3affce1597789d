"""Mean recall of proposals: how many of the objects in an image some box covers (de Geus et al. 2018,
section 4.2).

The recall of an image is the share of its true boxes that have an IoU of at least 0.5 with any proposal, whatever its
class; the mean is over the images that have objects.  There is no matching: one proposal may cover several objects.
Crowds are no objects.

The paper blames small objects without saying what is small; here it is what COCO calls so (`SIZES`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.evaluation.overlaps import EvaluationError, Overlaps
from panoptic_ros.evaluation.rows import NamedRows, exact_sum

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))

SIZES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, np.inf)}
)
"""COCO's sizes of objects: from which area on, and below which, in pixels of the frame that they cover."""


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
    by_size:
        The mean recall of the objects of each of `SIZES` at an IoU of 0.5, over the images that have such; sizes of
        which there is no object are left out.
    """

    mean_recall: float | None
    average_recall: float | None
    by_iou: tuple[tuple[float, float], ...]
    images: int
    objects: int
    by_size: tuple[tuple[str, float], ...] = ()


class ProposalRecall:
    """Measures the recall of boxes image by image."""

    def __init__(self) -> None:
        of_sizes = f"({len(SIZES)},)i4"
        self._rows = NamedRows(
            ("objects", "i4"),
            ("covered", f"({len(THRESHOLDS)},)i4"),
            ("sized_objects", of_sizes),
            ("sized_covered", of_sizes),
        )

    def update(self, overlaps: Overlaps) -> None:
        """Take one image into account, with the predicted instances' boxes as proposals.

        Raises
        ------
        EvaluationError
            If it was taken already.
        """
        prediction = overlaps.prediction
        self.update_proposals(overlaps, prediction.boxes[prediction.is_thing])

    def update_proposals(self, overlaps: Overlaps, proposals: NDArray[np.number]) -> None:
        """Take one image into account.

        Parameters
        ----------
        overlaps:
            Of the image; its truth has the objects.
        proposals:
            (P, 4), x0, y0, x1, y1 in pixels of the frame, half open.

        Raises
        ------
        EvaluationError
            See `update_boxes`.
        """
        truth = overlaps.truth
        objects = truth.is_thing & ~truth.crowd
        self.update_boxes(overlaps.name, proposals, truth.boxes[objects], truth.areas[objects])

    def update_boxes(
        self,
        name: str,
        proposals: NDArray[np.number],
        objects: NDArray[np.number],
        areas: NDArray[np.number] | None = None,
    ) -> None:
        """Take one image into account.

        Parameters
        ----------
        name:
            The image's.
        proposals, objects:
            (P, 4) and (T, 4), x0, y0, x1, y1 in pixels, half open.
        areas:
            (T,) the pixels that each object covers; None for those of its box.

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
        covered = best[:, None] >= np.array(THRESHOLDS)
        if areas is None:
            areas = np.prod(objects[:, 2:] - objects[:, :2], axis=1)
        sized = np.stack([(areas >= low) & (areas < high) for low, high in SIZES.values()], axis=1)
        self._rows.add(
            name,
            objects=[len(objects)],
            covered=covered.sum(axis=0)[None],
            sized_objects=sized.sum(axis=0)[None],
            sized_covered=(sized & covered[:, :1]).sum(axis=0)[None],
        )

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
        recalls = [_mean(column, rows["objects"]) for column in rows["covered"].T]
        sizes = zip(SIZES, rows["sized_covered"].T, rows["sized_objects"].T, strict=True)
        return RecallResult(
            mean_recall=recalls[0],
            average_recall=exact_sum(np.array(recalls)) / len(recalls),
            by_iou=tuple(zip(THRESHOLDS, recalls, strict=True)),
            images=len(rows),
            objects=int(rows["objects"].sum()),
            by_size=tuple((size, _mean(covered, objects)) for size, covered, objects in sizes if objects.any()),
        )


def _mean(covered: NDArray[np.int32], objects: NDArray[np.int32]) -> float:
    """The mean recall of the images that have objects."""
    there = objects > 0
    return exact_sum(covered[there] / objects[there]) / int(there.sum())


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
