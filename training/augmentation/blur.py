"""Gaussian blur (`yolo_panoptic` thesis, 3.2.1)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

KERNEL = (5, 5)
SIGMA = 1.1
"""In pixels; the thesis gives the kernel alone, and this is what OpenCV takes for its size."""


def blur(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8, blurred by a 5x5 kernel; ids are not, because a mixture of two ids is none."""
    return cv2.GaussianBlur(image, KERNEL, SIGMA).astype(np.uint8, copy=False)
