"""Time of drawing one overlay: a synthetic street of twenty cars, at a phone's, a camera's and Cityscapes' size.

Run ``python benchmarks/drawing.py [THREADS]``.
"""

from __future__ import annotations

import sys
from functools import partial

import cv2
import numpy as np
from timing import measure, report

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


def main(threads: int = 1) -> dict[str, object]:
    """Time `RUNS` overlays for each size, with `threads` of OpenCV's."""
    cv2.setNumThreads(threads)
    labels = LabelSet.load("cityscapes")
    alternatives = {}
    for width, height in ((640, 384), (1280, 720), (2048, 1024)):
        frame = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
        alternatives[f"{width}x{height}"] = partial(OverlayPainter(labels), frame, street(width, height, labels))
    seconds = measure(alternatives, repeats=RUNS)
    return {"overlay": report(f"overlay, {CARS} cars, {cv2.getNumThreads()} threads of OpenCV", seconds)}


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
