"""Which vehicles drive on the lanes, from where, and whether they go straight on, turn, or stop for passengers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from panoptic_training.synthetic import cycles, heavy, vehicles
from panoptic_training.synthetic.agents import Agent, Maker, Plan
from panoptic_training.synthetic.motion import Follower, LanePath, Thing, Track, rider_shape, vehicle_shape
from panoptic_training.synthetic.people import RIDER, Figure, random_figure
from panoptic_training.synthetic.street import Lane, Layout
from panoptic_training.synthetic.turns import Turn, TurnPath, Way, lane_after, make_turn

WISH, CROSS_WISH = 11.0, 8.5  # metres per second on the main street and on cross streets
EDGE = 0.37  # metres from a lane's edge that cyclists keep

# What drives on the lanes, out of each dozen or so.
MAIN_PACK = {"car": 8, "truck": 1, "bus": 1, "motorcycle": 1, "bicycle": 2}
CROSS_PACK = {"car": 8, "truck": 1, "bus": 1, "motorcycle": 1}

# Shares of the cars and motorcycles that turn.
RIGHT, LEFT = 0.22, 0.16
CROSS_RIGHT, CROSS_LEFT = 0.28, 0.2
TURN_AHEAD = 34.0  # metres before a junction from which on it is too late to turn there
BEHIND_TURN = 150.0  # metres before the ego vehicle where nobody turns left, which might hold it up for long
DWELL = (5.0, 11.0)  # seconds that a bus stands at its stop
SIGN = 3.3  # metres from the middle of a bus stop to the bus's front, at the stop's sign


@dataclass(frozen=True, slots=True)
class _Streets:
    """What vehicles are put into.

    Attributes
    ----------
    plan:
        Where they are added.
    lights:
        Whether their lamps shine.
    """

    plan: Plan
    layout: Layout
    rng: np.random.Generator
    duration: float
    density: float
    lights: bool


def car_shift(half: float, lane_width: float) -> float:
    """Metres left of a lane's centre that leave room for cyclists at its edge."""
    return max(0.0, half + EDGE + 0.40 - lane_width / 2)


def class_of(model: vehicles.Rolling) -> int:
    """The Cityscapes labelId of a vehicle."""
    return int(model.mesh.classes[0])


def fill_lanes(
    plan: Plan, layout: Layout, rng: np.random.Generator, duration: float, density: float, lights: bool
) -> None:
    """Put vehicles on all lanes.

    Parameters
    ----------
    plan:
        What they are added to.
    layout:
        The streets.
    duration:
        Seconds, of which they are enough for.
    density:
        1 is a town on a weekday; more than 0.
    lights:
        Their lamps shine.
    """
    streets = _Streets(plan, layout, rng, duration, density, lights)
    for lane in layout.lanes:
        _fill_lane(streets, lane)


def _fill_lane(streets: _Streets, lane: Lane) -> None:
    """Put vehicles on a lane, from far behind its beginning (they arrive later) to its end."""
    layout, rng = streets.layout, streets.rng
    main = lane.road == 0
    wish = WISH if main else CROSS_WISH
    spacing = (30.0 if main else 26.0) / min(streets.density, 2.5)
    free = [_junction_span(layout, lane, j.index) for j in layout.junctions if main or j.road == lane.road]
    place = lane.length + (60.0 if main else 20.0)
    end = -wish * streets.duration * 0.75 - 20.0
    begin = float(layout.lane_s(0, 0.0))
    if lane.index == 0:
        end = begin - 75.0  # nobody needs more behind the ego vehicle
        free.append((begin - 12.0, begin + 24.0))
    tram = _tram_place(layout, lane) if not main else None
    if tram is not None:
        _add_vehicle(streets, lane, "train", tram, wish)
        free.append((tram - 16.0, tram + 16.0))
    kinds = _kinds(rng, main)
    while place > end:
        kind = next(kinds)
        if lane.index == 0 and 0 < place - begin < 90 and kind in ("truck", "bus"):
            kind = "car"  # else the ego vehicle would see nothing but its back for the whole drive
        gap = float(rng.uniform(0.35, 1.65)) * spacing
        room = {"truck": 9.2, "bus": 12.4, "motorcycle": 2.1, "bicycle": 1.8}.get(kind, 5.4)
        place -= gap / 2 + room / 2
        clash = [span for span in free if place + room / 2 > span[0] and place - room / 2 < span[1]]
        while clash:
            place = min(span[0] for span in clash) - room / 2 - 0.5
            clash = [span for span in free if place + room / 2 > span[0] and place - room / 2 < span[1]]
        _add_vehicle(streets, lane, kind, place, wish)
        place -= room / 2 + gap / 2 + 2.5


def _kinds(rng: np.random.Generator, main: bool) -> Iterator[str]:
    """Kinds of vehicles in turn: shuffled in packs that hold each kind, so that none is absent for long."""
    pack = [kind for kind, count in (MAIN_PACK if main else CROSS_PACK).items() for _ in range(count)]
    while True:
        yield from (pack[i] for i in rng.permutation(len(pack)))


def _tram_place(layout: Layout, lane: Lane) -> float | None:
    """Where on a cross street's lane a tram begins, to come to the junction about when the ego vehicle does."""
    junction = next(junction for junction in layout.junctions if junction.road == lane.road)
    if lane.direction != (1 if junction.index % 4 == 0 else -1) or junction.index % 2:
        return None
    arrival = max(junction.s / (0.75 * WISH) - 4.0, 0.0)
    return float(layout.lane_s(lane, junction.cross_s)) - 32.0 - 6.5 * arrival


def _junction_span(layout: Layout, lane: Lane, junction: int) -> tuple[float, float]:
    """Along a lane, where nobody stands at the beginning: a junction with its crossings."""
    plan = layout.junctions[junction]
    middle = float(layout.lane_s(lane, plan.s if lane.road == 0 else plan.cross_s))
    return middle - 17.0, middle + 13.0


def _add_vehicle(streets: _Streets, lane: Lane, kind: str, s: float, wish: float) -> None:
    rng = streets.rng
    main = lane.road == 0
    if kind == "bicycle":
        figure = random_figure(rng, RIDER, child=False, helmet=bool(rng.random() < 0.5))
        cycle = cycles.bicycle(int(rng.integers(12)), round(figure.build.height, 1), streets.lights)
        length, pace = cycle.rolling.size[0], float(rng.uniform(4.0, 6.2))
        agent = Agent(lane.index, s, 4.5, length, pace, edge=main, pull=0.9, gap=1.5)
        path = _lane_path(streets.layout, lane, -(lane.width / 2 - EDGE))
        streets.plan.add(agent, path, _cycle_maker(cycle, figure))
        return
    if kind == "motorcycle":
        figure = random_figure(rng, RIDER, child=False, helmet=True)
        cycle = cycles.motorcycle(int(rng.integers(12)), streets.lights)
        asides = (float(rng.uniform(0.1, 0.4)),) * 2
        turn = _choose_turn(streets, lane, s, asides)
        length, pace = cycle.rolling.size[0], wish * float(rng.uniform(0.95, 1.1))
        agent = Agent(lane.index, s, 0.8 * wish, length, pace, pull=2.2, turn=turn)
        streets.plan.add(agent, _path(streets.layout, lane, turn, asides), _cycle_maker(cycle, figure))
        return
    model = _model(kind, rng, streets.lights)
    if kind in ("truck", "bus", "train"):
        pace = wish * float(rng.uniform(0.75, 0.9))
        rests = _bus_rests(streets, lane, s, model.size[0]) if kind == "bus" and main else ()
        agent = Agent(lane.index, s, 0.64 * wish, model.size[0], pace, wide=True, pull=0.9, headway=1.5, rests=rests)
        streets.plan.add(agent, _lane_path(streets.layout, lane, 0.0), _vehicle_maker(model))
        return
    # on the main street cars leave room for cyclists
    shift = car_shift(model.size[1] / 2, streets.layout.main.lane_width)
    asides = (shift, 0.0) if main else (0.0, shift)
    turn = _choose_turn(streets, lane, s, asides)
    pace = wish * float(rng.uniform(0.9, 1.1))
    agent = Agent(lane.index, s, 0.8 * wish, model.size[0], pace, turn=turn)
    streets.plan.add(agent, _path(streets.layout, lane, turn, asides), _vehicle_maker(model))


def _choose_turn(streets: _Streets, lane: Lane, s: float, asides: tuple[float, float]) -> Turn | None:
    """Where a vehicle turns that starts at `s`, or None if it goes straight on."""
    layout, rng = streets.layout, streets.rng
    right, left = (RIGHT, LEFT) if lane.road == 0 else (CROSS_RIGHT, CROSS_LEFT)
    draw, pick = rng.random(2)
    begin = float(layout.lane_s(0, 0.0))
    if lane.index == 0 and begin < s < begin + BEHIND_TURN:
        left = 0.0
    if draw >= right + left:
        return None
    way: Way = "right" if draw < right else "left"
    ahead = []
    for junction in layout.junctions:
        if lane.road in (0, junction.road):
            middle = float(layout.lane_s(lane, junction.s if lane.road == 0 else junction.cross_s))
            if middle - s > TURN_AHEAD:
                ahead.append(junction)
    if not ahead:
        return None
    return make_turn(layout, ahead[int(pick * len(ahead))], lane, way, asides)


def _bus_rests(streets: _Streets, lane: Lane, s: float, length: float) -> tuple[tuple[float, float], ...]:
    """Where a bus stops on its way, its front at the sign, and for how long."""
    layout = streets.layout
    places = [
        float(layout.lane_s(lane, stop.s)) + SIGN - length / 2
        for stop in layout.bus_stops
        if stop.side == -lane.direction
    ]
    seconds = streets.rng.uniform(*DWELL, len(places))
    return tuple((place, float(long)) for place, long in zip(sorted(places), seconds, strict=True) if place > s + 25.0)


def _lane_path(layout: Layout, lane: Lane, aside: float) -> LanePath:
    return LanePath(layout.roads[lane.road], lane.direction, lane.offset + lane.direction * aside)


def _path(layout: Layout, lane: Lane, turn: Turn | None, asides: tuple[float, float]) -> LanePath | TurnPath:
    before = _lane_path(layout, lane, asides[0])
    if turn is None:
        return before
    after = _lane_path(layout, lane_after(layout, layout.junctions[turn.junction], lane, turn.way), asides[1])
    return TurnPath(before, turn, after)


def _model(kind: str, rng: np.random.Generator, lights: bool) -> vehicles.Rolling:
    if kind == "truck":
        return heavy.truck(int(rng.integers(10)), lights)
    if kind == "bus":
        return heavy.bus(int(rng.integers(6)), lights)
    if kind == "train":
        return heavy.tram(int(rng.integers(5)), lights)
    return vehicles.random_car(rng, lights)


def _vehicle_maker(model: vehicles.Rolling) -> Maker:
    def make(track: Track, viewer: Track) -> list[Thing]:
        return [Follower(0, class_of(model), model.size, track, vehicle_shape(model, track), viewer)]

    return make


def _cycle_maker(cycle: cycles.Cycle, figure: Figure) -> Maker:
    def make(track: Track, viewer: Track) -> list[Thing]:
        model = cycle.rolling
        return [
            Follower(0, class_of(model), model.size, track, vehicle_shape(model, track), viewer),
            Follower(0, RIDER, cycles.rider_size(figure, cycle.seat), track, rider_shape(figure, cycle), viewer),
        ]

    return make
