"""A camera that cannot be heard: the log says why, and what to change."""

from __future__ import annotations

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from node_harness import FakeSource, Ros, picture
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String


def test_incompatible_qos_is_said_with_what_to_change(ros: Ros, source: FakeSource) -> None:
    override = "qos_overrides./camera/image_raw.subscription.reliability"
    node = ros.start(source, silence_timeout=0.5, **{override: "reliable"})
    ros.listen(Image, "/panoptic_node/panoptic")
    ros.publisher(Image, "/camera/image_raw", reliable=False)
    sentence = "/peer publishes /camera/image_raw as best_effort, this node asks for reliable"
    ros.until(lambda: node.log.find(sentence), "the explanation")
    assert node.log.find(f"set {override} to best_effort")
    ros.until(lambda: node.log.find("no image on /camera/image_raw for", sentence), "the same in the line on silence")


def test_a_topic_that_nobody_publishes_is_said_with_those_there_are(ros: Ros, source: FakeSource) -> None:
    node = ros.start(source, silence_timeout=0.5, diagnostics_period=0.2)
    diagnostics = ros.listen(DiagnosticArray, "/diagnostics")
    ros.listen(Image, "/panoptic_node/panoptic")
    ros.publisher(Image, "/front/image")
    ros.publisher(CompressedImage, "/rear/image/compressed")
    words = ("no image on /camera/image_raw for", "nobody publishes it", "/front/image, /rear/image/compressed")
    ros.until(lambda: node.log.find(*words, severity="warning"), "the explanation")
    (line,) = node.log.find(*words)
    assert "panoptic_node" not in line
    ros.until(
        lambda: any(
            status.level == b"\x01" and "no image on /camera/image_raw" in status.message
            for message in diagnostics
            for status in message.status
        ),
        "the warning in the diagnostics",
    )


@pytest.mark.parametrize(
    ("kind", "transport", "words"),
    [
        (String, "auto", ("published as std_msgs/msg/String", "set image_topic to a topic of images")),
        (CompressedImage, "raw", ("published as sensor_msgs/msg/CompressedImage", "set transport to auto")),
        (Image, "auto", ("/peer publishes it, but nothing arrives", "FASTRTPS_DEFAULT_PROFILES_FILE")),
    ],
)
def test_a_silent_topic_is_explained(
    ros: Ros, source: FakeSource, kind: type, transport: str, words: tuple[str, ...]
) -> None:
    node = ros.start(source, silence_timeout=0.5, transport=transport)
    ros.listen(Image, "/panoptic_node/panoptic")
    ros.publisher(kind, "/camera/image_raw")
    ros.until(lambda: node.log.find("no image on /camera/image_raw", *words, severity="warning"), "the explanation")


def test_nothing_is_said_while_nobody_listens_or_images_come(ros: Ros, source: FakeSource) -> None:
    node = ros.start(source, silence_timeout=0.5)
    camera = ros.publisher(Image, "/camera/image_raw")
    ros.spin(0.8)
    results = ros.listen(Image, "/panoptic_node/panoptic")
    ros.connected(camera)
    for _ in range(12):
        camera.publish(ros.image(picture()))
        ros.spin(0.1)
    assert results
    assert not node.log.find("no image on")
