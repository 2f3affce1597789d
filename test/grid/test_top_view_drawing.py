"""The picture of a grid: each cell where a map has it, in the colour of what is there."""

from __future__ import annotations

import numpy as np
import pytest
from grid_boxes import LABELS
from grid_pictures import snapshot, tracked

from panoptic_ros.grid.drawing import FREE, OCCUPIED, UNKNOWN, TopViewPainter


def test_each_cell_has_its_colour_and_place() -> None:
    grid = snapshot(16)
    picture = TopViewPainter(LABELS, 320)(grid)
    assert picture.shape == (320, 320, 3)
    for row in range(16):
        for column in range(16):
            if row < 2 and column < 5:
                continue  # the scale is written there
            pixel = picture[320 - 20 * row - 10, 20 * column + 10].tolist()
            occupied, index = grid.occupied[row, column], grid.classes[row, column]
            if occupied < 0:
                expected = list(UNKNOWN)
            elif index < 0:
                expected = list(OCCUPIED if occupied else FREE)
            else:
                color = LABELS.labels[index].color[::-1]
                expected = list(color) if occupied else [round(0.45 * channel + 0.55 * 255) for channel in color]
            assert pixel == pytest.approx(expected, abs=1), (row, column)


def test_an_object_is_drawn_around_its_place_and_nowhere_else() -> None:
    empty = snapshot(40, 0.5, (0.0, 0.0), occupied=np.full((40, 40), -1, np.int8))
    painter = TopViewPainter(LABELS, 400)
    box = tracked(centre=np.array([5.0, 15.0, 1.0]), yaw=0.0, extent=(4.0, 2.0, 1.5), velocity=np.zeros(2))
    changed = (painter(empty, [box]) != painter(empty)).any(axis=2)
    rows, columns = changed[:, :144].nonzero()  # right of it stands its name
    assert (columns.min(), rows.min(), rows.max()) == pytest.approx((60, 80, 120), abs=4)
    assert changed[100, 110:138].all()  # the line from its middle to its front
    assert not changed[100, 64:96].any()
    moved = (painter(empty, [box], np.array([15.0, 5.0, 0.0])) != painter(empty, [box])).any(axis=2)
    rows, columns = moved.nonzero()
    assert (rows.mean(), columns.mean()) == pytest.approx((300, 300), abs=2)


def test_an_object_far_outside_is_no_trouble() -> None:
    grid = snapshot()
    assert TopViewPainter(LABELS, 100)(grid, [tracked(centre=np.array([1e7, -1e7, 0]))]).shape == (104, 104, 3)


def test_no_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="pixels must be at least 1, got 0"):
        TopViewPainter(LABELS, 0)
