"""Merging rules that systems share: instances by score, things over stuff, small stuff removed.

Everything here works on one frame, at the frame's own size, on the device that its inputs are on.  A frame is two maps
of small integers: the best semantic class of each pixel (`scaling`) and the instance that won it (`pasting`).  `merge`
makes the frame's value of them.

Scaling and pasting have a branch for the CPU, through OpenCV and numpy, because the same arithmetic in torch took 4 to
9 times as long there; tests hold both branches against one literal transcription.
"""

from __future__ import annotations

from panoptic_ros.fusion.merging import merge
from panoptic_ros.fusion.pasting import paste_by_probability, paste_by_rank, paste_each, paste_visible
from panoptic_ros.fusion.scaling import argmax_of_large, confidence_map, upsample_argmax, upsample_max

__all__ = [
    "argmax_of_large",
    "confidence_map",
    "merge",
    "paste_by_probability",
    "paste_by_rank",
    "paste_each",
    "paste_visible",
    "upsample_argmax",
    "upsample_max",
]
