"""Bodies' shapes in as much detail as can be seen from where the sensors are.

A scene is built anew for each time, and a town has hundreds of bodies of thousands of triangles.  Far bodies therefore
lose their vertices' neighbours: of all vertices in one cell of a grid one stays, and triangles that collapse go.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.mesh import Mesh
from panoptic_training.synthetic.scene import Body

CREASE = 0.74  # cosine: surfaces that bend less than this towards their corners' mean normal are shaded smooth
CELLS = (0.0, 0.04, 0.08, 0.16, 0.3, 0.6)  # metres, of each level; 0 keeps everything
GAIT = 0.37  # seconds; a time at which limbs stand elsewhere than at 0
HOLD = (0.0, 0.0, 0.2, 0.4, 0.4, np.inf)  # seconds for which a body keeps its limbs, at each level


@dataclass(frozen=True, slots=True)
class Level:
    """A mesh without its vertices: which of the body's it has, and its triangles over them; tables are (columns, F)."""

    used: NDArray[np.int32]
    faces: NDArray[np.int32]
    classes: NDArray[np.uint8]
    materials: NDArray[np.uint8]
    colors: NDArray[np.float32]
    uvs: NDArray[np.float32]
    vertices: NDArray[np.float32] | None = None  # (V, 3) in its own frame at time 0, for `smooth`
    cache: list[NDArray[np.float32]] = field(default_factory=list)

    def smooth(self) -> NDArray[np.float32]:
        """(9, F) normals at the triangles' corners in its own frame, as at time 0."""
        if not self.cache:
            assert self.vertices is not None
            self.cache.append(corner_normals(self.vertices.T, self.faces.T))
        return self.cache[0]


class BodyShape:
    """One body's shape over time.

    Its mesh may move its vertices; if it has other triangles at another time, its levels are made anew.
    """

    def __init__(self, body: Body) -> None:
        self._body = body
        self._mesh = body.mesh(0.0)
        self._other = body.mesh(GAIT).vertices
        self._levels: dict[int, Level] = {}
        self._held: tuple[float, NDArray[np.float32]] | None = None

    def shape(self, time: float, detail: float) -> tuple[NDArray[np.float32], Level]:
        """(V, 3) vertices in the body's frame and their triangles; steps of `detail` metres may be lost."""
        number = int(np.searchsorted(CELLS, detail, side="right")) - 1
        if HOLD[number]:
            time = self._held_time(time, HOLD[number])
            if self._held is None or self._held[0] != time:
                self._held = (time, self._vertices(time))
            vertices = self._held[1]
        else:
            vertices = self._vertices(time)
        if number not in self._levels:
            self._levels[number] = self._simplified(CELLS[number])
        level = self._levels[number]
        return vertices[level.used], level

    def _held_time(self, time: float, hold: float) -> float:
        if np.isinf(hold):
            return 0.0
        phase = self._body.instance * 0.61803399 % 1.0 * hold  # so that not all bodies move in the same frame
        return float(np.floor((time + phase) / hold) * hold - phase)

    def _vertices(self, time: float) -> NDArray[np.float32]:
        mesh = self._body.mesh(time)
        if mesh.faces is not self._mesh.faces and not np.array_equal(mesh.faces, self._mesh.faces):
            self._mesh, self._other, self._levels, self._held = mesh, mesh.vertices, {}, None
        return mesh.vertices

    def _simplified(self, cell: float) -> Level:
        mesh = self._mesh
        count = len(mesh.vertices)
        if not cell or not count:
            used, faces, kept = np.arange(count, dtype=np.int32), mesh.faces, slice(None)
            return _level(mesh, used, faces, kept)
        # Vertices that move apart, as those of two legs do, must not become one.
        places = np.concatenate([mesh.vertices, self._other], axis=1) if len(self._other) == count else mesh.vertices
        _, first, group = np.unique(np.floor(places / cell).astype(np.int32), axis=0, return_index=True, return_inverse=True)
        faces = group.reshape(-1)[mesh.faces].astype(np.int32)
        whole = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
        _, once = np.unique(np.sort(faces[whole], axis=1), axis=0, return_index=True)
        kept = np.flatnonzero(whole)[np.sort(once)]
        return _level(mesh, first.astype(np.int32), faces[kept], kept)


def _level(mesh: Mesh, used: NDArray[np.int32], faces: NDArray[np.int32], kept: NDArray[np.intp] | slice) -> Level:
    return Level(
        used=used,
        faces=faces,
        classes=mesh.classes[kept],
        materials=mesh.materials[kept],
        colors=np.ascontiguousarray(mesh.colors[kept].T),
        uvs=np.ascontiguousarray(mesh.uvs[kept].reshape(-1, 6).T),
        vertices=mesh.vertices[used],
    )


def corner_normals(vertices: NDArray[np.float32], faces: NDArray[np.int32]) -> NDArray[np.float32]:
    """(9, F) normals at the corners of triangles, three by three; the triangle's own where the surface has an edge.

    Parameters
    ----------
    vertices, faces:
        (3, V) and (3, F).
    """
    corners = vertices[:, faces]  # (axis, corner, F)
    sides = np.roll(corners, -1, axis=1) - corners
    flat = np.stack([sides[i - 2, 0] * sides[i - 1, 1] - sides[i - 1, 0] * sides[i - 2, 1] for i in range(3)])
    flat /= np.maximum(np.sqrt((flat * flat).sum(axis=0)), np.float32(1e-12))
    sides /= np.maximum(np.sqrt((sides * sides).sum(axis=0)), np.float32(1e-12))
    # Weighted by the angle of each corner, so that it does not matter how a side is cut into triangles.
    angles = np.arccos(np.clip(-(sides * np.roll(sides, 1, axis=1)).sum(axis=0), -1, 1))
    index, count = faces.ravel(), vertices.shape[1]
    means = np.stack([np.bincount(index, (angles * unit).ravel(), minlength=count) for unit in flat]).astype(np.float32)
    means /= np.maximum(np.sqrt((means * means).sum(axis=0)), np.float32(1e-12))
    table = means[:, faces]
    bends = (table * flat[:, None]).sum(axis=0) <= CREASE
    table = np.where(bends, flat[:, None], table)
    return np.ascontiguousarray(table.transpose(1, 0, 2).reshape(9, -1))
