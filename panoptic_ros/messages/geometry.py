"""Where things are, out of messages: transforms, odometry and calibrations, for rclpy's classes and rosbags' alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from panoptic_ros.grid.cameras import Camera
from panoptic_ros.grid.poses import Pose
from panoptic_ros.messages.camera import matrix_of, nanoseconds

Transform = tuple[str, str, int, Pose]
"""Parent frame, child frame, stamp in nanoseconds, and the child in the parent."""


class TransformError(ValueError):
    """A transform that is none; the message names its frames and what was expected."""


def transforms_from(message: Any, refuse: Callable[[TransformError], None] | None = None) -> list[Transform]:
    """The transforms in a ``tf2_msgs/TFMessage``.

    Parameters
    ----------
    message:
        The message.
    refuse:
        Called with what is wrong with a transform, which is then left out; the others do not suffer from it.

    Raises
    ------
    TransformError
        If a transform lacks a frame or is no rotation and finite translation, and there is no `refuse`.
    """
    found = []
    for one in message.transforms:
        try:
            move = one.transform
            found.append(_transform(one.header, one.child_frame_id, move.translation, move.rotation, "transform"))
        except TransformError as error:
            if refuse is None:
                raise
            refuse(error)
    return found


def odometry_from(message: Any) -> Transform:
    """The pose in a ``nav_msgs/Odometry``: of its child frame (the vehicle) in that of its header.

    Raises
    ------
    TransformError
        If it lacks a frame or is no rotation and finite translation.
    """
    pose = message.pose.pose
    return _transform(message.header, message.child_frame_id, pose.position, pose.orientation, "odometry")


def camera_from(info: Any, rectified: bool = False, mask_size: tuple[int, int] | None = None) -> Camera:
    """The geometry in a ``sensor_msgs/CameraInfo``, of ROS 1 or 2.

    Parameters
    ----------
    info:
        The message.
    rectified:
        Whether the mask is of a rectified image (P and R count) or of a raw one (K and D).
    mask_size:
        Height and width of the mask, where it is not of the image's size.

    Raises
    ------
    CameraError
        If something is missing or contradicts itself.
    """
    region = info.roi
    return Camera.from_info(
        int(info.width),
        int(info.height),
        matrix_of(info, "k"),
        matrix_of(info, "d"),
        matrix_of(info, "r"),
        matrix_of(info, "p"),
        model=str(info.distortion_model),
        binning=(int(info.binning_x), int(info.binning_y)),
        roi=(int(region.x_offset), int(region.y_offset), int(region.width), int(region.height)),
        rectified=rectified,
        mask_size=mask_size,
    )


def _transform(header: Any, child: str, position: Any, turn: Any, what: str) -> Transform:
    parent, child = str(header.frame_id).lstrip("/"), str(child).lstrip("/")
    if not parent or not child:
        raise TransformError(f"{what} of frame {child!r} in {parent!r}: expected two names")
    try:
        pose = Pose.from_quaternion(
            np.array([turn.x, turn.y, turn.z, turn.w]), np.array([position.x, position.y, position.z])
        )
    except ValueError as error:
        raise TransformError(f"{what} of {child} in {parent}: {error}") from error
    return parent, child, nanoseconds(header.stamp), pose
