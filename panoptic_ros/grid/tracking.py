"""Objects over time: the same number for the same object, and how it moves.

Each object has a Kalman filter with constant velocity in the fixed frame.  What is measured is not the middle of its
box, which drifts while more of the object comes into view, but the corner (or the middle of the face) that the sensor
sees; the middle follows from it by the extent that is known by now.  Measurements are matched with tracks of their
class by distance and overlap in top view, all at once (the Hungarian method).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from panoptic_ros.grid.objects import Extent, MeasuredObject, half_turn
from panoptic_ros.grid.options import GridOptions
from panoptic_ros.labels import LabelSet

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]

VELOCITY_SIGMA = 8.0
"""Metres a second: what is known of the velocity of an object that was seen once."""

HEADING_SPEED = 1.0
"""Metres a second from which the movement says which end of an object is its front."""

SAME_OVERLAP = 0.2
"""IoU in top view from which two cameras' objects of one class are one."""

_NOT_ALLOWED = 1e6
_GROWING, _SHRINKING = 0.3, 0.03  # shares of the difference that an extent moves: a side is seen less, hardly ever more
_TURNING = 0.2
_TURNED = 3  # measurements in a row that see length and width exchanged, until they are


@dataclass(frozen=True, slots=True, eq=False)
class TrackedObject:
    """An object at a moment.

    Attributes
    ----------
    track:
        Its number, from 1; the same as long as it is followed, and never given again before a reset.
    class_index:
        Position in the label set.
    stamp:
        Nanoseconds.
    centre:
        (3,) float64, the middle of its box in the fixed frame, metres.
    yaw:
        Of its length against the x axis, radians in [-π, π); towards its front where it moves.
    extent:
        Length, width and height in metres.
    velocity:
        (2,) float64, metres a second along x and y of the fixed frame.
    covariance:
        (4, 4) float64, of x, y and the velocity.
    score:
        In [0, 1], the running mean of its measurements' scores.
    points:
        How many there were in its last measurement.
    """

    track: int
    class_index: int
    stamp: int
    centre: Vector
    yaw: float
    extent: Extent
    velocity: Vector
    covariance: Matrix
    score: float
    points: int


@dataclass(slots=True, eq=False)
class _Track:
    track: int
    class_index: int
    state: Vector  # (4,) x, y of the middle, and the velocity
    covariance: Matrix  # (4, 4)
    stamp: int  # of the state
    seen: int  # stamp of the last measurement
    height: float  # of the middle, above the origin of the fixed frame
    yaw: float
    extent: Extent
    score: float
    points: int
    hits: int = 1
    turned: int = 0


@dataclass(slots=True, eq=False)
class Tracker:
    """Follows objects.

    Parameters
    ----------
    options:
        The group ``tracking``: ``gate`` (metres), ``confirm`` (measurements until a track is published), ``forget``
        (seconds without one until it ends), ``process_sigma`` (m/s²) and ``measurement_sigma`` (m).
    labels:
        What classes are positions in.

    Attributes
    ----------
    behind:
        Nanoseconds that measurements may be behind what is expected: so much later is a track forgotten.
    """

    options: GridOptions
    labels: LabelSet
    behind: int = 0
    _tracks: list[_Track] = field(default_factory=list)
    _assigned: dict[tuple[int, int], _Track] = field(default_factory=dict)
    _next: int = 1
    _stamp: int | None = None

    def update(self, stamp: int, measured: Sequence[MeasuredObject]) -> tuple[TrackedObject, ...]:
        """Take the objects of one observation.

        Parameters
        ----------
        stamp:
            Nanoseconds.  It may be older than that of the last update, as sensors answer at different times.
        measured:
            See `find_objects`.

        Returns
        -------
        tuple of TrackedObject
            What `advance` returns.

        Raises
        ------
        ValueError
            If a measurement's class is not in the label set.
        """
        for one in measured:
            if not 0 <= one.class_index < len(self.labels):
                raise ValueError(f"class {one.class_index} is not one of the {len(self.labels)} of {self.labels.name}")
        self._predict(stamp)
        assert self._stamp is not None
        lag = (self._stamp - stamp) / 1e9
        groups = _same_objects(measured)
        boxes = [group[0] for group in groups]
        self._assigned = {}
        pairs = self._match(boxes, lag)
        for index, group in enumerate(groups):
            track = pairs.get(index)
            if track is None:
                track = self._begin(stamp, group[0])
            else:
                self._correct(track, stamp, group[0], lag)
            self._assigned.update({(one.camera, one.instance): track for one in group})
        return self._alive()

    def advance(self, stamp: int) -> tuple[TrackedObject, ...]:
        """The objects that are followed, by their numbers, as expected at a stamp or, if that is later, at the last."""
        self._predict(stamp)
        return self._alive()

    def tracks_of(self, measured: Iterable[MeasuredObject]) -> dict[tuple[int, int], int]:
        """The track of each measured object of the last `update` by (camera, instance); of those that are confirmed."""
        keys = ((one.camera, one.instance) for one in measured)
        return {key: track.track for key in keys if (track := self._assigned.get(key)) and self._is_confirmed(track)}

    def reset(self) -> None:
        """Forget everything: time has jumped."""
        self._tracks, self._assigned, self._next, self._stamp = [], {}, 1, None

    def _alive(self) -> tuple[TrackedObject, ...]:
        return tuple(_published(track) for track in self._tracks if self._is_confirmed(track))

    def _is_confirmed(self, track: _Track) -> bool:
        return track.hits >= self.options.tracking.confirm

    def _predict(self, stamp: int) -> None:
        """Bring all tracks to a stamp and drop those that were not seen for too long."""
        self._stamp = stamp if self._stamp is None else max(stamp, self._stamp)
        oldest = self._stamp - round(self.options.tracking.forget * 1e9) - self.behind
        self._tracks = [track for track in self._tracks if track.seen >= oldest]
        for track in self._tracks:
            elapsed = (self._stamp - track.stamp) / 1e9
            if elapsed > 0:
                transition, noise = constant_velocity(elapsed, self.options.tracking.process_sigma)
                track.state = transition @ track.state
                track.covariance = transition @ track.covariance @ transition.T + noise
                track.stamp = self._stamp

    def _match(self, boxes: Sequence[MeasuredObject], lag: float) -> dict[int, _Track]:
        """The track of each box that has one."""
        if not boxes or not self._tracks:
            return {}
        gate = self.options.tracking.gate
        middles = np.array([track.state[:2] - lag * track.state[2:] for track in self._tracks])
        apart = np.hypot(*(np.array([box.centre[:2] for box in boxes])[:, None] - middles).T).T
        sides = [max(track.extent[:2]) for track in self._tracks]
        near = apart <= gate + np.maximum(np.array([max(box.extent[:2]) for box in boxes])[:, None], sides)
        near &= np.array([box.class_index for box in boxes])[:, None] == [track.class_index for track in self._tracks]
        cost = np.full(near.shape, _NOT_ALLOWED)
        for row, column in zip(*near.nonzero(), strict=True):
            box, track, middle = boxes[row], self._tracks[column], middles[column]
            seen, expected, _ = _references(box, track, middle)
            distance = float(np.hypot(*(seen - expected)))
            overlap = box_iou(box.centre[:2], box.yaw, box.extent, middle, track.yaw, track.extent)
            if distance <= gate or overlap > SAME_OVERLAP:
                cost[row, column] = distance / gate + 1.0 - overlap
        rows, columns = linear_sum_assignment(cost)
        return {
            int(row): self._tracks[column]
            for row, column in zip(rows, columns, strict=True)
            if cost[row, column] < _NOT_ALLOWED
        }

    def _begin(self, stamp: int, box: MeasuredObject) -> _Track:
        noise = self.options.tracking.measurement_sigma**2
        assert self._stamp is not None
        track = _Track(
            track=self._next,
            class_index=box.class_index,
            state=np.array([*box.centre[:2], 0.0, 0.0]),
            covariance=np.diag([noise, noise, VELOCITY_SIGMA**2, VELOCITY_SIGMA**2]),
            stamp=self._stamp,
            seen=stamp,
            height=float(box.centre[2]),
            yaw=box.yaw,
            extent=box.extent,
            score=box.score,
            points=box.points,
        )
        self._next += 1
        self._tracks.append(track)
        return track

    def _correct(self, track: _Track, stamp: int, box: MeasuredObject, lag: float) -> None:
        """The Kalman update by the corner that the sensor sees, and slower ones of yaw and extent."""
        middle = track.state[:2] - lag * track.state[2:]
        seen, expected, signs = _references(box, track, middle)
        yaw, sides, is_turned = _aligned(box, track.yaw)
        track.turned = track.turned + 1 if is_turned else 0
        if track.turned >= _TURNED:
            track.yaw, track.turned = half_turn(track.yaw + np.pi / 2), 0
            track.extent = (track.extent[1], track.extent[0], track.extent[2])
            signs = np.array([signs[1], -signs[0]])
        elif not is_turned:
            # Towards what is seen, about the reference: what the sensor does not see moves, what it sees stays.
            track.yaw = half_turn(track.yaw + _TURNING * half_turn(yaw - track.yaw))
            length, width = (_moved(old, new) for old, new in zip(track.extent[:2], sides, strict=True))
            track.extent = (length, width, _moved(track.extent[2], box.extent[2]))
        track.state[:2] += expected - _offset(track.yaw, track.extent, signs) - middle
        observe = np.hstack([np.eye(2), -lag * np.eye(2)])
        noise = self.options.tracking.measurement_sigma**2 * np.eye(2)
        track.state, track.covariance = kalman_update(track.state, track.covariance, observe, seen - expected, noise)
        track.height += _GROWING * (float(box.centre[2]) - track.height)
        track.score += _GROWING * (box.score - track.score)
        track.points = box.points
        track.seen = max(stamp, track.seen)
        track.hits += 1


def constant_velocity(elapsed: float, sigma: float) -> tuple[Matrix, Matrix]:
    """Transition and process noise (4, 4) of x, y and velocity over `elapsed` seconds.

    The acceleration is white and constant over the step, of `sigma` m/s² (Bar-Shalom, Li and Kirubarajan 2001, 6.3.2).
    """
    transition = np.eye(4)
    transition[0, 2] = transition[1, 3] = elapsed
    gain = np.array([[elapsed**2 / 2, 0], [0, elapsed**2 / 2], [elapsed, 0], [0, elapsed]])
    return transition, sigma**2 * gain @ gain.T


def kalman_update(
    state: Vector, covariance: Matrix, observe: Matrix, innovation: Vector, noise: Matrix
) -> tuple[Vector, Matrix]:
    """A state (S,) and its covariance after a measurement (M,) that differs from the expected one by `innovation`.

    In Joseph's form, which stays symmetric and positive.
    """
    gain = np.linalg.solve(observe @ covariance @ observe.T + noise, observe @ covariance).T
    rest = np.eye(len(state)) - gain @ observe
    return state + gain @ innovation, rest @ covariance @ rest.T + gain @ noise @ gain.T


def box_iou(first: Vector, yaw: float, extent: Extent, second: Vector, other_yaw: float, other_extent: Extent) -> float:
    """Intersection over union in top view of two boxes: middle (2,), yaw, and extent of each."""
    relative = second - first  # float32 in OpenCV, so not far from the origin
    ours = ((0.0, 0.0), extent[:2], float(np.rad2deg(yaw)))
    theirs = ((float(relative[0]), float(relative[1])), other_extent[:2], float(np.rad2deg(other_yaw)))
    _, polygon = cv2.rotatedRectangleIntersection(ours, theirs)
    if polygon is None or len(polygon) < 3:
        return 0.0
    common = float(cv2.contourArea(cv2.convexHull(polygon)))
    return common / (extent[0] * extent[1] + other_extent[0] * other_extent[1] - common)


def box_corners(centre: Vector, yaw: float, extent: Extent) -> Matrix:
    """(4, 2) float64, the corners of a box in top view: front left, rear left, rear right, front right."""
    signs = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    return np.array([centre[:2] + _offset(yaw, extent, one) for one in signs])


def _same_objects(measured: Sequence[MeasuredObject]) -> list[list[MeasuredObject]]:
    """What several cameras see of one object, together; the one with the most points is first."""
    groups: list[list[MeasuredObject]] = []
    for one in sorted(measured, key=lambda box: (-box.points, box.camera, box.instance)):
        for group in groups:
            best = group[0]
            is_other_camera = all(one.camera != member.camera for member in group)
            if (
                is_other_camera
                and one.class_index == best.class_index
                and box_iou(one.centre[:2], one.yaw, one.extent, best.centre[:2], best.yaw, best.extent) > SAME_OVERLAP
            ):
                group.append(one)
                break
        else:
            groups.append([one])
    return groups


def _aligned(box: MeasuredObject, yaw: float) -> tuple[float, tuple[float, float], bool]:
    """A box's yaw and sides by a track's axes, as near as quarter turns bring it, and whether they swap the sides."""
    quarters = round((yaw - box.yaw) / (np.pi / 2))
    is_turned = bool(quarters % 2)
    sides = (box.extent[1], box.extent[0]) if is_turned else (box.extent[0], box.extent[1])
    return box.yaw + quarters * np.pi / 2, sides, is_turned


def _references(box: MeasuredObject, track: _Track, middle: Vector) -> tuple[Vector, Vector, Vector]:
    """The point of a box that the sensor sees best, as measured and as expected, and on which side it is of the middle.

    It is the near corner, or the middle of the face that the sensor looks straight at.
    """
    yaw, sides, _ = _aligned(box, track.yaw)
    axes = np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]])
    towards = axes @ (box.sensor[:2] - box.centre[:2])
    signs = np.where(np.abs(towards) > np.array(sides) / 2, np.sign(towards), 0.0)
    seen = box.centre[:2] + _offset(yaw, (*sides, 0.0), signs)
    return seen, middle + _offset(track.yaw, track.extent, signs), signs


def _offset(yaw: float, extent: Extent, signs: NDArray[np.generic]) -> Vector:
    """From the middle of a box to the point at `signs` (2,) times its half sides."""
    along, across = float(signs[0]) * extent[0] / 2, float(signs[1]) * extent[1] / 2
    cosine, sine = np.cos(yaw), np.sin(yaw)
    return np.array([cosine * along - sine * across, sine * along + cosine * across])


def _moved(old: float, new: float) -> float:
    return old + (_GROWING if new > old else _SHRINKING) * (new - old)


def _published(track: _Track) -> TrackedObject:
    yaw = track.yaw
    velocity = track.state[2:].copy()
    if np.hypot(*velocity) >= HEADING_SPEED and velocity[0] * np.cos(yaw) + velocity[1] * np.sin(yaw) < 0:
        yaw += np.pi
    return TrackedObject(
        track=track.track,
        class_index=track.class_index,
        stamp=track.stamp,
        centre=np.array([track.state[0], track.state[1], track.height]),
        yaw=float((yaw + np.pi) % (2 * np.pi) - np.pi),
        extent=track.extent,
        velocity=velocity,
        covariance=track.covariance.copy(),
        score=min(max(track.score, 0.0), 1.0),
        points=track.points,
    )
