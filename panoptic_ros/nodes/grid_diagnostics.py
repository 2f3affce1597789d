"""``/diagnostics`` of the grid: one status, with a sentence for people."""

from __future__ import annotations

from collections.abc import Sequence

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from panoptic_ros.nodes.grid_host import HARMLESS, GridHost
from panoptic_ros.nodes.statistics import Spread


def grid_status(name: str, host: GridHost, silences: Sequence[str], lost_before: dict[str, int]) -> DiagnosticStatus:
    """How the grid is.

    Parameters
    ----------
    name:
        The node's name.
    host:
        The grid.
    silences:
        Sentences about inputs that are silent.
    lost_before:
        Drops by reason at the last status, which is brought up to date; more since then make a warning.
    """
    summary = host.statistics.summary()
    lost = {
        reason: count - lost_before.get(reason, 0)
        for reason, count in summary.dropped.items()
        if reason not in HARMLESS and count > lost_before.get(reason, 0)
    }
    lost_before.update(summary.dropped)
    level, message = DiagnosticStatus.OK, f"{summary.rate:.1f} grids a second"
    if host.labels is None:
        level, message = DiagnosticStatus.WARN, "waiting for label_info: what the ids mean is not known"
    elif silences:
        level, message = DiagnosticStatus.WARN, silences[0]
    elif lost:
        level = DiagnosticStatus.WARN if summary.rate else DiagnosticStatus.ERROR
        message = "inputs lost: " + ", ".join(f"{count} {reason}" for reason, count in sorted(lost.items()))
    values = {
        "grids": str(summary.results),
        "rate (Hz)": f"{summary.rate:.2f}",
        "objects": str(summary.objects),
        "labelled late": str(summary.late_labels),
        "labels": host.labels.name if host.labels else "",
        "fixed frame": host.options.fixed_frame,
        **{f"received, {topic}": str(count) for topic, count in sorted(summary.received.items())},
        **{f"dropped, {reason}": str(count) for reason, count in sorted(summary.dropped.items())},
        **_spread("age", summary.age),
        **_spread("processing", summary.processing),
    }
    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    return DiagnosticStatus(level=level, name=f"{name}: grid", message=message, values=pairs)


def _spread(what: str, spread: Spread | None) -> dict[str, str]:
    return {
        f"{what} p50 (ms)": f"{1e3 * spread.p50:.2f}" if spread else "",
        f"{what} p99 (ms)": f"{1e3 * spread.p99:.2f}" if spread else "",
    }
