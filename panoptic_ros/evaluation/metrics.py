"""Several metrics at once: an image's segments are compared once, and each metric takes what it needs of that."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal, Protocol, get_args

from panoptic_ros.confusion import ClassConfusion
from panoptic_ros.datasets.dataset import Truth
from panoptic_ros.evaluation.average_precision import AveragePrecision, AveragePrecisionResult
from panoptic_ros.evaluation.calibration import Calibration, CalibrationResult
from panoptic_ros.evaluation.cityscapes_average_precision import (
    CityscapesAveragePrecision,
    CityscapesAveragePrecisionResult,
)
from panoptic_ros.evaluation.overlaps import EvaluationError, Overlaps, overlaps
from panoptic_ros.evaluation.panoptic_quality import ImageQualities, PanopticQuality, PanopticQualityResult, Rule
from panoptic_ros.evaluation.parsing_covering import ParsingCovering, ParsingCoveringResult
from panoptic_ros.evaluation.recall import ProposalRecall, RecallResult
from panoptic_ros.evaluation.semantic_iou import SemanticIou, SemanticIouResult
from panoptic_ros.evaluation.video import VideoQuality, VideoResult
from panoptic_ros.labels import LabelSet
from panoptic_ros.segmentation import PanopticSegmentation

MetricName = Literal[
    "panoptic_quality",
    "parsing_covering",
    "semantic_iou",
    "average_precision",
    "cityscapes_average_precision",
    "proposal_recall",
    "calibration",
    "video",
]
METRIC_NAMES: tuple[MetricName, ...] = get_args(MetricName)
STANDARD: tuple[MetricName, ...] = ("panoptic_quality", "parsing_covering", "semantic_iou")
"""What every panoptic data set and every prediction allows to measure, without further packages."""

SEMANTIC: tuple[MetricName, ...] = ("semantic_iou", "calibration")
"""What means something where instances are not told apart."""


class Metric(Protocol):
    """What all metrics have in common."""

    def update(self, overlaps: Overlaps) -> None:
        """Take one image into account."""
        ...

    def merge(self, other: Any) -> None:
        """Take over other images from a metric of the same kind."""
        ...

    def result(self) -> Any:
        """What was measured over all images so far."""
        ...


_METRICS: dict[MetricName, Callable[[LabelSet, Rule], Metric]] = {
    "panoptic_quality": PanopticQuality,
    "parsing_covering": lambda labels, rule: ParsingCovering(labels),
    "semantic_iou": lambda labels, rule: SemanticIou(labels),
    "average_precision": lambda labels, rule: AveragePrecision(labels),
    "cityscapes_average_precision": lambda labels, rule: CityscapesAveragePrecision(labels),
    "proposal_recall": lambda labels, rule: ProposalRecall(),
    "calibration": lambda labels, rule: Calibration(),
    "video": lambda labels, rule: VideoQuality(labels),
}


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """The metrics that were asked for, over a set of images; the others are None.

    Attributes
    ----------
    label_set:
        The name of the classes.
    images:
        How many were evaluated.
    """

    label_set: str
    images: int
    panoptic_quality: PanopticQualityResult | None = None
    parsing_covering: ParsingCoveringResult | None = None
    semantic_iou: SemanticIouResult | None = None
    average_precision: AveragePrecisionResult | None = None
    cityscapes_average_precision: CityscapesAveragePrecisionResult | None = None
    proposal_recall: RecallResult | None = None
    calibration: CalibrationResult | None = None
    video: VideoResult | None = None

    def to_json(self) -> dict[str, Any]:
        """Everything that was measured, in dictionaries, lists, numbers, strings and None."""
        return {
            name: _plain(value)
            for name, value in ((field.name, getattr(self, field.name)) for field in fields(self))
            if value is not None
        }


class Metrics:
    """Metrics of predictions, taken image by image.

    The state is small, without pixels, and can be sent between processes.

    Parameters
    ----------
    labels:
        The classes of both truth and predictions.
    names:
        Which metrics, of `METRIC_NAMES`.
    rule:
        Whose panoptic quality; see `panoptic_quality.Rule`.

    Raises
    ------
    ValueError
        If there is no such metric or rule, or no metric is named.
    EvaluationError
        If a package is missing that a metric needs.
    """

    def __init__(self, labels: LabelSet, names: Sequence[MetricName] = STANDARD, rule: Rule = "coco") -> None:
        unknown = [name for name in names if name not in METRIC_NAMES]
        if unknown or not names:
            raise ValueError(f"{unknown or 'no metric'}: expected some of {', '.join(METRIC_NAMES)}")
        self.labels = labels
        self.names: tuple[MetricName, ...] = tuple(name for name in METRIC_NAMES if name in names)
        self.rule: Rule = rule
        self.images = 0
        self._parts = {name: _METRICS[name](labels, rule) for name in self.names}

    def update(self, name: str, prediction: PanopticSegmentation, truth: Truth) -> None:
        """Take one image into account.

        Parameters
        ----------
        name:
            The image's; another for every image.
        prediction, truth:
            Of one size, with class ids of `labels`.

        Raises
        ------
        EvaluationError
            If they do not fit together, are damaged or lack what a metric needs, or the image was taken already; the
            message names the image.  Some of the metrics may then have taken it: begin anew.
        """
        pairs = overlaps(name, prediction, truth, self.labels)
        for part in self._parts.values():
            part.update(pairs)
        self.images += 1

    def merge(self, other: Metrics) -> None:
        """Take over other images, from another process.

        Raises
        ------
        EvaluationError
            If the other measures something else, or an image is in both.
        """
        if (other.names, other.rule, other.labels.name) != (self.names, self.rule, self.labels.name):
            raise EvaluationError(f"metrics cannot be merged: {self._identity()} with {other._identity()}")
        for name, part in self._parts.items():
            part.merge(other._parts[name])
        self.images += other.images

    def _identity(self) -> str:
        return f"{', '.join(self.names)} by {self.rule} on {self.labels.name}"

    def result(self) -> EvaluationResult:
        """What was measured over all images so far."""
        parts: dict[str, Any] = {name: part.result() for name, part in self._parts.items()}
        return EvaluationResult(label_set=self.labels.name, images=self.images, **parts)

    def per_image(self) -> ImageQualities:
        """Panoptic quality's counts of every image, for statistics over images.

        Raises
        ------
        ValueError
            If panoptic quality is not measured.
        """
        part = self._parts.get("panoptic_quality")
        if not isinstance(part, PanopticQuality):
            raise ValueError("panoptic_quality is not among the metrics that are measured")
        return part.per_image()

    def confusion(self) -> ClassConfusion:
        """P(predicted class | true class), which can be saved.

        Raises
        ------
        ValueError
            If semantic IoU is not measured.
        """
        part = self._parts.get("semantic_iou")
        if not isinstance(part, SemanticIou):
            raise ValueError("semantic_iou is not among the metrics that are measured")
        return part.confusion()


def _plain(value: Any) -> Any:
    """A value of dataclasses and tuples as JSON has it."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return value
