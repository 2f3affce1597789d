"""The part of the plane that the grid holds: a square that moves by whole cells and copies nothing.

Cell k of an axis of the fixed frame covers [k, k + 1) times the resolution and is stored at k modulo the size (a ring
buffer), so that a cell stays where it is while it is inside.  A move only names the rows and columns that enter.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)


class Window:
    """A square of cells, parallel to the axes of the fixed frame.

    Parameters
    ----------
    resolution:
        Edge of a cell, metres.
    size:
        N, cells along each side.

    Attributes
    ----------
    first:
        The x and y index of the least cell inside.
    """

    def __init__(self, resolution: float, size: int) -> None:
        self.resolution = resolution
        self.size = size
        self.first = (-(size // 2), -(size // 2))

    @property
    def origin(self) -> tuple[float, float]:
        """The outer corner of the least cell, x and y in the fixed frame, metres."""
        return self.first[0] * self.resolution, self.first[1] * self.resolution

    def move(self, x: float, y: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Put the cell of a position in the middle.

        Parameters
        ----------
        x, y:
            The position in the fixed frame, metres.

        Returns
        -------
        The stored columns and the stored rows that enter: whatever is kept there is of cells that have left.

        Raises
        ------
        ValueError
            If the position is not finite.
        """
        if not (math.isfinite(x) and math.isfinite(y)):
            raise ValueError(f"the window cannot move to x {x}, y {y}")
        before, half = self.first, self.size // 2
        self.first = (math.floor(x / self.resolution) - half, math.floor(y / self.resolution) - half)
        return self._entering(before[0], self.first[0]), self._entering(before[1], self.first[1])

    def _entering(self, before: int, after: int) -> NDArray[np.intp]:
        if after >= before:
            cells = np.arange(max(before + self.size, after), after + self.size)
        else:
            cells = np.arange(after, min(before, after + self.size))
        return (cells % self.size).astype(np.intp)

    def cells(
        self, origin: NDArray[np.float64], points: NDArray[np.float32]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The cells of points.

        Parameters
        ----------
        origin:
            (3,) float64, what the points are relative to, in the fixed frame, metres.
        points:
            (P, 3) float32, finite, metres.

        Returns
        -------
        inside:
            (Q,) intp, rising, which points lie in the window.
        cells:
            (Q,) intp, where the cell of each of these is stored: row * N + column.
        """
        columns, rows = (
            # The offset is small and comes from float64, so that a far origin costs no precision.
            np.floor((points[:, axis] + np.float32(origin[axis] - corner)) / np.float32(self.resolution))
            for axis, corner in enumerate(self.origin)
        )
        inside = np.flatnonzero((columns >= 0) & (columns < self.size) & (rows >= 0) & (rows < self.size))
        column, row = (
            self._stored(cells.take(inside).astype(np.intp), first)
            for cells, first in zip((columns, rows), self.first, strict=True)
        )
        return inside, row * self.size + column

    def _stored(self, cells: NDArray[np.intp], first: int) -> NDArray[np.intp]:
        """Where cells that are counted from the first one are stored."""
        return ((np.arange(self.size) + first) % self.size).take(cells)

    def centres(self, origin: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The centres of the stored columns and rows, (N,) float32 each, metres from `origin` along x and y."""
        x, y = (
            ((self._indices(first) + 0.5) * self.resolution - origin[axis]).astype(np.float32)
            for axis, first in enumerate(self.first)
        )
        return x, y

    def _indices(self, first: int) -> NDArray[np.intp]:
        """The index of the cell that is stored at each place of an axis."""
        return first + (np.arange(self.size) - first) % self.size

    def unrolled(self, stored: NDArray[Scalar]) -> NDArray[Scalar]:
        """A copy of an (N, N) array as it is stored, in the order of the world."""
        return np.roll(stored, (-self.first[1], -self.first[0]), axis=(0, 1))
