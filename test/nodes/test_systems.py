"""The live node switched between all systems, real ones, while frames keep coming."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from node_harness import Ros, picture, stamp_of
from sensor_msgs.msg import Image
from torchvision.models import resnet18

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


def latest(diagnostics: list[DiagnosticArray]) -> dict[str, str]:
    """What the last diagnostics say of the model; nothing as long as there are none."""
    statuses = [status for message in diagnostics for status in message.status if status.name.endswith(": model")]
    return {pair.key: pair.value for pair in statuses[-1].values} if statuses else {}


def test_a_threshold_that_one_system_has_is_live_there(ros: Ros, models: dict[str, str]) -> None:
    node = ros.start(
        Pipeline,  # type: ignore[arg-type]
        model=models["panoptic_fpn"],
        weights="",
        overlap_threshold=0.25,
        diagnostics_period=0.2,
    )
    diagnostics = ros.listen(DiagnosticArray, "/diagnostics")
    ros.until(lambda: latest(diagnostics).get("overlap threshold") == "0.25", "what was given", timeout=60.0)
    for given, held in ((0.75, "0.75"), (1, "1.0"), (-1, "0.5")):  # -1: its own again
        assert ros.set(node, overlap_threshold=given).successful
        ros.until(lambda held=held: latest(diagnostics)["overlap threshold"] == held, held)  # type: ignore[misc]
    refused = ros.set(node, overlap_threshold=1.5)
    assert not refused.successful
    assert "overlap_threshold" in refused.reason
    assert ros.set(node, overlap_threshold=0.75, model=models["yolo_panoptic"]).successful
    ros.until(lambda: node.log.find(models["yolo_panoptic"], "runs on"), "the other model", timeout=60.0)
    said = (models["yolo_panoptic"], "has no overlap_threshold: given without effect")
    ros.until(lambda: node.log.find(*said), "what has no effect, in the log")
    ros.until(lambda: latest(diagnostics)["given without effect"] == "overlap_threshold", "what has no effect")
    assert "overlap threshold" not in latest(diagnostics)


def test_what_is_taken_of_torchvisions_weights_is_logged(ros: Ros, tmp_path: Path) -> None:
    network = {**NETWORKS["panoptic_fpn"], "backbone": "resnet18"}
    model, weights = tmp_path / "fpn.yaml", tmp_path / "resnet18.pth"
    model.write_text(yaml.safe_dump({"system": "panoptic_fpn", **HEAD, "network": network}))
    torch.save(resnet18().state_dict(), weights)
    report = Pipeline.load(str(model), str(weights), device="cpu").weights_report
    assert report is not None
    node = ros.start(Pipeline, model=str(model), weights=str(weights))  # type: ignore[arg-type]
    ros.until(lambda: node.log.find(str(report), severity="info"), "the report", timeout=60.0)
    assert "tensors taken" in str(report)
    assert "not taken, " in str(report)
