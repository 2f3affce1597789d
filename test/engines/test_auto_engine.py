"""``engine: auto``: measured, remembered, and never an engine that answers otherwise."""

from __future__ import annotations

import copy
import dataclasses
import json
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from panoptic_ros.engines import ENGINES, EngineError, EngineKind, Network, RunOptions, auto
from panoptic_ros.engines.cache import CACHE_VARIABLE
from panoptic_ros.engines.torch_engine import TorchEngine
from panoptic_ros.models import build_model, load_model_config
from panoptic_ros.pipeline import Pipeline


class Changed(TorchEngine):
    """Torch's answers after a while, or others."""

    made = 0

    def __init__(self, name: str, network: Network, options: RunOptions, delay: float, factor: float) -> None:
        super().__init__(network, options)
        type(self).made += 1
        self.name, self._delay, self._factor = name, delay, factor

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        time.sleep(self._delay)
        return {name: value * self._factor for name, value in super().__call__(images).items()}


def kind(delay: float, factor: float = 1.0, error: str = "") -> EngineKind:
    def make(name: str, network: Network, options: RunOptions) -> Changed:
        if error:
            raise EngineError(error)
        return Changed(name, network, options, delay, factor)

    return EngineKind(lambda *_: None, make)


def absent(*_: object) -> None:
    raise EngineError("not installed")


KINDS = {
    "torch": kind(0.3),
    "quick": kind(0.1),
    "slow": kind(0.5),
    "wrong": kind(0.0, factor=1.01),
    "broken": kind(0.0, error="no libraries"),
    "absent": EngineKind(absent, kind(0.0).make),
}


@pytest.fixture
def network(weights: Path) -> Network:
    config = load_model_config(str(weights))
    return Network(build_model(config), config)


OPTIONS = RunOptions(torch.device("cpu"), "fp32")


def fresh(network: Network) -> Network:
    """A copy: an engine takes its network over, and torch's folds it."""
    return dataclasses.replace(network, model=copy.deepcopy(network.model))


def test_the_fastest_that_agrees_is_chosen_and_remembered(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    engine = auto.make(KINDS, fresh(network), OPTIONS)
    assert engine.name == "quick"
    (record,) = tmp_path.glob("*auto_fp32_cpu*.json.json")
    (path,) = set(tmp_path.glob("*.json")) - {record}
    found = {one["engine"]: one for one in json.loads(path.read_text())}
    assert found.keys() == {"torch", "quick", "slow", "wrong", "broken"}
    assert found["quick"]["seconds"] < found["torch"]["seconds"] < found["slow"]["seconds"]
    assert found["quick"]["difference"] < 1e-5
    assert found["wrong"]["difference"] == pytest.approx(0.01, rel=1e-3)
    assert found["broken"]["trouble"] == "no libraries"
    for words in (
        "wrong",
        "differs from torch by 1.0%",
        "broken did not run (no libraries)",
        "quick runs",
        "measured now",
    ):
        assert words in engine.notes[0]
    made = Changed.made
    again = auto.make(KINDS, fresh(network), OPTIONS)
    assert (again.name, Changed.made) == ("quick", made + 1)  # nothing was measured
    assert "as measured earlier" in again.notes[0]
    monkeypatch.setattr(auto, "_surroundings", lambda _: {"torch": "next"})
    anew = auto.make(KINDS, fresh(network), OPTIONS)
    assert "measured now" in anew.notes[0]
    assert Changed.made > made + 2


def test_what_no_longer_starts_gives_way(network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    kinds = {"torch": kind(0.1), "quick": kind(0.0)}
    assert auto.make(kinds, fresh(network), OPTIONS).name == "quick"
    engine = auto.make({**kinds, "quick": kind(0.0, error="its library is gone")}, fresh(network), OPTIONS)
    assert engine.name == "torch"
    assert "quick does not start any more: its library is gone" in engine.notes[0]


def test_auto_runs_a_real_network(weights: Path, exported: Path, reference: Pipeline) -> None:
    pipeline = Pipeline.load(str(weights), device="cpu", engine="auto", threads=1)
    assert pipeline.engine_name in ENGINES
    assert all(f"{name} " in pipeline.notes[0] for name in ("torch", "onnxruntime", "openvino"))
    assert "differs" not in pipeline.notes[0]
    with pytest.raises(EngineError, match="not with 'auto'"):
        Pipeline.check(str(exported), engine="auto")
