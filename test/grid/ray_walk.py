"""The cells along a ray, one border at a time (Amanatides and Woo, A Fast Voxel Traversal Algorithm, 1987)."""

from __future__ import annotations

import math
from collections.abc import Iterator


def walk(x: float, y: float, angle: float, length: float, resolution: float) -> Iterator[tuple[int, int]]:
    """The columns and rows of the cells that a ray of a length passes, in turn."""
    column, row = math.floor(x / resolution), math.floor(y / resolution)
    step, next_border, between = [], [], []
    for position, direction, cell in ((x, math.cos(angle), column), (y, math.sin(angle), row)):
        step.append(1 if direction > 0 else -1)
        border = (cell + (direction > 0)) * resolution
        next_border.append((border - position) / direction if direction else math.inf)
        between.append(resolution / abs(direction) if direction else math.inf)
    yield column, row
    while min(next_border) < length:
        axis = 0 if next_border[0] < next_border[1] else 1
        column += step[0] if axis == 0 else 0
        row += step[1] if axis == 1 else 0
        next_border[axis] += between[axis]
        yield column, row
