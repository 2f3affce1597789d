"""What the sections of a Darknet cfg say, one dataclass per kind of layer.

Indices of layers count from 0 and leave out ``[net]``, as Darknet prints them.  `line` is the line of the section in
its file, for messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

ACTIVATIONS = ("leaky", "linear", "logistic", "mish", "relu", "relu6", "swish", "tanh")


class DarknetConfigError(ValueError):
    """A cfg that does not describe a network we can run; the message names file, line, section and key."""


@dataclass(frozen=True, kw_only=True)
class Net:
    """``[net]``: the input; `width` and `height` in pixels are what the network was trained at."""

    line: int
    width: int
    height: int
    channels: int = 3


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Any layer; by default it takes the output of the one before."""

    kind: ClassVar[str]
    line: int

    def sources(self, index: int) -> tuple[int, ...]:
        """The layers whose outputs this one takes when it is layer `index`; -1 is the image."""
        return (index - 1,)


@dataclass(frozen=True, kw_only=True)
class Convolutional(Layer):
    """A convolution with batch norm or a bias, then an activation."""

    kind = "convolutional"
    filters: int
    size: int = 1
    stride: int = 1
    padding: int = 0
    groups: int = 1
    batch_normalize: bool = False
    activation: str = "logistic"

    def parameter_count(self, in_channels: int) -> int:
        """How many floats a ``.weights`` file holds for it: batch norm has shift, scale, mean and variance."""
        per_filter = 4 if self.batch_normalize else 1
        return self.filters * (per_filter + in_channels // self.groups * self.size**2)


@dataclass(frozen=True, kw_only=True)
class Shortcut(Layer):
    """The sum of the layer before and layer `source`, then an activation."""

    kind = "shortcut"
    source: int
    activation: str = "linear"

    def sources(self, index: int) -> tuple[int, ...]:
        return index - 1, self.source


@dataclass(frozen=True, kw_only=True)
class Route(Layer):
    """The concatenation of layers; of each only the part `group_id` of `groups` equal parts of its channels."""

    kind = "route"
    layers: tuple[int, ...]
    groups: int = 1
    group_id: int = 0

    def sources(self, index: int) -> tuple[int, ...]:
        return self.layers


@dataclass(frozen=True, kw_only=True)
class Upsample(Layer):
    """Each cell repeated `stride` times in both directions."""

    kind = "upsample"
    stride: int = 2


@dataclass(frozen=True, kw_only=True)
class MaxPool(Layer):
    """The maximum of `size` x `size` cells; `padding` is the sum of both sides, the smaller half left and top."""

    kind = "maxpool"
    size: int
    stride: int
    padding: int


@dataclass(frozen=True, kw_only=True)
class AvgPool(Layer):
    """The average of the whole map."""

    kind = "avgpool"


@dataclass(frozen=True, kw_only=True)
class Dropout(Layer):
    """Dropout while training, nothing otherwise."""

    kind = "dropout"
    probability: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Yolo(Layer):
    """A detection head: for each cell and anchor 4 numbers of a box, 1 of objectness, and 1 of each class.

    `anchors` are the widths and heights in pixels that its mask picks.  `scale_x_y` lets centres reach over the cell's
    border; with `new_coords` (Scaled-YOLOv4) the convolution before has applied the logistic function itself.
    """

    kind = "yolo"
    anchors: tuple[tuple[float, float], ...]
    classes: int
    scale_x_y: float = 1.0
    new_coords: bool = False

    @property
    def channels(self) -> int:
        """Depth of the map it takes."""
        return len(self.anchors) * (5 + self.classes)
