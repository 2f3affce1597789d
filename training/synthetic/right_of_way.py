"""Right of way: who may pass a junction or a crossing, and who waits.

Whoever passes a junction first gets a claim on it, which it keeps until its rear has left; a claim is given to those
alone whom no other claim keeps out, one after the other, so that no two meet.  The times that drivers leave free before
others are the critical gaps of the Highway Capacity Manual (2000, exhibit 17-5): 4.1 s to turn left from the main
street, about 7 s to cross it or to turn into it.  Who has waited long is let in by those who can stop gently.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.agents import Agent, Crosser
from panoptic_training.synthetic.gates import Claim, Gate, lane_gates, turn_gates, zone
from panoptic_training.synthetic.motion import STEP
from panoptic_training.synthetic.street import Layout, Light

Array = NDArray[np.float64]

HORIZON = 70.0  # metres at which a gate is looked at
HARD = 3.5  # m/s² at which one brakes rather than pass a gate that has just shut
LEFT_GAP, MINOR_GAP = 4.1, 7.0  # seconds
COURTESY = 12.0  # seconds after which somebody who waits is let in
GENTLE = 2.0  # m/s² at which one stops for courtesy
EASY = 1.5  # m/s² at which those who are near a junction in the beginning could still stop there


class RightOfWay:
    """The rules for those on lanes, and who has which claim.

    Parameters
    ----------
    layout:
        The streets.
    agents, crossers:
        All of them.
    """

    def __init__(self, layout: Layout, agents: Sequence[Agent], crossers: Sequence[Crosser]) -> None:
        self.layout, self.agents, self.crossers = layout, agents, crossers
        self._length = np.array([agent.length for agent in agents])
        known: dict[tuple[int, bool], list[Gate]] = {}
        self._gates: list[list[Gate]] = []
        for agent in agents:
            if agent.line >= len(layout.lanes):
                self._gates.append([])
            elif agent.turn is not None:
                self._gates.append(turn_gates(layout, agent.turn))
            else:
                if (agent.line, agent.edge) not in known:
                    known[agent.line, agent.edge] = lane_gates(layout, layout.lanes[agent.line], agent.edge)
                self._gates.append(known[agent.line, agent.edge])
        self._next = [0] * len(agents)
        self._waited = [0.0] * len(agents)  # seconds, for others, at the gate ahead
        self._polite = [False] * len(agents)  # about to let somebody in
        # by junction and agent: of those who have passed the gate, and of those who are about to
        self._held: list[dict[int, Claim]] = [{} for _ in layout.junctions]
        self._given: list[dict[int, Claim]] = [{} for _ in layout.junctions]
        self._wanted: list[dict[int, Claim]] = [{} for _ in layout.junctions]  # by those who wait for others
        self._zones = {
            (junction.index, lane.index): zone(layout, lane, junction.index)
            for junction in layout.junctions
            for lane in layout.lanes
            if lane.road in (0, junction.road)
        }
        self._by_crossing: dict[int, list[int]] = {}
        for index, crosser in enumerate(crossers):
            self._by_crossing.setdefault(crosser.crossing.index, []).append(index)
        self._across = {
            (index, lane.index): _lane_across(layout, crosser, lane.index)
            for index, crosser in enumerate(crossers)
            for lane in layout.lanes
            if lane.road == crosser.crossing.road
        }

    def speed_limit(self, way: Array) -> Array:
        """(A,) metres per second from which all can still stop at the junctions before them."""
        limit = np.full(len(way), np.inf)
        for index, gates in enumerate(self._gates):
            front = way[index] + self._length[index] / 2
            room = [gate.stop - front for gate in gates if gate.junction >= 0 and gate.edge >= front]
            if room:
                limit[index] = np.sqrt(2 * EASY * max(min(room), 0.0))
        return limit

    def stops(
        self,
        time: float,
        way: Array,
        place: Array,
        speed: Array,
        on_lane: Sequence[NDArray[np.int64]],
        walked: Array,
        gone: NDArray[np.bool_],
    ) -> dict[int, float]:
        """Where agents must stop, by their own distance, those that must; it also gives and takes claims.

        Parameters
        ----------
        time:
            Now.
        way, place, speed:
            (A,) each agent's own distance, its arc length on the lane that it is on now, and its speed.
        on_lane:
            The agents of each lane.
        walked, gone:
            (C,) metres that crossers have gone, and whether they have started.
        """
        self._time, self._way, self._place, self._speed = time, way, place, speed
        self._on_lane, self._walked, self._gone = on_lane, walked, gone
        found: dict[int, float] = {}
        for held in self._held:
            for index in [i for i, claim in held.items() if way[i] - self.agents[i].length / 2 > claim.end]:
                del held[index]
        waiting: list[int] = []
        for members in on_lane:
            first: set[tuple[int, bool]] = set()  # junctions that somebody ahead has not reached yet
            for index in members[np.argsort(-place[members], kind="stable")].tolist():
                gate = self._ahead(index)
                if gate is not None and gate.inside:
                    waiting.append(index)  # who turns left comes last
                else:
                    self._look(index, first, found)
        for index in waiting:
            self._look(index, set(), found)
        return found

    def _ahead(self, index: int) -> Gate | None:
        """The gate that an agent comes to next; what it has passed is its own."""
        gates, front = self._gates[index], self._way[index] + self.agents[index].length / 2
        while self._next[index] < len(gates) and front > gates[self._next[index]].edge:
            passed = gates[self._next[index]]
            if passed.claim is not None:
                self._held[passed.junction][index] = passed.claim
                self._given[passed.junction].pop(index, None)
                self._wanted[passed.junction].pop(index, None)
            self._next[index] += 1
            self._waited[index] = 0.0
        return gates[self._next[index]] if self._next[index] < len(gates) else None

    def _look(self, index: int, first: set[tuple[int, bool]], found: dict[int, float]) -> None:
        """Go through the gates ahead up to the first that is shut."""
        agent = self.agents[index]
        front = self._way[index] + agent.length / 2
        shut = False
        for gate in self._gates[index][self._next[index] :]:
            if gate.stop - front > HORIZON:
                break
            if gate.junction >= 0:
                self._given[gate.junction].pop(index, None)  # it asks anew at each step
            if shut:
                continue
            is_first = gate.inside or (gate.junction, agent.edge) not in first
            if gate.junction >= 0:
                first.add((gate.junction, agent.edge))
            stop = gate.stop if front <= gate.stop + 0.3 else gate.edge
            if self._shut(gate, index, stop - front, is_first):
                found[index] = stop
                shut = True

    def _shut(self, gate: Gate, index: int, room: float, is_first: bool) -> bool:
        speed = float(self._speed[index])
        can_stop = room > speed**2 / (2 * HARD)
        if gate.claim is None:
            return self._people_in_way(gate.crossing, gate.lane)
        road = self.layout.lanes[gate.lane].road
        light = None if gate.inside else self.layout.light(gate.junction, road, self._time)
        if light is not None and light is not Light.GREEN and (can_stop or light is not Light.AMBER):
            return True
        if not is_first:
            return False
        kept = any(
            other != index and claim.keeps_out(gate.claim)
            for claims in (self._held[gate.junction], self._given[gate.junction])
            for other, claim in claims.items()
        )
        if can_stop and (kept or self._comes(gate) or self._lets_in(gate, index, room)):
            if speed < 0.5:
                self._waited[index] += STEP
                self._wanted[gate.junction][index] = gate.claim
            return True
        if room < 1.0 + speed + speed**2 / 4:  # from here on it would have to brake
            self._given[gate.junction][index] = gate.claim
        return False

    def _comes(self, gate: Gate) -> bool:
        """Whether somebody to whom those at a gate give way will be in the junction soon."""
        assert gate.claim is not None
        junction = self.layout.junctions[gate.junction]
        if gate.claim.way == "right" and self._arrives(gate.lane, junction.index, LEFT_GAP, self._cyclist):
            return True
        if gate.inside:
            own = self.layout.lanes[gate.lane]
            light = self.layout.light(junction, own.road, self._time)
            if light is Light.RED or light is Light.RED_AMBER:
                return False  # who comes towards it waits
            opposite = (lane.index for lane in self.layout.lanes if lane.road == own.road and lane is not own)
            return any(self._arrives(lane, junction.index, LEFT_GAP, self._goes_first) for lane in opposite)
        if junction.signalised or gate.claim.main:
            return False
        return any(self._arrives(lane, junction.index, MINOR_GAP) for lane in (0, 1))

    def _lets_in(self, gate: Gate, index: int, room: float) -> bool:
        """Whether somebody has waited so long, and longer than this agent, that it stops for them."""
        assert gate.claim is not None
        if gate.inside:
            return False  # who is in the junction must leave it first
        lets_in = any(
            self._waited[other] > max(COURTESY, self._waited[index]) and gate.claim.keeps_out(claim)
            for other, claim in self._wanted[gate.junction].items()
        )
        begins = room > self._speed[index] ** 2 / (2 * GENTLE)
        self._polite[index] = lets_in and (begins or self._polite[index])  # once it slows down it goes on to
        return self._polite[index]

    def _arrives(
        self, lane: int, junction: int, seconds: float, counts: Callable[[int, int], bool] | None = None
    ) -> bool:
        """Whether somebody on a lane who `counts`, by agent and junction, will be in the junction so soon, or is."""
        begin, end = self._zones[junction, lane]
        members = self._on_lane[lane]
        half = self._length[members] / 2
        soon = self._place[members] + half > begin - seconds * self._speed[members] - 3.0
        soon &= self._place[members] - half <= end
        return any(counts is None or counts(index, junction) for index in members[soon].tolist())

    def _goes_first(self, index: int, junction: int) -> bool:
        """Whether those who turn left give way to an agent that comes towards them: not if it turns left as well."""
        turn = self.agents[index].turn
        return turn is None or turn.junction != junction or turn.way == "right"

    def _cyclist(self, index: int, junction: int) -> bool:
        return self.agents[index].edge

    def _people_in_way(self, crossing: int, lane: int) -> bool:
        for index in self._by_crossing.get(crossing, ()):
            begin, end = self.crossers[index].kerbs
            if not self._gone[index] or not begin - 0.4 <= self._walked[index] <= end:
                continue
            if self._walked[index] < self._across[index, lane] + self.layout.lanes[lane].width / 2 + 0.5:
                return True
        return False

    def may_cross(self, crosser: Crosser) -> bool:
        """Whether somebody may start across now."""
        crossing = crosser.crossing
        needed = crosser.kerbs[1] / crosser.wish
        if not self.layout.may_walk(crossing, self._time) or not self.layout.may_walk(
            crossing, self._time + max(needed - 3.5, 0.0)
        ):
            return False
        for lane in self.layout.lanes:
            if lane.road != crossing.road:
                continue
            middle = float(self.layout.lane_s(lane, crossing.s))
            members = self._on_lane[lane.index]
            length = self._length[members]
            away = middle - crossing.width / 2 - (self._place[members] + length / 2)
            speed = self._speed[members]
            over = (away < 0.3) & (away > -length - crossing.width - 0.5)
            # without stripes or lights those who walk give way
            caution = 2.5 if crossing.zebra or crossing.junction >= 0 else needed + 1.0
            near = (away >= 0.3) & (away < speed**2 / (2 * 2.5) + caution * speed + 1.0) & (speed > 0.5)
            if (over | near).any():
                return False
        return True


def _lane_across(layout: Layout, crosser: Crosser, lane: int) -> float:
    """Metres along a crosser's path where it meets the middle of a lane."""
    plan = layout.lanes[lane]
    curve = layout.roads[plan.road].curve
    first, last = (np.array(crosser.crossing.points[i][:2]) for i in ((2, 1) if crosser.back else (1, 2)))
    _, sides = curve.project(np.stack([first, last]))
    share = (plan.offset - sides[0]) / (sides[1] - sides[0])
    begin, end = crosser.kerbs
    met: float = begin + share * (end - begin)
    return met
