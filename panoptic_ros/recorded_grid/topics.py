"""Which topics of a bag a grid is built from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from panoptic_ros.bags import IMAGE_TYPES, BagTopic, bag_messages, bag_topics
from panoptic_ros.messages.topics import CAMERA_INFO, CAMERA_TOPICS, IMAGE, info_topic_of

LIDAR, DEPTH, CAMERA = "lidar", "depth", "camera"
INPUTS = (LIDAR, DEPTH, CAMERA)
"""What tells where things are: clouds, depth images, or a camera alone over the ground."""

CLOUD, TF, ODOMETRY = "sensor_msgs/msg/PointCloud2", "tf2_msgs/msg/TFMessage", "nav_msgs/msg/Odometry"
DEPTH_ENCODINGS = ("16UC1", "32FC1")

TRUTH = "/truth/"
"""What lies below it is no sensor's."""

GRID = "nav_grid"
"""What lies beside the clouds that a grid has made, which are no sensor's."""

STATIC = "tf_static"
"""The last part of the name of the topic whose transforms hold for all time."""

COMPANIONS = ("instances", "confidence")
"""Topics that may lie beside panoptic images: the scores of instances, and of pixels."""

RECTIFIED = "rect"
"""What the names of rectified images have in them."""


class GridTopicsError(ValueError):
    """A bag lacks what a grid needs; the message names the bag and what would help."""


@dataclass(frozen=True, slots=True)
class GridCamera:
    """A camera that labels points.

    Attributes
    ----------
    name:
        The camera's.
    labels:
        Its panoptic images, or, where a network is to segment them, its camera images.
    info:
        The CameraInfo of `labels`, or of the images that they were made from.
    rectified:
        Whether the images are.
    companions:
        Topics with the instances' scores and the pixels' confidence of `labels`, by ``instances`` and ``confidence``,
        as far as they are there.
    """

    name: str
    labels: str
    info: str
    rectified: bool
    companions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class GridTopics:
    """What a grid is built from.

    Attributes
    ----------
    cameras:
        In the order of their indices.
    clouds:
        Topics of lidars.
    depths:
        Topics of depth images with those of their CameraInfo.
    transforms:
        Topics of ``tf2_msgs/TFMessage``.
    odometry:
        Topics of ``nav_msgs/Odometry``; none where transforms say where the vehicle is.
    """

    cameras: tuple[GridCamera, ...]
    clouds: tuple[str, ...]
    depths: Mapping[str, str]
    transforms: tuple[str, ...]
    odometry: tuple[str, ...]

    def inputs(self) -> tuple[str, ...]:
        """Which of `INPUTS` there are."""
        return tuple(name for name, there in ((LIDAR, self.clouds), (DEPTH, self.depths), (CAMERA, True)) if there)

    def of_sensors(self, inputs: Collection[str] = INPUTS) -> frozenset[str]:
        """What some inputs need beside labels: clouds, depth images, poses and every CameraInfo."""
        clouds = self.clouds if LIDAR in inputs else ()
        depths = (*self.depths, *self.depths.values()) if DEPTH in inputs else ()
        infos = (camera.info for camera in self.cameras)
        return frozenset((*clouds, *depths, *self.transforms, *self.odometry, *infos))

    def of_labels(self) -> frozenset[str]:
        """The topics of labels, with their scores."""
        return frozenset(topic for camera in self.cameras for topic in (camera.labels, *camera.companions.values()))


def grid_camera(path: Path, name: str, labels: str, rectified: bool = False) -> GridCamera:
    """A camera by the topic of its panoptic or camera images, with what lies beside that.

    Parameters
    ----------
    path:
        The bag.
    name, labels:
        See `GridCamera`.
    rectified:
        Whether the images are, whatever they are called.

    Raises
    ------
    GridTopicsError
        If no CameraInfo lies beside the images.
    SourceError, OSError
        If the bag cannot be read.
    """
    topics, info = bag_topics(path), info_topic_of(labels)
    if info not in topics or topics[info].kind != CAMERA_INFO:
        raise GridTopicsError(f"{path}: {labels}: no {CAMERA_INFO} on {info}, so nobody knows where its pixels look")
    namespace, _, last = labels.removesuffix("/compressed").rpartition("/")
    companions = {
        kind: f"{namespace}/{kind}" for kind in COMPANIONS if last == "panoptic" and f"{namespace}/{kind}" in topics
    }
    return GridCamera(name, labels, info, rectified or RECTIFIED in last, companions)


def find_image_topics(path: Path) -> tuple[str, ...]:
    """The images of cameras that a grid can use: with a CameraInfo, no truth, no depth and no result of ours.

    Of an image that is there compressed and uncompressed, the latter.

    Raises
    ------
    GridTopicsError
        If there are none.
    SourceError, OSError
        If the bag cannot be read.
    """
    topics = bag_topics(path)
    found = sorted(
        name
        for name, topic in topics.items()
        if topic.kind in IMAGE_TYPES
        and topic.messages
        and not name.startswith(TRUTH)
        and info_topic_of(name) in topics
        and not name.endswith("/compressedDepth")
        and not name.removesuffix("/compressed").endswith(tuple(f"/{result}" for result in CAMERA_TOPICS))
        and not (name.endswith("/compressed") and name.removesuffix("/compressed") in topics)
        and not _is_depth(path, name, topics)
    )
    if not found:
        raise GridTopicsError(f"{path}: no images with a CameraInfo beside them; its topics are {_say(topics)}")
    return tuple(found)


def find_grid_topics(path: Path, cameras: Sequence[GridCamera]) -> GridTopics:
    """Find the sensors and poses that a grid can be built from.

    Clouds and depth images are all that do not lie below ``/truth/`` and that no node of ours has made.

    Parameters
    ----------
    path:
        The bag.
    cameras:
        Those that label points.

    Raises
    ------
    GridTopicsError
        If there are no poses.
    SourceError, OSError
        If the bag cannot be read.
    """
    topics = bag_topics(path)
    transforms = tuple(sorted(name for name, topic in topics.items() if topic.kind == TF and topic.messages))
    odometry = tuple(sorted(name for name, topic in topics.items() if topic.kind == ODOMETRY and topic.messages))
    moving = tuple(name for name in transforms if name.rpartition("/")[2] != STATIC)
    if not moving and not odometry:
        raise GridTopicsError(f"{path}: no poses: expected {TF} or {ODOMETRY}; its topics are {_say(topics)}")
    sensors = {name: topic for name, topic in topics.items() if not name.startswith(TRUTH) and topic.messages}
    clouds = tuple(
        sorted(
            name
            for name, topic in sensors.items()
            if topic.kind == CLOUD and f"{name.rpartition('/')[0]}/{GRID}" not in topics
        )
    )
    depths = {name: info_topic_of(name) for name, topic in sorted(sensors.items()) if _is_depth(path, name, sensors)}
    return GridTopics(tuple(cameras), clouds, depths, transforms, () if moving else odometry)


def _is_depth(path: Path, name: str, topics: Mapping[str, BagTopic]) -> bool:
    """Whether an image's pixels are distances, by its first message."""
    if topics[name].kind != IMAGE or info_topic_of(name) not in topics or name.rpartition("/")[2] in CAMERA_TOPICS:
        return False
    return any(message.content.encoding in DEPTH_ENCODINGS for message in islice(bag_messages(path, [name]), 1))


def _say(topics: Mapping[str, BagTopic]) -> str:
    return ", ".join(f"{name} ({topic.kind})" for name, topic in sorted(topics.items())) or "none"
