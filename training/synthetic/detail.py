"""Bodies' shapes in as much detail as can be seen from where the sensors are.

A scene is built anew for each time, and a town has hundreds of bodies of thousands of triangles.  Far bodies therefore
lose their vertices' neighbours: of all vertices in one cell of a grid one stays, and triangles that collapse go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.mesh import Mesh
from panoptic_training.synthetic.scene import Body

CREASE = 0.74  # cosine: surfaces that bend less than this towards their corners' mean normal are shaded smooth
CELLS = (0.0, 0.03, 0.06, 0.1, 0.15, 0.22, 0.32, 1.2)  # metres, of each level; 0 keeps everything
GAIT = 0.37  # seconds, after which limbs stand elsewhere
HOLD = (0.0, 0.0, 0.0, 0.2, 0.2, 0.4, 0.4, np.inf)  # seconds for which a body keeps its limbs, at each level
# Shares of the drive at which bodies are looked at, until they show the triangles in question.
_EVENLY = np.concatenate([[0.0, 1.0], *(np.arange(1, 2**k, 2) / 2**k for k in range(1, 6))])


@dataclass(frozen=True, slots=True)
class Level:
    """Triangles over vertices that lie elsewhere; tables are (columns, F).

    `smooth` gives (9, F) normals at the corners in the body's own frame, roughly.
    """

    faces: NDArray[np.int32]
    classes: NDArray[np.uint8]
    materials: NDArray[np.uint8]
    colors: NDArray[np.float32]
    uvs: NDArray[np.float32]
    smooth: Callable[[], NDArray[np.float32]]


class BodyShape:
    """One body's shape over time.

    Its mesh may move its vertices and change colours and materials, as brake lights do, and may be another one when it
    is seen from afar.  How each is simplified is decided once, from the body at fixed times, so that what is hit at a
    time does not depend on the times that were asked for before.
    """

    def __init__(self, body: Body, duration: float) -> None:
        self._body, self._duration = body, duration
        self._makes: list[_Make] = []
        self._times = iter(duration * _EVENLY)
        self._held: tuple[float, Mesh] | None = None

    def shape(self, time: float, detail: float) -> tuple[NDArray[np.float32], Level]:
        """(V, 3) vertices in the body's frame and their triangles; steps of `detail` metres may be lost."""
        number = int(np.searchsorted(CELLS, detail, side="right")) - 1
        if HOLD[number]:
            time = self._held_time(time, HOLD[number])
            if self._held is None or self._held[0] != time:
                self._held = (time, self._body.mesh(time))
            mesh = self._held[1]
        else:
            mesh = self._body.mesh(time)
        return self._make_of(mesh).reduced(mesh, number)

    def _make_of(self, mesh: Mesh) -> _Make:
        found = self._find(mesh)
        while found is None:
            time = next(self._times, None)
            if time is None:  # at none of the fixed times it has these triangles: it shows them all
                found = _Make(mesh, None)
                self._makes.append(found)
            else:
                known = self._body.mesh(float(time))
                if self._find(known) is None:
                    self._makes.append(_Make(known, self._body.mesh(float(time) + GAIT).vertices))
                found = self._find(mesh)
        return found

    def _held_time(self, time: float, hold: float) -> float:
        if np.isinf(hold):
            return 0.0
        phase = self._body.instance * 0.61803399 % 1.0 * hold  # so that not all bodies move in the same frame
        return float(np.floor((time + phase) / hold) * hold - phase)

    def _find(self, mesh: Mesh) -> _Make | None:
        for make in self._makes:
            if make.faces is mesh.faces:
                return make
        return next((make for make in self._makes if np.array_equal(make.faces, mesh.faces)), None)


class _Make:
    """One set of triangles that a body may have, at every level of detail."""

    def __init__(self, mesh: Mesh, other: NDArray[np.float32] | None) -> None:
        """`other` are the vertices at another time; None keeps all levels whole."""
        self.faces = mesh.faces
        self._mesh, self._other = mesh, other
        self._cuts: dict[int, tuple[NDArray[np.intp], NDArray[np.int32], NDArray[np.intp]]] = {}
        self._levels: dict[int, tuple[Mesh, Level]] = {}
        self._smooth: dict[int, NDArray[np.float32]] = {}

    def reduced(self, mesh: Mesh, number: int) -> tuple[NDArray[np.float32], Level]:
        """The vertices that a level keeps of a mesh, and its triangles."""
        if number not in self._cuts:
            self._cuts[number] = self._cut(0.0 if self._other is None else CELLS[number])
        used, faces, kept = self._cuts[number]
        known = self._levels.get(number)
        same = known is not None and all(
            getattr(known[0], name) is getattr(mesh, name) for name in ("classes", "materials", "colors", "uvs")
        )
        if known is None or not same:
            level = Level(
                faces=faces,
                classes=mesh.classes[kept],
                materials=mesh.materials[kept],
                colors=np.ascontiguousarray(mesh.colors[kept].T),
                uvs=np.ascontiguousarray(mesh.uvs[kept].reshape(-1, 6).T),
                smooth=partial(self._corner_normals, number),
            )
            known = self._levels[number] = (mesh, level)
        return mesh.vertices[used], known[1]

    def _corner_normals(self, number: int) -> NDArray[np.float32]:
        if number not in self._smooth:
            used, faces, _ = self._cuts[number]
            self._smooth[number] = corner_normals(self._mesh.vertices[used].T, faces.T)
        return self._smooth[number]

    def _cut(self, cell: float) -> tuple[NDArray[np.intp], NDArray[np.int32], NDArray[np.intp]]:
        """Vertices that stay, triangles over them, and which triangles these were."""
        mesh, count = self._mesh, len(self._mesh.vertices)
        if not cell or not count:
            return np.arange(count), mesh.faces, np.arange(len(mesh.faces))
        # Vertices that move apart, as those of two legs do, must not become one.
        same = self._other is not None and len(self._other) == count
        places = np.concatenate([mesh.vertices, self._other], axis=1) if same else mesh.vertices
        cells = np.floor(places / cell).astype(np.int32)
        _, first, group = np.unique(cells, axis=0, return_index=True, return_inverse=True)
        faces = group.reshape(-1)[mesh.faces].astype(np.int32)
        whole = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
        _, once = np.unique(np.sort(faces[whole], axis=1), axis=0, return_index=True)
        kept = np.flatnonzero(whole)[np.sort(once)]
        return first, faces[kept], kept


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
