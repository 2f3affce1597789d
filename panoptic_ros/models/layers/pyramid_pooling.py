"""The Pyramid Pooling Module (Zhao et al. 2017, "Pyramid Scene Parsing Network", section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BINS = (1, 2, 3, 6)
"""The grid sizes of the paper's four pooling branches."""


class PyramidPooling(nn.Module):
    """Context of several sizes beside each cell's own features.

    Each branch averages the map over a grid of ``bin x bin`` regions, reduces the depth by a 1x1 convolution with batch
    norm and ReLU, and is scaled back bilinearly; the map and all branches are concatenated.

    Parameters
    ----------
    channels:
        Depth C of the map.
    bins:
        Grid size of each branch.  A branch has ``C / len(bins)`` channels, so that the output's depth is 2 C.
    """

    def __init__(self, channels: int, bins: Sequence[int] = BINS) -> None:
        super().__init__()
        self.bins = tuple(bins)
        depth = channels // len(self.bins)
        self.out_channels = channels + depth * len(self.bins)
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, depth, 1, bias=False), nn.BatchNorm2d(depth), nn.ReLU(inplace=True))
            for _ in self.bins
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) to (B, 2 C, h, w)."""
        height, width = features.shape[-2:]
        maps = [features]
        for size, branch in zip(self.bins, self.branches, strict=True):
            pooled = branch(pool_to_grid(features, size))
            maps.append(F.interpolate(pooled, size=(height, width), mode="bilinear", align_corners=False))
        return torch.cat(maps, dim=1)


def pool_to_grid(features: Tensor, size: int) -> Tensor:
    """Average a map over ``size x size`` regions: (B, C, h, w) to (B, C, size, size).

    The regions are those of adaptive average pooling.  They are written as two small matrix products because ONNX has
    no adaptive pooling for sizes that do not divide the map.
    """
    rows = _region_weights(int(features.shape[-2]), size, features)
    columns = _region_weights(int(features.shape[-1]), size, features)
    return rows @ features @ columns.T


def _region_weights(length: int, size: int, like: Tensor) -> Tensor:
    """(size, length): row i averages the cells from floor(i·length / size) to ceil((i + 1)·length / size)."""
    region = torch.arange(size, device=like.device)[:, None]
    cell = torch.arange(length, device=like.device)
    inside = (cell >= region * length // size) & (cell < ((region + 1) * length + size - 1) // size)
    weights = inside.to(like.dtype)
    return weights / weights.sum(dim=1, keepdim=True)
