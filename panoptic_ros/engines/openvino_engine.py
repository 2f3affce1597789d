"""OpenVINO: on CPUs, and on Intel's GPUs.

A system is exported to ONNX once and kept in the cache (`cache.py`); an exported ``.onnx`` or ``.xml`` file runs as it
is.  A graph is compiled for each batch size that comes, because the CPU plugin runs graphs of fixed shapes faster.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from panoptic_ros.engines.cache import cache_folder
from panoptic_ros.engines.engine import EngineError, Network, OutOfMemory, RunOptions
from panoptic_ros.engines.export import need_export
from panoptic_ros.engines.onnx_engine import cached_onnx, check_graph, check_size
from panoptic_ros.models.exported import INPUT, move_decode

NAME = "openvino"
COMPILED_SIZES = 8
"""Of how many batch sizes the compiled graphs are kept."""

_HINTS = {"fp32": "f32", "fp16": "f16", "bf16": "bf16", "int8": "f32"}
_CAPABILITIES = {"fp16": "FP16", "bf16": "BF16", "int8": "INT8"}


def load_openvino() -> Any:
    """The module, without its telemetry.

    ``import openvino`` reports the import to Google Analytics under an identifier of the machine unless its user has
    opted out.  A robot does not do so unasked; without openvino_telemetry OpenVINO (and NNCF) take a stand-in.

    Raises
    ------
    EngineError
        If it is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise EngineError("engine 'openvino' is not installed: pip install 'panoptic_ros[openvino]'") from error
    return openvino


def check(name: str, options: RunOptions, exported: Path | None) -> None:
    """Say whether the engine can run here.

    Raises
    ------
    EngineError
        If it is not installed, or not for the device or the precision.
    """
    core = load_openvino().Core()
    device = _device(options)
    if device.split(".")[0] not in {there.split(".")[0] for there in core.available_devices}:
        raise EngineError(
            f"engine {name!r}: device '{options.device}' is OpenVINO's {device}, which is not here; "
            f"there is {', '.join(core.available_devices)}"
        )
    needed = _CAPABILITIES.get(options.precision)
    there = core.get_property(device, "OPTIMIZATION_CAPABILITIES")
    if needed is not None and needed not in there:
        raise EngineError(
            f"engine {name!r}: precision {options.precision!r} needs {needed}, and {device} has "
            f"{', '.join(sorted(there))}"
        )
    if exported is None:
        need_export()


def make(name: str, network: Network, options: RunOptions) -> OpenVinoEngine:
    """The engine for a network."""
    return OpenVinoEngine(network, options)


class OpenVinoEngine:
    """A graph compiled by OpenVINO.

    Parameters
    ----------
    network, options:
        What to run, and how; as `check` accepts them.

    Raises
    ------
    EngineError
        If OpenVINO refuses the file; the message is its own.
    """

    name = NAME

    def __init__(self, network: Network, options: RunOptions) -> None:
        self._openvino = load_openvino()
        self.device = torch.device("cpu")  # a GPU of Intel's is given its input, and gives its outputs, on the host
        self.precision = options.precision
        path, self.notes = cached_onnx(network, "fp32")
        self._core = self._openvino.Core()
        self._target = _device(options)
        self._properties: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": _HINTS[options.precision],
        }
        if self._target == "CPU" and options.threads:
            self._properties["INFERENCE_NUM_THREADS"] = options.threads
        if self._target != "CPU":  # whose kernels take long to compile
            self._properties["CACHE_DIR"] = str(cache_folder() / "openvino")
        self._path = path
        try:
            self._graph = self._core.read_model(str(path))
        except RuntimeError as error:
            raise EngineError(f"{path}: OpenVINO {_version()} cannot read it: {error}") from error
        inputs = {
            value.any_name: tuple(int(d.get_length()) if d.is_static else "batch" for d in value.partial_shape)
            for value in self._graph.inputs
        }
        self._height, self._width = check_graph(path, network, inputs)
        there = {output.any_name for output in self._graph.outputs}
        if missing := sorted(set(network.model.output_names) - there):
            raise EngineError(f"{path}: has no outputs {', '.join(missing)}, which {network.config.system} has")
        self._names = network.model.output_names
        self._requests: dict[int, Any] = {}
        move_decode(network.model, self.device)
        self._request(1)  # so that what the device refuses is said now

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """See `Engine`."""
        check_size(images, self._height, self._width)
        request = self._request(len(images))
        try:
            inputs = {INPUT: images.permute(0, 2, 3, 1).contiguous().numpy()}  # no copy of what `prepare` gives
            found = request.infer(inputs, share_inputs=True, share_outputs=True)
        except RuntimeError as error:
            if "memory" in str(error).lower() and "alloc" in str(error).lower():
                raise OutOfMemory(f"{self._target} has too little memory for {tuple(images.shape)}: {error}") from error
            raise
        outputs = {name: torch.from_numpy(found[name]) for name in self._names}
        return {name: each.permute(0, 3, 1, 2) if each.ndim == 4 else each for name, each in outputs.items()}

    def _request(self, batch: int) -> Any:
        """What runs a batch of this size; the size used longest ago gives way."""
        request = self._requests.pop(batch, None)
        if request is None:
            while len(self._requests) >= COMPILED_SIZES:
                del self._requests[next(iter(self._requests))]
            graph = self._graph.clone()
            graph.reshape({INPUT: [batch, 3, self._height, self._width]})
            graph = _channels_last(self._openvino, graph)
            try:
                compiled = self._core.compile_model(graph, self._target, self._properties)
            except RuntimeError as error:
                raise EngineError(
                    f"{self._path}: OpenVINO {_version()} cannot compile it for {self._target}: {error}"
                ) from error
            request = compiled.create_infer_request()
        self._requests[batch] = request
        return request


def _channels_last(openvino: Any, graph: Any) -> Any:
    """A graph that takes and gives its maps (B, H, W, C), as they lie in memory here, inside it and in torch."""
    ends = openvino.preprocess.PrePostProcessor(graph)
    layouts = openvino.Layout("NCHW"), openvino.Layout("NHWC")
    ends.input().model().set_layout(layouts[0])
    ends.input().tensor().set_layout(layouts[1])
    for index, value in enumerate(graph.outputs):
        if len(value.partial_shape) == 4:
            ends.output(index).model().set_layout(layouts[0])
            ends.output(index).tensor().set_layout(layouts[1])
    return ends.build()


def _device(options: RunOptions) -> str:
    """OpenVINO's name of a device."""
    if options.device.type == "xpu":
        return "GPU" if options.device.index is None else f"GPU.{options.device.index}"
    if options.device.type != "cpu":
        raise EngineError(f"engine {NAME!r} runs on cpu and xpu (Intel's GPUs), not on {options.device}")
    return "CPU"


def _version() -> str:
    return str(load_openvino().get_version())
