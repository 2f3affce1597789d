"""Ways round the corners of junctions: from a lane of one street into a lane of the other.

A curve joins the two lanes as roads are joined: its curvature grows linearly (a clothoid), stays, and falls again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from panoptic_training.synthetic.curve import Curve
from panoptic_training.synthetic.motion import LanePath, Path
from panoptic_training.synthetic.street import CORNER_RADIUS, Junction, Lane, Layout

Way = Literal["left", "right"]

EASE = 0.2  # radians turned while the curvature grows, and again while it falls
LEFT_REACH = 6.5  # metres from a left turn's ends to where its lanes cross: so deep the junction is entered
LATERAL = 2.8  # m/s², acceptable in a curve
STEP = 0.25  # metres between the knots of a turn's path


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """The way from one lane into another.

    A vehicle's own distance is the arc length of its first lane up to `leave`, then goes on along the curve, and then
    along the second lane.

    Attributes
    ----------
    way:
        To which side.
    junction, before, after:
        Indices of the junction and of the two lanes.
    leave, join:
        Arc lengths on the first lane where the curve begins, and on the second where it ends.
    reach:
        Metres along each lane from the curve's end to where the lanes' lines cross.
    curve:
        Between; its arc length runs from 0.
    """

    way: Way
    junction: int
    before: int
    after: int
    leave: float
    join: float
    reach: float
    curve: Curve

    @property
    def shift(self) -> float:
        """What a place on the second lane is more as a vehicle's own distance."""
        return self.leave + self.curve.length - self.join

    @property
    def speed(self) -> float:
        """Metres per second at which the curve can be driven in comfort."""
        return float(np.sqrt(LATERAL / np.abs(self.curve.curvature(self.curve.length / 2))))

    def clear_of(self, aside: float) -> float:
        """Own distance from which on the curve is more than `aside` metres beside the first lane's line."""
        s = np.linspace(0.0, self.curve.length, 200)
        points, headings = self.curve.evaluate(s)
        start = points - points[0]
        beside = np.abs(np.cos(headings[0]) * start[:, 1] - np.sin(headings[0]) * start[:, 0])
        return self.leave + float(np.interp(aside, beside, s))


def lane_after(layout: Layout, junction: Junction, before: Lane, way: Way) -> Lane:
    """The lane in which a turn ends; traffic keeps to the right on both."""
    road = junction.road if before.road == 0 else 0
    # along the cross street is to the left of along the main street
    same = (way == "left") == (before.road == 0)
    direction = before.direction if same else -before.direction
    return next(lane for lane in layout.lanes if lane.road == road and lane.direction == direction)


def make_turn(layout: Layout, junction: Junction, before: Lane, way: Way, asides: tuple[float, float]) -> Turn:
    """A turn at a junction.

    Parameters
    ----------
    before:
        The lane that it leaves.
    asides:
        Metres left of the middle of the first and the second lane, where the vehicle drives.

    Raises
    ------
    ValueError
        If the lane does not lead to the junction.
    """
    if before.road not in (0, junction.road):
        raise ValueError(f"lane {before.index} of road {before.road} does not lead to junction {junction.index}")
    after = lane_after(layout, junction, before, way)
    # metres left of their roads' middles; the lines cross where both have gone as far as the other lies aside
    first, second = (lane.offset + lane.direction * aside for lane, aside in zip((before, after), asides, strict=True))
    crossed = {0: junction.s - second, junction.road: junction.cross_s + first}
    if before.road != 0:
        crossed = {0: junction.s - first, junction.road: junction.cross_s + second}
    reach = LEFT_REACH if way == "left" else _right_reach(layout, junction, before, after, abs(first), abs(second))
    leave = float(layout.lane_s(before, crossed[before.road])) - reach
    join = float(layout.lane_s(after, crossed[after.road])) + reach
    start = layout.lane_pose(before, leave, asides[0])
    return Turn(way, junction.index, before.index, after.index, leave, join, reach, _corner(start, reach, way))


def _right_reach(layout: Layout, junction: Junction, before: Lane, after: Lane, first: float, second: float) -> float:
    """Metres from a right turn's ends to where its lanes cross: as wide as the corner of the kerbs lets it be."""
    main = before if before.road == 0 else after
    side = -main.direction
    # a turn from the main street rounds the corner before the junction, one into it that behind
    beyond = main.direction * (-1 if before.road == 0 else 1)
    kerb = layout.kerb_at(layout.main, junction.s + beyond * (junction.half_width + 1.0), side)
    of_main, of_cross = (first, second) if before.road == 0 else (second, first)
    return min(kerb - of_main, junction.half_width - of_cross) + CORNER_RADIUS


def _corner(start: np.ndarray, reach: float, way: Way) -> Curve:
    """A quarter turn that ends `reach` metres ahead of its start and as much aside."""
    bend = 1.0 if way == "left" else -1.0
    knots = np.array([0.0, 2 * EASE, np.pi / 2, np.pi / 2 + 2 * EASE])  # of a turn of radius 1
    unit = Curve(knots, [0.0, bend, bend, 0.0])
    radius = reach / float(unit.evaluate(unit.end)[0][0])
    heading = float(np.arctan2(start[1, 0], start[0, 0]))
    origin = (float(start[0, 3]), float(start[1, 3]))
    return Curve(knots * radius, np.array([0.0, bend, bend, 0.0]) / radius, origin, heading)


class TurnPath(Path):
    """A lane, a turn, and another lane, by a vehicle's own distance.

    Parameters
    ----------
    before, after:
        The lines in the two lanes.
    turn:
        Between them.
    """

    def __init__(self, before: LanePath, turn: Turn, after: LanePath) -> None:
        own = np.linspace(0.0, turn.curve.length, int(turn.curve.length / STEP) + 2)
        points, headings = turn.curve.evaluate(own)
        level = np.zeros(len(own))
        first = [before.at(s) for s in _knots(0.0, turn.leave)]
        last = [after.at(s) for s in _knots(turn.join, after.length)]
        knots = np.concatenate(
            [_knots(0.0, turn.leave), turn.leave + own, turn.shift + _knots(turn.join, after.length)]
        )
        places = [np.array([place for place, _ in first]), np.c_[points, level], np.array([place for place, _ in last])]
        along = np.stack([np.cos(headings), np.sin(headings), level], axis=1)
        slopes = [np.array([slope for _, slope in first]), along, np.array([slope for _, slope in last])]
        keep = np.concatenate([[True], np.diff(knots) > 1e-9])  # the curve's ends are the lanes' too
        self._lay(knots[keep], np.concatenate(places)[keep], np.concatenate(slopes)[keep])


def _knots(start: float, end: float) -> np.ndarray:
    """Places a metre apart at most, from `start` to `end`."""
    return np.linspace(start, end, int(end - start) + 2)
