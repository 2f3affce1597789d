"""What the tests of objects share: boxes on a plane, and what a sensor sees of them."""

from __future__ import annotations

import numpy as np

from panoptic_ros.grid.observations import Observation
from panoptic_ros.labels import LabelSet

LABELS = LabelSet.load("cityscapes")
INDEX = {label.name: index for index, label in enumerate(LABELS.labels)}
FAR = np.array([5.0e5, -2.0e5, 30.0])  # where float32 has steps of 3 cm


def visible_points(
    centre: tuple[float, float],
    yaw: float,
    extent: tuple[float, float, float],
    *,
    step: float = 0.1,
    share: float = 1.0,
) -> np.ndarray:
    """(N, 3) points relative to a sensor at 0, 2 m above the ground, on the sides of a box that face it.

    Of the length only the `share` nearest to the sensor is sampled.
    """
    cosine, sine = np.cos(yaw), np.sin(yaw)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    sensor = turn.T @ -np.array(centre)
    points = []
    for axis in (0, 1):
        if abs(sensor[axis]) <= extent[axis] / 2:
            continue
        along = np.arange(-extent[1 - axis] / 2, extent[1 - axis] / 2 + 1e-9, step)
        for height in np.arange(0.3, extent[2] + 1e-9, step * 2):
            face = np.empty((len(along), 3))
            face[:, axis] = np.sign(sensor[axis]) * extent[axis] / 2
            face[:, 1 - axis] = along
            face[:, 2] = height - 2.0
            points.append(face)
    local = np.concatenate(points)
    near = np.sign(sensor[0]) * extent[0] / 2
    local = local[np.abs(local[:, 0] - near) <= share * extent[0] + 1e-9]
    return np.column_stack([local[:, :2] @ turn.T + np.array(centre), local[:, 2]]).astype(np.float32)


def observed(
    *parts: tuple[np.ndarray, str, int, int], origin: np.ndarray = FAR, stamp: int = 0, weight: float = 1.0
) -> Observation:
    """An observation of (points, class, instance, camera) parts from a sensor 2 m above the ground."""
    points = np.concatenate([part[0] for part in parts]).astype(np.float32)
    sizes = [len(part[0]) for part in parts]
    return Observation(
        stamp=stamp,
        source="lidar",
        origin=origin,
        points=points,
        heights=points[:, 2] + np.float32(2.0),
        classes=np.repeat(np.array([INDEX[part[1]] for part in parts], np.int16), sizes),
        instances=np.repeat(np.array([part[2] for part in parts], np.int32), sizes),
        cameras=np.repeat(np.array([part[3] for part in parts], np.int8), sizes),
        obstacle=np.ones(len(points), np.bool_),
        weights=np.full(len(points), weight, np.float32),
    )
