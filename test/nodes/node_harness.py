"""What the tests of the nodes share: real nodes over real DDS, with a stand-in for the network alone."""

from __future__ import annotations

import array
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import rclpy
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from panoptic_ros.labels import LabelSet
from panoptic_ros.models.options import DecodeOptions
from panoptic_ros.nodes.panoptic_node import PanopticNode
from panoptic_ros.segmentation import PanopticSegmentation

os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.pop("ROS_LOCALHOST_ONLY", None)

ROAD, CAR = 7, 26  # Cityscapes labelIds
TIMEOUT = 40.0  # seconds after which what should have come is missing; nothing waits this long when all is well


class FakePipeline:
    """Bright pixels are car 1, dark ones are road; takes `delay` seconds."""

    def __init__(self, model: str, weights: str, labels: str = "cityscapes") -> None:
        self.model_name = model
        self.engine_name = "fake"
        self.precision = "fp32"
        self.notes: tuple[str, ...] = ()
        self.weights_report: object = None
        self.has_features = bool(weights)
        self.device = "cpu"
        self.labels = LabelSet.load(labels)
        self.trained = bool(weights)
        self.untrained = () if weights else ("everything",)
        self.options = DecodeOptions(stuff_area_fraction=0.01) if model == "strict" else DecodeOptions()
        self.timings: dict[str, float] = {}
        self.delay = 0.0
        self.batches: list[int] = []
        self.asked_confidence: list[bool] = []
        self.seen_options: list[Any] = []
        self.trouble: Callable[[Sequence[np.ndarray]], None] | None = None

    def __call__(self, frames: Sequence[np.ndarray], confidence: bool = False) -> list[PanopticSegmentation]:
        self.batches.append(len(frames))
        self.asked_confidence.append(confidence)
        self.seen_options.append(self.options)
        time.sleep(self.delay)
        if self.trouble is not None:
            self.trouble(frames)
        return [self._segment(frame, confidence) for frame in frames]

    def _segment(self, frame: np.ndarray, confidence: bool) -> PanopticSegmentation:
        ids = np.where(frame[..., 0] > 127, CAR * 1000 + 1, ROAD * 1000).astype(np.int32)
        value = PanopticSegmentation.from_ids(ids, {CAR}, {CAR * 1000 + 1: 0.75})
        plane = np.where(frame[..., 0] > 127, 191, 255).astype(np.uint8) if confidence else None
        return PanopticSegmentation(value.ids, value.segments, plane)

    def device_memory(self) -> int:
        return 3 * 2**20


class FakeSource:
    """Where the node under test has its pipelines from; models are named after what they do."""

    def __init__(self) -> None:
        self.gate = threading.Event()  # what the model "slow" waits for
        self.loaded: list[FakePipeline] = []
        self.loads = 0
        self.sizes: list[tuple[int, int] | None] = []

    def check(self, model: str, weights: str = "", device: str = "auto", engine: str = "", *_: Any) -> None:
        if model == "missing":
            raise FileNotFoundError("missing.yaml: no such file; models that come with it: fake")
        if weights == "truncated.weights":
            raise ValueError("truncated.weights: 12 bytes, expected 34")
        if weights.startswith("of_") and weights != f"of_{model}.weights":
            raise ValueError(f"{weights}: of another network than {model}")

    def load(self, model: str, weights: str = "", *, size: tuple[int, int] | None = None, **_: Any) -> FakePipeline:
        self.loads += 1
        self.sizes.append(size)
        if model == "slow":
            self.gate.wait(TIMEOUT)
        if model == "broken":
            raise ValueError("broken.weights: of another network, expected 3 anchors, got 5")
        pipeline = FakePipeline(model, weights, labels="coco" if model == "coco" else "cityscapes")
        self.loaded.append(pipeline)
        return pipeline

    @property
    def pipeline(self) -> FakePipeline:
        return self.loaded[-1]


class RecordingLogger:
    """Takes the place of rclpy's logger and remembers."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __getattr__(self, severity: str) -> Callable[[str], None]:
        def log(text: str) -> None:
            self.lines.append((severity, text))
            print(f"[{severity}] {text}")

        return log

    def find(self, *parts: str, severity: str | None = None) -> list[str]:
        """The lines that hold all the parts."""
        return [text for kind, text in self.lines if all(part in text for part in parts) and severity in (None, kind)]


class NodeUnderTest(PanopticNode):
    """The node, with a log that can be read."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.log: RecordingLogger | None = None
        super().__init__(*arguments, **options)

    def get_logger(self) -> Any:
        if self.log is None:
            self.log = RecordingLogger()
        return self.log


def own_domain(module: str) -> int:
    """A DDS domain for a test file: another one than before, and than those of pytest-xdist's other processes."""
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    process = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    # From 102 on a domain's ports are among those that the system hands out, and discovery may fail.
    return 1 + process + processes * (hash((module, os.getpid())) % (48 // processes))


class Ros:
    """A domain with a node that plays the rest of the robot, and the nodes under test.

    Each side has a context, and with it a DDS participant, of its own, as two processes have.
    """

    def __init__(self, domain: int) -> None:
        self.context = Context()
        self._peer_context = Context()
        for context in (self.context, self._peer_context):
            rclpy.init(args=[], context=context, domain_id=domain)
        self.domain = domain
        self.peer: Node = rclpy.create_node("peer", context=self._peer_context)
        self._executor = SingleThreadedExecutor(context=self._peer_context)
        self._executor.add_node(self.peer)
        self._running: list[tuple[Any, SingleThreadedExecutor, threading.Thread]] = []
        self._publishers: list[Any] = []
        self._subscriptions: list[Any] = []

    def start(
        self, source: FakeSource, *, name: str = "panoptic_node", types: Any = None, **parameters: Any
    ) -> NodeUnderTest:
        """A node that spins in a thread of its own."""
        parameters = {"model": "fake", "weights": "fake.weights", "image_topic": "/camera/image_raw"} | parameters
        overrides = [Parameter(key.replace("__", "."), value=value) for key, value in parameters.items()]
        node = NodeUnderTest(
            name,
            pipelines=source,
            types=types,
            context=self.context,
            parameter_overrides=overrides,
            use_global_arguments=False,
        )
        self.spin_node(node)
        return node

    def spin_node(self, node: Any) -> None:
        """Spin a node of this context in a thread of its own; it is closed after the test."""
        executor = SingleThreadedExecutor(context=self.context)
        executor.add_node(node)
        thread = threading.Thread(target=executor.spin)
        thread.start()
        self._running.append((node, executor, thread))

    def stop_nodes(self) -> None:
        """End the nodes under test and what the peer made for them."""
        for node, executor, thread in self._running:
            executor.shutdown()
            thread.join(TIMEOUT)
            assert not thread.is_alive()
            node.close(TIMEOUT)
        self._running.clear()
        self.stop_listening()
        for publisher in self._publishers:
            self.peer.destroy_publisher(publisher)
        self._publishers.clear()

    def stop_listening(self) -> None:
        """Nobody listens any more."""
        for subscription in self._subscriptions:
            self.peer.destroy_subscription(subscription)
        self._subscriptions.clear()

    def close(self) -> None:
        self.stop_nodes()
        self._executor.shutdown()
        self.peer.destroy_node()
        self._peer_context.shutdown()
        self.context.shutdown()

    def until(self, condition: Callable[[], Any], what: str = "it", timeout: float = TIMEOUT) -> Any:
        """Let the peer's callbacks run until the condition holds; returns its value."""
        deadline = time.monotonic() + timeout
        while not (value := condition()):
            assert time.monotonic() < deadline, f"waited {timeout} s in vain for {what}"
            self._executor.spin_once(timeout_sec=0.01)
        return value

    def spin(self, seconds: float) -> None:
        """Let the peer's callbacks run for a while, where something must not happen."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._executor.spin_once(timeout_sec=0.01)

    def publisher(self, kind: type, topic: str, *, reliable: bool = True, depth: int = 5) -> Any:
        reliability = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        publisher = self.peer.create_publisher(kind, topic, QoSProfile(depth=depth, reliability=reliability))
        self._publishers.append(publisher)
        return publisher

    def listen(self, kind: type, topic: str, *, latched: bool = False, depth: int = 100) -> list[Any]:
        """The messages that arrive on the topic, in a list that grows."""
        received: list[Any] = []
        qos = QoSProfile(
            depth=depth,
            reliability=ReliabilityPolicy.RELIABLE,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )
        self._subscriptions.append(self.peer.create_subscription(kind, topic, received.append, qos))
        return received

    def connected(self, publisher: Any, timeout: float = TIMEOUT) -> None:
        """Wait until the node under test has subscribed to the peer's topic."""
        self.until(lambda: publisher.get_subscription_count() > 0, f"a subscription to {publisher.topic_name}", timeout)

    def call(self, kind: type, service: str, request: Any) -> Any:
        """The response of a service of the node under test."""
        client = self.peer.create_client(kind, service)
        self.until(client.service_is_ready, service)
        future = client.call_async(request)
        self.until(future.done, f"the response of {service}")
        self.peer.destroy_client(client)
        return future.result()

    def set(self, node: Node, **values: Any) -> Any:
        """Set parameters from outside, atomically, as ``ros2 param`` does; returns the result."""
        parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        request = SetParametersAtomically.Request(parameters=parameters)
        service = f"{node.get_fully_qualified_name()}/set_parameters_atomically"
        return self.call(SetParametersAtomically, service, request).result

    def image(self, frame: np.ndarray, encoding: str = "bgr8", **fields: Any) -> Image:
        """An Image stamped now, in frame ``camera_optical``."""
        data = array.array("B")
        data.frombytes(np.ascontiguousarray(frame).tobytes())
        step = frame.strides[0] if frame.flags.c_contiguous else frame[0].nbytes
        values = {"height": frame.shape[0], "width": frame.shape[1], "encoding": encoding, "step": step, "data": data}
        return self._stamped(Image(**(values | fields)))

    def compressed(self, data: bytes, kind: str = "jpeg") -> CompressedImage:
        buffer = array.array("B")
        buffer.frombytes(data)
        return self._stamped(CompressedImage(format=kind, data=buffer))

    def _stamped(self, message: Any) -> Any:
        message.header.stamp = self.peer.get_clock().now().to_msg()
        message.header.frame_id = "camera_optical"
        return message


def picture(height: int = 24, width: int = 32) -> np.ndarray:
    """(height, width, 3) BGR: dark on the left, bright on the right."""
    frame = np.full((height, width, 3), 20, dtype=np.uint8)
    frame[:, width // 2 :] = 220
    return frame


def stamp_of(message: Any) -> tuple[int, int]:
    """The stamp, to compare."""
    return message.header.stamp.sec, message.header.stamp.nanosec
