"""The pipeline: BGR frames in, one `PanopticSegmentation` per frame out, at the frame's own size."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from panoptic_ros.engines import ENGINES, OutOfMemory, check_engine
from panoptic_ros.letterbox import Letterbox
from panoptic_ros.models import ModelConfig, build_model, load_model_config
from panoptic_ros.models.weights import check_weights, load_weights
from panoptic_ros.resources import weights_of
from panoptic_ros.segmentation import PanopticSegmentation

if TYPE_CHECKING:
    from panoptic_ros.engines import Engine
    from panoptic_ros.labels import LabelSet
    from panoptic_ros.models.model import PanopticModel, WeightsReport

__all__ = ["OutOfMemory", "Pipeline"]


class Pipeline:
    """Prepare, network, decode.

    Use `load`; the constructor takes parts that are ready.

    Attributes
    ----------
    model_name, engine_name:
        What was chosen.
    labels:
        The classes of what comes out.
    device:
        Where the network runs.
    untrained:
        The parts of the network that have random weights, by name.
    options:
        The thresholds; may be replaced at any time, the next call takes them.
    weights_report:
        What `load` has taken of another program's weights; None of a whole system's, of which everything is.
    timings:
        Seconds that the last call spent in ``prepare``, ``network`` and ``decode``.
    """

    def __init__(self, name: str, config: ModelConfig, model: PanopticModel, engine: Engine) -> None:
        self.model_name = name
        self.engine_name = engine.name
        self.labels: LabelSet = model.labels
        self.device = engine.device
        self.untrained = tuple(sorted(model.untrained))
        self.options: Any = config.decode
        self.weights_report: WeightsReport | None = None
        self.timings: dict[str, float] = {}
        self._model = model
        self._engine = engine
        self._size = (config.input_height, config.input_width)

    @property
    def trained(self) -> bool:
        """Whether every part of the network has weights from a file."""
        return not self.untrained

    @classmethod
    def load(
        cls,
        model: str,
        weights: str = "",
        device: str = "auto",
        engine: str = "torch",
        precision: str = "fp32",
        threads: int = 0,
    ) -> Pipeline:
        """Build a system and make it ready to run.

        Parameters
        ----------
        model:
            A name in ``config/models``, the path of such a YAML file, or exported ``.safetensors``, which hold their
            configuration.
        weights:
            A ``.safetensors`` file, or one of another program that the system takes (Darknet's ``.weights``,
            torchvision's ``.pth``); empty for those of an exported `model`, else for random
            weights, the same every time.
        device:
            ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        engine, precision:
            A name in `ENGINES`; ``fp32``, ``fp16`` or ``bf16``.
        threads:
            CPU threads of torch and OpenCV in this process; 0 leaves them as they are.

        Raises
        ------
        FileNotFoundError, ValueError
            If a file is missing or is not what it should be, or a device or engine is not to be had; the message names
            it and what was expected.
        OutOfMemory
            If the device has too little memory for the network.
        """
        found = check_engine(engine, device, precision)
        if threads > 0:
            torch.set_num_threads(threads)
            cv2.setNumThreads(threads)
        config = load_model_config(model)
        network = build_model(config)
        report = None
        if weights := weights_of(model, weights):
            report = load_weights(network, Path(weights).expanduser())
        try:
            pipeline = cls(model, config, network, ENGINES[engine](network, found, precision))
        except torch.cuda.OutOfMemoryError as error:
            raise OutOfMemory(f"{found} has too little memory for {model}: {error}") from error
        pipeline.weights_report = report
        return pipeline

    @staticmethod
    def check(
        model: str, weights: str = "", device: str = "auto", engine: str = "torch", precision: str = "fp32"
    ) -> None:
        """Say quickly what `load` would say of its arguments, without the network's memory.

        Raises
        ------
        FileNotFoundError, ValueError
            See `load`.
        """
        check_engine(engine, device, precision)
        config = load_model_config(model)
        with torch.device("meta"):
            network = build_model(config)
        if weights := weights_of(model, weights):
            check_weights(network, Path(weights).expanduser())

    def __call__(self, frames: Sequence[NDArray[np.uint8]], confidence: bool = False) -> list[PanopticSegmentation]:
        """Segment frames as one batch.

        Parameters
        ----------
        frames:
            (h, w, 3) uint8 BGR each, of any sizes.
        confidence:
            Whether the values carry the confidence of each pixel.

        Raises
        ------
        ValueError
            If a frame is not a (h, w, 3) uint8 array.
        OutOfMemory
            If the device has too little memory for this batch.
        """
        if not frames:
            return []
        started = time.perf_counter()
        height, width = self._size
        batch = np.empty((len(frames), height, width, 3), dtype=np.uint8)
        letterboxes = []
        for frame, slot in zip(frames, batch, strict=True):
            if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
                raise ValueError(f"a frame must be a (h, w, 3) uint8 array, got {frame.shape} {frame.dtype}")
            letterboxes.append(Letterbox.fit(frame.shape[0], frame.shape[1], height, width))
            letterboxes[-1].draw(frame, slot)
        try:
            # BGR to RGB and bytes to [0, 1] on the device, which is sent a quarter of the bytes that way.
            images = torch.from_numpy(batch).to(self.device).permute(0, 3, 1, 2).flip(1).float().div_(255.0)
            prepared = time.perf_counter()
            outputs = self._engine(images)
            self._synchronize()
            ran = time.perf_counter()
            values = self._model.decode(outputs, letterboxes, self.options, confidence)
        except torch.cuda.OutOfMemoryError as error:
            raise OutOfMemory(f"{self.device} has too little memory for {len(frames)} frames: {error}") from error
        ended = time.perf_counter()
        self.timings = {"prepare": prepared - started, "network": ran - prepared, "decode": ended - ran}
        return values

    def device_memory(self) -> int:
        """Bytes of GPU memory that this process has reserved, 0 on the CPU."""
        return int(torch.cuda.memory_reserved(self.device)) if self.device.type == "cuda" else 0

    def _synchronize(self) -> None:
        """Wait for the GPU, so that its time is counted where it is spent."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
