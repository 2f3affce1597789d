"""What the tests of the builder share: stand-ins for the grid and the tracker, poses, clouds and masks."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from panoptic_ros.grid import mapper
from panoptic_ros.grid.builder import GridBuilder
from panoptic_ros.grid.cameras import Camera
from panoptic_ros.grid.clouds import Cloud
from panoptic_ros.grid.labelling import CameraView
from panoptic_ros.grid.observations import Observation
from panoptic_ros.grid.options import GridOptions, PoseOptions
from panoptic_ros.grid.poses import Pose
from panoptic_ros.labels import LabelSet
from panoptic_ros.segmentation import PanopticSegmentation

LABELS = LabelSet.load("cityscapes")
OPTIONS = GridOptions(poses=PoseOptions(wait=0.5, queue=6))
MS = 1_000_000
OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
CAMERA = Camera.from_info(64, 48, [40, 0, 32, 0, 40, 24, 0, 0, 1])
ROAD, CAR = 7000, 26001


class StandInGrid:
    """Remembers what it is told."""

    def __init__(self, options: GridOptions, labels: LabelSet, confusion: Any = None) -> None:
        self.calls: list[tuple[str, Any]] = []

    def move(self, x: float, y: float) -> None:
        self.calls.append(("move", (x, y)))

    def update(self, observation: Observation) -> None:
        self.calls.append(("update", observation))

    def relabel(self, before: Observation, after: Observation) -> None:
        self.calls.append(("relabel", (before, after)))

    def advance(self, stamp: int) -> None:
        self.calls.append(("advance", stamp))

    def reset(self) -> None:
        self.calls.append(("reset", None))

    def snapshot(self, stamp: int) -> Any:
        return SimpleNamespace(stamp=stamp)

    @property
    def updates(self) -> list[int]:
        return [value.stamp for name, value in self.calls if name == "update"]


class StandInTracker:
    """Every instance has track 100 + its number."""

    def __init__(self, options: GridOptions, labels: LabelSet) -> None:
        self.resets = 0

    def update(self, stamp: int, measured: Sequence[tuple[int, int]]) -> tuple[Any, ...]:
        return tuple(measured)

    def tracks_of(self, measured: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int]:
        return {(camera, instance): 100 + instance % 1000 for camera, instance in measured}

    def reset(self) -> None:
        self.resets += 1


def find_instances(observation: Observation, labels: LabelSet, options: GridOptions) -> list[tuple[int, int]]:
    pairs = zip(observation.cameras.tolist(), observation.instances.tolist(), strict=True)
    return sorted({pair for pair in pairs if pair[1]})


def stand_in_builder(monkeypatch: pytest.MonkeyPatch) -> GridBuilder:
    monkeypatch.setattr(mapper, "SemanticGrid", StandInGrid)
    monkeypatch.setattr(mapper, "Tracker", StandInTracker)
    monkeypatch.setattr(mapper, "find_objects", find_instances)
    return with_frames(GridBuilder(OPTIONS, LABELS))


def with_frames(builder: GridBuilder) -> GridBuilder:
    builder.add_pose("base_link", "lidar", 0, Pose(np.eye(3), np.array([0, 0, 1.8])), static=True)
    for index in range(3):
        optical = Pose(OPTICAL, np.array([0.5, 0.1 * index, 1.5]))
        builder.add_pose("base_link", f"optical_{index}", 0, optical, static=True)
    return builder


def grid_of(builder: GridBuilder) -> StandInGrid:
    grid = builder._mapper.grid
    assert isinstance(grid, StandInGrid)
    return grid


def drive(builder: GridBuilder, *milliseconds: int, at: float | None = None) -> None:
    """Poses at 10 m/s along x, or at a place."""
    for time in milliseconds:
        x = time / 100 if at is None else at
        builder.add_pose("odom", "base_link", time * MS, Pose(np.eye(3), np.array([x, 0.0, 0.0])))


def cloud(milliseconds: int, frame: str = "lidar") -> Cloud:
    """Ground before the vehicle, and a wall at 10 m."""
    y, z = np.meshgrid(np.linspace(-3, 3, 13), np.linspace(-1.2, 0.2, 8))
    wall = np.column_stack([np.full(y.size, 10.0), y.ravel(), z.ravel()])
    x, y = np.meshgrid(np.linspace(4, 9, 12), np.linspace(-2, 2, 9))
    ground = np.column_stack([x.ravel(), y.ravel(), np.full(x.size, -1.8)])
    return Cloud(milliseconds * MS, frame, np.concatenate([wall, ground]).astype(np.float32))


def view(milliseconds: int, index: int = 0, frame: str | None = None) -> CameraView:
    """A car in the image's upper half, above the horizon's row 24 to where the wall's foot is, and road below."""
    ids = np.full((48, 64), ROAD, np.int32)
    ids[:29] = CAR
    segmentation = PanopticSegmentation.from_ids(ids, LABELS.thing_ids)
    return CameraView(milliseconds * MS, frame or f"optical_{index}", CAMERA, segmentation, f"camera_{index}", index)
