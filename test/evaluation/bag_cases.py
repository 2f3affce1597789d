"""Small bags with images, truths and predictions for the tests of their evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np

from panoptic_ros import messages
from panoptic_ros.bags import BagWriter
from panoptic_ros.labels import LabelSet
from panoptic_ros.messages import BagMessageTypes
from panoptic_ros.messages.topics import IMAGE, LABEL_TOPIC, LABEL_TYPE
from panoptic_ros.segmentation import PanopticSegmentation

CITYSCAPES = LabelSet.load("cityscapes")
TYPES = BagMessageTypes()
START = 1_700_000_000_000_000_000
PERIOD = 100_000_000
DETECTIONS = "vision_msgs/msg/Detection2DArray"


def random_ids(generator: np.random.Generator, height: int = 24, width: int = 32) -> np.ndarray:
    """Road below sky, cars and persons on it; (height, width) int32."""
    ids = np.full((height, width), 7000, np.int32)
    ids[: height // 3] = 23000
    for instance in range(1, 5):
        y, x = generator.integers(0, [height - 8, width - 10])
        ids[y : y + generator.integers(3, 8), x : x + generator.integers(3, 10)] = (
            int(generator.choice([24, 26])) * 1000 + instance
        )
    return ids


def value(ids: np.ndarray, labels: LabelSet = CITYSCAPES, scores: dict[int, float] | None = None) -> Any:
    return PanopticSegmentation.from_ids(ids.astype(np.int32), labels.thing_ids, scores)


class Bag:
    """Writes a bag in the order of its log times, as recorders do."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[tuple[int, str, str, Any]] = []

    def __enter__(self) -> Bag:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with BagWriter(self.path, TYPES, latched=("/truth/label_info", "/panoptic_node/label_info")) as writer:
            for log_time, topic, type_, content in sorted(self.records, key=lambda record: record[0]):
                writer.write(topic, type_, log_time, content)

    def add(self, topic: str, kind: str, content: Any, log_time: int) -> None:
        self.records.append((log_time, topic, kind, content))

    def labels(self, topic: str = "/truth", labels: LabelSet = CITYSCAPES, log_time: int = START) -> None:
        header = messages.make_header(TYPES, START, "")
        self.add(f"{topic}/{LABEL_TOPIC}", LABEL_TYPE, messages.label_info(TYPES, header, labels), log_time)

    def ids(self, topic: str, stamp: int, ids: np.ndarray, delay: int = 0) -> None:
        header = messages.make_header(TYPES, stamp, "optical")
        self.add(topic, IMAGE, messages.panoptic_image(TYPES, header, value(ids)), stamp + delay)

    def instances(self, topic: str, stamp: int, ids: np.ndarray, scores: dict[int, float], delay: int = 0) -> None:
        header = messages.make_header(TYPES, stamp, "optical")
        content = messages.instances(TYPES, header, value(ids, scores=scores), CITYSCAPES)
        self.add(topic, DETECTIONS, content, stamp + delay)

    def confidence(self, topic: str, stamp: int, pixels: np.ndarray, delay: int = 0) -> None:
        seen = value(np.full(pixels.shape, 7000))
        header = messages.make_header(TYPES, stamp, "optical")
        content = messages.confidence_image(TYPES, header, PanopticSegmentation(seen.ids, seen.segments, pixels))
        self.add(topic, IMAGE, content, stamp + delay)

    def picture(self, topic: str, stamp: int, pixels: np.ndarray, packed: bool = False) -> None:
        header = messages.make_header(TYPES, stamp, "optical")
        if packed:
            data = cv2.imencode(".png", pixels)[1].reshape(-1)
            content = TYPES.make(
                "sensor_msgs/msg/CompressedImage", header=header, format="bgr8; png compressed bgr8", data=data
            )
            self.add(f"{topic}/compressed", "sensor_msgs/msg/CompressedImage", content, stamp)
        else:
            self.add(topic, IMAGE, messages.bgr_image(TYPES, header, pixels), stamp)


def stamps(count: int, offset: int = 0) -> Sequence[int]:
    return [START + offset + index * PERIOD for index in range(count)]
