"""Average precision of instances by COCO's rules, over masks and over boxes (Lin et al. 2014; pycocotools).

The instances are those of a panoptic segmentation: their masks do not overlap, and each has one class.  pycocotools
matches and accumulates; the overlaps of masks are those that were counted once for all metrics, so that no mask is
encoded. IoU thresholds are 0.50 to 0.95, at most 100 instances an image count, crowds are ignored, and classes without
truth have no figure.  `CityscapesAveragePrecision` is another measure.
"""

from __future__ import annotations

import contextlib
import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.evaluation.instances import InstanceOverlaps, InstanceStore
from panoptic_ros.evaluation.overlaps import EvaluationError, Overlaps
from panoptic_ros.labels import LabelSet

SMALL, MEDIUM, LARGE = 1, 2, 3
"""COCO's ranges of areas, by their place among pycocotools' parameters: below 32², below 96², above."""


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


class AveragePrecision:
    """Collects instances image by image and evaluates them by COCO's rules.

    Raises
    ------
    EvaluationError
        If pycocotools is not installed.
    """

    def __init__(self, labels: LabelSet) -> None:
        _pycocotools()
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

    def merge(self, other: AveragePrecision) -> None:
        """Take over other images.

        Raises
        ------
        EvaluationError
            If an image is in both.
        """
        self._store.merge(other._store)

    def result(self) -> AveragePrecisionResult:
        """The precision over all images so far."""
        images = self._store.images()
        return AveragePrecisionResult(
            masks=_evaluate(images, self.labels, "segm"), boxes=_evaluate(images, self.labels, "bbox")
        )


def _pycocotools() -> Any:
    """The module that evaluates, which only those need who ask for it."""
    try:
        from pycocotools import cocoeval
    except ImportError as error:
        raise EvaluationError(
            "average precision by COCO's rules needs pycocotools: pip install 'panoptic_ros[evaluation]'"
        ) from error
    return cocoeval


def _evaluate(images: Sequence[InstanceOverlaps], labels: LabelSet, kind: str) -> CocoPrecision:
    evaluator = _pycocotools().COCOeval(iouType=kind)
    evaluator.params.imgIds = list(range(len(images)))
    evaluator.params.catIds = sorted(labels.thing_ids)
    # What it would otherwise read from files: the instances, by image and class, and how they overlap.
    evaluator._prepare = lambda: None
    evaluator._gts, evaluator._dts, ious = _annotations(images)
    if kind == "segm":
        evaluator.computeIoU = lambda image, class_id: ious.get((image, class_id), [])
    with contextlib.redirect_stdout(io.StringIO()):  # it talks about its progress
        evaluator.evaluate()
        evaluator.accumulate()
    # (thresholds, recalls, classes, areas, numbers of instances), and the same without recalls; -1 without truth.
    precision, recall = evaluator.eval["precision"], evaluator.eval["recall"]
    at = {threshold: int(np.argmin(abs(evaluator.params.iouThrs - threshold))) for threshold in (0.5, 0.75)}
    per_class = []
    for index, class_id in enumerate(sorted(labels.thing_ids)):
        ap, ap50 = _mean(precision[:, :, index, 0, -1]), _mean(precision[at[0.5], :, index, 0, -1])
        if ap is not None and ap50 is not None:
            per_class.append(ClassPrecision(class_id, labels.name_of(class_id), ap, ap50))
    return CocoPrecision(
        ap=_mean(precision[..., 0, -1]),
        ap50=_mean(precision[at[0.5], :, :, 0, -1]),
        ap75=_mean(precision[at[0.75], :, :, 0, -1]),
        ap_small=_mean(precision[..., SMALL, -1]),
        ap_medium=_mean(precision[..., MEDIUM, -1]),
        ap_large=_mean(precision[..., LARGE, -1]),
        ar1=_mean(recall[..., 0, 0]),
        ar10=_mean(recall[..., 0, 1]),
        ar100=_mean(recall[..., 0, 2]),
        per_class=tuple(per_class),
    )


Annotations = defaultdict[tuple[int, int], list[dict[str, Any]]]


def _annotations(
    images: Sequence[InstanceOverlaps],
) -> tuple[Annotations, Annotations, dict[tuple[int, int], NDArray[np.float64]]]:
    """The truth, the predictions and the IoU of their masks in pycocotools' forms, by image and class.

    Its matrices have a row for each prediction, best score first, and a column for each of the truth.
    """
    truths: Annotations = defaultdict(list)
    predictions: Annotations = defaultdict(list)
    ious = {}
    number = 0  # of an annotation; 0 means that there is no match
    for image, instances in enumerate(images):
        truth, prediction = instances.truth, instances.prediction
        shared = np.zeros((len(truth.areas), len(prediction.areas)))
        shared[instances.pairs[:, 0], instances.pairs[:, 1]] = instances.shared
        unions = truth.areas[:, None] + prediction.areas - shared
        # What lies in a crowd is right altogether.
        unions = np.where(truth.crowd[:, None], prediction.areas, unions)
        for class_id in np.union1d(truth.class_ids, prediction.class_ids).tolist():
            rows, columns = (
                np.flatnonzero(truth.class_ids == class_id),
                np.flatnonzero(prediction.class_ids == class_id),
            )
            for table, chosen, found in ((truth, rows, truths), (prediction, columns, predictions)):
                for position in chosen:
                    number += 1
                    x0, y0, x1, y1 = table.boxes[position].tolist()
                    found[image, class_id].append(
                        {
                            "id": number,
                            "area": int(table.areas[position]),
                            "bbox": [x0, y0, x1 - x0, y1 - y0],
                            "iscrowd": int(table.crowd[position]),
                            "ignore": int(table.crowd[position]),
                            "score": float(table.scores[position]),
                        }
                    )
            best = columns[np.argsort(-prediction.scores[columns], kind="stable")]
            ious[image, class_id] = (shared / unions)[np.ix_(rows, best)].T
    return truths, predictions, ious


def _mean(values: NDArray[np.float64]) -> float | None:
    """The mean of what is not -1, which stands for the figures of classes without truth."""
    known = values[values > -1]
    return float(known.mean()) if known.size else None
