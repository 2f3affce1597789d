"""The body of a vehicle as one closed surface: its outline from the side times its section across.

A shell is told in fractions, from the front (0) to the rear (1) and from the ground (0) to the roof (1), the way one
reads a side view.  `Shell.build` turns it into rings of points; what is painted on the surface (windows, lamps, joints)
finds its place by the outline functions of `Surface`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.mesh import Material, Mesh
from panoptic_training.synthetic.solids import Color, Skin, quads, turned

Curve = tuple[tuple[float, float], ...]

DARK: Color = (0.012, 0.012, 0.013)
BLACK_PLASTIC: Color = (0.02, 0.02, 0.021)
GLASS: Color = (0.025, 0.03, 0.033)
COARSE = 0.085  # metres: narrower details are left out of coarse vehicles
TAIL: Color = (0.22, 0.006, 0.008)
TAIL_GLOW: Color = (0.75, 0.02, 0.02)
BRAKE_GLOW: Color = (1.0, 0.05, 0.04)
HEAD: Color = (0.62, 0.64, 0.66)
HEAD_GLOW: Color = (1.0, 0.97, 0.9)


@dataclass(frozen=True)
class Shell:
    """Proportions of a vehicle's body.

    Attributes
    ----------
    length, width, height:
        Metres.
    top, bottom:
        Outline from the side, (fraction of length, fraction of height); both end in the same tips.
    belt:
        Where the sides begin to lean inwards, likewise.
    plan:
        (fraction of length, fraction of half width).
    bow:
        (fraction of length, metres) by which the sides lie behind the middle: bumpers and windscreens are curved.
    lean:
        Metres inwards for each metre above the belt.
    crown:
        Metres that the roof's middle is above its edge.
    edge:
        Metres, radius of the roof's edge.
    axles:
        Fractions of length of the axles.
    wheel_radius, wheel_width:
        Metres.
    arches:
        Whether the body is cut out around the wheels.
    """

    length: float
    width: float
    height: float
    top: Curve
    bottom: Curve
    belt: Curve
    plan: Curve = ((0.0, 0.86), (0.03, 0.94), (0.14, 0.99), (0.3, 1.0), (0.8, 1.0), (0.95, 0.97), (1.0, 0.9))
    bow: Curve = ((0.0, 0.2), (0.12, 0.12), (0.3, 0.11), (0.5, 0.0), (0.78, 0.0), (0.9, -0.05), (1.0, -0.11))
    lean: float = 0.3
    crown: float = 0.035
    edge: float = 0.06
    axles: tuple[float, ...] = (0.19, 0.81)
    wheel_radius: float = 0.32
    wheel_width: float = 0.21
    arches: bool = True

    def axle_positions(self) -> NDArray[np.float64]:
        """(N,) metres along x."""
        return self.length * (0.5 - np.asarray(self.axles))

    def build(self, coarse: bool = False) -> Surface:
        """The rings of the shell, from the rear to the front; fewer where they are to be seen from far only."""
        gap = self.wheel_radius + 0.05
        base = [point[0] for curve in (self.top, self.bottom, self.plan) for point in curve]
        fractions = np.unique(np.round([*base, *np.linspace(0.3, 0.8, 3)], 4))
        if self.arches:
            around = (
                np.concatenate([[-gap - 0.008], gap * np.cos(np.linspace(np.pi, 0, 4 if coarse else 7)), [gap + 0.008]])
                / self.length
            )
            # the sides lie behind the middle, and the wheel is at the side
            centers = [axle - np.interp(axle, *_columns(self.bow)) / self.length for axle in self.axles]
            clear = np.all([np.abs(fractions - center) > gap / self.length + 0.012 for center in centers], axis=0)
            clear |= (fractions == 0) | (fractions == 1)
            if coarse:
                clear &= np.isin(fractions, _thinned(fractions))
            fractions = np.unique(np.concatenate([fractions[clear], *(center + around for center in centers)]))
        elif coarse:
            fractions = _thinned(fractions)
        fractions = fractions[::-1]  # from the rear

        top = _soft(fractions, self.top) * self.height
        bottom = np.interp(fractions, *_columns(self.bottom)) * self.height
        belt = np.minimum(np.interp(fractions, *_columns(self.belt)) * self.height, top - 0.05)
        belt = np.maximum(belt, bottom)
        half = np.interp(fractions, *_columns(self.plan)) * self.width / 2
        bow = np.interp(fractions, *_columns(self.bow))
        x = self.length * (0.5 - fractions)
        depth = top - bottom  # nothing is left of it at the tips
        crown = self.crown * np.clip(depth / 0.4, 0, 1)
        top = top - crown

        arch = bottom.copy()
        if self.arches:
            for axle in self.axle_positions():
                reach = gap**2 - (x - bow - axle) ** 2
                arch = np.where(
                    reach > -1e-9, np.maximum(arch, self.wheel_radius + np.sqrt(np.maximum(reach, 0))), arch
                )
        housing = half - self.wheel_width - 0.13
        middle = np.maximum(bottom + 0.5 * (belt - bottom), arch + 0.04)
        roof_edge = np.maximum(top - self.edge * 1.2, belt)
        roof_half = half - 0.03 - (roof_edge - belt) * self.lean
        rows = [  # half width and height, from below the middle up the side to the middle of the roof
            (0 * half, bottom),
            (housing, bottom),
            (housing, arch),
            (half - 0.035, arch),
            (half - 0.01, arch + 0.03),
            (half, middle),
            (half - 0.006, belt - 0.08),
            (half - 0.03, belt),
            (
                0.5 * (half - 0.03 + roof_half) + 0.012 * np.clip((roof_edge - belt) / 0.4, 0, 1),
                0.5 * (belt + roof_edge),
            ),
            (roof_half, roof_edge),
            (roof_half - self.edge, top),
            (0.5 * roof_half, top + 0.72 * crown),
            (0 * half, top + crown),
        ]
        if coarse:
            del rows[11], rows[4]
        y = np.stack([np.broadcast_to(row[0], x.shape) for row in rows], axis=1)
        # the tips are lines that the surface comes to from above and from below: with the same corners, to leave no gap
        for tip in (0, -1):
            y[tip, 1:-1] = half[tip]
            if not coarse:
                y[tip, 1:3] = y[tip, -2] = 0.5 * roof_half[tip]
        z = np.clip(np.stack([row[1] for row in rows], axis=1), bottom[:, None], (top + crown)[:, None])
        z = np.maximum.accumulate(z, axis=1)
        ahead = x[:, None] - bow[:, None] * (y / np.maximum(half, 1e-3)[:, None]) ** 2
        side, belt_row, edge_row = (4, 6, 9) if coarse else (5, 7, 10)
        return Surface(self, ahead, y, z, side, belt_row, edge_row)


@dataclass(frozen=True)
class Surface:
    """Rings of a shell.

    Attributes
    ----------
    shell:
        What it was built from.
    x, y, z:
        (S, R) metres: rings from rear to front, points from below the middle up the left side to the roof's middle.
    side, belt_row, edge_row:
        Points on the widest line, on the belt and on the roof's edge.
    """

    shell: Shell
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    z: NDArray[np.float64]
    side: int
    belt_row: int
    edge_row: int

    def roof_line(self, x: NDArray[np.floating] | float) -> NDArray[np.float64] | np.float64:
        """Height in metres of the roof's edge, bonnet or boot, seen from the side."""
        return np.asarray(np.interp(x, self.x[:, self.edge_row], self.z[:, self.edge_row]))

    def belt_line(self, x: NDArray[np.floating] | float) -> NDArray[np.float64] | np.float64:
        """Height in metres of the belt."""
        return np.asarray(np.interp(x, self.x[:, self.belt_row], self.z[:, self.belt_row]))

    def half_width(self, x: float, z: float) -> float:
        """Metres from the middle to the side, at a place along the body and a height."""
        ring = int(np.abs(self.x[:, self.side] - x).argmin())
        return float(np.interp(z, self.z[ring], np.maximum(self.y[ring], 1e-3)))

    def front(self, z: float, y: float = 0.0) -> float:
        """Where along x the body's nose is, at a height and distance from the middle."""
        reach = self.x[:, -1] - (self.x[:, -1] - self.x[:, self.side]) * (y / (self.shell.width / 2)) ** 2
        inside = (self.z[:, 0] <= z) & (self.z[:, -1] >= z)
        return float(reach[inside].max())

    def rear(self, z: float, y: float = 0.0) -> float:
        """Where along x the body's tail is."""
        reach = self.x[:, -1] - (self.x[:, -1] - self.x[:, self.side]) * (y / (self.shell.width / 2)) ** 2
        inside = (self.z[:, 0] <= z) & (self.z[:, -1] >= z)
        return float(reach[inside].min())

    def pane(
        self, ahead: float, behind: float, above_belt: float = 0.03, below_roof: float = 0.05, pillar: float = 0.07
    ) -> NDArray[np.float64] | None:
        """(K, 2) outline in x and z of a side window between two places along x, or None where there is no room.

        The window follows the roof's edge at a distance, and stays a pillar's breadth behind windscreens.
        """
        x = np.linspace(behind, ahead, 6)
        upper = np.min([self.roof_line(x + shift) for shift in (-pillar, 0.0, pillar)], axis=0) - below_roof
        lower = np.asarray(self.belt_line(x)) + above_belt
        open_ = upper > lower + 0.03
        if open_.sum() < 2:
            return None
        x, upper, lower = x[open_], upper[open_], lower[open_]
        return _hull(np.concatenate([np.c_[x[[0, -1]], lower[[0, -1]]], np.c_[x, upper]]))

    def skin(
        self, paint: Color, sill: Color | None = None, material: Material = Material.CAR_PAINT, finest: float = 0.0
    ) -> Skin:
        """The closed surface, dark below, ready to be painted on.

        Parameters
        ----------
        paint:
            Colour of the body.
        sill:
            Colour of the lowest strip and the arches' edges, or None for the body's.
        finest:
            As in `Skin`.
        """
        count, rows = self.x.shape
        # once around each ring: up the left side, over the roof, down the right side
        order = np.concatenate([np.arange(rows), np.arange(rows - 2, 0, -1)])
        sign = np.concatenate([np.ones(rows), -np.ones(rows - 2)])
        points = np.stack([self.x[:, order], self.y[:, order] * sign, self.z[:, order]], axis=-1)
        around = len(order)
        faces = quads(count, around, closed=True)[:, ::-1]  # rings run counter-clockwise seen from the front
        vertices = points.reshape(-1, 3)
        mesh = Mesh.of(vertices, faces, 0, material, paint)
        strip = np.repeat(np.arange(count * around - around) % around, 2)
        strip = np.minimum(strip, around - 1 - strip)
        edges = mesh.vertices[faces[:, 1:]] - mesh.vertices[faces[:, :1]]
        normal = np.cross(edges[:, 0], edges[:, 1])
        level = np.abs(normal[:, 2]) > 0.6 * np.linalg.norm(normal, axis=1)
        below = (strip == 2) | ((strip < 2) & level)  # not the bumpers, which rise from below
        mesh.materials[below] = Material.PLASTIC
        mesh.colors[below] = DARK
        if sill is not None:
            low = ((strip == 3) | ((strip < 2) & ~level)) & (
                mesh.vertices[faces][:, :, 2].mean(axis=1) < 0.6 * self.shell.height
            )
            mesh.materials[low] = Material.PLASTIC
            mesh.colors[low] = sill
        return Skin(mesh, finest)


def wheel(radius: float, width: float, rim: Color, spokes: int = 4, sides: int = 16, dish: float = 0.03) -> Mesh:
    """A wheel about the y axis with its outer side to the left (+y) and its centre in the origin."""
    half, inner = width / 2, radius * 0.68
    profile = [
        (-half, radius * 0.93),
        (-half * 0.7, radius),
        (half * 0.7, radius),
        (half * 0.95, radius * 0.95),
        (half, inner * 1.02),
        (half - 0.012, inner * 0.96),
        (half - dish, radius * 0.18),
    ]
    mesh = turned(profile, sides, Material.RUBBER, (0.016, 0.016, 0.017))
    strip = np.arange((len(profile) - 1) * sides * 2) // 2
    band, sector = strip // sides, strip % sides
    metal = np.zeros(len(mesh.faces), dtype=bool)
    gap = (sector * spokes * 2 // sides) % 2 == 1  # spokes and the dark between them
    metal[: len(strip)] = (band == 4) | ((band == 5) & ~gap)
    metal[-sides:] = True
    mesh.materials[metal] = Material.METAL
    mesh.colors[metal] = rim
    return mesh


def _thinned(fractions: NDArray[np.float64], apart: float = 0.022) -> NDArray[np.float64]:
    """Some of ascending places, the first and the last among them, that are not too near to each other."""
    kept = [fractions[0]]
    for fraction in fractions[1:-1]:
        if fraction - kept[-1] > apart and fractions[-1] - fraction > apart / 2:
            kept.append(fraction)
    # what is next to the tips keeps bumpers upright
    return np.unique([*kept, *fractions[1:4:2], *fractions[-4:-1:2], fractions[-1]])


def _columns(curve: Curve) -> tuple[list[float], list[float]]:
    return [point[0] for point in curve], [point[1] for point in curve]


def _soft(at: NDArray[np.float64], curve: Curve, reach: float = 0.014) -> NDArray[np.float64]:
    """The curve with its corners rounded, except at its ends."""
    where, value = _columns(curve)
    room = np.minimum(np.minimum(at, 1 - at), reach)[:, None] * np.linspace(-1, 1, 5)
    rounded: NDArray[np.float64] = np.interp(at[:, None] + room, where, value).mean(axis=1)
    return rounded


def _hull(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K, 2) corners of the smallest convex polygon around points (Andrew's monotone chain)."""
    ordered = points[np.lexsort((points[:, 1], points[:, 0]))]
    chains: list[list[NDArray[np.float64]]] = [[], []]
    for chain, run in zip(chains, (ordered, ordered[::-1]), strict=True):
        for point in run:
            while len(chain) >= 2:
                a, b = chain[-1] - chain[-2], point - chain[-2]
                if a[0] * b[1] - a[1] * b[0] > 1e-9:
                    break
                chain.pop()
            chain.append(point)
    return np.array(chains[0][:-1] + chains[1][:-1])
