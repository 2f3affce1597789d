"""A thousand broken messages among good ones: no good frame is lost because of a bad one, and the node lives on.

`test_bad_input` looks at each kind by itself; this looks for what they do together and over time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import cv2
import numpy as np
from node_harness import CAR, ROAD, FakeSource, NodeUnderTest, Ros
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from panoptic_ros.nodes.camera import Camera
from panoptic_ros.nodes.statistics import Drop

BAD_IMAGES, BAD_FILES = 650, 350
RAW, FILES = "/front/image_raw", "/back/image_raw/compressed"


class Broken:
    """Makes messages that are broken each in its own way, the same ones every time."""

    def __init__(self, ros: Ros, seed: int) -> None:
        self._ros = ros
        self._random = np.random.default_rng(seed)

    def below(self, limit: int) -> int:
        return int(self._random.integers(limit))

    def frame(self) -> np.ndarray:
        """A good picture of a size of its own."""
        shape = (int(self._random.integers(8, 40)), int(self._random.integers(8, 40)), 3)
        return self._random.integers(0, 256, shape, dtype=np.uint8)

    def image(self) -> Image:
        frame = self.frame()
        height, width, _ = frame.shape
        changes = (
            lambda: {"step": self.below(3 * width)},
            lambda: {"step": 2**32 - 1},
            lambda: {"height": height + 1 + self.below(1000)},
            lambda: {"height": 0},
            lambda: {"width": 0},
            lambda: {"height": 0, "width": 0, "step": 0},
            lambda: {"height": 2**31, "width": 2**31, "step": 2**32 - 1},
            lambda: {"width": 16385 + self.below(2**20)},
            lambda: {"encoding": "".join(map(chr, self._random.integers(32, 0x2FF, self.below(12))))},
            lambda: {"encoding": "BGR8"},
            lambda: {"encoding": "32FC3"},
            lambda: {"encoding": "bgra8"},  # of four bytes: step is too small
            lambda: {"encoding": "rgb16", "is_bigendian": 255},
            lambda: {"encoding": "nv12", "width": 2 * (width // 2) - 1},
            lambda: {"encoding": "bayer_rggb8", "width": 2},
        )
        message = self._ros.image(frame, **changes[self.below(len(changes))]())
        if self.below(10) == 0:
            del message.data[self.below(len(message.data)) :]
        return message

    def file(self) -> CompressedImage:
        frame = self.frame()
        jpeg, png = (cv2.imencode(suffix, frame)[1].tobytes() for suffix in (".jpg", ".png"))
        contents = (
            lambda: jpeg[: self.below(len(jpeg) - 2)],
            lambda: png[: 8 + self.below(len(png) // 2)],
            lambda: jpeg[self.below(len(jpeg) - 2) + 1 :],
            lambda: jpeg[:20] + bytes(len(jpeg)),
            lambda: b"",
            lambda: self._random.bytes(1 + self.below(400)),
            lambda: png[:16] + bytes(8) + png[24:],  # of no size
            lambda: png[:16] + b"\xff" * 8 + png[24:],  # of an absurd one
            lambda: b"\xff\xd8" + b"\xff" * self.below(300),
        )
        if self.below(10) == 0:
            return self._ros.compressed(png, "32FC1; compressedDepth png")
        return self._ros.compressed(contents[self.below(len(contents))](), "jpeg")

    def info(self) -> CameraInfo:
        """Of a size whose shape no frame has."""
        sizes = ((0, 0), (7, 4000), (2**32 - 1, 1))
        width, height = sizes[self.below(len(sizes))]
        return CameraInfo(width=width, height=height, k=[float("nan")] * 9)


def done(camera: Camera) -> int:
    """How many frames have come to their end."""
    summary = camera.statistics.summary()
    return summary.processed + sum(summary.dropped.values())


def odd_stamps(ros: Ros, choice: int) -> dict[str, int]:
    """Stamps that no camera should give, and that must cost nobody a frame: none, the past, the future."""
    now = ros.peer.get_clock().now().nanoseconds // 10**9
    return ({}, {}, {"sec": 0, "nanosec": 0}, {"sec": now - 1000}, {"sec": now + 1000}, {"sec": 2**31 - 1})[choice]


def start(ros: Ros, source: FakeSource) -> NodeUnderTest:
    qos = {
        f"qos_overrides.{topic}.subscription.{policy}": value
        for topic in (RAW, FILES)
        for policy, value in (("reliability", "reliable"), ("depth", 10))  # nothing is lost, so that we can count
    }
    return ros.start(source, cameras=["front", "back"], back__image_topic=FILES, **qos)


def test_a_thousand_bad_messages_cost_no_good_frame(ros: Ros, source: FakeSource) -> None:
    node = start(ros, source)
    results = {name: ros.listen(Image, f"/panoptic_node/{name}/panoptic") for name in ("front", "back")}
    infos = ros.listen(CameraInfo, "/panoptic_node/front/camera_info")
    front, back = ros.publisher(Image, RAW, depth=10), ros.publisher(CompressedImage, FILES, depth=10)
    calibration = ros.publisher(CameraInfo, "/front/camera_info")
    for publisher in (front, back, calibration):
        ros.connected(publisher)
    ros.until(lambda: source.loaded, "the model")
    cameras = dict(zip(("front", "back"), node.cameras, strict=True))
    broken = Broken(ros, seed=2024)
    bad, good = dict.fromkeys(cameras, 0), {name: dict[str, np.ndarray]() for name in cameras}

    def send(name: str, message: object) -> None:
        """Publish, and wait until the node is done with it."""
        expected = done(cameras[name]) + 1
        (front if name == "front" else back).publish(message)
        ros.until(lambda: done(cameras[name]) == expected, "the end of the frame")

    def messages() -> Iterator[tuple[str, Callable[[], object]]]:
        kinds = [("front", broken.image)] * BAD_IMAGES + [("back", broken.file)] * BAD_FILES
        yield from (kinds[index] for index in np.random.default_rng(7).permutation(len(kinds)))

    for name, make in messages():
        send(name, make())
        bad[name] += 1
        if broken.below(3):
            continue
        if broken.below(2):
            calibration.publish(broken.info())
        frame = broken.frame()
        message = ros.image(frame) if name == "front" else ros.compressed(cv2.imencode(".png", frame)[1].tobytes())
        for field, value in odd_stamps(ros, broken.below(6)).items():
            setattr(message.header.stamp, field, value)
        message.header.frame_id = f"frame {len(good[name])}"
        good[name][message.header.frame_id] = frame
        send(name, message)

    assert sum(bad.values()) == 1000
    assert min(len(frames) for frames in good.values()) > 50
    for name, camera in cameras.items():
        ros.until(lambda: len(results[name]) >= len(good[name]), "the results")  # noqa: B023 - called at once
        assert [message.header.frame_id for message in results[name]] == list(good[name])
        for message in results[name]:
            ids = np.frombuffer(message.data, np.int32).reshape(message.height, message.width)
            expected = np.where(good[name][message.header.frame_id][..., 0] > 127, CAR * 1000 + 1, ROAD * 1000)
            np.testing.assert_array_equal(ids, expected)
        summary = camera.statistics.summary()
        assert summary.dropped == {Drop.BAD: bad[name]}
        assert (summary.received, summary.processed) == (bad[name] + len(good[name]), len(good[name]))
    assert infos == []  # all were of another shape; one that fits gets through
    frame = broken.frame()
    fitting = CameraInfo(width=frame.shape[1], height=frame.shape[0])
    ros.until(lambda: calibration.publish(fitting) or front.publish(ros.image(frame)) or ros.spin(0.05) or infos, "it")
    assert any(thread.name == "panoptic worker" for thread in threading.enumerate())
    assert not node.log.find("Traceback")
    assert node.log.find(f"bad image on {RAW}", severity="error")
    assert node.log.find(f"bad image on {FILES}", severity="error")
    assert len(node.log.lines) < 300  # rate-limited
