"""The demo's two ends of DDS: the node in a process of its own, and a peer that plays camera and recorder for it."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from numpy.typing import NDArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rclpy.serialization import deserialize_message

from panoptic_ros import messages
from panoptic_ros.messages.topics import CAMERA_TOPICS, LABEL_TOPIC, LABEL_TYPE

IMAGE_TOPIC, INFO_TOPIC = "/camera/image_raw", "/camera/camera_info"
NODE = "panoptic_node"
LABEL_INFO, DIAGNOSTICS = f"/{NODE}/{LABEL_TOPIC}", "/diagnostics"
OUTPUTS = {
    **{f"/{NODE}/{topic}": kind for topic, kind in CAMERA_TOPICS.items()},
    LABEL_INFO: LABEL_TYPE,
    DIAGNOSTICS: "diagnostic_msgs/msg/DiagnosticArray",
}


class DemoError(RuntimeError):
    """The demo cannot go on; the message says why."""


class NodeProcess:
    """The node as a user starts it, in a process of its own; leaving the context ends it.

    Parameters
    ----------
    parameters:
        The node's parameters.
    log:
        File that takes what the node says.
    """

    def __init__(self, parameters: dict[str, Any], log: Path) -> None:
        self._log = log
        command = [sys.executable, "-m", "panoptic_ros.nodes.panoptic_node", "--ros-args"]
        for name, value in parameters.items():
            command += ["-p", f"{name}:={value}"]
        with log.open("wb") as file:
            # A session of its own: Ctrl-C goes to the demo alone, which then ends the node in order.
            self._process = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True, stdin=subprocess.DEVNULL
            )

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def check(self) -> None:
        """Raise DemoError, with the end of its log, if the node has ended."""
        status = self._process.poll()
        if status is not None:
            raise DemoError(f"the node ended with status {status}; the end of {self._log}:\n{self._tail()}")

    def stop(self, timeout: float = 15.0) -> None:
        """End the node as Ctrl-C does; raise DemoError if it does not end, or not with status 0."""
        self.check()
        self._process.send_signal(signal.SIGINT)
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise DemoError(f"the node did not end within {timeout:.0f} s of SIGINT\n{self._tail()}") from None
        if status != 0:
            raise DemoError(f"the node ended with status {status} after SIGINT\n{self._tail()}")

    def _tail(self, lines: int = 20) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])


class Status(NamedTuple):
    """A part of the node as its last diagnostics have it; a value that is not known now is the last that was."""

    is_error: bool = False
    sentence: str = "no diagnostics came"
    values: Mapping[str, str] = MappingProxyType({})


@dataclass
class Record:
    """What the peer received: for each topic the serialized messages with the times they arrived, in ns."""

    received: dict[str, list[tuple[int, bytes]]] = field(default_factory=dict)
    sent: list[tuple[int, NDArray[np.uint8]]] = field(default_factory=list)
    """The stamps, in ns, and the frames that were published."""

    parts: dict[str, Status] = field(default_factory=dict)
    """What the diagnostics said of "model" and "camera"."""

    def status(self, part: str) -> Status:
        return self.parts.get(part, Status())

    def diagnose(self, message: DiagnosticArray) -> None:
        """Take what a message of the node's diagnostics says."""
        for status in message.status:
            part = status.name.removeprefix(f"{NODE}: ")
            values = dict(self.status(part).values) | {pair.key: pair.value for pair in status.values if pair.value}
            self.parts[part] = Status(status.level == DiagnosticStatus.ERROR, status.message, values)

    def ages(self, topic: str) -> list[float]:
        """Seconds from the camera's stamp to the arrival here, of each message of a topic that starts with a header."""
        return [(arrival - header_stamp(data)) * 1e-9 for arrival, data in self.received[topic]]


def header_stamp(data: bytes) -> int:
    """The stamp, in ns, of a serialized message whose first field is a header (CDR, little-endian)."""
    seconds, nanoseconds = struct.unpack_from("<iI", data, 4)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


class Peer(Node):
    """Publishes frames as a camera does, and records everything that the node publishes."""

    def __init__(self, intrinsics: tuple[float, float, float] | None) -> None:
        super().__init__("demo")
        self.record = Record()
        self._types = messages.RosMessageTypes()
        self._intrinsics = intrinsics  # focal length and principal point, where the camera is known
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)
        self._images = self.create_publisher(self._kind("sensor_msgs/msg/Image"), IMAGE_TOPIC, qos_profile_sensor_data)
        self._infos = self.create_publisher(self._kind("sensor_msgs/msg/CameraInfo"), INFO_TOPIC, 10)
        for topic, kind in OUTPUTS.items():
            self.record.received[topic] = []
            if not self._types.has(kind):  # the node does without vision_msgs too, and says so
                continue
            qos = QoSProfile(
                history=HistoryPolicy.KEEP_LAST,
                depth=100,
                reliability=ReliabilityPolicy.RELIABLE,
                durability=DurabilityPolicy.TRANSIENT_LOCAL if topic == LABEL_INFO else DurabilityPolicy.VOLATILE,
            )
            self.create_subscription(self._kind(kind), topic, self._recorder(topic), qos, raw=True)

    def spin(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Take messages for some seconds, or until a condition holds; returns whether it does."""
        end = self._now() + int(seconds * 1e9)
        while not until():
            left = (end - self._now()) * 1e-9
            if left <= 0:
                return False
            self._executor.spin_once(timeout_sec=min(left, 0.05))
        return True

    def connected(self) -> bool:
        """Whether the node listens to our images."""
        return self._images.get_subscription_count() > 0

    def send(self, frame: NDArray[np.uint8]) -> None:
        """Publish a frame, and its CameraInfo where the camera is known, stamped now."""
        stamp = self.get_clock().now()
        header = messages.make_header(self._types, stamp.to_msg(), "camera_optical_frame")
        self._images.publish(messages.bgr_image(self._types, header, frame))
        if self._intrinsics is not None:
            height, width = frame.shape[:2]
            focal, u, v = self._intrinsics
            k = [focal, 0.0, u, 0.0, focal, v, 0.0, 0.0, 1.0]
            info = self._types.make("sensor_msgs/msg/CameraInfo", header=header, height=height, width=width)
            info.distortion_model, info.d, info.k = "plumb_bob", [0.0] * 5, k
            info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
            info.p = [*k[:3], 0.0, *k[3:6], 0.0, *k[6:], 0.0]
            self._infos.publish(info)
        self.record.sent.append((stamp.nanoseconds, frame))

    def _now(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _kind(self, name: str) -> type:
        return type(self._types.make(name))

    def _recorder(self, topic: str) -> Callable[[bytes], None]:
        store = self.record.received[topic]

        def receive(data: bytes) -> None:
            store.append((self._now(), data))
            if topic == DIAGNOSTICS:
                self.record.diagnose(deserialize_message(data, DiagnosticArray))

        return receive


def use_own_network(profile: Path, logs: str) -> None:
    """Keep this process and its children to this computer and a domain of their own, with our DDS profile."""
    os.environ["ROS_DOMAIN_ID"] = str(50 + os.getpid() % 150)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ["ROS_LOG_DIR"] = logs
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        os.environ[name] = str(profile)


def percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    """p50 and p99 in ms."""
    p50, p99 = np.percentile(np.asarray(seconds) * 1e3, (50, 99))
    return float(p50), float(p99)
