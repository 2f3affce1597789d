"""What the grid listens to beside the cameras: poses, clouds and depth images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription

from panoptic_ros.messages import MessageTypes
from panoptic_ros.messages.topics import CAMERA_INFO, IMAGE, ODOMETRY, POINT_CLOUD, TRANSFORMS, info_topic_of
from panoptic_ros.nodes.grid_feed import Source
from panoptic_ros.nodes.grid_host import GridHost
from panoptic_ros.nodes.grid_parameters import GridSettings
from panoptic_ros.nodes.parameters import ParameterError
from panoptic_ros.nodes.reports import Reports
from panoptic_ros.nodes.topic_watch import why_quiet

SENSOR = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
# As tf2's listener asks for them.
_POSES = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=100, reliability=ReliabilityPolicy.RELIABLE)
_STATIC = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=100,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)

_SILENCE_REPEAT = 30.0  # seconds between two lines about one silent topic


@dataclass(frozen=True, slots=True)
class _Input:
    topic: str
    kind: str
    subscription: Subscription
    watched: bool


class GridInputs:
    """The subscriptions of a grid.

    Parameters
    ----------
    node:
        The node that subscribes.
    types:
        Message classes.
    host:
        Takes the messages.
    settings:
        Which topics.
    reports:
        Where silence is said.

    Raises
    ------
    ParameterError
        If poses are to come from /tf and there is no tf2_msgs.
    """

    def __init__(
        self, node: Node, types: MessageTypes, host: GridHost, settings: GridSettings, reports: Reports
    ) -> None:
        self._node = node
        self._types = types
        self._host = host
        self._reports = reports
        self._inputs: list[_Input] = []
        self._listen_to_poses(settings)
        for name in settings.clouds:
            self._listen_to_cloud(Source(node.resolve_topic_name(name)))
        for name in settings.depths:
            topic = node.resolve_topic_name(name)
            source = Source(topic, info_topic_of(topic), settings.depth_rectified)
            self._listen_to_depth(source)

    def listen(
        self, kind: str, topic: str, take: Callable[[Any], None], qos: QoSProfile, *, watched: bool = True
    ) -> None:
        """Subscribe; `watched` topics are told of when they are silent."""
        subscription = self._node.create_subscription(
            type(self._types.make(kind)),
            topic,
            take,
            qos,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._inputs.append(_Input(topic, kind, subscription, watched))
        if watched:
            self._host.statistics.listen(topic)

    def watch(self, timeout: float) -> list[str]:
        """A sentence for each topic that has been silent for `timeout` seconds; they are said, too."""
        silences = self._host.statistics.summary().silences
        sentences = []
        for one in self._inputs:
            silence = silences.get(one.topic, 0.0)
            subject = ("silence", one.topic)
            if not one.watched:
                continue
            if silence < timeout:
                self._reports.forget(subject)
                continue
            reason = why_quiet(self._node, one.topic, one.kind, one.subscription.qos_profile)
            sentences.append(f"nothing on {one.topic} for {silence:.0f} s: {reason}")
            self._reports.warning(subject, sentences[-1], _SILENCE_REPEAT)
        return sentences

    def close(self) -> None:
        for one in self._inputs:
            self._node.destroy_subscription(one.subscription)
        self._inputs.clear()

    def _listen_to_poses(self, settings: GridSettings) -> None:
        host = self._host
        if settings.odometry:
            source = Source(self._node.resolve_topic_name(settings.odometry))
            self.listen(ODOMETRY, source.topic, lambda message: host.take_odometry(source, message), _POSES)
        if not self._types.has(TRANSFORMS):
            if settings.odometry:
                return
            raise ParameterError("tf2_msgs is not installed, so /tf cannot be read; give odometry and extrinsics")
        # Not both: two sources of one pose would take turns.
        if not settings.odometry:
            moving = Source("/tf")
            self.listen(TRANSFORMS, "/tf", lambda message: host.take_transforms(moving, message, False), _POSES)
        fixed = Source("/tf_static")
        self.listen(
            TRANSFORMS, "/tf_static", lambda message: host.take_transforms(fixed, message, True), _STATIC, watched=False
        )

    def _listen_to_cloud(self, source: Source) -> None:
        self.listen(POINT_CLOUD, source.topic, lambda message: self._host.take_cloud(source, message), SENSOR)

    def _listen_to_depth(self, source: Source) -> None:
        self.listen(
            CAMERA_INFO, source.info_topic, lambda message: self._host.take_info(source, message), SENSOR, watched=False
        )
        self.listen(IMAGE, source.topic, lambda message: self._host.take_depth(source, message), SENSOR)
