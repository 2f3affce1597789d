"""What the sensors have said, in the terms of the grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """One sensor's points with what they are, in the fixed frame.

    Attributes
    ----------
    stamp:
        Nanoseconds.
    source:
        ``lidar``, ``depth`` or ``contact_line``.
    origin:
        (3,) float64, the sensor in the fixed frame, metres; points are relative to it.
    points:
        (N, 3) float32, metres, axes of the fixed frame.
    heights:
        (N,) float32, metres above the ground.
    classes:
        (N,) int16, position in the label set, -1 where no camera has labelled the point.
    instances:
        (N,) int32, the id of the instance in its camera's frame, 0 for none.
    cameras:
        (N,) int8, which camera has labelled it, or has it in its image without a label; -1 for none.  Instances are
        told apart within one camera only.
    obstacle:
        (N,) bool, whether the point is of something that stands there; else it is of the ground.
    weights:
        (N,) float32 in (0, 1], how much the point counts.
    """

    stamp: int
    source: str
    origin: NDArray[np.float64]
    points: NDArray[np.float32]
    heights: NDArray[np.float32]
    classes: NDArray[np.int16]
    instances: NDArray[np.int32]
    cameras: NDArray[np.int8]
    obstacle: NDArray[np.bool_]
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.points)

    def check(self, classes: int) -> None:
        """Raise ValueError if the arrays do not fit together, or hold what they must not.

        Parameters
        ----------
        classes:
            How many the label set has.
        """
        count = len(self.points)
        if self.points.shape != (count, 3) or self.origin.shape != (3,):
            raise ValueError(
                f"observation of {self.source}: points must be (N, 3) and origin (3,), "
                f"got {self.points.shape} and {self.origin.shape}"
            )
        if not np.isfinite(self.origin).all():
            raise ValueError(f"observation of {self.source}: origin {self.origin} is not finite")
        for name in ("heights", "classes", "instances", "cameras", "obstacle", "weights"):
            shape = getattr(self, name).shape
            if shape != (count,):
                raise ValueError(f"observation of {self.source}: {name} must be ({count},), got {shape}")
        if count and not -1 <= self.classes.min() <= self.classes.max() < classes:
            raise ValueError(
                f"observation of {self.source}: classes must be -1 to {classes - 1}, "
                f"got {self.classes.min()} to {self.classes.max()}"
            )
        if count and not 0 < self.weights.min() <= self.weights.max() <= 1:
            raise ValueError(
                f"observation of {self.source}: weights must be in (0, 1], "
                f"got {self.weights.min()} to {self.weights.max()}"
            )
