"""Clouds, depth images, calibrations and poses out of messages, against what was put in; and what is broken."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from panoptic_ros.encodings import ImageError
from panoptic_ros.grid.cameras import CameraError
from panoptic_ros.grid.clouds import CloudError
from panoptic_ros.messages import BagMessageTypes, MessageTypes, RosMessageTypes, make_header
from panoptic_ros.messages.grid import (
    TransformError,
    camera_from,
    cloud_from,
    depth_from,
    odometry_from,
    transforms_from,
)

STAMP = 1_700_000_000_123_456_789
CODES = {"f4": 7, "f8": 8, "u4": 6, "u2": 4, "i4": 5}


@pytest.fixture(scope="module", params=["rclpy", "rosbags"])
def types(request: pytest.FixtureRequest) -> MessageTypes:
    if request.param == "rosbags":
        return BagMessageTypes()
    ros = RosMessageTypes()
    if not ros.has("tf2_msgs/msg/TFMessage"):
        pytest.skip("needs tf2_msgs: tools/build_interfaces.py makes it")
    return ros


def packed(
    types: MessageTypes,
    table: dict[str, tuple[str, int, list[float]]],
    *,
    point_step: int,
    height: int = 1,
    row_padding: int = 0,
    big: bool = False,
    frame: str = "lidar",
    **changed: Any,
) -> Any:
    """A PointCloud2 whose fields (type, offset, values) are written one by one."""
    count = len(next(iter(table.values()))[2])
    width = count // height
    row_step = width * point_step + row_padding
    data = bytearray(b"\xaa" * row_step * height)
    fields = []
    for name, (kind, offset, values) in table.items():
        code = {"f4": "f", "f8": "d", "u4": "I", "u2": "H", "i4": "i"}[kind]
        for index, value in enumerate(values):
            row, column = divmod(index, width)
            struct.pack_into((">" if big else "<") + code, data, row * row_step + column * point_step + offset, value)
        fields.append(types.make("sensor_msgs/msg/PointField", name=name, offset=offset, datatype=CODES[kind], count=1))
    content = {
        "height": height,
        "width": width,
        "fields": fields,
        "is_bigendian": big,
        "point_step": point_step,
        "row_step": row_step,
        "data": np.frombuffer(bytes(data), np.uint8),
        "is_dense": False,
    }
    header = make_header(types, STAMP, frame)
    return types.make("sensor_msgs/msg/PointCloud2", header=header, **(content | changed))


POINTS = [[1.0, 2.0, 3.0], [-4.5, 5.25, 6.0], [7.0, -8.0, 9.5], [10.0, 11.0, 12.0]]


def xyz(kind: str = "f4", offsets: tuple[int, int, int] = (0, 4, 8), points: Any = POINTS) -> dict[str, Any]:
    return {
        axis: (kind, offset, [point[index] for point in points])
        for index, (axis, offset) in enumerate(zip("xyz", offsets, strict=True))
    }


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    ("kind", "offsets", "point_step"),
    [("f4", (0, 4, 8), 16), ("f4", (17, 5, 30), 37), ("f8", (16, 8, 0), 26)],
)
@pytest.mark.parametrize(("height", "row_padding"), [(1, 0), (2, 0), (2, 13)])
def test_points_are_read_wherever_they_lie(
    types: MessageTypes,
    kind: str,
    offsets: tuple[int, int, int],
    point_step: int,
    height: int,
    row_padding: int,
    big: bool,
) -> None:
    message = packed(
        types,
        xyz(kind, offsets),
        point_step=point_step,
        height=height,
        row_padding=row_padding,
        big=big,
        frame="/lidar",
    )
    cloud = cloud_from(message)
    assert (cloud.stamp, cloud.frame, cloud.times) == (STAMP, "lidar", None)
    assert cloud.xyz.dtype == np.float32
    assert cloud.xyz.tolist() == POINTS


def test_what_has_no_position_is_left_out(types: MessageTypes) -> None:
    nan, infinity = float("nan"), float("inf")
    points = [POINTS[0], [nan, 1, 1], [1, infinity, 1], [0, 0, 0], POINTS[1]]
    table = xyz(points=points) | {"t": ("u4", 12, [0, 1, 2, 3, 10**8])}
    cloud = cloud_from(packed(types, table, point_step=16))
    assert cloud.xyz.tolist() == POINTS[:2]
    assert cloud.times is not None
    assert cloud.times.tolist() == [0, 0.1]
    nothing = cloud_from(packed(types, xyz(points=[[nan] * 3] * 4), point_step=16))
    assert cloud_from(packed(types, xyz(points=[]), point_step=16)).xyz.shape == nothing.xyz.shape == (0, 3)


SECONDS = STAMP / 1e9


@pytest.mark.parametrize(
    ("name", "kind", "values"),
    [
        ("t", "u4", [0, 10_000_000, 20_000_000, 99_000_000]),
        ("offset_time", "u4", [0, 10_000_000, 20_000_000, 99_000_000]),
        ("time_stamp", "u4", [0, 10_000_000, 20_000_000, 99_000_000]),
        ("time", "f4", [0, 0.01, 0.02, 0.099]),
        ("timestamp", "f8", [SECONDS, SECONDS + 0.01, SECONDS + 0.02, SECONDS + 0.099]),
        ("timestamp", "f8", [1e3 * (SECONDS + offset) for offset in (0, 0.01, 0.02, 0.099)]),
        ("timestamp", "f8", [1e6 * (SECONDS + offset) for offset in (0, 0.01, 0.02, 0.099)]),
        ("timestamp", "f8", [1e9 * (SECONDS + offset) for offset in (0, 0.01, 0.02, 0.099)]),
        ("timestamp", "f8", [0, 0.01, 0.02, 0.099]),
    ],
)
def test_times_of_points_in_the_units_of_drivers(
    types: MessageTypes, name: str, kind: str, values: list[float]
) -> None:
    cloud = cloud_from(packed(types, xyz() | {name: (kind, 16, values)}, point_step=24))
    assert cloud.times is not None
    assert cloud.times == pytest.approx([0, 0.01, 0.02, 0.099], abs=1e-6)
    assert cloud_from(packed(types, xyz() | {name: (kind, 16, values)}, point_step=24), use_times=False).times is None


def test_times_that_are_all_0_are_none(types: MessageTypes) -> None:
    for kind in ("u4", "f4"):
        assert cloud_from(packed(types, xyz() | {"t": (kind, 12, [0] * 4)}, point_step=16)).times is None


def test_times_before_the_stamp(types: MessageTypes) -> None:
    cloud = cloud_from(packed(types, xyz() | {"time": ("f4", 12, [-0.09, -0.05, -0.01, 0])}, point_step=16))
    assert cloud.times is not None
    assert cloud.times == pytest.approx([-0.09, -0.05, -0.01, 0], abs=1e-7)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"table": {"x": ("f4", 0, [1.0]), "z": ("f4", 4, [1.0])}}, "cloud in lidar: no field y; its fields are x, z"),
        ({"table": xyz() | {"z": ("u4", 8, [1, 2, 3, 4])}}, "field z is uint32, expected float32 or float64"),
        ({"data": np.zeros(63, np.uint8)}, r"data has 63 bytes, expected 64 \(4x1 points of 16\)"),
        ({"point_step": 10}, "field z at byte 8 is beyond point_step 10"),
        ({"height": 2, "row_step": 20, "width": 2}, "row_step is 20, expected at least 32"),
        ({"width": 2**31, "height": 2**31}, "expected at most 16777216"),
        ({"frame": ""}, "cloud without frame_id"),
        ({"table": xyz() | {"t": ("u4", 12, [0, 0, 0, 4_000_000_000])}}, "times reach from 0.000 to 4.000 s"),
        (
            {"table": xyz() | {"timestamp": ("f8", 12, [77.0] * 4)}, "point_step": 20},
            "the first of its timestamps is 77",
        ),
    ],
)
def test_a_broken_cloud_is_refused_with_what_was_expected(
    types: MessageTypes, change: dict[str, Any], words: str
) -> None:
    given = {"table": xyz(), "point_step": 16} | change
    table, frame = given.pop("table"), given.pop("frame", "lidar")
    point_step = given.pop("point_step")
    message = packed(types, table, point_step=max(point_step, 16), frame=frame)
    message.point_step = point_step
    for field, value in given.items():
        if field == "data":
            message = packed(types, table, point_step=point_step, data=value)
        else:
            setattr(message, field, value)
    with pytest.raises(CloudError, match=words):
        cloud_from(message)


def test_a_field_of_no_type_is_refused(types: MessageTypes) -> None:
    message = packed(types, xyz(), point_step=16)
    message.fields[1].datatype = 9
    with pytest.raises(CloudError, match="field y has datatype 9, expected 1 to 8"):
        cloud_from(message)


def info(types: MessageTypes, **fields: Any) -> Any:
    values = {
        "width": 8,
        "height": 6,
        "distortion_model": "plumb_bob",
        "d": np.array([0.1, 0.0, 0.0, 0.0, 0.0]),
        "k": np.array([10.0, 0, 4, 0, 11, 3, 0, 0, 1]),
        "r": np.eye(3).reshape(-1),
        "p": np.array([20.0, 0, 5, 0, 0, 22, 2, 0, 0, 0, 1, 0]),
    }
    return types.make("sensor_msgs/msg/CameraInfo", **(values | fields))


def depth(types: MessageTypes, pixels: np.ndarray, encoding: str, **fields: Any) -> Any:
    values = {
        "header": make_header(types, STAMP, "/depth_optical"),
        "height": pixels.shape[0],
        "width": pixels.shape[1],
        "encoding": encoding,
        "step": pixels.strides[0],
        "is_bigendian": int(pixels.dtype.byteorder == ">"),
        "data": np.frombuffer(pixels.tobytes(), np.uint8),
    }
    return types.make("sensor_msgs/msg/Image", **(values | fields))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("encoding", "kind", "unit"), [("16UC1", "u2", 1000), ("mono16", "u2", 1000), ("32FC1", "f4", 1)]
)
def test_depth_is_in_metres(types: MessageTypes, order: str, encoding: str, kind: str, unit: int) -> None:
    metres = np.arange(48, dtype=np.float64).reshape(6, 8) / 4
    if kind == "f4":
        metres[0, 0] = np.nan
    pixels = (metres * unit).astype(order + kind)
    image = depth_from(depth(types, pixels, encoding), camera_from(info(types)))
    assert (image.stamp, image.frame, image.metres.dtype) == (STAMP, "depth_optical", np.float32)
    assert np.asarray(image.metres) == pytest.approx(metres, nan_ok=True)


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"encoding": "bgr8"}, ImageError, "encoding 'bgr8' is no depth image, expected 16UC1"),
        ({"step": 12}, ImageError, "step 12 and 96 bytes"),
        ({"height": 7}, ImageError, "a 8x7 16UC1 image has step 16 and 96 bytes"),
        ({"height": 0}, ImageError, "the image is 8x0"),
        ({"height": 3}, CameraError, r"expected \(6, 8\) float32, got \(3, 8\)"),
    ],
)
def test_a_broken_depth_image_is_refused(types: MessageTypes, fields: dict[str, Any], error: type, words: str) -> None:
    fields = dict(fields)
    message = depth(types, np.ones((6, 8), "<u2"), fields.pop("encoding", "16UC1"), **fields)
    with pytest.raises(error, match=words):
        depth_from(message, camera_from(info(types)))


def test_calibrations_of_raw_and_rectified_masks(types: MessageTypes) -> None:
    raw = camera_from(info(types), mask_size=(12, 16))
    assert (raw.height, raw.width, raw.model) == (12, 16, "polynomial")
    assert raw.matrix[[0, 1], [0, 1]].tolist() == [20.0, 22.0]
    rectified = camera_from(info(types), rectified=True)
    assert (rectified.model, rectified.matrix[0, 0], rectified.matrix[1, 2]) == ("pinhole", 20.0, 2.0)
    region = types.make("sensor_msgs/msg/RegionOfInterest", x_offset=2, y_offset=1, width=4, height=4)
    part = camera_from(info(types, roi=region, binning_x=2, binning_y=2))
    assert (part.height, part.width) == (2, 2)
    assert part.matrix[0].tolist() == [5.0, 0.0, 1.0]


def test_a_calibration_of_ros_1_and_one_that_is_missing(types: MessageTypes) -> None:
    class Ros1:
        """Names its matrices in capitals."""

        def __init__(self, message: Any) -> None:
            self._message = message

        def __getattr__(self, name: str) -> Any:
            if name in ("d", "k", "r", "p"):
                raise AttributeError(name)
            return getattr(self._message, name.lower())

    assert camera_from(Ros1(info(types))).matrix[0, 0] == 10.0
    with pytest.raises(CameraError, match="not calibrated or not filled in"):
        camera_from(types.make("sensor_msgs/msg/CameraInfo"))
    with pytest.raises(CameraError, match="of another size: 8x6, the mask is 8x3"):
        camera_from(info(types), mask_size=(3, 8))


def transform(types: MessageTypes, parent: str, child: str, turn: tuple[float, ...], move: tuple[float, ...]) -> Any:
    return types.make(
        "geometry_msgs/msg/TransformStamped",
        header=make_header(types, STAMP, parent),
        child_frame_id=child,
        transform=types.make(
            "geometry_msgs/msg/Transform",
            translation=types.make("geometry_msgs/msg/Vector3", **dict(zip("xyz", move, strict=True))),
            rotation=types.make("geometry_msgs/msg/Quaternion", **dict(zip("xyzw", turn, strict=True))),
        ),
    )


def literal_rotation(x: float, y: float, z: float, w: float) -> np.ndarray:
    """Each axis turned by q p q*, written out."""
    columns = []
    for axis in np.eye(3):
        q, v = np.array([x, y, z]), w
        once = np.cross(q, axis)
        columns.append(axis + 2 * v * once + 2 * np.cross(q, once))
    return np.array(columns).T


def test_transforms_and_odometry(types: MessageTypes) -> None:
    turn = (0.1, -0.5, 0.7, 0.5)
    one = transform(types, "/odom", "base_link", turn, (1.0, -2.0, 3.5))
    ((parent, child, stamp, pose),) = transforms_from(types.make("tf2_msgs/msg/TFMessage", transforms=[one]))
    assert (parent, child, stamp) == ("odom", "base_link", STAMP)
    assert pose.translation.tolist() == [1.0, -2.0, 3.5]
    assert pose.rotation == pytest.approx(literal_rotation(*turn))
    message = types.make(
        "nav_msgs/msg/Odometry",
        header=one.header,
        child_frame_id="base_link",
        pose=types.make(
            "geometry_msgs/msg/PoseWithCovariance",
            pose=types.make(
                "geometry_msgs/msg/Pose",
                position=types.make("geometry_msgs/msg/Point", x=1.0, y=-2.0, z=3.5),
                orientation=one.transform.rotation,
            ),
        ),
    )
    parent, child, stamp, pose = odometry_from(message)
    assert (parent, child, stamp) == ("odom", "base_link", STAMP)
    assert pose.rotation == pytest.approx(literal_rotation(*turn))
    message.child_frame_id = ""
    with pytest.raises(TransformError, match="odometry of frame '' in 'odom': expected two names"):
        odometry_from(message)


@pytest.mark.parametrize(
    ("child", "turn", "move", "words"),
    [
        ("base", (0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0), "transform of base in odom: expected a quaternion"),
        ("base", (0.0, 0.0, 0.0, 1.1), (0.0, 0.0, 0.0), "of length 1"),
        ("base", (0.0, 0.0, 0.0, 1.0), (0.0, float("nan"), 0.0), "expected a finite translation"),
        ("base", (float("nan"), 0.0, 0.0, 1.0), (0.0, 0.0, 0.0), "expected a quaternion"),
        ("", (0.0, 0.0, 0.0, 1.0), (0.0, 0.0, 0.0), "expected two names"),
    ],
)
def test_a_broken_transform_is_refused_and_the_others_are_kept(
    types: MessageTypes, child: str, turn: tuple[float, ...], move: tuple[float, ...], words: str
) -> None:
    good = transform(types, "base", "lidar", (0.0, 0.0, 0.0, 1.0), (0.0, 0.0, 2.0))
    bad = transform(types, "odom", child, turn, move)
    message = types.make("tf2_msgs/msg/TFMessage", transforms=[bad, good])
    with pytest.raises(TransformError, match=words):
        transforms_from(message)
    refused: list[TransformError] = []
    assert [one[:2] for one in transforms_from(message, refused.append)] == [("base", "lidar")]
    assert words in str(refused[0])


def test_a_synthetic_drives_clouds_are_read(types: MessageTypes) -> None:
    """Its writer is another than ours: `panoptic_training.synthetic.bag.cloud`."""
    sys.path.append(str(Path(__file__).parent / "training"))
    from panoptic_training.synthetic.bag import cloud as synthetic_cloud

    table = np.zeros(3, dtype=[("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4"), ("t", "<u4")])
    table["x"], table["t"] = [1, 2, 3], [0, 1000, 2000]
    found = cloud_from(synthetic_cloud(types, make_header(types, STAMP, "lidar"), table))
    assert found.xyz[:, 0].tolist() == [1, 2, 3]
    assert found.times is not None
    assert found.times == pytest.approx([0, 1e-6, 2e-6])
