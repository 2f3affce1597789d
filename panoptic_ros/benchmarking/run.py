"""A benchmark: variants and the machine's peak in the same rounds, and the figures of it all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from panoptic_ros import __version__
from panoptic_ros.benchmarking.frames import Frame
from panoptic_ros.benchmarking.machine import environment, load, matrix_product
from panoptic_ros.benchmarking.rounds import Stopwatch, Times, in_rounds
from panoptic_ros.benchmarking.variants import (
    RESULT_STAGES,
    STAGES,
    Publish,
    Round,
    Runner,
    Variant,
    network_flops,
)
from panoptic_ros.engines import OutOfMemory

Figures = dict[str, Any]  # what JSON can hold

PRODUCT = "product"
"""The one stage of a round of the machine's peak."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A variant that cannot be had here, and why."""

    variant: str
    reason: str


def load_runners(
    variants: Sequence[Variant],
    frames: Sequence[Frame],
    on_variant: Callable[[Variant], object] = lambda variant: None,
) -> tuple[list[Runner], list[Skipped]]:
    """Load variants one after another; those that cannot be had here are left out.

    Parameters
    ----------
    on_variant:
        Told of each before it is loaded.

    Raises
    ------
    FileNotFoundError
        If the model, its weights or another file is not there, which is no variant's own fault.
    """
    runners: list[Runner] = []
    skipped: list[Skipped] = []
    for variant in variants:
        on_variant(variant)
        try:
            runners.append(Runner(variant, frames))
        except (ValueError, ImportError, OutOfMemory) as error:
            skipped.append(Skipped(variant.name, " ".join(str(error).split())))
    return runners, skipped


def run_benchmark(
    runners: Sequence[Runner],
    frames: Sequence[Frame],
    rounds: int,
    warmup: int,
    publish: Publish | None,
    on_round: Callable[[int], object] = lambda done: None,
) -> Figures:
    """Measure runners, and the peak of their device in their precisions, all in the same rounds.

    Parameters
    ----------
    runners:
        What is measured, all on one device; the first is what the others are compared with.
    frames:
        What the runners were given.
    rounds, warmup, on_round:
        See `in_rounds`.
    publish:
        Publishes a result; None where there is no ROS, and the stage is left out.

    Returns
    -------
    The figures, with what they depend on; docs/benchmarks.md says what each key means.
    """
    device = runners[0].pipeline.device
    products = {}
    for precision in dict.fromkeys(runner.variant.precision for runner in runners):
        if (product := matrix_product(device, precision)) is not None:
            products[precision] = product
    calls: dict[str, Callable[[], Round]] = {
        runner.variant.name: lambda runner=runner: runner(publish)  # type: ignore[misc]
        for runner in runners
    }
    calls |= {
        f"{PRODUCT} {precision}": lambda product=product: _product_round(product)  # type: ignore[misc]
        for precision, (product, _) in products.items()
    }
    before = environment()
    answers = in_rounds(calls, rounds, warmup, on_round)
    peaks = {
        precision: _peak(_times(answers[f"{PRODUCT} {precision}"], (PRODUCT,)), operations)
        for precision, (_, operations) in products.items()
    }
    first = answers[runners[0].variant.name]
    return {
        "panoptic_ros": __version__,
        "environment": {**before, "load_after": load()},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "frames": {"count": len(frames), "height": frames[0].shape[0], "width": frames[0].shape[1]},
        "rounds": rounds,
        "warmup": warmup,
        "peak": peaks,
        "variants": [
            _variant_figures(runner, answers[runner.variant.name], first, peaks.get(runner.variant.precision))
            for runner in runners
        ],
    }


def _product_round(product: Callable[[], object]) -> Round:
    watch = Stopwatch()
    product()
    return Round({PRODUCT: watch.lap()}, 0, 0)


def _times(answers: Sequence[Round], stages: Sequence[str]) -> Times:
    """What stages took together, round by round."""
    return Times.of([answer.total(stages) for answer in answers])


def _peak(times: Times, operations: float) -> Figures:
    """Giga-operations a second of the time that passed and of the processor's."""
    figures = times.figures()
    return {
        **figures,
        "gflops": operations / figures["median_ms"] * 1e-6,
        "cpu_gflops": operations / figures["cpu_median_ms"] * 1e-6,
    }


def _variant_figures(runner: Runner, answers: Sequence[Round], first: Sequence[Round], peak: Figures | None) -> Figures:
    variant = runner.variant
    height, width = variant.input_size()
    measured = [stage for stage in STAGES if stage in answers[0].spent]
    stages = {stage: _times(answers, (stage,)).figures() for stage in measured}
    result, whole = _times(answers, RESULT_STAGES), _times(answers, measured)
    flops = network_flops(variant.model, (height, width))
    gflops = variant.batch * flops / stages["network"]["median_ms"] * 1e-6
    on_gpu = runner.pipeline.device.type == "cuda"
    cpu_gflops = None if on_gpu else variant.batch * flops / stages["network"]["cpu_median_ms"] * 1e-6
    return {
        "name": variant.name,
        "model": variant.model,
        "weights": variant.weights,
        "untrained": list(runner.pipeline.untrained),
        "engine": variant.engine,
        "ran_on": runner.pipeline.engine_name,
        "precision": variant.precision,
        "height": height,
        "width": width,
        "batch": variant.batch,
        "stages": stages,
        "frame_to_result": result.figures(),
        "whole": whole.figures(),
        "frames_per_second": variant.batch / (1e-3 * whole.figures()["median_ms"]),
        "result_ratio_to_first": result.ratio_to(_times(first, RESULT_STAGES)),
        "result_cpu_ratio_to_first": result.cpu_ratio_to(_times(first, RESULT_STAGES)),
        "gflop_per_frame": flops * 1e-9,
        "gflops": gflops,
        "cpu_gflops": cpu_gflops,
        "share_of_peak": gflops / peak["gflops"] if peak else None,
        "cpu_share_of_peak": cpu_gflops / peak["cpu_gflops"] if peak and cpu_gflops else None,
        "memory_mb": None if runner.memory is None else runner.memory / 2**20,
        "segments": median(answer.segments for answer in answers),
        "things": median(answer.things for answer in answers),
    }
