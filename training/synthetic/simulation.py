"""Traffic: who goes when.

Vehicles follow the Intelligent Driver Model (Treiber, Hennecke and Helbing 2000, Physical Review E 62, 1805); so do
people on foot, on tracks of their own. Lights, people on crossings and vehicles in a junction are obstacles that
stand at a gate. Everything is computed once, in steps of `STEP` seconds, so that afterwards a place at any time is an
interpolation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.motion import STEP, Path, Thing, Track
from panoptic_training.synthetic.street import Crossing, Layout, Light

Array = NDArray[np.float64]


@dataclass
class Agent:
    """Something that follows a line.

    Attributes
    ----------
    line:
        Index of a lane, or any other number that those share who follow each other.
    s, speed:
        Metres along the line of its middle, and metres per second, at the beginning.
    length:
        Metres.
    wish:
        Speed that it would like.
    edge:
        It keeps to the lane's edge, so that only those who are `wide` must stay behind it.
    wide:
        It needs the lane's whole width.
    headway, gap, pull, ease:
        Seconds and metres to who is ahead, greatest acceleration, comfortable deceleration.
    rests:
        (s, seconds) where it stops on its way, a bus stop, for how long.
    """

    line: int
    s: float
    speed: float
    length: float
    wish: float
    edge: bool = False
    wide: bool = False
    headway: float = 1.2
    gap: float = 2.0
    pull: float = 1.6
    ease: float = 2.0
    rests: list[tuple[float, float]] = field(default_factory=list)


Maker = Callable[[Track, Track], list[Thing]]
"""Bodies that follow a track, and who looks at them."""


@dataclass
class Plan:
    """What will become bodies once it is known where everybody goes."""

    agents: list[Agent] = field(default_factory=list)
    makers: list[Maker] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)

    def add(self, agent: Agent, path: Path, maker: Maker) -> None:
        self.agents.append(agent)
        self.paths.append(path)
        self.makers.append(maker)


@dataclass
class Crosser:
    """Somebody who wants to cross a road once.

    Attributes
    ----------
    crossing:
        Where.
    back:
        From the last of the crossing's points to the first.
    kerbs:
        Metres along its own path where the roadway begins and ends.
    length:
        Metres of its path.
    wish:
        Walking speed.
    ready:
        Time from which it wants to go.
    """

    crossing: Crossing
    back: bool
    kerbs: tuple[float, float]
    length: float
    wish: float
    ready: float


@dataclass(frozen=True)
class _Gate:
    """A place that a lane's vehicles pass only when it is free.

    Attributes
    ----------
    stop, edge:
        Lane's arc length where to wait, and beyond which there is no more waiting.
    junction, crossing:
        For whom; -1 none.
    """

    stop: float
    edge: float
    junction: int
    crossing: int


@dataclass(frozen=True)
class _Zone:
    """The part of a lane in which a vehicle keeps those of the other street out of a junction."""

    junction: int
    main: bool
    begin: float  # from here on it has entered
    core: float  # where it may meet the others
    end: float


class Simulation:
    """Runs traffic once.

    Parameters
    ----------
    layout:
        The streets.
    agents:
        Those who follow lines; lines that are no lanes have no gates.
    crossers:
        Those who cross.
    """

    def __init__(self, layout: Layout, agents: list[Agent], crossers: list[Crosser]) -> None:
        self.layout = layout
        self.agents = agents
        self.crossers = crossers
        self._gates: list[list[_Gate]] = []
        self._zones: list[list[_Zone]] = []
        for lane in layout.lanes:
            gates, zones = _lane_rules(layout, lane.index)
            self._gates.append(gates)
            self._zones.append(zones)
        self._by_crossing: dict[int, list[int]] = {}
        for index, crosser in enumerate(crossers):
            self._by_crossing.setdefault(crosser.crossing.index, []).append(index)

    def run(self, duration: float) -> tuple[Array, Array, Array, Array]:
        """Metres along their lines and speeds, (A, T) of the agents and (C, T) of the crossers."""
        steps = int(np.ceil(duration / STEP)) + 2
        agents = self.agents
        self._s = np.array([agent.s for agent in agents])
        self._v = np.array([agent.speed for agent in agents])
        self._length = np.array([agent.length for agent in agents])
        wish = np.array([agent.wish for agent in agents])
        headway = np.array([agent.headway for agent in agents])
        gap = np.array([agent.gap for agent in agents])
        pull = np.array([agent.pull for agent in agents])
        ease = np.array([agent.ease for agent in agents])
        line = np.array([agent.line for agent in agents])
        edge = np.array([agent.edge for agent in agents])
        wide = np.array([agent.wide for agent in agents])
        members = [np.flatnonzero(line == index) for index in np.unique(line)]
        self._on_lane = [np.flatnonzero(line == lane.index) for lane in self.layout.lanes]
        self._cs = np.zeros(len(self.crossers))
        self._cv = np.zeros(len(self.crossers))
        self._gone = np.zeros(len(self.crossers), dtype=bool)
        self._rested = [0.0] * len(agents)
        kept = [np.empty((len(agents), steps)), np.empty((len(agents), steps))]
        walked = [np.empty((len(self.crossers), steps)), np.empty((len(self.crossers), steps))]
        for step in range(steps):
            time = step * STEP
            kept[0][:, step], kept[1][:, step] = self._s, self._v
            walked[0][:, step], walked[1][:, step] = self._cs, self._cv
            # who is ahead: for those at the edge, others there and the wide; for cars, all but those at the edge
            room = np.full(len(agents), np.inf)
            approach = np.zeros(len(agents))
            for group in members:
                for follows, leads in _pairs(group, edge, wide):
                    if len(leads) and len(follows):
                        _look_ahead(self._s, self._v, self._length, follows, leads, room, approach)
            interaction = _desired(self._v, approach, headway, gap, pull, ease) / np.maximum(room, 0.1)
            push = pull * (1 - (self._v / wish) ** 4 - interaction**2)
            push = np.minimum(push, self._gate_push(time, pull))
            push = np.maximum(push, -7.0)
            speed = np.maximum(self._v + push * STEP, 0.0)
            self._s = self._s + (self._v + speed) / 2 * STEP
            self._v = speed
            self._walk(time)
        return kept[0], kept[1], walked[0], walked[1]

    def _gate_push(self, time: float, pull: Array) -> Array:
        """(A,) greatest acceleration that the gates ahead leave each agent."""
        push = np.full(len(self.agents), np.inf)
        occupied = self._occupied()
        for lane, on_lane in zip(self.layout.lanes, self._on_lane, strict=True):
            for index in on_lane:
                front = self._s[index] + self._length[index] / 2
                speed = self._v[index]
                stops: list[float] = []
                for gate in self._gates[lane.index]:
                    if front > gate.edge or gate.stop - front > 70.0:
                        continue
                    stop = gate.stop if front <= gate.stop + 0.3 else gate.edge
                    if self._shut(gate, lane.index, lane.road, int(index), stop - front, time, occupied):
                        stops.append(stop)
                        break  # gates are sorted along the lane
                agent = self.agents[index]
                if agent.rests:
                    where, long = agent.rests[0]
                    if self._s[index] > where + 1.0 or self._rested[index] >= long:
                        agent.rests.pop(0)
                        self._rested[index] = 0.0
                    elif where - self._s[index] < 60.0:
                        stops.append(where + self._length[index] / 2)
                        if speed < 0.05 and where - self._s[index] < 2.0:
                            self._rested[index] += STEP
                if stops:
                    room = max(min(stops) - front, 0.05)
                    wanted = 0.4 + speed * 0.5 + speed**2 / (2 * np.sqrt(pull[index] * 2.5))
                    push[index] = pull[index] * (1 - (wanted / room) ** 2)
        return push

    def _shut(
        self,
        gate: _Gate,
        lane: int,
        road: int,
        index: int,
        room: float,
        time: float,
        occupied: dict[tuple[int, bool], set[int]],
    ) -> bool:
        speed = self._v[index]
        can_stop = room > speed**2 / (2 * 3.5)
        if gate.crossing >= 0 and self._people_in_way(gate.crossing, lane):
            return True
        if gate.junction < 0:
            return False
        main = road == 0
        light = self.layout.light(gate.junction, road, time)
        if light is not None and light is not Light.GREEN and (can_stop or light is not Light.AMBER):
            return True
        if occupied.get((gate.junction, not main)) and can_stop:
            return True
        return light is None and not main and self._main_comes(gate.junction)

    def _occupied(self) -> dict[tuple[int, bool], set[int]]:
        """Those inside each junction, by street."""
        inside: dict[tuple[int, bool], set[int]] = {}
        for lane, on_lane in zip(self.layout.lanes, self._on_lane, strict=True):
            if not len(on_lane):
                continue
            half = self._length[on_lane] / 2
            for zone in self._zones[lane.index]:
                held = (self._s[on_lane] + half > zone.begin) & (self._s[on_lane] - half < zone.end)
                if held.any():
                    inside.setdefault((zone.junction, zone.main), set()).update(on_lane[held].tolist())
        return inside

    def _main_comes(self, junction: int) -> bool:
        """Whether something on the main street will be in a junction soon."""
        for lane in (0, 1):
            on_lane = self._on_lane[lane]
            for zone in self._zones[lane]:
                if zone.junction != junction:
                    continue
                away = zone.core - (self._s[on_lane] + self._length[on_lane] / 2)
                past = self._s[on_lane] - self._length[on_lane] / 2 > zone.end
                if (~past & (away < 7.0 * self._v[on_lane] + 3.0)).any():
                    return True
        return False

    def _people_in_way(self, crossing: int, lane: int) -> bool:
        for index in self._by_crossing.get(crossing, ()):
            crosser = self.crossers[index]
            begin, end = crosser.kerbs
            if not self._gone[index] or not begin - 0.4 <= self._cs[index] <= end:
                continue
            # how far along the way the lane's far side is
            across = self._lane_across(crosser, lane)
            if self._cs[index] < across + self.layout.lanes[lane].width / 2 + 0.5:
                return True
        return False

    def _lane_across(self, crosser: Crosser, lane: int) -> float:
        """Metres along a crosser's path where it meets the middle of a lane."""
        plan = self.layout.lanes[lane]
        curve = self.layout.roads[plan.road].curve
        first, last = (np.array(crosser.crossing.points[i][:2]) for i in ((2, 1) if crosser.back else (1, 2)))
        _, sides = curve.project(np.stack([first, last]))
        share = (plan.offset - sides[0]) / (sides[1] - sides[0])
        begin, end = crosser.kerbs
        met: float = begin + share * (end - begin)
        return met

    def _walk(self, time: float) -> None:
        for index, crosser in enumerate(self.crossers):
            if not self._gone[index]:
                self._gone[index] = time >= crosser.ready and self._may_go(crosser, time)
            wish = crosser.wish if self._gone[index] and self._cs[index] < crosser.length - 0.35 else 0.0
            before = self._cv[index]
            self._cv[index] = np.clip(wish, before - 1.8 * STEP, before + 1.8 * STEP)
            self._cs[index] += (before + self._cv[index]) / 2 * STEP

    def _may_go(self, crosser: Crosser, time: float) -> bool:
        crossing = crosser.crossing
        needed = crosser.kerbs[1] / crosser.wish
        if not self.layout.may_walk(crossing, time) or not self.layout.may_walk(
            crossing, time + max(needed - 3.5, 0.0)
        ):
            return False
        for lane in self.layout.lanes:
            if lane.road != crossing.road:
                continue
            middle = float(self.layout.lane_s(lane, crossing.s))
            on_lane = self._on_lane[lane.index]
            away = middle - crossing.width / 2 - (self._s[on_lane] + self._length[on_lane] / 2)
            speed = self._v[on_lane]
            over = (away < 0.3) & (away > -self._length[on_lane] - crossing.width - 0.5)
            # without stripes or lights those who walk give way
            caution = 2.5 if crossing.zebra or crossing.junction >= 0 else needed + 1.0
            near = (away >= 0.3) & (away < speed**2 / (2 * 2.5) + caution * speed + 1.0) & (speed > 0.5)
            if (over | near).any():
                return False
        return True


def _pairs(
    group: NDArray[np.int64], edge: NDArray[np.bool_], wide: NDArray[np.bool_]
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Those who follow, with those whom they follow."""
    at_edge, broad = edge[group], wide[group]
    if not at_edge.any():
        return [(group, group)]
    return [
        (group[at_edge], group[at_edge | broad]),
        (group[broad], group),
        (group[~at_edge & ~broad], group[~at_edge]),
    ]


def _look_ahead(
    s: Array,
    v: Array,
    length: Array,
    follows: NDArray[np.int64],
    leads: NDArray[np.int64],
    room: Array,
    approach: Array,
) -> None:
    """Fill in the gap to who is ahead and how fast it shrinks."""
    ordered = leads[np.argsort(s[leads], kind="stable")]
    place = np.searchsorted(s[ordered], s[follows] + 1e-6)
    ahead = np.minimum(place, len(ordered) - 1)
    leader = ordered[ahead]
    gap = s[leader] - length[leader] / 2 - s[follows] - length[follows] / 2
    real = place < len(ordered)
    room[follows] = np.where(real, gap, np.inf)
    approach[follows] = np.where(real, v[follows] - v[leader], 0.0)


def _desired(v: Array, approach: Array, headway: Array, gap: Array, pull: Array, ease: Array) -> Array:
    """The model's desired gap (its equation 3)."""
    desired: Array = gap + np.maximum(v * headway + v * approach / (2 * np.sqrt(pull * ease)), 0.0)
    return desired


def _lane_rules(layout: Layout, index: int) -> tuple[list[_Gate], list[_Zone]]:
    """Gates and junction zones of a lane, sorted along it."""
    lane = layout.lanes[index]
    main = lane.road == 0
    gates: list[_Gate] = []
    zones: list[_Zone] = []
    stops = layout.stops_of(lane)
    for junction in layout.junctions:
        if not main and junction.road != lane.road:
            continue
        middle = float(layout.lane_s(lane, junction.s if main else junction.cross_s))
        # across the other street's lanes, and a little
        reach = (layout.roads[junction.road] if main else layout.main).lane_width + 0.8
        line = next((stop.s for stop in stops if stop.junction == junction.index), None)
        begin, core, end = middle - reach - 0.5, middle - reach, middle + reach
        stop = min(line, begin) if line is not None else begin - 0.3
        if line is None and main:
            begin += 0.0
        gates.append(_Gate(stop, stop + 0.6, junction.index, -1))
        zones.append(_Zone(junction.index, main, stop + 0.6, core, end))
    for crossing in layout.crossings:
        if crossing.road != lane.road:
            continue
        near = float(layout.lane_s(lane, crossing.s)) - crossing.width / 2
        line = next((stop.s for stop in stops if stop.crossing == crossing.index), near - 0.9)
        gates.append(_Gate(min(line, near - 0.5), near - 0.15, -1, crossing.index))
    return sorted(gates, key=lambda gate: gate.stop), sorted(zones, key=lambda zone: zone.begin)
