"""Non-maximum suppression, on the device."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import batched_nms, nms

MAX_CANDIDATES = 4096
"""The most boxes that enter the suppression, best first: its time grows with their square, and an untrained network
would bring every anchor."""


class Detections(NamedTuple):
    """What a detector found in one image.

    Attributes
    ----------
    boxes:
        (K, 4) x0, y0, x1, y1.
    classes:
        (K,) int64, the detector's class index.
    scores:
        (K,) objectness x class probability, and what else a decode judges by.
    objectness:
        (K,) objectness.
    """

    boxes: Tensor
    classes: Tensor
    scores: Tensor
    objectness: Tensor


def nothing_detected(like: Tensor) -> Detections:
    """No detections, on the device of a tensor."""
    none = torch.zeros(0, device=like.device)
    return Detections(none.reshape(0, 4), none.long(), none, none)


def select_detections(
    boxes: Tensor,
    objectness: Tensor,
    class_probabilities: Tensor,
    score_threshold: float,
    nms_threshold: float,
    max_detections: int,
    multi_label: bool = False,
) -> Detections:
    """Keep the boxes of one image that are certain enough and not the same object as a better one of their class.

    The best score comes first.

    Boxes or scores that are not finite are dropped.

    Parameters
    ----------
    boxes, objectness, class_probabilities:
        (N, 4), (N,) in [0, 1] and (N, C) in [0, 1], float32.
    score_threshold:
        The score, objectness x class probability, must be above it.
    nms_threshold:
        Of two boxes of a class whose intersection over union is above it, the better one stays.
    max_detections:
        At most this many, the best.
    multi_label:
        Whether a box may be found once for each class that is certain enough, as YOLOv3's independent classes have it
        for benchmarks of detection.  Off by default: a pixel of a panoptic segmentation has one class, and the same
        box twice would be two segments that fight for the same pixels.
    """
    # A class probability is at most 1, so objectness alone rules most boxes out before their classes are read.
    likely = (objectness > score_threshold).nonzero()[:, 0]
    scores = objectness[likely, None] * class_probabilities[likely]
    finite = boxes[likely].isfinite().all(dim=1, keepdim=True) & scores.isfinite()
    scores = scores.masked_fill(~finite, -1.0)
    if multi_label:
        found, classes = (scores > score_threshold).nonzero(as_tuple=True)
        scores = scores[found, classes]
    else:
        best, best_class = scores.max(dim=1)
        found = (best > score_threshold).nonzero()[:, 0]
        scores, classes = best[found], best_class[found]
    scores, order = scores.topk(min(MAX_CANDIDATES, len(scores)))
    found, classes = likely[found[order]], classes[order]
    candidates = boxes[found]
    if len(candidates):
        # torchvision keeps classes apart by shifting them past the largest coordinate, so none may be negative.
        kept = batched_nms(candidates - candidates.min(), scores, classes, nms_threshold)[:max_detections]
    else:
        kept = torch.zeros(0, dtype=torch.int64, device=boxes.device)
    return Detections(candidates[kept], classes[kept], scores[kept], objectness[found[kept]])


def choose(found: Detections, score_threshold: float, nms_threshold: float) -> Tensor:
    """(K,) int64, in ascending order, which detections are certain enough and not the same thing as a better one.

    Parameters
    ----------
    found:
        Of one image.
    score_threshold:
        The score must be above it.
    nms_threshold:
        Of two boxes of whatever classes whose intersection over union is above it, the better one stays.
    """
    certain = (found.scores > score_threshold).nonzero()[:, 0]
    kept: Tensor = nms(found.boxes[certain], found.scores[certain], nms_threshold)
    return certain[kept].sort().values
