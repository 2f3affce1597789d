"""Average precision of instances by COCO's rules, over masks and over boxes (Lin et al. 2014; pycocotools).

The instances of `AveragePrecision` are those of a panoptic segmentation: their masks do not overlap, and each has one
class; `DetectionPrecision` takes masks that may overlap.  pycocotools matches and accumulates; the overlaps of masks
are counted beforehand, once for all metrics, so that no mask is encoded.  IoU thresholds are 0.50 to 0.95, at most 100
instances an image count, crowds are ignored, and classes without truth have no figure.  `CityscapesAveragePrecision`
is another measure.
"""

from __future__ import annotations

import contextlib
import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.evaluation.instances import InstanceCollector, InstanceOverlaps, InstanceTable
from panoptic_ros.evaluation.overlaps import EvaluationError
from panoptic_ros.labels import LabelSet

ALL, SMALL, MEDIUM, LARGE = 0, 1, 2, 3
"""COCO's ranges of areas, by their place among pycocotools' parameters: all, below 32², below 96², above."""

AT_50, AT_75 = 0, 5
"""The places of the thresholds 0.50 and 0.75."""


@dataclass(frozen=True, slots=True)
class ClassPrecision:
    """The average precision of one class of the truth: over thresholds 0.50 to 0.95, and at 0.50."""

    class_id: int
    name: str
    ap: float
    ap50: float


@dataclass(frozen=True, slots=True)
class CocoPrecision:
    """COCO's figures for masks or for boxes, in [0, 1]; None where there is no truth that they could be of.

    Attributes
    ----------
    ap, ap50, ap75:
        Average precision over thresholds 0.50 to 0.95, at 0.50 and at 0.75.
    ap_small, ap_medium, ap_large:
        Over instances below 32² pixels, below 96² pixels and above.
    ar1, ar10, ar100:
        Average recall with the best 1, 10 and 100 instances of an image.
    per_class:
        The classes of the truth.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    ar1: float | None
    ar10: float | None
    ar100: float | None
    per_class: tuple[ClassPrecision, ...]


@dataclass(frozen=True, slots=True)
class AveragePrecisionResult:
    """Average precision by COCO's rules, over masks and over boxes."""

    masks: CocoPrecision
    boxes: CocoPrecision


class AveragePrecision(InstanceCollector):
    """Collects instances image by image and evaluates them by COCO's rules.

    Raises
    ------
    EvaluationError
        If pycocotools is not installed.
    """

    def __init__(self, labels: LabelSet) -> None:
        require_pycocotools()
        super().__init__(labels)

    def result(self) -> AveragePrecisionResult:
        """The precision over all images so far."""
        images = self.images()
        return AveragePrecisionResult(
            masks=coco_precision(images, self.labels, "segm"), boxes=coco_precision(images, self.labels, "bbox")
        )


def require_pycocotools() -> Any:
    """The module that evaluates, which only those need who ask for it.

    Raises
    ------
    EvaluationError
        If it is not installed.
    """
    try:
        from pycocotools import cocoeval
    except ImportError as error:
        raise EvaluationError(
            "average precision by COCO's rules needs pycocotools: pip install 'panoptic_ros[evaluation]'"
        ) from error
    return cocoeval


def coco_precision(
    images: Sequence[InstanceOverlaps], labels: LabelSet, kind: Literal["segm", "bbox"]
) -> CocoPrecision:
    """The figures of masks or boxes, one class after another: so little has to be in memory at once."""
    evaluated: dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
    for class_id in sorted(labels.thing_ids):
        of_class = [found for image in images if (found := _OneClass.of(image, class_id)) is not None]
        if any(not truth["iscrowd"] for found in of_class for truth in found.truth):
            evaluated[class_id] = _accumulated(of_class, class_id, kind)
    if not evaluated:
        return CocoPrecision(None, None, None, None, None, None, None, None, None, ())
    precision = np.concatenate([part[0] for part in evaluated.values()], axis=2)
    recall = np.concatenate([part[1] for part in evaluated.values()], axis=1)
    return CocoPrecision(
        ap=_mean(precision[..., ALL, -1]),
        ap50=_mean(precision[AT_50, ..., ALL, -1]),
        ap75=_mean(precision[AT_75, ..., ALL, -1]),
        ap_small=_mean(precision[..., SMALL, -1]),
        ap_medium=_mean(precision[..., MEDIUM, -1]),
        ap_large=_mean(precision[..., LARGE, -1]),
        ar1=_mean(recall[..., ALL, 0]),
        ar10=_mean(recall[..., ALL, 1]),
        ar100=_mean(recall[..., ALL, 2]),
        per_class=tuple(
            ClassPrecision(
                class_id,
                labels.name_of(class_id),
                float(part[..., ALL, -1].mean()),
                float(part[AT_50, ..., ALL, -1].mean()),
            )
            for class_id, (part, _) in evaluated.items()
        ),
    )


def _accumulated(
    images: Sequence[_OneClass], class_id: int, kind: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision and recall by pycocotools of one class in the images that have it; -1 where there is no truth.

    They are (thresholds, recalls, 1, areas, numbers of instances) and (thresholds, 1, areas, numbers of instances).
    """
    evaluator = require_pycocotools().COCOeval(iouType=kind)
    evaluator.params.imgIds = list(range(len(images)))
    evaluator.params.catIds = [class_id]
    # What it would otherwise read from files and encoded masks.
    evaluator._prepare = lambda: None
    evaluator._gts = defaultdict(list, {(index, class_id): image.truth for index, image in enumerate(images)})
    evaluator._dts = defaultdict(list, {(index, class_id): image.prediction for index, image in enumerate(images)})
    if kind == "segm":
        evaluator.computeIoU = lambda index, _: images[index].ious
    with contextlib.redirect_stdout(io.StringIO()):  # it talks about its progress
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator.eval["precision"], evaluator.eval["recall"]


@dataclass(frozen=True, slots=True, eq=False)
class _OneClass:
    """The T true and P predicted instances of one class in one image, as pycocotools has them.

    Attributes
    ----------
    truth, prediction:
        Its annotations.
    ious:
        (P, T) of their masks, the predictions by score, best first.
    """

    truth: list[dict[str, Any]]
    prediction: list[dict[str, Any]]
    ious: NDArray[np.float64]

    @classmethod
    def of(cls, image: InstanceOverlaps, class_id: int) -> _OneClass | None:
        """The instances of a class; None where there are none."""
        truth, prediction = image.truth, image.prediction
        rows, columns = np.flatnonzero(truth.class_ids == class_id), np.flatnonzero(prediction.class_ids == class_id)
        if not len(rows) and not len(columns):
            return None
        shared = np.zeros((len(truth.areas), len(prediction.areas)))
        shared[image.pairs[:, 0], image.pairs[:, 1]] = image.shared
        best = columns[np.argsort(-prediction.scores[columns], kind="stable")]
        shared = shared[np.ix_(rows, best)].T
        unions = prediction.areas[best][:, None] + truth.areas[rows] - shared
        # What lies in a crowd is right altogether.
        unions = np.where(truth.crowd[rows], prediction.areas[best][:, None], unions)
        # A detection without a pixel in a crowd would be 0 of 0.
        ious = shared / np.maximum(unions, 1)
        return cls(_annotations(truth, rows), _annotations(prediction, columns), ious)


def _annotations(table: InstanceTable, chosen: NDArray[np.intp]) -> list[dict[str, Any]]:
    """Some instances in pycocotools' form; its boxes are x, y, width and height."""
    return [
        {
            "id": number,
            "area": int(table.areas[position]),
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "iscrowd": int(table.crowd[position]),
            "ignore": int(table.crowd[position]),
            "score": float(table.scores[position]),
        }
        # From 1: a match with 0 would be none.
        for number, (position, (x0, y0, x1, y1)) in enumerate(
            zip(chosen, table.boxes[chosen].tolist(), strict=True), start=1
        )
    ]


def _mean(values: NDArray[np.float64]) -> float | None:
    """The mean of what is not -1, which stands for the figures of classes without truth."""
    known = values[values > -1]
    return float(known.mean()) if known.size else None
