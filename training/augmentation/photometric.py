"""Random light: brightness, contrast, saturation and hue."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

HUES = 180  # of OpenCV's HSV in bytes: a step is two degrees


@dataclass(frozen=True, slots=True)
class PhotometricOptions:
    """How far the light may change; the thesis has none of it, the values are those usual for detectors.

    Attributes
    ----------
    brightness:
        The most that is added to or taken from each channel, as a share of white, 0 to 1.
    contrast, saturation:
        The most that the factor differs from 1, 0 to 1.
    hue:
        The greatest turn of the hue to either side, in degrees, 0 to 180.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    brightness: float = 0.125
    contrast: float = 0.5
    saturation: float = 0.5
    hue: float = 18.0

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        if not 0.0 <= self.hue <= 180.0:
            raise ValueError(f"hue must be in 0 to 180 degrees, got {self.hue}")


def random_light(image: NDArray[np.uint8], options: PhotometricOptions, rng: np.random.Generator) -> NDArray[np.uint8]:
    """An image, (H, W, 3) uint8 B, G, R, in other light."""
    return relight(
        image,
        brightness=rng.uniform(-options.brightness, options.brightness),
        contrast=1.0 + rng.uniform(-options.contrast, options.contrast),
        saturation=1.0 + rng.uniform(-options.saturation, options.saturation),
        hue=rng.uniform(-options.hue, options.hue),
    )


def relight(
    image: NDArray[np.uint8], brightness: float, contrast: float, saturation: float, hue: float
) -> NDArray[np.uint8]:
    """Change the light: each channel becomes ``(value - 127.5) * contrast + 127.5 + 255 * brightness``, then saturation
    is multiplied and hue turned.

    Everything is by tables, because there are only 256 values.

    Parameters
    ----------
    image:
        (H, W, 3) uint8, B, G, R.
    hue:
        In degrees.
    """
    values = np.arange(256, dtype=np.float64)
    light = np.clip(np.rint((values - 127.5) * contrast + 127.5 + 255.0 * brightness), 0, 255)
    hues = (np.arange(256) + round(hue / 2.0)) % HUES
    saturations = np.clip(np.rint(values * saturation), 0, 255)
    tables = np.stack((hues, saturations, values), axis=-1).astype(np.uint8)[None]
    hsv = cv2.cvtColor(cv2.LUT(image, light.astype(np.uint8)), cv2.COLOR_BGR2HSV)
    return cv2.cvtColor(cv2.LUT(hsv, tables), cv2.COLOR_HSV2BGR).astype(np.uint8, copy=False)
