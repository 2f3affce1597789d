"""Procedural textures: small tileable pictures per material, looked up by texture coordinates.

Each material has a fine tile (grain, joints, bricks, leaves) with levels of halved size for what is far away, and a
coarse one (patches, stains) whose period is not a multiple of the fine one's, so that no repetition shows.  Values
multiply the surface's albedo; their mean is one, so that far away the surface has the colour that it was given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.compiled import inlined
from panoptic_training.synthetic.mesh import Material

SIZE = 256  # texels a side of the fine tile
LEVELS = 7
COARSE_SIZE = 128
SPOTS, SPOT_PERIOD = 512, 40.0  # texels a side of the puddles' tile, and its metres
UNIT = 96.0  # of the stored bytes stand for a factor of one
Tile = NDArray[np.float32]


class TextureTables(NamedTuple):
    """What `factors` and `spot` look up.

    Attributes
    ----------
    starts, texels:
        (LEVELS,) first of each level's (T, 3) uint8 texels, which lie by material, row and column; `UNIT` is one.
    per_texel, per_coarse:
        (materials,) texels in a metre of the fine and of the coarse tiles.
    coarse:
        (materials, COARSE_SIZE, COARSE_SIZE) uint8.
    spots:
        (SPOTS, SPOTS) float32.
    """

    starts: NDArray[np.int64]
    texels: NDArray[np.uint8]
    per_texel: NDArray[np.float32]
    coarse: NDArray[np.uint8]
    per_coarse: NDArray[np.float32]
    spots: NDArray[np.float32]


class Textures:
    """Tiles of every material, seeded.

    Attributes
    ----------
    tables:
        For `factors`, which gives what multiplies the albedo, and `spot`, a slow pattern for puddles.
    """

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 7])
        count = len(Material)
        periods = np.full(count, 2.56, dtype=np.float32)
        coarse_periods = np.full(count, 23.0, dtype=np.float32)
        levels: list[list[NDArray[np.uint8]]] = []
        coarse = np.empty((count, COARSE_SIZE, COARSE_SIZE), dtype=np.uint8)
        for material in Material:
            period, make, coarse_period, contrast = _RECIPES.get(material, (2.0, _plain, 11.0, 0.05))
            periods[material], coarse_periods[material] = period, coarse_period
            tile = make(rng)
            tile = tile if tile.ndim == 3 else np.repeat(tile[..., None], 3, axis=2)
            tile = tile / tile.mean(axis=(0, 1), keepdims=True)
            levels.append(
                [_stored(cv2.resize(tile, (SIZE >> k, SIZE >> k), interpolation=cv2.INTER_AREA)) for k in range(LEVELS)]
            )
            coarse[material] = _stored(np.exp(contrast * noise(rng, COARSE_SIZE, 3, 4)))
        spots = noise(rng, SPOTS, 4, 5)
        order = np.empty(spots.size, dtype=np.float32)
        order[spots.ravel().argsort()] = np.linspace(0, 1, spots.size, dtype=np.float32)
        self.tables = TextureTables(
            starts=np.cumsum([0, *(count * (SIZE >> k) ** 2 for k in range(LEVELS - 1))]),
            texels=np.concatenate([np.stack([tiles[k] for tiles in levels]).reshape(-1, 3) for k in range(LEVELS)]),
            per_texel=(SIZE / periods).astype(np.float32),
            coarse=coarse,
            per_coarse=(COARSE_SIZE / coarse_periods).astype(np.float32),
            spots=order.reshape(spots.shape),
        )


@inlined
def factors(tables: Any, material: Any, u: Any, v: Any, footprint: Any) -> Any:
    """Red, green and blue factors of the albedo at a point.

    Parameters
    ----------
    u, v:
        Texture coordinates in metres.
    footprint:
        Metres on the surface that one pixel covers: finer detail is left out.
    """
    scale = tables.per_texel[material]
    level = min(int(np.log2(max(footprint * scale, np.float32(1)))), LEVELS - 1)
    column = (int(np.floor(u * scale)) & (SIZE - 1)) >> level
    row = (int(np.floor(v * scale)) & (SIZE - 1)) >> level
    side = SIZE >> level
    texel = tables.texels[tables.starts[level] + (material * side + row) * side + column]
    scale = tables.per_coarse[material]
    row, column = int(np.floor(v * scale)) & (COARSE_SIZE - 1), int(np.floor(u * scale)) & (COARSE_SIZE - 1)
    patch = tables.coarse[material, row, column] * np.float32(1 / UNIT / UNIT)
    return texel[0] * patch, texel[1] * patch, texel[2] * patch


@inlined
def spot(tables: Any, x: Any, y: Any) -> Any:
    """In [0, 1], equally often each: smooth spots on the ground, as puddles lie."""
    scale = np.float32(SPOTS / SPOT_PERIOD)
    return tables.spots[int(np.floor(y * scale)) & (SPOTS - 1), int(np.floor(x * scale)) & (SPOTS - 1)]


def noise(rng: np.random.Generator, size: int, lowest: int, octaves: int, gain: float = 0.55) -> Tile:
    """(size, size) tileable value noise of mean 0 and standard deviation 1: `octaves` from `lowest` periods a tile."""
    total = np.zeros((size, size), dtype=np.float32)
    for octave in range(octaves):
        cells = lowest << octave
        if cells >= size:
            break
        grid = rng.standard_normal((cells, cells)).astype(np.float32)
        grid = np.pad(grid, 2, mode="wrap")  # so that the interpolation is periodic
        where = ((np.arange(size, dtype=np.float32) + 0.5) * cells / size + 1.5).astype(np.float32)
        columns, rows = np.meshgrid(where, where)
        total += np.float32(gain**octave) * cv2.remap(grid, columns, rows, cv2.INTER_CUBIC)
    result: Tile = (total - total.mean()) / total.std()
    return result


def _stored(values: Tile) -> NDArray[np.uint8]:
    result: NDArray[np.uint8] = np.clip(values * UNIT + 0.5, 0, 255).astype(np.uint8)
    return result


def _grain(rng: np.random.Generator, blur: float = 0.6) -> Tile:
    """Fine grain of standard deviation 1."""
    grain = cv2.GaussianBlur(
        np.pad(rng.standard_normal((SIZE, SIZE)).astype(np.float32), 8, mode="wrap"), (0, 0), blur
    )[8:-8, 8:-8]
    result: Tile = grain / grain.std()
    return result


def _lines(rng: np.random.Generator, count: int, steps: int, wander: float, width: int) -> Tile:
    """1 on wandering lines that wrap around the tile, as cracks do; 0 beside them."""
    picture = np.zeros((SIZE, SIZE), dtype=np.float32)
    for _ in range(count):
        headings = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, wander, steps))
        path = rng.uniform(0, SIZE, 2) + np.cumsum(np.stack([np.cos(headings), np.sin(headings)], 1) * 3, axis=0)
        for shift_x in (-SIZE, 0, SIZE):
            for shift_y in (-SIZE, 0, SIZE):
                points = np.rint(path + np.array([shift_x, shift_y])).astype(np.int32)
                cv2.polylines(picture, [points], False, 1.0, width)
    return picture


def _courses(
    rng: np.random.Generator, columns: int, rows: int, joint: tuple[int, int], spread: float, mortar: float, bond: bool
) -> NDArray[np.float32]:
    """Bricks, slabs, tiles or boards in rows: each of its own brightness, with joints between them."""
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    height, width = SIZE / rows, SIZE / columns
    row = (y / height).astype(int)
    along = x + (row % 2) * (width / 2 if bond else 0)
    column = (along / width).astype(int) % columns
    value = 1 + spread * rng.standard_normal((rows, columns)).astype(np.float32)[row, column]
    warm = 0.35 * spread * rng.standard_normal((rows, columns)).astype(np.float32)[row, column]
    hue = np.stack([1 + warm, np.ones_like(warm), 1 - warm], axis=2)
    value = value * (1 + 0.06 * noise(rng, SIZE, 16, 3))
    inside = (along % width >= joint[0]) & (y % height >= joint[1])
    picture = np.where(inside[..., None], value[..., None] * hue, np.float32(mortar))
    result: NDArray[np.float32] = np.maximum(picture, 0.05).astype(np.float32)
    return result


def _asphalt(rng: np.random.Generator) -> Tile:
    base = 1 + 0.11 * _grain(rng, 0.7) + 0.05 * noise(rng, SIZE, 4, 4)
    cracks = _lines(rng, 2, 60, 0.45, 1)
    result: Tile = np.maximum(base * (1 - 0.35 * cv2.GaussianBlur(cracks, (0, 0), 0.7)), 0.2)
    return result


def _marking(rng: np.random.Generator) -> Tile:
    worn = np.clip(0.9 - 0.2 * np.maximum(noise(rng, SIZE, 8, 5) - 0.8, 0) + 0.04 * _grain(rng), 0.3, 1.2)
    result: Tile = worn.astype(np.float32)
    return result


def _paving(rng: np.random.Generator) -> Tile:
    return _courses(rng, 4, 4, (3, 3), 0.09, 0.55, True) * (1 + 0.05 * _grain(rng))[..., None]


def _concrete(rng: np.random.Generator) -> Tile:
    return np.maximum(1 + 0.05 * _grain(rng) + 0.06 * noise(rng, SIZE, 2, 5), 0.3)


def _grass(rng: np.random.Generator) -> Tile:
    blades = cv2.blur(np.pad(rng.standard_normal((SIZE, SIZE)).astype(np.float32), 8, mode="wrap"), (1, 5))[8:-8, 8:-8]
    value = 1 + 0.22 * blades / blades.std() + 0.14 * noise(rng, SIZE, 6, 5)
    dry = noise(rng, SIZE, 3, 4)
    tint = np.stack([1 + 0.08 * dry, np.ones_like(dry), 1 - 0.04 * dry], axis=2)
    result: Tile = np.maximum(value[..., None] * tint, 0.15).astype(np.float32)
    return result


def _soil(rng: np.random.Generator) -> Tile:
    return np.maximum(1 + 0.15 * _grain(rng, 1.2) + 0.14 * noise(rng, SIZE, 8, 4), 0.2)


def _plaster(rng: np.random.Generator) -> Tile:
    streaks = cv2.resize(noise(rng, SIZE, 8, 4)[:24], (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    edge = np.minimum(np.arange(SIZE), np.arange(SIZE)[::-1]).astype(np.float32)[:, None]
    streaks = streaks * np.clip(edge / 32, 0, 1)
    result: Tile = np.maximum(1 + 0.03 * _grain(rng) + 0.03 * noise(rng, SIZE, 4, 5) + 0.02 * streaks, 0.4)
    return result


def _brick(rng: np.random.Generator) -> Tile:
    return _courses(rng, 8, 24, (2, 1), 0.13, 1.25, True)


def _roof(rng: np.random.Generator) -> Tile:
    tiles = _courses(rng, 10, 8, (1, 3), 0.1, 0.5, True)
    shade = 0.85 + 0.3 * (np.arange(SIZE) % (SIZE // 8) / (SIZE // 8))
    return tiles * shade[:, None, None].astype(np.float32)


def _metal(rng: np.random.Generator) -> Tile:
    result: Tile = np.maximum(1 + 0.05 * noise(rng, SIZE, 3, 5), 0.5)
    return result


def _fabric(rng: np.random.Generator) -> Tile:
    folds = noise(rng, SIZE, 3, 3)
    return np.maximum(1 + 0.14 * folds + 0.05 * _grain(rng, 1.0), 0.3)


def _bark(rng: np.random.Generator) -> Tile:
    ridges = np.abs(noise(rng, SIZE, 12, 3))
    ridges = cv2.resize(ridges[: SIZE // 4], (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    return np.maximum(0.7 + 0.4 * ridges + 0.08 * _grain(rng), 0.15)


def _foliage(rng: np.random.Generator) -> Tile:
    value = 1 + 0.3 * np.sign(_grain(rng, 2.5)) * np.abs(_grain(rng, 2.0)) ** 0.5 * 0.6 + 0.2 * noise(rng, SIZE, 6, 4)
    autumn = noise(rng, SIZE, 4, 4)
    tint = np.stack([1 + 0.09 * autumn, np.ones_like(autumn), 1 - 0.05 * autumn], axis=2)
    result: Tile = np.maximum(value[..., None] * tint, 0.12).astype(np.float32)
    return result


def _wood(rng: np.random.Generator) -> Tile:
    boards = _courses(rng, 1, 14, (0, 2), 0.1, 0.4, False)
    fibre = cv2.resize(noise(rng, SIZE, 24, 3)[:, : SIZE // 8], (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    result: Tile = boards * np.maximum(1 + 0.1 * fibre, 0.3)[..., None].astype(np.float32)
    return result


def _plain(rng: np.random.Generator) -> Tile:
    result: Tile = np.maximum(1 + 0.015 * noise(rng, SIZE, 3, 4), 0.5)
    return result


# Material: period of the fine tile in metres, its recipe, period of the coarse tile, contrast of the coarse tile.
_RECIPES: dict[Material, tuple[float, Callable[[np.random.Generator], Tile], float, float]] = {
    Material.ASPHALT: (2.56, _asphalt, 31.0, 0.1),
    Material.MARKING: (1.7, _marking, 13.0, 0.1),
    Material.PAVING: (2.4, _paving, 19.0, 0.09),
    Material.CONCRETE: (3.0, _concrete, 17.0, 0.1),
    Material.GRASS: (2.2, _grass, 29.0, 0.22),
    Material.SOIL: (2.0, _soil, 23.0, 0.16),
    Material.PLASTER: (4.0, _plaster, 14.0, 0.06),
    Material.BRICK: (1.92, _brick, 15.0, 0.1),
    Material.ROOF: (2.4, _roof, 17.0, 0.12),
    Material.METAL: (1.5, _metal, 5.0, 0.05),
    Material.FABRIC: (0.8, _fabric, 3.0, 0.08),
    Material.BARK: (1.2, _bark, 7.0, 0.12),
    Material.FOLIAGE: (1.6, _foliage, 7.0, 0.22),
    Material.WOOD: (2.0, _wood, 9.0, 0.1),
}
