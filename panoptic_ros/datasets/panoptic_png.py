"""Segment ids as colours: id = R + 256 G + 65536 B (panopticapi), as COCO and Cityscapes keep them in PNGs.

A PNG's channels are R, G, B, while OpenCV reads and writes B, G, R: the functions here name which they mean.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic_ros.datasets.pictures import read_rgb

MAX_ID = (1 << 24) - 1


def ids_of_rgb(rgb: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The ids that the colours mean.

    Parameters
    ----------
    rgb:
        (H, W, 3) uint8, R, G, B.

    Returns
    -------
    (H, W) int32.
    """
    # Four bytes a pixel are the number itself, in the byte order that is written here; a sixth of arithmetic's time.
    quads = cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA).view("<u4")[..., 0]
    ids: NDArray[np.int32] = np.bitwise_and(quads, MAX_ID).astype(np.int32)
    return ids


def bgr_of_ids(ids: NDArray[Any]) -> NDArray[np.uint8]:
    """The colours of ids, in OpenCV's order of channels.

    Parameters
    ----------
    ids:
        (H, W) of whole numbers.

    Returns
    -------
    (H, W, 3) uint8, B, G, R.

    Raises
    ------
    ValueError
        If an id is not in 0 … 2^24 - 1.
    """
    if ids.size and (ids.min() < 0 or ids.max() > MAX_ID):
        raise ValueError(f"ids are in {ids.min()} … {ids.max()}, expected 0 … {MAX_ID}")
    quads = np.ascontiguousarray(ids, dtype="<u4").view(np.uint8).reshape(*ids.shape, 4)
    return np.asarray(cv2.cvtColor(quads, cv2.COLOR_RGBA2BGR), dtype=np.uint8)


def read_panoptic_png(path: Path) -> NDArray[np.int32]:
    """The segment ids in a PNG, (H, W) int32; 0 is void.

    Raises
    ------
    DatasetError
        If it cannot be read or is no image of R, G, B.
    """
    return ids_of_rgb(read_rgb(path))
