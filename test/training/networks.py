"""A YOLO-Panoptic small enough to be trained in a test, and pictures of drawn shapes for it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from panoptic_ros.datasets import Truth
from panoptic_ros.labels import LabelSet
from panoptic_ros.models.yolo_panoptic import YoloPanoptic, YoloPanopticConfig
from panoptic_ros.segmentation import PanopticSegmentation
from panoptic_training.targets import Targets, collate, targets_of

CITYSCAPES = LabelSet.load("cityscapes")
ROAD, BUILDING, SKY, PERSON, CAR = 7, 11, 23, 24, 26
ANCHORS = "6,8, 10,20, 16,12,  20,32, 32,20, 28,44,  56,40, 40,64, 72,64"
HEIGHT, WIDTH = 96, 128

_CONVOLUTION = "[convolutional]\nbatch_normalize=1\nfilters={}\nsize=3\nstride={}\npad=1\nactivation=leaky\n"
_HEAD = "[convolutional]\nfilters=39\nactivation=linear\n[yolo]\nmask={}\nanchors={}\nclasses=8\n"


def write_cfg(folder: Path, width: int = 16) -> Path:
    """A detector of YOLOv3's shape with two convolutions a stride: heads of strides 32, 16 and 8, joined as there."""
    text = f"[net]\nwidth={WIDTH}\nheight={HEIGHT}\n"
    for depth in (1, 2, 4, 6, 8):  # layers 0 to 9: strides 2, 4, 8, 16 and 32
        text += _CONVOLUTION.format(depth * width // 2, 2) + _CONVOLUTION.format(depth * width // 2, 1)
    text += _HEAD.format("6,7,8", ANCHORS)
    text += "[route]\nlayers=9\n[upsample]\nstride=2\n[route]\nlayers=-1,7\n" + _CONVOLUTION.format(3 * width, 1)
    text += _HEAD.format("3,4,5", ANCHORS)
    text += "[route]\nlayers=-3\n[upsample]\nstride=2\n[route]\nlayers=-1,5\n" + _CONVOLUTION.format(2 * width, 1)
    text += _HEAD.format("0,1,2", ANCHORS)
    path = folder / "tiny.cfg"
    path.write_text(text)
    return path


def tiny(folder: Path, **settings: object) -> YoloPanoptic:
    """The same weights every time."""
    torch.manual_seed(0)
    return YoloPanoptic(CITYSCAPES, YoloPanopticConfig(cfg=str(write_cfg(folder)), **settings))  # type: ignore[arg-type]


def picture(seed: int) -> tuple[NDArray[np.uint8], Truth]:
    """Sky, buildings and a road with rectangular cars and elliptic people: (H, W, 3) RGB and its truth."""
    random = np.random.default_rng(seed)
    ids = np.full((HEIGHT, WIDTH), SKY * 1000, dtype=np.int32)
    ids[20:] = BUILDING * 1000
    ids[52:] = ROAD * 1000
    image = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    image[:20], image[20:52], image[52:] = (120, 170, 230), (110, 90, 70), (70, 70, 80)
    shapes = [(CAR, 8, 56, 46, 28), (PERSON, 62, 30, 18, 44), (CAR, 88, 62, 34, 22), (PERSON, 100, 24, 12, 26)]
    for number, (class_id, x, y, width, height) in enumerate(shapes, start=1):
        x, y = x + int(random.integers(-5, 6)), y + int(random.integers(-4, 5))
        color = tuple(int(value) for value in random.integers(120, 255, 3))
        for canvas, value in ((ids, class_id * 1000 + number), (image, color)):
            if class_id == CAR:
                cv2.rectangle(canvas, (x, y), (x + width - 1, y + height - 1), value, -1)
            else:
                middle, axes = (x + width // 2, y + height // 2), (width // 2, height // 2)
                cv2.ellipse(canvas, middle, axes, 0, 0, 360, value, -1)
    return image, Truth(PanopticSegmentation.from_ids(ids, CITYSCAPES.thing_ids))


def batch(*truths: tuple[NDArray[np.uint8], Truth]) -> tuple[Tensor, Targets]:
    """Images (B, 3, H, W) in [0, 1] with their targets."""
    images = torch.stack([torch.from_numpy(image).permute(2, 0, 1).float() / 255.0 for image, _ in truths])
    made = [targets_of(truth, CITYSCAPES, f"picture {index}") for index, (_, truth) in enumerate(truths)]
    return images, collate(made)
