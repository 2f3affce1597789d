"""Walls with holes in them, and what fills the holes: windows, doors, shop fronts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from panoptic_training.synthetic.facets import UP, Facets, jitter, srgb
from panoptic_training.synthetic.lettering import SHOPS, cells
from panoptic_training.synthetic.mesh import Material

BUILDING = 11

Color = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A vertical plane to build on: `u` metres to the right as one looks at it, z up, `out` towards the viewer.

    Attributes
    ----------
    origin:
        (3,) its lower left corner.
    right:
        (3,) level unit vector along u.
    width:
        Metres along u.
    """

    origin: NDArray[np.float64]
    right: NDArray[np.float64]
    width: float

    @property
    def out(self) -> NDArray[np.float64]:
        return np.array([self.right[1], -self.right[0], 0.0])

    @classmethod
    def between(cls, start: NDArray[np.float64], end: NDArray[np.float64]) -> Frame:
        """From the left corner to the right corner, both (3,) and at one height."""
        width = float(np.linalg.norm(end - start))
        return cls(np.asarray(start, dtype=np.float64), (end - start) / width, width)

    def shifted(self, u: float = 0.0, z: float = 0.0, out: float = 0.0, width: float | None = None) -> Frame:
        return Frame(self.place(u, z, out), self.right, self.width if width is None else width)

    def turned(self, corner: float, width: float) -> Frame:
        """The plane that runs back from this one's right end (`corner` its u), for the next side of a building."""
        return Frame(self.place(corner, 0.0, 0.0), -self.out, width)

    def place(self, u: ArrayLike, z: ArrayLike, out: ArrayLike) -> NDArray[np.float64]:
        """(..., 3) world positions."""
        u, z, out = np.broadcast_arrays(*(np.asarray(a, dtype=np.float64) for a in (u, z, out)))
        return np.asarray(self.origin + u[..., None] * self.right + z[..., None] * UP + out[..., None] * self.out)

    def rectangles(
        self,
        facets: Facets,
        u0: ArrayLike,
        u1: ArrayLike,
        z0: ArrayLike,
        z1: ArrayLike,
        out: ArrayLike,
        material: Material,
        color: ArrayLike,
        class_id: int = BUILDING,
    ) -> None:
        """(N,) upright rectangles that face the viewer."""
        u0, u1, z0, z1, out = (np.ravel(a) for a in np.broadcast_arrays(u0, u1, z0, z1, out))
        corners = [self.place(u, z, out) for u, z in ((u0, z0), (u1, z0), (u1, z1), (u0, z1))]
        facets.quads(np.stack(corners, axis=1), class_id, material, color)

    def boxes(
        self,
        facets: Facets,
        u0: ArrayLike,
        u1: ArrayLike,
        z0: ArrayLike,
        z1: ArrayLike,
        out0: ArrayLike,
        out1: ArrayLike,
        material: Material,
        color: ArrayLike,
        class_id: int = BUILDING,
        flush: bool = False,
    ) -> None:
        """(N,) boxes along the frame's axes, from out0 (back) to out1 (front); `flush` ones lie on a wall: no back."""
        u0, u1, z0, z1, out0, out1 = (np.ravel(a) for a in np.broadcast_arrays(u0, u1, z0, z1, out0, out1))
        centers = self.place((u0 + u1) / 2, (z0 + z1) / 2, (out0 + out1) / 2)
        sizes = np.stack([u1 - u0, out1 - out0, z1 - z0], axis=-1)
        axes = np.stack([self.right, -self.out, UP])
        facets.boxes(centers, sizes, class_id, material, color, axes, without="back" if flush else "")


@dataclass(frozen=True, slots=True, eq=False)
class Openings:
    """(N, 4) holes in a wall: u0, u1, z0, z1."""

    bounds: NDArray[np.float64]

    @classmethod
    def grid(cls, centers: ArrayLike, sills: ArrayLike, width: float, height: float) -> Openings:
        """A hole of one size at every column and above every sill."""
        u, z = (np.ravel(a) for a in np.meshgrid(centers, sills))
        return cls(np.stack([u - width / 2, u + width / 2, z, z + height], axis=-1))

    @property
    def count(self) -> int:
        return len(self.bounds)


def wall(
    facets: Facets,
    frame: Frame,
    z0: float,
    z1: float,
    openings: Openings,
    reveal: float,
    material: Material,
    color: Color,
    trim: Color | None = None,
) -> None:
    """A wall from z0 to z1 with holes, and the sides of the holes, `reveal` metres deep.

    Cells of the grid that all edges make, so that neighbouring triangles share their corners and leave no cracks.
    """
    bounds = openings.bounds
    u = np.unique(np.round(np.concatenate([[0.0, frame.width], bounds[:, :2].ravel()]), 6))
    z = np.unique(np.round(np.concatenate([[z0, z1], bounds[:, 2:].ravel()]), 6))
    middle_u, middle_z = (u[1:] + u[:-1]) / 2, (z[1:] + z[:-1]) / 2
    in_u = (middle_u[:, None] > bounds[:, 0]) & (middle_u[:, None] < bounds[:, 1])
    in_z = (middle_z[:, None] > bounds[:, 2]) & (middle_z[:, None] < bounds[:, 3])
    i, j = np.nonzero(~(in_u[:, None] & in_z[None]).any(axis=-1))
    frame.rectangles(facets, u[i], u[i + 1], z[j], z[j + 1], 0.0, material, color)
    if openings.count:
        u0, u1, low, high = bounds.T
        corners = np.array([[u0, low], [u1, low], [u1, high], [u0, high]]).transpose(2, 0, 1)  # (N, 4, 2)
        following = np.roll(corners, -1, axis=1)
        sides = [(corners, 0.0), (following, 0.0), (following, -reveal), (corners, -reveal)]
        points = np.stack([frame.place(c[..., 0], c[..., 1], out) for c, out in sides], axis=2)
        # an outline that runs counter-clockwise, pushed back: its sides face into the hole
        sides_color = color * 0.9 if trim is None else trim
        facets.quads(points.reshape(-1, 4, 3), BUILDING, Material.PLASTER, sides_color)


@dataclass(frozen=True, slots=True, eq=False)
class WindowStyle:
    """How the windows of a building look."""

    columns: int
    rows: int
    bar: float  # width of frames, metres
    frame: Color
    sill: Color | None
    surround: Color | None
    shutters: Color | None
    glass: Color

    @classmethod
    def draw(cls, rng: np.random.Generator, modern: bool = False) -> WindowStyle:
        pale, dark = srgb(225, 222, 214), srgb(62, 60, 58)
        colors = [pale, pale, dark, srgb(92, 66, 44), srgb(60, 82, 70)]
        if modern:
            columns, rows, bar, frame = int(rng.choice([1, 2, 3])), 1, 0.05, dark if rng.random() < 0.7 else pale
        else:
            columns, rows = ((1, 2), (2, 1), (2, 3), (2, 2), (3, 4))[int(rng.integers(5))]
            bar, frame = 0.055, colors[int(rng.integers(len(colors)))]
        stone = srgb(*rng.choice([[205, 198, 184], [188, 180, 168], [226, 222, 214]]))
        return cls(
            columns=columns,
            rows=rows,
            bar=bar,
            frame=frame,
            sill=None if modern else stone,
            surround=stone if not modern and rng.random() < 0.4 else None,
            shutters=srgb(*rng.choice([[62, 92, 72], [94, 62, 50], [70, 84, 110], [120, 116, 104]]))
            if not modern and rng.random() < 0.22
            else None,
            glass=np.array([0.025, 0.032, 0.038]) * rng.uniform(0.7, 1.6),
        )


def windows(
    facets: Facets,
    frame: Frame,
    openings: Openings,
    style: WindowStyle,
    reveal: float,
    rng: np.random.Generator,
    plain: bool = False,
) -> None:
    """Glass, curtains, frames and bars in holes, sills and shutters around them; `plain` leaves out what is small."""
    if not openings.count:
        return
    u0, u1, z0, z1 = openings.bounds.T
    count = openings.count
    curtain = np.where(rng.random(count) < 0.45, rng.uniform(0.0, 0.75, count), 0.0)
    split = z1 - (z1 - z0) * curtain
    fabric = jitter(rng, srgb(196, 186, 168), count, 0.2) * 0.45
    frame.rectangles(facets, u0, u1, z0, split, -reveal, Material.GLASS, jitter(rng, style.glass, count, 0.3))
    drawn = curtain > 0
    frame.rectangles(facets, u0[drawn], u1[drawn], split[drawn], z1[drawn], -reveal, Material.GLASS, fabric[drawn])
    back, front = -reveal, -reveal + 0.04
    bar, paint = style.bar, style.frame
    if not plain:
        for a, b, c, d in (
            (u0, u0 + bar, z0, z1),
            (u1 - bar, u1, z0, z1),
            (u0 + bar, u1 - bar, z0, z0 + bar),
            (u0 + bar, u1 - bar, z1 - bar, z1),
        ):
            frame.boxes(facets, a, b, c, d, back, front, Material.WOOD, paint, flush=True)
    thin, front = bar * 0.35, front - 0.012
    for k in range(1, style.columns):
        u = u0 + (u1 - u0) * k / style.columns
        frame.boxes(facets, u - thin, u + thin, z0, z1, back, front, Material.WOOD, paint, flush=True)
    for k in range(1, style.rows):
        z = z0 + (z1 - z0) * k / style.rows
        frame.boxes(facets, u0, u1, z - thin, z + thin, back, front - 0.004, Material.WOOD, paint, flush=True)
    if plain:
        return
    if style.sill is not None:
        frame.boxes(facets, u0 - 0.06, u1 + 0.06, z0 - 0.07, z0, -0.05, 0.07, Material.CONCRETE, style.sill, flush=True)
    if style.surround is not None:
        frame.boxes(facets, u0 - 0.12, u0, z0, z1, -0.02, 0.03, Material.CONCRETE, style.surround, flush=True)
        frame.boxes(facets, u1, u1 + 0.12, z0, z1, -0.02, 0.03, Material.CONCRETE, style.surround, flush=True)
        frame.boxes(
            facets, u0 - 0.16, u1 + 0.16, z1, z1 + 0.16, -0.02, 0.05, Material.CONCRETE, style.surround, flush=True
        )
    if style.shutters is not None:
        leaf = (u1 - u0) / 2
        for a in (u0 - leaf - 0.02, u1 + 0.02):
            frame.boxes(facets, a, a + leaf, z0, z1, 0.005, 0.05, Material.WOOD, style.shutters)


def door(facets: Facets, frame: Frame, u: float, width: float, reveal: float, color: Color) -> None:
    """A panelled front door with a light above it, in a hole of 2.7 m, and its step."""
    left, right = u - width / 2, u + width / 2
    frame.rectangles(facets, left, right, 0.0, 2.1, -reveal, Material.WOOD, color)
    frame.rectangles(facets, left, right, 2.2, 2.7, -reveal, Material.GLASS, srgb(52, 58, 64))
    frame.boxes(facets, left, right, 2.1, 2.2, -reveal, -reveal + 0.06, Material.WOOD, color * 0.8)
    panels = np.array([left + 0.12, u + 0.05])
    for low, high in ((0.25, 0.9), (1.05, 1.95)):
        frame.boxes(
            facets, panels, panels + width / 2 - 0.17, low, high, -reveal, -reveal + 0.02, Material.WOOD, color * 1.25
        )
    knob = frame.place(right - 0.1, 1.0, -reveal)
    facets.bars(knob, knob + 0.07 * frame.out, 0.03, BUILDING, Material.METAL, srgb(190, 170, 110), sides=6)
    frame.boxes(facets, left - 0.15, right + 0.15, -0.3, 0.13, -reveal, 0.28, Material.CONCRETE, srgb(170, 166, 158))


def shop_front(facets: Facets, frame: Frame, height: float, rng: np.random.Generator) -> None:
    """A ground floor of large panes with pilasters, a fascia with the shop's name, often an awning."""
    paints = [[38, 62, 54], [52, 34, 36], [30, 40, 62], [170, 40, 38], [226, 220, 206], [32, 32, 34], [196, 138, 46]]
    paint = srgb(*rng.choice(paints))
    width, fascia = frame.width, height - 0.75
    pillar = 0.3
    frame.boxes(facets, [0.0, width - pillar], [pillar, width], -0.3, fascia, -0.4, 0.05, Material.PLASTER, paint * 0.9)
    frame.boxes(facets, 0.0, width, fascia, height - 0.05, -0.4, 0.12, Material.WOOD, paint)
    frame.boxes(facets, 0.0, width, height - 0.05, height + 0.1, -0.4, 0.22, Material.CONCRETE, srgb(150, 146, 138))
    gap = float(rng.uniform(pillar + 0.2, width - pillar - 1.4))
    reveal, riser = 0.18, float(rng.uniform(0.25, 0.6))
    spans = [(pillar, gap), (gap + 1.1, width - pillar)]
    for u0, u1 in spans:
        if u1 - u0 < 0.3:
            frame.boxes(facets, u0, u1, -0.3, fascia, -0.4, 0.0, Material.PLASTER, paint)
            continue
        frame.boxes(facets, u0, u1, -0.3, riser, -0.4, -0.05, Material.WOOD, paint * 0.85)
        panes = max(round((u1 - u0) / 1.5), 1)
        edges = np.linspace(u0, u1, panes + 1)
        shades = jitter(rng, srgb(70, 68, 62), panes, 0.4) * rng.uniform(0.4, 1.0)
        frame.rectangles(facets, edges[:-1], edges[1:], riser, fascia, -reveal, Material.GLASS, shades)
        frame.boxes(
            facets, edges - 0.035, edges + 0.035, riser, fascia, -reveal, -0.06, Material.WOOD, paint, flush=True
        )
        frame.boxes(facets, u0, u1, fascia - 0.55, fascia - 0.5, -reveal, -0.08, Material.WOOD, paint, flush=True)
        goods = int(rng.integers(0, 4)) * panes
        left = rng.uniform(u0, u1 - 0.25, goods)
        low = rng.uniform(riser, riser + 0.7, goods)
        far = np.minimum(left + rng.uniform(0.15, 0.5, goods), u1)
        bright = jitter(rng, srgb(170, 150, 120), goods, 0.5) * 0.5
        frame.rectangles(
            facets, left, far, low, low + rng.uniform(0.2, 0.7, goods), -reveal + 0.004, Material.GLASS, bright
        )
    deep = -0.38
    frame.rectangles(facets, gap, gap + 1.1, -0.3, 0.12, deep, Material.WOOD, paint)
    frame.rectangles(facets, gap, gap + 1.1, 0.12, fascia, deep, Material.GLASS, srgb(58, 60, 60))
    cheeks = np.array([gap - 0.06, gap + 1.1])
    frame.boxes(facets, cheeks, cheeks + 0.06, -0.3, fascia, -0.4, -0.04, Material.WOOD, paint)
    frame.boxes(
        facets, [gap, gap + 1.0], [gap + 0.1, gap + 1.1], 0.0, fascia, deep, deep + 0.05, Material.WOOD, paint * 1.1
    )
    _name(facets, frame, fascia, paint, rng)
    if rng.random() < 0.4:
        awning(facets, frame.shifted(u=pillar, width=width - 2 * pillar), fascia - 0.02, rng)
    if rng.random() < 0.35:  # a sign that hangs out over the sidewalk
        u, board = float(rng.uniform(0.4, width - 0.4)), srgb(*rng.choice(paints))
        frame.boxes(
            facets, u - 0.02, u + 0.02, height + 0.75, height + 0.79, 0.0, 0.85, Material.METAL, srgb(40, 40, 40)
        )
        frame.boxes(facets, u - 0.035, u + 0.035, height + 0.1, height + 0.72, 0.15, 0.8, Material.PLASTIC, board)


def _name(facets: Facets, frame: Frame, fascia: float, paint: Color, rng: np.random.Generator) -> None:
    text = str(rng.choice(SHOPS))
    size = min(0.075, (frame.width - 0.8) / (4 * len(text)))
    u0, u1, v0, v1 = cells(text).T * size
    start = (frame.width - 4 * size * len(text)) * (0.5 if rng.random() < 0.6 else 0.15)
    ink = srgb(232, 226, 206) if paint.mean() < 0.3 else srgb(36, 34, 40)
    base = fascia + 0.35 - 2.5 * size
    frame.rectangles(facets, start + u0, start + u1, base + v0, base + v1, 0.124, Material.PLASTIC, ink)


def awning(facets: Facets, frame: Frame, z: float, rng: np.random.Generator) -> None:
    """Striped cloth that slopes down over the sidewalk, with a valance."""
    cloth = srgb(*rng.choice([[168, 44, 40], [44, 88, 70], [38, 58, 104], [196, 150, 60], [120, 40, 70]]))
    reach, fall = float(rng.uniform(0.9, 1.4)), float(rng.uniform(0.45, 0.7))
    stripes = max(int(frame.width / 0.3), 2)
    edges = np.linspace(0.0, frame.width, stripes + 1)
    a, b = edges[:-1], edges[1:]
    plain = rng.random() < 0.4
    colors = np.where((np.arange(stripes) % 2 == 0)[:, None] | plain, cloth, srgb(226, 220, 206))
    shape = [(a, z, 0.12), (a, z - fall, reach), (b, z - fall, reach), (b, z, 0.12)]
    cover = np.stack([frame.place(u, level, out) for u, level, out in shape], axis=1)
    facets.quads(cover, BUILDING, Material.FABRIC, colors)
    facets.quads(cover[:, ::-1] - 0.01 * (frame.out + UP), BUILDING, Material.FABRIC, colors * 0.8)
    frame.boxes(facets, a, b, z - fall - 0.2, z - fall, reach - 0.015, reach, Material.FABRIC, colors)


def balcony(facets: Facets, frame: Frame, u: float, z: float, width: float, color: Color) -> None:
    """A slab with a railing of bars."""
    reach, left, right = 1.0, u - width / 2, u + width / 2
    frame.boxes(facets, left, right, z - 0.16, z, -0.05, reach, Material.CONCRETE, srgb(190, 186, 178))
    rail, steel = z + 1.0, color
    for level in (z + 0.1, rail):
        frame.boxes(facets, left, right, level - 0.02, level + 0.02, reach - 0.06, reach - 0.02, Material.METAL, steel)
        for side in (left + 0.02, right - 0.06):
            frame.boxes(facets, side, side + 0.04, level - 0.02, level + 0.02, 0.0, reach - 0.06, Material.METAL, steel)
    bars = np.arange(left + 0.06, right - 0.03, 0.12)
    frame.boxes(facets, bars - 0.009, bars + 0.009, z + 0.1, rail, reach - 0.05, reach - 0.03, Material.METAL, steel)
    deep = np.arange(0.08, reach - 0.08, 0.12)
    for side in (left + 0.04, right - 0.04):
        frame.boxes(
            facets, side - 0.009, side + 0.009, z + 0.1, rail, deep - 0.009, deep + 0.009, Material.METAL, steel
        )
