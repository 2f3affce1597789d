"""The engine that is fastest here: measured at the first start, remembered for the next.

Every engine that can run the network on the device runs it a few times, in turn, so that whatever else the machine does
meets them alike.  Of those whose outputs agree with torch's in float32 the fastest is taken.  The result is a file in
the cache and is measured anew when a version, the processor, the device or the number of threads is another.
"""

from __future__ import annotations

import copy
import json
import platform
import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor

from panoptic_ros.engines.cache import cached_file
from panoptic_ros.engines.engine import Engine, EngineError, EngineKind, Network, OutOfMemory, RunOptions
from panoptic_ros.engines.torch_engine import NAME as TORCH

NAME = "auto"
WARM_UP, RUNS = 2, 5

TOLERANCES: Mapping[str, float] = {"fp32": 1e-3, "fp16": 2e-2, "bf16": 5e-2}
"""The largest difference from torch in float32 that passes, as a share of an output's largest absolute value."""

_PACKAGES = ("panoptic_ros", "torch", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt")


@dataclass(frozen=True, slots=True)
class Measured:
    """What an engine came to.

    Attributes
    ----------
    engine:
        Its name.
    seconds:
        The median of its runs with one image; 0 where it could not run.
    difference:
        The largest difference from torch in float32, as a share of that output's largest absolute value.
    trouble:
        Why it is not taken, or ''.
    """

    engine: str
    seconds: float
    difference: float
    trouble: str = ""

    def __str__(self) -> str:
        figures = f"{1e3 * self.seconds:.1f} ms" if self.seconds else "did not run"
        return f"{self.engine} {figures}" + (f" ({self.trouble})" if self.trouble else "")


def check(kinds: Mapping[str, EngineKind], options: RunOptions, exported: Path | None) -> None:
    """Say whether there is anything to choose from.

    Raises
    ------
    EngineError
        If not even torch runs with the options.
    """
    kinds[TORCH].check(TORCH, options, exported)


class AutoEngine:
    """The engine that was chosen, and why.

    Attributes
    ----------
    chosen:
        The engine.
    """

    def __init__(self, chosen: Engine, why: str) -> None:
        self.chosen = chosen
        self.device = chosen.device
        self.precision = chosen.precision
        self._why = why

    @property
    def name(self) -> str:
        """That of the chosen one."""
        return self.chosen.name

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Engine`."""
        return (self._why, *self.chosen.notes)

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """See `Engine`."""
        return self.chosen(images)


def make(kinds: Mapping[str, EngineKind], network: Network, options: RunOptions) -> AutoEngine:
    """The fastest engine, with notes of what was measured.

    Parameters
    ----------
    kinds:
        The engines to choose from, torch among them.
    """
    path, notes = cached_file(
        network,
        f"auto_{options.precision}_{str(options.device).replace(':', '')}",
        ".json",
        _surroundings(options),
        lambda file: _write(measure(kinds, network, options), file),
    )
    found = [Measured(**one) for one in json.loads(path.read_text())]
    usable = sorted((one for one in found if not one.trouble), key=lambda one: one.seconds)
    measured = f"engine auto: {', '.join(str(one) for one in found)}"
    for one in usable:
        try:
            engine = kinds[one.engine].make(one.engine, network, options)
        except (EngineError, OutOfMemory) as error:
            measured += f"; {one.engine} does not start any more: {error}"
            continue
        when = "measured now" if notes else f"as measured earlier ({path})"
        return AutoEngine(engine, f"{measured}; {one.engine} runs, the fastest that agrees with torch, {when}")
    return AutoEngine(kinds[TORCH].make(TORCH, network, options), f"{measured}; torch runs")


def measure(kinds: Mapping[str, EngineKind], network: Network, options: RunOptions) -> list[Measured]:
    """Run every engine that can be had, one after another, round by round; torch first."""
    height, width = network.size
    images = torch.rand((1, 3, height, width), generator=torch.Generator().manual_seed(0)).to(options.device)
    expected = _reference(kinds, network, options, images)
    engines: dict[str, Engine] = {}
    found: dict[str, Measured] = {}
    for name, kind in kinds.items():
        try:
            kind.check(name, options, network.exported)
        except EngineError:
            continue  # not installed, or not for this device
        try:
            engine = kind.make(name, _copied(network), options)
            for _ in range(WARM_UP):
                outputs = engine(images)
            difference = _difference(outputs, expected)
        except (EngineError, OutOfMemory) as error:
            found[name] = Measured(name, 0.0, 0.0, str(error))
            continue
        engines[name] = engine
        limit = TOLERANCES[options.precision]
        trouble = "" if difference <= limit else f"differs from torch by {difference:.1%}, more than {limit:.1%}"
        found[name] = Measured(name, 0.0, difference, trouble)
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(RUNS):
        for name, engine in engines.items():
            started = time.perf_counter()
            engine(images)
            if options.device.type == "cuda":
                torch.cuda.synchronize(options.device)
            seconds[name].append(time.perf_counter() - started)
    return [
        Measured(name, statistics.median(seconds[name]), one.difference, one.trouble) if name in seconds else one
        for name, one in found.items()
    ]


def _reference(
    kinds: Mapping[str, EngineKind], network: Network, options: RunOptions, images: Tensor
) -> dict[str, Tensor]:
    exact = RunOptions(options.device, "fp32", options.threads)
    outputs = kinds[TORCH].make(TORCH, _copied(network), exact)(images)
    return {name: value.float().clone() for name, value in outputs.items()}


def _copied(network: Network) -> Network:
    """The same with a system of its own, which an engine may change."""
    return Network(copy.deepcopy(network.model), network.config, network.exported)


def _difference(outputs: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
    """The largest difference, as a share of an output's largest absolute value; infinite where one is not a number."""
    worst = 0.0
    for name, values in expected.items():
        scale = max(float(values.abs().max()), 1e-6)
        apart = float((outputs[name].float() - values).abs().max()) / scale
        worst = max(worst, apart if apart == apart else float("inf"))
    return worst


def _surroundings(options: RunOptions) -> dict[str, str]:
    """All that a measurement holds for, but the network."""
    there = {}
    for name in _PACKAGES:
        try:
            there[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            there[name] = "none"
    on_gpu = options.device.type == "cuda"
    machine = torch.cuda.get_device_name(options.device) if on_gpu else _processor()
    return {**there, "machine": machine, "threads": str(options.threads)}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _write(found: list[Measured], path: Path) -> None:
    path.write_text(json.dumps([asdict(one) for one in found]))
