"""The layers against plain transcriptions of Darknet's loops, and the walk through a network."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from panoptic_ros.models.backbones.darknet import Darknet
from panoptic_ros.models.backbones.darknet_cfg import DarknetConfig

Array = NDArray[np.float64]


def build(tmp_path: Path, layers: str, taps: tuple[int, ...] = (), channels: int = 4) -> Darknet:
    """A network in float64 with random weights and batch norm statistics."""
    path = tmp_path / "small.cfg"
    path.write_text(f"[net]\nwidth=8\nheight=8\nchannels={channels}\n{layers}")
    torch.manual_seed(0)
    network = Darknet.from_cfg(path, taps).double().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                assert tensor is not None
                tensor.normal_()
            assert module.running_var is not None
            module.running_var.uniform_(0.001, 2.0)
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            module.bias.data.normal_()
    return network


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


ACTIVATIONS: dict[str, Any] = {
    "leaky": lambda x: np.where(x > 0, x, 0.1 * x),
    "linear": lambda x: x,
    "logistic": lambda x: 1 / (1 + np.exp(-x)),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "relu": lambda x: x * (x > 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "swish": lambda x: x / (1 + np.exp(-x)),
    "tanh": np.tanh,
}


def convolve(images: Array, weights: Array, stride: int, pad: int, groups: int) -> Array:
    """The definition, cell by cell."""
    batch, channels, height, width = images.shape
    filters, depth, size, _ = weights.shape
    padded = np.zeros((batch, channels, height + 2 * pad, width + 2 * pad))
    padded[:, :, pad : pad + height, pad : pad + width] = images
    rows, columns = (height + 2 * pad - size) // stride + 1, (width + 2 * pad - size) // stride + 1
    output = np.zeros((batch, filters, rows, columns))
    for f in range(filters):
        first = f // (filters // groups) * depth  # a group's filters see a group's channels
        for y in range(rows):
            for x in range(columns):
                window = padded[
                    :, first : first + depth, y * stride : y * stride + size, x * stride : x * stride + size
                ]
                output[:, f, y, x] = (window * weights[f]).sum(axis=(1, 2, 3))
    return output


@pytest.mark.parametrize(
    ("keys", "stride", "pad", "groups"),
    [
        ("size=3\nstride=2\npad=1", 2, 1, 1),
        ("size=1\npad=1", 1, 0, 1),
        ("size=5\npad=1\ngroups=4", 1, 2, 4),
        ("size=3\npadding=1\ngroups=2", 1, 1, 2),
        ("size=4\nstride=2\npadding=1", 2, 1, 1),
    ],
)
@pytest.mark.parametrize("normalized", [False, True])
def test_convolution(tmp_path: Path, keys: str, stride: int, pad: int, groups: int, normalized: bool) -> None:
    network = build(
        tmp_path,
        f"[convolutional]\nfilters=8\n{keys}\nbatch_normalize={int(normalized)}\nactivation=leaky\n",
        taps=(0,),
    )
    images = random(2, 4, 6, 8)
    state = {name.rpartition(".")[2]: value.numpy() for name, value in network.state_dict().items() if "conv" in name}
    expected = convolve(images.numpy(), state["weight"], stride, pad, groups)
    if normalized:
        assert "bias" not in state
        norm = {
            name.rpartition(".")[2]: value.numpy().reshape(-1, 1, 1)
            for name, value in network.state_dict().items()
            if "normalization" in name and value.ndim
        }
        expected = (expected - norm["running_mean"]) / np.sqrt(norm["running_var"] + 1e-5)
        expected = expected * norm["weight"] + norm["bias"]
    else:
        expected = expected + state["bias"].reshape(-1, 1, 1)
    output = network(images).taps[0].detach().numpy()
    np.testing.assert_allclose(output, ACTIVATIONS["leaky"](expected), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(tmp_path: Path, activation: str) -> None:
    layers = f"[convolutional]\nfilters=4\nactivation=linear\n[convolutional]\nfilters=4\nactivation={activation}\n"
    layers += f"[shortcut]\nfrom=0\nactivation={activation}\n"
    network = build(tmp_path, layers, taps=(0, 1, 2))
    first, second, third = (tap.detach().numpy() for tap in network(5 * random(1, 4, 6, 8)).taps)
    convolution = network.layers[1].convolution
    mixed = np.einsum("oi,bihw->bohw", convolution.weight.detach().numpy()[:, :, 0, 0], first)
    mixed += convolution.bias.detach().numpy()[:, None, None]
    np.testing.assert_allclose(second, ACTIVATIONS[activation](mixed), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(third, ACTIVATIONS[activation](first + second), rtol=1e-9, atol=1e-12)


def test_route_joins_in_order_and_takes_parts(tmp_path: Path) -> None:
    layers = "[convolutional]\nfilters=4\n[convolutional]\nfilters=6\n[route]\nlayers=-1,0\n"
    layers += "[route]\nlayers=1,-3\ngroups=2\ngroup_id=1\n[route]\nlayers=0\n"
    first, second, joined, parts, alone = build(tmp_path, layers, taps=(0, 1, 2, 3, 4))(random(2, 4, 6, 8)).taps
    assert torch.equal(joined, torch.cat((second, first), dim=1))
    assert torch.equal(parts, torch.cat((second[:, 3:], first[:, 2:]), dim=1))
    assert torch.equal(alone, first)


def test_upsample_repeats_cells(tmp_path: Path) -> None:
    layers = "[maxpool]\nsize=1\nstride=1\n[maxpool]\nsize=2\nstride=2\n[upsample]\nstride=2\n"
    image = torch.tensor([[[[1.0, 2, 3, 4], [0, 0, 9, 0]]]], dtype=torch.float64)
    (up,) = build(tmp_path, layers, taps=(2,), channels=1)(image).taps
    assert up[0, 0].tolist() == [[2, 2, 9, 9], [2, 2, 9, 9]]


def max_pool(images: Array, size: int, stride: int, padding: int) -> Array:
    """Darknet's forward_maxpool_layer: the window starts at -padding / 2, cells outside never win."""
    batch, channels, height, width = images.shape
    rows, columns = (height + padding - size) // stride + 1, (width + padding - size) // stride + 1
    output = np.full((batch, channels, rows, columns), -np.inf)
    for y in range(rows):
        for x in range(columns):
            for n in range(size):
                for m in range(size):
                    row, column = y * stride + n - padding // 2, x * stride + m - padding // 2
                    if 0 <= row < height and 0 <= column < width:
                        output[:, :, y, x] = np.maximum(output[:, :, y, x], images[:, :, row, column])
    return output


@pytest.mark.parametrize(
    ("size", "stride", "padding"), [(2, 2, 1), (2, 1, 1), (3, 1, 2), (5, 1, 4), (3, 2, 2), (2, 2, 0), (4, 2, 3)]
)
def test_max_pooling(tmp_path: Path, size: int, stride: int, padding: int) -> None:
    keys = f"size={size}\nstride={stride}\n" + ("" if padding == size - 1 else f"padding={padding}\n")
    images = random(2, 3, 6, 8) - 5.0  # below 0, so that zeros from padding would win
    (pooled,) = build(tmp_path, f"[maxpool]\n{keys}", taps=(0,), channels=3)(images).taps
    expected = max_pool(images.numpy(), size, stride, padding)
    assert pooled.shape == (2, 3, 6 // stride, 8 // stride)
    np.testing.assert_array_equal(pooled.numpy(), expected)


def test_average_pooling_and_dropout(tmp_path: Path) -> None:
    network = build(tmp_path, "[dropout]\nprobability=0.5\n[avgpool]\n", taps=(0, 1))
    images = random(2, 4, 6, 8)
    dropped, average = network(images).taps
    assert torch.equal(dropped, images)
    np.testing.assert_allclose(average.numpy(), images.numpy().mean(axis=(2, 3), keepdims=True), atol=1e-12)
    network.train()
    zeros = float((network(images).taps[0] == 0).double().mean())
    assert 0.35 < zeros < 0.65


def test_taps_are_what_the_layers_gave() -> None:
    """Neither activations in place nor released memory reach a tap: the same as a walk that copies everything."""
    config = DarknetConfig.load("darknet53_yolov3_quarter")
    taps = [index for index in range(len(config.layers)) if index not in config.yolo_layers]
    torch.manual_seed(0)
    network = Darknet(config, taps).eval()
    images = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        outputs = {-1: images}
        for index, (layer, module) in enumerate(zip(config.layers, network.layers, strict=True)):
            outputs[index] = module(*(outputs[source].clone() for source in layer.sources(index))).clone()
        result = network(images)
    for tap, found in zip(taps, result.taps, strict=True):
        assert torch.equal(found, outputs[tap]), tap
        assert found.shape[1] == config.out_channels[tap]
        assert found.shape[2:] == (64 // config.strides[tap], 96 // config.strides[tap])
    assert all(torch.equal(a, outputs[b]) for a, b in zip(result.detections, config.yolo_layers, strict=True))


def test_memory_of_intermediate_maps_is_released() -> None:
    network = Darknet(DarknetConfig.load("darknet53_yolov3_quarter"), taps=(11, 36, 61)).eval()
    maps: list[weakref.ref[Tensor]] = []
    alive: list[int] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        maps.append(weakref.ref(output))
        alive.append(len({id(one()) for one in maps if one() is not None}))

    for layer in network.layers:
        layer.register_forward_hook(note)
    with torch.inference_mode():
        outputs = network(torch.rand(1, 3, 64, 64))
    assert len(maps) == 107
    # At most: three taps, two heads, what a later route takes, a layer's input and its output.
    assert max(alive) <= 8
    assert len({id(one()) for one in maps if one() is not None}) == 6
    assert len(outputs.detections) == len(outputs.taps) == 3


@pytest.mark.parametrize(("height", "width"), [(416, 416), (384, 640), (1024, 2048)])
@pytest.mark.parametrize("kind", ["before_stride", "after_stride"])
def test_shapes_of_the_full_network(height: int, width: int, kind: str) -> None:
    config = DarknetConfig.load("darknet53_yolov3")
    taps = config.feature_taps("before_stride" if kind == "before_stride" else "after_stride")
    with torch.device("meta"):
        network = Darknet(config, (4, *taps)).eval()
        detections, maps = network(torch.empty(2, 3, height, width))
    shapes = [tuple(one.shape) for one in maps]
    assert shapes == [
        (2, 64, height // 2, width // 2),
        (2, 128, height // 4, width // 4),
        (2, 256, height // 8, width // 8),
        (2, 512, height // 16, width // 16),
    ]
    assert [tuple(one.shape) for one in detections] == [
        (2, 255, height // stride, width // stride) for stride in (32, 16, 8)
    ]
    statistics = sum(buffer.numel() for name, buffer in network.named_buffers() if "running" in name)
    assert sum(parameter.numel() for parameter in network.parameters()) + statistics == 62_001_757


def test_bad_taps_and_sizes(tmp_path: Path) -> None:
    config = DarknetConfig.load("darknet53_yolov3_quarter")
    for tap in (-1, 82, 107):
        with pytest.raises(ValueError, match=rf"taps: layer {tap} is not one with features; expected 0 to 106 without"):
            Darknet(config, taps=(tap,))
    with torch.device("meta"), pytest.raises(ValueError, match="must be a multiple of 32, got 100x64"):
        Darknet(config)(torch.empty(1, 3, 64, 100))
