"""The plan of one drive's streets: where everything else stands and moves.

A main street of clothoids runs through junctions with straight cross streets.  Every place has street coordinates
(s, d): arc length along a road, and metres to the left of its centre line.  Around a junction the main street is
straight, so there the coordinates of both streets are one rigid frame, and blocks, kerbs and crossings fit exactly.
Traffic keeps to the right.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from panoptic_training.synthetic.curve import Curve

KERB_HEIGHT = 0.12
KERB_WIDTH = 0.15
CORNER_RADIUS = 3.5
CROSS_LENGTH = 80.0  # of each arm of a cross street, from the main street's centre line
CROSS_WALK = 2.8  # width of a cross street's sidewalks
MARGIN = 90.0  # street beyond both ends of the drive
CROSSING_WIDTH = 3.2
BLOCK_DEPTH = 70.0  # ground of a block, from the main street's centre line

Side = Literal[-1, 1]
"""Of a road: 1 its left (d > 0), -1 its right."""

Character = Literal["shops", "terrace", "houses", "offices", "park"]


class Light(Enum):
    """What a traffic light shows."""

    RED = "red"
    RED_AMBER = "red and amber"
    GREEN = "green"
    AMBER = "amber"


@dataclass(frozen=True, slots=True, eq=False)
class Road:
    """A street's centre line and its lanes' width; its arc length runs from ``curve.start`` to ``curve.end``."""

    index: int
    curve: Curve
    lane_width: float

    def place(self, s: ArrayLike, d: ArrayLike, z: ArrayLike = 0.0) -> NDArray[np.float64]:
        """(..., 3) world positions of street coordinates."""
        plane = self.curve.offset(s, d)
        return np.concatenate(
            [plane, np.broadcast_to(np.asarray(z, dtype=np.float64), plane.shape[:-1])[..., None]], -1
        )

    def pose(self, s: float, d: float, z: float = 0.0, turn: float = 0.0) -> NDArray[np.float64]:
        """(4, 4) of something at (s, d, z) that looks along the road, turned left by `turn` radians."""
        heading = float(self.curve.evaluate(s)[1]) + turn
        return planar_pose(self.place(s, d, z), heading)


@dataclass(frozen=True, slots=True)
class Lane:
    """One direction of a road.  Its own arc length runs from 0 to `length` in the direction of travel.

    Attributes
    ----------
    direction:
        1 along the road's arc length, -1 against it.
    offset:
        d of its centre line.
    """

    index: int
    road: int
    direction: Literal[-1, 1]
    offset: float
    width: float
    length: float


@dataclass(frozen=True, slots=True)
class Junction:
    """Where a cross street meets the main street, at `s` of road 0 and `cross_s` of road `road`.

    Without lights the main street has priority.
    """

    index: int
    road: int
    s: float
    cross_s: float
    half_width: float  # of the cross street, centre line to kerb
    signalised: bool
    phase: float  # seconds

    main_green = 18.0
    cross_green = 12.0
    amber = 3.0
    clearance = 2.0

    @property
    def cycle(self) -> float:
        """Seconds until its lights repeat."""
        return self.main_green + self.cross_green + 2 * (self.amber + self.clearance)


@dataclass(frozen=True, slots=True)
class Crossing:
    """A place to cross a road on foot.

    Attributes
    ----------
    road, s, width:
        Across which road, where its middle is, and how wide it is along that road.
    junction:
        Of which junction it is an arm, or -1 in the middle of a block.
    zebra:
        Whether it has stripes, so that traffic yields; otherwise lights or gaps in the traffic decide.
    points:
        Four (x, y, z): on the sidewalk's path, at the kerb, at the other kerb, on the other sidewalk's path.
    """

    index: int
    road: int
    s: float
    width: float
    junction: int
    zebra: bool
    points: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True, slots=True)
class StopLine:
    """Where vehicles of a lane wait: `s` is the lane's own arc length at the line.

    `junction` and `crossing` say for whom (-1: none).
    """

    lane: int
    s: float
    junction: int
    crossing: int


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """A path for people in the middle of a block's sidewalk, round its corners.

    Attributes
    ----------
    points:
        (N, 3) metres, z on the paving.
    distances:
        (N,) arc lengths of the points from the first.
    margin:
        How far to either side one can walk freely.
    """

    index: int
    block: int
    points: NDArray[np.float64]
    distances: NDArray[np.float64]
    margin: float

    @property
    def length(self) -> float:
        return float(self.distances[-1])

    def pose(self, s: float, aside: float = 0.0) -> NDArray[np.float64]:
        """(4, 4) at arc length `s`, looking along the path, `aside` metres to its left."""
        s = float(np.clip(s, 0.0, self.length))
        i = min(max(int(np.searchsorted(self.distances, s, side="right")) - 1, 0), len(self.points) - 2)
        a, b = self.points[i], self.points[i + 1]
        step = (b - a) / (self.distances[i + 1] - self.distances[i])
        position = a + (s - self.distances[i]) * step + aside * np.array([-step[1], step[0], 0.0])
        return planar_pose(position, float(np.arctan2(step[1], step[0])))


@dataclass(frozen=True, slots=True)
class ParkingSpot:
    """Room for one car beside a lane: middle (s, d) on `road`, looking with the traffic of its side."""

    index: int
    road: int
    side: Side
    s: float
    d: float
    length: float = 5.6
    width: float = 2.1


@dataclass(frozen=True, slots=True)
class Block:
    """The ground between two cross streets on one side of the main street.

    Attributes
    ----------
    s0, s1:
        Its kerbs along the main street: the cross streets' edges, or where the main street ends.
    kerb:
        Distance of its kerb from the main street's centre line.
    walk:
        Width of its sidewalk, kerb included.
    before, after:
        The junctions at its ends, -1 where the street ends.
    parking, verge:
        Whether cars park along it, and whether grass lies between its kerb and its paving.
    """

    index: int
    side: Side
    s0: float
    s1: float
    kerb: float
    walk: float
    before: int
    after: int
    character: Character
    parking: bool
    verge: bool

    @property
    def front(self) -> float:
        """Distance from the main street's centre line to where its lots begin."""
        return self.kerb + self.walk


@dataclass(frozen=True, slots=True)
class Frontage:
    """A line along which lots lie, `d` metres (positive) from the centre line of `road` on its `side`."""

    road: int
    side: Side
    s0: float
    s1: float
    d: float
    block: int
    character: Character
    corner0: bool  # whether its first (at s0) and last lot face a cross street as well
    corner1: bool


@dataclass(frozen=True, slots=True)
class BusStop:
    """A stop on `side` of the main street, its shelter's middle at `s`."""

    block: int
    side: Side
    s: float


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The streets of one drive.  Road 0 is the main street; the drive is its arc length 0 to `length`."""

    seed: int
    length: float
    roads: list[Road]
    lanes: list[Lane]
    junctions: list[Junction]
    blocks: list[Block]
    crossings: list[Crossing] = field(default_factory=list)
    stop_lines: list[StopLine] = field(default_factory=list)
    walks: list[Walk] = field(default_factory=list)
    spots: list[ParkingSpot] = field(default_factory=list)
    frontages: list[Frontage] = field(default_factory=list)
    bus_stops: list[BusStop] = field(default_factory=list)

    @classmethod
    def make(cls, seed: int, length: float = 300.0) -> Layout:
        """Streets for a drive of `length` metres; the same for the same seed.

        Raises
        ------
        ValueError
            If the drive is shorter than 50 m or not finite.
        """
        from panoptic_training.synthetic.planning import plan  # it builds what this module describes

        return plan(cls, seed, length)

    @property
    def main(self) -> Road:
        return self.roads[0]

    def road_s(self, lane: Lane | int, s: ArrayLike) -> NDArray[np.float64]:
        """Arc lengths along its road of arc lengths along a lane."""
        lane = self._lane(lane)
        curve = self.roads[lane.road].curve
        s = np.asarray(s, dtype=np.float64)
        return curve.start + s if lane.direction > 0 else curve.end - s

    def lane_s(self, lane: Lane | int, s: ArrayLike) -> NDArray[np.float64]:
        """Arc lengths along a lane of arc lengths along its road: the inverse of `road_s`."""
        lane = self._lane(lane)
        curve = self.roads[lane.road].curve
        s = np.asarray(s, dtype=np.float64)
        return s - curve.start if lane.direction > 0 else curve.end - s

    def lane_pose(self, lane: Lane | int, s: float, aside: float = 0.0) -> NDArray[np.float64]:
        """(4, 4) of a vehicle at `s` of a lane, looking along it, `aside` metres to its left."""
        lane = self._lane(lane)
        turn = 0.0 if lane.direction > 0 else np.pi
        d = lane.offset + lane.direction * aside
        return self.roads[lane.road].pose(float(self.road_s(lane, s)), d, turn=turn)

    def lane_points(self, lane: Lane | int, s: ArrayLike) -> NDArray[np.float64]:
        """(..., 3) positions on a lane's centre line."""
        lane = self._lane(lane)
        return self.roads[lane.road].place(self.road_s(lane, s), lane.offset)

    def stops_of(self, lane: Lane | int) -> list[StopLine]:
        """The stop lines of a lane in the order of travel."""
        index = self._lane(lane).index
        return sorted((stop for stop in self.stop_lines if stop.lane == index), key=lambda stop: stop.s)

    def spot_pose(self, spot: ParkingSpot) -> NDArray[np.float64]:
        """(4, 4) of a car that is parked there."""
        return self.roads[spot.road].pose(spot.s, spot.d, turn=0.0 if spot.side < 0 else np.pi)

    def light(self, junction: Junction | int, road: int, time: float) -> Light | None:
        """What the lights of a junction show to vehicles on `road` at `time`; None where there are no lights."""
        junction = self.junctions[junction] if isinstance(junction, int) else junction
        if not junction.signalised:
            return None
        now = (time + junction.phase) % junction.cycle
        green, begin = junction.main_green, 0.0
        if road != 0:
            green, begin = junction.cross_green, junction.main_green + junction.amber + junction.clearance
        since = (now - begin) % junction.cycle
        if since < green:
            return Light.GREEN
        if since < green + junction.amber:
            return Light.AMBER
        return Light.RED_AMBER if since >= junction.cycle - 1.0 else Light.RED

    def may_walk(self, crossing: Crossing, time: float) -> bool:
        """Whether lights let people start across; always where there are no lights."""
        if crossing.junction < 0:
            return True
        shown = self.light(crossing.junction, crossing.road, time)
        if shown is None:
            return True
        junction = self.junctions[crossing.junction]
        green, begin = junction.main_green, 0.0
        if crossing.road != 0:
            green, begin = junction.cross_green, junction.main_green + junction.amber + junction.clearance
        since = (time + junction.phase - begin) % junction.cycle
        return green + junction.amber + 1.0 <= since < junction.cycle - 5.0

    def block_at(self, s: float, side: Side) -> Block | None:
        """The block beside the main street at `s`, or None inside a junction."""
        return next((b for b in self.blocks if b.side == side and b.s0 <= s <= b.s1), None)

    def kerb_at(self, road: Road, s: float, side: int) -> float:
        """Distance of a road's kerb from its centre line, to its left (`side` > 0) or right."""
        if road.index:
            return self.junctions[road.index - 1].half_width
        block = self.block_at(s, 1 if side > 0 else -1)
        return block.kerb if block is not None else road.lane_width

    def _lane(self, lane: Lane | int) -> Lane:
        return self.lanes[lane] if isinstance(lane, int) else lane


def planar_pose(position: NDArray[np.floating], heading: float) -> NDArray[np.float64]:
    """(4, 4) of something upright at `position` (3,) that looks along `heading` radians."""
    c, s = np.cos(heading), np.sin(heading)
    pose = np.eye(4)
    pose[:2, :2] = [[c, -s], [s, c]]
    pose[:3, 3] = position
    return pose
