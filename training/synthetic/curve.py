"""Plane curves by arc length, made of clothoids, as roads are (curvature changes linearly along the way)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(6)


class Curve:
    """A curve whose curvature is linear between knots; its parameter is its length.

    Heading is then a quadratic in closed form, and position its integral, taken by Gauss-Legendre quadrature over
    pieces of at most a metre, which is exact to rounding for the radii of roads.  Beyond its ends it goes on straight.

    Parameters
    ----------
    knots:
        (K,) increasing arc lengths, metres.
    curvatures:
        (K,) 1/m at the knots, positive to the left.
    origin, heading:
        Position (x, y) and direction in radians at the first knot.
    """

    def __init__(
        self, knots: ArrayLike, curvatures: ArrayLike, origin: tuple[float, float] = (0.0, 0.0), heading: float = 0.0
    ) -> None:
        knots, curvatures = np.asarray(knots, dtype=np.float64), np.asarray(curvatures, dtype=np.float64)
        if knots.ndim != 1 or len(knots) < 2 or knots.shape != curvatures.shape or (np.diff(knots) <= 0).any():
            raise ValueError("a curve needs at least two increasing knots and as many curvatures")
        self.start, self.end = float(knots[0]), float(knots[-1])
        grid = np.union1d(knots, np.arange(self.start, self.end, 1.0))
        self._grid = np.delete(grid, np.flatnonzero(np.diff(grid) < 1e-9) + 1)
        self._curvature = np.interp(self._grid, knots, curvatures)
        steps = np.diff(self._grid)
        self._slope = np.append(np.diff(self._curvature) / steps, 0.0)
        turned = steps * (self._curvature[1:] + self._curvature[:-1]) / 2
        self._heading = heading + np.concatenate([[0.0], np.cumsum(turned)])
        self._position = np.zeros((len(self._grid), 2))
        self._position[1:] = np.cumsum(self._along(np.arange(len(steps)), steps), axis=0)
        self._position += origin

    @property
    def length(self) -> float:
        return self.end - self.start

    def evaluate(self, s: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Position (..., 2) and heading (...) in radians at arc lengths `s` (...)."""
        s = np.asarray(s, dtype=np.float64)
        clipped = np.clip(s, self.start, self.end)
        index = self._interval(clipped)
        within = clipped - self._grid[index]
        heading = self._heading[index] + within * (self._curvature[index] + within * self._slope[index] / 2)
        direction = np.stack([np.cos(heading), np.sin(heading)], axis=-1)
        position = self._position[index] + self._along(index, within) + (s - clipped)[..., None] * direction
        return position, heading

    def curvature(self, s: ArrayLike) -> NDArray[np.float64]:
        """1/m at arc lengths `s`, positive to the left; 0 beyond the ends."""
        values = np.interp(np.asarray(s, dtype=np.float64), self._grid, self._curvature, left=0.0, right=0.0)
        return np.asarray(values)

    def offset(self, s: ArrayLike, d: ArrayLike) -> NDArray[np.float64]:
        """(..., 2) positions `d` metres to the left of the curve at `s`."""
        s, d = np.broadcast_arrays(np.asarray(s, dtype=np.float64), np.asarray(d, dtype=np.float64))
        position, heading = self.evaluate(s)
        left = np.stack([-np.sin(heading), np.cos(heading)], axis=-1)
        return np.asarray(position + d[..., None] * left)

    def project(self, points: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The inverse of `offset`: arc length and signed distance (N,) of the nearest place to (N, 2) points."""
        points = np.asarray(points, dtype=np.float64)
        ends = np.array([self.start - 1e4, self.end + 1e4])
        s = np.empty(len(points))
        for begin in range(0, len(points), 4096):  # bounds the memory of the distance table
            chunk = points[begin : begin + 4096]
            distances = ((chunk[:, None] - self._position[None]) ** 2).sum(axis=-1)
            s[begin : begin + 4096] = self._grid[distances.argmin(axis=1)]
        for _ in range(20):  # Newton's method on "the offset is perpendicular to the curve"; few are needed
            position, heading = self.evaluate(s)
            tangent = np.stack([np.cos(heading), np.sin(heading)], axis=-1)
            delta = points - position
            along = (delta * tangent).sum(axis=-1)
            across = tangent[:, 0] * delta[:, 1] - tangent[:, 1] * delta[:, 0]
            step = along / np.maximum(1.0 - self.curvature(s) * across, 0.1)
            s = np.clip(s + step, *ends)
            if np.abs(step).max(initial=0.0) < 1e-10:
                break
        position, heading = self.evaluate(s)
        delta = points - position
        return s, np.cos(heading) * delta[:, 1] - np.sin(heading) * delta[:, 0]

    def _interval(self, s: NDArray[np.float64]) -> NDArray[np.intp]:
        return np.clip(np.searchsorted(self._grid, s, side="right") - 1, 0, len(self._grid) - 2)

    def _along(self, index: NDArray[np.intp], within: NDArray[np.float64]) -> NDArray[np.float64]:
        """(..., 2) from the start of intervals `index` to `within` metres into them."""
        u = within[..., None] * (_NODES + 1) / 2
        heading = self._heading[index][..., None] + u * (
            self._curvature[index][..., None] + u * self._slope[index][..., None] / 2
        )
        half = within / 2
        return np.stack(
            [half * (np.cos(heading) * _WEIGHTS).sum(axis=-1), half * (np.sin(heading) * _WEIGHTS).sum(axis=-1)],
            axis=-1,
        )
