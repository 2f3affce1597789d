"""Where there is nothing: sectors around a sensor, each free up to the first obstacle in it.

Tracing every ray of a lidar in the plane would erase cars, since beams pass above them.  A sector ends at its nearest
obstacle, and at its farthest return, since no return is not free.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.grid.window import Window


def sectors(x: NDArray[np.float32], y: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """The sector of each direction: intp in [0, count), counted counter-clockwise from that of -x.

    Coordinates broadcast: a row of x and a column of y are the directions of a plane.  All is float32: a direction so
    near to a border that this does not tell, about 1e-7 of a turn, may fall to either side, of points and cells alike.
    """
    turns = (np.arctan2(y, x) + np.float32(math.pi)) * np.float32(count / (2 * math.pi))
    # The direction of -x itself is both the first and the last border.
    found: NDArray[np.intp] = turns.astype(np.intp)
    np.minimum(found, count - 1, out=found)
    return found


def free_ranges(
    points: NDArray[np.float32],
    obstacle: NDArray[np.bool_],
    weights: NDArray[np.float32],
    resolution: float,
    count: int,
    bridged: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """How far each sector is free, and how surely.

    Parameters
    ----------
    points:
        (P, 3) float32, metres from the sensor.
    obstacle:
        (P,) bool, which of them end the free space of their sector.
    weights:
        (P,) float32 in (0, 1], how much each counts: w is that of a range error of resolution / sqrt(w).
    resolution:
        Edge of a cell, metres.  Before a point so much is kept clear, or its error if that is more.
    count:
        B, the number of sectors.
    bridged:
        So many neighbouring sectors without returns are as free as the less free of those beside them: the rays of a
        depth image or of a slow lidar may lie farther apart than sectors do.

    Returns
    -------
    ranges:
        (B,) float32 metres, 0 in a sector without returns.
    certainty:
        (B,) float32, the least weight of the points of each sector, 0 without.
    """
    x, y = points[:, 0], points[:, 1]
    reach = np.maximum(np.sqrt(x * x + y * y) - np.float32(resolution) / np.sqrt(weights), np.float32(0))
    sector = sectors(x, y, count)
    # Points that follow each other in a sweep often share their sector: each run of them is made one first, since `at`
    # is slow.
    runs = np.flatnonzero(np.diff(sector, prepend=-1))
    sector = sector.take(runs)
    farthest = np.zeros(count, dtype=np.float32)
    np.maximum.at(farthest, sector, np.maximum.reduceat(reach, runs))
    nearest = np.full(count, np.inf, dtype=np.float32)
    np.minimum.at(nearest, sector, np.minimum.reduceat(np.where(obstacle, reach, np.float32(np.inf)), runs))
    ranges = np.minimum(farthest, nearest)
    certainty = np.full(count, np.inf, dtype=np.float32)
    np.minimum.at(certainty, sector, np.minimum.reduceat(weights, runs))
    returned = np.isfinite(certainty)
    certainty[~returned] = 0
    held, empty = np.flatnonzero(returned), np.flatnonzero(~returned)
    if len(held) > 1 and len(empty):
        after = np.searchsorted(held, empty) % len(held)
        before = after - 1  # the last one is before the first
        gaps = (held[after] - held[before]) % count - 1
        for values in (ranges, certainty):
            beside = np.minimum(values[held[before]], values[held[after]])
            values[empty] = np.where(gaps <= bridged, beside, np.float32(0))
    return ranges, certainty


def free_cells(
    window: Window, origin: NDArray[np.float64], ranges: NDArray[np.float32]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The cells whose centres lie nearer than their sector is free.

    Parameters
    ----------
    origin:
        (3,) float64, the sensor in the fixed frame, metres.
    ranges:
        (B,) float32, what `free_ranges` says.

    Returns
    -------
    cells:
        (F,) intp, where they are stored, rising.
    sectors:
        (F,) intp, the sectors that they are in.
    """
    x, y = window.centres(origin)
    reach = ranges.max()
    columns, rows = np.flatnonzero(np.abs(x) < reach), np.flatnonzero(np.abs(y) < reach)[:, None]
    x, y = x[columns], y[rows]
    sector = sectors(x, y, len(ranges))
    free = np.flatnonzero(y * y + x * x < (ranges * ranges).take(sector))
    return (rows * window.size + columns).take(free), sector.take(free)
