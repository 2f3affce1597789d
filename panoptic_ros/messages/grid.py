"""The semantic occupancy grid's messages: what it reads becomes values, what it says becomes topics."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.grid.drawing import TopViewPainter
from panoptic_ros.grid.observations import Observation
from panoptic_ros.grid.snapshot import GridSnapshot
from panoptic_ros.grid.tracking import TrackedObject
from panoptic_ros.labels import LabelSet
from panoptic_ros.messages.camera import make_header
from panoptic_ros.messages.clouds import cloud_from, depth_from, point_cloud
from panoptic_ros.messages.geometry import TransformError, camera_from, odometry_from, transforms_from
from panoptic_ros.messages.grids import grid_map, nav_grid, occupancy_grid, semantic_grid
from panoptic_ros.messages.images import bgr_image
from panoptic_ros.messages.objects import detections_3d, object_markers, object_states
from panoptic_ros.messages.topics import GRID_TOPICS
from panoptic_ros.messages.types import MessageTypes

__all__ = [
    "TransformError",
    "camera_from",
    "cloud_from",
    "depth_from",
    "detections_3d",
    "grid_map",
    "grid_messages",
    "labelled_points",
    "nav_grid",
    "object_markers",
    "object_states",
    "obstacle_points",
    "occupancy_grid",
    "odometry_from",
    "point_cloud",
    "semantic_grid",
    "transforms_from",
]

_XYZ = [(axis, "<f4") for axis in "xyz"]
OBSTACLE_POINT = np.dtype(_XYZ)
LABELLED_POINT = np.dtype([*_XYZ, ("rgb", "<f4"), ("label", "<u1"), ("instance", "<u4"), ("height", "<f4")])
"""A point in the fixed frame, its class's colour as RViz reads it, class id (0: none), track, metres above ground."""

_UNLABELLED = (96, 96, 96)


def grid_messages(
    types: MessageTypes,
    snapshot: GridSnapshot,
    objects: Sequence[TrackedObject],
    labels: LabelSet,
    observation: Observation,
    wanted: Collection[str] | None = None,
    painter: TopViewPainter | None = None,
) -> dict[str, Any]:
    """The messages of one result of the grid, by topics of `GRID_TOPICS`, in the order in which robots need them.

    Parameters
    ----------
    snapshot, objects, observation:
        The result: the grid, what is tracked, and the points that brought it about.
    labels:
        What classes are positions in.
    wanted:
        Which topics; None is all that `types` has types for (grid_map_msgs need not be installed).
    painter:
        Draws the top view; None is one with its defaults.
    """
    if wanted is None:
        wanted = {topic for topic, kind in GRID_TOPICS.items() if types.has(kind)}
    header = make_header(types, snapshot.stamp, snapshot.frame)
    makers: dict[str, Callable[[], Any]] = {
        "occupancy": lambda: occupancy_grid(types, snapshot),
        "nav_grid": lambda: nav_grid(types, snapshot),
        "semantic_grid": lambda: semantic_grid(types, snapshot, labels),
        "obstacle_points": lambda: obstacle_points(types, snapshot.frame, observation),
        "objects": lambda: detections_3d(types, header, objects, labels),
        "object_states": lambda: object_states(types, header, objects, labels),
        "grid_map": lambda: grid_map(types, snapshot, labels),
        "markers": lambda: object_markers(types, header, objects, labels),
        "points": lambda: labelled_points(types, snapshot.frame, observation, labels),
        "top_view": lambda: bgr_image(
            types, header, (painter or TopViewPainter(labels))(snapshot, objects, observation.origin)
        ),
    }
    return {topic: make() for topic, make in makers.items() if topic in wanted}


def obstacle_points(types: MessageTypes, frame: str, observation: Observation) -> Any:
    """The points of what stands there, as a PointCloud2 in the fixed frame, for Nav2's ObstacleLayer."""
    table = _placed(observation, observation.obstacle, OBSTACLE_POINT)
    return point_cloud(types, make_header(types, observation.stamp, frame), table)


def labelled_points(types: MessageTypes, frame: str, observation: Observation, labels: LabelSet) -> Any:
    """All points of an observation with their classes and tracks, as a coloured PointCloud2 in the fixed frame."""
    table = _placed(observation, np.ones(len(observation), dtype=np.bool_), LABELLED_POINT)
    colors = np.array([label.color for label in labels.labels] + [_UNLABELLED], dtype=np.uint32)
    packed = (colors[:, 0] << 16) | (colors[:, 1] << 8) | colors[:, 2]
    table["rgb"] = packed[observation.classes].view(np.float32)
    table["label"] = np.append(labels.class_ids, 0)[observation.classes]
    table["instance"] = observation.instances
    table["height"] = observation.heights
    return point_cloud(types, make_header(types, observation.stamp, frame), table)


def _placed(observation: Observation, chosen: NDArray[np.bool_], layout: np.dtype[Any]) -> NDArray[Any]:
    points = observation.points[chosen]
    table = np.zeros(len(points), dtype=layout)
    for column, axis in enumerate("xyz"):
        table[axis] = points[:, column] + observation.origin[column]
    return table
