"""How high points are above the ground: above the plane of the base frame, or above what the cloud shows of the ground.

The estimate is the lower envelope of the cloud: the lowest points of coarse cells, under the condition that the ground
rises and falls by no more than `SLOPE`.  A cell without points takes the ground of its neighbours, and the foot of a
wall lies as high as the ground before it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

CELL = 1.0  # metres
SLOPE = 0.3
"""Rise over run, 17°: steeper than roads and walkable ground, flatter than what stands there."""

REACH = 8
"""Cells over which the ground is carried under obstacles and into gaps."""

STRAY = 0.1
"""Share of a cell's points, lowest first, that may be reflections from below the ground."""

PIT = 0.3
"""Metres by which a cell may lie deeper than the slope allows under all its neighbours, before it is a reflection."""

_FAR = np.float32(1e6)


def heights_above_ground(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Heights above the ground as the points themselves show it.

    Parameters
    ----------
    points:
        (N, 3) float32, metres, z up.

    Returns
    -------
    heights:
        (N,) float32, metres; 0 on the ground, a little below 0 for strays.
    """
    if not len(points):
        return np.zeros(0, dtype=np.float32)
    corner = points[:, :2].min(axis=0) - CELL
    at = (points[:, :2] - corner) / np.float32(CELL)
    size = at.max(axis=0).astype(np.intp) + 2
    cells = at[:, 1].astype(np.intp) * size[0] + at[:, 0].astype(np.intp)
    lowest = np.full(size[0] * size[1], _FAR, dtype=np.float32)
    found, values = _low(cells, points[:, 2])
    lowest[found] = values
    ground = _envelope(_without_pits(lowest.reshape(size[1], size[0])))
    heights: NDArray[np.float32] = points[:, 2] - _between(ground, at - np.float32(0.5))
    return heights


def _between(ground: NDArray[np.float32], at: NDArray[np.float32]) -> NDArray[np.float32]:
    """The ground at places (N, 2) x, y in cells' middles, bilinear; OpenCV's remap takes at most 32767 of them."""
    first = at.astype(np.intp)  # at least half a cell from the border
    share = at - first
    place = first[:, 1] * ground.shape[1] + first[:, 0]
    flat = ground.ravel()
    near = flat[place] + share[:, 0] * (flat[place + 1] - flat[place])
    place += ground.shape[1]
    far = flat[place] + share[:, 0] * (flat[place + 1] - flat[place])
    found: NDArray[np.float32] = near + share[:, 1] * (far - near)
    return found


def _low(cells: NDArray[np.intp], z: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The cells that have points, and the `STRAY` quantile of the z of each."""
    order = np.lexsort((z, cells))
    cells, z = cells[order], z[order]
    begins = np.flatnonzero(np.diff(cells, prepend=-1))
    counts = np.diff(begins, append=len(cells))
    return cells[begins], z[begins + (STRAY * counts).astype(np.intp)]


def _without_pits(lowest: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same without cells that lie alone far below all cells within two of them."""
    others = np.ones((5, 5), dtype=np.uint8)
    others[2, 2] = 0
    around = cv2.erode(lowest, others)
    pit = (around < _FAR) & (lowest < around - np.float32(PIT + 2 * SLOPE * CELL))
    return np.where(pit, _FAR, lowest)


def _envelope(lowest: NDArray[np.float32]) -> NDArray[np.float32]:
    """For each cell the least of z + `SLOPE` · distance over the cells within `REACH`; where there is none, its own."""
    rise = np.float32(SLOPE * CELL)
    padded = lowest
    for _ in range(REACH):
        straight = cv2.erode(padded, cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))) + rise
        diagonal = cv2.erode(padded, np.ones((3, 3), np.uint8)) + rise * np.float32(np.sqrt(2.0))
        padded = np.minimum(padded, np.minimum(straight, diagonal))
    return np.asarray(padded, dtype=np.float32)
