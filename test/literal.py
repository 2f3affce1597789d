"""Literal, slow transcriptions of how maps are scaled and masks pasted, for the tests of what does it fast."""

from __future__ import annotations

import numpy as np


def sample(plane: np.ndarray, y: float, x: float) -> float:
    """Bilinear interpolation at cell coordinates, edges repeated."""
    height, width = plane.shape
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    y0, x0 = int(y), int(x)
    y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
    upper = plane[y0, x0] * (1 - (x - x0)) + plane[y0, x1] * (x - x0)
    lower = plane[y1, x0] * (1 - (x - x0)) + plane[y1, x1] * (x - x0)
    return float(upper * (1 - (y - y0)) + lower * (y - y0))


def upsample(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    """A map scaled bilinearly, half-pixel centres."""
    scaled = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            v = (y + 0.5) * plane.shape[0] / height - 0.5
            u = (x + 0.5) * plane.shape[1] / width - 0.5
            scaled[y, x] = sample(plane, v, u)
    return scaled


def paste(masks: np.ndarray, boxes: np.ndarray, height: int, width: int, threshold: float) -> np.ndarray:
    """For every pixel the first mask in order that covers it, their number where none does.

    A mask covers the pixels whose centre lies in its box and where it exceeds the threshold there.
    """
    winners = np.full((height, width), len(masks))
    for y in range(height):
        for x in range(width):
            for index, (mask, (x0, y0, x1, y1)) in enumerate(zip(masks, boxes, strict=True)):
                if not (x0 <= x + 0.5 < x1 and y0 <= y + 0.5 < y1):
                    continue
                v = (y + 0.5 - y0) * mask.shape[0] / (y1 - y0) - 0.5
                u = (x + 0.5 - x0) * mask.shape[1] / (x1 - x0) - 0.5
                if sample(mask, v, u) > threshold:
                    winners[y, x] = index
                    break
    return winners


def pasted(masks: np.ndarray, boxes: np.ndarray, height: int, width: int) -> list[np.ndarray]:
    """Each mask's probability at every pixel, -1 outside its box."""
    found = []
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        plane = np.full((height, width), -1.0)
        for y in range(height):
            for x in range(width):
                if x0 <= x + 0.5 < x1 and y0 <= y + 0.5 < y1:
                    v = (y + 0.5 - y0) * mask.shape[0] / (y1 - y0) - 0.5
                    u = (x + 0.5 - x0) * mask.shape[1] / (x1 - x0) - 0.5
                    plane[y, x] = sample(mask, v, u)
        found.append(plane)
    return found


LEVELS = (0.0, 0.3, 0.8, 1.0)
"""Probabilities of masks that are equal where they should be, and whose mixtures are seldom at a threshold of 0.5."""


def undecided(probabilities: np.ndarray) -> bool:
    """Whether rounding may decide between masks of `LEVELS`, pasted into a frame (N, H, W): at 0.5, or between two.

    Two that are the same level are a tie that is meant.
    """
    levels = np.isin(probabilities.astype(np.float32), np.array(LEVELS, dtype=np.float32))
    beside = np.abs(probabilities - 0.5) < 1e-5
    between = np.abs(probabilities[:, None] - probabilities[None]) < 1e-5
    between[np.arange(len(probabilities)), np.arange(len(probabilities))] = False
    meant = (levels[:, None] & levels[None]) | (probabilities[:, None] < 0)
    return bool(beside.any() or (between & ~meant).any())
