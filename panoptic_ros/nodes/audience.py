"""Publishing for its time: a publisher in this process and its listener in another, on this computer alone.

Without a listener nothing would be sent, and a listener in the same process would be counted with the publisher.
"""

from __future__ import annotations

import os
import tempfile
import time
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from types import TracebackType

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor

from panoptic_ros import messages
from panoptic_ros.labels import LabelSet
from panoptic_ros.messages.topics import CAMERA_TOPICS
from panoptic_ros.nodes.outputs import create_output, result_qos
from panoptic_ros.nodes.reports import Reports
from panoptic_ros.resources import share_directory
from panoptic_ros.segmentation import PanopticSegmentation

TOPICS = ("panoptic", "instances", "overlay")
PATIENCE = 60.0
"""Seconds for the listener to begin and for both to find one another."""

NODE = "panoptic_benchmark"


class Audience:
    """Publishes results to a listener, as a context: ids, instances and overlay, in their messages.

    Raises
    ------
    TimeoutError
        If the listener is not found.
    """

    def __enter__(self) -> Audience:
        _use_own_network()
        spawn = get_context("spawn")
        self._end = spawn.Event()
        self._listener = spawn.Process(target=_listen, args=(self._end,), daemon=True)
        self._listener.start()
        self._context = Context()
        rclpy.init(args=[], context=self._context)
        self._node = rclpy.create_node(NODE, context=self._context)
        self._types = messages.RosMessageTypes()
        reports = Reports(self._node.get_logger())
        self._publishers = {
            topic: publisher
            for topic in TOPICS
            if (
                publisher := create_output(
                    self._node, self._types, f"~/{topic}", CAMERA_TOPICS[topic], result_qos(), reports
                )
            )
            is not None
        }
        deadline = time.monotonic() + PATIENCE
        while not all(publisher.get_subscription_count() for publisher in self._publishers.values()):
            if time.monotonic() > deadline:
                self._close()
                raise TimeoutError(f"no listener was found within {PATIENCE:.0f} s")
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def publish(
        self,
        labels: LabelSet,
        segmentation: PanopticSegmentation,
        frame: NDArray[np.uint8],
        overlay: NDArray[np.uint8],
    ) -> None:
        """Make a frame's messages and publish them; `labels` is what the class ids mean."""
        header = messages.make_header(self._types, self._node.get_clock().now().to_msg(), "camera")
        made = messages.result_messages(
            self._types,
            self._publishers,
            header,
            segmentation,
            labels,
            overlay=lambda: overlay,
            info=None,
            on_misfit=lambda error: None,
        )
        for topic, message in made:
            self._publishers[topic].publish(message)

    def _close(self) -> None:
        self._end.set()
        self._listener.join(PATIENCE)
        self._node.destroy_node()
        self._context.shutdown()


def _use_own_network() -> None:
    """Keep this process and its children to this computer and a domain of their own, with our DDS profile."""
    os.environ["ROS_DOMAIN_ID"] = str(101 + os.getpid() % 131)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ["ROS_LOG_DIR"] = tempfile.gettempdir()
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        os.environ[name] = str(share_directory() / "config" / "fastdds.xml")


def _listen(end: Event) -> None:
    """Take everything that is published, until the end."""
    context = Context()
    rclpy.init(args=[], context=context)
    node = rclpy.create_node("audience", context=context)
    types = messages.RosMessageTypes()
    subscriptions = [
        node.create_subscription(
            type(types.make(CAMERA_TOPICS[topic])), f"/{NODE}/{topic}", lambda data: None, result_qos(), raw=True
        )
        for topic in TOPICS
        if types.has(CAMERA_TOPICS[topic])
    ]
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    while subscriptions and not end.is_set():
        executor.spin_once(timeout_sec=0.1)
    executor.shutdown()
    node.destroy_node()
    context.shutdown()
