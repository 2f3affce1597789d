"""A snapshot with values that have no symmetry, for tests of what is made of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from grid_boxes import LABELS

from panoptic_ros.grid.snapshot import ClassPosteriors, GridSnapshot
from panoptic_ros.grid.tracking import TrackedObject

STAMP = 1_700_000_000_123_456_789


def snapshot(size: int = 8, resolution: float = 0.5, origin: tuple[float, float] = (10.0, -20.0), **fields: Any) -> Any:
    """Every layer is random but for the cells without anything, a quarter of all."""
    generator = np.random.default_rng(7)
    shape = (size, size)
    seen = generator.random(shape) > 0.25
    occupancy = np.where(seen, generator.random(shape), np.nan).astype(np.float32)
    occupied = np.where(seen, np.where(occupancy > 0.5, 100, 0), -1).astype(np.int8)
    classes = np.where(seen, generator.integers(-1, len(LABELS), shape), -1).astype(np.int16)
    labelled = classes >= 0
    values: dict[str, Any] = {
        "stamp": STAMP,
        "frame": "odom",
        "resolution": resolution,
        "origin": origin,
        "occupancy": occupancy,
        "occupied": occupied,
        "classes": classes,
        "ground_classes": classes,
        "probability": np.where(labelled, generator.random(shape), 0).astype(np.float32),
        "entropy": np.where(labelled, generator.random(shape), np.nan).astype(np.float32),
        "instance": np.where(seen, generator.integers(0, 70000, shape), 0).astype(np.int32),
        "age": np.where(seen, generator.random(shape), np.nan).astype(np.float32),
        "dynamic": np.zeros(shape, np.bool_),
        "posteriors": ClassPosteriors(
            np.full(shape, -1, np.int32),
            np.zeros((0, 1), np.float32),
            np.zeros((0, 1), np.float32),
            np.zeros(1, np.int16),
            np.zeros(1, np.int16),
            len(LABELS),
        ),
    }
    return GridSnapshot(**(values | fields))


def tracked(**fields: Any) -> TrackedObject:
    """A car that drives to the upper left."""
    values: dict[str, Any] = {
        "track": 70001,
        "class_index": 13,
        "stamp": STAMP,
        "centre": np.array([11.5, -18.25, 0.75]),
        "yaw": 2.0,
        "extent": (1.5, 0.75, 1.5),
        "velocity": np.array([-1.0, 2.0]),
        "covariance": np.arange(16.0).reshape(4, 4),
        "score": 0.625,
        "points": 12,
    }
    return TrackedObject(**(values | fields))
