"""Where one ray per pixel is not enough: edges, and the corners of pixels that are worth a ray of their own."""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic import effects as lens_and_sensor
from panoptic_training.synthetic.raycast import Hits
from panoptic_training.synthetic.surfaces import VEGETATION

CONTRAST = 30  # of 255: neighbours that differ more are an edge, and sampled more finely
SURFACE_STEP, DEPTH_STEP = 0.5, 0.06  # of a surface's number, and of the logarithm of depth, from one to another
CLOSED = 1e4  # metres that count for the sky
_SQUARE = np.ones((2, 2), np.uint8)
Number = TypeVar("Number", np.uint8, np.float32)


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
        contrast = cv2.morphologyEx(shown, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)).max(axis=2)
        self._edges = contrast > CONTRAST
        # Corners within one surface, or within a crown, are as good as the mean of the pixels around them.
        crown = hits.class_id == VEGETATION
        surface = hits.class_id.astype(np.float32) * 32 + hits.material
        depth = np.log(np.minimum(hits.distance, np.float32(CLOSED)))
        surface[crown] = depth[crown] = 0
        height, width = self._edges.shape
        corners = self._steps(surface.reshape(height, width)) > SURFACE_STEP
        corners |= self._steps(depth.reshape(height, width)) > DEPTH_STEP
        corners &= cv2.dilate(_bordered(self._edges.astype(np.uint8)), _SQUARE, anchor=(1, 1))[1:, 1:] > 0
        self.rows, self.columns = np.nonzero(corners)
        self.beside = np.minimum(self.rows, height - 1) * width + np.minimum(self.columns, width - 1)

    @staticmethod
    def _steps(plane: NDArray[np.float32]) -> NDArray[np.float32]:
        """(H + 1, W + 1) how far the pixels around each corner differ."""
        gradient = cv2.morphologyEx(_bordered(plane), cv2.MORPH_GRADIENT, _SQUARE, anchor=(1, 1))
        return np.asarray(gradient[1:, 1:])

    def smooth(self, picture: NDArray[np.float32], light: NDArray[np.float32]) -> None:
        """Make each pixel at an edge the mean of itself and its corners, each as bright as it will be shown.

        Four pixels share a corner, so that an edge costs one more ray per pixel.

        Parameters
        ----------
        picture:
            (H, W, 3) float32, changed in place.
        light:
            (M, 3) float32 radiance of the corners' rays.
        """
        clipped = np.minimum(picture, self._white)
        corners = cv2.blur(_bordered(clipped), (2, 2), anchor=(1, 1))[1:, 1:]
        corners[self.rows, self.columns] = np.minimum(light, self._white)
        rows, columns = np.nonzero(self._edges)
        mean = corners[rows, columns] + corners[rows + 1, columns]
        mean += corners[rows, columns + 1] + corners[rows + 1, columns + 1]
        picture[rows, columns] = mean * np.float32(0.125) + clipped[rows, columns] * np.float32(0.5)


def _bordered(plane: NDArray[Number]) -> NDArray[Number]:
    """The picture with its outermost pixels repeated once."""
    return np.asarray(cv2.copyMakeBorder(plane, 1, 1, 1, 1, cv2.BORDER_REPLICATE), dtype=plane.dtype)
