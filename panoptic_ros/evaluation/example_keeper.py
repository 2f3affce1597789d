"""The worst and best frames of a run whose end nobody knows."""

from __future__ import annotations

import math
from bisect import insort
from dataclasses import dataclass, field

from panoptic_ros.datasets.dataset import Truth
from panoptic_ros.evaluation.examples import Example, Place
from panoptic_ros.segmentation import PanopticSegmentation


@dataclass(order=True, frozen=True, slots=True)
class _Kept:
    score: float
    order: int
    name: str = field(compare=False)
    prediction: PanopticSegmentation = field(compare=False)
    truth: Truth = field(compare=False)

    def example(self, place: Place) -> Example:
        return Example(self.name, place, self.score, None, self.prediction, self.truth)


class ExampleKeeper:
    """Keeps the frames that `choose_examples` would choose of all frames up to now.

    Parameters
    ----------
    count:
        How many of the worst and of the best; twice as many are in memory.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._kept: list[_Kept] = []
        self._seen = 0

    def add(self, name: str, score: float, prediction: PanopticSegmentation, truth: Truth) -> None:
        """Take a frame into account; one whose score is NaN is not shown."""
        self._seen += 1
        if math.isnan(score):
            return
        insort(self._kept, _Kept(score, self._seen, name, prediction, truth))
        if len(self._kept) > 2 * self._count:  # the middle one is neither among the lowest nor among the highest
            del self._kept[self._count]

    def examples(self) -> list[Example]:
        """The worst from the lowest score upward, then the best from the highest downward."""
        worst = min(self._count, (len(self._kept) + 1) // 2)
        return [
            *(kept.example("worst") for kept in self._kept[:worst]),
            *(kept.example("best") for kept in reversed(self._kept[worst:])),
        ]
