"""A rig: which sensors a vehicle carries, where, and how good they are; read from YAML."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.configuration import from_mapping, read_yaml
from panoptic_ros.resources import find_config
from panoptic_training.synthetic.frames import BASE, OPTICAL, OPTICAL_AXES
from panoptic_training.synthetic.mounts import CameraMount, DepthMount, LidarMount, OpticalMount, check_rate


def check_numbers(least: float = 0.0, **values: float) -> None:
    """Refuse numbers that are not finite or less than `least`; see `ValueError`."""
    for key, value in values.items():
        if not (math.isfinite(value) and value >= least):
            raise ValueError(f"{key}: expected a number of at least {least:g}, got {value}")


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
            if isinstance(sensor, OpticalMount):
                found[sensor.name, sensor.name + OPTICAL] = OPTICAL_AXES
        return found
