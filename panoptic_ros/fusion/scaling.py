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


LARGEST = 1e38
"""Logits beyond this are scaled down before they are compared, so that their differences are finite."""


def upsample_argmax(logits: Tensor, height: int, width: int) -> Tensor:
    """The best class of each pixel of a frame, from logits of a coarser map that covers exactly the frame.

    The logits are interpolated bilinearly (half-pixel centres, edges repeated).

    Parameters
    ----------
    logits:
        (C, h, w) floating point, C at most 256.

    Returns
    -------
    (height, width) int16 class index, the lower one of a tie, C where a logit that it comes from is not finite.
    """
    return _upsampled(logits, height, width, best=False)[0]


def upsample_max(logits: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """`upsample_argmax`, and the best class's logit: (height, width) float32."""
    return _upsampled(logits, height, width, best=True)


def _upsampled(logits: Tensor, height: int, width: int, best: bool) -> tuple[Tensor, Tensor]:
    logits = _plane_by_plane(logits.float())
    low, high = (float(bound) for bound in torch.aminmax(logits))  # one pass; not a number if any is none
    if low > -LARGEST and high < LARGEST:
        return _compared(logits, height, width, best)
    broken = ~logits.isfinite().all(dim=0)
    classes, maxima = _compared(0.25 * logits.masked_fill(broken, 0.0), height, width, best)
    reach = F.interpolate(broken[None, None].float(), size=(height, width), mode="bilinear", align_corners=False)
    return classes.masked_fill(reach[0, 0] > 0, len(logits)), 4.0 * maxima


def _compared(logits: Tensor, height: int, width: int, best: bool) -> tuple[Tensor, Tensor]:
    """The best classes, and the best logits or an empty tensor."""
    if logits.is_cuda:
        scaled = F.interpolate(logits[None], size=(height, width), mode="bilinear", align_corners=False)[0]
        maxima, classes = scaled.max(dim=0)
        return classes.to(torch.int16), maxima
    planes = logits.numpy(force=True)
    winners = np.empty((height, width), dtype=np.int16)
    highest = np.empty((height, width) if best else (0, 0), dtype=np.float32)
    plane: Any = np.empty(0, dtype=np.float32)
    for tile in _tiles(planes, height, width):
        first, *others = tile.classes
        base = planes[first][tile.source]
        winner = np.full(tile.size, first, dtype=np.uint8)  # bytes, which take the least time to move
        # By how much each exceeds the first one: where only two come into question, one is scaled.
        lead = np.zeros(tile.size, dtype=np.float32) if best or len(others) > 1 else np.float32(0.0)
        for index in others:
            gaps = planes[index][tile.source] - base
            plane = cv2.resize(gaps, tile.scaled, dst=plane, interpolation=cv2.INTER_LINEAR)
            gap = plane[tile.inner]
            # A later class has the greater number, so that the greatest of those that won is the winner.
            won = np.greater(gap, lead).view(np.uint8)
            won *= np.uint8(index)
            np.maximum(winner, won, out=winner)
            if best or index != others[-1]:
                np.maximum(lead, gap, out=lead)
        winners[tile.pixels] = winner
        if best:
            plane = cv2.resize(base, tile.scaled, dst=plane, interpolation=cv2.INTER_LINEAR)
            np.add(plane[tile.inner], lead, out=highest[tile.pixels])
    return torch.from_numpy(winners), torch.from_numpy(highest)


def _plane_by_plane(logits: Tensor) -> Tensor:
    """Logits (C, h, w) as one plane after another in a CPU's memory; torch's networks leave their channels last."""
    if logits.is_cuda or logits.is_contiguous():
        return logits
    if logits.stride(0) != 1:
        return logits.contiguous()
    cells = np.ascontiguousarray(logits.permute(1, 2, 0).numpy(force=True)).reshape(-1, len(logits))
    # OpenCV's transposition takes a fifth of the time of torch's and numpy's.
    return torch.from_numpy(cv2.transpose(cells)).view(logits.shape)


class _Tile(NamedTuple):
    """A part of a frame and of the coarser map below it.

    Attributes
    ----------
    pixels:
        Rows and columns of the frame.
    source:
        Rows and columns of the map: those below `pixels`, and around them as many as interpolation can reach.
    size:
        Height and width of `pixels`.
    scaled, inner:
        Width and height that `source` is scaled to, and where `pixels` lie in that.
    classes:
        Those that may be the best one somewhere in `pixels`, ascending.
    """

    pixels: tuple[slice, slice]
    source: tuple[slice, slice]
    size: tuple[int, int]
    scaled: tuple[int, int]
    inner: tuple[slice, slice]
    classes: list[int]


def _tiles(planes: NDArray[np.float32], height: int, width: int) -> Iterator[_Tile]:
    """Cut a frame so that what is compared stays in the processor's cache, and leave out classes that cannot win.

    Between four cells an interpolated value is nowhere above their maximum nor below their minimum.  A class whose
    maximum lies below another's minimum is not the best one there, and most classes are so nearly everywhere.
    """
    _, rows, columns = planes.shape
    corners = np.ones((2, 2), dtype=np.uint8)  # a cell, and those above, to the left, and both
    highest = np.empty_like(planes)
    lowest = np.full((rows, columns), -np.inf, dtype=np.float32)
    for plane, most in zip(planes, highest, strict=True):
        cv2.dilate(plane, corners, dst=most)
        cv2.max(lowest, cv2.erode(plane, corners), dst=lowest)
    # What rounding may add, so that no class is left out that would have won by it.
    lowest -= np.float32(1e-5) * max(abs(float(planes.min())), abs(float(planes.max())))
    possible = highest >= lowest
    downs, acrosses = list(_cuts(rows, height, TILE[0])), list(_cuts(columns, width, TILE[1]))
    in_bands = np.stack([possible[:, down.cells].any(axis=1) for down in downs])
    in_tiles = np.stack([in_bands[:, :, across.cells].any(axis=2) for across in acrosses], axis=1)
    for down, band in zip(downs, in_tiles, strict=True):
        for across, classes in zip(acrosses, band, strict=True):
            yield _Tile(
                pixels=(down.pixels, across.pixels),
                source=(down.source, across.source),
                size=(down.pixels.stop - down.pixels.start, across.pixels.stop - across.pixels.start),
                scaled=(across.scaled, down.scaled),
                inner=(down.inner, across.inner),
                classes=np.flatnonzero(classes).tolist(),
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
        (C, h, w) floating point, what `upsample_max` was given.
    best:
        (H, W) float32, the logit of each pixel's best class, as `upsample_max` returned it.

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
    for values in _plane_by_plane(logits).numpy(force=True):
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
    classes, best = upsample_max(logits, height, width)
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
    others, next_best = upsample_max(logits[large], height, width)
    others = torch.cat((large, large.new_tensor([count]))).to(torch.int16)[others.int()]
    return torch.where(replaced, others, classes), torch.where(replaced, next_best, best)
