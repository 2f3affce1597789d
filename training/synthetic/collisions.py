"""Rectangles on the ground that overlap."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def overlaps(first: Array, second: Array) -> NDArray[np.bool_]:
    """(P,) whether pairs of rectangles (P, 4, 2) overlap, by the separating axis theorem."""
    apart = np.zeros(len(first), dtype=bool)
    for shape in (first, second):
        for side in (0, 1):
            axis = shape[:, side + 1] - shape[:, side]
            axis = axis / np.linalg.norm(axis, axis=1, keepdims=True)
            a = np.einsum("pij,pj->pi", first, axis)
            b = np.einsum("pij,pj->pi", second, axis)
            apart |= (a.max(axis=1) <= b.min(axis=1) + 1e-6) | (b.max(axis=1) <= a.min(axis=1) + 1e-6)
    return ~apart


def overlapping(boxes: Array, middles: Array, radii: Array) -> Array:
    """(P, 2) indices of the pairs of rectangles (B, 4, 2) that overlap."""
    order = np.argsort(middles[:, 0])
    x, y, r = middles[order, 0], middles[order, 1], radii[order]
    last = np.searchsorted(x, x + r + r.max())
    first = np.repeat(np.arange(len(x)), last - np.arange(len(x)))
    second = np.concatenate([np.arange(i, end) for i, end in enumerate(last)]) if len(x) else np.zeros(0, dtype=int)
    near = (first < second) & ((x[first] - x[second]) ** 2 + (y[first] - y[second]) ** 2 < (r[first] + r[second]) ** 2)
    pairs = np.stack([order[first[near]], order[second[near]]], axis=1)
    hit = overlaps(boxes[pairs[:, 0]], boxes[pairs[:, 1]]) if len(pairs) else np.zeros(0, dtype=bool)
    return pairs[hit]
