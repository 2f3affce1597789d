"""What is painted on a car's shell: windows, lamps, grille, doors and plates."""

from __future__ import annotations

import numpy as np

from panoptic_training.synthetic.mesh import Material, Mesh
from panoptic_training.synthetic.shells import (
    BLACK_PLASTIC,
    DARK,
    GLASS,
    HEAD,
    HEAD_GLOW,
    TAIL,
    TAIL_GLOW,
    Surface,
)
from panoptic_training.synthetic.solids import Skin, pair, tube


def windows(skin: Skin, surface: Surface, style: str, cargo: bool) -> None:
    """Side windows, windscreen and rear window; `cargo` vans have few."""
    shell = surface.shell

    def along(fraction: float) -> float:
        return shell.length * (0.5 - fraction)

    front_axle, rear_axle = shell.axles[0], shell.axles[-1]
    pillar = front_axle + 0.53 * (rear_axle - front_axle)  # between the doors
    if style == "van":
        pillar = 0.43
    nose_end = 0.17
    rear_end = {"hatchback": 0.9, "sedan": 0.85, "estate": 0.93, "suv": 0.92, "compact": 0.93, "mpv": 0.94}.get(
        style, 0.965
    )
    quarter = rear_axle - 0.035 if style != "sedan" else rear_axle + 0.015
    gap = 0.012
    panes = [(nose_end, pillar - gap), (pillar + gap, quarter - gap * 0.5), (quarter + gap, rear_end)]
    if style == "van":
        panes = [(nose_end, pillar - gap), (pillar + 0.02, 0.69), (0.72, 0.955)][: 1 if cargo else 3]
    elif style == "sedan":
        panes = panes[:2]
    # a black frame joins the panes where cars have it: between the doors
    whole = surface.pane(along(panes[0][0]), along(panes[-1][1] if style != "van" else panes[0][1]), 0.018, 0.04)
    if whole is not None:
        skin.sides(whole, *((Material.GLASS, GLASS) if skin.finest > 0 else (Material.PLASTIC, DARK)))
    if skin.finest > 0 and style != "van":
        panes = []
    for ahead, behind in panes:
        pane = surface.pane(along(ahead), along(behind))
        if pane is not None:
            skin.sides(pane, Material.GLASS, GLASS)
    for side in (1, -1):
        _screen(skin, surface, side, cargo)


def _screen(skin: Skin, surface: Surface, side: int, cargo: bool) -> None:
    """Windscreen (side 1) or rear window (side -1)."""
    if cargo and side < 0:
        return
    shell = surface.shell
    height = surface.z[:, -1]
    top = float(height.max()) - 0.07 - (0.03 if side > 0 else 0.05)
    zone = (0.0, np.inf) if side > 0 else (-np.inf, 0.0)
    cowl = 0.665 * shell.height if shell.height < 1.9 else 0.58 * shell.height
    if side > 0:
        index = next(i for i, point in enumerate(shell.top) if point[1] > 0.93)
        cowl = shell.top[index - 2][1] * shell.height
    bottom = cowl + (0.03 if side > 0 else 0.075 * shell.height if shell.height > 1.43 else 0.1)
    belt = float(surface.belt_line(0.0))

    def half(z: float) -> float:
        return shell.width / 2 * 0.985 - 0.03 - max(z - belt, 0.0) * shell.lean

    margin = 0.075 if side > 0 else 0.12
    layers = ((0.0, Material.PLASTIC, DARK), (0.028, Material.GLASS, GLASS))
    for inset, material, color in layers[1:] if skin.finest > 0 else layers:
        low, high = bottom + inset, top - inset
        outline = [
            (half(low) - margin - inset - 0.03, low), (half(low + 0.06) - margin - inset, low + 0.06),
            (half(high) - margin - inset, high - 0.05), (half(high) - margin - inset - 0.07, high),
        ]  # fmt: skip
        outline += [(-y, z) for y, z in reversed(outline)]
        skin.paint(outline, 0, side, material, color, zone)


def doors(skin: Skin, surface: Surface, style: str) -> None:
    """Joints and handles of the doors."""
    shell = surface.shell
    front, rear = shell.axle_positions()[[0, -1]]
    reach = shell.wheel_radius + 0.05
    joint = (0.01, 0.01, 0.011)
    along, heights = zip(*shell.bottom, strict=True)
    sill = float(np.interp(0.5, along, heights)) * shell.height + 0.09
    pillar = front - 0.53 * (front - rear)
    if style == "van":
        pillar = shell.length * (0.5 - 0.43)
    hinge = front - reach - 0.1

    def belt(x: float) -> float:
        return float(surface.belt_line(x)) - 0.005

    skin.line([(hinge, sill), (hinge + 0.01, belt(hinge))], 0.013, joint)
    skin.line([(pillar, sill), (pillar, belt(pillar) + (0.0 if style != "van" else 0.1))], 0.013, joint)
    tail = rear + 0.62 * reach
    corner = shell.wheel_radius + reach + 0.04
    skin.line(
        [(rear + reach + 0.05, sill), (rear + reach + 0.03, shell.wheel_radius + 0.15), (tail, corner)], 0.013, joint
    )
    skin.line([(tail, corner), (tail - 0.06, belt(tail))], 0.013, joint)
    skin.line([(hinge, sill), (rear + reach + 0.05, sill)], 0.012, joint)
    for x in (pillar + 0.09, tail + 0.05):  # handles
        z = belt(x) - 0.11
        skin.sides(
            [(x, z), (x + 0.17, z + 0.005), (x + 0.17, z + 0.03), (x, z + 0.025)], Material.METAL, (0.2, 0.2, 0.21)
        )
    if style == "van":  # the rail that the sliding door runs on
        z = belt(0.0) - 0.12
        skin.line([(pillar - 0.1, z), (rear - 0.35, z)], 0.02, joint)


def nose(skin: Skin, surface: Surface, lights: bool, rng: np.random.Generator) -> None:
    """Grille, intakes, headlamps and plate."""
    shell = surface.shell
    half = shell.width / 2
    along, heights = zip(*shell.top, strict=True)
    bonnet = float(np.interp(0.035, along, heights)) * shell.height
    low = float(shell.bottom[2][1]) * shell.height
    zone = (0.25 * shell.length, np.inf)
    tall = rng.uniform(0.8, 1.2)
    lamp_low, lamp_high = bonnet - 0.17 * tall, bonnet - 0.035
    # grille with a bright frame or none, badge in its middle
    wide, deep = rng.uniform(0.36, 0.5) * half, rng.uniform(0.14, 0.24)
    grille_high = bonnet - 0.06
    frame = [
        (-wide, grille_high),
        (wide, grille_high),
        (wide * 0.86, grille_high - deep),
        (-wide * 0.86, grille_high - deep),
    ]
    if rng.random() < 0.3:
        rim = np.array(frame) * (1.05, 1.0) + np.array([[0, 0.012], [0, 0.012], [0, -0.012], [0, -0.012]])
        skin.paint(rim, 0, 1, Material.METAL, (0.55, 0.55, 0.56), zone)
    skin.paint(frame, 0, 1, Material.PLASTIC, DARK, zone)
    for step in (0.5,):
        z = grille_high - deep * step
        skin.paint(
            [(-wide * 0.9, z), (wide * 0.9, z), (wide * 0.9, z - 0.012), (-wide * 0.9, z - 0.012)],
            0,
            1,
            Material.METAL,
            (0.2, 0.2, 0.21),
            zone,
        )
    badge, middle = 0.05, grille_high - 0.35 * deep
    skin.paint(
        [(badge * np.cos(a), middle + badge * np.sin(a)) for a in np.arange(6) * np.pi / 3],
        0,
        1,
        Material.METAL,
        (0.6, 0.6, 0.6),
        zone,
    )
    # lower intake and fog lamps
    intake_high = min(grille_high - deep - 0.13, low + 0.2)
    skin.paint(
        [
            (-0.62 * half, low + 0.05),
            (0.62 * half, low + 0.05),
            (0.54 * half, intake_high),
            (-0.54 * half, intake_high),
        ],
        0,
        1,
        Material.PLASTIC,
        DARK,
        zone,
    )
    skin.both(
        [(0.7 * half, low + 0.08), (0.84 * half, low + 0.1), (0.84 * half, low + 0.19), (0.7 * half, low + 0.17)],
        0,
        1,
        Material.PLASTIC,
        DARK,
        zone,
    )
    # lamps: dark housing, bright glass, wrapping around the corner
    outline = [
        (wide * 1.12, lamp_low + 0.03),
        (0.76 * half, lamp_low),
        (0.99 * half, lamp_low + 0.05),
        (0.99 * half, lamp_high),
        (wide * 1.12, lamp_high - 0.05),
    ]
    skin.both(outline, 0, 1, Material.GLASS, (0.16, 0.17, 0.18), zone)
    inner = np.array(outline)
    inner = inner.mean(axis=0) + (inner - inner.mean(axis=0)) * (0.74, 0.62)
    inner = inner[[0, 2, 3, 4]]
    material, color = (Material.LIGHT, HEAD_GLOW) if lights else (Material.GLASS, HEAD)
    skin.both([(float(y), float(z)) for y, z in inner], 0, 1, material, color, zone)
    corner = surface.front(lamp_low + 0.07, half)
    skin.sides(
        [
            (corner + 0.05, lamp_low + 0.04),
            (corner - 0.18, lamp_low + 0.09),
            (corner - 0.26, lamp_high - 0.005),
            (corner + 0.05, lamp_high),
        ],
        Material.GLASS,
        (0.3, 0.31, 0.32),
    )
    _plate(skin, 1, grille_high - deep - 0.075, zone)


def tail(skin: Skin, surface: Surface, lights: bool, style: str, rng: np.random.Generator) -> None:
    """Tail lamps, the lid's joint, bumper and plate."""
    shell = surface.shell
    half, height = shell.width / 2, shell.height
    zone = (-np.inf, -0.25 * shell.length)
    material, color = (Material.LIGHT, TAIL_GLOW) if lights else (Material.PLASTIC, TAIL)
    if style == "van" or (style in ("compact", "mpv") and rng.random() < 0.6):  # upright lamps in the corners
        low, high = 0.45 * height, 0.45 * height + (0.42 if style == "van" else 0.3)
        outline = [(0.84 * half, low), (0.995 * half, low), (0.995 * half, high), (0.86 * half, high)]
    else:
        high = 0.655 * height if style == "sedan" else 0.645 * height
        low = high - rng.uniform(0.13, 0.2)
        inner = rng.uniform(0.5, 0.62)
        outline = [
            (inner * half, low + 0.045),
            (0.8 * half, low),
            (0.995 * half, low + 0.02),
            (0.995 * half, high),
            (0.7 * half, high),
            (inner * half, high - 0.03),
        ]
    skin.both(outline, 0, -1, material, color, zone)
    lamp_low, lamp_high = min(z for _, z in outline), max(z for _, z in outline)
    corner = surface.rear(0.5 * (lamp_low + lamp_high), half)
    deep = 0.08 if style == "van" else rng.uniform(0.16, 0.26)
    skin.sides(
        [
            (corner - 0.1, lamp_low + 0.01),
            (corner + 0.12, lamp_low + 0.02),
            (corner + deep, lamp_high),
            (corner - 0.1, lamp_high),
        ],
        material,
        color,
    )
    middle = np.mean(outline, axis=0)
    skin.both(
        [
            (middle[0] - 0.06, middle[1] + 0.02),
            (middle[0] + 0.07, middle[1] + 0.02),
            (middle[0] + 0.07, middle[1] + 0.055),
            (middle[0] - 0.06, middle[1] + 0.055),
        ],
        0,
        -1,
        Material.GLASS,
        HEAD,
        zone,
    )
    # the lid's joint, bumper, plate
    low_lid = 0.36 * height
    joint = (0.01, 0.01, 0.011)
    skin.paint(
        [
            (-0.68 * half, low_lid),
            (0.68 * half, low_lid),
            (0.68 * half, low_lid + 0.014),
            (-0.68 * half, low_lid + 0.014),
        ],
        0,
        -1,
        Material.PLASTIC,
        joint,
        zone,
    )
    skin.both(
        [(0.68 * half, low_lid), (0.695 * half, low_lid), (0.7 * half, lamp_low), (0.685 * half, lamp_low)],
        0,
        -1,
        Material.PLASTIC,
        joint,
        zone,
    )
    if style == "van":
        skin.paint(
            [(-0.007, low_lid), (0.007, low_lid), (0.007, 0.93 * height), (-0.007, 0.93 * height)],
            0,
            -1,
            Material.PLASTIC,
            joint,
            zone,
        )
    diffuser = float(shell.bottom[-3][1]) * height + 0.04
    skin.paint(
        [(-0.66 * half, 0.0), (0.66 * half, 0.0), (0.6 * half, diffuser + 0.07), (-0.6 * half, diffuser + 0.07)],
        0,
        -1,
        Material.PLASTIC,
        BLACK_PLASTIC,
        zone,
    )
    skin.both(
        [
            (0.66 * half, diffuser + 0.09),
            (0.9 * half, diffuser + 0.1),
            (0.9 * half, diffuser + 0.13),
            (0.66 * half, diffuser + 0.12),
        ],
        0,
        -1,
        Material.PLASTIC,
        TAIL,
        zone,
    )
    plate = low_lid + 0.11 if style != "sedan" or rng.random() < 0.5 else low_lid + 0.16
    _plate(skin, -1, plate, zone)


def _plate(skin: Skin, side: int, z: float, zone: tuple[float, float]) -> None:
    """A licence plate: white, blue at its left end, dark characters told as blocks."""
    wide, tall = 0.26, 0.055
    skin.paint(
        [(-wide, z - tall), (wide, z - tall), (wide, z + tall), (-wide, z + tall)],
        0,
        side,
        Material.SIGN,
        (0.72, 0.72, 0.7),
        zone,
    )
    left = wide if side > 0 else -wide  # of somebody who reads it
    edge = left - np.sign(left) * 0.045
    skin.paint(
        [(left, z - tall), (left, z + tall), (edge, z + tall), (edge, z - tall)],
        0,
        side,
        Material.SIGN,
        (0.01, 0.04, 0.3),
        zone,
    )
    for start, end in ((0.03, 0.2), (0.24, 0.43)):
        a, b = left - np.sign(left) * (0.045 + start), left - np.sign(left) * (0.045 + end)
        skin.paint(
            [(a, z - 0.035), (a, z + 0.035), (b, z + 0.035), (b, z - 0.035)],
            0,
            side,
            Material.SIGN,
            (0.05, 0.05, 0.05),
            zone,
        )


def rails(surface: Surface) -> Mesh:
    """Roof rails."""
    length = surface.shell.length
    x = np.linspace(0.0 * length, -0.34 * length, 6)
    ring = [int(np.abs(surface.x[:, surface.edge_row] - value).argmin()) for value in x]
    points = np.stack([x, surface.y[ring, -3] + 0.01, surface.z[ring, -3] + 0.035], axis=1)
    points[[0, -1], 2] -= 0.035
    return pair(tube(points, 0.018, 6, Material.METAL, (0.3, 0.3, 0.31)))
