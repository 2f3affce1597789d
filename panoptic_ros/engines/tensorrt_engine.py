"""TensorRT's own interface, on NVIDIA's GPUs.  Written after its documentation (TensorRT 10 and 11) and never run.

Networks are strongly typed, the only kind that TensorRT 11 has: the numbers are those of the ONNX file, so fp16 is a
file in fp16 and int8 one with symmetric quantisation (``panoptic-ros export --engine tensorrt --int8``).  A plan is
built for batches of 1 to `MAX_BATCH` images and kept in the cache under the network, the versions and the GPU.
Building takes minutes; torch serves meanwhile, and for good if it fails.
"""

from __future__ import annotations

import copy
import logging
import threading
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from panoptic_ros.engines.cache import cache_folder, cached_file
from panoptic_ros.engines.engine import EngineError, Network, OutOfMemory, RunOptions
from panoptic_ros.engines.export import need_export
from panoptic_ros.engines.onnx_engine import cached_onnx, check_size
from panoptic_ros.engines.torch_engine import TorchEngine
from panoptic_ros.files import written_whole
from panoptic_ros.models.exported import INPUT, move_decode

NAME = "tensorrt"
MAX_BATCH = 8
PRECISIONS = ("fp32", "fp16", "int8")

_logger = logging.getLogger(__name__)


def load_tensorrt() -> Any:
    """The module.

    Raises
    ------
    EngineError
        If it is not installed, or its libraries are not.
    """
    try:
        import tensorrt
    except (ImportError, OSError) as error:
        raise EngineError(
            f"engine {NAME!r} is not installed: pip install tensorrt-cu12 (on a Jetson it comes with JetPack); {error}"
        ) from error
    return tensorrt


def check(name: str, options: RunOptions, exported: Path | None) -> None:
    """Say whether the engine can run here.

    Raises
    ------
    EngineError
        If it is not installed, or not for the device or the precision.
    """
    if options.device.type != "cuda":
        raise EngineError(f"engine {name!r} needs an NVIDIA GPU; it was to run on {options.device}")
    if options.precision not in PRECISIONS:
        raise EngineError(f"engine {name!r} has no precision {options.precision!r}; there are {', '.join(PRECISIONS)}")
    load_tensorrt()
    if exported is None:
        need_export()


def make(name: str, network: Network, options: RunOptions) -> TensorRtEngine:
    """The engine for a network."""
    return TensorRtEngine(network, options)


class TensorRtEngine:
    """A plan of TensorRT's, and torch until there is one.

    `name` is ``torch`` as long as that serves, and `notes` say how far the building is or why it failed.  An exported
    file, which torch cannot run, is built before the constructor returns.

    Parameters
    ----------
    network, options:
        What to run, and how; as `check` accepts them.

    Raises
    ------
    EngineError
        If the plan of an exported file cannot be built; the message has TensorRT's own words.
    """

    def __init__(self, network: Network, options: RunOptions) -> None:
        self.device = options.device
        self.precision = options.precision
        self._height, self._width = network.size
        self._plan: Plan | None = None
        self._torch: TorchEngine | None = None
        self._notes: tuple[str, ...] = ()
        self._progress = "TensorRT's plan is being built, torch serves"
        if network.exported is not None:
            self._dtype = torch.float32
            self._build(network, options)
            move_decode(network.model, self.device)
            return
        whole = Network(copy.deepcopy(network.model).cpu(), network.config)  # torch changes the other one
        self._torch = TorchEngine(network, options)
        self._dtype = next(iter(network.model.parameters())).dtype
        self._thread = threading.Thread(target=self._build_beside, args=(whole, options), daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        """What serves now."""
        return NAME if self._plan is not None else TorchEngine.name

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Engine`."""
        return self._notes if self._plan is not None or not self._progress else (*self._notes, self._progress)

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """See `Engine`."""
        check_size(images, self._height, self._width)
        plan = self._plan  # it may appear while this runs
        if plan is None:
            assert self._torch is not None, "an exported file has its plan"
            return self._torch(images)
        try:
            parts = [plan(part) for part in torch.split(images.contiguous(), MAX_BATCH)]
        except torch.cuda.OutOfMemoryError as error:
            raise OutOfMemory(f"{self.device} has too little memory for {tuple(images.shape)}: {error}") from error
        return {name: torch.cat([part[name] for part in parts]).to(self._dtype) for name in parts[0]}

    def _build_beside(self, network: Network, options: RunOptions) -> None:
        try:
            self._build(network, options)
        except Exception as error:  # whatever goes wrong in building, torch must serve on
            self._progress = f"TensorRT's plan could not be built, torch serves on: {error}"
            _logger.error(self._progress)
            return
        self._torch = None

    def _build(self, network: Network, options: RunOptions) -> None:
        trt = load_tensorrt()
        source, notes = cached_onnx(network, options.precision)
        made_by = {
            "tensorrt": str(trt.__version__),
            "torch": metadata.version("torch"),
            "gpu": f"{torch.cuda.get_device_name(options.device)} {torch.cuda.get_device_capability(options.device)}",
            "batch": str(MAX_BATCH),
        }
        with torch.cuda.device(options.device):
            path, more = cached_file(
                network,
                f"tensorrt_{options.precision}",
                ".plan",
                made_by,
                lambda file: build_plan(trt, source, file, network.size, self._tell),
            )
            self._plan = Plan(trt, path, options.device, network.model.output_names)
        self._notes = (*notes, *more)

    def _tell(self, sentence: str) -> None:
        self._progress = sentence
        _logger.info(sentence)


class Plan:
    """A plan that was built, ready to run.

    Raises
    ------
    EngineError
        If TensorRT refuses it.
    """

    def __init__(self, trt: Any, path: Path, device: torch.device, names: tuple[str, ...]) -> None:
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
        engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if engine is None:
            raise EngineError(f"{path}: TensorRT {trt.__version__} cannot read this plan")
        there = {engine.get_tensor_name(index) for index in range(engine.num_io_tensors)}
        if missing := sorted({INPUT, *names} - there):
            raise EngineError(f"{path}: has no {', '.join(missing)}")
        self._engine = engine  # the context does not keep it
        self._context = engine.create_execution_context()
        self._device = device
        self._names = names
        # On the default stream TensorRT would wait once more.
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Run (B, 3, H, W) float32, contiguous, on the device."""
        context = self._context
        context.set_input_shape(INPUT, tuple(images.shape))
        context.set_tensor_address(INPUT, images.data_ptr())
        outputs = {}
        for name in self._names:
            outputs[name] = torch.empty(tuple(context.get_tensor_shape(name)), device=self._device)
            context.set_tensor_address(name, outputs[name].data_ptr())
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        if not context.execute_async_v3(self._stream.cuda_stream):
            raise RuntimeError(f"TensorRT could not run {tuple(images.shape)}")
        current.wait_stream(self._stream)
        return outputs


def build_plan(trt: Any, source: Path, path: Path, size: tuple[int, int], tell: Any) -> None:
    """Build a plan of an ONNX file, with the timings of earlier builds.

    Parameters
    ----------
    trt:
        The module ``tensorrt``.
    tell:
        Called with a sentence about how far it is.

    Raises
    ------
    EngineError
        If the file cannot be parsed or built; the message has TensorRT's own words.
    """
    height, width = size
    said: list[str] = []

    class Log(trt.ILogger):  # type: ignore[misc]
        """Keeps the errors."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                said.append(message)

    class Progress(trt.IProgressMonitor):  # type: ignore[misc]
        """Tells of the outermost phases."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                self._steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self._steps:
                tell(f"TensorRT is building, torch serves: {phase_name} {step + 1} of {self._steps[phase_name]}")
            return True

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    logger = Log()
    builder = trt.Builder(logger)
    definition = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(definition, logger)
    if not parser.parse_from_file(str(source)):
        errors = [str(parser.get_error(index)) for index in range(parser.num_errors)]
        raise EngineError(f"{source}: TensorRT {trt.__version__} cannot parse it: {'; '.join(errors or said)}")
    config = builder.create_builder_config()
    config.progress_monitor = Progress()
    profile = builder.create_optimization_profile()
    profile.set_shape(INPUT, (1, 3, height, width), (1, 3, height, width), (MAX_BATCH, 3, height, width))
    config.add_optimization_profile(profile)
    timings = cache_folder() / f"tensorrt_{trt.__version__}.timings"
    known = timings.read_bytes() if timings.is_file() else b""
    if not config.set_timing_cache(config.create_timing_cache(known), False):
        config.set_timing_cache(config.create_timing_cache(b""), False)  # of another GPU, or damaged
    plan = builder.build_serialized_network(definition, config)
    if plan is None:
        why = "; ".join(said) or "it says not why"
        raise EngineError(f"{source}: TensorRT {trt.__version__} cannot build it: {why}")
    path.write_bytes(memoryview(plan))
    with written_whole(timings) as file:
        file.write_bytes(memoryview(config.get_timing_cache().serialize()))
