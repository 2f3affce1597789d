"""The semantic grid on one core: 400x400 cells of 19 classes, a lidar's cloud of 100,000 points.

Poles and cars of round shape stand around a lidar of 64 rings that drives between them, with three cameras of
1280x720 pixels.  Fusion by itself: *one cloud* is one observation with labels; *three sensors* are three observations
of a third of the points each, at three stamps; *three clouds* are three whole ones.  *Labelling and fusion* is all that
a node does between a cloud's message and its publishing: labels of one camera or three, objects and their tracks, the
grid.  *Snapshot* is what publishing begins with, and *publishing* the rest of it: the messages.  CPU time stands beside
the time of the wall, for a machine that has other things to do.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator

import numpy as np
from timing import measure, report

from panoptic_ros.grid.builder import GridBuilder
from panoptic_ros.grid.cameras import Camera
from panoptic_ros.grid.clouds import Cloud
from panoptic_ros.grid.labelling import CameraView, observe_cloud
from panoptic_ros.grid.mapper import GridResult
from panoptic_ros.grid.observations import Observation
from panoptic_ros.grid.options import GridOptions
from panoptic_ros.grid.poses import Pose
from panoptic_ros.grid.semantic_grid import SemanticGrid
from panoptic_ros.labels import LabelSet
from panoptic_ros.messages import BagMessageTypes
from panoptic_ros.messages.grid import grid_messages
from panoptic_ros.segmentation import PanopticSegmentation

LABELS = LabelSet.load("cityscapes")
NAMES = [label.name for label in LABELS.labels]
POINTS, RINGS, STEPS, HEIGHT, SPEED, PERIOD = 100_000, 64, 2048, 1.9, 10.0, 100_000_000
FRAMES, FAR = 12, 1e6
WIDTH, ROWS, FOCAL = 1280, 720, 640.0
YAWS = (0.0, 120.0, -120.0)
FOR_NAV2 = ("occupancy", "nav_grid", "semantic_grid", "obstacle_points", "objects")


def bodies(generator: np.random.Generator) -> Iterator[tuple[float, float, float, float, int]]:
    """Centre, radius and height of what stands there, with its class index."""
    for _ in range(80):
        x, y = generator.uniform(-45, 45, 2)
        name, radius, height = [("pole", 0.15, 4.0), ("person", 0.3, 1.8), ("car", 1.5, 1.6), ("building", 4.0, 9.0)][
            generator.choice(4, p=[0.3, 0.2, 0.4, 0.1])
        ]
        if abs(y) > radius + 2:
            yield x, y, radius, height, NAMES.index(name)


def cast(x: float, azimuth: np.ndarray, slope: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What rays from the lidar meet first.

    Parameters
    ----------
    x:
        Where the lidar is.
    azimuth, slope:
        Of the rays, which broadcast; the slope is the rise over a metre of ground.

    Returns
    -------
    Metres along the ground, class index and number of the instance, 0 for none.
    """
    reach = np.where(slope < 0, HEIGHT / np.maximum(-slope, 1e-6), FAR) * np.ones_like(azimuth)
    classes = np.where(np.abs(np.sin(azimuth) * reach) < 6, NAMES.index("road"), NAMES.index("sidewalk"))
    classes = np.where(reach < FAR, classes, NAMES.index("sky"))
    instances = np.zeros(reach.shape, dtype=np.int32)
    for index, (cx, cy, radius, height, label) in enumerate(bodies(np.random.default_rng(0))):
        along = (cx - x) * np.cos(azimuth) + cy * np.sin(azimuth)
        inside = radius**2 - (cx - x) ** 2 - cy**2 + along**2
        entry = along - np.sqrt(np.maximum(inside, 0))
        met = (inside > 0) & (along > 0) & (entry < reach) & (HEIGHT + entry * slope < height)
        reach, classes = np.where(met, entry, reach), np.where(met, label, classes)
        instances = np.where(met & LABELS.labels[label].is_thing, index + 1, np.where(met, 0, instances))
    return reach, classes, instances


def place_of(frame: int) -> tuple[float, int]:
    """Where the lidar is at a frame, and its stamp."""
    return frame * SPEED * PERIOD * 1e-9, (frame + 1) * PERIOD


def cloud(frame: int) -> Observation:
    """The cloud of one stamp, labelled, in the order of a lidar that turns."""
    x, stamp = place_of(frame)
    azimuth = np.linspace(-math.pi, math.pi, STEPS, endpoint=False)[:, None]
    slope = np.tan(np.radians(np.linspace(-25, 3, RINGS)))[None]
    reach, classes, instances = cast(x, azimuth, slope)
    valid = np.flatnonzero(reach.ravel() < 60)
    valid = np.sort(np.random.default_rng(frame).choice(valid, POINTS, replace=False))
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


def view(frame: int, index: int, step: int = 4) -> CameraView:
    """What a camera in the lidar's place sees; one ray stands for `step` pixels in rows and columns."""
    x, stamp = place_of(frame)
    rows, columns = np.mgrid[step // 2 : ROWS : step, step // 2 : WIDTH : step].astype(np.float64)
    right, down = (columns - (WIDTH - 1) / 2) / FOCAL, (rows - (ROWS - 1) / 2) / FOCAL
    azimuth = np.radians(YAWS[index]) + np.arctan2(-right, 1.0)
    _, classes, instances = cast(x, azimuth, -down / np.hypot(right, 1.0))
    ids = (LABELS.class_ids[classes] * 1000 + instances).astype(np.int32)
    ids = ids.repeat(step, axis=0).repeat(step, axis=1)
    camera = Camera.from_info(WIDTH, ROWS, [FOCAL, 0, (WIDTH - 1) / 2, 0, FOCAL, (ROWS - 1) / 2, 0, 0, 1])
    segmentation = PanopticSegmentation.from_ids(ids, LABELS.thing_ids)
    return CameraView(stamp, f"optical_{index}", camera, segmentation, f"camera_{index}", index)


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


class Node:
    """A builder that is given, over and over, the poses, the images and the cloud of each frame."""

    def __init__(self, clouds: list[Observation], views: list[list[CameraView]], confusion: np.ndarray) -> None:
        self.builder = GridBuilder(GridOptions(), LABELS, confusion, contact_line=False)
        self.clouds = [Cloud(one.stamp, "lidar", one.points) for one in clouds]
        self.views, self.count = views, 0
        self.last: GridResult | None = None
        self._add("base_link", "lidar", 0, Pose(np.eye(3), np.array([0.0, 0.0, HEIGHT])), static=True)
        for index, yaw in enumerate(np.radians(YAWS)):
            ahead, right = (math.cos(yaw), math.sin(yaw), 0.0), (math.sin(yaw), -math.cos(yaw), 0.0)
            optical = np.array([right, (0.0, 0.0, -1.0), ahead]).T
            self._add("lidar", f"optical_{index}", 0, Pose(optical, np.zeros(3)), static=True)

    def _add(self, parent: str, child: str, stamp: int, pose: Pose, static: bool = False) -> None:
        self.builder.add_pose(parent, child, stamp, pose, static)

    def step(self) -> None:
        rounds, place = divmod(self.count, len(self.clouds))
        self.count += 1
        later = rounds * len(self.clouds) * PERIOD
        x, stamp = place_of(place)
        # On and on, since a vehicle that is suddenly back at its start makes the grid begin anew.
        x += rounds * len(self.clouds) * SPEED * PERIOD * 1e-9
        self._add("odom", "base_link", stamp + later, Pose(np.eye(3), np.array([x, 0.0, 0.0])))
        for one in self.views[place]:
            self.builder.add_view(dataclasses.replace(one, stamp=one.stamp + later))
        self.builder.add_cloud(dataclasses.replace(self.clouds[place], stamp=stamp + later))
        (self.last,) = self.builder.process()

    def label(self) -> None:
        """The labels of the last frame by themselves."""
        place = (self.count - 1) % len(self.clouds)
        assert self.last is not None
        stamp = self.last.stamp
        views = [dataclasses.replace(one, stamp=stamp) for one in self.views[place]]
        one = dataclasses.replace(self.clouds[place], stamp=stamp)
        observe_cloud(one, views, self.builder.tree, LABELS, self.builder.options)


def main() -> dict[str, object]:
    clouds = [cloud(frame) for frame in range(FRAMES)]
    views = [[view(frame, index) for index in range(len(YAWS))] for frame in range(FRAMES)]
    confusion = np.eye(len(LABELS)) * 0.8 + 0.2 / len(LABELS)
    one = Drive([[whole] for whole in clouds], confusion)
    three = Drive([thirds(whole) for whole in clouds], confusion)
    heavy = Drive([[whole] * 3 for whole in clouds], confusion)
    votes = Drive([[whole] for whole in clouds], confusion)
    votes.grid = SemanticGrid(GridOptions(), LABELS)
    single, triple = Node(clouds, [some[:1] for some in views], confusion), Node(clouds, views, confusion)
    for node in (single, triple):
        node.step()  # what is measured goes on from a first frame, in any order
    types = BagMessageTypes()

    def publish(wanted: tuple[str, ...] | None) -> None:
        result = single.last
        assert result is not None
        grid_messages(types, result.snapshot, result.objects, LABELS, result.observation, wanted)

    times = measure(
        {
            "fusion, one cloud": one.step,
            "fusion, one cloud, votes": votes.step,
            "fusion, three sensors": three.step,
            "fusion, three clouds": heavy.step,
            "labelling and fusion, one camera": single.step,
            "labelling and fusion, three cameras": triple.step,
            "of which labelling, one camera": single.label,
            "of which labelling, three cameras": triple.label,
            "of which snapshot": one.grid.snapshot,
            "publishing, what Nav2 needs": lambda: publish(FOR_NAV2),
            "publishing, every topic": lambda: publish(None),
        },
        repeats=60,
        warmup=FRAMES,
    )
    assert single.last is not None
    snapshot, labelled = one.grid.snapshot(), float(np.mean(single.last.observation.classes >= 0))
    share = {name: float(np.mean(snapshot.occupied == value)) for name, value in (("free", 0), ("occupied", 100))}
    size = one.grid.options.size
    title = (
        f"semantic grid, {size}x{size} cells, {POINTS} points; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    figures: dict[str, object] = dict(report(title, times))
    print(f"{one.grid.bytes_per_cell:.0f} bytes a cell, {one.grid.bytes_per_cell * size**2 / 2**20:.1f} MiB")
    print(f"free {share['free']:.3f}, occupied {share['occupied']:.3f}, points labelled by one camera {labelled:.3f}")
    return {**figures, "bytes_per_cell": one.grid.bytes_per_cell, "labelled_by_one": labelled, **share}


if __name__ == "__main__":
    main()
