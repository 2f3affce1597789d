"""Houses in rows, houses in gardens, shops and offices, each drawn from its block's character."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from panoptic_training.synthetic.facades import (
    BUILDING,
    Color,
    Frame,
    Openings,
    WindowStyle,
    balcony,
    door,
    shop_front,
    wall,
    windows,
)
from panoptic_training.synthetic.facets import Facets, srgb
from panoptic_training.synthetic.mesh import Material
from panoptic_training.synthetic.roofs import chimney, flat_roof, gable_roof, hip_roof
from panoptic_training.synthetic.street import Character

_BRICKS = [[142, 84, 64], [156, 98, 74], [122, 76, 62], [168, 134, 98], [184, 156, 118], [110, 68, 58]]
_PLASTERS = [
    [222, 212, 192],
    [206, 196, 178],
    [228, 222, 210],
    [214, 186, 140],
    [198, 168, 140],
    [182, 190, 184],
    [206, 164, 140],
    [176, 178, 182],
    [224, 206, 160],
]
_CONCRETES = [[170, 168, 164], [150, 148, 146], [190, 184, 174], [128, 126, 126]]
_ROOFS = [[92, 62, 52], [112, 66, 50], [74, 70, 72], [64, 66, 74], [98, 82, 70]]
_DOORS = [[118, 34, 32], [34, 56, 84], [44, 74, 56], [92, 62, 40], [40, 40, 42], [196, 176, 92]]


@dataclass(frozen=True, slots=True, eq=False)
class Plot:
    """Where one building stands.

    Attributes
    ----------
    front:
        Its front's plane; z = 0 of it lies on the sidewalk.
    depth:
        Metres from front to back.
    left, right:
        Whether these sides can be seen from a street, as one looks at the front.
    """

    front: Frame
    depth: float
    character: Character
    left: bool
    right: bool
    near: bool = True  # to the main street: only then small parts are worth their triangles

    def sides(self) -> tuple[Frame, Frame, Frame, Frame]:
        """Front, right, back and left planes."""
        right = self.front.turned(self.front.width, self.depth)
        back = right.turned(self.depth, self.front.width)
        return self.front, right, back, back.turned(self.front.width, self.depth)


@dataclass(frozen=True, slots=True, eq=False)
class _Style:
    material: Material
    color: Color
    floors: int
    storey: float
    ground: float  # height of the ground floor
    window: WindowStyle
    width: float  # of a window
    tall: float  # of a window
    bay: float  # between windows
    shop: bool
    roof: str
    roof_color: Color
    pitch: float
    balconies: bool

    @property
    def height(self) -> float:
        return self.ground + self.storey * (self.floors - 1)


def _draw_style(character: Character, rng: np.random.Generator) -> _Style:
    brick = rng.random() < (0.6 if character == "terrace" else 0.4)
    material = Material.BRICK if brick else Material.PLASTER
    color = srgb(*rng.choice(_BRICKS if brick else _PLASTERS)) * rng.uniform(0.85, 1.1)
    style = _Style(
        material=material,
        color=color,
        floors=int(rng.choice([2, 3, 3, 4])),
        storey=float(rng.uniform(2.9, 3.3)),
        ground=float(rng.uniform(3.1, 3.6)),
        window=WindowStyle.draw(rng),
        width=float(rng.uniform(0.95, 1.25)),
        tall=float(rng.uniform(1.5, 1.9)),
        bay=float(rng.uniform(2.1, 2.9)),
        shop=False,
        roof="gable",
        roof_color=srgb(*rng.choice(_ROOFS)),
        pitch=float(rng.uniform(0.6, 0.95)),
        balconies=bool(rng.random() < 0.15),
    )
    if character == "shops":
        style = replace(
            style,
            floors=int(rng.choice([3, 3, 4, 5])),
            ground=float(rng.uniform(3.5, 3.9)),
            shop=bool(rng.random() < 0.85),
            roof=str(rng.choice(["gable", "flat", "gable"])),
        )
    elif character == "houses":
        style = replace(
            style,
            floors=2,
            ground=2.9,
            storey=2.7,
            tall=1.25,
            width=float(rng.uniform(1.1, 1.6)),
            bay=3.0,
            roof=str(rng.choice(["gable", "hip", "cross"])),
            balconies=False,
        )
    elif character == "offices":
        concrete = rng.random() < 0.6
        style = replace(
            style,
            material=Material.CONCRETE if concrete else style.material,
            color=srgb(*rng.choice(_CONCRETES)) if concrete else style.color,
            floors=int(rng.choice([4, 5, 6])),
            ground=4.0,
            storey=3.3,
            window=WindowStyle.draw(rng, modern=True),
            width=float(rng.uniform(1.8, 2.6)),
            tall=float(rng.uniform(1.6, 2.2)),
            bay=float(rng.uniform(2.8, 3.4)),
            shop=bool(rng.random() < 0.5),
            roof="flat",
            balconies=bool(rng.random() < 0.35),
        )
    return style


def build_building(facets: Facets, plot: Plot, rng: np.random.Generator) -> None:
    """One building on its plot."""
    style = _draw_style(plot.character, rng)
    front, right, back, left = plot.sides()
    reveal = 0.25 if plot.character == "offices" else float(rng.uniform(0.1, 0.18))
    _front(facets, front, style, reveal, rng, not plot.near)
    for side, seen in ((right, plot.right), (left, plot.left)):
        _side(facets, side, style, reveal, rng, seen, not plot.near)
    _side(facets, back, style, reveal, rng, seen=True, plain=True)
    if style.roof == "flat":
        flat_roof(facets, front, plot.depth, style.height, style.color, rng)
        return
    wall_end = style.material, style.color
    if style.roof == "hip":
        hip_roof(facets, front, plot.depth, style.height, style.pitch, style.roof_color)
    else:
        gable_roof(
            facets, front, plot.depth, style.height, style.pitch, style.roof_color, wall_end, style.roof == "cross"
        )
    if style.roof == "gable":
        _dormers(facets, front, plot.depth, style, rng)
        rise = style.pitch * plot.depth / 2
        for u in (0.55, front.width - 0.55):
            if rng.random() < 0.6:
                chimney(facets, front, u, -plot.depth / 2, style.height + rise, rng)
    pipe = front.place(0.12, 0.0, 0.07), front.place(0.12, style.height, 0.07)
    facets.bars(*pipe, 0.045, BUILDING, Material.METAL, srgb(70, 70, 72), sides=6)


def _bays(width: float, style: _Style) -> np.ndarray:
    count = max(int((width - 0.5) / style.bay), 1)
    return (np.arange(count) + 0.5) * width / count


def _front(facets: Facets, frame: Frame, style: _Style, reveal: float, rng: np.random.Generator, plain: bool) -> None:
    bays = _bays(frame.width, style)
    if style.shop:
        shop_front(facets, frame, style.ground, rng)
    else:
        entrance = int(rng.integers(len(bays)))
        rest = np.delete(bays, entrance)
        holes = Openings.grid(rest, 0.85, style.width, min(style.tall, style.ground - 1.2))
        u = bays[entrance]
        way = np.array([[u - 0.5, u + 0.5, 0.0, 2.7]])
        both = Openings(np.concatenate([holes.bounds, way]))
        base = style.color * rng.choice([1.0, 1.0, 0.8])
        wall(facets, frame, -0.3, style.ground, both, reveal, style.material, base)
        windows(facets, frame, holes, style.window, reveal, rng, plain)
        door(facets, frame, float(u), 1.0, reveal, srgb(*rng.choice(_DOORS)))
    sills = style.ground + 0.75 + style.storey * np.arange(style.floors - 1)
    holes = Openings.grid(bays, sills, style.width, style.tall)
    wall(facets, frame, style.ground, style.height, holes, reveal, style.material, style.color)
    windows(facets, frame, holes, style.window, reveal, rng, plain)
    if rng.random() < 0.5 and not style.shop:  # a band between the ground floor and the rest
        frame.boxes(
            facets, 0.0, frame.width, style.ground - 0.1, style.ground + 0.1, -0.02, 0.07, Material.CONCRETE,
            srgb(200, 194, 182),
        )  # fmt: skip
    if style.roof != "hip":
        frame.boxes(
            facets, 0.0, frame.width, style.height - 0.25, style.height, -0.02, 0.14, Material.CONCRETE,
            srgb(206, 200, 188),
        )  # fmt: skip
    if style.balconies and not plain:
        steel = srgb(*rng.choice([[48, 48, 50], [200, 200, 198], [70, 84, 78]]))
        for floor in range(style.floors - 1):
            for u in bays[:: 2 if len(bays) > 2 else 1]:
                balcony(facets, frame, float(u), style.ground + 0.55 + style.storey * floor, style.width + 0.7, steel)


def _side(
    facets: Facets,
    frame: Frame,
    style: _Style,
    reveal: float,
    rng: np.random.Generator,
    seen: bool,
    plain: bool = False,
) -> None:
    """A wall that is not the front: blank where neighbours touch, with windows where a street passes."""
    holes = Openings(np.zeros((0, 4)))
    if seen:
        sills = np.concatenate([[0.9], style.ground + 0.75 + style.storey * np.arange(style.floors - 1)])
        height = min(style.tall, style.ground - 1.3)
        holes = Openings.grid(_bays(frame.width, style), sills, style.width, height)
    wall(facets, frame, -0.3, style.height, holes, reveal, style.material, style.color * 0.97)
    windows(facets, frame, holes, style.window, reveal, rng, plain=plain)


def _dormers(facets: Facets, front: Frame, depth: float, style: _Style, rng: np.random.Generator) -> None:
    """Small gabled windows that stand out of the roof."""
    if rng.random() < 0.55 or style.pitch * depth / 2 < 3.2:
        return
    bays = _bays(front.width, style)
    for u in bays[:: 2 if len(bays) > 3 else 1]:
        out = -1.0
        low = style.height - out * style.pitch - 0.25
        frame = front.shifted(u=float(u) - 0.7, z=low, out=out, width=1.4)
        hole = Openings(np.array([[0.2, 1.2, 0.3, 1.35]]))
        wall(facets, frame, 0.0, 1.5, hole, 0.06, Material.PLASTER, srgb(210, 206, 196))
        windows(facets, frame, hole, style.window, 0.06, rng, plain=True)
        run = 1.5 / style.pitch + 0.5
        cheek = style.roof_color * 0.9
        frame.boxes(facets, [0.0, 1.36], [0.04, 1.4], 0.0, 1.5, -run, -0.001, Material.ROOF, cheek)
        gable_roof(
            facets, frame, run, 1.5, 0.75, style.roof_color, (Material.PLASTER, srgb(210, 206, 196)), True, eaves=0.12
        )
