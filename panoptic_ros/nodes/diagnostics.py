"""``/diagnostics``: one status for the model and one for each camera, each with a sentence for people."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from panoptic_ros.nodes.statistics import Drop, Spread, Summary
from panoptic_ros.resources import weights_of

if TYPE_CHECKING:
    from panoptic_ros.nodes.camera import Camera
    from panoptic_ros.nodes.model_host import ModelHost
    from panoptic_ros.nodes.parameters import Settings


def model_status(name: str, state: str, host: ModelHost | None, failure: str, settings: Settings) -> DiagnosticStatus:
    """How the model is.

    Parameters
    ----------
    name:
        The node's name.
    state:
        Label of its lifecycle state.
    host:
        Holds the model; None before the node is configured.
    failure:
        Why the node could not be configured, or ''.
    settings:
        Name what was asked for where no model runs.
    """
    values = {"state": state, "loading": str(host is not None and host.loading).lower()}
    if host is None or host.running is None:
        values |= {
            "model": settings.model,
            "weights": weights_of(settings.model, settings.weights) or "random",
            "engine": settings.engine or "the model's own",
        }
        error = failure or (host.trouble if host else "")
        waiting = f"{state}: configure and activate the node" if host is None else "the model is being loaded"
        level, message = (DiagnosticStatus.ERROR, error) if error else (DiagnosticStatus.WARN, waiting)
    else:
        pipeline = host.running.pipeline
        values |= {
            "model": pipeline.model_name,
            "weights": weights_of(host.running.request.model, host.running.request.weights) or "random",
            "engine": pipeline.engine_name,
            "precision": pipeline.precision,
            "device": str(pipeline.device),
            "untrained": ", ".join(pipeline.untrained) or "nothing",
            "features": "trained" if pipeline.has_features else "random",
            "device memory (MiB)": f"{pipeline.device_memory() / 2**20:.0f}",
            "engine notes": "; ".join(pipeline.notes),
            "last error": host.error,
        }
        options = dataclasses.asdict(host.running.options(settings))
        values |= {name.replace("_", " "): str(value) for name, value in options.items()}
        values["given without effect"] = ", ".join(host.running.unused(settings))
        level, message = DiagnosticStatus.OK, "the model runs"
        if host.trouble:
            level, message = DiagnosticStatus.WARN, f"{host.trouble}; the former one runs on"
        elif not pipeline.trained:
            level, message = DiagnosticStatus.WARN, f"weights are untrained: {', '.join(pipeline.untrained)}"
        elif state != "active":
            message = f"the model is ready, the node is {state}"
    return _status(level, f"{name}: model", message, settings.model, values)


def camera_status(name: str, camera: Camera, silence: str, lost_before: dict[Drop, int]) -> DiagnosticStatus:
    """How a camera is.

    Parameters
    ----------
    name:
        The node's name.
    camera:
        The camera.
    silence:
        Why nothing comes, or ''.
    lost_before:
        Drops by reason at the last status; failures since then make a warning.
    """
    summary = camera.statistics.summary()
    failures = {
        reason: count - lost_before.get(reason, 0)
        for reason, count in summary.dropped.items()
        if reason in (Drop.BAD, Drop.FAILED, Drop.MEMORY) and count > lost_before.get(reason, 0)
    }
    level, message = DiagnosticStatus.OK, f"{summary.output_rate:.1f} of {summary.input_rate:.1f} frames a second"
    if silence:
        level, message = DiagnosticStatus.WARN, silence
    elif failures:
        level = DiagnosticStatus.ERROR if summary.output_rate == 0 else DiagnosticStatus.WARN
        message = "frames lost: " + ", ".join(f"{count} {reason.value}" for reason, count in failures.items())
    elif not camera.subscribed:
        message = "not subscribed: nobody listens to the results"
    return _status(level, f"{name}: {camera.name or 'camera'}", message, camera.image_topic, _camera_values(summary))


def make_array(stamp: Time, statuses: Sequence[DiagnosticStatus]) -> DiagnosticArray:
    array = DiagnosticArray(status=list(statuses))
    array.header.stamp = stamp
    return array


def _camera_values(summary: Summary) -> dict[str, str]:
    values = {
        "input rate (Hz)": f"{summary.input_rate:.2f}",
        "output rate (Hz)": f"{summary.output_rate:.2f}",
        "received": str(summary.received),
        "processed": str(summary.processed),
    }
    values |= {f"dropped, {reason.value}": str(summary.dropped.get(reason, 0)) for reason in Drop}
    spreads: dict[str, Spread | None] = {
        "age at arrival": summary.arrival_age,
        "age at publishing": summary.output_age,
        "processing": summary.processing,
        "processing without pipeline": summary.own,
    }
    for what, spread in spreads.items():
        values[f"{what} p50 (ms)"] = f"{1e3 * spread.p50:.2f}" if spread else ""
        values[f"{what} p99 (ms)"] = f"{1e3 * spread.p99:.2f}" if spread else ""
    return values


def _status(level: bytes, name: str, message: str, hardware: str, values: dict[str, str]) -> DiagnosticStatus:
    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticStatus(level=level, name=name, message=message, hardware_id=hardware, values=pairs)
