"""The pipeline: BGR frames in, one `PanopticSegmentation` per frame out, at the frame's own size."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from panoptic_ros.configuration import ConfigurationError
from panoptic_ros.engines import ENGINES, Network, OutOfMemory, choose_engine
from panoptic_ros.letterbox import Letterbox
from panoptic_ros.models import ModelConfig, build_model, load_model_config
from panoptic_ros.models.exported import Exported, build_exported, check_same, open_exported
from panoptic_ros.models.weights import check_weights, load_weights
from panoptic_ros.resources import EXPORTED_SUFFIXES, weights_of
from panoptic_ros.segmentation import PanopticSegmentation

if TYPE_CHECKING:
    from torch import Tensor

    from panoptic_ros.engines import Engine
    from panoptic_ros.labels import LabelSet
    from panoptic_ros.models.model import PanopticModel, WeightsReport

__all__ = ["OutOfMemory", "Pipeline"]

STAGES = ("prepare", "network", "decode")
"""The parts of a call, as `Pipeline.timings` names them."""


class Pipeline:
    """Prepare, network, decode.

    Use `load`; the constructor takes parts that are ready.

    Attributes
    ----------
    model_name, precision:
        What was chosen.
    model, config:
        The system, and what it was built from.
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
    cpu_timings:
        Seconds of the processor in the same parts, in all threads of this process.
    """

    def __init__(self, name: str, config: ModelConfig, model: PanopticModel, engine: Engine) -> None:
        self.model_name = name
        self.precision = engine.precision
        self.labels: LabelSet = model.labels
        self.device = engine.device
        self.untrained = tuple(sorted(model.untrained))
        self.options: Any = config.decode
        self.weights_report: WeightsReport | None = None
        self.timings: dict[str, float] = {}
        self.cpu_timings: dict[str, float] = {}
        self.model = model
        self.config = config
        self._engine = engine
        self._size = (config.input_height, config.input_width)

    @property
    def engine_name(self) -> str:
        """What runs the network now."""
        return self._engine.name

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences of the engine for people: what was made anew, which fallback was taken, how far it is."""
        return self._engine.notes

    @property
    def trained(self) -> bool:
        """Whether every part of the network has weights from a file."""
        return not self.untrained

    @property
    def has_features(self) -> bool:
        """Whether the part that gives all others their features has weights from a file."""
        return self.model.backbone_part not in self.untrained

    @classmethod
    def load(
        cls,
        model: str,
        weights: str = "",
        device: str = "auto",
        engine: str = "",
        precision: str = "",
        threads: int = 0,
        size: tuple[int, int] | None = None,
    ) -> Pipeline:
        """Build a system and make it ready to run.

        Parameters
        ----------
        model:
            A name in ``config/models``, the path of such a YAML file, exported ``.safetensors``, or a network exported
            to ``.onnx`` or OpenVINO's ``.xml``; exported files hold their configuration.
        weights:
            A ``.safetensors`` file, one of another program that the system takes (Darknet's ``.weights``, torchvision's
            ``.pth``), or an exported network of the same label set and size; empty for those of an exported `model`,
            else for random weights, the same every time.
        device:
            ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or, with OpenVINO, ``xpu``.
        engine:
            A name in `ENGINES`, ``auto`` for the fastest here; empty for torch, or for an exported network the first
            that runs it.
        precision:
            ``fp32``, ``fp16``, ``bf16`` or, of a network exported so, ``int8``; empty for fp32, or that of an exported
            network.
        threads:
            CPU threads of the engine, and of torch and OpenCV in this process; 0 leaves them as they are.
        size:
            Height and width of the network's input in place of the configuration's; an exported network keeps its own.

        Raises
        ------
        FileNotFoundError, ValueError
            If a file is missing or is not what it should be, or a device or engine is not to be had; the message names
            it and what was expected.
        OutOfMemory
            If the device has too little memory for the network.
        """
        config = load_model_config(model)
        exported = _exported(model, weights, config)
        name, options = choose_engine(engine, device, precision, threads, exported)
        if threads > 0:
            torch.set_num_threads(threads)
            cv2.setNumThreads(threads)
        config = _sized(config, size, exported)
        network = build_exported(exported) if exported is not None else build_model(config)
        report = None
        if exported is None and (weights := weights_of(model, weights)):
            report = load_weights(network, Path(weights).expanduser())
        whole = Network(network, config, exported.path if exported is not None else None)
        try:
            pipeline = cls(model, config, network, ENGINES[name].make(name, whole, options))
        except torch.cuda.OutOfMemoryError as error:
            raise OutOfMemory(f"{options.device} has too little memory for {model}: {error}") from error
        pipeline.weights_report = report
        return pipeline

    @staticmethod
    def check(
        model: str,
        weights: str = "",
        device: str = "auto",
        engine: str = "",
        precision: str = "",
        size: tuple[int, int] | None = None,
    ) -> None:
        """Say quickly what `load` would say of its arguments, without the network's memory.

        Raises
        ------
        FileNotFoundError, ValueError
            See `load`.
        """
        config = load_model_config(model)
        exported = _exported(model, weights, config)
        choose_engine(engine, device, precision, exported=exported)
        with torch.device("meta"):
            network = build_model(_sized(config, size, exported))
        if exported is None and (weights := weights_of(model, weights)):
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
        moments = [_now()]
        try:
            images, letterboxes = self.prepare(frames)
            moments.append(_now())
            outputs = self.run(images)
            moments.append(_now())
            values = self.model.decode(outputs, letterboxes, self.options, confidence)
        except torch.cuda.OutOfMemoryError as error:
            raise OutOfMemory(f"{self.device} has too little memory for {len(frames)} frames: {error}") from error
        moments.append(_now())
        wall, cpu = (dict(zip(STAGES, np.diff(clock).tolist(), strict=True)) for clock in zip(*moments, strict=True))
        self.timings, self.cpu_timings = wall, cpu
        return values

    def prepare(self, frames: Sequence[NDArray[np.uint8]]) -> tuple[Tensor, list[Letterbox]]:
        """The network's input, (B, 3, H, W) float32 RGB in [0, 1] on the device, and how each frame lies in it.

        Raises
        ------
        ValueError
            If a frame is not a (h, w, 3) uint8 array.
        """
        height, width = self._size
        batch = np.empty((len(frames), height, width, 3), dtype=np.uint8)
        letterboxes = []
        for frame, slot in zip(frames, batch, strict=True):
            if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
                raise ValueError(f"a frame must be a (h, w, 3) uint8 array, got {frame.shape} {frame.dtype}")
            letterboxes.append(Letterbox.fit(frame.shape[0], frame.shape[1], height, width))
            letterboxes[-1].draw(frame, slot)
            slot[:] = cv2.cvtColor(slot, cv2.COLOR_BGR2RGB)  # half of what torch's flip takes for it all
        # Bytes to [0, 1] on the device, which is sent a quarter of the bytes that way.
        images = torch.from_numpy(batch).to(self.device).permute(0, 3, 1, 2).float().div_(255.0)
        return images, letterboxes

    def run(self, images: Tensor) -> dict[str, Tensor]:
        """The network's outputs for inputs of `prepare`, complete; they hold until the next run."""
        outputs = self._engine(images)
        self._synchronize()
        return outputs

    def device_memory(self) -> int:
        """Bytes of GPU memory that this process has reserved, 0 on the CPU."""
        return int(torch.cuda.memory_reserved(self.device)) if self.device.type == "cuda" else 0

    def _synchronize(self) -> None:
        """Wait for the GPU, so that its time is counted where it is spent."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _now() -> tuple[float, float]:
    """Seconds of the clock and of the processor, in all threads of this process."""
    return time.perf_counter(), time.process_time()


def _sized(config: ModelConfig, size: tuple[int, int] | None, exported: Exported | None) -> ModelConfig:
    """A configuration with another height and width of the input, where they are given.

    Raises
    ------
    ConfigurationError
        If an exported network has another size.
    """
    if size is None:
        return config
    if exported is not None and size != (config.input_height, config.input_width):
        raise ConfigurationError(
            f"{exported.path}: was exported for {config.input_width}x{config.input_height}, and cannot take "
            f"{size[1]}x{size[0]}"
        )
    return replace(config, input_height=size[0], input_width=size[1])


def _exported(model: str, weights: str, config: ModelConfig) -> Exported | None:
    """The exported network that a model or its weights are, or None.

    Raises
    ------
    FileNotFoundError, ConfigurationError
        If it is not what it should be, or was exported for another label set or size than `model` has.
    """
    if model.endswith(EXPORTED_SUFFIXES):
        if weights and weights != model:
            raise ConfigurationError(
                f"{model}: is an exported network and holds its weights; {weights} cannot be put into it"
            )
        return open_exported(Path(model).expanduser())
    if weights.endswith(EXPORTED_SUFFIXES):
        exported = open_exported(Path(weights).expanduser())
        check_same(exported, model, config)
        return exported
    return None
