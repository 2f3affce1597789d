"""torch as an engine: folded at load, and compiled or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_networks import HEIGHT, WIDTH, drawn_frames
from torch import nn

from panoptic_ros.engines import Network, RunOptions, torch_engine
from panoptic_ros.engines.torch_engine import CompiledEngine, TorchEngine
from panoptic_ros.models import build_model, load_model_config
from panoptic_ros.models.weights import load_weights
from panoptic_ros.pipeline import Pipeline

CPU = RunOptions(torch.device("cpu"), "fp32")
IMAGES = torch.rand((2, 3, HEIGHT, WIDTH), generator=torch.Generator().manual_seed(0))


def network(weights: Path) -> Network:
    config = load_model_config(str(weights))
    model = build_model(config)
    load_weights(model, weights)
    return Network(model, config)


def test_it_folds_and_answers_as_the_model_does(weights: Path) -> None:
    given = network(weights)
    with torch.inference_mode():
        expected = network(weights).model(IMAGES)
    engine = TorchEngine(given, CPU)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in given.model.detector.modules())
    for name, found in engine(IMAGES).items():
        torch.testing.assert_close(found, expected[name], rtol=1e-4, atol=1e-4)


def test_bf16_says_where_the_cpu_has_none(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = RunOptions(torch.device("cpu"), "bf16")
    monkeypatch.setattr(torch_engine, "has_native_bf16", lambda: False)
    assert "bf16 is slower" in TorchEngine(network(weights), options).notes[0]
    monkeypatch.setattr(torch_engine, "has_native_bf16", lambda: True)
    assert TorchEngine(network(weights), options).notes == ()
    pipeline = Pipeline.load(str(weights), device="cpu", precision="bf16")
    assert pipeline(drawn_frames(1))[0].ids.shape == (90, 120)  # the instance head runs in bfloat16 too


def test_a_compiler_that_fails_leaves_torch_as_it_is(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(model: nn.Module, **_: Any) -> Any:
        def run(images: torch.Tensor) -> None:
            raise RuntimeError("No working C++ compiler found")

        return run

    monkeypatch.setattr(torch, "compile", fail)
    pipeline = Pipeline.load(str(weights), device="cpu", engine="torch_compile")
    assert pipeline.engine_name == "torch"
    assert pipeline.notes == ("torch.compile failed, torch runs as it is: No working C++ compiler found",)
    reference = Pipeline.load(str(weights), device="cpu")
    for ours, theirs in zip(pipeline(drawn_frames(2)), reference(drawn_frames(2)), strict=True):
        assert np.array_equal(ours.ids, theirs.ids)


def test_dynamo_traces_the_network_whole(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real `torch.compile`, but for the code that it would generate, which takes minutes."""
    compile_model = torch.compile

    def without_backend(model: nn.Module, mode: str, dynamic: bool) -> Any:
        assert mode == "default"
        return compile_model(model, backend="eager", dynamic=dynamic, fullgraph=True)

    monkeypatch.setattr(torch, "compile", without_backend)
    engine = CompiledEngine(network(weights), CPU)
    assert (engine.name, engine.notes) == ("torch_compile", ())
    with torch.inference_mode():
        expected = network(weights).model(IMAGES)
    for name, found in engine(IMAGES).items():
        torch.testing.assert_close(found, expected[name], rtol=1e-4, atol=1e-4)
