"""Trees of branches and thousands of leaves, bushes and hedges; light and lidar pass through their holes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.facets import Facets, jitter, srgb
from panoptic_training.synthetic.mesh import Material, Mesh

VEGETATION = 21

_GOLDEN = np.pi * (3 - np.sqrt(5))  # successive branches in directions that never line up


@dataclass(frozen=True, slots=True)
class Species:
    """How a tree grows.

    Attributes
    ----------
    height:
        Of its top, metres.
    clear:
        Height of its lowest branches.
    reach:
        Length of its longest branches.
    rise:
        Radians that branches point above the horizon, at the bottom and at the top of the crown.
    shape:
        Length of the branches along the crown, relative, from bottom to top.
    limbs:
        Number of branches on the trunk.
    leaves:
        Number of leaf cards, near by.
    leaf:
        Length of a card, metres.
    spread:
        Scatter of the leaves about the twigs, metres.
    """

    height: float
    clear: float
    reach: float
    rise: tuple[float, float]
    shape: tuple[float, ...]
    limbs: int
    leaves: int
    leaf: float
    spread: float
    trunk: float
    bark: tuple[int, int, int]
    foliage: tuple[int, int, int]


SPECIES = {
    "linden": Species(
        9.5, 2.6, 3.0, (0.35, 1.25), (0.75, 1.0, 0.95, 0.7, 0.4), 13, 3400,
        0.31, 0.40, 0.17, (92, 80, 68), (74, 98, 40)
    ),
    "plane": Species(
        11.5, 3.4, 4.4, (0.3, 1.1), (0.7, 1.0, 0.95, 0.7), 11, 3400,
        0.38, 0.52, 0.24, (140, 130, 112), (98, 116, 54)
    ),
    "maple": Species(
        8.5, 2.3, 3.2, (0.45, 1.2), (0.7, 1.0, 0.9, 0.55), 12, 3200,
        0.32, 0.42, 0.16, (98, 86, 74), (112, 112, 44)
    ),
    "birch": Species(
        9.5, 2.0, 2.1, (0.6, 1.2), (0.8, 1.0, 0.8, 0.5, 0.3), 15, 2700,
        0.24, 0.36, 0.11, (206, 202, 194), (122, 136, 62)
    ),
    "poplar": Species(
        14.0, 1.6, 2.2, (1.05, 1.3), (0.8, 1.0, 0.9, 0.7, 0.4), 22, 3000,
        0.3, 0.32, 0.18, (96, 90, 80), (84, 108, 52)
    ),
    "spruce": Species(
        10.5, 0.8, 2.4, (-0.18, 0.25), (1.0, 0.85, 0.62, 0.4, 0.12), 34, 2800,
        0.36, 0.18, 0.16, (84, 68, 56), (42, 64, 42)
    ),
    "bare": Species(
        10.0, 2.7, 3.8, (0.45, 1.2), (0.75, 1.0, 0.9, 0.6), 13, 0,
        0.0, 0.3, 0.19, (84, 76, 68), (84, 76, 68)
    ),
}  # fmt: skip


def pruned(species: Species) -> Species:
    """The same tree beside a road: its lowest branches are cut, so that people and buses pass below."""
    return replace(species, clear=species.clear + 1.4, height=species.height + 0.8)


def _directions(azimuth: NDArray[np.float64], rise: NDArray[np.float64]) -> NDArray[np.float64]:
    level = np.cos(rise)
    return np.stack([level * np.cos(azimuth), level * np.sin(azimuth), np.sin(rise)], axis=-1)


def _fork(
    rng: np.random.Generator,
    starts: NDArray[np.float64],
    ends: NDArray[np.float64],
    count: int,
    share: float,
    bend: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`count` side branches of every branch: where they start and end, (N * count, 3) each."""
    along = np.repeat(ends - starts, count, axis=0)
    lengths = np.linalg.norm(along, axis=1, keepdims=True)
    where = np.tile(np.linspace(0.35, 1.0, count), len(starts))[:, None]
    sideways = rng.standard_normal(along.shape)
    sideways -= along * (sideways * along).sum(axis=1, keepdims=True) / lengths**2
    sideways /= np.linalg.norm(sideways, axis=1, keepdims=True)
    directions = along / lengths + bend * sideways + [0.0, 0.0, 0.12]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    begin = np.repeat(starts, count, axis=0) + where * along
    return begin, begin + directions * lengths * share * rng.uniform(0.7, 1.2, (len(along), 1))


def grow_tree(species: Species, rng: np.random.Generator, detail: float = 1.0) -> Mesh:
    """One tree, standing on its origin; `detail` below 1 has fewer and larger leaves, for far ones."""
    facets = Facets()
    bark = srgb(*species.bark)
    top = np.array([*rng.normal(0, 0.03 * species.height, 2), species.height * 0.97])
    levels = np.linspace(0.0, 1.0, 6)
    lean = np.outer(levels**1.5, top) * [1, 1, 0] + rng.normal(0, 0.05, (6, 3)) * [1, 1, 0] * levels[:, None]
    trunk = lean + np.outer(levels * species.height * 0.97, [0, 0, 1])
    radii = species.trunk * (1 - levels) ** 0.8 + 0.012
    radii[0] *= 1.25
    facets.bars(
        trunk[:-1] - [0, 0, 0.02], trunk[1:], radii[:-1], VEGETATION, Material.BARK, bark,
        sides=8 if detail >= 1 else 5, capped=False, end_radii=radii[1:],
    )  # fmt: skip
    share = np.linspace(0.0, 1.0, species.limbs) ** 0.9
    height = species.clear + share * (species.height * 0.9 - species.clear)
    starts = np.stack([np.interp(height, trunk[:, 2], trunk[:, k]) for k in range(3)], axis=-1)
    azimuth = np.arange(species.limbs) * _GOLDEN + rng.uniform(0, 2 * np.pi)
    rise = species.rise[0] + share * (species.rise[1] - species.rise[0]) + rng.normal(0, 0.08, species.limbs)
    reach = species.reach * np.interp(share, np.linspace(0, 1, len(species.shape)), species.shape)
    ends = starts + _directions(azimuth, rise) * (reach * rng.uniform(0.85, 1.15, species.limbs))[:, None]
    thick = np.interp(height, trunk[:, 2], radii) * 0.55
    facets.bars(starts, ends, thick, VEGETATION, Material.BARK, bark, sides=5, capped=False, end_radii=0.35 * thick)
    boughs = _fork(rng, starts, ends, 4, 0.55, 0.75)
    twigs = _fork(rng, *boughs, 3, 0.6, 0.8)
    if detail >= 1:
        bough = np.repeat(thick * 0.4, 4)
        facets.bars(*boughs, bough, VEGETATION, Material.BARK, bark, sides=4, capped=False, end_radii=bough * 0.4)
        facets.bars(*twigs, 0.012, VEGETATION, Material.BARK, bark, sides=3, capped=False, end_radii=0.005)
    if species.leaves:
        _leaves(facets, species, rng, np.concatenate([boughs[1], twigs[0], twigs[1]]), detail)
    else:
        fine = _fork(rng, *twigs, 4, 0.6, 0.7)
        facets.bars(*fine, 0.007, VEGETATION, Material.BARK, bark, sides=3, capped=False, end_radii=0.003)
        if detail >= 1:
            finest = _fork(rng, *fine, 2, 0.7, 0.8)
            _needles(facets, *finest, bark, rng)
    return facets.mesh()


def _needles(
    facets: Facets,
    starts: NDArray[np.float64],
    ends: NDArray[np.float64],
    color: NDArray[np.float64],
    rng: np.random.Generator,
) -> None:
    """The thinnest twigs: one pointed triangle each."""
    across = np.cross(ends - starts, rng.standard_normal(starts.shape))
    across *= 0.006 / np.linalg.norm(across, axis=1, keepdims=True)
    facets.triangles(np.stack([starts - across, starts + across, ends], axis=1), VEGETATION, Material.BARK, color)


def _leaves(
    facets: Facets, species: Species, rng: np.random.Generator, twigs: NDArray[np.float64], detail: float
) -> None:
    count = int(species.leaves * detail)
    places = twigs[rng.integers(len(twigs), size=count)] + rng.normal(0, species.spread, (count, 3)) * [1, 1, 0.8]
    places = places[places[:, 2] > species.clear * 0.75]
    middle = np.array([0.0, 0.0, (species.clear + species.height) / 2])
    extent = np.array([species.reach, species.reach, (species.height - species.clear) / 2])
    outward = (places - middle) / extent
    leaf_cards(facets, places, outward, species.leaf / np.sqrt(detail), srgb(*species.foliage), rng)


def leaf_cards(
    facets: Facets,
    places: NDArray[np.float64],
    outward: NDArray[np.float64],
    size: float,
    color: NDArray[np.float64],
    rng: np.random.Generator,
) -> None:
    """Folded diamonds at (N, 3) places that face (N, 3) `outward` more or less.

    Those deep inside (short `outward`) are darker, for the light that the others keep from them.
    """
    count = len(places)
    depth = np.linalg.norm(outward, axis=1)
    facing = outward / np.maximum(depth, 1e-6)[:, None] + [0, 0, 0.35] + rng.normal(0, 0.6, (count, 3))
    facing /= np.linalg.norm(facing, axis=1, keepdims=True)
    along = np.cross(facing, rng.standard_normal((count, 3)))
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    across = np.cross(facing, along)
    length = size * rng.uniform(0.7, 1.3, (count, 1))
    width = length * rng.uniform(0.42, 0.62, (count, 1))
    fold = facing * width * 0.35
    corners = np.stack(
        [places - along * length / 2, places + across * width + fold, places + along * length / 2,
         places - across * width + fold], axis=1,
    )  # fmt: skip
    shade = 0.45 + 0.55 * np.clip(depth, 0.2, 1.0)
    colors = np.clip(jitter(rng, color, count, 0.16) * shade[:, None], 0.0, 1.0)
    # folded along its length: two triangles with their own normals, not one flat quad
    left, right = corners[:, [0, 2, 3]], corners[:, [0, 1, 2]]
    facets.triangles(
        np.stack([left, right], axis=1).reshape(-1, 3, 3), VEGETATION, Material.FOLIAGE, np.repeat(colors, 2, axis=0)
    )


def grow_bush(rng: np.random.Generator, color: NDArray[np.float64], leaves: int = 700) -> Mesh:
    """A round bush of about one metre, with a dark core."""
    facets = Facets()
    directions = rng.standard_normal((leaves, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    directions[:, 2] = np.abs(directions[:, 2]) * 1.1 - 0.15
    lumps = 1 + 0.18 * np.sin(5 * directions[:, :1] + 2) * np.cos(4 * directions[:, 1:2])
    radius = rng.uniform(0.6, 1.0, (leaves, 1)) ** 0.5 * lumps
    size = np.array([0.62, 0.62, 0.75])
    leaf_cards(facets, directions * radius * size + [0, 0, 0.28], directions * radius, 0.13, color, rng)
    starts = np.zeros((14, 3))
    stems = rng.uniform([-0.4, -0.4, 0.4], [0.4, 0.4, 0.9], (14, 3))
    facets.bars(starts, stems, 0.02, VEGETATION, Material.BARK, srgb(70, 58, 46), sides=4, capped=False, end_radii=0.01)
    return facets.mesh()


def hedge(
    facets: Facets,
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    height: float,
    color: NDArray[np.float64],
    rng: np.random.Generator,
    dense: bool,
) -> None:
    """A clipped hedge: a dark body with leaves all over it."""
    run = end - start
    length = float(np.linalg.norm(run))
    right = run / length
    out = np.array([right[1], -right[0], 0.0])
    half = 0.32
    axes = np.stack([right, -out, [0.0, 0.0, 1.0]])
    center = (start + end) / 2 + [0, 0, height / 2 - 0.03]
    size = [length - 0.1, 2 * half - 0.12, height - 0.06]
    facets.boxes(center, size, VEGETATION, Material.FOLIAGE, color * 0.3, axes, without="bottom")
    count = int(length * (2 * height + 2 * half) * (42 if dense else 14))
    u, side = rng.uniform(0, length, count), rng.uniform(0, 2 * height + 2 * half, count)
    on_top = (side > height) & (side < height + 2 * half)
    z = np.where(on_top, height, np.where(side < height, side, side - height - 2 * half))
    o = np.where(on_top, side - height - half, np.where(side < height, half, -half))
    places = start + u[:, None] * right + o[:, None] * out + np.outer(z, [0.0, 0.0, 1.0])
    places += rng.normal(0, 0.035, places.shape)
    outward = np.where(on_top[:, None], [0.0, 0.0, 1.0], np.sign(o)[:, None] * out)
    leaf_cards(facets, places, outward * rng.uniform(0.6, 1.0, (count, 1)), 0.15 if dense else 0.26, color, rng)
