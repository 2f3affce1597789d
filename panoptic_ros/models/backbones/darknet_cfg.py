"""A Darknet cfg as a checked description of a network: who feeds whom, with how many channels, at which stride."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from panoptic_ros.models.backbones.darknet_layers import (
    AvgPool,
    Convolutional,
    DarknetConfigError,
    Layer,
    MaxPool,
    Net,
    Route,
    Shortcut,
    Upsample,
    Yolo,
)
from panoptic_ros.models.backbones.darknet_parser import parse
from panoptic_ros.resources import find_config

GLOBAL = 0
"""The stride of a map that the average over a whole map has left with a single cell."""


@dataclass(frozen=True)
class DarknetConfig:
    """A network.

    Attributes
    ----------
    net:
        The input.
    layers:
        The layers, in order; their indices are Darknet's.
    source:
        Where it comes from, for messages.

    Raises
    ------
    DarknetConfigError
        If the layers do not fit together; the message names file, line and section.
    """

    net: Net
    layers: tuple[Layer, ...]
    source: str

    def __post_init__(self) -> None:
        if not self.layers:
            raise DarknetConfigError(f"{self.source}: has no layers")
        _ = self._shapes  # computing them checks that the layers fit together

    @classmethod
    def load(cls, name: str | Path) -> DarknetConfig:
        """Read a cfg by its name (``darknet53_yolov3``), from a path, or from its text, which has several lines.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        DarknetConfigError
            If it does not describe a network we can run.
        """
        source = "the cfg's text" if "\n" in str(name) else str(find_config("cfg", str(name), ".cfg"))
        net, layers = parse(cfg_text(name), source)
        return cls(net=net, layers=layers, source=source)

    @cached_property
    def _shapes(self) -> tuple[tuple[int, int], ...]:
        """Channels and stride of each layer's output."""
        shapes: list[tuple[int, int]] = []
        for index, layer in enumerate(self.layers):
            inputs = []
            for source in layer.sources(index):
                if source >= 0 and isinstance(self.layers[source], Yolo):
                    raise self._error(layer, f"takes layer {source}, a [yolo] layer, which has no features")
                inputs.append(shapes[source] if source >= 0 else (self.net.channels, 1))
            shapes.append(self._shape(layer, inputs))
        return tuple(shapes)

    def _shape(self, layer: Layer, inputs: list[tuple[int, int]]) -> tuple[int, int]:
        channels, stride = inputs[0]
        if isinstance(layer, (Convolutional, MaxPool)):
            # Only then is the output's size the input's divided by the stride, whatever multiple of it that is.
            padding = 2 * layer.padding if isinstance(layer, Convolutional) else layer.padding
            if not layer.size - layer.stride <= padding < layer.size:
                raise self._error(
                    layer,
                    f"padding: size {layer.size} and stride {layer.stride} with {padding} cells of padding "
                    "would not divide the map's size by the stride",
                )
            stride *= layer.stride
        if isinstance(layer, Convolutional):
            for name, value in (("input channels", channels), ("filters", layer.filters)):
                if value % layer.groups:
                    raise self._error(layer, f"groups: {layer.groups} does not divide the {value} {name}")
            return layer.filters, stride
        if isinstance(layer, MaxPool):
            return channels, stride
        if isinstance(layer, Upsample):
            if stride % layer.stride or stride == GLOBAL:
                raise self._error(layer, f"stride: a map of stride {stride} cannot be upsampled by {layer.stride}")
            return channels, stride // layer.stride
        if isinstance(layer, AvgPool):
            return channels, GLOBAL
        if any(other != stride for _, other in inputs):
            raise self._error(layer, f"joins maps of different strides: {[other for _, other in inputs]}")
        if isinstance(layer, Shortcut) and inputs[1][0] != channels:
            raise self._error(layer, f"from: adds {inputs[1][0]} channels to {channels}; expected equal numbers")
        if isinstance(layer, Route):
            for other, _ in inputs:
                if other % layer.groups:
                    raise self._error(layer, f"groups: {layer.groups} does not divide the {other} channels")
            return sum(other for other, _ in inputs) // layer.groups, stride
        if isinstance(layer, Yolo) and layer.channels != channels:
            raise self._error(
                layer,
                f"{len(layer.anchors)} anchors and {layer.classes} classes need {layer.channels} channels "
                f"(filters of the layer before), got {channels}",
            )
        return channels, stride

    def _error(self, layer: Layer, message: str) -> DarknetConfigError:
        return DarknetConfigError(f"{self.source}:{layer.line}: [{layer.kind}] {message}")

    @cached_property
    def out_channels(self) -> tuple[int, ...]:
        """Channels of each layer's output."""
        return tuple(channels for channels, _ in self._shapes)

    @cached_property
    def strides(self) -> tuple[int, ...]:
        """Input pixels per cell of each layer's output; 0 where it is a single cell (`GLOBAL`)."""
        return tuple(stride for _, stride in self._shapes)

    @cached_property
    def input_multiple(self) -> int:
        """Height and width of the input must be multiples of this."""
        return math.lcm(*(stride for stride in self.strides if stride != GLOBAL))

    @cached_property
    def in_channels(self) -> tuple[int, ...]:
        """Channels of each layer's (first) input."""
        sources = (layer.sources(index)[0] for index, layer in enumerate(self.layers))
        return tuple(self.out_channels[source] if source >= 0 else self.net.channels for source in sources)

    @cached_property
    def parameter_counts(self) -> tuple[int, ...]:
        """How many floats a ``.weights`` file holds for each layer."""
        return tuple(
            layer.parameter_count(channels) if isinstance(layer, Convolutional) else 0
            for layer, channels in zip(self.layers, self.in_channels, strict=True)
        )

    @property
    def num_parameters(self) -> int:
        """How many floats a ``.weights`` file of the network holds: 62,001,757 for YOLOv3 with 80 classes."""
        return sum(self.parameter_counts)

    @cached_property
    def yolo_layers(self) -> tuple[int, ...]:
        """The indices of the detection heads."""
        return tuple(index for index, layer in enumerate(self.layers) if isinstance(layer, Yolo))

    @property
    def heads(self) -> tuple[tuple[int, Yolo], ...]:
        """The detection heads with their strides, in order."""
        return tuple((self.strides[index], layer) for index, layer in enumerate(self.layers) if isinstance(layer, Yolo))

    def with_classes(self, count: int) -> DarknetConfig:
        """The same network for another number of classes: its heads and the convolutions before them change.

        Raises
        ------
        ValueError
            If `count` is not positive, there is no head, or no convolution is right before one.
        """
        if count < 1:
            raise ValueError(f"the number of classes must be positive, got {count}")
        if not self.yolo_layers:
            raise DarknetConfigError(f"{self.source}: has no [yolo] layer, so it cannot detect {count} classes")
        layers = list(self.layers)
        for index in self.yolo_layers:
            head, before = layers[index], layers[index - 1]
            if not isinstance(before, Convolutional) or not isinstance(head, Yolo):
                raise self._error(head, "the layer before is not [convolutional]; its classes cannot be changed")
            layers[index] = head = replace(head, classes=count)
            layers[index - 1] = replace(before, filters=head.channels)
        return replace(self, layers=tuple(layers))

    def up_to(self, layer: int) -> DarknetConfig:
        """The same network without what comes after a layer, given by its index: a backbone without its detector."""
        return replace(self, layers=self.layers[: layer + 1])

    def feature_taps(
        self, kind: Literal["before_stride", "after_stride"], strides: Sequence[int] = (4, 8, 16)
    ) -> tuple[int, ...]:
        """The layers that give feature maps of some strides.

        ``before_stride`` are the deepest ones: right before each layer that halves the map ([11, 36, 61] of YOLOv3 for
        strides 4, 8 and 16, the thesis' [12, 37, 62]); ``after_stride`` are the layers that made the map that small
        ([5, 12, 37] of YOLOv3, the thesis' [6, 13, 38], which counts from 1).

        Raises
        ------
        DarknetConfigError
            If the network has no such layers.
        """
        return tuple(self._tap(kind, stride) for stride in strides)

    def _tap(self, kind: str, stride: int) -> int:
        wanted = stride if kind == "after_stride" else 2 * stride
        for index, found in enumerate(self.strides):
            if found == wanted:
                tap = index if kind == "after_stride" else index - 1
                if self.strides[tap] == stride:
                    return tap
                break
        raise DarknetConfigError(f"{self.source}: has no layer that halves a map of stride {wanted // 2}")


def cfg_text(name: str | Path) -> str:
    """The text of a cfg; see `DarknetConfig.load`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    if "\n" in str(name):
        return str(name)
    return find_config("cfg", str(name), ".cfg").read_text(encoding="utf-8", errors="replace")
