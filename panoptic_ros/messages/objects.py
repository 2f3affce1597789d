"""Tracked objects as boxes (``vision_msgs``), as a table with velocities, and as markers for RViz."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from panoptic_ros.grid.tracking import TrackedObject
from panoptic_ros.labels import LabelSet
from panoptic_ros.messages.clouds import point_cloud
from panoptic_ros.messages.types import MessageTypes

STATE = np.dtype(
    [
        *((name, "<f4") for name in ("x", "y", "z", "length", "width", "height", "yaw", "vx", "vy", "vz")),
        ("label", "<u2"),
        ("instance", "<u4"),
    ]
)
"""The middle, size, heading and velocity of an object in the frame of the message, its class id and its track."""

_CUBE, _ARROW, _TEXT = 1, 0, 9  # visualization_msgs/Marker
_ADD, _DELETE_ALL = 0, 3
_ARROW_SECONDS = 1.0  # the arrow ends where the object will be


def detections_3d(types: MessageTypes, header: Any, objects: Sequence[TrackedObject], labels: LabelSet) -> Any:
    """The objects as a ``vision_msgs/Detection3DArray``.

    A detection's `id` is its track, the value of its cells in the layer ``instance``; its class is given by name.  The
    covariance is that of x and y; the rest is not known and 0.
    """
    detections = []
    for one in objects:
        pose = _pose(types, one)
        covariance = np.zeros((6, 6))
        covariance[:2, :2] = one.covariance[:2, :2]
        guess = types.make(
            "vision_msgs/msg/ObjectHypothesisWithPose",
            hypothesis=types.make(
                "vision_msgs/msg/ObjectHypothesis",
                class_id=labels.labels[one.class_index].name,
                score=float(one.score),
            ),
            pose=types.make("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=covariance.reshape(-1)),
        )
        box = types.make("vision_msgs/msg/BoundingBox3D", center=pose, size=_vector(types, one.extent))
        detections.append(
            types.make("vision_msgs/msg/Detection3D", header=header, results=[guess], bbox=box, id=str(one.track))
        )
    return types.make("vision_msgs/msg/Detection3DArray", header=header, detections=detections)


def object_states(types: MessageTypes, header: Any, objects: Sequence[TrackedObject], labels: LabelSet) -> Any:
    """The objects as a PointCloud2 with the fields of `STATE`: a Detection3DArray has no place for velocities."""
    table = np.zeros(len(objects), dtype=STATE)
    for row, one in zip(table, objects, strict=True):
        row["x"], row["y"], row["z"] = one.centre
        row["length"], row["width"], row["height"] = one.extent
        row["yaw"] = one.yaw
        row["vx"], row["vy"] = one.velocity
        row["label"], row["instance"] = labels.labels[one.class_index].id, one.track
    return point_cloud(types, header, table)


def object_markers(types: MessageTypes, header: Any, objects: Sequence[TrackedObject], labels: LabelSet) -> Any:
    """The objects as a ``visualization_msgs/MarkerArray``: boxes, names with tracks, and arrows of their velocities.

    The first marker deletes those of the message before.
    """
    markers = [types.make("visualization_msgs/msg/Marker", header=header, action=_DELETE_ALL)]
    for one in objects:
        label = labels.labels[one.class_index]
        common: dict[str, Any] = {"header": header, "id": one.track, "action": _ADD}
        color = [channel / 255 for channel in label.color]
        markers.append(
            types.make(
                "visualization_msgs/msg/Marker",
                ns="boxes",
                type=_CUBE,
                pose=_pose(types, one),
                scale=_vector(types, one.extent),
                color=_color(types, color, 0.5),
                **common,
            )
        )
        top = one.centre + np.array([0.0, 0.0, one.extent[2] / 2 + 0.5])
        speed = float(np.hypot(*one.velocity))
        markers.append(
            types.make(
                "visualization_msgs/msg/Marker",
                ns="names",
                type=_TEXT,
                pose=types.make("geometry_msgs/msg/Pose", position=_point(types, top)),
                scale=_vector(types, (0.0, 0.0, 0.6)),
                color=_color(types, (1.0, 1.0, 1.0), 1.0),
                text=f"{label.name} {one.track}, {speed:.1f} m/s",
                **common,
            )
        )
        ahead = one.centre + _ARROW_SECONDS * np.append(one.velocity, 0.0)
        markers.append(
            types.make(
                "visualization_msgs/msg/Marker",
                ns="velocities",
                type=_ARROW,
                points=[_point(types, one.centre), _point(types, ahead)],
                scale=_vector(types, (0.15, 0.35, 0.0)),
                color=_color(types, color, 1.0),
                **common,
            )
        )
    return types.make("visualization_msgs/msg/MarkerArray", markers=markers)


def _pose(types: MessageTypes, one: TrackedObject) -> Any:
    turn = types.make(
        "geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=float(np.sin(one.yaw / 2)), w=float(np.cos(one.yaw / 2))
    )
    return types.make("geometry_msgs/msg/Pose", position=_point(types, one.centre), orientation=turn)


def _point(types: MessageTypes, values: Any) -> Any:
    x, y, z = (float(value) for value in values)
    return types.make("geometry_msgs/msg/Point", x=x, y=y, z=z)


def _vector(types: MessageTypes, values: Any) -> Any:
    x, y, z = (float(value) for value in values)
    return types.make("geometry_msgs/msg/Vector3", x=x, y=y, z=z)


def _color(types: MessageTypes, values: Any, opacity: float) -> Any:
    r, g, b = (float(value) for value in values)
    return types.make("std_msgs/msg/ColorRGBA", r=r, g=g, b=b, a=float(opacity))
