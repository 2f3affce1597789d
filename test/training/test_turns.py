"""Vehicles that turn at junctions, and buses that stop: smooth ways, and nobody in anybody's."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("trimesh", reason="the synthetic world is not installed")

from panoptic_training.synthetic.agents import Agent, Crosser, Plan
from panoptic_training.synthetic.collisions import overlapping
from panoptic_training.synthetic.fleet import DWELL, fill_lanes
from panoptic_training.synthetic.footways import Crowd, crossers
from panoptic_training.synthetic.gates import Claim, lane_gates, turn_gates
from panoptic_training.synthetic.motion import STEP, LanePath, Track
from panoptic_training.synthetic.simulation import Simulation
from panoptic_training.synthetic.street import CORNER_RADIUS, Junction, Lane, Layout, Light
from panoptic_training.synthetic.turns import Turn, TurnPath, make_turn

DURATION = 50.0
CAR = np.array([4.6, 1.9])


@dataclass
class Run:
    """Traffic with nobody left out, as `make_traffic` would leave out whoever runs into somebody."""

    layout: Layout
    agents: list[Agent]
    tracks: list[Track]
    sizes: NDArray[np.float64]


@pytest.fixture(scope="module", params=[1, 5, 12])
def run(request: pytest.FixtureRequest) -> Run:
    layout = Layout.make(request.param, 360.0)
    plan, rng = Plan(), np.random.default_rng(request.param)
    fill_lanes(plan, layout, rng, DURATION, 1.3, False)
    waiting: list[Crosser] = [crosser for crosser, *_ in crossers(layout, Crowd(rng), rng, DURATION, 1.0)]
    s, v, *_ = Simulation(layout, plan.agents, waiting).run(DURATION)
    tracks = [Track(path, s[index], v[index]) for index, path in enumerate(plan.paths)]
    bodies = [maker(track, tracks[0])[0] for maker, track in zip(plan.makers, tracks, strict=True)]
    return Run(layout, plan.agents, tracks, np.array([body.size[:2] for body in bodies]))


def corners_of(pose: NDArray[np.float64], size: NDArray[np.float64]) -> NDArray[np.float64]:
    half = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * size / 2
    return half @ pose[:2, :2].T + pose[:2, 3]


def turns_of(layout: Layout) -> list[tuple[Turn, TurnPath]]:
    found = []
    for junction in layout.junctions:
        for lane in layout.lanes:
            if lane.road not in (0, junction.road):
                continue
            for way in ("left", "right"):
                asides = (0.12, 0.0) if lane.road == 0 else (0.0, 0.12)
                turn = make_turn(layout, junction, lane, way, asides)
                lines = [
                    LanePath(layout.roads[plan.road], plan.direction, plan.offset + plan.direction * aside)
                    for plan, aside in zip((lane, layout.lanes[turn.after]), asides, strict=True)
                ]
                found.append((turn, TurnPath(lines[0], turn, lines[1])))
    return found


@pytest.mark.parametrize("seed", [0, 3])
def test_turns_lead_smoothly_from_lane_to_lane(seed: int) -> None:
    layout = Layout.make(seed, 200.0)
    for turn, path in turns_of(layout):
        length = turn.curve.length
        begin, end = layout.lane_pose(turn.before, turn.leave), layout.lane_pose(turn.after, turn.join)
        turned = np.arctan2(np.cross(begin[:3, 0], end[:3, 0])[2], begin[:2, 0] @ end[:2, 0])
        assert turned == pytest.approx(np.pi / 2 if turn.way == "left" else -np.pi / 2, abs=1e-9)
        for place, pose in ((turn.leave, begin), (turn.leave + length, end)):
            position, slope = path.at(place)
            offset = pose[:3, :3].T @ (position - pose[:3, 3])
            assert offset[0] == pytest.approx(0, abs=1e-6)
            assert -1e-6 < offset[1] < 0.12 + 1e-6
            np.testing.assert_allclose(slope, pose[:3, 0], atol=1e-9)
        own = np.arange(turn.leave - 5, turn.leave + length + 5, 0.01)
        points = np.array([path.at(float(s))[0] for s in own])
        slopes = np.array([path.at(float(s))[1] for s in own])
        np.testing.assert_allclose(np.gradient(points, 0.01, axis=0)[1:-1], slopes[1:-1], atol=2e-4)
        heading = np.unwrap(np.arctan2(slopes[:, 1], slopes[:, 0]))
        bend = np.abs(np.diff(heading)) / 0.01
        assert bend.max() < 1 / 4.0  # no car turns tighter
        assert np.abs(np.diff(bend)).max() < 0.01  # nor does anybody turn the wheel at a stroke
        assert turn.speed**2 * bend.max() == pytest.approx(2.8, rel=0.02)


@pytest.mark.parametrize("seed", [0, 3, 8])
def test_a_car_that_turns_stays_on_the_road(seed: int) -> None:
    """No corner of it passes a kerb, straight or round a corner, nor, turning right, the middle of its first road."""
    layout = Layout.make(seed, 200.0)
    for turn, path in turns_of(layout):
        junction = layout.junctions[turn.junction]
        frame = np.linalg.inv(layout.main.pose(junction.s, 0.0))
        track = Track(path, np.arange(0.0, path.length), np.full(int(path.length) + 1, 1 / STEP))
        for s in np.arange(turn.leave - 3, turn.leave + turn.curve.length + 3, 0.2):
            corners = corners_of(frame @ track.pose(float(s) * STEP), CAR)
            for x, y in corners:
                kerb = layout.kerb_at(layout.main, junction.s + np.sign(x) * (junction.half_width + 1), np.sign(y))
                beyond = np.array([abs(x) - junction.half_width, abs(y) - kerb])
                if (beyond < CORNER_RADIUS).all():  # round the corner's kerb
                    assert np.linalg.norm(beyond - CORNER_RADIUS) > CORNER_RADIUS + 0.1 or beyond.min() < 0
                else:
                    assert beyond.min() < -0.1
            if turn.way == "right" and s < turn.leave + turn.curve.length / 2:
                lane = layout.lanes[turn.before]
                aside = corners[:, 1] if lane.road == 0 else -corners[:, 0]
                assert (lane.direction * aside).max() < 0.35


def sweep(track_path: TurnPath | LanePath, begin: float, end: float, frame: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(600, 600) the ground, in decimetres around a junction, that a car covers between two places of its way."""
    image = np.zeros((600, 600), dtype=np.uint8)
    for s in np.arange(begin, end, 0.3):
        position, slope = track_path.at(float(s))
        heading = np.arctan2(slope[1], slope[0])
        pose = np.eye(4)
        pose[:2, :2] = [[np.cos(heading), -np.sin(heading)], [np.sin(heading), np.cos(heading)]]
        pose[:3, 3] = position
        corners = corners_of(frame @ pose, CAR)
        cv2.fillConvexPoly(image, np.round(corners * 10 + 300).astype(np.int32), 1)
    return image


def movements(layout: Layout, junction: Junction) -> list[tuple[Claim, TurnPath | LanePath, float, float]]:
    """All ways through a junction with their claims, final where there are several, and where they begin and end."""
    found: list[tuple[Claim, TurnPath | LanePath, float, float]] = []
    for lane in layout.lanes:
        if lane.road not in (0, junction.road):
            continue
        gate = next(gate for gate in lane_gates(layout, lane, False) if gate.junction == junction.index)
        assert gate.claim is not None
        path = LanePath(layout.roads[lane.road], lane.direction, lane.offset)
        found.append((gate.claim, path, gate.stop - 2.3, gate.claim.end + 2.3))
        for turn, turning in turns_of(layout):
            if (turn.before, turn.junction) == (lane.index, junction.index):
                gates = [gate for gate in turn_gates(layout, turn) if gate.junction == junction.index]
                claim = gates[-1].claim
                assert claim is not None
                assert claim.final
                found.append((claim, turning, gates[-1].stop - 2.3, claim.end + 2.3))
    return found


@pytest.mark.parametrize("seed", [0, 4])
def test_who_would_meet_is_kept_out(seed: int) -> None:
    """By the ground that two cars cover on their ways; those of one lane follow each other."""
    layout = Layout.make(seed, 200.0)
    met = 0
    for junction in layout.junctions[:2]:
        frame = np.linalg.inv(layout.main.pose(junction.s, 0.0))
        ways = [(claim, sweep(path, begin, end, frame)) for claim, path, begin, end in movements(layout, junction)]
        assert len(ways) == 12
        for claim, ground in ways:
            for other, other_ground in ways:
                if claim.lane != other.lane and (ground & other_ground).sum() > 10:
                    met += 1
                    assert claim.keeps_out(other)
        ahead = [claim.way == "ahead" for claim, _ in ways]
        assert any(ahead)
        # those who go straight on towards each other do not wait
        pairs = [(a, b) for a, _ in ways for b, _ in ways if a.lane != b.lane and a.main == b.main]
        assert not any(a.keeps_out(b) for a, b in pairs if a.way == b.way == "ahead")
    assert met > 60


def test_nobody_meets_anybody_where_vehicles_turn(run: Run) -> None:
    met = set()
    for time in np.arange(0.0, DURATION, 0.2):
        on_road = [
            index
            for index, track in enumerate(run.tracks)
            if 0 <= track.state(time)[0] <= track.path.length  # beyond their ends, streets may cross each other
        ]
        poses = np.array([run.tracks[index].pose(time) for index in on_road])
        boxes = np.array([corners_of(pose, run.sizes[index]) for pose, index in zip(poses, on_road, strict=True)])
        radii = np.linalg.norm(run.sizes[on_road], axis=1) / 2
        met |= {(on_road[a], on_road[b]) for a, b in overlapping(boxes, poses[:, :2, 3], radii)}
    assert not met
    turned = {"left": 0, "right": 0}
    for agent, track in zip(run.agents, run.tracks, strict=True):
        if agent.turn is not None:
            turned[agent.turn.way] += track.s[-1] > agent.turn.leave + agent.turn.curve.length
    assert min(turned.values()) >= 3, turned


def test_nobody_turns_past_a_red_light(run: Run) -> None:
    passed = 0
    for agent, track in zip(run.agents, run.tracks, strict=True):
        if agent.turn is None or not run.layout.junctions[agent.turn.junction].signalised:
            continue
        lane = run.layout.lanes[agent.turn.before]
        line = next(stop.s for stop in run.layout.stops_of(lane) if stop.junction == agent.turn.junction)
        fronts = track.s + agent.length / 2
        for index in np.flatnonzero((fronts[:-1] <= line) & (fronts[1:] > line)):
            passed += 1
            shown = run.layout.light(agent.turn.junction, lane.road, STEP * (index + 1))
            creeps = fronts[min(index + 30, len(fronts) - 1)] - line < 0.6
            assert shown in (Light.GREEN, Light.AMBER) or creeps
    assert passed > 0


def crossing_place(layout: Layout, lane: Lane, junction: Junction) -> float:
    return float(layout.lane_s(lane, junction.s if lane.road == 0 else junction.cross_s))


@pytest.fixture(scope="module")
def quiet() -> tuple[Layout, Junction]:
    """A junction without lights, and its street."""
    layout = next(layout for seed in range(50) if not (layout := Layout.make(seed, 200.0)).junctions[1].signalised)
    return layout, layout.junctions[1]


def test_who_turns_left_waits_for_who_comes(quiet: tuple[Layout, Junction]) -> None:
    layout, junction = quiet
    here, there = layout.lanes[:2]
    turn = make_turn(layout, junction, here, "left", (0.0, 0.0))
    begin, oncoming = crossing_place(layout, here, junction) - 40, crossing_place(layout, there, junction) - 50
    agents = [
        Agent(0, begin, 9.0, 4.6, 11.0, turn=turn),
        Agent(1, oncoming, 10.0, 4.6, 10.0),
        Agent(1, oncoming - 28, 10.0, 4.6, 10.0),
    ]
    alone, alone_speed, *_ = Simulation(layout, agents[:1], []).run(20.0)
    s, v, *_ = Simulation(layout, agents, []).run(20.0)
    done = turn.leave + turn.curve.length
    assert np.argmax(s[0] > done) > np.argmax(alone[0] > done) + 15  # it waits for a second and a half at least
    passed = np.argmax(s[2] > oncoming + 50 + 3)
    undisturbed = Simulation(layout, agents[1:], []).run(20.0)[1]
    assert 0 < passed < np.argmax(s[0] > turn.leave + 2)  # till both have passed
    np.testing.assert_array_equal(v[1:, : passed + 1], undisturbed[:, : passed + 1])  # who need not slow down
    assert alone_speed[0].min() > 2.5  # alone it need not stop
    in_curve = (alone[0] > turn.leave) & (alone[0] < done)
    lateral = alone_speed[0] ** 2 * np.abs(turn.curve.curvature(alone[0] - turn.leave))
    assert 2.5 < lateral[in_curve].max() < 3.4  # of the 2.8 m/s² that are wanted


def test_who_turns_right_does_not_cut_off_a_cyclist(quiet: tuple[Layout, Junction]) -> None:
    layout, junction = quiet
    lane = layout.lanes[0]
    turn = make_turn(layout, junction, lane, "right", (0.0, 0.0))
    place = crossing_place(layout, lane, junction)
    car = Agent(0, place - 42, 9.0, 4.6, 11.0, turn=turn)
    cyclist = Agent(0, place - 24, 5.0, 1.8, 5.0, edge=True)
    s, v, *_ = Simulation(layout, [car, cyclist], []).run(16.0)
    assert v[1].min() > 4.0
    clear = np.argmax(s[1] > place + 3)
    assert clear < np.argmax(s[0] > turn.leave + 3)


def test_long_waits_end(quiet: tuple[Layout, Junction]) -> None:
    """A stream without gaps lets somebody in who wants to cross it."""
    layout, junction = quiet
    side = next(lane for lane in layout.lanes if lane.road == junction.road)
    place = crossing_place(layout, side, junction)
    stream = [
        Agent(lane, crossing_place(layout, layout.lanes[lane], junction) - 20 - 26 * number, 10.0, 4.6, 10.0)
        for lane in (0, 1)
        for number in range(24)
    ]
    s, *_ = Simulation(layout, [Agent(side.index, place - 30, 6.0, 4.6, 8.0), *stream], []).run(45.0)
    crossed = np.argmax(s[0] > place + 8) * STEP
    assert 12.0 < crossed < 35.0


def test_buses_stand_at_their_stops(run: Run) -> None:
    layout = run.layout
    stop = layout.bus_stops[0]
    lane = next(lane for lane in layout.lanes[:2] if lane.direction == -stop.side)
    sign = float(layout.lane_s(lane, stop.s)) + 3.0
    agent = Agent(lane.index, sign - 60.0, 8.0, 11.8, 9.0, wide=True, pull=0.9, rests=((sign + 0.3 - 5.9, 7.0),))
    s, v, *_ = Simulation(layout, [agent], []).run(70.0)
    stands = np.flatnonzero((v[0] < 0.05) & (np.abs(s[0] - agent.rests[0][0]) < 2.0))
    assert len(stands) * STEP == pytest.approx(7.0, abs=1.5)
    front = s[0][stands[-1]] + agent.length / 2
    assert abs(front - sign) < 1.0
    assert s[0][-1] > sign + 40  # and goes on
    # in traffic, those who have a stop before them stand there too, as long as they should
    rests = [(agent, track) for agent, track in zip(run.agents, run.tracks, strict=True) if agent.rests]
    for bus, track in rests:
        where, seconds = bus.rests[0]
        assert DWELL[0] <= seconds <= DWELL[1]
        if track.s[-1] > where + 5:
            stood = (track.speed < 0.05) & (np.abs(track.s - where) < 2.0)
            assert stood.sum() * STEP > seconds - 0.3


def test_turns_are_refused_where_a_lane_does_not_lead(quiet: tuple[Layout, Junction]) -> None:
    layout, junction = quiet
    elsewhere = next(lane for lane in layout.lanes if lane.road not in (0, junction.road))
    with pytest.raises(ValueError, match="does not lead to junction"):
        make_turn(layout, junction, elsewhere, "left", (0.0, 0.0))


def test_agents_that_start_at_a_junction_start_slowly(quiet: tuple[Layout, Junction]) -> None:
    layout, junction = quiet
    side = next(lane for lane in layout.lanes if lane.road == junction.road)
    gate = next(gate for gate in lane_gates(layout, side, False) if gate.junction >= 0)
    agent = Agent(side.index, gate.stop - 2.3 - 3.0, 8.0, 4.6, 8.0)
    _, v, *_ = Simulation(layout, [agent, replace(agent, s=agent.s - 40)], []).run(1.0)
    assert v[0, 0] == pytest.approx(3.0)  # 3 m at 1.5 m/s²
    assert v[1, 0] == pytest.approx(8.0)
