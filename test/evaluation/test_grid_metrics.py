"""Cells and objects of a grid against literal transcriptions of the definitions, and closed forms."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from grid_truth_cases import (
    BUILDING,
    CAR,
    CITYSCAPES,
    GROUND,
    PERSON,
    ROAD,
    SECOND,
    Snapshot,
    Track,
    random_snapshot,
    random_truth,
    thing,
)

from panoptic_ros.evaluation.grid_cells import BINS, FLOOR, CellMetrics
from panoptic_ros.evaluation.grid_metrics import GridMetrics
from panoptic_ros.evaluation.grid_objects import ObjectMetrics, match_centres
from panoptic_ros.evaluation.grid_truth import GridTruth
from panoptic_ros.evaluation.overlaps import EvaluationError


def literal_cells(pairs: list[tuple[Snapshot, GridTruth]]) -> dict[str, float]:
    """The definitions, cell after cell, by the cells' centres."""
    known = observed = classed = right = false_free = 0
    states, binary, most, nll, brier, kind = [], [], [], [], [], []
    by_class: dict[int, list[tuple[int, int]]] = {}
    for grid, truth in pairs:
        for row, column in itertools.product(*map(range, grid.occupied.shape)):
            x, y = (grid.origin[axis] + (one + 0.5) * grid.resolution for axis, one in ((0, column), (1, row)))
            i, j = (math.floor((at - truth.origin[axis]) / truth.resolution) for axis, at in ((1, y), (0, x)))
            if not (0 <= i < truth.occupied.shape[0] and 0 <= j < truth.occupied.shape[1]):
                continue
            if truth.occupied[i, j] == -1:
                continue
            known += 1
            if grid.occupied[row, column] != -1:
                observed += 1
                states.append((truth.occupied[i, j], grid.occupied[row, column]))
                binary.append((float(grid.occupancy[row, column]), truth.occupied[i, j] == 100))
                false_free += truth.occupied[i, j] == 100 and grid.occupied[row, column] == 0
            if grid.classes[row, column] == -1:
                continue
            classed += 1
            true = int(truth.classes[i, j])
            if true == -1:
                continue
            told = int(grid.classes[row, column])
            by_class.setdefault(true, []).append((true, told))
            by_class.setdefault(told, [])
            if told != true:
                by_class[told].append((true, told))
            right += told == true
            p = grid.table[row, column].astype(np.float64)
            nll.append(-math.log(max(p[true], FLOOR)))
            brier.append(sum((p[c] - (c == true)) ** 2 for c in range(len(p))))
            most.append((float(p.max()), int(p.argmax()) == true))
            kind.append(GROUND[true] == GROUND[int(p.argmax())])

    def ece(values: list[tuple[float, bool]]) -> float:
        total = 0.0
        for part in range(BINS):
            inside = [v for v in values if part / BINS <= v[0] < (part + 1) / BINS or (part == BINS - 1 and v[0] == 1)]
            if inside:
                gap = np.mean([v[0] for v in inside]) - np.mean([v[1] for v in inside])
                total += len(inside) / len(values) * abs(gap)
        return total

    def iou(state: int) -> float:
        both = sum(t == g == state for t, g in states)
        return both / sum(t == state or g == state for t, g in states)

    ious = [sum(t == g == c for t, g in v) / len(v) for c, v in by_class.items()]
    accuracies = [np.mean([t == g for t, g in v if t == c]) for c, v in by_class.items() if any(t == c for t, _ in v)]
    return {
        "known": known,
        "coverage": observed / known,
        "class_coverage": classed / known,
        "free_iou": iou(0),
        "occupied_iou": iou(100),
        "false_free": false_free / sum(t == 100 for t, _ in states),
        "mean_iou": float(np.mean(ious)),
        "macro_accuracy": float(np.mean(accuracies)),
        "accuracy": right / len(most),
        "classes.nll": float(np.mean(nll)),
        "classes.brier": float(np.mean(brier)),
        "classes.ece": ece(most),
        "classes_of_kind.nll": float(np.mean([v for v, same in zip(nll, kind, strict=True) if same])),
        "classes_of_kind.brier": float(np.mean([v for v, same in zip(brier, kind, strict=True) if same])),
        "classes_of_kind.ece": ece([v for v, same in zip(most, kind, strict=True) if same]),
        "classes_of_kind.cells": sum(kind),
        "occupancy.nll": float(np.mean([-math.log(max(p if o else 1 - p, FLOOR)) for p, o in binary])),
        "occupancy.brier": float(np.mean([(p - o) ** 2 for p, o in binary])),
        "occupancy.ece": ece(binary),
    }


@pytest.mark.parametrize(("resolution", "origin"), [(0.25, (2.0, -3.0)), (0.2, (-0.13, -1.07)), (0.5, (3.0, 0.5))])
def test_cells_are_counted_as_they_are_defined(resolution: float, origin: tuple[float, float]) -> None:
    generator = np.random.default_rng(1)
    pairs = [(random_snapshot(generator, 24, origin, resolution), random_truth(generator)) for _ in range(3)]
    metrics = GridMetrics(CITYSCAPES, GROUND)
    for index, (grid, truth) in enumerate(pairs):
        metrics.update(str(index), grid, (), truth)  # type: ignore[arg-type]
    result = metrics.result()
    assert result.moments == 3
    for name, expected in literal_cells(pairs).items():
        value: object = result.cells
        for part in name.split("."):
            value = getattr(value, part)
        assert value == pytest.approx(expected, rel=1e-9), name


def test_equal_cells_are_compared_as_they_are() -> None:
    generator = np.random.default_rng(2)
    truth = random_truth(generator, (40, 40), (-5.0, 7.25))
    occupied, classes = truth.at_cells((-4.5, 7.75), 0.25, (30, 30))
    np.testing.assert_array_equal(occupied, truth.occupied[2:32, 2:32])
    np.testing.assert_array_equal(classes, truth.classes[2:32, 2:32])
    outside, none = truth.at_cells((100.0, 100.0), 0.25, (4, 4))
    assert (outside == -1).all()
    assert (none == -1).all()


def test_moments_merge_in_any_grouping() -> None:
    generator = np.random.default_rng(3)
    objects = (thing(1, CAR, 3.0, 0.0), thing(2, PERSON, 6.0, 1.0))
    moments = []
    for index in range(4):
        grid, truth = random_snapshot(generator), random_truth(generator, objects=objects)
        moments.append((str(index), grid, [Track(7, CAR, np.array([3.5, 0.2 * index, 0.0]))], truth))
    whole, first, second = (GridMetrics(CITYSCAPES, GROUND) for _ in range(3))
    for index, moment in enumerate(moments):
        whole.update(*moment)  # type: ignore[arg-type]
        (first if index < 2 else second).update(*moment)  # type: ignore[arg-type]
    first.merge(second)
    assert first.result().moments == whole.result().moments
    np.testing.assert_array_equal(first.cells.states, whole.cells.states)
    np.testing.assert_array_equal(first.cells.confusion, whole.cells.confusion)
    np.testing.assert_allclose(first.objects.errors, whole.objects.errors)
    assert first.result().cells.classes.nll == pytest.approx(whole.result().cells.classes.nll)  # type: ignore[union-attr]
    with pytest.raises(EvaluationError, match="twice"):
        whole.merge(second)


def test_a_perfect_grid_and_an_empty_one() -> None:
    generator = np.random.default_rng(4)
    truth = random_truth(generator, (24, 24), (2.0, -3.0))
    table = np.zeros((24, 24, len(CITYSCAPES)), np.float32)
    np.put_along_axis(table, np.maximum(truth.classes, 0).astype(int)[..., None], 1.0, axis=2)
    occupancy = np.where(truth.occupied < 0, np.nan, truth.occupied / 100).astype(np.float32)
    grid = Snapshot(0, "odom", 0.25, (2.0, -3.0), occupancy, truth.occupied, truth.classes, table)
    metrics = GridMetrics(CITYSCAPES, GROUND)
    metrics.update("perfect", grid, (), truth)  # type: ignore[arg-type]
    cells = metrics.result().cells
    assert (cells.coverage, cells.occupied_iou, cells.free_iou, cells.mean_iou, cells.false_free) == (1, 1, 1, 1, 0)
    assert cells.classes is not None
    assert cells.occupancy is not None
    for score in (cells.classes, cells.occupancy):
        assert (score.nll, score.brier, score.ece) == (0, 0, 0)

    unknown = np.full((24, 24), -1)
    nothing = np.full((24, 24), np.nan, np.float32)
    empty = Snapshot(0, "odom", 0.25, (2.0, -3.0), nothing, unknown.astype("i1"), unknown.astype("i2"), table)
    metrics = GridMetrics(CITYSCAPES, GROUND)
    metrics.update("empty", empty, (), truth)  # type: ignore[arg-type]
    cells = metrics.result().cells
    assert (cells.coverage, cells.class_coverage, cells.mean_iou, cells.classes) == (0, 0, None, None)
    assert (cells.occupied_iou, cells.occupancy, cells.macro_accuracy) == (None, None, None)


def test_a_uniform_posterior_has_the_entropy_of_its_classes() -> None:
    """Every class equally probable: NLL ln C, Brier 1 - 1/C, and the error is how often the first is not true."""
    count = len(CITYSCAPES)
    metrics = CellMetrics(CITYSCAPES, GROUND)
    true = np.arange(count, dtype=np.int16)
    metrics.update_posterior(np.full((count, count), 1 / count, np.float32), true)
    score = metrics.result().classes
    assert score is not None
    assert score.cells == count
    assert score.nll == pytest.approx(math.log(count), rel=1e-6)
    assert score.brier == pytest.approx(1 - 1 / count, rel=1e-6)
    assert score.ece == pytest.approx(0, abs=1e-6)  # it is right once in C times, as it says


def test_a_grid_in_another_frame_is_refused() -> None:
    generator = np.random.default_rng(5)
    grid, truth = random_snapshot(generator), random_truth(generator)
    grid.frame = "map"
    with pytest.raises(EvaluationError, match="the grid is in 'map', its truth in 'odom'"):
        GridMetrics(CITYSCAPES, GROUND).update("one", grid, (), truth)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(8))
def test_matching_is_the_best_of_all(seed: int) -> None:
    generator = np.random.default_rng(seed)
    places, truths = (generator.uniform(0, 5, (generator.integers(0, 5), 2)) for _ in range(2))
    best = (0, 0.0)
    for size in range(min(len(places), len(truths)) + 1):
        for rows in itertools.combinations(range(len(places)), size):
            for columns in itertools.permutations(range(len(truths)), size):
                apart = [math.dist(places[r], truths[c]) for r, c in zip(rows, columns, strict=True)]
                if all(one <= 2 for one in apart):
                    best = max(best, (size, -sum(apart)))
    rows, columns = match_centres(places, truths)
    apart = np.linalg.norm(places[rows] - truths[columns], axis=1)
    assert (len(rows), -apart.sum()) == (best[0], pytest.approx(best[1]))
    assert len(set(rows.tolist())) == len(set(columns.tolist())) == len(rows)


def test_errors_of_objects() -> None:
    """A car 0.3 m beside and 0.4 m ahead after its motion is taken into account, turned by 180 - 10 degrees."""
    metrics = ObjectMetrics(CITYSCAPES)
    car = thing(1, CAR, 10.0, 5.0, velocity=np.array([6.0, 1.0]), yaw=0.5)
    track = Track(
        3, CAR, np.array([10.4 - 5.0 * 0.1, 5.3, 0.0]), 0.5 + math.radians(170), (4.5, 1.8, 1.5), (5.0, 0.0), stamp=0
    )
    hidden, lone = thing(2, CAR, 30.0, 0.0, visible=20), thing(3, CAR, 50.0, 0.0)
    over_hidden, wrong = Track(4, CAR, np.array([30.5, 0.0, 0.0])), Track(5, CAR, np.array([-20.0, 0.0, 0.0]))
    person = Track(6, PERSON, np.array([50.0, 0.0, 0.0]))  # another class does not match
    metrics.update(SECOND // 10, [track, over_hidden, wrong, person], [car, hidden, lone])  # type: ignore[list-item]
    result = metrics.result()
    cars = next(one.score for one in result.per_class if one.name == "car")
    assert (cars.truths, cars.objects, cars.matched, cars.recall, cars.precision) == (2, 2, 1, 0.5, 0.5)
    assert cars.centre == pytest.approx(0.5)
    assert (cars.length, cars.width, cars.height) == (pytest.approx(0.5), pytest.approx(0.2), 0)
    assert cars.heading == pytest.approx(10)
    assert cars.velocity == pytest.approx(math.sqrt(2))
    assert (result.all.objects, result.all.truths) == (3, 2)
    assert result.by_visibility

    changed = Track(8, CAR, np.array([10.0, 5.0, 0.0]), stamp=SECOND)
    metrics.update(SECOND, [changed], [car])  # type: ignore[list-item]
    assert metrics.result().all.track_changes == 1


def test_things_count_without_cameras_that_say_what_they_see() -> None:
    metrics = ObjectMetrics(CITYSCAPES)
    metrics.update(0, [], [thing(1, PERSON, 0, 0, visible=None)])
    result = metrics.result()
    assert (result.all.truths, result.all.recall, result.all.centre, result.by_visibility) == (1, 0, None, False)


def test_objects_outside_of_either_window_do_not_count() -> None:
    generator = np.random.default_rng(6)
    grid = random_snapshot(generator)  # 6 m from (2, -3); the truth 7.5 x 5 m from (1, -2.5)
    outside = (thing(1, BUILDING, 1.5, 0.0), thing(2, ROAD, 8.2, 0.0))
    truth = random_truth(generator, objects=(*outside, thing(3, CAR, 5.0, 0.0)))
    metrics = GridMetrics(CITYSCAPES, GROUND)
    metrics.update("one", grid, [Track(1, CAR, np.array([5.0, -2.8, 0.0]))], truth)  # type: ignore[arg-type, list-item]
    score = metrics.result().objects.all
    assert (score.truths, score.objects) == (1, 0)
