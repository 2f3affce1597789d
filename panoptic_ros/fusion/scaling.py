"""From the logits of a coarse map to the class of each pixel of a frame."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

TILE = (128, 256)
"""Height and width, in pixels, of what is scaled and compared at a time on a CPU: small enough for its caches, and for
few classes to come into question."""


def upsample_argmax(logits: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The best class of each pixel of a frame, from logits of a coarser map that covers exactly the frame.

    The logits are interpolated bilinearly (half-pixel centres, edges repeated).

    Parameters
    ----------
    logits:
        (C, h, w) floating point, C at most 256.

    Returns
    -------
    classes, best:
        (height, width) int16 class index, the lower one of a tie, C where a logit that it comes from is not finite; and
        (height, width) float32 the best class's logit.
    """
    logits = logits.float()
    if bool(logits.sum().isfinite()):  # one pass; a sum of what is finite that overflows only takes the longer way
        return _upsample_argmax(logits, height, width)
    broken = ~logits.isfinite().all(dim=0)
    classes, best = _upsample_argmax(logits.masked_fill(broken, 0.0), height, width)
    reach = F.interpolate(broken[None, None].float(), size=(height, width), mode="bilinear", align_corners=False)
    return classes.masked_fill(reach[0, 0] > 0, len(logits)), best


def _upsample_argmax(logits: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    if logits.is_cuda:
        scaled = F.interpolate(logits[None], size=(height, width), mode="bilinear", align_corners=False)[0]
        best, classes = scaled.max(dim=0)
        return classes.to(torch.int16), best
    planes = logits.contiguous().numpy(force=True)  # networks leave their channels last
    winners = np.empty((height, width), dtype=np.int16)
    maxima = np.empty((height, width), dtype=np.float32)
    plane: Any = np.empty(0, dtype=np.float32)
    for tile in _tiles(planes, height, width):
        target = maxima[tile.pixels]
        winner = np.full(target.shape, tile.classes[0], dtype=np.uint8)  # bytes, which take the least time to move
        for index in tile.classes:
            plane = cv2.resize(planes[index][tile.source], tile.scaled, dst=plane, interpolation=cv2.INTER_LINEAR)
            scaled = plane[tile.inner]
            if index == tile.classes[0]:
                target[:] = scaled
                continue
            # A later class has the greater number, so that the greatest of those that won is the winner.
            won = np.greater(scaled, target).view(np.uint8)
            won *= np.uint8(index)
            np.maximum(winner, won, out=winner)
            np.maximum(target, scaled, out=target)
        winners[tile.pixels] = winner
    return torch.from_numpy(winners), torch.from_numpy(maxima)


class _Tile(NamedTuple):
    """A part of a frame and of the coarser map below it.

    Attributes
    ----------
    pixels:
        Rows and columns of the frame.
    source:
        Rows and columns of the map: those below `pixels`, and around them as many as interpolation can reach.
    scaled, inner:
        Width and height that `source` is scaled to, and where `pixels` lie in that.
    classes:
        Those that may be the best one somewhere in `pixels`, ascending.
    """

    pixels: tuple[slice, slice]
    source: tuple[slice, slice]
    scaled: tuple[int, int]
    inner: tuple[slice, slice]
    classes: list[int]


def _tiles(planes: NDArray[np.float32], height: int, width: int) -> Iterator[_Tile]:
    """Cut a frame so that what is compared stays in the processor's cache, and leave out classes that cannot win.

    Between four cells an interpolated value is nowhere above their maximum nor below their minimum.  A class whose
    maximum lies below another's minimum is not the best one there, and most classes are so nearly everywhere.
    """
    count, rows, columns = planes.shape
    corners = np.ones((2, 2), dtype=np.uint8)  # a cell, and those above, to the left, and both
    highest = np.empty_like(planes)
    lowest = np.full((rows, columns), -np.inf, dtype=np.float32)
    for plane, most in zip(planes, highest, strict=True):
        cv2.dilate(plane, corners, dst=most)
        cv2.max(lowest, cv2.erode(plane, corners), dst=lowest)
    # What rounding may add, so that no class is left out that would have won by it.
    lowest -= np.float32(1e-5) * max(abs(float(planes.min())), abs(float(planes.max())))
    for down in _cuts(rows, height, TILE[0]):
        for across in _cuts(columns, width, TILE[1]):
            possible = highest[:, down.cells, across.cells] >= lowest[down.cells, across.cells]
            yield _Tile(
                pixels=(down.pixels, across.pixels),
                source=(down.source, across.source),
                scaled=(across.scaled, down.scaled),
                inner=(down.inner, across.inner),
                classes=np.flatnonzero(possible.reshape(count, -1).any(axis=1)).tolist(),
            )


class _Cut(NamedTuple):
    """What a `_Tile` says, along one side; `cells` are those of the map that `pixels` lie between."""

    pixels: slice
    source: slice
    scaled: int
    inner: slice
    cells: slice


def _cuts(size: int, scaled_size: int, length: int) -> Iterator[_Cut]:
    """Cut one side of a map of `size` cells and `scaled_size` pixels into pieces of about `length` pixels."""
    # Only where a border of cells is one of pixels: a piece that is scaled alone then has the pixels of the whole.
    count = math.gcd(size, scaled_size)
    cells, pixels = size // count, scaled_size // count
    units = max(1, length // pixels)
    for first in range(0, count, units):
        last = min(first + units, count)
        before, after = max(first - 1, 0), min(last + 1, count)
        offset = (first - before) * pixels
        yield _Cut(
            pixels=slice(first * pixels, last * pixels),
            source=slice(before * cells, after * cells),
            scaled=(after - before) * pixels,
            inner=slice(offset, offset + (last - first) * pixels),
            cells=slice(first * cells, min(last * cells + 1, size)),
        )


def confidence_map(logits: Tensor, best: Tensor) -> Tensor:
    """The probability of each pixel's best class: the softmax of the interpolated logits.

    Parameters
    ----------
    logits:
        (C, h, w) floating point, what `upsample_argmax` was given.
    best:
        (H, W) float32, the logit of each pixel's best class, as `upsample_argmax` returned it.

    Returns
    -------
    (H, W) float32 in [0, 1].
    """
    logits = logits.float()
    height, width = best.shape
    if best.is_cuda:
        scaled = F.interpolate(logits[None], size=(height, width), mode="bilinear", align_corners=False)[0]
        return (scaled - best).exp_().sum(dim=0).reciprocal_()
    plane = np.empty((height, width), dtype=np.float32)
    total = np.zeros_like(plane)
    for values in logits.numpy(force=True):
        cv2.resize(values, (width, height), dst=plane, interpolation=cv2.INTER_LINEAR)
        cv2.exp(cv2.subtract(plane, best.numpy(), dst=plane), dst=plane)
        cv2.add(total, plane, dst=total)
    return torch.from_numpy(np.reciprocal(total))


def argmax_of_large(logits: Tensor, taken: Tensor, minimum_area: int) -> tuple[Tensor, Tensor]:
    """The best class of each pixel, of the classes that are large enough: small ones give way to the next best.

    De Geus, Meletis and Dubbelman 2018, section 2.2.2.  A class is small if it is the best of fewer pixels
    than the least area, not counting those that instances have taken.

    Parameters
    ----------
    logits:
        (C, h, w) floating point, of a map that covers exactly the frame; C may be 0.
    taken:
        (H, W) bool, the pixels of instances.
    minimum_area:
        In pixels.

    Returns
    -------
    classes, best:
        (H, W) int16 class index, C where no class is large enough or a logit is not finite; and (H, W) float32 the
        logit of that class.
    """
    height, width = taken.shape
    count = len(logits)
    void = torch.full((height, width), count, dtype=torch.int16, device=logits.device)
    if not count:
        return void, torch.zeros((height, width), device=logits.device)
    classes, best = upsample_argmax(logits, height, width)
    seen = classes.masked_fill(taken, count).int()
    areas = torch.bincount(seen.flatten(), minlength=count + 1)[:count]
    large = (areas >= minimum_area).nonzero()[:, 0]
    if len(large) == count or bool((areas >= minimum_area)[areas > 0].all()):
        return classes, best
    small = areas < minimum_area
    replaced = torch.cat((small, small.new_tensor([False])))[classes.int()]
    if not len(large):
        return classes.masked_fill(replaced, count), best
    # The next best of the large ones is the best among them: none of these was the best before.
    others, next_best = upsample_argmax(logits[large], height, width)
    others = torch.cat((large, large.new_tensor([count]))).to(torch.int16)[others.int()]
    return torch.where(replaced, others, classes), torch.where(replaced, next_best, best)
