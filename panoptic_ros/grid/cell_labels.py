"""The points of an observation by the cells that they fall into, and what they say of each cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class CellVerdict(NamedTuple):
    """What the points of obstacles in an observation say of its (M,) cells.

    Points of one cell and one observation err together, so that the best of them speaks for all.  Whether a cell is of
    a thing is the majority of its labels: points at a thing's edge often have none.

    Attributes
    ----------
    strength:
        (M,) float32, the weight that speaks for an obstacle, 0 where there is none.
    thing:
        (M,) bool, whether that is a thing.
    unwatched:
        (M,) bool, whether something is there of which no camera can say what it is.
    """

    strength: NDArray[np.float32]
    thing: NDArray[np.bool_]
    unwatched: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class CellLabels:
    """Points in the window: those of the ground, or see `ObstacleLabels`.

    Attributes
    ----------
    rows:
        (P,) the row of each one's cell in the tables of an observation.
    columns:
        (P,) the column of its class in its block, -1 without.
    weights:
        (P,) in (0, 1].
    """

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    weights: NDArray[np.float32]

    def heaviest(self, count: int) -> NDArray[np.float32]:
        """(count,) float32, the largest weight of the points in each cell, 0 without."""
        weights = np.zeros(count, dtype=np.float32)
        np.maximum.at(weights, self.rows, self.weights)
        return weights

    def counts(self, count: int, width: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Which of `count` cells have labels, and the (L, width) weights of each class in them, by columns."""
        chosen = np.flatnonzero(self.columns >= 0)
        rows = self.rows.take(chosen)
        labelled = np.zeros(count, dtype=np.bool_)
        labelled[rows] = True
        weights = np.bincount(
            self.columns.take(chosen) * count + rows, weights=self.weights.take(chosen), minlength=count * width
        ).reshape(width, count)
        cells = np.flatnonzero(labelled)
        return cells, weights.take(cells, axis=1).astype(np.float32).T


@dataclass(frozen=True, slots=True, eq=False)
class ObstacleLabels(CellLabels):
    """Points of obstacles in the window.

    Attributes
    ----------
    dynamic:
        (P,) whether the class of each one is a thing.
    watched:
        (P,) whether a camera looks there.
    instances:
        (P,) its track, 0 for none.
    """

    dynamic: NDArray[np.bool_]
    watched: NDArray[np.bool_]
    instances: NDArray[np.int32]

    def strongest(self, wanted: NDArray[np.bool_]) -> NDArray[np.int32]:
        """(M,) int32, the track that most of the points of each wanted cell are of, 0 for none."""
        result = np.zeros(len(wanted), dtype=np.int32)
        chosen = np.flatnonzero((self.instances > 0) & wanted[self.rows])
        keys = (self.rows[chosen].astype(np.int64) << 32) | self.instances[chosen]
        pairs, inverse = np.unique(keys, return_inverse=True)
        weights = np.bincount(inverse, weights=self.weights[chosen], minlength=len(pairs))
        cells, instances = pairs >> 32, (pairs & 0xFFFFFFFF).astype(np.int32)
        # The last that is written stays: the heaviest, and of equals the least.
        order = np.lexsort((-instances, weights))
        result[cells[order]] = instances[order]
        return result

    def verdict(self, count: int) -> CellVerdict:
        """What these points say of `count` cells."""
        strength = self.heaviest(count)
        votes = np.where(self.dynamic, self.weights, -self.weights)
        votes[self.columns < 0] = 0
        thing = np.bincount(self.rows, weights=votes, minlength=count) > 0
        unwatched = (strength > 0) & ~thing
        unwatched[self.rows[(self.columns >= 0) | self.watched]] = False
        return CellVerdict(strength, thing, unwatched)
