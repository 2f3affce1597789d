"""Images in, and the maps of a segmentation out, as ``sensor_msgs/Image`` and ``CompressedImage``.

Each has the stamp and frame of the `header` it is given: the input's. Rows are tightly packed.
"""

from __future__ import annotations

import sys
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic_ros.encodings import ImageError, check, check_compressed, decompress, to_bgr
from panoptic_ros.messages.types import MessageTypes
from panoptic_ros.segmentation import INSTANCE_DIVISOR, PanopticSegmentation


def image_to_bgr(message: Any) -> NDArray[np.uint8]:
    """The frame in a ``sensor_msgs/Image`` or ``CompressedImage``.

    Returns
    -------
    frame:
        (H, W, 3) uint8, BGR; a view of the message where it is ``bgr8``.

    Raises
    ------
    ImageError
        See `panoptic_ros.encodings`.
    """
    if hasattr(message, "format"):
        return decompress(message.data, message.format)
    return to_bgr(
        message.data, message.height, message.width, message.encoding, message.step, bool(message.is_bigendian)
    )


def check_image(message: Any) -> None:
    """Say what `image_to_bgr` would say of a message, as far as can be told without decoding it.

    Raises
    ------
    ImageError
        See `image_to_bgr`.
    """
    if hasattr(message, "format"):
        check_compressed(bytes(message.data), message.format)
    else:
        check(len(message.data), message.height, message.width, message.encoding, message.step)


def panoptic_image(types: MessageTypes, header: Any, segmentation: PanopticSegmentation) -> Any:
    """The id map, ``class_id * 1000 + instance``, as 32SC1."""
    return _image(types, header, segmentation.ids, "32SC1")


def semantic_image(types: MessageTypes, header: Any, segmentation: PanopticSegmentation) -> Any:
    """The class ids as mono8; 0 is void."""
    classes = np.empty(segmentation.ids.shape, dtype=np.uint8)
    np.floor_divide(segmentation.ids, np.int32(INSTANCE_DIVISOR), out=classes, casting="unsafe")
    return _image(types, header, classes, "mono8")


def instance_image(types: MessageTypes, header: Any, segmentation: PanopticSegmentation) -> Any:
    """The instance numbers as 16UC1, the `id` of each detection in `instances`; 0 is stuff or void."""
    return _image(types, header, segmentation.instances().astype(np.uint16), "16UC1")


def confidence_image(types: MessageTypes, header: Any, segmentation: PanopticSegmentation) -> Any:
    """The probability of each pixel's label times 255, as mono8.

    Raises
    ------
    ValueError
        If the segmentation carries none.
    """
    if segmentation.confidence is None:
        raise ValueError("the segmentation has no confidence; the pipeline makes it when asked (confidence=True)")
    return _image(types, header, segmentation.confidence, "mono8")


def bgr_image(types: MessageTypes, header: Any, bgr: NDArray[np.uint8]) -> Any:
    """A (H, W, 3) uint8 BGR picture as bgr8."""
    return _image(types, header, bgr, "bgr8")


def compressed_image(types: MessageTypes, header: Any, bgr: NDArray[np.uint8], quality: int = 85) -> Any:
    """A (H, W, 3) uint8 BGR picture as JPEG, with the format string of compressed_image_transport.

    Raises
    ------
    ImageError
        If the picture is larger than JPEG allows, 65535 pixels a side, or empty.
    """
    try:
        encoded = cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, int(quality)))[1]
    except cv2.error as error:
        raise ImageError(f"a picture of shape {bgr.shape} cannot be written as JPEG: {error}") from error
    return types.make(
        "sensor_msgs/msg/CompressedImage",
        header=header,
        format="bgr8; jpeg compressed bgr8",
        data=encoded.reshape(-1),
    )


def _image(types: MessageTypes, header: Any, pixels: NDArray[Any], encoding: str) -> Any:
    pixels = np.ascontiguousarray(pixels)
    return types.make(
        "sensor_msgs/msg/Image",
        header=header,
        height=int(pixels.shape[0]),
        width=int(pixels.shape[1]),
        encoding=encoding,
        is_bigendian=int(sys.byteorder == "big"),
        step=int(pixels.strides[0]),
        data=pixels.reshape(-1).view(np.uint8),
    )
