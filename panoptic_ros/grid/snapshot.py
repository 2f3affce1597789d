"""What the grid says at one moment, as arrays in the order of the world: rows by rising y, columns by rising x."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class ClassPosteriors:
    """The probabilities of all classes in the cells that have labels.

    Attributes
    ----------
    slots:
        (N, N) int32, the row of each cell in `ground`, or the number of rows of that more than its row in
        `obstacle`, -1 without labels.
    ground, obstacle:
        (A, G) and (B, O) float32, the probabilities in cells that are seen as ground and as an obstacle.  Each row
        sums to 1.
    ground_columns, obstacle_columns:
        (G,) and (O,) int16, the class indices that the columns are of.
    count:
        C, the number of classes.
    """

    slots: NDArray[np.int32]
    ground: NDArray[np.float32]
    obstacle: NDArray[np.float32]
    ground_columns: NDArray[np.int16]
    obstacle_columns: NDArray[np.int16]
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class GridSnapshot:
    """The grid at one moment.  All arrays are (N, N) and stay as they are when the grid goes on.

    Attributes
    ----------
    stamp:
        Nanoseconds.
    frame:
        The fixed frame.
    resolution:
        Edge of a cell, metres.
    origin:
        x and y of the outer corner of cell [0, 0] in the fixed frame, metres.
    occupancy:
        float32, the probability that something stands there; NaN where nothing was seen.
    occupied:
        int8, 100 occupied, 0 free, -1 unknown or undecided.
    classes:
        int16, the class index of the obstacle where it is occupied and of the ground elsewhere, -1 without labels.
    ground_classes:
        int16, the class index of the ground, also under an obstacle, -1 without labels.
    probability:
        float32, the probability of `classes`, 0 without labels.
    entropy:
        float32, nats, that of the distribution of `classes`; NaN without labels.
    instance:
        int32, the track of the thing that stands there, 0 for none.
    age:
        float32, seconds since the cell was last seen; NaN where it never was.
    dynamic:
        bool, whether a thing stands there.
    posteriors:
        The whole distributions.
    """

    stamp: int
    frame: str
    resolution: float
    origin: tuple[float, float]
    occupancy: NDArray[np.float32]
    occupied: NDArray[np.int8]
    classes: NDArray[np.int16]
    ground_classes: NDArray[np.int16]
    probability: NDArray[np.float32]
    entropy: NDArray[np.float32]
    instance: NDArray[np.int32]
    age: NDArray[np.float32]
    dynamic: NDArray[np.bool_]
    posteriors: ClassPosteriors

    @property
    def size(self) -> int:
        """N, the number of cells along each side."""
        return len(self.occupied)

    @property
    def centre(self) -> tuple[float, float]:
        """Where the middle of the window is in the fixed frame: x and y, metres."""
        half = self.size * self.resolution / 2
        return self.origin[0] + half, self.origin[1] + half

    def posterior(self, rows: NDArray[np.integer], columns: NDArray[np.integer]) -> NDArray[np.float32]:
        """The probabilities of all classes in some cells.

        Parameters
        ----------
        rows, columns:
            (M,) indices of the cells.

        Returns
        -------
        (M, C) float32; the distribution that `classes` is the best of, NaN in a cell without labels.
        """
        parts = self.posteriors
        slots = parts.slots[rows, columns]
        result = np.zeros((len(slots), parts.count), dtype=np.float32)
        result[slots < 0] = np.nan
        split = len(parts.ground)
        for chosen, table, names, start in (
            ((slots >= 0) & (slots < split), parts.ground, parts.ground_columns, 0),
            (slots >= split, parts.obstacle, parts.obstacle_columns, split),
        ):
            places = np.flatnonzero(chosen)
            result[places[:, None], names] = table[slots[places] - start]
        return result
