"""Semantic networks on the maps of a backbone: Diaz-Zapata 2020 ("YOLO-Based Panoptic Segmentation"), section 3.2.

A *fusion* makes one map of a backbone's maps, a *head* makes logits of it:

============  ===========================  ========================  ===================================
section       fusion                       its stride                head
============  ===========================  ========================  ===================================
3.2.1         `SingleFeature`              4                         `SegnetDecoder` to the input's size
3.2.2         `ReducedConcatenation`       4                         `SegnetDecoder` to the input's size
3.2.2 FPN     `PyramidFusion`              2                         `PyramidHead` to the input's size
3.2.2 PPM     `FeatureFusion`              4                         `SemanticHead` after pooling
============  ===========================  ========================  ===================================

A fusion says its `out_channels` and `stride`, a head by how much its logits are larger than the map (`upsampling`).

The text describes what its figures 3.2, 3.4 and 3.5 draw, but not all of it.  Where it is silent, the choice and its
reason:

- The order within the SegNet decoder: a 3x3 convolution, batch norm, ReLU, then 2x upsampling, twice, which leads from
  stride 4 to the input's size as SegNet's decoder does; the depth halves with each, and a last 3x3 convolution gives
  the logits.  Upsampling is bilinear: SegNet's needs the indices of max pooling, and Darknet-53 strides instead.
- The 1x1 convolution of *SegNet multi-feature* reduces to the depth of the coarsest map, so that the decoder behind it
  is the one that the best single map had.
- A "convolutional block" of the FPN is a convolution and batch norm.  Of the "two sets of 3x3 convolutions" the first
  is followed by ReLU (two convolutions without a non-linearity between them would be one), the second gives the logits.
- All upsampling is bilinear.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from panoptic_ros.models.layers.pyramid_pooling import PyramidPooling

SemanticNetworkName = Literal["ppm", "fpn", "segnet", "segnet_multi"]
"""What the four are called in a configuration; ``segnet`` reads one map, ``segnet_multi`` three."""

STRIDE = 4
"""Where maps of strides 4, 8 and 16 meet: a quarter of the input's sides ("1/16 the size of the input image")."""


class FeatureFusion(nn.Module):
    """The Pyramid Pooling Module's input (section 3.2.2): three maps become one of stride 4.

    The first map's depth is raised to the second's by a 1x1 convolution (128 to 256 with Darknet-53), the second and
    third maps are upsampled, and all are concatenated (256 + 256 + 512 = 1024 channels).
    """

    stride = STRIDE

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        first, second, third = channels
        self.out_channels = 2 * second + third
        self.widen = nn.Conv2d(first, second, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps of strides 4, 8 and 16 to (B, C, H / 4, W / 4)."""
        first, second, third = maps
        return torch.cat((self.widen(first), _scaled_to(second, first), _scaled_to(third, first)), dim=1)


class SemanticHead(nn.Sequential):
    """Logits from the pooled features: "a 3x3 and a 1x1 convolution" (section 3.2.2)."""

    upsampling = 1

    def __init__(self, in_channels: int, channels: int, classes: int) -> None:
        super().__init__(*_block(in_channels, channels), nn.Conv2d(channels, classes, 1))


class SingleFeature(nn.Module):
    """One map for the SegNet decoder (section 3.2.1): upsampled to stride 4 "if needed", so that one decoder fits all.

    Parameters
    ----------
    channels:
        Its depth.
    stride:
        Its stride, a multiple of 4.
    """

    stride = STRIDE

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.out_channels = channels
        self.upsampling = stride // STRIDE

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """The only map in `maps` to (B, C, H / 4, W / 4)."""
        (features,) = maps
        return features if self.upsampling == 1 else _upsampled(features, self.upsampling)


class ReducedConcatenation(nn.Module):
    """*SegNet multi-feature* (fig. 3.4): three maps upsampled, concatenated and reduced by a 1x1 convolution."""

    stride = STRIDE

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.out_channels = channels[-1]
        self.reduce = nn.Conv2d(sum(channels), self.out_channels, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps of strides 4, 8 and 16 to (B, C, H / 4, W / 4)."""
        first, second, third = maps
        fused: Tensor = self.reduce(torch.cat((first, _scaled_to(second, first), _scaled_to(third, first)), dim=1))
        return fused


class SegnetDecoder(nn.Sequential):
    """The decoder of fig. 3.2: 3x3 convolutions, batch norm and 2x upsampling, from stride 4 to the input's size."""

    upsampling = 4

    def __init__(self, in_channels: int, channels: int, classes: int) -> None:
        half = max(channels // 2, 1)
        super().__init__(
            *_block(in_channels, channels),
            nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=False),
            *_block(channels, half),
            nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=False),
            nn.Conv2d(half, classes, 3, padding=1),
        )


class PyramidFusion(nn.Module):
    """The feature pyramid of fig. 3.5, from the coarsest map down to stride 2.

    At each level the sum so far goes through a 1x1 convolution with batch norm, which gives it the next map's depth, is
    upsampled to its size and added to it.  The finest map is the thesis' layer 5.
    """

    stride = 2

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.out_channels = channels[0]
        self.top_down = nn.ModuleList(
            nn.Sequential(nn.Conv2d(coarse, fine, 1, bias=False), nn.BatchNorm2d(fine))
            for fine, coarse in pairwise(channels)
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps of strides 2, 4, 8 and 16 to (B, C, H / 2, W / 2)."""
        *finer_maps, fused = maps
        for finer, convolution in zip(reversed(finer_maps), reversed(self.top_down), strict=True):
            fused = finer + _scaled_to(convolution(fused), finer)
        return fused


class PyramidHead(nn.Sequential):
    """The end of fig. 3.5: 2x upsampling and two 3x3 convolutions."""

    upsampling = 2

    def __init__(self, in_channels: int, channels: int, classes: int) -> None:
        super().__init__(
            nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=False),
            *_block(in_channels, channels),
            nn.Conv2d(channels, classes, 3, padding=1),
        )


def default_channels(name: SemanticNetworkName, fused: int) -> int:
    """What a fused map of a depth is reduced to by what reads it: a quarter, but the FPN's, which is small already."""
    return fused if name == "fpn" else fused // 4


def semantic_network(
    name: SemanticNetworkName, channels: Sequence[int], stride: int, depth: int | None, classes: int
) -> tuple[
    FeatureFusion | ReducedConcatenation | SingleFeature | PyramidFusion,
    PyramidPooling | nn.Identity,
    SemanticHead | SegnetDecoder | PyramidHead,
]:
    """The fusion, the pooling (of ``ppm`` only) and the head, their convolutions as section 3.2.1 starts them.

    Parameters
    ----------
    channels:
        Depths of the feature maps, the finest first.
    stride:
        Of the one map of ``segnet``; that of the others' is theirs.
    depth:
        Of the head's first convolution; None for `default_channels`.
    classes:
        Planes of logits.
    """
    fused: FeatureFusion | ReducedConcatenation | SingleFeature | PyramidFusion
    if name == "ppm":
        fused = FeatureFusion(channels)
    elif name == "fpn":
        fused = PyramidFusion(channels)
    elif name == "segnet":
        fused = SingleFeature(channels[0], stride)
    else:
        fused = ReducedConcatenation(channels)
    pooling: PyramidPooling | nn.Identity = nn.Identity()
    head: SemanticHead | SegnetDecoder | PyramidHead
    depth = depth or default_channels(name, fused.out_channels)
    if name == "ppm":
        pooling = PyramidPooling(fused.out_channels)
        head = SemanticHead(pooling.out_channels, depth, classes)
    elif name == "fpn":
        head = PyramidHead(fused.out_channels, depth, classes)
    else:
        head = SegnetDecoder(fused.out_channels, depth, classes)
    initialize_glorot(fused, pooling, head)
    return fused, pooling, head


def initialize_glorot(*parts: nn.Module) -> None:
    """Start the convolutions of semantic networks as section 3.2.1 says: Glorot's uniform weights, zero biases."""
    for part in parts:
        for layer in part.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.xavier_uniform_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)


def _block(in_channels: int, channels: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(in_channels, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )


def _scaled_to(features: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(features, size=like.shape[-2:], mode="bilinear", align_corners=False)


def _upsampled(features: Tensor, factor: int) -> Tensor:
    return F.interpolate(features, scale_factor=float(factor), mode="bilinear", align_corners=False)
