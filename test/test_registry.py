"""Systems and losses of other packages are found by name, and broken ones are named."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from outside_package import install

from panoptic_ros.configuration import ConfigurationError
from panoptic_ros.models import SYSTEMS, load_model_config, model_files
from panoptic_ros.models.model import System
from panoptic_ros.pipeline import Pipeline
from panoptic_ros.registry import Registry, RegistryError


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = install(tmp_path / "site")
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "toy_panoptic"]:
        del sys.modules[name]


def test_ours_are_there_without_others() -> None:
    assert "yolo_panoptic" in SYSTEMS
    assert SYSTEMS.outside() == ()
    assert len(SYSTEMS) == len(list(SYSTEMS))
    assert all(isinstance(SYSTEMS[name], System) for name in SYSTEMS)
    with pytest.raises(KeyError):
        SYSTEMS["toy"]


def test_a_system_of_another_package_is_found_by_its_name(outside: Path) -> None:
    assert SYSTEMS.outside() == ("toy", "toy_of_another_kind", "toy_of_nothing")
    assert model_files()["toy_small"] == outside / "toy_panoptic" / "models" / "toy_small.yaml"
    config = load_model_config("toy_small")
    assert (config.system, config.decode.brightness) == ("toy", 0.6)
    pipeline = Pipeline.load("toy_small")
    frame = np.zeros((20, 30, 3), dtype=np.uint8)
    frame[:, 15:] = 250
    (value,) = pipeline([frame])
    assert {segment.class_id for segment in value.segments} == {7, 26}
    assert (value.ids[:, 20:] == 26001).all()
    assert (value.ids[:, :10] == 7000).all()


def test_its_decode_options_are_its_own(outside: Path, tmp_path: Path) -> None:
    path = tmp_path / "toy.yaml"
    head = "system: toy\nlabels: cityscapes\ninput_height: 32\ninput_width: 48\n"
    path.write_text(head + "decode: {nms_threshold: 0.5}\n")
    with pytest.raises(
        ConfigurationError, match=r"toy\.yaml: decode: unknown key 'nms_threshold'; expected one of bri"
    ):
        load_model_config(str(path))
    path.write_text(head + "decode: 3\n")
    with pytest.raises(ConfigurationError, match=r"toy\.yaml: decode: expected keys with values, got 3"):
        load_model_config(str(path))


@pytest.mark.parametrize(
    ("system", "said"),
    [
        ("toy_of_nothing", "'toy_of_nothing' of package toy-panoptic .* cannot be imported: No module named"),
        ("toy_of_another_kind", "of package toy-panoptic .*: expected a System, got type"),
        ("nothing", r"expected one of .*toy, .*yolo_panoptic, got 'nothing'"),
    ],
)
def test_what_cannot_be_used_is_named(outside: Path, tmp_path: Path, system: str, said: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(f"system: {system}\nlabels: cityscapes\ninput_height: 32\ninput_width: 48\n")
    with pytest.raises(ConfigurationError, match=rf"broken\.yaml: system: .*{said}"):
        load_model_config(str(path))


def test_a_name_that_is_not_there_says_which_are(outside: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"with other packages: .*toy_small"):
        load_model_config("toy_large")
    with pytest.raises(FileNotFoundError, match="has no model configuration of its name"):
        load_model_config("toy")


def test_two_packages_cannot_bring_one_name(outside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = install(tmp_path / "other", "another-toy")
    entries = other / "another_toy-1.0.dist-info" / "entry_points.txt"
    entries.write_text("[panoptic_ros.models]\ntoy = another_toy:SYSTEM\nyolo_panoptic = another_toy:SYSTEM\n")
    monkeypatch.syspath_prepend(str(other))
    with pytest.raises(RegistryError, match="'toy' is brought by package another-toy and package toy-panoptic"):
        SYSTEMS["toy"]
    with pytest.raises(RegistryError, match="brought by panoptic_ros and package another-toy"):
        SYSTEMS["yolo_panoptic"]


def test_a_folder_that_is_found_twice_is_one_package(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(outside) + "/")
    assert isinstance(SYSTEMS["toy"], System)


def test_what_is_of_another_kind_is_refused() -> None:
    registry = Registry("none", {"zeros": "torch:zeros"}, torch.nn.Module)
    with pytest.raises(RegistryError, match=r"'zeros' of panoptic_ros .*expected a Module, got builtin"):
        registry["zeros"]
