"""Where one ray per pixel is not enough: edges, and the corners of pixels that are worth a ray of their own."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic import effects as lens_and_sensor
from panoptic_training.synthetic.compiled import compiled
from panoptic_training.synthetic.raycast import Hits
from panoptic_training.synthetic.surfaces import VEGETATION

CONTRAST = 30  # of 255: neighbours that differ more are an edge, and sampled more finely
DEEPER = np.float32(np.exp(0.06))  # ratio of depths from one surface to another
CLOSED = np.float32(1e4)  # metres that count for the sky


class Edges:
    """The edges of a picture.

    Parameters
    ----------
    picture:
        (H, W, 3) float32 linear R, G, B.
    hits:
        Of its H * W rays.
    exposure:
        By which it will be shown.

    Attributes
    ----------
    rows, columns:
        (M,) the corners to sample; corner (row, column) is up and left of that pixel.
    beside:
        (M,) number of a pixel that each is a corner of.
    """

    def __init__(self, picture: NDArray[np.float32], hits: Hits, exposure: float) -> None:
        self._white = np.float32(1.2 / exposure)  # what is shown white has no more weight than white
        shown = lens_and_sensor.develop(picture * np.float32(exposure))
        blue, green, red = cv2.split(cv2.morphologyEx(shown, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)))
        self._edges = np.maximum(np.maximum(blue, green), red) > CONTRAST
        height, width = self._edges.shape
        corners = _corners(self._edges, hits.class_id, hits.material, hits.distance)
        self.rows, self.columns = np.nonzero(corners)
        self.beside = np.minimum(self.rows, height - 1) * width + np.minimum(self.columns, width - 1)

    def smooth(self, picture: NDArray[np.float32], light: NDArray[np.float32]) -> None:
        """Make each pixel at an edge the mean of itself and its corners, each as bright as it will be shown.

        Four pixels share a corner, so that an edge costs one more ray per pixel.  A corner without a ray counts as the
        mean of the pixels around it.

        Parameters
        ----------
        picture:
            (H, W, 3) float32, changed in place.
        light:
            (M, 3) float32 radiance of the corners' rays.
        """
        height, width = self._edges.shape
        numbers = np.full((height + 1, width + 1), -1, dtype=np.int32)
        numbers[self.rows, self.columns] = np.arange(len(self.rows), dtype=np.int32)
        picture[...] = _smoothed(picture, self._edges, numbers, light, self._white)


@compiled
def _corners(edges: Any, class_id: Any, material: Any, distance: Any) -> Any:
    """(H + 1, W + 1) bool, corners beside an edge (H, W) that several surfaces meet at.

    Those within one surface, or within a crown, are as good as the mean of the pixels around them.
    """
    height, width = edges.shape
    corners = np.zeros((height + 1, width + 1), dtype=np.bool_)
    for row in range(height + 1):
        for column in range(width + 1):
            edge, first = False, -1
            several, near, far = False, CLOSED, np.float32(0)
            for down in range(2):
                for right in range(2):
                    y, x = min(max(row - down, 0), height - 1), min(max(column - right, 0), width - 1)
                    pixel = y * width + x
                    crown = class_id[pixel] == VEGETATION
                    surface = 0 if crown else np.int64(class_id[pixel]) * 32 + material[pixel]
                    depth = np.float32(1) if crown else min(distance[pixel], CLOSED)
                    several |= first >= 0 and surface != first
                    edge |= edges[y, x]
                    first, near, far = surface, min(near, depth), max(far, depth)
            corners[row, column] = edge and (several or far > near * DEEPER)
    return corners


@compiled
def _smoothed(picture: Any, edges: Any, numbers: Any, light: Any, white: Any) -> Any:
    """(H, W, 3) the picture with each pixel at an edge mixed with its corners; `numbers` say which ray is each's."""
    height, width = edges.shape
    result = picture.copy()
    for row in range(height):
        for column in range(width):
            if not edges[row, column]:
                continue
            for band in range(3):
                total = np.float32(0)
                for down in range(2):
                    for right in range(2):
                        y, x = row + down, column + right
                        if numbers[y, x] >= 0:
                            total += min(light[numbers[y, x], band], white)
                            continue
                        top, bottom = max(y - 1, 0), min(y, height - 1)
                        left, beside = max(x - 1, 0), min(x, width - 1)
                        mean = min(picture[top, left, band], white) + min(picture[top, beside, band], white)
                        mean += min(picture[bottom, left, band], white) + min(picture[bottom, beside, band], white)
                        total += mean * np.float32(0.25)
                own = min(picture[row, column, band], white)
                result[row, column, band] = total * np.float32(0.125) + own * np.float32(0.5)
    return result
