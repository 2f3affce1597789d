"""The Pyramid Pooling Module with what is before and behind it: the same maps from a third of the work.

As section 3.2.2 has it, three maps are scaled to stride 4 and concatenated, pooled, and the grids of the pooling scaled
to stride 4 and concatenated too (`FeatureFusion`, `PyramidPooling`); a 3x3 convolution and a 1x1 convolution read all
of it.  Half of what these read are four small grids, blown up.  Everything on the way is linear but the activation of
the branches, so that

- a map is pooled where it is: averaging after scaling is one product with a matrix, of the map's own size;
- a convolution of a scaled grid is the scaled convolution of the grid.  The 3x3 convolution needs it nine times, once
  for each of its taps, shifted by a pixel; zeros beyond the border are zero rows of the shifted weights.  That pays for
  the map of stride 16 too, a grid of more cells, and no more for that of stride 8;
- a 1x1 convolution reads each map at its own size, and its few channels are scaled in place of the map's.

No map of the concatenation's full depth is made.  Training runs it on the weights as they are (`pyramid_maps`), which
learn as they would in the plain form; for inference `FoldedPyramid` has them cut and with batch norms folded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from panoptic_ros.models.layers.instance_heads import InstanceFeatures
from panoptic_ros.models.layers.pyramid_pooling import PyramidPooling, bilinear_weights, region_weights
from panoptic_ros.models.layers.semantic_heads import FeatureFusion, SemanticHead

Layer = TypeVar("Layer", bound=Callable[[Tensor], Tensor])


@dataclass(frozen=True, slots=True)
class Parts(Generic[Layer]):
    """The convolutions that read everything, cut by what they read.

    Attributes
    ----------
    near:
        The 3x3 convolution of the widened first map and the second.
    taps:
        That of the third map and of each grid, tap by tap: depth to 9 C', by row, column and depth.
    rest:
        What follows the 3x3 convolution.
    reductions:
        The 1x1 convolution for the instances, of each of the three maps; empty without.
    grid_reductions:
        That of each grid.
    """

    near: Layer
    taps: Sequence[Layer]
    rest: Iterable[nn.Module]
    reductions: Sequence[Layer]
    grid_reductions: Sequence[Layer]


def pyramid_maps(
    maps: Sequence[Tensor],
    fusion: FeatureFusion,
    pooling: PyramidPooling,
    head: SemanticHead,
    instances: InstanceFeatures | None,
) -> tuple[Tensor, Tensor | None]:
    """The semantic logits of a head and the features for instances, of maps of strides 4, 8 and 16.

    Parameters
    ----------
    instances:
        What reads the pooled features beside the head; None where nothing does.

    Returns
    -------
    (B, C, H / 4, W / 4), and (B, F, U · H / 4, U · W / 4) with the factor U of the instance features, or None.
    """
    parts = _cut(fusion, pooling, head, instances, _live)
    upsample = 1 if instances is None else instances.upsample
    return _answer(maps, fusion.widen, pooling.bins, pooling.branches, parts, upsample)


class FoldedPyramid(nn.Module):
    """`FeatureFusion`, `PyramidPooling`, `SemanticHead` and `InstanceFeatures` as one, for inference.

    Parameters
    ----------
    fusion, pooling, head, instances:
        See `pyramid_maps`; as they were trained, with their batch norms folded (`engines.folding`).  Their weights are
        copied.
    """

    def __init__(
        self, fusion: FeatureFusion, pooling: PyramidPooling, head: SemanticHead, instances: InstanceFeatures | None
    ) -> None:
        super().__init__()
        self.widen = fusion.widen
        self.bins = pooling.bins
        self.branches = pooling.branches
        self.upsample = 1 if instances is None else instances.upsample
        parts = _cut(fusion, pooling, head, instances, _copied)
        self.features = parts.near
        self.taps = nn.ModuleList(parts.taps)
        self.logits = nn.Sequential(*(layer for layer in parts.rest if not isinstance(layer, nn.Identity)))
        self.reductions = nn.ModuleList(parts.reductions)
        self.grid_reductions = nn.ModuleList(parts.grid_reductions)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        """See `pyramid_maps`."""
        parts: Parts[Any] = Parts(
            self.features, list(self.taps), self.logits, list(self.reductions), list(self.grid_reductions)
        )
        return _answer(maps, self.widen, self.bins, self.branches, parts, self.upsample)


def _answer(
    maps: Sequence[Tensor],
    widen: nn.Conv2d,
    bins: Sequence[int],
    branches: nn.ModuleList,
    parts: Parts[Any],
    upsample: int,
) -> tuple[Tensor, Tensor | None]:
    first, second, third = maps
    height, width = first.shape[-2:]
    widened = widen(first)
    features = torch.cat((widened, _scaled(second, height, width)), dim=1)
    pooled = _pooled(maps, bins, height, width)
    grids = [
        branch(torch.cat((widen(grid), *others), dim=1))
        for branch, (grid, *others) in zip(branches, pooled, strict=True)
    ]
    logits = parts.near(features) + _spread(_each(parts.taps, (third, *grids)), 3, height, width)
    for layer in parts.rest:
        logits = layer(logits)
    if not parts.reductions:
        return logits, None
    near, *far = _each(parts.reductions, (widened, second, third))
    reduced = near + _spread(_each(parts.grid_reductions, grids), 1, height, width)
    for one in far:
        reduced = reduced + _scaled(one, height, width)
    return logits, _scaled(reduced, upsample * height, upsample * width)


def _cut(
    fusion: FeatureFusion,
    pooling: PyramidPooling,
    head: SemanticHead,
    instances: InstanceFeatures | None,
    convolution: Callable[..., Layer],
) -> Parts[Layer]:
    """Cut the convolutions; `convolution` makes one of a weight, a bias and a padding."""
    widened, own = fusion.widen.out_channels, fusion.out_channels
    depth = (pooling.out_channels - own) // len(pooling.bins)
    grids = [slice(own + index * depth, own + (index + 1) * depth) for index in range(len(pooling.bins))]
    first, second, far = slice(0, widened), slice(widened, 2 * widened), slice(2 * widened, own)
    reader, *rest = head
    assert isinstance(reader, nn.Conv2d)
    near = convolution(reader.weight[:, : 2 * widened], reader.bias, 1)
    taps = [convolution(_taps(reader.weight[:, part])) for part in (far, *grids)]
    if instances is None:
        return Parts(near, taps, rest, (), ())
    reduce = instances.reduce
    biases = (reduce.bias, None, None)
    of_maps = zip((first, second, far), biases, strict=True)
    reductions = [convolution(reduce.weight[:, part], bias) for part, bias in of_maps]
    return Parts(near, taps, rest, reductions, [convolution(reduce.weight[:, part]) for part in grids])


def _live(weight: Tensor, bias: Tensor | None = None, padding: int = 0) -> Callable[[Tensor], Tensor]:
    """A convolution through which its weights learn."""
    return partial(F.conv2d, weight=weight, bias=bias, padding=padding)


def _copied(weight: Tensor, bias: Tensor | None = None, padding: int = 0) -> nn.Conv2d:
    """A convolution with weights of its own."""
    outputs, inputs, *size = weight.shape
    layer = nn.Conv2d(inputs, outputs, (size[0], size[1]), padding=padding, bias=bias is not None)
    layer.weight = nn.Parameter(weight.detach().clone())
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone())
    return layer


def _taps(weight: Tensor) -> Tensor:
    """The taps of a convolution (C', depth, 3, 3), each a 1x1 convolution: (9 C', depth, 1, 1)."""
    return weight.permute(2, 3, 0, 1).flatten(0, 2)[:, :, None, None]


def _each(layers: Iterable[Callable[[Tensor], Tensor]], inputs: Sequence[Tensor]) -> list[Tensor]:
    return [layer(one) for layer, one in zip(layers, inputs, strict=True)]


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
