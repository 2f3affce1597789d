"""Which topics of a bag a grid is built from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from panoptic_ros.bags import BagTopic, bag_messages, bag_topics
from panoptic_ros.messages.topics import CAMERA_INFO, CAMERA_TOPICS, IMAGE, info_topic_of

LIDAR, DEPTH, CAMERA = "lidar", "depth", "camera"
INPUTS = (LIDAR, DEPTH, CAMERA)
"""What tells where things are: clouds, depth images, or a camera alone over the ground."""

CLOUD, TF, ODOMETRY = "sensor_msgs/msg/PointCloud2", "tf2_msgs/msg/TFMessage", "nav_msgs/msg/Odometry"
DEPTH_ENCODINGS = ("16UC1", "32FC1")

OUTPUTS = ("obstacle_points", "labelled_points", "visibility", "object_states")
"""Last parts of the names of clouds that no sensor has made."""

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
        The CameraInfo that belongs to `labels`.
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
        Topics of ``nav_msgs/Odometry``; used where there are no transforms.
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
        """All topics but those of labels that some inputs need."""
        clouds = self.clouds if LIDAR in inputs else ()
        depths = (*self.depths, *self.depths.values()) if DEPTH in inputs else ()
        poses = self.transforms or self.odometry
        return frozenset((*clouds, *depths, *poses))

    def of_labels(self) -> frozenset[str]:
        """The topics of labels, with what lies beside them."""
        return frozenset(
            topic for camera in self.cameras for topic in (camera.labels, camera.info, *camera.companions.values())
        )


def find_grid_topics(
    path: Path,
    labels: Mapping[str, str],
    labels_path: Path | None = None,
    clouds: Sequence[str] = (),
    depths: Sequence[str] = (),
    rectified: bool = False,
) -> GridTopics:
    """Find what a grid can be built from.

    Clouds and depth images of sensors are all that do not lie below ``/truth/``; CameraInfo lies beside its images.

    Parameters
    ----------
    path:
        The bag of the sensors.
    labels:
        By the name of each camera, its topic of panoptic or camera images.
    labels_path:
        The bag of those, where it is another one.
    clouds, depths:
        Topics in place of those that would be found.
    rectified:
        Whether all images are; else those with ``rect`` in their names.

    Raises
    ------
    GridTopicsError
        If a topic is missing, there are no poses, or no CameraInfo belongs to a camera.
    SourceError, OSError
        If a bag cannot be read.
    """
    topics = bag_topics(path)
    beside = topics if labels_path is None else bag_topics(labels_path)
    cameras = tuple(_camera(labels_path or path, beside, *one, rectified) for one in labels.items())
    if not cameras:
        raise GridTopicsError(f"{path}: no camera whose images are labelled")
    transforms = tuple(sorted(name for name, topic in topics.items() if topic.kind == TF))
    odometry = tuple(sorted(name for name, topic in topics.items() if topic.kind == ODOMETRY))
    if not transforms and not odometry:
        raise GridTopicsError(f"{path}: no poses: expected {TF} or {ODOMETRY}; its topics are {_say(topics)}")
    for kind, given in ((CLOUD, clouds), (IMAGE, depths)):
        if missing := [topic for topic in given if topic not in topics or topics[topic].kind != kind]:
            raise GridTopicsError(f"{path}: no {kind} on {', '.join(missing)}; its topics are {_say(topics)}")
    sensors = {name: topic for name, topic in topics.items() if not name.startswith("/truth/") and topic.messages}
    found_clouds = tuple(clouds) or tuple(
        sorted(
            name for name, topic in sensors.items() if topic.kind == CLOUD and name.rpartition("/")[2] not in OUTPUTS
        )
    )
    found_depths = tuple(depths) or tuple(
        sorted(name for name, topic in sensors.items() if topic.kind == IMAGE and _is_depth(path, name, sensors))
    )
    if without := [topic for topic in found_depths if info_topic_of(topic) not in topics]:
        raise GridTopicsError(f"{path}: {without[0]}: no {CAMERA_INFO} on {info_topic_of(without[0])}")
    return GridTopics(
        cameras, found_clouds, {topic: info_topic_of(topic) for topic in found_depths}, transforms, odometry
    )


def _camera(path: Path, topics: Mapping[str, BagTopic], name: str, labels: str, rectified: bool) -> GridCamera:
    info = info_topic_of(labels)
    if info not in topics or topics[info].kind != CAMERA_INFO:
        raise GridTopicsError(f"{path}: {labels}: no {CAMERA_INFO} on {info}, so nobody knows where its pixels look")
    namespace, _, last = labels.removesuffix("/compressed").rpartition("/")
    companions = {
        kind: f"{namespace}/{kind}"
        for kind in ("instances", "confidence")
        if last == "panoptic" and f"{namespace}/{kind}" in topics
    }
    return GridCamera(name, labels, info, rectified or RECTIFIED in last, companions)


def _is_depth(path: Path, name: str, topics: Mapping[str, BagTopic]) -> bool:
    """Whether an image's pixels are distances, by its first message."""
    if info_topic_of(name) not in topics or name.rpartition("/")[2] in CAMERA_TOPICS:
        return False
    return any(message.content.encoding in DEPTH_ENCODINGS for message in islice(bag_messages(path, [name]), 1))


def _say(topics: Mapping[str, BagTopic]) -> str:
    return ", ".join(f"{name} ({topic.kind})" for name, topic in sorted(topics.items())) or "none"
