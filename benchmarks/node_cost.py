"""The node's own cost: everything between a frame's arrival and its results' publishing but the network.

The node runs in a process of its own at 1280x720, its camera and its audience in another, and the figures are those
that the node itself publishes on ``/diagnostics``.  What is found is a prepared street with twenty cars, found at once
in one half of the runs, and after the small real network has run in the other, which is what the share of the age is
of.  A second table times the parts, against the way that segmentation nodes usually go: masks one instance at a time,
bytes copied twice.

Run ``python benchmarks/node_cost.py [SECONDS]``, seconds a row.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from functools import partial
from multiprocessing import get_context
from multiprocessing.synchronize import Event

import cv2
import numpy as np
import rclpy
from drawing import street
from numpy.typing import NDArray
from rclpy.publisher import Publisher
from rich.console import Console
from rich.table import Table
from sensor_msgs.msg import Image
from timing import measure, report
from traffic import NODE, NodeProcess, Peer, picture, use_own_network

from panoptic_ros import messages
from panoptic_ros.drawing import OverlayPainter
from panoptic_ros.labels import LabelSet
from panoptic_ros.nodes.outputs import CAMERA_TOPICS
from panoptic_ros.resources import SMALL_MODEL
from panoptic_ros.segmentation import PanopticSegmentation

WIDTH, HEIGHT = 1280, 720
NETWORK = SMALL_MODEL
GOAL = 5.0  # ms for panoptic, instances and overlay together
STEPS = ("", "panoptic", "instances", "overlay", "overlay/compressed", "instance_ids", "semantic", "confidence")
"""Each row listens to one topic more; the first to none."""

AGE, OWN, PROCESSING = "age at publishing", "processing without pipeline", "processing"


def rows(model: str, rate: float, seconds: float) -> dict[str, dict[str, float]]:
    """Figures in ms by the topics listened to; `model` is what ``stand_in.py`` takes."""
    figures = {}
    parameters = {"lazy": "false"}
    with NodeProcess(model, stand_in=True, window=seconds, parameters=parameters) as node:
        peer = Peer(picture(WIDTH, HEIGHT))
        peer.connect()
        for count in range(1, len(STEPS) + 1):
            topics = STEPS[1:count]
            peer.listen(topics)
            peer.spin(0.5)
            peer.play(seconds + 1.5, rate)  # the figures look back `seconds`, and the first frames warm up
            peer.spin(0.6)  # the next diagnostics
            own, age = peer.values[f"{OWN} p50 (ms)"], peer.values[f"{AGE} p50 (ms)"]
            figures[f"+ {topics[-1]}" if topics else "nobody listens"] = {
                "own_p50_ms": own,
                "own_p99_ms": peer.values[f"{OWN} p99 (ms)"],
                "processing_p50_ms": peer.values[f"{PROCESSING} p50 (ms)"],
                "age_p50_ms": age,
                "share_of_age": own / age,
            }
        peer.close()
        node.stop()
    return figures


def show(title: str, figures: dict[str, dict[str, float]]) -> None:
    table = Table("", "own p50 ms", "own p99 ms", "age p50 ms", "own / age", title=title)
    for name, row in figures.items():
        columns = (row["own_p50_ms"], row["own_p99_ms"], row["age_p50_ms"])
        table.add_row(name, *(f"{value:.2f}" for value in columns), f"{row['share_of_age']:.1%}")
    Console().print(table)


class Ours:
    """A frame's message in, three messages out, as the node does it."""

    def __init__(self, publishers: dict[str, Publisher], labels: LabelSet) -> None:
        self._publishers = publishers
        self._labels = labels
        self._types = messages.RosMessageTypes()
        self._painter = OverlayPainter(labels)

    def __call__(self, image: Image, found: PanopticSegmentation) -> None:
        frame = messages.image_to_bgr(image)
        types, header, send = self._types, image.header, self._publishers
        send["panoptic"].publish(messages.panoptic_image(types, header, found))
        send["instances"].publish(messages.instances(types, header, found, self._labels))
        send["overlay"].publish(messages.bgr_image(types, header, self._painter(frame, found)))


class Usual:
    """The same, as is usual: cv_bridge's copies, and a mask, a blend and a contour for each segment in turn."""

    def __init__(self, publishers: dict[str, Publisher], labels: LabelSet) -> None:
        self._publishers = publishers
        self._labels = labels
        self._types = messages.RosMessageTypes()

    def __call__(self, image: Image, found: PanopticSegmentation) -> None:
        frame = np.ndarray((image.height, image.width, 3), np.uint8, bytes(image.data)).copy()
        send = self._publishers
        send["panoptic"].publish(self._fill(image.header, found.ids, "32SC1"))
        send["instances"].publish(messages.instances(self._types, image.header, found, self._labels))
        send["overlay"].publish(self._fill(image.header, self._draw(frame, found), "bgr8"))

    def _draw(self, frame: NDArray[np.uint8], found: PanopticSegmentation) -> NDArray[np.uint8]:
        for segment in found.segments:
            color = self._labels.colors[segment.class_id, ::-1]
            mask = found.ids == segment.id
            frame[mask] = (0.5 * frame[mask] + 0.5 * color).astype(np.uint8)
            if segment.is_thing:
                contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
                cv2.drawContours(frame, contours, -1, (255, 255, 255), 2)
                text = f"{self._labels.name_of(segment.class_id)} {segment.score:.2f}"
                cv2.putText(frame, text, segment.bbox[:2], cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1)
        return frame

    def _fill(self, header: object, pixels: NDArray[np.generic], encoding: str) -> Image:
        message = Image(header=header, height=pixels.shape[0], width=pixels.shape[1], encoding=encoding)
        message.step = pixels.strides[0]
        message.data.frombytes(pixels.tobytes())
        return message


def parts() -> dict[str, dict[str, dict[str, float]]]:
    """Times of what the node does with a frame, in ms; an audience in another process receives what is published."""
    labels = LabelSet.load("cityscapes")
    types = messages.RosMessageTypes()
    header = messages.make_header(types, 0, "camera_optical")
    frame, found = picture(WIDTH, HEIGHT), street(WIDTH, HEIGHT, labels)
    image = messages.bgr_image(types, header, frame)
    painter = OverlayPainter(labels)
    overlay = painter(frame, found)
    ids, boxes = messages.panoptic_image(types, header, found), messages.instances(types, header, found, labels)
    with Audience() as publishers:
        ours, usual = Ours(publishers, labels), Usual(publishers, labels)
        whole = measure({"ours": partial(ours, image, found), "the usual way": partial(usual, image, found)}, 30)
        pieces = measure(
            {
                "read the image": lambda: messages.image_to_bgr(image),
                "fill panoptic": lambda: messages.panoptic_image(types, header, found),
                "fill instances": lambda: messages.instances(types, header, found, labels),
                "draw the overlay": lambda: painter(frame, found),
                "fill overlay": lambda: messages.bgr_image(types, header, overlay),
                "publish panoptic": lambda: publishers["panoptic"].publish(ids),
                "publish instances": lambda: publishers["instances"].publish(boxes),
                "publish overlay": lambda: publishers["overlay"].publish(image),
            },
            60,
        )
    title = f"panoptic, instances and overlay, {WIDTH}x{HEIGHT}, 20 cars"
    return {"whole": report(title, whole), "parts": report("parts of ours", pieces)}


class Audience:
    """Publishers of three of the node's results, with their listener in a process of its own."""

    TOPICS = ("panoptic", "instances", "overlay")

    def __enter__(self) -> dict[str, Publisher]:
        types = messages.RosMessageTypes()
        spawn = get_context("spawn")
        self._end = spawn.Event()
        self._listener = spawn.Process(target=_listen, args=(self.TOPICS, self._end))
        self._listener.start()
        self._context = rclpy.Context()
        rclpy.init(args=[], context=self._context)
        self._node = rclpy.create_node(NODE, context=self._context)
        publishers = {
            topic: self._node.create_publisher(type(types.make(CAMERA_TOPICS[topic])), f"~/{topic}", 5)
            for topic in self.TOPICS
        }
        while not all(publisher.get_subscription_count() for publisher in publishers.values()):
            time.sleep(0.05)
        return publishers

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._listener.join()
        self._node.destroy_node()
        self._context.shutdown()


def _listen(topics: Sequence[str], end: Event) -> None:
    peer = Peer(picture(WIDTH, HEIGHT))
    peer.listen(topics)
    peer.until(end.is_set, "the end", timeout=600.0)
    peer.close()


def main(seconds: float = 8.0) -> dict[str, object]:
    use_own_network()
    found_at_once = rows("delay:0", 10.0, seconds)
    show(f"own cost at {WIDTH}x{HEIGHT}, 20 cars found at once", found_at_once)
    with_network = rows(NETWORK, 2.0, seconds)
    show(f"own cost beside {NETWORK}, one thread on the CPU", with_network)
    both = {"found at once": found_at_once, "with the network": with_network}
    for name, figures in both.items():
        cost = figures["+ overlay"]["own_p50_ms"]
        print(f"panoptic, instances and overlay, {name}: {cost:.2f} ms; the goal is {GOAL:.0f} ms")
    return {"own cost": both, **parts()}


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
