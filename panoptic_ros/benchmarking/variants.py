"""The variants of a benchmark: a network on an engine, in a precision, at a size and a batch; and its stages.

The stages are those of the node: a camera's JPEG is decoded, the frame prepared, the network run, its outputs fused to
a `PanopticSegmentation`, an overlay drawn, and all published.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle

import torch
from torch.utils.flop_counter import FlopCounterMode

from panoptic_ros.benchmarking.frames import Frame, to_jpeg
from panoptic_ros.benchmarking.machine import PeakMemory
from panoptic_ros.benchmarking.rounds import Spent, Stopwatch
from panoptic_ros.drawing import OverlayPainter
from panoptic_ros.encodings import decompress
from panoptic_ros.engines import find_device
from panoptic_ros.engines.folding import fold
from panoptic_ros.labels import LabelSet
from panoptic_ros.models import build_model, load_model_config
from panoptic_ros.pipeline import Pipeline
from panoptic_ros.segmentation import PanopticSegmentation

STAGES = ("JPEG", "prepare", "network", "fuse", "draw", "publish")

RESULT_STAGES = ("prepare", "network", "fuse")
"""From a frame to its `PanopticSegmentation`."""

FIRST_RUNS = 2
"""Runs before anything is counted: engines plan and allocate in them, and a memory's peak is then reached."""

Publish = Callable[[LabelSet, PanopticSegmentation, Frame, Frame], None]
"""Publishes a value, whose classes are those of a label set, with its frame and its overlay."""


@dataclass(frozen=True, slots=True)
class Variant:
    """What is measured.

    Attributes
    ----------
    model, weights, device, engine, precision, threads:
        See `Pipeline.load`.
    size:
        Height and width of the network's input; None is the model's own.
    batch:
        Frames at once.
    title:
        What the model is called beside others; empty where it is the only one.
    """

    model: str
    weights: str
    device: str
    engine: str
    precision: str
    threads: int
    size: tuple[int, int] | None
    batch: int
    title: str = ""

    @property
    def name(self) -> str:
        """What tells it from others."""
        height, width = self.input_size()
        parts = (self.title, self.engine, self.precision, f"{width}x{height}")
        return " ".join(part for part in parts if part) + (f" batch {self.batch}" if self.batch > 1 else "")

    def input_size(self) -> tuple[int, int]:
        """Height and width of the network's input."""
        if self.size is not None:
            return self.size
        config = load_model_config(self.model)
        return config.input_height, config.input_width


@dataclass(frozen=True, slots=True)
class Round:
    """What one call of a variant spent and found.

    Attributes
    ----------
    spent:
        Of each stage that was run, for the whole batch.
    segments, things:
        In all frames of the batch.
    """

    spent: dict[str, Spent]
    segments: int
    things: int

    def total(self, stages: Sequence[str] = STAGES) -> Spent:
        """Of those of some stages that were run, together."""
        parts = [self.spent[stage] for stage in stages if stage in self.spent]
        return Spent(sum(part.wall for part in parts), sum(part.cpu for part in parts))


class Runner:
    """A variant that is loaded and ready to be called.

    Parameters
    ----------
    variant:
        What to load.
    frames:
        Given to it in turns, as JPEGs.

    Attributes
    ----------
    variant:
        What was loaded.
    pipeline:
        The network.
    memory:
        Bytes that loading and running it have taken at most; None where the system does not tell.

    Raises
    ------
    FileNotFoundError, ValueError, OutOfMemory
        See `Pipeline.load`.
    """

    def __init__(self, variant: Variant, frames: Sequence[Frame]) -> None:
        self.variant = variant
        memory = PeakMemory(find_device(variant.device))
        memory.start()
        self.pipeline = Pipeline.load(
            variant.model,
            variant.weights,
            variant.device,
            variant.engine,
            variant.precision,
            variant.threads,
            size=variant.size,
        )
        self._jpegs = cycle([to_jpeg(frame) for frame in frames])
        self._painter = OverlayPainter(self.pipeline.labels)
        for _ in range(FIRST_RUNS):
            self(None)
        self.memory = memory.stop()

    def __call__(self, publish: Publish | None) -> Round:
        """Take the next frames through all stages; without `publish` all but the last."""
        watch = Stopwatch()
        spent: dict[str, Spent] = {}
        jpegs = [next(self._jpegs) for _ in range(self.variant.batch)]
        watch.lap()
        frames = [decompress(jpeg, "jpeg") for jpeg in jpegs]
        spent["JPEG"] = watch.lap()
        values = self.pipeline(frames)
        watch.lap()
        for stage, part in zip(RESULT_STAGES, ("prepare", "network", "decode"), strict=True):
            spent[stage] = Spent(self.pipeline.timings[part], self.pipeline.cpu_timings[part])
        overlays = [self._painter(frame, value) for frame, value in zip(frames, values, strict=True)]
        spent["draw"] = watch.lap()
        if publish is not None:
            for value, frame, overlay in zip(values, frames, overlays, strict=True):
                publish(self.pipeline.labels, value, frame, overlay)
            spent["publish"] = watch.lap()
        return Round(spent, sum(len(value.segments) for value in values), sum(len(value.things) for value in values))


def network_flops(model: str, size: tuple[int, int]) -> float:
    """Floating point operations of a network's `forward` for one frame, a multiplication and an addition being two.

    Convolutions and matrix products count, as ``torch.utils.flop_counter`` counts them, and nothing else.  The network
    is folded, as engines run it.
    """
    config = load_model_config(model)
    with torch.device("meta"), torch.inference_mode():
        network = build_model(config).eval()
        fold(network)
        with FlopCounterMode(display=False) as counter:
            network(torch.empty((1, 3, *size)))
    return float(counter.get_total_flops())


def frame_flops(pipeline: Pipeline, frames: Sequence[Frame]) -> float:
    """Floating point operations from a frame to its result, counted as in `network_flops`, the mean over frames.

    What depends on what is seen is in it: heads that look at regions, masks of detections.  Regions that are pooled by
    matrix products count, those of torchvision's kernel do not.
    """
    with FlopCounterMode(display=False) as counter:
        for frame in frames:
            pipeline([frame])
    return float(counter.get_total_flops()) / len(frames)
