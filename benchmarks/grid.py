"""The semantic grid on one core: 400x400 cells of 19 classes, a lidar's cloud of 100,000 labelled points.

Poles and cars of round shape stand around a lidar of 64 rings that drives between them.  *One cloud* is what one
camera, or three that label the same cloud, give: one observation.  *Three sensors* are three observations of a third
of the points each, at three stamps; *three clouds* are three whole ones.  The snapshot is what publishing begins with.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
from timing import measure, report

from panoptic_ros.grid.observations import Observation
from panoptic_ros.grid.options import GridOptions
from panoptic_ros.grid.semantic_grid import SemanticGrid
from panoptic_ros.labels import LabelSet

LABELS = LabelSet.load("cityscapes")
NAMES = [label.name for label in LABELS.labels]
POINTS, RINGS, STEPS, HEIGHT, SPEED, PERIOD = 100_000, 64, 2048, 1.9, 10.0, 100_000_000
FRAMES, FAR = 12, 1e6


def bodies(generator: np.random.Generator) -> Iterator[tuple[float, float, float, float, int]]:
    """Centre, radius and height of what stands there, with its class index."""
    for _ in range(80):
        x, y = generator.uniform(-45, 45, 2)
        name, radius, height = [("pole", 0.15, 4.0), ("person", 0.3, 1.8), ("car", 1.5, 1.6), ("building", 4.0, 9.0)][
            generator.choice(4, p=[0.3, 0.2, 0.4, 0.1])
        ]
        if abs(y) > radius + 2:
            yield x, y, radius, height, NAMES.index(name)


def cloud(frame: int) -> Observation:
    """The cloud of one stamp, labelled, in the order of a lidar that turns."""
    generator = np.random.default_rng(0)
    x, stamp = frame * SPEED * PERIOD * 1e-9, (frame + 1) * PERIOD
    azimuth = np.linspace(-math.pi, math.pi, STEPS, endpoint=False)[:, None]
    slope = np.tan(np.radians(np.linspace(-25, 3, RINGS)))[None]
    reach = np.where(slope < 0, HEIGHT / np.maximum(-slope, 1e-6), FAR) * np.ones_like(azimuth)
    classes = np.where(np.abs(np.sin(azimuth) * reach) < 6, NAMES.index("road"), NAMES.index("sidewalk"))
    instances = np.zeros(reach.shape, dtype=np.int32)
    for index, (cx, cy, radius, height, label) in enumerate(bodies(generator)):
        along = (cx - x) * np.cos(azimuth) + cy * np.sin(azimuth)
        inside = radius**2 - (cx - x) ** 2 - cy**2 + along**2
        entry = along - np.sqrt(np.maximum(inside, 0))
        met = (inside > 0) & (along > 0) & (entry < reach) & (HEIGHT + entry * slope < height)
        reach, classes = np.where(met, entry, reach), np.where(met, label, classes)
        instances = np.where(met & LABELS.labels[label].is_thing, index + 1, instances)
    valid = np.flatnonzero(reach.ravel() < 60)
    valid = np.sort(generator.choice(valid, POINTS, replace=False))
    xyz = np.stack([reach * np.cos(azimuth), reach * np.sin(azimuth), reach * slope], axis=-1).reshape(-1, 3)[valid]
    labels = classes.ravel()[valid].astype(np.int16)
    return Observation(
        stamp=stamp,
        source="lidar",
        origin=np.array([x, 0.0, HEIGHT]),
        points=xyz.astype(np.float32),
        heights=(xyz[:, 2] + HEIGHT).astype(np.float32),
        classes=labels,
        instances=instances.ravel()[valid],
        cameras=np.zeros(POINTS, dtype=np.int8),
        obstacle=~GridOptions().is_ground(LABELS)[labels],
        weights=np.ones(POINTS, dtype=np.float32),
    )


def thirds(whole: Observation) -> list[Observation]:
    """The same points from three sensors, 20 ms apart."""
    names = ("points", "heights", "classes", "instances", "cameras", "obstacle", "weights")
    return [
        dataclasses.replace(
            whole,
            stamp=whole.stamp + turn * PERIOD // 5,
            **{name: getattr(whole, name)[turn * POINTS // 3 : (turn + 1) * POINTS // 3] for name in names},
        )
        for turn in range(3)
    ]


class Drive:
    """A grid that is led along the clouds, over and over, with time going on."""

    def __init__(self, frames: list[list[Observation]], confusion: np.ndarray) -> None:
        self.frames, self.count = frames, 0
        self.grid = SemanticGrid(GridOptions(), LABELS, confusion)

    def step(self) -> None:
        rounds, place = divmod(self.count, len(self.frames))
        self.count += 1
        for observation in self.frames[place]:
            later = dataclasses.replace(observation, stamp=observation.stamp + rounds * len(self.frames) * PERIOD)
            self.grid.move(float(observation.origin[0]), 0.0)
            self.grid.update(later)
            self.grid.advance(later.stamp)


def main() -> dict[str, object]:
    clouds = [cloud(frame) for frame in range(FRAMES)]
    confusion = np.eye(len(LABELS)) * 0.8 + 0.2 / len(LABELS)
    one = Drive([[whole] for whole in clouds], confusion)
    three = Drive([thirds(whole) for whole in clouds], confusion)
    heavy = Drive([[whole] * 3 for whole in clouds], confusion)
    votes = Drive([[whole] for whole in clouds], confusion)
    votes.grid = SemanticGrid(GridOptions(), LABELS)
    seconds = measure(
        {
            "one cloud": one.step,
            "one cloud, votes": votes.step,
            "three sensors": three.step,
            "three clouds": heavy.step,
            "snapshot": one.grid.snapshot,
        },
        repeats=60,
        warmup=FRAMES,
    )
    snapshot = one.grid.snapshot()
    share = {name: float(np.mean(snapshot.occupied == value)) for name, value in (("free", 0), ("occupied", 100))}
    size = one.grid.options.size
    figures: dict[str, object] = dict(report(f"semantic grid, {size}x{size} cells, {POINTS} points", seconds))
    print(f"{one.grid.bytes_per_cell:.0f} bytes a cell, {one.grid.bytes_per_cell * size**2 / 2**20:.1f} MiB")
    print(f"free {share['free']:.3f}, occupied {share['occupied']:.3f}, labelled {np.mean(snapshot.classes >= 0):.3f}")
    return {**figures, "bytes_per_cell": one.grid.bytes_per_cell, **share}


if __name__ == "__main__":
    main()
