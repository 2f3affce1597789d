"""Weights in torchvision's own file formats: what is taken, what is left, and files that are something else."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from region_networks import small
from torch import Tensor, nn
from torchvision.models import resnet18
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead

from panoptic_ros.labels import LabelSet
from panoptic_ros.models.jsis_net import JsisNet, JsisNetConfig
from panoptic_ros.models.layers.region_system import RegionSystem
from panoptic_ros.models.panoptic_fpn import PanopticFpn, PanopticFpnConfig
from panoptic_ros.models.weights import WeightsError, check_weights, load_weights

CITYSCAPES = LabelSet.load("cityscapes")
COCO = LabelSet.load("coco")
ALL = frozenset({"backbone", "rpn", "roi_heads", "semantic_head"})


def panoptic_fpn(labels: LabelSet = CITYSCAPES) -> PanopticFpn:
    config = PanopticFpnConfig(backbone="resnet18", channels=16, semantic_channels=16, head_channels=32)
    model = PanopticFpn(labels, config)
    model.untrained = ALL
    return model


def jsis_net() -> JsisNet:
    config = JsisNetConfig(backbone="resnet18", stride=16, deconvolution_stride=4, semantic_channels=16)
    model = JsisNet(CITYSCAPES, config)
    model.untrained = ALL
    return model


def mask_rcnn(classes: int = 91) -> MaskRCNN:
    """torchvision's, with a small backbone."""
    body = resnet18()
    names = {f"layer{number}": str(number - 1) for number in range(1, 5)}
    backbone = BackboneWithFPN(body, names, [64, 128, 256, 512], 16)
    anchors = AnchorGenerator(((32,), (64,), (128,), (256,), (512,)), ((0.5, 1.0, 2.0),) * 5)
    model = MaskRCNN(backbone, num_classes=classes, rpn_anchor_generator=anchors)
    model.roi_heads.box_head = TwoMLPHead(16 * 49, 32)
    model.roi_heads.box_predictor = FastRCNNPredictor(32, classes)
    return model


def saved(state: Any, path: Path) -> Path:
    torch.save(state, path)
    return path


def old_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As torchvision named them when it published its Mask R-CNN (before 0.13)."""
    renamed = {}
    for name, tensor in state.items():
        name = re.sub(r"^(backbone\.fpn\.\w+_blocks\.\d)\.0\.", r"\1.", name)
        name = re.sub(r"^rpn\.head\.conv\.0\.0\.", "rpn.head.conv.", name)
        name = re.sub(
            r"^roi_heads\.mask_head\.(\d)\.0\.", lambda found: f"roi_heads.mask_head.mask_fcn{int(found[1]) + 1}.", name
        )
        renamed[name] = tensor
    assert renamed.keys() != state.keys()
    return renamed


def test_imagenets_resnet_fills_the_backbone_and_its_classifier_is_left(tmp_path: Path) -> None:
    theirs = resnet18()
    path = saved(theirs.state_dict(), tmp_path / "resnet18.pth")
    model = panoptic_fpn()
    with torch.device("meta"):
        check_weights(panoptic_fpn(), path)
    report = load_weights(model, path)
    assert report is not None
    for name, tensor in theirs.state_dict().items():
        if not name.startswith("fc.") and "num_batches" not in name:
            assert torch.equal(model.state_dict()[f"backbone.body.{name}"], tensor), name
    assert "torchvision's ResNet-18" in report.source
    assert report.left == dict.fromkeys(
        ("backbone.body.fc.weight", "backbone.body.fc.bias"), "has no place in this system"
    )
    assert "backbone.fpn.inner_blocks.0.0.weight" in report.random
    assert model.untrained == ALL  # the pyramid of the backbone is random yet
    assert "2 not" in str(report)
    assert "not taken, has no place in this system: backbone.body.fc.weight, backbone.body.fc.bias" in str(report)


def test_jsis_net_has_the_last_stage_where_regions_go_through_it(tmp_path: Path) -> None:
    theirs = resnet18()
    model = jsis_net()
    report = load_weights(model, saved(theirs.state_dict(), tmp_path / "resnet18.pth"))
    assert report is not None
    state = model.state_dict()
    assert torch.equal(state["roi_heads.box_head.layer4.1.conv2.weight"], theirs.layer4[1].conv2.weight)
    assert torch.equal(state["backbone.body.layer3.0.bn1.running_var"], theirs.layer3[0].bn1.running_var)
    assert set(report.left) == {"backbone.body.fc.weight", "backbone.body.fc.bias"}
    assert model.untrained == ALL - {"backbone"}


@pytest.mark.parametrize("names", [dict, old_names])
def test_a_whole_mask_rcnn_of_coco_is_the_instance_branch_of_cocos_label_set(
    tmp_path: Path, names: Callable[[dict[str, Tensor]], dict[str, Tensor]]
) -> None:
    theirs = mask_rcnn()
    state = dict(theirs.state_dict())
    model = panoptic_fpn(COCO)
    report = load_weights(model, saved(names(state), tmp_path / "mask_rcnn.pth"))
    assert report is not None
    assert report.source.endswith("torchvision's Mask R-CNN of 91 classes")
    assert not report.left
    assert all(name.startswith("semantic_head.") for name in report.random)
    assert model.untrained == {"semantic_head"}
    mine = model.state_dict()
    for name in ("rpn.head.conv.0.0.weight", "roi_heads.mask_head.3.0.bias", "backbone.fpn.layer_blocks.2.0.weight"):
        assert torch.equal(mine[name], state[name])
    rows = torch.tensor([0, *(label.id for label in COCO.things)])
    name = "roi_heads.box_predictor.cls_score.weight"
    assert torch.equal(mine[name], state[name][rows])
    boxes = "roi_heads.box_predictor.bbox_pred.bias"
    assert torch.equal(mine[boxes].view(-1, 4), state[boxes].view(-1, 4)[rows])
    masks = "roi_heads.mask_predictor.mask_fcn_logits.weight"
    assert torch.equal(mine[masks], state[masks][rows])


def test_classes_of_another_label_set_are_found_by_their_names(tmp_path: Path) -> None:
    theirs = mask_rcnn()
    model = panoptic_fpn(CITYSCAPES)
    name = "roi_heads.box_predictor.cls_score.weight"
    before = model.state_dict()[name].clone()
    report = load_weights(model, saved({"model": theirs.state_dict(), "epoch": 3}, tmp_path / "checkpoint.pth"))
    assert report is not None
    of_coco = {label.name: label.id for label in COCO.things}
    after = model.state_dict()[name]
    for row, label in enumerate(CITYSCAPES.things, start=1):
        if label.name in of_coco:
            assert torch.equal(after[row], theirs.state_dict()[name][of_coco[label.name]]), label.name
        else:
            assert torch.equal(after[row], before[row]), label.name
    assert {label.name for label in CITYSCAPES.things} & of_coco.keys() >= {"person", "car", "bicycle"}
    assert name in report.taken
    assert name in report.random  # in part
    assert "roi_heads" in model.untrained


def test_what_has_another_shape_is_left_and_said(tmp_path: Path) -> None:
    """JSIS-Net reads one map: of a Mask R-CNN with a pyramid it takes the stages."""
    theirs = mask_rcnn()
    model = jsis_net()
    report = load_weights(model, saved(theirs.state_dict(), tmp_path / "mask_rcnn.pth"))
    assert report is not None
    assert "roi_heads.box_head.layer4.0.conv1.weight" in report.taken
    assert "another shape" in report.left["rpn.head.conv.0.0.weight"]
    assert report.left["backbone.fpn.inner_blocks.0.0.weight"] == "has no place in this system"
    assert model.untrained == ALL - {"backbone"}


def broken(folder: Path) -> dict[str, Path]:
    """Files by the words that tell what they are."""
    state = resnet18().state_dict()
    whole = saved(state, folder / "whole.pth")
    truncated = folder / "truncated.pth"
    truncated.write_bytes(whole.read_bytes()[:-1000])
    page = folder / "page.pth"
    page.write_bytes(b"<!DOCTYPE html><title>404</title>")
    empty = folder / "empty.pth"
    empty.touch()
    bad = dict(state)
    bad["conv1.weight"] = torch.full_like(bad["conv1.weight"], float("nan"))
    wider = {
        name: tensor.repeat(2, *(1,) * (tensor.ndim - 1)) if tensor.ndim else tensor for name, tensor in state.items()
    }
    return {
        "cannot be read as weights of torchvision .it is an archive": truncated,
        "it is a page of the web, not what was to be downloaded": page,
        "it is empty": empty,
        "cannot be read as weights": saved(nn.Linear(1, 1), folder / "code.pth"),
        "holds a list, expected tensors by name": saved([1, 2], folder / "list.pth"),
        "holds a mapping with 'epoch' of type int": saved({"epoch": 3}, folder / "mapping.pth"),
        r"weights of something else \(2 tensors such as weight, bias\)": saved(
            nn.Linear(1, 1).state_dict(), folder / "linear.pth"
        ),
        "torchvision's RetinaNet or FCOS": saved(
            {"backbone.body.conv1.weight": torch.zeros(1), "head.classification_head.x": torch.zeros(1)},
            folder / "retinanet.pth",
        ),
        "torchvision's ResNet-18, of which nothing fits PanopticFpn": saved(wider, folder / "wider.pth"),
        r"ResNet of \(2, 2, 3, 2\) blocks, whose backbone is another .* \(see .*layer3\.2\.bn1\.bias": saved(
            {**state, "layer3.2.bn1.bias": torch.zeros(256)}, folder / "deeper.pth"
        ),
        r"torchvision's ResNet of \(2, 1, 2, 2\) blocks, whose backbone is another .* \(see .*layer2\.1\.": saved(
            {name: tensor for name, tensor in state.items() if "layer2.1." not in name}, folder / "shallower.pth"
        ),
        "backbone.body.conv1.weight holds values that are not finite": saved(bad, folder / "nan.pth"),
        "no such weights file": folder / "missing.pth",
    }


def test_a_file_that_is_something_else_says_what_it_is_and_changes_nothing(tmp_path: Path) -> None:
    model = panoptic_fpn()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for said, path in broken(tmp_path).items():
        for use in (check_weights, load_weights):
            with pytest.raises(WeightsError, match=said) as error:
                use(model, path)
            assert str(path) in str(error.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model.untrained == ALL


@pytest.mark.parametrize("system", ["panoptic_fpn", "jsis_net"])
def test_formats_of_other_systems_are_refused(tmp_path: Path, system: str) -> None:
    model: RegionSystem = small(system)
    path = tmp_path / "yolov3.weights"
    path.write_bytes(b"\0" * 100)
    with pytest.raises(WeightsError, match=r"Darknet weights, but \w+ takes none: expected .* \.safetensors or \.pth"):
        load_weights(model, path)
    with pytest.raises(WeightsError, match=r"layers and classes are told of Darknet weights, not of torchvision's"):
        load_weights(model, saved(resnet18().state_dict(), tmp_path / "resnet18.pth"), layers=3)
