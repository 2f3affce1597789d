"""The live node switched between all systems, real ones, while frames keep coming."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import yaml
from node_harness import Ros, picture, stamp_of
from sensor_msgs.msg import Image

from panoptic_ros.pipeline import Pipeline

HEAD = {"labels": "cityscapes", "input_height": 64, "input_width": 96}
NETWORKS = {
    "yolo_panoptic": {"cfg": "darknet53_yolov3_quarter", "semantic_channels": 8, "instance_channels": 8},
    "panoptic_fpn": {"backbone": "resnet18_half", "channels": 16, "semantic_channels": 16, "head_channels": 16},
    "jsis_net": {
        "backbone": "resnet18_half",
        "stride": 16,
        "semantic_channels": 16,
        "deconvolution_stride": 4,
        "crop_size": 4,
        "proposals": 10,
        "mask_channels": 8,
    },
}


@pytest.fixture
def models(tmp_path: Path) -> dict[str, str]:
    """Configurations of small networks, by their systems."""
    paths = {}
    for system, network in NETWORKS.items():
        path = tmp_path / f"{system}.yaml"
        path.write_text(yaml.safe_dump({"system": system, **HEAD, "network": network}))
        paths[system] = str(path)
    return paths


def test_each_system_takes_over_from_each_and_no_frame_fails(ros: Ros, models: dict[str, str]) -> None:
    """Every ordered pair of the systems once; frames are sent all the while and answered by whichever runs."""
    order = ["yolo_panoptic", "panoptic_fpn", "jsis_net", "yolo_panoptic", "jsis_net", "panoptic_fpn", "yolo_panoptic"]
    assert set(itertools.pairwise(order)) == set(itertools.permutations(NETWORKS, 2))
    node = ros.start(Pipeline, model=models[order[0]], weights="")  # type: ignore[arg-type]
    results = ros.listen(Image, "/panoptic_node/panoptic")
    camera = ros.publisher(Image, "/camera/image_raw")
    ros.connected(camera, timeout=60.0)
    sent: list[tuple[int, int]] = []

    def frame() -> None:
        message = ros.image(picture())
        sent.append(stamp_of(message))
        camera.publish(message)
        count = len(results)
        ros.until(lambda: len(results) > count, "the answer to a frame", timeout=60.0)

    ros.until(lambda: node.log.find(models[order[0]], "runs on"), "the first model", timeout=60.0)
    frame()
    for system in order[1:]:
        runs = len(node.log.find(models[system], "runs on"))
        assert ros.set(node, model=models[system]).successful
        while len(node.log.find(models[system], "runs on")) == runs:
            assert not node.log.find(models[system], severity="error")
            frame()  # answered by the former one
        frame()
    assert [stamp_of(message) for message in results] == sent
    assert not node.log.find("", severity="error")
