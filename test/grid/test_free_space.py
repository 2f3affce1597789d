"""Free space by sectors, against rays that are walked cell by cell."""

from __future__ import annotations

import math

import numpy as np
from grid_cases import seeds
from hypothesis import given, settings
from ray_walk import walk

from panoptic_ros.grid.free_space import free_cells, free_ranges, sectors
from panoptic_ros.grid.window import Window

RESOLUTION, SIZE = 0.25, 80


def world_cells(window: Window, stored: np.ndarray) -> set[tuple[int, int]]:
    """Stored places as columns and rows of the fixed frame."""
    plane = np.zeros((window.size, window.size), dtype=bool)
    plane.ravel()[stored] = True
    rows, columns = np.nonzero(window.unrolled(plane))
    return {(int(c) + window.first[0], int(r) + window.first[1]) for r, c in zip(rows, columns, strict=True)}


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_free_is_what_unobstructed_rays_pass(seed: int) -> None:
    """Every ray ends at a wall: then tracing is right, and sectors must agree with it up to what they keep clear."""
    generator = np.random.default_rng(seed)
    origin = np.array([*generator.uniform(-50, 50, 2), 1.0])
    window = Window(RESOLUTION, SIZE)
    window.move(origin[0], origin[1])
    rays, bins = 1440, 180
    angles = (np.arange(rays) + 0.5) * 2 * math.pi / rays - math.pi
    corners = generator.uniform(2, 9, 12)
    wall = np.interp(angles, np.linspace(-math.pi, math.pi, 13), np.append(corners, corners[0]))
    points = np.stack([wall * np.cos(angles), wall * np.sin(angles), np.zeros(rays)], axis=1).astype(np.float32)
    ranges, _ = free_ranges(points, np.ones(rays, dtype=bool), np.ones(rays, dtype=np.float32), RESOLUTION, bins, 0)
    free = world_cells(window, free_cells(window, origin, ranges)[0])

    passed: set[tuple[int, int]] = set()
    for angle, length in zip(angles, wall, strict=True):
        passed.update(walk(origin[0], origin[1], angle, length - RESOLUTION, RESOLUTION))
    assert free <= passed
    least = wall.reshape(bins, -1).min(axis=1)
    kept = math.hypot(RESOLUTION, RESOLUTION) + RESOLUTION
    for column, row in passed - free:
        x, y = (column + 0.5) * RESOLUTION - origin[0], (row + 0.5) * RESOLUTION - origin[1]
        sector = int((math.atan2(y, x) + math.pi) / (2 * math.pi) * bins) % bins
        assert math.hypot(x, y) > least[sector] - kept


@settings(max_examples=50, deadline=None)
@given(seeds)
def test_nothing_is_free_behind_the_first_obstacle_of_its_sector(seed: int) -> None:
    generator = np.random.default_rng(seed)
    window, bins = Window(RESOLUTION, 40), 36
    origin = np.array([*generator.uniform(-1, 1, 2), 1.0])
    points = generator.normal(0, 4, (60, 3)).astype(np.float32)
    obstacle = generator.random(60) < 0.3
    ranges, _ = free_ranges(points, obstacle, np.ones(60, dtype=np.float32), RESOLUTION, bins, 0)
    free = world_cells(window, free_cells(window, origin, ranges)[0])
    of_point = sectors(points[:, 0], points[:, 1], bins)
    for column, row in free:
        x, y = (column + 0.5) * RESOLUTION - origin[0], (row + 0.5) * RESOLUTION - origin[1]
        here = of_point == sectors(np.float32([x]), np.float32([y]), bins)[0]
        distances = np.hypot(points[here, 0], points[here, 1])
        assert math.hypot(x, y) < distances[obstacle[here]].min(initial=math.inf) - RESOLUTION + 1e-4
        assert math.hypot(x, y) < distances.max() - RESOLUTION + 1e-4


def test_beams_that_pass_above_a_car_do_not_erase_it() -> None:
    """Walking each ray frees cells of the car that lower rays have met; sectors free none of them."""
    window = Window(RESOLUTION, SIZE)
    origin, bins = np.array([0.0, 0.0, 2.0]), 360
    points, obstacle, tracks = [], [], []
    for angle in (np.arange(720) + 0.5) * math.pi / 360 - math.pi:
        for depression in np.radians([4, 6, 8, 10, 12, 15, 20, 25]):
            length = 2.0 / math.tan(depression)
            # A car of 1.5 m: its near side at x = 5, its far one at x = 9.
            entry = 5.0 / math.cos(angle) if math.cos(angle) > 0 else math.inf
            on_car = abs(entry * math.sin(angle)) < 1 and 2.0 - entry * math.tan(depression) < 1.5
            top = 0.5 / math.tan(depression)
            if not on_car and entry < top < 9.0 / math.cos(angle) and abs(top * math.sin(angle)) < 1:
                on_car, entry = True, top
            met = on_car and entry < length
            reach = entry if met else length
            points.append((reach * math.cos(angle), reach * math.sin(angle), 0.0))
            obstacle.append(met)
            tracks.append((angle, reach))
    array, standing = np.array(points, dtype=np.float32), np.array(obstacle)
    ranges, _ = free_ranges(array, standing, np.ones(len(array), dtype=np.float32), RESOLUTION, bins, 0)
    free = world_cells(window, free_cells(window, origin, ranges)[0])
    car = {(math.floor(x / RESOLUTION), math.floor(y / RESOLUTION)) for x, y, _ in array[standing].tolist()}
    traced: set[tuple[int, int]] = set()
    for angle, length in tracks:
        traced.update(walk(0.0, 0.0, angle, length - RESOLUTION, RESOLUTION))
    assert len(car & traced) >= 8  # its near side is 2 m wide
    assert not car & free
    assert len(free) > 1000


def test_no_return_is_not_free() -> None:
    window = Window(RESOLUTION, 40)
    points = np.array([[4.0, 0.1, 0.0]], dtype=np.float32)  # in one of eight sectors
    ranges, _ = free_ranges(points, np.zeros(1, dtype=bool), np.ones(1, dtype=np.float32), RESOLUTION, 8, 1)
    assert np.count_nonzero(ranges) == 1
    free = world_cells(window, free_cells(window, np.zeros(3), ranges)[0])
    assert free
    assert all(0 <= math.atan2(row + 0.5, column + 0.5) <= math.pi / 4 for column, row in free)


@settings(max_examples=100, deadline=None)
@given(seeds)
def test_narrow_gaps_between_rays_are_bridged(seed: int) -> None:
    """Against a walk to either side of each empty sector, around the circle."""
    generator = np.random.default_rng(seed)
    count, bridged = 24, int(generator.integers(0, 4))
    points = generator.normal(0, 4, (int(generator.integers(1, 30)), 3)).astype(np.float32)
    obstacle = generator.random(len(points)) < 0.3
    weights = generator.choice([0.25, 0.5, 1.0], len(points)).astype(np.float32)
    bare, sure = free_ranges(points, obstacle, weights, RESOLUTION, count, 0)
    found, certainty = free_ranges(points, obstacle, weights, RESOLUTION, count, bridged)
    returned = set(sectors(points[:, 0], points[:, 1], count).tolist())
    for sector in range(count):
        expected, surely = float(bare[sector]), 0.0
        if sector in returned:
            surely = min(weights[sectors(points[:, 0], points[:, 1], count) == sector])
        elif len(returned) > 1:
            right = next(k for k in range(1, count) if (sector + k) % count in returned)
            left = next(k for k in range(1, count) if (sector - k) % count in returned)
            if left + right - 1 <= bridged:
                beside = [(sector + right) % count, (sector - left) % count]
                expected, surely = float(min(bare[beside])), min(sure[beside])
        assert found[sector] == np.float32(expected)
        assert certainty[sector] == surely


def test_the_sectors_are_counted_around() -> None:
    angles = np.linspace(-math.pi, math.pi, 1001)
    expected = np.minimum((angles + math.pi) / (2 * math.pi) * 10, 9.9999).astype(int)
    found = sectors(np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32), 10)
    near_border = np.abs((angles + math.pi) / (2 * math.pi) * 10 % 1 - 0.5) > 0.499
    assert np.array_equal(found[~near_border], expected[~near_border])
    assert found.min() == 0
    assert found.max() == 9
