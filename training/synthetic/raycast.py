"""Rays against the world, by Embree: the one place where every sensor learns what it hits.

Embree computes in float32.  The scene is therefore held relative to the middle of the world, so that the coordinates of
a world of a kilometre resolve to 0.06 mm, and rays that leave a surface start a little above it (`lift`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.detail import CELLS, BodyShape, Level, corner_normals
from panoptic_training.synthetic.parts import Part
from panoptic_training.synthetic.scene import World

SKY = 23  # Cityscapes labelId of what rays hit that hit nothing
BLOCK = 1 << 16  # rays a query: what it returns stays in the processor's cache
KEPT_TIMES = 4  # of whose bodies the scene is kept
REST_SAMPLES = 32  # times at which a body must stand still to count as one that rests

# Where bodies are hidden from: metres from the ego vehicle on, and eyes' heights above it.
HIDDEN_FROM = 25.0
EYES = (1.4, 3.0)
# Places in a body's box (shares of its size, from its middle on the ground) of which one must be seen.
_SPOTS = np.array([[x, y, z] for x in (-0.45, 0.0, 0.45) for y in (-0.45, 0.45) for z in (0.3, 0.95)])


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


class Raycaster:
    """Rays against everything that stands and moves in a world.

    Parameters
    ----------
    world:
        What never moves, and bodies that rest all through the drive, become one scene now; the moving ones become one
        for each time that is asked for, of which the last few are kept.

    detail:
        Radians: shapes of moving bodies may lose what looks smaller than this from the ego vehicle.  The same for all
        sensors, so that they agree; two pixels of a camera are hardly seen.

    Threads may cast at one time together; times are to be changed by one thread alone.
    """

    def __init__(self, world: World, detail: float = 0.004) -> None:
        if detail < 0:
            raise ValueError(f"detail must be 0 or more radians, got {detail}")
        self.world, self.detail = world, detail
        vertices = world.static.vertices
        self.origin = (
            (vertices.min(axis=0).astype(np.float64) + vertices.max(axis=0)) / 2 if len(vertices) else np.zeros(3)
        )
        self._shapes: dict[int, BodyShape] = {}
        self._resting = {index: body.pose(0.0) for index, body in enumerate(world.bodies) if self._rests(index)}
        self._still = self._build_still()
        self._moving: dict[float, Part] = {}
        self._poses: dict[float, dict[int, NDArray[np.float64]]] = {}

    def forget(self) -> None:
        """Drop what was made for earlier times."""
        self._moving.clear()
        self._poses.clear()

    def _rests(self, index: int) -> bool:
        """Whether a body has the same pose and shape all through the drive, as far as samples tell."""
        body = self.world.bodies[index]
        if not body.instance:
            return False  # its colours change, maybe between the samples
        times = np.linspace(0, self.world.duration, REST_SAMPLES)
        pose = body.pose(0.0)
        if not all(np.array_equal(body.pose(float(time)), pose) for time in times):
            return False
        vertices = body.mesh(0.0).vertices
        return all(np.array_equal(body.mesh(float(time)).vertices, vertices) for time in times[1::10])

    def _placed(
        self, poses: dict[int, NDArray[np.float64]], times: Sequence[float], details: Sequence[float]
    ) -> list[tuple[NDArray[np.float32], Level]]:
        """Bodies at their poses, each with the limbs of its time and in its detail (metres)."""
        shapes = []
        for (index, pose), time, detail in zip(poses.items(), times, details, strict=True):
            if index not in self._shapes:
                self._shapes[index] = BodyShape(self.world.bodies[index], self.world.duration)
            vertices, level = self._shapes[index].shape(time, detail)
            placed = vertices @ pose[:3, :3].T + (pose[:3, 3] - self.origin)  # in float64, so that it rounds once
            shapes.append((placed.astype(np.float32), level))
        return shapes

    def _details(self, poses: dict[int, NDArray[np.float64]], time: float) -> list[float]:
        """Metres of shape that each body may lose: what looks small from the ego vehicle, and more if it is hidden."""
        if not poses or not self.detail:
            return [0.0] * len(poses)
        eye = self.world.ego_pose(time)[:3, 3]
        placed = np.stack(list(poses.values()))
        sizes = np.array([self.world.bodies[index].size for index in poses])
        away = np.maximum(np.linalg.norm(placed[:, :3, 3] - eye, axis=1) - sizes.max(axis=1) / 2, 0)
        details = away * self.detail
        far = np.flatnonzero(away > HIDDEN_FROM)
        if len(far) and self._still.count:
            points = (
                np.einsum("bij,bpj->bpi", placed[far, :3, :3], sizes[far, None] * _SPOTS) + placed[far, None, :3, 3]
            )
            seen = np.zeros(len(far), dtype=bool)
            for height in EYES:
                lifted = eye + np.array([0, 0, height])
                ways = points - lifted
                lengths = np.linalg.norm(ways, axis=2)
                starts = self._relative(lifted, ways.size // 3)
                directions = (ways / lengths[..., None]).reshape(-1, 3).astype(np.float32)
                reach = lengths.ravel().astype(np.float32)
                blocked = self._still.occluded(starts, directions, reach)
                seen |= ~blocked.reshape(len(far), -1).all(axis=1)
            details[far[~seen]] = np.maximum(details[far[~seen]], CELLS[-1])
        details[[not self.world.bodies[index].instance for index in poses]] = 0  # lamps are small, and seen from afar
        return list(details)

    def _instances(self, indices: Iterable[int]) -> list[int]:
        return [self.world.bodies[index].instance for index in indices]

    def _build(self, poses: dict[int, NDArray[np.float64]], times: Sequence[float], time: float) -> Part:
        shapes = self._placed(poses, times, self._details(poses, time))
        rotations = np.array([pose[:3, :3] for pose in poses.values()])
        return Part(shapes, list(poses), self._instances(poses), rotations)

    def _build_still(self) -> Part:
        """What never moves, and the bodies that rest, in all their detail."""
        static = self.world.static
        level = Level(
            faces=static.faces,
            classes=static.classes,
            materials=static.materials,
            colors=np.ascontiguousarray(static.colors.T),
            uvs=np.ascontiguousarray(static.uvs.reshape(-1, 6).T),
            smooth=lambda: corner_normals(static.vertices.T, static.faces.T),
        )
        ground = ((static.vertices - self.origin).astype(np.float32), level)
        resting = self._placed(self._resting, *[[0.0] * len(self._resting)] * 2)
        return Part([ground, *resting], [-1, *self._resting], [0, *self._instances(self._resting)])

    def movers(self, time: float) -> dict[int, NDArray[np.float64]]:
        """(4, 4) poses of the bodies that do not rest, by their index."""
        time = float(time)
        if time not in self._poses:
            poses = {index: body.pose(time) for index, body in enumerate(self.world.bodies)}
            left = [index for index, pose in self._resting.items() if not np.array_equal(poses[index], pose)]
            if left:  # it moves between the samples
                for index in left:
                    del self._resting[index]
                self._still = self._build_still()
                self._moving.clear()
                self._poses.clear()
            while len(self._poses) >= KEPT_TIMES:
                del self._poses[next(iter(self._poses))]
            self._poses[time] = {index: pose for index, pose in poses.items() if index not in self._resting}
        return self._poses[time]

    def moment(self, times: Mapping[int, float], time: float) -> Part:
        """Moving bodies, each at its own time, as `cast` takes them; the ego vehicle is where it is at `time`."""
        poses = {index: self.world.bodies[index].pose(own) for index, own in times.items()}
        return self._build(poses, list(times.values()), time)

    def parts(self, time: float, moving: Sequence[Part] | None = None) -> list[Part]:
        """What stands still, and what moves at this time, or `moving`; only those with any triangle."""
        time = float(time)
        if moving is None:
            poses = self.movers(time)
            if time not in self._moving:
                while len(self._moving) >= KEPT_TIMES:
                    del self._moving[next(iter(self._moving))]
                self._moving[time] = self._build(poses, [time] * len(poses), time)
            moving = [self._moving[time]]
        return [part for part in (self._still, *moving) if part.count]

    def cast(
        self,
        origins: NDArray[np.floating],
        directions: NDArray[np.floating],
        time: float,
        smooth: bool = False,
        max_distance: float = np.inf,
        moving: Sequence[Part] | None = None,
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
        moving:
            Moving bodies from `moment` instead of all at this time.
        """
        directions = np.ascontiguousarray(directions, dtype=np.float32)
        count = len(directions)
        origins = self._relative(origins, count)
        parts = self.parts(time, moving)
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
        parts: list[Part],
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
            answer = part.intersect(origins, directions, limit)
            hit = np.flatnonzero(answer["primID"] >= 0)
            limit = answer["tfar"]
            hit_any[hit] = True
            face = answer["primID"][hit].astype(np.intp)  # once: each look-up would convert it again
            where: slice | NDArray[np.intp] = block if len(hit) == len(origins) else hit + block.start
            hits.class_id[where] = part.classes[face]
            hits.material[where] = part.materials[face]
            hits.body[where], hits.instance[where] = part.owners(face)
            hits.face[where] = face + offset
            second, third = answer["u"][hit], answer["v"][hit]
            weights = (1 - second - third, second, third)
            for axis in range(3):
                hits.color.T[axis][where] = part.colors[axis].take(face)
            for axis in range(2):
                hits.uv.T[axis][where] = sum(
                    weight * part.uvs[2 * corner + axis].take(face) for corner, weight in enumerate(weights)
                )
            flat = part.normals(face)
            away = (flat * directions[hit].T).sum(axis=0) > 0
            side = np.where(away, np.float32(-1), np.float32(1))
            hits.normal.T[:, where] = flat * side
            hits.smooth.T[:, where] = (part.smooth_normals(face, flat, weights) if smooth else flat) * side
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
            left = np.flatnonzero(~result) if result.any() else None
            starts = origins if left is None else origins[left]
            along = directions if left is None or len(directions) == 1 else directions[left]
            reach = np.full(len(starts), min(max_distance, 1e30), dtype=np.float32)
            found = part.occluded(starts, along, reach)
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
    result: NDArray[np.float32] = origins + directions * distance[:, None] + hits.normal * above[:, None]
    return result
