"""One input into the grid: what it says, the objects in it with their tracks, and the cells that it speaks of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.grid.clouds import Cloud
from panoptic_ros.grid.depth import DepthImage
from panoptic_ros.grid.labelling import CameraView, observe_cloud, observe_depth
from panoptic_ros.grid.late_labels import LateLabels
from panoptic_ros.grid.objects import find_objects
from panoptic_ros.grid.observations import Observation
from panoptic_ros.grid.options import GridOptions
from panoptic_ros.grid.poses import NANOSECONDS, PoseTree, seconds
from panoptic_ros.grid.semantic_grid import SemanticGrid
from panoptic_ros.grid.snapshot import GridSnapshot
from panoptic_ros.grid.tracking import TrackedObject, Tracker
from panoptic_ros.labels import LabelSet


@dataclass(frozen=True, slots=True, eq=False)
class GridResult:
    """What one input has led to.

    Attributes
    ----------
    stamp:
        That of the input, nanoseconds.
    snapshot:
        The grid after it.
    objects:
        What is tracked.
    observation:
        What the input said; its instances are track ids, 0 where an instance has no track.
    """

    stamp: int
    snapshot: GridSnapshot
    objects: tuple[TrackedObject, ...]
    observation: Observation


class Mapper:
    """The grid and the tracks of one vehicle.

    Parameters
    ----------
    options, labels, confusion:
        See `GridBuilder`.
    """

    def __init__(self, options: GridOptions, labels: LabelSet, confusion: NDArray[np.floating] | None = None) -> None:
        self.options = options
        self.labels = labels
        self.grid = SemanticGrid(options, labels, confusion)
        self.tracker = Tracker(options, labels)
        self._last: tuple[int, NDArray[np.float64]] | None = None

    def reset(self) -> None:
        """Forget everything."""
        self.grid.reset()
        self.tracker.reset()
        self._last = None

    def check_place(self, stamp: int, place: NDArray[np.float64]) -> str:
        """Forget everything if the vehicle has been put somewhere else since the last stamp; returns how far, or ''.

        Parameters
        ----------
        stamp:
            Nanoseconds.
        place:
            (3,) float64, where the vehicle is in the fixed frame, metres.
        """
        if self._last is not None:
            then, there = self._last
            allowed = self.options.poses.maximum_speed * abs(stamp - then) / NANOSECONDS
            moved = float(np.linalg.norm(place - there))
            if moved > max(self.options.poses.maximum_jump, allowed):
                self.reset()
                self._last = (stamp, place)
                before = seconds(abs(stamp - then))
                return f"{self.options.base_frame} is {moved:.1f} m from where it was {before} before"
        self._last = (stamp, place)
        return ""

    def observe(self, points: Cloud | DepthImage, views: Sequence[CameraView], tree: PoseTree) -> Observation:
        """What a sensor and the masks of its time say; raises what `observe_cloud` does."""
        if isinstance(points, Cloud):
            return observe_cloud(points, views, tree, self.labels, self.options)
        return observe_depth(points, views, tree, self.labels, self.options)

    def take(self, observation: Observation, place: NDArray[np.float64]) -> GridResult:
        """Make an observation part of the grid, whose window is put around the vehicle."""
        measured = find_objects(observation, self.labels, self.options)
        objects = self.tracker.update(observation.stamp, measured)
        observation = replace(observation, instances=_as_tracks(observation, self.tracker.tracks_of(measured)))
        self.grid.move(float(place[0]), float(place[1]))
        self.grid.update(observation)
        self.grid.advance(observation.stamp)
        return GridResult(observation.stamp, self.grid.snapshot(observation.stamp), objects, observation)

    def label_late(self, late: LateLabels, tree: PoseTree) -> None:
        """Add the labels of a mask to what is part of the grid already; raises what `observe_cloud` does."""
        taken = late.taken
        before = self.observe(taken.points, taken.views, tree)
        after = self.observe(taken.points, [*taken.views, late.view], tree)
        taken.views.append(late.view)
        # What had a label before was measured then.
        fresh = replace(after, instances=np.where(before.classes < 0, after.instances, 0))
        measured = find_objects(fresh, self.labels, self.options)
        self.tracker.update(after.stamp, measured)
        self.grid.relabel(before, replace(after, instances=_as_tracks(after, self.tracker.tracks_of(measured))))


def _as_tracks(observation: Observation, tracks: dict[tuple[int, int], int]) -> NDArray[np.int32]:
    """(N,) int32, the track of each point's instance, 0 for none."""
    found = np.zeros(len(observation), dtype=np.int32)
    things = np.flatnonzero(observation.instances)
    if not len(things) or not tracks:
        return found
    pairs = observation.cameras[things].astype(np.int64) << 32 | observation.instances[things]
    keys, where = np.unique(pairs, return_inverse=True)
    numbers = [tracks.get((int(key) >> 32, int(key) & 0xFFFFFFFF), 0) for key in keys]
    found[things] = np.array(numbers, dtype=np.int32)[where]
    return found
