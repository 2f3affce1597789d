"""Hands the messages of a bag to grids, as the node hands over those that arrive."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoptic_ros.bags import BagMessage, bag_messages
from panoptic_ros.grid.cameras import Camera
from panoptic_ros.grid.labelling import CameraView
from panoptic_ros.messages import nanoseconds
from panoptic_ros.messages.grid import camera_from, cloud_from, depth_from, odometry_from, transforms_from
from panoptic_ros.recorded_grid.topics import DEPTH, LIDAR, STATIC, GridCamera, GridTopics
from panoptic_ros.segmentation import PanopticSegmentation

if TYPE_CHECKING:
    from panoptic_ros.grid.builder import GridBuilder
    from panoptic_ros.grid.mapper import GridResult

MOST_WAITING = 32
"""Frames of a camera that may wait for what belongs to them."""

Segment = Callable[[GridCamera, Mapping[str, Any]], PanopticSegmentation]
"""Makes a segmentation of the messages of a camera's frame: ``labels`` and, as far as they came, its companions."""


@dataclass(frozen=True, slots=True, eq=False)
class FedGrid:
    """A grid, and which of `panoptic_ros.recorded_grid.topics.INPUTS` it gets."""

    name: str
    inputs: frozenset[str]
    builder: GridBuilder


class RecordedFeed:
    """Reads messages and hands their content to grids.

    A message that cannot be used is counted, and the grids go on without it.

    Parameters
    ----------
    topics:
        What the messages' topics are.
    grids:
        Each gets all labels and poses, and the clouds and depth images that are among its inputs.
    segment:
        See `Segment`; called once for each frame, whatever the number of grids.

    Attributes
    ----------
    problems:
        How often something was wrong with a message, by the reason.
    """

    def __init__(self, topics: GridTopics, grids: Sequence[FedGrid], segment: Segment) -> None:
        self.problems: Counter[str] = Counter()
        self._topics = topics
        self._grids = tuple(grids)
        self._segment = segment
        self._cameras = {camera.name: index for index, camera in enumerate(topics.cameras)}
        self._roles: dict[str, list[tuple[GridCamera, str]]] = {}
        for camera in topics.cameras:
            for role, topic in (("labels", camera.labels), ("info", camera.info), *camera.companions.items()):
                self._roles.setdefault(topic, []).append((camera, role))
        self._infos: dict[str, Any] = {}
        self._waiting: dict[str, dict[int, dict[str, Any]]] = {camera.name: {} for camera in topics.cameras}

    def take(self, message: BagMessage) -> list[tuple[str, GridResult]]:
        """Take a message; returns what the grids have made since, by their names."""
        topic, content, topics = message.topic, message.content, self._topics
        with self._counting(topic):
            if topic in topics.transforms:
                static = topic.rpartition("/")[2] == STATIC
                for parent, child, stamp, pose in transforms_from(content):
                    self._each("add_pose", parent, child, stamp, pose, static)
            elif topic in topics.odometry:
                self._each("add_pose", *odometry_from(content), False)
            elif topic in topics.clouds:
                self._each("add_cloud", cloud_from(content), needs=LIDAR)
            elif topic in topics.depths:
                self._depth(topic, content)
            elif topic in topics.depths.values():
                self._infos[topic] = content
            for camera, role in self._roles.get(topic, ()):
                self._label(camera, role, content)
        return self.results()

    def results(self) -> list[tuple[str, GridResult]]:
        """What the grids have made since they were asked last."""
        return [(grid.name, result) for grid in self._grids for result in grid.builder.process()]

    def finish(self) -> list[tuple[str, GridResult]]:
        """What the grids make of what still waits: nothing more comes."""
        return [(grid.name, result) for grid in self._grids for result in grid.builder.finish()]

    def _depth(self, topic: str, message: Any) -> None:
        info = self._infos.get(self._topics.depths[topic])
        if info is None:
            raise ValueError(f"came before its camera_info on {self._topics.depths[topic]}")
        if any(DEPTH in grid.inputs for grid in self._grids):
            size = int(message.height), int(message.width)
            self._each("add_depth", depth_from(message, camera_from(info, "rect" in topic, size)), needs=DEPTH)

    def _label(self, camera: GridCamera, role: str, message: Any) -> None:
        """Keep a part of a camera's frame, and hand over the frames that are whole."""
        waiting = self._waiting[camera.name]
        if role == "info":
            self._infos[camera.info] = message
        else:
            waiting.setdefault(nanoseconds(message.header.stamp), {})[role] = message
        if camera.info not in self._infos:
            if len(waiting) > MOST_WAITING:
                del waiting[min(waiting)]
                raise ValueError(f"a frame came without a camera_info on {camera.info}")
            return
        whole = [stamp for stamp, parts in waiting.items() if len(parts) == 1 + len(camera.companions)]
        for stamp in sorted(waiting):
            # What is older than a whole frame has lost its companions on the way.
            if whole and stamp <= max(whole):
                parts = waiting.pop(stamp)
                if "labels" in parts:
                    self._view(camera, stamp, parts)

    def _view(self, camera: GridCamera, stamp: int, parts: Mapping[str, Any]) -> None:
        seen = self._segment(camera, parts)
        lens: Camera = camera_from(self._infos[camera.info], camera.rectified, (seen.height, seen.width))
        frame = str(parts["labels"].header.frame_id)
        self._each("add_view", CameraView(stamp, frame, lens, seen, camera.name, self._cameras[camera.name]))

    def _each(self, method: str, *values: Any, needs: str = "") -> None:
        for grid in self._grids:
            if not needs or needs in grid.inputs:
                getattr(grid.builder, method)(*values)

    @contextmanager
    def _counting(self, topic: str) -> Iterator[None]:
        """Count what is wrong with a message in place of ending the run."""
        try:
            yield
        except ValueError as error:
            self.problems[f"{topic}: {error}"] += 1


def merged_messages(sources: Sequence[tuple[Sequence[Path], Collection[str]]]) -> Iterator[BagMessage]:
    """Messages of several recordings of one time, in the order of their log times.

    Parameters
    ----------
    sources:
        Of each, its bags, one after another, and the topics that are wanted of it.  What was logged at the same time
        comes in the order of the sources.

    Raises
    ------
    SourceError, OSError
        If a bag cannot be read.
    """

    def chain(paths: Sequence[Path], topics: Collection[str]) -> Iterator[BagMessage]:
        for path in paths:
            yield from bag_messages(path, topics)

    yield from heapq.merge(*(chain(*source) for source in sources), key=lambda message: message.log_time)
