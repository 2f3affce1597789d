"""Time of drawing one overlay: a synthetic street of twenty cars, at a phone's, a camera's and Cityscapes' size.

Run ``python benchmarks/drawing.py [THREADS]``.
"""

from __future__ import annotations

import sys
import time

import cv2
import numpy as np

from panoptic_ros.drawing import OverlayPainter
from panoptic_ros.labels import LabelSet
from panoptic_ros.segmentation import PanopticSegmentation

CARS = 20
RUNS = 100


def street(width: int, height: int, labels: LabelSet) -> PanopticSegmentation:
    """Sky, buildings, road, a void bonnet, and cars of 3 to 20 % of the width that overlap one another."""
    rng = np.random.default_rng(0)
    ids = np.full((height, width), 23000, dtype=np.int32)
    ids[height // 4 : height // 2, : width // 3] = 11000
    ids[height // 2 :] = 7000
    for number, size in enumerate(np.geomspace(0.03, 0.2, CARS) * width, start=1):
        center = int(rng.integers(0, width)), int(height * 0.5 + size * 0.4)
        axes = int(size / 2), int(size / 3)
        cv2.ellipse(ids, center, axes, 0, 0, 360, 26000 + number, cv2.FILLED)
    ids[int(height * 0.94) :] = 0
    return PanopticSegmentation.from_ids(ids, labels.thing_ids)


def main() -> None:
    """Print the median and the 90th percentile over `RUNS` overlays for each size."""
    cv2.setNumThreads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    labels = LabelSet.load("cityscapes")
    print(f"{CARS} cars, {RUNS} runs, OpenCV threads: {cv2.getNumThreads()}")
    for width, height in ((640, 384), (1280, 720), (2048, 1024)):
        painter = OverlayPainter(labels)
        segmentation = street(width, height, labels)
        frame = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
        times = []
        for _ in range(RUNS):
            start = time.perf_counter()
            painter(frame, segmentation)
            times.append(1e3 * (time.perf_counter() - start))
        print(f"{width:5d}x{height:<5d} median {np.median(times):5.2f} ms   p90 {np.percentile(times, 90):5.2f} ms")


if __name__ == "__main__":
    main()
