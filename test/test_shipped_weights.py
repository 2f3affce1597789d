"""The trained networks that come with the package."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from panoptic_ros.models import build_model, load_model_config
from panoptic_ros.models.weights import load_weights
from panoptic_ros.resources import share_directory, shipped_weights, weights_of

MOST_BYTES = 16_000_000
CARDS = share_directory() / "weights" / "README.md"


@pytest.mark.parametrize("path", shipped_weights(), ids=lambda path: path.stem)
def test_a_shipped_network_is_whole_trained_and_described(path: Path) -> None:
    assert path.stat().st_size <= MOST_BYTES
    model = build_model(load_model_config(str(path)))
    load_weights(model, path)
    assert not model.untrained
    assert all(bool(torch.isfinite(tensor).all()) for tensor in model.state_dict().values())
    assert re.search(rf"^## {path.name}$", CARDS.read_text(encoding="utf-8"), re.MULTILINE), "it has no card"


def test_weights_are_found_by_the_name_of_a_model() -> None:
    assert weights_of("yolo_panoptic_small", "") == ""  # a name in config/models
    assert weights_of("yolo_panoptic_small", "mine.safetensors") == "mine.safetensors"
    assert weights_of("run/best.safetensors", "") == "run/best.safetensors"
    assert weights_of("no_such", "") == ""
    name = "yolo_panoptic_small_synthetic"
    assert weights_of(name, "") == str(share_directory() / "weights" / f"{name}.safetensors")
    assert weights_of(name, "mine.safetensors") == "mine.safetensors"


def test_a_model_that_is_not_there_is_refused_with_the_names_of_shipped_ones() -> None:
    with pytest.raises(FileNotFoundError, match="yolo_panoptic_small_synthetic"):
        load_model_config("no_such")
