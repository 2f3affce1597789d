"""From masks in boxes to the instance that each pixel of a frame belongs to: by rank, visible share or probability."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PIXELS_AT_ONCE = 1 << 24
"""How many pixels inside boxes are pasted in one go on a GPU: bounds the memory that a frame full of boxes can take."""


def paste_by_rank(masks: Tensor, boxes: Tensor, height: int, width: int, threshold: float) -> Tensor:
    """Which instance each pixel of a frame belongs to: of those whose mask covers it, the first in order.

    A mask is scaled bilinearly to its box (half-pixel centres, edges repeated) and covers the pixels whose centre lies
    in the box and where it exceeds the threshold there.

    Parameters
    ----------
    masks:
        (N, S, S) floating point probabilities, most important instance first, S at least 2.
    boxes:
        (N, 4) floating point x0, y0, x1, y1 of each mask's extent, in pixels of the frame.

    Returns
    -------
    (height, width) int16 on the device of `masks`: the index of the winner, N where there is none.
    """
    if masks.is_cuda:
        return _paste_flat(masks, boxes, height, width, threshold)
    count, side = masks.shape[0], masks.shape[-1]
    winners = np.full((height, width), count, dtype=np.int16)
    low, high = (bounds.tolist() for bounds in _pixels(boxes, height, width))
    extents = boxes.float().numpy(force=True)
    grids = masks.float().numpy(force=True)
    for index in range(count - 1, -1, -1):  # the most important last, on top
        (left, top), (right, bottom), (x0, y0, x1, y1) = low[index], high[index], extents[index]
        if left >= right or top >= bottom:
            continue
        mask = _scale_mask(grids[index], _cells(top, bottom, y0, y1, side), _cells(left, right, x0, x1, side))
        np.copyto(winners[top:bottom, left:right], np.int16(index), where=mask > threshold)
    return torch.from_numpy(winners)


def _pixels(boxes: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The first column and row, and those after the last, of the pixels whose centres lie in each box: (N, 2) int64."""
    bounds = (boxes.float() - 0.5).ceil().long()
    limit = bounds.new_tensor((width, height))
    return bounds[:, :2].clamp(min=0), torch.minimum(bounds[:, 2:], limit)


def _scale_mask(
    mask: NDArray[np.float32], rows: NDArray[np.float32], columns: NDArray[np.float32]
) -> NDArray[np.float32]:
    """A mask (S, S) interpolated at cell coordinates (h,) and (w,): (h, w)."""
    # Not as two matrix products: BLAS wakes its threads for each of these small ones, which took 50 times as long
    # where another process wanted a core.
    # Columns before rows, because the small step is then the one that gathers single values and not whole rows.
    last = len(mask) - 2
    y, x = np.minimum(rows.astype(np.intp), last), np.minimum(columns.astype(np.intp), last)
    bands = np.diff(mask, axis=1).take(x, axis=1)
    bands *= (columns - x).astype(np.float32)
    bands += mask.take(x, axis=1)
    scaled = np.diff(bands, axis=0).take(y, axis=0)
    scaled *= (rows - y)[:, None].astype(np.float32)
    scaled += bands.take(y, axis=0)
    return scaled


def _cells(first: int, after: int, start: float, stop: float, side: int) -> NDArray[np.float32]:
    """Where the centres of the pixels from `first` to before `after` lie among `side` cells from `start` to `stop`."""
    centres = np.arange(first, after, dtype=np.float32) + np.float32(0.5)
    cells: NDArray[np.float32] = np.clip(
        (centres - start) * (side / (stop - start)) - 0.5, 0, side - 1, dtype=np.float32
    )
    return cells


def _paste_flat(masks: Tensor, boxes: Tensor, height: int, width: int, threshold: float) -> Tensor:
    """`paste_by_rank` without a loop over instances: all pixels of all boxes as one ragged list.

    The device is read once, for the number of those pixels.
    """
    count, side = masks.shape[0], masks.shape[-1]
    winners = torch.full((height * width,), count, dtype=torch.int32, device=masks.device)
    if count:
        low, high = _pixels(boxes, height, width)
        extent = (high - low).clamp(min=0)
        areas = extent.prod(dim=1)
        ends = areas.cumsum(dim=0)
        total = int(ends[-1])
        grids = masks.float().reshape(-1)
        corner = boxes[:, :2].float()
        scale = side / (boxes[:, 2:].float() - corner)
        for start in range(0, total, PIXELS_AT_ONCE):
            flat = torch.arange(start, min(start + PIXELS_AT_ONCE, total), device=masks.device)
            owner = torch.searchsorted(ends, flat, right=True)
            inside = flat - (ends - areas)[owner]
            row = torch.div(inside, extent[owner, 0], rounding_mode="floor")
            y = low[owner, 1] + row
            x = low[owner, 0] + inside - row * extent[owner, 0]
            u = ((x + 0.5 - corner[owner, 0]) * scale[owner, 0] - 0.5).clamp(0, side - 1)
            v = ((y + 0.5 - corner[owner, 1]) * scale[owner, 1] - 0.5).clamp(0, side - 1)
            u0, v0 = u.long(), v.long()
            u1, v1 = (u0 + 1).clamp(max=side - 1), (v0 + 1).clamp(max=side - 1)
            above, below = (owner * side + v0) * side, (owner * side + v1) * side
            upper = torch.lerp(grids[above + u0], grids[above + u1], u - u0)
            lower = torch.lerp(grids[below + u0], grids[below + u1], u - u0)
            # A pixel that its mask does not cover offers `count`, which never wins.
            offer = torch.where(torch.lerp(upper, lower, v - v0) > threshold, owner, count)
            winners.scatter_reduce_(0, y * width + x, offer.to(torch.int32), "amin")
    return winners.view(height, width).to(torch.int16)


def paste_visible(
    masks: Tensor, boxes: Tensor, height: int, width: int, threshold: float, overlap_threshold: float
) -> Tensor:
    """Which instance each pixel belongs to: the first in order that covers it, without those that are mostly hidden.

    The first step of Panoptic FPN's merging (Kirillov et al. 2018, "Panoptic Segmentation", section 7): from the most
    important instance on, the pixels that others have taken already are cut off, and an instance of which too much is
    cut off is dropped whole, its pixels free for those after it.

    Parameters
    ----------
    masks, boxes, height, width, threshold:
        See `paste_by_rank`.
    overlap_threshold:
        An instance is dropped when more than this share of its pixels is taken, in [0, 1].

    Returns
    -------
    See `paste_by_rank`.
    """
    count = len(masks)
    winners = torch.full((height, width), count, dtype=torch.int16, device=masks.device)
    for index, place, plane in _pasted(masks, boxes, height, width):
        covered = plane > threshold
        free = winners[place] == count
        visible = covered & free
        area, left = covered.sum(), visible.sum()
        stays = (area - left).double() <= overlap_threshold * area.double()
        # An assignment by a mask would read the device.
        winners[place] = torch.where(visible & stays, index, winners[place])
    return winners


def paste_by_probability(masks: Tensor, boxes: Tensor, height: int, width: int, threshold: float) -> Tensor:
    """Which instance each pixel belongs to: of those whose mask covers it, the one whose mask is the surest there.

    De Geus, Meletis and Dubbelman 2018, section 2.2.1.  Of masks that are equally sure it is the first.

    Parameters
    ----------
    masks, boxes, height, width, threshold:
        See `paste_by_rank`.

    Returns
    -------
    See `paste_by_rank`.
    """
    if masks.is_cuda:
        return _surest_on_device(masks, boxes, height, width, threshold)
    return _surest_on_cpu(masks, boxes, height, width, threshold)


def paste_each(
    masks: Tensor, boxes: Tensor, height: int, width: int, threshold: float
) -> list[tuple[tuple[slice, slice], NDArray[np.bool_]]]:
    """The pixels that each mask covers, whatever the others cover; on the host.

    Parameters
    ----------
    masks, boxes, height, width, threshold:
        See `paste_by_rank`.

    Returns
    -------
    Of each mask the rows and columns of its box that lie in the frame, and which of the pixels (h, w) there it covers.
    """
    nothing = (slice(0, 0), slice(0, 0)), np.zeros((0, 0), dtype=np.bool_)
    found = [nothing] * len(masks)
    for index, place, plane in _pasted(masks, boxes, height, width):
        found[index] = place, (plane > threshold).numpy(force=True)
    return found


def _surest_on_device(masks: Tensor, boxes: Tensor, height: int, width: int, threshold: float) -> Tensor:
    """`paste_by_probability` in torch, on the masks' device."""
    winners = torch.full((height, width), len(masks), dtype=torch.int16, device=masks.device)
    best = torch.full((height, width), threshold, dtype=torch.float32, device=masks.device)
    for index, place, plane in _pasted(masks, boxes, height, width):
        surer = plane > best[place]
        winners[place] = torch.where(surer, index, winners[place])
        best[place] = torch.maximum(plane, best[place])
    return winners


def _surest_on_cpu(masks: Tensor, boxes: Tensor, height: int, width: int, threshold: float) -> Tensor:
    """`paste_by_probability` in numpy: fewer calls for each mask, at each of which another thread may take over."""
    winners = np.full((height, width), len(masks), dtype=np.int16)
    best = np.full((height, width), threshold, dtype=np.float32)
    for index, place, plane in _pasted(masks, boxes, height, width):
        probabilities = plane.numpy()
        surer = probabilities > best[place]
        np.copyto(winners[place], np.int16(index), where=surer)
        np.copyto(best[place], probabilities, where=surer)
    return torch.from_numpy(winners)


def _pasted(masks: Tensor, boxes: Tensor, height: int, width: int) -> Iterator[tuple[int, tuple[slice, slice], Tensor]]:
    """Each mask with something in the frame: its index, its pixels and its probabilities there, in order.

    The device is read once, for the boxes.
    """
    extents = boxes.float().numpy(force=True)
    low, high = (bounds.tolist() for bounds in _pixels(torch.from_numpy(extents), height, width))
    side = masks.shape[-1]
    masks = masks.float()
    grids = None if masks.is_cuda else masks.numpy(force=True)
    for index, (x0, y0, x1, y1) in enumerate(extents):
        (left, top), (right, bottom) = low[index], high[index]
        if left >= right or top >= bottom:
            continue
        rows, columns = _cells(top, bottom, y0, y1, side), _cells(left, right, x0, x1, side)
        if grids is None:
            plane = _scale_on_device(masks[index], rows, columns)
        else:
            plane = torch.from_numpy(_scale_mask(grids[index], rows, columns))
        yield index, (slice(top, bottom), slice(left, right)), plane


def _scale_on_device(mask: Tensor, rows: NDArray[np.float32], columns: NDArray[np.float32]) -> Tensor:
    """`_scale_mask` in torch, on the mask's device."""
    last = len(mask) - 2
    y, x = (torch.from_numpy(places).to(mask.device) for places in (rows, columns))
    above, left = y.long().clamp(max=last), x.long().clamp(max=last)
    bands = torch.lerp(mask[above], mask[above + 1], (y - above)[:, None])
    return torch.lerp(bands[:, left], bands[:, left + 1], x - left)
