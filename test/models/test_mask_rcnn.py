"""Mask R-CNN in steps against torchvision's own, with the same weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import maskrcnn_resnet50_fpn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNN
from torchvision.models.resnet import ResNet
from torchvision.ops import MultiScaleRoIAlign

from panoptic_ros.labels import LabelSet
from panoptic_ros.models.backbones.resnet import C4, pyramid, region_stage, resnet
from panoptic_ros.models.jsis_net import JsisNet, JsisNetConfig, JsisNetDecode
from panoptic_ros.models.layers import mask_rcnn
from panoptic_ros.models.panoptic_fpn import PanopticFpn, PanopticFpnConfig, PanopticFpnDecode

CITYSCAPES = LabelSet.load("cityscapes")
THINGS = len(CITYSCAPES.things)
SIZE = (64, 96)
IMAGES = torch.rand((2, 3, *SIZE), generator=torch.Generator().manual_seed(0))


def with_random_weights(model: nn.Module) -> nn.Module:
    """Every weight, bias and statistic its own, so that nothing agrees by chance; in evaluation mode."""
    generator = torch.Generator().manual_seed(1)
    for name, tensor in model.state_dict().items():
        if "running_var" in name:
            tensor.uniform_(0.5, 2.0, generator=generator)
        elif tensor.is_floating_point() and tensor.ndim == 1:
            tensor.normal_(1.0 if "bn" in name and "weight" in name else 0.0, 0.1, generator=generator)
        elif "cls_score" in name or "mask_fcn_logits" in name:
            tensor.normal_(0.0, 0.2, generator=generator)  # or no class would be sure of anything
    return model.eval()


def shared(theirs: nn.Module) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in theirs.state_dict().items() if not name.startswith("transform")}


def run_torchvision(theirs: nn.Module, images: Tensor) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """What torchvision's own modules give without the scaling of images: proposals and results."""
    sizes = [SIZE] * len(images)
    features = theirs.backbone(images)
    proposals, _ = theirs.rpn(ImageList(images, sizes), features)
    results, _ = theirs.roi_heads(features, proposals, sizes)
    return proposals, results


@torch.inference_mode()
def test_panoptic_fpn_finds_what_torchvisions_mask_rcnn_finds() -> None:
    theirs = with_random_weights(
        maskrcnn_resnet50_fpn(
            weights=None,
            weights_backbone=None,
            num_classes=1 + THINGS,
            rpn_post_nms_top_n_test=40,
            box_detections_per_img=10,
            box_score_thresh=0.1,
        )
    )
    ours = PanopticFpn(CITYSCAPES, PanopticFpnConfig(proposals=40)).eval()
    missing, unknown = ours.load_state_dict(shared(theirs), strict=False)
    assert not unknown
    assert all(name.startswith("semantic_head.") for name in missing)
    outputs = ours(IMAGES)
    proposals, results = run_torchvision(theirs, ours.normalize(IMAGES))
    for found, expected in zip(ours.proposals(outputs).boxes, proposals, strict=True):
        torch.testing.assert_close(found, expected)
    options = PanopticFpnDecode(score_threshold=0.1, nms_threshold=0.5, max_detections=10)
    instances = ours.instances(outputs, options)
    assert min(len(found.boxes) for found in instances) >= 5
    for found, expected in zip(instances, results, strict=True):
        torch.testing.assert_close(found.boxes, expected["boxes"])
        torch.testing.assert_close(found.scores, expected["scores"])
        torch.testing.assert_close(found.classes + 1, expected["labels"])
        torch.testing.assert_close(found.masks, expected["masks"][:, 0])


class _Body(nn.Module):
    """torchvision's detection wants a backbone that says its depth."""

    def __init__(self, network: ResNet, depth: int) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            network.conv1, network.bn1, network.relu, network.maxpool, network.layer1, network.layer2, network.layer3
        )
        self.out_channels = depth

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"0": self.stages(images)}


@torch.inference_mode()
def test_jsis_nets_boxes_are_those_of_torchvisions_faster_rcnn_on_one_map() -> None:
    """The same stages, heads and anchors put together as torchvision puts them together."""
    config = JsisNetConfig(
        backbone="resnet18_half",
        stride=16,
        semantic_channels=8,
        deconvolution_stride=4,
        anchor_sizes=(16, 32, 64),
        proposals=30,
        crop_size=8,
        mask_channels=4,
    )
    ours = with_random_weights(JsisNet(CITYSCAPES, config))
    network = resnet("resnet18_half")
    body = _Body(network, 128)
    theirs = MaskRCNN(
        body,
        rpn_anchor_generator=AnchorGenerator(((16, 32, 64),), (mask_rcnn.RATIOS,)),
        rpn_head=ours.rpn.head,
        rpn_pre_nms_top_n_test=2000,
        rpn_post_nms_top_n_test=30,
        box_roi_pool=MultiScaleRoIAlign(["0"], output_size=8, sampling_ratio=2),
        box_head=ours.roi_heads.box_head,
        box_predictor=ours.roi_heads.box_predictor,
        mask_roi_pool=MultiScaleRoIAlign(["0"], output_size=8, sampling_ratio=2),
        mask_head=nn.Sequential(ours.roi_heads.box_head, ours.roi_heads.mask_head),
        mask_predictor=ours.roi_heads.mask_predictor,
        box_score_thresh=0.15,
        box_nms_thresh=0.6,
        box_detections_per_img=20,
    ).eval()
    network.load_state_dict(ours.backbone.body.state_dict(), strict=False)
    outputs = ours(IMAGES)
    proposals, results = run_torchvision(theirs, ours.normalize(IMAGES))
    for found, expected in zip(ours.proposals(outputs).boxes, proposals, strict=True):
        torch.testing.assert_close(found, expected)
    instances = ours.instances(outputs, JsisNetDecode(score_threshold=0.15, max_detections=20))
    assert min(len(found.boxes) for found in instances) >= 2
    for found, expected in zip(instances, results, strict=True):
        torch.testing.assert_close(found.boxes, expected["boxes"])
        torch.testing.assert_close(found.scores, expected["scores"])
        torch.testing.assert_close(found.classes + 1, expected["labels"])
        torch.testing.assert_close(found.masks, expected["masks"][:, 0])
        assert found.masks.shape[1:] == (33, 33)


@pytest.mark.parametrize("name", ["resnet18", "resnet18_half", "resnet34"])
def test_a_pyramids_maps_have_the_strides_of_its_names(name: str) -> None:
    maps = pyramid(name, 16).eval()(IMAGES)  # type: ignore[arg-type]
    assert list(maps) == ["0", "1", "2", "3", "pool"]
    sizes = [(16, 24), (8, 12), (4, 6), (2, 3), (1, 2)]
    assert [tuple(one.shape) for one in maps.values()] == [(2, 16, *size) for size in sizes]


def test_holes_keep_stride_8_and_the_last_stage_keeps_a_crops_size() -> None:
    with torch.device("meta"):
        network = resnet("resnet50", 8)
        stage = region_stage(network)
        assert C4(network)(torch.zeros((1, 3, 64, 96))).shape == (1, 1024, 8, 12)
        assert stage(torch.zeros((2, 1024, 7, 7))).shape == (2, 2048, 7, 7)
    assert {layer.dilation for layer in stage.modules() if isinstance(layer, nn.Conv2d)} == {(1, 1)}
    rates = {layer.dilation for layer in network.layer3.modules() if isinstance(layer, nn.Conv2d)}
    assert rates == {(1, 1), (2, 2)}
    with pytest.raises(ValueError, match="stride 8 needs blocks with holes, which resnet18 does not have"):
        resnet("resnet18", 8)


def test_half_has_half_the_channels_of_each_stage() -> None:
    whole, half = resnet("resnet18"), resnet("resnet18_half")
    for number in range(1, 5):
        stages = [getattr(network, f"layer{number}") for network in (whole, half)]
        assert stages[0][-1].bn2.num_features == 2 * stages[1][-1].bn2.num_features
