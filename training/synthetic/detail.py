"""Bodies' shapes in as much detail as can be seen from where the sensors are.

A town has hundreds of bodies of thousands of triangles.  Far bodies therefore lose their vertices' neighbours: of all
vertices in one cell of a grid one stays, and triangles that collapse go.  They also hold their limbs for a while, so
that Embree need not build them anew for each time.
"""

from __future__ import annotations

import weakref
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.embree import Scene
from panoptic_training.synthetic.mesh import Mesh
from panoptic_training.synthetic.scene import Body, World
from panoptic_training.synthetic.tracing import CLASS, COLOR, COLUMNS, MATERIAL, NORMAL, UV

CREASE = 0.74  # cosine: surfaces that bend less than this towards their corners' mean normal are shaded smooth
CELLS = (0.0, 0.03, 0.06, 0.1, 0.15, 0.22, 0.32, 1.2)  # metres, of each level; 0 keeps everything
GAIT = 0.37  # seconds, after which limbs stand elsewhere
HOLD = (0.0, 0.0, 0.1, 0.2, 0.3, 0.5, 1.0, np.inf)  # seconds for which a body keeps its limbs, at each level
KEPT = 3  # solids, levels, and tables of a level, that a body keeps: sensors look at it at times close to each other
PEOPLE = (24, 25)  # Cityscapes labelIds of bodies that do not shine: their colours stay
# Shares of the drive at which bodies are looked at, until they show the triangles in question.
_EVENLY = np.concatenate([[0.0, 1.0], *(np.arange(1, 2**k, 2) / 2**k for k in range(1, 6))])


@dataclass(frozen=True, slots=True)
class Level:
    """Triangles over vertices that lie elsewhere.

    Attributes
    ----------
    faces:
        (F, 3) int32.
    table:
        (F, COLUMNS) float32, what is known about each, as `tracing` reads it; normals at the corners are those in the
        body's own frame, roughly.
    """

    faces: NDArray[np.int32]
    table: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Solid:
    """Triangles of one body in Embree's hands; `address` is that of the level's table."""

    scene: Scene
    vertices: NDArray[np.float32]
    level: Level
    address: int


class BodyShapes:
    """The shapes of a world's bodies, made when they are first looked at; `shapes_of` gives them to all who look."""

    def __init__(self, bodies: Sequence[Body], duration: float) -> None:
        self._bodies, self._duration = bodies, duration
        self._known: dict[int, BodyShape] = {}

    def __getitem__(self, index: int) -> BodyShape:
        if index not in self._known:
            self._known[index] = BodyShape(self._bodies[index], self._duration)
        return self._known[index]


_shapes: dict[int, BodyShapes] = {}


def shapes_of(world: World) -> BodyShapes:
    """The shapes of a world's bodies, the same for all sensors; they go when the world does."""
    if id(world) not in _shapes:
        _shapes[id(world)] = BodyShapes(world.bodies, world.duration)
        weakref.finalize(world, _shapes.pop, id(world), None)
    return _shapes[id(world)]


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
        self._solids: dict[tuple[int, float], Solid] = {}

    def solid(self, time: float, detail: float) -> Solid:
        """What `shape` says, as rays can meet it."""
        number = _level_of(detail)
        key = number, self._held_time(time, HOLD[number])
        known = self._solids.pop(key, None)
        if known is None or not self._looks_as(known, time, number):
            known = self._solid(known, *self.shape(time, detail))
        self._solids[key] = known
        while len(self._solids) > KEPT:
            del self._solids[next(iter(self._solids))]
        return known

    def _shines(self, time: float, number: int) -> bool:
        """Whether colours count while limbs are held; a body that holds them for ever is hidden, or a dot."""
        held = self._held_time(time, HOLD[number]) != time
        return held and bool(np.isfinite(HOLD[number])) and self._body.class_id not in PEOPLE

    def _looks_as(self, known: Solid, time: float, number: int) -> bool:
        """Whether a solid, made while limbs were held as now, has the colours of this time too."""
        if not self._shines(time, number):
            return True
        now = self._body.mesh(time)
        return self._make_of(now).level(now, number) is known.level

    def _solid(self, known: Solid | None, vertices: NDArray[np.float32], level: Level) -> Solid:
        """A new one, with what Embree has built already if the triangles lie as they did."""
        for one in (known, *self._solids.values()):
            if one is not None and one.level.faces is level.faces and np.array_equal(one.vertices, vertices):
                return Solid(one.scene, one.vertices, level, level.table.ctypes.data)
        scene = Scene.triangles([(vertices, level.faces)], quick=True)
        return Solid(scene, vertices, level, level.table.ctypes.data)

    def shape(self, time: float, detail: float) -> tuple[NDArray[np.float32], Level]:
        """(V, 3) float32 vertices in the body's frame and their triangles; steps of `detail` metres may be lost."""
        number = _level_of(detail)
        mesh = self._body.mesh(self._held_time(time, HOLD[number]))
        make = self._make_of(mesh)
        if self._shines(time, number):
            now = self._body.mesh(time)
            if self._make_of(now) is make:
                return make.vertices(mesh, number), make.level(now, number)
        return make.vertices(mesh, number), make.level(mesh, number)

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
        if not hold:
            return time
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
        self._levels: dict[int, list[tuple[Mesh, Level]]] = {}

    def vertices(self, mesh: Mesh, number: int) -> NDArray[np.float32]:
        """(V, 3) that a level keeps of a mesh."""
        return mesh.vertices[self._cut_of(number)[0]]

    def level(self, mesh: Mesh, number: int) -> Level:
        """The triangles of a level, with the colours of a mesh."""
        used, faces, kept = self._cut_of(number)
        known = self._levels[number] = self._levels.pop(number, [])
        while len(self._levels) > KEPT:  # bodies come and go: levels that they were seen in long ago may be made again
            oldest = next(iter(self._levels))
            del self._levels[oldest], self._cuts[oldest]
        for looks, level in known:
            if _looks_same(looks, mesh):
                return level
        normals = known[0][1].table[:, NORMAL:CLASS] if known else corner_normals(self._mesh.vertices[used], faces)
        level = Level(faces, table_of(mesh, normals, kept))
        known.append((mesh, level))
        del known[:-KEPT]
        return level

    def _cut_of(self, number: int) -> tuple[NDArray[np.intp], NDArray[np.int32], NDArray[np.intp]]:
        if number not in self._cuts:
            self._cuts[number] = self._cut(0.0 if self._other is None else CELLS[number])
        return self._cuts[number]

    def _cut(self, cell: float) -> tuple[NDArray[np.intp], NDArray[np.int32], NDArray[np.intp]]:
        """Vertices that stay, triangles over them, and which triangles these were."""
        mesh, count = self._mesh, len(self._mesh.vertices)
        if not cell or not count:
            return np.arange(count), mesh.faces, np.arange(len(mesh.faces))
        # Vertices that move apart, as those of two legs do, must not become one.
        same = self._other is not None and len(self._other) == count
        places = np.concatenate([mesh.vertices, self._other], axis=1) if same else mesh.vertices
        cells = np.floor(places / cell).astype(np.int32)
        first, group = _groups(cells)
        faces = group[mesh.faces].astype(np.int32)
        whole = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
        once, _ = _groups(np.sort(faces[whole], axis=1))
        kept = np.flatnonzero(whole)[np.sort(once)]
        return first, faces[kept], kept


def table_of(
    mesh: Mesh, normals: NDArray[np.float32], kept: NDArray[np.intp] | slice = slice(None)
) -> NDArray[np.float32]:
    """(F, COLUMNS) float32 of some triangles of a mesh, with (F, 9) normals at their corners."""
    table = np.empty((len(normals), COLUMNS), dtype=np.float32)
    table[:, COLOR:UV] = mesh.colors[kept]
    table[:, UV:NORMAL] = mesh.uvs[kept].reshape(-1, 6)
    table[:, NORMAL:CLASS] = normals
    table[:, CLASS], table[:, MATERIAL] = mesh.classes[kept], mesh.materials[kept]
    return table


def _level_of(detail: float) -> int:
    return bisect_right(CELLS, detail) - 1


def _looks_same(first: Mesh, second: Mesh) -> bool:
    """Whether two meshes of the same triangles have the same colours, materials, classes and texture coordinates."""
    pairs = ((getattr(first, name), getattr(second, name)) for name in ("materials", "colors", "classes", "uvs"))
    return all(one is other or np.array_equal(one, other) for one, other in pairs)


def _groups(rows: NDArray[np.int32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First of each group of equal rows (N, K), in the order of their values, and (N,) the group of each row."""
    order = np.lexsort(rows.T[::-1])
    starts = np.ones(len(rows), dtype=bool)
    starts[1:] = (rows[order[1:]] != rows[order[:-1]]).any(axis=1)
    group = np.empty(len(rows), dtype=np.intp)
    group[order] = np.cumsum(starts) - 1
    return order[starts], group


def corner_normals(vertices: NDArray[np.float32], faces: NDArray[np.int32]) -> NDArray[np.float32]:
    """(F, 9) normals at the corners of triangles, three by three; the triangle's own where the surface has an edge.

    Parameters
    ----------
    vertices, faces:
        (V, 3) and (F, 3).
    """
    corners = vertices.T[:, faces.T]  # (axis, corner, F)
    sides = np.roll(corners, -1, axis=1) - corners
    flat = np.stack([sides[i - 2, 0] * sides[i - 1, 1] - sides[i - 1, 0] * sides[i - 2, 1] for i in range(3)])
    flat /= np.maximum(np.sqrt((flat * flat).sum(axis=0)), np.float32(1e-12))
    sides /= np.maximum(np.sqrt((sides * sides).sum(axis=0)), np.float32(1e-12))
    # Weighted by the angle of each corner, so that it does not matter how a side is cut into triangles.
    angles = np.arccos(np.clip(-(sides * np.roll(sides, 1, axis=1)).sum(axis=0), -1, 1))
    index, count = faces.T.ravel(), len(vertices)
    means = np.stack([np.bincount(index, (angles * unit).ravel(), minlength=count) for unit in flat]).astype(np.float32)
    means /= np.maximum(np.sqrt((means * means).sum(axis=0)), np.float32(1e-12))
    table = means[:, faces.T]
    bends = (table * flat[:, None]).sum(axis=0) <= CREASE
    table = np.where(bends, flat[:, None], table)
    return np.ascontiguousarray(table.transpose(2, 1, 0).reshape(-1, 9))
