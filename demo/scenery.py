"""What stands in the drawn street: houses, trees, posts, cars and people, made of polygons in metres.

x is right, y up, z along the street.  A pinhole camera projects them; each is painted from its far parts to its near
ones, and every polygon goes into the picture and into the map of ids alike.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

WIDTH, HEIGHT = 1280, 720
FOCAL, HORIZON, EYE = 960.0, 335.0, 1.5
"""The camera: focal length and row of the horizon in pixels, height above the road in metres."""
NEAR, FAR = 1.2, 190.0

LEFT_KERB, RIGHT_KERB, WALK, KERB = -7.4, 4.0, 3.6, 0.14
LEFT_WALL, RIGHT_WALL = LEFT_KERB - WALK, RIGHT_KERB + WALK
CROSSING = (64.0, 74.0)
"""Where a side street crosses, metres along the street."""

ROAD, SIDEWALK, BUILDING, POLE, LIGHT, SIGN, TREE, SKY = 7000, 8000, 11000, 17000, 19000, 20000, 21000, 23000
PERSON, RIDER, CAR, TRUCK, BUS, BICYCLE = 24000, 25000, 26000, 27000, 28000, 33000
"""Cityscapes' class ids times 1000; a thing adds its number."""

Points = NDArray[np.float64]
Color = tuple[float, float, float]
HAZE: Color = (222, 208, 192)
GLASS: Color = (92, 74, 58)
DARK: Color = (38, 36, 36)
PAINT: Color = (232, 236, 238)


@dataclass
class Canvas:
    """A frame being painted, seen from `ego` metres along the street."""

    image: NDArray[np.uint8]
    ids: NDArray[np.int32]
    ego: float

    def fill(self, points: ArrayLike, color: Color, id_: int, shade: float | Points = 1.0) -> None:
        """Paint polygons, (N, K, 3) or (K, 3), in a colour that fades with distance.

        With one shade the polygons must not overlap; with a shade for each they are painted one over another.
        """
        shapes = np.array(points, dtype=np.float64)
        shapes = shapes.reshape(-1, *shapes.shape[-2:])
        shapes[..., 2] -= self.ego
        seen = (shapes[..., 2].max(axis=1) > NEAR) & (shapes[..., 2].min(axis=1) < FAR)
        shapes = shapes[seen]
        if not len(shapes):
            return
        depth = np.maximum(shapes[..., 2], NEAR)
        u = WIDTH / 2 + FOCAL * shapes[..., 0] / depth
        v = HORIZON + FOCAL * (EYE - shapes[..., 1]) / depth
        pixels = np.rint(16 * np.clip(np.stack((u, v), axis=-1), -20000, 20000)).astype(np.int32)
        shades = np.atleast_1d(shade)
        haze = 1 - np.exp(-depth.mean() / 170)
        tints = np.minimum(255, np.multiply.outer(shades, color)) * (1 - haze) + np.array(HAZE) * haze
        if len(shades) == 1:
            cv2.fillPoly(self.image, list(pixels), tints[0].tolist(), cv2.LINE_AA, 4)
            cv2.fillPoly(self.ids, list(pixels), id_, cv2.LINE_8, 4)
            return
        for shape, tint in zip(pixels, tints[seen].tolist(), strict=True):
            cv2.fillConvexPoly(self.image, shape, tint, cv2.LINE_AA, 4)
            cv2.fillConvexPoly(self.ids, shape, id_, cv2.LINE_8, 4)


def across(x0: float, x1: float, z0: float, z1: float, y: float = 0.0) -> list[Color]:
    """A rectangle on the ground."""
    return [(x0, y, z0), (x1, y, z0), (x1, y, z1), (x0, y, z1)]


def upright(x0: float, x1: float, y0: float, y1: float, z: float) -> list[Color]:
    """A rectangle that faces the camera."""
    return [(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)]


def along(x: float, y0: float, y1: float, z0: float, z1: float) -> list[Color]:
    """A rectangle that runs along the street, such as a house's front."""
    return [(x, y0, z0), (x, y0, z1), (x, y1, z1), (x, y1, z0)]


def disc(x: ArrayLike, y: ArrayLike, z: float, rx: ArrayLike, ry: ArrayLike, count: int = 20) -> Points:
    """Ellipses that face the camera, (…, count, 3)."""
    angle = np.arange(count) * (2 * np.pi / count)
    u = np.asarray(x)[..., None] + np.asarray(rx)[..., None] * np.cos(angle)
    v = np.asarray(y)[..., None] + np.asarray(ry)[..., None] * np.sin(angle)
    return np.stack((u, v, np.full_like(u, z)), axis=-1)


def limb(x0: float, y0: float, x1: float, y1: float, z: float, width: float) -> Points:
    """A stroke from one point to another, facing the camera."""
    dx, dy = x1 - x0, y1 - y0
    nx, ny = np.array((-dy, dx)) * width / 2 / max(1e-9, np.hypot(dx, dy))
    return np.array([(x0 - nx, y0 - ny, z), (x0 + nx, y0 + ny, z), (x1 + nx, y1 + ny, z), (x1 - nx, y1 - ny, z)])


@dataclass
class House:
    """A house whose front stands at `x` (its side of the street) from z0 to z1."""

    x: float
    z0: float
    z1: float
    floors: int
    color: Color
    awning: Color

    def draw(self, canvas: Canvas) -> None:
        x, z0, z1 = self.x, self.z0, self.z1
        outward = np.sign(x)
        top = 4.0 + 3.1 * self.floors
        lit = 1.06 if x < 0 else 0.74  # the sun stands on the right
        canvas.fill(upright(x, x + outward * 30, 0, top, z0), self.color, BUILDING, 0.62)
        canvas.fill(along(x, 0, top, z0, z1), self.color, BUILDING, lit)
        canvas.fill(along(x, 0, 3.7, z0, z1), self.color, BUILDING, lit * 0.72)
        for y, high in ((3.7, 0.3), (top - 0.5, 0.5)):
            canvas.fill(along(x, y, y + high, z0, z1), self.color, BUILDING, lit * 1.18)
        count = max(2, int((z1 - z0) / 2.9))
        z = z0 + (np.arange(count) + 0.5) * (z1 - z0) / count
        y = 4.9 + 3.1 * np.arange(self.floors)
        zz, yy = (axis.ravel() for axis in np.meshgrid(z, y))
        for (half, low, high), color, shade in (
            ((0.75, -0.25, 1.85), self.color, lit * 1.28),
            ((0.6, -0.1, 1.7), GLASS, lit * 1.15),
            ((0.04, -0.1, 1.7), self.color, lit * 1.28),
        ):
            canvas.fill(_panes(x, zz, yy, half, low, high), color, BUILDING, shade)
        canvas.fill(_panes(x, zz, yy, 0.6, 0.9, 1.7), (178, 150, 122), BUILDING, lit)  # the sky in the upper panes
        shop = z[: -1 if count > 2 else None]
        zeros = np.zeros_like(shop)
        canvas.fill(_panes(x, shop, zeros, 1.15, 0.5, 2.7), GLASS, BUILDING, lit * 1.3)
        canvas.fill(_panes(x, shop, zeros, 1.15, 1.7, 2.7), (150, 150, 140), BUILDING, lit)
        canvas.fill(_panes(x, z[-1:], zeros[:1], 0.55, 0.1, 2.5), (52, 66, 94), BUILDING, lit)
        edge = x - outward * 1.1
        for index, middle in enumerate(shop):
            stripe = self.awning if index % 2 else PAINT
            a, b = middle - (z1 - z0) / count / 2, middle + (z1 - z0) / count / 2
            slope = [(x, 3.4, a), (x, 3.4, b), (edge, 2.75, b), (edge, 2.75, a)]
            canvas.fill(slope, stripe, BUILDING, lit)
            canvas.fill(along(edge, 2.55, 2.75, a, b), stripe, BUILDING, lit * 0.8)


def _panes(x: float, z: Points, y: Points, half: float, low: float, high: float) -> Points:
    return np.stack([along(x, b + low, b + high, a - half, a + half) for a, b in zip(z, y, strict=True)])


@dataclass
class Tree:
    """A street tree; its crown is a heap of seeded leaves, lit from the upper right."""

    x: float
    z: float
    high: float
    seed: int

    def draw(self, canvas: Canvas) -> None:
        rng = np.random.default_rng(self.seed)
        x, z, high = self.x, self.z, self.high
        canvas.fill(disc(x, 0.15, z, 0.7, 0.02), (48, 62, 74), SIDEWALK)
        trunk = [(x - 0.17, 0.1, z), (x + 0.17, 0.1, z), (x + 0.1, high * 0.6, z), (x - 0.1, high * 0.6, z)]
        canvas.fill(trunk, (52, 68, 84), TREE)
        # Boughs, and tufts of leaves on them, whose contrast fades with distance until nothing is lost without them.
        near = max(0.0, 1 - (z - canvas.ego) / 60)
        for count, small, large, ink in ((40, 0.08, 0.13, 1.0), (260, 0.015, 0.04, near)):
            angle, radius = rng.uniform(0, 2 * np.pi, count), np.sqrt(rng.uniform(0, 1, count))
            dx, dy = radius * np.cos(angle) * high * 0.28, radius * np.sin(angle) * high * 0.31
            light, size = (dx + dy) / high + rng.normal(0, 0.09, count), rng.uniform(small, large, count) * high
            if ink:
                order = np.argsort(light)
                leaves = disc(x + dx, high * 0.68 + dy, z, size, size * 0.8, 9)[order]
                canvas.fill(leaves, (52, 122, 92), TREE, 0.82 + (0.9 + 0.5 * (ink < 1)) * ink * light[order])


@dataclass
class Post:
    """A lamp, a traffic light or a round sign on a pole."""

    x: float
    z: float
    kind: str

    def draw(self, canvas: Canvas) -> None:
        x, z, inward = self.x, self.z, -float(np.sign(self.x))
        high = {"lamp": 7.5, "light": 4.6, "sign": 2.7}[self.kind]
        radius = 0.05 if self.kind == "sign" else 0.08
        canvas.fill(upright(x - radius, x + radius, KERB, high, z), (112, 112, 108), POLE)
        if self.kind == "lamp":
            canvas.fill(limb(x, high, x + 1.6 * inward, high + 0.25, z, 0.1), (112, 112, 108), POLE)
            head = (x + 1.5 * inward, x + 2.2 * inward)
            canvas.fill(upright(min(head), max(head), high + 0.18, high + 0.34, z), (88, 88, 84), POLE)
        elif self.kind == "sign":
            for size, color in ((0.36, (40, 36, 200)), (0.28, PAINT)):
                canvas.fill(disc(x, 2.6, z, size, size), color, SIGN)
            canvas.fill(upright(x - 0.12, x - 0.03, 2.48, 2.72, z), DARK, SIGN)
            canvas.fill(upright(x + 0.03, x + 0.12, 2.48, 2.72, z), DARK, SIGN)
        else:
            for middle, bottom in ((x + 0.02 * inward, 2.6), (x + 3.1 * inward, 4.5)):
                if bottom > 4:
                    canvas.fill(limb(x, 4.5, middle, 5.1, z, 0.09), (112, 112, 108), POLE)
                canvas.fill(upright(middle - 0.2, middle + 0.2, bottom, bottom + 1.05, z), DARK, LIGHT)
                for row, color in enumerate(((96, 232, 96), (24, 60, 74), (28, 28, 78))):
                    canvas.fill(disc(middle, bottom + 0.2 + 0.33 * row, z, 0.13, 0.13), color, LIGHT)


PROFILES = {
    "car": ((0, 0.24), (0, 0.93), (0.5, 1.0), (1.15, 1.44), (2.5, 1.44), (3.35, 0.98), (4.3, 0.8), (4.3, 0.24)),
    "hatch": ((0, 0.24), (0, 0.96), (0.08, 1.02), (0.5, 1.5), (2.2, 1.52), (3.0, 1.02), (3.9, 0.84), (3.9, 0.24)),
    "van": ((0, 0.3), (0, 1.1), (0.04, 1.15), (0.12, 2.2), (4.2, 2.25), (4.9, 1.35), (5.6, 1.05), (5.6, 0.3)),
    "bus": ((0, 0.34), (0, 1.1), (0.02, 1.15), (0.05, 3.0), (10.9, 3.0), (10.98, 1.15), (11, 1.1), (11, 0.34)),
}
"""Side views, (z, y) from the rear over the roof to the front: sill, belt, window, roof, roof, screen, hood, sill."""


@dataclass
class Vehicle:
    """A car, van or bus on the ground; `away` when we see its rear."""

    kind: str
    x: float
    z: float
    color: Color
    away: bool
    id: int

    def draw(self, canvas: Canvas) -> None:
        profile = np.array(PROFILES[self.kind])
        length, tall = profile[-1, 0], profile[:, 1].max()
        if not self.away:
            profile = np.stack((length - profile[::-1, 0], profile[::-1, 1]), axis=1)
        belt, sill = profile[1, 1], profile[0, 1]
        half = {"car": 0.9, "hatch": 0.86, "van": 1.0, "bus": 1.25}[self.kind]
        lean = 0.17 if self.kind in ("car", "hatch") else 0.05

        def at(side: float, z: float, y: float, out: float = 0.0) -> Color:
            inset = lean * max(0.0, (y - 1.0) / (tall - 1.0))
            return (self.x + side * (half - inset + out), y, self.z + z)

        def end(side0: float, side1: float, y0: float, y1: float) -> list[Color]:
            return [at(side0, 0, y0), at(side1, 0, y0), at(side1, 0, y1), at(side0, 0, y1)]

        def body(shape: list[Color], color: Color, shade: float = 1.0) -> None:
            canvas.fill(shape, color, self.id, shade)

        canvas.fill(
            across(self.x - half - 0.25, self.x + half + 0.1, self.z - 0.2, self.z + length), (58, 55, 54), ROAD
        )
        side = -np.sign(self.x) if abs(self.x) > half else 0.0
        wheels, tyre = (0.19 * length, 0.8 * length), 0.46 if self.kind == "bus" else 0.32
        body([at(-1, 0.1, sill), at(1, 0.1, sill), at(1, 0.1, 0.14), at(-1, 0.1, 0.14)], DARK)
        for where in (-1.0, 1.0):
            body([at(where, 0.12, y, d) for y, d in ((0.5, 0.0), (0.5, -0.24), (0.0, -0.24), (0.0, 0.0))], DARK, 0.7)
        # Upper faces from the far end to the near one, so that each is hidden by what stands before it.
        for index in range(len(profile) - 2, 0, -1):
            (za, ya), (zb, yb) = profile[index], profile[index + 1]
            face = [at(-1, za, ya), at(1, za, ya), at(1, zb, yb), at(-1, zb, yb)]
            window = index in (2, 4) and abs(yb - ya) > 0.2
            body(face, self.color, 1.12)
            if window:
                body([at(s * 0.9, z, y) for s, z, y in ((-1, za, ya), (1, za, ya), (1, zb, yb), (-1, zb, yb))], GLASS)
                if ya < yb:
                    glint = [at(s, za + t * (zb - za), ya + t * (yb - ya)) for s, t in ((-0.6, 0), (-0.1, 0), (0.3, 1))]
                    body(glint, (146, 126, 106))
        if side:
            body([at(side, z, y) for z, y in profile], self.color, 0.86)
            low, high = belt + 0.08, tall - 0.12
            cabin = [
                (profile[i, 0] + d, y) for i, d, y in ((2, 0.2, low), (3, 0.1, high), (4, -0.1, high), (5, -0.2, low))
            ]
            body([at(side, z, y, 0.005) for z, y in cabin], GLASS, 0.8)
            middle = (cabin[0][0] + cabin[3][0]) / 2
            pillars = np.arange(1, 9) * length / 9 if self.kind == "bus" else np.array([middle])
            for z in pillars:
                body(
                    [at(side, z + d, y, 0.008) for d, y in ((-0.05, low), (0.05, low), (0.05, high), (-0.05, high))],
                    self.color,
                    0.8,
                )
            angle = np.arange(18) * (2 * np.pi / 18)
            for z in wheels:
                for radius, color in ((tyre + 0.07, DARK), (tyre, (26, 26, 26)), (0.6 * tyre, (150, 150, 150))):
                    rim = [at(side, z + radius * np.cos(a), tyre + radius * np.sin(a), 0.01) for a in angle]
                    body(rim, color)
        body(end(-1, 1, sill, belt), self.color)
        body(end(-1, 1, sill, sill + 0.16), self.color, 0.62)
        lamp, glow = ((40, 32, 196), (92, 96, 255)) if self.away else ((236, 240, 240), (255, 255, 255))
        for where in (-1.0, 1.0):
            body(end(where * 0.96, where * 0.62, belt - 0.26, belt - 0.08), lamp)
            body(end(where * 0.9, where * 0.76, belt - 0.21, belt - 0.13), glow)
        if self.away:
            body(end(-0.28, 0.28, belt - 0.34, belt - 0.2), PAINT)
        else:
            body(end(-0.5, 0.5, belt - 0.3, belt - 0.14), DARK)
            body(end(-0.27, 0.27, sill + 0.04, sill + 0.15), PAINT)
        if self.kind == "bus":
            body(end(-0.6, 0.6, 2.68, 2.92), (20, 30, 40))
            body(end(-0.5, 0.3, 2.74, 2.86), (40, 190, 250))


@dataclass
class Person:
    """Somebody walking (or riding a bicycle, drawn from the side); `pace` in metres per second to the right."""

    x: float
    z: float
    pace: float
    coat: Color
    id: int
    bicycle: int = 0
    ahead: float = 0.0

    def draw(self, canvas: Canvas, time: float = 0.0) -> None:
        x, z = self.x + self.pace * time, self.z + self.ahead * time
        face = 1.0 if self.pace >= 0 else -1.0
        swing = 0.32 * np.sin(5.5 * time + self.z) if self.pace or self.ahead else 0.06
        floor = KERB if not CROSSING[0] - 5 < z < CROSSING[1] and not LEFT_KERB < x < RIGHT_KERB else 0.0
        trousers: Color = (84, 58, 44)
        if self.bicycle:
            floor = 0.32
            for wheel in (-0.52, 0.52):
                for size, color in ((0.34, DARK), (0.28, (120, 118, 116))):
                    canvas.fill(disc(x + wheel, 0.34, z, size, size), color, self.bicycle)
            for a in (
                (-0.52, 0.34, 0, 0.36),
                (0, 0.36, 0.42, 0.85),
                (-0.2, 0.85, 0.42, 0.85),
                (-0.2, 0.95, 0, 0.36),
                (0.52, 0.34, 0.4, 1.02),
                (-0.52, 0.34, -0.2, 0.85),
            ):
                canvas.fill(limb(x + face * a[0], a[1], x + face * a[2], a[3], z, 0.05), (48, 48, 210), self.bicycle)
            swing = 0.16 * np.sin(6 * time)
        hip, neck = floor + 0.86, floor + 1.46
        lean = 0.22 * face if self.bicycle else 0.0
        seat = x - 0.15 * face if self.bicycle else x
        for phase, shade in ((-1.0, 0.75), (1.0, 1.0)):
            knee = (seat + phase * swing * 0.5 + 0.06 * phase * (not self.bicycle), floor + 0.45)
            foot = (seat + phase * swing + 0.07 * phase, floor + 0.05)
            if self.bicycle:
                knee, foot = (seat + 0.3 * face, hip - 0.3 + phase * swing), (seat + 0.14 * face, 0.4 + phase * swing)
            canvas.fill(limb(seat + 0.05 * phase, hip, *knee, z, 0.17), trousers, self.id, shade)
            canvas.fill(limb(*knee, *foot, z, 0.14), trousers, self.id, shade)
            canvas.fill(disc(foot[0] + 0.05 * face, foot[1], z, 0.12, 0.06), DARK, self.id)
        shoulder = seat + lean
        torso = [
            (seat - 0.17, hip - 0.06, z),
            (seat + 0.17, hip - 0.06, z),
            (shoulder + 0.23, neck - 0.06, z),
            (shoulder + 0.1, neck + 0.02, z),
            (shoulder - 0.1, neck + 0.02, z),
            (shoulder - 0.23, neck - 0.06, z),
        ]
        canvas.fill(torso, self.coat, self.id)
        for phase in (-1.0, 1.0):
            hand = (x + 0.42 * face, 1.05) if self.bicycle else (x + 0.2 * phase - phase * swing * 0.6, hip - 0.04)
            canvas.fill(limb(shoulder + 0.19 * phase, neck - 0.08, *hand, z, 0.11), self.coat, self.id, 0.8)
            canvas.fill(disc(*hand, z, 0.06, 0.06), (142, 168, 210), self.id)
        canvas.fill(disc(shoulder + lean * 0.3, neck + 0.17, z, 0.12, 0.15), (142, 168, 210), self.id)
        hair = (40, 52, 70) if not self.bicycle else (60, 190, 240)
        canvas.fill(disc(shoulder + lean * 0.3 - 0.02 * face, neck + 0.24, z, 0.13, 0.1), hair, self.id)
