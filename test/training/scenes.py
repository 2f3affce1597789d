"""Small worlds whose sensor readings are known in closed form."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.mesh import Material, Mesh
from panoptic_training.synthetic.scene import Weather

ROAD, BUILDING, CAR, PERSON = 7, 11, 26, 24


class SmallWorld:
    """A world of given triangles and bodies, with a vehicle that stands at its origin."""

    def __init__(self, static: Mesh, bodies: Sequence[MovingBox] = (), weather: Weather | None = None) -> None:
        self.static, self.bodies, self.weather, self.duration = static, list(bodies), weather or Weather(), 10.0

    def ego_pose(self, time: float) -> NDArray[np.float64]:
        return np.eye(4)

    def ego_velocity(self, time: float) -> tuple[float, float]:
        return 0.0, 0.0


class MovingBox:
    """A box on the ground that moves at a constant velocity."""

    def __init__(
        self,
        instance: int,
        start: tuple[float, float],
        size: tuple[float, float, float] = (4.0, 2.0, 1.5),
        velocity: tuple[float, float] = (0.0, 0.0),
        yaw: float = 0.0,
        class_id: int = CAR,
    ) -> None:
        self.instance, self.class_id, self.size = instance, class_id, size
        self._start, self._velocity, self._yaw = start, velocity, yaw
        self._mesh = box(size, (0, 0, 0), class_id, color=(0.5, 0.1, 0.1))

    def pose(self, time: float) -> NDArray[np.float64]:
        pose = np.eye(4)
        pose[:2, :2] = [[np.cos(self._yaw), -np.sin(self._yaw)], [np.sin(self._yaw), np.cos(self._yaw)]]
        pose[:2, 3] = np.add(self._start, np.multiply(self._velocity, time))
        return pose

    def velocity(self, time: float) -> NDArray[np.float64]:
        return np.array([*self._velocity, 0.0])

    def mesh(self, time: float) -> Mesh:
        return self._mesh


def box(
    size: tuple[float, float, float],
    at: tuple[float, float, float],
    class_id: int,
    material: Material = Material.PLASTER,
    color: tuple[float, float, float] = (0.5, 0.5, 0.5),
) -> Mesh:
    """A box that stands on `at`."""
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (0, 1)]) * size + at
    faces = [
        [0, 1, 3],
        [0, 3, 2],
        [4, 6, 7],
        [4, 7, 5],
        [0, 4, 5],
        [0, 5, 1],
        [2, 3, 7],
        [2, 7, 6],
        [0, 2, 6],
        [0, 6, 4],
    ]
    return Mesh.of(corners, np.array([*faces, [1, 5, 7], [1, 7, 3]]), class_id, material, color)


def ground(half: float = 500.0, height: float = 0.0, center: tuple[float, float] = (0.0, 0.0)) -> Mesh:
    """A square of road, of two triangles."""
    x, y = center
    corners = [
        [x - half, y - half, height],
        [x + half, y - half, height],
        [x + half, y + half, height],
        [x - half, y + half, height],
    ]
    return Mesh.of(np.array(corners), np.array([[0, 1, 2], [0, 2, 3]]), ROAD, Material.ASPHALT, (0.1, 0.1, 0.1))


def sphere(center: tuple[float, float, float], radius: float, steps: int = 200) -> Mesh:
    """A sphere of `steps` by `2 * steps` patches, at most radius * (1 - cos(pi / steps)) below the true one."""
    polar, around = np.linspace(0, np.pi, steps + 1), np.linspace(0, 2 * np.pi, 2 * steps, endpoint=False)
    p, a = np.meshgrid(polar, around, indexing="ij")
    points = np.stack([np.sin(p) * np.cos(a), np.sin(p) * np.sin(a), np.cos(p)], axis=2).reshape(-1, 3)
    row, column = np.meshgrid(np.arange(steps), np.arange(2 * steps), indexing="ij")
    here, beside = row * 2 * steps + column, row * 2 * steps + (column + 1) % (2 * steps)
    below, across = here + 2 * steps, beside + 2 * steps
    faces = np.concatenate(
        [np.stack([here, below, across], -1).reshape(-1, 3), np.stack([here, across, beside], -1).reshape(-1, 3)]
    )
    return Mesh.of(points * radius + center, faces, BUILDING, Material.PLASTER, (0.5, 0.5, 0.5))
