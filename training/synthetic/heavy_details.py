"""What is painted on trucks, buses and trams: windows, doors, lamps, signs and plates."""

from __future__ import annotations

import numpy as np

from panoptic_training.synthetic.mesh import Material
from panoptic_training.synthetic.shells import DARK, GLASS, HEAD, HEAD_GLOW, TAIL, TAIL_GLOW
from panoptic_training.synthetic.solids import Color, Skin

AMBER: Color = (1.0, 0.45, 0.05)


def band(skin: Skin, back: float, ahead: float, low: float, high: float, panes: int) -> None:
    """A row of side windows: one dark band, and the panes of glass in it."""
    outline = [(back, low), (ahead, low), (ahead, high), (back, high)]
    if skin.finest > 0:
        skin.sides(outline, Material.GLASS, GLASS)
        return
    skin.sides(outline, Material.PLASTIC, DARK)
    step = (ahead - back) / panes
    for index in range(panes):
        a, b = back + index * step + 0.05, back + (index + 1) * step - 0.05
        skin.sides([(a, low + 0.05), (b, low + 0.05), (b, high - 0.05), (a, high - 0.05)], Material.GLASS, GLASS)


def door(skin: Skin, x: float, width: float, low: float, high: float, sides: tuple[int, ...]) -> None:
    """A door with two glass wings."""
    for side in sides:
        zone = (0.0, np.inf) if side > 0 else (-np.inf, 0.0)
        a, b = x - width / 2, x + width / 2
        skin.paint([(a, low), (b, low), (b, high), (a, high)], 1, side, Material.PLASTIC, (0.03, 0.03, 0.032), zone)
        for start, end in ((a + 0.06, x - 0.03), (x + 0.03, b - 0.06)):
            skin.paint(
                [(start, low + 0.12), (end, low + 0.12), (end, high - 0.06), (start, high - 0.06)],
                1,
                side,
                Material.GLASS,
                GLASS,
                zone,
            )


def screen(skin: Skin, side: int, low: float, high: float, half: float, taper: float) -> None:
    """A pane across the front (`side` 1) or the back (-1), between two heights, narrower by `taper` at the top."""
    zone = (0.0, np.inf) if side > 0 else (-np.inf, 0.0)
    for inset, material, color in ((0.0, Material.PLASTIC, DARK), (0.04, Material.GLASS, GLASS)):
        wide = half - inset
        skin.paint(
            [(-wide, low + inset), (wide, low + inset), (wide - taper, high - inset), (taper - wide, high - inset)],
            0,
            side,
            material,
            color,
            zone,
        )


def sign(skin: Skin, side: int, z: float, half: float) -> None:
    """Line number and destination, as amber blocks on black."""
    zone = (0.0, np.inf) if side > 0 else (-np.inf, 0.0)
    skin.paint(
        [(-half - 0.05, z - 0.13), (half + 0.05, z - 0.13), (half + 0.05, z + 0.13), (-half - 0.05, z + 0.13)],
        0,
        side,
        Material.PLASTIC,
        DARK,
        zone,
    )
    left = half * np.sign(side)  # of somebody who reads it
    for start, end in ((0.04, 0.2), (0.32, 0.55), (0.6, 0.92)):
        a, b = left * (1 - 2 * start), left * (1 - 2 * end)
        skin.paint([(a, z - 0.07), (b, z - 0.07), (b, z + 0.07), (a, z + 0.07)], 0, side, Material.LIGHT, AMBER, zone)


def lamps(skin: Skin, side: int, low: float, tall: float, half: float, lights: bool) -> None:
    """Head or tail lamps at both corners, from the height `low` on."""
    zone = (0.0, np.inf) if side > 0 else (-np.inf, 0.0)
    shining, dull = (HEAD_GLOW, HEAD) if side > 0 else (TAIL_GLOW, TAIL)
    material, color = (Material.LIGHT, shining) if lights else (Material.PLASTIC, dull)
    outline = [(0.68 * half, low), (0.93 * half, low), (0.93 * half, low + tall), (0.68 * half, low + tall * 0.8)]
    skin.both(outline, 0, side, Material.PLASTIC, DARK, zone)
    inner = [
        (0.72 * half, low + 0.03),
        (0.89 * half, low + 0.03),
        (0.89 * half, low + tall - 0.04),
        (0.72 * half, low + tall * 0.8 - 0.04),
    ]
    skin.both(inner, 0, side, material, color, zone)


def plate(skin: Skin, side: int, z: float) -> None:
    """A number plate."""
    zone = (0.0, np.inf) if side > 0 else (-np.inf, 0.0)
    skin.paint(
        [(-0.26, z - 0.055), (0.26, z - 0.055), (0.26, z + 0.055), (-0.26, z + 0.055)],
        0,
        side,
        Material.SIGN,
        (0.72, 0.72, 0.7),
        zone,
    )
    skin.paint(
        [(-0.2, z - 0.03), (0.2, z - 0.03), (0.2, z + 0.03), (-0.2, z + 0.03)],
        0,
        side,
        Material.SIGN,
        (0.12, 0.12, 0.12),
        zone,
    )
