"""The grid from above, for people to look at: x to the right, y up, as maps are drawn.

Free cells have a light tint of their ground's class and occupied ones the full colour of what stands there; without a
class they are nearly white and nearly black.  What is unknown or undecided is grey.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic_ros.grid.snapshot import GridSnapshot
from panoptic_ros.grid.tracking import TrackedObject, box_corners
from panoptic_ros.labels import LabelSet

Picture = NDArray[np.uint8]

UNKNOWN = (128, 128, 128)
FREE = (235, 235, 235)
OCCUPIED = (20, 20, 20)

_HALO = (24, 24, 24)
_INK = (255, 255, 255)
_TINT = 0.45  # of a class's colour on free ground
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FRACTION = 4  # bits of a pixel's fraction in OpenCV's coordinates
_ARROW_SECONDS = 1.0
_SLOW = 0.5  # metres a second below which an object has no arrow


class TopViewPainter:
    """Draws grids.

    Parameters
    ----------
    labels:
        What classes are positions in.
    pixels:
        The least side of the picture; a cell has a whole number of pixels.

    Raises
    ------
    ValueError
        If `pixels` is not positive.
    """

    def __init__(self, labels: LabelSet, pixels: int = 800) -> None:
        if pixels < 1:
            raise ValueError(f"pixels must be at least 1, got {pixels}")
        self._labels = labels
        self._pixels = pixels
        colors = np.array([label.color[::-1] for label in labels.labels], dtype=np.float32)
        tinted = _TINT * colors + (1 - _TINT) * 255
        # A row for each class and a last one for none, -1.
        ground = np.vstack([tinted, np.array([FREE], dtype=np.float32)])
        obstacle = np.vstack([colors, np.array([OCCUPIED], dtype=np.float32)])
        unknown = np.full((1, 3), UNKNOWN, dtype=np.float32)
        self._table = np.rint(np.vstack([ground, obstacle, unknown])).astype(np.uint8)

    def __call__(
        self,
        snapshot: GridSnapshot,
        objects: Sequence[TrackedObject] = (),
        position: NDArray[np.float64] | None = None,
    ) -> Picture:
        """Draw a grid.

        Parameters
        ----------
        snapshot:
            The grid.
        objects:
            What is tracked: boxes with their fronts, names and tracks, and where each is in a second.
        position:
            (2,) or more float64, of the sensor in the fixed frame, metres; None draws none.

        Returns
        -------
        picture:
            (S, S, 3) uint8, B, G, R.
        """
        count = len(self._labels) + 1
        index = np.full(snapshot.occupied.shape, 2 * count, dtype=np.int32)
        for occupied, begin in ((0, 0), (100, count)):
            cells = snapshot.occupied == occupied
            classes = snapshot.classes[cells].astype(np.int32)
            index[cells] = begin + np.where(classes < 0, count - 1, classes)
        scale = max(1, -(-self._pixels // snapshot.size))
        cells = self._table[index[::-1]]
        side = scale * snapshot.size
        picture: Picture = cv2.resize(cells, (side, side), interpolation=cv2.INTER_NEAREST)
        for one in objects:
            self._draw_object(picture, snapshot, scale, one)
        if position is not None:
            at = _pixels(snapshot, scale, position[None, :2])[0]
            for color, size, width in ((_HALO, 17, 5), (_INK, 15, 2)):
                cv2.drawMarker(picture, _whole(at), color, cv2.MARKER_CROSS, size, width)
        _draw_scale(picture, snapshot, scale)
        return picture

    def _draw_object(self, picture: Picture, snapshot: GridSnapshot, scale: int, one: TrackedObject) -> None:
        label = self._labels.labels[one.class_index]
        ink = tuple(int(channel) // 3 + 170 for channel in label.color[::-1])
        corners = box_corners(one.centre[:2], one.yaw, one.extent)
        front = np.array([corners[[0, 3]].mean(axis=0), one.centre[:2]])
        ahead = np.array([one.centre[:2], one.centre[:2] + _ARROW_SECONDS * one.velocity])
        for color, width in ((_HALO, 4), (ink, 2)):
            _lines(picture, _pixels(snapshot, scale, corners), True, color, width)
            _lines(picture, _pixels(snapshot, scale, front), False, color, width)
            if np.hypot(*one.velocity) > _SLOW:
                begin, end = (_whole(at) for at in _pixels(snapshot, scale, ahead))
                cv2.arrowedLine(picture, begin, end, color, width, cv2.LINE_AA)
        x, y = _whole(_pixels(snapshot, scale, corners).max(axis=0))
        _write(picture, f"{label.name} {one.track}", (x + 3, y))


def _pixels(snapshot: GridSnapshot, scale: int, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where points (N, 2) of the fixed frame are in the picture: (N, 2), columns and rows."""
    cells = (points - np.array(snapshot.origin)) / snapshot.resolution
    return np.column_stack([cells[:, 0], snapshot.size - cells[:, 1]]) * scale - 0.5


def _whole(pixel: NDArray[np.float64]) -> tuple[int, int]:
    column, row = np.clip(np.rint(pixel), -32000, 32000).astype(int).tolist()
    return column, row


def _lines(picture: Picture, points: NDArray[np.float64], closed: bool, color: tuple[int, ...], width: int) -> None:
    fixed = np.rint(np.clip(points, -32000, 32000) * (1 << _FRACTION)).astype(np.int32)
    cv2.polylines(picture, [fixed], closed, color, width, cv2.LINE_AA, _FRACTION)


def _write(picture: Picture, text: str, at: tuple[int, int]) -> None:
    for color, width in ((_HALO, 3), (_INK, 1)):
        cv2.putText(picture, text, at, _FONT, 0.4, color, width, cv2.LINE_AA)


def _draw_scale(picture: Picture, snapshot: GridSnapshot, scale: int) -> None:
    """A bar of 1, 2, 5, 10 … metres, at most a quarter of the picture, in its lower left corner."""
    longest = snapshot.size * snapshot.resolution / 4
    power = 10.0 ** np.floor(np.log10(longest))
    metres = max(step * power for step in (1, 2, 5) if step * power <= longest)
    bottom, left = len(picture) - 12, 12
    right = left + round(metres / snapshot.resolution * scale)
    for color, width in ((_HALO, 5), (_INK, 2)):
        cv2.line(picture, (left, bottom), (right, bottom), color, width, cv2.LINE_AA)
    _write(picture, f"{metres:g} m", (left, bottom - 8))
