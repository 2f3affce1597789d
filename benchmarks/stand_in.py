"""The node as a user starts it, but for what it finds: a prepared street with twenty cars, in every frame.

With random weights a network finds next to nothing or nothing but noise, and then drawing and filling messages cost
what they never cost on a road.  The parameter `model` says what stands in: ``delay:0.05`` takes 50 ms for a batch, and
the name of a real system runs that and then forgets what it found.

Run ``python benchmarks/stand_in.py WINDOW [ROS ARGUMENTS]``; statistics look back WINDOW seconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from drawing import street
from numpy.typing import NDArray

from panoptic_ros import pipeline
from panoptic_ros.labels import LabelSet
from panoptic_ros.models.options import DecodeOptions
from panoptic_ros.nodes import panoptic_node, statistics
from panoptic_ros.segmentation import PanopticSegmentation


class StandIn:
    """Takes the place of the class `Pipeline`."""

    engine_name = "stand-in"
    precision = "fp32"
    notes = ()
    device = "cpu"
    trained = True
    untrained = ()
    has_features = True
    weights_report = None
    options = DecodeOptions()

    def __init__(self, model: str, network: pipeline.Pipeline | None) -> None:
        self.model_name = model
        self.labels = LabelSet.load("cityscapes")
        self._network = network
        self._delay = float(model.removeprefix("delay:")) if network is None else 0.0
        self._street = cache(lambda width, height: street(width, height, self.labels))

    @staticmethod
    def check(model: str, *_: object, **__: object) -> None:
        """Say that all is well."""

    @classmethod
    def load(cls, model: str, *arguments: Any, **options: Any) -> StandIn:
        network = None if model.startswith("delay:") else REAL.load(model, *arguments, **options)
        return cls(model, network)

    def __call__(self, frames: Sequence[NDArray[np.uint8]], confidence: bool = False) -> list[PanopticSegmentation]:
        started = time.monotonic()
        if self._network is not None:
            self._network(frames, confidence)
        found = [self._street(frame.shape[1], frame.shape[0]) for frame in frames]
        if confidence:
            found = [replace(value, confidence=np.full(value.ids.shape, 200, np.uint8)) for value in found]
        time.sleep(max(0.0, started + self._delay - time.monotonic()))
        return found

    def device_memory(self) -> int:
        return 0


REAL = pipeline.Pipeline

if __name__ == "__main__":
    statistics.WINDOW = float(sys.argv[1])
    pipeline.Pipeline = StandIn  # type: ignore[misc, assignment]
    sys.exit(panoptic_node.main(sys.argv[2:]))
