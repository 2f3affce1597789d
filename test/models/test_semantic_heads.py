"""The thesis' semantic networks: their parts against its text, written out with torch's functions."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from panoptic_ros.engines.export import export_onnx
from panoptic_ros.labels import LabelSet
from panoptic_ros.letterbox import Letterbox
from panoptic_ros.models import ModelConfig, build_model, load_model_config
from panoptic_ros.models.layers.semantic_heads import PyramidFusion, ReducedConcatenation, SingleFeature
from panoptic_ros.models.options import DecodeOptions
from panoptic_ros.models.weights import load_weights, save_weights
from panoptic_ros.models.yolo_panoptic import YoloPanoptic, YoloPanopticConfig

CITYSCAPES = LabelSet.load("cityscapes")


def build(cfg: str = "darknet53_yolov3_quarter", **settings: object) -> YoloPanoptic:
    torch.manual_seed(3)
    return YoloPanoptic(CITYSCAPES, YoloPanopticConfig(cfg=cfg, **settings)).eval()  # type: ignore[arg-type]


def scaled(features: Tensor, height: int, width: int) -> Tensor:
    return F.interpolate(features, size=(height, width), mode="bilinear", align_corners=False)


def normalized(features: Tensor, norm: nn.Module) -> Tensor:
    assert isinstance(norm, nn.BatchNorm2d)
    return F.batch_norm(features, norm.running_mean, norm.running_var, norm.weight, norm.bias)


def vary_statistics(model: nn.Module) -> None:
    """Batch norms that do something, as a trained network's do."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None and layer.running_var is not None:
            nn.init.normal_(layer.running_mean, std=0.3)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, std=0.3)


# What each choice takes from Darknet-53 (layers from 0; the thesis counts from 1) and gives on a 640x640 image.
SIZES = [
    # settings, layers, depth of the fused map, of the first 3x3 convolution, instance features
    ({"semantic": "segnet", "segnet_stride": 4}, (11,), 128, 32, (32, 320)),
    ({"semantic": "segnet", "segnet_stride": 8}, (36,), 256, 64, (64, 320)),
    ({"semantic": "segnet"}, (61,), 512, 128, (128, 320)),
    ({"semantic": "segnet", "features": "after_stride"}, (37,), 512, 128, (128, 320)),
    ({"semantic": "segnet_multi"}, (11, 36, 61), 512, 128, (128, 320)),
    ({"semantic": "segnet_multi", "features": "after_stride"}, (5, 12, 37), 512, 128, (128, 320)),
    ({"semantic": "fpn"}, (4, 11, 36, 61), 64, 64, (64, 320)),
    ({"semantic": "fpn", "features": "after_stride"}, (1, 5, 12, 37), 64, 64, (64, 320)),
]


@pytest.mark.parametrize(("settings", "layers", "fused", "first", "instance"), SIZES)
def test_the_sizes_are_those_of_the_thesis(
    settings: dict[str, object], layers: tuple[int, ...], fused: int, first: int, instance: tuple[int, int]
) -> None:
    with torch.device("meta"):
        model = build("darknet53_yolov3", **settings)
        outputs = model(torch.zeros((1, 3, 640, 640)))
    assert model.detector.taps == layers
    assert model.fusion.out_channels == fused
    convolutions = [layer for layer in model.semantic_head.modules() if isinstance(layer, nn.Conv2d)]
    assert [layer.kernel_size for layer in convolutions] == [(3, 3)] * len(convolutions)
    assert (convolutions[0].in_channels, convolutions[0].out_channels) == (fused, first)
    assert outputs["semantic_logits"].shape == (1, 19, 640, 640)
    assert outputs["instance_features"].shape == (1, instance[0], instance[1], instance[1])


@torch.inference_mode()
def test_one_feature_map_and_the_segnet_decoder() -> None:
    """Section 3.2.1: 3x3 convolutions, batch norm and 2x upsampling on a map that was brought to a quarter."""
    for stride in (4, 8, 16):
        model = build(semantic="segnet", segnet_stride=stride)
        vary_statistics(model.semantic_head)
        features = torch.randn((1, model.fusion.out_channels, 64 // stride, 96 // stride))
        fused = model.fusion((features,))
        torch.testing.assert_close(fused, scaled(features, 16, 24))
        check_segnet(model.semantic_head, fused)


@torch.inference_mode()
def test_three_feature_maps_and_the_segnet_decoder() -> None:
    """Fig. 3.4: upsampled to the first, concatenated, reduced by a 1x1 convolution, through the same decoder."""
    model = build(semantic="segnet_multi")
    vary_statistics(model.semantic_head)
    assert isinstance(model.fusion, ReducedConcatenation)
    first, second, third = torch.randn(1, 32, 16, 24), torch.randn(1, 64, 8, 12), torch.randn(1, 128, 4, 6)
    fused = model.fusion((first, second, third))
    stacked = torch.cat((first, scaled(second, 16, 24), scaled(third, 16, 24)), dim=1)
    torch.testing.assert_close(fused, F.conv2d(stacked, model.fusion.reduce.weight, model.fusion.reduce.bias))
    check_segnet(model.semantic_head, fused)


def check_segnet(head: nn.Module, fused: Tensor) -> None:
    assert isinstance(head, nn.Sequential)
    first, first_norm, _, _, second, second_norm, _, _, last = head
    expected = normalized(F.conv2d(fused, first.weight, padding=1), first_norm).relu()
    expected = scaled(expected, 32, 48)
    expected = normalized(F.conv2d(expected, second.weight, padding=1), second_norm).relu()
    expected = F.conv2d(scaled(expected, 64, 96), last.weight, last.bias, padding=1)
    torch.testing.assert_close(head(fused), expected)


@torch.inference_mode()
def test_the_feature_pyramid() -> None:
    """Fig. 3.5: 1x1 convolution, upsampling and addition down to layer 5, then 2x upsampling and two convolutions."""
    model = build(semantic="fpn")
    vary_statistics(model.fusion)
    vary_statistics(model.semantic_head)
    assert isinstance(model.fusion, PyramidFusion)
    sizes = ((16, 32, 48), (32, 16, 24), (64, 8, 12), (128, 4, 6))
    fifth, twelfth, layer_37, layer_62 = (torch.randn(1, *size) for size in sizes)
    total = layer_62
    for level, finer in ((2, layer_37), (1, twelfth), (0, fifth)):
        convolution, norm = model.fusion.top_down[level]  # type: ignore[misc]
        total = finer + scaled(normalized(F.conv2d(total, convolution.weight), norm), *finer.shape[-2:])
    fused = model.fusion((fifth, twelfth, layer_37, layer_62))
    torch.testing.assert_close(fused, total)
    _, first, norm, _, last = model.semantic_head
    expected = normalized(F.conv2d(scaled(total, 64, 96), first.weight, padding=1), norm).relu()
    torch.testing.assert_close(
        model.semantic_head(fused), F.conv2d(expected, last.weight, last.bias, padding=1), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("semantic", ["ppm", "segnet", "segnet_multi", "fpn"])
def test_semantic_networks_start_from_glorots_weights(semantic: str) -> None:
    model = build(semantic=semantic)
    checked = 0
    for part in (model.fusion, model.pooling, model.semantic_head):
        for layer in part.modules():
            if isinstance(layer, nn.Conv2d):
                area = layer.kernel_size[0] * layer.kernel_size[1]
                bound = math.sqrt(6.0 / (area * (layer.in_channels + layer.out_channels)))
                assert 0.9 * bound < float(layer.weight.detach().abs().max()) <= bound
                assert layer.bias is None or not layer.bias.any()
                checked += 1
    assert checked >= 2


@pytest.mark.parametrize("semantic", ["segnet", "segnet_multi", "fpn"])
def test_each_network_segments_a_frame_and_its_weights_come_back(semantic: str, tmp_path: Path) -> None:
    config = ModelConfig(
        system="yolo_panoptic",
        labels="cityscapes",
        input_height=64,
        input_width=96,
        network=YoloPanopticConfig(cfg="darknet53_yolov3_quarter", semantic=semantic),  # type: ignore[arg-type]
    )
    model = build_model(config)
    assert "pooling" not in model.untrained
    assert {"detector", "semantic_head", "instance_features", "instance_head"} <= model.untrained
    with torch.inference_mode():
        outputs = model(torch.rand((2, 3, 64, 96), generator=torch.Generator().manual_seed(0)))
        boxes = [Letterbox.fit(50, 96, 64, 96), Letterbox.fit(120, 100, 64, 96)]
        values = model.decode(outputs, boxes, DecodeOptions(score_threshold=0.1), confidence=True)
    assert [value.ids.shape for value in values] == [(50, 96), (120, 100)]
    assert all(value.things for value in values)
    model.untrained = frozenset()
    path = tmp_path / "weights.safetensors"
    save_weights(model, path)
    other = build_model(config)
    load_weights(other, path)
    assert other.untrained == frozenset()


@pytest.mark.parametrize("semantic", ["segnet", "segnet_multi", "fpn"])
def test_onnx_runtime_agrees_with_each_network(semantic: str, tmp_path: Path) -> None:
    model = build(semantic=semantic)
    path = tmp_path / "model.onnx"
    network = YoloPanopticConfig(cfg="darknet53_yolov3_quarter", semantic=semantic)  # type: ignore[arg-type]
    export_onnx(model, ModelConfig("yolo_panoptic", CITYSCAPES, 64, 96, network), path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    images = torch.rand((3, 3, 64, 96), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = model(images)
    for name, found in zip(model.output_names, session.run(None, {"images": images.numpy()}), strict=True):
        np.testing.assert_allclose(found, expected[name].numpy(), atol=1e-4, rtol=1e-4, err_msg=name)


def test_the_default_network_keeps_its_names() -> None:
    """Weights of the Pyramid Pooling Module that were saved before there was a choice."""
    names = {name.split(".", 1)[0] for name in build().state_dict()}
    assert names == {"detector", "fusion", "pooling", "semantic_head", "instance_features", "instance_head"}
    parts = ["fusion.widen.weight", "pooling.branches.3.1.running_var", "semantic_head.0.weight"]
    parts += ["semantic_head.3.bias", "instance_features.reduce.bias", "instance_head.convolutions.7.bias"]
    assert set(parts) <= set(build().state_dict())


def test_only_what_a_network_reads_is_kept() -> None:
    model = build(semantic="segnet", segnet_stride=8)
    assert isinstance(model.fusion, SingleFeature)
    assert model.detector.taps == (36,)
    explicit = build(semantic="segnet", segnet_stride=8, taps=(12,))
    assert explicit.detector.taps == (12,)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"semantic": "fpn", "segnet_stride": 8}, "segnet_stride chooses the map of 'segnet', but semantic is 'fpn'"),
        ({"semantic": "fpn", "taps": (11, 36, 61)}, r"have strides \(4, 8, 16\), expected \(2, 4, 8, 16\)"),
        ({"semantic": "segnet", "taps": (11, 36, 61)}, r"have strides \(4, 8, 16\), expected \(16,\)"),
        ({"taps": (36,)}, r"have strides \(8,\), expected \(4, 8, 16\)"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        build(**settings)


def test_a_configuration_names_the_semantic_network(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_text(
        "system: yolo_panoptic\nlabels: cityscapes\ninput_height: 64\ninput_width: 64\n"
        "network: {cfg: darknet53_yolov3_quarter, semantic: segnet, segnet_stride: 4, instance_head: shallow}\n"
    )
    model = build_model(load_model_config(str(path)))
    assert isinstance(model, YoloPanoptic)
    assert model.detector.taps == (11,)
    assert model.instance_head.crop_size == 40
