"""What turns the inputs of sensors into grids: what the node and offline replay both call.

Inputs come in any order and wait here, in a bounded queue, until the poses at their own stamps are there and, for a
cloud, until it is known which image of each camera is nearest.  Time is that of the data: the newest stamp that has
come.  Nothing here blocks or raises over bad data: what cannot be used is counted by its reason, the last message of
each reason is kept, and the grid stays as it was.

A recording is worked off whole (`GridBuilder.process`).  A node that is slower than its sensors must not fall behind
them (`GridBuilder.process_next`): what came of a sensor while the builder was at work supersedes what is older.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.grid.clouds import Cloud
from panoptic_ros.grid.contact_line import observe_contact_line
from panoptic_ros.grid.depth import DepthImage
from panoptic_ros.grid.labelling import CameraView, observe_cloud, observe_depth
from panoptic_ros.grid.objects import find_objects
from panoptic_ros.grid.observations import Observation
from panoptic_ros.grid.options import GridOptions
from panoptic_ros.grid.poses import (
    NANOSECONDS,
    NotYetError,
    Pose,
    PoseError,
    PoseJumpError,
    PoseTree,
    UnknownFrameError,
    seconds,
)
from panoptic_ros.grid.semantic_grid import SemanticGrid
from panoptic_ros.grid.snapshot import GridSnapshot
from panoptic_ros.grid.tracking import TrackedObject, Tracker
from panoptic_ros.labels import LabelSet

STREAM_JUMP = NANOSECONDS
"""A stream of a sensor that goes back by more than this has a clock that has jumped."""

ALONE = NANOSECONDS
"""So long after the last cloud or depth image the cameras are alone, and their contact lines count."""

KEPT_VIEWS = 32  # of each camera

_NEVER = -(2**62)  # before every stamp

NO_POSE, UNKNOWN_FRAME, POSE_JUMP, TOO_OLD = "no pose", "unknown frame", "pose jump", "too old"
BAD_INPUT, BAD_TRANSFORM, QUEUE_FULL = "bad input", "bad transform", "queue full"
SUPERSEDED = "superseded"

Input = Cloud | DepthImage | CameraView


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


class _Answer(Enum):
    """Of an input that has no result: it must wait, or it says nothing."""

    WAIT = 0
    NOTHING = 1


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """An input that waits, of which sensor, and whether it came while the builder was at work."""

    item: Input
    stream: str
    is_pressing: bool


@dataclass(slots=True, eq=False)
class _Camera:
    """The views of one camera that a cloud may still need, by stamp."""

    views: list[CameraView] = field(default_factory=list)
    period: int = 0

    def add(self, view: CameraView) -> None:
        if self.views:
            self.period = max(0, view.stamp - self.views[-1].stamp)
        self.views.append(view)
        self.views.sort(key=lambda one: one.stamp)

    def settled(self, stamp: int) -> bool:
        """Whether no view that is still to come can be nearer to a stamp than those that are here."""
        return self.views[-1].stamp + self.period // 2 >= stamp

    def nearest(self, stamp: int) -> CameraView:
        return min(self.views, key=lambda view: abs(view.stamp - stamp))


class GridBuilder:
    """Builds a grid from what sensors say.

    Parameters
    ----------
    options:
        The settings of the grid.
    labels:
        The classes of all segmentations.
    confusion:
        (C, C) float, the chance of each prediction (column) given the true class (row), or None; see `SemanticGrid`.
    contact_line:
        Whether images say where the ground ends: always, never, or, by default, while neither cloud nor depth comes.

    Attributes
    ----------
    tree:
        The poses.
    dropped:
        How many inputs were not used, by reason.
    last_errors:
        The last message of each reason.
    resets:
        How often the grid began anew, by reason.
    """

    def __init__(
        self,
        options: GridOptions,
        labels: LabelSet,
        confusion: NDArray[np.floating] | None = None,
        contact_line: bool | None = None,
    ) -> None:
        self.options = options
        self.labels = labels
        self.contact_line = contact_line
        self.tree = PoseTree(options.poses.maximum_jump, options.poses.maximum_speed)
        self.dropped: Counter[str] = Counter()
        self.last_errors: dict[str, str] = {}
        self.resets: Counter[str] = Counter()
        self._grid = SemanticGrid(options, labels, confusion)
        self._tracker = Tracker(options, labels)
        self._pending: list[_Waiting] = []
        self._busy = False
        self._cameras: dict[int, _Camera] = {}
        self._streams: dict[str, int] = {}
        self._clock = _NEVER
        self._newest_points: int | None = None
        self._first_view: int | None = None
        self._last_base: tuple[int, NDArray[np.float64]] | None = None

    def add_pose(self, parent: str, child: str, stamp: int, pose: Pose, static: bool = False) -> None:
        """Take a transform: `child` in `parent` at a stamp, nanoseconds."""
        try:
            jumped = self.tree.add(parent, child, stamp, pose, static)
        except ValueError as error:
            self._drop(BAD_TRANSFORM, str(error))
            return
        if jumped:
            # The tree has kept what is new; everything else was of another time.
            self._restart("clock jumped back")
        if not static:
            self._clock = max(self._clock, stamp)

    def add_view(self, view: CameraView) -> None:
        """Take an image's segmentation: for the clouds of about its time, and for its contact line."""
        stream = f"camera {view.index}"
        self._notice(stream, view.stamp)
        self._cameras.setdefault(view.index, _Camera()).add(view)
        if self._first_view is None:
            self._first_view = view.stamp
        if self.contact_line is not False:
            self._queue(view, stream)

    def add_cloud(self, cloud: Cloud) -> None:
        """Take a sweep of a lidar."""
        stream = f"lidar {cloud.frame}"
        self._notice(stream, cloud.stamp)
        self._newest_points = max(self._newest_points or cloud.stamp, cloud.stamp)
        self._queue(cloud, stream)

    def add_depth(self, image: DepthImage) -> None:
        """Take a depth image."""
        stream = f"depth {image.frame}"
        self._notice(stream, image.stamp)
        self._newest_points = max(self._newest_points or image.stamp, image.stamp)
        self._queue(image, stream)

    def process(self) -> list[GridResult]:
        """Handle what has become ready, the oldest first; what is not yet stays."""
        return self._handle(final=False)

    def process_next(self) -> GridResult | None:
        """Handle one input that has become ready: what a node calls, and again until it returns None.

        What of a sensor came while the builder was at work (since a call that returned a result) supersedes older
        inputs of that sensor as soon as it is ready itself, so that the age of the grid does not grow where clouds
        come faster than they are worked off.  What has waited for a pose or a mask only is worked off whole.  Sensors
        take turns: the oldest stamp is first.
        """
        streams: dict[str, list[_Waiting]] = {}
        for one in self._pending:
            streams.setdefault(one.stream, []).append(one)
        turns = [
            [one for one in reversed(waiting) if one.is_pressing] + [one for one in waiting if not one.is_pressing]
            for waiting in streams.values()
        ]
        for turn in sorted(turns, key=lambda turn: turn[0].item.stamp):
            for one in turn:
                result = self._settle(one, final=False)
                if result is not None:
                    if one.is_pressing:
                        self._supersede(one)
                    self._busy = True
                    self._forget_views()
                    return result
        self._busy = False
        self._forget_views()
        return None

    def finish(self) -> list[GridResult]:
        """Handle what can be handled without any further input, and drop the rest: the end of a recording."""
        return self._handle(final=True)

    def reset(self, reason: str) -> None:
        """Begin anew, without poses but static ones, for a reason that is counted."""
        self.tree.clear()
        self._restart(reason)

    @property
    def waiting(self) -> int:
        """How many inputs wait."""
        return len(self._pending)

    def _restart(self, reason: str) -> None:
        self.resets[reason] += 1
        self._pending.clear()
        self._cameras.clear()
        self._streams.clear()
        self._clock = _NEVER
        self._newest_points = self._first_view = self._last_base = None
        self._grid.reset()
        self._tracker.reset()

    def _drop(self, reason: str, message: str) -> None:
        self.dropped[reason] += 1
        self.last_errors[reason] = message

    def _notice(self, stream: str, stamp: int) -> None:
        """Time goes on; or it has jumped back, and everything begins anew."""
        last = self._streams.get(stream)
        if last is not None and stamp < last - STREAM_JUMP:
            self.reset("clock jumped back")
        self._streams[stream] = max(stamp, self._streams.get(stream, stamp))
        self._clock = max(self._clock, stamp)

    def _queue(self, item: Input, stream: str) -> None:
        self._pending.append(_Waiting(item, stream, self._busy))
        self._pending.sort(key=lambda one: one.item.stamp)
        while len(self._pending) > self.options.poses.queue:
            oldest = self._pending.pop(0).item
            self._drop(QUEUE_FULL, f"{_name(oldest)}: more than {self.options.poses.queue} inputs wait for poses")

    def _handle(self, final: bool) -> list[GridResult]:
        results = [result for one in list(self._pending) if (result := self._settle(one, final)) is not None]
        self._forget_views()
        return results

    def _settle(self, one: _Waiting, final: bool) -> GridResult | None:
        """Handle an input if it is ready; what is not yet goes on waiting."""
        item = one.item
        late = final or self._clock - item.stamp > round(self.options.poses.wait * NANOSECONDS)
        result: GridResult | _Answer = _Answer.NOTHING
        try:
            result = self._try(item, late)
        except (NotYetError, UnknownFrameError) as error:
            if late:
                unknown = isinstance(error, UnknownFrameError)
                self._drop(UNKNOWN_FRAME if unknown else NO_POSE, f"{_name(item)}: {error}")
            else:
                result = _Answer.WAIT
        except PoseJumpError as error:
            self._drop(POSE_JUMP, f"{_name(item)}: {error}")
        except PoseError as error:
            self._drop(TOO_OLD, f"{_name(item)}: {error}")
        except ValueError as error:
            self._drop(BAD_INPUT, f"{_name(item)}: {error}")
        finally:
            # Also after an error that nobody foresaw, which would come again with the same input.
            if result is not _Answer.WAIT:
                self._pending.remove(one)
        return result if isinstance(result, GridResult) else None

    def _supersede(self, newest: _Waiting) -> None:
        """Drop what is older of the same sensor."""
        for one in list(self._pending):
            if one.stream == newest.stream and one.item.stamp < newest.item.stamp:
                self._pending.remove(one)
                self._drop(SUPERSEDED, f"{_name(one.item)}: a newer one came before it was begun")

    def _try(self, item: Input, late: bool) -> GridResult | _Answer:
        """The result of an input, if it has one and nothing that it needs may still come."""
        if isinstance(item, CameraView):
            return self._try_view(item, late)
        base = self.tree.lookup(self.options.fixed_frame, self.options.base_frame, item.stamp)
        if not late and not all(camera.settled(item.stamp) for camera in self._active(item.stamp)):
            return _Answer.WAIT
        views = self._views_for(item.stamp, late)
        if views is None:
            return _Answer.WAIT
        if isinstance(item, Cloud):
            observation = observe_cloud(item, views, self.tree, self.labels, self.options)
        else:
            observation = observe_depth(item, views, self.tree, self.labels, self.options)
        return self._take(observation, base)

    def _try_view(self, view: CameraView, late: bool) -> GridResult | _Answer:
        if self.contact_line is None:
            if self._newest_points is not None:
                if abs(view.stamp - self._newest_points) <= ALONE or view.stamp < self._newest_points:
                    return _Answer.NOTHING
            elif not late and self._clock - (self._first_view or 0) < round(self.options.poses.wait * NANOSECONDS):
                return _Answer.WAIT  # a lidar may still be starting
        base = self.tree.lookup(self.options.fixed_frame, self.options.base_frame, view.stamp)
        return self._take(observe_contact_line(view, self.tree, self.labels, self.options), base)

    def _active(self, stamp: int) -> list[_Camera]:
        """The cameras that deliver: one that has stopped is not waited for."""
        return [camera for camera in self._cameras.values() if stamp - camera.views[-1].stamp < ALONE]

    def _views_for(self, stamp: int, late: bool) -> list[CameraView] | None:
        """The view of each camera that labels a cloud of `stamp`; None while the pose of one may still come."""
        found = []
        for camera in self._cameras.values():
            view = camera.nearest(stamp)
            if abs(view.stamp - stamp) > round(self.options.labelling.maximum_time_difference * NANOSECONDS):
                continue
            try:
                self.tree.lookup(view.frame, self.options.fixed_frame, view.stamp)
            except PoseError as error:
                may_come = isinstance(error, (NotYetError, UnknownFrameError))
                if may_come and not late:
                    return None
                # Without this camera the cloud still says what is occupied.
                reason = POSE_JUMP if isinstance(error, PoseJumpError) else NO_POSE
                self._drop(UNKNOWN_FRAME if isinstance(error, UnknownFrameError) else reason, f"{_name(view)}: {error}")
                continue
            found.append(view)
        return found

    def _take(self, observation: Observation, base: Pose) -> GridResult:
        self._check_place(observation.stamp, base.translation)
        measured = find_objects(observation, self.labels, self.options)
        objects = self._tracker.update(observation.stamp, measured)
        tracks = self._tracker.tracks_of(measured)
        observation = replace(observation, instances=_as_tracks(observation, tracks))
        self._grid.move(float(base.translation[0]), float(base.translation[1]))
        self._grid.update(observation)
        self._grid.advance(observation.stamp)
        return GridResult(observation.stamp, self._grid.snapshot(observation.stamp), objects, observation)

    def _check_place(self, stamp: int, place: NDArray[np.float64]) -> None:
        """Begin anew where the vehicle has been put somewhere else for good, as when odometry restarts."""
        if self._last_base is not None:
            then, there = self._last_base
            allowed = self.options.poses.maximum_speed * abs(stamp - then) / NANOSECONDS
            moved = float(np.linalg.norm(place - there))
            if moved > max(self.options.poses.maximum_jump, allowed):
                self.resets["pose jump"] += 1
                self.last_errors["reset"] = (
                    f"pose jump: {self.options.base_frame} is {moved:.1f} m from where it was "
                    f"{seconds(abs(stamp - then))} before; the grid begins anew"
                )
                self._grid.reset()
                self._tracker.reset()
        self._last_base = (stamp, place)

    def _forget_views(self) -> None:
        """Keep the views that a cloud may still ask for."""
        waiting = [one.item.stamp for one in self._pending if not isinstance(one.item, CameraView)]
        oldest = min([self._clock - round(self.options.poses.wait * NANOSECONDS), *waiting])
        oldest -= round(self.options.labelling.maximum_time_difference * NANOSECONDS)
        for camera in self._cameras.values():
            recent = [view for view in camera.views if view.stamp >= oldest] or camera.views[-1:]
            camera.views[:] = recent[-KEPT_VIEWS:]


def _name(item: Input) -> str:
    if isinstance(item, CameraView):
        return f"camera {item.name} at {seconds(item.stamp)}"
    return f"{'cloud' if isinstance(item, Cloud) else 'depth image'} in {item.frame} at {seconds(item.stamp)}"


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
