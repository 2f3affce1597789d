"""Trucks, buses and trams."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from panoptic_training.synthetic.heavy_details import AMBER, band, door, lamps, plate, screen, sign
from panoptic_training.synthetic.mesh import Material, Mesh
from panoptic_training.synthetic.shells import (
    BLACK_PLASTIC,
    COARSE,
    DARK,
    GLASS,
    TAIL,
    TAIL_GLOW,
    Shell,
    wheel,
)
from panoptic_training.synthetic.solids import Color, Skin, at, box, pair, rounded_box, tube
from panoptic_training.synthetic.vehicles import Rolling, rolling

TRUCK, BUS, TRAIN = 27, 28, 31

_STEEL: Color = (0.3, 0.3, 0.31)

_BUS = Shell(
    11.8, 2.55, 3.05,
    top=((0.0, 0.22), (0.001, 0.4), (0.004, 0.6), (0.013, 0.88), (0.02, 0.95), (0.035, 1.0), (0.97, 1.0), (0.985, 0.97),
         (0.994, 0.85), (0.998, 0.5), (1.0, 0.25)),
    bottom=((0.0, 0.22), (0.002, 0.14), (0.008, 0.11), (0.1, 0.1), (0.94, 0.1), (0.99, 0.14), (0.998, 0.19),
            (1.0, 0.25)),
    belt=((0.0, 0.4), (1.0, 0.4)),
    plan=((0.0, 0.96), (0.01, 0.985), (0.03, 1.0), (0.98, 1.0), (1.0, 0.97)),
    bow=((0.0, 0.16), (0.04, 0.05), (0.08, 0.0), (0.96, 0.0), (1.0, -0.06)),
    lean=0.035, crown=0.06, edge=0.16, axles=(0.225, 0.72), wheel_radius=0.48, wheel_width=0.29,
)  # fmt: skip
_TRAM = Shell(
    24.0, 2.4, 3.35,
    top=((0.0, 0.24), (0.003, 0.36), (0.01, 0.45), (0.022, 0.6), (0.045, 0.88), (0.06, 0.96), (0.09, 1.0), (0.91, 1.0),
         (0.94, 0.96), (0.955, 0.88), (0.978, 0.6), (0.99, 0.45), (0.997, 0.36), (1.0, 0.24)),
    bottom=((0.0, 0.24), (0.004, 0.14), (0.015, 0.08), (0.1, 0.06), (0.9, 0.06), (0.985, 0.08), (0.996, 0.14),
            (1.0, 0.24)),
    belt=((0.0, 0.38), (1.0, 0.38)),
    plan=((0.0, 0.78), (0.012, 0.9), (0.05, 1.0), (0.95, 1.0), (0.988, 0.9), (1.0, 0.78)),
    bow=((0.0, 0.35), (0.06, 0.16), (0.12, 0.0), (0.88, 0.0), (0.94, -0.16), (1.0, -0.35)),
    lean=0.05, crown=0.08, edge=0.2, axles=(0.14, 0.2, 0.8, 0.86), wheel_radius=0.3, wheel_width=0.14, arches=False,
)  # fmt: skip
_CAB = Shell(
    2.15, 2.4, 2.75,
    top=((0.0, 0.25), (0.004, 0.4), (0.02, 0.5), (0.05, 0.56), (0.14, 0.9), (0.2, 0.96), (0.32, 1.0), (0.96, 1.0),
         (0.99, 0.95), (0.996, 0.5), (1.0, 0.3)),
    bottom=((0.0, 0.25), (0.008, 0.17), (0.04, 0.14), (0.9, 0.14), (0.99, 0.2), (1.0, 0.3)),
    belt=((0.0, 0.5), (1.0, 0.55)),
    plan=((0.0, 0.9), (0.04, 0.97), (0.12, 1.0), (1.0, 1.0)),
    bow=((0.0, 0.14), (0.2, 0.09), (0.5, 0.0), (1.0, 0.0)),
    lean=0.06, crown=0.05, edge=0.12, axles=(0.6,), wheel_radius=0.47, wheel_width=0.3,
)  # fmt: skip

BUS_COLORS: tuple[tuple[Color, Color], ...] = (
    ((0.62, 0.5, 0.05), (0.62, 0.5, 0.05)),
    ((0.75, 0.75, 0.74), (0.45, 0.02, 0.03)),
    ((0.4, 0.015, 0.02), (0.4, 0.015, 0.02)),
    ((0.72, 0.72, 0.71), (0.03, 0.12, 0.4)),
    ((0.05, 0.22, 0.12), (0.7, 0.7, 0.66)),
)
CARGO_COLORS: tuple[Color, ...] = (
    (0.75, 0.75, 0.74), (0.75, 0.75, 0.74), (0.6, 0.6, 0.58), (0.04, 0.1, 0.35), (0.5, 0.03, 0.03), (0.6, 0.45, 0.03),
    (0.03, 0.2, 0.1),
)  # fmt: skip


@lru_cache(maxsize=32)
def bus(variant: int = 0, lights: bool = False, coarse: bool = False) -> Rolling:
    """A city bus; right-hand doors."""
    body, stripe = BUS_COLORS[variant % len(BUS_COLORS)]
    surface = _BUS.build(coarse)
    skin = surface.skin(body, finest=COARSE if coarse else 0.0)
    half, height, length = _BUS.width / 2, _BUS.height, _BUS.length
    skin.sides(
        [(-0.5 * length, 0.3), (0.5 * length, 0.3), (0.5 * length, 0.72), (-0.5 * length, 0.72)],
        Material.CAR_PAINT,
        stripe,
    )
    low, high = 0.42 * height, 0.81 * height
    band(skin, -0.485 * length, 0.45 * length, low, high, panes=7)
    for x in (0.425 * length, 0.02 * length, -0.36 * length)[: 3 if variant % 2 else 2]:
        door(skin, x - 0.1, 1.3, 0.36, high, sides=(-1,))
    # driver's window and windscreen in one dark front
    screen(skin, 1, 0.37 * height, 0.83 * height, 0.94 * half, 0.0)
    screen(skin, -1, 0.5 * height, 0.8 * height, 0.8 * half, 0.0)
    sign(skin, 1, 0.875 * height, 0.66 * half)
    sign(skin, -1, 0.87 * height, 0.3 * half)
    lamps(skin, 1, 0.62, 0.2, half, lights)
    lamps(skin, -1, 0.75, 0.34, half, lights)
    skin.paint(
        [(-0.6 * half, 0.5), (0.6 * half, 0.5), (0.6 * half, 1.05), (-0.6 * half, 1.05)],
        0,
        -1,
        Material.PLASTIC,
        DARK,
        (-np.inf, 0),
    )
    plate(skin, 1, 0.45)
    plate(skin, -1, 0.42)
    mirror = tube(
        [
            (0.49 * length, half - 0.05, 2.6),
            (0.5 * length + 0.16, half + 0.0, 2.55),
            (0.5 * length + 0.18, half + 0.02, 2.3),
        ],
        0.03,
        6,
        Material.PLASTIC,
        BLACK_PLASTIC,
    )
    glass = rounded_box((0.1, 0.2, 0.42), (0.5 * length + 0.18, half + 0.02, 2.1), Material.PLASTIC, BLACK_PLASTIC)
    roof = rounded_box((2.4, 1.7, 0.26), (-0.15 * length, 0, height + 0.1), Material.CAR_PAINT, body, 0.2)
    tyre = wheel(_BUS.wheel_radius, _BUS.wheel_width, _STEEL, 4, 8 if coarse else 16, 0.08)
    wheels = [(tyre, float(x), half - 0.02) for x in _BUS.axle_positions()]
    made = rolling(skin.mesh(), [pair(mirror), pair(glass), roof], wheels, BUS)
    return made if coarse else replace(made, coarse=bus(variant, lights, coarse=True))


@lru_cache(maxsize=32)
def tram(variant: int = 0, lights: bool = False, coarse: bool = False) -> Rolling:
    """A tram of three parts with a driver's cab at both ends."""
    body, stripe = BUS_COLORS[variant % len(BUS_COLORS)]
    surface = _TRAM.build(coarse)
    skin = surface.skin(body, finest=COARSE if coarse else 0.0)
    half, height, length = _TRAM.width / 2, _TRAM.height, _TRAM.length
    skin.sides([(-length, 0.0), (length, 0.0), (length, 0.75), (-length, 0.75)], Material.CAR_PAINT, stripe)
    low, high = 0.36 * height, 0.78 * height
    joints = (-length / 6, length / 6)
    for start, end in (
        (-0.43 * length, joints[0] - 0.35),
        (joints[0] + 0.35, joints[1] - 0.35),
        (joints[1] + 0.35, 0.43 * length),
    ):
        band(skin, start, end, low, high, panes=4)
    for x in (-0.36, -0.22, 0.0, 0.22, 0.36):
        door(skin, x * length, 1.35, 0.35, high, sides=(1, -1))
    for x in joints:
        skin.sides(
            [(x - 0.3, 0.0), (x + 0.3, 0.0), (x + 0.3, 3.12), (x - 0.3, 3.12)], Material.RUBBER, (0.03, 0.03, 0.032)
        )
        skin.paint(
            [(x - 0.3, -half), (x + 0.3, -half), (x + 0.3, half), (x - 0.3, half)],
            2,
            1,
            Material.RUBBER,
            (0.03, 0.03, 0.032),
        )
    for side in (1, -1):
        screen(skin, side, 0.4 * height, 0.8 * height, 0.88 * half, 0.1)
        sign(skin, side, 0.86 * height, 0.5 * half)
        lamps(skin, side, 0.85, 0.22, 0.92 * half, lights)
    unit = rounded_box((3.6, 1.6, 0.4), (0, 0, height + 0.15), Material.METAL, (0.35, 0.36, 0.37), 0.2)
    units = [at(unit, x) for x in (-0.3 * length, 0.0, 0.33 * length)]
    knee, top = (0.11 * length + 1.0, 0.0, height + 0.75), (0.11 * length, 0.0, height + 1.4)
    arm = [
        tube([(0.11 * length - 0.3, 0, height), knee], 0.04, 5, Material.METAL, _STEEL),
        tube([knee, top], 0.03, 5, Material.METAL, _STEEL),
    ]
    bow = tube(
        [(0.11 * length, -0.8, height + 1.4), (0.11 * length, 0.8, height + 1.4)], 0.04, 5, Material.METAL, _STEEL
    )
    bogies = [box((2.6, 1.9, 0.34), (x * length, 0, 0.3), Material.METAL, DARK) for x in (-0.33, 0.0, 0.33)]
    disc = wheel(_TRAM.wheel_radius, _TRAM.wheel_width, (0.12, 0.11, 0.1), 4, 14)
    wheels = [(disc, float(x), 0.8) for x in _TRAM.axle_positions()]
    made = rolling(skin.mesh(), [*units, *arm, bow, *bogies], wheels, TRAIN)
    return made if coarse else replace(made, coarse=tram(variant, lights, coarse=True))


@lru_cache(maxsize=32)
def truck(variant: int = 0, lights: bool = False, coarse: bool = False) -> Rolling:
    """A rigid truck: with a box, a tank, an open tipper, or as a refuse collector, by turns."""
    rng = np.random.default_rng(variant)
    kind = ("box", "tipper", "box", "tank", "refuse")[variant % 5]
    body = {"refuse": (0.55, 0.18, 0.02)}.get(kind, CARGO_COLORS[int(rng.integers(len(CARGO_COLORS)))])
    length = float(rng.uniform(7.6, 9.2))
    front = length / 2 - _CAB.length / 2
    surface = _CAB.build(coarse)
    skin = surface.skin(body, BLACK_PLASTIC, finest=COARSE if coarse else 0.0)
    half, height = _CAB.width / 2, _CAB.height
    pane = surface.pane(0.36 * _CAB.length, -0.22 * _CAB.length, 0.04, 0.16, 0.12)
    if pane is not None:
        skin.sides(pane, Material.GLASS, GLASS)
    screen(skin, 1, 0.56 * height, 0.86 * height, 0.9 * half, 0.06)
    skin.paint(
        [(-0.62 * half, 0.75), (0.62 * half, 0.75), (0.66 * half, 1.35), (-0.66 * half, 1.35)],
        0,
        1,
        Material.PLASTIC,
        DARK,
        (0, np.inf),
    )
    for z in (0.9, 1.05, 1.2):
        skin.paint(
            [(-0.6 * half, z), (0.6 * half, z), (0.6 * half, z + 0.03), (-0.6 * half, z + 0.03)],
            0,
            1,
            Material.METAL,
            _STEEL,
            (0, np.inf),
        )
    lamps(skin, 1, 0.6, 0.22, half, lights)
    plate(skin, 1, 0.55)
    joint = [(0.26 * _CAB.length, 0.95), (0.26 * _CAB.length, 1.5)]
    skin.line(joint, 0.02, (0.01, 0.01, 0.011))
    skin.line([(-0.27 * _CAB.length, 1.2), (-0.27 * _CAB.length, 2.4)], 0.02, (0.01, 0.01, 0.011))
    x, y = 0.33 * _CAB.length, half + 0.08
    mirrors = [
        rounded_box((0.1, 0.2, 0.45), (x, y, 1.95), Material.PLASTIC, BLACK_PLASTIC),
        tube([(x, half - 0.05, 2.2), (x, y, 2.2)], 0.025, 5, Material.PLASTIC, BLACK_PLASTIC),
    ]
    cab = at(Mesh.join([skin.mesh(), *(pair(mesh) for mesh in mirrors)]), front)
    back, head = -length / 2 + 0.02, front - _CAB.length / 2 - 0.12
    parts = [cab, box((length - 1.6, 0.9, 0.24), (-0.8, 0, 0.82), Material.METAL, DARK)]
    parts += _load(kind, back, head, body, rng)
    # tank, side guards, underrun bar with the tail lamps
    parts.append(
        pair(tube([(head - 0.3, 0.95, 0.72), (head - 1.2, 0.95, 0.72)], 0.27, 10, Material.METAL, (0.4, 0.4, 0.41)))
    )
    parts.append(
        pair(box((length * 0.22, 0.04, 0.1), (head - 1.4 - length * 0.11, 1.15, 0.62), Material.METAL, _STEEL))
    )
    parts.append(box((0.08, 2.3, 0.16), (back + 0.12, 0, 0.62), Material.METAL, DARK))
    material, color = (Material.LIGHT, TAIL_GLOW) if lights else (Material.PLASTIC, TAIL)
    parts.append(pair(box((0.06, 0.4, 0.15), (back + 0.06, 0.95, 0.75), material, color)))
    parts.append(box((0.03, 0.5, 0.11), (back + 0.07, 0, 0.78), Material.SIGN, (0.72, 0.72, 0.7)))
    tyre = wheel(0.47, 0.3, _STEEL, 4, 8 if coarse else 16, 0.09)
    double = wheel(0.47, 0.52, (0.22, 0.22, 0.23), 4, 8 if coarse else 16, 0.2)
    rear = -length / 2 + length * 0.24
    wheels = [(tyre, front + float(_CAB.axle_positions()[0]) - 0.02, half - 0.02), (double, rear, 1.22)]
    if variant % 2:
        wheels.append((double, rear - 1.3 if rear - 1.9 > back else rear + 1.3, 1.22))
    made = rolling(parts[0], parts[1:], wheels, TRUCK)
    return made if coarse else replace(made, coarse=truck(variant, lights, coarse=True))


def _load(kind: str, back: float, head: float, body: Color, rng: np.random.Generator) -> list[Mesh]:
    """What a truck carries, between two places along x, above its frame."""
    long, middle = head - back, (head + back) / 2
    if kind == "box":
        high = float(rng.uniform(2.3, 2.75))
        color = CARGO_COLORS[int(rng.integers(len(CARGO_COLORS)))]
        walls = Skin(rounded_box((long, 2.5, high), (middle, 0, 1.0 + high / 2), Material.CAR_PAINT, color, 0.03))
        stripe = CARGO_COLORS[int(rng.integers(len(CARGO_COLORS)))]
        low = 1.0 + high * rng.uniform(0.3, 0.6)
        walls.sides(
            [(back + 0.6, low), (head - 0.6, low), (head - 0.9, low + 0.5), (back + 0.9, low + 0.5)],
            Material.CAR_PAINT,
            stripe,
        )
        dark = (0.02, 0.02, 0.02)
        walls.paint(
            [(-0.012, 1.05), (0.012, 1.05), (0.012, 0.95 + high), (-0.012, 0.95 + high)], 0, -1, Material.METAL, dark
        )
        for y in (-0.45, 0.45):
            walls.paint(
                [(y - 0.02, 1.05), (y + 0.02, 1.05), (y + 0.02, 0.95 + high), (y - 0.02, 0.95 + high)],
                0,
                -1,
                Material.METAL,
                _STEEL,
            )
        rail = box((long, 2.52, 0.12), (middle, 0, 1.03), Material.METAL, _STEEL)
        return [walls.mesh(), rail]
    if kind == "tank":
        shine: Color = (0.6, 0.61, 0.62)
        ends = np.array([0.0, 0.12, 0.4])
        line = np.concatenate([back + 0.1 + ends, head - 0.1 - ends[::-1]])
        radius = np.array([0.6, 1.0, 1.15, 1.15, 1.0, 0.6])
        barrel = tube(np.c_[line, np.zeros(6), np.full(6, 2.15)], radius, 18, Material.METAL, shine)
        walk = box((long * 0.7, 0.5, 0.06), (middle, 0, 3.33), Material.METAL, _STEEL)
        cradle = box((long * 0.8, 1.4, 0.3), (middle, 0, 1.06), Material.METAL, DARK)
        return [barrel, walk, cradle]
    if kind == "tipper":
        color = (0.35, 0.12, 0.02) if rng.random() < 0.5 else _STEEL
        floor = box((long, 2.45, 0.15), (middle, 0, 1.08), Material.METAL, color)
        side = box((long, 0.09, 1.05), (middle, 1.2, 1.6), Material.METAL, color)
        gates = [
            box((0.09, 2.45, 1.05 + extra), (x, 0, 1.6 + extra / 2), Material.METAL, color)
            for x, extra in ((back + 0.05, 0.0), (head - 0.05, 0.4))
        ]
        ribs = [
            pair(box((0.1, 0.08, 1.0), (x, 1.26, 1.6), Material.METAL, color))
            for x in np.linspace(back + 0.3, head - 0.3, 6)
        ]
        line = np.linspace(back + 0.1, head - 0.1, 5)
        heap = np.c_[line, np.zeros(5), np.full(5, 1.55)]
        load = tube(heap, [0.45, 0.85, 0.7, 0.8, 0.4], 8, Material.SOIL, (0.2, 0.15, 0.1))
        load = load.moved(np.array([[1, 0, 0, 0], [0, 1.35, 0, 0], [0, 0, 0.65, 0.5], [0, 0, 0, 1.0]]))
        return [floor, pair(side), *gates, *ribs, load]
    high = 2.1
    drum = rounded_box((long - 0.9, 2.45, high), (middle + 0.45, 0, 1.0 + high / 2), Material.CAR_PAINT, body, 0.16)
    hopper = rounded_box((1.5, 2.4, 2.3), (back + 0.79, 0, 0.75 + 1.2), Material.CAR_PAINT, body, 0.3)
    mouth = box((0.06, 1.9, 1.0), (back + 0.02, 0, 1.5), Material.PLASTIC, DARK)
    beacon = box((0.15, 0.3, 0.12), (back + 0.6, 0.8, 3.16), Material.LIGHT, AMBER)
    return [drum, hopper, mouth, beacon]
