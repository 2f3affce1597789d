"""The grid's own node: panoptic masks, lidars, depth cameras and poses in, the semantic occupancy grid out.

It listens to what the panoptic node publishes; where that node makes the grid itself (``grid.enabled``), masks need not
cross processes and this one is not needed.
"""

from __future__ import annotations

import sys
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]  # where Humble defines it
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy

from panoptic_ros.configuration import ConfigurationError
from panoptic_ros.evaluation.overlaps import EvaluationError
from panoptic_ros.evaluation.recorded_labels import classes_of, label_set_of
from panoptic_ros.labels import LabelSet
from panoptic_ros.messages import MessageTypes, RosMessageTypes
from panoptic_ros.messages.topics import CAMERA_INFO, GRID_TOPICS, IMAGE, LABEL_TOPIC, LABEL_TYPE, info_topic_of
from panoptic_ros.nodes.diagnostics import make_array
from panoptic_ros.nodes.grid_diagnostics import grid_status
from panoptic_ros.nodes.grid_feed import Source
from panoptic_ros.nodes.grid_host import BuilderSource, GridHost
from panoptic_ros.nodes.grid_inputs import SENSOR, GridInputs
from panoptic_ros.nodes.grid_parameters import GridNodeSettings, MaskTopics, read_options
from panoptic_ros.nodes.outputs import LATCHED, LabelOutput
from panoptic_ros.nodes.parameters import ParameterError, check_cameras, declare, unknown_parameters
from panoptic_ros.nodes.process import run
from panoptic_ros.nodes.reports import Reports

# Reliable, as the panoptic node publishes: large images are lost otherwise.
_MASKS = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.RELIABLE)

_PANOPTIC = "panoptic"


class SemanticGridNode(Node):
    """Publishes the semantic occupancy grid; topics and parameters are in docs/grid-ros.md.

    Parameters
    ----------
    name:
        The node's name.
    builders:
        Where builders of grids come from; None is `GridBuilder`.
    types:
        Message classes; None is what is installed.
    options:
        For rclpy's node: namespace, parameter_overrides, context …

    Raises
    ------
    ParameterError
        If a given parameter is not what it should be.
    """

    def __init__(
        self,
        name: str = "semantic_grid_node",
        *,
        builders: BuilderSource | None = None,
        types: MessageTypes | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, **options)
        self._reports = Reports(self.get_logger())
        types = types or RosMessageTypes()
        self.settings, cameras = self._read_parameters()
        self._lost: dict[str, int] = {}
        self.host = GridHost(self, self.settings, read_options(self.settings), types, self._reports, builders)
        self._inputs = GridInputs(self, types, self.host, self.settings, self._reports)
        self._label_output = LabelOutput(self, types, self._reports)
        for index, (camera, topics) in enumerate(cameras.items()):
            self._listen_to_masks(camera, index, topics)
        self._find_labels(types)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Steady time: with use_sim_time and no clock, the timer is what says so.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(self.settings.diagnostics_period, self._diagnose, clock=steady)
        for sentence in unknown_parameters(self):
            self._reports.once(sentence, sentence)
        if not (self.settings.clouds or self.settings.depths):
            self.get_logger().info("no clouds and no depths: the grid is of what cameras alone say of the ground")
        self.host.start()

    def close(self, timeout: float | None = None) -> bool:
        """End the grid's thread and destroy the node; returns that it has ended."""
        self._inputs.close()
        self.host.close()
        self.destroy_node()
        return True

    def _read_parameters(self) -> tuple[GridNodeSettings, dict[str, MaskTopics]]:
        errors: list[str] = []
        values = declare(self, "", GridNodeSettings, GridNodeSettings(), errors)
        if "cameras" in values:
            check_cameras(values["cameras"], frozenset({*GRID_TOPICS, LABEL_TOPIC}), errors)
        if errors:
            raise ParameterError("\n".join(errors))
        settings = GridNodeSettings(**values)
        source = settings.predictions.rstrip("/")
        cameras: dict[str, MaskTopics] = {}
        for camera in settings.cameras:
            default = MaskTopics(panoptic_topic=f"{source}/{camera}/{_PANOPTIC}", rectified=settings.rectified)
            own = declare(self, f"{camera}.", MaskTopics, default, errors)
            cameras[camera] = MaskTopics(**own) if not errors else default
        if errors:
            raise ParameterError("\n".join(errors))
        if not cameras:
            topic = settings.panoptic_topic or f"{source}/{_PANOPTIC}"
            cameras[""] = MaskTopics(topic, settings.camera_info_topic, settings.rectified)
        return settings, cameras

    def _listen_to_masks(self, camera: str, index: int, topics: MaskTopics) -> None:
        topic = self.resolve_topic_name(topics.panoptic_topic)
        info_topic = self.resolve_topic_name(topics.camera_info_topic or info_topic_of(topic))
        source = Source(topic, info_topic, topics.rectified, camera, index)
        self._inputs.listen(
            CAMERA_INFO, info_topic, lambda message: self.host.take_info(source, message), SENSOR, watched=False
        )
        self._inputs.listen(IMAGE, topic, lambda message: self.host.take_mask(source, message), _MASKS)

    def _find_labels(self, types: MessageTypes) -> None:
        """Take the labels that are given, or listen to those that are said."""
        if types.has(LABEL_TYPE):
            topic = self.resolve_topic_name(f"{self.settings.predictions.rstrip('/')}/{LABEL_TOPIC}")
            self._inputs.listen(
                LABEL_TYPE, topic, lambda message: self._take_labels(topic, message), LATCHED, watched=False
            )
        elif not self.settings.labels:
            raise ParameterError("labels: vision_msgs is not installed, so no label_info can be read; give labels")
        if self.settings.labels:
            try:
                self._adopt(LabelSet.load(self.settings.labels))
            except (ConfigurationError, FileNotFoundError) as error:
                raise ParameterError(f"labels: {error}") from error

    def _take_labels(self, topic: str, message: Any) -> None:
        try:
            self._adopt(label_set_of(classes_of(message), topic, self.settings.labels))
        except (EvaluationError, ConfigurationError, FileNotFoundError) as error:
            self._reports.error(("labels", topic), str(error))

    def _adopt(self, labels: LabelSet) -> None:
        self.host.set_labels(labels)
        self._label_output.publish(labels)

    def _diagnose(self) -> None:
        silences = self._inputs.watch(self.settings.silence_timeout)
        status = grid_status(self.get_name(), self.host, silences, self._lost)
        self._diagnostics.publish(make_array(self.get_clock().now().to_msg(), [status]))


def main(arguments: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; returns the exit status."""
    return run("semantic_grid_node", SemanticGridNode, arguments)


if __name__ == "__main__":
    sys.exit(main())
