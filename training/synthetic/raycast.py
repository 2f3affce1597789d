"""Rays against the world, by Embree: the one place where every sensor learns what it hits.

Embree computes in float32.  The scene is therefore held relative to the middle of the world, so that the coordinates of
a world of a kilometre resolve to 0.06 mm, and rays that leave a surface start a little above it (`lift`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray

from panoptic_training.synthetic.mesh import Mesh
from panoptic_training.synthetic.scene import World

SKY = 23  # Cityscapes labelId of what rays hit that hit nothing
BLOCK = 1 << 16  # rays a query: what it returns stays in the processor's cache
KEPT_TIMES = 4  # of whose bodies the scene is kept
REST_SAMPLES = 32  # times at which a body must stand still to count as one that rests
CREASE = 0.74  # cosine: surfaces that bend less than this towards their corners' mean normal are shaded smooth


@dataclass(frozen=True, slots=True)
class Hits:
    """What each of N rays hits first.

    Attributes
    ----------
    distance:
        (N,) float32 metres along the ray, infinite where it hits nothing.
    class_id:
        (N,) uint8, Cityscapes labelId; 23 (sky) where it hits nothing.
    instance:
        (N,) int32, 0 for stuff.
    material:
        (N,) uint8, `Material`.
    color:
        (N, 3) float32, linear R, G, B albedo.
    normal:
        (N, 3) float32, of the triangle, towards the ray's origin.
    smooth:
        (N, 3) float32, interpolated over surfaces that are meant round, on the same side; `normal` unless asked for.
    uv:
        (N, 2) float32, texture coordinates in metres.
    body:
        (N,) int32, index into the world's bodies, or -1.
    face:
        (N,) int32, a number of the triangle that is its own at this time, or -1.
    """

    distance: NDArray[np.float32]
    class_id: NDArray[np.uint8]
    instance: NDArray[np.int32]
    material: NDArray[np.uint8]
    color: NDArray[np.float32]
    normal: NDArray[np.float32]
    smooth: NDArray[np.float32]
    uv: NDArray[np.float32]
    body: NDArray[np.int32]
    face: NDArray[np.int32]

    @property
    def ids(self) -> NDArray[np.int32]:
        """(N,) int32 panoptic ids: class * 1000 + instance."""
        return self.class_id.astype(np.int32) * 1000 + self.instance


class _Part:
    """Triangles, each with its body, in one Embree scene; tables are (columns, F), so that a column is contiguous."""

    def __init__(
        self, meshes: list[Mesh], bodies: list[int], instances: list[int], origin: NDArray[np.float64]
    ) -> None:
        """`meshes` are in the world's frame, relative to `origin`."""
        mesh = Mesh.join(meshes)
        lengths = [len(part.faces) for part in meshes]
        self.count = len(mesh.faces)
        self.body = np.repeat(np.asarray(bodies, dtype=np.int32), lengths)
        self.instance = np.repeat(np.asarray(instances, dtype=np.int32), lengths)
        self.classes, self.materials = mesh.classes, mesh.materials
        corners = mesh.vertices[mesh.faces]
        first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        normals = np.cross(first, second)
        length = np.sqrt(np.einsum("ij,ij->i", normals, normals))
        unit = normals / np.maximum(length, np.float32(1e-12))[:, None]
        self.normals = np.ascontiguousarray(unit.T)
        self.colors = np.ascontiguousarray(mesh.colors.T)
        self.uvs = np.ascontiguousarray(mesh.uvs.reshape(-1, 6).T)
        self._vertices, self._faces = mesh.vertices, mesh.faces
        self._smooth: NDArray[np.float32] | None = None
        self.scene: EmbreeScene | None = None
        if self.count:
            self.scene = EmbreeScene(robust=True)  # robust: no ray slips between neighbouring triangles
            TriangleMesh(scene=self.scene, vertices=np.ascontiguousarray(mesh.vertices), indices=mesh.faces)
            self.scene.run(np.zeros((1, 3), np.float32), np.array([[0, 0, 1]], np.float32))  # builds it now

    @property
    def smooth(self) -> NDArray[np.float32]:
        """(9, F) float32: the normals at the corners, the face's own where the surface has an edge."""
        if self._smooth is None:
            corners = self._vertices[self._faces]  # (F, 3, 3)
            after = np.roll(corners, -1, axis=1) - corners
            after /= np.maximum(np.sqrt(np.einsum("fij,fij->fi", after, after)), np.float32(1e-12))[..., None]
            # Weighted by the angle of each corner, so that it does not matter how a side is cut into triangles.
            angles = np.arccos(np.clip(-np.einsum("fij,fij->fi", after, np.roll(after, 1, axis=1)), -1, 1))
            indices = self._faces.ravel()
            sums = [
                np.bincount(indices, (angles * unit[:, None]).ravel(), minlength=len(self._vertices))
                for unit in self.normals
            ]
            means = np.stack(sums, axis=1).astype(np.float32)
            means /= np.maximum(np.sqrt(np.einsum("ij,ij->i", means, means)), np.float32(1e-12))[:, None]
            table = means[self._faces]
            flat = self.normals.T[:, None, :]
            bend = np.einsum("fij,fkj->fi", table, flat)
            table = np.where(bend[..., None] > CREASE, table, flat)
            self._smooth = np.ascontiguousarray(table.reshape(-1, 9).T)
        return self._smooth

    def intersect(
        self, origins: NDArray[np.float32], directions: NDArray[np.float32], limit: NDArray[np.float32]
    ) -> dict[str, NDArray]:
        """Embree's answer per ray; `limit` (N,) float32 becomes the distances."""
        assert self.scene is not None
        return self.scene.run(origins, directions, dists=limit, output=1)


class Raycaster:
    """Rays against everything that stands and moves in a world.

    Parameters
    ----------
    world:
        What never moves, and bodies that rest all through the drive, become one scene now; the moving ones become one
        for each time that is asked for, of which the last few are kept.

    Threads may cast at one time together; times are to be changed by one thread alone.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        vertices = world.static.vertices
        self.origin = (
            (vertices.min(axis=0).astype(np.float64) + vertices.max(axis=0)) / 2 if len(vertices) else np.zeros(3)
        )
        self._resting = {index: body.pose(0.0) for index, body in enumerate(world.bodies) if self._rests(index)}
        self._still = self._build_still()
        self._moving: dict[float, _Part] = {}

    def _rests(self, index: int) -> bool:
        """Whether a body has the same pose and shape all through the drive, as far as samples tell."""
        body = self.world.bodies[index]
        times = np.linspace(0, self.world.duration, REST_SAMPLES)
        pose = body.pose(0.0)
        if not all(np.array_equal(body.pose(float(time)), pose) for time in times):
            return False
        vertices = body.mesh(0.0).vertices
        return all(np.array_equal(body.mesh(float(time)).vertices, vertices) for time in times[1::10])

    def _placed(self, index: int, time: float) -> Mesh:
        """A body's mesh, relative to the scene's origin; moved in float64, so that it rounds once."""
        body = self.world.bodies[index]
        mesh, pose = body.mesh(time), body.pose(time)
        vertices = mesh.vertices @ pose[:3, :3].T + (pose[:3, 3] - self.origin)
        return Mesh(vertices.astype(np.float32), mesh.faces, mesh.classes, mesh.materials, mesh.colors, mesh.uvs)

    def _part(self, indices: list[int], time: float, first: list[Mesh]) -> _Part:
        meshes = [*first, *(self._placed(index, time) for index in indices)]
        instances = [self.world.bodies[index].instance for index in indices]
        return _Part(meshes, [-1] * len(first) + indices, [0] * len(first) + instances, self.origin)

    def _build_still(self) -> _Part:
        static = self.world.static
        moved = Mesh(
            (static.vertices - self.origin).astype(np.float32),
            static.faces,
            static.classes,
            static.materials,
            static.colors,
            static.uvs,
        )
        return self._part(list(self._resting), 0.0, [moved])

    def movers(self, time: float) -> list[int]:
        """Indices of the bodies that do not rest."""
        self.parts(time)
        return [index for index in range(len(self.world.bodies)) if index not in self._resting]

    def parts(self, time: float, movers: Sequence[int] | None = None) -> list[_Part]:
        """What stands still, and what moves at this time, of `movers` alone if given; only those with any triangle."""
        time = float(time)
        if movers is not None:
            return [part for part in (self._still, self._part(list(movers), time, [])) if part.count]
        if time not in self._moving:
            poses = {index: self.world.bodies[index].pose(time) for index in self._resting}
            left = [index for index, pose in poses.items() if not np.array_equal(pose, self._resting[index])]
            if left:  # it moves between the samples
                for index in left:
                    del self._resting[index]
                self._still = self._build_still()
                self._moving.clear()
            while len(self._moving) >= KEPT_TIMES:
                del self._moving[next(iter(self._moving))]
            movers = [index for index in range(len(self.world.bodies)) if index not in self._resting]
            self._moving[time] = self._part(movers, time, [])
        return [part for part in (self._still, self._moving[time]) if part.count]

    def cast(
        self,
        origins: NDArray[np.floating],
        directions: NDArray[np.floating],
        time: float,
        smooth: bool = False,
        max_distance: float = np.inf,
        movers: Sequence[int] | None = None,
    ) -> Hits:
        """The first surface along each ray.

        Parameters
        ----------
        origins, directions:
            (N, 3), in the world's frame; directions of length 1.  One origin, (3,) or (1, 3), serves all rays.
        time:
            Seconds from the start of the drive.
        smooth:
            Also interpolate normals over round surfaces.
        max_distance:
            Metres; what is farther is not hit.
        movers:
            Indices of the only moving bodies that these rays can meet, where the caller knows; all if None.
        """
        directions = np.ascontiguousarray(directions, dtype=np.float32)
        count = len(directions)
        origins = self._relative(origins, count)
        parts = self.parts(time, movers)
        distance = np.empty(count, dtype=np.float32)
        hits = Hits(
            distance=distance,
            class_id=np.full(count, SKY, dtype=np.uint8),
            instance=np.zeros(count, dtype=np.int32),
            material=np.zeros(count, dtype=np.uint8),
            color=np.zeros((3, count), dtype=np.float32).T,
            normal=np.zeros((3, count), dtype=np.float32).T,
            smooth=np.zeros((3, count), dtype=np.float32).T,
            uv=np.zeros((2, count), dtype=np.float32).T,
            body=np.full(count, -1, dtype=np.int32),
            face=np.full(count, -1, dtype=np.int32),
        )
        for start in range(0, count, BLOCK):
            block = slice(start, min(start + BLOCK, count))
            self._cast_block(parts, origins[block], directions[block], hits, block, smooth, max_distance)
        return hits

    def _relative(self, origins: NDArray[np.floating], count: int) -> NDArray[np.float32]:
        """(N, 3) float32 origins relative to the scene's."""
        relative = (np.asarray(origins) - self.origin).astype(np.float32)
        return np.ascontiguousarray(np.broadcast_to(relative, (count, 3)))

    def _cast_block(
        self,
        parts: list[_Part],
        origins: NDArray[np.float32],
        directions: NDArray[np.float32],
        hits: Hits,
        block: slice,
        smooth: bool,
        max_distance: float,
    ) -> None:
        limit = np.full(len(origins), min(max_distance, 1e30), dtype=np.float32)
        hit_any = np.zeros(len(origins), dtype=bool)
        offset = 0
        for part in parts:
            answer = part.intersect(origins, directions, limit.copy())
            hit = np.flatnonzero(answer["primID"] >= 0)
            limit = answer["tfar"]
            hit_any[hit] = True
            face = answer["primID"][hit].astype(np.intp)  # once: each look-up would convert it again
            every = len(hit) == len(origins)
            where: slice | NDArray[np.intp] = block if every else hit + block.start
            hits.class_id[where] = part.classes[face]
            hits.instance[where] = part.instance[face]
            hits.material[where] = part.materials[face]
            hits.body[where] = part.body[face]
            hits.face[where] = face + offset
            second, third = answer["u"][hit], answer["v"][hit]
            first = 1 - second - third
            for axis in range(3):
                hits.color.T[axis][where] = part.colors[axis].take(face)
            for axis in range(2):
                corners = [part.uvs[2 * corner + axis].take(face) for corner in range(3)]
                hits.uv.T[axis][where] = first * corners[0] + second * corners[1] + third * corners[2]
            normal = [part.normals[axis].take(face) for axis in range(3)]
            toward = sum(normal[axis] * directions[hit, axis] for axis in range(3))
            side = np.where(toward > 0, np.float32(-1), np.float32(1))
            for axis in range(3):
                hits.normal.T[axis][where] = normal[axis] * side
            if smooth:
                table = part.smooth
                mean = [
                    first * table[axis].take(face)
                    + second * table[3 + axis].take(face)
                    + third * table[6 + axis].take(face)
                    for axis in range(3)
                ]
                scale = side / np.sqrt(np.maximum(sum(value * value for value in mean), np.float32(1e-12)))
                for axis in range(3):
                    hits.smooth.T[axis][where] = mean[axis] * scale
            else:
                for axis in range(3):
                    hits.smooth.T[axis][where] = normal[axis] * side
            offset += part.count
        hits.distance[block] = np.where(hit_any, limit, np.float32(np.inf))

    def occluded(
        self,
        origins: NDArray[np.floating],
        directions: NDArray[np.floating],
        time: float,
        max_distance: float = np.inf,
    ) -> NDArray[np.bool_]:
        """(N,) whether anything stands within `max_distance` metres along each ray; arguments as for `cast`."""
        directions = np.ascontiguousarray(directions, dtype=np.float32)
        count = max(len(directions), len(np.atleast_2d(origins)))
        origins = self._relative(origins, count)
        result = np.zeros(count, dtype=bool)
        for part in self.parts(time):
            assert part.scene is not None
            left = np.flatnonzero(~result) if result.any() else None
            starts = origins if left is None else origins[left]
            along = directions if left is None or len(directions) == 1 else directions[left]
            reach = np.full(len(starts), min(max_distance, 1e30), dtype=np.float32)
            found = part.scene.run(starts, along, dists=reach, query="OCCLUDED") >= 0
            if left is None:
                result = found
            else:
                result[left] = found
        return result


def lift(
    origins: NDArray[np.float32], directions: NDArray[np.float32], hits: Hits, height: float = 0.003
) -> NDArray[np.float32]:
    """(N, 3) float32 points where rays hit, a little above the surface, to start other rays from.

    The height grows with the distance, since what it must exceed, the rounding of the hit, does too.
    """
    distance = np.where(np.isfinite(hits.distance), hits.distance, np.float32(0))
    above = height + distance * np.float32(1e-4)
    return origins + directions * distance[:, None] + hits.normal * above[:, None]
