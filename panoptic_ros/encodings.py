"""The bytes of a ``sensor_msgs/Image`` or ``CompressedImage`` become a BGR frame; no ROS inside.

The encodings are those of ``sensor_msgs/image_encodings.hpp`` (Jazzy).  Sixteen bits become eight by 255/65535 with
rounding, as cv_bridge does it.  Where the header says less than a picture needs, the choice is stated here:

- ``8UC3`` and ``8UC4`` name no colours; they are taken as OpenCV's BGR and BGRA.
- ``16UC1`` names no range: it is what thermal and depth cameras put 10 to 14 bits in, which a fixed scale turns nearly
  black, so each frame's own minimum to maximum is stretched to 0..255.  ``mono16`` is an intensity and keeps its scale.
- Pictures in JPEG and PNG carry the order of their own channels; the rest of `format` is not needed for it.  A rotation
  in EXIF is not followed, because the CameraInfo beside the image belongs to the sensor's rows and columns.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["ENCODINGS", "MAX_SIDE", "ImageError", "check_size", "decompress", "to_bgr"]

MAX_SIDE = 16384
"""The longest side of an image that is believed; 2**28 pixels in all."""

MAX_JPEG_PIXELS_PER_BYTE = 1024
"""Twice what a JPEG of one colour needs, one bit for 64 pixels; a corrupt size costs seconds to fill with grey."""


class ImageError(ValueError):
    """An image that cannot be read; the message says what was found and what was expected."""


Pixels = NDArray[Any]  # (H, W) or (H, W, channels), uint8 or uint16
Frame = NDArray[np.uint8]  # (H, W, 3) BGR


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the pixels of an encoding lie in memory and how they become BGR.

    Attributes
    ----------
    dtype, channels:
        Of one pixel.
    convert:
        (H, W[, channels]) pixels to (H, W, 3) uint8 BGR.
    rows:
        Rows in memory per image row: more than 1 where planes of colour follow that of brightness.
    multiple:
        What the width and the height must be multiples of.
    smallest:
        The least width and height.
    """

    dtype: type[np.uint8] | type[np.uint16]
    channels: int
    convert: Callable[[Pixels], Any]
    rows: float = 1.0
    multiple: tuple[int, int] = (1, 1)
    smallest: int = 1


def _color(code: int) -> Callable[[Pixels], Any]:
    return lambda pixels: cv2.cvtColor(pixels, code)


def _eight_bits(pixels: Pixels) -> Pixels:
    return cv2.convertScaleAbs(pixels, alpha=255.0 / 65535.0) if pixels.dtype == np.uint16 else pixels


def _color16(code: int) -> Callable[[Pixels], Any]:
    return lambda pixels: cv2.cvtColor(_eight_bits(pixels), code)


def _demosaic16(code: int) -> Callable[[Pixels], Any]:
    return lambda pixels: _eight_bits(cv2.cvtColor(pixels, code))  # interpolate before rounding, not after


def _stretch(pixels: Pixels) -> Any:
    """The frame's minimum to maximum on 0..255; a frame of one value is black."""
    low, high = int(pixels.min()), int(pixels.max())
    scale = 255.0 / max(high - low, 1)
    return cv2.cvtColor(cv2.convertScaleAbs(pixels, alpha=scale, beta=-low * scale), cv2.COLOR_GRAY2BGR)


def _layouts() -> dict[str, _Layout]:
    layouts = {
        "bgr8": _Layout(np.uint8, 3, lambda pixels: pixels),
        "rgb8": _Layout(np.uint8, 3, _color(cv2.COLOR_RGB2BGR)),
        "bgra8": _Layout(np.uint8, 4, _color(cv2.COLOR_BGRA2BGR)),
        "rgba8": _Layout(np.uint8, 4, _color(cv2.COLOR_RGBA2BGR)),
        "mono8": _Layout(np.uint8, 1, _color(cv2.COLOR_GRAY2BGR)),
        "bgr16": _Layout(np.uint16, 3, _eight_bits),
        "rgb16": _Layout(np.uint16, 3, _color16(cv2.COLOR_RGB2BGR)),
        "bgra16": _Layout(np.uint16, 4, _color16(cv2.COLOR_BGRA2BGR)),
        "rgba16": _Layout(np.uint16, 4, _color16(cv2.COLOR_RGBA2BGR)),
        "mono16": _Layout(np.uint16, 1, _color16(cv2.COLOR_GRAY2BGR)),
        "16UC1": _Layout(np.uint16, 1, _stretch),
        "yuv422": _Layout(np.uint8, 2, _color(cv2.COLOR_YUV2BGR_UYVY), multiple=(2, 1)),
        "yuv422_yuy2": _Layout(np.uint8, 2, _color(cv2.COLOR_YUV2BGR_YUY2), multiple=(2, 1)),
        "nv12": _Layout(np.uint8, 1, _color(cv2.COLOR_YUV2BGR_NV12), rows=1.5, multiple=(2, 2)),
        "nv21": _Layout(np.uint8, 1, _color(cv2.COLOR_YUV2BGR_NV21), rows=1.5, multiple=(2, 2)),
    }
    # ROS names a mosaic by its first two rows, OpenCV by the second and third pixel of its second and third row.
    for ours, code in {
        "rggb": cv2.COLOR_BayerBG2BGR,
        "bggr": cv2.COLOR_BayerRG2BGR,
        "gbrg": cv2.COLOR_BayerGR2BGR,
        "grbg": cv2.COLOR_BayerGB2BGR,
    }.items():
        layouts[f"bayer_{ours}8"] = _Layout(np.uint8, 1, _color(code), smallest=3)
        layouts[f"bayer_{ours}16"] = _Layout(np.uint16, 1, _demosaic16(code), smallest=3)
    for name, same in {
        "8UC1": "mono8",
        "8UC3": "bgr8",
        "8UC4": "bgra8",
        "uyvy": "yuv422",
        "yuyv": "yuv422_yuy2",
    }.items():
        layouts[name] = layouts[same]
    return layouts


_LAYOUTS = _layouts()

ENCODINGS = tuple(sorted(_LAYOUTS))
"""The encodings that are read without cv_bridge."""


def to_bgr(data: Any, height: int, width: int, encoding: str, step: int, is_bigendian: bool) -> Frame:
    """Read the pixels of an uncompressed image.

    Parameters
    ----------
    data:
        Any buffer of bytes.
    height, width:
        Pixels.
    encoding:
        One of `ENCODINGS`, or any other that an installed cv_bridge reads.
    step:
        Bytes from one row to the next.
    is_bigendian:
        Whether the samples of more than one byte are big-endian.

    Returns
    -------
    frame:
        (H, W, 3) uint8, BGR.  For ``bgr8`` a view of `data`, with its rows as far apart and read-only if it is.

    Raises
    ------
    ImageError
        If the size is zero or absurd, the encoding unknown, `step` too small or `data` shorter than the rows.
    """
    check(len(data), height, width, encoding, step)
    buffer = np.frombuffer(data, dtype=np.uint8)
    layout = _LAYOUTS.get(encoding)
    if layout is None:
        return _by_cv_bridge(buffer, height, width, encoding, step, is_bigendian)
    sample = np.dtype(layout.dtype).newbyteorder(">" if is_bigendian else "<")
    pixel = sample.itemsize * layout.channels
    rows = round(height * layout.rows)
    dimensions = 2 if layout.channels == 1 else 3
    shape, strides = (rows, width, layout.channels)[:dimensions], (step, pixel, sample.itemsize)[:dimensions]
    pixels: Pixels = np.ndarray(shape, dtype=sample, buffer=buffer, strides=strides)
    if sample.itemsize > 1:
        pixels = pixels.astype(layout.dtype)  # to the order of this machine, aligned
    frame: Frame = layout.convert(pixels)
    return frame


def check(length: int, height: int, width: int, encoding: str, step: int) -> None:
    """Say what `to_bgr` would say of `length` bytes, without looking at them.

    Raises
    ------
    ImageError
        See `to_bgr`.
    """
    check_size(height, width)
    layout = _LAYOUTS.get(encoding)
    if layout is None:
        if _cv_bridge() is None:
            raise ImageError(
                f"encoding {encoding!r} is not supported, expected one of {', '.join(ENCODINGS)} "
                "(any other needs a cv_bridge that works, and there is none)"
            )
        _check_length(length, step, height, encoding)
        return
    if width % layout.multiple[0] or height % layout.multiple[1]:
        across, down = layout.multiple
        raise ImageError(f"the image is {width}x{height}, expected multiples of {across} and {down} for {encoding}")
    if min(height, width) < layout.smallest:
        raise ImageError(f"a {width}x{height} image is too small for the mosaic of {encoding}")
    row = width * np.dtype(layout.dtype).itemsize * layout.channels
    if step < row:
        raise ImageError(f"step is {step} bytes, expected at least {row} ({width} pixels of {encoding})")
    _check_length(length, step, round(height * layout.rows), encoding)


def decompress(data: Any, format: str) -> Frame:
    """Decode the JPEG or PNG file in a ``sensor_msgs/CompressedImage``.

    Parameters
    ----------
    data:
        Any buffer of bytes.
    format:
        What the message says of it: ``jpeg``, ``bgr8; jpeg compressed bgr8``, ``rgb8; png compressed`` and the like.
        The file's own first bytes decide; this refuses depth images, tells ``16UC1`` from ``mono16``, and is named in
        messages.

    Returns
    -------
    frame:
        (H, W, 3) uint8, BGR.

    Raises
    ------
    ImageError
        If it is a depth image or neither JPEG nor PNG, is truncated or corrupt, or its size is zero or absurd.
    """
    content = bytes(data)
    kind = check_compressed(content, format)
    # ANYDEPTH keeps sixteen bits, which OpenCV would otherwise cut instead of scale.
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels: Any = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), flags)
    except cv2.error as error:
        raise ImageError(f"corrupt {kind} of {len(content)} bytes (format {format!r}): {error}") from error
    if pixels is None:
        raise ImageError(f"corrupt {kind} of {len(content)} bytes (format {format!r})")
    if pixels.dtype == np.uint16 and format.startswith("16UC1"):
        frame: Frame = _stretch(np.ascontiguousarray(pixels[:, :, 0]))
        return frame
    frame = _eight_bits(pixels)
    return frame


def check_compressed(content: bytes, format: str) -> str:
    """Say what `decompress` would say of a file, as far as its structure tells; returns ``JPEG`` or ``PNG``.

    Raises
    ------
    ImageError
        See `decompress`; damage inside the compressed pixels is not found here.
    """
    if "compressedDepth" in format:
        raise ImageError(f"format {format!r} is a depth image, expected a colour image in JPEG or PNG")
    if content.startswith(b"\xff\xd8"):
        kind, (height, width) = "JPEG", _jpeg_size(content)
        if height * width > MAX_JPEG_PIXELS_PER_BYTE * len(content):
            raise ImageError(f"corrupt JPEG: {len(content)} bytes cannot hold {width}x{height} pixels")
    elif content.startswith(b"\x89PNG\r\n\x1a\n"):
        kind, (height, width) = "PNG", _png_size(content)
    else:
        raise ImageError(f"{len(content)} bytes with format {format!r} are neither JPEG nor PNG")
    check_size(height, width)
    return kind


def _png_size(content: bytes) -> tuple[int, int]:
    """Height and width from a PNG's first chunk, after checking the lengths and sums of all (PNG specification, 5).

    OpenCV checks them too, but first allocates what a corrupt one asks for, which takes seconds.

    Raises
    ------
    ImageError
        If a chunk is corrupt or the last one is not there.
    """
    position, kind = 8, b""
    while kind != b"IEND":
        end = position + 12 + int.from_bytes(content[position : position + 4], "big")
        kind = content[position + 4 : position + 8]
        total = zlib.crc32(memoryview(content)[position + 4 : end - 4]).to_bytes(4, "big")
        if end > len(content) or content[end - 4 : end] != total or (position == 8 and kind != b"IHDR"):
            raise ImageError(
                f"truncated or corrupt PNG of {len(content)} bytes: the chunk at byte {position} is broken"
            )
        position = end
    return int.from_bytes(content[20:24], "big"), int.from_bytes(content[16:20], "big")


def _jpeg_size(content: bytes) -> tuple[int, int]:
    """Height and width from a JPEG's frame header (ITU-T T.81, annex B), after checking that it has its end.

    libjpeg fills what is missing of a truncated file with grey and only warns on stderr, so the end is looked for here.

    Raises
    ------
    ImageError
        If there is no frame header, scan or end-of-image marker.
    """
    size = None
    position = 2
    while position + 4 <= len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            header = content[position + 5 : position + 9]
            size = int.from_bytes(header[:2], "big"), int.from_bytes(header[2:], "big")
        if marker == 0xDA:
            # In a scan's data 0xFF is always followed by 0 or a restart marker, so this is the end and nothing else.
            if size is None or content.rfind(b"\xff\xd9", position) < 0:
                break
            return size
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    raise ImageError(f"truncated or corrupt JPEG of {len(content)} bytes: its end is missing")


def check_size(height: int, width: int) -> None:
    """Raise ImageError where an image's size is zero or absurd."""
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise ImageError(f"the image is {width}x{height}, expected 1 to {MAX_SIDE} pixels a side")


def _check_length(length: int, step: int, rows: int, encoding: str) -> None:
    if length < step * rows:
        raise ImageError(f"data has {length} bytes, expected {step * rows} (step {step} x {rows} rows of {encoding})")


@cache
def _cv_bridge() -> Any | None:
    """ROS's own converter, or None where it is not installed or cannot run."""
    try:
        from cv_bridge import CvBridge

        return CvBridge()
    except Exception:  # a binary module of another NumPy or OpenCV fails in many ways (KeyError, AttributeError, …)
        return None


def _by_cv_bridge(
    buffer: NDArray[np.uint8], height: int, width: int, encoding: str, step: int, is_bigendian: bool
) -> Frame:
    bridge: Any = _cv_bridge()  # `check` has seen to it that there is one
    message = SimpleNamespace(
        data=buffer, height=height, width=width, encoding=encoding, step=step, is_bigendian=int(is_bigendian)
    )
    try:
        frame: Frame = bridge.imgmsg_to_cv2(message, "bgr8")
    except Exception as error:  # cv_bridge passes on whatever NumPy, OpenCV and its own module raise
        raise ImageError(f"cv_bridge cannot read encoding {encoding!r}: {error}") from error
    return frame
