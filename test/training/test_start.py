"""What a training starts from: a whole system, a detector of other classes, a backbone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from trainings import write_model

from panoptic_ros.models import build_model, load_model_config
from panoptic_ros.models.backbones.darknet import Darknet
from panoptic_ros.models.backbones.darknet_weights import save_darknet_weights
from panoptic_ros.models.weights import WeightsError, save_weights
from panoptic_ros.models.yolo_panoptic import YoloPanoptic
from panoptic_training.fit.start import StartOptions, load_start


@pytest.fixture
def model(tmp_path: Path) -> YoloPanoptic:
    found = build_model(load_model_config(str(write_model(tmp_path))))
    assert isinstance(found, YoloPanoptic)
    return found


def other_detector(model: YoloPanoptic, classes: int) -> Darknet:
    """The same detector of other classes, with weights that are nowhere those of the model."""
    torch.manual_seed(5)
    other = Darknet(model.detector.config.with_classes(classes), taps=model.detector.taps)
    for parameter in other.parameters():
        nn.init.uniform_(parameter, 0.5, 1.0)
    return other


def test_a_detector_of_other_classes_gives_all_but_its_heads(model: YoloPanoptic, tmp_path: Path) -> None:
    other, before = other_detector(model, 80), {k: v.clone() for k, v in model.detector.state_dict().items()}
    path = tmp_path / "coco.weights"
    save_darknet_weights(other, path)
    load_start(model, StartOptions(str(path), classes=80))
    heads = 0
    for name, tensor in model.detector.state_dict().items():
        source = other.state_dict()[name]
        heads += source.shape != tensor.shape
        assert torch.equal(tensor, source if source.shape == tensor.shape else before[name]), name
    assert heads == 6  # a weight and a bias of each of three scales
    assert "detector" in model.untrained


def test_a_backbone_gives_its_layers(model: YoloPanoptic, tmp_path: Path) -> None:
    other, before = other_detector(model, 8), {k: v.clone() for k, v in model.detector.state_dict().items()}
    path = tmp_path / "backbone.weights"
    save_darknet_weights(other, path, cutoff=3)
    load_start(model, StartOptions(str(path), layers=3))
    convolutions = [name for name in before if name.endswith("convolution.weight")]
    taken = [torch.equal(model.detector.state_dict()[name], other.state_dict()[name]) for name in convolutions]
    kept = [torch.equal(model.detector.state_dict()[name], before[name]) for name in convolutions]
    assert taken == [True] * 3 + [False] * (len(convolutions) - 3)
    assert kept == [not one for one in taken]
    assert "detector" in model.untrained


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (StartOptions("none.weights", classes=80), "none.weights: no such weights file"),
        (StartOptions("x.safetensors", layers=3), "x.safetensors: layers and classes are told of Darknet weights"),
        (StartOptions(layers=3), "layers and classes are given, but no file"),
        (StartOptions(parts=("detector",)), "parts are given, but no file"),
        (StartOptions("x.weights", parts=("detector",)), "x.weights: parts are taken of a whole system's weights"),
        (StartOptions("none.safetensors", parts=("detector",)), "none.safetensors: no such weights file"),
    ],
)
def test_what_cannot_be_loaded_is_said(model: YoloPanoptic, options: StartOptions, said: str) -> None:
    with pytest.raises(WeightsError, match=said):
        load_start(model, options)


def test_layers_and_classes_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="cannot both be given"):
        StartOptions("x.weights", layers=75, classes=80)


def other_system(model: YoloPanoptic, tmp_path: Path, semantic: str = "segnet_multi") -> YoloPanoptic:
    """The same detector beside another semantic network, with weights that are nowhere those of the model."""
    config = load_model_config(str(tmp_path / "tiny.yaml"))
    other = build_model(replace(config, network=replace(config.network, semantic=semantic)))
    assert isinstance(other, YoloPanoptic)
    torch.manual_seed(6)
    for parameter in other.parameters():
        nn.init.uniform_(parameter, 0.5, 1.0)
    return other


def test_one_part_of_another_system_is_taken(model: YoloPanoptic, tmp_path: Path) -> None:
    other, before = other_system(model, tmp_path), {k: v.clone() for k, v in model.state_dict().items()}
    other.untrained -= {"detector"}  # a training of the detector alone has made it
    path = tmp_path / "pretrained.safetensors"
    save_weights(other, path)
    untrained = model.untrained
    load_start(model, StartOptions(str(path), parts=("detector",)))
    for name, tensor in model.state_dict().items():
        expected = other.state_dict()[name] if name.startswith("detector.") else before[name]
        assert torch.equal(tensor, expected), name
    assert model.untrained == untrained - {"detector"}
    assert model.untrained >= {"semantic_head", "instance_head"}


def test_weights_of_the_package_are_found_by_name() -> None:
    shipped = Path(__file__).parents[2] / "weights" / "yolo_panoptic_small_synthetic.safetensors"
    model = build_model(load_model_config("yolo_panoptic_small"))
    load_start(model, StartOptions("yolo_panoptic_small_synthetic", parts=("detector",)))
    tensors = load_file(shipped)
    mine = {name: tensor for name, tensor in model.state_dict().items() if name.startswith("detector.")}
    assert mine
    for name, tensor in mine.items():
        assert torch.equal(tensor, tensors[name].to(tensor.dtype)), name


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (("detector", "head"), "'head' is no part of the model; it has detector, fusion"),
        (("detector", "yolo"), "part 'yolo' of the model has no weights"),
        (("detector", "pooling"), "part 'pooling' is of another network: pooling"),
        (("detector", "semantic_head"), "part 'semantic_head' is of another network: semantic_head"),
        (("detector", "instance_head"), "its part 'instance_head' has learned nothing"),
    ],
)
def test_parts_that_do_not_fit_change_nothing(
    model: YoloPanoptic, tmp_path: Path, parts: tuple[str, ...], said: str
) -> None:
    other, before = other_system(model, tmp_path), {k: v.clone() for k, v in model.state_dict().items()}
    other.untrained = frozenset({"instance_head"})
    path = tmp_path / "pretrained.safetensors"
    save_weights(other, path)
    with pytest.raises(WeightsError, match=said):
        load_start(model, StartOptions(str(path), parts=parts))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_part_of_another_shape_is_named_with_its_shapes(model: YoloPanoptic, tmp_path: Path) -> None:
    config = load_model_config(str(tmp_path / "tiny.yaml"))
    other = build_model(replace(config, network=replace(config.network, instance_channels=5)))
    other.untrained = frozenset()
    path = tmp_path / "deeper.safetensors"
    save_weights(other, path)
    with pytest.raises(WeightsError, match=r"part 'instance_head' is of another network: instance_head\.\S+ is \(.*5"):
        load_start(model, StartOptions(str(path), parts=("instance_head",)))


WIDENED = ("detector", "fusion", "pooling", "semantic_head", "instance_features", "instance_head", "detail")


def narrow_and_wide(tmp_path: Path) -> tuple[YoloPanoptic, YoloPanoptic, Path]:
    """Networks that differ in the depth of the semantic head and of the detail, and the narrow one's weights."""
    torch.manual_seed(7)
    config = load_model_config(str(tmp_path / "tiny.yaml"))
    taps = {"taps": (0, 1, 2, 3)}
    narrow = build_model(
        replace(config, network=replace(config.network, semantic_channels=3, detail_channels=4, **taps))
    )
    wide = build_model(replace(config, network=replace(config.network, semantic_channels=7, detail_channels=9, **taps)))
    assert isinstance(narrow, YoloPanoptic)
    assert isinstance(wide, YoloPanoptic)
    for parameter in narrow.parameters():
        nn.init.normal_(parameter, 0.0, 0.2)
    narrow.untrained = frozenset()
    path = tmp_path / "narrow.safetensors"
    save_weights(narrow, path)
    return narrow, wide, path


def test_a_widened_network_says_what_the_narrow_one_said(model: YoloPanoptic, tmp_path: Path) -> None:
    narrow, wide, path = narrow_and_wide(tmp_path)
    load_start(wide, StartOptions(str(path), parts=WIDENED, widen=True))
    assert not wide.untrained
    images = torch.rand((2, 3, 64, 96))
    with torch.inference_mode():
        expected, found = narrow.eval()(images), wide.eval()(images)
    for name, output in expected.items():
        torch.testing.assert_close(found[name], output, rtol=1e-5, atol=1e-5)


def test_what_was_added_learns(model: YoloPanoptic, tmp_path: Path) -> None:
    _, wide, path = narrow_and_wide(tmp_path)
    load_start(wide, StartOptions(str(path), parts=WIDENED, widen=True))
    maps = wide.train().maps(torch.rand((2, 3, 64, 96)))
    maps.semantic_logits.square().sum().backward()
    last, detail = wide.semantic_head[-1], wide.detail
    assert isinstance(last, nn.Conv2d)
    assert detail is not None
    for weight, before in ((last.weight, 3), (detail.logits.weight, 4)):
        assert bool((weight[:, before:] == 0.0).all())
        assert weight.grad is not None
        assert bool((weight.grad[:, before:].abs().amax(dim=0) > 0.0).all())


def test_a_network_is_not_narrowed(model: YoloPanoptic, tmp_path: Path) -> None:
    narrow, wide, _ = narrow_and_wide(tmp_path)
    wide.untrained = frozenset()
    path = tmp_path / "wide.safetensors"
    save_weights(wide, path)
    with pytest.raises(WeightsError, match=r"semantic_head\.0\.weight is \(7, .*expected at most \(3, "):
        load_start(narrow, StartOptions(str(path), parts=WIDENED, widen=True))


def test_parts_that_read_a_concatenation_are_not_widened(model: YoloPanoptic, tmp_path: Path) -> None:
    """The plane of a detection's class comes behind the instance features: it would be taken for one of them."""
    config = load_model_config(str(tmp_path / "tiny.yaml"))
    wide = build_model(replace(config, network=replace(config.network, instance_channels=8)))
    model.untrained = frozenset()
    path = tmp_path / "narrow.safetensors"
    save_weights(model, path)
    with pytest.raises(WeightsError, match=r"part 'instance_head' is of another network: instance_head\.\S+ is \("):
        load_start(wide, StartOptions(str(path), parts=("instance_head",), widen=True))


def test_only_parts_are_widened() -> None:
    with pytest.raises(ValueError, match="widen is of parts"):
        StartOptions("x.safetensors", widen=True)


def test_parts_are_of_the_same_labels(model: YoloPanoptic, tmp_path: Path) -> None:
    config = load_model_config(str(tmp_path / "tiny.yaml"))
    other = build_model(replace(config, labels="camvid"))
    path = tmp_path / "camvid.safetensors"
    save_weights(other, path)
    with pytest.raises(WeightsError, match=r"was made for other labels than 'cityscapes'"):
        load_start(model, StartOptions(str(path), parts=("fusion",)))
