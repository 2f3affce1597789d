"""Bags in and out without ROS: rosbag2 (MCAP, sqlite3) and ROS 1 bags are read, MCAP is written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from rosbags.highlevel import AnyReader
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from panoptic_ros.encodings import ImageError
from panoptic_ros.frames import FolderSource, Frame, FrameSource, SourceError, VideoSource
from panoptic_ros.messages import BagMessageTypes, image_to_bgr, nanoseconds
from panoptic_ros.messages.topics import CAMERA_INFO, COMPRESSED_IMAGE, IMAGE, info_topic_of

BAG_SUFFIXES = (".bag", ".mcap", ".db3")
IMAGE_TYPES = (IMAGE, COMPRESSED_IMAGE)


def open_source(path: Path, topics: Sequence[str] = (), rate: float | None = None) -> FrameSource:
    """Open a bag, a video or a folder of images.

    Parameters
    ----------
    path:
        A bag (a rosbag2 folder, ``.mcap``, ``.db3`` or ROS 1 ``.bag`` file), a video or a folder of images.
    topics:
        Of a bag: the image topics to read, all if empty.
    rate:
        Of a folder or video: frames a second.

    Raises
    ------
    SourceError
        If there is no such file, it is not what it should be, or has no such topics.
    """
    if not path.exists():
        raise SourceError(f"{path}: no such file or folder")
    if path.suffix in BAG_SUFFIXES or (path / "metadata.yaml").is_file():
        return BagSource(path, topics)
    if topics:
        raise SourceError(f"{path}: is no bag and has no topics to choose from, got {', '.join(topics)}")
    if path.is_dir():
        recordings = sorted(file.name for file in path.iterdir() if file.suffix in BAG_SUFFIXES)
        if recordings:
            raise SourceError(f"{path}: has bags but no metadata.yaml; give one of them: {', '.join(recordings)}")
        return FolderSource(path, rate)
    return VideoSource(path, rate)


def read_frames(path: Path, topics: Sequence[str] = (), rate: float | None = None) -> Iterator[Frame]:
    """Read all frames of what `open_source` opens, in the order of their recording."""
    yield from open_source(path, topics, rate).frames()


class BagTopic(NamedTuple):
    """What a bag says of one of its topics: the type, as in ``sensor_msgs/msg/Image``, and how many messages."""

    kind: str
    messages: int


class BagMessage(NamedTuple):
    """A message of a bag, and when it was logged, nanoseconds."""

    topic: str
    log_time: int
    content: Any


def bag_topics(path: Path) -> dict[str, BagTopic]:
    """What topics a bag has, by name.

    Raises
    ------
    SourceError
        If it cannot be read.
    OSError
        If there is no such file.
    """
    with _opened(path) as reader:
        topics: dict[str, BagTopic] = {}
        for connection in reader.connections:  # a topic has one for each of its publishers
            name = _absolute(connection.topic)
            before = topics[name].messages if name in topics else 0
            topics[name] = BagTopic(connection.msgtype, before + connection.msgcount)
        return topics


def bag_messages(path: Path, topics: Collection[str]) -> Iterator[BagMessage]:
    """Read the messages on some topics of a bag, in the order of their recording.

    Raises
    ------
    SourceError
        If the bag or a message in it cannot be read.
    OSError
        If there is no such file.
    """
    with _opened(path) as reader:
        wanted = [connection for connection in reader.connections if _absolute(connection.topic) in topics]
        for connection, log_time, data in _raw_messages(path, reader, wanted):
            topic = _absolute(connection.topic)
            try:
                content = reader.deserialize(data, connection.msgtype)
            except Exception as error:  # rosbags raises whatever Python does on the bytes of a broken message
                raise SourceError(f"{path}: {topic}: {_broken(data, error)}") from error
            yield BagMessage(topic, log_time, content)


class BagSource:
    """The camera frames in a bag.

    Each has the CameraInfo that was recorded last before it on the topic beside its own (``camera_info`` in the same
    namespace), or the first that there is.

    Parameters
    ----------
    path:
        The bag.
    topics:
        Image topics; if empty, all but depth images in ``compressedDepth`` and compressed copies of a topic that the
        bag has uncompressed.

    Raises
    ------
    SourceError
        If the bag cannot be read, has no images, lacks one of the `topics`, or has no message on any of them.
    """

    def __init__(self, path: Path, topics: Sequence[str] = ()) -> None:
        self.path = path
        self.files = tuple(sorted(file for file in path.iterdir() if file.is_file())) if path.is_dir() else (path,)
        with _opened(self.path) as reader:
            names = {_absolute(connection.topic): connection.msgtype for connection in reader.connections}
            images = sorted(name for name, kind in names.items() if kind in IMAGE_TYPES)
            there = ", ".join(f"{name} ({kind})" for name, kind in sorted(names.items())) or "none"
            if topics:
                wanted = tuple(dict.fromkeys(_absolute(topic) for topic in topics))
                missing = [topic for topic in wanted if topic not in images]
                if missing:
                    raise SourceError(f"{path}: no images on {', '.join(missing)}; its topics are {there}")
            else:
                wanted = tuple(
                    name
                    for name in images
                    if not name.endswith("/compressedDepth")
                    and not (name.endswith("/compressed") and name.removesuffix("/compressed") in images)
                )
            if not wanted:
                raise SourceError(f"{path}: no camera images (Image or CompressedImage); its topics are {there}")
            self.topics = wanted
            self.count = sum(
                connection.msgcount for connection in reader.connections if _absolute(connection.topic) in wanted
            )
            if not self.count:
                raise SourceError(f"{path}: no messages on {', '.join(wanted)}; its topics are {there}")

    def frames(self, start: int = 0) -> Iterator[Frame]:
        """See `FrameSource.frames`."""
        with _opened(self.path) as reader:
            info_topics = {topic: info_topic_of(topic) for topic in self.topics}
            images = [one for one in reader.connections if _absolute(one.topic) in self.topics]
            infos = [
                one
                for one in reader.connections
                if one.msgtype == CAMERA_INFO and _absolute(one.topic) in info_topics.values()
            ]
            last: dict[str, bytes] = {}
            for name in {_absolute(one.topic) for one in infos}:
                of_camera = [one for one in infos if _absolute(one.topic) == name]
                last.update((name, data) for _, _, data in islice(_raw_messages(self.path, reader, of_camera), 1))
            index = 0
            for connection, log_time, data in _raw_messages(self.path, reader, images + infos):
                topic = _absolute(connection.topic)
                if connection.msgtype == CAMERA_INFO:
                    last[topic] = data
                    continue
                if index >= start:
                    yield self._frame(reader, connection, log_time, data, last.get(info_topics[topic]))
                index += 1

    def _frame(
        self, reader: AnyReader, connection: Connection, log_time: int, data: bytes, info: bytes | None
    ) -> Frame:
        """Decode one message; what is wrong with it alone is not the end of the bag."""
        topic = _absolute(connection.topic)
        try:
            message: Any = reader.deserialize(data, connection.msgtype)
            calibration = reader.deserialize(info, CAMERA_INFO) if info else None
        except Exception as error:  # rosbags raises whatever Python does on the bytes of a broken message
            reason = ImageError(f"{self.path}: {topic}: {_broken(data, error)}")
            return Frame(topic, log_time, "", log_time, reason)
        stamp = nanoseconds(message.header.stamp)
        try:
            image: Any = image_to_bgr(message)
        except ImageError as error:
            image = ImageError(f"{self.path}: {topic}: {error}")
        return Frame(topic, stamp, message.header.frame_id, log_time, image, calibration)


class BagWriter:
    """Writes one MCAP file, whole or not at all.

    It holds the definitions of its messages, so that any reader of MCAP can decode it.  Until it is closed it lies in a
    folder of its own beside `path`; an error, or the end of the process, leaves `path` as it was.

    Parameters
    ----------
    path:
        The file, ``*.mcap``.
    types:
        The types of its messages.
    latched:
        Topics that late subscribers get too (transient local), which players of bags look at.

    Raises
    ------
    OSError
        If it cannot be written.
    """

    def __init__(self, path: Path, types: BagMessageTypes, latched: Sequence[str] = ()) -> None:
        self.path = path
        self._types = types
        self._latched = frozenset(latched)
        self._folder = path.with_name(f".{path.stem}.unfinished")
        self._connections: dict[tuple[str, str], Connection] = {}
        shutil.rmtree(self._folder, ignore_errors=True)
        # rosbags calls the file in a bag's folder as the folder and writes that name into it, so it must be the last.
        self._writer = Writer(self._folder / path.stem, version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)

        self._writer.open()

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def close(self) -> None:
        """Finish the file and put it in its place."""
        with self._naming_itself():
            self._writer.close()
            written = self._folder / self.path.stem / f"{self.path.stem}.mcap"
            with written.open("rb") as file:
                os.fsync(file.fileno())
            written.replace(self.path)
        shutil.rmtree(self._folder, ignore_errors=True)

    def discard(self) -> None:
        """Leave nothing of the file."""
        with suppress(OSError):  # of a full disk, on which what is not written yet cannot be
            self._writer.abort()
        shutil.rmtree(self._folder, ignore_errors=True)

    def write(self, topic: str, kind: str, log_time: int, message: Any) -> None:
        """Write a message of type `kind`, as in ``sensor_msgs/msg/Image``, that is logged at `log_time` nanoseconds."""
        self.write_raw(topic, kind, log_time, self._types.store.serialize_cdr(message, kind))

    def write_raw(self, topic: str, kind: str, log_time: int, data: bytes | memoryview) -> None:
        """Write a message that is serialised."""
        key = topic, kind
        if key not in self._connections:
            self._connections[key] = self._writer.add_connection(
                topic, kind, typestore=self._types.store, offered_qos_profiles=[_qos(topic in self._latched)]
            )
        with self._naming_itself():
            self._writer.write(self._connections[key], log_time, data)

    @contextmanager
    def _naming_itself(self) -> Iterator[None]:
        """Say which file cannot be written: the system does not know it when a disk is full."""
        try:
            yield
        except OSError as error:
            if error.filename is not None:
                raise
            raise OSError(error.errno, error.strerror, str(self.path)) from error


def copy_messages(path: Path, writer: BagWriter) -> None:
    """Append all messages of an MCAP file that `BagWriter` wrote.

    Raises
    ------
    SourceError
        If it cannot be read.
    """
    with _naming(path), Reader(path) as reader:
        for connection, log_time, data in reader.messages():
            writer.write_raw(connection.topic, connection.msgtype, log_time, data)


@contextmanager
def _opened(path: Path) -> Iterator[AnyReader]:
    with _naming(path):
        reader = AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY))
        reader.open()
    try:
        yield reader
    finally:
        reader.close()


def _raw_messages(
    path: Path, reader: AnyReader, connections: list[Connection]
) -> Iterator[tuple[Connection, int, bytes]]:
    if connections:  # none would mean all
        with _naming(path):
            yield from reader.messages(connections=connections)


def _broken(data: bytes, error: Exception) -> str:
    return f"a message of {len(data)} bytes cannot be read: {error}"


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Say with its name what goes wrong in reading a bag."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # rosbags raises whatever Python does on the bytes of a broken file
        repair = {".mcap": "; `mcap recover` may help", ".bag": "; `rosbag reindex` may help"}.get(path.suffix, "")
        raise SourceError(
            f"{path}: cannot be read as a bag; is it truncated? ({type(error).__name__}: {error}){repair}"
        ) from error


def _absolute(topic: str) -> str:
    """ROS 1 bags hold names without their first slash too."""
    return "/" + topic.lstrip("/")


def _qos(latched: bool) -> Qos:
    """Reliable, as the node publishes."""
    forever = QosTime(9223372036, 854775807)
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=1 if latched else 5,
        reliability=QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=forever,
        lifespan=forever,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=forever,
        avoid_ros_namespace_conventions=False,
    )
