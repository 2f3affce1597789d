"""Ids as colours, against the formula of panopticapi."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from panoptic_ros.datasets import DatasetError
from panoptic_ros.datasets.panoptic_png import bgr_of_ids, ids_of_rgb, read_panoptic_png

RGB = st.tuples(st.integers(1, 6), st.integers(1, 6)).flatmap(lambda size: hnp.arrays(np.uint8, (*size, 3)))


@given(RGB)
def test_ids_are_r_256_g_65536_b(rgb: np.ndarray) -> None:
    red, green, blue = (rgb[..., channel].astype(int) for channel in range(3))
    ids = ids_of_rgb(rgb)
    assert ids.dtype == np.int32
    np.testing.assert_array_equal(ids, red + 256 * green + 65536 * blue)
    np.testing.assert_array_equal(bgr_of_ids(ids), rgb[..., ::-1])


@pytest.mark.parametrize("kind", [np.int32, np.int64, np.uint16, np.uint32])
def test_colours_of_ids_of_any_type_and_order(kind: type) -> None:
    ids = np.asfortranarray(np.array([[0, 1, 256], [300, 26001, 65535]], kind))
    np.testing.assert_array_equal(ids_of_rgb(np.ascontiguousarray(bgr_of_ids(ids)[..., ::-1])), ids)


@pytest.mark.parametrize("bad", [-1, 1 << 24])
def test_an_id_of_more_than_24_bits_is_refused(bad: int) -> None:
    with pytest.raises(ValueError, match=str(bad)):
        bgr_of_ids(np.array([[0, bad]]))


def test_what_opencv_writes_pillow_reads(tmp_path: Path) -> None:
    """The trap of B, G, R: an id whose bytes differ comes out the same through the file."""
    ids = np.array([[1, 256, 65536, 0x030201]], np.int32)
    path = tmp_path / "ids.png"
    assert cv2.imwrite(str(path), bgr_of_ids(ids))
    with Image.open(path) as image:
        assert image.getpixel((3, 0)) == (1, 2, 3)
    np.testing.assert_array_equal(read_panoptic_png(path), ids)


def test_an_image_without_three_channels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gray.png"
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(path)
    with pytest.raises(DatasetError, match=r"gray.png: is an image of mode L, expected R, G, B of 8 bits"):
        read_panoptic_png(path)


@pytest.mark.parametrize("kept", [0, 5, 60, -20])
def test_a_truncated_file_is_refused(tmp_path: Path, kept: int) -> None:
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 30, 3), dtype=np.uint8)).save(content, "png")
    path = tmp_path / "cut.png"
    path.write_bytes(content.getvalue()[:kept])
    with pytest.raises(DatasetError, match=r"cut.png: is no whole image"):
        read_panoptic_png(path)
