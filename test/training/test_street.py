"""The plan of the streets: exact curves, lanes that fit, lights that agree."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from panoptic_training.synthetic.curve import Curve
from panoptic_training.synthetic.street import KERB_HEIGHT, Layout, Light, Walk

SEEDS = (0, 1, 2, 5)


@pytest.fixture(scope="module", params=SEEDS)
def layout(request: pytest.FixtureRequest) -> Layout:
    return Layout.make(request.param, 300.0)


def test_arc_length_and_position_equal_numerical_integration() -> None:
    knots, bends = [0.0, 20.0, 30.0, 55.0, 90.0], [0.0, 0.02, -0.01, 0.015, 0.0]
    curve = Curve(knots, bends, origin=(3.0, -2.0), heading=0.4)
    s = np.linspace(0.0, 90.0, 900_001)
    step = s[1] - s[0]
    curvature = np.interp(s, knots, bends)
    heading = 0.4 + np.concatenate([[0.0], np.cumsum((curvature[1:] + curvature[:-1]) / 2 * step)])
    middle = (heading[1:] + heading[:-1]) / 2
    x = 3.0 + np.concatenate([[0.0], np.cumsum(np.cos(middle) * step)])
    y = -2.0 + np.concatenate([[0.0], np.cumsum(np.sin(middle) * step)])
    position, angle = curve.evaluate(s[::1000])
    np.testing.assert_allclose(angle, heading[::1000], atol=1e-9)
    np.testing.assert_allclose(position, np.stack([x, y], -1)[::1000], atol=1e-7)
    walked = np.linalg.norm(np.diff(curve.evaluate(s[::10])[0], axis=0), axis=1).sum()
    assert walked == pytest.approx(90.0, abs=1e-6)


def test_a_curve_goes_on_straight_beyond_its_ends() -> None:
    curve = Curve([0.0, 10.0], [0.05, 0.05])
    end, heading = curve.evaluate(10.0)
    beyond, same = curve.evaluate(17.0)
    assert same == heading
    np.testing.assert_allclose(beyond, end + 7.0 * np.array([np.cos(heading), np.sin(heading)]), atol=1e-12)


def test_a_circle_closes() -> None:
    radius = 25.0
    curve = Curve([0.0, 2 * np.pi * radius], [1 / radius, 1 / radius])
    np.testing.assert_allclose(curve.evaluate(2 * np.pi * radius)[0], [0.0, 0.0], atol=1e-10)


@pytest.mark.parametrize("knots", [[0.0], [0.0, 0.0], [1.0, 0.0]])
def test_knots_must_increase(knots: list[float]) -> None:
    with pytest.raises(ValueError, match="increasing knots"):
        Curve(knots, [0.0] * len(knots))


def test_projection_inverts_the_street_coordinates(layout: Layout) -> None:
    rng = np.random.default_rng(1)
    s, d = rng.uniform(-80, 380, 500), rng.uniform(-30, 30, 500)
    back_s, back_d = layout.main.curve.project(layout.main.place(s, d)[:, :2])
    np.testing.assert_allclose(back_s, s, atol=1e-7)
    np.testing.assert_allclose(back_d, d, atol=1e-7)


def test_the_same_seed_gives_the_same_streets() -> None:
    first, second, other = (Layout.make(seed, 200.0) for seed in (4, 4, 6))
    assert first.spots == second.spots
    assert first.crossings == second.crossings
    assert first.blocks == second.blocks
    assert first.blocks != other.blocks


@pytest.mark.parametrize("length", [10.0, float("nan"), float("inf"), -3.0])
def test_an_impossible_length_is_refused(length: float) -> None:
    with pytest.raises(ValueError, match="at least 50 m"):
        Layout.make(0, length)


def test_streets_of_any_length_and_seed_fit() -> None:
    for seed in range(60):
        length = 50.0 + 11.7 * seed
        layout = Layout.make(seed, length)
        assert layout.main.curve.start < 0
        assert layout.main.curve.end > length
        for block in layout.blocks:
            assert block.s1 - block.s0 > 20
        assert all(-90 < junction.s < length + 65 for junction in layout.junctions)
        assert all(block.kerb > layout.main.lane_width for block in layout.blocks)


def test_lanes_do_not_overlap_each_other_or_the_kerbs(layout: Layout) -> None:
    for road in layout.roads:
        lanes = [lane for lane in layout.lanes if lane.road == road.index]
        ranges = sorted((lane.offset - lane.width / 2, lane.offset + lane.width / 2) for lane in lanes)
        assert len(ranges) == 2
        assert ranges[0][1] <= ranges[1][0] + 1e-9
        kerbs = [b.kerb for b in layout.blocks] if road.index == 0 else [layout.junctions[road.index - 1].half_width]
        assert max(ranges[1][1], -ranges[0][0]) < min(kerbs)
    for spot in layout.spots:
        inner = abs(spot.d) - spot.width / 2
        assert inner >= layout.roads[spot.road].lane_width - 1e-9


def test_poses_look_along_their_lanes_and_keep_right(layout: Layout) -> None:
    for lane in layout.lanes:
        s = np.linspace(5, lane.length - 5, 40)
        ahead = (layout.lane_points(lane, s + 1e-4) - layout.lane_points(lane, s - 1e-4)) / 2e-4
        for at, direction in zip(s, ahead, strict=True):
            pose = layout.lane_pose(lane, float(at))
            np.testing.assert_allclose(pose[:3, 3], layout.lane_points(lane, float(at)), atol=1e-12)
            np.testing.assert_allclose(pose[:3, 0] @ direction / np.linalg.norm(direction), 1.0, atol=1e-9)
            np.testing.assert_allclose(np.linalg.det(pose[:3, :3]), 1.0)
            centre = layout.roads[lane.road].place(layout.road_s(lane, float(at)), 0.0)
            assert (centre - pose[:3, 3]) @ pose[:3, 1] > 0  # the centre line is on the left
        np.testing.assert_allclose(layout.lane_s(lane, layout.road_s(lane, s)), s)


def test_the_main_street_is_straight_where_streets_meet(layout: Layout) -> None:
    for junction in layout.junctions:
        s = junction.s + np.linspace(-1, 1, 50) * (junction.half_width + 13.9)
        assert np.abs(layout.main.curve.curvature(s)).max() < 1e-12
        road = layout.roads[junction.road]
        np.testing.assert_allclose(road.place(junction.cross_s, 0.0), layout.main.place(junction.s, 0.0), atol=1e-6)
        corner = layout.main.place(junction.s - 3, 20.0)
        np.testing.assert_allclose(road.place(junction.cross_s + 20, 3.0), corner, atol=1e-6)


def test_bends_leave_room_for_the_blocks(layout: Layout) -> None:
    assert np.abs(layout.main.curve.curvature(np.linspace(-90, 390, 2000))).max() <= 1 / 90 + 1e-9


def test_the_lights_never_let_both_streets_go(layout: Layout) -> None:
    signalised = [junction for junction in layout.junctions if junction.signalised]
    assert signalised
    for junction in signalised:
        shown = {Light.RED: 0, Light.RED_AMBER: 0, Light.AMBER: 0, Light.GREEN: 0}
        for time in np.arange(0.0, 2 * junction.cycle, 0.1):
            main, cross = layout.light(junction, 0, time), layout.light(junction, junction.road, time)
            assert main is not None
            assert cross is not None
            shown[main] += 1
            assert main in (Light.RED, Light.RED_AMBER) or cross in (Light.RED, Light.RED_AMBER)
            assert layout.light(junction, 0, time + junction.cycle) is main
        assert all(shown.values())
        assert shown[Light.GREEN] / sum(shown.values()) == pytest.approx(junction.main_green / junction.cycle, abs=0.01)


def test_people_may_walk_only_before_vehicles_that_wait(layout: Layout) -> None:
    for crossing in layout.crossings:
        allowed = 0
        for time in np.arange(0.0, 40.0, 0.25):
            if layout.may_walk(crossing, time):
                allowed += 1
                shown = layout.light(crossing.junction, crossing.road, time) if crossing.junction >= 0 else None
                assert shown in (None, Light.RED)
        assert allowed > 20


def _dense(walk: Walk, shares: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    shares = np.linspace(0.0, 1.0, 5000) if shares is None else shares
    return np.stack([np.interp(shares * walk.length, walk.distances, walk.points[:, k]) for k in range(3)], axis=-1)


def test_crossings_join_the_paths_of_two_sidewalks(layout: Layout) -> None:
    for crossing in layout.crossings:
        points = np.array(crossing.points)
        np.testing.assert_allclose(points[[0, 3], 2], KERB_HEIGHT)
        np.testing.assert_allclose(points[[1, 2], 2], 0.0)
        for end in (points[0], points[3]):
            gap = min(np.linalg.norm(_dense(walk) - end, axis=1).min() for walk in layout.walks)
            assert gap < 0.1
        across = points[2, :2] - points[1, :2]
        _, heading = layout.roads[crossing.road].curve.evaluate(crossing.s)
        assert abs(across @ [np.cos(heading), np.sin(heading)]) < 1e-6


def test_paths_stay_on_the_sidewalks(layout: Layout) -> None:
    for walk in layout.walks:
        block = layout.blocks[walk.block]
        assert np.allclose(walk.points[:, 2], KERB_HEIGHT)
        _, d = layout.main.curve.project(walk.points[:, :2])
        assert (block.side * d).min() - walk.margin > block.kerb
        assert walk.margin > 0.5
        for share in (0.0, 0.3, 0.5, 1.0):
            np.testing.assert_allclose(
                walk.pose(share * walk.length)[:3, 3], _dense(walk, np.array([share]))[0], atol=1e-9
            )
        np.testing.assert_allclose(walk.pose(1e9)[:3, 3], walk.points[-1])


def test_vehicles_wait_before_the_crossings_of_their_junction(layout: Layout) -> None:
    for stop in layout.stop_lines:
        lane = layout.lanes[stop.lane]
        if stop.junction >= 0:
            junction = layout.junctions[stop.junction]
            middle = layout.lane_s(lane, junction.s if lane.road == 0 else junction.cross_s)
            assert stop.s < middle - 3
        if stop.crossing >= 0:
            crossing = layout.crossings[stop.crossing]
            assert crossing.road == lane.road
            assert 0 < layout.lane_s(lane, crossing.s) - crossing.width / 2 - stop.s < 2
    for lane in layout.lanes:
        places = [stop.s for stop in layout.stops_of(lane)]
        assert places == sorted(places)


def test_cars_park_clear_of_crossings_and_of_each_other(layout: Layout) -> None:
    places = np.array([layout.spot_pose(spot)[:2, 3] for spot in layout.spots])
    assert len(places) > 5
    distance = np.linalg.norm(places[:, None] - places[None], axis=-1) + 100 * np.eye(len(places))
    assert distance.min() > 3.9
    for spot in layout.spots:
        for crossing in layout.crossings:
            if crossing.road == spot.road:
                assert abs(crossing.s - spot.s) > (crossing.width + spot.length) / 2
