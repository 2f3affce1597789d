"""How a network runs: engines, found by name."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from panoptic_ros.engines import auto, onnx_engine, openvino_engine, tensorrt_engine, torch_engine
from panoptic_ros.engines.engine import (
    FLOATS,
    PRECISIONS,
    Engine,
    EngineError,
    EngineKind,
    Network,
    OutOfMemory,
    RunOptions,
)
from panoptic_ros.models.exported import Exported

__all__ = [
    "ENGINES",
    "FLOATS",
    "PRECISIONS",
    "Engine",
    "EngineError",
    "EngineKind",
    "Network",
    "OutOfMemory",
    "RunOptions",
    "choose_engine",
    "find_device",
    "installed",
]


# What `auto` measures.
_RUNNERS: Mapping[str, EngineKind] = {
    torch_engine.NAME: EngineKind(torch_engine.check, torch_engine.make),
    onnx_engine.NAME: EngineKind(onnx_engine.check, onnx_engine.make, (".onnx",)),
    openvino_engine.NAME: EngineKind(openvino_engine.check, openvino_engine.make, (".onnx", ".xml")),
    onnx_engine.NAME_TENSORRT: EngineKind(onnx_engine.check, onnx_engine.make, (".onnx",)),
}

ENGINES: Mapping[str, EngineKind] = {
    **_RUNNERS,
    torch_engine.NAME_COMPILED: EngineKind(torch_engine.check, torch_engine.make),
    tensorrt_engine.NAME: EngineKind(tensorrt_engine.check, tensorrt_engine.make, (".onnx",)),
    auto.NAME: EngineKind(
        lambda _, options, exported: auto.check(_RUNNERS, options, exported),
        lambda _, network, options: auto.make(_RUNNERS, network, options),
    ),
}
"""By name; of those that run an exported file, the first is taken where none is named."""


def find_device(name: str) -> torch.device:
    """The device that a name stands for; ``auto`` is the NVIDIA GPU where there is one.

    Raises
    ------
    EngineError
        If there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    expected = f"device {name!r}: expected auto, cpu, cuda, cuda:N or xpu (OpenVINO on Intel's GPUs)"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise EngineError(expected) from error
    if device.type not in ("cpu", "cuda", "xpu"):
        raise EngineError(expected)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise EngineError(f"device {name!r}: this machine has {count} usable CUDA devices")
    return device


def choose_engine(
    engine: str, device: str, precision: str, threads: int = 0, exported: Exported | None = None
) -> tuple[str, RunOptions]:
    """The name of the engine and how it is to run, if all that goes together and can be had here.

    Parameters
    ----------
    engine:
        A name in `ENGINES`, ``auto`` for the fastest here; empty for torch, or for an exported network the first that
        runs it.
    device:
        As `find_device` takes it; ``auto`` is the CPU for engines that do not run on the GPU here.
    precision:
        One of `PRECISIONS`; empty for fp32, or that of an exported network.
    threads:
        CPU threads; 0 is the engine's own choice.
    exported:
        The network, where it is an exported one.

    Raises
    ------
    EngineError
        If it does not; the message says what there is.
    """
    if engine and engine not in ENGINES:
        raise EngineError(f"engine {engine!r}: expected one of {', '.join(ENGINES)}")
    if precision and precision not in PRECISIONS:
        raise EngineError(f"precision {precision!r}: expected one of {', '.join(PRECISIONS)}")
    options = RunOptions(find_device(device), precision or "fp32", threads)
    may_move = device == "auto"
    if exported is None:
        engine = engine or torch_engine.NAME
        if precision == "int8":
            raise EngineError(
                "precision 'int8' is of networks that were calibrated: make one with "
                "`panoptic-ros export --engine openvino --int8 --calibration FRAMES` and name it as the model"
            )
        return engine, _placed(engine, options, None, may_move)
    options = replace(options, precision=_exported_precision(exported, precision))
    suitable = [name for name, kind in ENGINES.items() if exported.path.suffix in kind.suffixes]
    if engine and engine not in suitable:
        raise EngineError(f"{exported.path}: runs with {' or '.join(suitable)}, not with {engine!r}")
    reasons = []
    for name in [engine] if engine else suitable:
        try:
            return name, _placed(name, options, exported.path, may_move)
        except EngineError as error:
            reasons.append(str(error))
    raise EngineError(f"{exported.path}: {'; '.join(reasons)}")


def installed() -> dict[str, str]:
    """Each engine with '' where it can run on some device here, or why it cannot."""
    reasons = {}
    for name in ENGINES:
        try:
            _placed(name, RunOptions(find_device("auto"), "fp32"), Path(), may_move=True)
            reasons[name] = ""
        except EngineError as error:
            reasons[name] = str(error)
    return reasons


def _placed(engine: str, options: RunOptions, exported: Path | None, may_move: bool) -> RunOptions:
    """The options that an engine can run with: those given, or on the CPU if it may move there."""
    check = ENGINES[engine].check
    try:
        check(engine, options, exported)
    except EngineError:
        if not may_move or options.device.type == "cpu":
            raise
        on_cpu = replace(options, device=torch.device("cpu"))
        with contextlib.suppress(EngineError):
            check(engine, on_cpu, exported)
            return on_cpu
        raise
    return options


def _exported_precision(exported: Exported, wanted: str) -> str:
    """The precision to run an exported network in: its own, unless an engine can round while it runs."""
    own = exported.precision
    if not wanted or wanted == own:
        return own
    if own == "fp32" and wanted in ("bf16", "fp16"):
        return wanted
    raise EngineError(f"{exported.path}: was exported in {own}, precision {wanted!r} was asked for")
