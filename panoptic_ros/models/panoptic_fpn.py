"""Panoptic FPN: Kirillov, Girshick, He and Dollár, "Panoptic Feature Pyramid Networks", CVPR 2019.

=======================  ===============================================================================
section                  here
=======================  ===============================================================================
3.1 backbone             ResNet with a feature pyramid, torchvision's (`backbones/resnet.py`)
3.1 instance branch      Mask R-CNN on the pyramid, of torchvision's parts (`layers/mask_rcnn.py`)
3.1 semantic branch      `SemanticPyramid` (`layers/semantic_fpn.py`): stuff, and one class *other* for all things
3.1 inference            the three-step merging of Kirillov et al. 2018, "Panoptic Segmentation", section 7:
                         `fusion.paste_visible`, then things over stuff, then small stuff removed
=======================  ===============================================================================

Where the papers are silent, the choice and its reason:

- The share of an instance that better ones may cover before it is dropped: a half (`overlap_threshold`), which the
  authors' later code (Detectron2) takes, as are the scores that instances need (0.5).
- A class of a region that is sure enough is an instance, as Mask R-CNN has it: one region may be several.
- Small stuff is a class whose whole area is small.  The papers' 4096 px are of frames of 1024x2048 px; as a share of
  the frame that is 0.002 (`stuff_area_fraction`).
- Masks are scaled into their boxes as all systems' are (`fusion`), without the border of zeros that torchvision adds.
- Anchors are of the paper's sizes for frames with a shorter side of 800 px or more; networks with a small input have
  smaller ones (`anchor_sizes`).
- Batch norms learn.  Detectron's, of ImageNet's weights, stay as they are: trainings say ``batch_norm: frozen``.
- A label set without things leaves nothing to detect: the network is then the semantic branch alone.  Without stuff
  everything that no instance covers is void.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from torch import Tensor

from panoptic_ros import fusion
from panoptic_ros.labels import LabelSet
from panoptic_ros.models.backbones.resnet import ResnetName, pyramid
from panoptic_ros.models.layers.mask_rcnn import fpn_heads, fpn_proposals
from panoptic_ros.models.layers.region_system import RegionSystem, check_positive, class_indices
from panoptic_ros.models.layers.semantic_fpn import STRIDE, SemanticPyramid
from panoptic_ros.models.model import System
from panoptic_ros.models.options import InstanceDecodeOptions, check_shares

MAPS = ("0", "1", "2", "3")
"""The pyramid's maps that regions are cropped from, of strides 4 to 32; proposals come from one more, of stride 64."""


@dataclass(frozen=True, slots=True)
class PanopticFpnConfig:
    """The network of Panoptic FPN.

    Attributes
    ----------
    backbone:
        ``resnet50`` or ``resnet101`` as in the paper; ``resnet18``, ``resnet34`` or ``resnet18_half``, whose stages
        have half the channels, for small machines.
    channels:
        Of the pyramid.
    semantic_channels:
        Of the semantic branch.
    head_channels, mask_channels:
        Of the fully connected layers that read class and box, and of the mask head's convolutions.
    anchor_sizes:
        In pixels of the input, one for each of the five levels.
    candidates, proposals:
        How many of each level's boxes enter the suppression, the best, and the most regions that are looked at after
        it; while training twice as many.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    backbone: ResnetName = "resnet50"
    channels: int = 256
    semantic_channels: int = 128
    head_channels: int = 1024
    mask_channels: int = 256
    anchor_sizes: tuple[int, int, int, int, int] = (32, 64, 128, 256, 512)
    candidates: int = 1000
    proposals: int = 1000

    def __post_init__(self) -> None:
        if self.backbone not in get_args(ResnetName):
            raise ValueError(f"backbone must be one of {', '.join(get_args(ResnetName))}, got {self.backbone!r}")
        names = ("channels", "semantic_channels", "head_channels", "mask_channels", "anchor_sizes")
        check_positive(self, *names, "candidates", "proposals")

    def self_contained(self) -> PanopticFpnConfig:
        """The same: nothing of it is in files."""
        return self


@dataclass(frozen=True, slots=True)
class PanopticFpnDecode(InstanceDecodeOptions):
    """The thresholds of Panoptic FPN.

    Attributes
    ----------
    overlap_threshold:
        An instance is dropped when better ones cover more than this share of it, in [0, 1].
    """

    score_threshold: float = 0.5
    nms_threshold: float = 0.5
    overlap_threshold: float = 0.5

    def __post_init__(self) -> None:
        InstanceDecodeOptions.__post_init__(self)
        check_shares(self, "overlap_threshold")


class PanopticFpn(RegionSystem):
    """The whole system.

    Parameters
    ----------
    labels:
        All classes; the semantic branch knows the stuff among them, and *other*.
    config:
        The network.
    """

    input_multiple = 32
    semantic_stride = STRIDE

    def __init__(self, labels: LabelSet, config: PanopticFpnConfig) -> None:
        planes = class_indices(labels, things=False)
        if labels.things:
            planes.append(len(labels))  # other
        super().__init__(labels, planes, MAPS, len(config.anchor_sizes))
        self.backbone = pyramid(config.backbone, config.channels)
        if self.detects:
            self.rpn = fpn_proposals(config.channels, config.anchor_sizes, config.candidates, config.proposals)
            self.roi_heads = fpn_heads(config.channels, len(labels.things), config.head_channels, config.mask_channels)
        self.semantic_head = SemanticPyramid(config.channels, config.semantic_channels, len(planes))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """See `PanopticModel.forward`.

        Returns
        -------
        ``semantic_logits`` (B, P, H / 4, W / 4) of the stuff and of *other*; ``features_0`` to ``features_3``, the
        pyramid's maps; ``objectness_0`` … (B, A, h, w) and ``deltas_0`` … (B, 4 · A, h, w) of its five levels.
        """
        maps: dict[str, Tensor] = self.backbone(self.normalize(images))
        levels = list(maps.values())
        features = levels[: len(MAPS)]
        return {"semantic_logits": self.semantic_head(features), **self.region_outputs(features, levels)}

    def overlay(self, masks: Tensor, boxes: Tensor, height: int, width: int, options: PanopticFpnDecode) -> Tensor:
        """See `RegionSystem.overlay`."""
        return fusion.paste_visible(masks, boxes, height, width, options.mask_threshold, options.overlap_threshold)


SYSTEM = System(PanopticFpn, PanopticFpnConfig, PanopticFpnDecode)
