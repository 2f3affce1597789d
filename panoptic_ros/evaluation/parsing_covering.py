"""Parsing Covering (Yang et al. 2019, DeeperLab, section 4.2; Diaz-Zapata 2020, equations 2.8 to 2.10).

Each region of the truth is worth its area, and is covered by the best IoU that a predicted segment of its class has
with it:

    Cov of a class = sum of |R| * max IoU(R, R') / sum of |R|,  PC = mean of Cov over the classes of the truth,

with both sums over the whole data set, so that it is not a mean over images.  There is no matching: one prediction may
cover several regions.  As in the authors' code what a prediction has on void does not count.  They have no crowds;
here a crowd is no region to be covered.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from panoptic_ros.evaluation.overlaps import Overlaps
from panoptic_ros.evaluation.rows import NamedRows, exact_sum
from panoptic_ros.labels import LabelSet


@dataclass(frozen=True, slots=True)
class ClassCovering:
    """How well a class is covered, in [0, 1], and how many pixels of the truth it has."""

    class_id: int
    name: str
    is_thing: bool
    covering: float
    pixels: int


@dataclass(frozen=True, slots=True)
class ParsingCoveringResult:
    """Parsing Covering over a set of images.

    Attributes
    ----------
    all, things, stuff:
        The means over the classes of the truth, in [0, 1]; None where no class of the group occurs.
    per_class:
        The classes of the truth, in the order of their ids.
    """

    all: float | None
    things: float | None
    stuff: float | None
    per_class: tuple[ClassCovering, ...]


class ParsingCovering:
    """Sums coverings image by image."""

    def __init__(self, labels: LabelSet) -> None:
        self.labels = labels
        self._rows = NamedRows(("class_id", "i4"), ("pixels", "i8"), ("covered", "f8"))

    def update(self, overlaps: Overlaps) -> None:
        """Take one image into account."""
        truth, shared = overlaps.truth, overlaps.intersections
        unions = truth.areas[:, None] + overlaps.prediction.areas - overlaps.prediction_on_void - shared
        ious = np.where(overlaps.same_class, shared, 0) / unions
        covered = ious.max(axis=1, initial=0.0) * truth.areas
        regions = ~truth.crowd
        classes = np.unique(truth.class_ids[regions])
        of_class = [regions & (truth.class_ids == class_id) for class_id in classes]
        self._rows.add(
            overlaps.name,
            class_id=classes,
            pixels=np.array([truth.areas[chosen].sum() for chosen in of_class], dtype=np.int64),
            covered=np.array([exact_sum(covered[chosen]) for chosen in of_class], dtype=np.float64),
        )

    def merge(self, other: ParsingCovering) -> None:
        """Take over other images.

        Raises
        ------
        EvaluationError
            If an image is in both.
        """
        self._rows.merge(other._rows)

    def result(self) -> ParsingCoveringResult:
        """The covering over all images so far."""
        per_class = []
        for class_id, rows in self._rows.by_class():
            pixels = int(rows["pixels"].sum())
            per_class.append(
                ClassCovering(
                    class_id=class_id,
                    name=self.labels.name_of(class_id),
                    is_thing=class_id in self.labels.thing_ids,
                    covering=exact_sum(rows["covered"]) / pixels,
                    pixels=pixels,
                )
            )
        return ParsingCoveringResult(
            all=_mean([part.covering for part in per_class]),
            things=_mean([part.covering for part in per_class if part.is_thing]),
            stuff=_mean([part.covering for part in per_class if not part.is_thing]),
            per_class=tuple(per_class),
        )


def _mean(values: list[float]) -> float | None:
    return exact_sum(np.array(values)) / len(values) if values else None
