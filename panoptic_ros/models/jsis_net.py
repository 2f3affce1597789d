"""JSIS-Net: de Geus, Meletis and Dubbelman, "Panoptic Segmentation with a Joint Semantic and Instance Segmentation
Network", 2018 (arXiv:1809.02110).

=======================  ===============================================================================
section                  here
=======================  ===============================================================================
2.1 feature extractor    ResNet-50 as far as its third stage, shared by both branches (`backbones/resnet.py`)
2.1 semantic branch      `PooledBranch`: Pyramid Pooling Module, deconvolution, bilinear to the frame's size
2.1 instance branch      Mask R-CNN, C4 style: regions go through ResNet's final stage (`layers/mask_rcnn.py`)
2.2.1 overlaps           `fusion.paste_by_probability`: each pixel to the mask that is the surest there
2.2.2 conflicts          the most probable stuff class under the things, small classes replaced by the next best
                         (`fusion.argmax_of_large`); things over stuff
=======================  ===============================================================================

Where the paper is silent, the choice and its reason; most are of the TensorFlow Object Detection configuration of that
time (Mask R-CNN on ResNet-50 with holes), in whose words the paper describes its instance branch:

- Stride 8, with holes of rate 2 in the third stage (`stride`); 16 is the network without holes.
- Anchors of 64 to 512 px, its scales 0.25 to 2 of 256 px, at ratios 0.5, 1 and 2 (`anchor_sizes`), 300 proposals
  (`proposals`), a convolution of 512 channels before them (`proposal_channels`).
- Crops of 14x14, max-pooled by 2 (`crop_size`), masks of 33x33 (`mask_size`), final suppression at 0.6.  Its mask head
  is the one of that code, with a 1x1 convolution to `mask_channels` before its features are scaled: without it one
  3x3 convolution on 2048 channels a region would be more work than the whole backbone.
- The suppression of proposals at 0.7, and the 2000 best boxes that enter it (`candidates`), where that code takes all:
  on a CPU its time grows with their square.
- Detections need a score of 0.5 as in the merging of Kirillov et al. 2018 that the paper starts from.
- Pyramid Pooling with 1, 2, 3 and 6 bins and 512 channels after it, as in its paper (`semantic_channels`).
- The deconvolution of the hybrid upsampling has a 4x4 kernel and doubles the map (`deconvolution_kernel`,
  `deconvolution_stride`); it gives the logits.  The bilinear step goes to the frame's size at once.
- Stuff under 4096 px counts what is left of it under the things, as panopticapi does, and is replaced by the best of
  the classes that have as much; where none has, it is void.  The threshold is a share of the frame
  (`stuff_area_fraction`): 4096 px of a network input of 512x1024 are 0.0078, of 400x400 0.0256.
- The text scales all pictures to the input's size whatever their shape; ours lie in a letterbox, proportions kept.
- The L2 term of the loss is the optimiser's weight decay, which is its gradient.
- A label set without things leaves the semantic branch alone; without stuff, what no instance covers is void.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from panoptic_ros import fusion
from panoptic_ros.labels import LabelSet
from panoptic_ros.letterbox import ALIGNMENT, Letterbox
from panoptic_ros.models.backbones.resnet import C4, ResnetName, out_channels, region_stage, resnet
from panoptic_ros.models.layers.mask_rcnn import c4_heads, c4_proposals
from panoptic_ros.models.layers.pyramid_pooling import PyramidPooling
from panoptic_ros.models.layers.region_system import RegionSystem, check_positive, class_indices
from panoptic_ros.models.layers.semantic_planes import SemanticMap, class_map, class_scores
from panoptic_ros.models.model import System
from panoptic_ros.models.options import InstanceDecodeOptions

MAPS = ("0",)
"""The one map that regions are cropped from and proposals come from."""

STUFF_AREA = 4096 / (512 * 1024)
"""The paper's 4096 px as a share of its input for Mapillary Vistas."""


@dataclass(frozen=True, slots=True)
class JsisNetConfig:
    """The network of JSIS-Net.

    Attributes
    ----------
    backbone:
        ``resnet50`` as in the paper, or another; those of two convolutions a block have `stride` 16 only.
    stride:
        Of the map that both branches read.
    semantic_channels:
        Between the Pyramid Pooling Module and the deconvolution.
    deconvolution_kernel, deconvolution_stride:
        Of the learned half of the upsampling; the kernel is as much larger as an even number of pixels.
    proposal_channels:
        Of the proposal network's convolution.
    anchor_sizes:
        In pixels of the input.
    candidates, proposals:
        How many of the proposal network's boxes enter the suppression, the best, and the most regions that are looked
        at after it.
    crop_size:
        Side of a region's crop, in cells, even.
    mask_channels, mask_size:
        Depth of the mask head, and the side of masks.

    Raises
    ------
    ValueError
        If a value is out of its range, or two do not go together.
    """

    backbone: ResnetName = "resnet50"
    stride: Literal[8, 16] = 8
    semantic_channels: int = 512
    deconvolution_kernel: int = 4
    deconvolution_stride: int = 2
    proposal_channels: int = 512
    anchor_sizes: tuple[int, ...] = (64, 128, 256, 512)
    candidates: int = 2000
    proposals: int = 300
    crop_size: int = 14
    mask_channels: int = 256
    mask_size: int = 33

    def __post_init__(self) -> None:
        if self.backbone not in get_args(ResnetName):
            raise ValueError(f"backbone must be one of {', '.join(get_args(ResnetName))}, got {self.backbone!r}")
        if not self.anchor_sizes:
            raise ValueError("anchor_sizes must name at least one size")
        names = ("semantic_channels", "deconvolution_kernel", "deconvolution_stride", "proposal_channels")
        check_positive(self, *names, "anchor_sizes", "candidates", "proposals", "crop_size", "mask_channels")
        if self.mask_size < 2:
            raise ValueError(f"mask_size must be at least 2, got {self.mask_size}")
        if self.crop_size % 2:
            raise ValueError(f"crop_size must be even, got {self.crop_size}")
        if self.stride % self.deconvolution_stride:
            raise ValueError(
                f"deconvolution_stride must divide the stride {self.stride}, got {self.deconvolution_stride}"
            )
        margin = self.deconvolution_kernel - self.deconvolution_stride
        if margin < 0 or margin % 2:
            raise ValueError(
                f"deconvolution_kernel must be deconvolution_stride ({self.deconvolution_stride}) and an even number "
                f"of pixels more, got {self.deconvolution_kernel}"
            )
        if ALIGNMENT % (self.stride // self.deconvolution_stride):
            raise ValueError(
                f"stride / deconvolution_stride must divide {ALIGNMENT}, the letterbox's alignment, got "
                f"{self.stride // self.deconvolution_stride}"
            )

    def self_contained(self) -> JsisNetConfig:
        """The same: nothing of it is in files."""
        return self


@dataclass(frozen=True, slots=True)
class JsisNetDecode(InstanceDecodeOptions):
    """The thresholds of JSIS-Net; classes of stuff that are too small give way to the next best."""

    score_threshold: float = 0.5
    nms_threshold: float = 0.6
    stuff_area_fraction: float = STUFF_AREA

    def __post_init__(self) -> None:
        InstanceDecodeOptions.__post_init__(self)


class PooledBranch(nn.Module):
    """The semantic branch: Pyramid Pooling, a 3x3 convolution, and a deconvolution to the logits of all classes."""

    def __init__(self, in_channels: int, channels: int, classes: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.pooling = PyramidPooling(in_channels)
        self.convolution = nn.Sequential(
            nn.Conv2d(self.pooling.out_channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )
        self.deconvolution = nn.ConvTranspose2d(channels, classes, kernel, stride, padding=(kernel - stride) // 2)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) to logits (B, classes, stride · h, stride · w)."""
        logits: Tensor = self.deconvolution(self.convolution(self.pooling(features)))
        return logits


class JsisNet(RegionSystem):
    """The whole system.

    Parameters
    ----------
    labels:
        All classes; both branches know the things among them.
    config:
        The network.

    Raises
    ------
    ValueError
        If the backbone cannot have the stride.
    """

    input_multiple = 16

    def __init__(self, labels: LabelSet, config: JsisNetConfig) -> None:
        super().__init__(labels, range(len(labels)), MAPS, len(MAPS))
        self.semantic_stride = config.stride // config.deconvolution_stride
        network = resnet(config.backbone, config.stride)
        self.backbone = C4(network)
        channels = self.backbone.out_channels
        if self.detects:
            stage = region_stage(network)
            self.rpn = c4_proposals(
                channels, config.proposal_channels, config.anchor_sizes, config.candidates, config.proposals
            )
            self.roi_heads = c4_heads(
                stage,
                out_channels(stage),
                len(labels.things),
                config.crop_size,
                config.mask_channels,
                config.mask_size,
            )
        self.semantic_head = PooledBranch(
            channels, config.semantic_channels, len(labels), config.deconvolution_kernel, config.deconvolution_stride
        )
        stuff = torch.tensor(class_indices(labels, things=False), dtype=torch.int64)
        self.register_buffer("stuff_classes", stuff, persistent=False)
        self.stuff_classes: Tensor

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """See `PanopticModel.forward`.

        Returns
        -------
        ``semantic_logits`` (B, C, H / s, W / s), s 4 by default; ``features_0``, the shared map; ``objectness_0``
        (B, A, h, w) and ``deltas_0`` (B, 4 · A, h, w).
        """
        features = [self.backbone(self.normalize(images))]
        return {"semantic_logits": self.semantic_head(features[0]), **self.region_outputs(features, features)}

    def overlay(self, masks: Tensor, boxes: Tensor, height: int, width: int, options: JsisNetDecode) -> Tensor:
        """See `RegionSystem.overlay`."""
        return fusion.paste_by_probability(masks, boxes, height, width, options.mask_threshold)

    def segment(
        self, logits: Tensor, taken: Tensor, box: Letterbox, minimum_area: int, confidence: bool
    ) -> SemanticMap:
        """See `RegionSystem.segment`: the most probable stuff class that is large enough."""
        logits = logits[self.stuff_classes]
        planes, best = fusion.argmax_of_large(logits, taken, minimum_area)
        count = len(self.labels)
        certainty: Tensor | None = None
        if confidence:
            certainty = fusion.confidence_map(logits, best) if len(logits) else torch.zeros_like(best)
        return SemanticMap(
            class_map(planes, self.stuff_classes, count),
            class_scores(logits, self.stuff_classes, count, box),
            certainty,
        )


SYSTEM = System(JsisNet, JsisNetConfig, JsisNetDecode)
