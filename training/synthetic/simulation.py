"""Traffic: who goes when.

Vehicles follow the Intelligent Driver Model (Treiber, Hennecke and Helbing 2000, Physical Review E 62, 1805); so do
people on foot, on tracks of their own.  Lights, people on crossings and vehicles in a junction are obstacles that
stand at a gate.  Everything is computed once, in steps of `STEP` seconds, so that afterwards a place at any time is an
interpolation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.agents import Agent, Crosser
from panoptic_training.synthetic.motion import STEP
from panoptic_training.synthetic.right_of_way import RightOfWay
from panoptic_training.synthetic.street import Layout

Array = NDArray[np.float64]
Index = NDArray[np.int64]

HARDEST = 7.0  # m/s², of brakes
SLOWING = 1.2  # m/s², before a turn
REST_REACH = 60.0  # metres at which a bus looks at its stop


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
        self.layout, self.agents, self.crossers = layout, agents, crossers
        self._rules = RightOfWay(layout, agents, crossers)

        def each(name: str) -> Array:
            return np.array([getattr(agent, name) for agent in agents], dtype=np.float64)

        self._way, self._length = each("s"), each("length")
        self._v = np.minimum(each("speed"), self._rules.speed_limit(self._way))
        self._wish, self._headway, self._gap = each("wish"), each("headway"), each("gap")
        self._pull, self._ease = each("pull"), each("ease")
        self._edge, self._wide = each("edge") > 0, each("wide") > 0
        self._line = np.array([agent.line for agent in agents], dtype=np.int64)
        self._shift = np.zeros(len(agents))  # own distance, less the arc length of the lane that one is on
        self._turns = _Turns(layout, agents)
        self._rest = [0] * len(agents)  # the next of its rests
        self._rested = [0.0] * len(agents)
        self._walked, self._pace = np.zeros(len(crossers)), np.zeros(len(crossers))
        self._gone = np.zeros(len(crossers), dtype=bool)
        self._group()

    def run(self, duration: float) -> tuple[Array, Array, Array, Array]:
        """Own distances in metres, and speeds: (A, T) each of the agents and (C, T) each of the crossers."""
        steps = int(np.ceil(duration / STEP)) + 2
        kept = [np.empty((len(self.agents), steps)) for _ in range(2)]
        walked = [np.empty((len(self.crossers), steps)) for _ in range(2)]
        for step in range(steps):
            kept[0][:, step], kept[1][:, step] = self._way, self._v
            walked[0][:, step], walked[1][:, step] = self._walked, self._pace
            self._drive(step * STEP)
            self._walk(step * STEP)
        return kept[0], kept[1], walked[0], walked[1]

    def _drive(self, time: float) -> None:
        place = self._way - self._shift
        room, approach = self._ahead(place)
        desired = self._gap + np.maximum(  # the model's equation 3
            self._v * self._headway + self._v * approach / (2 * np.sqrt(self._pull * self._ease)), 0.0
        )
        interaction = desired / np.maximum(room, 0.1)
        wish = np.minimum(self._wish, self._turns.speed_limit(self._way))
        push = self._pull * (1 - (self._v / wish) ** 4 - interaction**2)
        stops = self._rules.stops(time, self._way, place, self._v, self._on_lane, self._walked, self._gone)
        self._rest_at_stops(stops)
        for index, stop in stops.items():
            speed, pull = float(self._v[index]), float(self._pull[index])
            gap = max(stop - float(self._way[index]) - float(self._length[index]) / 2, 0.05)
            wanted = 0.4 + speed * 0.5 + speed**2 / (2 * np.sqrt(pull * 2.5))
            push[index] = min(push[index], pull * (1 - (wanted / gap) ** 2))
        speed_after = np.maximum(self._v + np.maximum(push, -HARDEST) * STEP, 0.0)
        self._way = self._way + (self._v + speed_after) / 2 * STEP
        self._v = speed_after
        if self._turns.advance(self._way, self._line, self._shift):
            self._group()

    def _group(self) -> None:
        """Find out anew who is on which line."""
        lines = np.unique(self._line)
        self._members = {int(line): np.flatnonzero(self._line == line) for line in lines}
        empty = np.zeros(0, dtype=np.int64)
        self._on_lane = [self._members.get(lane.index, empty) for lane in self.layout.lanes]

    def _ahead(self, place: Array) -> tuple[Array, Array]:
        """Room to who is ahead of each agent, and how fast it shrinks.

        For those at the edge, others there and the wide are ahead; for cars, all but those at the edge.  Who turns is
        ahead on both lanes, as long as its rear is still on the first.
        """
        room, approach = np.full(len(self.agents), np.inf), np.zeros(len(self.agents))
        # those who leave a lane stand after all agents, as on it
        places = np.concatenate([place, self._turns.left_behind(self._way)])
        speeds = np.concatenate([self._v, self._v[self._turns.who]])
        lengths = np.concatenate([self._length, self._length[self._turns.who]])
        for line, group in self._members.items():
            leaving = len(self.agents) + self._turns.leaving(line)
            for follows, leads in _pairs(group, self._edge, self._wide):
                _look_ahead(places, speeds, lengths, follows, np.concatenate([leads, leaving]), room, approach)
        return room, approach

    def _rest_at_stops(self, stops: dict[int, float]) -> None:
        """Let buses stop where they have to, for as long as they have to."""
        for index, agent in enumerate(self.agents):
            if self._rest[index] >= len(agent.rests):
                continue
            where, seconds = agent.rests[self._rest[index]]
            left = where - float(self._way[index])
            if left < -1.0 or self._rested[index] >= seconds:
                self._rest[index] += 1
                self._rested[index] = 0.0
            elif left < REST_REACH:
                stop = where + agent.length / 2
                stops[index] = min(stops.get(index, np.inf), stop)
                if self._v[index] < 0.05 and left < 2.0:
                    self._rested[index] += STEP

    def _walk(self, time: float) -> None:
        for index, crosser in enumerate(self.crossers):
            if not self._gone[index]:
                self._gone[index] = time >= crosser.ready and self._rules.may_cross(crosser)
            wish = crosser.wish if self._gone[index] and self._walked[index] < crosser.length - 0.35 else 0.0
            before = self._pace[index]
            self._pace[index] = np.clip(wish, before - 1.8 * STEP, before + 1.8 * STEP)
            self._walked[index] += (before + self._pace[index]) / 2 * STEP


class _Turns:
    """Those who turn, and where they are on the lanes that they leave and enter."""

    def __init__(self, layout: Layout, agents: list[Agent]) -> None:
        turns = [(index, agent, agent.turn) for index, agent in enumerate(agents) if agent.turn is not None]
        self.who = np.array([index for index, *_ in turns], dtype=np.int64)
        self._before = np.array([turn.before for *_, turn in turns], dtype=np.int64)
        self._after = np.array([turn.after for *_, turn in turns], dtype=np.int64)
        self._leave = np.array([turn.leave for *_, turn in turns])
        self._end = np.array([turn.leave + turn.curve.length for *_, turn in turns])
        self._shift = np.array([turn.shift for *_, turn in turns])
        self._speed = np.array([turn.speed for *_, turn in turns])
        half = np.array([agent.length for _, agent, _ in turns]) / 2
        # when its rear is no more on its first lane, and how far along that lane it can get: its side is there then
        self._clear = half + [turn.clear_of(layout.lanes[turn.before].width / 2 + 0.6) for *_, turn in turns]
        self._farthest = self._leave + [turn.reach for *_, turn in turns] + half - 0.95
        self._has_left = np.zeros(len(turns), dtype=bool)
        self._is_clear = np.zeros(len(turns), dtype=bool)

    def speed_limit(self, way: Array) -> Array:
        """(A,) metres per second that leave time to slow down before a turn; infinite without."""
        limit = np.full(len(way), np.inf)
        left = np.maximum(self._leave - way[self.who], 0.0)
        limit[self.who] = np.where(way[self.who] < self._end, np.sqrt(self._speed**2 + 2 * SLOWING * left), np.inf)
        return limit

    def advance(self, way: Array, line: Index, shift: Array) -> bool:
        """Move those who have begun to turn to their second lane, in `line` and `shift`; whether there are any."""
        begins = ~self._has_left & (way[self.who] >= self._leave)
        self._has_left |= begins
        self._is_clear = way[self.who] > self._clear
        line[self.who[begins]] = self._after[begins]
        shift[self.who[begins]] = self._shift[begins]
        return bool(begins.any())

    def leaving(self, line: int) -> Index:
        """Numbers, among those who turn, of those whose rear is still on a lane that they have left."""
        return np.flatnonzero(self._has_left & ~self._is_clear & (self._before == line))

    def left_behind(self, way: Array) -> Array:
        """Arc lengths of all who turn on their first lanes."""
        behind: Array = np.minimum(way[self.who], self._farthest)
        return behind


def _pairs(group: Index, edge: NDArray[np.bool_], wide: NDArray[np.bool_]) -> list[tuple[Index, Index]]:
    """Those who follow, with those whom they follow."""
    at_edge, broad = edge[group], wide[group]
    if not at_edge.any():
        return [(group, group)]
    return [
        (group[at_edge], group[at_edge | broad]),
        (group[broad], group),
        (group[~at_edge & ~broad], group[~at_edge]),
    ]


def _look_ahead(s: Array, v: Array, length: Array, follows: Index, leads: Index, room: Array, approach: Array) -> None:
    """Fill in the gap to who is ahead and how fast it shrinks."""
    if not (len(follows) and len(leads)):
        return
    ordered = leads[np.argsort(s[leads], kind="stable")]
    place = np.searchsorted(s[ordered], s[follows] + 1e-6)
    ahead = np.minimum(place, len(ordered) - 1)
    leader = ordered[ahead]
    gap = s[leader] - length[leader] / 2 - s[follows] - length[follows] / 2
    real = place < len(ordered)
    room[follows] = np.where(real, gap, np.inf)
    approach[follows] = np.where(real, v[follows] - v[leader], 0.0)
