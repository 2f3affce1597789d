"""Frames of a vehicle and its sensors, and how they are turned against each other.

They are those of REP-105 (``map`` → ``odom`` → ``base_link``) and REP-103: ``base_link`` lies on the ground below the
vehicle's middle, x forward, y left, z up.  Each sensor has a frame of its name with the same axes, turned by its mount;
a camera has besides it ``<name>_optical_frame``: x right, y down, z forward.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MAP, ODOM, BASE = "map", "odom", "base_link"
OPTICAL = "_optical_frame"

OPTICAL_AXES: NDArray[np.float64] = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
"""(4, 4) from an optical frame to the frame of its sensor."""


def rotation(rpy: Sequence[float]) -> NDArray[np.float64]:
    """(3, 3) of roll, pitch and yaw in radians, about the fixed axes x, y and z in this order (REP-103)."""
    roll, pitch, yaw = rpy
    cr, sr, cp, sp, cy, sy = (f(a) for a in (roll, pitch, yaw) for f in (math.cos, math.sin))
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def transform(position: Sequence[float], rpy: Sequence[float]) -> NDArray[np.float64]:
    """(4, 4) from a frame at `position` (metres), turned by `rpy` (radians), to its parent."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(rpy)
    matrix[:3, 3] = position
    return matrix


def mount(position: Sequence[float], rpy_degrees: Sequence[float]) -> NDArray[np.float64]:
    """(4, 4) from a sensor's frame to ``base_link``."""
    return transform(position, [math.radians(angle) for angle in rpy_degrees])
