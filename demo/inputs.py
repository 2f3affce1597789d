"""What the demo's vehicle sends: a synthetic drive made on the spot, or frames of a video, a bag or a folder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from exchange import DemoError
from numpy.typing import NDArray
from rclpy.serialization import serialize_message
from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.rosbag2 import ReaderError
from rosbags.typesys import Stores, get_typestore
from stamps import header_stamp

from panoptic_ros import messages
from panoptic_ros.bags import read_frames
from panoptic_ros.encodings import ImageError
from panoptic_ros.frames import SourceError
from panoptic_ros.messages import NANOSECONDS
from panoptic_ros.messages.topics import IMAGE, LABEL_TOPIC, POINT_CLOUD, TRANSFORMS

VIDEO_RATE = 10  # frames a second
RIG = "two_cameras"
TF = TRANSFORMS  # the one type that has no header
TRUTH = "/truth/"
POSES = ("/tf", "/tf_static")
LATCHED = ("/tf_static", f"{TRUTH}{LABEL_TOPIC}")


class Shot(NamedTuple):
    """A message to send: when (ns after the first one), where, of which type, and its bytes (CDR, little-endian).

    `stamp` is what its header says, ns on the clock of `when`.
    """

    when: int
    stamp: int
    topic: str
    kind: str
    data: bytes


class Input(Protocol):
    """What is sent to the node.

    Attributes
    ----------
    cameras:
        The image topic of each camera, by its name.
    clouds:
        The topics of lidars that a grid can be made of: none where nobody says where they are.
    rate:
        Frames a second of each camera.
    has_truth:
        Whether there are messages on ``/truth/<camera>/panoptic``.
    """

    cameras: dict[str, str]
    clouds: tuple[str, ...]
    rate: float
    has_truth: bool

    def shots(self) -> Iterator[Shot]:
        """All messages, in the order of their times."""


class VideoInput:
    """The first frames of a video, a bag or a folder of images, as one camera.

    Raises
    ------
    DemoError
        If nothing can be read.
    """

    clouds = ()
    has_truth = False

    def __init__(self, path: Path, count: int) -> None:
        self.cameras = {"camera": "/camera/image_raw"}
        self.rate = float(VIDEO_RATE)
        try:
            images = [frame.image for frame in islice(read_frames(path), count)]
        except (SourceError, OSError) as error:
            raise DemoError(str(error)) from error
        self._pictures: list[NDArray[np.uint8]] = [image for image in images if not isinstance(image, ImageError)]
        if not self._pictures:
            raise DemoError(f"{path}: no image can be read")
        self.about = f"{len(self._pictures)} frames of {path}"

    def shots(self) -> Iterator[Shot]:
        types = messages.RosMessageTypes()
        for index, picture in enumerate(self._pictures):
            when = index * NANOSECONDS // VIDEO_RATE
            header = messages.make_header(types, 0, "camera_optical_frame")
            image = messages.bgr_image(types, header, picture)
            yield Shot(when, when, "/camera/image_raw", IMAGE, serialize_message(image))


class DriveInput:
    """All of a synthetic drive but its clock: it is played on the time of the wall.

    Raises
    ------
    DemoError
        If it cannot be read, or has no camera's compressed images.
    """

    has_truth = True

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._open() as reader:
            topics = {connection.topic: connection.msgtype for connection in reader.connections}
            counts = {connection.topic: connection.msgcount for connection in reader.connections}
            seconds = reader.duration / NANOSECONDS
        suffix = "/image_raw/compressed"
        self.cameras = {name.removesuffix(suffix)[1:]: name for name in sorted(topics) if name.endswith(suffix)}
        if not self.cameras:
            raise DemoError(f"{path}: expected images on /<camera>{suffix}; its topics are {', '.join(sorted(topics))}")
        placed = messages.RosMessageTypes().has(TF) and all(topic in topics for topic in POSES)
        lidars = (name for name, kind in sorted(topics.items()) if kind == POINT_CLOUD and not name.startswith(TRUTH))
        self.clouds = tuple(lidars) if placed else ()
        self.rate = min(counts[topic] for topic in self.cameras.values()) / seconds
        self.about = f"{path}: {seconds:.0f} s, {path.stat().st_size / 1e6:.0f} MB"

    def shots(self) -> Iterator[Shot]:
        with self._open() as reader:
            wanted = [connection for connection in reader.connections if connection.topic != "/clock"]
            for connection, time, data in reader.messages(connections=wanted):
                when = time - reader.start_time
                stamp = when if connection.msgtype == TF else header_stamp(data) - reader.start_time
                yield Shot(when, stamp, connection.topic, connection.msgtype, bytes(data))

    @contextmanager
    def _open(self) -> Iterator[AnyReader]:
        try:
            with AnyReader([self._path], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
                yield reader
        except (AnyReaderError, ReaderError, OSError) as error:
            raise DemoError(f"{self._path}: {error}") from error


def make_drive(folder: Path, seconds: float, seed: int) -> Path:
    """The bag of a drive, made now unless it was made before; raises DemoError if that fails."""
    path = folder / f"drive_{seconds:g}s_seed{seed}_annotated.mcap"
    if not path.exists():
        command = [sys.executable, "-m", "panoptic_training.commands.main", "synthesize", "drive", str(path)]
        options = ["--rig", RIG, "--duration", str(seconds), "--seed", str(seed), "--weather", "clear"]
        options += ["--labelling", "annotated"]  # as the shipped network has learned
        status = subprocess.run([*command, *options], check=False).returncode
        if status:
            raise DemoError(f"{path} was not made: panoptic-train synthesize drive ended with status {status}")
    return path
