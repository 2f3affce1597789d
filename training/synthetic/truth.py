"""The truth about things: where they are, how they move, and how much of each a camera sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.segmentation import INSTANCE_DIVISOR
from panoptic_training.synthetic.camera import Intrinsics
from panoptic_training.synthetic.detail import shapes_of
from panoptic_training.synthetic.mesh import Mesh
from panoptic_training.synthetic.scene import Body, Weather, World
from panoptic_training.synthetic.tracing import blocked, turned

NEAR = 0.05  # metres before the camera; what is nearer cannot be projected
DETAIL = 0.5  # pixels: what looks smaller does not count when a thing is looked at alone
RAYS_ALONE = 4096  # at most, to count the pixels of one thing; it is then counted on a coarser lattice of pixels


@dataclass(frozen=True, slots=True, eq=False)
class ObjectTruth:
    """One thing at one moment.

    Attributes
    ----------
    instance, class_id:
        As of its body; the id of its pixels is ``class_id * 1000 + instance``.
    pose:
        (4, 4) float64 from its own frame (origin on the ground below its middle, x forward) to the world.
    size:
        Length, width, height of its box, metres.
    velocity:
        (3,) float64 metres per second in the world.
    """

    instance: int
    class_id: int
    pose: NDArray[np.float64]
    size: tuple[float, float, float]
    velocity: NDArray[np.float64]

    @property
    def id(self) -> int:
        return self.class_id * INSTANCE_DIVISOR + self.instance

    @property
    def center(self) -> NDArray[np.float64]:
        """(3,) middle of its box in the world."""
        middle: NDArray[np.float64] = self.pose[:3, 3] + self.pose[:3, 2] * (self.size[2] / 2)
        return middle

    @property
    def corners(self) -> NDArray[np.float64]:
        """(8, 3) of its box in the world; the first four on the ground, counter-clockwise from the front left."""
        length, width, height = self.size
        ground = np.array([[1, 1, 0], [-1, 1, 0], [-1, -1, 0], [1, -1, 0]]) * (length / 2, width / 2, 0)
        own = np.concatenate([ground, ground + np.array([0, 0, height])])
        world: NDArray[np.float64] = own @ self.pose[:3, :3].T + self.pose[:3, 3]
        return world


@dataclass(frozen=True, slots=True, eq=False)
class SeenObject:
    """One thing as one camera frame has it.

    Attributes
    ----------
    truth:
        Where it is.
    visible:
        Its pixels in the frame.
    unoccluded:
        The pixels it would have if nothing else were in the world, in the same image: what lies outside does not
        count.  Its own triangles are cast alone; one that covers many pixels is counted on every n-th row and column,
        which is right to about 2 %.
    truncated:
        Whether a corner of its box lies outside the image or behind the camera.
    """

    truth: ObjectTruth
    visible: int
    unoccluded: int
    truncated: bool

    @property
    def visibility(self) -> float:
        """Share of its pixels that nothing hides, in [0, 1]."""
        return min(1.0, self.visible / max(self.unoccluded, self.visible, 1))


def object_of(body: Body, time: float) -> ObjectTruth:
    """The truth about a body at a time."""
    return ObjectTruth(
        body.instance, body.class_id, body.pose(time), body.size, np.asarray(body.velocity(time), dtype=np.float64)
    )


def objects_near(
    world: World, time: float, position: NDArray[np.floating], reach: float = np.inf
) -> tuple[ObjectTruth, ...]:
    """The things within `reach` metres on the ground of a position (2,) or (3,), in the order of their instances."""
    found = [object_of(body, time) for body in world.bodies if body.instance]
    near = [one for one in found if np.hypot(*(one.pose[:2, 3] - position[:2])) <= reach]
    return tuple(sorted(near, key=lambda one: one.instance))


class ViewTruth:
    """What a camera sees of the things in a world.

    Parameters
    ----------
    world:
        The world.
    intrinsics:
        Of the camera.
    reach:
        Farther things are left out unless they have a pixel, metres.
    """

    def __init__(self, world: World, intrinsics: Intrinsics, reach: float = 120.0) -> None:
        self.world = world
        self.intrinsics = intrinsics
        self.reach = reach

    def __call__(
        self, ids: NDArray[np.int32], world_from_optical: NDArray[np.float64], time: float
    ) -> tuple[SeenObject, ...]:
        """The things that are in the image or would be, if nothing hid them, in the order of their instances.

        Parameters
        ----------
        ids:
            (H, W) int32 panoptic ids that the camera has seen.
        world_from_optical:
            (4, 4) pose of the camera's optical frame.
        time:
            When.
        """
        values, counts = np.unique(ids, return_counts=True)
        pixels = dict(zip(values.tolist(), counts.tolist(), strict=True))
        bodies = self.world.bodies
        visible = np.array([pixels.get(body.class_id * INSTANCE_DIVISOR + body.instance, 0) for body in bodies])
        found = []
        things = np.array([body.instance > 0 for body in bodies], dtype=bool)
        chosen = things & ((visible > 0) | self._may_be_seen(world_from_optical, time))
        for index in np.flatnonzero(chosen).tolist():
            truth, seen = object_of(bodies[index], time), int(visible[index])
            window, truncated = self._window(truth, world_from_optical)
            if window is None and not seen:
                continue
            alone = 0 if window is None else self._alone(index, truth, time, world_from_optical, window)
            if alone or seen:
                found.append(SeenObject(truth, seen, max(alone, seen), truncated))
        return tuple(sorted(found, key=lambda one: one.truth.instance))

    def _may_be_seen(self, world_from_optical: NDArray[np.float64], time: float) -> NDArray[np.bool_]:
        """(bodies,) whether the middle of each is in reach and some of it before the camera."""
        if not len(self.world.bodies):
            return np.zeros(0, dtype=bool)
        poses = np.stack([body.pose(time) for body in self.world.bodies])
        sizes = np.array([body.size for body in self.world.bodies])
        away = poses[:, :3, 3] + poses[:, :3, 2] * (sizes[:, 2:] / 2) - world_from_optical[:3, 3]
        before = away @ world_from_optical[:3, 2] > NEAR - np.linalg.norm(sizes, axis=1) / 2
        near: NDArray[np.bool_] = (np.linalg.norm(away, axis=1) <= self.reach) & before
        return near

    def _window(
        self, truth: ObjectTruth, world_from_optical: NDArray[np.float64]
    ) -> tuple[tuple[slice, slice] | None, bool]:
        """Rows and columns of the image that a thing's box can reach, and whether the box leaves the image."""
        height, width = self.intrinsics.height, self.intrinsics.width
        seen = (truth.corners - world_from_optical[:3, 3]) @ world_from_optical[:3, :3]
        if (seen[:, 2] <= NEAR).all():
            return None, True
        if (seen[:, 2] <= NEAR).any():
            return (slice(0, height), slice(0, width)), True
        # Outside the field of view a distortion's polynomial may fold back into the image: judge by the angle first.
        rays = self.intrinsics.rays()
        edge = np.concatenate([rays[0], rays[-1], rays[:, 0], rays[:, -1]])
        slopes, limit = seen[:, :2] / seen[:, 2:], edge[:, :2] / edge[:, 2:]
        low, high = limit.min(axis=0), limit.max(axis=0)
        if (slopes.max(axis=0) < low).any() or (slopes.min(axis=0) > high).any():
            return None, True
        inside = ((slopes >= low) & (slopes <= high)).all(axis=1)
        points = self.intrinsics.project(np.concatenate([np.clip(slopes, low, high), np.ones((8, 1))], axis=1))
        pad = 2 + 0.02 * (points.max(axis=0) - points.min(axis=0))  # lens distortion bends the edges between corners
        first = np.floor(points.min(axis=0) - pad).astype(int)
        last = np.ceil(points.max(axis=0) + pad).astype(int) + 1
        columns = slice(max(first[0], 0), min(last[0], width))
        rows = slice(max(first[1], 0), min(last[1], height))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return None, True
        within = inside.all() and (points >= -0.5).all() and (points <= (width - 0.5, height - 0.5)).all()
        return (rows, columns), not within

    def _alone(
        self,
        index: int,
        truth: ObjectTruth,
        time: float,
        world_from_optical: NDArray[np.float64],
        window: tuple[slice, slice],
    ) -> int:
        """The pixels that a body has alone in the world."""
        rows, columns = window
        size = (rows.stop - rows.start) * (columns.stop - columns.start)
        stride = max(1, int(np.ceil(np.sqrt(size / RAYS_ALONE))))
        rays = self.intrinsics.rays()[rows.start : rows.stop : stride, columns.start : columns.stop : stride]
        body_from_optical = np.linalg.inv(truth.pose) @ world_from_optical
        away = np.linalg.norm(truth.center - world_from_optical[:3, 3]) - np.linalg.norm(truth.size) / 2
        detail = float(max(away, 0.0)) * DETAIL * self.intrinsics.pixel_angle
        solid = shapes_of(self.world)[index].solid(time, detail)
        directions = turned(rays.reshape(-1, 3), body_from_optical[:3, :3].astype(np.float32))
        origin = body_from_optical[None, :3, 3].astype(np.float32)
        reach = np.full(1, np.inf, dtype=np.float32)
        hit = blocked(solid.scene.handle, origin, directions, reach, True)
        return int(np.count_nonzero(hit)) * stride * stride


@dataclass
class MeshWorld:
    """A world that is one mesh."""

    static: Mesh
    bodies: Sequence[Body] = ()
    weather: Weather = field(default_factory=Weather)
    duration: float = 0.0

    def ego_pose(self, time: float) -> NDArray[np.float64]:
        return np.eye(4)

    def ego_velocity(self, time: float) -> tuple[float, float]:
        return 0.0, 0.0
