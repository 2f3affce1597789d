"""Rays against the world, by Embree: the one place where every sensor learns what it hits.

Embree computes in float32.  The scene is therefore held relative to the middle of the world, so that the coordinates of
a world of a kilometre resolve to 0.06 mm, and rays that leave a surface start a little above it (`lift`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.detail import CELLS, Solid, shapes_of
from panoptic_training.synthetic.mesh import Mesh
from panoptic_training.synthetic.moment import NOBODY, Moment, Standing
from panoptic_training.synthetic.scene import World
from panoptic_training.synthetic.tracing import Columns, blocked, first_hits, relative

SKY = 23  # Cityscapes labelId of what rays hit that hit nothing
KEPT_TIMES = 4  # of which the bodies' places are kept
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
        (N, 3) float32, interpolated over surfaces that are meant round, on the same side.
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

    @classmethod
    def blank(cls, count: int) -> Hits:
        """Of rays that hit nothing; (count,)."""
        return cls(
            distance=np.full(count, np.inf, dtype=np.float32),
            class_id=np.full(count, SKY, dtype=np.uint8),
            instance=np.zeros(count, dtype=np.int32),
            material=np.zeros(count, dtype=np.uint8),
            color=np.zeros((count, 3), dtype=np.float32),
            normal=np.zeros((count, 3), dtype=np.float32),
            smooth=np.zeros((count, 3), dtype=np.float32),
            uv=np.zeros((count, 2), dtype=np.float32),
            body=np.full(count, NOBODY, dtype=np.int32),
            face=np.full(count, -1, dtype=np.int32),
        )

    def __getitem__(self, chosen: slice | NDArray[np.intp]) -> Hits:
        """Some of them; a slice shares their memory."""
        columns = self.columns
        return Hits(**{name: getattr(columns, name)[chosen] for name in Columns._fields})

    @property
    def columns(self) -> Columns:
        """All attributes, as compiled loops take them."""
        return Columns(*(getattr(self, name) for name in self.__slots__))

    @property
    def ids(self) -> NDArray[np.int32]:
        """(N,) int32 panoptic ids: class * 1000 + instance."""
        return self.class_id.astype(np.int32) * 1000 + self.instance


class Raycaster:
    """Rays against everything that stands and moves in a world.

    Parameters
    ----------
    world:
        What never moves, and bodies that rest all through the drive, become one scene now; the moving ones are placed
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
        self._shapes = shapes_of(world)
        self._resting = {index: body.pose(0.0) for index, body in enumerate(world.bodies) if self._rests(index)}
        self._standing = self._stand()
        self._moments: dict[float, Moment] = {}
        self._poses: dict[float, dict[int, NDArray[np.float64]]] = {}

    def forget(self) -> None:
        """Drop what was made for earlier times."""
        self._moments.clear()
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
        first = body.mesh(0.0)
        return all(_same(body.mesh(float(time)), first) for time in times[1:])

    def _stand(self) -> Standing:
        """What never moves, and the bodies that rest, in all their detail."""
        own = self.world.static
        meshes = [_with(own, (own.vertices - self.origin).astype(np.float32))]
        for index, pose in self._resting.items():
            mesh = self.world.bodies[index].mesh(0.0)
            placed = mesh.vertices @ pose[:3, :3].T + (pose[:3, 3] - self.origin)  # in float64, so that it rounds once
            meshes.append(_with(mesh, placed.astype(np.float32)))
        return Standing(meshes, [NOBODY, *self._resting], [0, *self._instances(self._resting)])

    def _instances(self, indices: Mapping[int, object]) -> list[int]:
        return [self.world.bodies[index].instance for index in indices]

    def _details(self, poses: Mapping[int, NDArray[np.float64]], time: float) -> list[float]:
        """Metres of shape that each body may lose: what looks small from the ego vehicle, and more if it is hidden."""
        if not poses or not self.detail:
            return [0.0] * len(poses)
        eye = self.world.ego_pose(time)[:3, 3]
        placed = np.stack(list(poses.values()))
        sizes = np.array([self.world.bodies[index].size for index in poses])
        away = np.maximum(np.linalg.norm(placed[:, :3, 3] - eye, axis=1) - sizes.max(axis=1) / 2, 0)
        details = away * self.detail
        far = np.flatnonzero(away > HIDDEN_FROM)
        if len(far):
            points = (
                np.einsum("bij,bpj->bpi", placed[far, :3, :3], sizes[far, None] * _SPOTS) + placed[far, None, :3, 3]
            )
            seen = np.zeros(len(far), dtype=bool)
            for height in EYES:
                lifted = eye + np.array([0, 0, height])
                ways = points - lifted
                lengths = np.linalg.norm(ways, axis=2)
                directions = (ways / lengths[..., None]).reshape(-1, 3).astype(np.float32)
                reach = lengths.ravel().astype(np.float32)
                hidden = blocked(self._standing.scene.handle, self._relative(lifted), directions, reach, True)
                seen |= ~hidden.reshape(len(far), -1).all(axis=1)
            details[far[~seen]] = np.maximum(details[far[~seen]], CELLS[-1])
        details[[not self.world.bodies[index].instance for index in poses]] = 0  # lamps are small, and seen from afar
        return list(details)

    def solids(
        self, times: Mapping[int, float], poses: Mapping[int, NDArray[np.float64]], time: float
    ) -> dict[int, Solid]:
        """Bodies with the limbs and colours of their `times`, by their index.

        The detail of each is that in which it is seen at its (4, 4) pose from the ego vehicle, where that is at `time`.
        """
        details = zip(times.items(), self._details(poses, time), strict=True)
        return {index: self._shapes[index].solid(own, detail) for (index, own), detail in details}

    def place(self, solids: Mapping[int, Solid], poses: Mapping[int, NDArray[np.float64]]) -> Moment:
        """What stays, and bodies at their (4, 4) poses."""
        places = np.array([poses[index][:3] for index in solids]).reshape(-1, 3, 4)
        places[:, :, 3] -= self.origin
        return Moment(self._standing, list(solids.values()), list(solids), self._instances(solids), places)

    def movers(self, time: float) -> dict[int, NDArray[np.float64]]:
        """(4, 4) poses of the bodies that do not rest, by their index."""
        time = float(time)
        if time not in self._poses:
            poses = {index: body.pose(time) for index, body in enumerate(self.world.bodies)}
            left = [index for index, pose in self._resting.items() if not np.array_equal(poses[index], pose)]
            if left:  # it moves between the samples
                for index in left:
                    del self._resting[index]
                self._standing = self._stand()
                self.forget()
            while len(self._poses) >= KEPT_TIMES:
                del self._poses[next(iter(self._poses))]
            self._poses[time] = {index: pose for index, pose in poses.items() if index not in self._resting}
        return self._poses[time]

    def moment(self, time: float) -> Moment:
        """Everything at a time."""
        time = float(time)
        poses = self.movers(time)
        if time not in self._moments:
            while len(self._moments) >= KEPT_TIMES:
                del self._moments[next(iter(self._moments))]
            self._moments[time] = self.place(self.solids(dict.fromkeys(poses, time), poses, time), poses)
        return self._moments[time]

    def cast(
        self,
        origins: NDArray[np.floating],
        directions: NDArray[np.floating],
        time: float,
        max_distance: float = np.inf,
        moment: Moment | None = None,
        coherent: bool = True,
        into: Hits | None = None,
    ) -> Hits:
        """The first surface along each ray.

        Parameters
        ----------
        origins, directions:
            (N, 3), in the world's frame; directions of length 1.  One origin, (3,) or (1, 3), serves all rays.
        time:
            Seconds from the start of the drive.
        max_distance:
            Metres; what is farther is not hit.
        moment:
            From `place`, instead of everything at this time.
        coherent:
            Whether rays that follow each other are alike: those are faster together, others alone.
        into:
            Blank ones that are filled, instead of new ones.
        """
        moment = moment or self.moment(time)
        directions = np.ascontiguousarray(directions, dtype=np.float32)
        hits = Hits.blank(len(directions)) if into is None else into
        reach = np.array([max_distance], dtype=np.float32)
        starts = self._relative(origins)
        first_hits(moment.scene.handle, moment.shapes, starts, directions, reach, coherent, hits.columns)
        return hits

    def _relative(self, origins: NDArray[np.floating]) -> NDArray[np.float32]:
        """(N, 3) float32 origins relative to the scene's."""
        return np.asarray(relative(np.atleast_2d(origins), self.origin))

    def occluded(
        self,
        origins: NDArray[np.floating],
        directions: NDArray[np.floating],
        time: float,
        max_distance: float = np.inf,
        coherent: bool = True,
    ) -> NDArray[np.bool_]:
        """(N,) whether anything stands within `max_distance` metres along each ray; arguments as for `cast`."""
        reach = np.array([max_distance], dtype=np.float32)
        along = np.ascontiguousarray(directions, dtype=np.float32)
        found: NDArray[np.bool_] = blocked(
            self.moment(time).scene.handle, self._relative(origins), along, reach, coherent
        )
        return found


def _same(first: Mesh, second: Mesh) -> bool:
    """Whether two meshes of a body have the same triangles in the same places and colours."""
    names = ("vertices", "faces", "materials", "colors")
    pairs = ((getattr(first, name), getattr(second, name)) for name in names)
    return all(one is other or np.array_equal(one, other) for one, other in pairs)


def _with(mesh: Mesh, vertices: NDArray[np.float32]) -> Mesh:
    """The mesh with its vertices elsewhere."""
    return Mesh(vertices, mesh.faces, mesh.classes, mesh.materials, mesh.colors, mesh.uvs)


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
