"""``/diagnostics`` of an evaluation: one status for all cameras and one for each."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from panoptic_ros.evaluation.live import LiveEvaluation
from panoptic_ros.evaluation.recorded_run import CameraRun

_NAMES = {"pq_all": "PQ", "pq_things": "PQ, things", "pq_stuff": "PQ, stuff", "mean_iou": "mIoU"}


def total_status(name: str, evaluation: LiveEvaluation, refused_before: int, report: str) -> DiagnosticStatus:
    """How all cameras are together.

    Parameters
    ----------
    name:
        The node's name.
    evaluation:
        What it measures.
    refused_before:
        Frames that could not be evaluated, at the last status; more since then make a warning.
    report:
        Where the last report lies, or ''.
    """
    refused, lacking = sum(evaluation.refused.values()), evaluation.lacks()
    quality = evaluation.quality()
    level, message = DiagnosticStatus.OK, f"PQ {_figure(quality['pq_all'])} over {evaluation.evaluated} frames"
    if lacking:
        level, message = DiagnosticStatus.WARN, lacking
    elif refused > refused_before:
        level, message = DiagnosticStatus.WARN, f"{refused - refused_before} frames could not be evaluated"
    values = {"evaluated": str(evaluation.evaluated), "refused": str(refused), **_quality(quality), "report": report}
    return _status(level, f"{name}: all cameras", message, values)


def camera_status(name: str, evaluation: LiveEvaluation, run: CameraRun) -> DiagnosticStatus:
    """How one camera is; `run` is its part of `LiveEvaluation.run`."""
    quality = evaluation.quality(run.camera)
    level, message = DiagnosticStatus.OK, f"PQ {_figure(quality['pq_all'])} over {run.pairs} frames"
    if not run.pairs:
        level, message = (
            DiagnosticStatus.WARN,
            f"{run.predictions or 0} predictions, {run.truths} truths, no pair of them",
        )
    latency = run.latency
    values = {
        "evaluated": str(run.pairs),
        "refused": str(evaluation.refused[run.camera]),
        **_quality(quality),
        "predictions": str(run.predictions or 0),
        "truths": str(run.truths),
        "waiting for a partner": str(evaluation.waiting(run.camera)),
        "truths without a prediction": str(len(run.unmatched_truths)),
        "predictions without a truth": str(len(run.unmatched_predictions)),
        "repeated stamps": str(run.repeated),
        "latency p50 (ms)": f"{1e3 * latency.p50:.2f}" if latency else "",
        "latency p99 (ms)": f"{1e3 * latency.p99:.2f}" if latency else "",
    }
    return _status(level, f"{name}: {run.camera or 'camera'}", message, values)


def _quality(quality: dict[str, float | None]) -> dict[str, str]:
    return {_NAMES[key]: "" if value is None else f"{value:.6f}" for key, value in quality.items()}


def _figure(value: float | None) -> str:
    """In percent, for people."""
    return "-" if value is None else f"{100 * value:.1f}"


def _status(level: bytes, name: str, message: str, values: dict[str, str]) -> DiagnosticStatus:
    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticStatus(level=level, name=name, message=message, values=pairs)
