"""What a map of stride 2 adds to coarser ones: borders, poles and the parts of bicycles.

The thesis has nothing of the kind.  At its stride of 4 a pole two pixels wide is half a cell, and what bilinear
upsampling makes of it can hardly be right.  A residual, as a decoder's skip connections are (DeepLabv3+, Chen et al.
2018): it starts from nothing, so that it can be added to a network that has learned.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDE = 2
"""Of the map that it reads, and of what it gives."""


class Detail(nn.Module):
    """Semantic logits and instance features corrected by the backbone's map of stride 2.

    Logits are upsampled and concatenated with the map; a 3x3 convolution with batch norm and ReLU reads both, and a 1x1
    convolution for the logits and one for the instance features add what it finds to them.

    Parameters
    ----------
    fine:
        Depth of the map of stride 2.
    channels:
        Of the 3x3 convolution.
    classes:
        Planes of the logits.
    instance_channels:
        Of the instance features; None where there are none.
    """

    def __init__(self, fine: int, channels: int, classes: int, instance_channels: int | None) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(fine + classes, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )
        nn.init.xavier_uniform_(self.block[0].weight)  # type: ignore[arg-type]
        self.logits = _from_nothing(channels, classes)
        self.instances = None if instance_channels is None else _from_nothing(channels, instance_channels)

    def forward(self, fine: Tensor, logits: Tensor, instance_features: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The logits at stride 2, and the instance features.

        Parameters
        ----------
        fine:
            (B, F, H / 2, W / 2).
        logits:
            (B, C, h, w), coarser.
        instance_features:
            (B, I, H / 2, W / 2), or None.

        Returns
        -------
        (B, C, H / 2, W / 2), and the features in the shape that they came in.
        """
        coarse = F.interpolate(logits, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        found = self.block(torch.cat((fine, coarse), dim=1))
        if self.instances is not None and instance_features is not None:
            instance_features = instance_features + self.instances(found)
        return coarse + self.logits(found), instance_features


def _from_nothing(channels: int, planes: int) -> nn.Conv2d:
    """A 1x1 convolution that gives zeros until it has learned."""
    layer = nn.Conv2d(channels, planes, 1)
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
