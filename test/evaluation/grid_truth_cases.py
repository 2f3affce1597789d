"""Small grids and their truths for the tests of their evaluation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from panoptic_ros.evaluation.grid_truth import GridTruth, TrueObject
from panoptic_ros.labels import LabelSet

CITYSCAPES = LabelSet.load("cityscapes")
ROAD, SIDEWALK, BUILDING, PERSON, CAR = (
    [label.name for label in CITYSCAPES.labels].index(name)
    for name in ("road", "sidewalk", "building", "person", "car")
)
GROUND = np.array([label.name in ("road", "sidewalk", "terrain") for label in CITYSCAPES.labels])
SECOND = 1_000_000_000


@dataclass
class Snapshot:
    """What the metrics read of a `GridSnapshot`."""

    stamp: int
    frame: str
    resolution: float
    origin: tuple[float, float]
    occupancy: np.ndarray
    occupied: np.ndarray
    classes: np.ndarray
    table: np.ndarray  # (N, N, C)

    def posterior(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        return self.table[rows, columns]


@dataclass
class Track:
    """What the metrics read of a `TrackedObject`."""

    track: int
    class_index: int
    centre: np.ndarray
    yaw: float = 0.0
    extent: tuple[float, float, float] = (4.0, 2.0, 1.5)
    velocity: tuple[float, float] = (0.0, 0.0)
    stamp: int = 0


def thing(number: int, index: int, x: float, y: float, visible: int | None = 1000, **rest: object) -> TrueObject:
    values = {"yaw": 0.0, "extent": (4.0, 2.0, 1.5), "velocity": np.zeros(2), **rest}
    id_ = CITYSCAPES.labels[index].id * 1000 + number
    return TrueObject(id=id_, class_index=index, centre=np.array([x, y, 0.7]), visible=visible, **values)  # type: ignore[arg-type]


def random_snapshot(
    generator: np.random.Generator, size: int = 24, origin: tuple[float, float] = (2.0, -3.0), resolution: float = 0.25
) -> Snapshot:
    """Unknown, free and occupied cells with and without classes, and a posterior."""
    occupancy = generator.random((size, size)).astype(np.float32)
    occupancy[generator.random((size, size)) < 0.3] = np.nan
    occupied = np.where(np.isnan(occupancy), -1, np.where(occupancy > 0.5, 100, 0)).astype(np.int8)
    table = generator.dirichlet(np.full(len(CITYSCAPES), 0.3), (size, size)).astype(np.float32)
    classes = np.where(np.isnan(occupancy) | (generator.random((size, size)) < 0.2), -1, table.argmax(axis=2))
    return Snapshot(0, "odom", resolution, origin, occupancy, occupied, classes.astype(np.int16), table)


def random_truth(
    generator: np.random.Generator,
    shape: tuple[int, int] = (20, 30),
    origin: tuple[float, float] = (1.0, -2.5),
    resolution: float = 0.25,
    objects: tuple[TrueObject, ...] = (),
) -> GridTruth:
    occupied = generator.choice(np.array([-1, 0, 100], np.int8), shape)
    classes = generator.integers(0, 6, shape).astype(np.int16)
    classes[(occupied < 0) | (generator.random(shape) < 0.1)] = -1
    return GridTruth(0, "odom", resolution, origin, occupied, classes, objects)
