"""The decoding of boxes against YOLOv3's equations written cell by cell, and the export of a whole detector."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from panoptic_ros.models.backbones.darknet import Darknet, YoloDecoder
from panoptic_ros.models.backbones.darknet_cfg import DarknetConfig

HEADS = """[net]
width=64
height=64
[convolutional]
filters=16
size=3
stride=4
pad=1
batch_normalize=1
activation=leaky
[maxpool]
size=2
stride=1
[convolutional]
filters=14
activation={activation}
[yolo]
mask=1,2
anchors=3,5, 10,20, 31,7
classes=2
scale_x_y={scale}
new_coords={new_coords}
[route]
layers=1
[maxpool]
size=2
stride=2
[upsample]
[shortcut]
from=1
activation=relu
[route]
layers=-1,0
groups=2
group_id=1
[convolutional]
filters=7
size=3
stride=2
pad=1
groups=1
activation={activation}
[yolo]
mask=0
anchors=3,5, 10,20, 31,7
classes=2
scale_x_y={scale}
new_coords={new_coords}
"""
KINDS = [("linear", 1.0, 0), ("linear", 1.1, 0), ("logistic", 2.0, 1)]


def load(tmp_path: Path, activation: str = "linear", scale: float = 1.0, new_coords: int = 0) -> DarknetConfig:
    path = tmp_path / "heads.cfg"
    path.write_text(HEADS.format(activation=activation, scale=scale, new_coords=new_coords))
    return DarknetConfig.load(path)


def logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def by_cell(
    raw: Tensor, stride: int, anchors: list[tuple[int, int]], scale: float, new_coords: bool
) -> list[list[float]]:
    """x0, y0, x1, y1, objectness and classes of each anchor of each cell of one image."""
    rows = []
    _, height, width = raw.shape
    for y in range(height):
        for x in range(width):
            for index, anchor in enumerate(anchors):
                t = raw[index * 7 : index * 7 + 7, y, x].tolist()
                if new_coords:
                    size = [(2 * t[2]) ** 2 * anchor[0], (2 * t[3]) ** 2 * anchor[1]]
                else:
                    size = [math.exp(t[2]) * anchor[0], math.exp(t[3]) * anchor[1]]
                    t = [logistic(value) for value in t]
                size = [min(side, 48.0) for side in size]  # twice the input's longer side of 24 pixels
                centre = [(cell + scale * t[i] - (scale - 1) / 2) * stride for i, cell in enumerate((x, y))]
                low, high = ([centre[i] + sign * size[i] / 2 for i in (0, 1)] for sign in (-1, 1))
                rows.append([*low, *high, *t[4:]])
    return rows


@pytest.mark.parametrize(("activation", "scale", "new_coords"), KINDS)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_boxes_of_every_cell(
    tmp_path: Path, activation: str, scale: float, new_coords: int, memory_format: torch.memory_format
) -> None:
    config = load(tmp_path, activation, scale, new_coords)
    assert [stride for stride, _ in config.heads] == [4, 8]
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, 14, 4, 6, generator=generator), torch.randn(2, 7, 2, 3, generator=generator)]
    if new_coords:
        maps = [one.sigmoid() for one in maps]
    boxes, objectness, classes = YoloDecoder(config)([one.to(memory_format=memory_format) for one in maps])
    assert (boxes.shape, objectness.shape, classes.shape) == ((2, 54, 4), (2, 54), (2, 54, 2))
    found = torch.cat((boxes, objectness[..., None], classes), dim=-1)
    for image in (0, 1):
        expected = by_cell(maps[0][image], 4, [(10, 20), (31, 7)], scale, bool(new_coords))
        expected += by_cell(maps[1][image], 8, [(3, 5)], scale, bool(new_coords))
        np.testing.assert_allclose(found[image].numpy(), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_decodes_in_single_precision(tmp_path: Path, dtype: torch.dtype) -> None:
    decoder = YoloDecoder(load(tmp_path))
    maps = [torch.randn(1, 14, 4, 512).to(dtype), torch.randn(1, 7, 2, 256).to(dtype)]
    expected = decoder([one.float() for one in maps])
    found = decoder.to(dtype)(maps)  # the anchors are whole numbers that both types hold
    for ours, reference in zip(found, expected, strict=True):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, reference)
    assert float(found.boxes[..., 2].max()) > 2040


def test_boxes_are_finite_and_no_larger_than_needed(tmp_path: Path) -> None:
    decoder = YoloDecoder(load(tmp_path))
    maps = [torch.full((1, 14, 4, 6), 1000.0), torch.full((1, 7, 2, 3), -1000.0)]
    boxes, objectness, classes = (part[0] for part in decoder(maps))
    large, small = boxes[:48], boxes[48:]
    assert torch.equal(large[:, 2:] - large[:, :2], torch.full((48, 2), 48.0))  # twice the input's 24 pixels
    assert bool((large[:, :2] <= 0).all())
    assert bool((large[:, 2:] >= torch.tensor([24.0, 16.0])).all())  # all of the input is covered
    assert torch.equal(small[:, :2], small[:, 2:])
    assert objectness.tolist() == [1.0] * 48 + [0.0] * 6
    assert bool(classes.isfinite().all())


def test_needs_heads_that_agree(tmp_path: Path) -> None:
    path = tmp_path / "other.cfg"
    for text, message in (
        ("", r"expected \[yolo\] layers with one number of classes, got \[\]"),
        (
            "[yolo]\nanchors=1,2\nclasses=2\n[route]\nlayers=0\n[conv]\nfilters=8\n[yolo]\nanchors=1,2\nclasses=3\n",
            r"got \[2, 3\]",
        ),
    ):
        path.write_text("[net]\nwidth=8\nheight=8\n[conv]\nfilters=7\n" + text)
        with pytest.raises(ValueError, match=r"other\.cfg: .*" + message):
            YoloDecoder(DarknetConfig.load(path))


class Detector(nn.Module):
    def __init__(self, config: DarknetConfig) -> None:
        super().__init__()
        self.network = Darknet(config, taps=(0, 7))
        self.decoder = YoloDecoder(config)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        detections, taps = self.network(images)
        return (*detections, *taps, *self.decoder(detections))


@pytest.mark.parametrize(("activation", "scale", "new_coords"), KINDS[1:])
def test_onnx_runtime_agrees(tmp_path: Path, activation: str, scale: float, new_coords: int) -> None:
    torch.manual_seed(0)
    detector = Detector(load(tmp_path, activation, scale, new_coords)).eval()
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_var is not None
            module.running_var.uniform_(0.5, 1.5)
    path = tmp_path / "detector.onnx"
    names = ["first", "second", "early", "late", "boxes", "objectness", "classes"]
    torch.onnx.export(
        detector,
        (torch.zeros(2, 3, 32, 48),),
        str(path),
        input_names=["images"],
        output_names=names,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    images = torch.rand(3, 3, 32, 48)
    with torch.inference_mode():
        expected = detector(images)
    found = session.run(names, {"images": images.numpy()})
    for name, ours, theirs in zip(names, expected, found, strict=True):
        assert float(np.abs(ours.numpy() - theirs).max()) <= 1e-4 * float(ours.abs().max()), name
