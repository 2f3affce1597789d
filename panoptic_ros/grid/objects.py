"""Objects of one observation: the points of each instance become an oriented box on the ground.

The points of an instance are the pixels of its mask and so hold what shows between its edges: their largest cluster in
range is the object.  Its box has the direction in which the points lie closest to the box's sides in top view (Zhang,
Xu, Dong and Dolan 2017, "Efficient L-shape fitting for vehicle detection using laser scanners").  The rectangle of
least area would not do: of two sides that are seen it may as well lie along the diagonal, with the very same area.

A sensor sees the near sides only, so a box is made at least as large as the smallest of its class, away from the
sensor: what was seen stays where it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.grid.observations import Observation
from panoptic_ros.grid.options import GridOptions
from panoptic_ros.labels import LabelSet

RANGE_GAP = 1.0
"""Metres in range between two points of an instance that part two clusters."""

_STEPS = np.deg2rad(np.arange(0.0, 90.0, 2.0))
_FINE_STEPS = np.deg2rad(np.arange(-2.0, 2.01, 0.25))
_CLOSE = 0.05  # metres from a side at which a point counts half of one that is on it
_MOST_POINTS = 128  # of an object in the search for its direction

Extent = tuple[float, float, float]

SMALLEST_OTHER: Extent = (0.3, 0.3, 0.3)

_SMALLEST: dict[str, Extent] = {
    "person": (0.4, 0.4, 1.0),
    "pedestrian": (0.4, 0.4, 1.0),
    "child": (0.3, 0.3, 0.6),
    "rider": (0.5, 0.4, 1.0),
    "bicyclist": (1.4, 0.4, 1.2),
    "motorcyclist": (1.6, 0.6, 1.2),
    "bicycle": (1.4, 0.4, 0.8),
    "motorcycle": (1.7, 0.6, 0.9),
    "motorbike": (1.7, 0.6, 0.9),
    "car": (3.4, 1.5, 1.2),
    "suv": (4.0, 1.7, 1.5),
    "caravan": (3.5, 1.9, 2.0),
    "trailer": (2.0, 1.2, 0.6),
    "truck": (4.5, 1.9, 1.8),
    "bus": (7.0, 2.3, 2.6),
    "train": (10.0, 2.4, 2.8),
    "tram": (10.0, 2.2, 2.8),
}
"""Length, width and height in metres by a word of the class's name: what few of them are smaller than."""


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredObject:
    """An instance as one observation shows it.

    Attributes
    ----------
    camera, instance:
        Which camera has labelled it, and its id in that camera's frame.
    class_index:
        Position in the label set.
    sensor:
        (3,) float64, where the points were measured from, metres in the fixed frame.
    centre:
        (3,) float64, the middle of its box in the fixed frame, metres.
    yaw:
        Of its length against the x axis, radians in [-π/2, π/2): which end is its front is not seen.
    extent:
        Length, width and height in metres.
    score:
        The mean weight of its points.
    points:
        How many there are in its cluster.
    """

    camera: int
    instance: int
    class_index: int
    sensor: NDArray[np.float64]
    centre: NDArray[np.float64]
    yaw: float
    extent: Extent
    score: float
    points: int


def smallest_extent(name: str) -> Extent:
    """The least length, width and height in metres of a class, by its name in any label set."""
    words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]
    return next((_SMALLEST[word] for word in words if word in _SMALLEST), SMALLEST_OTHER)


def find_objects(observation: Observation, labels: LabelSet, options: GridOptions) -> list[MeasuredObject]:
    """The boxes of the instances of things in an observation, in the order of camera and instance.

    Parameters
    ----------
    observation:
        Its instances are the ids that the cameras gave.
    labels:
        What its classes are positions in.
    options:
        ``tracking.minimum_points`` is how many points make an object.
    """
    wanted = np.append(options.is_dynamic(labels), False)  # the last is for -1, no label
    chosen = np.flatnonzero((observation.instances > 0) & observation.obstacle & wanted[observation.classes])
    if not len(chosen):
        return []
    key = (observation.cameras[chosen].astype(np.int64) << 32) | observation.instances[chosen]
    span = np.hypot(observation.points[chosen, 0], observation.points[chosen, 1])
    order = np.lexsort((span, key))
    chosen, key, span = chosen[order], key[order], span[order]
    begins = np.flatnonzero(np.r_[True, (np.diff(key) != 0) | (np.diff(span) > RANGE_GAP)])
    sizes = np.diff(np.r_[begins, len(key)])
    largest: dict[int, int] = {}
    for cluster, (owner, size) in enumerate(zip(key[begins].tolist(), sizes.tolist(), strict=True)):
        if owner not in largest or size > sizes[largest[owner]]:
            largest[owner] = cluster
    found = []
    for cluster in largest.values():
        if sizes[cluster] >= options.tracking.minimum_points:
            members = chosen[begins[cluster] : begins[cluster] + sizes[cluster]]
            found.append(_measure(observation, members, labels))
    return found


def _measure(observation: Observation, members: NDArray[np.intp], labels: LabelSet) -> MeasuredObject:
    """The box of the points `members`, which are of one instance."""
    class_index = int(np.bincount(observation.classes[members]).argmax())
    points, heights = observation.points[members], observation.heights[members]
    smallest = smallest_extent(labels.labels[class_index].name)
    centre, yaw, length, width = _rectangle(points[:, :2], smallest)
    height = max(float(heights.max()), smallest[2])
    ground = float(np.median(points[:, 2] - heights))
    middle = observation.origin + np.array([centre[0], centre[1], ground + height / 2])
    return MeasuredObject(
        camera=int(observation.cameras[members[0]]),
        instance=int(observation.instances[members[0]]),
        class_index=class_index,
        sensor=observation.origin,
        centre=middle,
        yaw=yaw,
        extent=(length, width, height),
        score=float(observation.weights[members].mean()),
        points=len(members),
    )


def _rectangle(points: NDArray[np.float32], smallest: Extent) -> tuple[NDArray[np.float64], float, float, float]:
    """Centre, yaw, length and width of the box around points (N, 2) relative to the sensor."""
    angle = _direction(points)
    least, most = _reach(points, np.array([angle]))
    middle = (least + most)[:, 0] / 2
    centre = middle[0] * _axis(angle) + middle[1] * _axis(angle + np.pi / 2)
    first, second = (float(side) for side in (most - least)[:, 0])
    if second > first:
        first, second, angle = second, first, angle + np.pi / 2
    # A long side that is nearer to the least width than to the least length is the front or the rear.
    if smallest[0] > smallest[1] and first < (smallest[0] + smallest[1]) / 2:
        first, second, angle = second, first, angle + np.pi / 2
    sides = []
    for side, shortest, turned in ((first, smallest[0], angle), (second, smallest[1], angle + np.pi / 2)):
        axis = _axis(turned)
        sensor = -float(centre[0] * axis[0] + centre[1] * axis[1])  # along the axis, from the middle of the box
        grown = max(side, shortest)
        if abs(sensor) > side / 2:  # the end towards the sensor is seen; otherwise both are, or neither
            centre = centre - np.sign(sensor) * (grown - side) / 2 * axis
        sides.append(grown)
    return centre, half_turn(angle), sides[0], sides[1]


def _direction(points: NDArray[np.float32]) -> float:
    """The direction of a side of the box around points (N, 2), radians: first coarsely, then finely."""
    some = points[:: -(-len(points) // _MOST_POINTS)]
    best = 0.0
    for steps in (_STEPS, _FINE_STEPS):
        best += float(steps[_closeness(some, best + steps).argmax()])
    return best


def _closeness(points: NDArray[np.float32], angles: NDArray[np.float64]) -> NDArray[np.float32]:
    """(A,) how close points (N, 2) lie to the sides of their box in each direction (Zhang et al., algorithm 4)."""
    distances = []
    for turned in (angles, angles + np.pi / 2):
        along = _along(points, turned)
        distances.append(np.minimum(along - along.min(axis=1)[:, None], along.max(axis=1)[:, None] - along))
    # Added to the distance, which Zhang et al. cut off instead: directions of a flat face would all be the same.
    close: NDArray[np.float32] = (1 / (np.minimum(*distances) + np.float32(_CLOSE))).sum(axis=1)
    return close


def _reach(points: NDArray[np.float32], angles: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """(2, A) each, the least and the most of points (N, 2) along directions and across them."""
    both = np.stack([_along(points, angles), _along(points, angles + np.pi / 2)])
    return both.min(axis=2).astype(np.float64), both.max(axis=2).astype(np.float64)


def _along(points: NDArray[np.float32], angles: NDArray[np.float64]) -> NDArray[np.float32]:
    """(A, N) how far points (N, 2) lie in each direction."""
    cosine, sine = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    return cosine[:, None] * points[:, 0] + sine[:, None] * points[:, 1]


def _axis(angle: float) -> NDArray[np.float64]:
    return np.array([np.cos(angle), np.sin(angle)])


def half_turn(angle: float) -> float:
    """An angle of an axis that has no front, in [-π/2, π/2)."""
    return float((angle + np.pi / 2) % np.pi - np.pi / 2)
