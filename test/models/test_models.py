"""Model configurations and weights files: good ones, and every kind of bad one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from panoptic_ros.configuration import ConfigurationError
from panoptic_ros.models import build_model, load_model_config
from panoptic_ros.models.backbones.darknet_weights import save_darknet_weights
from panoptic_ros.models.model import PanopticModel
from panoptic_ros.models.weights import WeightsError, check_weights, load_weights, save_weights

BASE = "system: yolo_panoptic\nlabels: cityscapes\ninput_height: 64\ninput_width: 64\n"


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "model.yaml"
    path.write_text(text)
    return str(path)


def small() -> PanopticModel:
    return build_model(load_model_config("yolo_panoptic_small"))


@pytest.mark.parametrize("name", ["yolo_panoptic", "yolo_panoptic_small"])
def test_the_configurations_that_come_with_it_build(name: str) -> None:
    with torch.device("meta"):
        model = build_model(load_model_config(name))
    assert "detector" in model.untrained


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BASE + "sistem: x", "unknown key 'sistem'"),
        (
            BASE.replace("yolo_panoptic", "yolo"),
            "expected one of jsis_net, panoptic_fpn, yolo_panoptic, got 'yolo'",
        ),
        (BASE + "network: {cgf: x}", "network: unknown key 'cgf'"),
        (BASE + "network: 3", "network: expected keys"),
        (BASE + "network: {instance_head: wide}", "instance_head: expected one of 'deep', 'shallow', got 'wide'"),
        (BASE + "network: {instance_upsample: 0}", "instance_upsample must be positive, got 0"),
        (BASE + "decode: {score_threshold: 2.0}", r"score_threshold must be in \[0, 1\], got 2.0"),
        (BASE.replace("64", "wide"), "input_height: expected int, got 'wide'"),
        ("labels: cityscapes", "'system' is missing"),
    ],
)
def test_a_fault_of_a_configuration_is_named_with_the_file(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as error:
        load_model_config(write(tmp_path, text))
    assert "model.yaml" in str(error.value)


def test_an_unsuitable_input_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="multiples of 32, got 60 and 64"):
        build_model(load_model_config(write(tmp_path, BASE.replace("input_height: 64", "input_height: 60"))))


def test_a_missing_configuration_lists_those_there_are() -> None:
    with pytest.raises(FileNotFoundError, match="yolo_panoptic, yolo_panoptic_small"):
        load_model_config("no_such")


def test_files_beside_a_configuration_are_found_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "name: mine\nlabels:\n  - {id: 3, name: cup, is_thing: true, color: [1, 2, 3]}\n"
        "  - {id: 9, name: table, is_thing: false, color: [4, 5, 6]}\n"
    )
    text = BASE.replace("cityscapes", "mine.yaml") + "network: {cfg: darknet53_yolov3_quarter}"
    model = build_model(load_model_config(write(tmp_path, text)))
    assert [label.id for label in model.labels.labels] == [3, 9]


def test_weights_come_back(tmp_path: Path) -> None:
    model = small()
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.1, 0.2)
    model.untrained = frozenset({"instance_head"})
    path = tmp_path / "weights.safetensors"
    save_weights(model, path)
    assert list(tmp_path.iterdir()) == [path]
    (plain := tmp_path / "plain").touch()
    assert path.stat().st_mode == plain.stat().st_mode
    other = small()
    load_weights(other, path)
    assert other.untrained == {"instance_head"}
    for name, tensor in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name


def test_half_the_file_is_nearly_the_same_weights(tmp_path: Path) -> None:
    model = small()
    statistics = model.detector.layers[0].normalization.running_var
    statistics.fill_(1e6)  # beyond half precision
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    save_weights(model, whole)
    save_weights(model, half, half=True)
    assert half.stat().st_size < 0.52 * whole.stat().st_size
    other = small()
    load_weights(other, half)
    for name, tensor in model.state_dict().items():
        found = other.state_dict()[name]
        assert found.dtype == tensor.dtype
        torch.testing.assert_close(found, tensor, rtol=2**-11, atol=2**-24)


def test_darknet_weights_train_the_detector_alone(tmp_path: Path) -> None:
    model = small()
    path = tmp_path / "detector.weights"
    save_darknet_weights(model.detector, path)
    other = small()
    load_weights(other, path)
    assert "detector" not in other.untrained
    assert {"semantic_head", "instance_head"} <= other.untrained


def broken_files(folder: Path) -> dict[str, Path]:
    """Weights files with one fault each, by the words that tell it."""
    good = folder / "good.safetensors"
    save_weights(small(), good)
    state = load_file(good)
    truncated = folder / "truncated.safetensors"
    truncated.write_bytes(good.read_bytes()[:-100])
    empty = folder / "empty.safetensors"
    empty.touch()
    other = folder / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, other)
    shape = folder / "shape.safetensors"
    save_file({**state, "semantic_head.3.bias": torch.zeros(20)}, shape)
    labels = folder / "labels.safetensors"
    save_file(state, labels, metadata={"labels": '["cat", "dog"]'})
    short = folder / "short.weights"
    short.write_bytes(b"\0" * 1000)
    pickle = folder / "model.pt"
    pickle.write_bytes(b"\0")
    return {
        "no such weights file": folder / "missing.safetensors",
        "not a whole safetensors file": truncated,
        "safetensors file: ": empty,
        "of another network: .* unknown": other,
        r"semantic_head.3.bias is \(20,\), expected \(19,\)": shape,
        "other labels than 'cityscapes'": labels,
        "short.weights": short,
        "ending in .safetensors or .weights": pickle,
    }


def test_a_bad_weights_file_is_named_and_changes_nothing(tmp_path: Path) -> None:
    model = small()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.device("meta"):
        without_memory = small()
    for said, path in broken_files(tmp_path).items():
        for use in (lambda path: load_weights(model, path), lambda path: check_weights(without_memory, path)):
            with pytest.raises(WeightsError, match=said) as error:
                use(path)
            assert str(path) in str(error.value)
    for name, tensor in model.state_dict().items():
        assert torch.equal(before[name], tensor)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    good = tmp_path / "good.safetensors"
    save_weights(small(), good)
    state = load_file(good)
    state["semantic_head.3.bias"][3] = torch.nan
    save_file(state, good)
    with pytest.raises(WeightsError, match=r"semantic_head\.3\.bias holds values that are not finite"):
        load_weights(small(), good)
