"""Walls, fences and railings: slats and bars with real gaps between them."""

from __future__ import annotations

import numpy as np

from panoptic_training.synthetic.facades import Frame
from panoptic_training.synthetic.facets import Facets, jitter, srgb
from panoptic_training.synthetic.lots import Barrier
from panoptic_training.synthetic.mesh import Material
from panoptic_training.synthetic.vegetation import hedge

WALL, FENCE = 12, 13

_BRICKS = [[142, 88, 68], [160, 108, 80], [120, 80, 66]]
_STONES = [[176, 168, 152], [150, 144, 132], [196, 190, 178]]
_TIMBERS = [[150, 112, 72], [120, 92, 66], [104, 96, 86], [226, 222, 212], [86, 104, 92]]


def build_barrier(facets: Facets, barrier: Barrier, rng: np.random.Generator, near: bool) -> None:
    """One barrier; far ones have fewer parts."""
    if barrier.kind == "hedge":
        green = srgb(*rng.choice([[58, 84, 40], [74, 92, 44], [50, 72, 42]]))
        hedge(facets, barrier.start, barrier.end, barrier.height, green, rng, near)
        return
    frame = Frame.between(barrier.start, barrier.end)
    if barrier.kind == "wall":
        _masonry(facets, frame, barrier.height, rng)
    elif barrier.kind == "pickets":
        _pickets(facets, frame, barrier.height, rng)
    elif barrier.kind == "boards":
        _boards(facets, frame, barrier.height, rng)
    else:
        railing(
            facets, frame, barrier.height, srgb(*rng.choice([[38, 40, 42], [48, 62, 54], [70, 72, 74]])), plinth=0.35
        )


def _masonry(facets: Facets, frame: Frame, height: float, rng: np.random.Generator) -> None:
    brick = rng.random() < 0.6
    material = Material.BRICK if brick else Material.CONCRETE
    color = srgb(*rng.choice(_BRICKS if brick else _STONES)) * rng.uniform(0.85, 1.15)
    width, top = frame.width, height - 0.08
    frame.boxes(facets, 0.0, width, -0.2, top, -0.22, 0.0, material, color, WALL)
    frame.boxes(facets, 0.0, width, top, height, -0.26, 0.04, Material.CONCRETE, srgb(170, 164, 154), WALL)
    piers = np.array([0.0, width - 0.36])
    if width > 2.0:
        frame.boxes(facets, piers, piers + 0.36, -0.2, height + 0.12, -0.29, 0.07, material, color, WALL)
        frame.boxes(
            facets, piers - 0.04, piers + 0.4, height + 0.12, height + 0.2, -0.33, 0.11, Material.CONCRETE,
            srgb(180, 174, 164), WALL,
        )  # fmt: skip


def _pickets(facets: Facets, frame: Frame, height: float, rng: np.random.Generator) -> None:
    paint = srgb(*rng.choice(_TIMBERS))
    posts = np.linspace(0.05, frame.width - 0.05, max(int(frame.width / 2.2), 1) + 1)
    frame.boxes(
        facets, posts - 0.05, posts + 0.05, -0.2, height + 0.05, -0.13, -0.04, Material.WOOD, paint * 0.9, FENCE
    )
    rails = np.array([0.25, 0.75]) * height
    frame.boxes(facets, 0.0, frame.width, rails - 0.035, rails + 0.035, -0.06, -0.025, Material.WOOD, paint, FENCE)
    slats = np.arange(0.02, frame.width - 0.08, 0.15)
    tops = height + 0.015 * rng.standard_normal(len(slats))
    colors = jitter(rng, paint, len(slats), 0.06)
    frame.boxes(facets, slats, slats + 0.085, 0.06, tops, -0.024, 0.0, Material.WOOD, colors, FENCE)


def _boards(facets: Facets, frame: Frame, height: float, rng: np.random.Generator) -> None:
    paint = srgb(*rng.choice(_TIMBERS[:3]))
    posts = np.linspace(0.06, frame.width - 0.06, max(int(frame.width / 2.0), 1) + 1)
    frame.boxes(
        facets, posts - 0.05, posts + 0.05, -0.2, height + 0.06, -0.11, -0.02, Material.WOOD, paint * 0.8, FENCE
    )
    levels = np.arange(0.08, height - 0.1, 0.165)
    colors = jitter(rng, paint, len(levels), 0.1)
    frame.boxes(facets, 0.0, frame.width, levels, levels + 0.14, -0.02, 0.0, Material.WOOD, colors, FENCE)


def railing(facets: Facets, frame: Frame, height: float, color: np.ndarray, plinth: float = 0.0) -> None:
    """Upright steel bars between two rails, on a low wall if `plinth` has a height."""
    if plinth:
        frame.boxes(facets, 0.0, frame.width, -0.2, plinth, -0.3, 0.05, Material.CONCRETE, srgb(158, 150, 138), WALL)
    low, high = plinth + 0.1, height
    posts = np.linspace(0.03, frame.width - 0.03, max(int(frame.width / 2.0), 1) + 1)
    middle = -0.12
    frame.boxes(
        facets, posts - 0.025, posts + 0.025, plinth - 0.2, high + 0.06, middle - 0.025, middle + 0.025,
        Material.METAL, color, FENCE,
    )  # fmt: skip
    rails = np.array([low, high - 0.14])
    frame.boxes(
        facets,
        0.0,
        frame.width,
        rails - 0.018,
        rails + 0.018,
        middle - 0.02,
        middle + 0.02,
        Material.METAL,
        color,
        FENCE,
    )
    bars = np.arange(0.12, frame.width - 0.05, 0.125)
    frame.boxes(
        facets, bars - 0.009, bars + 0.009, low, high, middle - 0.009, middle + 0.009, Material.METAL, color, FENCE
    )
