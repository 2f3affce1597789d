"""The other end of DDS: it sends what sensors send, and records what the node answers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from exchange import NODE
from inputs import LATCHED, POSES, TF, Input, Shot
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rclpy.serialization import deserialize_message, serialize_message
from stamps import header_stamp, with_header_stamp

from panoptic_ros import messages
from panoptic_ros.bags import BagWriter
from panoptic_ros.messages import NANOSECONDS
from panoptic_ros.messages.topics import CAMERA_TOPICS, GRID_LATCHED, GRID_TOPICS, LABEL_TOPIC, LABEL_TYPE, POINT_CLOUD

LABEL_INFO, DIAGNOSTICS = f"/{NODE}/{LABEL_TOPIC}", "/diagnostics"
DROPPED = "dropped, "  # and the reason: a key of a camera's diagnostics
GRID = "grid"  # what the diagnostics call it
GRIDS = {f"/{NODE}/{name}": kind for name, kind in GRID_TOPICS.items()}
LATCHED_GRIDS = tuple(f"/{NODE}/{name}" for name in GRID_LATCHED)
NAV_GRID, SEMANTIC_GRID, TOP_VIEW = f"/{NODE}/nav_grid", f"/{NODE}/semantic_grid", f"/{NODE}/top_view"
TRUE_GRIDS = ("/truth/occupancy", "/truth/semantic_grid")
RECORDED_INPUTS = (
    *("/image_raw", "/image_raw/compressed", "/camera_info", "/panoptic", f"/truth/{LABEL_TOPIC}"),
    *TRUE_GRIDS,
    *POSES,
)


class Status(NamedTuple):
    """A part of the node as its last diagnostics have it; a value that is not known now is the last that was."""

    is_error: bool = False
    sentence: str = "no diagnostics came"
    values: Mapping[str, str] = MappingProxyType({})


@dataclass
class Record:
    """What came of a run.

    Attributes
    ----------
    sent:
        Number of images of each camera, and of clouds of each lidar, by its topic.
    published:
        Number of messages on each topic of the node.
    ages:
        Seconds from the camera's stamp to the arrival of the overlay here, by camera.
    grid_ages:
        Seconds from the stamp of the cloud that a grid is of to the arrival of the grid here.
    grid_arrivals:
        When those grids came, ns.
    parts:
        What the diagnostics said of "model", of "grid" and of each camera.
    """

    sent: Counter[str] = field(default_factory=Counter)
    published: Counter[str] = field(default_factory=Counter)
    ages: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    grid_ages: list[float] = field(default_factory=list)
    grid_arrivals: list[int] = field(default_factory=list)
    parts: dict[str, Status] = field(default_factory=dict)

    def status(self, part: str) -> Status:
        return self.parts.get(part, Status())

    def dropped(self, camera: str) -> dict[str, int]:
        """How many frames of a camera the node dropped, by reason."""
        values = self.status(camera).values
        return {key.removeprefix(DROPPED): int(value) for key, value in values.items() if key.startswith(DROPPED)}

    def settled(self, camera: str) -> bool:
        """Whether the node has answered or dropped each frame of a camera, and every answer is here."""
        values = self.status(camera).values
        received, processed = int(values.get("received", 0)), int(values.get("processed", 0))
        told = 0 < received <= processed + sum(self.dropped(camera).values())
        return told and len(self.ages[camera]) >= processed

    def diagnose(self, message: DiagnosticArray) -> None:
        """Take what a message of the node's diagnostics says."""
        for status in message.status:
            part = status.name.partition(": ")[2]
            values = dict(self.status(part).values) | {pair.key: pair.value for pair in status.values if pair.value}
            self.parts[part] = Status(status.level == DiagnosticStatus.ERROR, status.message, values)


def outputs(source: Input) -> dict[str, str]:
    """The type of each topic that the node publishes for what it is sent."""
    of_cameras = {f"/{NODE}/{name}/{topic}": kind for name in source.cameras for topic, kind in CAMERA_TOPICS.items()}
    return (
        of_cameras
        | (GRIDS if source.clouds else {})
        | {LABEL_INFO: LABEL_TYPE, DIAGNOSTICS: "diagnostic_msgs/msg/DiagnosticArray"}
    )


class Peer(Node):
    """Sends the messages of an `Input`, stamped as if they were measured now, and records them and the answers.

    Parameters
    ----------
    source:
        What is sent.
    bag:
        Where everything that is listened to goes, and of what is sent the images, the poses and their truth.
    listen:
        The types of the topics that are listened to; None is all that the node publishes.
    """

    def __init__(self, source: Input, bag: BagWriter, listen: Mapping[str, str] | None = None) -> None:
        super().__init__("demo")
        self.record = Record()
        self._source, self._bag = source, bag
        self._types = messages.RosMessageTypes()
        self._camera_of = {topic: name for name, topic in source.cameras.items()}
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)
        self._senders: dict[str, Publisher | None] = {}
        for topic in source.cameras.values():
            self._senders[topic] = self._sender(topic, _image_kind(topic))
        # Before the first message too: what comes before the node listens is lost.
        needed = {topic: POINT_CLOUD for topic in source.clouds} | {topic: TF for topic in POSES if source.clouds}
        self._senders |= {topic: self._sender(topic, kind) for topic, kind in needed.items()}
        self._needed = (*source.cameras.values(), *needed)
        for topic, kind in (outputs(source) if listen is None else listen).items():
            if self._types.has(kind):  # the node does without vision_msgs too, and says so
                self.create_subscription(self._kind(kind), topic, self._recorder(topic, kind), _qos(topic), raw=True)

    def spin(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Take messages for some seconds, or until a condition holds; returns whether it does."""
        end = self.now() + int(seconds * NANOSECONDS)
        while not until():
            left = (end - self.now()) / NANOSECONDS
            if left <= 0:
                return False
            self._executor.spin_once(timeout_sec=min(left, 0.05))
        return True

    def connected(self) -> bool:
        """Whether the node listens to all cameras, and to all that the grid is made of."""
        senders = [self._senders[topic] for topic in self._needed]
        return all(sender is not None and sender.get_subscription_count() > 0 for sender in senders)

    def send(self, shot: Shot, start: int) -> None:
        """Publish a message, stamped as if its first one had been measured at `start`, ns."""
        if shot.topic not in self._senders:
            self._senders[shot.topic] = self._sender(shot.topic, shot.kind)
        sender = self._senders[shot.topic]
        if sender is None:
            return
        data = self._restamped(shot, start)
        sender.publish(data)
        if shot.topic.endswith(RECORDED_INPUTS):
            self._bag.write_raw(shot.topic, shot.kind, self.now(), data)
        if shot.topic in self._camera_of:
            self.record.sent[self._camera_of[shot.topic]] += 1
        elif shot.topic in self._source.clouds:
            self.record.sent[shot.topic] += 1

    def now(self) -> int:
        """Nanoseconds since the epoch."""
        return int(self.get_clock().now().nanoseconds)

    def _sender(self, topic: str, kind: str) -> Publisher | None:
        """What publishes on a topic; None if there are no messages of that type here."""
        if not self._types.has(kind):
            return None
        reliable = topic in LATCHED or kind == TF
        return self.create_publisher(self._kind(kind), topic, _qos(topic) if reliable else qos_profile_sensor_data)

    def _restamped(self, shot: Shot, start: int) -> bytes:
        if shot.kind != TF:
            return with_header_stamp(shot.data, start + shot.stamp)
        message = deserialize_message(shot.data, self._kind(TF))
        stamp = messages.make_header(self._types, start + shot.stamp, "").stamp
        for transform in message.transforms:
            transform.header.stamp = stamp
        return bytes(serialize_message(message))

    def _kind(self, name: str) -> type:
        return type(self._types.make(name))

    def _recorder(self, topic: str, kind: str) -> Callable[[bytes], None]:
        prefix, _, rest = topic.removeprefix(f"/{NODE}/").partition("/")
        aged = prefix if rest == "overlay" else ""

        def receive(data: bytes) -> None:
            arrival = self.now()
            self._bag.write_raw(topic, kind, arrival, data)
            self.record.published[topic] += 1
            if aged:
                self.record.ages[aged].append((arrival - header_stamp(data)) / NANOSECONDS)
            elif topic == NAV_GRID:
                self.record.grid_ages.append((arrival - header_stamp(data)) / NANOSECONDS)
                self.record.grid_arrivals.append(arrival)
            elif topic == DIAGNOSTICS:
                self.record.diagnose(deserialize_message(data, DiagnosticArray))

        return receive


def _image_kind(topic: str) -> str:
    return "sensor_msgs/msg/CompressedImage" if topic.endswith("/compressed") else "sensor_msgs/msg/Image"


def _qos(topic: str) -> QoSProfile:
    latched = topic in (LABEL_INFO, *LATCHED)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=100,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )
