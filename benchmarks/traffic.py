"""What the benchmarks of the node share: the node in a process of its own, and what is around it on a robot."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image

from panoptic_ros import messages
from panoptic_ros.nodes.outputs import CAMERA_TOPICS
from panoptic_ros.resources import share_directory

NODE = "panoptic_node"
IMAGE_TOPIC = "/camera/image_raw"
PATIENCE = 60.0  # seconds for the node to load its model, and for it to end


def use_own_network() -> None:
    """Keep this process and its children to this computer and a domain of their own, with our DDS profile."""
    os.environ["ROS_DOMAIN_ID"] = str(50 + os.getpid() % 50)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ["ROS_LOG_DIR"] = tempfile.gettempdir()
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        os.environ[name] = str(share_directory() / "config" / "fastdds.xml")


def picture(width: int, height: int) -> np.ndarray:
    """(height, width, 3) uint8 BGR: smooth and of all colours, as pictures are."""
    coarse = np.random.default_rng(0).integers(0, 256, (9, 16, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


class NodeProcess:
    """The node in a process of its own; leaving the context ends it.

    Parameters
    ----------
    model:
        A real system's name, or what ``stand_in.py`` takes.
    stand_in:
        Whether what is found is prepared.
    window:
        Seconds that the statistics of a stand-in look back.
    parameters:
        More of the node's parameters.
    """

    def __init__(
        self, model: str, *, stand_in: bool, window: float = 10.0, parameters: Mapping[str, object] | None = None
    ) -> None:
        script = [str(Path(__file__).with_name("stand_in.py")), str(window)]
        command = [sys.executable, *(script if stand_in else ["-m", "panoptic_ros.nodes.panoptic_node"]), "--ros-args"]
        for name, value in {"model": model, "threads": 1, "diagnostics_period": 0.5, **(parameters or {})}.items():
            command += ["-p", f"{name}:={value}"]
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process, in __exit__
        self._process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT)
        self.pid = self._process.pid

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if error is not None:
            print(self.log(), file=sys.stderr)
        self._log.close()

    def log(self) -> str:
        """What the node has said."""
        self._log.seek(0)
        return self._log.read()

    def stop(self) -> int:
        """End the node as Ctrl-C does; returns its exit status."""
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(PATIENCE)


class Peer:
    """The camera, the audience, and the reader of diagnostics.

    Attributes
    ----------
    sent:
        Number of frames.
    received:
        Number of messages on each topic of `CAMERA_TOPICS`.
    ages:
        Seconds from the stamp to the arrival here of each message on `aged_topic`.
    values:
        What the last diagnostics say of the camera, with numbers where they are.
    """

    def __init__(self, frame: np.ndarray, aged_topic: str = "panoptic") -> None:
        self.sent = 0
        self.received: Counter[str] = Counter()
        self.ages: list[float] = []
        self.values: dict[str, float] = {}
        self.model_ready = False
        self._aged_topic = aged_topic
        self._context = rclpy.Context()
        rclpy.init(args=[], context=self._context)
        self._node = rclpy.create_node("peer", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        types = messages.RosMessageTypes()
        self._types = types
        self._image = messages.bgr_image(types, messages.make_header(types, 0, "camera_optical"), frame)
        self._camera = self._node.create_publisher(Image, IMAGE_TOPIC, qos_profile_sensor_data)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._listening: list[Subscription] = []

    def close(self) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.shutdown()

    def listen(self, topics: Iterable[str]) -> None:
        """Listen to these topics of the node and no others."""
        for subscription in self._listening:
            self._node.destroy_subscription(subscription)
        qos = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.RELIABLE)
        self._listening = [
            self._node.create_subscription(
                type(self._types.make(CAMERA_TOPICS[topic])), f"/{NODE}/{topic}", self._counter(topic), qos, raw=True
            )
            for topic in topics
        ]

    def spin(self, seconds: float) -> None:
        """Take messages for some seconds."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)

    def wait(self, condition: Callable[[], object], timeout: float) -> bool:
        """Take messages until a condition holds, at most for `timeout` seconds; returns whether it does."""
        end = time.monotonic() + timeout
        while not (holds := bool(condition())) and time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.05)
        return holds

    def until(self, condition: Callable[[], object], what: str, timeout: float = PATIENCE) -> None:
        """Take messages until a condition holds.

        Raises
        ------
        TimeoutError
            If it does not within `timeout` seconds.
        """
        if not self.wait(condition, timeout):
            raise TimeoutError(f"waited {timeout:.0f} s in vain for {what}")

    def connect(self) -> None:
        """Wait until the node has its model and listens to the camera."""
        self.until(lambda: self.model_ready, "the model")
        self.until(lambda: self._camera.get_subscription_count() > 0, "the node's subscription")

    def play(self, seconds: float, rate: float, each: Callable[[], object] = lambda: None) -> None:
        """Be a camera of `rate` frames a second for a while; `each` is called after each frame."""
        start, frames = time.monotonic(), round(seconds * rate)
        for index in range(frames):
            self.spin(start + index / rate - time.monotonic())
            self._image.header.stamp = self._node.get_clock().now().to_msg()
            self._camera.publish(self._image)
            self.sent += 1
            each()

    def _counter(self, topic: str) -> Callable[[bytes], None]:
        def count(data: bytes) -> None:
            self.received[topic] += 1
            if topic == self._aged_topic:  # CDR: four bytes of its own, then the header's stamp
                seconds, nanoseconds = np.frombuffer(data, dtype="<u4", count=2, offset=4).tolist()
                now = self._node.get_clock().now().nanoseconds
                self.ages.append(1e-9 * (now - seconds * 1_000_000_000 - nanoseconds))

        return count

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            if status.name == f"{NODE}: model":
                self.model_ready = "device memory (MiB)" in values  # there only once it runs
            elif status.name == f"{NODE}: camera":
                self.values = {key: float(value) for key, value in values.items() if value}
