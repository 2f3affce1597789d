"""Parameters of the semantic occupancy grid: of its node, and of the panoptic node where it has one."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from panoptic_ros.configuration import ConfigurationError
from panoptic_ros.grid.options import GridOptions, load_grid_options
from panoptic_ros.nodes.parameters import ParameterError, parameter


@dataclass(frozen=True)
class GridSettings:
    """What both nodes have; all are read-only."""

    options: str = parameter("semantic_grid", "Options of the grid: a name in config/grid, or the path of such a file.")
    fixed_frame: str = parameter("", "Frame that the grid stands still in; '' is the options' own.")
    base_frame: str = parameter("", "Frame of the vehicle; '' is the options' own.")
    confusion: str = parameter(
        "", "The confusion.json that an evaluation of the network wrote; '' is the options' own, which may be none."
    )
    clouds: tuple[str, ...] = parameter((), "Topics of lidars: sensor_msgs/PointCloud2.")
    deskew: bool = parameter(True, "Use the times of points, where a cloud has them.")
    depths: tuple[str, ...] = parameter(
        (), "Topics of depth images, 16UC1 (mm) or 32FC1 (m); each has its CameraInfo beside it."
    )
    depth_rectified: bool = parameter(True, "Whether depth images are rectified: then P counts, else K and D.")
    contact_line: str = parameter(
        "auto",
        "Whether images say where the ground ends: auto is where neither clouds nor depth images come.",
        choices=("auto", "always", "never"),
    )
    odometry: str = parameter("", "Topic of nav_msgs/Odometry in place of /tf, for robots without; '' is /tf.")
    extrinsics: str = parameter("", "YAML file of static transforms, for robots that publish none; '' is /tf_static.")
    publish_rate: float = parameter(
        0.0, "The most grids a second that are published; 0 is all. All observations count.", low=0.0, high=1000.0
    )
    top_view_pixels: int = parameter(800, "The least side of the top view's picture.", low=16, high=8192)


@dataclass(frozen=True)
class PanopticGridSettings(GridSettings):
    """The parameters ``grid.`` of the panoptic node."""

    enabled: bool = parameter(False, "Make a semantic occupancy grid of the results, in this process.")
    rectified: bool = parameter(False, "Whether the cameras' images are rectified: then P counts, else K and D.")


@dataclass(frozen=True)
class MaskTopics:
    """Where one camera's masks come from; each of several cameras has these as ``<camera>.panoptic_topic`` …"""

    panoptic_topic: str = parameter(
        "", "Panoptic masks (32SC1); '' is <predictions>/[<camera>/]panoptic, where the panoptic node publishes them."
    )
    camera_info_topic: str = parameter("", "CameraInfo of the masks; '' is camera_info beside them.")
    rectified: bool = parameter(False, "Whether the masks are of rectified images: then P counts, else K and D.")


@dataclass(frozen=True)
class GridNodeSettings(MaskTopics, GridSettings):
    """The parameters of the grid's own node but those of the single cameras of a list."""

    cameras: tuple[str, ...] = parameter((), "Names of the cameras; none is the single camera without a name.")
    predictions: str = parameter("/panoptic_node", "What the masks and label_info lie below.")
    labels: str = parameter("", "Label set, or its file; '' is the one that <predictions>/label_info is of.")
    diagnostics_period: float = parameter(1.0, "Seconds between two messages on /diagnostics.", low=0.1, high=60.0)
    silence_timeout: float = parameter(
        5.0, "Seconds without a message of an input after which the log says why.", low=0.5, high=3600.0
    )


def read_options(settings: GridSettings) -> GridOptions:
    """The options of the grid, with what the parameters say in their place.

    Raises
    ------
    ParameterError
        If there are none of that name, or they are not what they should be.
    """
    try:
        options = load_grid_options(settings.options)
        frames = {"fixed_frame": settings.fixed_frame, "base_frame": settings.base_frame}
        changes: dict[str, Any] = {name: frame for name, frame in frames.items() if frame}
        if settings.confusion:
            changes["classes"] = dataclasses.replace(options.classes, confusion=settings.confusion)
        return dataclasses.replace(options, **changes)
    except (ConfigurationError, FileNotFoundError, ValueError) as error:
        raise ParameterError(f"options: {error}") from error
