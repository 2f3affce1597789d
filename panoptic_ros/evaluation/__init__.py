"""How good predictions are: metrics over images and videos, by the rules of those who defined them."""

from __future__ import annotations

from panoptic_ros.confusion import ClassConfusion
from panoptic_ros.evaluation.metrics import METRIC_NAMES, EvaluationResult, MetricName, Metrics
from panoptic_ros.evaluation.overlaps import EvaluationError
from panoptic_ros.evaluation.panoptic_quality import Rule
from panoptic_ros.evaluation.runner import evaluate_dataset, evaluate_predictions

__all__ = [
    "METRIC_NAMES",
    "ClassConfusion",
    "EvaluationError",
    "EvaluationResult",
    "MetricName",
    "Metrics",
    "Rule",
    "evaluate_dataset",
    "evaluate_predictions",
]
