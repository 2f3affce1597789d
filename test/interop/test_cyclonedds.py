"""Another implementation of DDS understands what the node publishes, and the node what that one publishes.

ROS's own tests would not see a message that only ROS can read: both sides would share the mistake.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("cyclonedds", reason="needs CycloneDDS's Python package, the independent implementation")

import cyclone
import sensor_msgs.msg
from node_harness import CAR, ROAD, TIMEOUT, FakeSource, Ros, own_domain, picture, stamp_of
from vision_msgs.msg import Detection2DArray

DOMAIN = own_domain(__name__)
IMAGES = {"panoptic": np.int32, "semantic": np.uint8, "instance_ids": np.uint16}
"""The node's topics of images and their numbers."""


@pytest.fixture
def ros() -> Iterator[Ros]:
    ros = Ros(DOMAIN)
    yield ros
    ros.close()


@pytest.fixture
def stranger() -> cyclone.Stranger:
    return cyclone.Stranger(DOMAIN)


@pytest.fixture
def noise() -> np.ndarray:
    """(30, 41, 3) BGR of all values: a byte that is lost or moved shows, as does padding of the odd width."""
    return np.random.default_rng(5).integers(0, 256, (30, 41, 3), dtype=np.uint8)


def pixels(message: Any, dtype: type) -> np.ndarray:
    """The (H, W) numbers of an image of either implementation."""
    return np.asarray(message.data, dtype=np.uint8).view(dtype).reshape(message.height, message.width)


def as_data(message: Any) -> Any:
    """A message of either implementation as nested lists of its values, in the order of its definition."""
    if isinstance(message, str | int | float):
        return message
    if hasattr(message, "__iter__"):
        return [as_data(item) for item in message]
    names = (
        message.get_fields_and_field_types()
        if hasattr(message, "get_fields_and_field_types")
        else message.__dataclass_fields__
    )
    return [as_data(getattr(message, name)) for name in names]


def header(sec: int, frame_id: str = "camera_optical") -> cyclone.Header:
    return cyclone.Header(stamp=cyclone.Time(sec=sec, nanosec=sec + 1), frame_id=frame_id)


def raw(frame: np.ndarray, sec: int) -> cyclone.Image:
    height, width = frame.shape[:2]
    return cyclone.Image(header(sec), height, width, "bgr8", 0, 3 * width, frame.tobytes())


def test_it_receives_what_ros_receives(ros: Ros, stranger: cyclone.Stranger) -> None:
    source = FakeSource()
    ros.start(source)
    kinds = {topic: (sensor_msgs.msg.Image, cyclone.Image) for topic in (*IMAGES, "overlay")}
    kinds["instances"] = Detection2DArray, cyclone.Detection2DArray
    kinds["overlay/compressed"] = sensor_msgs.msg.CompressedImage, cyclone.CompressedImage
    by_ros = {topic: ros.listen(kind, f"/panoptic_node/{topic}") for topic, (kind, _) in kinds.items()}
    by_cyclone = {topic: stranger.listen(kind, f"/panoptic_node/{topic}") for topic, (_, kind) in kinds.items()}
    camera = ros.publisher(sensor_msgs.msg.Image, "/camera/image_raw")
    ros.connected(camera)

    def common() -> tuple[int, int] | None:
        """A stamp that has come on all topics, to both."""
        stranger.take()
        stamps = [{stamp_of(one) for one in messages} for messages in (*by_ros.values(), *by_cyclone.values())]
        return min(set.intersection(*stamps), default=None)

    stamp = ros.until(
        lambda: camera.publish(ros.image(picture())) or ros.spin(0.05) or common(), "a frame on all topics of both"
    )
    for topic in kinds:
        (ours,) = (one for one in by_ros[topic] if stamp_of(one) == stamp)
        (theirs,) = (one for one in by_cyclone[topic] if stamp_of(one) == stamp)
        assert as_data(theirs) == as_data(ours), topic
        assert theirs.header.frame_id == "camera_optical"
    ids = pixels(by_cyclone["panoptic"][0], np.int32)
    np.testing.assert_array_equal(ids, np.where(picture()[..., 0] > 127, CAR * 1000 + 1, ROAD * 1000))
    np.testing.assert_array_equal(pixels(by_cyclone["semantic"][0], np.uint8), ids // 1000)
    np.testing.assert_array_equal(pixels(by_cyclone["instance_ids"][0], np.uint16), ids % 1000)
    (car,) = by_cyclone["instances"][0].detections
    assert (car.id, car.results[0].hypothesis.class_id, car.results[0].hypothesis.score) == ("1", "car", 0.75)
    assert (car.bbox.center.position.x, car.bbox.size_x, car.bbox.size_y) == (24.0, 16.0, 24.0)


def test_it_gets_the_latched_labels_though_it_comes_late(ros: Ros, stranger: cyclone.Stranger) -> None:
    source = FakeSource()
    node = ros.start(source)
    ros.until(lambda: source.loaded and node.count_publishers("/panoptic_node/label_info"), "the labels")
    labels = stranger.listen(cyclone.LabelInfo, "/panoptic_node/label_info", latched=True)
    stranger.until(lambda: labels, "the labels")
    names = {one.class_id: one.class_name for one in labels[0].class_map}
    assert names[0] == "void"
    assert (names[ROAD], names[CAR]) == ("road", "car")


def test_the_node_takes_its_images(ros: Ros, stranger: cyclone.Stranger, noise: np.ndarray) -> None:
    ros.start(FakeSource())
    results = stranger.listen(cyclone.Image, "/panoptic_node/panoptic")
    camera = stranger.writer(cyclone.Image, "/camera/image_raw")
    stranger.until(lambda: camera.write(raw(noise, 7)) or results, "a result")
    assert as_data(results[0].header) == [[7, 8], "camera_optical"]
    expected = np.where(noise[..., 0] > 127, CAR * 1000 + 1, ROAD * 1000)
    np.testing.assert_array_equal(pixels(results[0], np.int32), expected)


def test_the_node_finds_out_that_its_images_are_compressed(
    ros: Ros, stranger: cyclone.Stranger, noise: np.ndarray
) -> None:
    ros.start(FakeSource())
    results = stranger.listen(cyclone.Image, "/panoptic_node/panoptic")
    camera = stranger.writer(cyclone.CompressedImage, "/camera/image_raw")  # the name says nothing
    png = cv2.imencode(".png", noise)[1].tobytes()
    message = cyclone.CompressedImage(header(9), "png", png)
    stranger.until(lambda: camera.write(message) or results, "a result")
    expected = np.where(noise[..., 0] > 127, CAR * 1000 + 1, ROAD * 1000)
    np.testing.assert_array_equal(pixels(results[0], np.int32), expected)


def test_the_node_as_a_user_starts_it_serves_it_alone(stranger: cyclone.Stranger, tmp_path: Path) -> None:
    """The real network, in a process of its own, and no other ROS anywhere."""
    thresholds = {"score_threshold": 0.0, "mask_threshold": 0.01, "stuff_area_fraction": 0.0, "max_detections": 20}
    command = [sys.executable, "-m", "panoptic_ros.nodes.panoptic_node", "--ros-args", "-p", "threads:=1"]
    for name, value in thresholds.items():  # so low that random weights find something
        command += ["-p", f"{name}:={value}"]
    environment = os.environ | {"ROS_DOMAIN_ID": str(DOMAIN), "ROS_LOG_DIR": str(tmp_path)}
    frame = cv2.resize(np.random.default_rng(1).integers(0, 256, (6, 8, 3), dtype=np.uint8), (160, 120))
    log = tmp_path / "node.txt"
    with log.open("wb") as file:
        node = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
    try:
        images = {topic: stranger.listen(cyclone.Image, f"/panoptic_node/{topic}") for topic in IMAGES}
        instances = stranger.listen(cyclone.Detection2DArray, "/panoptic_node/instances")
        camera = stranger.writer(cyclone.Image, "/camera/image_raw")
        sent = iter(range(1, 1_000_000))

        def common() -> int | None:
            camera.write(raw(frame, next(sent)))
            stamps = [{one.header.stamp.sec for one in messages} for messages in (*images.values(), instances)]
            return min(set.intersection(*stamps), default=None)

        stamp = stranger.until(common, "a frame on all topics", timeout=60.0)
        node.send_signal(signal.SIGINT)
        assert node.wait(TIMEOUT) == 0, log.read_text()
    except BaseException:
        node.kill()
        node.wait()
        print(log.read_text())
        raise
    found = {topic: next(one for one in images[topic] if one.header.stamp.sec == stamp) for topic in IMAGES}
    ids, classes, numbers = (pixels(found[topic], dtype) for topic, dtype in IMAGES.items())
    for one in found.values():
        assert as_data(one.header) == [[stamp, stamp + 1], "camera_optical"]
    assert ids.shape == (120, 160)
    np.testing.assert_array_equal(classes, ids // 1000)
    np.testing.assert_array_equal(numbers, ids % 1000)
    detections = next(one for one in instances if one.header.stamp.sec == stamp).detections
    assert sorted(int(one.id) for one in detections) == sorted(set(numbers.ravel().tolist()) - {0})
    assert detections
