"""From the planes of a semantic head to the class of each pixel of a frame."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from panoptic_ros import fusion
from panoptic_ros.letterbox import Letterbox

SCORED_STRIDE = 4
"""How far apart the cells are, in pixels of the input, that score the classes: a sample of those of finer maps."""


class ClassScores(NamedTuple):
    """How sure a semantic head is of classes, over one frame.

    Attributes
    ----------
    confidence:
        (C,) the mean probability of each class over the cells that it wins, 0 where it wins none: stuff's score.
    iou:
        (C,) the intersection over union that each class's region may be expected to have with the truth if the
        probabilities are right: the class's probability over the cells that it wins, by the number of these cells and
        its probability over the others together.  0 where it wins none.  Where only stuff was asked, the probabilities
        are those among stuff, and cells of things count as the stuff that they would be.
    """

    confidence: Tensor
    iou: Tensor


class SemanticMap(NamedTuple):
    """The semantic segmentation of one frame.

    Attributes
    ----------
    classes:
        (H, W) int16 class index, the number of classes for void.
    scores:
        Of each class.
    certainty:
        (H, W) float32 the probability of each pixel's class; None if nobody asked for it.
    """

    classes: Tensor
    scores: ClassScores
    certainty: Tensor | None


def inside(logits: Tensor, box: Letterbox, stride: int) -> Tensor:
    """The part (C, h', w') float32 of one image's logits (C, h, w) that its frame covers."""
    rows = slice(box.top // stride, (box.top + box.height) // stride)
    columns = slice(box.left // stride, (box.left + box.width) // stride)
    return logits[:, rows, columns].float()


def class_map(planes: Tensor, which: Tensor | None, count: int) -> Tensor:
    """(H, W) int16 class index of a map of planes, of which one more than there are stands for void.

    Parameters
    ----------
    planes:
        (H, W) int16 index of a plane.
    which:
        (P,) int64 the class index that each plane stands for, `count` for none.  None: they are the classes.
    count:
        How many classes there are.
    """
    if which is None:
        return planes
    return torch.cat((which, which.new_tensor([count]))).to(torch.int16)[planes.int()]


def class_scores(logits: Tensor, which: Tensor | None, count: int, box: Letterbox) -> ClassScores:
    """How sure a semantic head is of each class.

    Parameters
    ----------
    logits:
        (P, h, w) of the frame.
    which, count:
        See `class_map`.
    box:
        Says the frame's size in the input.
    """
    step = max(1, SCORED_STRIDE * logits.shape[-1] // box.width)
    found = plane_scores(_staggered(logits, step))
    if which is None:
        return found
    confidence, iou = logits.new_zeros((2, count + 1)).index_copy_(1, which, torch.stack(found))[:, :count]
    return ClassScores(confidence, iou)


def _staggered(logits: Tensor, step: int) -> Tensor:
    """One cell of every ``step x step`` of a map (P, h, w), so that each row and column has its share: (N, P)."""
    cells = logits.permute(1, 2, 0)  # cell by cell in memory, as networks leave them
    if step == 1:
        return cells.reshape(cells.shape[0] * cells.shape[1], len(logits))
    height, width = cells.shape[:2]
    down = torch.arange(-(-height // step), device=logits.device)[:, None]
    across = torch.arange(-(-width // step), device=logits.device)
    rows = (step * down + across % step).clamp(max=height - 1)
    return cells[rows, (step * across + down % step).clamp(max=width - 1)].flatten(0, 1)


def plane_scores(cells: Tensor) -> ClassScores:
    """`ClassScores` of each plane from the logits (N, P) of some cells; those that are not finite count for none."""
    planes = cells.shape[1]
    if not planes:
        return ClassScores(cells.new_zeros(0), cells.new_zeros(0))
    known = cells.isfinite().all(dim=1, keepdim=True)
    probabilities = cells.softmax(dim=1).where(known, 0.0)
    best, winners = probabilities.max(dim=1)
    none = torch.zeros(planes, dtype=torch.float64, device=cells.device)  # float32 would add up some thousandths less
    found = none.scatter_add(0, winners, best.double())
    won = none.scatter_add(0, winners, known[:, 0].double())
    everywhere = probabilities.sum(dim=0, dtype=torch.float64)
    confidence = found / won.clamp(min=1.0)
    iou = found / (won + everywhere - found).clamp(min=1.0)
    return ClassScores(confidence.to(cells.dtype), iou.to(cells.dtype))


def best_planes(logits: Tensor, which: Tensor | None, count: int, box: Letterbox, confidence: bool) -> SemanticMap:
    """The class of each pixel by the best of its planes.

    Parameters
    ----------
    logits:
        (P, h, w) of the frame, as `inside` gives them, P at least 1.
    which, count:
        See `class_map`.
    box:
        Says the frame's size.
    confidence:
        Whether the certainty is asked for.
    """
    certainty = None
    if confidence:
        planes, best = fusion.upsample_max(logits, box.frame_height, box.frame_width)
        certainty = fusion.confidence_map(logits, best)
    else:
        planes = fusion.upsample_argmax(logits, box.frame_height, box.frame_width)
    return SemanticMap(class_map(planes, which, count), class_scores(logits, which, count, box), certainty)


def void_map(like: Tensor, count: int, box: Letterbox, confidence: bool) -> SemanticMap:
    """Void all over, on the device of a tensor: what a head that has learned nothing has to say."""
    size = (box.frame_height, box.frame_width)
    void = torch.full(size, count, dtype=torch.int16, device=like.device)
    certainty = torch.zeros(size, device=like.device) if confidence else None
    none = torch.zeros(count, device=like.device)
    return SemanticMap(void, ClassScores(none, none), certainty)
