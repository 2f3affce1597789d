"""Boxes of instances against the boxes that the points were made of, and against a literal clustering."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from grid_boxes import FAR, INDEX, LABELS, observed, visible_points
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from panoptic_ros.grid.objects import RANGE_GAP, find_objects, smallest_extent
from panoptic_ros.grid.options import GridOptions, TrackingOptions

OPTIONS = GridOptions()
CAR = (4.4, 1.8, 1.5)


def turn_between(one: float, other: float) -> float:
    """Degrees between two axes."""
    return float(np.rad2deg(abs((one - other + np.pi / 2) % np.pi - np.pi / 2)))


@settings(max_examples=60, deadline=None)
@given(bearing=st.floats(-3.1, 3.1), distance=st.floats(6.0, 30.0), yaw=st.floats(-3.1, 3.1))
def test_a_car_of_which_two_sides_are_seen_is_the_box_it_is(bearing: float, distance: float, yaw: float) -> None:
    centre = (distance * np.cos(bearing), distance * np.sin(bearing))
    seen_from = distance * np.abs([np.cos(bearing - yaw), np.sin(bearing - yaw)])
    assume(seen_from[0] > CAR[0] / 2 + 0.3 and seen_from[1] > CAR[1] / 2 + 0.3)  # so that both are seen
    (found,) = find_objects(observed((visible_points(centre, yaw, CAR), "car", 26001, 0)), LABELS, OPTIONS)
    assert found.centre == pytest.approx(FAR + np.array([*centre, -2.0 + CAR[2] / 2]), abs=0.02)
    assert found.extent == pytest.approx(CAR, abs=0.02)
    assert turn_between(found.yaw, yaw) < 0.3
    assert -np.pi / 2 <= found.yaw < np.pi / 2
    assert (found.camera, found.instance, found.class_index, found.score) == (0, 26001, INDEX["car"], 1.0)


@pytest.mark.parametrize("yaw", [0.0, 0.6, -2.0])
def test_of_a_rear_alone_the_box_grows_away_from_the_sensor(yaw: float) -> None:
    """Both ends of the rear are seen, and nothing of the length."""
    ahead = np.array([np.cos(yaw), np.sin(yaw)])
    middle = 12.0 * ahead
    points = visible_points((float(middle[0]), float(middle[1])), yaw, CAR)
    (found,) = find_objects(observed((points, "car", 26001, 0)), LABELS, OPTIONS)
    least = smallest_extent("car")
    assert turn_between(found.yaw, yaw) < 1.0
    assert found.extent[:2] == pytest.approx((least[0], CAR[1]), abs=0.1)
    rear = (12.0 - CAR[0] / 2) * ahead
    assert found.centre[:2] - FAR[:2] == pytest.approx(rear + least[0] / 2 * ahead, abs=0.05)


def test_what_shows_between_the_edges_of_a_mask_is_left_out() -> None:
    person = visible_points((8.0, 1.0), 0.2, (0.5, 0.5, 1.7), step=0.05)
    wall = np.column_stack([np.full(30, 14.0), np.linspace(1.4, 1.8, 30), np.zeros(30)])
    assert len(wall) < len(person)
    (found,) = find_objects(observed((np.r_[wall, person], "person", 24003, 1)), LABELS, OPTIONS)
    assert found.points == len(person)
    assert found.centre[:2] - FAR[:2] == pytest.approx([8.0, 1.0], abs=0.1)


def test_only_labelled_obstacles_of_things_become_objects() -> None:
    points = visible_points((8.0, 1.0), 0.2, (0.5, 0.5, 1.7))
    assert find_objects(observed((points, "building", 11000, 0)), LABELS, OPTIONS) == []
    assert find_objects(observed((points, "person", 0, 0)), LABELS, OPTIONS) == []
    one = observed((points, "person", 24001, 0))
    assert len(find_objects(one, LABELS, OPTIONS)) == 1
    lying = dataclasses.replace(one, obstacle=np.zeros(len(points), np.bool_))
    assert find_objects(lying, LABELS, OPTIONS) == []
    unlabelled = dataclasses.replace(one, classes=np.full(len(points), -1, np.int16))
    assert find_objects(unlabelled, LABELS, OPTIONS) == []
    empty = dataclasses.replace(
        one, **{name: getattr(one, name)[:0] for name in one.__slots__ if name not in ("stamp", "source", "origin")}
    )
    assert find_objects(empty, LABELS, OPTIONS) == []


def test_an_instance_is_one_within_its_camera_only() -> None:
    near, far = visible_points((8.0, 1.0), 0.2, CAR), visible_points((20.0, 1.0), 0.2, CAR)
    found = find_objects(observed((near, "car", 26001, 0), (far, "car", 26001, 1)), LABELS, OPTIONS)
    assert [(one.camera, one.points) for one in found] == [(0, len(near)), (1, len(far))]


@pytest.mark.parametrize(("count", "found"), [(6, 0), (7, 1)])
def test_fewer_points_than_the_least_are_no_object(count: int, found: int) -> None:
    options = GridOptions(tracking=TrackingOptions(minimum_points=7))
    points = visible_points((8.0, 1.0), 0.2, CAR)[:count]
    assert len(find_objects(observed((points, "car", 26001, 0)), LABELS, options)) == found


def literal_cluster(points: np.ndarray) -> set[tuple[float, ...]]:
    """The largest run of points without a gap in range, the nearest of equals."""
    best: list[np.ndarray] = []
    run: list[np.ndarray] = []
    last = 0.0
    for point in sorted(points, key=lambda one: np.hypot(one[0], one[1])):
        span = float(np.hypot(point[0], point[1]))
        if run and span - last > RANGE_GAP:
            run = []
        run = [*run, point]
        last = span
        if len(run) > len(best):
            best = run
    return {tuple(point.tolist()) for point in best}


def test_clusters_are_those_of_a_literal_walk_in_whatever_order_points_come() -> None:
    generator = np.random.default_rng(4)
    parts = []
    for instance in range(1, 13):
        points = generator.uniform(-12, 12, (generator.integers(3, 40), 3)).astype(np.float32)
        parts.append((points, "car", 26000 + instance, instance % 3))
    whole = observed(*parts)
    order = generator.permutation(len(whole))
    shuffled = dataclasses.replace(
        whole,
        **{name: getattr(whole, name)[order] for name in whole.__slots__ if name not in ("stamp", "source", "origin")},
    )
    expected = {
        (camera, instance): len(literal_cluster(points))
        for points, _, instance, camera in parts
        if len(literal_cluster(points)) >= 5
    }
    for observation in (whole, shuffled):
        found = find_objects(observation, LABELS, OPTIONS)
        assert {(one.camera, one.instance): one.points for one in found} == expected
    assert 3 < len(expected) < 12


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("Car", "car"),
        ("SUVPickupTruck", "suv"),
        ("Truck_Bus", "truck"),
        ("On Rails", ""),
        ("carrot", ""),
        ("person", "person"),
    ],
)
def test_sizes_go_by_the_words_of_a_name(name: str, like: str) -> None:
    assert (smallest_extent(name) == smallest_extent("nothing like that")) == (like == "")
    if like:
        assert smallest_extent(name) == smallest_extent(like)
