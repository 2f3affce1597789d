"""The command line with a pipeline that needs no network: bright pixels are a car, dark ones road.

Run as a program it takes the arguments of ``panoptic-ros``, so that a test can kill it.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.labels import LabelSet
from panoptic_ros.models.options import DecodeOptions
from panoptic_ros.segmentation import PanopticSegmentation

CAR, ROAD = 26001, 7000
PART_FRAMES = 4


class FakePipeline:
    """Segments by brightness; waits ``FAKE_SECONDS`` a frame."""

    untrained = ()
    notes = ()

    def __init__(self) -> None:
        self.labels = LabelSet.load("cityscapes")
        self.timings: dict[str, float] = {}
        self.options = DecodeOptions(nms_threshold=0.6)
        self.calls = 0

    def __call__(self, frames: Sequence[NDArray[np.uint8]], confidence: bool = False) -> list[PanopticSegmentation]:
        self.calls += 1
        time.sleep(float(os.environ.get("FAKE_SECONDS", "0")))
        self.timings = {"prepare": 0.001, "network": 0.002, "decode": 0.003}
        return [self.segment(frame, confidence) for frame in frames]

    def segment(self, frame: NDArray[np.uint8], confidence: bool) -> PanopticSegmentation:
        ids = np.where(frame[:, :, 1] > 127, CAR, ROAD).astype(np.int32)
        score = float(frame[:, :, 1].max()) / 255
        value = PanopticSegmentation.from_ids(ids, self.labels.thing_ids, {CAR: score})
        return PanopticSegmentation(value.ids, value.segments, frame[:, :, 0].copy() if confidence else None)


if __name__ == "__main__":
    from panoptic_ros.commands import main, replay

    replay._load = lambda *_: FakePipeline()  # type: ignore[assignment]
    replay.Recording = functools.partial(replay.Recording, part_frames=PART_FRAMES)  # type: ignore[misc,assignment]
    main.main()
