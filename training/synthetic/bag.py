"""A drive as ROS messages: what the drivers of the sensors publish, and the truth in the node's own message forms.

Topics
------
``/<camera>/image_raw`` or ``/<camera>/image_raw/compressed``, ``/<camera>/camera_info``;
``/<lidar>/points`` (`POINT`); ``/<depth camera>/image_raw`` and ``camera_info``;
``/odom``, ``/tf``, ``/tf_static``, ``/clock``;
``/truth/<camera>/`` ``panoptic``, ``semantic``, ``instance_ids``, ``instances``, ``camera_info`` as the node publishes
them, and ``visibility`` (`VISIBILITY`); ``/truth/label_info``;
``/truth/objects`` (boxes) and ``/truth/object_states`` (`STATE`) in ``map``;
``/truth/occupancy`` (-1 unknown, 0, 100), ``/truth/semantic_grid`` (class ids, -1 unknown) and ``/truth/instance_grid``
(16UC1, the same cells: row 0 has the lowest y) in ``odom``.

Tables are PointCloud2, which every tool reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from panoptic_ros import messages
from panoptic_ros.labels import LabelSet
from panoptic_ros.messages import MessageTypes
from panoptic_ros.messages.topics import CAMERA_TOPICS, LABEL_TYPE
from panoptic_ros.recording import Message
from panoptic_ros.segmentation import PanopticSegmentation
from panoptic_training.synthetic.annotation import as_annotated
from panoptic_training.synthetic.camera import Intrinsics
from panoptic_training.synthetic.drive import (
    NANOSECONDS,
    CameraSample,
    DepthSample,
    LidarSample,
    OdometrySample,
    Sample,
    TruthSample,
)
from panoptic_training.synthetic.frames import BASE, MAP, ODOM, OPTICAL
from panoptic_training.synthetic.rig import OdometrySettings, Rig
from panoptic_training.synthetic.top_view import TopView
from panoptic_training.synthetic.truth import ObjectTruth, SeenObject

START = 1_700_000_000 * NANOSECONDS
"""When every drive begins, nanoseconds since the epoch."""

LATCHED = ("/tf_static", "/truth/label_info")

CLOUD, IMAGE, INFO = "sensor_msgs/msg/PointCloud2", "sensor_msgs/msg/Image", "sensor_msgs/msg/CameraInfo"
GRID, TF = "nav_msgs/msg/OccupancyGrid", "tf2_msgs/msg/TFMessage"

POINT = np.dtype(
    {
        "names": ["x", "y", "z", "intensity", "time", "ring", "label", "instance"],
        "formats": ["<f4", "<f4", "<f4", "<f4", "<f4", "<u2", "<u2", "<u2"],
        "itemsize": 28,
    }
)
"""A lidar's point: its place at its own time, `time` in seconds after the stamp, class id and instance."""

VISIBILITY = np.dtype(
    [
        *((axis, "<f4") for axis in "xyz"),
        ("visible", "<u4"),
        ("unoccluded", "<u4"),
        ("label", "<u2"),
        ("instance", "<u2"),
        ("truncated", "<u4"),
    ]
)
"""A thing in a camera's view: the middle of its box in the optical frame, and its pixels; see `SeenObject`."""

STATE = np.dtype(
    [
        *((name, "<f4") for name in ("x", "y", "z", "length", "width", "height", "yaw", "vx", "vy", "vz")),
        ("label", "<u2"),
        ("instance", "<u2"),
    ]
)
"""A thing: the middle, size and heading of its box, and its velocity, in ``map``."""

# sensor_msgs/PointField
DATATYPES = {"u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}


class DriveMessages:
    """Makes the messages of one measurement after another.

    Parameters
    ----------
    types:
        Where message classes come from.
    rig:
        What measured.
    labels:
        What the class ids mean.
    compressed:
        Images as JPEG instead of raw.
    annotated:
        The labels of images as people draw them (`as_annotated`) instead of exact.
    """

    def __init__(
        self, types: MessageTypes, rig: Rig, labels: LabelSet, compressed: bool = False, annotated: bool = False
    ) -> None:
        self._types = types
        self._rig = rig
        self._labels = labels
        self._compressed = compressed
        self._annotated = annotated

    def first(self) -> list[Message]:
        """What is published once, at the start."""
        header = messages.make_header(self._types, START, "")
        transforms = [
            self._transform(START, parent, child, matrix)
            for (parent, child), matrix in self._rig.static_transforms().items()
        ]
        return [
            Message("/tf_static", TF, START, self._types.make(TF, transforms=transforms)),
            Message("/truth/label_info", LABEL_TYPE, START, messages.label_info(self._types, header, self._labels)),
        ]

    def of(self, sample: Sample) -> list[Message]:
        """The messages of one measurement; each is logged when the measurement is there."""
        if isinstance(sample, CameraSample):
            made = self._camera(sample)
        elif isinstance(sample, LidarSample):
            made = self._lidar(sample)
        elif isinstance(sample, DepthSample):
            made = self._depth(sample)
        elif isinstance(sample, OdometrySample):
            made = self._odometry(sample)
        else:
            made = self._truth(sample)
        return [Message(topic, kind, START + sample.ready, content) for topic, kind, content in made]

    def _camera(self, sample: CameraSample) -> list[tuple[str, str, Any]]:
        name, types = sample.camera.name, self._types
        header = self._header(sample, name + OPTICAL)
        frame, intrinsics = sample.frame, sample.camera.lens.intrinsics
        info = camera_info(types, header, intrinsics)
        ids = as_annotated(frame.ids, frame.depth, intrinsics.pixel_angle) if self._annotated else frame.ids
        seen = PanopticSegmentation.from_ids(ids, self._labels.thing_ids)
        truth = {
            "panoptic": messages.panoptic_image(types, header, seen),
            "semantic": messages.semantic_image(types, header, seen),
            "instance_ids": messages.instance_image(types, header, seen),
            "instances": messages.instances(types, header, seen, self._labels),
            "camera_info": info,
        }
        if self._compressed:
            packed = messages.compressed_image(types, header, frame.image, quality=92)
            image = (f"/{name}/image_raw/compressed", "sensor_msgs/msg/CompressedImage", packed)
        else:
            image = (f"/{name}/image_raw", IMAGE, messages.bgr_image(types, header, frame.image))
        table = cloud(types, header, visibility_table(sample.objects, sample.world_from_optical))
        return [
            (f"/{name}/camera_info", INFO, info),
            image,
            *((f"/truth/{name}/{topic}", CAMERA_TOPICS[topic], content) for topic, content in truth.items()),
            (f"/truth/{name}/visibility", CLOUD, table),
        ]

    def _lidar(self, sample: LidarSample) -> list[tuple[str, str, Any]]:
        scan = sample.scan
        points = np.zeros(len(scan.xyz), dtype=POINT)
        for axis, name in enumerate("xyz"):
            points[name] = scan.xyz[:, axis]
        points["intensity"], points["time"], points["ring"] = scan.intensity, scan.time_offset, scan.ring
        points["label"], points["instance"] = scan.class_id, scan.instance
        header = self._header(sample, sample.lidar.name)
        return [(f"/{sample.lidar.name}/points", CLOUD, cloud(self._types, header, points))]

    def _depth(self, sample: DepthSample) -> list[tuple[str, str, Any]]:
        header = self._header(sample, sample.camera.name + OPTICAL)
        depth = np.ascontiguousarray(sample.depth)
        image = self._types.make(
            IMAGE,
            header=header,
            height=depth.shape[0],
            width=depth.shape[1],
            encoding=sample.camera.encoding,
            step=depth.strides[0],
            data=depth.reshape(-1).view(np.uint8),
        )
        info = camera_info(self._types, header, sample.camera.lens.intrinsics)
        return [(f"/{sample.camera.name}/camera_info", INFO, info), (f"/{sample.camera.name}/image_raw", IMAGE, image)]

    def _odometry(self, sample: OdometrySample) -> list[tuple[str, str, Any]]:
        types, header = self._types, self._header(sample, ODOM)
        position, turn = sample.odom_from_base[:3, 3], quaternion(sample.odom_from_base[:3, :3])
        speed, yaw_rate = sample.twist
        twist = types.make(
            "geometry_msgs/msg/Twist", linear=self._vector((speed, 0, 0)), angular=self._vector((0, 0, yaw_rate))
        )
        odometry = types.make(
            "nav_msgs/msg/Odometry",
            header=header,
            child_frame_id=BASE,
            pose=types.make("geometry_msgs/msg/PoseWithCovariance", pose=self._pose(position, turn)),
            twist=types.make(
                "geometry_msgs/msg/TwistWithCovariance", twist=twist, covariance=twist_covariance(self._rig.odometry)
            ),
        )
        stamp = START + sample.stamp
        transforms = [
            self._transform(stamp, MAP, ODOM, sample.map_from_odom),
            self._transform(stamp, ODOM, BASE, sample.odom_from_base),
        ]
        clock = types.make("rosgraph_msgs/msg/Clock", clock=header.stamp)
        return [
            ("/clock", "rosgraph_msgs/msg/Clock", clock),
            ("/tf", TF, types.make(TF, transforms=transforms)),
            ("/odom", "nav_msgs/msg/Odometry", odometry),
        ]

    def _truth(self, sample: TruthSample) -> list[tuple[str, str, Any]]:
        types, header = self._types, self._header(sample, MAP)
        boxes = types.make(
            "vision_msgs/msg/Detection3DArray",
            header=header,
            detections=[self._box(header, thing) for thing in sample.objects],
        )
        in_odom, view = self._header(sample, ODOM), sample.top_view
        instances = np.ascontiguousarray(view.instance.astype("<u2"))
        image = types.make(
            IMAGE,
            header=in_odom,
            height=instances.shape[0],
            width=instances.shape[1],
            encoding="16UC1",
            step=instances.strides[0],
            data=instances.reshape(-1).view(np.uint8),
        )
        occupancy = np.where(view.occupied, 100, np.where(view.known, 0, -1))
        classes = np.where(view.known, view.classes.astype(np.int32), -1)
        return [
            ("/truth/objects", "vision_msgs/msg/Detection3DArray", boxes),
            ("/truth/object_states", CLOUD, cloud(types, header, state_table(sample.objects))),
            ("/truth/occupancy", GRID, self._grid(in_odom, view, occupancy)),
            ("/truth/semantic_grid", GRID, self._grid(in_odom, view, classes)),
            ("/truth/instance_grid", IMAGE, image),
        ]

    def _box(self, header: Any, thing: ObjectTruth) -> Any:
        types = self._types
        pose = self._pose(thing.center, quaternion(thing.pose[:3, :3]))
        hypothesis = types.make(
            "vision_msgs/msg/ObjectHypothesis", class_id=self._labels.name_of(thing.class_id), score=1.0
        )
        guess = types.make(
            "vision_msgs/msg/ObjectHypothesisWithPose",
            hypothesis=hypothesis,
            pose=types.make("geometry_msgs/msg/PoseWithCovariance", pose=pose),
        )
        box = types.make("vision_msgs/msg/BoundingBox3D", center=pose, size=self._vector(thing.size))
        return types.make(
            "vision_msgs/msg/Detection3D", header=header, results=[guess], bbox=box, id=str(thing.instance)
        )

    def _grid(self, header: Any, view: TopView, values: NDArray[Any]) -> Any:
        types = self._types
        info = types.make(
            "nav_msgs/msg/MapMetaData",
            map_load_time=header.stamp,
            resolution=float(view.cell),
            width=values.shape[1],
            height=values.shape[0],
            origin=self._pose((*view.origin, 0.0), (0.0, 0.0, 0.0, 1.0)),
        )
        return types.make(GRID, header=header, info=info, data=values.astype(np.int8).reshape(-1))

    def _header(self, sample: Sample, frame_id: str) -> Any:
        return messages.make_header(self._types, START + sample.stamp, frame_id)

    def _vector(self, values: Any) -> Any:
        x, y, z = (float(value) for value in values)
        return self._types.make("geometry_msgs/msg/Vector3", x=x, y=y, z=z)

    def _quaternion(self, values: Any) -> Any:
        x, y, z, w = (float(value) for value in values)
        return self._types.make("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)

    def _pose(self, position: Any, turn: Any) -> Any:
        x, y, z = (float(value) for value in position)
        point = self._types.make("geometry_msgs/msg/Point", x=x, y=y, z=z)
        return self._types.make("geometry_msgs/msg/Pose", position=point, orientation=self._quaternion(turn))

    def _transform(self, stamp: int, parent: str, child: str, matrix: NDArray[np.float64]) -> Any:
        turn = self._quaternion(quaternion(matrix[:3, :3]))
        moved = self._types.make("geometry_msgs/msg/Transform", translation=self._vector(matrix[:3, 3]), rotation=turn)
        header = messages.make_header(self._types, stamp, parent)
        return self._types.make(
            "geometry_msgs/msg/TransformStamped", header=header, child_frame_id=child, transform=moved
        )


def camera_info(types: MessageTypes, header: Any, intrinsics: Intrinsics) -> Any:
    """The CameraInfo of a raw image; its rectified image would have the same camera matrix."""
    matrix = np.asarray(intrinsics.matrix, dtype=np.float64)
    coefficients = np.asarray(intrinsics.distortion, dtype=np.float64)
    count = 8 if intrinsics.model == "rational_polynomial" else 5
    return types.make(
        INFO,
        header=header,
        height=int(intrinsics.height),
        width=int(intrinsics.width),
        distortion_model=intrinsics.model,
        d=np.concatenate([coefficients, np.zeros(max(0, count - len(coefficients)))]),
        k=matrix.reshape(-1),
        r=np.eye(3).reshape(-1),
        p=np.concatenate([matrix, np.zeros((3, 1))], axis=1).reshape(-1),
    )


def cloud(types: MessageTypes, header: Any, table: NDArray[Any]) -> Any:
    """A structured array (N,) as a PointCloud2 of one row."""
    named: Mapping[str, Any] = table.dtype.fields or {}
    fields = [
        types.make(
            "sensor_msgs/msg/PointField", name=name, offset=int(what[1]), datatype=DATATYPES[what[0].str[1:]], count=1
        )
        for name, what in named.items()
    ]
    return types.make(
        CLOUD,
        header=header,
        height=1,
        width=len(table),
        fields=fields,
        is_bigendian=False,
        point_step=table.dtype.itemsize,
        row_step=table.nbytes,
        data=np.frombuffer(table.tobytes(), dtype=np.uint8),
        is_dense=True,
    )


def visibility_table(objects: tuple[SeenObject, ...], world_from_optical: NDArray[np.float64]) -> NDArray[Any]:
    """(N,) `VISIBILITY` of what a camera at a pose (4, 4) has in view."""
    table = np.zeros(len(objects), dtype=VISIBILITY)
    for row, seen in zip(table, objects, strict=True):
        center = (seen.truth.center - world_from_optical[:3, 3]) @ world_from_optical[:3, :3]
        row["x"], row["y"], row["z"] = center
        row["visible"], row["unoccluded"], row["truncated"] = seen.visible, seen.unoccluded, seen.truncated
        row["label"], row["instance"] = seen.truth.class_id, seen.truth.instance
    return table


def state_table(objects: tuple[ObjectTruth, ...]) -> NDArray[Any]:
    """(N,) `STATE` of things."""
    table = np.zeros(len(objects), dtype=STATE)
    for row, thing in zip(table, objects, strict=True):
        row["x"], row["y"], row["z"] = thing.center
        row["length"], row["width"], row["height"] = thing.size
        row["yaw"] = np.arctan2(thing.pose[1, 0], thing.pose[0, 0])
        row["vx"], row["vy"], row["vz"] = thing.velocity
        row["label"], row["instance"] = thing.class_id, thing.instance
    return table


def twist_covariance(settings: OdometrySettings) -> NDArray[np.float64]:
    """(36,) of one measured twist, whose noise is white."""
    covariance = np.zeros((6, 6))
    covariance[0, 0] = settings.speed_noise**2 * settings.rate
    covariance[5, 5] = settings.yaw_rate_noise**2 * settings.rate
    return covariance.reshape(-1)


def quaternion(turn: NDArray[np.float64]) -> NDArray[np.float64]:
    """(4,) x, y, z, w of a rotation matrix (3, 3), w not negative.

    It is the eigenvector to the largest eigenvalue of a symmetric matrix (Bar-Itzhack 2000), well conditioned for every
    rotation.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = turn
    symmetric = np.array(
        [
            [xx - yy - zz, yx + xy, zx + xz, zy - yz],
            [yx + xy, yy - xx - zz, zy + yz, xz - zx],
            [zx + xz, zy + yz, zz - xx - yy, yx - xy],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    )
    found: NDArray[np.float64] = np.linalg.eigh(symmetric)[1][:, -1]
    return found if found[3] >= 0 else -found
