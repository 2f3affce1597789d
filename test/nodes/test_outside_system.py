"""A system of another package, chosen by its name in the live node."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from node_harness import Ros, picture
from outside_package import install
from sensor_msgs.msg import Image

from panoptic_ros.pipeline import Pipeline


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(install(tmp_path)))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "toy_panoptic"]:
        del sys.modules[name]


def test_a_system_of_another_package_takes_over_by_its_name(ros: Ros, outside: None) -> None:
    node = ros.start(Pipeline, model="yolo_panoptic_small", weights="", nms_threshold=0.3)  # type: ignore[arg-type]
    results = ros.listen(Image, "/panoptic_node/panoptic")
    camera = ros.publisher(Image, "/camera/image_raw")
    ros.connected(camera, timeout=60.0)

    def frame() -> bool:
        camera.publish(ros.image(picture()))
        ros.spin(0.05)
        return bool(results)

    ros.until(lambda: node.log.find("yolo_panoptic_small with random weights runs on"), "the first", timeout=60.0)
    ros.until(frame, "a result of the first", timeout=60.0)
    assert ros.set(node, model="toy_small", score_threshold=0.4).successful
    ros.until(lambda: frame() and node.log.find("toy_small with random weights runs on"), "the toy", timeout=60.0)
    assert node.log.find("toy_small with random weights has no nms_threshold: given without effect")
    del results[:]
    ros.until(frame, "a result of the toy")
    ros.spin(0.2)
    ids = np.frombuffer(bytes(results[-1].data), dtype=np.int32).reshape(24, 32)
    assert (ids[:, :14] == 7000).all()
    assert (ids[:, 18:] == 26001).all()
    refused = ros.set(node, model="toy_huge")
    assert not refused.successful
    assert "toy_small" in refused.reason
