"""The Pyramid Pooling Module (Zhao et al. 2017, "Pyramid Scene Parsing Network", section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

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
        pooled = pool_to_grids(features, self.bins)
        grids = [branch(grid) for branch, grid in zip(self.branches, pooled, strict=True)]
        return torch.cat((features, *(_scaled(grid, height, width) for grid in grids)), dim=1)


def _scaled(grid: Tensor, height: int, width: int) -> Tensor:
    """Scale (B, C, r, c) bilinearly to (B, C, height, width), channels last in memory.

    It is `F.interpolate` without aligned corners, as two matrix products: of grids so small these take a fraction of
    its time, and of that of its gradient.
    """
    batch, channels, rows, columns = grid.shape
    bands = bilinear_weights(width, columns, grid) @ grid.permute(0, 2, 3, 1)
    scaled = bilinear_weights(height, rows, grid) @ bands.reshape(batch, rows, width * channels)
    return scaled.reshape(batch, height, width, channels).permute(0, 3, 1, 2)


def bilinear_weights(length: int, size: int, like: Tensor) -> Tensor:
    """(length, size): row i interpolates linearly between cells at (i + 0.5)·size / length - 0.5, held at the ends."""
    place = (torch.arange(length, device=like.device)[:, None] + 0.5) * (size / length) - 0.5
    cell = torch.arange(size, device=like.device)
    return (1.0 - (place.clamp(0.0, size - 1.0) - cell).abs()).clamp(min=0.0).to(like.dtype)


def pool_to_grids(features: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """Average a map over grids of ``size x size`` regions: (B, C, h, w) to (B, C, size, size) for each size.

    The regions are those of adaptive average pooling, which ONNX does not have for sizes that do not divide the map.
    They are written as matrix products, first over the rows for all grids at once, which reads the map only once.
    """
    batch, channels, height, width = features.shape
    rows = torch.cat([region_weights(height, size, features) for size in sizes])
    bands = rows @ features.permute(0, 2, 3, 1).reshape(batch, height, width * channels)
    grids = []
    for size, band in zip(sizes, torch.split(bands, list(sizes), dim=1), strict=True):
        columns = region_weights(width, size, features)
        grids.append((columns @ band.reshape(batch, size, width, channels)).permute(0, 3, 1, 2))
    return grids


def region_weights(length: int, size: int, like: Tensor) -> Tensor:
    """(size, length): row i averages the cells from floor(i·length / size) to ceil((i + 1)·length / size)."""
    region = torch.arange(size, device=like.device)[:, None]
    cell = torch.arange(length, device=like.device)
    inside = (cell >= region * length // size) & (cell < ((region + 1) * length + size - 1) // size)
    weights = inside.to(like.dtype)
    return weights / weights.sum(dim=1, keepdim=True)
