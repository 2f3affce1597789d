"""Who is on the street: vehicles on the lanes and beside them, people on the sidewalks and at the crossings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic import cycles, heavy, vehicles
from panoptic_training.synthetic.collisions import overlapping
from panoptic_training.synthetic.footways import Crowd, Size, bystanders, crossers, walkers
from panoptic_training.synthetic.motion import (
    NEAR,
    Follower,
    LanePath,
    Path,
    Still,
    Thing,
    Track,
    Waiting,
    rider_shape,
    vehicle_shape,
    walker_shape,
)
from panoptic_training.synthetic.people import PERSON, RIDER, Figure, random_figure
from panoptic_training.synthetic.scene import Body
from panoptic_training.synthetic.simulation import Agent, Crosser, Maker, Plan, Simulation
from panoptic_training.synthetic.skeleton import standing
from panoptic_training.synthetic.street import Layout, planar_pose

Array = NDArray[np.float64]


EGO_LENGTH, EGO_WIDTH, EGO_HEIGHT = 4.6, 1.9, 1.5
EGO_WISH = 11.0  # metres per second
EDGE = 0.37  # metres from a lane's edge that cyclists keep
MOST = 999  # bodies

# What drives on the lanes, out of each dozen or so.
MAIN_PACK = {"car": 8, "truck": 1, "bus": 1, "motorcycle": 1, "bicycle": 2}
CROSS_PACK = {"car": 8, "truck": 1, "bus": 1, "motorcycle": 1}
FAR = {PERSON: 80.0}  # metres from the ego vehicle beyond which somebody is left out of the world; else
FAR_VEHICLES = 260.0


@dataclass(frozen=True, eq=False)
class Ego:
    """The vehicle that carries the sensors; it is nobody's instance."""

    track: Track

    def pose(self, time: float) -> Array:
        """(4, 4) from base_link to the world."""
        return self.track.pose(time)

    def velocity(self, time: float) -> tuple[float, float]:
        """Metres per second forward, and radians per second to the left."""
        s, speed = self.track.state(time)
        path = self.track.path
        assert isinstance(path, LanePath)
        return speed * float(np.linalg.norm(path.at(s)[1])), speed * path.turning(s)


@dataclass(frozen=True, eq=False)
class Traffic:
    """All that moves or could, and the ego vehicle among it."""

    bodies: list[Body]
    ego: Ego


def populate(layout: Layout, seed: int, duration: float, density: float = 1.0, lights: bool = False) -> list[Body]:
    """The things of a drive; the same for the same arguments.  See `make_traffic`."""
    return make_traffic(layout, seed, duration, density, lights).bodies


def make_traffic(layout: Layout, seed: int, duration: float, density: float = 1.0, lights: bool = False) -> Traffic:
    """Fill the streets and let everybody go.

    Parameters
    ----------
    layout:
        The streets.
    seed:
        Of who is there.
    duration:
        Seconds that the drive can last.
    density:
        1 is a town on a weekday; 0 leaves the streets empty.
    lights:
        Lamps of vehicles shine.

    Returns
    -------
    Traffic
        Not more than 999 bodies, numbered from 1; those that are nearest to the drive come first.

    Raises
    ------
    ValueError
        If `duration` or `density` is negative or not finite.
    """
    if not (np.isfinite(duration) and duration > 0):
        raise ValueError(f"duration must be a positive number of seconds, got {duration}")
    if not (np.isfinite(density) and density >= 0):
        raise ValueError(f"density must be 0 or more, got {density}")
    rng = np.random.default_rng([seed, 4])
    plan = Plan()
    crowd = Crowd(rng)
    lane = layout.lanes[0]
    shift = _car_shift(EGO_WIDTH / 2 + 0.05, lane.width)
    ego_path = LanePath(layout.roads[0], lane.direction, lane.offset + lane.direction * shift)
    begin = float(layout.lane_s(0, 0.0)) + 5.0
    plan.add(Agent(0, begin, 8.0, EGO_LENGTH, EGO_WISH), ego_path, lambda track, viewer: [])
    bodies: list[Thing] = []
    waiting: list[tuple[Crosser, Path, Figure, Size]] = []
    if density > 0:
        for index in range(len(layout.lanes)):
            _fill_lane(plan, layout, index, rng, duration, density, lights)
        walkers(plan, layout, crowd, rng, duration, density)
        waiting = crossers(layout, crowd, rng, duration, density)
        bodies += _parked(layout, rng, density, lights)
        bodies += bystanders(layout, crowd, rng, density)
    s, v, cs, cv = Simulation(layout, plan.agents, [crosser for crosser, *_ in waiting]).run(duration)
    ego = Ego(Track(ego_path, s[0], v[0]))
    for index, (path, maker) in enumerate(zip(plan.paths, plan.makers, strict=True)):
        bodies += maker(Track(path, s[index], v[index]), ego.track)
    for (_, path, figure, size), place, speed in zip(waiting, cs, cv, strict=True):
        track = Track(path, place, speed)
        bodies.append(Follower(0, PERSON, size, track, walker_shape(figure), ego.track))
    return Traffic(_numbered(bodies, ego, duration), ego)


def _car_shift(half: float, lane_width: float) -> float:
    """Metres left of a lane's centre that leave room for cyclists at its edge."""
    return max(0.0, half + EDGE + 0.40 - lane_width / 2)


def _model(kind: str, rng: np.random.Generator, lights: bool) -> vehicles.Rolling:
    if kind == "truck":
        return heavy.truck(int(rng.integers(10)), lights)
    if kind == "bus":
        return heavy.bus(int(rng.integers(6)), lights)
    if kind == "train":
        return heavy.tram(int(rng.integers(5)), lights)
    return vehicles.random_car(rng, lights)


def _class_of(model: vehicles.Rolling) -> int:
    return int(model.mesh.classes[0])


def _vehicle_maker(model: vehicles.Rolling) -> Maker:
    def make(track: Track, viewer: Track) -> list[Thing]:
        return [Follower(0, _class_of(model), model.size, track, vehicle_shape(model, track), viewer)]

    return make


def _cycle_maker(cycle: cycles.Cycle, figure: Figure) -> Maker:
    def make(track: Track, viewer: Track) -> list[Thing]:
        model = cycle.rolling
        return [
            Follower(0, _class_of(model), model.size, track, vehicle_shape(model, track), viewer),
            Follower(0, RIDER, cycles.rider_size(figure, cycle.seat), track, rider_shape(figure, cycle), viewer),
        ]

    return make


def _fill_lane(
    plan: Plan, layout: Layout, index: int, rng: np.random.Generator, duration: float, density: float, lights: bool
) -> None:
    """Put vehicles on a lane, from far behind its beginning (they arrive later) to its end."""
    lane = layout.lanes[index]
    main = lane.road == 0
    wish = 11.0 if main else 8.5
    spacing = (30.0 if main else 26.0) / min(density, 2.5)
    free = [_junction_span(layout, index, j.index) for j in layout.junctions if main or j.road == lane.road]
    place = lane.length + (60.0 if main else 20.0)
    end = -wish * duration * 0.75 - 20.0
    if index == 0:
        begin = float(layout.lane_s(0, 0.0))
        end = begin - 75.0  # nobody needs more behind the ego vehicle
        free.append((begin - 12.0, begin + 24.0))
    tram = _tram_place(layout, index) if not main else None
    if tram is not None:
        _add_vehicle(plan, layout, index, "train", tram, rng, lights, wish)
        free.append((tram - 16.0, tram + 16.0))
    kinds = _kinds(rng, main)
    while place > end:
        kind = next(kinds)
        if index == 0 and 0 < place - begin < 90 and kind in ("truck", "bus"):
            kind = "car"  # else the ego vehicle would see nothing but its back for the whole drive
        gap = float(rng.uniform(0.35, 1.65)) * spacing
        room = {"truck": 9.2, "bus": 12.4, "motorcycle": 2.1, "bicycle": 1.8}.get(kind, 5.4)
        place -= gap / 2 + room / 2
        clash = [span for span in free if place + room / 2 > span[0] and place - room / 2 < span[1]]
        while clash:
            place = min(span[0] for span in clash) - room / 2 - 0.5
            clash = [span for span in free if place + room / 2 > span[0] and place - room / 2 < span[1]]
        _add_vehicle(plan, layout, index, kind, place, rng, lights, wish)
        place -= room / 2 + gap / 2 + 2.5


def _kinds(rng: np.random.Generator, main: bool) -> Iterator[str]:
    """Kinds of vehicles in turn: shuffled in packs that hold each kind, so that none is absent for long."""
    pack = [kind for kind, count in (MAIN_PACK if main else CROSS_PACK).items() for _ in range(count)]
    while True:
        yield from (pack[i] for i in rng.permutation(len(pack)))


def _tram_place(layout: Layout, index: int) -> float | None:
    """Where on a cross street's lane a tram begins, to come to the junction about when the ego vehicle does."""
    lane = layout.lanes[index]
    junction = next(junction for junction in layout.junctions if junction.road == lane.road)
    if lane.direction != (1 if junction.index % 4 == 0 else -1) or junction.index % 2:
        return None
    arrival = max(junction.s / (0.75 * EGO_WISH) - 4.0, 0.0)
    return float(layout.lane_s(lane, junction.cross_s)) - 32.0 - 6.5 * arrival


def _add_vehicle(
    plan: Plan, layout: Layout, index: int, kind: str, s: float, rng: np.random.Generator, lights: bool, wish: float
) -> None:
    lane = layout.lanes[index]
    road = layout.roads[lane.road]

    def path(aside: float) -> LanePath:
        return LanePath(road, lane.direction, lane.offset + lane.direction * aside)

    speed = 0.8 * wish
    if kind in ("bicycle", "motorcycle"):
        if kind == "bicycle":
            figure = random_figure(rng, RIDER, child=False, helmet=bool(rng.random() < 0.5))
            cycle = cycles.bicycle(int(rng.integers(12)), round(figure.build.height, 1), lights)
            aside = -(lane.width / 2 - EDGE)
            agent = Agent(
                index,
                s,
                4.5,
                cycle.rolling.size[0],
                float(rng.uniform(4.0, 6.2)),
                edge=lane.road == 0,
                pull=0.9,
                gap=1.5,
            )
        else:
            figure = random_figure(rng, RIDER, child=False, helmet=True)
            cycle = cycles.motorcycle(int(rng.integers(12)), lights)
            aside = float(rng.uniform(0.1, 0.4))
            agent = Agent(index, s, speed, cycle.rolling.size[0], wish * float(rng.uniform(0.95, 1.1)), pull=2.2)
        plan.add(agent, path(aside), _cycle_maker(cycle, figure))
        return
    model = _model(kind, rng, lights)
    heavy_ = kind in ("truck", "bus", "train")
    aside = 0.0 if heavy_ or lane.road != 0 else _car_shift(model.size[1] / 2, lane.width)
    agent = Agent(
        index,
        s,
        speed * (0.8 if heavy_ else 1.0),
        model.size[0],
        wish * float(rng.uniform(0.75, 0.9) if heavy_ else rng.uniform(0.9, 1.1)),
        wide=heavy_,
        pull=0.9 if heavy_ else 1.6,
        headway=1.5 if heavy_ else 1.2,
    )
    plan.add(agent, path(aside), _vehicle_maker(model))


def _junction_span(layout: Layout, index: int, junction: int) -> tuple[float, float]:
    """Along a lane, where nobody stands at the beginning: a junction with its crossings."""
    lane = layout.lanes[index]
    plan = layout.junctions[junction]
    middle = float(layout.lane_s(lane, plan.s if lane.road == 0 else plan.cross_s))
    return middle - 17.0, middle + 13.0


def _parked(layout: Layout, rng: np.random.Generator, density: float, lights: bool) -> list[Thing]:
    """Cars at the kerb, and here and there cycles side by side."""
    bodies: list[Thing] = []
    share = min(0.72 * density, 0.95)
    for spot in layout.spots:
        if rng.random() > share:
            continue
        pose = layout.spot_pose(spot)
        draw = rng.random()
        if draw < 0.1 or (spot.index == 3):
            count = int(rng.integers(2, 6))
            motor = bool(rng.random() < 0.5)
            for number in range(count):
                cycle = (
                    cycles.motorcycle(int(rng.integers(12))) if motor else cycles.bicycle(int(rng.integers(12)), 1.8)
                )
                turn = planar_pose(
                    np.array([(number - (count - 1) / 2) * 1.05, 0.0, 0.0]), float(rng.normal(-np.pi / 2, 0.05))
                )
                bodies.append(_still(cycle.rolling, pose @ turn))
            continue
        model = vehicles.random_car(rng, False)
        room = (spot.length - model.size[0]) / 2
        offset = planar_pose(
            np.array([rng.uniform(-0.6, 0.6) * max(room, 0.0), rng.uniform(-0.1, -0.04), 0.0]),
            float(rng.normal(0, 0.012)),
        )
        bodies.append(_still(model, pose @ offset))
    return bodies


def _still(model: vehicles.Rolling, pose: Array) -> Still:
    return Still(0, _class_of(model), model.size, pose, model.mesh, None if model.coarse is None else model.coarse.mesh)


def _without_overlaps(bodies: list[Thing], ego: Ego, duration: float) -> list[Thing]:
    """The bodies without those that others would run into; riders stay with their cycles.

    Traffic rules keep vehicles apart; what remains are people who happen to stand or walk where others pass.  Of a pair
    the one that is not a vehicle goes, then the one that came later.
    """
    riding = {
        id(body.track): index
        for index, body in enumerate(bodies)
        if isinstance(body, Follower) and body.class_id == RIDER
    }
    extents = np.array([body.size[:2] for body in bodies] + [(EGO_LENGTH + 0.3, EGO_WIDTH + 0.2)]) + 0.02
    # they are looked at a few times a second only, and those on foot turn corners meanwhile
    extents[[i for i, body in enumerate(bodies) if isinstance(body, Follower) and body.class_id == PERSON]] += 0.15
    half = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) / 2
    corners = half[None] * extents[:, None]
    radii = np.linalg.norm(extents, axis=1) / 2
    alive = np.ones(len(bodies) + 1, dtype=bool)
    weight = np.array(
        [10 if body.class_id in (27, 28, 31, 32, 33) else 5 if body.class_id != PERSON else 1 for body in bodies]
        + [100]
    )
    poses = np.empty((len(bodies) + 1, 4, 4))
    moving = [i for i, body in enumerate(bodies) if isinstance(body, Follower)]
    for i, body in enumerate(bodies):
        poses[i] = body.pose(0.0)
    for time in np.arange(0.0, duration + 0.25, 0.25):
        for i in moving:
            if alive[i]:
                poses[i] = bodies[i].pose(float(time))
        poses[-1] = ego.pose(float(time))
        index = np.flatnonzero(alive)
        boxes = np.einsum("bij,bkj->bki", poses[index, :2, :2], corners[index]) + poses[index, None, :2, 3]
        for a, b in overlapping(boxes, poses[index, :2, 3], radii[index]):
            a, b = int(index[a]), int(index[b])
            if not (alive[a] and alive[b]):
                continue
            tracks = [getattr(bodies[i], "track", None) if i < len(bodies) else None for i in (a, b)]
            if tracks[0] is not None and tracks[0] is tracks[1]:
                continue  # a rider and the cycle
            loser = a if weight[a] < weight[b] or (weight[a] == weight[b] and a > b) else b
            alive[loser] = False
            track = getattr(bodies[loser], "track", None)
            if bodies[loser].class_id != PERSON and id(track) in riding:
                for i in moving:
                    if getattr(bodies[i], "track", None) is track:
                        alive[i] = False
    return [body for body, here in zip(bodies, alive[:-1], strict=True) if here]


def _numbered(bodies: list[Thing], ego: Ego, duration: float) -> list[Body]:
    """Those that come near the drive and run into nobody, with their instance numbers, nearest first; at most 999."""
    times = np.arange(0.0, duration + 1.0, 1.0)
    ego_places = np.array([ego.pose(float(time))[:2, 3] for time in times])

    def nearest(body: Thing) -> float:
        places = np.array(
            [body.pose(float(time))[:2, 3] for time in (times if isinstance(body, Follower) else times[:1])]
        )
        return float(np.linalg.norm(places - ego_places, axis=1).min())

    near = [(distance, body) for body in bodies if (distance := nearest(body)) < FAR.get(body.class_id, FAR_VEHICLES)]
    kept = _without_overlaps([body for _, body in near], ego, duration)
    distances = {id(body): distance for distance, body in near}
    kept.sort(key=lambda body: distances[id(body)])
    seen: list[Any] = [_seen(body, distances[id(body)]) for body in kept[:MOST]]  # dataclasses, as every body here is
    return [replace(body, instance=number) for number, body in enumerate(seen, start=1)]


def _seen(body: Thing, nearest: float) -> Thing:
    """The body as it need be that never comes nearer: with fewer triangles, and without swaying."""
    if nearest < NEAR:
        return body
    if isinstance(body, Waiting):
        figure = body.figure.coarse
        shape = figure.posed(standing(figure.build, body.kind, body.begin))
        return Still(0, body.class_id, body.size, body.place, shape)
    if isinstance(body, Still) and body.coarse is not None:
        return replace(body, shape=body.coarse)
    return body
