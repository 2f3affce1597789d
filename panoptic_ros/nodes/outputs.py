"""What the node publishes: each message only made while somebody listens to its topic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

from panoptic_ros import messages
from panoptic_ros.drawing import OverlayPainter
from panoptic_ros.encodings import ImageError
from panoptic_ros.labels import LabelSet
from panoptic_ros.messages import MessageTypes
from panoptic_ros.messages.topics import CAMERA_TOPICS, GRID_TOPICS, LABEL_TOPIC, LABEL_TYPE
from panoptic_ros.nodes.parameters import Settings
from panoptic_ros.nodes.reports import Reports
from panoptic_ros.segmentation import PanopticSegmentation

RESERVED_NAMES = frozenset({*(topic.split("/")[0] for topic in CAMERA_TOPICS), LABEL_TOPIC, *GRID_TOPICS, "grid"})

LATCHED = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)


def result_qos() -> QoSProfile:
    """Of a camera's results."""
    # Reliable, so that any subscriber fits; a few frames deep, so that one large message does not push out another.
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.RELIABLE)


def create_output(
    node: Node, types: MessageTypes, topic: str, kind: str, qos: QoSProfile, reports: Reports
) -> Publisher | None:
    """A publisher, or None, said once, where the message's package is not installed."""
    if not types.has(kind):
        package = kind.split("/")[0]
        reports.once(
            ("missing", package),
            f"{package} is not installed: what needs it is not published, everything else is (apt: "
            f"ros-$ROS_DISTRO-{package.replace('_', '-')})",
        )
        return None
    return node.create_publisher(
        type(types.make(kind)), topic, qos, qos_overriding_options=QoSOverridingOptions.with_default_policies()
    )


class LabelOutput:
    """``~/label_info``: what the published class ids mean, latched."""

    def __init__(self, node: Node, types: MessageTypes, reports: Reports) -> None:
        self._node = node
        self._types = types
        self._publisher = create_output(node, types, f"~/{LABEL_TOPIC}", LABEL_TYPE, LATCHED, reports)

    def publish(self, labels: LabelSet) -> None:
        """Say what the ids mean from now on, to those who listen and those who will."""
        if self._publisher is not None:
            header = messages.make_header(self._types, self._node.get_clock().now().to_msg(), "")
            self._publisher.publish(messages.label_info(self._types, header, labels))

    def close(self) -> None:
        if self._publisher is not None:
            self._node.destroy_publisher(self._publisher)


class CameraOutputs:
    """The publishers of one camera's results.

    Parameters
    ----------
    node:
        The node that publishes.
    camera:
        Name that the topics lie below; '' for none.
    types:
        Message classes.
    reports:
        Where a missing message package is said.
    """

    def __init__(self, node: Node, camera: str, types: MessageTypes, reports: Reports) -> None:
        self._node = node
        self._types = types
        self._painter: tuple[LabelSet, float, OverlayPainter] | None = None
        prefix = f"~/{camera}/" if camera else "~/"
        qos = result_qos()
        self._publishers = {
            topic: publisher
            for topic, kind in CAMERA_TOPICS.items()
            if (publisher := create_output(node, types, prefix + topic, kind, qos, reports)) is not None
        }

    def wanted(self) -> frozenset[str]:
        """The topics, as `CAMERA_TOPICS` names them, that somebody listens to now."""
        # Polled: Humble has no event that tells when a subscriber comes or goes.
        return frozenset(
            topic for topic, publisher in self._publishers.items() if publisher.get_subscription_count() > 0
        )

    def publish(
        self,
        wanted: frozenset[str],
        header: Any,
        frame: NDArray[np.uint8],
        segmentation: PanopticSegmentation,
        labels: LabelSet,
        info: Any | None,
        on_misfit: Callable[[ImageError], None],
        settings: Settings,
    ) -> None:
        """Publish one frame's results on the `wanted` topics.

        Parameters
        ----------
        wanted:
            What `wanted` returned.
        header:
            The header of the input message; all that is published keeps it.
        frame:
            (H, W, 3) uint8, BGR.
        segmentation, labels, info, on_misfit:
            See `messages.result_messages`.
        settings:
            Opacity and JPEG quality.
        """
        made = messages.result_messages(
            self._types,
            wanted,
            header,
            segmentation,
            labels,
            overlay=lambda: self._paint(frame, segmentation, labels, settings.overlay_opacity),
            info=info,
            on_misfit=on_misfit,
            quality=settings.jpeg_quality,
        )
        for topic, message in made:
            self._publishers[topic].publish(message)

    def close(self) -> None:
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)

    def _paint(
        self, frame: NDArray[np.uint8], segmentation: PanopticSegmentation, labels: LabelSet, opacity: float
    ) -> NDArray[np.uint8]:
        """The overlay, by a painter that is kept until labels or opacity change."""
        if self._painter is None or self._painter[0] is not labels or self._painter[1] != opacity:
            self._painter = (labels, opacity, OverlayPainter(labels, opacity))
        return self._painter[2](frame, segmentation)
