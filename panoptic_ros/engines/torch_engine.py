"""The network in PyTorch itself: runs everywhere that torch does, as it is or compiled."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from panoptic_ros.engines.engine import FLOATS, EngineError, Network, OutOfMemory, RunOptions
from panoptic_ros.engines.folding import fold

NAME = "torch"
NAME_COMPILED = "torch_compile"

_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # of /proc/cpuinfo, on x86 and on ARM


def check(name: str, options: RunOptions, exported: Path | None) -> None:
    """Say whether the engine can run here.

    Raises
    ------
    EngineError
        If it is not for the device or the precision.
    """
    if options.device.type not in ("cpu", "cuda"):
        raise EngineError(f"engine {name!r} runs on cpu and cuda, not on {options.device}")
    if options.precision not in FLOATS:
        raise EngineError(f"engine {name!r} has no precision {options.precision!r}; there are {', '.join(FLOATS)}")
    if options.device.type == "cpu" and options.precision == "fp16":
        raise EngineError("precision 'fp16' needs a GPU; on the CPU use fp32 or bf16")


def make(name: str, network: Network, options: RunOptions) -> TorchEngine:
    """The engine for a network."""
    return CompiledEngine(network, options) if name == NAME_COMPILED else TorchEngine(network, options)


class TorchEngine:
    """Eager PyTorch, channels last, folded.

    Parameters
    ----------
    network, options:
        What to run, and how; as `check` accepts them.  The system is folded, and moved to the device.
    """

    name = NAME

    def __init__(self, network: Network, options: RunOptions) -> None:
        self.device = options.device
        self.precision = options.precision
        self.notes: tuple[str, ...] = ()
        if self.device.type == "cpu" and self.precision == "bf16" and not has_native_bf16():
            self.notes = ("this CPU does not compute in bfloat16 itself: bf16 is slower than fp32 here",)
        self._dtype = FLOATS[options.precision]
        fold(network.model)
        model = network.model.to(device=self.device, dtype=self._dtype)
        self._model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """See `Engine`."""
        try:
            outputs: dict[str, Tensor] = self._model(images.to(dtype=self._dtype, memory_format=torch.channels_last))
        except torch.cuda.OutOfMemoryError as error:
            raise OutOfMemory(f"{self.device} has too little memory for {tuple(images.shape)}: {error}") from error
        return outputs


class CompiledEngine(TorchEngine):
    """`torch.compile`, on GPUs with CUDA graphs; where the compiler fails, eager PyTorch.

    A graph is compiled for each batch size, which takes up to minutes: at the start that of one image, the others when
    they come.  `engine: auto` leaves it out for that.
    """

    name = NAME_COMPILED

    def __init__(self, network: Network, options: RunOptions) -> None:
        super().__init__(network, options)
        eager = self._model
        self._mode = "reduce-overhead" if self.device.type == "cuda" else "default"
        height, width = network.size
        try:
            self._model = torch.compile(eager, mode=self._mode, dynamic=False)
            self(torch.zeros((1, 3, height, width), device=self.device))
        except OutOfMemory:
            raise
        except Exception as error:  # no compiler, or what it cannot compile: its errors have no common base
            self._model = eager
            self.name = NAME
            self.notes = (*self.notes, f"torch.compile failed, torch runs as it is: {error}")

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """See `Engine`."""
        # What the last run has left in its buffers is used up.
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        return super().__call__(images)


def has_native_bf16() -> bool:
    """Whether this CPU has instructions for bfloat16; True where that is not known."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return True
    flags = [line.partition(":")[2].split() for line in lines if line.lower().startswith(("flags", "features"))]
    return not flags or bool(_BF16_FLAGS & set(flags[0]))
