"""What the tests of engines share: an export takes seconds, so there is one of each kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from small_networks import write_weights

from panoptic_ros.engines import Network
from panoptic_ros.engines.cache import CACHE_VARIABLE
from panoptic_ros.engines.onnx_engine import cached_onnx
from panoptic_ros.models import build_model, load_model_config
from panoptic_ros.models.weights import load_weights
from panoptic_ros.pipeline import Pipeline


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where engines keep their files during the tests."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder))
        yield folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole small network as a file that can be named as a model."""
    return write_weights(tmp_path_factory.mktemp("network"))


@pytest.fixture(scope="session")
def reference(weights: Path) -> Pipeline:
    """That network in torch."""
    return Pipeline.load(str(weights), device="cpu")


@pytest.fixture(scope="session")
def exported(weights: Path, cache: Path) -> Path:
    """That network as ONNX, where engines find it in their cache."""
    config = load_model_config(str(weights))
    model = build_model(config)
    load_weights(model, weights)
    path, notes = cached_onnx(Network(model, config), "fp32")
    assert notes == (f"{path}: made",)
    assert sorted(file.name for file in cache.iterdir()) == [path.name, f"{path.name}.json"]
    return path
