"""Random observations and what else the tests of the grid share."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import strategies as st

from panoptic_ros.grid.observations import Observation
from panoptic_ros.grid.options import GridOptions, OccupancyOptions
from panoptic_ros.grid.snapshot import GridSnapshot
from panoptic_ros.labels import LabelSet

LABELS = LabelSet.load("cityscapes")
ROAD, BUILDING, POLE, SKY, PERSON, CAR = (
    [label.name for label in LABELS.labels].index(name) for name in ("road", "building", "pole", "sky", "person", "car")
)
SECOND = 1_000_000_000
OPTIONS = GridOptions(resolution=0.25, size=24, maximum_range=8.0, occupancy=OccupancyOptions(azimuth_bins=120))


def unclipped(options: GridOptions) -> GridOptions:
    """Options by which no evidence reaches its bound within a test."""
    return dataclasses.replace(
        options,
        occupancy=dataclasses.replace(options.occupancy, clip=1e6),
        classes=dataclasses.replace(options.classes, clip=1e6, count_clip=1e6),
    )


def confusion(seed: int, classes: int = len(LABELS)) -> np.ndarray:
    """A (C, C) confusion matrix of a fair network."""
    rows = np.random.default_rng(seed).dirichlet(np.full(classes, 0.3), size=classes) * 0.4 + np.eye(classes) * 0.6
    return rows / rows.sum(axis=1, keepdims=True)


def observation(
    points: object,
    classes: object = -1,
    obstacle: object = True,
    stamp: int = SECOND,
    origin: tuple[float, float, float] = (0.0, 0.0, 1.0),
    weights: object = 1.0,
    instances: object = 0,
    heights: object = 1.0,
    cameras: object = 0,
) -> Observation:
    """An observation of given points, relative to the sensor; the rest is spread over them."""
    points = np.asarray(points, dtype=np.float32).reshape(-1, 3)

    def each(values: object, kind: type) -> np.ndarray:
        return np.broadcast_to(np.asarray(values, dtype=kind), len(points)).copy()

    return Observation(
        stamp=stamp,
        source="lidar",
        origin=np.array(origin, dtype=np.float64),
        points=points,
        heights=each(heights, np.float32),
        classes=each(classes, np.int16),
        instances=each(instances, np.int32),
        cameras=each(cameras, np.int8),
        obstacle=each(obstacle, np.bool_),
        weights=each(weights, np.float32),
    )


def drawn(seed: int, count: int, stamp: int, origin: tuple[float, float, float], resolution: float) -> Observation:
    """Points at random, some too near, too far, too high or without a label; none on the border of a cell."""
    generator = np.random.default_rng(seed)
    angle, distance = generator.uniform(-np.pi, np.pi, count), generator.uniform(0.2, 9.0, count)
    points = np.stack([distance * np.cos(angle), distance * np.sin(angle), generator.uniform(-1, 2, count)], axis=1)
    points = points.astype(np.float32)
    # Away from the borders float32 and float64 agree.
    for axis in range(2):
        place = (points[:, axis].astype(np.float64) + origin[axis]) / resolution
        points[:, axis] += np.where(np.abs(place - np.round(place)) < 0.02, 0.05 * resolution, 0).astype(np.float32)
    obstacle = generator.random(count) < 0.3
    classes = np.where(obstacle, generator.choice([-1, BUILDING, POLE, PERSON, CAR, SKY], count), ROAD)
    classes[~obstacle & (generator.random(count) < 0.3)] = 1
    things = obstacle & np.isin(classes, [PERSON, CAR])
    return observation(
        points,
        classes,
        obstacle,
        stamp,
        origin,
        generator.choice([0.25, 0.5, 1.0], count),
        np.where(things, generator.integers(0, 4, count), 0),
        generator.uniform(-0.2, 3.0, count),
        np.where((classes < 0) & (generator.random(count) < 0.7), -1, 0),
    )


def permuted(of: Observation, order: np.ndarray) -> Observation:
    """The same points in another order."""
    names = ("points", "heights", "classes", "instances", "cameras", "obstacle", "weights")
    return dataclasses.replace(of, **{name: getattr(of, name)[order] for name in names})


def planes(snapshot: GridSnapshot) -> dict[str, np.ndarray]:
    """The (N, N) arrays of a snapshot by name, with the posteriors as an (N, N, C) one."""
    size = snapshot.size
    rows, columns = (index.ravel() for index in np.indices((size, size)))
    arrays = {field.name: getattr(snapshot, field.name) for field in dataclasses.fields(snapshot)}
    found = {name: value for name, value in arrays.items() if isinstance(value, np.ndarray)}
    return found | {"posterior": snapshot.posterior(rows, columns).reshape(size, size, -1)}


seeds = st.integers(0, 2**31)
