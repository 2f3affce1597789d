"""The Pyramid Pooling Module with what is before and behind it, for inference: the same maps from a third of the work.

As it is trained, three maps are scaled to stride 4 and concatenated, pooled, and the grids of the pooling scaled to
stride 4 and concatenated too (`FeatureFusion`, `PyramidPooling`); a 3x3 convolution and a 1x1 convolution read all of
it.  Half of what these read are four small grids, blown up.  Everything on the way is linear but the activation of the
branches, so that

- a map is pooled where it is: averaging after scaling is one product with a matrix, of the map's own size;
- a convolution of a scaled grid is the scaled convolution of the grid.  The 3x3 convolution needs it nine times, once
  for each of its taps, shifted by a pixel; zeros beyond the border are zero rows of the shifted weights.  That pays for
  the map of stride 16 too, a grid of more cells, and no more for that of stride 8;
- a 1x1 convolution reads each map at its own size, and its few channels are scaled in place of the map's.

No map of the concatenation's full depth is made.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from panoptic_ros.models.layers.instance_heads import InstanceFeatures
from panoptic_ros.models.layers.pyramid_pooling import PyramidPooling, bilinear_weights, region_weights
from panoptic_ros.models.layers.semantic_heads import FeatureFusion, SemanticHead


class FoldedPyramid(nn.Module):
    """`FeatureFusion`, `PyramidPooling`, `SemanticHead` and `InstanceFeatures` as one.

    Parameters
    ----------
    fusion, pooling, head:
        As they were trained, with their batch norms folded (`engines.folding`); their weights are copied.
    instances:
        What reads the pooled features beside the head; None where nothing does.
    """

    def __init__(
        self, fusion: FeatureFusion, pooling: PyramidPooling, head: SemanticHead, instances: InstanceFeatures | None
    ) -> None:
        super().__init__()
        self.bins = pooling.bins
        self.widen = fusion.widen
        self.branches = pooling.branches
        own = fusion.out_channels
        convolution = _convolution(head[0])
        widened = self.widen.out_channels
        far = slice(2 * widened, own)
        self.features = _part(convolution, slice(0, 2 * widened), padding=1)
        self.features.bias = convolution.bias
        depth = (pooling.out_channels - own) // len(self.bins)
        parts = [slice(own + index * depth, own + (index + 1) * depth) for index in range(len(self.bins))]
        self.taps = nn.ModuleList(_taps(convolution, part) for part in (far, *parts))
        self.logits = nn.Sequential(*list(head)[2:])
        self.upsample = 1
        self.reductions: nn.ModuleList | None = None
        self.grid_reductions: nn.ModuleList | None = None
        if instances is not None:
            self.upsample = instances.upsample
            maps = (slice(0, widened), slice(widened, 2 * widened), far)
            self.reductions = nn.ModuleList(_part(instances.reduce, part) for part in maps)
            _convolution(self.reductions[0]).bias = instances.reduce.bias
            self.grid_reductions = nn.ModuleList(_part(instances.reduce, part) for part in parts)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Maps of strides 4, 8 and 16 to the semantic logits (B, C, H / 4, W / 4) and the instance features or None."""
        first, second, third = maps
        height, width = first.shape[-2:]
        widened = self.widen(first)
        features = torch.cat((widened, _scaled(second, height, width)), dim=1)
        pooled = _pooled(maps, self.bins, height, width)
        grids = [
            branch(torch.cat((self.widen(grid), *others), dim=1))
            for branch, (grid, *others) in zip(self.branches, pooled, strict=True)
        ]
        hidden = self.features(features) + _spread(_each(self.taps, (third, *grids)), 3, height, width)
        logits: Tensor = self.logits(hidden)
        if self.reductions is None or self.grid_reductions is None:
            return logits, None
        near, *far = _each(self.reductions, (widened, second, third))
        reduced = near + _spread(_each(self.grid_reductions, grids), 1, height, width)
        for one in far:
            reduced = reduced + _scaled(one, height, width)
        return logits, _scaled(reduced, self.upsample * height, self.upsample * width)


def _convolution(layer: nn.Module) -> nn.Conv2d:
    assert isinstance(layer, nn.Conv2d)
    return layer


def _each(layers: nn.ModuleList, inputs: Sequence[Tensor]) -> list[Tensor]:
    return [layer(one) for layer, one in zip(layers, inputs, strict=True)]


def _part(whole: nn.Conv2d, channels: slice, padding: int = 0) -> nn.Conv2d:
    """The part of a convolution that reads some channels of its input, without its bias."""
    weight = whole.weight[:, channels].detach().clone()
    outputs, inputs, *size = weight.shape
    part = nn.Conv2d(inputs, outputs, (size[0], size[1]), padding=padding, bias=False)
    part.weight = nn.Parameter(weight)
    return part


def _taps(whole: nn.Conv2d, channels: slice) -> nn.Conv2d:
    """The taps of a convolution, each a 1x1 convolution of some input channels: outputs by row, column, depth."""
    weight = whole.weight[:, channels].detach().permute(2, 3, 0, 1).flatten(0, 2)[:, :, None, None].clone()
    part = nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=False)
    part.weight = nn.Parameter(weight)
    return part


def _scaled(features: Tensor, height: int, width: int) -> Tensor:
    if features.shape[-2:] == (height, width):
        return features
    return F.interpolate(features, size=(height, width), mode="bilinear", align_corners=False)


def _pooled(maps: Sequence[Tensor], sizes: Sequence[int], height: int, width: int) -> list[list[Tensor]]:
    """The averages of maps, scaled to (height, width), over grids of ``size x size`` regions; for each size each map's.

    Rows and columns of a map are weighed by the regions' shares of what the map is scaled to; `pool_to_grids` has the
    regions.
    """
    pooled: list[list[Tensor]] = [[] for _ in sizes]
    for one in maps:
        batch, channels, rows, columns = one.shape
        down = torch.cat([_shares(height, size, rows, one) for size in sizes])
        bands = down @ one.permute(0, 2, 3, 1).reshape(batch, rows, columns * channels)
        for grids, size, band in zip(pooled, sizes, torch.split(bands, list(sizes), dim=1), strict=True):
            across = _shares(width, size, columns, one)
            grids.append((across @ band.reshape(batch, size, columns, channels)).permute(0, 3, 1, 2))
    return pooled


def _shares(length: int, size: int, cells: int, like: Tensor) -> Tensor:
    """(size, cells): how much each cell counts in each region of `length` places that the cells are scaled to."""
    exact = like.new_empty(0, dtype=torch.float32)
    regions = region_weights(length, size, exact)
    if cells != length:
        regions = regions @ bilinear_weights(length, cells, exact)
    return regions.to(like.dtype)


def _spread(grids: Sequence[Tensor], taps: int, height: int, width: int) -> Tensor:
    """The sum of grids, each tap of which is scaled bilinearly and shifted.

    Parameters
    ----------
    grids:
        (B, taps · taps · C, rows, columns) each, the channels by row and column of the tap.
    taps:
        Side of the convolution: 1 or 3.

    Returns
    -------
    (B, C, height, width), channels last in memory.
    """
    bands, down = [], []
    for grid in grids:
        batch, depth, rows, columns = grid.shape
        channels = depth // taps**2
        by_tap = grid.reshape(batch, taps, taps, channels, rows, columns).permute(0, 1, 4, 2, 5, 3)
        across = _shifted(width, columns, taps, grid)
        band = across @ by_tap.reshape(batch, taps * rows, taps * columns, channels)
        bands.append(band.reshape(batch, taps * rows, width * channels))
        down.append(_shifted(height, rows, taps, grid))
    spread = torch.cat(down, dim=1) @ torch.cat(bands, dim=1)
    return spread.reshape(grids[0].shape[0], height, width, -1).permute(0, 3, 1, 2)


def _shifted(length: int, size: int, taps: int, like: Tensor) -> Tensor:
    """(length, taps · size): what each cell counts at each place, seen through each tap; nothing beyond the ends."""
    weights = bilinear_weights(length, size, like)
    reach = taps // 2
    padded = F.pad(weights, (0, 0, reach, reach))
    return torch.cat([padded[tap : tap + length] for tap in range(taps)], dim=1)
