"""A camera three times as fast as the network, for minutes: does the node keep up, and does it stay small?

The node runs in a process of its own, its camera and its audience in another.  What must hold: the age of what is
published stays within two processing periods, memory stays flat, and every frame that arrived is published or counted
with the reason why not.

Run ``python benchmarks/soak.py [--seconds 120] [--model NAME | delay:0.05] [--size 1280x720]``.  With
``delay:SECONDS`` the network is replaced by a wait, which leaves the machine to the node.  psutil comes with the test
requirements.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table
from traffic import NodeProcess, Peer, picture, use_own_network

from panoptic_ros.resources import SMALL_MODEL

TOPICS = ("panoptic", "instances", "overlay")
OVERLOAD = 3.0  # frames of the camera for each that the node can process
WARM_UP = 0.25  # the part of the time after which memory must be flat
CALIBRATION = 8  # frames by which the node's own period is found


def soak(seconds: float, model: str, width: int, height: int) -> dict[str, object]:
    """Overload the node; returns the figures.

    Parameters
    ----------
    seconds:
        How long.
    model:
        A real system's name, or ``delay:SECONDS``.
    width, height:
        The camera's pixels.

    Returns
    -------
    figures:
        Times in ms, memory in MiB, counts of frames since the node's start.
    """
    with NodeProcess(model, stand_in=model.startswith("delay:")) as node:
        peer = Peer(picture(width, height))
        peer.listen(TOPICS)
        peer.connect()
        period = _period(peer)
        process, peer.ages = psutil.Process(node.pid), []
        memory: list[tuple[float, float]] = []
        windows: list[tuple[float, float, float]] = []

        def look() -> None:
            now = time.monotonic()
            if not memory or now - memory[-1][0] >= min(1.0, seconds / 20):
                memory.append((now, process.memory_info().rss / 2**20))
                windows.append(
                    (
                        peer.values["age at publishing p99 (ms)"],
                        peer.values["processing p50 (ms)"],
                        1e3 / peer.values["output rate (Hz)"],
                    )
                )

        peer.play(seconds, OVERLOAD / period, look)
        peer.spin(1.1)  # no diagnostics of before the last frame
        peer.until(lambda: _settled(peer.values), "the end of the work")
        peer.until(lambda: peer.received["panoptic"] >= peer.values["processed"], "the results")
        counts, ages = dict(peer.values), np.array(peer.ages) * 1e3
        received, sent = dict(peer.received), peer.sent
        peer.close()
        status = node.stop()
    lost = {key.removeprefix("dropped, "): int(value) for key, value in counts.items() if key.startswith("dropped, ")}
    recent = np.array(windows[len(windows) // 4 :])
    times, sizes = np.array(memory).T
    flat = times >= times[0] + WARM_UP * (times[-1] - times[0])
    return {
        "camera_hz": OVERLOAD / period,
        "processing_p50_ms": float(np.median(recent[:, 1])),
        "output_period_ms": float(np.median(recent[:, 2])),
        "age_at_publishing_p99_ms": {"median": float(np.median(recent[:, 0])), "worst": float(recent[:, 0].max())},
        "age_at_arrival_p50_ms": float(np.median(ages)),
        "age_at_arrival_p99_ms": float(np.quantile(ages, 0.99)),
        "worst_p99_in_processing_periods": float(recent[:, 0].max() / np.median(recent[:, 1])),
        "memory_start_mib": float(sizes[0]),
        "memory_end_mib": float(sizes[-1]),
        "memory_growth_mib": float(np.ptp(sizes[flat])),
        "memory_slope_mib_per_minute": float(60 * np.polyfit(times[flat], sizes[flat], 1)[0]),
        "sent": sent,
        "received": int(counts["received"]),
        "processed": int(counts["processed"]),
        "dropped": lost,
        "heard": received,
        "exit_status": status,
    }


def _period(peer: Peer) -> float:
    """Seconds that the node takes for a frame, one after the other."""
    while (known := peer.received["panoptic"]) < CALIBRATION:
        peer.play(1.0, 1.0)
        peer.wait(lambda: peer.received["panoptic"] > known, timeout=5.0)
    peer.spin(1.1)  # the next diagnostics
    return peer.values["processing p50 (ms)"] / 1e3


def _settled(values: dict[str, float]) -> bool:
    lost = sum(value for key, value in values.items() if key.startswith("dropped, "))
    return values["received"] == values["processed"] + lost


def main(arguments: list[str] | None = None) -> dict[str, object]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0, help="(default: %(default)s)")
    parser.add_argument("--model", default=SMALL_MODEL, help="(default: %(default)s)")
    parser.add_argument("--size", default="1280x720", help="the camera's pixels (default: %(default)s)")
    parser.add_argument("--write", type=Path, help="a JSON file for the figures")
    options = parser.parse_args(arguments)
    width, height = map(int, options.size.split("x"))
    use_own_network()
    figures = soak(options.seconds, options.model, width, height)
    table = Table(
        "", "", title=f"{options.model}, {options.size}, {options.seconds:.0f} s of {OVERLOAD:.0f} x overload"
    )
    for name, value in figures.items():
        table.add_row(name, f"{value:.2f}" if isinstance(value, float) else str(value))
    Console().print(table)
    if options.write:
        options.write.write_text(json.dumps(figures, indent=2))
    return figures


if __name__ == "__main__":
    main()
