"""The evaluation node: predictions and truths in, running panoptic quality on ``/diagnostics``, a report at the end.

It listens to what the panoptic node publishes and to the truth that a bag has, matches them by camera and stamp, and
writes what ``panoptic-ros evaluate-bag`` writes: when it ends, and when nothing has come for a while.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]  # where Humble defines it
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

from panoptic_ros.configuration import ConfigurationError
from panoptic_ros.evaluation.document import environment
from panoptic_ros.evaluation.live import LiveEvaluation, LiveSettings
from panoptic_ros.evaluation.matching import Side
from panoptic_ros.evaluation.outputs import REPORT, output_folder, write_outputs
from panoptic_ros.evaluation.overlaps import EvaluationError
from panoptic_ros.evaluation.recorded_cameras import PANOPTIC, RecordedCamera
from panoptic_ros.messages import NANOSECONDS, MessageTypes, RosMessageTypes
from panoptic_ros.messages.topics import IMAGE, LABEL_TOPIC, LABEL_TYPE
from panoptic_ros.nodes.diagnostics import make_array
from panoptic_ros.nodes.evaluation_diagnostics import camera_status, total_status
from panoptic_ros.nodes.parameters import ParameterError, check_cameras, declare, parameter, unknown_parameters
from panoptic_ros.nodes.process import run
from panoptic_ros.nodes.reports import Reports, kind_of

# Reliable, as the panoptic node publishes and bags are played, and deep: a frame that is lost here is not measured.
_FRAMES = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=50, reliability=ReliabilityPolicy.RELIABLE)
_LATCHED = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)

_TICK = 0.2  # seconds between two looks at whether the run has fallen silent


@dataclass(frozen=True)
class EvaluationParameters:
    """The parameters of the node; all are read-only."""

    cameras: tuple[str, ...] = parameter((), "Names of the cameras; none is the single camera without a name.")
    predictions: str = parameter(
        "/panoptic_node", "What predictions lie below: <predictions>/[<camera>/]panoptic and <predictions>/label_info."
    )
    truth: str = parameter("/truth", "What truths lie below: <truth>/[<camera>/]panoptic and <truth>/label_info.")
    labels: str = parameter("", "Label set, or its file, of what has no label_info, or one of classes of your own.")
    mapping: str = parameter("", "In config/label_mappings, or a path; '' finds it where the classes differ.")
    rule: str = parameter("coco", "Whose panoptic quality.", choices=("coco", "cityscapes", "void_in_union"))
    tolerance: float = parameter(0.0, "Seconds that the stamps of prediction and truth may differ.", low=0.0, high=10.0)
    waiting: int = parameter(
        50, "How many frames of a camera may wait for their partner; it bounds the memory.", low=1, high=10000
    )
    out: str = parameter("evaluation", "Folder of the report.")
    silence: float = parameter(
        10.0, "Seconds without a frame after which the report is written; 0 is at the end only.", low=0.0, high=3600.0
    )
    examples: int = parameter(4, "Worst and best frames in the report, of each.", low=0, high=50)
    diagnostics_period: float = parameter(1.0, "Seconds between two messages on /diagnostics.", low=0.1, high=60.0)


class EvaluationNode(Node):
    """Measures predictions against truths while a bag plays; topics and parameters are in docs/evaluation.md.

    Parameters
    ----------
    name:
        The node's name.
    types:
        Message classes; None is what is installed.
    options:
        For rclpy's node: namespace, parameter_overrides, context …

    Raises
    ------
    ParameterError
        If a given parameter is not what it should be.
    """

    def __init__(self, name: str = "evaluation_node", *, types: MessageTypes | None = None, **options: Any) -> None:
        super().__init__(name, **options)
        self._reports = Reports(self.get_logger())
        types = types or RosMessageTypes()
        self.settings = self._read_parameters()
        self.evaluation = self._begin()
        self.report = ""
        """Where the last report lies; empty before there is one."""
        self._written = -1  # how many frames had come when it was written
        self._taken = self._refused = 0
        self._last = time.monotonic()
        for camera in self.evaluation.cameras:
            self._listen(types, IMAGE, camera.truth, self._taker(Side.TRUTH, camera), _FRAMES)
            self._listen(types, IMAGE, camera.predictions, self._taker(Side.PREDICTION, camera), _FRAMES)
        sources = {Side.PREDICTION: self.settings.predictions, Side.TRUTH: self.settings.truth}
        for side, source in sources.items():
            topic = self.resolve_topic_name(f"{source.rstrip('/')}/{LABEL_TOPIC}")
            if types.has(LABEL_TYPE):
                self._listen(types, LABEL_TYPE, topic, self._label_taker(side, topic), _LATCHED)
            elif not self.settings.labels:
                raise ParameterError("labels: vision_msgs is not installed, so no label_info can be read; give labels")
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # Steady time: with use_sim_time and a bag that has ended, the clock stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_TICK, self._look_at_silence, clock=steady)
        self.create_timer(self.settings.diagnostics_period, self._diagnose, clock=steady)
        for sentence in unknown_parameters(self):
            self._reports.once(sentence, sentence)
        pairs = ", ".join(f"{camera.predictions} with {camera.truth}" for camera in self.evaluation.cameras)
        self.get_logger().info(f"comparing {pairs}")

    def write(self) -> bool:
        """Write the report of all frames up to now; returns whether there is one."""
        self._say(self.evaluation.finish())
        self._written = self._taken
        try:
            document = self.evaluation.document(
                self.get_fully_qualified_name(), command=tuple(sys.argv), environment=environment()
            )
            folder = Path(self.settings.out).expanduser()
            with output_folder(folder) as unfinished:
                write_outputs(document, self.evaluation.examples.examples(), unfinished)
        except (EvaluationError, OSError) as error:
            self.get_logger().error(f"no report is written: {error}")
            return False
        self.report = str(folder / REPORT)
        for remark in document.remarks():
            self.get_logger().warning(remark)
        self.get_logger().info(f"{self.report}: {len(document.names)} frames")
        return True

    @property
    def is_reported(self) -> bool:
        """Whether the last report has all frames that came."""
        return bool(self.report) and self._written == self._taken

    def close(self, timeout: float | None = None) -> bool:
        """Write the report, unless it is written, and destroy the node; returns that it has no threads left."""
        if self._written != self._taken:
            self.write()
        self.destroy_node()
        return True

    def _read_parameters(self) -> EvaluationParameters:
        errors: list[str] = []
        values = declare(self, "", EvaluationParameters, EvaluationParameters(), errors)
        if "cameras" in values:
            check_cameras(values["cameras"], frozenset(), errors)
        if errors:
            raise ParameterError("\n".join(errors))
        return EvaluationParameters(**values)

    def _begin(self) -> LiveEvaluation:
        settings = self.settings
        truth, predictions = settings.truth.rstrip("/"), settings.predictions.rstrip("/")
        cameras = []
        for name in settings.cameras or ("",):
            below = f"{name}/{PANOPTIC}" if name else PANOPTIC
            cameras.append(
                RecordedCamera(
                    name,
                    self.resolve_topic_name(f"{truth}/{below}"),
                    self.resolve_topic_name(f"{predictions}/{below}"),
                )
            )
        try:
            return LiveEvaluation(
                cameras,
                LiveSettings(
                    rule=settings.rule,  # type: ignore[arg-type]  # one of the parameter's choices
                    tolerance=round(settings.tolerance * NANOSECONDS),
                    labels=settings.labels,
                    mapping=settings.mapping,
                    most_waiting=settings.waiting,
                    examples=settings.examples,
                ),
            )
        except (ConfigurationError, FileNotFoundError) as error:
            raise ParameterError(str(error)) from error

    def _listen(self, types: MessageTypes, kind: str, topic: str, take: Callable[[Any], None], qos: QoSProfile) -> None:
        self.create_subscription(
            type(types.make(kind)),
            topic,
            take,
            qos,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )

    def _taker(self, side: Side, camera: RecordedCamera) -> Callable[[Any], None]:
        def take(message: Any) -> None:
            self._taken += 1
            self._last = time.monotonic()
            self._say(self.evaluation.take(side, camera.name, message, self.get_clock().now().nanoseconds))

        return take

    def _label_taker(self, side: Side, topic: str) -> Callable[[Any], None]:
        def take(message: Any) -> None:
            self._say(self.evaluation.take_labels(side, topic, message))

        return take

    def _say(self, troubles: list[str]) -> None:
        for trouble in troubles:
            self._reports.error(("refused", kind_of(trouble)), trouble)

    def _look_at_silence(self) -> None:
        limit = self.settings.silence
        if limit and self._taken and self._written != self._taken and time.monotonic() - self._last > limit:
            self.write()

    def _diagnose(self) -> None:
        name, evaluation = self.get_name(), self.evaluation
        statuses = [total_status(name, evaluation, self._refused, self.report)]
        self._refused = sum(evaluation.refused.values())
        statuses += [camera_status(name, evaluation, one) for one in evaluation.run().cameras]
        self._diagnostics.publish(make_array(self.get_clock().now().to_msg(), statuses))


def main(arguments: list[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; returns the exit status, 1 where there is no report of all frames."""
    nodes: list[EvaluationNode] = []

    def make() -> EvaluationNode:
        nodes.append(EvaluationNode())
        return nodes[0]

    status = run("evaluation_node", make, arguments)
    return status or int(not nodes[0].is_reported)


if __name__ == "__main__":
    sys.exit(main())
