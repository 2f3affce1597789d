"""The window: where points are stored, and what a move leaves and clears."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptic_ros.grid.window import Window

positions = st.floats(-1e5, 1e5)


def test_a_cell_is_the_floor_of_the_position_whatever_the_window_did() -> None:
    window = Window(0.5, 8)
    generator = np.random.default_rng(0)
    for x, y in [(0.0, 0.0), (0.6, -3.2), (-11.0, 4.0), (1000.0, -1000.0)]:
        window.move(x, y)
        points = generator.uniform(-3, 3, (200, 3)).astype(np.float32)
        origin = np.array([x + 0.13, y - 0.21, 0.0])
        inside, cells = window.cells(origin, points)
        expected = {}
        for index, point in enumerate(points.astype(np.float64) + origin):
            column, row = math.floor(point[0] / 0.5), math.floor(point[1] / 0.5)
            if 0 <= column - window.first[0] < 8 and 0 <= row - window.first[1] < 8:
                expected[index] = (row % 8) * 8 + column % 8
        assert dict(zip(inside.tolist(), cells.tolist(), strict=True)) == expected
        assert len(expected) > 50


@given(positions, positions, st.integers(-30, 30), st.integers(-30, 30))
def test_a_move_names_just_the_cells_that_enter(x: float, y: float, dx: int, dy: int) -> None:
    window = Window(0.5, 10)
    window.move(x, y)
    before = {(window.first[0] + i, window.first[1] + j) for i in range(10) for j in range(10)}
    columns, rows = window.move((window.first[0] + 5 + dx + 0.5) * 0.5, (window.first[1] + 5 + dy + 0.5) * 0.5)
    after = {(window.first[0] + i, window.first[1] + j) for i in range(10) for j in range(10)}
    named = {(c, r) for c, r in after if c % 10 in columns or r % 10 in rows}
    assert named == after - before


@given(positions, positions)
def test_the_position_is_in_the_middle(x: float, y: float) -> None:
    window = Window(0.2, 6)
    window.move(x, y)
    for position, corner in zip((x, y), window.origin, strict=True):
        assert corner + 3 * 0.2 - 1e-6 <= position <= corner + 4 * 0.2 + 1e-6


def test_far_from_the_origin_of_the_frame_points_keep_their_cells() -> None:
    """In float32 a position of 10⁷ m is a metre coarse; the anchor keeps the points exact."""
    window = Window(0.1, 20)
    window.move(1e7, -1e7)
    points = np.array([[0.05 + 0.1 * i, 0.05, 0] for i in range(-9, 9)], dtype=np.float32)
    origin = np.array([1e7, -1e7, 0.0])
    _, cells = window.cells(origin, points)
    stored = np.zeros((20, 20), dtype=np.int32)
    stored.ravel()[cells] = np.arange(1, 19)
    unrolled = window.unrolled(stored)
    row = unrolled[unrolled.any(axis=1)]
    assert row.shape == (1, 20)
    assert row[0, row[0] > 0].tolist() == list(range(1, 19))


def test_unrolled_and_centres_are_in_the_order_of_the_world() -> None:
    window = Window(0.5, 6)
    window.move(3.3, -7.1)
    origin = np.array([1.0, 2.0, 0.0])
    x, y = window.centres(origin)
    along, across = np.broadcast_to(x, (6, 6)), np.broadcast_to(y[:, None], (6, 6))
    expected_x = window.origin[0] + (np.arange(6) + 0.5) * 0.5 - 1.0
    expected_y = window.origin[1] + (np.arange(6) + 0.5) * 0.5 - 2.0
    np.testing.assert_allclose(window.unrolled(along), np.tile(expected_x, (6, 1)), atol=1e-5)
    np.testing.assert_allclose(window.unrolled(across), np.tile(expected_y[:, None], (1, 6)), atol=1e-5)


@pytest.mark.parametrize("position", [(math.nan, 0.0), (0.0, math.inf)])
def test_it_does_not_move_to_nowhere(position: tuple[float, float]) -> None:
    window = Window(0.5, 6)
    with pytest.raises(ValueError, match="cannot move"):
        window.move(*position)
    assert window.first == (-3, -3)
