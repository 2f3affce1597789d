"""Logits at stride 2: the detail against a literal transcription, and as a part of the network."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from panoptic_ros.engines.folding import fold
from panoptic_ros.labels import LabelSet
from panoptic_ros.models.layers.detail import Detail
from panoptic_ros.models.yolo_panoptic import YoloPanoptic, YoloPanopticConfig

CITYSCAPES = LabelSet.load("cityscapes")
FINE, CHANNELS, CLASSES, INSTANCES = 3, 5, 4, 2


def learned(detail: Detail) -> Detail:
    """One whose every number is random."""
    generator = torch.Generator().manual_seed(3)
    for tensor in (*detail.eval().parameters(), *detail.buffers()):
        if tensor.is_floating_point():
            tensor.data.uniform_(0.2, 1.0, generator=generator)
            if tensor.ndim > 1:
                tensor.data *= torch.randn(tensor.shape, generator=generator)
    return detail


def half(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """(C, h, w) scaled bilinearly to twice the size, pixel by pixel."""
    channels, height, width = maps.shape
    result = np.zeros((channels, 2 * height, 2 * width))
    for y in range(2 * height):
        for x in range(2 * width):
            v, u = max((y + 0.5) / 2 - 0.5, 0.0), max((x + 0.5) / 2 - 0.5, 0.0)
            top, left = int(v), int(u)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            upper = (1 - u + left) * maps[:, top, left] + (u - left) * maps[:, top, right]
            lower = (1 - u + left) * maps[:, bottom, left] + (u - left) * maps[:, bottom, right]
            result[:, y, x] = (1 - v + top) * upper + (v - top) * lower
    return result


def test_it_is_a_residual_of_both_maps_pixel_by_pixel() -> None:
    detail = learned(Detail(FINE, CHANNELS, CLASSES, INSTANCES))
    generator = torch.Generator().manual_seed(4)
    fine, logits, instances = (
        torch.randn((1, depth, *size), generator=generator)
        for depth, size in ((FINE, (8, 12)), (CLASSES, (4, 6)), (INSTANCES, (8, 12)))
    )
    with torch.inference_mode():
        found_logits, found_instances = detail(fine, logits, instances)
    coarse = half(logits[0].double().numpy())
    read = np.concatenate((fine[0].double().numpy(), coarse))
    convolution, norm = detail.block[0], detail.block[1]
    weight = convolution.weight.detach().double().numpy()  # type: ignore[operator]
    mean, variance, scale, offset = (
        tensor.detach().double().numpy()  # type: ignore[operator]
        for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    assert detail.instances is not None
    corrections = [
        (layer.weight.detach().double().numpy()[:, :, 0, 0], layer.bias.detach().double().numpy())  # type: ignore[union-attr]
        for layer in (detail.logits, detail.instances)
    ]
    for y in range(8):
        for x in range(12):
            values = []
            for channel in range(CHANNELS):
                total = 0.0
                for dy in (-1, 0, 1):
                    for dx in (-1, 0, 1):
                        if 0 <= y + dy < 8 and 0 <= x + dx < 12:
                            total += float(weight[channel, :, dy + 1, dx + 1] @ read[:, y + dy, x + dx])
                value = (total - mean[channel]) / math.sqrt(variance[channel] + norm.eps)  # type: ignore[operator]
                values.append(max(value * scale[channel] + offset[channel], 0.0))
            for found, before, (weights, bias) in zip(
                (found_logits, found_instances), (coarse, instances[0].numpy()), corrections, strict=True
            ):
                assert found is not None
                expected = before[:, y, x] + weights @ np.array(values) + bias
                np.testing.assert_allclose(found[0, :, y, x].numpy(), expected, rtol=1e-4, atol=1e-4)


def test_a_network_that_gets_it_answers_as_before() -> None:
    torch.manual_seed(0)
    plain = YoloPanoptic(CITYSCAPES, YoloPanopticConfig(cfg="darknet53_yolov3_quarter")).eval()
    model = YoloPanoptic(CITYSCAPES, YoloPanopticConfig(cfg="darknet53_yolov3_quarter", detail_channels=8)).eval()
    missing = model.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert missing
    assert all(name.startswith("detail.") for name in missing)
    assert (plain.semantic_stride, model.semantic_stride) == (4, 2)
    images = torch.rand((1, 3, 64, 96), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, found = plain(images), model(images)
    for name, before in expected.items():
        if name == "semantic_logits":
            before = F.interpolate(before, scale_factor=2.0, mode="bilinear", align_corners=False)
        assert torch.equal(found[name], before), name


def test_folding_keeps_its_answers() -> None:
    torch.manual_seed(0)
    model = YoloPanoptic(CITYSCAPES, YoloPanopticConfig(cfg="darknet53_yolov3_quarter", detail_channels=8)).eval()
    assert model.detail is not None
    learned(model.detail)
    folded = copy.deepcopy(model)
    fold(folded)
    assert folded.pyramid is not None
    images = torch.rand((1, 3, 64, 96), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, found = model(images), folded(images)
    for name in ("semantic_logits", "instance_features"):
        scale = float(expected[name].abs().max())
        torch.testing.assert_close(found[name], expected[name], rtol=0.0, atol=1e-5 * scale)


def test_labels_without_things_have_detail_too() -> None:
    labels = LabelSet("stuff only", CITYSCAPES.stuff)
    model = YoloPanoptic(labels, YoloPanopticConfig(cfg="darknet53_yolov3_quarter", detail_channels=8)).eval()
    assert model.detail is not None
    assert model.detail.instances is None
    with torch.inference_mode():
        outputs = model(torch.rand(1, 3, 80, 112))
    assert {name: tuple(tensor.shape) for name, tensor in outputs.items()} == {"semantic_logits": (1, 11, 40, 56)}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"detail_channels": 0}, "detail_channels must be positive, got 0"),
        ({"detail_channels": 8, "semantic": "fpn"}, "corrects the logits of 'ppm', but semantic is 'fpn'"),
        ({"detail_channels": 8, "instance_upsample": 1}, "instance_upsample is 1, expected null or 2"),
        ({"detail_channels": 8, "taps": (11, 36, 61)}, r"strides \(4, 8, 16\), expected \(2, 4, 8, 16\)"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        YoloPanoptic(CITYSCAPES, YoloPanopticConfig(cfg="darknet53_yolov3_quarter", **settings))  # type: ignore[arg-type]
