"""What closes the horizon: ground out to the hills, woods on them, and the roofs of the rest of the town."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.facets import UP, Facets, jitter, srgb
from panoptic_training.synthetic.mesh import Material, Mesh
from panoptic_training.synthetic.noise import smooth_noise
from panoptic_training.synthetic.street import Layout
from panoptic_training.synthetic.vegetation import VEGETATION

BUILDING, TERRAIN = 11, 22

_TOWN = 130.0  # metres from the main street to where the town's far buildings begin
_HILLS = 260.0
_FAR = 900.0

Points = NDArray[np.float64]


def build_surroundings(layout: Layout, rng: np.random.Generator) -> Mesh:
    """Everything beyond the blocks, coarse."""
    facets = Facets()
    line = layout.main.place(np.arange(-120.0, layout.length + 120.0, 10.0), 0.0)[:, :2]
    low, high = line.min(axis=0) - _FAR, line.max(axis=0) + _FAR
    x, y = np.arange(low[0], high[0], 24.0), np.arange(low[1], high[1], 24.0)
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1)
    away = _distance(grid, line)
    seed = int(rng.integers(1 << 30))
    height = float(rng.uniform(15.0, 60.0))

    z = _rise(grid, away, height, seed)
    corners = np.concatenate([grid, z[..., None]], axis=-1)
    cells = np.stack([corners[:-1, :-1], corners[1:, :-1], corners[1:, 1:], corners[:-1, 1:]], axis=2).reshape(-1, 4, 3)
    shade = 1 + 0.2 * smooth_noise(grid[:-1, :-1], 90.0, seed + 1).reshape(-1, 1)
    facets.quads(cells, TERRAIN, Material.GRASS, np.clip(srgb(104, 114, 66) * shade, 0, 1))
    _woods(facets, rng, line, height, seed)
    _town(facets, rng, line)
    return facets.mesh()


def _distance(points: Points, line: Points) -> Points:
    flat = points.reshape(-1, 2)
    nearest = [
        np.hypot(*(chunk[:, None] - line[None]).transpose(2, 0, 1)).min(axis=1) for chunk in np.array_split(flat, 32)
    ]
    return np.concatenate(nearest).reshape(points.shape[:-1])


def _rise(points: Points, distance: Points, height: float, seed: int) -> Points:
    """Heights of the ground at (..., 2) points, some (...) metres from the main street."""
    slope = np.clip((distance - _HILLS) / 400.0, 0.0, 1.0)
    return np.asarray(-0.15 + slope**1.3 * height * (0.75 + 0.5 * smooth_noise(points, 420.0, seed)))


def _woods(facets: Facets, rng: np.random.Generator, line: Points, height: float, seed: int) -> None:
    """Crowns as rough cones and domes on the hills and along the town's edge."""
    places = rng.uniform(line.min(axis=0) - _FAR, line.max(axis=0) + _FAR, (3700, 2))
    away = _distance(places, line)
    kept = (away > 105) & (smooth_noise(places, 160.0, seed + 2) > np.where(away > _HILLS, -0.25, 0.15))
    places, away = places[kept], away[kept]
    count, sides = len(places), 6
    base = _rise(places, away, height, seed)
    size = rng.uniform(3.0, 6.0, count)
    tall = size * rng.uniform(1.6, 2.6, count)
    angle = 2 * np.pi * np.arange(sides + 1) / sides
    levels = [(0.12, 0.65), (0.42, 1.0), (0.75, 0.72), (1.0, 0.08)]
    wobble = rng.uniform(0.75, 1.2, (count, len(levels), sides))
    wobble = np.concatenate([wobble, wobble[..., :1]], axis=-1)
    rings = np.stack(
        [
            np.stack(
                [
                    places[:, :1] + np.cos(angle) * (size * r)[:, None] * wobble[:, k],
                    places[:, 1:] + np.sin(angle) * (size * r)[:, None] * wobble[:, k],
                    np.broadcast_to((base + h * tall)[:, None], (count, sides + 1)),
                ],
                axis=-1,
            )
            for k, (h, r) in enumerate(levels)
        ],
        axis=1,
    )
    quads = np.stack([rings[:, :-1, :-1], rings[:, :-1, 1:], rings[:, 1:, 1:], rings[:, 1:, :-1]], axis=3)
    each = quads.shape[1] * quads.shape[2]
    colors = np.repeat(jitter(rng, srgb(72, 92, 48), count, 0.2), each, axis=0)
    light = np.tile(np.repeat([0.7, 0.95, 1.15], sides), count)[:, None]
    facets.quads(quads.reshape(-1, 4, 3), VEGETATION, Material.FOLIAGE, np.clip(colors * light, 0, 1))


def _town(facets: Facets, rng: np.random.Generator, line: Points) -> None:
    """Blocks with rows of dark windows, far enough that they need no more."""
    low, high = line.min(axis=0) - 330.0, line.max(axis=0) + 330.0
    places = rng.uniform(low, high, (240, 2))
    away = _distance(places, line)
    places = places[(away > _TOWN) & (away < 330)]
    count = len(places)
    tower = rng.random(count) < 0.12
    size = rng.uniform([10.0, 10.0, 7.0], [26.0, 16.0, 15.0], (count, 3))
    size[tower, 2] *= 2.4
    turn = rng.uniform(0, np.pi, count)
    zero, one = np.zeros(count), np.ones(count)
    axes = np.stack(
        [
            np.stack([np.cos(turn), np.sin(turn), zero], -1),
            np.stack([-np.sin(turn), np.cos(turn), zero], -1),
            np.stack([zero, zero, one], -1),
        ],
        axis=1,
    )
    centers = np.c_[places, size[:, 2] / 2 - 0.3]
    colors = jitter(rng, srgb(190, 178, 162), count, 0.18)
    facets.boxes(centers, size, BUILDING, Material.PLASTER, colors, axes, without="bottom")
    roof = size * [1.04, 1.06, 0.0] + [0.0, 0.0, 0.8]
    tiles = np.where(tower[:, None], srgb(110, 108, 106), jitter(rng, srgb(118, 78, 62), count, 0.15))
    facets.boxes(centers + np.outer(size[:, 2] / 2 + 0.4, UP), roof, BUILDING, Material.ROOF, tiles, axes)
    for k in range(count):
        floors, columns = max(int(size[k, 2] / 3.2), 1), max(int(size[k, 0] / 2.8), 2)
        for face in (1.0, -1.0):
            u, z = np.meshgrid((np.arange(columns) + 0.5) / columns - 0.5, 1.6 + 3.2 * np.arange(floors))
            middle = (
                centers[k]
                + u.reshape(-1, 1) * size[k, 0] * axes[k, 0]
                + face * (size[k, 1] / 2) * axes[k, 1]
                + np.outer(z.ravel() - size[k, 2] / 2, axes[k, 2])
            )
            facets.boxes(middle, [1.3, 0.06, 1.6], BUILDING, Material.GLASS, srgb(60, 66, 72), axes[k])
