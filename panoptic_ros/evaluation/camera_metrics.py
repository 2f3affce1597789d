"""Metrics of each camera and of all together."""

from __future__ import annotations

from collections.abc import Sequence

from panoptic_ros.datasets.dataset import Truth
from panoptic_ros.evaluation.metrics import STANDARD, MetricName, Metrics
from panoptic_ros.evaluation.panoptic_quality import Rule
from panoptic_ros.labels import LabelSet
from panoptic_ros.segmentation import PanopticSegmentation


class CameraMetrics:
    """Measures the frames of several cameras; one that cannot be measured leaves no trace.

    Parameters
    ----------
    labels, names, rule:
        See `Metrics`.

    Attributes
    ----------
    by_camera:
        The metrics of each camera that has frames.
    frames:
        The names of its frames, in the order in which they were measured.

    Raises
    ------
    ValueError, EvaluationError
        See `Metrics`.
    """

    def __init__(self, labels: LabelSet, names: Sequence[MetricName] = STANDARD, rule: Rule = "coco") -> None:
        self.labels = labels
        self.by_camera: dict[str, Metrics] = {}
        self.frames: dict[str, list[str]] = {}
        self._names = tuple(names)
        self._rule: Rule = rule
        self._make()  # says now what is wrong with the names

    def _make(self) -> Metrics:
        return Metrics(self.labels, self._names, self._rule)

    def update(self, camera: str, name: str, prediction: PanopticSegmentation, truth: Truth) -> Metrics:
        """Take a frame of a camera into account; returns the metrics of that frame alone.

        Raises
        ------
        EvaluationError
            See `Metrics.update`; nothing has then changed.
        """
        # By itself first: of a frame that is refused halfway some metrics would have counted a part.
        frame = self._make()
        frame.update(name, prediction, truth)
        if camera not in self.by_camera:
            self.by_camera[camera], self.frames[camera] = self._make(), []
        self.by_camera[camera].merge(frame)
        self.frames[camera].append(name)
        return frame

    def combined(self) -> tuple[Metrics, tuple[str, ...]]:
        """The metrics of all cameras together, and the names of the frames in the order that they have there."""
        total = self._make()
        for metrics in self.by_camera.values():
            total.merge(metrics)
        return total, tuple(name for names in self.frames.values() for name in names)
