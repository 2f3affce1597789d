"""A grid beside its truth from above, to see what the figures of an evaluation mean.

Three panels of the same cells, y upward: the truth, the grid, and where the two differ.  The ground has its class's
colour at half strength and what stands on it the full one; unknown is black.  Things have their boxes in white, tracked
objects in their class's colour with their velocity.  Of the third panel green is right, red an obstacle that is called
free, orange free that is called an obstacle, and grey what was not observed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic_ros.evaluation.grid_truth import FREE, OCCUPIED, UNKNOWN, GridTruth
from panoptic_ros.labels import LabelSet

if TYPE_CHECKING:
    from panoptic_ros.grid.snapshot import GridSnapshot
    from panoptic_ros.grid.tracking import TrackedObject

SIDE = 640
"""Pixels of a panel, at least."""

GAP = 8
WHITE = (255, 255, 255)
RIGHT, FALSE_FREE, FALSE_OCCUPIED, UNSEEN = (60, 120, 40), (40, 40, 230), (0, 150, 255), (60, 60, 60)  # B, G, R


def truth_beside_grid(
    snapshot: GridSnapshot, objects: Sequence[TrackedObject], truth: GridTruth, labels: LabelSet
) -> NDArray[np.uint8]:
    """Draw a moment.

    Parameters
    ----------
    snapshot, objects:
        What the grid says.
    truth:
        In the same frame.
    labels:
        The classes of both.

    Returns
    -------
    picture:
        (H, W, 3) uint8, BGR.
    """
    shape = snapshot.occupied.shape
    state, classes = truth.at_cells(snapshot.origin, snapshot.resolution, (shape[0], shape[1]))
    scale = max(1, -(-SIDE // shape[0]))
    panels = [
        _upward(picture, scale)
        for picture in (
            _cells(state, classes, labels),
            _cells(snapshot.occupied, snapshot.classes, labels),
            differences(state, snapshot.occupied),
        )
    ]
    place = _Place(snapshot, scale, shape[0])
    for panel in panels[:2]:
        for thing in truth.objects:
            _draw_box(panel, place, thing.centre, thing.yaw, thing.extent, WHITE)
    colors = labels.colors[labels.class_ids][:, ::-1]
    for one in objects:
        color = tuple(int(part) for part in (colors[one.class_index] // 2 + 127))
        extent = (float(one.extent[0]), float(one.extent[1]), float(one.extent[2]))
        _draw_box(panels[1], place, one.centre, one.yaw, extent, color)
        tip = one.centre[:2] + np.asarray(one.velocity)
        cv2.line(panels[1], place(one.centre[:2]), place(tip), color, 1, cv2.LINE_AA)
    gap = np.full((panels[0].shape[0], GAP, 3), 255, dtype=np.uint8)
    return np.hstack([panels[0], gap, panels[1], gap, panels[2]])


class _Place:
    """From places in the grid's frame to pixels of a panel."""

    def __init__(self, snapshot: GridSnapshot, scale: int, rows: int) -> None:
        self._origin = np.array(snapshot.origin, dtype=np.float64)
        self._pixels = scale / snapshot.resolution
        self._bottom = rows * scale

    def __call__(self, place: NDArray[np.float64]) -> tuple[int, int]:
        x, y = (np.asarray(place, dtype=np.float64) - self._origin) * self._pixels
        return round(x), round(self._bottom - y)


def _cells(state: NDArray[np.int8], classes: NDArray[np.int16], labels: LabelSet) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 BGR."""
    table = np.concatenate([labels.colors[labels.class_ids], np.full((1, 3), 128, np.uint8)])[:, ::-1]
    picture = table[classes]  # the last row is of -1
    picture[state != OCCUPIED] //= 2
    picture[(state == UNKNOWN) & (classes < 0)] = 0
    return picture


def differences(true: NDArray[np.int8], told: NDArray[np.int8]) -> NDArray[np.uint8]:
    """The third panel: (H, W, 3) uint8 BGR of states of cells, (H, W) each, -1 unknown, 0 free, 100 occupied."""
    picture = np.zeros((*true.shape, 3), dtype=np.uint8)
    picture[true != UNKNOWN] = UNSEEN
    picture[(true != UNKNOWN) & (told == true)] = RIGHT
    picture[(true == OCCUPIED) & (told == FREE)] = FALSE_FREE
    picture[(true == FREE) & (told == OCCUPIED)] = FALSE_OCCUPIED
    return picture


def _upward(picture: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """With y upward, each cell some pixels wide."""
    return np.ascontiguousarray(picture[::-1].repeat(scale, axis=0).repeat(scale, axis=1))


def _draw_box(
    panel: NDArray[np.uint8],
    place: _Place,
    centre: NDArray[np.float64],
    yaw: float,
    extent: tuple[float, float, float],
    color: tuple[int, ...],
) -> None:
    along = np.array([np.cos(yaw), np.sin(yaw)]) * extent[0] / 2
    across = np.array([-np.sin(yaw), np.cos(yaw)]) * extent[1] / 2
    corners = [centre[:2] + a * along + b * across for a, b in ((1, 1), (1, -1), (-1, -1), (-1, 1))]
    outline = np.array([place(corner) for corner in corners], dtype=np.int32)
    cv2.polylines(panel, [outline], True, color, 1, cv2.LINE_AA)
    cv2.line(panel, place(centre[:2]), place(centre[:2] + along), color, 1, cv2.LINE_AA)
