"""Smooth random fields over the plane."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def smooth_noise(points: NDArray[np.floating], scale: float, seed: int, octaves: int = 3) -> NDArray[np.float64]:
    """(...) values of about -1 to 1 at (..., 2) points: sums of waves in random directions, finer and weaker ones too.

    Parameters
    ----------
    points:
        Metres.
    scale:
        Length of the longest waves, metres.
    """
    rng = np.random.default_rng(seed)
    total = np.zeros(points.shape[:-1])
    weight, norm = 1.0, 0.0
    for _ in range(octaves):
        for _ in range(4):
            angle, phase = rng.uniform(0, 2 * np.pi, 2)
            wave = 2 * np.pi / (scale * rng.uniform(0.7, 1.4))
            total += weight * np.sin(wave * (points[..., 0] * np.cos(angle) + points[..., 1] * np.sin(angle)) + phase)
            norm += weight**2 / 2
        weight, scale = weight * 0.5, scale * 0.5
    return np.asarray(total / (2 * np.sqrt(norm)))
