"""Gates: places on a vehicle's way that it passes only when it may, before junctions and crossings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from panoptic_training.synthetic.street import CORNER_RADIUS, Lane, Layout
from panoptic_training.synthetic.turns import Turn

CREEP = 0.6  # metres beyond where one should wait, up to which one still waits
BESIDE = 0.8  # metres beside the lanes of a street that belong to the part of a junction that it crosses


@dataclass(frozen=True, slots=True)
class Claim:
    """What a vehicle needs of a junction while it passes.

    Attributes
    ----------
    lane:
        From which it comes.
    main:
        Whether that is a lane of the main street.
    way:
        Where to.
    edge:
        It keeps to its lane's edge.
    final:
        It will not wait any more: else it is let into the junction, and gives way there before it turns left.
    end:
        Own distance at which its rear has left the junction.
    """

    lane: int
    main: bool
    way: Literal["ahead", "left", "right"]
    edge: bool
    final: bool
    end: float

    def keeps_out(self, other: Claim) -> bool:
        """Whether who holds this claim keeps who wants the other from passing."""
        if self.main != other.main:
            return True
        if self.lane == other.lane:
            # cyclists go straight on beside those who turn right
            if self.edge != other.edge:
                return other.way == "right" if self.edge else self.way == "right"
            return not self.final  # who follows waits before the junction, not in it
        # those who come towards each other meet only where one turns left
        return self.final and other.final and "left" in (self.way, other.way)


@dataclass(frozen=True, slots=True)
class Gate:
    """A place that a vehicle passes only when it may.

    Attributes
    ----------
    stop, edge:
        Own distance where to wait, and beyond which there is no more waiting.
    lane:
        Which it is on.
    crossing:
        For whom; -1 for a junction.
    junction, claim:
        For which junction, and what of it; -1 and None for a crossing.
    inside:
        It lies in the junction, behind the lights: only those who come towards it matter.
    """

    stop: float
    edge: float
    lane: int
    crossing: int = -1
    junction: int = -1
    claim: Claim | None = None
    inside: bool = False


def zone(layout: Layout, lane: Lane, junction: int) -> tuple[float, float]:
    """Arc lengths of a lane between which it lies in the other street's lanes."""
    place = layout.junctions[junction]
    middle = float(layout.lane_s(lane, place.s if lane.road == 0 else place.cross_s))
    reach = (layout.roads[place.road] if lane.road == 0 else layout.main).lane_width + BESIDE
    return middle - reach, middle + reach


def lane_gates(layout: Layout, lane: Lane, edge: bool) -> list[Gate]:
    """The gates of somebody who follows a lane to its end."""
    gates = []
    stops = layout.stops_of(lane)
    for junction in layout.junctions:
        if lane.road not in (0, junction.road):
            continue
        begin, end = zone(layout, lane, junction.index)
        if lane.road == 0:  # before the corner, so that who turns there has room beside who waits
            begin = min(begin, (begin + end) / 2 - junction.half_width - CORNER_RADIUS) - 1.0
        stop = min([stop.s for stop in stops if stop.junction == junction.index], default=begin)
        stop = min(stop, begin)
        claim = Claim(lane.index, lane.road == 0, "ahead", edge, True, end)
        gates.append(Gate(stop, stop + CREEP, lane.index, junction=junction.index, claim=claim))
    for crossing in layout.crossings:
        if crossing.road != lane.road:
            continue
        near = float(layout.lane_s(lane, crossing.s)) - crossing.width / 2
        line = next((stop.s for stop in stops if stop.crossing == crossing.index), near - 0.9)
        gates.append(Gate(min(line, near - 0.5), near - 0.15, lane.index, crossing=crossing.index))
    return sorted(gates, key=lambda gate: gate.stop)


def turn_gates(layout: Layout, turn: Turn) -> list[Gate]:
    """The gates of somebody who leaves a lane at a turn, by its own distance."""
    before, after = layout.lanes[turn.before], layout.lanes[turn.after]
    junction = layout.junctions[turn.junction]
    end = zone(layout, after, turn.junction)[1] + turn.shift
    waits_inside = turn.way == "left" and (junction.signalised or before.road == 0)
    claim = Claim(before.index, before.road == 0, turn.way, False, not waits_inside, end)
    gates = []
    for gate in lane_gates(layout, before, False):
        if gate.junction == turn.junction:
            gates.append(replace(gate, claim=claim))
        elif gate.stop < turn.leave:
            gates.append(gate)
    if waits_inside:  # with its front where it still stands straight in its lane
        stop = turn.leave + 1.7
        final = replace(claim, final=True)
        gates.append(Gate(stop, stop + CREEP, before.index, junction=turn.junction, claim=final, inside=True))
    middle = turn.join - turn.reach
    for gate in lane_gates(layout, after, False):
        if gate.stop > middle:
            own = None if gate.claim is None else replace(gate.claim, end=gate.claim.end + turn.shift)
            gates.append(replace(gate, stop=gate.stop + turn.shift, edge=gate.edge + turn.shift, claim=own))
    return sorted(gates, key=lambda gate: gate.stop)
