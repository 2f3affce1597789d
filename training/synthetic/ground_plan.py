"""Triangles and boxes on a grid seen from above: what of them lies on which cells."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.compiled import compiled
from panoptic_training.synthetic.truth import ObjectTruth

SPACING = 0.7  # of a cell's side: a circle within the cell then holds a point of any such lattice


def clip_triangles(
    triangles: NDArray[np.float32], normal: NDArray[np.float64], offset: float
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """The parts of triangles where ``normal · x >= offset``, and the index of the triangle that each is a part of.

    Parameters
    ----------
    triangles:
        (T, 3, 3) corners.
    """
    over = triangles @ normal.astype(np.float32) - np.float32(offset)
    inside = (over >= 0).sum(axis=1)
    whole = np.flatnonzero(inside == 3)
    parts, owners = [triangles[whole]], [whole]
    for kept in (1, 2):
        cut = np.flatnonzero(inside == kept)
        # Turned so that the corner that is alone on its side comes first.
        alone = (over[cut] >= 0).argmax(axis=1) if kept == 1 else (over[cut] < 0).argmax(axis=1)
        order = (alone[:, None] + np.arange(3)) % 3
        corner = np.take_along_axis(triangles[cut], order[:, :, None], axis=1)
        height = np.take_along_axis(over[cut], order, axis=1)
        shares = height[:, :1] / (height[:, :1] - height[:, 1:])
        ends = corner[:, :1] + shares[:, :, None] * (corner[:, 1:] - corner[:, :1])
        if kept == 1:
            parts.append(np.stack([corner[:, 0], ends[:, 0], ends[:, 1]], axis=1))
            owners.append(cut)
        else:
            parts.append(np.stack([ends[:, 0], corner[:, 1], corner[:, 2]], axis=1))
            parts.append(np.stack([ends[:, 0], corner[:, 2], ends[:, 1]], axis=1))
            owners += [cut, cut]
    return np.concatenate(parts), np.concatenate(owners)


@compiled
def stamp_triangles(
    cells: Any, triangles: Any, values: Any, to_grid: Any, side: float, base: Any, slab: tuple[float, float]
) -> None:
    """Write a value to all cells that a triangle passes over at a height within a slab, in the triangles' order.

    Each is sampled at points `SPACING` apart, so that no cell that it covers is missed.

    Parameters
    ----------
    cells:
        (M, M) of `side` metres, rows along y.
    triangles, values:
        (T, 3, 3) corners, and (T,).
    to_grid:
        (2, 3) from the world to the grid's x and y, metres.
    base:
        (K, K) metres, the height of the ground, on a grid as wide; heights are those above it.
    slab:
        Lowest and highest height.
    """
    count, each, spacing = len(cells), len(cells) // len(base), SPACING * side
    for triangle in range(len(triangles)):
        corners = triangles[triangle]
        # From the corner opposite the shortest edge: a fan of long lines.
        lengths = np.empty(3)
        for corner in range(3):
            way = corners[(corner + 2) % 3] - corners[(corner + 1) % 3]
            lengths[corner] = np.sqrt(way[0] * way[0] + way[1] * way[1] + way[2] * way[2])
        tip = lengths.argmin()
        first, second, third = corners[tip], corners[(tip + 1) % 3], corners[(tip + 2) % 3]
        steps = int(np.ceil(max(lengths[(tip + 1) % 3], lengths[(tip + 2) % 3], 1e-6) / spacing))
        for step in range(steps + 1):
            u = step / steps
            fans = max(int(np.ceil(lengths[tip] * u / spacing)), 1)
            for fan in range(fans + 1):
                v = u * fan / fans
                x = first[0] + (u - v) * (second[0] - first[0]) + v * (third[0] - first[0])
                y = first[1] + (u - v) * (second[1] - first[1]) + v * (third[1] - first[1])
                z = first[2] + (u - v) * (second[2] - first[2]) + v * (third[2] - first[2])
                column = int(np.floor((to_grid[0, 0] * x + to_grid[0, 1] * y + to_grid[0, 2]) / side))
                row = int(np.floor((to_grid[1, 0] * x + to_grid[1, 1] * y + to_grid[1, 2]) / side))
                if 0 <= column < count and 0 <= row < count:
                    height = z - base[row // each, column // each]
                    if slab[0] < height < slab[1]:
                        cells[row, column] = values[triangle]


def paint_box(
    stands: NDArray[np.int32],
    thing: ObjectTruth,
    origin: NDArray[np.float64],
    fine: float,
    place: NDArray[np.float64],
) -> None:
    """Write a thing's id to the samples (M, M) whose middle lies in the ground plan of its box."""
    upright = on_ground(thing.pose)
    turn = place[:2, :2].T @ upright[:2, :2]
    middle = (upright[:2, 2] - place[:2, 2]) @ place[:2, :2] - origin
    half = np.array(thing.size[:2]) / 2
    reach = np.abs(turn) @ half
    first = np.maximum(np.floor((middle - reach) / fine).astype(int), 0)
    last = np.minimum(np.ceil((middle + reach) / fine).astype(int) + 1, stands.shape[0])
    if (first >= last).any():
        return
    x, y = ((np.arange(first[axis], last[axis]) + 0.5) * fine - middle[axis] for axis in (0, 1))
    own_x = x[None] * turn[0, 0] + y[:, None] * turn[1, 0]
    own_y = x[None] * turn[0, 1] + y[:, None] * turn[1, 1]
    inside = (np.abs(own_x) <= half[0]) & (np.abs(own_y) <= half[1])
    stands[first[1] : last[1], first[0] : last[0]][inside] = thing.id


def majority(values: NDArray[np.int32], fineness: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """For each cell of `fineness` samples a side, the share that is not 0, and the value that most of those have.

    Parameters
    ----------
    values:
        (N * fineness, N * fineness).
    """
    count = values.shape[0] // fineness
    cells = values.reshape(count, fineness, count, fineness).swapaxes(1, 2).reshape(count * count, -1)
    filled = cells != 0
    winner = cells[:, 0].copy()
    mixed = np.flatnonzero((cells != cells[:, :1]).any(axis=1))
    chosen = cells[mixed]
    votes = (chosen[:, :, None] == chosen[:, None, :]).sum(axis=2) * (chosen != 0)
    winner[mixed] = chosen[np.arange(len(mixed)), votes.argmax(axis=1)]
    share = filled.mean(axis=1, dtype=np.float32)
    return share.reshape(count, count), winner.reshape(count, count)


def cross_sections(corners: NDArray[np.floating], over: NDArray[np.floating]) -> NDArray[np.float64]:
    """(T, 2, 2) the ends of the lines in which triangles cross a level.

    Parameters
    ----------
    corners:
        (T, 3, 2) on the ground.
    over:
        (T, 3) their heights over the level; each triangle has one below and one that is not.
    """
    above = over >= 0
    # Turned so that the corner that is alone on its side comes first.
    alone = np.where(above.sum(axis=1) == 1, above.argmax(axis=1), (~above).argmax(axis=1))
    order = (alone[:, None] + np.arange(3)) % 3
    turned = np.take_along_axis(corners, order[:, :, None], axis=1).astype(np.float64)
    height = np.take_along_axis(over, order, axis=1).astype(np.float64)
    share = height[:, :1] / (height[:, :1] - height[:, 1:])
    ends: NDArray[np.float64] = turned[:, :1] + share[:, :, None] * (turned[:, 1:] - turned[:, :1])
    return ends


def entered(
    along: NDArray[np.float64], across: NDArray[np.float64], steps: NDArray[np.floating], count: int
) -> NDArray[np.bool_]:
    """(2, N, N) whether a line along each row of cells is inside at each cell, counted from either end.

    Parameters
    ----------
    along, across:
        (T, 2) the ends of walls, in cells.
    steps:
        (T,) 1 where a line that goes up along the row enters, -1 where it leaves.
    """
    # The rows whose middle a wall crosses.
    low, high = np.sort(across, axis=1).T
    start = np.clip(np.ceil(low - 0.5), 0, count).astype(int)
    stop = np.clip(np.ceil(high - 0.5), 0, count).astype(int)
    number = stop - start
    wall = np.repeat(np.arange(len(number)), number)
    row = np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number) + start[wall]
    share = (row + 0.5 - across[wall, 0]) / (across[wall, 1] - across[wall, 0])
    place = along[wall, 0] + share * (along[wall, 1] - along[wall, 0])
    column = np.clip(np.ceil(place - 0.5), 0, count).astype(int)
    changes = np.zeros((count, count + 1))
    np.add.at(changes, (row, column), steps[wall])
    depth = np.cumsum(changes, axis=1)
    return np.stack([depth[:, :-1] > 0, depth[:, :-1] - depth[:, -1:] > 0])


def on_ground(pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) in the plane: the place and heading of a pose (4, 4)."""
    yaw = np.arctan2(pose[1, 0], pose[0, 0])
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.array([[cos, -sin, pose[0, 3]], [sin, cos, pose[1, 3]], [0, 0, 1]])
