"""Networks built from Darknet cfgs: YOLOv3 on Darknet-53 (Redmon and Farhadi 2018) and its relatives.

Padding, leaky slope, batch norm, max pooling and the decoding of boxes follow Darknet's source, so that its published
weights give its published boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from panoptic_ros.models.backbones.darknet_cfg import DarknetConfig
from panoptic_ros.models.backbones.darknet_layers import (
    AvgPool,
    Convolutional,
    Dropout,
    Layer,
    MaxPool,
    Route,
    Shortcut,
    Upsample,
    Yolo,
)

LEAKY_SLOPE = 0.1
BATCH_NORM_EPSILON = 1e-5
"""Darknet's on a GPU, where the published weights were trained."""


RESIDUAL_SCALE = 0.2
"""What the last batch norm of a residual branch starts from.  From 1, each of Darknet-53's 23 blocks doubles the
variance, and an untrained network's outputs are saturated; 0, as in Goyal et al. 2017, leaves the branches out."""


class DarknetOutputs(NamedTuple):
    """What a network gives.

    Attributes
    ----------
    detections:
        The raw map (B, A · (5 + C), h, w) of each detection head, in the cfg's order; `YoloDecoder` reads them.
    taps:
        The outputs (B, C, h, w) of the layers that were asked for, in the order asked.
    """

    detections: tuple[Tensor, ...]
    taps: tuple[Tensor, ...]


class Boxes(NamedTuple):
    """Every box a detector considers, N = the sum of its anchors over all cells of all heads.

    Attributes
    ----------
    boxes:
        (B, N, 4) float32 x0, y0, x1, y1 in pixels of the input.
    objectness:
        (B, N) float32 in [0, 1].
    class_probabilities:
        (B, N, C) float32 in [0, 1], given that there is an object.
    """

    boxes: Tensor
    objectness: Tensor
    class_probabilities: Tensor


class Darknet(nn.Module):
    """A network built from a Darknet cfg, randomly initialised.

    Parameters
    ----------
    config:
        The cfg.
    taps:
        Indices (from 0, as Darknet counts) of layers whose outputs are wanted besides the detections.

    Raises
    ------
    ValueError
        If a tap is not a layer that has features.
    """

    def __init__(self, config: DarknetConfig, taps: Sequence[int] = ()) -> None:
        super().__init__()
        for tap in taps:
            if not 0 <= tap < len(config.layers) or tap in config.yolo_layers:
                raise ValueError(
                    f"{config.source}: taps: layer {tap} is not one with features; "
                    f"expected 0 to {len(config.layers) - 1} without {list(config.yolo_layers)}"
                )
        self.config = config
        self.taps = tuple(taps)
        self.input_multiple = config.input_multiple
        self.layers = nn.ModuleList(
            _module(layer, channels) for layer, channels in zip(config.layers, config.in_channels, strict=True)
        )
        for index, layer in enumerate(config.layers):
            branch = self.layers[index - 1]
            if isinstance(layer, Shortcut) and isinstance(branch, Convolution):
                branch.start_from(RESIDUAL_SCALE)
        self._sources = [layer.sources(index) for index, layer in enumerate(config.layers)]
        self._released = _released(self._sources, keep={*self.taps, *config.yolo_layers})

    @classmethod
    def from_cfg(cls, name: str | Path, taps: Sequence[int] = ()) -> Darknet:
        """Build the network of a cfg, given by name or path; see `DarknetConfig.load` for errors."""
        return cls(DarknetConfig.load(name), taps)

    def forward(self, images: Tensor) -> DarknetOutputs:
        """Run the network.

        Parameters
        ----------
        images:
            (B, 3, H, W) RGB in [0, 1], H and W multiples of `input_multiple`.

        Raises
        ------
        ValueError
            If the size is not such a multiple.
        """
        height, width = images.shape[-2:]
        if height % self.input_multiple or width % self.input_multiple:
            raise ValueError(f"the input's size must be a multiple of {self.input_multiple}, got {width}x{height}")
        outputs = {-1: images}
        for index, layer in enumerate(self.layers):
            outputs[index] = layer(*(outputs[source] for source in self._sources[index]))
            for source in self._released[index]:
                del outputs[source]
        return DarknetOutputs(
            detections=tuple(outputs[index] for index in self.config.yolo_layers),
            taps=tuple(outputs[index] for index in self.taps),
        )


def _released(sources: Sequence[tuple[int, ...]], keep: set[int]) -> list[tuple[int, ...]]:
    """For each layer the outputs that nobody needs after it, so that their memory is free for the next."""
    last_use = {index: index for index in range(-1, len(sources))}
    for index, inputs in enumerate(sources):
        last_use.update(dict.fromkeys(inputs, index))
    last_use[-1] = max(last_use[-1], 0)
    return [
        tuple(source for source, last in last_use.items() if last == index and source not in keep)
        for index in range(len(sources))
    ]


class Convolution(nn.Module):
    """``[convolutional]``."""

    def __init__(self, layer: Convolutional, in_channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(
            in_channels,
            layer.filters,
            layer.size,
            layer.stride,
            layer.padding,
            groups=layer.groups,
            bias=not layer.batch_normalize,
        )
        nn.init.kaiming_normal_(self.convolution.weight, nonlinearity="relu")
        if self.convolution.bias is not None:
            nn.init.zeros_(self.convolution.bias)
        self.normalization = (
            nn.BatchNorm2d(layer.filters, eps=BATCH_NORM_EPSILON) if layer.batch_normalize else nn.Identity()
        )
        self.activation = _ACTIVATIONS[layer.activation]()

    def start_from(self, scale: float) -> None:
        """Initialise the scale of the batch norm, if there is one."""
        if isinstance(self.normalization, nn.BatchNorm2d):
            nn.init.constant_(self.normalization.weight, scale)

    def forward(self, features: Tensor) -> Tensor:
        output: Tensor = self.activation(self.normalization(self.convolution(features)))
        return output


class Sum(nn.Module):
    """``[shortcut]``."""

    def __init__(self, layer: Shortcut) -> None:
        super().__init__()
        self.activation = _ACTIVATIONS[layer.activation]()

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        output: Tensor = self.activation(first + second)
        return output


class Concatenation(nn.Module):
    """``[route]``."""

    def __init__(self, layer: Route) -> None:
        super().__init__()
        self.groups = layer.groups
        self.group_id = layer.group_id

    def forward(self, *maps: Tensor) -> Tensor:
        parts = maps if self.groups == 1 else [one.chunk(self.groups, dim=1)[self.group_id] for one in maps]
        return parts[0] if len(parts) == 1 else torch.cat(tuple(parts), dim=1)


class MaxPooling(nn.Module):
    """``[maxpool]``: what lies outside the map never wins; uneven padding has its larger half right and below."""

    def __init__(self, layer: MaxPool) -> None:
        super().__init__()
        self.size = layer.size
        self.stride = layer.stride
        self.before = layer.padding // 2
        self.after = layer.padding - self.before

    def forward(self, features: Tensor) -> Tensor:
        if self.before == self.after:
            return F.max_pool2d(features, self.size, self.stride, self.before)
        if self.size == self.stride:  # the map's size is a multiple of the stride: no window reaches the padding
            return F.max_pool2d(features, self.size, self.stride)
        padding = (self.before, self.after, self.before, self.after)
        return F.max_pool2d(F.pad(features, padding, value=float("-inf")), self.size, self.stride)


class Average(nn.Module):
    """``[avgpool]``."""

    def forward(self, features: Tensor) -> Tensor:
        return features.mean(dim=(2, 3), keepdim=True)


_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    # In place is safe: each is applied to a result that nobody else holds.
    "leaky": lambda: nn.LeakyReLU(LEAKY_SLOPE, inplace=True),
    "linear": nn.Identity,
    "logistic": nn.Sigmoid,
    "mish": nn.Mish,
    "relu": lambda: nn.ReLU(inplace=True),
    "relu6": lambda: nn.ReLU6(inplace=True),
    "swish": nn.SiLU,
    "tanh": nn.Tanh,
}


def _module(layer: Layer, in_channels: int) -> nn.Module:
    match layer:
        case Convolutional():
            return Convolution(layer, in_channels)
        case Shortcut():
            return Sum(layer)
        case Route():
            return Concatenation(layer)
        case Upsample(stride=stride):
            return nn.Upsample(scale_factor=float(stride), mode="nearest")
        case MaxPool():
            return MaxPooling(layer)
        case AvgPool():
            return Average()
        case Dropout(probability=probability):
            return nn.Dropout(probability)
        case Yolo():
            return nn.Identity()  # its raw map is the output
    raise TypeError(f"no module for {layer}")


class YoloDecoder(nn.Module):
    """Boxes from the raw maps of a network's heads (YOLOv3, section 2.1).

    A cell's centre is ``(sigmoid(t) + cell) · stride``, its size ``anchor · exp(t)``.  Boxes come head by head, row by
    row, with the anchors of a cell beside each other.

    Decoding is done in float32 whatever the network runs in: float16 holds no fraction of a pixel beyond 1024.  A size
    is limited to twice the input's longer side.  Such a box covers the whole input wherever its centre is, and infinite
    ones, which untrained networks give, would have no coordinates.

    Raises
    ------
    ValueError
        If the cfg has no head or its heads have different numbers of classes.
    """

    def __init__(self, config: DarknetConfig) -> None:
        super().__init__()
        heads = [head for _, head in config.heads]
        if len({head.classes for head in heads}) != 1:
            raise ValueError(
                f"{config.source}: expected [yolo] layers with one number of classes, "
                f"got {[head.classes for head in heads]}"
            )
        self.classes = heads[0].classes
        self._heads = config.heads
        for index, head in enumerate(heads):
            # They follow the network's type; float16 holds anchors of whole pixels exactly.
            self.register_buffer(f"anchors_{index}", torch.tensor(head.anchors), persistent=False)

    def forward(self, detections: Sequence[Tensor]) -> Boxes:
        """Decode `DarknetOutputs.detections`."""
        decoded = [
            self._decode(raw, stride, head, self.get_buffer(f"anchors_{index}"))
            for index, (raw, (stride, head)) in enumerate(zip(detections, self._heads, strict=True))
        ]
        boxes, objectness, class_probabilities = (torch.cat(parts, dim=1) for parts in zip(*decoded, strict=True))
        return Boxes(boxes, objectness, class_probabilities)

    def _decode(self, raw: Tensor, stride: int, head: Yolo, anchors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch, _, height, width = raw.shape
        raw = raw.permute(0, 2, 3, 1).reshape(batch, height, width, len(head.anchors), 5 + self.classes).float()
        centre, size, rest = raw[..., :2], raw[..., 2:4], raw[..., 4:]
        if head.new_coords:
            size = (2.0 * size).square()
        else:
            centre, size, rest = centre.sigmoid(), size.exp(), rest.sigmoid()
        rows = torch.arange(height, device=raw.device, dtype=raw.dtype)
        columns = torch.arange(width, device=raw.device, dtype=raw.dtype)
        cells = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)[:, :, None]
        centre = (centre * head.scale_x_y - 0.5 * (head.scale_x_y - 1.0) + cells) * stride
        half = 0.5 * (size * anchors.float()).clamp(max=2.0 * stride * max(height, width))
        boxes = torch.cat((centre - half, centre + half), dim=-1)
        return boxes.flatten(1, 3), rest[..., 0].flatten(1, 3), rest[..., 1:].flatten(1, 3)
