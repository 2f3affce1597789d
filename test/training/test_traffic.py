"""Traffic: rules, classes, and that nothing drives through anything else."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("trimesh", reason="the synthetic world is not installed")

from panoptic_training.synthetic import collisions, traffic
from panoptic_training.synthetic.motion import Follower, LanePath
from panoptic_training.synthetic.street import Layout, Light

SEED, DURATION = 1, 30.0
TIMES = np.arange(0.0, DURATION, 0.6)


@pytest.fixture(scope="module")
def layout() -> Layout:
    return Layout.make(SEED, 360.0)


@pytest.fixture(scope="module")
def street(layout: Layout) -> traffic.Traffic:
    return traffic.make_traffic(layout, SEED, DURATION)


def rectangles_overlap(first: np.ndarray, second: np.ndarray) -> bool:
    """Independently of the code under test: the area of one polygon clipped by the other (Sutherland and Hodgman)."""
    polygon = [tuple(point) for point in first]
    for a, b in zip(second, np.roll(second, -1, axis=0), strict=True):
        clipped = []
        for p, q in zip(polygon, polygon[1:] + polygon[:1], strict=True):
            inside = [(b[0] - a[0]) * (r[1] - a[1]) - (b[1] - a[1]) * (r[0] - a[0]) for r in (p, q)]
            if inside[0] >= 0:
                clipped.append(p)
            if inside[0] * inside[1] < 0:
                share = inside[0] / (inside[0] - inside[1])
                clipped.append((p[0] + share * (q[0] - p[0]), p[1] + share * (q[1] - p[1])))
        polygon = clipped
        if not polygon:
            return False
    x, y = np.array(polygon).T
    return bool(abs((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2 > 1e-9)


def box_on_ground(body, time: float) -> np.ndarray:
    pose = body.pose(time)
    half = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * np.array(body.size[:2]) / 2
    return half @ pose[:2, :2].T + pose[:2, 3]


def test_nothing_runs_into_anything(street: traffic.Traffic) -> None:
    bodies = street.bodies
    for time in TIMES[1::2]:
        boxes = [box_on_ground(body, time) for body in bodies]
        middles = np.array([box.mean(axis=0) for box in boxes])
        radii = np.array([np.hypot(*body.size[:2]) / 2 for body in bodies])
        apart = np.linalg.norm(middles[:, None] - middles[None], axis=2) - radii[:, None] - radii[None]
        for a, b in np.argwhere(np.triu(apart < 0, 1)):
            same = isinstance(bodies[a], Follower) and getattr(bodies[b], "track", None) is bodies[a].track
            if not same:  # a rider sits on the cycle
                assert not rectangles_overlap(boxes[a], boxes[b]), (time, bodies[a].class_id, bodies[b].class_id)
        ego = street.ego.pose(time)
        own = np.array([[2.3, 0.95], [-2.3, 0.95], [-2.3, -0.95], [2.3, -0.95]]) @ ego[:2, :2].T + ego[:2, 3]
        for index in np.flatnonzero(np.linalg.norm(middles - ego[:2, 3], axis=1) < radii + 2.6):
            assert not rectangles_overlap(boxes[index], own), (time, bodies[index].class_id)


def test_instances_are_unique_and_every_class_occurs_near_the_drive(street: traffic.Traffic) -> None:
    numbers = [body.instance for body in street.bodies]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    assert len(numbers) <= 999
    ego = np.array([street.ego.pose(time)[:2, 3] for time in TIMES])
    near = Counter(
        body.class_id
        for body in street.bodies
        if min(np.linalg.norm([body.pose(time)[:2, 3] - place for time, place in zip(TIMES, ego, strict=True)], axis=1))
        < 60
    )
    assert set(near) == {24, 25, 26, 27, 28, 31, 32, 33}
    assert near[26] > 20
    assert near[24] > 40


@pytest.mark.parametrize("seed", [2, 5])
def test_every_class_occurs_in_other_drives(seed: int) -> None:
    bodies = traffic.populate(Layout.make(seed, 360.0), seed, DURATION)
    assert {body.class_id for body in bodies} == {24, 25, 26, 27, 28, 31, 32, 33}


def test_poses_are_rigid_and_velocity_is_their_derivative(street: traffic.Traffic) -> None:
    rng = np.random.default_rng(0)
    for body in rng.choice(np.array(street.bodies, dtype=object), 80, replace=False):
        for time in rng.uniform(0.1, DURATION - 0.1, 3):
            pose = body.pose(time)
            np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
            assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0)
            np.testing.assert_array_equal(pose[3], [0, 0, 0, 1])
            numeric = (body.pose(time + 1e-4)[:3, 3] - body.pose(time - 1e-4)[:3, 3]) / 2e-4
            np.testing.assert_allclose(body.velocity(time), numeric, atol=0.02)
            np.testing.assert_array_equal(body.pose(time), pose)  # in any order of times


def test_meshes_stay_in_their_boxes(street: traffic.Traffic) -> None:
    rng = np.random.default_rng(0)
    for body in rng.choice(np.array(street.bodies, dtype=object), 80, replace=False):
        mesh = body.mesh(rng.uniform(0, DURATION))
        assert (mesh.classes == body.class_id).all()
        assert (2 * np.abs(mesh.vertices[:, :2]).max(axis=0) <= np.array(body.size[:2]) + 0.08).all()
        assert mesh.vertices[:, 2].max() <= body.size[2] + 0.03
        assert mesh.vertices[:, 2].min() >= -0.03


def test_the_ego_vehicle_drives_smoothly(street: traffic.Traffic) -> None:
    poses = np.array([street.ego.pose(time) for time in np.arange(0, DURATION, 0.1)])
    speed = np.array([street.ego.velocity(time)[0] for time in np.arange(0, DURATION, 0.1)])
    assert np.linalg.norm(poses[-1, :2, 3] - poses[0, :2, 3]) > 60
    assert np.abs(np.diff(speed) / 0.1).max() < 7.5
    assert speed.min() >= 0
    for time in np.linspace(0.5, DURATION - 0.5, 20):
        before, after = street.ego.pose(time - 1e-3), street.ego.pose(time + 1e-3)
        forward, turning = street.ego.velocity(time)
        assert np.linalg.norm(after[:3, 3] - before[:3, 3]) / 2e-3 == pytest.approx(forward, abs=0.02)
        heading = [np.arctan2(pose[1, 0], pose[0, 0]) for pose in (before, after)]
        assert (heading[1] - heading[0]) / 2e-3 == pytest.approx(turning, abs=1e-3)


def test_nobody_passes_a_red_light(layout: Layout, street: traffic.Traffic) -> None:
    """No front crosses a stop line while its light is red."""
    tracks = {id(street.ego.track): (street.ego.track, traffic.EGO_LENGTH)}
    for body in street.bodies:
        if isinstance(body, Follower) and isinstance(body.track.path, LanePath) and body.class_id != 25:
            tracks[id(body.track)] = (body.track, body.size[0])
    crossed = 0
    for track, length in tracks.values():
        lane = _lane_of(layout, track.path)
        for stop in layout.stops_of(lane):
            if stop.junction < 0 or not layout.junctions[stop.junction].signalised:
                continue
            fronts = np.array([track.state(time)[0] + length / 2 for time in np.arange(0, DURATION, 0.1)])
            for index in np.flatnonzero((fronts[:-1] <= stop.s) & (fronts[1:] > stop.s)):
                crossed += 1
                shown = layout.light(stop.junction, layout.lanes[lane].road, 0.1 * (index + 1))
                # those who stopped right at the line may creep a hand's breadth
                ahead = fronts[min(index + 30, len(fronts) - 1)] - stop.s
                assert shown in (Light.GREEN, Light.AMBER) or ahead < 0.5
    assert crossed > 3


def _lane_of(layout: Layout, path: LanePath) -> int:
    """The lane that a path belongs to: nearest, in its direction."""
    place, slope = path.at(40.0)
    errors = []
    for lane in layout.lanes:
        pose = layout.lane_pose(lane, 40.0)
        errors.append(np.linalg.norm(pose[:2, 3] - place[:2]) + 100 * (pose[:2, 0] @ slope[:2] < 0))
    return int(np.argmin(errors))


def test_people_on_a_crossing_are_given_way(layout: Layout, street: traffic.Traffic) -> None:
    """While somebody is in front of a vehicle on a crossing, it does not move on towards them."""
    walkers = [body for body in street.bodies if isinstance(body, Follower) and body.class_id == 24]
    on_road = [body for body in walkers if min(body.pose(time)[2, 3] for time in TIMES) < 0.05]
    assert len(on_road) >= 3  # some did cross
    vehicles = [body for body in street.bodies if isinstance(body, Follower) and body.class_id in (26, 27, 28, 31)]
    for body in on_road:
        for time in np.arange(0, DURATION, 0.3):
            place = body.pose(time)[:2, 3]
            if body.pose(time)[2, 3] > 0.05:
                continue
            for vehicle in vehicles:
                pose = vehicle.pose(time)
                ahead, aside = pose[:2, :2].T @ (place - pose[:2, 3])
                gap = ahead - vehicle.size[0] / 2
                if abs(aside) < 1.2 and 0 < gap < 12:
                    speed = np.linalg.norm(vehicle.velocity(time))
                    assert speed**2 / (2 * 7.0) < gap  # it can still stop


def test_vehicles_of_a_lane_keep_their_order(layout: Layout, street: traffic.Traffic) -> None:
    cars = [body for body in street.bodies if isinstance(body, Follower) and body.class_id in (26, 27, 28)]
    ahead = [body.track for body in cars if isinstance(body.track.path, LanePath)]
    on_main = [track for track in ahead if _lane_of(layout, track.path) == 1]
    assert len(on_main) > 3
    ordered = sorted(on_main, key=lambda track: track.state(0.0)[0])
    for time in TIMES:
        places = [track.state(time)[0] for track in ordered]
        assert all(later - earlier > 3.0 for earlier, later in pairwise(places))


def test_the_same_seed_gives_the_same_street(layout: Layout, street: traffic.Traffic) -> None:
    again = traffic.make_traffic(layout, SEED, DURATION)
    assert len(again.bodies) == len(street.bodies)
    for first, second in zip(street.bodies, again.bodies, strict=True):
        assert (first.instance, first.class_id, first.size) == (second.instance, second.class_id, second.size)
        np.testing.assert_array_equal(first.pose(7.3), second.pose(7.3))
    np.testing.assert_array_equal(street.bodies[0].mesh(3.0).vertices, again.bodies[0].mesh(3.0).vertices)
    np.testing.assert_array_equal(street.bodies[0].mesh(3.0).colors, again.bodies[0].mesh(3.0).colors)


def test_empty_streets_and_bad_numbers(layout: Layout) -> None:
    assert traffic.populate(layout, 0, 5.0, density=0.0) == []
    with pytest.raises(ValueError, match="duration"):
        traffic.populate(layout, 0, 0.0)
    with pytest.raises(ValueError, match="density"):
        traffic.populate(layout, 0, 5.0, density=-1.0)
    with pytest.raises(ValueError, match="density"):
        traffic.populate(layout, 0, 5.0, density=float("nan"))


def test_overlap_test_agrees_with_polygon_clipping() -> None:
    rng = np.random.default_rng(2)
    corners = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) / 2
    boxes = []
    for _ in range(60):
        angle, size, place = rng.uniform(0, np.pi), rng.uniform(0.5, 3, 2), rng.uniform(-5, 5, 2)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        boxes.append(corners * size @ turn.T + place)
    boxes = np.array(boxes)
    middles = boxes.mean(axis=1)
    radii = np.linalg.norm(boxes - middles[:, None], axis=2).max(axis=1)
    found = {tuple(sorted(pair)) for pair in collisions.overlapping(boxes, middles, radii).tolist()}
    expected = {(a, b) for a in range(60) for b in range(a + 1, 60) if rectangles_overlap(boxes[a], boxes[b])}
    assert found == expected
    assert len(expected) > 10
