"""A drive: what the sensors of a rig measure in a world, one after another, each at its rate.

Stamps are whole nanoseconds from the start of the drive.  Each measurement has random numbers of its own, from the
seed, the sensor's name and the number of the measurement, so that any part of a drive can be made alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.camera import Camera, CameraFrame
from panoptic_training.synthetic.frames import rotation
from panoptic_training.synthetic.lidar import LidarScan
from panoptic_training.synthetic.mounts import CameraMount, DepthMount, LidarMount
from panoptic_training.synthetic.raycast import Raycaster
from panoptic_training.synthetic.rig import OdometrySettings, Rig
from panoptic_training.synthetic.scene import World
from panoptic_training.synthetic.top_view import TopView, TopViewTruth
from panoptic_training.synthetic.truth import ObjectTruth, SeenObject, ViewTruth, objects_near

NANOSECONDS = 1_000_000_000
SLIGHTLY = 1e-3  # seconds over which the motion of a camera is measured

Transform = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class CameraSample:
    """An image and its truth.

    Attributes
    ----------
    stamp:
        When it was taken, ns; the middle of the exposure.
    ready:
        When it is there, ns.
    camera:
        What took it.
    frame:
        The picture, its panoptic ids and its depth.
    world_from_optical:
        (4, 4) pose of the camera.
    objects:
        The things in view, those that are hidden too.
    """

    stamp: int
    ready: int
    camera: CameraMount
    frame: CameraFrame
    world_from_optical: Transform
    objects: tuple[SeenObject, ...]


@dataclass(frozen=True, slots=True, eq=False)
class LidarSample:
    """One turn of a lidar: it starts at `stamp` and is there when it ends, at `ready`; see `LidarScan`."""

    stamp: int
    ready: int
    lidar: LidarMount
    scan: LidarScan


@dataclass(frozen=True, slots=True, eq=False)
class DepthSample:
    """A depth image, (H, W) float32 metres or uint16 millimetres."""

    stamp: int
    ready: int
    camera: DepthMount
    depth: NDArray[np.float32] | NDArray[np.uint16]


@dataclass(frozen=True, slots=True, eq=False)
class OdometrySample:
    """The vehicle's motion, as it measures it and as it is.

    Attributes
    ----------
    odom_from_base:
        (4, 4), integrated from the measured motion: it drifts.
    map_from_odom:
        (4, 4), what puts the vehicle where it is: ``map_from_odom @ odom_from_base`` is the true pose.
    twist:
        Metres per second forward and radians per second to the left, as measured.
    """

    stamp: int
    ready: int
    odom_from_base: Transform
    map_from_odom: Transform
    twist: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class TruthSample:
    """What is around the vehicle: the things, and the world from above in ``odom`` (whose place is `map_from_odom`)."""

    stamp: int
    ready: int
    objects: tuple[ObjectTruth, ...]
    top_view: TopView


Sample = CameraSample | LidarSample | DepthSample | OdometrySample | TruthSample


@dataclass(frozen=True, slots=True)
class Event:
    """One measurement to come: of which sensor, its number, when it begins and when it is there, ns."""

    kind: Literal["odometry", "camera", "lidar", "depth", "truth"]
    name: str
    number: int
    stamp: int
    ready: int


class Odometry:
    """Dead reckoning over a whole drive.

    Each step is the true motion with its errors: the way scaled and noisy, the heading turned by bias and noise.
    Without errors it is exact, whatever the road.

    Parameters
    ----------
    world:
        Whose `ego_pose` moves.
    settings:
        Rate and errors.
    duration:
        Of the drive, seconds.
    seed:
        Of the noise.
    """

    def __init__(self, world: World, settings: OdometrySettings, duration: float, seed: int) -> None:
        count = int(np.floor(duration * settings.rate + 1e-6)) + 1
        self.stamps = [stamp_of(number, settings.rate) for number in range(count)]
        times = [stamp / NANOSECONDS for stamp in self.stamps]
        rng = random_numbers(seed, "odometry", 0)
        step = 1 / settings.rate
        # White noise: a step's mean has sqrt(rate) times the deviation of a second's.
        noise = rng.standard_normal((count, 2)) * np.sqrt(settings.rate)
        speed_error = noise[:, 0] * settings.speed_noise
        turn_error = noise[:, 1] * settings.yaw_rate_noise + settings.yaw_rate_bias
        self.truth = [np.asarray(world.ego_pose(time), dtype=np.float64) for time in times]
        self.twists = []
        self.poses: list[Transform] = [np.eye(4)]
        for number, time in enumerate(times):
            speed, yaw_rate = world.ego_velocity(time)
            self.twists.append(
                (
                    float(speed * (1 + settings.speed_scale) + speed_error[number]),
                    float(yaw_rate + turn_error[number]),
                )
            )
            if number:
                motion = np.linalg.inv(self.truth[number - 1]) @ self.truth[number]
                motion[:3, 3] *= 1 + settings.speed_scale
                motion[0, 3] += speed_error[number] * step
                motion[:3, :3] = motion[:3, :3] @ rotation((0.0, 0.0, turn_error[number] * step))
                self.poses.append(self.poses[-1] @ motion)

    def sample(self, number: int) -> OdometrySample:
        """The measurement of a number."""
        odom_from_base = self.poses[number]
        return OdometrySample(
            stamp=self.stamps[number],
            ready=self.stamps[number],
            odom_from_base=odom_from_base,
            map_from_odom=self.truth[number] @ np.linalg.inv(odom_from_base),
            twist=self.twists[number],
        )

    def map_from_odom(self, stamp: int) -> Transform:
        """(4, 4), the last there is at a moment."""
        number = int(np.searchsorted(self.stamps, stamp, side="right")) - 1
        return self.sample(max(0, number)).map_from_odom


class Drive:
    """The measurements of a rig in a world.

    Parameters
    ----------
    world:
        The world; `ego_pose` moves the rig.
    rig:
        The sensors.
    seed:
        Of their noise.
    duration:
        Seconds; the world's own if None.

    Raises
    ------
    ValueError
        If the world ends earlier.
    """

    def __init__(self, world: World, rig: Rig, seed: int, duration: float | None = None) -> None:
        self.world = world
        self.rig = rig
        self.seed = seed
        self.duration = world.duration if duration is None else duration
        if not 0 < self.duration <= world.duration:
            raise ValueError(f"duration: expected more than 0 and at most {world.duration:g} s, got {self.duration:g}")
        self._sensors = {sensor.name: sensor for sensor in rig.sensors}
        # Each camera drifts in its own way, on each drive in another.
        self._cameras = {
            camera.name: Camera(
                camera.lens.intrinsics,
                replace(
                    camera.effects, seed=(zlib.crc32(camera.name.encode()) + seed + camera.effects.seed) % (1 << 31)
                ),
                camera.quality,
            )
            for camera in rig.cameras
        }
        self._views = {camera.name: ViewTruth(world, camera.lens.intrinsics, rig.truth.range) for camera in rig.cameras}

    @cached_property
    def raycaster(self) -> Raycaster:
        return Raycaster(self.world)

    @cached_property
    def odometry(self) -> Odometry:
        return Odometry(self.world, self.rig.odometry, self.duration, self.seed)

    @cached_property
    def top_view(self) -> TopViewTruth:
        return TopViewTruth(self.world, self.rig.truth.cell, self.rig.truth.size)

    def events(self, start: int = 0, end: int | None = None) -> list[Event]:
        """What is ready from `start` to before `end` (ns; the end of the drive, itself included, if None), in order.

        What is ready at the same time comes in the order odometry, cameras, lidars, depth cameras, truth.
        """
        last = round(self.duration * NANOSECONDS)
        stop = last + 1 if end is None else min(end, last + 1)
        found: list[Event] = []

        def add(kind: Literal["odometry", "camera", "lidar", "depth", "truth"], name: str, rate: float) -> None:
            delay = 1 if kind == "lidar" else 0  # a turn is there when it ends
            number = max(0, int(start / NANOSECONDS * rate) - 2)
            while (ready := stamp_of(number + delay, rate)) < stop:
                if ready >= start:
                    found.append(Event(kind, name, number, stamp_of(number, rate), ready))
                number += 1

        add("odometry", "odometry", self.rig.odometry.rate)
        for camera in self.rig.cameras:
            add("camera", camera.name, camera.rate)
        for lidar in self.rig.lidars:
            add("lidar", lidar.name, lidar.rate)
        for depth in self.rig.depth_cameras:
            add("depth", depth.name, depth.rate)
        add("truth", "truth", self.rig.truth.rate)
        return sorted(found, key=lambda event: event.ready)  # stable: the order above where times are equal

    def samples(self, start: int = 0, end: int | None = None) -> Iterator[Sample]:
        """Measure what `events` says."""
        for event in self.events(start, end):
            yield self.measure(event)

    def measure(self, event: Event) -> Sample:
        """One measurement."""
        rng = random_numbers(self.seed, event.name, event.number)
        if event.kind == "odometry":
            return self.odometry.sample(event.number)
        if event.kind == "truth":
            time = event.stamp / NANOSECONDS
            ego = self.world.ego_pose(time)
            return TruthSample(
                event.stamp,
                event.ready,
                objects_near(self.world, time, ego[:3, 3], self.rig.truth.range),
                self.top_view(time, self.odometry.map_from_odom(event.stamp)),
            )
        sensor = self._sensors[event.name]
        if isinstance(sensor, CameraMount):
            return self.take(sensor, event.stamp, rng)
        time = event.stamp / NANOSECONDS
        if isinstance(sensor, LidarMount):
            mounted = sensor.base_from_sensor
            scan = sensor.sensor.scan(self.raycaster, lambda at: self.world.ego_pose(at) @ mounted, time, rng)
            return LidarSample(event.stamp, event.ready, sensor, scan)
        pose = self.world.ego_pose(time) @ sensor.base_from_optical
        return DepthSample(event.stamp, event.ready, sensor, sensor.sensor.render(self.raycaster, pose, time, rng))

    def take(self, camera: CameraMount, stamp: int, rng: np.random.Generator) -> CameraSample:
        """An image of a camera and the truth about it, at any moment."""
        frame = self.frame(camera, stamp, rng)
        time = stamp / NANOSECONDS
        pose = self.world.ego_pose(time) @ camera.base_from_optical
        return CameraSample(stamp, stamp, camera, frame, pose, self._views[camera.name](frame.ids, pose, time))

    def frame(self, camera: CameraMount, stamp: int, rng: np.random.Generator) -> CameraFrame:
        """An image of a camera, at any moment."""
        time = stamp / NANOSECONDS
        pose = self.world.ego_pose(time) @ camera.base_from_optical
        velocity = self._velocity(camera.base_from_optical, time)
        return self._cameras[camera.name].render(self.raycaster, pose, time, rng, velocity)

    def _velocity(self, base_from_optical: Transform, time: float) -> tuple[list[float], list[float]]:
        """Linear (3,) and angular (3,) velocity of a camera in its optical frame, from two poses around a moment."""
        early, late = max(0.0, time - SLIGHTLY), min(self.world.duration, time + SLIGHTLY)
        before, after = (self.world.ego_pose(at) @ base_from_optical for at in (early, late))
        motion = np.linalg.inv(before) @ after / (late - early)
        turn = motion[:3, :3]
        angular = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]]) / 2
        return motion[:3, 3].tolist(), angular.tolist()


def stamp_of(number: int, rate: float) -> int:
    """When the measurement of a number is, at `rate` a second: whole nanoseconds, without growing error."""
    return round(number * NANOSECONDS / rate)


def random_numbers(seed: int, name: str, number: int) -> np.random.Generator:
    """The random numbers of one measurement."""
    return np.random.default_rng([seed, zlib.crc32(name.encode()), number])
