"""A small exact world, every measure of which is known: a plane, boxes on it, and an ego vehicle that drives an arc."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.mesh import Material, Mesh
from panoptic_training.synthetic.scene import Body, Weather

ROAD, BUILDING, POLE, PERSON, CAR, BICYCLE = 7, 11, 17, 24, 26, 33

CORNERS = np.array([[x, y, z] for z in (0.0, 1.0) for y in (-0.5, 0.5) for x in (-0.5, 0.5)])
QUADS = ((0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5))
"""The sides of a box, counter-clockwise seen from outside."""


def box(size: Sequence[float], class_id: int, color: tuple[float, float, float] = (0.5, 0.5, 0.5)) -> Mesh:
    """A closed box that stands on its origin."""
    faces = np.array([(a, *pair) for a, b, c, d in QUADS for pair in ((b, c), (c, d))])
    return Mesh.of(CORNERS * np.asarray(size), faces, class_id, Material.PLASTER, color)


def plane(side: float = 400.0, height: float = 0.0, class_id: int = ROAD) -> Mesh:
    """A level square around the origin, seen from above."""
    half = side / 2
    corners = np.array([[-half, -half, height], [half, -half, height], [half, half, height], [-half, half, height]])
    return Mesh.of(corners, np.array([[0, 1, 2], [0, 2, 3]]), class_id, Material.ASPHALT, (0.2, 0.2, 0.2))


def at(x: float, y: float, yaw: float = 0.0, z: float = 0.0) -> NDArray[np.float64]:
    """(4, 4) of a place and heading."""
    pose = np.eye(4)
    pose[:2, :2] = [[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]]
    pose[:3, 3] = x, y, z
    return pose


@dataclass
class BoxBody:
    """A thing that is a box; it goes straight on."""

    instance: int
    class_id: int
    size: tuple[float, float, float]
    start: NDArray[np.float64]
    speed: float = 0.0

    def pose(self, time: float) -> NDArray[np.float64]:
        pose = self.start.copy()
        pose[:3, 3] += self.velocity(time) * time
        return pose

    def velocity(self, time: float) -> NDArray[np.float64]:
        return self.start[:3, 0] * self.speed

    def mesh(self, time: float) -> Mesh:
        return box(self.size, self.class_id, (0.6, 0.1, 0.1))


@dataclass
class ChangingBody(BoxBody):
    """A thing whose triangles and colour are others at some times, as of bodies that lose detail and have lamps."""

    def mesh(self, time: float) -> Mesh:
        parts = [box(self.size, self.class_id, (0.6, time % 1, 0.1))]
        if int(time / 0.3) % 2:
            length, width, height = self.size
            parts.append(box((length / 2, width / 2, height * 0.2), self.class_id).moved(at(0.3 * time, 0, z=height)))
        return Mesh.join(parts)


@dataclass
class BoxWorld:
    """A plane with boxes; the ego vehicle starts at the origin along x and turns left steadily."""

    static: Mesh = field(default_factory=plane)
    bodies: Sequence[Body] = ()
    weather: Weather = field(default_factory=Weather)
    duration: float = 4.0
    speed: float = 5.0
    yaw_rate: float = 0.1

    def ego_pose(self, time: float) -> NDArray[np.float64]:
        if not self.yaw_rate:
            return at(self.speed * time, 0.0)
        yaw, radius = self.yaw_rate * time, self.speed / self.yaw_rate
        return at(radius * math.sin(yaw), radius * (1 - math.cos(yaw)), yaw)

    def ego_velocity(self, time: float) -> tuple[float, float]:
        return self.speed, self.yaw_rate


def street() -> BoxWorld:
    """A building and a pole beside the plane's road; a parked and a moving car, and a person behind the parked one."""
    building = box((20.0, 8.0, 12.0), BUILDING).moved(at(30.0, 12.0, 0.3))
    pole = box((0.2, 0.2, 4.0), POLE).moved(at(12.0, -4.0))
    bodies = (
        BoxBody(1, CAR, (4.0, 1.8, 1.5), at(14.0, -2.0, 0.4)),
        BoxBody(2, CAR, (4.4, 1.8, 1.5), at(22.0, 2.5, 0.1), speed=6.0),
        BoxBody(3, PERSON, (0.5, 0.6, 1.75), at(18.0, -2.6)),
        BoxBody(4, PERSON, (0.5, 0.6, 1.75), at(60.0, -6.0)),
    )
    return BoxWorld(Mesh.join([plane(), building, pole]), bodies)


def make_world(
    seed: int, duration: float, weather: Weather | None = None, density: float = 1.0, variation: float = 0.0
) -> BoxWorld:
    """As `panoptic_training.synthetic.city.make_world`: `street` with the parked car somewhere else for each seed."""
    world = street()
    rng = np.random.default_rng(seed)
    parked = BoxBody(1, CAR, (4.0, 1.8, 1.5), at(float(rng.uniform(12, 18)), -2.0, float(rng.uniform(0, 1))))
    changing = ChangingBody(9, CAR, (4.0, 1.8, 1.5), at(30.0, -1.5, 0.5), speed=3.0)
    world.bodies = (parked, *world.bodies[1:], changing)
    world.duration = duration
    world.weather = weather or Weather(sun_azimuth=float(rng.uniform(0, 6)))
    return world
