"""A video of what cameras see, labelled, beside the grid that comes of it."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic_ros.messages import NANOSECONDS

HEIGHT = 720
WIDTH = 960
"""Of the part with the cameras; the grid is a square beside it."""

RATE = 10.0
"""Frames a second."""

LONGEST_GAP = 5.0
"""Seconds; what is longer is cut short."""

GROUND = (32, 32, 32)
INK = (230, 230, 230)


class GridVideo:
    """Writes an MP4 file, whole or not at all, on the time of the stamps that it is given.

    Parameters
    ----------
    path:
        The file, ``*.mp4``.

    Raises
    ------
    OSError
        If it cannot be written.
    ValueError
        If it is not called ``*.mp4``.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix != ".mp4":
            raise ValueError(f"{path}: expected a name that ends in .mp4")
        self.path = path
        self._unfinished = path.with_name(f".{path.stem}.{os.getpid()}.part.mp4")
        size = WIDTH + HEIGHT, HEIGHT
        self._writer = cv2.VideoWriter(str(self._unfinished), cv2.VideoWriter.fourcc(*"mp4v"), RATE, size)
        if not self._writer.isOpened():
            raise OSError(f"{path}: cannot be written as a video")
        self._next: int | None = None

    def __enter__(self) -> GridVideo:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.release()
        if kind is None:
            self._unfinished.replace(self.path)
        self._unfinished.unlink(missing_ok=True)

    def due(self, stamp: int) -> int:
        """How many frames of the video a moment is worth; 0 where the frame before is still to be seen.

        A stamp that goes back begins anew.
        """
        period = round(NANOSECONDS / RATE)
        if self._next is None or not -LONGEST_GAP <= (stamp - self._next) / NANOSECONDS <= LONGEST_GAP:
            self._next = stamp
        count = max(0, (stamp - self._next) // period + 1)
        self._next += count * period
        return int(count)

    def write(self, count: int, cameras: Mapping[str, NDArray[np.uint8]], grid: NDArray[np.uint8]) -> None:
        """Write a moment.

        Parameters
        ----------
        count:
            Frames of the video, see `due`.
        cameras:
            The picture of each camera, (H, W, 3) uint8 BGR, by its name.
        grid:
            (N, N, 3) uint8 BGR, from above.
        """
        square = cv2.resize(grid, (HEIGHT, HEIGHT), interpolation=cv2.INTER_AREA)
        frame = np.hstack([tile(list(cameras.items()), WIDTH, HEIGHT), square.astype(np.uint8)])
        for _ in range(count):
            self._writer.write(frame)


def tile(pictures: Sequence[tuple[str, NDArray[np.uint8]]], width: int, height: int) -> NDArray[np.uint8]:
    """Pictures side by side, each as large as fits, with their names where there are several.

    Parameters
    ----------
    pictures:
        Each with its name.
    width, height:
        Of the result, pixels.

    Returns
    -------
    (height, width, 3) uint8.
    """
    canvas = np.full((height, width, 3), GROUND, dtype=np.uint8)
    if not pictures:
        return canvas
    columns = max(1, round(math.sqrt(len(pictures) / 2)))
    rows = -(-len(pictures) // columns)
    for index, (name, picture) in enumerate(pictures):
        row, column = divmod(index, columns)
        top, bottom = row * height // rows, (row + 1) * height // rows
        left, right = column * width // columns, (column + 1) * width // columns
        scale = min((right - left) / picture.shape[1], (bottom - top) / picture.shape[0])
        size = max(1, int(picture.shape[1] * scale)), max(1, int(picture.shape[0] * scale))
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        y, x = (top + bottom - size[1]) // 2, (left + right - size[0]) // 2
        canvas[y : y + size[1], x : x + size[0]] = cv2.resize(picture, size, interpolation=way)
        if len(pictures) > 1:
            cv2.putText(canvas, name, (x + 8, y + 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, GROUND, 3, cv2.LINE_AA)
            cv2.putText(canvas, name, (x + 8, y + 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)
    return canvas
