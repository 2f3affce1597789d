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
