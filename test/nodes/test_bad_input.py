"""Frames that are broken in every way there is, among good ones: each is said and counted, and costs nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import pytest
from node_harness import FakeSource, NodeUnderTest, Ros, picture, stamp_of
from sensor_msgs.msg import CompressedImage, Image

from panoptic_ros.nodes.camera import Camera
from panoptic_ros.nodes.statistics import Drop
from panoptic_ros.pipeline import OutOfMemory

JPEG = cv2.imencode(".jpg", picture())[1].tobytes()

BAD_IMAGES: dict[str, Callable[[Ros], Image]] = {
    "step too small": lambda ros: ros.image(picture(), step=10),
    "data too short": lambda ros: ros.image(picture(), height=4000),
    "no height": lambda ros: ros.image(picture(), height=0),
    "no width": lambda ros: ros.image(picture(), width=0),
    "absurd size": lambda ros: ros.image(picture(), height=2**31, width=2**31, step=2**32 - 1),
    "unknown encoding": lambda ros: ros.image(picture(), encoding="smell8"),
    "no encoding": lambda ros: ros.image(picture(), encoding=""),
    "no data": lambda ros: ros.image(picture()[:0], height=24, width=32, step=96),
}

BAD_COMPRESSED: dict[str, Callable[[Ros], CompressedImage]] = {
    "corrupt": lambda ros: ros.compressed(JPEG[:20] + bytes(200)),
    "empty": lambda ros: ros.compressed(b""),
    "not an image": lambda ros: ros.compressed(b"this is not a picture at all", "png"),
}


def settled(camera: Camera, received: int) -> bool:
    """Whether all frames so far have come to their end."""
    summary = camera.statistics.summary()
    return summary.received == received == summary.processed + sum(summary.dropped.values())


def reliable(topic: str) -> dict[str, object]:
    """Parameters that make the subscription lose nothing, so that the test can count."""
    prefix = f"qos_overrides.{topic}.subscription"
    return {f"{prefix}.reliability": "reliable", f"{prefix}.depth": 10}


def begin(
    ros: Ros, node: NodeUnderTest, kind: type, topic: str, good: Callable[[Ros], object]
) -> tuple[Callable[[object], None], list[Image]]:
    """A function that sends a message and waits until the node is done with it, and the results that come."""
    results = ros.listen(Image, "/panoptic_node/semantic")
    publisher = ros.publisher(kind, topic, depth=10)
    ros.connected(publisher)
    camera = node.cameras[0]
    ros.until(lambda: publisher.publish(good(ros)) or ros.spin(0.05) or results, "the first result")
    ros.until(lambda: settled(camera, camera.statistics.summary().received), "quiet")

    def send(message: object) -> None:
        expected = camera.statistics.summary().received + 1
        publisher.publish(message)
        ros.until(lambda: settled(camera, expected), "the end of the frame")

    return send, results


@pytest.mark.parametrize(
    ("kind", "topic", "good", "bad"),
    [
        (Image, "/camera/image_raw", lambda ros: ros.image(picture()), BAD_IMAGES),
        (CompressedImage, "/camera/image_raw/compressed", lambda ros: ros.compressed(JPEG), BAD_COMPRESSED),
    ],
    ids=["raw", "compressed"],
)
def test_no_good_frame_is_lost_among_bad_ones(
    ros: Ros, source: FakeSource, kind: type, topic: str, good: Callable[[Ros], object], bad: dict[str, Callable]
) -> None:
    node = ros.start(source, image_topic=topic, **reliable(topic))
    send, results = begin(ros, node, kind, topic, good)
    before = node.cameras[0].statistics.summary()
    del results[:]
    sent = []
    makers = list(bad.values()) * 3
    np.random.default_rng(3).shuffle(makers)
    for maker in makers:
        send(maker(ros))
        message = good(ros)
        sent.append(stamp_of(message))
        send(message)
    after = node.cameras[0].statistics.summary()
    assert after.processed - before.processed == len(sent)
    assert after.dropped == {Drop.BAD: len(makers)}
    ros.until(lambda: len(results) == len(sent), "the results")
    assert [stamp_of(result) for result in results] == sent
    lines = node.log.find(f"bad image on {topic}", severity="error")
    assert len(lines) == len(set(lines)) <= len(bad)  # each kind is said, and said once in a while
    assert len(lines) > 1
    assert not node.log.find("Traceback")


@pytest.mark.parametrize(
    ("kind", "topic", "good", "bad"),
    [
        (Image, "/camera/image_raw", lambda ros: ros.image(picture()), BAD_IMAGES),
        (CompressedImage, "/camera/image_raw/compressed", lambda ros: ros.compressed(JPEG), BAD_COMPRESSED),
    ],
    ids=["raw", "compressed"],
)
def test_bad_frames_do_not_take_the_place_of_a_good_one_that_waits(
    ros: Ros, source: FakeSource, kind: type, topic: str, good: Callable[[Ros], object], bad: dict[str, Callable]
) -> None:
    node = ros.start(source, image_topic=topic, **reliable(topic))
    _, results = begin(ros, node, kind, topic, good)
    publisher = ros.publisher(kind, topic, depth=20)
    ros.connected(publisher)
    source.pipeline.delay = 1.0
    del results[:]
    running, waiting, rounds = good(ros), good(ros), len(source.pipeline.batches)
    publisher.publish(running)
    ros.until(lambda: len(source.pipeline.batches) > rounds, "the network to be busy")
    publisher.publish(waiting)
    for maker in bad.values():
        publisher.publish(maker(ros))
    ros.until(lambda: len(results) == 2, "the results")
    assert [stamp_of(result) for result in results] == [stamp_of(running), stamp_of(waiting)]
    assert node.cameras[0].statistics.summary().dropped == {Drop.BAD: len(bad)}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_each_error_names_the_topic_and_what_is_wrong(ros: Ros, source: FakeSource, name: str) -> None:
    words = {
        "step too small": ("10", "96"),
        "data too short": ("4000",),
        "no height": ("0",),
        "no width": ("0",),
        "absurd size": ("2147483648",),
        "unknown encoding": ("smell8",),
        "no encoding": ("''",),
        "no data": ("0",),
    }[name]
    node = ros.start(source, **reliable("/camera/image_raw"))
    send, _ = begin(ros, node, Image, "/camera/image_raw", lambda ros: ros.image(picture()))
    send(BAD_IMAGES[name](ros))
    assert node.log.find("bad image on /camera/image_raw: ", *words, severity="error")


def test_a_bad_stamp_does_not_cost_the_frames_after_it(ros: Ros, source: FakeSource) -> None:
    node = ros.start(source, max_age=5.0, **reliable("/camera/image_raw"))
    send, results = begin(ros, node, Image, "/camera/image_raw", lambda ros: ros.image(picture()))
    del results[:]
    for _ in range(3):
        broken = ros.image(picture(), encoding="smell8")
        broken.header.stamp.sec += 1000
        send(broken)
        send(ros.image(picture()))
    ros.until(lambda: len(results) == 3, "the good frames")
    assert not node.log.find("jumped back")


def two_cameras(ros: Ros, source: FakeSource) -> tuple[NodeUnderTest, Callable[[Sequence[object]], None]]:
    """A node with two cameras, and a function that sends a frame to each while the network is busy: one batch."""
    node = ros.start(source, cameras=["a", "b"], batch=8, **reliable("/a/image_raw"), **reliable("/b/image_raw"))
    for name in ("a", "b"):
        ros.listen(Image, f"/panoptic_node/{name}/semantic")
    publishers = [ros.publisher(Image, f"/{name}/image_raw", depth=10) for name in ("a", "b")]
    for publisher in publishers:
        ros.connected(publisher)
    ros.until(lambda: source.loaded, "the model")
    source.pipeline.delay = 0.3

    def send(messages: Sequence[object]) -> None:
        counts = [camera.statistics.summary().received for camera in node.cameras]
        calls = len(source.pipeline.batches)
        publishers[0].publish(ros.image(picture()))
        ros.until(lambda: len(source.pipeline.batches) > calls, "the frame that keeps the network busy")
        for publisher, message in zip(publishers, messages, strict=True):
            publisher.publish(message)
        expected = (counts[0] + 2, counts[1] + 1)
        ros.until(
            lambda: all(settled(camera, count) for camera, count in zip(node.cameras, expected, strict=True)), "the end"
        )

    return node, send


def test_a_bad_frame_in_a_batch_does_not_cost_the_good_one(ros: Ros, source: FakeSource) -> None:
    node, send = two_cameras(ros, source)
    send([ros.image(picture()), ros.image(picture(), encoding="smell8")])
    assert node.cameras[0].statistics.summary().dropped == {}
    assert node.cameras[0].statistics.summary().processed == 2
    assert node.cameras[1].statistics.summary().dropped == {Drop.BAD: 1}


def test_a_frame_that_breaks_the_network_does_not_cost_the_one_beside_it(ros: Ros, source: FakeSource) -> None:
    node, send = two_cameras(ros, source)

    def trouble(frames: Sequence[np.ndarray]) -> None:
        if any((frame == 13).all() for frame in frames):
            raise ZeroDivisionError("thirteen")

    source.pipeline.trouble = trouble
    send([ros.image(picture()), ros.image(np.full((8, 8, 3), 13, np.uint8))])
    assert 2 in source.pipeline.batches
    assert node.cameras[0].statistics.summary().dropped == {}
    assert node.cameras[1].statistics.summary().dropped == {Drop.FAILED: 1}
    (line,) = node.log.find("a frame of /b/image_raw could not be segmented: thirteen", severity="error")
    assert "Traceback" in line
    assert "in trouble" in line


def test_too_little_memory_for_a_batch_halves_it_and_costs_no_frame(ros: Ros, source: FakeSource) -> None:
    node, send = two_cameras(ros, source)

    def trouble(frames: Sequence[np.ndarray]) -> None:
        if len(frames) > 1:
            raise OutOfMemory("cuda:0 has too little memory for 2 frames")

    source.pipeline.trouble = trouble
    for _ in range(2):
        send([ros.image(picture()), ros.image(picture())])
    assert [camera.statistics.summary().dropped for camera in node.cameras] == [{}, {}]
    assert source.pipeline.batches.count(2) == 1  # it is not tried again
    assert node.log.find("too little memory for 2 frames", "going on with at most 1 frames at once", severity="error")


def test_too_little_memory_for_one_frame_drops_it_and_the_node_goes_on(ros: Ros, source: FakeSource) -> None:
    node = ros.start(source, **reliable("/camera/image_raw"))
    send, results = begin(ros, node, Image, "/camera/image_raw", lambda ros: ros.image(picture()))

    def trouble(frames: Sequence[np.ndarray]) -> None:
        raise OutOfMemory("cuda:0 has too little memory for 1 frames")

    source.pipeline.trouble = trouble
    send(ros.image(picture()))
    assert node.cameras[0].statistics.summary().dropped == {Drop.MEMORY: 1}
    assert node.log.find("too little memory", "choose a smaller model", severity="error")
    source.pipeline.trouble = None
    del results[:]
    send(ros.image(picture()))
    ros.until(lambda: results, "the next frame")
