"""What the grid publishes: each message only made while somebody listens to its topic.

Maps are latched.  One that nobody listened to was not made, so the last result is published on it when somebody comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy

from panoptic_ros.grid.drawing import TopViewPainter
from panoptic_ros.labels import LabelSet
from panoptic_ros.messages import MessageTypes
from panoptic_ros.messages.grid import grid_messages
from panoptic_ros.messages.topics import GRID_LATCHED, GRID_TOPICS
from panoptic_ros.nodes.outputs import LATCHED, create_output
from panoptic_ros.nodes.reports import Reports

if TYPE_CHECKING:
    from panoptic_ros.grid.mapper import GridResult

# Of a state only the last counts, and any subscriber fits.
_LAST = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.RELIABLE)


class GridOutputs:
    """The publishers of a grid, ``~/<topic>`` for each of `GRID_TOPICS`.

    Parameters
    ----------
    node:
        The node that publishes.
    types:
        Message classes.
    reports:
        Where a missing message package is said.
    pixels:
        Least side of the top view.
    """

    def __init__(self, node: Node, types: MessageTypes, reports: Reports, pixels: int) -> None:
        self._node = node
        self._types = types
        self._pixels = pixels
        self._painter: tuple[LabelSet, TopViewPainter] | None = None
        self._sent: dict[str, GridResult] = {}
        self._last: tuple[GridResult, LabelSet] | None = None
        self._publishers = {
            topic: publisher
            for topic, kind in GRID_TOPICS.items()
            if (
                publisher := create_output(
                    node, types, f"~/{topic}", kind, LATCHED if topic in GRID_LATCHED else _LAST, reports
                )
            )
            is not None
        }

    def wanted(self) -> frozenset[str]:
        """The topics that somebody listens to now."""
        return frozenset(
            topic for topic, publisher in self._publishers.items() if publisher.get_subscription_count() > 0
        )

    def publish(self, result: GridResult, labels: LabelSet) -> None:
        """Publish a result on the topics that somebody listens to."""
        self._last = result, labels
        self._send(result, labels, self.wanted())

    def refresh(self) -> None:
        """Publish the last result on the maps that somebody has begun to listen to since."""
        if self._last is not None:
            result, labels = self._last
            missed = frozenset(topic for topic in GRID_LATCHED if self._sent.get(topic) is not result)
            if missed := missed & self.wanted():
                self._send(result, labels, missed)

    def forget(self) -> None:
        """The last result is of a time that is over."""
        self._last = None

    def close(self) -> None:
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)

    def _send(self, result: GridResult, labels: LabelSet, wanted: frozenset[str]) -> None:
        made = grid_messages(
            self._types,
            result.snapshot,
            result.objects,
            labels,
            result.observation,
            wanted,
            self._paint_with(labels) if "top_view" in wanted else None,
        )
        for topic, message in made.items():
            self._publishers[topic].publish(message)
            self._sent[topic] = result

    def _paint_with(self, labels: LabelSet) -> TopViewPainter:
        if self._painter is None or self._painter[0] is not labels:
            self._painter = labels, TopViewPainter(labels, self._pixels)
        return self._painter[1]
