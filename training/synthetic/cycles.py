"""Bicycles, motorcycles and scooters, and how somebody sits on them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.mesh import Material, Mesh
from panoptic_training.synthetic.people import Figure
from panoptic_training.synthetic.shells import BLACK_PLASTIC, DARK, HEAD, HEAD_GLOW, TAIL, TAIL_GLOW
from panoptic_training.synthetic.skeleton import Build, Stance, stance, turn
from panoptic_training.synthetic.solids import (
    Color,
    at,
    box,
    ellipsoid,
    loft,
    mirrored,
    of_class,
    pair,
    quads,
    rounded_box,
    tube,
    turned,
)
from panoptic_training.synthetic.vehicles import Rolling

MOTORCYCLE, BICYCLE = 32, 33

_CHROME: Color = (0.55, 0.56, 0.57)
_TYRE: Color = (0.016, 0.016, 0.017)
_GEAR = 2.4  # turns of the rear wheel for one of the pedals

COLORS: tuple[Color, ...] = (
    (0.012, 0.012, 0.013), (0.35, 0.015, 0.02), (0.02, 0.07, 0.3), (0.6, 0.6, 0.58), (0.1, 0.1, 0.105),
    (0.02, 0.14, 0.09), (0.05, 0.3, 0.33), (0.6, 0.3, 0.02),
)  # fmt: skip


@dataclass(frozen=True)
class Seat:
    """Where a rider touches a cycle, metres in its frame; the right side mirrors the left.

    Attributes
    ----------
    saddle:
        Where the hips are.
    grip, rest:
        Left hand and left foot's ball.
    lean:
        Radians that the trunk leans forwards.
    crank:
        Length of the pedals' cranks about (`rest` without its y); 0 where feet rest.
    gear:
        Metres that one turn of the cranks leads ahead.
    """

    saddle: tuple[float, float]
    grip: tuple[float, float, float]
    rest: tuple[float, float, float]
    lean: float
    crank: float = 0.0
    gear: float = 1.0


@dataclass(frozen=True)
class Cycle:
    """A cycle that rolls, and its seat."""

    rolling: Rolling
    seat: Seat


@lru_cache(maxsize=64)
def bicycle(variant: int = 0, tall: float = 1.75, lights: bool = False) -> Cycle:
    """A bicycle for somebody of a height: by turns a town, a sports and a trekking one."""
    kind = variant % 3  # how far its rider leans
    color = COLORS[variant % len(COLORS)]
    radius = 0.345
    rear, front, hub = np.array([-0.52, radius]), np.array([0.53, radius]), np.array([-0.08, 0.285])
    saddle = 0.93 * tall / 1.75
    seat_top = np.array([-0.08 - 0.34 * (saddle - 0.285), saddle - 0.04])
    head_low, head_high = np.array([0.385, 0.66]), np.array([0.335, 0.86])
    bars = np.array([0.32, (1.1, 0.98, 1.04)[kind]])
    grip = ((0.14, 0.3, 1.08), (0.42, 0.22, 0.97), (0.24, 0.31, 1.04))[kind]

    def bar(*points: NDArray[np.float64], thick: float = 0.017, y: float = 0.0, paint: Color = color) -> Mesh:
        line = np.array([[point[0], y, point[1]] for point in points])
        return tube(line, thick, 6, Material.CAR_PAINT if paint is color else Material.METAL, paint)

    low_top = head_low if kind == 0 else head_high  # a town bicycle is stepped through
    step = hub + 0.42 * (seat_top - hub) if kind == 0 else hub + 0.86 * (seat_top - hub)
    parts = [
        bar(hub, seat_top), bar(hub, head_low, thick=0.021), bar(step, low_top + np.array([-0.01, 0.06]) * (kind == 0)),
        bar(head_low, head_high, thick=0.021), bar(head_high, bars, thick=0.013, paint=_CHROME),
        pair(bar(hub, rear, thick=0.011, y=0.05)), pair(bar(hub + 0.84 * (seat_top - hub), rear, thick=0.009, y=0.05)),
        pair(bar(head_low, 0.3 * head_low + 0.7 * front + [0.02, 0.0], front, thick=0.013, y=0.055)),
        bar(seat_top, seat_top + np.array([-0.01, 0.05]), thick=0.013, paint=_CHROME),
        ellipsoid((0.27, 0.15, 0.07), (seat_top[0] - 0.02, 0, saddle), Material.PLASTIC, DARK, 5, 8),
    ]  # fmt: skip
    reach = np.array(
        [
            [bars[0], 0.0, bars[1]],
            [bars[0] + 0.02, 0.16, bars[1] + 0.01],
            [grip[0] + 0.05, grip[1] - 0.03, grip[2]],
            grip,
        ]
    )
    parts.append(pair(tube(reach, 0.013, 6, Material.METAL, _CHROME)))
    parts.append(pair(tube([reach[2], reach[3] - [0.06, 0, 0]], 0.018, 6, Material.RUBBER, DARK)))
    if kind != 1:
        for center in (rear, front):
            arc = np.linspace(0.15, 2.6, 7) if center is rear else np.linspace(0.6, 2.4, 6)
            parts.append(
                tube(
                    np.c_[
                        center[0] + (radius + 0.03) * np.cos(arc),
                        np.zeros(len(arc)),
                        center[1] + (radius + 0.03) * np.sin(arc),
                    ],
                    0.022,
                    6,
                    Material.PLASTIC,
                    DARK if kind else color,
                )
            )
        parts.append(box((0.36, 0.14, 0.02), (rear[0] - 0.02, 0, 0.76), Material.METAL, DARK))
        parts.append(pair(bar(rear, np.array([rear[0] - 0.1, 0.76]), thick=0.006, y=0.06, paint=DARK)))
        if variant % 4 == 0:  # a basket
            parts.append(
                rounded_box((0.3, 0.36, 0.24), (front[0] + 0.02, 0, 0.92), Material.WOOD, (0.16, 0.1, 0.05), 0.15)
            )
    lamp = (Material.LIGHT, HEAD_GLOW) if lights else (Material.PLASTIC, HEAD)
    tail = (Material.LIGHT, TAIL_GLOW) if lights else (Material.PLASTIC, TAIL)
    parts.append(box((0.06, 0.06, 0.06), (0.44, 0, 0.82), *lamp))
    parts.append(box((0.03, 0.07, 0.05), (rear[0] - 0.22 if kind != 1 else seat_top[0] - 0.06, 0, 0.72), *tail))
    crank = 0.17
    pedals = [
        tube([(hub[0], 0.09, hub[1]), (hub[0], 0.1, hub[1] - crank)], 0.012, 5, Material.METAL, _CHROME),
        box((0.1, 0.09, 0.025), (hub[0], 0.15, hub[1] - crank), Material.PLASTIC, DARK),
    ]
    right = [mirrored(mesh).moved(_half_turn(hub)) for mesh in pedals]
    sprocket = at(turned([(-0.006, 0.095), (0.006, 0.095)], 12, Material.METAL, (0.2, 0.2, 0.2)), hub[0], -0.06, hub[1])
    wheel = _spoked(radius, 0.02, 10)
    turning = [
        (at(wheel, rear[0], 0, rear[1]), rear, radius),
        (at(wheel, front[0], 0, front[1]), front, radius),
        (Mesh.join([*pedals, *right, sprocket]), hub, radius * _GEAR),
    ]
    rolling = _joined(parts, turning, BICYCLE)
    lean = (0.12, 0.62, 0.38)[kind]
    seat = Seat(
        (seat_top[0] - 0.02, saddle + 0.06), grip, (hub[0], 0.13, hub[1]), lean, crank, 2 * np.pi * radius * _GEAR
    )
    return Cycle(rolling, seat)


@lru_cache(maxsize=64)
def motorcycle(variant: int = 0, lights: bool = False) -> Cycle:
    """A motorcycle, or every third time a scooter."""
    color = COLORS[(3 * variant + 1) % len(COLORS)]
    lamp = (Material.LIGHT, HEAD_GLOW) if lights else (Material.GLASS, HEAD)
    tail = (Material.LIGHT, TAIL_GLOW) if lights else (Material.PLASTIC, TAIL)
    if variant % 3 == 2:
        return _scooter(color, lamp, tail)
    rear, front, radius = np.array([-0.72, 0.315]), np.array([0.72, 0.315]), 0.315
    steering = np.array([0.42, 0.92])
    parts = [
        ellipsoid((0.62, 0.34, 0.3), (0.12, 0, 0.86), Material.CAR_PAINT, color, 7, 10),  # tank
        rounded_box((0.5, 0.36, 0.34), (0.08, 0, 0.5), Material.METAL, (0.09, 0.09, 0.095), 0.3),  # engine
        pair(rounded_box((0.2, 0.12, 0.22), (0.1, 0.2, 0.45), Material.METAL, (0.25, 0.25, 0.26), 0.4)),
        rounded_box((0.62, 0.28, 0.12), (-0.4, 0, 0.8), Material.FABRIC, DARK, 0.5),  # seat
        rounded_box((0.42, 0.2, 0.12), (-0.74, 0, 0.87), Material.CAR_PAINT, color, 0.5),
        rounded_box((0.5, 0.26, 0.2), (-0.35, 0, 0.66), Material.PLASTIC, BLACK_PLASTIC, 0.4),
        pair(tube([(steering[0] - 0.02, 0.1, 0.98), (front[0], 0.1, front[1])], 0.03, 8, Material.METAL, _CHROME)),
        pair(tube([(0.0, 0.13, 0.42), (rear[0], 0.13, rear[1])], 0.032, 6, Material.METAL, DARK)),
        pair(tube([(-0.5, 0.12, 0.75), (rear[0] + 0.06, 0.13, 0.36)], 0.028, 6, Material.METAL, (0.3, 0.02, 0.02))),
        tube([(0.25, -0.16, 0.4), (0.1, -0.2, 0.25), (-0.35, -0.2, 0.28)], 0.035, 8, Material.METAL, _CHROME),
        tube([(-0.35, -0.2, 0.28), (-0.45, -0.21, 0.33), (-0.98, -0.22, 0.5)],
             [0.04, 0.065, 0.06], 8, Material.METAL, _CHROME),
        ellipsoid((0.2, 0.22, 0.22), (0.52, 0, 0.93), Material.PLASTIC, DARK, 5, 8),
        ellipsoid((0.06, 0.18, 0.18), (0.61, 0, 0.93), *lamp, 4, 8),
        rounded_box((0.05, 0.16, 0.06), (-0.96, 0, 0.88), *tail, 0.3),
        box((0.02, 0.2, 0.16), (-0.98, 0, 0.68), Material.SIGN, (0.7, 0.7, 0.68)),
        tube([(-0.78, 0, 0.84), (-0.97, 0, 0.72)], 0.02, 5, Material.PLASTIC, DARK),
        _guard(front, radius + 0.035, 0.7, 2.3, 0.08, color),
        pair(tube([(0.4, 0.05, 1.0), (0.36, 0.22, 1.07), (0.26, 0.38, 1.05)], 0.016, 6, Material.METAL, DARK)),
        pair(tube([(0.34, 0.3, 1.06), (0.37, 0.36, 1.2)], 0.008, 4, Material.METAL, DARK)),
        pair(ellipsoid((0.03, 0.15, 0.09), (0.37, 0.38, 1.22), Material.PLASTIC, DARK, 4, 6)),
    ]  # fmt: skip
    if variant % 3 == 1:  # with a fairing
        parts.append(rounded_box((0.5, 0.44, 0.5), (0.42, 0, 0.8), Material.CAR_PAINT, color, 0.6))
        shield = tube([(0.6, 0, 1.0), (0.42, 0, 1.28)], [0.17, 0.1], 8, Material.GLASS, (0.04, 0.045, 0.05))
        parts.append(shield)
    wheel = _cast(radius, 0.13)
    turning = [(at(wheel, point[0], 0, point[1]), point, radius) for point in (rear, front)]
    seat = Seat((-0.28, 0.93), (0.24, 0.36, 1.07), (-0.08, 0.2, 0.33), 0.3 if variant % 3 == 0 else 0.5)
    return Cycle(_joined(parts, turning, MOTORCYCLE), seat)


def _scooter(color: Color, lamp: tuple[Material, Color], tail: tuple[Material, Color]) -> Cycle:
    rear, front, radius = np.array([-0.62, 0.25]), np.array([0.66, 0.25]), 0.25
    parts = [
        rounded_box((0.85, 0.42, 0.42), (-0.48, 0, 0.52), Material.CAR_PAINT, color, 0.55),
        rounded_box((0.72, 0.3, 0.13), (-0.42, 0, 0.77), Material.FABRIC, DARK, 0.5),
        rounded_box((0.5, 0.36, 0.12), (0.12, 0, 0.29), Material.PLASTIC, BLACK_PLASTIC, 0.3),
        rounded_box((0.14, 0.46, 0.66), (0.4, 0, 0.6), Material.CAR_PAINT, color, 0.6),  # leg shield
        rounded_box((0.26, 0.3, 0.2), (0.42, 0, 1.0), Material.CAR_PAINT, color, 0.6),
        ellipsoid((0.06, 0.2, 0.13), (0.54, 0, 1.0), *lamp, 4, 8),
        pair(tube([(0.42, 0.08, 0.5), (front[0], 0.08, front[1])], 0.03, 6, Material.METAL, DARK)),
        _guard(front, radius + 0.035, 0.5, 2.4, 0.1, color),
        pair(tube([(0.4, 0.05, 1.04), (0.3, 0.34, 1.06)], 0.016, 6, Material.METAL, DARK)),
        pair(tube([(0.36, 0.26, 1.05), (0.4, 0.34, 1.2)], 0.008, 4, Material.METAL, DARK)),
        pair(ellipsoid((0.03, 0.15, 0.1), (0.4, 0.36, 1.22), Material.PLASTIC, DARK, 4, 6)),
        rounded_box((0.04, 0.26, 0.09), (-0.91, 0, 0.63), *tail, 0.3),
        box((0.02, 0.2, 0.16), (-0.93, 0, 0.47), Material.SIGN, (0.7, 0.7, 0.68)),
        tube([(-0.3, -0.2, 0.3), (-0.8, -0.24, 0.36)], 0.06, 8, Material.METAL, (0.2, 0.2, 0.2)),
    ]  # fmt: skip
    wheel = _cast(radius, 0.12)
    turning = [(at(wheel, point[0], 0, point[1]), point, radius) for point in (rear, front)]
    return Cycle(_joined(parts, turning, MOTORCYCLE), Seat((-0.36, 0.9), (0.28, 0.32, 1.07), (0.16, 0.13, 0.37), 0.08))


def riding(build: Build, seat: Seat, distance: float) -> Stance:
    """Somebody on a cycle that has rolled `distance` metres; pedals turn, other feet rest."""
    pelvis = turn(0.6 * seat.lean + 0.05), np.array([seat.saddle[0], 0.0, seat.saddle[1]])
    feet: list[tuple[NDArray[np.float64], float]] = []
    for side, sign in ((0, 1.0), (1, -1.0)):
        x, y, z = seat.rest
        pitch = 0.0
        if seat.crank > 0:
            # the left pedal is lowest at distance 0, and goes backwards there, as the tyre does
            angle = 2 * np.pi * distance / seat.gear + np.pi * side
            x, z = x - seat.crank * np.sin(angle), z - seat.crank * np.cos(angle)
            pitch = 0.2 + 0.25 * np.sin(angle)
        ball = turn(pitch) @ np.array([build.ball * 0.8, 0.0, 0.0])
        feet.append((np.array([x, sign * y, z + 0.015]) - ball, pitch))
    wrists = [np.array([seat.grip[0] - 0.05, sign * seat.grip[1], seat.grip[2] + 0.05]) for sign in (1.0, -1.0)]
    return stance(build, pelvis, turn(seat.lean + 0.1), turn(0.1 * seat.lean), feet, hands=wrists)


def rider_size(figure: Figure, seat: Seat) -> tuple[float, float, float]:
    """Length, width and height of the box that a rider keeps within, standing on the ground below the cycle."""
    steps = np.arange(12) / 12 * seat.gear if seat.crank > 0 else np.zeros(1)
    points = np.concatenate([figure.posed(riding(figure.build, seat, float(step))).vertices for step in steps])
    reach = 2 * np.abs(points).max(axis=0)
    return float(reach[0]), float(reach[1]), float(points[:, 2].max())


def _joined(parts: list[Mesh], turning: list[tuple[Mesh, NDArray[np.float64], float]], class_id: int) -> Rolling:
    first = sum(len(mesh.vertices) for mesh in parts)
    spans = []
    for mesh, center, radius in turning:
        spans.append((first, first + len(mesh.vertices), float(center[0]), float(center[1]), radius))
        first += len(mesh.vertices)
    whole = of_class(Mesh.join([*parts, *(mesh for mesh, _, _ in turning)]), class_id)
    dull, shining = np.array(TAIL, dtype=np.float32), np.array(TAIL_GLOW, dtype=np.float32)
    red = (whole.colors == dull).all(axis=1) | (whole.colors == shining).all(axis=1)
    return Rolling(whole, tuple(spans), np.flatnonzero(red))


def _ring(
    radius: float, thick: float, sides: int, material: Material, color: Color, section: int = 6, wide: float = 1.0
) -> Mesh:
    """A torus about the y axis; `wide` stretches its section along y."""
    around = 2 * np.pi * np.arange(sides + 1) / sides
    angle = 2 * np.pi * np.arange(section) / section
    reach = radius + thick * np.cos(angle)[None, :]
    points = np.stack(
        [
            reach * np.sin(around)[:, None],
            np.broadcast_to(thick * wide * np.sin(angle), (sides + 1, section)),
            reach * np.cos(around)[:, None],
        ],
        axis=-1,
    )
    return Mesh.of(points.reshape(-1, 3), quads(sides + 1, section, closed=True), 0, material, color)


def _spoked(radius: float, thick: float, spokes: int) -> Mesh:
    """A bicycle's wheel."""
    parts = [
        _ring(radius - thick, thick, 24, Material.RUBBER, _TYRE, 5),
        _ring(radius - 2.2 * thick, 0.009, 24, Material.METAL, _CHROME, 4),
        tube([(0, -0.05, 0), (0, 0.05, 0)], 0.022, 6, Material.METAL, _CHROME),
    ]
    for index in range(spokes):
        angle = 2 * np.pi * index / spokes
        end = (radius - 2 * thick) * np.array([np.sin(angle), 0, np.cos(angle)])
        parts.append(tube([np.array([0, 0.03 * (-1) ** index, 0]), end], 0.0022, 3, Material.METAL, _CHROME))
    return Mesh.join(parts)


def _cast(radius: float, width: float) -> Mesh:
    """A motorcycle's wheel: a fat tyre and five spokes."""
    thick = 0.075
    parts = [
        _ring(radius - thick, thick, 20, Material.RUBBER, _TYRE, 7, width / 2 / thick),
        _ring(radius - 1.9 * thick, 0.02, 20, Material.METAL, (0.15, 0.15, 0.155), 4, 2.0),
        tube([(0, -0.08, 0), (0, 0.08, 0)], 0.05, 8, Material.METAL, (0.2, 0.2, 0.2)),
        tube([(0, 0.06, 0), (0, 0.068, 0)], 0.13, 12, Material.METAL, _CHROME),
    ]
    for index in range(5):
        angle = 2 * np.pi * index / 5
        end = (radius - 1.9 * thick) * np.array([np.sin(angle), 0, np.cos(angle)])
        parts.append(tube([np.zeros(3), end], 0.018, 5, Material.METAL, (0.15, 0.15, 0.155)))
    return Mesh.join(parts)


def _guard(center: NDArray[np.float64], radius: float, start: float, end: float, half: float, color: Color) -> Mesh:
    """A mudguard: a thin strip around part of a wheel."""
    angle = np.linspace(start, end, 8)
    rings = []
    for reach in (radius, radius + 0.012):
        arc = np.c_[center[0] + reach * np.cos(angle), np.zeros(8), center[1] + reach * np.sin(angle)]
        rings += [arc - np.array([0, half, 0]), arc + np.array([0, half, 0])]
    section = np.stack([rings[0], rings[2], rings[3], rings[1]], axis=1)
    return loft(section, Material.CAR_PAINT, color)


def _half_turn(center: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half a turn about the y axis through a point (x, z)."""
    transform = np.diag([-1.0, 1.0, -1.0, 1.0])
    transform[0, 3], transform[2, 3] = 2 * center[0], 2 * center[1]
    return transform
