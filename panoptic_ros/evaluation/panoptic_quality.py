"""Panoptic quality (Kirillov et al. 2018, section 4; Diaz-Zapata 2020, equations 2.1 to 2.4).

A predicted segment and one of the truth match if they are of one class and their intersection over union exceeds 0.5;
no segment then has two matches.  Of a class, over all images,

    PQ = sum of the matches' IoU / (TP + FP / 2 + FN / 2),  SQ = sum of IoU / TP,  RQ = TP / (TP + FP / 2 + FN / 2),

and the figure of a group of classes is the mean over those of them that occur, TP + FP + FN > 0.  The product of the
mean SQ and the mean RQ is not the mean PQ.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.evaluation.overlaps import EvaluationError, Overlaps
from panoptic_ros.evaluation.rows import IMAGE, NamedRows, exact_sum
from panoptic_ros.labels import LabelSet

Rule = Literal["coco", "cityscapes", "void_in_union"]
"""Whose evaluation is meant.

``coco``: panopticapi's.  What a prediction has on void does not count to the union.  A crowd is neither matched nor
missed.  A prediction without a match is not a false positive if more than half of it lies on void and on crowds of its
own class together.

``cityscapes``: cityscapesScripts' ``evalPanopticSemanticLabeling``, which is the same arithmetic; what differs is in
the truth: a region of a group is a crowd, and what is ignored in evaluation is void.  A result under this name says
so.

``void_in_union``: as ``coco``, but what a prediction has on void stays in the union, so that painting over what nobody
labelled costs IoU.
"""


@dataclass(frozen=True, slots=True)
class ClassQuality:
    """The panoptic quality of one class.

    Attributes
    ----------
    class_id, name, is_thing:
        The class.
    pq, sq, rq:
        In [0, 1]; `sq` is 0 where nothing matched.
    tp, fp, fn:
        Matches, predicted segments without one, segments of the truth without one.
    """

    class_id: int
    name: str
    is_thing: bool
    pq: float
    sq: float
    rq: float
    tp: int
    fp: int
    fn: int


@dataclass(frozen=True, slots=True)
class MeanQuality:
    """Means over the classes that occur, and how many those are."""

    pq: float
    sq: float
    rq: float
    classes: int


@dataclass(frozen=True, slots=True)
class PanopticQualityResult:
    """Panoptic quality over a set of images.

    Attributes
    ----------
    rule:
        Whose evaluation it is.
    all, things, stuff:
        The means; None where no class of the group occurs.
    per_class:
        The classes that occur, in the order of their ids.
    """

    rule: Rule
    all: MeanQuality | None
    things: MeanQuality | None
    stuff: MeanQuality | None
    per_class: tuple[ClassQuality, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ImageQualities:
    """Panoptic quality's counts of every image, for statistics over images.

    Attributes
    ----------
    names:
        The N images.
    class_ids:
        (C,) int32, the classes of the label set.
    tp, fp, fn:
        (N, C) int64.
    iou:
        (N, C) float64, the sum over the matches.
    """

    names: tuple[str, ...]
    class_ids: NDArray[np.int32]
    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    fn: NDArray[np.int64]
    iou: NDArray[np.float64]


class PanopticQuality:
    """Counts matches image by image; counts of several processes can be merged.

    Parameters
    ----------
    labels:
        The classes.
    rule:
        See `Rule`.

    Raises
    ------
    ValueError
        If there is no such rule.
    """

    def __init__(self, labels: LabelSet, rule: Rule = "coco") -> None:
        if rule not in get_args(Rule):
            raise ValueError(f"rule {rule!r} is not one of {', '.join(get_args(Rule))}")
        self.labels = labels
        self.rule: Rule = rule
        self._rows = NamedRows(("class_id", "i4"), ("tp", "i4"), ("fp", "i4"), ("fn", "i4"), ("iou", "f8"))

    def update(self, overlaps: Overlaps) -> None:
        """Count one image.

        Raises
        ------
        EvaluationError
            If it was counted already.
        """
        truth, prediction = overlaps.truth, overlaps.prediction
        self.count(overlaps.name, truth.class_ids, truth.crowd, prediction.class_ids, overlaps.counts)

    def count(
        self,
        name: str,
        truth_classes: NDArray[np.int32],
        crowd: NDArray[np.bool_],
        prediction_classes: NDArray[np.int32],
        counts: NDArray[np.int64],
    ) -> None:
        """Count one image or stretch of video that is given by the pixels of each pair; see `count_matches`."""
        void_in_union = self.rule == "void_in_union"
        self._rows.add(name, **count_matches(truth_classes, crowd, prediction_classes, counts, void_in_union))

    def merge(self, other: PanopticQuality) -> None:
        """Take over the counts of other images.

        Raises
        ------
        EvaluationError
            If an image is in both, or the other counts by another rule.
        """
        if other.rule != self.rule:
            raise EvaluationError(f"counts by the rules {self.rule} and {other.rule} cannot be merged")
        self._rows.merge(other._rows)

    def per_image(self) -> ImageQualities:
        """The counts of every image."""
        table = self._rows.table()
        class_ids = self.labels.class_ids
        order = np.argsort(class_ids)
        place = (table[IMAGE], order[np.searchsorted(class_ids, table["class_id"], sorter=order)])
        counts = {key: np.zeros((len(self._rows.names), len(class_ids)), np.int64) for key in ("tp", "fp", "fn")}
        for key, values in counts.items():
            values[place] = table[key]
        iou = np.zeros((len(self._rows.names), len(class_ids)))
        iou[place] = table["iou"]
        return ImageQualities(names=tuple(self._rows.names), class_ids=class_ids, iou=iou, **counts)

    def result(self) -> PanopticQualityResult:
        """The quality over all images so far."""
        things = self.labels.thing_ids
        per_class = []
        for class_id, rows in self._rows.by_class():
            tp, fp, fn = (int(rows[key].sum(dtype=np.int64)) for key in ("tp", "fp", "fn"))
            iou, weight = exact_sum(rows["iou"]), tp + fp / 2 + fn / 2
            per_class.append(
                ClassQuality(
                    class_id=class_id,
                    name=self.labels.name_of(class_id),
                    is_thing=class_id in things,
                    pq=iou / weight,
                    sq=iou / tp if tp else 0.0,
                    rq=tp / weight,
                    tp=tp,
                    fp=fp,
                    fn=fn,
                )
            )
        return PanopticQualityResult(
            rule=self.rule,
            all=_mean(per_class),
            things=_mean(quality for quality in per_class if quality.is_thing),
            stuff=_mean(quality for quality in per_class if not quality.is_thing),
            per_class=tuple(per_class),
        )


def count_matches(
    truth_classes: NDArray[np.int32],
    crowd: NDArray[np.bool_],
    prediction_classes: NDArray[np.int32],
    counts: NDArray[np.int64],
    void_in_union: bool,
) -> dict[str, NDArray[Any]]:
    """Match segments, of one image or of a stretch of video.

    Parameters
    ----------
    truth_classes, crowd:
        (T,), the class of each segment of the truth and whether it is a crowd.
    prediction_classes:
        (P,), the class of each predicted one.
    counts:
        (1 + T, 1 + P), the pixels that each pair shares, void first.
    void_in_union:
        See `Rule`.

    Returns
    -------
    By the names ``class_id``, ``tp``, ``fp``, ``fn`` and ``iou``, the sum over the matches, an array with an entry for
    each class that occurs.
    """
    shared, on_void = counts[1:, 1:], counts[0, 1:]
    areas, predicted_areas = counts[1:].sum(axis=1), counts[:, 1:].sum(axis=0)
    unions = areas[:, None] + (predicted_areas if void_in_union else predicted_areas - on_void) - shared
    same_class = truth_classes[:, None] == prediction_classes
    matches = (2 * shared > unions) & same_class & ~crowd[:, None]
    matched = np.nonzero(matches)
    ious = shared[matched] / unions[matched]

    ignored = on_void + (shared * (same_class & crowd[:, None])).sum(axis=0)
    wrong = prediction_classes[~matches.any(axis=0) & (2 * ignored <= predicted_areas)]
    missed = truth_classes[~matches.any(axis=1) & ~crowd]
    right = truth_classes[matched[0]]
    classes = np.unique(np.concatenate((right, wrong, missed)))
    return {
        "class_id": classes,
        "tp": (right == classes[:, None]).sum(axis=1),
        "fp": (wrong == classes[:, None]).sum(axis=1),
        "fn": (missed == classes[:, None]).sum(axis=1),
        "iou": np.array([exact_sum(ious[right == class_id]) for class_id in classes], dtype=np.float64),
    }


def _mean(qualities: Iterable[ClassQuality]) -> MeanQuality | None:
    """The means over classes, None over none."""
    values = np.array([(quality.pq, quality.sq, quality.rq) for quality in qualities]).reshape(-1, 3)
    if not len(values):
        return None
    pq, sq, rq = (exact_sum(column) / len(values) for column in values.T)
    return MeanQuality(pq, sq, rq, len(values))
