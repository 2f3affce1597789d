"""Frames of a benchmark, read and drawn."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from panoptic_ros.benchmarking.frames import MOST_FRAMES, drawn_street, read_frames, to_jpeg
from panoptic_ros.encodings import decompress
from panoptic_ros.frames import SourceError


def test_the_drawn_street_is_a_picture_and_always_the_same() -> None:
    street = drawn_street()
    assert street.shape == (720, 1280, 3)
    assert street.dtype == np.uint8
    assert (street == drawn_street()).all()
    assert drawn_street(640, 384).shape == (384, 640, 3)
    # As hard to compress as pictures are: photographs take 1 to 4 bits a pixel at this quality.
    assert 1 < 8 * len(to_jpeg(street)) / (720 * 1280) < 4
    assert np.abs(decompress(to_jpeg(street), "jpeg").astype(int) - street).mean() < 4


def test_frames_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    for index in range(MOST_FRAMES + 3):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((4, 6, 3), index, dtype=np.uint8))
    (tmp_path / "1.png").write_bytes(b"no picture")
    frames = read_frames(tmp_path)
    assert [int(frame[0, 0, 0]) for frame in frames] == [0, *range(2, MOST_FRAMES + 1)]


def test_no_frame_at_all_is_an_error_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=rf"{tmp_path}.*1\.png"):
        read_frames(tmp_path)
