"""A frame's way through the node: what comes out, where, and only if somebody listens."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from node_harness import CAR, ROAD, FakeSource, Ros, picture, stamp_of
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, RegionOfInterest

vision = pytest.importorskip("vision_msgs.msg", reason="needs vision_msgs: `make` compiles it into .venv")


def pixels(message: Image, dtype: str) -> np.ndarray:
    """(H, W) or (H, W, 3) array of a tightly packed image."""
    channels = 3 if message.encoding == "bgr8" else 1
    assert message.step == message.width * channels * np.dtype(dtype).itemsize
    array = np.frombuffer(bytes(message.data), dtype).reshape(message.height, message.width, channels)
    return array if channels == 3 else array[..., 0]


def test_a_frame_comes_out_on_every_topic(ros: Ros, source: FakeSource) -> None:
    ros.start(source)
    images = {
        name: ros.listen(Image, f"/panoptic_node/{name}")
        for name in ("panoptic", "semantic", "confidence", "instance_ids", "overlay")
    }
    instances = ros.listen(vision.Detection2DArray, "/panoptic_node/instances")
    compressed = ros.listen(CompressedImage, "/panoptic_node/overlay/compressed")
    infos = ros.listen(CameraInfo, "/panoptic_node/camera_info")
    camera = ros.publisher(Image, "/camera/image_raw")
    camera_info = ros.publisher(CameraInfo, "/camera/camera_info")
    ros.connected(camera)
    ros.connected(camera_info)
    outputs = [*images.values(), instances, compressed, infos]
    frame = picture(48, 64)
    sent = {}

    def all_of_one_frame() -> bool:
        # The listeners are discovered one by one, so the first frames may come out on some topics only.
        message = ros.image(frame)
        sent[stamp_of(message)] = message
        info = CameraInfo(
            header=message.header, height=48, width=64, k=[50.0, 0.0, 32.0, 0.0, 50.0, 24.0, 0.0, 0.0, 1.0]
        )
        camera_info.publish(info)
        camera.publish(message)
        ros.spin(0.1)
        return all(outputs)

    ros.until(all_of_one_frame, "a message on each topic")
    for received in outputs:
        for message in received:
            assert stamp_of(message) in sent
            assert message.header.frame_id == "camera_optical"
    left, right = np.s_[:, :32], np.s_[:, 32:]
    panoptic = pixels(images["panoptic"][0], "<i4")
    assert images["panoptic"][0].encoding == "32SC1"
    assert (panoptic[left] == ROAD * 1000).all()
    assert (panoptic[right] == CAR * 1000 + 1).all()
    semantic = pixels(images["semantic"][0], "u1")
    assert images["semantic"][0].encoding == "mono8"
    assert (semantic[left] == ROAD).all()
    assert (semantic[right] == CAR).all()
    ids = pixels(images["instance_ids"][0], "<u2")
    assert images["instance_ids"][0].encoding == "16UC1"
    assert (ids[left] == 0).all()
    assert (ids[right] == 1).all()
    confidence = pixels(images["confidence"][0], "u1")
    assert (confidence[left] == 255).all()
    assert (confidence[right] == 191).all()
    (detection,) = instances[0].detections
    assert detection.id == "1"
    assert detection.results[0].hypothesis.class_id == "car"
    assert detection.results[0].hypothesis.score == pytest.approx(0.75)
    assert (detection.bbox.size_x, detection.bbox.size_y) == (32.0, 48.0)
    assert (detection.bbox.center.position.x, detection.bbox.center.position.y) == (48.0, 24.0)
    overlay = pixels(images["overlay"][0], "u1")
    assert overlay.shape == frame.shape
    assert (overlay != frame).any()
    jpeg = cv2.imdecode(np.frombuffer(bytes(compressed[0].data), np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(jpeg.astype(int) - overlay).mean() < 10
    assert (infos[0].width, infos[0].height) == (64, 48)
    assert infos[0].k[0] == 50.0


def test_nobody_listening_means_no_subscription_and_no_work(ros: Ros, source: FakeSource) -> None:
    ros.start(source)
    camera = ros.publisher(Image, "/camera/image_raw")
    ros.spin(0.5)
    assert camera.get_subscription_count() == 0
    semantic = ros.listen(Image, "/panoptic_node/semantic")
    ros.connected(camera)
    ros.until(lambda: camera.publish(ros.image(picture())) or ros.spin(0.05) or semantic, "a result")
    assert not any(source.pipeline.asked_confidence)
    ros.stop_listening()
    ros.until(lambda: camera.get_subscription_count() == 0, "the end of the subscription")


def test_the_input_stays_subscribed_when_lazy_is_off(ros: Ros, source: FakeSource) -> None:
    node = ros.start(source, lazy=False)
    camera = ros.publisher(Image, "/camera/image_raw")
    ros.connected(camera)
    camera.publish(ros.image(picture()))
    ros.until(lambda: node.cameras[0].statistics.summary().processed == 1, "the frame")
    ros.spin(0.3)
    assert camera.get_subscription_count() == 1


@pytest.mark.parametrize("topic", ["/camera/image_raw/compressed", "/camera/jpeg"])
def test_compressed_images_are_found_by_the_topic_type(ros: Ros, source: FakeSource, topic: str) -> None:
    node = ros.start(source, image_topic=topic)
    panoptic = ros.listen(Image, "/panoptic_node/panoptic")
    ros.until(lambda: node.cameras[0].subscribed, "the subscription")  # before there is a publisher to learn from
    camera = ros.publisher(CompressedImage, topic)
    ros.connected(camera)
    data = cv2.imencode(".png", picture())[1].tobytes()
    ros.until(lambda: camera.publish(ros.compressed(data, "png")) or ros.spin(0.05) or panoptic, "a result")
    assert (pixels(panoptic[0], "<i4")[:, 16:] == CAR * 1000 + 1).all()


def test_two_cameras_share_a_batch_and_have_topics_of_their_own(ros: Ros, source: FakeSource) -> None:
    names = {"front__image_topic": "/f/image", "left__image_topic": "/l/image"}
    ros.start(source, cameras=["front", "left"], batch=8, **names)
    front = ros.listen(Image, "/panoptic_node/front/semantic")
    left = ros.listen(Image, "/panoptic_node/left/semantic")
    cameras = ros.publisher(Image, "/f/image"), ros.publisher(Image, "/l/image")
    for camera in cameras:
        ros.connected(camera)
    ros.until(lambda: source.loaded, "the model")
    source.pipeline.delay = 0.2  # in which both cameras' next frames arrive
    bright, dark = np.full((24, 32, 3), 220, np.uint8), np.full((16, 16, 3), 20, np.uint8)

    def exchange() -> bool:
        cameras[0].publish(ros.image(bright))
        cameras[1].publish(ros.image(dark))
        ros.spin(0.05)
        return bool(front) and bool(left) and 2 in source.pipeline.batches

    ros.until(exchange, "a batch of two")
    assert all((pixels(message, "u1") == CAR).all() and message.width == 32 for message in front)
    assert all((pixels(message, "u1") == ROAD).all() and message.width == 16 for message in left)
    assert max(source.pipeline.batches) == 2


@pytest.mark.parametrize(("device", "batch"), [("cuda:0", 1), ("cpu", 0)])
def test_batch_limits_how_many_frames_go_through_at_once(ros: Ros, source: FakeSource, device: str, batch: int) -> None:
    """One at a time where that is said, or on a CPU, which gains nothing by more."""
    names = ["a", "b", "c"]
    ros.start(source, cameras=names, batch=batch)
    results = [ros.listen(Image, f"/panoptic_node/{name}/semantic") for name in names]
    cameras = [ros.publisher(Image, f"/{name}/image_raw") for name in names]
    for camera in cameras:
        ros.connected(camera)
    ros.until(lambda: source.loaded, "the model")
    source.pipeline.device = device
    source.pipeline.delay = 0.02

    def exchange() -> bool:
        for camera in cameras:
            camera.publish(ros.image(picture()))
        ros.spin(0.02)
        return min(len(received) for received in results) >= 5

    ros.until(exchange, "five results of each camera: none starves")
    assert set(source.pipeline.batches) == {1}


def test_label_info_is_there_for_a_late_listener_and_says_void(ros: Ros, source: FakeSource) -> None:
    node = ros.start(source)
    ros.until(lambda: node.log.find("runs on"), "the model")
    ros.spin(0.2)
    labels = ros.listen(vision.LabelInfo, "/panoptic_node/label_info", latched=True)
    ros.until(lambda: labels, "the labels")
    ros.spin(0.2)
    assert len(labels) == 1
    names = {entry.class_id: entry.class_name for entry in labels[0].class_map}
    assert names[CAR] == "car"
    assert names[ROAD] == "road"
    assert names[0] == "void"


def test_without_vision_msgs_the_rest_is_published_and_it_is_said_once(ros: Ros, source: FakeSource) -> None:
    from panoptic_ros.messages import RosMessageTypes

    class WithoutVision(RosMessageTypes):
        def has(self, name: str) -> bool:
            return not name.startswith("vision_msgs/") and super().has(name)

    node = ros.start(source, types=WithoutVision())
    panoptic = ros.listen(Image, "/panoptic_node/panoptic")
    camera = ros.publisher(Image, "/camera/image_raw")
    ros.connected(camera)
    ros.until(lambda: camera.publish(ros.image(picture())) or ros.spin(0.05) or panoptic, "a result")
    assert len(node.log.find("vision_msgs is not installed")) == 1
    topics = {publisher.topic_name for publisher in node.publishers}
    assert "/panoptic_node/instances" not in topics
    assert "/panoptic_node/label_info" not in topics


def test_a_camera_info_of_another_size_is_said_and_kept_back(ros: Ros, source: FakeSource) -> None:
    node = ros.start(source)
    infos = ros.listen(CameraInfo, "/panoptic_node/camera_info")
    panoptic = ros.listen(Image, "/panoptic_node/panoptic")
    camera = ros.publisher(Image, "/camera/image_raw")
    camera_info = ros.publisher(CameraInfo, "/camera/camera_info")
    ros.connected(camera)
    ros.connected(camera_info)

    def exchange() -> bool:
        camera_info.publish(CameraInfo(width=640, height=360))
        camera.publish(ros.image(picture(24, 32)))
        ros.spin(0.05)
        words = ("CameraInfo on /camera/camera_info does not fit", "is for 640x360 images", "expected 32x24")
        return bool(node.log.find(*words, severity="error"))

    ros.until(exchange, "the complaint")
    ros.until(lambda: panoptic, "the other results")
    assert not infos


BINNED = {"width": 64, "height": 48, "binning_x": 2, "binning_y": 2}
REGION = {"width": 640, "height": 480, "roi": RegionOfInterest(x_offset=8, y_offset=4, width=32, height=24)}


@pytest.mark.parametrize("fields", [BINNED, REGION], ids=["binned", "region of interest"])
def test_the_camera_info_of_a_part_of_the_sensor_is_published(
    ros: Ros, source: FakeSource, fields: dict[str, Any]
) -> None:
    node = ros.start(source)
    infos = ros.listen(CameraInfo, "/panoptic_node/camera_info")
    camera = ros.publisher(Image, "/camera/image_raw")
    camera_info = ros.publisher(CameraInfo, "/camera/camera_info")
    ros.connected(camera)
    ros.connected(camera_info)
    given = CameraInfo(k=[50.0, 0.0, 32.0, 0.0, 50.0, 24.0, 0.0, 0.0, 1.0], **fields)

    def exchange() -> list[CameraInfo]:
        camera_info.publish(given)
        camera.publish(ros.image(picture(24, 32)))
        ros.spin(0.05)
        return infos

    ros.until(exchange, "the camera_info")
    for field in ("width", "height", "binning_x", "binning_y", "roi"):
        assert getattr(infos[0], field) == getattr(given, field)
    assert list(infos[0].k) == list(given.k)
    assert not node.log.find("does not fit")


def test_diagnostics_tell_rates_ages_model_and_memory(ros: Ros, source: FakeSource) -> None:
    ros.start(source, weights="", diagnostics_period=0.2)
    diagnostics = ros.listen(DiagnosticArray, "/diagnostics")
    panoptic = ros.listen(Image, "/panoptic_node/panoptic")
    camera = ros.publisher(Image, "/camera/image_raw")
    ros.connected(camera)
    ros.until(lambda: camera.publish(ros.image(picture())) or ros.spin(0.02) or len(panoptic) > 10, "results")
    del diagnostics[:]
    ros.until(lambda: diagnostics, "diagnostics")
    status = {entry.name: entry for entry in diagnostics[-1].status}
    model = {pair.key: pair.value for pair in status["panoptic_node: model"].values}
    assert status["panoptic_node: model"].level == b"\x01"
    assert status["panoptic_node: model"].message == "weights are untrained: everything"
    assert model["model"] == "fake"
    assert model["engine"] == "fake"
    assert model["device"] == "cpu"
    assert model["untrained"] == "everything"
    assert model["device memory (MiB)"] == "3"
    values = {pair.key: pair.value for pair in status["panoptic_node: camera"].values}
    assert status["panoptic_node: camera"].level == b"\x00"
    assert status["panoptic_node: camera"].hardware_id == "/camera/image_raw"
    assert int(values["processed"]) >= 10
    assert float(values["output rate (Hz)"]) > 5
    assert 0 < float(values["age at arrival p50 (ms)"]) <= float(values["age at publishing p50 (ms)"])
    assert float(values["age at publishing p50 (ms)"]) <= float(values["age at publishing p99 (ms)"]) < 1000
