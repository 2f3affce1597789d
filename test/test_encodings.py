"""Encodings against per-pixel transcriptions of what their specifications say, and every way an image can be bad."""

from __future__ import annotations

import struct
import sys
import types
import zlib
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from panoptic_ros import encodings
from panoptic_ros.encodings import ENCODINGS, MAX_SIDE, ImageError, check, decompress, to_bgr

HEIGHT, WIDTH = 6, 8


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """(6, 8, 3) BGR noise."""
    return rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def _smooth(height: int, width: int) -> NDArray[np.uint8]:
    """A coloured gradient that survives JPEG and interpolation."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    return np.stack((40 + 2 * x, 200 - 1.5 * y, 60 + x + y), axis=2).clip(0, 255).astype(np.uint8)


ORDERS = {
    "bgr8": "bgr",
    "8UC3": "bgr",
    "rgb8": "rgb",
    "bgra8": "bgra",
    "8UC4": "bgra",
    "rgba8": "rgba",
    "bgr16": "bgr",
    "rgb16": "rgb",
    "bgra16": "bgra",
    "rgba16": "rgba",
}


@pytest.mark.parametrize("encoding", ORDERS)
@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("big", [False, True])
def test_colors_by_their_order(encoding: str, padding: int, big: bool, picture: NDArray[np.uint8]) -> None:
    wide = encoding.endswith("16")
    data = bytearray()
    for row in picture:
        for pixel in row:
            for channel in ORDERS[encoding]:
                value = 99 if channel == "a" else int(pixel["bgr".index(channel)])
                data += (value * 257).to_bytes(2, "big" if big else "little") if wide else bytes((value,))
        data += b"\xee" * padding
    frame = to_bgr(bytes(data), HEIGHT, WIDTH, encoding, len(data) // HEIGHT, big)
    assert frame.dtype == np.uint8
    np.testing.assert_array_equal(frame, picture)


@pytest.mark.parametrize(
    "kind", [bytes, bytearray, lambda data: array("B", data), lambda data: np.frombuffer(data, "u1")]
)
def test_bgr8_is_a_view_of_any_buffer(kind: Callable[[bytes], object], picture: NDArray[np.uint8]) -> None:
    data = kind(picture.tobytes())
    frame = to_bgr(data, HEIGHT, WIDTH, "bgr8", WIDTH * 3, False)
    np.testing.assert_array_equal(frame, picture)
    assert np.shares_memory(frame, np.frombuffer(data, dtype=np.uint8))  # type: ignore[call-overload]


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_mono8(rng: np.random.Generator, encoding: str) -> None:
    gray = rng.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
    frame = to_bgr(gray.tobytes(), HEIGHT, WIDTH, encoding, WIDTH, False)
    np.testing.assert_array_equal(frame, np.stack((gray,) * 3, axis=2))


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("padding", [0, 3])
def test_mono16_keeps_its_scale_as_cv_bridge_does(big: bool, padding: int) -> None:
    gray = np.array([[0, 128, 129, 256, 257], [30000, 32767, 32768, 65534, 65535]], dtype=np.uint16)
    rows = [row.astype(">u2" if big else "<u2").tobytes() + b"\xee" * padding for row in gray]
    frame = to_bgr(b"".join(rows), 2, 5, "mono16", 10 + padding, big)
    for y, x in np.ndindex(2, 5):
        assert frame[y, x].tolist() == [round(int(gray[y, x]) * 255 / 65535)] * 3


@pytest.mark.parametrize("big", [False, True])
def test_16uc1_is_stretched_over_the_frame(rng: np.random.Generator, big: bool) -> None:
    depth = rng.integers(500, 4000, (HEIGHT, WIDTH), dtype=np.uint16)
    frame = to_bgr(depth.astype(">u2" if big else "<u2").tobytes(), HEIGHT, WIDTH, "16UC1", WIDTH * 2, big)
    low, high = int(depth.min()), int(depth.max())
    for y, x in np.ndindex(HEIGHT, WIDTH):
        expected = (int(depth[y, x]) - low) * 255 / (high - low)
        assert frame[y, x, 0] == pytest.approx(expected, abs=0.51)
    assert frame.min() == 0
    assert frame.max() == 255


def test_16uc1_of_one_value_is_black() -> None:
    depth = np.full((HEIGHT, WIDTH), 1234, dtype=np.uint16)
    assert not to_bgr(depth.tobytes(), HEIGHT, WIDTH, "16UC1", WIDTH * 2, False).any()


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("big", [False, True])
def test_bayer_names_the_first_two_rows(pattern: str, depth: int, big: bool) -> None:
    """A mosaic laid out letter by letter: `pattern` is the first row's two pixels, then the second row's."""
    truth = _smooth(10, 12)
    data = bytearray()
    for y, x in np.ndindex(10, 12):
        value = int(truth[y, x, "bgr".index(pattern[2 * (y % 2) + x % 2])])
        data += bytes((value,)) if depth == 8 else (value * 257).to_bytes(2, "big" if big else "little")
    frame = to_bgr(bytes(data), 10, 12, f"bayer_{pattern}{depth}", 12 * depth // 8, big)
    # Away from the border, interpolation of a gradient is exact up to rounding; a swapped pattern is off by tens.
    assert np.abs(frame[1:-1, 1:-1].astype(int) - truth[1:-1, 1:-1]).max() <= 2


def _bt601(y: int, u: int, v: int) -> list[float]:
    """ITU-R BT.601 with head and foot room, as BGR."""
    luma = 1.164 * (y - 16)
    return [luma + 2.018 * (u - 128), luma - 0.813 * (v - 128) - 0.391 * (u - 128), luma + 1.596 * (v - 128)]


@pytest.mark.parametrize(
    ("encoding", "order"), [("yuv422", "uyvy"), ("uyvy", "uyvy"), ("yuv422_yuy2", "yuyv"), ("yuyv", "yuyv")]
)
@pytest.mark.parametrize("padding", [0, 6])
def test_yuv422(rng: np.random.Generator, encoding: str, order: str, padding: int) -> None:
    luma = rng.integers(80, 180, (HEIGHT, WIDTH))
    chroma = rng.integers(100, 156, (HEIGHT, WIDTH // 2, 2))
    data = bytearray()
    for y in range(HEIGHT):
        for pair in range(WIDTH // 2):
            brightness = iter(luma[y, 2 * pair : 2 * pair + 2])
            for letter in order:
                data.append(int(next(brightness) if letter == "y" else chroma[y, pair, "uv".index(letter)]))
        data += b"\xee" * padding
    frame = to_bgr(bytes(data), HEIGHT, WIDTH, encoding, WIDTH * 2 + padding, False)
    for y, x in np.ndindex(HEIGHT, WIDTH):
        assert frame[y, x] == pytest.approx(_bt601(int(luma[y, x]), *map(int, chroma[y, x // 2])), abs=1.5)


@pytest.mark.parametrize(("encoding", "order"), [("nv12", "uv"), ("nv21", "vu")])
@pytest.mark.parametrize("padding", [0, 4])
def test_nv12_and_nv21(rng: np.random.Generator, encoding: str, order: str, padding: int) -> None:
    luma = rng.integers(80, 180, (HEIGHT, WIDTH))
    chroma = rng.integers(100, 156, (HEIGHT // 2, WIDTH // 2, 2))
    gap = b"\xee" * padding
    data = b"".join(bytes(row.tolist()) + gap for row in luma)
    for row in chroma:
        data += bytes(int(pixel["uv".index(letter)]) for pixel in row for letter in order) + gap
    frame = to_bgr(data, HEIGHT, WIDTH, encoding, WIDTH + padding, False)
    for y, x in np.ndindex(HEIGHT, WIDTH):
        assert frame[y, x] == pytest.approx(_bt601(int(luma[y, x]), *map(int, chroma[y // 2, x // 2])), abs=1.5)


def test_every_encoding_has_a_test_above() -> None:
    ours = {*ORDERS, "mono8", "8UC1", "mono16", "16UC1", "yuv422", "uyvy", "yuv422_yuy2", "yuyv", "nv12", "nv21"}
    ours |= {f"bayer_{pattern}{depth}" for pattern in ("rggb", "bggr", "gbrg", "grbg") for depth in (8, 16)}
    assert set(ENCODINGS) == ours


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"height": 0}, "8x0"),
        ({"width": 0}, "0x6"),
        ({"height": MAX_SIDE + 1}, f"1 to {MAX_SIDE}"),
        ({"width": 2**32 - 1, "step": 2**32 - 1}, "4294967295x6"),
        ({"step": 23}, "step is 23 bytes, expected at least 24"),
        ({"step": 0}, "step is 0 bytes"),
        ({"step": 25}, "data has 144 bytes, expected 150"),
        ({"data": b""}, "data has 0 bytes, expected 144"),
        ({"data": bytes(143)}, "data has 143 bytes, expected 144"),
        ({"encoding": "bgr7"}, "'bgr7' is not supported, expected one of .*bayer_bggr16.*yuyv"),
        ({"encoding": ""}, "encoding '' is not supported"),
        ({"encoding": "yuv422", "width": 7}, "7x6, expected multiples of 2 and 1 for yuv422"),
        ({"encoding": "nv12", "height": 5}, "8x5, expected multiples of 2 and 2 for nv12"),
        ({"encoding": "nv21", "step": 24, "data": bytes(24 * 8)}, "data has 192 bytes, expected 216"),
        ({"encoding": "bayer_rggb8", "height": 2}, "8x2 image is too small"),
    ],
)
def test_bad_images_say_what_was_expected(change: dict[str, object], said: str) -> None:
    good = {"data": bytes(144), "height": 6, "width": 8, "encoding": "bgr8", "step": 24, "is_bigendian": False}
    to_bgr(**good)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match=said):
        to_bgr(**{**good, **change})  # type: ignore[arg-type]


@pytest.fixture
def bridge(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """A cv_bridge module that knows the encoding ``inverted`` and fails on any other."""

    class CvBridge:
        def imgmsg_to_cv2(self, message: types.SimpleNamespace, desired: str) -> NDArray[np.uint8]:
            assert desired == "bgr8"
            if message.encoding != "inverted":
                raise KeyError(message.encoding)
            return 255 - np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)[
                :, : message.width * 3
            ].reshape(message.height, message.width, 3)

    module = types.ModuleType("cv_bridge")
    module.CvBridge = CvBridge  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cv_bridge", module)
    encodings._cv_bridge.cache_clear()
    yield module
    encodings._cv_bridge.cache_clear()


@pytest.mark.usefixtures("bridge")
def test_cv_bridge_reads_what_we_do_not(picture: NDArray[np.uint8]) -> None:
    frame = to_bgr(picture.tobytes(), HEIGHT, WIDTH, "inverted", WIDTH * 3, False)
    np.testing.assert_array_equal(frame, 255 - picture)
    with pytest.raises(ImageError, match="cv_bridge cannot read encoding 'unheard'"):
        to_bgr(picture.tobytes(), HEIGHT, WIDTH, "unheard", WIDTH * 3, False)
    with pytest.raises(ImageError, match="data has 10 bytes"):
        to_bgr(bytes(10), HEIGHT, WIDTH, "inverted", WIDTH * 3, False)


def test_a_broken_cv_bridge_is_as_none(bridge: types.ModuleType) -> None:
    def fail() -> None:
        raise KeyError(16)  # what cv_bridge does with OpenCV 5

    bridge.CvBridge = fail  # type: ignore[attr-defined]
    with pytest.raises(ImageError, match="not supported"):
        to_bgr(bytes(144), HEIGHT, WIDTH, "inverted", WIDTH * 3, False)


JPEG = "bgr8; jpeg compressed bgr8"


def _bare_png(width: int, height: int) -> bytes:
    """A PNG without pixels."""
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IEND")
    packed = (struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def _encode(suffix: str, picture: NDArray[np.uint8] | NDArray[np.uint16], *options: int) -> bytes:
    return cv2.imencode(suffix, picture, options)[1].tobytes()


@pytest.mark.parametrize("format_", ["jpeg", "jpg", JPEG, "rgb8; jpeg compressed bgr8", ""])
@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)])
def test_jpeg(format_: str, options: tuple[int, ...]) -> None:
    picture = _smooth(48, 64)
    frame = decompress(_encode(".jpg", picture, *options), format_)
    assert np.abs(frame.astype(int) - picture).max() < 12


@pytest.mark.parametrize("format_", ["png", "rgb8; png compressed ", "bgr8; png compressed bgr8"])
def test_png_is_exact(format_: str, picture: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(decompress(array("B", _encode(".png", picture)), format_), picture)


def test_png_with_transparency_and_gray(picture: NDArray[np.uint8]) -> None:
    with_alpha = np.dstack((picture, np.full((HEIGHT, WIDTH), 128, np.uint8)))
    np.testing.assert_array_equal(decompress(_encode(".png", with_alpha), "bgra8; png compressed bgra8"), picture)
    gray = picture[:, :, 0]
    np.testing.assert_array_equal(decompress(_encode(".png", gray), "mono8; png compressed "), np.dstack((gray,) * 3))


def test_png_of_sixteen_bits_is_scaled_as_the_raw_image(rng: np.random.Generator) -> None:
    gray = rng.integers(0, 65536, (HEIGHT, WIDTH), dtype=np.uint16)
    for encoding in ("mono16", "16UC1"):
        raw = to_bgr(gray.tobytes(), HEIGHT, WIDTH, encoding, WIDTH * 2, sys.byteorder == "big")
        np.testing.assert_array_equal(decompress(_encode(".png", gray), f"{encoding}; png compressed "), raw)


def test_a_rotation_in_exif_is_not_followed() -> None:
    picture = _smooth(16, 32)
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # orientation 6: a quarter turn
    plain = _encode(".jpg", picture)
    turned = plain[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + plain[2:]
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR).shape == (32, 16, 3)  # the tag is understood
    assert decompress(turned, "jpeg").shape == (16, 32, 3)


def test_a_jpeg_may_be_followed_by_padding_and_hold_a_thumbnail() -> None:
    plain = _encode(".jpg", _smooth(16, 32))
    thumbnail = b"\xff\xd8thumb\xff\xd9"
    full = plain[:2] + b"\xff\xe2" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail + plain[2:]
    assert decompress(full + bytes(100), "jpeg").shape == (16, 32, 3)
    with pytest.raises(ImageError, match="its end is missing"):
        decompress(full[:-20], "jpeg")  # the thumbnail's end is not the image's


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_no_truncation_goes_unnoticed(rng: np.random.Generator, suffix: str) -> None:
    content = _encode(suffix, rng.integers(0, 256, (24, 24, 3), dtype=np.uint8))
    for length in range(0, len(content), 37):
        with pytest.raises(ImageError):
            decompress(content[:length], "x")


@pytest.mark.parametrize(
    ("content", "format_", "said"),
    [
        (b"", "jpeg", "0 bytes with format 'jpeg' are neither JPEG nor PNG"),
        (b"hello", "h264", "5 bytes with format 'h264' are neither"),
        (_encode(".png", np.zeros((4, 4), np.uint16)), "16UC1; compressedDepth png", "is a depth image"),
        (b"\xff\xd8" + bytes(100), JPEG, "truncated or corrupt JPEG of 102 bytes"),
        (b"\xff\xd8\xff\xff\xff\xff", JPEG, "truncated or corrupt JPEG of 6 bytes"),
        (_bare_png(65535, 70000), "png", "65535x70000, expected 1 to 16384"),
        (_bare_png(0, 5), "png", "0x5, expected 1 to"),
        (_bare_png(8, 5), "png", "corrupt PNG of 45 bytes"),
        (_bare_png(8, 5)[:-1], "png", "PNG of 44 bytes: the chunk at byte 33 is broken"),
        (_bare_png(8, 5)[:-1] + b"?", "png", "PNG of 45 bytes: the chunk at byte 33 is broken"),
        (b"\x89PNG\r\n\x1a\n", "png", "PNG of 8 bytes: the chunk at byte 8 is broken"),
    ],
)
def test_bad_compressed_images(content: bytes, format_: str, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        decompress(content, format_)


@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)])
def test_a_jpeg_of_a_corrupt_size_costs_no_time(options: tuple[int, ...]) -> None:
    plain = _encode(".jpg", _smooth(16, 32), *options)
    place = plain.find((16).to_bytes(2, "big") + (32).to_bytes(2, "big"))
    with pytest.raises(ImageError, match=rf"{len(plain)} bytes cannot hold 16000x16000 pixels"):
        decompress(plain[:place] + 2 * (16000).to_bytes(2, "big") + plain[place + 4 :], "jpeg")
    flat = np.zeros((4000, 4000), np.uint8)  # the smallest there is for its size is still read
    assert decompress(_encode(".jpg", flat, *options, cv2.IMWRITE_JPEG_OPTIMIZE, 1), "jpeg").shape == (4000, 4000, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_flipped_bytes_raise_nothing_else(suffix: str, rng: np.random.Generator) -> None:
    content = _encode(suffix, rng.integers(0, 256, (24, 24, 3), dtype=np.uint8))
    for _ in range(200):
        broken = bytearray(content)
        for place in rng.integers(0, len(content), 4):
            broken[place] = rng.integers(0, 256)
        try:
            frame = decompress(bytes(broken), "x")
        except ImageError:
            continue
        assert frame.dtype == np.uint8
        assert frame.ndim == 3


def test_a_corrupt_png_is_refused(rng: np.random.Generator) -> None:
    content = bytearray(_encode(".png", rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)))
    content[len(content) // 2] ^= 0xFF
    with pytest.raises(ImageError, match=r"corrupt PNG of \d+ bytes: the chunk at byte 33 is broken"):
        decompress(bytes(content), "png")


def test_a_real_camera_image(shared_data: Path) -> None:
    content = (shared_data / "udacity_vehicle_video" / "test_images" / "test1.jpg").read_bytes()
    frame = decompress(content, "jpeg")
    np.testing.assert_array_equal(frame, cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR))
    assert frame.shape == (720, 1280, 3)


@settings(max_examples=300, deadline=None)
@given(
    height=st.integers(-1, 6),
    width=st.integers(-1, 9),
    encoding=st.sampled_from([*ENCODINGS, "no_such"]),
    step=st.integers(0, 60),
    length=st.integers(0, 300),
)
def test_the_check_without_looking_says_what_reading_says(
    height: int, width: int, encoding: str, step: int, length: int
) -> None:
    def told(call: Callable[[], object]) -> str:
        try:
            call()
        except ImageError as error:
            return str(error)
        return ""

    said = told(lambda: to_bgr(bytes(length), height, width, encoding, step, False))
    assert told(lambda: check(length, height, width, encoding, step)) == said
