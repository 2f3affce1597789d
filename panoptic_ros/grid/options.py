"""The settings of the grid, grouped by what reads them; ``config/grid/*.yaml`` explains every key."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.configuration import from_mapping, read_yaml
from panoptic_ros.grid.class_names import BODIES, GROUND, IGNORED, RAISED, STANDING, named
from panoptic_ros.labels import LabelSet
from panoptic_ros.resources import find_config

Corner = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class OccupancyOptions:
    """How evidence for what is occupied adds up and fades.

    Attributes
    ----------
    hit, miss:
        Log-odds that one observation adds to a cell with an obstacle, and takes from one that is free.
    clip:
        The largest log-odds of a cell, so that it can change its mind.
    static_time_constant, dynamic_time_constant:
        Seconds after which the evidence for what stands, and for things, has fallen to 1/e.
    azimuth_bins:
        Sectors around a sensor within which free space ends at the first obstacle.  No finer than its rays.
    bridged_bins:
        So many neighbouring sectors without returns are as free as the less free of those beside them.
    occupied_above, free_below:
        Probabilities of a cell that is called occupied, and free.  Between them it is unknown to planners.
    """

    hit: float = 2.2
    miss: float = 1.39
    clip: float = 4.0
    static_time_constant: float = 30.0
    dynamic_time_constant: float = 0.4
    azimuth_bins: int = 720
    bridged_bins: int = 1
    occupied_above: float = 0.65
    free_below: float = 0.35

    def __post_init__(self) -> None:
        _positive(self, "hit", "miss", "clip", "static_time_constant", "dynamic_time_constant")
        if not 8 <= self.azimuth_bins <= 65536:
            raise ValueError(f"azimuth_bins must be 8 to 65536, got {self.azimuth_bins}")
        if not 0 <= self.bridged_bins < self.azimuth_bins // 4:
            raise ValueError(f"bridged_bins must be 0 to below a quarter of azimuth_bins, got {self.bridged_bins}")
        if not 0.0 < self.free_below <= 0.5 <= self.occupied_above < 1.0:
            raise ValueError(
                "free_below must be in (0, 0.5] and occupied_above in [0.5, 1), "
                f"got {self.free_below} and {self.occupied_above}"
            )


@dataclass(frozen=True, slots=True)
class ClassOptions:
    """How labels become the class of a cell.

    Attributes
    ----------
    confusion:
        Path of the ``confusion.json`` that an evaluation of the network wrote; empty counts votes.
    smoothing:
        Share of the uniform distribution that is mixed into what the confusion matrix says, in (0, 1).
    correlation:
        Of the errors of two points of one cell in one observation, in [0, 1]: n points count as n/(1 + (n-1)r).
    time_constant:
        Seconds after which the evidence for a class has fallen to 1/e.
    clip:
        The most by which the log-probability of a class may lie below that of the best, in nats.
    count_clip:
        Without a confusion matrix, the most votes that a cell remembers.
    """

    confusion: str = ""
    smoothing: float = 0.02
    correlation: float = 0.6
    time_constant: float = 30.0
    clip: float = 10.0
    count_clip: float = 20.0

    def __post_init__(self) -> None:
        _positive(self, "time_constant", "clip", "count_clip")
        _within(self, 0.0, 1.0, "correlation")
        if not 0.0 < self.smoothing < 1.0:
            raise ValueError(f"smoothing must be in (0, 1), got {self.smoothing}")


@dataclass(frozen=True, slots=True)
class LabellingOptions:
    """How points take the labels of images.

    Attributes
    ----------
    buffer_scale:
        Pixels of the image to one of the depth buffer.
    buffer_relative, buffer_absolute:
        A point is visible up to ``(1 + relative) * nearest + absolute`` metres.
    gate_height:
        Metres above the ground over which a point takes only labels of obstacles, and under which only of the ground.
    edge_margin:
        Pixels next to the border of a segment whose labels are not believed.
    ego_box:
        Two opposite corners, least and greatest, of the vehicle in the base frame, metres; points inside are its own.
    maximum_time_difference:
        Seconds between a cloud and the images that label it, at most.
    patience:
        Seconds that a cloud which is part of the grid already is kept for masks that come late; 0: they are not used.
    depth_stride:
        Every how many pixels of a depth image become a point, in rows and columns.
    ground_height:
        Where the ground is: the plane z = 0 of the base frame, or estimated from each cloud.
    """

    buffer_scale: int = 8
    buffer_relative: float = 0.03
    buffer_absolute: float = 0.5
    gate_height: float = 0.25
    edge_margin: int = 2
    ego_box: tuple[Corner, Corner] | None = None
    maximum_time_difference: float = 0.1
    patience: float = 3.0
    depth_stride: int = 4
    ground_height: Literal["base_plane", "estimated"] = "base_plane"

    def __post_init__(self) -> None:
        _at_least(self, 1, "buffer_scale", "depth_stride")
        _at_least(self, 0, "edge_margin", "buffer_relative", "buffer_absolute", "maximum_time_difference", "patience")
        _positive(self, "gate_height")
        if self.ego_box is not None:
            least, greatest = self.ego_box
            if not all(low < high for low, high in zip(least, greatest, strict=True)):
                raise ValueError(f"ego_box must be the least and the greatest corner, got {least} and {greatest}")


@dataclass(frozen=True, slots=True)
class ContactLineOptions:
    """What a camera alone says of the ground.

    Attributes
    ----------
    maximum_range:
        Metres after which its ranges are not believed.
    attitude_sigma:
        Standard deviation of the camera's pitch and roll, degrees.
    bonnet_rows:
        Lowest rows of the image that show the vehicle itself.
    raised:
        Names of the classes of the ground that lie a kerb higher than the plane of the base, as in `GridOptions`.
    kerb_height:
        How much higher, metres; 0 where the vehicle is on a sidewalk itself.
    bodies:
        Names of the classes that are deeper than the side that is seen, as in `GridOptions`.
    body_depth:
        Metres behind their contact that are theirs, too; 0 for none.
    """

    maximum_range: float = 20.0
    attitude_sigma: float = 0.25
    bonnet_rows: int = 0
    raised: tuple[str, ...] = RAISED
    kerb_height: float = 0.12
    bodies: tuple[str, ...] = BODIES
    body_depth: float = 1.0

    def __post_init__(self) -> None:
        _positive(self, "maximum_range", "attitude_sigma")
        _at_least(self, 0, "bonnet_rows", "kerb_height", "body_depth")


@dataclass(frozen=True, slots=True)
class TrackingOptions:
    """How measured objects become tracks.

    Attributes
    ----------
    gate:
        Metres between a track and a measurement of it, at most.
    confirm:
        Measurements after which a track is published.
    forget:
        Seconds without a measurement after which a track ends.
    minimum_points:
        Fewest points of an object.
    process_sigma:
        Standard deviation of the acceleration of things, m/s².
    measurement_sigma:
        Standard deviation of a measured position, metres.
    """

    gate: float = 2.0
    confirm: int = 2
    forget: float = 1.0
    minimum_points: int = 5
    process_sigma: float = 2.0
    measurement_sigma: float = 0.2

    def __post_init__(self) -> None:
        _positive(self, "gate", "forget", "process_sigma", "measurement_sigma")
        _at_least(self, 1, "confirm", "minimum_points")


@dataclass(frozen=True, slots=True)
class PoseOptions:
    """How long inputs wait for their poses, and which poses are believed.

    Attributes
    ----------
    wait:
        Seconds after which an input whose pose has not come is dropped.
    queue:
        The most inputs that wait; the oldest is dropped.
    maximum_jump:
        Metres between two consecutive poses 0.1 s apart or closer.
    maximum_speed:
        Metres per second between poses that lie farther apart.
    """

    wait: float = 0.5
    queue: int = 32
    maximum_jump: float = 2.0
    maximum_speed: float = 60.0

    def __post_init__(self) -> None:
        _positive(self, "wait", "maximum_jump", "maximum_speed")
        _at_least(self, 1, "queue")


@dataclass(frozen=True, slots=True)
class GridOptions:
    """Everything that the grid can be told.

    Attributes
    ----------
    fixed_frame, base_frame:
        The frame that the grid stands still in, and that of the vehicle (REP 105).
    resolution:
        Edge of a cell, metres.
    size:
        Cells along each side of the window, an even number.
    minimum_range, maximum_range:
        Horizontal metres from the sensor within which points count.
    obstacle_height:
        Metres above the ground from which a point is an obstacle, and over which one passes below it.
    ground, standing, ignored:
        Names of the classes that lie flat, of the things that do not move, and of those that say nothing, in either
        case; ``*`` stands for anything.  Every class that is neither ground nor ignored is an obstacle.

    Raises
    ------
    ValueError
        If a value is out of its range; the message names it.
    """

    fixed_frame: str = "odom"
    base_frame: str = "base_link"
    resolution: float = 0.2
    size: int = 400
    minimum_range: float = 0.5
    maximum_range: float = 60.0
    obstacle_height: tuple[float, float] = (0.3, 2.5)
    ground: tuple[str, ...] = GROUND
    standing: tuple[str, ...] = STANDING
    ignored: tuple[str, ...] = IGNORED
    occupancy: OccupancyOptions = field(default_factory=OccupancyOptions)
    classes: ClassOptions = field(default_factory=ClassOptions)
    labelling: LabellingOptions = field(default_factory=LabellingOptions)
    contact_line: ContactLineOptions = field(default_factory=ContactLineOptions)
    tracking: TrackingOptions = field(default_factory=TrackingOptions)
    poses: PoseOptions = field(default_factory=PoseOptions)

    def __post_init__(self) -> None:
        _positive(self, "resolution", "maximum_range")
        _at_least(self, 0, "minimum_range")
        if not self.fixed_frame or not self.base_frame or self.fixed_frame == self.base_frame:
            raise ValueError(
                "fixed_frame and base_frame must be two names of frames, "
                f"got {self.fixed_frame!r} and {self.base_frame!r}"
            )
        if self.size % 2 or not 2 <= self.size <= 8192:
            raise ValueError(f"size must be an even number of cells from 2 to 8192, got {self.size}")
        if self.minimum_range >= self.maximum_range:
            raise ValueError(
                f"minimum_range must be below maximum_range, got {self.minimum_range} and {self.maximum_range}"
            )
        low, high = self.obstacle_height
        if not (math.isfinite(low) and low < high):
            raise ValueError(f"obstacle_height must be a lower and an upper height, got {low} and {high}")

    def is_ground(self, labels: LabelSet) -> NDArray[np.bool_]:
        """(C,) bool, which classes lie flat."""
        return named(labels, self.ground) & ~self.is_ignored(labels)

    def is_raised(self, labels: LabelSet) -> NDArray[np.bool_]:
        """(C,) bool, which classes of the ground lie a kerb higher than the plane of the base."""
        return named(labels, self.contact_line.raised) & self.is_ground(labels)

    def is_body(self, labels: LabelSet) -> NDArray[np.bool_]:
        """(C,) bool, which classes of obstacles are deeper than the side that is seen."""
        return named(labels, self.contact_line.bodies) & self.is_obstacle(labels)

    def is_ignored(self, labels: LabelSet) -> NDArray[np.bool_]:
        """(C,) bool, which classes say nothing about the grid."""
        return named(labels, self.ignored)

    def is_obstacle(self, labels: LabelSet) -> NDArray[np.bool_]:
        """(C,) bool, which classes stand."""
        return ~(self.is_ground(labels) | self.is_ignored(labels))

    def is_dynamic(self, labels: LabelSet) -> NDArray[np.bool_]:
        """(C,) bool, which classes are things that may move; a lane marking is countable, but lies flat."""
        things = np.array([label.is_thing for label in labels.labels], dtype=np.bool_)
        return things & self.is_obstacle(labels) & ~named(labels, self.standing)


def load_grid_options(name: str | Path) -> GridOptions:
    """Read the options by the name of a file in ``config/grid`` or from a path; keys that are absent have defaults.

    Raises
    ------
    FileNotFoundError
        If there is no such file; the message lists the names there are.
    ConfigurationError
        If a key is unknown or a value is wrong; the message names the file and the key.
    """
    path = find_config("grid", str(name))
    return from_mapping(GridOptions, read_yaml(path), str(path))


def _positive(options: object, *names: str) -> None:
    for name in names:
        value = getattr(options, name)
        if not (value > 0 and math.isfinite(value)):
            raise ValueError(f"{name} must be a positive number, got {value}")


def _at_least(options: object, least: int, *names: str) -> None:
    for name in names:
        value = getattr(options, name)
        if not (value >= least and math.isfinite(value)):
            raise ValueError(f"{name} must be at least {least}, got {value}")


def _within(options: object, low: float, high: float, *names: str) -> None:
    for name in names:
        value = getattr(options, name)
        if not low <= value <= high:
            raise ValueError(f"{name} must be in [{low:g}, {high:g}], got {value}")
