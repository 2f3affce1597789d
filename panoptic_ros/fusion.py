"""Merging rules that systems share: instances by score, things over stuff, small stuff removed.

Everything here works on one frame, at the frame's own size, on the device that its inputs are on.  A frame is two maps
of small integers: the best semantic class of each pixel and the instance that won it.  `merge` overlays them into one
map of *labels* (the classes, void, the instances) and describes that map by its horizontal runs.  Runs are few, so that
areas, boxes and the removal of small stuff cost next to nothing beside the one gather that writes the ids.

Scaling and pasting have a branch for the CPU, through OpenCV and numpy, because the same arithmetic in torch took 4 to
9 times as long there; tests hold both branches against one literal transcription.
"""

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

from panoptic_ros.segmentation import INSTANCE_DIVISOR, PanopticSegmentation, Segment

TILE = (128, 256)
"""Height and width, in pixels, of what is scaled and compared at a time on a CPU: small enough for its caches, and for
few classes to come into question."""

PIXELS_AT_ONCE = 1 << 24
"""How many pixels inside boxes are pasted in one go on a GPU: bounds the memory that a frame full of boxes can take."""


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


def merge(
    classes: Tensor,
    winners: Tensor,
    *,
    class_ids: Tensor,
    class_scores: Tensor,
    is_thing: Tensor,
    instance_classes: Tensor,
    instance_scores: Tensor,
    minimum_stuff_area: int,
    confidence: Tensor | None = None,
) -> PanopticSegmentation:
    """Things over stuff, small stuff removed (thesis section 3.4.1): the panoptic segmentation of one frame.

    Stuff of one class is one segment, and it is small by its whole area, as in Panoptic FPN.  Pixels whose semantic
    class is a thing and that no instance covers are void.

    Parameters
    ----------
    classes:
        (H, W) int16, semantic class index of each pixel; C for void.
    winners:
        (H, W) int16, index of the instance that each pixel belongs to, N for none, as `paste_by_rank` gives it.
    class_ids, class_scores, is_thing:
        (C,) the data set's id, the score of its stuff segment and whether it is a thing, of each class index.
    instance_classes, instance_scores:
        (N,) class index and score of each instance, N at most 999.
    minimum_stuff_area:
        Stuff of fewer pixels becomes void.
    confidence:
        (H, W) float32 in [0, 1], of the semantic class; None if nobody asked for it.

    Returns
    -------
    On the host.  The device is read for the number of runs, and at the end for the table of segments and the maps.
    """
    device = classes.device
    count_classes, count_instances = len(class_ids), len(instance_classes)
    labels = torch.where(winners < count_instances, winners + (count_classes + 1), classes)
    things = torch.cat((is_thing, is_thing.new_tensor([False]), is_thing.new_ones(count_instances)))
    run_labels, rows, starts, stops = _runs(labels)

    size = count_classes + 1 + count_instances
    areas = torch.zeros(size, dtype=torch.int64, device=device).scatter_add_(0, run_labels, stops - starts)
    numbers = torch.arange(1, count_instances + 1, device=device)
    ids = torch.cat(
        (
            torch.where(is_thing | (areas[:count_classes] < minimum_stuff_area), 0, class_ids * INSTANCE_DIVISOR),
            class_ids.new_zeros(1),
            class_ids[instance_classes] * INSTANCE_DIVISOR + numbers,
        )
    )
    scores = torch.cat((class_scores, class_scores.new_zeros(1), instance_scores))
    empty = torch.full((size,), max(labels.shape), dtype=torch.int64, device=device)
    none = torch.zeros_like(empty)
    columns = (
        ids,
        things,
        scores,
        areas,
        empty.scatter_reduce(0, run_labels, starts, "amin"),
        empty.scatter_reduce(0, run_labels, rows, "amin"),
        none.scatter_reduce(0, run_labels, stops, "amax"),
        none.scatter_reduce(0, run_labels, rows + 1, "amax"),
    )
    table = torch.stack([column.double() for column in columns], dim=1)  # every whole number here is exact in a double
    id_map = _paint(ids.to(torch.int32), labels, run_labels, stops - starts)
    certainty = None
    if confidence is not None:
        score_map = _paint(scores.float(), labels, run_labels, stops - starts)
        certain = torch.where(winners < count_instances, score_map, confidence)
        certainty = (certain.where(id_map != 0, 0.0) * 255.0 + 0.5).to(torch.uint8).numpy(force=True)
    segments = tuple(
        Segment(
            id=int(number),
            class_id=int(number) // INSTANCE_DIVISOR,
            is_thing=bool(thing),
            score=score,
            area=int(area),
            bbox=(int(x0), int(y0), int(x1), int(y1)),
            instance=int(number) % INSTANCE_DIVISOR,
        )
        for number, thing, score, area, x0, y0, x1, y1 in table.tolist()
        if number and area
    )
    return PanopticSegmentation(ids=id_map.numpy(force=True), segments=segments, confidence=certainty)


def _paint(values: Tensor, labels: Tensor, run_labels: Tensor, lengths: Tensor) -> Tensor:
    """(H, W) the value of each pixel's label, of a map with these runs."""
    if labels.is_cuda:
        return values.index_select(0, labels.view(-1).int()).view(labels.shape)
    return torch.from_numpy(np.repeat(values[run_labels].numpy(), lengths.numpy())).view(labels.shape)


def _runs(labels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The horizontal runs of equal labels: (R,) int64 label, row, first column and the column after the last."""
    height, width = labels.shape
    first = torch.ones_like(labels, dtype=torch.bool)
    torch.ne(labels[:, 1:], labels[:, :-1], out=first[:, 1:])
    flat = first.view(-1)
    begin = flat.nonzero()[:, 0] if flat.is_cuda else torch.from_numpy(np.flatnonzero(flat.numpy()))
    end = torch.cat((begin[1:], begin.new_tensor([height * width])))
    rows = torch.div(begin, width, rounding_mode="floor")
    starts = begin - rows * width
    return labels.view(-1)[begin].long(), rows, starts, starts + (end - begin)


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
    winners = torch.full((height, width), len(masks), dtype=torch.int16, device=masks.device)
    best = torch.full((height, width), threshold, dtype=torch.float32, device=masks.device)
    for index, place, plane in _pasted(masks, boxes, height, width):
        surer = plane > best[place]
        winners[place] = torch.where(surer, index, winners[place])
        best[place] = torch.maximum(plane, best[place])
    return winners


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
