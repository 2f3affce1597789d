"""Triangles in Embree's hands, with what is known about each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray

from panoptic_training.synthetic.detail import Level, corner_normals

Index = NDArray[np.intp]
Columns = NDArray[np.float32]  # (columns, N): each column contiguous


class Part:
    """Triangles, each with its body, in one Embree scene.

    Parameters
    ----------
    shapes:
        (V, 3) float32 vertices in the scene's frame, and their triangles.
    bodies, instances:
        Of each shape: index of its body, -1 for none, and its instance.
    rotations:
        (bodies, 3, 3) from each shape's own frame to the scene's, by which the levels' own normals turn; None for
        shapes whose normals are computed here, once, since the part stays.
    """

    def __init__(
        self,
        shapes: Sequence[tuple[NDArray[np.float32], Level]],
        bodies: Sequence[int],
        instances: Sequence[int],
        rotations: NDArray[np.float64] | None = None,
    ) -> None:
        levels = [level for _, level in shapes]
        lengths = [len(level.classes) for level in levels]
        self.count = sum(lengths)
        self.scene: EmbreeScene | None = None
        if not self.count:
            return
        starts = np.cumsum([0, *(len(vertices) for vertices, _ in shapes[:-1])]).astype(np.int32)
        vertices = np.concatenate([vertices for vertices, _ in shapes])
        faces = np.concatenate([level.faces + start for level, start in zip(levels, starts, strict=True)])
        self._vertices = np.ascontiguousarray(vertices.T)
        self._faces = np.ascontiguousarray(faces.T)
        self._levels = levels
        self._shape = np.repeat(np.arange(len(shapes), dtype=np.int32), lengths)
        self._body = np.asarray(bodies, dtype=np.int32)
        self._instance = np.asarray(instances, dtype=np.int32)
        self._rotations = None if rotations is None else rotations.reshape(-1, 9).T.astype(np.float32)
        self.classes = np.concatenate([level.classes for level in levels])
        self.materials = np.concatenate([level.materials for level in levels])
        self.colors = np.concatenate([level.colors for level in levels], axis=1)
        self.uvs = np.concatenate([level.uvs for level in levels], axis=1)
        self._smooth: Columns | None = None
        self._flat: Columns | None = None
        self.scene = EmbreeScene(robust=True)  # robust: no ray slips between neighbouring triangles
        TriangleMesh(scene=self.scene, vertices=vertices, indices=faces)
        self.scene.run(np.zeros((1, 3), np.float32), np.array([[0, 0, 1]], np.float32))  # builds it now

    def intersect(
        self, origins: NDArray[np.float32], directions: NDArray[np.float32], limit: NDArray[np.float32]
    ) -> dict[str, NDArray[Any]]:
        """Embree's answer per ray: primID (-1 for a miss), u, v, and tfar, the distance, at most (N,) `limit`."""
        assert self.scene is not None
        answer: dict[str, NDArray[Any]] = self.scene.run(origins, directions, dists=limit.copy(), output=1)
        return answer

    def occluded(
        self, origins: NDArray[np.float32], directions: NDArray[np.float32], reach: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        """(N,) whether anything lies within (N,) `reach` metres along each ray."""
        assert self.scene is not None
        found: NDArray[np.int32] = self.scene.run(origins, directions, dists=reach, query="OCCLUDED")
        return found >= 0

    def owners(self, face: Index) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """(N,) body and instance of each triangle."""
        shape = self._shape[face]
        return self._body[shape], self._instance[shape]

    def normals(self, face: Index) -> Columns:
        """(3, N) unit normal of each triangle."""
        if self._rotations is None:  # it stays, and most rays meet it
            if self._flat is None:
                self._flat = self._normals(np.arange(self.count))
            return np.stack([column.take(face) for column in self._flat])
        return self._normals(face)

    def _normals(self, face: Index) -> Columns:
        corners = [self._vertices[:, self._faces[corner].take(face)] for corner in range(3)]
        first, second = corners[1] - corners[0], corners[2] - corners[0]
        normal = np.stack([first[i - 2] * second[i - 1] - first[i - 1] * second[i - 2] for i in range(3)])
        normal /= np.sqrt(np.maximum((normal * normal).sum(axis=0), np.float32(1e-20)))
        return normal

    def smooth_normals(self, face: Index, flat: Columns, weights: tuple[Columns, Columns, Columns]) -> Columns:
        """(3, N) unit normals interpolated with the corners' (N,) `weights`; `flat` (3, N) where the surface bends."""
        if self._smooth is None:
            if self._rotations is None:
                self._smooth = corner_normals(self._vertices, self._faces)
            else:
                self._smooth = np.concatenate([level.smooth() for level in self._levels], axis=1)
        mean = np.stack(
            [
                sum(weight * self._smooth[3 * k + axis].take(face) for k, weight in enumerate(weights))
                for axis in range(3)
            ]
        )
        if self._rotations is not None:
            shape = self._shape[face]
            turn = [column.take(shape) for column in self._rotations]
            mean = np.stack([sum(turn[3 * row + axis] * mean[axis] for axis in range(3)) for row in range(3)])
            # A wheel or a limb has turned against its body since: where that shows, the triangle's own normal it is.
            turned = (mean * flat).sum(axis=0) < np.float32(0.7) * np.sqrt((mean * mean).sum(axis=0))
            mean[:, turned] = flat[:, turned]
        mean /= np.sqrt(np.maximum((mean * mean).sum(axis=0), np.float32(1e-12)))
        return mean
