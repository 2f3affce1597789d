"""A stand-in for the grid's builder with real poses and no fusion, and the messages that its inputs are made of."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from node_harness import RecordingLogger, Ros
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from vision_msgs.msg import LabelInfo

sys.path.append(str(Path(__file__).resolve().parents[1] / "grid"))

from grid_boxes import observed
from grid_pictures import snapshot, tracked

from panoptic_ros import messages
from panoptic_ros.grid.options import GridOptions
from panoptic_ros.grid.poses import NotYetError, Pose, PoseError, PoseTree
from panoptic_ros.labels import LabelSet
from panoptic_ros.messages import RosMessageTypes
from panoptic_ros.messages.clouds import point_cloud
from panoptic_ros.nodes.semantic_grid_node import SemanticGridNode
from panoptic_ros.segmentation import PanopticSegmentation

CITYSCAPES = LabelSet.load("cityscapes")
TYPES = RosMessageTypes()
SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@dataclass(frozen=True)
class Result:
    """As `GridResult`."""

    stamp: int
    snapshot: Any
    objects: tuple[Any, ...]
    observation: Any


class StandIn:
    """Answers each input whose pose is there with a result of its stamp; keeps all that it was given."""

    def __init__(self, options: GridOptions, labels: LabelSet, confusion: Any, contact_line: Any) -> None:
        self.options, self.labels, self.confusion, self.contact_line = options, labels, confusion, contact_line
        self.tree = PoseTree()
        self.views: list[Any] = []
        self.clouds: list[Any] = []
        self.depths: list[Any] = []
        self.poses: list[tuple[str, str, bool]] = []
        self.resets: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.late_labels = 0
        self.last_errors: dict[str, str] = {}
        self.gate = threading.Event()  # what `process_next` waits for
        self.gate.set()
        self.trouble: Exception | None = None
        self._waiting: list[Any] = []

    def add_pose(self, parent: str, child: str, stamp: int, pose: Pose, static: bool = False) -> None:
        self.tree.add(parent, child, stamp, pose, static)
        self.poses.append((parent, child, static))

    def add_view(self, view: Any) -> None:
        self.views.append(view)

    def add_cloud(self, cloud: Any) -> None:
        self.clouds.append(cloud)
        self._waiting.append(cloud)

    def add_depth(self, image: Any) -> None:
        self.depths.append(image)
        self._waiting.append(image)

    def process_next(self) -> Result | None:
        self.gate.wait()
        if self.trouble is not None and self._waiting:
            self._waiting.clear()
            raise self.trouble
        for one in tuple(self._waiting):
            try:
                self.tree.lookup(self.options.fixed_frame, one.frame, one.stamp)
            except NotYetError:
                continue
            except PoseError as error:
                self.dropped["unknown frame"] += 1
                self.last_errors["unknown frame"] = str(error)
                self._waiting.remove(one)
                continue
            self._waiting.remove(one)
            points = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
            view = observed((points, "car", 1, 0), origin=np.zeros(3), stamp=one.stamp)
            grid = replace(snapshot(), stamp=one.stamp)
            return Result(one.stamp, grid, (tracked(stamp=one.stamp),), view)
        return None


class GridNodeUnderTest(SemanticGridNode):
    """The node, with a log that can be read and the builders that it made."""

    def __init__(self, **options: Any) -> None:
        self.log = RecordingLogger()
        self.made: list[StandIn] = []

        def make(*arguments: Any) -> StandIn:
            self.made.append(StandIn(*arguments))
            return self.made[-1]

        super().__init__(builders=make, **options)

    def get_logger(self) -> Any:
        return self.log

    @property
    def builder(self) -> StandIn:
        return self.made[-1]

    def dropped(self) -> dict[str, int]:
        return self.host.statistics.summary().dropped


def start_grid(ros: Ros, **parameters: Any) -> GridNodeUnderTest:
    """The node with one lidar and the single camera of /panoptic_node."""
    given = {"clouds": ["/lidar/points"], "labels": "cityscapes", "diagnostics_period": 0.1} | parameters
    overrides = [Parameter(key.replace("__", "."), value=value) for key, value in given.items() if value is not None]
    node = GridNodeUnderTest(context=ros.context, parameter_overrides=overrides, use_global_arguments=False)
    ros.spin_node(node)
    return node


def matched(ros: Ros, node: Any, *publishers: Any) -> None:
    """Wait until both sides know of each other: what is sent best effort before is lost."""
    for publisher in publishers:
        ros.connected(publisher)
        ends = [one for one in node.subscriptions if one.topic_name == publisher.topic_name]
        ros.until(lambda: all(one.get_publisher_count() for one in ends), publisher.topic_name)  # noqa: B023


def header(stamp: int, frame: str) -> Any:
    return messages.make_header(TYPES, stamp, frame)


def cloud(stamp: int, frame: str = "lidar", points: Any = ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))) -> Any:
    table = np.zeros(len(points), dtype=[(axis, "<f4") for axis in "xyz"])
    for column, axis in enumerate("xyz"):
        table[axis] = [point[column] for point in points]
    return point_cloud(TYPES, header(stamp, frame), table)


def transforms(*moves: tuple[int, str, str, float]) -> Any:
    """A TFMessage of (stamp, parent, child, x)."""
    return TYPES.make(
        "tf2_msgs/msg/TFMessage",
        transforms=[
            TYPES.make(
                "geometry_msgs/msg/TransformStamped",
                header=header(stamp, parent),
                child_frame_id=child,
                transform=TYPES.make(
                    "geometry_msgs/msg/Transform",
                    translation=TYPES.make("geometry_msgs/msg/Vector3", x=x, y=0.0, z=0.0),
                ),
            )
            for stamp, parent, child, x in moves
        ],
    )


def camera_info(stamp: int, width: int = 8, height: int = 6) -> Any:
    k = np.array([10.0, 0, width / 2, 0, 10, height / 2, 0, 0, 1])
    p = np.array([10.0, 0, width / 2, 0, 0, 10, height / 2, 0, 0, 0, 1, 0])
    return TYPES.make(
        "sensor_msgs/msg/CameraInfo",
        header=header(stamp, "optical"),
        width=width,
        height=height,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=k,
        r=np.eye(3).reshape(-1),
        p=p,
    )


def mask(stamp: int, frame: str = "optical", value: int = 7000) -> Any:
    """6 x 8 pixels of road."""
    ids = np.full((6, 8), value, np.int32)
    return messages.panoptic_image(
        TYPES, header(stamp, frame), PanopticSegmentation.from_ids(ids, CITYSCAPES.thing_ids)
    )


def depth_image(stamp: int, millimetres: int = 2000) -> Any:
    pixels = np.full((6, 8), millimetres, "<u2")
    return TYPES.make(
        "sensor_msgs/msg/Image",
        header=header(stamp, "optical"),
        height=6,
        width=8,
        encoding="16UC1",
        step=16,
        data=np.frombuffer(pixels.tobytes(), np.uint8),
    )


def latched(ros: Ros, kind: type, topic: str) -> Any:
    publisher = ros.peer.create_publisher(kind, topic, LATCHED)
    ros._publishers.append(publisher)
    return publisher


def say_labels(ros: Ros, labels: LabelSet, source: str = "/panoptic_node") -> None:
    latched(ros, LabelInfo, f"{source}/label_info").publish(messages.label_info(TYPES, header(0, ""), labels))
