"""Roofs and what stands on them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from panoptic_training.synthetic.facades import BUILDING, Color, Frame
from panoptic_training.synthetic.facets import UP, Facets, srgb
from panoptic_training.synthetic.mesh import Material


def gable_roof(
    facets: Facets,
    front: Frame,
    depth: float,
    height: float,
    pitch: float,
    color: Color,
    ends: tuple[Material, ArrayLike],
    across: bool,
    eaves: float = 0.35,
) -> None:
    """Two slopes of rise over run `pitch`; the ridge runs along the front, or `across` with a gable above the front."""
    if across:
        half = front.width / 2
        outline = np.array([[-eaves, -eaves * pitch], [front.width + eaves, -eaves * pitch], [half, half * pitch]])
        axes = np.stack([front.right, UP, front.out])
        facets.prism(
            outline, front.place(0.0, height, -depth), axes, depth + 0.02, BUILDING, Material.ROOF, color, ends
        )
        return
    half = depth / 2
    outline = np.array([[eaves, -eaves * pitch], [-half, half * pitch], [-depth - eaves, -eaves * pitch]])
    axes = np.stack([front.out, UP, -front.right])
    facets.prism(
        outline, front.place(front.width, height, 0.0), axes, front.width, BUILDING, Material.ROOF, color, ends
    )
    gutter = height - eaves * pitch
    for out in (eaves + 0.04, -depth - eaves - 0.04):
        start, end = front.place(0.0, gutter, out), front.place(front.width, gutter, out)
        facets.bars(start, end, 0.065, BUILDING, Material.METAL, srgb(78, 78, 80), sides=6)
    ridge = front.place([0.0, front.width], height + half * pitch, -half)
    facets.bars(ridge[0], ridge[1], 0.09, BUILDING, Material.ROOF, color * 0.8, sides=6)


def hip_roof(facets: Facets, front: Frame, depth: float, height: float, pitch: float, color: Color) -> None:
    """Four slopes that meet in a short ridge along the longer side."""
    e = 0.4
    width = front.width
    half = min(width, depth) / 2
    z, top = height - e * pitch, height + half * pitch
    a, b, c, d = (front.place(u, z, o) for u, o in ((-e, e), (width + e, e), (width + e, -depth - e), (-e, -depth - e)))
    if width >= depth:
        p, q = front.place(half, top, -depth / 2), front.place(width - half, top, -depth / 2)
        facets.quads([[a, b, q, p], [c, d, p, q]], BUILDING, Material.ROOF, color)
        facets.triangles([[b, c, q], [d, a, p]], BUILDING, Material.ROOF, color)
    else:
        p, q = front.place(width / 2, top, -half), front.place(width / 2, top, -depth + half)
        facets.quads([[b, c, q, p], [d, a, p, q]], BUILDING, Material.ROOF, color)
        facets.triangles([[a, b, p], [c, d, q]], BUILDING, Material.ROOF, color)
    facets.quads([d, c, b, a], BUILDING, Material.WOOD, srgb(200, 196, 188))
    corners = np.stack([a, b, c, d])
    facets.bars(corners, np.roll(corners, -1, axis=0), 0.07, BUILDING, Material.METAL, srgb(84, 84, 84), sides=6)


def flat_roof(
    facets: Facets, front: Frame, depth: float, height: float, color: Color, rng: np.random.Generator
) -> None:
    """A parapet round a flat roof with machinery on it."""
    width, rise = front.width, float(rng.uniform(0.4, 1.0))
    top = height + rise
    facets.quads(
        [front.place(u, height, o) for u, o in ((0.0, 0.0), (width, 0.0), (width, -depth), (0.0, -depth))],
        BUILDING,
        Material.CONCRETE,
        srgb(110, 108, 104),
    )
    walls = np.array([[0, width, -0.25, 0], [0, width, -depth, 0.25 - depth]])
    sides = np.array([[0, 0.25, 0.25 - depth, -0.25], [width - 0.25, width, 0.25 - depth, -0.25]])
    u0, u1, back, out = np.concatenate([walls, sides]).T
    front.boxes(facets, u0, u1, height, top, back, out, Material.PLASTER, color)
    front.boxes(facets, u0 - 0.05, u1 + 0.05, top, top + 0.08, back - 0.05, out + 0.06, Material.CONCRETE, color * 0.8)
    for _ in range(int(rng.integers(1, 4))):
        u, o = rng.uniform(1.5, max(width - 3.5, 1.6)), -rng.uniform(2.0, max(depth - 4.0, 2.1))
        size = rng.uniform([1.0, 1.0, 0.8], [3.0, 2.5, 2.4])
        front.boxes(
            facets, u, u + size[0], height, height + size[2], o - size[1], o, Material.METAL, srgb(150, 150, 150)
        )


def chimney(facets: Facets, front: Frame, u: float, out: float, ridge: float, rng: np.random.Generator) -> None:
    """A stack with pots, from below the ridge to above it."""
    brick = srgb(128, 78, 62) * rng.uniform(0.8, 1.2)
    top = ridge + float(rng.uniform(0.7, 1.3))
    front.boxes(facets, u - 0.3, u + 0.3, ridge - 1.0, top, out - 0.55, out + 0.55, Material.BRICK, brick)
    front.boxes(facets, u - 0.36, u + 0.36, top - 0.12, top, out - 0.62, out + 0.62, Material.CONCRETE, brick * 0.7)
    pots = front.place(u, top, out + np.array([-0.3, 0.0, 0.3]))
    facets.bars(pots, pots + 0.4 * UP, 0.11, BUILDING, Material.BRICK, srgb(170, 104, 74), sides=8, end_radii=0.09)
