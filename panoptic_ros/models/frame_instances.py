"""What an instance branch finds in a frame, before it is merged with anything: masks may overlap there."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from panoptic_ros.letterbox import Letterbox


class FrameInstances(NamedTuple):
    """The instances of one frame.

    Attributes
    ----------
    boxes:
        (N, 4) x0, y0, x1, y1 in pixels of the frame.
    classes:
        (N,) int64 class index.
    scores:
        (N,) in [0, 1].
    masks:
        (N, S, S) probabilities over the box.
    mask_threshold:
        A pixel is the instance's where its probability is above this.
    """

    boxes: Tensor
    classes: Tensor
    scores: Tensor
    masks: Tensor
    mask_threshold: float


def boxes_in_frame(boxes: Tensor, letterbox: Letterbox) -> Tensor:
    """Boxes (N, 4) x0, y0, x1, y1 in pixels of a network's input, in those of the frame that lies there."""
    scale = boxes.new_tensor((letterbox.scale_x, letterbox.scale_y) * 2)
    offset = boxes.new_tensor((letterbox.left, letterbox.top) * 2)
    return (boxes - offset) / scale
