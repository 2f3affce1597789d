"""From the planes of a semantic head to the class of each pixel of a frame."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from panoptic_ros import fusion
from panoptic_ros.letterbox import Letterbox


class SemanticMap(NamedTuple):
    """The semantic segmentation of one frame.

    Attributes
    ----------
    classes:
        (H, W) int16 class index, the number of classes for void.
    scores:
        (C,) the mean probability of each class where it wins.
    certainty:
        (H, W) float32 the probability of each pixel's class; None if nobody asked for it.
    """

    classes: Tensor
    scores: Tensor
    certainty: Tensor | None


def inside(logits: Tensor, box: Letterbox, stride: int) -> Tensor:
    """The part (C, h', w') float32 of one image's logits (C, h, w) that its frame covers."""
    rows = slice(box.top // stride, (box.top + box.height) // stride)
    columns = slice(box.left // stride, (box.left + box.width) // stride)
    return logits[:, rows, columns].float()


def class_map(planes: Tensor, which: Tensor, count: int) -> Tensor:
    """(H, W) int16 class index of a map of planes, of which one more than there are stands for void.

    Parameters
    ----------
    planes:
        (H, W) int16 index of a plane.
    which:
        (P,) int64 the class index that each plane stands for, `count` for none.
    count:
        How many classes there are.
    """
    return torch.cat((which, which.new_tensor([count]))).to(torch.int16)[planes.int()]


def class_scores(logits: Tensor, which: Tensor, count: int) -> Tensor:
    """(C,) the mean probability of each class over the cells that it wins, 0 where it wins none: stuff's score.

    Parameters
    ----------
    logits:
        (P, h, w).
    which, count:
        See `class_map`.
    """
    scores = logits.new_zeros(count + 1)
    if len(logits):
        scores.index_copy_(0, which, mean_confidence(logits))
    return scores[:count]


def mean_confidence(logits: Tensor) -> Tensor:
    """(P,) the mean probability of each plane over the cells that it wins, 0 where it wins none."""
    best, planes = logits.flatten(1).softmax(dim=0).max(dim=0)
    known = best.isfinite()
    total = best.new_zeros(len(logits)).scatter_add_(0, planes, best.where(known, 0.0))
    cells = best.new_zeros(len(logits)).scatter_add_(0, planes, known.to(best.dtype))
    return total / cells.clamp(min=1.0)


def best_planes(logits: Tensor, which: Tensor, count: int, box: Letterbox, confidence: bool) -> SemanticMap:
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
    return SemanticMap(class_map(planes, which, count), class_scores(logits, which, count), certainty)


def void_map(like: Tensor, count: int, box: Letterbox, confidence: bool) -> SemanticMap:
    """Void all over, on the device of a tensor: what a head that has learned nothing has to say."""
    size = (box.frame_height, box.frame_width)
    void = torch.full(size, count, dtype=torch.int16, device=like.device)
    certainty = torch.zeros(size, device=like.device) if confidence else None
    return SemanticMap(void, torch.zeros(count, device=like.device), certainty)
