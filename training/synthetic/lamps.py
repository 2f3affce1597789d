"""Lamps that light a street after dark: those on poles, and the ego vehicle's own."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.compiled import inlined
from panoptic_training.synthetic.mesh import Material, Mesh
from panoptic_training.synthetic.scene import World

POLE = 17
HEIGHT = 3.2  # metres: what shines from higher lights the street
TILE = 6.0  # metres, of the table that says which lamps are near
NEAR = 3  # lamps that light a point
STRENGTH = 5.0
HEADLIGHT = 5.0


class LampTables(NamedTuple):
    """The lamps of a world at a time, for `lamplight`.

    Attributes
    ----------
    positions, colors:
        (L, 3) of the lamps.
    corner, nearest:
        (2,) lower corner of a table of tiles of `TILE` metres, and (X, Y, K) the lamps nearest to each.
    eye, forward, left:
        (3,) place of the ego vehicle's headlight, and the vehicle's axes.
    """

    positions: NDArray[np.float32]
    colors: NDArray[np.float32]
    corner: NDArray[np.float32]
    nearest: NDArray[np.int32]
    eye: NDArray[np.float32]
    forward: NDArray[np.float32]
    left: NDArray[np.float32]


class Lamps:
    """Light of lamps at any point, without shadows.

    Parameters
    ----------
    world:
        Whose luminous triangles, and glass on poles, are the lamps; those close to each other are one.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.positions, self.colors = _find(world.static)
        self._corner, self._nearest = _nearest(self.positions)

    def tables(self, time: float) -> LampTables:
        """What `lamplight` needs at a time."""
        pose = self._world.ego_pose(time)
        eye = pose[:3, :3] @ [2.0, 0.0, 0.65] + pose[:3, 3]
        forward, left = (np.ascontiguousarray(pose[:3, axis], dtype=np.float32) for axis in (0, 1))
        return LampTables(
            self.positions, self.colors, self._corner, self._nearest, eye.astype(np.float32), forward, left
        )


@inlined
def lamplight(lamps: Any, point: Any, normal: Any) -> Any:
    """Red, green and blue light on a surface at a point, of the lamps near it and of the vehicle's dipped beam."""
    red, green, blue = np.float32(0), np.float32(0), np.float32(0)
    across = min(max(int((point[0] - lamps.corner[0]) / TILE), 0), lamps.nearest.shape[0] - 1)
    along = min(max(int((point[1] - lamps.corner[1]) / TILE), 0), lamps.nearest.shape[1] - 1)
    for lamp in lamps.nearest[across, along]:
        x, y, z = (
            lamps.positions[lamp, 0] - point[0],
            lamps.positions[lamp, 1] - point[1],
            lamps.positions[lamp, 2] - point[2],
        )
        square = x * x + y * y + z * z + np.float32(0.5)
        length = np.sqrt(square)
        facing = max((x * normal[0] + y * normal[1] + z * normal[2]) / length + np.float32(0.15), np.float32(0))
        down = min(max(z / length * 2 - np.float32(0.3), np.float32(0)), np.float32(1))  # it shines downwards
        level = facing * down * np.float32(STRENGTH * 10) / (square + 10)
        red += lamps.colors[lamp, 0] * level
        green += lamps.colors[lamp, 1] * level
        blue += lamps.colors[lamp, 2] * level
    level = _headlight(lamps, point, normal)
    return red + level, green + np.float32(0.93) * level, blue + np.float32(0.8) * level


@inlined
def _headlight(lamps: Any, point: Any, normal: Any) -> Any:
    """How much light of the ego vehicle's dipped beam falls on a surface."""
    x, y, z = point[0] - lamps.eye[0], point[1] - lamps.eye[1], point[2] - lamps.eye[2]
    square = x * x + y * y + z * z + np.float32(1)
    length = np.sqrt(square)
    x, y, z = x / length, y / length, z / length
    ahead = lamps.forward[0] * x + lamps.forward[1] * y + lamps.forward[2] * z
    aside = lamps.left[0] * x + lamps.left[1] * y + lamps.left[2] * z + np.float32(0.03)
    beam = min(max(ahead, np.float32(0)), np.float32(1)) ** 6 * np.exp(-aside * aside * np.float32(9))
    upper = min(max((np.float32(0.015) - z) * np.float32(28), np.float32(0)), np.float32(1))  # the beam's upper edge
    facing = max(-(x * normal[0] + y * normal[1] + z * normal[2]), np.float32(0)) * np.float32(0.8) + np.float32(0.03)
    level = np.float32(HEADLIGHT * 60) / (square + 25)
    return beam * (upper * np.float32(0.96) + np.float32(0.04)) * facing * level


def _find(mesh: Mesh) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(L, 3) places and (L, 3) colours of the lamps."""
    shines = (mesh.materials == Material.LIGHT) | ((mesh.materials == Material.GLASS) & (mesh.classes == POLE))
    lit = np.flatnonzero(shines)
    middles = mesh.vertices[mesh.faces[lit]].mean(axis=1)
    # Pale lamps only: coloured ones are signals.
    pale = mesh.colors[lit].min(axis=1) > 0.3 * mesh.colors[lit].max(axis=1)
    high = (middles[:, 2] > HEIGHT) & pale
    lit, middles = lit[high], middles[high]
    if not len(lit):
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32)
    _, group = np.unique(np.floor(middles / 1.5).astype(np.int32), axis=0, return_inverse=True)
    group = group.reshape(-1)
    counts = np.bincount(group)
    places = np.stack([np.bincount(group, middles[:, axis]) / counts for axis in range(3)], axis=1)
    colors = np.stack([np.bincount(group, mesh.colors[lit, axis]) / counts for axis in range(3)], axis=1)
    colors /= np.maximum(colors.max(axis=1, keepdims=True), 1e-6)
    return places.astype(np.float32), colors.astype(np.float32)


def _nearest(positions: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Lower corner of a table of tiles, and (X, Y, K) the lamps nearest to each tile's middle."""
    if not len(positions):
        return np.zeros(2, np.float32), np.zeros((1, 1, 0), np.int32)
    corner = positions[:, :2].min(axis=0) - 30
    size = np.ceil((positions[:, :2].max(axis=0) + 30 - corner) / TILE).astype(int)
    kept = min(NEAR, len(positions))
    table = np.zeros((*size, kept), dtype=np.int32)
    for row in range(size[0]):
        middles = corner + (np.stack([np.full(size[1], row), np.arange(size[1])], axis=1) + 0.5) * TILE
        square = ((middles[:, None] - positions[None, :, :2]) ** 2).sum(axis=2)
        table[row] = np.argpartition(square, kept - 1, axis=1)[:, :kept]
    return corner.astype(np.float32), table
