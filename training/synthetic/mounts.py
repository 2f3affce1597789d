"""Sensors on a vehicle: where each is mounted, how often it measures, and what it is like."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.camera import Intrinsics
from panoptic_training.synthetic.depth import DepthCamera
from panoptic_training.synthetic.effects import Effects
from panoptic_training.synthetic.frames import BASE, MAP, ODOM, OPTICAL, OPTICAL_AXES, mount
from panoptic_training.synthetic.lidar import Lidar
from panoptic_training.synthetic.shading import Quality

TAKEN_NAMES = (MAP, ODOM, BASE, "clock", "tf", "tf_static", "truth")
"""Names of frames and topics that a sensor cannot have."""

MAX_RATE = 1000.0
MAX_SIZE = 8192
VIEW = 0.01, 175.0  # degrees that an image of a pinhole camera can span


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
        for key, focal, size in (
            ("fx", self.fx, self.width),
            ("fy", self.fx if self.fy is None else self.fy, self.height),
        ):
            if not (math.isfinite(focal) and focal > 0):
                raise ValueError(f"{key}: expected a focal length of more than 0 pixels, got {focal}")
            view = math.degrees(2 * math.atan(size / 2 / focal))
            if not VIEW[0] <= view <= VIEW[1]:
                raise ValueError(
                    f"{key}: expected a focal length with which {size} pixels span {VIEW[0]:g} to {VIEW[1]:g} degrees; "
                    f"with {focal:g} pixels they span {view:.4g}"
                )
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
class Mount:
    """A sensor on the vehicle.

    Attributes
    ----------
    name:
        Its frame and the first part of its topics.
    position, rpy_degrees:
        Where its frame is in ``base_link``, metres, and how it is turned: roll, pitch (positive looks down), yaw.
    rate:
        Measurements a second: images, or turns of a lidar.
    """

    name: str
    position: tuple[float, float, float]
    rpy_degrees: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rate: float = 10.0

    def __post_init__(self) -> None:
        check_name(self.name)
        check_rate(self.rate)
        check_mount(self.position, self.rpy_degrees)

    @property
    def frames(self) -> tuple[str, ...]:
        """All its frames."""
        return (self.name,)

    @cached_property
    def base_from_sensor(self) -> NDArray[np.float64]:
        """(4, 4) from its frame to ``base_link``."""
        return mount(self.position, self.rpy_degrees)


@dataclass(frozen=True)
class OpticalMount(Mount):
    """A sensor that looks through a lens; see `Lens`."""

    lens: Lens = field(kw_only=True)

    @property
    def frames(self) -> tuple[str, ...]:
        return self.name, self.name + OPTICAL

    @cached_property
    def base_from_optical(self) -> NDArray[np.float64]:
        """(4, 4) from its optical frame to ``base_link``."""
        return self.base_from_sensor @ OPTICAL_AXES


@dataclass(frozen=True)
class CameraMount(OpticalMount):
    """A colour camera on the vehicle.

    Attributes
    ----------
    effects:
        What lens, sensor and compression do to the picture, see `panoptic_training.synthetic.effects`.
    quality:
        How well it is rendered, see `panoptic_training.synthetic.shading`.
    """

    effects: Effects = field(default_factory=Effects)
    quality: Quality = field(default_factory=Quality)


@dataclass(frozen=True)
class LidarMount(Mount):
    """A spinning lidar on the vehicle.

    Attributes
    ----------
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
        super().__post_init__()
        if self.rings < 1 or not -90 < self.lower_degrees <= self.upper_degrees < 90:
            raise ValueError(
                "rings, lower_degrees, upper_degrees: expected at least 1 ring and -90 < lower <= upper < 90, got "
                f"{self.rings}, {self.lower_degrees}, {self.upper_degrees}"
            )
        _ = self.sensor  # which checks the rest

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
class DepthMount(OpticalMount):
    """A depth camera on the vehicle.

    Attributes
    ----------
    min_range, max_range:
        Metres along the optical axis.
    noise:
        Standard deviation at 1 m, metres; it grows with the square of the depth.
    dropout:
        Share of pixels without depth.
    encoding:
        ``32FC1`` metres or ``16UC1`` millimetres (REP-118).
    """

    min_range: float = 0.3
    max_range: float = 20.0
    noise: float = 0.0
    dropout: float = 0.0
    encoding: Literal["32FC1", "16UC1"] = "32FC1"

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.sensor  # which checks the rest

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
