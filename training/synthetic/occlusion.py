"""How much of the sky's light reaches a point past what stands around it (ambient occlusion).

Rays are cast from every `STEP`-th pixel only; what they find is smoothed and carried to the pixels between along
surfaces, never across a step in depth.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.compiled import compiled
from panoptic_training.synthetic.raycast import Hits, Raycaster, lift

STEP = 4  # pixels between points that cast
REACH = 5.0  # metres: what is farther takes no light
DARKEST = 0.12
FAR = np.float32(1e4)  # metres that count for the sky
Grid = NDArray[np.float32]


def openness(
    raycaster: Raycaster,
    hits: Hits,
    origin: NDArray[np.float32],
    directions: NDArray[np.float32],
    shape: tuple[int, int],
    rays: int,
    time: float,
) -> NDArray[np.float32]:
    """(N,) share of the sky's light that reaches each hit of a picture of `shape` (H, W), N = H * W."""
    height, width = shape
    rows, columns = np.arange(STEP // 2, height, STEP), np.arange(STEP // 2, width, STEP)
    if not len(rows) or not len(columns):
        return np.ones(height * width, dtype=np.float32)
    coarse = (len(rows), len(columns))
    chosen = (rows[:, None] * width + columns).ravel()
    part, along = hits[chosen], directions[chosen]
    solid = np.flatnonzero(np.isfinite(part.distance))
    value = np.ones(len(chosen), dtype=np.float32)
    if len(solid):
        points = lift(origin, along[solid], part[solid], height=0.01)
        blocked = raycaster.occluded(
            np.repeat(points, rays, axis=0), _upwards(part.normal[solid], solid, rays), time, REACH, coherent=False
        )
        free = 1 - blocked.reshape(-1, rays).mean(axis=1, dtype=np.float32)
        value[solid] = np.float32(DARKEST) + np.float32(1 - DARKEST) * free
    distance = np.minimum(part.distance, FAR)
    grid, normal = (along * distance[:, None]).reshape(*coarse, 3), part.normal.reshape(*coarse, 3)
    distance, smoothed = distance.reshape(coarse), value.reshape(coarse)
    for reach in (1, 2):
        smoothed = _smooth(smoothed, grid, normal, distance, reach)
    carried: NDArray[np.float32] = _carry(smoothed, distance, hits.distance.reshape(shape)).ravel()
    return carried


@compiled
def _upwards(normal: Any, number: Any, rays: int) -> Any:
    """(N * rays, 3) directions as light falls from all sides (cosine-weighted), others about each (N, 3) normal.

    They turn by the golden ratio's powers with the `number` (N,) of the point: neighbours differ.
    """
    directions = np.empty((len(normal) * rays, 3), dtype=np.float32)
    for point in range(len(normal)):
        begin, shift = number[point] * 0.7548776662 % 1.0, number[point] * 0.5698402910 % 1.0
        for ray in range(rays):
            angle, height = (begin + ray * 0.61803399) * 2 * np.pi, 1 - 2 * (ray + shift) / rays
            ring = np.sqrt(max(1 - height * height, 0.0))
            # A point on the unit sphere about the normal's tip gives a cosine-weighted direction.
            x = normal[point, 0] * 1.001 + ring * np.cos(angle)
            y = normal[point, 1] * 1.001 + ring * np.sin(angle)
            z = normal[point, 2] * 1.001 + height
            scale = 1 / np.sqrt(x * x + y * y + z * z)
            way = directions[point * rays + ray]
            way[0], way[1], way[2] = x * scale, y * scale, z * scale
    return directions


@compiled
def _smooth(value: Any, point: Any, normal: Any, distance: Any, reach: int) -> Any:
    """(H, W) mean over neighbours at a reach that lie on the same surface."""
    rows, columns = value.shape
    result = np.empty_like(value)
    for row in range(rows):
        for column in range(columns):
            total, weight = value[row, column], np.float32(1)
            near = np.float32(0.05) + np.float32(0.01) * distance[row, column]
            own, facing = point[row, column], normal[row, column]
            for y in range(max(row - reach, row % reach), min(row + reach + 1, rows), reach):
                for x in range(max(column - reach, column % reach), min(column + reach + 1, columns), reach):
                    if y == row and x == column:
                        continue
                    off, bend = np.float32(0), np.float32(0)
                    for axis in range(3):
                        off += (point[y, x, axis] - own[axis]) * facing[axis]
                        bend += normal[y, x, axis] * facing[axis]
                    share = max(np.float32(1) - abs(off) / near, np.float32(0)) * max(bend, np.float32(0))
                    total += value[y, x] * share
                    weight += share
            result[row, column] = total / weight
    return result


@compiled
def _carry(value: Any, distance: Any, fine: Any) -> Any:
    """From the coarse grid to every pixel: the mean of the four points around it, weighted by likeness of depth."""
    height, width = fine.shape
    result = np.empty_like(fine)
    for row in range(height):
        y = min(max((row - STEP // 2) / STEP, 0.0), value.shape[0] - 1.0)
        for column in range(width):
            x = min(max((column - STEP // 2) / STEP, 0.0), value.shape[1] - 1.0)
            near = min(fine[row, column], FAR)
            total = weight = np.float32(1e-6)
            for down in range(2):
                top, along_rows = min(int(y) + down, value.shape[0] - 1), abs(1 - down - (y - int(y)))
                for right in range(2):
                    left, along_columns = min(int(x) + right, value.shape[1] - 1), abs(1 - right - (x - int(x)))
                    unlike = (distance[top, left] - near) / near
                    share = np.float32(along_rows * along_columns + 1e-3) / (
                        np.float32(1) + np.float32(900) * unlike * unlike
                    )
                    total += value[top, left] * share
                    weight += share
            result[row, column] = total / weight
    return result
