"""ONNX Runtime: on the CPU, on NVIDIA GPUs, and there through TensorRT.

A system is exported to ONNX once and kept in the cache (`cache.py`); an exported ``.onnx`` file runs as it is.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from panoptic_ros.engines.cache import cache_folder, cached_file
from panoptic_ros.engines.engine import EngineError, Network, OutOfMemory, RunOptions
from panoptic_ros.engines.export import GRAPH, OPSET, export_onnx, need_export
from panoptic_ros.models.exported import INPUT, move_decode

NAME = "onnxruntime"
NAME_TENSORRT = "onnxruntime_tensorrt"

_CPU, _CUDA, _TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
_TYPES = {"tensor(float)": torch.float32, "tensor(float16)": torch.float16}
_NO_MEMORY = ("failed to allocate memory", "out of memory", "bfcarena")


def check(name: str, options: RunOptions, exported: Path | None) -> None:
    """Say whether the engine can run here.

    Raises
    ------
    EngineError
        If it is not installed, or not for the device or the precision.
    """
    runtime = _runtime()
    wanted = _providers(name, options)[0]
    there = runtime.get_available_providers()
    if wanted not in there:
        raise EngineError(
            f"engine {name!r} on {options.device} needs ONNX Runtime's {wanted}, and onnxruntime {runtime.__version__} "
            f"has {', '.join(there)}: pip install onnxruntime-gpu in its place"
        )
    if options.precision == "bf16":
        raise EngineError(f"engine {name!r} has no precision 'bf16'; there are fp32 and, on a GPU, fp16")
    if options.precision == "fp16" and options.device.type == "cpu":
        raise EngineError(f"engine {name!r}: precision 'fp16' needs a GPU; on the CPU use fp32 or int8")
    if exported is None:
        need_export()


def make(name: str, network: Network, options: RunOptions) -> OnnxEngine:
    """The engine for a network."""
    return OnnxEngine(network, options, name)


def cached_onnx(network: Network, precision: str) -> tuple[Path, tuple[str, ...]]:
    """The network as an ONNX file: the one that it was exported to, or one in the cache, and what was done for it."""
    if network.exported is not None:
        return network.exported, ()
    made_by = {name: metadata.version(name) for name in ("torch", "onnx", "onnxscript")} | {
        "opset": str(OPSET),
        "graph": str(GRAPH),
    }
    return cached_file(
        network,
        precision,
        ".onnx",
        made_by,
        lambda path: export_onnx(network.model, network.config, path, half=precision == "fp16"),
    )


class OnnxEngine:
    """A session of ONNX Runtime.

    Parameters
    ----------
    network, options:
        What to run, and how; as `check` accepts them.
    name:
        `NAME`, or `NAME_TENSORRT` for TensorRT's provider.

    Raises
    ------
    EngineError
        If ONNX Runtime refuses the file, or its provider does not start; the message is its own.
    """

    def __init__(self, network: Network, options: RunOptions, name: str = NAME) -> None:
        runtime = _runtime()
        self.name = name
        self.device = options.device
        self.precision = options.precision
        path, self.notes = cached_onnx(network, options.precision)
        settings = runtime.SessionOptions()
        settings.intra_op_num_threads = options.threads
        # Threads that spin while they wait for work take the cores from the rest of the robot.
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        settings.log_severity_level = 3  # errors; its warnings are about its own rewriting of the graph
        wanted = _providers(name, options)
        try:
            self._session = runtime.InferenceSession(
                str(path), settings, providers=[(provider, _provider_options(provider, options)) for provider in wanted]
            )
        except Exception as error:  # its own exceptions have no common base
            raise EngineError(f"{path}: ONNX Runtime {runtime.__version__} cannot run it: {error}") from error
        if (first := self._session.get_providers()[0]) != wanted[0]:
            raise EngineError(
                f"engine {name!r} on {options.device}: {wanted[0]} did not start (its libraries of CUDA, cuDNN or "
                f"TensorRT are missing or of other versions) and {first} would run in its place"
            )
        self._height, self._width = check_graph(path, network, self._shapes(self._session.get_inputs()))
        self._outputs = {output.name: (tuple(output.shape[1:]), output.type) for output in self._session.get_outputs()}
        if missing := sorted(set(network.model.output_names) - self._outputs.keys()):
            raise EngineError(f"{path}: has no outputs {', '.join(missing)}, which {network.config.system} has")
        self._names = list(network.model.output_names)
        move_decode(network.model, self.device)

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """See `Engine`."""
        check_size(images, self._height, self._width)
        images = images.contiguous()
        try:
            if self.device.type == "cuda":
                return self._run_on_gpu(images)
            found = self._session.run(self._names, {INPUT: images.numpy()})
        except Exception as error:  # its own exceptions have no common base
            if any(words in str(error).lower() for words in _NO_MEMORY):
                raise OutOfMemory(f"{self.device} has too little memory for {tuple(images.shape)}: {error}") from error
            raise
        return {name: torch.from_numpy(array) for name, array in zip(self._names, found, strict=True)}

    def _run_on_gpu(self, images: Tensor) -> dict[str, Tensor]:
        """Run between tensors of torch's, without a way over the host."""
        index = self.device.index or 0
        binding = self._session.io_binding()
        binding.bind_input(INPUT, "cuda", index, np.float32, tuple(images.shape), images.data_ptr())
        outputs = {}
        for name in self._names:
            shape, kind = self._outputs[name]
            output = torch.empty((len(images), *shape), dtype=_TYPES[kind], device=self.device)
            outputs[name] = output
            number = np.float16 if output.dtype == torch.float16 else np.float32
            binding.bind_output(name, "cuda", index, number, tuple(output.shape), output.data_ptr())
        torch.cuda.current_stream(self.device).synchronize()  # ONNX Runtime has a stream of its own
        self._session.run_with_iobinding(binding)
        return outputs

    @staticmethod
    def _shapes(inputs: Any) -> dict[str, tuple[Any, ...]]:
        return {value.name: tuple(value.shape) for value in inputs}


def check_graph(path: Path, network: Network, inputs: dict[str, tuple[Any, ...]]) -> tuple[int, int]:
    """The size of a graph's input, which is that of the network.

    Raises
    ------
    EngineError
        If the graph has another input than its description says.
    """
    height, width = network.size
    found = inputs.get(INPUT)
    if found is None or len(found) != 4 or tuple(found[1:]) != (3, height, width):
        raise EngineError(f"{path}: expected an input {INPUT!r} of (batch, 3, {height}, {width}), it has {inputs}")
    return height, width


def check_size(images: Tensor, height: int, width: int) -> None:
    """Refuse a batch of another size than the graph's.

    Raises
    ------
    ValueError
        If it is one.
    """
    if images.ndim != 4 or tuple(images.shape[1:]) != (3, height, width):
        raise ValueError(f"expected images of (batch, 3, {height}, {width}), got {tuple(images.shape)}")


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineError("engine 'onnxruntime' is not installed: pip install 'panoptic_ros[onnxruntime]'") from error
    return onnxruntime


def _providers(name: str, options: RunOptions) -> tuple[str, ...]:
    """The providers to ask for; the first is the one that is meant."""
    if options.device.type == "cpu":
        if name == NAME_TENSORRT:
            raise EngineError(f"engine {name!r} needs an NVIDIA GPU; it was to run on {options.device}")
        return (_CPU,)
    return (_TENSORRT, _CUDA, _CPU) if name == NAME_TENSORRT else (_CUDA, _CPU)


def _provider_options(provider: str, options: RunOptions) -> dict[str, str]:
    # onnxruntime.ai/docs/execution-providers: CUDA and TensorRT
    if provider == _CUDA:
        return {"device_id": str(options.device.index or 0), "cudnn_conv_algo_search": "EXHAUSTIVE"}
    if provider == _TENSORRT:
        return {
            "device_id": str(options.device.index or 0),
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(cache_folder()),
            "trt_timing_cache_enable": "1",
            "trt_fp16_enable": "1" if options.precision == "fp16" else "0",
            "trt_int8_enable": "1" if options.precision == "int8" else "0",
        }
    return {}
