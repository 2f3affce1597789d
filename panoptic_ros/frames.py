"""Camera frames from files without ROS: a video or a folder of images."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic_ros.encodings import ImageError, decompress
from panoptic_ros.messages import NANOSECONDS

DEFAULT_RATE = 10.0  # Hz, where neither the files nor the user say one
FRAME_ID = "camera"  # of frames that no driver has named
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".pgm", ".ppm", ".tif", ".tiff", ".webp")


class SourceError(ValueError):
    """Frames cannot be had from a file or folder; the message names it and what was expected."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One camera frame.

    Attributes
    ----------
    topic:
        Where it was published; the camera's name of a source that has one camera only.
    stamp:
        When it was taken, nanoseconds.
    frame_id:
        The camera's coordinate frame.
    log_time:
        When it was recorded, nanoseconds.
    image:
        (H, W, 3) uint8 BGR, or why there is none.
    info:
        The CameraInfo that goes with it, or None.
    """

    topic: str
    stamp: int
    frame_id: str
    log_time: int
    image: NDArray[np.uint8] | ImageError
    info: Any | None = None


class FrameSource(Protocol):
    """Frames in the order of their recording.

    Attributes
    ----------
    path:
        The file or folder.
    topics:
        The cameras' topics; one, named ``camera``, for sources that know none.
    count:
        How many frames there are; 0 if that is not known before they are read.
    files:
        All files that the frames come from.
    """

    path: Path
    topics: tuple[str, ...]
    count: int
    files: tuple[Path, ...]

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """Read the frames; the first `start` are passed over quickly.

        Raises
        ------
        SourceError
            If the source cannot be read on.  A single frame that cannot be decoded is a `Frame` with the reason.
        """
        ...


class FolderSource:
    """The images in a folder, by name, numbers counted as numbers.

    Parameters
    ----------
    path:
        The folder.
    rate:
        Images a second: they are stamped from 0 on.

    Raises
    ------
    SourceError
        If there are no images in it.
    """

    def __init__(self, path: Path, rate: float | None = None) -> None:
        self.path = path
        self.topics: tuple[str, ...] = (FRAME_ID,)
        self.files = tuple(
            sorted((file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES), key=_natural_order)
        )
        self.count = len(self.files)
        self._rate = rate or DEFAULT_RATE
        if not self.files:
            raise SourceError(f"{path}: no images in this folder, expected {', '.join(IMAGE_SUFFIXES)}")

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """See `FrameSource.frames`."""
        for index, file in enumerate(self.files[start:], start):
            stamp = round(index * NANOSECONDS / self._rate)
            yield Frame(FRAME_ID, stamp, FRAME_ID, stamp, _read_image(file))


class VideoSource:
    """The frames of a video, stamped with their own times from the video's start.

    Parameters
    ----------
    path:
        The file.
    rate:
        Frames a second, in place of the times in the file.

    Raises
    ------
    SourceError
        If OpenCV cannot read it as a video.
    """

    def __init__(self, path: Path, rate: float | None = None) -> None:
        self.path = path
        self.topics: tuple[str, ...] = (FRAME_ID,)
        self.files: tuple[Path, ...] = (path,)
        self._rate = rate
        capture = self._open()
        self.count = max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        capture.release()

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """See `FrameSource.frames`."""
        capture = self._open()
        try:
            own_rate = capture.get(cv2.CAP_PROP_FPS)
            period = NANOSECONDS / (
                self._rate or (own_rate if math.isfinite(own_rate) and own_rate > 0 else DEFAULT_RATE)
            )
            index, stamp = 0, 0
            while capture.grab():
                if self._rate:
                    stamp = round(index * period)
                elif index:
                    own = round(capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
                    stamp = own if own > stamp else stamp + round(period)  # some files have no times
                if index >= start:
                    decoded, pixels = capture.retrieve()
                    where = f"{self.path}: frame {index}"
                    image: Any = pixels if decoded else ImageError(f"{where} cannot be decoded")
                    yield Frame(FRAME_ID, stamp, FRAME_ID, stamp, image)
                index += 1
        finally:
            capture.release()
        # The count in a whole file's header may be off by one.
        if index < self.count - 1 and start <= index:
            reason = ImageError(
                f"{self.path}: ends after {index} of {self.count} frames; the file is truncated or corrupt"
            )
            yield Frame(FRAME_ID, stamp, FRAME_ID, stamp, reason)

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(self.path))
        if not capture.isOpened() or not capture.get(cv2.CAP_PROP_FRAME_WIDTH):
            raise SourceError(f"{self.path}: not a bag (.bag, .mcap, .db3) and OpenCV cannot read it as a video")
        return capture


def camera_names(topics: Sequence[str]) -> dict[str, str]:
    """A name for each camera by its topic, for what is published below it.

    A single camera needs none (``''``).  Of several, each is called as its namespace, ``front`` for
    ``/front/image_raw/compressed``, or by its whole topic where that is not enough to tell them apart.
    """
    if len(topics) == 1:
        return {topics[0]: ""}
    whole = {topic: _base(topic).strip("/").replace("/", "_") for topic in topics}
    short = {topic: _base(topic).strip("/").rpartition("/")[0].replace("/", "_") for topic in topics}
    names = short if len(set(short.values())) == len(topics) and all(short.values()) else whole
    if len(set(names.values())) < len(topics):
        raise SourceError(f"the topics {', '.join(topics)} are of the same camera, expected one of them")
    return names


def _base(topic: str) -> str:
    return topic.removesuffix("/compressed")


def _natural_order(file: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", file.name)]


def _read_image(file: Path) -> NDArray[np.uint8] | ImageError:
    """Read an image as a camera would send it: truncated files are refused and EXIF's rotation is not followed."""
    try:
        content = file.read_bytes()
        if file.suffix.lower() in (".jpg", ".jpeg", ".png"):
            return decompress(content, file.suffix.lower().lstrip("."))
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        pixels: Any = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), flags) if content else None
    except (ImageError, OSError, cv2.error) as error:
        return ImageError(f"{file}: {error}")
    if pixels is None:
        return ImageError(f"{file}: corrupt, or not the image that its suffix says")
    frame: NDArray[np.uint8] = pixels
    return frame
