"""From the planes of a semantic head to the class of each pixel of a frame."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from panoptic_ros import fusion
from panoptic_ros.letterbox import Letterbox

SCORED_STRIDE = 4
"""How far apart the cells are, in pixels of the input, of which the scores of stuff are means: those between would
hardly change them."""


class Certainties(NamedTuple):
    """How sure a semantic head is of classes, over one frame.

    Attributes
    ----------
    confidence:
        (C,) the mean probability of each class over the cells that it wins, 0 where it wins none: stuff's score.
    iou:
        (C,) the intersection over union that each class's region may be expected to have with the truth if the
        probabilities are right: the class's probability over the cells that it wins, by the number of these cells and
        its probability over the others together.  0 where it wins none.
    """

    confidence: Tensor
    iou: Tensor


class SemanticMap(NamedTuple):
    """The semantic segmentation of one frame.

    Attributes
    ----------
    classes:
        (H, W) int16 class index, the number of classes for void.
    certainties:
        Of each class.
    certainty:
        (H, W) float32 the probability of each pixel's class; None if nobody asked for it.
    """

    classes: Tensor
    certainties: Certainties
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


def class_certainties(logits: Tensor, which: Tensor | None, count: int, box: Letterbox) -> Certainties:
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
    found = plane_certainties(logits[:, ::step, ::step])
    if which is None:
        return found
    confidence, iou = logits.new_zeros((2, count + 1)).index_copy_(1, which, torch.stack(found))[:, :count]
    return Certainties(confidence, iou)


def plane_certainties(logits: Tensor) -> Certainties:
    """`Certainties` of each plane of logits (P, h, w); cells that are not finite count for none."""
    if not len(logits):
        return Certainties(logits.new_zeros(0), logits.new_zeros(0))
    probabilities = logits.flatten(1).T.softmax(dim=1)  # cell by cell in memory, as networks leave them
    best, planes = probabilities.max(dim=1)
    known = best.isfinite()
    none = best.new_zeros(len(logits))
    inside = none.scatter_add(0, planes, best.where(known, 0.0))
    won = none.scatter_add(0, planes, known.to(best.dtype))
    everywhere = probabilities.where(known[:, None], 0.0).sum(dim=0)
    return Certainties(inside / won.clamp(min=1.0), inside / (won + everywhere - inside).clamp(min=1.0))


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
    return SemanticMap(class_map(planes, which, count), class_certainties(logits, which, count, box), certainty)


def void_map(like: Tensor, count: int, box: Letterbox, confidence: bool) -> SemanticMap:
    """Void all over, on the device of a tensor: what a head that has learned nothing has to say."""
    size = (box.frame_height, box.frame_width)
    void = torch.full(size, count, dtype=torch.int16, device=like.device)
    certainty = torch.zeros(size, device=like.device) if confidence else None
    none = torch.zeros(count, device=like.device)
    return SemanticMap(void, Certainties(none, none), certainty)
