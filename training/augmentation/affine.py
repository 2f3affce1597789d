"""Random scale, rotation and crop, as one resampling of the image and of its ids (`yolo_panoptic` thesis, 3.2.1).

Three steps one after another would blur the image and round the ids three times; an affine map does it once.
Coordinates are continuous with edges on integers, so the centre of the top left pixel is (0.5, 0.5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic_ros.letterbox import FILL
from panoptic_ros.segmentation import VOID
from panoptic_training.augmentation.labelled_image import LabelledImage

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AffineOptions:
    """How far the picture is scaled and turned before a piece is cut out of it.

    Attributes
    ----------
    scale:
        Least and greatest factor, positive.  The thesis has 0.25 to 4.  Factors are drawn evenly by their logarithm, so
        that halving is as likely as doubling; drawn evenly, four of five would enlarge.
    rotation:
        The greatest angle to either side, in degrees, 0 to 180.
    crop:
        Height and width of what is cut out, in pixels.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    scale: tuple[float, float] = (0.25, 4.0)
    rotation: float = 10.0
    crop: tuple[int, int] = (640, 640)

    def __post_init__(self) -> None:
        if not 0.0 < self.scale[0] <= self.scale[1] < math.inf:
            raise ValueError(f"scale must be two positive factors, the lower first, got {list(self.scale)}")
        if not 0.0 <= self.rotation <= 180.0:
            raise ValueError(f"rotation must be in 0 to 180 degrees, got {self.rotation}")
        if min(self.crop) < 1:
            raise ValueError(f"crop must be a height and a width in pixels, got {list(self.crop)}")


def random_affine(options: AffineOptions, height: int, width: int, rng: np.random.Generator) -> Matrix:
    """(2, 3) map from the coordinates of an image to those of its crop.

    The crop lies anywhere in the scaled image, the scaled image anywhere in a crop that is larger; it is turned around
    the middle of the crop.
    """
    low, high = options.scale
    scale = math.exp(rng.uniform(math.log(low), math.log(high)))
    angle = math.radians(rng.uniform(-options.rotation, options.rotation))
    crop_height, crop_width = options.crop
    left = rng.random() * (scale * width - crop_width)
    top = rng.random() * (scale * height - crop_height)
    return affine(scale, angle, (crop_width / 2.0, crop_height / 2.0), (left, top))


def affine(scale: float, angle: float, centre: tuple[float, float], corner: tuple[float, float]) -> Matrix:
    """(2, 3) map that scales, moves `corner` (x, y) of the scaled image to the origin, and turns around `centre`.

    Parameters
    ----------
    angle:
        In radians; positive turns the picture clockwise, because y points down.
    """
    cosine, sine = math.cos(angle), math.sin(angle)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    shift = turn @ (-np.array(corner) - centre) + centre
    return np.concatenate((scale * turn, shift[:, None]), axis=1)


def warp(labelled: LabelledImage, matrix: Matrix, height: int, width: int) -> LabelledImage:
    """Resample an image bilinearly and its ids by the nearest pixel; what lies outside is grey and void.

    Parameters
    ----------
    matrix:
        (2, 3), from coordinates of the image to those of the result.
    height, width:
        Of the result, in pixels.
    """
    ids = cv2.warpAffine(
        labelled.ids,
        _between_centres(matrix),
        (width, height),
        flags=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=VOID,
    )
    image = labelled.image
    scale = math.sqrt(abs(float(np.linalg.det(matrix[:, :2]))))
    if scale < 1.0:
        # Bilinear sampling would skip pixels, which aliases: shrink by averaging first, and map the rest.
        small = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        shrink = np.diag([image.shape[1] / small[0], image.shape[0] / small[1]])
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        matrix = np.concatenate((matrix[:, :2] @ shrink, matrix[:, 2:]), axis=1)
    image = cv2.warpAffine(
        image,
        _between_centres(matrix),
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(FILL, FILL, FILL),
    ).astype(np.uint8, copy=False)
    return LabelledImage(image, ids.astype(np.int32, copy=False), labelled.crowd)


def _between_centres(matrix: Matrix) -> Matrix:
    """The same map between indices of pixels, as OpenCV has it: an index is a coordinate less 0.5."""
    half = np.full(2, 0.5)
    return np.concatenate((matrix[:, :2], (matrix[:, :2] @ half + matrix[:, 2] - half)[:, None]), axis=1)
