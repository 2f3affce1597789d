"""Variants of a small network: their stages, their operations, and the figures of a benchmark of them."""

from __future__ import annotations

import json
from io import StringIO

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from panoptic_ros.benchmarking.frames import drawn_street
from panoptic_ros.benchmarking.run import load_runners, run_benchmark
from panoptic_ros.benchmarking.tables import print_benchmark
from panoptic_ros.benchmarking.variants import RESULT_STAGES, STAGES, Runner, Variant, frame_flops, network_flops
from panoptic_ros.engines.folding import fold
from panoptic_ros.models import build_model, load_model_config
from panoptic_ros.pipeline import Pipeline

MODEL = "yolo_panoptic_small"
STREET = drawn_street(160, 96)


def variant(**changes: object) -> Variant:
    values = {"engine": "torch", "precision": "fp32", "threads": 0, "size": (64, 96), "batch": 1, **changes}
    return Variant(model=MODEL, weights="", device="cpu", **values)  # type: ignore[arg-type]


def test_operations_are_those_of_the_convolutions_one_by_one() -> None:
    network = build_model(load_model_config(MODEL)).eval()
    fold(network)
    counted = 0

    def count(layer: nn.Conv2d, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal counted
        high, wide = layer.kernel_size
        counted += 2 * high * wide * layer.in_channels // layer.groups * output.numel()

    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    for layer in convolutions:
        layer.register_forward_hook(count)
    with torch.inference_mode():
        network(torch.rand((1, 3, 64, 96)))
    # Pooling and scaling are matrix products, which count too, and are little.
    assert counted <= network_flops(MODEL, (64, 96)) <= 1.1 * counted


def test_operations_of_a_frame_have_the_heads_that_look_at_regions() -> None:
    """Layer by layer, of which those of the heads run in the decode; convolutions, transposed ones, matrix products."""
    pipeline = Pipeline.load("panoptic_fpn_small", device="cpu", size=(64, 96))
    counted = {"network": 0, "decode": 0}
    heads = set(pipeline.model.get_submodule("roi_heads").modules())

    def count(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        where = "decode" if layer in heads else "network"
        if isinstance(layer, nn.ConvTranspose2d):
            counted[where] += 2 * layer.weight[0].numel() * inputs[0].numel()
        elif isinstance(layer, (nn.Conv2d, nn.Linear)):
            counted[where] += 2 * layer.weight[0].numel() * output.numel()

    for layer in pipeline.model.modules():
        layer.register_forward_hook(count)
    frames = [STREET, STREET[:, ::-1].copy()]
    found = frame_flops(pipeline, frames)
    assert counted["decode"] > 0
    assert sum(counted.values()) / 2 <= found <= 1.02 * sum(counted.values()) / 2
    assert counted["network"] / 2 <= network_flops("panoptic_fpn_small", (64, 96)) <= 1.02 * counted["network"] / 2


@pytest.fixture(scope="module")
def figures() -> dict[str, object]:
    frames = [STREET, STREET[:, ::-1].copy()]
    runners, skipped = load_runners([variant(), variant(batch=2), variant(precision="fp16")], frames)
    assert [(one.variant, "GPU" in one.reason) for one in skipped] == [("torch fp16 96x64", True)]
    published: list[tuple[int, ...]] = []
    found = run_benchmark(
        runners,
        frames,
        rounds=3,
        warmup=1,
        publish=lambda labels, value, frame, overlay: published.append(
            (*value.ids.shape, *frame.shape, *overlay.shape)
        ),
    )
    assert set(published) == {(96, 160, 96, 160, 3, 96, 160, 3)}
    assert len(published) == 4 * (1 + 2)
    return found


def test_figures_go_together(figures: dict[str, dict[str, object]]) -> None:
    told = json.loads(json.dumps(figures))
    one, two = told["variants"]
    assert (one["name"], two["name"]) == ("torch fp32 96x64", "torch fp32 96x64 batch 2")
    assert (one["result_ratio_to_first"], one["ran_on"]) == (1.0, "torch")
    for each in (one, two):
        assert tuple(each["stages"]) == STAGES
        medians = {stage: each["stages"][stage]["median_ms"] for stage in STAGES}
        assert all(value > 0 for value in medians.values())
        # A median of sums is at least the largest part, and three rounds' p99 no less than their median.
        assert (
            each["whole"]["median_ms"]
            >= each["frame_to_result"]["median_ms"]
            >= max(medians[stage] for stage in RESULT_STAGES)
        )
        assert each["whole"]["p99_ms"] >= each["whole"]["median_ms"]
        flops = network_flops(MODEL, (64, 96))
        assert np.isclose(each["gflop_per_frame"], flops * 1e-9)
        assert np.isclose(each["gflops"] * medians["network"] * 1e-3, each["batch"] * flops * 1e-9)
        assert np.isclose(each["share_of_peak"], each["gflops"] / told["peak"]["fp32"]["gflops"])
        assert np.isclose(each["frames_per_second"], each["batch"] * 1e3 / each["whole"]["median_ms"])
    assert told["frames"] == {"count": 2, "height": 96, "width": 160}
    assert all("detector" in each["untrained"] for each in (one, two))


def test_tables_have_every_variant_and_fit_into_a_terminal(figures: dict[str, object]) -> None:
    console = Console(file=StringIO(), width=60)
    print_benchmark(figures, console)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert sum("torch fp32 96x64 batch 2" in line for line in lines) == 3
    assert not any("…" in line for line in lines)
    assert all(stage in "\n".join(lines) for stage in STAGES)


def test_without_ros_publishing_is_left_out() -> None:
    runner = Runner(variant(), [STREET])
    done = runner(None)
    assert tuple(done.spent) == STAGES[:-1]
    assert done.total().wall == pytest.approx(sum(part.wall for part in done.spent.values()))
    assert done.total(("prepare", "publish")) == done.spent["prepare"]
    assert done.segments >= done.things
