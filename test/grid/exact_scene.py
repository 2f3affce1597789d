"""A scene whose every measurement has a closed form: a plane with a road, and upright boxes with a yaw.

Rays meet it analytically, in float64, so that lidar, image and depth are exact, and the truth from above comes from the
footprints, sampled 4x4 a cell as in the synthetic world's top views.  It stands apart from what it tests: it shares no
geometry with `panoptic_ros.grid`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

ROAD, SIDEWALK, BUILDING, POLE, VEGETATION, SKY, PERSON, CAR = 7, 8, 11, 17, 21, 23, 24, 26
"""Cityscapes' ids."""


@dataclass(frozen=True)
class Box:
    """An upright box: class id, instance (0 for stuff), centre x y, length, width, height in metres, yaw in radians."""

    class_id: int
    instance: int
    x: float
    y: float
    length: float
    width: float
    height: float
    yaw: float
    bottom: float = 0.0

    @property
    def id(self) -> int:
        return self.class_id * 1000 + self.instance

    def covers(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether places lie on its footprint."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        along, across = c * (x - self.x) + s * (y - self.y), c * (y - self.y) - s * (x - self.x)
        return (np.abs(along) <= self.length / 2) & (np.abs(across) <= self.width / 2)

    def distance(self, origin: NDArray[np.float64], rays: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) how far along each ray it is met; infinity where it is not (slabs, in the box's own axes)."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        to_box = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
        start = to_box @ (origin - [self.x, self.y, self.bottom + self.height / 2])
        heading = np.einsum("ij,nj->ni", to_box, rays)
        half = np.array([self.length, self.width, self.height]) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            one, other = (-half - start) / heading, (half - start) / heading
        near, far = np.minimum(one, other).max(axis=1), np.maximum(one, other).min(axis=1)
        return np.where((near <= far) & (near > 0), near, np.inf)


@dataclass(frozen=True)
class Scene:
    """Boxes on the ground, which is road up to `road` metres to both sides of y = 0, and sidewalk beyond.

    The road is z = 0, the sidewalk `kerb` metres higher; rays must begin above the road.
    """

    boxes: tuple[Box, ...]
    road: float = 5.0
    kerb: float = 0.0

    def cast(
        self, origin: NDArray[np.float64], rays: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """How far each ray goes and the id of what it meets: infinity and sky where nothing."""
        falls = rays[:, 2] < 0
        slope = np.where(falls, rays[:, 2], -1.0)
        on_road, on_sidewalk = -origin[2] / slope, (self.kerb - origin[2]) / slope
        with np.errstate(divide="ignore", invalid="ignore"):
            at_kerb = (np.sign(rays[:, 1]) * self.road - origin[1]) / rays[:, 1]
        over_sidewalk = np.abs(origin[1] + on_sidewalk * rays[:, 1]) >= self.road
        meets_road = np.abs(origin[1] + on_road * rays[:, 1]) < self.road
        # What comes down between the two meets the face of the kerb, which is of the sidewalk.
        distance = np.where(over_sidewalk, on_sidewalk, np.where(meets_road, on_road, at_kerb))
        distance[~falls] = np.inf
        ids = np.where(meets_road & ~over_sidewalk, ROAD * 1000, SIDEWALK * 1000)
        ids[~falls] = SKY * 1000
        length = np.sqrt(np.einsum("ij,ij->i", rays, rays))
        for box in self.boxes:
            # Only rays within the cone around the ball that holds the box.
            towards = np.array([box.x, box.y, box.bottom + box.height / 2]) - origin
            away, radius = np.linalg.norm(towards), np.linalg.norm([box.length, box.width, box.height]) / 2
            cosine = np.sqrt(1 - min(radius / away, 1.0) ** 2) if radius < away else -1.0
            near = np.flatnonzero(np.einsum("ij,j->i", rays, towards / away) >= cosine * length - 1e-9)
            met = box.distance(origin, rays[near])
            nearer = met < distance[near]
            distance[near[nearer]], ids[near[nearer]] = met[nearer], box.id
        return distance, ids.astype(np.int32)

    def ids_from_above(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.int32]:
        """The id of what stands, or else lies, at places."""
        ids = np.where(np.abs(y) < self.road, ROAD * 1000, SIDEWALK * 1000).astype(np.int32)
        for box in self.boxes:
            if box.bottom < 2.5:
                ids[box.covers(x, y)] = box.id
        return ids

    def truth(self, first: tuple[int, int], count: int, cell: float, samples: int = 4) -> NDArray[np.int32]:
        """(count, count) class ids of cells by row (y) and column (x), from cell `first` (x, y) on.

        What stands on any of a cell's samples is what the cell is; of several, the one with most.
        """
        step = cell / samples
        x = first[0] * cell + (np.arange(count * samples) + 0.5) * step
        y = first[1] * cell + (np.arange(count * samples) + 0.5) * step
        classes = self.ids_from_above(*np.meshgrid(x, y)) // 1000
        blocks = classes.reshape(count, samples, count, samples).transpose(0, 2, 1, 3).reshape(count, count, -1)
        obstacles = sorted({box.class_id for box in self.boxes})
        votes = np.stack([(blocks == value).sum(axis=2) for value in obstacles], axis=2)
        ground = np.where((blocks == ROAD).sum(axis=2) >= (blocks == SIDEWALK).sum(axis=2), ROAD, SIDEWALK)
        return np.where(votes.any(axis=2), np.array(obstacles)[votes.argmax(axis=2)], ground).astype(np.int32)


def turn(roll: float = 0.0, pitch: float = 0.0, yaw: float = 0.0) -> NDArray[np.float64]:
    """(3, 3) of angles in degrees about the fixed axes x, y, z in this order (REP 103)."""
    (cr, sr), (cp, sp), (cy, sy) = ((np.cos(a), np.sin(a)) for a in np.deg2rad([roll, pitch, yaw]))
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)


OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""An optical frame (z forward, x right, y down) in a frame with x forward, y left, z up."""


def lidar_rays(rings: int = 64, columns: int = 1500, low: float = -24.8, high: float = 2.0) -> NDArray[np.float64]:
    """(rings · columns, 3) unit vectors of a spinning lidar, ring by ring; elevations in degrees."""
    elevation = np.deg2rad(np.linspace(low, high, rings))[:, None]
    azimuth = np.linspace(-np.pi, np.pi, columns, endpoint=False)[None]
    rays = np.stack(
        np.broadcast_arrays(
            np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)
        ),
        -1,
    )
    return rays.reshape(-1, 3)


def pixel_rays(width: int, height: int, focal: float) -> NDArray[np.float64]:
    """(height · width, 3) rays through the pixels' middles with depth 1, in the optical frame."""
    v, u = np.mgrid[0:height, 0:width]
    x, y = (u - (width - 1) / 2) / focal, (v - (height - 1) / 2) / focal
    return np.stack([x, y, np.ones_like(x)], axis=-1).reshape(-1, 3)


def street(seed: int = 0, cars: int = 14, people: int = 16, kerb: float = 0.0) -> Scene:
    """A street: house fronts, parked and driving cars with all yaws, people on both sides, poles and trees.

    What has its middle beside the road stands `kerb` metres higher.
    """
    rng = np.random.default_rng(seed)
    boxes = []
    for side in (-1, 1):
        x = -42.0
        while x < 42:
            length, gap = rng.uniform(8, 16), rng.uniform(1, 5)
            boxes.append(
                Box(BUILDING, 0, x + length / 2, side * rng.uniform(13, 15), length, 6.0, rng.uniform(5, 12), 0.0)
            )
            x += length + gap
        for x in np.arange(-38, 40, rng.uniform(11, 14)):
            boxes.append(Box(POLE, 0, x + rng.uniform(-2, 2), side * 5.6, 0.2, 0.2, 5.0, 0.0))
            boxes.append(Box(VEGETATION, 0, x + 5 + rng.uniform(-1, 1), side * 8.5, 1.4, 1.4, 4.5, rng.uniform(0, 1.5)))
    taken: list[tuple[float, float]] = [(0.0, 0.0)]

    def place(low: tuple[float, float], high: tuple[float, float], apart: float) -> tuple[float, float]:
        for _ in range(1000):
            x, y = rng.uniform(low[0], high[0]), rng.choice([-1, 1]) * rng.uniform(low[1], high[1])
            if all(np.hypot(x - a, y - b) > apart for a, b in taken):
                taken.append((x, y))
                return x, y
        raise RuntimeError("the street is full")

    for instance in range(1, cars + 1):
        x, y = place((-32, 2.2), (32, 4.2), 5.2)
        boxes.append(Box(CAR, instance, x, y, rng.uniform(3.9, 4.8), rng.uniform(1.7, 1.9), 1.5, rng.normal(0, 0.25)))
    for instance in range(cars + 1, cars + people + 1):
        x, y = place((-25, 2.0), (25, 9.0), 2.4)
        boxes.append(Box(PERSON, instance, x, y, 0.5, 0.5, rng.uniform(1.6, 1.85), rng.uniform(0, 3)))
    road = Scene.road
    boxes = [replace(box, bottom=kerb) if abs(box.y) >= road else box for box in boxes]
    return Scene(tuple(boxes), road, kerb)
