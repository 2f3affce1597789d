"""How good the objects of a grid are: found or not, and their centre, extent, heading and velocity.

Objects and things of one class are matched one to one where their centres are at most `DISTANCE` apart on the ground,
so that as many as possible match and their distances sum to the least (nuScenes matches by the distance of centres
too, Caesar et al. 2020).  A thing counts if a camera shows `PIXELS` of it or more; objects that match another one count
as neither right nor wrong.  Without cameras that say so, all things count that are in the window.

Errors are means over the matched pairs: of the centre on the ground (m), of length, width and height (m, absolute), of
the heading (degrees, of the axis alone, since a box does not tell front from back: at most 90), and of the velocity
(m/s, the length of the difference).  An object is first brought to the stamp of the truth by its own velocity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from panoptic_ros.evaluation.grid_truth import TrueObject
from panoptic_ros.labels import LabelSet
from panoptic_ros.messages import NANOSECONDS

if TYPE_CHECKING:
    from panoptic_ros.grid.tracking import TrackedObject

DISTANCE = 2.0
"""Metres."""

PIXELS = 100
"""How much of a thing a camera must show."""

ERRORS = ("centre", "length", "width", "height", "heading", "velocity")


@dataclass(frozen=True, slots=True)
class ObjectScore:
    """The objects of one class, or of all of them.

    Attributes
    ----------
    truths, objects, matched:
        Things that count, objects that count, and pairs; a thing counts anew at each moment.
    recall, precision:
        The share of things that have an object, and of objects that have a thing; None without any.
    centre, length, width, height, velocity, heading:
        Mean errors, see the head of this file; None without pairs.
    track_changes:
        How often a thing had another track than when it was last matched.
    """

    truths: int
    objects: int
    matched: int
    recall: float | None
    precision: float | None
    centre: float | None
    length: float | None
    width: float | None
    height: float | None
    heading: float | None
    velocity: float | None
    track_changes: int


@dataclass(frozen=True, slots=True)
class ClassObjects:
    """The objects of one class."""

    class_id: int
    name: str
    score: ObjectScore


@dataclass(frozen=True, slots=True)
class ObjectResult:
    """The objects of all classes together, and of each that occurs, by their ids.

    `by_visibility` says whether cameras have said which things they see.
    """

    all: ObjectScore
    per_class: tuple[ClassObjects, ...]
    by_visibility: bool


class ObjectMetrics:
    """Counts objects, moment by moment.

    Attributes
    ----------
    counts:
        (C, 4) int64: things, objects, pairs and changes of track, by class.
    errors:
        (C, 6) float64, sums of `ERRORS` over the pairs.
    """

    def __init__(self, labels: LabelSet) -> None:
        self.labels = labels
        self.counts = np.zeros((len(labels), 4), dtype=np.int64)
        self.errors = np.zeros((len(labels), len(ERRORS)))
        self._by_visibility = True
        self._tracks: dict[int, int] = {}

    def update(self, stamp: int, objects: Sequence[TrackedObject], truths: Sequence[TrueObject]) -> None:
        """Count one moment.

        Parameters
        ----------
        stamp:
            Of the truth, ns.
        objects:
            Those of the grid, in the frame of the truths and in the window.
        truths:
            All things in the window.
        """
        self._by_visibility &= all(thing.visible is not None for thing in truths)
        for index in {one.class_index for one in objects} | {thing.class_index for thing in truths}:
            things = [thing for thing in truths if thing.class_index == index]
            found = [one for one in objects if one.class_index == index]
            places = np.array([_centre(one, stamp) for one in found]).reshape(-1, 2)
            rows, columns = match_centres(places, np.array([thing.centre[:2] for thing in things]).reshape(-1, 2))
            counted = np.array([thing.visible is None or thing.visible >= PIXELS for thing in things], dtype=bool)
            ignored = int((~counted[columns]).sum())
            self.counts[index, :2] += counted.sum(), len(found) - ignored
            for row, column in zip(rows, columns, strict=True):
                thing, one = things[column], found[row]
                if not counted[column]:
                    continue
                self.counts[index, 2] += 1
                self.counts[index, 3] += self._tracks.get(thing.id, one.track) != one.track
                self._tracks[thing.id] = one.track
                self.errors[index] += _errors(one, places[row], thing)

    def merge(self, other: ObjectMetrics) -> None:
        """Add the moments of another drive: tracks of the two are not compared."""
        self.counts += other.counts
        self.errors += other.errors
        self._by_visibility &= other._by_visibility

    def result(self) -> ObjectResult:
        """The quality over all moments so far."""
        per_class = tuple(
            ClassObjects(label.id, label.name, _score(self.counts[index], self.errors[index]))
            for index, label in sorted(enumerate(self.labels.labels), key=lambda item: item[1].id)
            if self.counts[index, :2].any()
        )
        return ObjectResult(_score(self.counts.sum(axis=0), self.errors.sum(axis=0)), per_class, self._by_visibility)


def match_centres(
    places: NDArray[np.float64], truths: NDArray[np.float64], distance: float = DISTANCE
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Match two sets of places one to one: as many pairs as possible, and of those the least sum of distances.

    Parameters
    ----------
    places, truths:
        (N, 2) and (M, 2), metres.
    distance:
        How far apart two may be.

    Returns
    -------
    rows, columns:
        (P,) which of `places` and which of `truths`.
    """
    apart = np.linalg.norm(places[:, None] - truths[None], axis=2)
    # One more pair is worth more than any distances: all allowed ones sum to less than the cost of a forbidden pair.
    cost = np.where(apart <= distance, apart, (min(apart.shape, default=0) + 1) * distance)
    rows, columns = linear_sum_assignment(cost)
    allowed = apart[rows, columns] <= distance
    return rows[allowed], columns[allowed]


def _centre(one: TrackedObject, stamp: int) -> NDArray[np.float64]:
    moved: NDArray[np.float64] = one.centre[:2] + np.asarray(one.velocity) * ((stamp - one.stamp) / NANOSECONDS)
    return moved


def _errors(one: TrackedObject, place: NDArray[np.float64], thing: TrueObject) -> tuple[float, ...]:
    turned = abs(one.yaw - thing.yaw) % np.pi
    return (
        float(np.linalg.norm(place - thing.centre[:2])),
        *(abs(float(mine) - true) for mine, true in zip(one.extent, thing.extent, strict=True)),
        float(np.degrees(min(turned, np.pi - turned))),
        float(np.linalg.norm(np.asarray(one.velocity) - thing.velocity)),
    )


def _score(counts: NDArray[np.int64], errors: NDArray[np.float64]) -> ObjectScore:
    truths, objects, matched, changes = counts.tolist()
    means: list[float | None] = (errors / matched).tolist() if matched else [None] * len(ERRORS)
    return ObjectScore(
        truths=truths,
        objects=objects,
        matched=matched,
        recall=matched / truths if truths else None,
        precision=matched / objects if objects else None,
        track_changes=changes,
        **dict(zip(ERRORS, means, strict=True)),
    )
