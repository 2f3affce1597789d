"""A camera that is faster than the network, for a while: nothing queues up, nothing piles up, every frame is accounted.

``benchmarks/soak.py`` does the same for minutes and tells the times.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from node_harness import FakeSource, Ros
from sensor_msgs.msg import Image

from panoptic_ros.nodes.statistics import Drop

SOAK = Path(__file__).resolve().parents[2] / "benchmarks" / "soak.py"
TOPIC = "/camera/image_raw"
FRAMES = 300


def numbered(number: int) -> np.ndarray:
    """A picture that carries its number."""
    frame = np.zeros((8, 8, 3), dtype=np.uint8)
    frame[0, 0, :2] = divmod(number, 256)
    return frame


def test_each_inference_starts_on_the_newest_frame(ros: Ros, source: FakeSource) -> None:
    prefix = f"qos_overrides.{TOPIC}.subscription"
    node = ros.start(source, **{f"{prefix}.reliability": "reliable", f"{prefix}.depth": 10})  # all arrive, in order
    results = ros.listen(Image, "/panoptic_node/panoptic")
    camera = ros.publisher(Image, TOPIC, depth=10)
    ros.connected(camera)
    ros.until(lambda: source.loaded, "the model")
    statistics = node.cameras[0].statistics
    arrived_before, taken = [0], []

    def look(frames: Sequence[np.ndarray]) -> None:
        """At the end of each inference: which frame it was of, and what lies ready for the next."""
        taken.append(int(frames[0][0, 0, 0]) * 256 + int(frames[0][0, 0, 1]))
        arrived_before.append(statistics.summary().received)

    source.pipeline.trouble = look
    source.pipeline.delay = 0.03
    for number in range(FRAMES):
        camera.publish(ros.image(numbered(number)))
        ros.spin(0.01)
    ros.until(lambda: statistics.summary().received == FRAMES, "all frames")
    ros.until(lambda: taken[-1] == FRAMES - 1, "the last frame")
    ros.until(lambda: len(results) == len(taken), "the results")
    summary = statistics.summary()
    assert summary.processed == len(taken)
    assert summary.dropped == {Drop.SUPERSEDED: FRAMES - len(taken)}
    assert len(taken) < 2 * FRAMES / 3  # there was something to drop
    for number, arrived in zip(taken, arrived_before, strict=False):
        # A frame is counted just before it takes the slot, so the last one counted may have come a moment too late.
        assert number >= arrived - 2, f"frame {number} was taken although {arrived} had arrived"


def test_processes_account_for_every_frame_and_stay_small(tmp_path: Path) -> None:
    figures_file = tmp_path / "figures.json"
    command = [sys.executable, str(SOAK), "--seconds", "6", "--model", "delay:0.05", "--size", "320x240"]
    done = subprocess.run(
        [*command, "--write", str(figures_file)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(figures_file.read_text())
    dropped = figures["dropped"]
    assert figures["sent"] >= figures["received"]
    assert figures["received"] == figures["processed"] + sum(dropped.values())
    assert dropped.pop("superseded") > figures["processed"] / 2
    assert set(dropped.values()) == {0}
    assert set(figures["heard"].values()) == {figures["processed"]}
    assert figures["exit_status"] == 0
    frame = 320 * 240 * 3 / 2**20
    assert figures["memory_growth_mib"] < figures["received"] * frame / 3  # frames, or results, do not pile up
