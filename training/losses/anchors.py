"""Which anchor answers for which object: YOLOv3's assignment (Redmon and Farhadi 2018, section 2.1).

An object belongs to the anchor whose width and height fit its own best, of those of all heads, at the cell that holds
its centre.  Every other anchor that finds no object says so, but for those whose box is nearly right.

Details follow Darknet's ``yolo`` layer: two objects that meet at one anchor leave it both their classes and the later
one's box, and an anchor that two heads share answers in both.  One differs: anchors that a cfg lists but no head uses
take part in Darknet's comparison, so that objects which fit them best are learnt by nobody; here only the heads'
anchors compete.  With a `threshold` below 1, Darknet's ``iou_thresh``, others that fit an object well answer too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from panoptic_ros.models.backbones.darknet_layers import Yolo

BOXES_AT_ONCE = 16
"""How many objects of each image are compared with all its anchors in one go: bounds the memory of full images."""


@dataclass(frozen=True, slots=True, eq=False)
class Assignment:
    """The P anchors that answer for an object.

    Attributes
    ----------
    images, slots:
        (P,) int64 the image, and the anchor's position among all of its boxes in the order of `YoloDecoder`; no pair
        occurs twice.
    boxes:
        (P, 4) x0, y0, x1, y1 of the object, in pixels of the input.
    classes:
        (P, T) float32, 1 for each class that the anchor should see.
    cells, anchors:
        (P, 2) column and row of the anchor's cell, and the anchor's width and height in pixels.
    strides, reaches:
        (P,) pixels per cell, and the head's `scale_x_y`.
    """

    images: Tensor
    slots: Tensor
    boxes: Tensor
    classes: Tensor
    cells: Tensor
    anchors: Tensor
    strides: Tensor
    reaches: Tensor


def assign(
    heads: Sequence[tuple[int, Yolo]],
    sizes: Sequence[tuple[int, int]],
    boxes: Sequence[Tensor],
    classes: Sequence[Tensor],
    threshold: float = 1.0,
) -> Assignment:
    """Find the anchors that answer for the objects of a batch.

    Parameters
    ----------
    heads:
        Stride and description of each detection head.
    sizes:
        Height and width of each head's map, in cells.
    boxes, classes:
        Of each image (N, 4) float32 x0, y0, x1, y1 in pixels and (N,) int64 the detector's class.
    threshold:
        Anchors with a higher IoU with an object, both around one centre, answer for it beside the best.
    """
    objects = torch.cat(tuple(boxes))
    device = objects.device
    image = torch.repeat_interleave(torch.tensor([len(one) for one in boxes])).to(device)
    extents = objects[:, 2:] - objects[:, :2]
    centres = 0.5 * (objects[:, 2:] + objects[:, :2])
    best = _best_anchors(extents, heads)

    found: list[tuple[Tensor, ...]] = []  # object, slot, cell, anchor, stride, reach
    first = 0
    for (stride, head), (height, width) in zip(heads, sizes, strict=True):
        anchors = torch.tensor(head.anchors, device=device)
        is_best = (best[:, None] == anchors).all(dim=2)
        # Of equal anchors of a head the first is the best.
        answers = (is_best & (is_best.cumsum(dim=1) == 1)) | (_overlaps(extents, anchors) > threshold)
        number, which = answers.nonzero(as_tuple=True)
        cell = (centres[number] / stride).long()
        # A centre on the input's far edge is still inside its last cell.
        cell = torch.minimum(cell, torch.tensor((width - 1, height - 1), device=device)).clamp(min=0)
        slot = first + (cell[:, 1] * width + cell[:, 0]) * len(anchors) + which
        found.append(
            (
                number,
                slot,
                cell,
                anchors[which],
                torch.full_like(slot, stride),
                extents.new_full(slot.shape, head.scale_x_y),
            )
        )
        first += height * width * len(anchors)
    number, slot, cell, sizes_of, strides, reaches = (torch.cat(parts) for parts in zip(*found, strict=True))

    place = image[number] * first + slot
    last = torch.full((len(boxes) * first,), -1, device=device).scatter_reduce_(0, place, number, "amax")
    kept = (last[place] == number).nonzero()[:, 0]
    row_of = torch.zeros_like(last)
    row_of[place[kept]] = torch.arange(len(kept), device=device)
    wanted = torch.zeros((len(kept), heads[0][1].classes), device=device)
    wanted[row_of[place], torch.cat(tuple(classes))[number]] = 1.0
    return Assignment(
        images=image[number[kept]],
        slots=slot[kept],
        boxes=objects[number[kept]],
        classes=wanted,
        cells=cell[kept],
        anchors=sizes_of[kept],
        strides=strides[kept],
        reaches=reaches[kept],
    )


def _best_anchors(extents: Tensor, heads: Sequence[tuple[int, Yolo]]) -> Tensor:
    """(N, 2) width and height of the anchor that overlaps each extent (N, 2) most when both share their centre.

    Of anchors that fit equally well it is the smallest, which cfgs list first.
    """
    sizes = sorted({anchor for _, head in heads for anchor in head.anchors}, key=lambda size: size[0] * size[1])
    anchors = torch.tensor(sizes, device=extents.device)
    return anchors[_overlaps(extents, anchors).argmax(dim=1)]


def _overlaps(extents: Tensor, anchors: Tensor) -> Tensor:
    """(N, A) IoU of extents (N, 2) and anchors (A, 2) around one centre."""
    shared = torch.minimum(extents[:, None], anchors).prod(dim=2)
    return shared / (extents.prod(dim=1, keepdim=True) + anchors.prod(dim=1) - shared)


def largest_overlap(boxes: Tensor, others: Sequence[Tensor], of_union: bool = True) -> Tensor:
    """How much of each box of an image lies in that one of the other boxes which it overlaps most.

    Parameters
    ----------
    boxes:
        (B, N, 4) x0, y0, x1, y1.
    others:
        Of each image (M, 4).
    of_union:
        Whether to measure the intersection by the union (IoU) or, as COCO does for crowds, by the box itself.

    Returns
    -------
    (B, N) float32 in [0, 1], 0 where there is nothing to overlap.
    """
    best = boxes.new_zeros(boxes.shape[:2])
    x0, y0, x1, y1 = (side[..., None].contiguous() for side in boxes.unbind(dim=2))
    areas = (x1 - x0) * (y1 - y0)
    padded = pad_sequence(list(others), batch_first=True)  # boxes of no area overlap nothing
    for some in torch.split(padded, BOXES_AT_ONCE, dim=1):
        if not some.shape[1]:
            break
        # Side by side, not as pairs of coordinates, which takes a CPU three times as long.
        left, top, right, bottom = (side[:, None].contiguous() for side in some.unbind(dim=2))
        shared = torch.minimum(x1, right).sub_(torch.maximum(x0, left)).clamp_(min=0.0)
        shared.mul_(torch.minimum(y1, bottom).sub_(torch.maximum(y0, top)).clamp_(min=0.0))
        whole = (areas + (right - left) * (bottom - top)).sub_(shared) if of_union else areas
        best = torch.maximum(best, shared.div_(whole.clamp(min=1e-9)).amax(dim=2))
    return best
