"""Panoptic FPN and JSIS-Net small enough to be trained in a test, and a picture of large shapes for them."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from panoptic_ros.datasets import Truth
from panoptic_ros.labels import LabelSet
from panoptic_ros.models.jsis_net import JsisNet, JsisNetConfig
from panoptic_ros.models.layers.region_system import RegionSystem
from panoptic_ros.models.panoptic_fpn import PanopticFpn, PanopticFpnConfig
from panoptic_ros.segmentation import PanopticSegmentation

CITYSCAPES = LabelSet.load("cityscapes")
ROAD, BUILDING, SKY, PERSON, CAR = 7, 11, 23, 24, 26
HEIGHT, WIDTH = 96, 128


CONFIGS = {
    "panoptic_fpn": PanopticFpnConfig(
        backbone="resnet18_half",
        channels=32,
        semantic_channels=32,
        head_channels=64,
        mask_channels=32,
        anchor_sizes=(12, 24, 48, 72, 96),
        proposals=60,
    ),
    "jsis_net": JsisNetConfig(
        backbone="resnet18_half",
        stride=16,
        semantic_channels=32,
        deconvolution_kernel=8,
        deconvolution_stride=4,
        proposal_channels=32,
        anchor_sizes=(24, 48, 72),
        proposals=60,
        crop_size=8,
        mask_channels=32,
        mask_size=16,
    ),
}
NETWORKS = {"panoptic_fpn": PanopticFpn, "jsis_net": JsisNet}


def small(system: str, labels: LabelSet = CITYSCAPES) -> RegionSystem:
    """The same weights every time."""
    torch.manual_seed(0)
    return NETWORKS[system](labels, CONFIGS[system])


def small_panoptic_fpn(labels: LabelSet = CITYSCAPES) -> PanopticFpn:
    return cast("PanopticFpn", small("panoptic_fpn", labels))


def small_jsis_net(labels: LabelSet = CITYSCAPES) -> JsisNet:
    return cast("JsisNet", small("jsis_net", labels))


def large_shapes() -> tuple[NDArray[np.uint8], Truth]:
    """Sky, a building and a road with two cars and a person, each large: (H, W, 3) RGB and its truth."""
    ids = np.full((HEIGHT, WIDTH), SKY * 1000, dtype=np.int32)
    ids[24:] = BUILDING * 1000
    ids[56:] = ROAD * 1000
    image = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    image[:24], image[24:56], image[56:] = (120, 170, 230), (110, 90, 70), (70, 70, 80)
    for canvas, values in ((ids, (CAR * 1000 + 1, CAR * 1000 + 2)), (image, ((220, 40, 40), (40, 60, 220)))):
        cv2.rectangle(canvas, (6, 50), (45, 79), values[0], -1)
        cv2.rectangle(canvas, (52, 60), (91, 87), values[1], -1)
    for canvas, value in ((ids, PERSON * 1000 + 3), (image, (230, 220, 60))):
        cv2.ellipse(canvas, (107, 56), (14, 30), 0, 0, 360, value, -1)
    return image, Truth(PanopticSegmentation.from_ids(ids, CITYSCAPES.thing_ids))
