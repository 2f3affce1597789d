"""A rig: which sensors a vehicle carries, where, and how good they are; read from YAML.

Frames are those of REP-105 (``map`` → ``odom`` → ``base_link``) and REP-103: ``base_link`` lies on the ground below the
vehicle's middle, x forward, y left, z up.  Each sensor has a frame of its name with the same axes, turned by its mount;
a camera has besides it ``<name>_optical_frame``: x right, y down, z forward.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.configuration import ConfigurationError, from_mapping, read_yaml
from panoptic_ros.resources import find_config
from panoptic_training.synthetic.camera import Intrinsics
from panoptic_training.synthetic.depth import DepthCamera
from panoptic_training.synthetic.effects import Effects
from panoptic_training.synthetic.lidar import Lidar
from panoptic_training.synthetic.shading import Quality

MAP, ODOM, BASE = "map", "odom", "base_link"
OPTICAL = "_optical_frame"
TAKEN_NAMES = (MAP, ODOM, BASE, "clock", "tf", "tf_static", "truth")
"""Names of frames and topics that a sensor cannot have."""

MAX_RATE = 1000.0
MAX_SIZE = 8192

OPTICAL_AXES: NDArray[np.float64] = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
"""(4, 4) from an optical frame to the frame of its sensor."""


def check_name(name: str) -> None:
    """Refuse a sensor's name that cannot be a ROS topic and frame; see `ValueError`."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in TAKEN_NAMES:
        raise ValueError(
            f"name: expected small letters, digits and _ after a letter, and none of {', '.join(TAKEN_NAMES)}; "
            f"got {name!r}"
        )


def check_rate(rate: float, key: str = "rate") -> None:
    """Refuse a rate that is no number of times a second; see `ValueError`."""
    if not 0 < rate <= MAX_RATE:
        raise ValueError(f"{key}: expected more than 0 and at most {MAX_RATE:g} a second, got {rate}")


def check_mount(position: Sequence[float], rpy_degrees: Sequence[float]) -> None:
    """Refuse a place that is none or lies underground; see `ValueError`."""
    if not all(map(math.isfinite, (*position, *rpy_degrees))):
        raise ValueError(f"position, rpy_degrees: expected finite numbers, got {position}, {rpy_degrees}")
    if position[2] <= 0:
        raise ValueError(
            f"position: is underground: z = {position[2]:g} m; base_link lies on the ground, z must be more than 0"
        )


def check_numbers(least: float = 0.0, **values: float) -> None:
    """Refuse numbers that are not finite or less than `least`; see `ValueError`."""
    for key, value in values.items():
        if not (math.isfinite(value) and value >= least):
            raise ValueError(f"{key}: expected a number of at least {least:g}, got {value}")


def rotation(rpy: Sequence[float]) -> NDArray[np.float64]:
    """(3, 3) of roll, pitch and yaw in radians, about the fixed axes x, y and z in this order (REP-103)."""
    roll, pitch, yaw = rpy
    cr, sr, cp, sp, cy, sy = (f(a) for a in (roll, pitch, yaw) for f in (math.cos, math.sin))
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def transform(position: Sequence[float], rpy: Sequence[float]) -> NDArray[np.float64]:
    """(4, 4) from a frame at `position` (metres), turned by `rpy` (radians), to its parent."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(rpy)
    matrix[:3, 3] = position
    return matrix


def mount(position: Sequence[float], rpy_degrees: Sequence[float]) -> NDArray[np.float64]:
    """(4, 4) from a sensor's frame to ``base_link``."""
    return transform(position, [math.radians(angle) for angle in rpy_degrees])


@dataclass(frozen=True)
class Lens:
    """A pinhole camera with lens distortion, as ``sensor_msgs/CameraInfo`` has it.

    Attributes
    ----------
    width, height:
        Pixels.
    fx, fy:
        Focal lengths in pixels; `fy` is `fx` unless given.
    cx, cy:
        Principal point in pixels, counted from the centre of the top left pixel; the middle unless given.
    distortion_model, distortion:
        ``plumb_bob`` (k1, k2, p1, p2, k3) or ``rational_polynomial`` (three more); no distortion if empty.
    """

    width: int
    height: int
    fx: float
    fy: float | None = None
    cx: float | None = None
    cy: float | None = None
    distortion_model: Literal["plumb_bob", "rational_polynomial"] = "plumb_bob"
    distortion: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for key, pixels in (("width", self.width), ("height", self.height)):
            if not 1 <= pixels <= MAX_SIZE:
                raise ValueError(f"{key}: expected 1 to {MAX_SIZE} pixels, got {pixels}")
        for key, focal in (("fx", self.fx), ("fy", self.fy)):
            if focal is not None and not (math.isfinite(focal) and focal > 0):
                raise ValueError(f"{key}: expected a focal length of more than 0 pixels, got {focal}")
        for key, center, size in (("cx", self.cx, self.width), ("cy", self.cy, self.height)):
            if center is not None and not -0.5 * size <= center <= 1.5 * size:
                raise ValueError(
                    f"{key}: the principal point lies far outside the image: expected {-0.5 * size:g} to "
                    f"{1.5 * size:g} pixels, got {center}"
                )
        _ = self.intrinsics  # which checks what the distortion does

    @cached_property
    def intrinsics(self) -> Intrinsics:
        """The lens as the renderer takes it."""
        fy = self.fx if self.fy is None else self.fy
        cx = (self.width - 1) / 2 if self.cx is None else self.cx
        cy = (self.height - 1) / 2 if self.cy is None else self.cy
        matrix = np.array([[self.fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
        return Intrinsics(self.width, self.height, matrix, self.distortion, self.distortion_model)


@dataclass(frozen=True)
class CameraMount:
    """A colour camera on the vehicle.

    Attributes
    ----------
    name:
        Its frame and the first part of its topics.
    lens:
        See `Lens`.
    position, rpy_degrees:
        Where its frame is in ``base_link``, metres, and how it is turned: roll, pitch (positive looks down), yaw.
    rate:
        Images a second.
    effects:
        What lens, sensor and compression do to the picture, see `panoptic_training.synthetic.effects`.
    quality:
        How well it is rendered, see `panoptic_training.synthetic.shading`.
    """

    name: str
    lens: Lens
    position: tuple[float, float, float]
    rpy_degrees: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rate: float = 10.0
    effects: Effects = field(default_factory=Effects)
    quality: Quality = field(default_factory=Quality)

    def __post_init__(self) -> None:
        check_name(self.name)
        check_rate(self.rate)
        check_mount(self.position, self.rpy_degrees)

    @property
    def frames(self) -> tuple[str, ...]:
        return self.name, self.name + OPTICAL

    @cached_property
    def base_from_sensor(self) -> NDArray[np.float64]:
        return mount(self.position, self.rpy_degrees)

    @cached_property
    def base_from_optical(self) -> NDArray[np.float64]:
        return self.base_from_sensor @ OPTICAL_AXES


@dataclass(frozen=True)
class LidarMount:
    """A spinning lidar on the vehicle.

    Attributes
    ----------
    name, position, rpy_degrees:
        As of `CameraMount`.
    rate:
        Turns a second.
    rings, lower_degrees, upper_degrees:
        Beams, evenly spread between two elevations.
    elevations_degrees:
        The beams' elevations one by one, in place of those three.
    steps:
        Firings a turn.
    min_range, max_range:
        Metres.
    range_noise:
        Standard deviation of a range, metres.
    dropout:
        Share of returns that are lost.
    clockwise:
        Which way it turns, seen from above.
    """

    name: str
    position: tuple[float, float, float]
    rpy_degrees: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rate: float = 10.0
    rings: int = 64
    lower_degrees: float = -25.0
    upper_degrees: float = 3.0
    elevations_degrees: tuple[float, ...] = ()
    steps: int = 1600
    min_range: float = 0.5
    max_range: float = 120.0
    range_noise: float = 0.02
    dropout: float = 0.02
    clockwise: bool = True

    def __post_init__(self) -> None:
        check_name(self.name)
        check_rate(self.rate)
        check_mount(self.position, self.rpy_degrees)
        if self.rings < 1 or not -90 < self.lower_degrees <= self.upper_degrees < 90:
            raise ValueError(
                "rings, lower_degrees, upper_degrees: expected at least 1 ring and -90 < lower <= upper < 90, got "
                f"{self.rings}, {self.lower_degrees}, {self.upper_degrees}"
            )
        _ = self.sensor  # which checks the rest

    @property
    def frames(self) -> tuple[str, ...]:
        return (self.name,)

    @cached_property
    def base_from_sensor(self) -> NDArray[np.float64]:
        return mount(self.position, self.rpy_degrees)

    @cached_property
    def sensor(self) -> Lidar:
        degrees = self.elevations_degrees or np.linspace(self.lower_degrees, self.upper_degrees, self.rings)
        return Lidar(
            elevations=np.radians(degrees),
            steps=self.steps,
            rate=self.rate,
            min_range=self.min_range,
            max_range=self.max_range,
            range_noise=self.range_noise,
            dropout=self.dropout,
            clockwise=self.clockwise,
        )


@dataclass(frozen=True)
class DepthMount:
    """A depth camera on the vehicle.

    Attributes
    ----------
    name, lens, position, rpy_degrees, rate:
        As of `CameraMount`.
    min_range, max_range:
        Metres along the optical axis.
    noise:
        Standard deviation at 1 m, metres; it grows with the square of the depth.
    dropout:
        Share of pixels without depth.
    encoding:
        ``32FC1`` metres or ``16UC1`` millimetres (REP-118).
    """

    name: str
    lens: Lens
    position: tuple[float, float, float]
    rpy_degrees: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rate: float = 10.0
    min_range: float = 0.3
    max_range: float = 20.0
    noise: float = 0.0
    dropout: float = 0.0
    encoding: Literal["32FC1", "16UC1"] = "32FC1"

    def __post_init__(self) -> None:
        check_name(self.name)
        check_rate(self.rate)
        check_mount(self.position, self.rpy_degrees)
        _ = self.sensor  # which checks the rest

    @property
    def frames(self) -> tuple[str, ...]:
        return self.name, self.name + OPTICAL

    @cached_property
    def base_from_sensor(self) -> NDArray[np.float64]:
        return mount(self.position, self.rpy_degrees)

    @cached_property
    def base_from_optical(self) -> NDArray[np.float64]:
        return self.base_from_sensor @ OPTICAL_AXES

    @cached_property
    def sensor(self) -> DepthCamera:
        return DepthCamera(
            self.lens.intrinsics,
            min_range=self.min_range,
            max_range=self.max_range,
            noise=self.noise,
            encoding=self.encoding,
            dropout=self.dropout,
        )


@dataclass(frozen=True)
class OdometrySettings:
    """How the vehicle measures its own motion; all errors 0 is exact.

    Attributes
    ----------
    rate:
        Messages, and transforms, a second.
    speed_scale:
        What the speed is measured wrong by all the time, as a share of it (0.01: one metre in a hundred).
    speed_noise:
        White noise of the speed: the standard deviation, m/s, of its mean over one second.
    yaw_rate_bias:
        What the yaw rate is measured wrong by all the time, rad/s.
    yaw_rate_noise:
        White noise of the yaw rate: the standard deviation, rad/s, of its mean over one second.
    """

    rate: float = 50.0
    speed_scale: float = 0.0
    speed_noise: float = 0.0
    yaw_rate_bias: float = 0.0
    yaw_rate_noise: float = 0.0

    def __post_init__(self) -> None:
        check_rate(self.rate)
        check_numbers(speed_noise=self.speed_noise, yaw_rate_noise=self.yaw_rate_noise)
        check_numbers(-0.5, speed_scale=self.speed_scale, yaw_rate_bias=self.yaw_rate_bias)


@dataclass(frozen=True)
class TruthSettings:
    """Which truth about the surroundings a drive has, besides that of each pixel and point.

    Attributes
    ----------
    rate:
        Object lists and top views a second.
    range:
        How far from the vehicle objects are listed, metres.
    cell:
        Side of a cell of the top view, metres.
    size:
        Side of the top view's square window around the vehicle, metres.
    """

    rate: float = 2.0
    range: float = 120.0
    cell: float = 0.25
    size: float = 80.0

    def __post_init__(self) -> None:
        check_rate(self.rate)
        check_numbers(range=self.range)
        check_numbers(0.02, cell=self.cell)
        if not self.cell <= self.size <= 4000 * self.cell:
            raise ValueError(f"size: expected {self.cell:g} to {4000 * self.cell:g} m (4000 cells), got {self.size}")


@dataclass(frozen=True)
class Rig:
    """All sensors of a vehicle.

    Raises
    ------
    ValueError
        If there is no sensor, or two have the same name or frame.
    """

    cameras: tuple[CameraMount, ...] = ()
    lidars: tuple[LidarMount, ...] = ()
    depth_cameras: tuple[DepthMount, ...] = ()
    odometry: OdometrySettings = field(default_factory=OdometrySettings)
    truth: TruthSettings = field(default_factory=TruthSettings)

    def __post_init__(self) -> None:
        if not self.sensors:
            raise ValueError("a rig without sensors; expected some of cameras, lidars, depth_cameras")
        frames = list(chain.from_iterable(sensor.frames for sensor in self.sensors))
        if repeated := sorted({frame for frame in frames if frames.count(frame) > 1}):
            raise ValueError(f"names of sensors must be unique, and so their frames; more than once: {repeated[0]}")

    @property
    def sensors(self) -> tuple[CameraMount | LidarMount | DepthMount, ...]:
        """All with a mount: cameras, lidars, depth cameras."""
        return (*self.cameras, *self.lidars, *self.depth_cameras)

    @classmethod
    def load(cls, name: str | Path) -> Rig:
        """Read a rig by its name (``street``) or from a path.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ConfigurationError
            If it is not a rig; the message names the file, the key and what was expected.
        """
        path = find_config("rigs", str(name))
        return from_mapping(cls, read_yaml(path), str(path))

    def static_transforms(self) -> dict[tuple[str, str], NDArray[np.float64]]:
        """(4, 4) from child to parent by (parent, child): what is bolted together."""
        found = {}
        for sensor in self.sensors:
            found[BASE, sensor.name] = sensor.base_from_sensor
            if not isinstance(sensor, LidarMount):
                found[sensor.name, sensor.name + OPTICAL] = OPTICAL_AXES
        return found


__all__ = ["CameraMount", "ConfigurationError", "DepthMount", "Lens", "LidarMount", "OdometrySettings", "Rig"]
