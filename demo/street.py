"""A drawn street to drive along, with the panoptic id of every pixel: what the demo's camera sees.

The same seed gives the same street.  ``python demo/street.py OUT.png`` writes a sheet of frames to look at.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scenery import (
    BICYCLE,
    BUS,
    CAR,
    CROSSING,
    EYE,
    FAR,
    FOCAL,
    HEIGHT,
    HORIZON,
    KERB,
    LEFT_KERB,
    LEFT_WALL,
    NEAR,
    PAINT,
    PERSON,
    RIDER,
    RIGHT_KERB,
    RIGHT_WALL,
    ROAD,
    SIDEWALK,
    SKY,
    TRUCK,
    WIDTH,
    Canvas,
    Color,
    House,
    Person,
    Post,
    Tree,
    Vehicle,
    across,
    along,
)

RATE = 10
"""Frames a second."""
SPEED = 8.0
"""Metres a second."""


class Frame(NamedTuple):
    """One picture, (H, W, 3) uint8 B, G, R, and the panoptic id of each of its pixels, (H, W) int32."""

    image: NDArray[np.uint8]
    ids: NDArray[np.int32]


def _palette(colors: str) -> list[Color]:
    """B, G, R colours from RRGGBB."""
    return [(int(color[4:], 16), int(color[2:4], 16), int(color[:2], 16)) for color in colors.split()]


WALLS = _palette("caac92 b08c78 d0c4b0 96806e c4ba96 b8b0a8 be9684 d8ceba")
AWNINGS = _palette("aa3c3c 327855 325a96 be8228")
PAINTS = _palette("ac2c30 bcbebe 2c5496 404246 d2d0cc 3c7a60 c4822c 606e82")
COATS = _palette("be3c3c 326e96 509646 783c78 d29632 5a5a5a")
BUS_PAINT = _palette("e2b03c")[0]


class Street:
    """A street of `seed`, filmed by a car that drives along it at `SPEED`."""

    def __init__(self, seed: int = 7) -> None:
        rng = np.random.default_rng(seed)
        self._numbers = itertools.count(1)
        self._houses = self._build(rng)
        self._trees = self._plant(rng)
        self._posts = [
            *(Post(x, z, "lamp") for z in (12, 38, 96, 122, 148) for x in (LEFT_KERB - 0.4, RIGHT_KERB + 0.4)),
            *(Post(RIGHT_KERB + 0.4, z, "sign") for z in (24, 50, 90)),
            *(Post(x, CROSSING[0] - 6, "light") for x in (LEFT_KERB - 0.3, RIGHT_KERB + 0.3)),
        ]
        self._traffic = [*self._park(rng), *self._drive()]
        self._people = self._walk(rng)
        self._sky = _sky(rng)
        row = np.arange(int(HORIZON) + 2, HEIGHT, dtype=np.float32)
        depth = (FOCAL * EYE / (row - HORIZON))[:, None]
        self._ground_z = np.repeat(depth, WIDTH, axis=1)
        self._ground_x = (np.arange(WIDTH, dtype=np.float32) - WIDTH / 2) * depth / FOCAL
        grain = rng.normal(0, 1, (512, 512)).astype(np.float32)
        self._grain = 0.05 * grain + 0.35 * cv2.GaussianBlur(grain, (0, 0), 5)
        # Where the shadow of the houses on the right ends, for each quarter of a metre from 12 m behind the start.
        self._shadow = np.full(1200, RIGHT_WALL + 30, dtype=np.float32)
        for house in self._houses:
            if house.x > 0:
                stretch = np.s_[int(4 * (house.z0 + 12)) : int(4 * (house.z1 + 12))]
                self._shadow[stretch] = house.x - 0.34 * (4 + 3.1 * house.floors)

    def _build(self, rng: np.random.Generator) -> list[House]:
        houses = []
        for x in (LEFT_WALL, RIGHT_WALL):
            for start, stop in ((-10.0, CROSSING[0] - 4), (CROSSING[1] + 4, 260.0)):
                z = start
                while z < stop - 5:
                    wide = min(float(rng.uniform(9, 16)), stop - z)
                    wall, awning = WALLS[rng.integers(len(WALLS))], AWNINGS[rng.integers(len(AWNINGS))]
                    houses.append(House(x, z, z + wide, int(rng.integers(2, 5)), wall, awning))
                    z += wide
        return houses

    def _plant(self, rng: np.random.Generator) -> list[Tree]:
        return [
            Tree(x, z + dz, float(rng.uniform(5.5, 7.5)), int(rng.integers(1 << 30)))
            for z in np.arange(6.0, 240, 13)
            if not CROSSING[0] - 6 < z < CROSSING[1] + 6
            for x, dz in ((LEFT_KERB - 0.9, 0.0), (RIGHT_KERB + 0.9, 5.0))
        ]

    def _vehicle(self, kind: str, x: float, z: float, away: bool) -> Vehicle:
        number = next(self._numbers)
        color = BUS_PAINT if kind == "bus" else PAINTS[number % len(PAINTS)]
        return Vehicle(kind, x, z, color, away, {"van": TRUCK, "bus": BUS}.get(kind, CAR) + number)

    def _park(self, rng: np.random.Generator) -> Iterator[tuple[Vehicle, float]]:
        """Cars at both kerbs, with their speed, which is none."""
        kinds = ("car", "hatch", "car", "van", "hatch", "car")
        for index, z in enumerate(np.arange(8.0, 200, 6.6)):
            if not CROSSING[0] - 13 < z < CROSSING[1] + 3 and rng.random() < 0.66:
                yield self._vehicle(kinds[index % 6], RIGHT_KERB - 1.15, z, True), 0.0
            if not CROSSING[0] - 9 < z < CROSSING[1] + 8 and rng.random() < 0.62:
                yield self._vehicle(kinds[(index + 2) % 6], LEFT_KERB + 1.15, z + 2, False), 0.0

    def _drive(self) -> Iterator[tuple[Vehicle, float]]:
        """A car ahead of us and three that come towards us, with their speeds."""
        yield self._vehicle("car", 0.15, 17.0, True), SPEED + 0.6
        for kind, z in (("hatch", 46.0), ("bus", 82.0), ("car", 128.0)):
            yield self._vehicle(kind, -3.4, z, False), -7.0

    def _walk(self, rng: np.random.Generator) -> list[Person]:
        """People on the pavements, people and cyclists who cross."""
        people = []
        for index, z in enumerate((11.0, 15.5, 21, 24, 30, 34, 41, 46, 53, 57, 61, 84, 92)):
            pavement = (RIGHT_KERB + 0.5, RIGHT_WALL - 1) if index % 2 else (LEFT_WALL + 1, LEFT_KERB - 0.4)
            ahead = 0.0 if index in (5, 9, 10) else float(rng.choice([-1.1, 1.2]))
            coat, id_ = COATS[index % len(COATS)], PERSON + next(self._numbers)
            people.append(Person(float(rng.uniform(*pavement)), z, 0.0, coat, id_, ahead=ahead))
        for index, (x, z, pace) in enumerate(((-10.5, 60.5, 0.9), (7.0, 77.0, -1.1), (5.6, 77.8, -1.1), (-9, 78, 1.2))):
            people.append(Person(x, z, pace, COATS[index + 1], PERSON + next(self._numbers)))
        for x, z, pace in ((-10.5, 70.0, 2.9), (11.0, 72.5, -2.3)):
            rider, bicycle = RIDER + next(self._numbers), BICYCLE + next(self._numbers)
            people.append(Person(x, z, pace, COATS[0], rider, bicycle))
        return people

    def frame(self, index: int) -> Frame:
        """Paint frame `index`, at ``index / RATE`` seconds."""
        time = index / RATE
        ids = np.full((HEIGHT, WIDTH), SKY, dtype=np.int32)
        canvas = Canvas(self._sky.copy(), ids, SPEED * time)
        self._paint_ground(canvas)
        for house in sorted(self._houses, key=lambda house: -house.z0):
            if canvas.ego - house.z1 < -NEAR and house.z0 - canvas.ego < FAR:
                house.draw(canvas)
        things: list[tuple[float, Callable[[], None]]] = []
        for item in (*self._trees, *self._posts):
            things.append((item.z, lambda item=item: item.draw(canvas)))
        for vehicle, speed in self._traffic:
            moved = replace(vehicle, z=vehicle.z + speed * time)
            things.append((moved.z, lambda moved=moved: moved.draw(canvas)))
        for person in self._people:
            things.append((person.z + person.ahead * time, lambda person=person: person.draw(canvas, time)))
        for z, draw in sorted(things, key=lambda thing: -thing[0]):
            if -12 < z - canvas.ego < FAR:
                draw()
        bonnet = np.array([(150, 720), (260, 697), (460, 684), (820, 684), (1020, 697), (1130, 720)], dtype=np.int32)
        cv2.fillPoly(canvas.image, [bonnet], (54, 44, 40), cv2.LINE_AA)
        cv2.polylines(canvas.image, [bonnet[1:-1]], False, (120, 104, 96), 2, cv2.LINE_AA)
        cv2.fillPoly(canvas.ids, [bonnet], 0)
        return Frame(canvas.image, canvas.ids)

    def _paint_ground(self, canvas: Canvas) -> None:
        ego, first = canvas.ego, HEIGHT - len(self._ground_z)
        canvas.image[first:], canvas.ids[first:] = (104, 100, 98), ROAD
        far = ego + FAR
        for start, stop in ((ego, CROSSING[0] - 4), (CROSSING[1] + 4, far)):
            if stop <= ego:
                continue
            for kerb, wall in ((LEFT_KERB, LEFT_WALL - 0.2), (RIGHT_KERB, RIGHT_WALL + 0.2)):
                canvas.fill(along(kerb, 0, KERB, start, stop), (150, 150, 148), SIDEWALK)
                canvas.fill(across(kerb, wall, start, stop, KERB), (148, 158, 164), SIDEWALK)
                edge = kerb + 0.22 * np.sign(kerb)
                canvas.fill(across(kerb, edge, start, stop, KERB), (186, 190, 190), SIDEWALK)
                joints = np.arange(np.ceil(start), min(stop, ego + 45))
                if len(joints):
                    canvas.fill([across(edge, wall, z, z + 0.03, KERB) for z in joints], (118, 126, 130), SIDEWALK)
                for x in edge + np.sign(kerb) * np.array((1.1, 2.2)):
                    canvas.fill(across(x, x + 0.03, start, min(stop, ego + 45), KERB), (118, 126, 130), SIDEWALK)
        dashes = np.arange(np.floor(ego / 7.5) * 7.5, far, 7.5)
        dashes = dashes[(dashes < CROSSING[0] - 11) | (dashes > CROSSING[1] + 6)]
        canvas.fill([across(-1.78, -1.62, z, z + 3.2) for z in dashes], PAINT, ROAD)
        for start, stop in ((ego, CROSSING[0] - 9), (CROSSING[1] + 7, far)):
            for x in (LEFT_KERB + 2.3, RIGHT_KERB - 2.3):
                canvas.fill(across(x - 0.05, x + 0.05, start, stop), (206, 210, 212), ROAD)
        stripes = np.arange(LEFT_KERB + 0.3, RIGHT_KERB - 0.3, 1.0)
        for z in (CROSSING[0] - 5, CROSSING[1] + 2):
            canvas.fill([across(x, x + 0.5, z, z + 3) for x in stripes], PAINT, ROAD)
        canvas.fill(across(-1.6, RIGHT_KERB - 2.3, CROSSING[0] - 7.2, CROSSING[0] - 6.8), PAINT, ROAD)
        for x, z in ((0.5, 21.0), (-3.6, 33), (0.2, 47), (-3.2, 58)):
            angle = np.arange(20) * (2 * np.pi / 20)
            for size, color in ((0.36, (74, 72, 72)), (0.28, (92, 90, 90))):
                canvas.fill(np.stack((x + size * np.cos(angle), 0 * angle, z + size * np.sin(angle)), 1), color, ROAD)
        # Grain that moves with the road, and the shadow of the houses on the right.
        z = self._ground_z + np.float32(ego)
        grain = cv2.remap(self._grain, self._ground_x * 24, z * 24, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        light = 1 + grain * np.exp(-self._ground_z / 14)
        place = np.clip(4 * (z + 12), 0, len(self._shadow) - 1).astype(np.int32)
        light -= 0.34 * np.clip((self._ground_x - self._shadow[place]) / 0.25, 0, 1) * np.exp(-self._ground_z / 120)
        ground = canvas.image[first:]
        ground[:] = np.clip(ground * light[..., None], 0, 255)


def _sky(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Blue above, haze below, a sun on the right, clouds, and a town's skyline on the horizon."""
    v, u = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    height = np.clip(v / HORIZON, 0, 1)[..., None]
    sky = (1 - height) * np.array((206, 142, 84)) + height * np.array((228, 212, 190))
    puffs = np.zeros((HEIGHT, WIDTH), dtype=np.float32)
    for x, y, size in ((330, 120, 46), (560, 60, 62), (690, 215, 34), (1010, 120, 50), (120, 60, 50), (840, 40, 30)):
        for _ in range(40):
            dx = rng.normal(0, 1.3 * size)
            lift = rng.uniform(0, 1) * max(0.0, size - 0.35 * abs(dx))
            radius = int(size * rng.uniform(0.16, 0.4))
            cv2.circle(puffs, (int(x + dx), int(y - lift)), radius, 1.0, cv2.FILLED)
    puffs = cv2.GaussianBlur(puffs, (0, 0), 5)[..., None]
    shade = 252 - 40 * cv2.GaussianBlur(np.roll(puffs, -22, axis=0), (0, 0), 9)[..., None]
    sky = sky * (1 - 0.85 * puffs) + 0.85 * puffs * shade
    distance = np.hypot(u - 765, v - 62)[..., None]
    sky += (60, 80, 90) * np.exp(-distance / 60) + 255 * np.clip(24 - distance, 0, 1)
    picture = np.clip(sky, 0, 255).astype(np.uint8)
    x = 0
    while x < WIDTH:
        wide, high = int(rng.integers(20, 60)), int(rng.integers(8, 34))
        cv2.rectangle(picture, (x, int(HORIZON) - high), (x + wide, HEIGHT), (206, 190, 172), cv2.FILLED)
        x += wide
    return picture


def frames(count: int = 60, seed: int = 7) -> Iterator[Frame]:
    """The first `count` frames of the drive, `RATE` to a second."""
    street = Street(seed)
    for index in range(count):
        yield street.frame(index)


def main() -> None:
    """Write a sheet of four frames to the path given."""
    pictures = [frame.image for index, frame in enumerate(frames(60)) if index % 19 == 0]
    sheet = np.vstack([np.hstack(pictures[:2]), np.hstack(pictures[2:4])])
    cv2.imwrite(sys.argv[1], sheet)


if __name__ == "__main__":
    main()
