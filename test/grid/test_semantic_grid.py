"""The grid as a whole, against a literal transcription, and what must hold whatever it is told."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from grid_cases import (
    BUILDING,
    CAR,
    LABELS,
    OPTIONS,
    PERSON,
    ROAD,
    SECOND,
    SKY,
    confusion,
    drawn,
    observation,
    permuted,
    planes,
    seeds,
    unclipped,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st
from literal_grid import LiteralGrid

from panoptic_ros.grid.observations import Observation
from panoptic_ros.grid.options import GridOptions
from panoptic_ros.grid.semantic_grid import SemanticGrid
from panoptic_ros.grid.snapshot import GridSnapshot


def drive(seed: int, frames: int, grid: SemanticGrid | LiteralGrid, count: int = 400) -> int:
    """Lead a grid along a few frames of a sensor that moves; a stamp shortly after them."""
    generator = np.random.default_rng(seed)
    x, y, stamp = *generator.uniform(-1000, 1000, 2), SECOND
    for frame in range(frames):
        grid.move(x, y)
        grid.update(drawn(seed + frame, count, stamp, (x, y, 1.0), OPTIONS.resolution))
        x, y = x + generator.uniform(-1, 1), y + generator.uniform(-1, 1)
        last, stamp = stamp, stamp + int(generator.integers(1, SECOND))
    return last + SECOND // 10


@settings(max_examples=15, deadline=None)
@given(seeds, st.booleans())
@example(0, True)
@example(65335, False)  # a point lies at the border of two sectors, 1e-6 of one from it
def test_it_does_what_a_literal_transcription_does(seed: int, bayes: bool) -> None:
    matrix = confusion(seed) if bayes else None
    grid, literal = SemanticGrid(OPTIONS, LABELS, matrix), LiteralGrid(OPTIONS, LABELS, matrix)
    stamp = drive(seed, 4, grid)
    assert drive(seed, 4, literal) == stamp
    things = compare(grid.snapshot(stamp), literal, stamp)
    assert things > 0 or seed  # a few scenes have none that is still there


def compare(snapshot: GridSnapshot, literal: LiteralGrid, stamp: int) -> int:
    """Compare all cells; returns how many of them have a thing."""
    options, found = OPTIONS.occupancy, planes(snapshot)
    compared, labelled, things = 0, 0, 0
    for column, row in np.ndindex(snapshot.size, snapshot.size):
        cell = (column + literal.first[0], row + literal.first[1])
        if cell in literal.borderline:
            continue
        here = {name: plane[row, column] for name, plane in found.items()}
        state = literal.cells.get(cell)
        if state is None:
            assert np.isnan([here["occupancy"], here["age"], here["entropy"]]).all()
            assert (here["occupied"], here["classes"], here["ground_classes"]) == (-1, -1, -1)
            continue
        compared += 1
        chance = literal.occupancy(cell, stamp)
        assert here["occupancy"] == pytest.approx(chance, abs=1e-4)
        assert here["age"] == pytest.approx((stamp - state.seen) * 1e-9, rel=1e-5)
        if min(abs(chance - options.occupied_above), abs(chance - options.free_below)) < 1e-4:
            continue
        occupied = 100 if chance >= options.occupied_above else 0 if chance <= options.free_below else -1
        assert here["occupied"] == occupied
        ground = literal.posterior(cell, "ground", stamp)
        assert (here["ground_classes"] >= 0) == (ground is not None)
        shown = literal.posterior(cell, "obstacle" if occupied == 100 else "ground", stamp)
        if shown is None:
            assert here["classes"] == -1
            assert here["probability"] == 0
            assert np.isnan(here["posterior"]).all()
            continue
        labelled += 1
        whole = np.zeros(len(LABELS))
        whole[list(shown)] = list(shown.values())
        np.testing.assert_allclose(here["posterior"], whole, atol=1e-4)
        assert whole[here["classes"]] == pytest.approx(whole.max(), abs=1e-4)
        assert here["probability"] == pytest.approx(whole.max(), abs=1e-4)
        positive = whole[whole > 0]
        assert here["entropy"] == pytest.approx(-float(np.sum(positive * np.log(positive))), abs=1e-3)
        if here["dynamic"]:
            things += 1
            assert here["instance"] == state.instance
    assert compared > 150
    assert labelled > 60
    return things


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_the_order_of_points_does_not_matter(seed: int) -> None:
    first, second = (SemanticGrid(OPTIONS, LABELS, confusion(0)) for _ in range(2))
    whole = drawn(seed, 500, SECOND, (0.0, 0.0, 1.0), OPTIONS.resolution)
    first.update(whole)
    second.update(permuted(whole, np.random.default_rng(seed).permutation(len(whole))))
    same(planes(first.snapshot()), planes(second.snapshot()))


def same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> None:
    """Equal to the last bit."""
    for name, plane in first.items():
        np.testing.assert_array_equal(plane, second[name], err_msg=name, strict=True)


@settings(max_examples=15, deadline=None)
@given(seeds, st.integers(-30, 30), st.integers(-30, 30))
def test_a_shift_keeps_the_overlap_to_the_last_bit(seed: int, dx: int, dy: int) -> None:
    shifted(seed, dx, dy)


def test_a_shift_by_29_and_17() -> None:
    shifted(1, 29, -17, dataclasses.replace(OPTIONS, size=64))


def shifted(seed: int, dx: int, dy: int, options: GridOptions = OPTIONS) -> None:
    grid, size = SemanticGrid(options, LABELS, confusion(0)), options.size
    grid.move(0.01, 0.01)
    grid.update(drawn(seed, 500, SECOND, (0.0, 0.0, 1.0), options.resolution))
    before = grid.snapshot()
    grid.move(0.01 + dx * options.resolution, 0.01 + dy * options.resolution)
    after = grid.snapshot()
    assert after.origin == pytest.approx(
        (before.origin[0] + dx * options.resolution, before.origin[1] + dy * options.resolution)
    )
    inside = np.zeros((size, size), dtype=bool)
    inside[max(0, -dy) : max(0, size - max(0, dy)), max(0, -dx) : max(0, size - max(0, dx))] = True
    rows, columns = np.nonzero(inside)
    old, new, empty = planes(before), planes(after), planes(SemanticGrid(options, LABELS).snapshot(SECOND))
    for name in new:
        # Where the posterior of a cell is kept is no part of what it says.
        np.testing.assert_array_equal(new[name][rows, columns], old[name][rows + dy, columns + dx], err_msg=name)
        np.testing.assert_array_equal(new[name][~inside], empty[name][~inside], err_msg=name)
    if inside.any():
        assert np.isfinite(old["occupancy"]).any()


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(-SECOND, SECOND), st.booleans())
def test_two_sensors_may_come_in_either_order(seed: int, apart: int, bayes: bool) -> None:
    """Before anything is clipped, and both newer than what the grid knows."""
    options, matrix = unclipped(OPTIONS), confusion(seed) if bayes else None
    a = drawn(seed, 300, 3 * SECOND, (0.3, 0.0, 1.0), OPTIONS.resolution)
    b = drawn(seed + 1, 300, 3 * SECOND + apart, (0.0, -0.4, 1.0), OPTIONS.resolution)
    found = []
    for pair in ((a, b), (b, a)):
        grid = SemanticGrid(options, LABELS, matrix)
        grid.move(0.0, 0.0)
        grid.update(drawn(seed + 2, 300, SECOND, (0.0, 0.0, 1.0), OPTIONS.resolution))
        for part in pair:
            grid.update(part)
        found.append(planes(grid.snapshot()))
    first, second = found
    for name in ("occupancy", "age", "posterior"):
        np.testing.assert_allclose(first[name], second[name], atol=1e-4, err_msg=name)
    for name in ("occupied", "dynamic", "instance"):
        sure = np.abs(first["occupancy"] - options.occupancy.occupied_above) > 1e-4
        np.testing.assert_array_equal(first[name][sure], second[name][sure], err_msg=name)


@settings(max_examples=20, deadline=None)
@given(seeds, st.booleans(), st.booleans())
def test_labels_that_come_late_lead_to_the_same_grid(seed: int, bayes: bool, other_sensor: bool) -> None:
    """Before anything is clipped: as if they had come with their cloud, whether or not another one came in between."""
    options, matrix = unclipped(OPTIONS), confusion(seed) if bayes else None
    whole = drawn(seed, 300, 3 * SECOND, (0.3, 0.0, 1.0), OPTIONS.resolution)
    bare = dataclasses.replace(
        whole,
        classes=np.full(len(whole), -1, np.int16),
        instances=np.zeros(len(whole), np.int32),
        cameras=np.full(len(whole), -1, np.int8),
    )
    between = drawn(seed + 1, 300, 4 * SECOND, (0.0, -0.4, 1.0), OPTIONS.resolution)
    found = []
    for late in (False, True):
        grid = SemanticGrid(options, LABELS, matrix)
        grid.move(0.0, 0.0)
        grid.update(drawn(seed + 2, 300, SECOND, (0.0, 0.0, 1.0), OPTIONS.resolution))
        grid.update(bare if late else whole)
        if other_sensor:
            grid.update(between)
        if late:
            grid.relabel(bare, whole)
        found.append(planes(grid.snapshot()))
    first, second = found
    assert (first["classes"] >= 0).sum() > 50
    for name in ("occupancy", "age", "posterior"):
        np.testing.assert_allclose(first[name], second[name], atol=1e-4, err_msg=name)
    for name in ("classes", "dynamic", "instance"):
        sure = np.abs(first["occupancy"] - options.occupancy.occupied_above) > 1e-4
        if name == "classes":  # two that are as probable may change places by the last bit
            best = np.sort(first["posterior"], axis=-1)
            sure &= best[..., -1] - best[..., -2] > 1e-4
        np.testing.assert_array_equal(first[name][sure], second[name][sure], err_msg=name)


def test_what_one_camera_has_labelled_keeps_its_say_when_another_answers() -> None:
    """Of a cell with labels of both only those that are new are told; nothing is counted twice."""
    grid = SemanticGrid(OPTIONS, LABELS)
    grid.move(0.0, 0.0)
    points = [(1.6, 0.02 * i, 0.0) for i in range(4)]
    before = observation(points, [CAR, CAR, -1, -1], True, cameras=[0, 0, -1, -1])
    grid.update(before)
    told = planes(grid.snapshot())["posterior"]
    grid.relabel(before, dataclasses.replace(before, cameras=np.array([1, 1, 1, 1], np.int8)))
    np.testing.assert_array_equal(planes(grid.snapshot())["posterior"], told)  # it knows no more than before
    after = dataclasses.replace(before, classes=np.array([PERSON, PERSON, PERSON, PERSON], np.int16))
    grid.relabel(before, after)
    chances = planes(grid.snapshot())["posterior"].reshape(-1, len(LABELS))
    row = chances[chances[:, CAR] > 0][0]
    # Two votes for each, n / (1 + (n - 1) r) together, and a prior of one vote over all.
    votes = 2 / (1 + OPTIONS.classes.correlation)
    prior = 1 / OPTIONS.is_obstacle(LABELS).sum()
    assert row[CAR] == pytest.approx((votes + prior) / (2 * votes + 1), abs=1e-5)
    assert row[PERSON] == pytest.approx(row[CAR], abs=1e-6)


def test_labels_of_other_points_are_refused() -> None:
    grid = SemanticGrid(OPTIONS, LABELS)
    one, other = (observation([(1.6, 0.1 * i, 0.0) for i in range(count)], CAR, True) for count in (3, 4))
    grid.update(one)
    with pytest.raises(ValueError, match=r"an observation of 3 points at .* its labels are of 4 points"):
        grid.relabel(one, other)


@settings(max_examples=15, deadline=None)
@given(seeds, st.floats(0, 60), st.floats(0, 60))
def test_fading_twice_is_fading_once(seed: int, first: float, second: float) -> None:
    """A frame that says nothing in between changes nothing but what it has seen."""
    options = dataclasses.replace(OPTIONS, occupancy=dataclasses.replace(OPTIONS.occupancy, static_time_constant=20.0))
    whole = drawn(seed, 300, SECOND, (0.0, 0.0, 1.0), OPTIONS.resolution)
    between, end = SECOND + int(first * SECOND), SECOND + int((first + second) * SECOND)
    once, twice = SemanticGrid(options, LABELS, confusion(0)), SemanticGrid(options, LABELS, confusion(0))
    once.update(whole)
    twice.update(whole)
    # A ray to the ground behind an obstacle sees a cell without saying whether it is free.
    cells = np.argwhere(np.isfinite(once.snapshot().occupancy))
    corner, middle = np.array(once.window.origin), (cells[:, ::-1] + 0.5) * options.resolution
    points = np.concatenate([corner + middle, np.full((len(cells), 1), 0.0)], axis=1).astype(np.float32)
    keep = np.hypot(points[:, 0], points[:, 1]) > 1
    shield = 0.6 * points[keep] / np.hypot(points[keep, 0], points[keep, 1])[:, None]
    both = np.concatenate([points[keep], shield])
    behind = np.repeat([False, True], keep.sum())
    twice.update(observation(both, SKY, behind, between, (0.0, 0.0, 1.0)))
    a, b = once.snapshot(end), twice.snapshot(end)
    chosen = np.zeros(a.occupancy.shape, dtype=bool)
    chosen[tuple(cells[keep].T)] = True
    shielded = np.floor((shield[:, :2] - corner) / options.resolution).astype(int)
    chosen[shielded[:, 1], shielded[:, 0]] = False
    assert chosen.sum() > 100
    np.testing.assert_allclose(a.occupancy[chosen], b.occupancy[chosen], atol=1e-5)
    np.testing.assert_allclose(
        a.probability[chosen & (a.occupied == b.occupied)],
        b.probability[chosen & (a.occupied == b.occupied)],
        atol=1e-5,
    )
    np.testing.assert_allclose(b.age[chosen], second, atol=1e-3)


@settings(max_examples=10, deadline=None)
@given(seeds)
def test_a_uniform_confusion_says_nothing(seed: int) -> None:
    grid = SemanticGrid(OPTIONS, LABELS, np.full((len(LABELS), len(LABELS)), 1 / len(LABELS)))
    for frame in range(3):
        grid.update(drawn(seed + frame, 300, SECOND * (frame + 1), (0.0, 0.0, 1.0), OPTIONS.resolution))
    snapshot = grid.snapshot()
    posterior = planes(snapshot)["posterior"][snapshot.classes >= 0]
    assert len(posterior) > 50
    ground, obstacle = OPTIONS.is_ground(LABELS), OPTIONS.is_obstacle(LABELS)
    of_obstacle = posterior[:, obstacle].sum(axis=1) > 0
    np.testing.assert_array_equal(
        posterior[~of_obstacle], np.broadcast_to(ground / np.float32(ground.sum()), posterior[~of_obstacle].shape)
    )
    np.testing.assert_array_equal(
        posterior[of_obstacle], np.broadcast_to(obstacle / np.float32(obstacle.sum()), posterior[of_obstacle].shape)
    )


def at(snapshot: GridSnapshot, name: str, x: float, y: float) -> object:
    """What a plane says at a position."""
    column, row = (math.floor((p - o) / snapshot.resolution) for p, o in zip((x, y), snapshot.origin, strict=True))
    return getattr(snapshot, name)[row, column]


def test_what_is_seen_and_what_is_not() -> None:
    """Free before a wall, occupied at it, unknown behind it: not one half, and not free."""
    grid = SemanticGrid(OPTIONS, LABELS, confusion(0))
    wall = [(2.1, y, 0.0) for y in np.arange(-1.5, 1.5, 0.02)]
    grid.update(observation(wall, BUILDING, True))
    snapshot = grid.snapshot()
    assert at(snapshot, "occupied", 2.1, 0.0) == 100
    assert at(snapshot, "classes", 2.1, 0.0) == BUILDING
    assert at(snapshot, "occupied", 1.0, 0.0) == 0
    assert at(snapshot, "classes", 1.0, 0.0) == -1
    assert at(snapshot, "occupied", 2.6, 0.0) == -1
    assert np.isnan(at(snapshot, "occupancy", 2.6, 0.0))
    assert np.isnan(at(snapshot, "occupancy", -1.0, 0.0))
    assert at(snapshot, "occupancy", 2.1, 0.0) == pytest.approx(1 / (1 + math.exp(-2.2)), abs=1e-6)
    assert not at(snapshot, "dynamic", 2.1, 0.0)


def test_a_thing_leaves_no_trail() -> None:
    """Where it was is free as soon as rays pass, and forgotten within moments if none do; a wall stays."""
    grid = SemanticGrid(OPTIONS, LABELS, confusion(0))
    grid.move(0.0, 0.0)
    front = [(1.6, y, 0.0) for y in np.arange(-0.1, 0.1, 0.02)]
    grid.update(observation(front, CAR, True, SECOND, instances=7))
    snapshot = grid.snapshot()
    assert (at(snapshot, "occupied", 1.6, 0.0), at(snapshot, "instance", 1.6, 0.0)) == (100, 7)
    assert at(snapshot, "dynamic", 1.6, 0.0)
    assert at(grid.snapshot(SECOND + 2 * SECOND), "occupied", 1.6, 0.0) == -1
    behind = [(2.6, y, 0.0) for y in np.arange(-0.3, 0.3, 0.02)]
    grid.update(observation(behind, BUILDING, True, SECOND + SECOND // 10))
    snapshot = grid.snapshot()
    assert at(snapshot, "occupied", 1.6, 0.0) == 0
    assert at(snapshot, "instance", 1.6, 0.0) == 0
    assert not at(snapshot, "dynamic", 1.6, 0.0)
    assert at(grid.snapshot(SECOND + 5 * SECOND), "occupied", 2.6, 0.0) == 100


def test_what_no_camera_sees_leaves_no_trail_where_it_was_free() -> None:
    """What a car that follows leaves behind lies in its own shadow, where no ray frees it; other obstacles stay."""
    across = np.arange(-0.3, 0.3, 0.02)

    def told(x: float, stamp: int, camera: int, elsewhere: int = 3) -> Observation:
        """Points without a label, and one behind, which another camera sees."""
        points = [*((x, y, 0.0) for y in across), (-2.0, 0.0, 0.0)]
        return observation(points, -1, True, stamp, cameras=[camera] * len(across) + [elsewhere])

    for camera, elsewhere in ((-1, 3), (3, 3), (-1, -1)):  # a robot without cameras forgets nothing either
        grid, stamp, places = SemanticGrid(OPTIONS, LABELS, confusion(0)), SECOND, (2.4, 1.9, 1.4)
        grid.move(0.0, 0.0)
        grid.update(told(2.9, stamp, camera, elsewhere))  # a wall, and the ground before it
        assert [at(grid.snapshot(), "occupied", x, 0.0) for x in places] == [0, 0, 0]
        for x in places:
            stamp += SECOND // 10
            for _ in range(4):
                grid.update(told(x, stamp, camera, elsewhere))
            assert at(grid.snapshot(), "occupied", x, 0.0) == 100
        later = grid.snapshot(stamp + SECOND)
        expected = [0, 0, 0] if camera < elsewhere else [100, 100, 100]
        assert [at(later, "occupied", x, 0.0) for x in (2.9, *places)] == [100, *expected]
    grid.reset()
    grid.move(0.0, 0.0)
    for x, ends in (
        (2.9, 0),
        (1.4, 100),
        (1.9, 0),
    ):  # it is there from its first point on, and ends where it is seen free
        stamp += SECOND // 10
        grid.update(told(x, stamp, -1))
        assert at(grid.snapshot(), "occupied", 1.4, 0.0) == ends


def test_points_without_labels_follow_the_thing_they_are_on() -> None:
    """Labels beside a mask's edge are not believed, and a car's edge must not become a wall."""
    grid = SemanticGrid(OPTIONS, LABELS, confusion(0))
    points = [(1.6, 0.02 * i, 0.0) for i in range(10)]
    grid.update(observation(points, [PERSON, *[-1] * 9], True, instances=[3, *[0] * 9]))
    assert at(grid.snapshot(), "dynamic", 1.6, 0.1)
    assert at(grid.snapshot(SECOND + 4 * SECOND), "occupied", 1.6, 0.1) == -1


@pytest.mark.parametrize(("instances", "kept"), [([3, 3, 9], 3), ([9, 9, 3], 9), ([9, 3], 3), ([0, 0, 4], 4)])
def test_a_cell_is_of_the_track_that_most_points_are_of(instances: list[int], kept: int) -> None:
    """Of equals it is the least, in whichever order they come."""
    for order in (instances, instances[::-1]):
        grid = SemanticGrid(OPTIONS, LABELS)
        grid.update(observation([(1.6, 0.02 * i, 0.0) for i in range(len(order))], CAR, True, instances=order))
        assert at(grid.snapshot(), "instance", 1.6, 0.01) == kept


def test_uncertain_points_count_less_and_free_less() -> None:
    grid, near = SemanticGrid(OPTIONS, LABELS, confusion(0)), np.arange(-0.5, 0.5, 0.02)
    grid.update(observation([(2.6, y, 0.0) for y in near], BUILDING, True, weights=1 / 9))
    snapshot = grid.snapshot()
    assert at(snapshot, "occupancy", 2.6, 0.0) == pytest.approx(1 / (1 + math.exp(-2.2 / 9)), abs=1e-6)
    # Three cells are kept clear before it; nearer ones are as surely free, or as what was seen in them.
    assert at(snapshot, "occupancy", 1.6, 0.0) == pytest.approx(1 / (1 + math.exp(1.39 / 9)), abs=1e-6)
    both = [(2.6, 0.2, 0.0), (1.625, 0.125, 0.0)]
    grid.reset()
    grid.update(observation(both, [BUILDING, ROAD], [True, False], weights=[1 / 9, 1.0]))
    assert at(grid.snapshot(), "occupancy", 1.625, 0.125) == pytest.approx(1 / (1 + math.exp(1.39)), abs=1e-6)
    assert np.isnan(at(snapshot, "occupancy", 2.1, 0.0))


def test_what_does_not_count() -> None:
    """Points that are not finite, out of the range, or that one passes below."""
    grid = SemanticGrid(OPTIONS, LABELS)
    grid.move(0.0, 0.0)
    points = [
        (np.nan, 1.0, 0.0),
        (np.inf, 1.0, 0.0),
        (0.2, 0.0, 0.0),
        (8.5, 0.0, 0.0),
        (1.0, 1.0, 2.0),
        (1e30, 1e30, 0.0),
    ]
    grid.update(observation(points, BUILDING, True, heights=[1, 1, 1, 1, 2.6, np.nan]))
    assert np.isnan(grid.snapshot().occupancy).all()
    grid.update(observation(np.zeros((0, 3)), BUILDING, True))
    assert np.isnan(grid.snapshot().occupancy).all()


def test_far_from_the_origin_nothing_changes() -> None:
    """The same drive at the frame's origin and 10⁶ m away gives the same pictures."""
    found = []
    for x, y in ((0.0, 0.0), (1_000_000.0, -2_000_000.0)):
        grid = SemanticGrid(OPTIONS, LABELS, confusion(0))
        grid.move(x, y)
        grid.update(
            dataclasses.replace(
                drawn(3, 400, SECOND, (0.0, 0.0, 1.0), OPTIONS.resolution), origin=np.array([x, y, 1.0])
            )
        )
        found.append(planes(grid.snapshot()))
    same(*found)


def test_reset_forgets_everything() -> None:
    grid, fresh = SemanticGrid(OPTIONS, LABELS), SemanticGrid(OPTIONS, LABELS)
    drive(0, 3, grid)
    grid.reset()
    assert grid.stamp is None
    late = drawn(9, 300, SECOND // 2, (4.0, 5.0, 1.0), OPTIONS.resolution)
    grid.update(late)
    fresh.update(late)
    same(planes(grid.snapshot()), planes(fresh.snapshot()))


def test_a_snapshot_stays_as_it_was() -> None:
    grid = SemanticGrid(OPTIONS, LABELS, confusion(0))
    drive(0, 2, grid)
    snapshot = grid.snapshot()
    before = {name: plane.copy() for name, plane in planes(snapshot).items()}
    drive(5, 2, grid)
    same(planes(snapshot), before)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"heights": np.zeros(2, np.float32)}, r"lidar: heights must be \(3,\), got \(2,\)"),
        ({"points": np.zeros((3, 2), np.float32)}, r"points must be \(N, 3\)"),
        ({"origin": np.array([0.0, np.nan, 0.0])}, "is not finite"),
        ({"classes": np.array([0, 19, 0], np.int16)}, "classes must be -1 to 18, got 0 to 19"),
        ({"classes": np.array([0, -2, 0], np.int16)}, "got -2 to 0"),
        ({"weights": np.array([1, 0, 1], np.float32)}, r"weights must be in \(0, 1\], got 0"),
        ({"weights": np.array([1, np.nan, 1], np.float32)}, "weights must be in"),
    ],
)
def test_an_observation_that_does_not_fit_is_refused_and_changes_nothing(changes: dict[str, object], said: str) -> None:
    grid = SemanticGrid(OPTIONS, LABELS)
    grid.update(observation([(1.0, 0.0, 0.0)] * 3, ROAD, False))
    before = planes(grid.snapshot())
    wrong = dataclasses.replace(observation([(2.0, 0.0, 0.0)] * 3, ROAD, False, 2 * SECOND), **changes)
    with pytest.raises(ValueError, match=said):
        grid.update(wrong)
    assert grid.stamp == SECOND
    same(planes(grid.snapshot()), before)


@pytest.mark.parametrize("matrix", [np.eye(18), np.full((19, 19), np.nan), -np.eye(19)])
def test_a_confusion_that_is_none_is_refused(matrix: np.ndarray) -> None:
    with pytest.raises(ValueError, match="the confusion matrix must"):
        SemanticGrid(OPTIONS, LABELS, matrix)


def test_nothing_to_show_before_anything_was_said() -> None:
    with pytest.raises(ValueError, match="needs a stamp"):
        SemanticGrid(OPTIONS, LABELS).snapshot()
