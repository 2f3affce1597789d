"""Who is on the street: vehicles on the lanes and beside them, people on the sidewalks and at the crossings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic import cycles, vehicles
from panoptic_training.synthetic.agents import Agent, Crosser, Plan
from panoptic_training.synthetic.collisions import overlapping
from panoptic_training.synthetic.fleet import WISH, car_shift, class_of, fill_lanes
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
    walker_shape,
)
from panoptic_training.synthetic.people import PERSON, RIDER, Figure
from panoptic_training.synthetic.scene import Body
from panoptic_training.synthetic.simulation import Simulation
from panoptic_training.synthetic.skeleton import standing
from panoptic_training.synthetic.street import Layout, planar_pose

Array = NDArray[np.float64]

EGO_LENGTH, EGO_WIDTH, EGO_HEIGHT = 4.6, 1.9, 1.5
MOST = 999  # bodies

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
    shift = car_shift(EGO_WIDTH / 2 + 0.05, lane.width)
    ego_path = LanePath(layout.roads[0], lane.direction, lane.offset + lane.direction * shift)
    begin = float(layout.lane_s(0, 0.0)) + 5.0
    plan.add(Agent(0, begin, 8.0, EGO_LENGTH, WISH), ego_path, lambda track, viewer: [])
    bodies: list[Thing] = []
    waiting: list[tuple[Crosser, Path, Figure, Size]] = []
    if density > 0:
        fill_lanes(plan, layout, rng, duration, density, lights)
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
    return Still(0, class_of(model), model.size, pose, model.mesh, None if model.coarse is None else model.coarse.mesh)


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
