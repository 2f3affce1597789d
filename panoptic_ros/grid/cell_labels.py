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
    """Points in the window, either of the ground or of obstacles.

    Attributes
    ----------
    rows:
        (P,) the row of each one's cell in the tables of an observation.
    columns:
        (P,) the column of its class in its block, -1 without.
    dynamic:
        (P,) whether that is a thing.
    watched:
        (P,) whether a camera looks there.
    instances:
        (P,) its track, 0 for none.
    weights:
        (P,) in (0, 1].
    """

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    dynamic: NDArray[np.bool_]
    watched: NDArray[np.bool_]
    instances: NDArray[np.int32]
    weights: NDArray[np.float32]

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
        """What these points, of obstacles, say of `count` cells."""
        strength = np.zeros(count, dtype=np.float32)
        np.maximum.at(strength, self.rows, self.weights)
        votes = np.where(self.dynamic, self.weights, -self.weights)
        votes[self.columns < 0] = 0
        thing = np.bincount(self.rows, weights=votes, minlength=count) > 0
        unwatched = (strength > 0) & ~thing
        unwatched[self.rows[(self.columns >= 0) | self.watched]] = False
        return CellVerdict(strength, thing, unwatched)

    def counts(self, count: int, width: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Which of `count` cells have labels, and the (L, width) weights of each class in them."""
        chosen = np.flatnonzero(self.columns >= 0)
        rows = self.rows[chosen]
        labelled = np.zeros(count, dtype=np.bool_)
        labelled[rows] = True
        weights = np.bincount(
            rows * width + self.columns[chosen], weights=self.weights[chosen], minlength=count * width
        ).reshape(-1, width)
        return np.flatnonzero(labelled), weights[labelled].astype(np.float32)
