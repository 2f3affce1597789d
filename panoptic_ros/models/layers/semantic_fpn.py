"""The semantic branch of Panoptic FPN (Kirillov, Girshick, He and Dollár 2019, section 3.1, fig. 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

STRIDE = 4
GROUPS = 32
"""Of the group norms, where the depth allows as many."""


class SemanticPyramid(nn.Module):
    """The maps of a feature pyramid, each brought to stride 4 step by step, added up and classified.

    A step is a 3x3 convolution, group norm, ReLU and 2x bilinear upsampling; the map of stride 4 has one without
    upsampling.

    Parameters
    ----------
    in_channels:
        Of the pyramid.
    channels:
        Of each step, 128 in the paper.
    classes:
        How many planes there are.
    """

    def __init__(self, in_channels: int, channels: int, classes: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(_steps(in_channels, channels, level) for level in range(4))
        self.classify = nn.Conv2d(channels, classes, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps of strides 4, 8, 16 and 32 to logits (B, C, H / 4, W / 4)."""
        first, *others = (level(one) for level, one in zip(self.levels, maps, strict=True))
        for other in others:
            first = first + other
        logits: Tensor = self.classify(first)
        return logits


def _steps(in_channels: int, channels: int, upsamplings: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for step in range(max(upsamplings, 1)):
        convolution = nn.Conv2d(in_channels if step == 0 else channels, channels, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        layers += [convolution, nn.GroupNorm(math.gcd(GROUPS, channels), channels), nn.ReLU(inplace=True)]
        if upsamplings:
            layers.append(nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=False))
    return nn.Sequential(*layers)
