"""What the builder's queue holds: the inputs of sensors, whose they are, and the reasons for which one is dropped."""

from __future__ import annotations

from dataclasses import dataclass

from panoptic_ros.grid.clouds import Cloud
from panoptic_ros.grid.depth import DepthImage
from panoptic_ros.grid.labelling import CameraView
from panoptic_ros.grid.late_labels import LateLabels
from panoptic_ros.grid.poses import seconds

NO_POSE, UNKNOWN_FRAME, POSE_JUMP, TOO_OLD = "no pose", "unknown frame", "pose jump", "too old"
BAD_INPUT, BAD_TRANSFORM, QUEUE_FULL = "bad input", "bad transform", "queue full"
SUPERSEDED, LATE_MASK = "superseded", "late mask"

Input = Cloud | DepthImage | CameraView | LateLabels


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """An input that waits.

    Attributes
    ----------
    item:
        The input.
    stream:
        The sensor that it is of.
    since:
        Stamp from which it waits, nanoseconds: its own, or, of what comes late, the newest when it came.
    is_pressing:
        Whether it came while the builder was at work.
    """

    item: Input
    stream: str
    since: int
    is_pressing: bool


def name_of(item: Input) -> str:
    """What people call an input."""
    if isinstance(item, LateLabels):
        return f"{name_of(item.view)} for the {name_of(item.taken.points)}"
    if isinstance(item, CameraView):
        return f"camera {item.name} at {seconds(item.stamp)}"
    return f"{'cloud' if isinstance(item, Cloud) else 'depth image'} in {item.frame} at {seconds(item.stamp)}"
