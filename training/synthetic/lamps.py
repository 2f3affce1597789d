"""Lamps that light a street after dark: those on poles, and the ego vehicle's own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.mesh import Material, Mesh
from panoptic_training.synthetic.scene import World

POLE = 17
HEIGHT = 3.2  # metres: what shines from higher lights the street
TILE = 6.0  # metres, of the table that says which lamps are near
NEAR = 3  # lamps that light a point
STRENGTH = 5.0
HEADLIGHT = 5.0


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
        self._corner, self._table = _nearest(self.positions)

    def light(self, points: NDArray[np.float32], normal: NDArray[np.float32], time: float) -> NDArray[np.float32]:
        """(3, N) light on surfaces at (N, 3) points with (3, N) normals."""
        total = np.zeros_like(normal)
        if len(self.positions):
            cell = ((points[:, :2] - self._corner) * np.float32(1 / TILE)).astype(np.int32)
            np.clip(cell, 0, np.array(self._table.shape[:2]) - 1, out=cell)
            for lamp in self._table[cell[:, 0], cell[:, 1]].T:
                way = (self.positions[lamp] - points).T
                square = (way * way).sum(axis=0) + np.float32(0.5)
                way /= np.sqrt(square)
                facing = np.maximum((way * normal).sum(axis=0) + np.float32(0.15), 0)
                down = np.clip(way[2] * 2 - np.float32(0.3), 0, 1)  # it shines downwards
                total += self.colors[:, lamp] * (facing * down * np.float32(STRENGTH * 10) / (square + 10))
        return total + self._headlights(points, normal, time)

    def _headlights(self, points: NDArray[np.float32], normal: NDArray[np.float32], time: float) -> NDArray[np.float32]:
        """(3, N) light of the ego vehicle's dipped beam."""
        pose = self._world.ego_pose(time)
        lamp = pose[:3, :3] @ [2.0, 0.0, 0.65] + pose[:3, 3]
        way = points.T - lamp.astype(np.float32)[:, None]
        square = (way * way).sum(axis=0) + np.float32(1.0)
        way /= np.sqrt(square)
        forward, left = pose[:3, 0].astype(np.float32), pose[:3, 1].astype(np.float32)
        ahead, aside = (forward[:, None] * way).sum(axis=0), (left[:, None] * way).sum(axis=0)
        beam = np.clip(ahead, 0, 1) ** 6 * np.exp(-((aside + np.float32(0.03)) ** 2) * 9)
        beam *= np.clip((np.float32(0.015) - way[2]) * 28, 0, 1) * np.float32(0.96) + np.float32(0.04)  # its upper edge
        facing = np.maximum(-(way * normal).sum(axis=0), 0) * np.float32(0.8) + np.float32(0.03)
        level = beam * facing * np.float32(HEADLIGHT * 60) / (square + 25)
        result: NDArray[np.float32] = np.array([[1.0], [0.93], [0.8]], dtype=np.float32) * level
        return result


def _find(mesh: Mesh) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(L, 3) places and (3, L) colours of the lamps."""
    shines = (mesh.materials == Material.LIGHT) | ((mesh.materials == Material.GLASS) & (mesh.classes == POLE))
    lit = np.flatnonzero(shines)
    middles = mesh.vertices[mesh.faces[lit]].mean(axis=1)
    # Pale lamps only: coloured ones are signals.
    pale = mesh.colors[lit].min(axis=1) > 0.3 * mesh.colors[lit].max(axis=1)
    high = (middles[:, 2] > HEIGHT) & pale
    lit, middles = lit[high], middles[high]
    if not len(lit):
        return np.zeros((0, 3), np.float32), np.zeros((3, 0), np.float32)
    _, group = np.unique(np.floor(middles / 1.5).astype(np.int32), axis=0, return_inverse=True)
    group = group.reshape(-1)
    counts = np.bincount(group)
    places = np.stack([np.bincount(group, middles[:, axis]) / counts for axis in range(3)], axis=1)
    colors = np.stack([np.bincount(group, mesh.colors[lit, axis]) / counts for axis in range(3)])
    colors /= np.maximum(colors.max(axis=0), 1e-6)
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
