"""Who is on the street: vehicles on the lanes and beside them, people on the sidewalks and at the crossings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic import cycles, heavy, vehicles
from panoptic_training.synthetic.mesh import Mesh
from panoptic_training.synthetic.motion import (
    NEAR,
    Follower,
    LanePath,
    Path,
    Still,
    Track,
    Waiting,
    mesh_size,
    rider_shape,
    vehicle_shape,
    walker_shape,
    walker_size,
)
from panoptic_training.synthetic.people import PERSON, RIDER, Figure, random_figure, standing
from panoptic_training.synthetic.scene import Body
from panoptic_training.synthetic.simulation import Agent, Crosser, Simulation
from panoptic_training.synthetic.street import KERB_HEIGHT, Crossing, Layout, Walk, planar_pose

Array = NDArray[np.float64]
Size = tuple[float, float, float]

Maker = Callable[[Track, Track], list[Body]]
"""Bodies that follow a track, and who looks at them."""

EGO_LENGTH, EGO_WIDTH, EGO_HEIGHT = 4.6, 1.9, 1.5
EGO_WISH = 11.0  # metres per second
EDGE = 0.37  # metres from a lane's edge that cyclists keep
MOST = 999  # bodies

# What drives on the lanes, out of each dozen or so.
MAIN_PACK = {"car": 8, "truck": 1, "bus": 1, "motorcycle": 1, "bicycle": 2}
CROSS_PACK = {"car": 8, "truck": 1, "bus": 1, "motorcycle": 1}
FAR = {PERSON: 110.0}  # metres from the ego vehicle beyond which somebody is left out of the world; else
FAR_VEHICLES = 260.0


@dataclass
class _Plan:
    """What will become bodies once it is known where everybody goes."""

    agents: list[Agent] = field(default_factory=list)
    makers: list[Maker] = field(default_factory=list)
    paths: list[Path | LanePath] = field(default_factory=list)

    def add(self, agent: Agent, path: Path | LanePath, maker: Maker) -> None:
        self.agents.append(agent)
        self.paths.append(path)
        self.makers.append(maker)


class _Crowd:
    """Those whom one meets: a town's worth of people, each of whom may be met more than once."""

    def __init__(self, rng: np.random.Generator, count: int = 150) -> None:
        self._people: list[tuple[Figure, Size] | None] = [None] * count
        self._seed = int(rng.integers(1 << 31))

    def somebody(self, rng: np.random.Generator) -> tuple[Figure, Size]:
        """A person, and the box that walking takes."""
        index = int(rng.integers(len(self._people)))
        person = self._people[index]
        if person is None:
            figure = random_figure(np.random.default_rng([self._seed, index]))
            person = self._people[index] = figure, walker_size(figure)
        return person


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
    plan = _Plan()
    crowd = _Crowd(rng)
    lane = layout.lanes[0]
    shift = _car_shift(EGO_WIDTH / 2 + 0.05, lane.width)
    ego_path = LanePath(layout.roads[0], lane.direction, lane.offset + lane.direction * shift)
    begin = float(layout.lane_s(0, 0.0)) + 5.0
    plan.add(Agent(0, begin, 8.0, EGO_LENGTH, EGO_WISH), ego_path, lambda track, viewer: [])
    bodies: list[Body] = []
    crossers: list[tuple[Crosser, Path, Figure, Size]] = []
    if density > 0:
        for index in range(len(layout.lanes)):
            _fill_lane(plan, layout, index, rng, duration, density, lights)
        _walkers(plan, layout, crowd, rng, duration, density)
        crossers = _crossers(layout, crowd, rng, duration, density)
        bodies += _parked(layout, rng, density, lights)
        bodies += _standing(layout, crowd, rng, density)
    s, v, cs, cv = Simulation(layout, plan.agents, [crosser for crosser, *_ in crossers]).run(duration)
    ego = Ego(Track(ego_path, s[0], v[0]))
    for index, (path, maker) in enumerate(zip(plan.paths, plan.makers, strict=True)):
        bodies += maker(Track(path, s[index], v[index]), ego.track)
    for (_, path, figure, size), place, speed in zip(crossers, cs, cv, strict=True):
        track = Track(path, place, speed)
        bodies.append(Follower(0, PERSON, size, track, walker_shape(figure), ego.track))
    return Traffic(_numbered(_without_overlaps(bodies, ego, duration), ego, duration), ego)


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
    def make(track: Track, viewer: Track) -> list[Body]:
        return [Follower(0, _class_of(model), model.size, track, vehicle_shape(model, track), viewer)]

    return make


def _cycle_maker(cycle: cycles.Cycle, figure: Figure) -> Maker:
    def make(track: Track, viewer: Track) -> list[Body]:
        model = cycle.rolling
        return [
            Follower(0, _class_of(model), model.size, track, vehicle_shape(model, track), viewer),
            Follower(0, RIDER, cycles.rider_size(figure, cycle.seat), track, rider_shape(figure, cycle), viewer),
        ]

    return make


def _fill_lane(
    plan: _Plan, layout: Layout, index: int, rng: np.random.Generator, duration: float, density: float, lights: bool
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
    plan: _Plan, layout: Layout, index: int, kind: str, s: float, rng: np.random.Generator, lights: bool, wish: float
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
        index, s, speed * (0.8 if heavy_ else 1.0), model.size[0], wish * float(rng.uniform(0.75, 0.9) if heavy_ else rng.uniform(0.9, 1.1)),
        wide=heavy_, pull=0.9 if heavy_ else 1.6, headway=1.5 if heavy_ else 1.2,
    )  # fmt: skip
    plan.add(agent, path(aside), _vehicle_maker(model))


def _junction_span(layout: Layout, index: int, junction: int) -> tuple[float, float]:
    """Along a lane, where nobody stands at the beginning: a junction with its crossings."""
    lane = layout.lanes[index]
    plan = layout.junctions[junction]
    middle = float(layout.lane_s(lane, plan.s if lane.road == 0 else plan.cross_s))
    return middle - 17.0, middle + 13.0


def _walkers(
    plan: _Plan, layout: Layout, crowd: _Crowd, rng: np.random.Generator, duration: float, density: float
) -> None:
    """People who walk along the sidewalks, one behind the other on each of a few tracks."""
    for walk in layout.walks:
        busy = float(rng.choice([0.35, 1.0, 2.0], p=[0.35, 0.45, 0.2])) * density
        for number, (aside, back) in enumerate(_walk_tracks(layout, walk)):
            path = Path(_walk_line(walk, aside, back))
            place = path.length + rng.uniform(0, 10)
            line = 1000 + 10 * walk.index + number
            while place > -0.6 * duration:
                figure, size = crowd.somebody(rng)
                child = figure.build.height < 1.5
                wish = float(np.clip(rng.normal(1.35, 0.15), 1.0, 1.7)) * (0.85 if child else 1.0)
                agent = Agent(line, place, wish, size[0], wish, headway=0.4, gap=0.35, pull=1.0, ease=1.2)
                plan.add(agent, path, _walker_maker(figure, size))
                gap = rng.exponential(16.0) if rng.random() < 0.75 else rng.uniform(0.1, 0.6)
                place -= 1.6 + gap / max(min(busy, 3.0), 0.05)


def _walker_maker(figure: Figure, size: tuple[float, float, float]) -> Maker:
    def make(track: Track, viewer: Track) -> list[Body]:
        return [Follower(0, PERSON, size, track, walker_shape(figure), viewer)]

    return make


def _kerb_side(layout: Layout, walk: Walk) -> float:
    """1 where the kerb is on a walk's left, -1 on its right: the right of who looks along the main street's left side."""
    return -float(layout.blocks[walk.block].side)


def _walk_tracks(layout: Layout, walk: Walk) -> list[tuple[float, bool]]:
    """(metres left of the walk, whether against its direction) of the tracks; the strip at the kerb stays free."""
    inner = -_kerb_side(layout, walk)
    return [(inner * (walk.margin - 0.15), False), (inner * (walk.margin - 0.95), True)]


def _walk_line(walk: Walk, aside: float, back: bool) -> Array:
    """(N, 3) points of a line beside a walk's middle."""
    s = np.arange(0.0, walk.length, 0.5)
    points = np.stack([np.interp(s, walk.distances, walk.points[:, axis]) for axis in range(3)], axis=1)
    # corners are rounded, so that lines inside them do not fold
    for _ in range(3):
        points[1:-1] = 0.25 * points[:-2] + 0.5 * points[1:-1] + 0.25 * points[2:]
    along = np.gradient(points, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    line = points + aside * np.stack([-along[:, 1], along[:, 0], 0 * along[:, 0]], axis=1)
    for _ in range(2):
        line[1:-1] = 0.25 * line[:-2] + 0.5 * line[1:-1] + 0.25 * line[2:]
    return line[::-1] if back else line


def _crossers(
    layout: Layout, crowd: _Crowd, rng: np.random.Generator, duration: float, density: float
) -> list[tuple[Crosser, Path, Figure, Size]]:
    """People who wait at crossings and cross."""
    made: list[tuple[Crosser, Path, Figure, Size]] = []
    for crossing in layout.crossings:
        slots = np.arange(-crossing.width / 2 + 0.45, crossing.width / 2 - 0.3, 0.78)
        wanted = rng.random(len(slots)) < min(0.55 * density, 1.0)
        for slot in slots[wanted]:
            figure, size = crowd.somebody(rng)
            back = bool(rng.random() < 0.5)
            path, kerbs = _crossing_path(layout, crossing, float(slot), back)
            wish = float(np.clip(rng.normal(1.4, 0.12), 1.15, 1.7))
            ready = float(rng.uniform(0.0, 0.8 * duration))
            made.append((Crosser(crossing, back, kerbs, path.length, wish, ready), path, figure, size))
    return made


def _crossing_path(layout: Layout, crossing: Crossing, slot: float, back: bool) -> tuple[Path, tuple[float, float]]:
    """A line across a road, `slot` metres beside the crossing's middle, and where the roadway begins and ends on it."""
    near, far = (np.array(crossing.points[i]) for i in ((2, 1) if back else (1, 2)))
    way = (far - near) / np.linalg.norm(far - near)
    left = np.array([-way[1], way[0], 0.0])
    width = float(np.linalg.norm(far - near))
    along = np.array([-0.62, -0.1, 0.2, 1.0, width - 1.0, width - 0.2, width + 0.1, width + 0.75])
    points = near + along[:, None] * way + slot * left
    points[:, 2] = [KERB_HEIGHT, KERB_HEIGHT, 0, 0, 0, 0, KERB_HEIGHT, KERB_HEIGHT]
    return Path(points), (0.62, 0.62 + width)


def _parked(layout: Layout, rng: np.random.Generator, density: float, lights: bool) -> list[Body]:
    """Cars at the kerb, and here and there cycles side by side."""
    bodies: list[Body] = []
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


def _standing(layout: Layout, crowd: _Crowd, rng: np.random.Generator, density: float) -> list[Body]:
    """People who wait at the kerb: a few along the way, many at some corners and at bus stops."""
    bodies: list[Body] = []
    for walk in layout.walks:
        side = _kerb_side(layout, walk)
        # the strip beside the tracks, 0.35 m inside the walk's free width
        rows = np.arange(walk.margin - 0.2, -walk.margin + 1.6, -0.62) * side
        spots = list(np.arange(3.0, walk.length - 3.0, 0.66))
        chance = np.full(len(spots), 0.012 * density)
        for _ in range(int(rng.poisson(0.9 * density))):
            middle, reach = rng.uniform(0, walk.length), rng.uniform(2.0, 7.0)
            chance[np.abs(np.array(spots) - middle) < reach] = min(0.75 * density, 0.9)
        for s, likely in zip(spots, chance, strict=True):
            for row in rows:
                if rng.random() > likely:
                    continue
                figure, _ = crowd.somebody(rng)
                kind = int(rng.integers(4))
                pose = walk.pose(float(s), float(row))
                turn = planar_pose(np.zeros(3), float(rng.uniform(-np.pi, np.pi)))
                begin = float(rng.uniform(0, 20))
                size = mesh_size(figure.posed(standing(figure.build, kind, begin)))
                size = (size[0] + 0.03, size[1] + 0.03, size[2] + 0.01)  # they sway
                bodies.append(Waiting(0, PERSON, size, pose @ turn, figure, kind, begin))
    return bodies


def footprint(body: Body, time: float) -> Array:
    """(4, 2) corners of a body's box on the ground."""
    pose = body.pose(time)
    half = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * np.array(body.size[:2]) / 2
    return half @ pose[:2, :2].T + pose[:2, 3]


def overlaps(first: Array, second: Array) -> NDArray[np.bool_]:
    """(P,) whether pairs of rectangles (P, 4, 2) overlap, by the separating axis theorem."""
    apart = np.zeros(len(first), dtype=bool)
    for shape in (first, second):
        for side in (0, 1):
            axis = shape[:, side + 1] - shape[:, side]
            axis = axis / np.linalg.norm(axis, axis=1, keepdims=True)
            a = np.einsum("pij,pj->pi", first, axis)
            b = np.einsum("pij,pj->pi", second, axis)
            apart |= (a.max(axis=1) <= b.min(axis=1) + 1e-6) | (b.max(axis=1) <= a.min(axis=1) + 1e-6)
    return ~apart


def overlapping(boxes: Array, middles: Array, radii: Array) -> Array:
    """(P, 2) indices of the pairs of rectangles (B, 4, 2) that overlap."""
    order = np.argsort(middles[:, 0])
    x, y, r = middles[order, 0], middles[order, 1], radii[order]
    last = np.searchsorted(x, x + r + r.max())
    first = np.repeat(np.arange(len(x)), last - np.arange(len(x)))
    second = np.concatenate([np.arange(i, end) for i, end in enumerate(last)]) if len(x) else np.zeros(0, dtype=int)
    near = (first < second) & ((x[first] - x[second]) ** 2 + (y[first] - y[second]) ** 2 < (r[first] + r[second]) ** 2)
    pairs = np.stack([order[first[near]], order[second[near]]], axis=1)
    hit = overlaps(boxes[pairs[:, 0]], boxes[pairs[:, 1]]) if len(pairs) else np.zeros(0, dtype=bool)
    return pairs[hit]


def _without_overlaps(bodies: list[Body], ego: Ego, duration: float) -> list[Body]:
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


def _numbered(bodies: list[Body], ego: Ego, duration: float) -> list[Body]:
    """The bodies with their instance numbers, nearest to the drive first; at most 999."""
    times = np.arange(0.0, duration + 1.0, 1.0)
    ego_places = np.array([ego.pose(float(time))[:2, 3] for time in times])
    nearest = []
    for body in bodies:
        places = np.array([body.pose(float(time))[:2, 3] for time in times])
        nearest.append(float(np.linalg.norm(places - ego_places, axis=1).min()))
    order = [i for i in np.argsort(nearest, kind="stable") if nearest[i] < FAR.get(bodies[i].class_id, FAR_VEHICLES)][
        :MOST
    ]
    return [replace(_seen(bodies[i], nearest[i]), instance=number) for number, i in enumerate(order, start=1)]


def _seen(body: Body, nearest: float) -> Body:
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


__all__ = ["Ego", "Mesh", "Traffic", "footprint", "make_traffic", "overlapping", "overlaps", "populate"]
