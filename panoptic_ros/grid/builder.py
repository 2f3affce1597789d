"""What turns the inputs of sensors into grids: what the node and offline replay both call.

Inputs come in any order and wait here, in a bounded queue, until the poses at their own stamps are there and, for a
cloud, until it is known which image of each camera is nearest.  Time is that of the data: the newest stamp that has
come.  Nothing here blocks or raises over bad data: what cannot be used is counted by its reason, the last message of
each reason is kept, and the grid stays as it was.

A cloud does not wait for a network that is slower than that.  It tells what is occupied at once, and is kept for the
masks of its time, whose labels are added at the cloud's stamp when they come.

A recording is worked off whole (`GridBuilder.process`).  A node that is slower than its sensors must not fall behind
them (`GridBuilder.process_next`): what came of a sensor while the builder was at work supersedes what is older.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.grid.clouds import Cloud
from panoptic_ros.grid.contact_line import observe_contact_line
from panoptic_ros.grid.depth import DepthImage
from panoptic_ros.grid.inputs import (
    BAD_INPUT,
    BAD_TRANSFORM,
    LATE_MASK,
    NO_POSE,
    POSE_JUMP,
    QUEUE_FULL,
    SUPERSEDED,
    TOO_OLD,
    UNKNOWN_FRAME,
    Input,
    Waiting,
    name_of,
)
from panoptic_ros.grid.labelling import CameraView
from panoptic_ros.grid.late_labels import KeptClouds, LateLabels
from panoptic_ros.grid.mapper import GridResult, Mapper
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
from panoptic_ros.grid.views import ALONE, CameraViews
from panoptic_ros.labels import LabelSet

STREAM_JUMP = NANOSECONDS
"""A stream of a sensor that goes back by more than this has a clock that has jumped."""

_NEVER = -(2**62)  # before every stamp


class _Answer(Enum):
    """Of an input that has no result: it must wait, or it says nothing."""

    WAIT = 0
    NOTHING = 1


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
    late_labels:
        How many masks have labelled a cloud that was part of the grid already.
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
        self.late_labels = 0
        self._mapper = Mapper(options, labels, confusion)
        self._pending: list[Waiting] = []
        self._busy = False
        self._wait = round(options.poses.wait * NANOSECONDS)
        tolerance = round(options.labelling.maximum_time_difference * NANOSECONDS)
        self._views = CameraViews(self._wait, tolerance)
        self._kept = KeptClouds(round(options.labelling.patience * NANOSECONDS), tolerance)
        self._streams: dict[str, int] = {}
        self._clock = _NEVER
        self._newest_points: int | None = None
        self._first_view: int | None = None

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
        self._views.add(view, self._clock)
        self._mapper.tracker.behind = self._views.lateness
        waiting = ((one.stream, one.item.stamp) for one in self._pending)
        late = self._kept.claim(view, waiting)
        for one in late:
            self._queue(one, f"labels of camera {view.index}")
        if not late and self._kept.has_missed(view):
            behind = seconds(self._clock - view.stamp)
            self._drop(LATE_MASK, f"{name_of(view)} came {behind} late: the clouds of its time are given up")
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
        streams: dict[str, list[Waiting]] = {}
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
                    self._forget()
                    return result
        self._busy = False
        self._forget()
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
        self._views.clear()
        self._kept.clear()
        self._streams.clear()
        self._clock = _NEVER
        self._newest_points = self._first_view = None
        self._mapper.reset()

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
        since = self._clock if isinstance(item, LateLabels) else item.stamp
        self._pending.append(Waiting(item, stream, since, self._busy))
        self._pending.sort(key=lambda one: one.item.stamp)
        while len(self._pending) > self.options.poses.queue:
            oldest = self._pending.pop(0).item
            self._drop(QUEUE_FULL, f"{name_of(oldest)}: more than {self.options.poses.queue} inputs wait for poses")

    def _handle(self, final: bool) -> list[GridResult]:
        results = [result for one in list(self._pending) if (result := self._settle(one, final)) is not None]
        self._forget()
        return results

    def _settle(self, one: Waiting, final: bool) -> GridResult | None:
        """Handle an input if it is ready; what is not yet goes on waiting."""
        item = one.item
        late = final or self._clock - one.since > self._wait
        result: GridResult | _Answer = _Answer.NOTHING
        try:
            result = self._try(one, late)
        except (NotYetError, UnknownFrameError) as error:
            if late:
                unknown = isinstance(error, UnknownFrameError)
                self._drop(UNKNOWN_FRAME if unknown else NO_POSE, f"{name_of(item)}: {error}")
            else:
                result = _Answer.WAIT
        except PoseJumpError as error:
            self._drop(POSE_JUMP, f"{name_of(item)}: {error}")
        except PoseError as error:
            self._drop(TOO_OLD, f"{name_of(item)}: {error}")
        except ValueError as error:
            self._drop(BAD_INPUT, f"{name_of(item)}: {error}")
        finally:
            # Also after an error that nobody foresaw, which would come again with the same input.
            if result is not _Answer.WAIT:
                self._pending.remove(one)
        return result if isinstance(result, GridResult) else None

    def _supersede(self, newest: Waiting) -> None:
        """Drop what is older of the same sensor."""
        for one in list(self._pending):
            if one.stream == newest.stream and one.item.stamp < newest.item.stamp:
                self._pending.remove(one)
                self._drop(SUPERSEDED, f"{name_of(one.item)}: a newer one came before it was begun")

    def _try(self, one: Waiting, late: bool) -> GridResult | _Answer:
        """The result of an input, if it has one and nothing that it needs may still come."""
        item = one.item
        if isinstance(item, CameraView):
            return self._try_view(item, late)
        if isinstance(item, LateLabels):
            self._mapper.label_late(item, self.tree)
            self.late_labels += 1
            return _Answer.NOTHING
        base = self.tree.lookup(self.options.fixed_frame, self.options.base_frame, item.stamp)
        if not late and not self._views.settled(item.stamp):
            return _Answer.WAIT
        views = self._views_for(item.stamp, late)
        if views is None:
            return _Answer.WAIT
        observation = self._mapper.observe(item, views, self.tree)
        self._check_place(item.stamp, base)
        self._kept.add(one.stream, item, views)
        return self._mapper.take(observation, base.translation)

    def _try_view(self, view: CameraView, late: bool) -> GridResult | _Answer:
        if self.contact_line is None:
            if self._newest_points is not None:
                if abs(view.stamp - self._newest_points) <= ALONE or view.stamp < self._newest_points:
                    return _Answer.NOTHING
            elif not late and self._clock - (self._first_view or 0) < self._wait:
                return _Answer.WAIT  # a lidar may still be starting
        base = self.tree.lookup(self.options.fixed_frame, self.options.base_frame, view.stamp)
        observation = observe_contact_line(view, self.tree, self.labels, self.options)
        self._check_place(view.stamp, base)
        return self._mapper.take(observation, base.translation)

    def _views_for(self, stamp: int, late: bool) -> list[CameraView] | None:
        """The view of each camera that labels a cloud of `stamp`; None while the pose of one may still come."""
        found = []
        for view in self._views.near(stamp):
            try:
                self.tree.lookup(view.frame, self.options.fixed_frame, view.stamp)
            except PoseError as error:
                may_come = isinstance(error, (NotYetError, UnknownFrameError))
                if may_come and not late:
                    return None
                # Without this camera the cloud still says what is occupied.
                reason = POSE_JUMP if isinstance(error, PoseJumpError) else NO_POSE
                self._drop(
                    UNKNOWN_FRAME if isinstance(error, UnknownFrameError) else reason, f"{name_of(view)}: {error}"
                )
                continue
            found.append(view)
        return found

    def _check_place(self, stamp: int, base: Pose) -> None:
        """Begin anew where the vehicle has been put somewhere else for good, as when odometry restarts."""
        jump = self._mapper.check_place(stamp, base.translation)
        if jump:
            self.resets["pose jump"] += 1
            self.last_errors["reset"] = f"pose jump: {jump}; the grid begins anew"
            self._kept.clear()

    def _forget(self) -> None:
        """Keep the masks that a cloud may still ask for, and the clouds that late masks may."""
        waiting = [one.item.stamp for one in self._pending if not isinstance(one.item, CameraView)]
        self._views.forget(min([self._clock - self._wait, *waiting]))
        self._kept.forget(self._clock)
