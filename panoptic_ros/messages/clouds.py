"""``sensor_msgs/PointCloud2`` in and out, and depth images in, for rclpy's classes and rosbags' types alike.

What drivers call the time of a point, and its unit:

- ``t``, ``time_stamp``, ``offset_time`` in whole numbers are nanoseconds after the header's stamp (Ouster, Autoware,
  Livox),
- ``time``, ``t`` in fractions are seconds relative to it (Velodyne),
- ``timestamp`` in fractions is absolute, in seconds, milli-, micro- or nanoseconds (Hesai, RoboSense, Livox): the unit
  is the one in which it is near the header's stamp. Which of the two a fraction is, its size says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.encodings import ImageError, check_size
from panoptic_ros.grid.cameras import Camera
from panoptic_ros.grid.clouds import LONGEST_SWEEP, Cloud, CloudError, finite
from panoptic_ros.grid.depth import DepthImage
from panoptic_ros.messages.camera import NANOSECONDS, nanoseconds
from panoptic_ros.messages.topics import POINT_CLOUD
from panoptic_ros.messages.types import MessageTypes

# sensor_msgs/PointField
DATATYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
_CODES = {name: code for code, name in DATATYPES.items()}

TIME_FIELDS = ("t", "time", "timestamp", "time_stamp", "offset_time")

MOST_POINTS = 1 << 24
"""The most points of a cloud that are believed."""

_DEPTHS = {"16UC1": ("u2", 0.001), "mono16": ("u2", 0.001), "32FC1": ("f4", 1.0)}  # REP 118


def cloud_from(message: Any, use_times: bool = True) -> Cloud:
    """The points of a PointCloud2 that have a position.

    Parameters
    ----------
    message:
        Organised or not; x, y and z lie anywhere, in any order and of either byte order, as float32 or float64.
    use_times:
        Whether to look for a time of each point; without, the cloud is taken as of one moment.

    Returns
    -------
    cloud:
        Without the points that are not finite or at 0 0 0, by which drivers mark a missing return.

    Raises
    ------
    CloudError
        If there is no x, y or z or they are no floating-point numbers, the data is shorter than the cloud, there is no
        frame, or the times of points cannot be those of one sweep at the cloud's stamp.
    """
    stamp, frame = nanoseconds(message.header.stamp), str(message.header.frame_id).lstrip("/")
    records = _records(message, frame)
    names = records.dtype.names or ()
    missing = [axis for axis in "xyz" if axis not in names]
    if missing:
        raise CloudError(
            f"cloud in {frame}: no field {', '.join(missing)}; its fields are "
            f"{', '.join(str(field.name) for field in message.fields) or 'none'}"
        )
    xyz = np.empty((len(records), 3), dtype=np.float32)
    for column, axis in enumerate("xyz"):
        if records[axis].dtype.kind != "f":
            raise CloudError(
                f"cloud in {frame}: field {axis} is {records[axis].dtype.name}, expected float32 or float64"
            )
        xyz[:, column] = records[axis]
    times = _times(records, stamp, frame) if use_times else None
    return finite(Cloud(stamp, frame, xyz, times))


def point_cloud(types: MessageTypes, header: Any, table: NDArray[Any]) -> Any:
    """A structured array (N,) of little-endian numbers as a PointCloud2 of one row with its fields."""
    named: Mapping[str, Any] = table.dtype.fields or {}
    fields = [
        types.make(
            "sensor_msgs/msg/PointField", name=name, offset=int(what[1]), datatype=_CODES[what[0].str[1:]], count=1
        )
        for name, what in named.items()
    ]
    return types.make(
        POINT_CLOUD,
        header=header,
        height=1,
        width=len(table),
        fields=fields,
        is_bigendian=False,
        point_step=int(table.dtype.itemsize),
        row_step=int(table.nbytes),
        data=np.ascontiguousarray(table).view(np.uint8).reshape(-1),
        is_dense=True,
    )


def depth_from(message: Any, camera: Camera) -> DepthImage:
    """A depth image in metres.

    Parameters
    ----------
    message:
        A ``sensor_msgs/Image`` in 16UC1 (millimetres; mono16 is taken as such) or 32FC1 (metres), as in REP 118.
    camera:
        Its geometry; see `camera_from`.

    Raises
    ------
    ImageError
        If the encoding is another, or the data shorter than the image.
    CameraError
        If the camera is of another size, or the image has no frame.
    """
    height, width, step = int(message.height), int(message.width), int(message.step)
    if message.encoding not in _DEPTHS:
        raise ImageError(f"encoding {message.encoding!r} is no depth image, expected 16UC1 (mm) or 32FC1 (m)")
    check_size(height, width)
    kind, unit = _DEPTHS[message.encoding]
    sample = np.dtype(kind).newbyteorder(">" if message.is_bigendian else "<")
    if step < width * sample.itemsize or len(message.data) < step * height:
        raise ImageError(
            f"a {width}x{height} {message.encoding} image has step {step} and {len(message.data)} bytes, expected a "
            f"step of at least {width * sample.itemsize} and step x height bytes"
        )
    buffer = np.frombuffer(message.data, dtype=np.uint8)
    pixels: NDArray[Any] = np.ndarray((height, width), dtype=sample, buffer=buffer, strides=(step, sample.itemsize))
    metres = pixels.astype(np.float32)
    if unit != 1.0:
        metres *= np.float32(unit)
    return DepthImage(nanoseconds(message.header.stamp), str(message.header.frame_id).lstrip("/"), metres, camera)


def _records(message: Any, frame: str) -> NDArray[Any]:
    """A view (N,) of the cloud's points with those of its fields that are read."""
    height, width = int(message.height), int(message.width)
    point, row = int(message.point_step), int(message.row_step)
    if not 0 <= height * width <= MOST_POINTS:
        raise CloudError(f"cloud in {frame}: {width}x{height} points, expected at most {MOST_POINTS}")
    order = ">" if message.is_bigendian else "<"
    wanted = [field for field in message.fields if field.name in {*"xyz", *TIME_FIELDS}]
    for field in wanted:
        if field.datatype not in DATATYPES:
            raise CloudError(f"cloud in {frame}: field {field.name} has datatype {field.datatype}, expected 1 to 8")
        if field.offset + np.dtype(DATATYPES[field.datatype]).itemsize > point:
            raise CloudError(
                f"cloud in {frame}: field {field.name} at byte {field.offset} is beyond point_step {point}"
            )
    if height > 1 and row < point * width:
        raise CloudError(f"cloud in {frame}: row_step is {row}, expected at least {point * width}")
    length = row * (height - 1) + point * width if height * width else 0
    if len(message.data) < length:
        raise CloudError(
            f"cloud in {frame}: data has {len(message.data)} bytes, expected {length} "
            f"({width}x{height} points of {point})"
        )
    layout = np.dtype(
        {
            "names": [str(field.name) for field in wanted],
            "formats": [order + DATATYPES[field.datatype] for field in wanted],
            "offsets": [int(field.offset) for field in wanted],
            "itemsize": max(point, 1),
        }
    )
    if not height * width:
        return np.zeros(0, dtype=layout)
    buffer = np.frombuffer(message.data, dtype=np.uint8)
    strides = (row if height > 1 else point * width, point)
    points: NDArray[Any] = np.ndarray((height, width), dtype=layout, buffer=buffer, strides=strides)
    return points.reshape(-1)


def _times(records: NDArray[Any], stamp: int, frame: str) -> NDArray[np.float64] | None:
    """(N,) float64 seconds relative to the stamp; None where there is no such field or it is 0 throughout."""
    name = next((name for name in TIME_FIELDS if name in (records.dtype.names or ())), None)
    if name is None or not len(records):
        return None
    values = records[name]
    if values.dtype.kind in "iu":
        return values.astype(np.float64) / NANOSECONDS if values.any() else None
    values = values.astype(np.float64)
    given = values[np.isfinite(values)]
    if not given.any():
        return None
    first = float(given[0])
    if abs(first) <= LONGEST_SWEEP:
        return values
    for per_second in (1.0, 1e3, 1e6, 1e9):
        # The first and the rest apart, because float64 does not hold 19 digits.
        after = (first - stamp * (per_second / NANOSECONDS)) / per_second
        if abs(after) <= LONGEST_SWEEP:
            return after + (values - first) / per_second
    raise CloudError(
        f"cloud in {frame}: the first of its timestamps is {first:.6f}, its stamp {stamp / NANOSECONDS:.6f} s; "
        "expected the same clock (set deskew to false to take such clouds as of one moment)"
    )
