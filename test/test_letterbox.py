"""Where a frame lies in a network's input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptic_ros.letterbox import ALIGNMENT, FILL, Letterbox


def test_a_720p_frame_in_a_640x384_input() -> None:
    box = Letterbox.fit(720, 1280, 384, 640)
    assert box == Letterbox(720, 1280, height=360, width=640, top=8, left=0)
    assert box.scale_x == box.scale_y == 0.5


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 40), st.integers(1, 40))
def test_it_fits_aligned_and_in_proportion(height: int, width: int, rows: int, columns: int) -> None:
    box = Letterbox.fit(height, width, rows * 32, columns * 32)
    assert 0 <= box.top <= box.top + box.height <= rows * 32
    assert 0 <= box.left <= box.left + box.width <= columns * 32
    assert all(value % ALIGNMENT == 0 for value in (box.top, box.left, box.height, box.width))
    assert box.height == rows * 32 or box.width == columns * 32
    scale = min(rows * 32 / height, columns * 32 / width)
    assert abs(box.height - height * scale) <= ALIGNMENT
    assert abs(box.width - width * scale) <= ALIGNMENT


def test_drawing_puts_the_frame_where_it_says_and_fills_the_rest() -> None:
    frame = np.zeros((100, 50, 3), dtype=np.uint8)
    frame[:50, :, 2] = 255
    canvas = np.full((64, 96, 3), 7, dtype=np.uint8)
    box = Letterbox.fit(100, 50, 64, 96)
    box.draw(frame, canvas)
    inside = np.zeros((64, 96), dtype=bool)
    inside[box.top : box.top + box.height, box.left : box.left + box.width] = True
    assert (canvas[~inside] == FILL).all()
    drawn = canvas[inside].reshape(box.height, box.width, 3)
    assert (drawn[: box.height // 2 - 1] == (0, 0, 255)).all()
    assert (drawn[box.height // 2 + 1 :] == 0).all()


@pytest.mark.parametrize("sizes", [(0, 5, 32, 32), (5, 0, 32, 32), (5, 5, 0, 32), (5, 5, 32, 33)])
def test_impossible_sizes_are_refused(sizes: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="must"):
        Letterbox.fit(*sizes)
