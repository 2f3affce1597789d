"""How much of the sky's light reaches a point past what stands around it (ambient occlusion).

Rays are cast from every `STEP`-th pixel only; what they find is smoothed and carried to the pixels between along
surfaces, never across a step in depth.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.raycast import Hits, Raycaster, lift

STEP = 4  # pixels between points that cast
REACH = 5.0  # metres: what is farther takes no light
DARKEST = 0.12
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
    chosen = (rows[:, None] * width + columns).ravel()
    coarse = (len(rows), len(columns))
    distance = hits.distance[chosen]
    solid = np.flatnonzero(np.isfinite(distance))
    value = np.ones(len(chosen), dtype=np.float32)
    if len(solid):
        value[solid] = _cast(raycaster, hits, origin, directions, chosen[solid], solid, rays, time)
    normal = hits.normal[chosen].T.reshape(3, *coarse)
    safe = np.where(np.isfinite(distance), distance, np.float32(1e4))
    point = (directions[chosen] * safe[:, None]).T.reshape(3, *coarse)
    smoothed = _smooth(value.reshape(coarse), point, normal, safe.reshape(coarse))
    return _carry(smoothed, safe.reshape(coarse), hits.distance.reshape(shape)).ravel()


def _cast(
    raycaster: Raycaster,
    hits: Hits,
    origin: NDArray[np.float32],
    directions: NDArray[np.float32],
    chosen: NDArray[np.intp],
    number: NDArray[np.intp],
    rays: int,
    time: float,
) -> NDArray[np.float32]:
    """(M,) share of rays, as light falls from all sides (cosine-weighted), that meet nothing."""
    part = hits[chosen]
    points = lift(origin, directions[chosen], part, height=0.01)
    normal = part.normal
    turn = ((number * 0.7548776662) % 1.0 + np.arange(len(number)) * 0.0).astype(
        np.float32
    )  # golden: neighbours differ
    shift = ((number * 0.5698402910) % 1.0).astype(np.float32)
    free = np.zeros(len(chosen), dtype=np.float32)
    for ray in range(rays):
        share = (ray + shift) / np.float32(rays)
        angle = (turn + np.float32(ray * 0.61803399)) * np.float32(2 * np.pi)
        height = np.float32(1) - 2 * share
        ring = np.sqrt(np.maximum(1 - height * height, 0))
        # A point on the unit sphere about the normal's tip gives a cosine-weighted direction.
        way = normal * np.float32(1.001) + np.stack([ring * np.cos(angle), ring * np.sin(angle), height], axis=1)
        way /= np.sqrt(np.einsum("ij,ij->i", way, way))[:, None]
        free += ~raycaster.occluded(points, way, time, REACH, coherent=False)
    result: NDArray[np.float32] = np.float32(DARKEST) + np.float32(1 - DARKEST) * free / np.float32(rays)
    return result


def _smooth(value: Grid, point: NDArray[np.float32], normal: NDArray[np.float32], distance: Grid) -> Grid:
    """Mean over neighbours that lie on the same surface, in two passes of growing reach."""
    for reach in (1, 2):
        total, weight = value.copy(), np.ones_like(value)
        for down in (-reach, 0, reach):
            for right in (-reach, 0, reach):
                if not down and not right:
                    continue
                other = np.roll(value, (down, right), (0, 1))
                apart = np.roll(point, (down, right), (1, 2)) - point
                off = np.abs((apart * normal).sum(axis=0)) / (np.float32(0.05) + np.float32(0.01) * distance)
                bend = (np.roll(normal, (down, right), (1, 2)) * normal).sum(axis=0)
                share = np.maximum(1 - off, 0) * np.maximum(bend, 0)
                total += other * share
                weight += share
        value = total / weight
    return value


def _carry(value: Grid, distance: Grid, fine: Grid) -> Grid:
    """From the coarse grid to every pixel: the mean of the four points around it, weighted by likeness of depth."""
    height, width = fine.shape
    rows = np.clip((np.arange(height) - STEP // 2) / STEP, 0, value.shape[0] - 1).astype(np.float32)
    columns = np.clip((np.arange(width) - STEP // 2) / STEP, 0, value.shape[1] - 1).astype(np.float32)
    total, weight = np.zeros(fine.shape, np.float32), np.full(fine.shape, np.float32(1e-6))
    total += np.float32(1e-6)
    near = np.where(np.isfinite(fine), fine, np.float32(1e4))
    for down in (0, 1):
        top = np.minimum(rows.astype(np.int32) + down, value.shape[0] - 1)
        along_rows = np.abs(1 - down - (rows - np.floor(rows)))
        for right in (0, 1):
            left = np.minimum(columns.astype(np.int32) + right, value.shape[1] - 1)
            along_columns = np.abs(1 - right - (columns - np.floor(columns)))
            there = distance[top][:, left]
            unlike = (there - near) / near
            share = (along_rows[:, None] * along_columns[None] + np.float32(1e-3)) / (
                np.float32(1) + np.float32(900) * unlike * unlike
            )
            total += value[top][:, left] * share
            weight += share
    result: Grid = total / weight
    return result
