"""Headers, and the ``sensor_msgs/CameraInfo`` that belongs to what is published."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.encodings import ImageError
from panoptic_ros.messages.types import MessageTypes

NANOSECONDS = 1_000_000_000


def nanoseconds(stamp: Any) -> int:
    """A ``builtin_interfaces/Time`` as nanoseconds since the epoch."""
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


def make_header(types: MessageTypes, stamp: Any, frame_id: str) -> Any:
    """A ``std_msgs/Header``; `stamp` is a ``builtin_interfaces/Time`` or nanoseconds since the epoch."""
    if isinstance(stamp, int):
        seconds, rest = divmod(stamp, NANOSECONDS)
        stamp = types.make("builtin_interfaces/msg/Time", sec=seconds, nanosec=rest)
    return types.make("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)


def camera_info(types: MessageTypes, header: Any, info: Any, width: int, height: int) -> Any:
    """The CameraInfo of an image that was made from the one that `info` describes.

    ``sensor_msgs/CameraInfo`` gives K and P for the whole sensor, and by `roi` and `binning` which part of it the image
    is.  An image of just that size has `info` as it is.  One that was resized since, by the same factor in width and
    height up to one pixel of rounding, gets K and P of its own pixels and neither roi nor binning; the principal point
    scales with the size, as in image_geometry and image_proc.

    Parameters
    ----------
    header:
        Replaces that of `info`.
    info:
        A CameraInfo, of ROS 1 or 2.
    width, height:
        Of the published image, in pixels.

    Raises
    ------
    ImageError
        If `info` has no size, or no binning, region of interest or resizing leads from its size to the image's.
    """
    window = (info.roi.width or info.width, info.roi.height or info.height)
    binning = (max(info.binning_x, 1), max(info.binning_y, 1))
    size = (window[0] // binning[0], window[1] // binning[1])
    if not all(size):
        raise ImageError(f"camera_info says {info.width}x{info.height}, expected a size to match {width}x{height}")
    k, p = matrix_of(info, "k").copy(), matrix_of(info, "p").copy()
    kept: dict[str, Any] = {}
    if (width, height) == size:
        region = {field: getattr(info.roi, field) for field in ("x_offset", "y_offset", "height", "width")}
        kept["roi"] = types.make("sensor_msgs/msg/RegionOfInterest", do_rectify=bool(info.roi.do_rectify), **region)
        kept |= {"binning_x": info.binning_x, "binning_y": info.binning_y}
        width, height = info.width, info.height
    elif abs(width - height * size[0] / size[1]) <= 1 or abs(height - width * size[1] / size[0]) <= 1:
        for matrix in (k, p):
            if not matrix[0]:  # not calibrated
                continue
            columns = matrix.size // 3
            matrix[2] -= info.roi.x_offset
            matrix[columns + 2] -= info.roi.y_offset
            matrix[:columns] *= width / window[0]
            matrix[columns : 2 * columns] *= height / window[1]
    else:
        raise ImageError(
            f"camera_info is for {size[0]}x{size[1]} images ({info.width}x{info.height}, its region of interest "
            f"{info.roi.width}x{info.roi.height}, binning {binning[0]}x{binning[1]}), "
            f"expected {width}x{height} or the same shape in another size"
        )
    return types.make(
        "sensor_msgs/msg/CameraInfo",
        header=header,
        height=int(height),
        width=int(width),
        distortion_model=info.distortion_model,
        d=matrix_of(info, "d"),
        k=k,
        r=matrix_of(info, "r"),
        p=p,
        **kept,
    )


def matrix_of(info: Any, name: str) -> NDArray[np.float64]:
    """A matrix of a CameraInfo, flat; ROS 1 names them in capitals."""
    values = getattr(info, name) if hasattr(info, name) else getattr(info, name.upper())
    return np.asarray(values, dtype=np.float64)
