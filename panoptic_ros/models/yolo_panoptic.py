"""YOLO-Panoptic: Diaz-Zapata, "YOLO-Based Panoptic Segmentation", 2020 (hal-02884735), chapter 3.

=======================  ===============================================================================
section                  here
=======================  ===============================================================================
3.1 YOLOv3, Darknet-53   `Darknet` of a cfg (`backbones/darknet.py`): detections and three feature maps
3.2.2 PPM                `FeatureFusion` (1x1 convolution, upsampling, concatenation), `PyramidPooling`,
                         `SemanticHead`
3.3 instance network     `InstanceFeatures` (fig. 3.8) and `InstanceHead`, *deep* or *shallow* (fig. 3.9)
3.4.1 merging            `YoloPanoptic.decode` with `fusion.py`
=======================  ===============================================================================

`forward` holds everything whose shapes do not depend on what is seen; the instance head runs on the boxes that survive
non-maximum suppression and so belongs to `decode`.

Where the thesis is silent, the choice and its reason:

- Depth of the 3x3 convolution of the semantic head: C / 4, the reduction that the module's branches have
  (`semantic_channels`).
- "Features from the PPM" that the instance network reduces: the concatenation before the semantic head's 3x3
  convolution, the one whose depth (2 C) calls for a reduction.  They are reduced to C / 4 (`instance_channels`) and
  upsampled by 2 (`instance_upsample`).
- Boxes as attention masks: a crop holds exactly its box, and the head's convolutions pad it with zeros.  That is what
  multiplying the features by the box's mask and cropping would give, without N full-size products.
- Between the convolutions of the instance head: batch norm, and ReLU6 after each (two convolutions without a
  non-linearity between them would be one).
- The mask's last bias starts at the logit of 0.6, about the share of its box that an object covers.
- Small stuff is a class whose whole area is small, not each of its regions: a class of stuff is one segment.
- Overlaps are resolved by objectness as the thesis says; a segment's published score is objectness x class probability.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from panoptic_ros import fusion
from panoptic_ros.labels import LabelSet
from panoptic_ros.letterbox import Letterbox
from panoptic_ros.models.backbones.darknet import Darknet, YoloDecoder
from panoptic_ros.models.backbones.darknet_cfg import DarknetConfig
from panoptic_ros.models.layers.nms import Detections, select_detections
from panoptic_ros.models.layers.pyramid_pooling import PyramidPooling
from panoptic_ros.models.model import PanopticModel
from panoptic_ros.models.options import DecodeOptions
from panoptic_ros.segmentation import PanopticSegmentation

TAP_STRIDES = (4, 8, 16)

FUSED_STRIDE = 4
"""The three maps meet at a quarter of the input's sides ("1/16 the size of the input image")."""

CROP_SIZE = {"deep": 20, "shallow": 40}
"""Side of the crops that the two instance heads work on (section 3.3)."""

FOREGROUND_SHARE = 0.6


@dataclass(frozen=True)
class YoloPanopticConfig:
    """The network of YOLO-Panoptic.

    Attributes
    ----------
    cfg:
        The detector: a name in ``config/cfg`` or the path of a Darknet cfg.
    features:
        ``before_stride``, the thesis' [12, 37, 62], or ``after_stride``, its [6, 13, 38].
    taps:
        The three feature maps as indices of cfg layers (from 0) of strides 4, 8 and 16, instead of `features`: for
        detectors of another build, whose layers before a stride are not the ones to take.
    instance_head:
        ``deep`` or ``shallow``.
    semantic_channels, instance_channels, instance_upsample:
        See the head of this file; null channels mean C / 4.
    """

    cfg: str = "darknet53_yolov3"
    features: Literal["before_stride", "after_stride"] = "before_stride"
    taps: tuple[int, int, int] | None = None
    instance_head: Literal["deep", "shallow"] = "deep"
    semantic_channels: int | None = None
    instance_channels: int | None = None
    instance_upsample: int = 2

    def __post_init__(self) -> None:
        for name in ("semantic_channels", "instance_channels", "instance_upsample"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be positive, got {value}")


class FeatureFusion(nn.Module):
    """The Pyramid Pooling Module's input (section 3.2.2): three maps become one of stride 4.

    The first map's depth is raised to the second's by a 1x1 convolution (128 to 256 with Darknet-53), the second and
    third maps are upsampled, and all are concatenated (256 + 256 + 512 = 1024 channels).
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        first, second, third = channels
        self.out_channels = 2 * second + third
        self.widen = nn.Conv2d(first, second, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps of strides 4, 8 and 16 to (B, C, H / 4, W / 4)."""
        first, second, third = maps
        size = first.shape[-2:]
        return torch.cat(
            (
                self.widen(first),
                F.interpolate(second, size=size, mode="bilinear", align_corners=False),
                F.interpolate(third, size=size, mode="bilinear", align_corners=False),
            ),
            dim=1,
        )


class SemanticHead(nn.Sequential):
    """Logits from the pooled features: "a 3x3 and a 1x1 convolution" (section 3.2.2)."""

    def __init__(self, in_channels: int, channels: int, classes: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, classes, 1),
        )


class InstanceFeatures(nn.Module):
    """Features for the instance head (fig. 3.8): depth reduced by a 1x1 convolution, upsampled."""

    def __init__(self, in_channels: int, channels: int, upsample: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(in_channels, channels, 1)
        self.upsample = upsample

    def forward(self, features: Tensor) -> Tensor:
        """(B, 2 C, h, w) to (B, F, upsample · h, upsample · w)."""
        reduced: Tensor = self.reduce(features)
        if self.upsample == 1:
            return reduced
        upsampled: Tensor = F.interpolate(
            reduced, scale_factor=float(self.upsample), mode="bilinear", align_corners=False
        )
        return upsampled


class InstanceHead(nn.Module):
    """Foreground segmentation of crops (fig. 3.9).

    *shallow*: 40x40 crops, a 3x3 and a 1x1 convolution.  *deep*: 20x20 crops, two 3x3 convolutions and ReLU6 before the
    same two.
    """

    def __init__(self, channels: int, kind: Literal["deep", "shallow"]) -> None:
        super().__init__()
        self.crop_size = CROP_SIZE[kind]
        inputs = channels + 1  # the semantic plane of the detected class
        layers: list[nn.Module] = []
        for index in range(3 if kind == "deep" else 1):
            layers += [
                nn.Conv2d(inputs if index == 0 else channels, channels, 3, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU6(inplace=True),
            ]
        self.convolutions = nn.Sequential(*layers)
        self.mask = nn.Conv2d(channels, 1, 1)
        nn.init.zeros_(self.mask.weight)
        nn.init.constant_(self.mask.bias, math.log(FOREGROUND_SHARE / (1.0 - FOREGROUND_SHARE)))  # type: ignore[arg-type]

    def crop(self, features: Tensor, semantic: Tensor, boxes: Tensor, classes: Tensor) -> Tensor:
        """The instance input features of one image's detections (fig. 3.8), each box resized bilinearly to S x S.

        Parameters
        ----------
        features:
            (F, h, w) of `InstanceFeatures`.
        semantic:
            (C, h', w') semantic logits, of stride `FUSED_STRIDE`.
        boxes, classes:
            (N, 4) x0, y0, x1, y1 in pixels of the input and (N,) the semantic class index of each detection.

        Returns
        -------
        (N, F + 1, S, S): the features and, of the semantic logits, the plane of the detection's class.
        """
        count, side = len(boxes), self.crop_size
        height, width = (FUSED_STRIDE * size for size in semantic.shape[-2:])
        centres = (torch.arange(side, device=boxes.device) + 0.5) / side
        x = (boxes[:, :1] + centres * (boxes[:, 2:3] - boxes[:, :1])) * (2.0 / width) - 1.0
        y = (boxes[:, 1:2] + centres * (boxes[:, 3:] - boxes[:, 1:2])) * (2.0 / height) - 1.0
        grid = torch.stack((x[:, None].expand(-1, side, -1), y[:, :, None].expand(-1, -1, side)), dim=-1)
        crops = _sample(features, grid.flatten(0, 1)).view(-1, count, side, side)
        planes = _sample(semantic, grid.flatten(0, 1)).view(-1, count, side, side)
        context = planes[classes, torch.arange(count, device=boxes.device)]
        return torch.cat((crops.transpose(0, 1), context[:, None]), dim=1)

    def forward(self, crops: Tensor) -> Tensor:
        """(N, F + 1, S, S) to mask logits (N, S, S)."""
        logits: Tensor = self.mask(self.convolutions(crops))
        return logits[:, 0]


class YoloPanoptic(PanopticModel):
    """The whole system.

    Parameters
    ----------
    labels:
        All classes; the detector's classes are the things among them, in order.
    config:
        The network.

    Raises
    ------
    ValueError
        If the cfg cannot be the detector; the message names the file.
    FileNotFoundError
        If there is no such cfg.
    """

    output_names = ("boxes", "objectness", "class_probabilities", "semantic_logits", "instance_features")

    def __init__(self, labels: LabelSet, config: YoloPanopticConfig) -> None:
        super().__init__(labels)
        if not labels.things:
            raise ValueError(f"label set {labels.name!r} has no things, which are the classes of a detector")
        detector_config = DarknetConfig.load(config.cfg).with_classes(len(labels.things))
        taps = config.taps or detector_config.feature_taps(config.features)
        self.detector = Darknet(detector_config, taps=taps)
        strides = tuple(detector_config.strides[tap] for tap in taps)
        if strides != TAP_STRIDES:
            raise ValueError(f"taps {list(taps)} of {config.cfg} have strides {strides}, expected {TAP_STRIDES}")
        self.input_multiple = self.detector.input_multiple
        self.yolo = YoloDecoder(detector_config)
        self.fusion = FeatureFusion([detector_config.out_channels[tap] for tap in taps])
        channels = self.fusion.out_channels
        self.pooling = PyramidPooling(channels)
        pooled = self.pooling.out_channels
        self.semantic_head = SemanticHead(pooled, config.semantic_channels or channels // 4, len(labels))
        instance_channels = config.instance_channels or channels // 4
        self.instance_features = InstanceFeatures(pooled, instance_channels, config.instance_upsample)
        self.instance_head = InstanceHead(instance_channels, config.instance_head)
        things = [label.is_thing for label in labels.labels]
        self.register_buffer("is_thing", torch.tensor(things), persistent=False)
        self.register_buffer("class_ids", torch.tensor(labels.class_ids.tolist()), persistent=False)
        indices = [index for index, thing in enumerate(things) if thing]
        self.register_buffer("thing_classes", torch.tensor(indices, dtype=torch.int64), persistent=False)
        indices = [index for index, thing in enumerate(things) if not thing]
        self.register_buffer("stuff_classes", torch.tensor(indices, dtype=torch.int64), persistent=False)
        self.is_thing: Tensor
        self.class_ids: Tensor
        self.thing_classes: Tensor
        self.stuff_classes: Tensor

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """See `PanopticModel.forward`.

        Returns
        -------
        ``boxes`` (B, A, 4) x0, y0, x1, y1 in pixels of the input, ``objectness`` (B, A) and ``class_probabilities``
        (B, A, T) in [0, 1] of all anchors; ``semantic_logits`` (B, C, H / 4, W / 4); ``instance_features``
        (B, F, H / 2, W / 2) with the default upsampling.
        """
        detections, taps = self.detector(images)
        boxes, objectness, class_probabilities = self.yolo([raw.float() for raw in detections])
        pooled = self.pooling(self.fusion(taps))
        return {
            "boxes": boxes,
            "objectness": objectness,
            "class_probabilities": class_probabilities,
            "semantic_logits": self.semantic_head(pooled),
            "instance_features": self.instance_features(pooled),
        }

    @torch.inference_mode()
    def decode(
        self,
        outputs: dict[str, Tensor],
        letterboxes: Sequence[Letterbox],
        options: DecodeOptions,
        confidence: bool = False,
    ) -> list[PanopticSegmentation]:
        """See `PanopticModel.decode`."""
        detections = [self._detect(outputs, index, box, options) for index, box in enumerate(letterboxes)]
        masks = self._masks(outputs, detections)
        return [
            self._merge(outputs["semantic_logits"][index], found, mask, box, options, confidence)
            for index, (found, mask, box) in enumerate(zip(detections, masks, letterboxes, strict=True))
        ]

    def _detect(self, outputs: dict[str, Tensor], index: int, box: Letterbox, options: DecodeOptions) -> Detections:
        """The detections of one image, inside its frame, most certain object first (section 3.4.1)."""
        found = select_detections(
            outputs["boxes"][index].float(),
            outputs["objectness"][index].float(),
            outputs["class_probabilities"][index].float(),
            options.score_threshold,
            options.nms_threshold,
            options.max_detections,
        )
        low = found.boxes.new_tensor((box.left, box.top, box.left, box.top))
        high = found.boxes.new_tensor((box.left + box.width, box.top + box.height) * 2)
        boxes = torch.minimum(torch.maximum(found.boxes, low), high)
        # A box whose visible part is thinner than a pixel shows nothing that could be segmented.
        visible = ((boxes[:, 2:] - boxes[:, :2]) >= 1.0).all(dim=1).nonzero()[:, 0]
        order = visible[found.objectness[visible].argsort(descending=True, stable=True)]
        return Detections(boxes[order], found.classes[order], found.scores[order], found.objectness[order])

    def _masks(self, outputs: dict[str, Tensor], detections: Sequence[Detections]) -> tuple[Tensor, ...]:
        """The mask probabilities (N, S, S) of each image's detections, from one run of the instance head."""
        head = self.instance_head
        crops = [
            head.crop(
                outputs["instance_features"][index],
                outputs["semantic_logits"][index],
                found.boxes,
                self.thing_classes[found.classes],
            )
            for index, found in enumerate(detections)
            if len(found.boxes)
        ]
        if not crops:
            side = head.crop_size
            return tuple(found.boxes.new_zeros((0, side, side)) for found in detections)
        masks: Tensor = head(torch.cat(crops).to(head.mask.weight.dtype))
        return torch.split(masks.sigmoid(), [len(found.boxes) for found in detections])

    def _merge(
        self,
        logits: Tensor,
        found: Detections,
        masks: Tensor,
        box: Letterbox,
        options: DecodeOptions,
        confidence: bool,
    ) -> PanopticSegmentation:
        """The value of one image (section 3.4.1)."""
        height, width = box.frame_height, box.frame_width
        rows = slice(box.top // FUSED_STRIDE, (box.top + box.height) // FUSED_STRIDE)
        columns = slice(box.left // FUSED_STRIDE, (box.left + box.width) // FUSED_STRIDE)
        logits = logits[:, rows, columns].float()
        classes, scores, certainty = self._segment(logits, height, width, options, confidence)
        scale = found.boxes.new_tensor((box.scale_x, box.scale_y) * 2)
        offset = found.boxes.new_tensor((box.left, box.top) * 2)
        boxes = (found.boxes - offset) / scale
        winners = fusion.paste_by_rank(masks, boxes, height, width, options.mask_threshold)
        return fusion.merge(
            classes,
            winners,
            class_ids=self.class_ids,
            class_scores=scores,
            is_thing=self.is_thing,
            instance_classes=self.thing_classes[found.classes],
            instance_scores=found.scores,
            minimum_stuff_area=math.ceil(options.stuff_area_fraction * height * width),
            confidence=certainty,
        )

    def _segment(
        self, logits: Tensor, height: int, width: int, options: DecodeOptions, confidence: bool
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The semantic segmentation of one image.

        Returns
        -------
        (H, W) int16 class index, the number of classes for void; (C,) mean probability of each class where it wins; and
        (H, W) probability of each pixel's class, if it is asked for.
        """
        count = len(self.labels)
        only_stuff = options.uncovered_things == "stuff"
        only_detector = "semantic_head" in self.untrained and "detector" not in self.untrained
        if only_detector or (only_stuff and not len(self.stuff_classes)):
            # Only a detector was loaded: what an untrained head says is noise, and void is the honest label.
            void = torch.full((height, width), count, dtype=torch.int16, device=logits.device)
            certainty = torch.zeros((height, width), device=logits.device) if confidence else None
            return void, logits.new_zeros(count), certainty
        if only_stuff:
            logits = logits[self.stuff_classes]
        classes, best = fusion.upsample_argmax(logits, height, width)
        certainty = fusion.confidence_map(logits, best) if confidence else None
        scores = _mean_confidence(logits)
        if only_stuff:
            indices = torch.cat((self.stuff_classes, self.stuff_classes.new_tensor([count])))
            classes = indices.to(torch.int16)[classes.int()]
            scores = scores.new_zeros(count).index_copy_(0, self.stuff_classes, scores)
        return classes, scores, certainty


def _sample(maps: Tensor, grid: Tensor) -> Tensor:
    """(C, h, w) at points (r, c, 2) with x, y from -1 to 1 between the map's outer edges: (C, r, c)."""
    # Not roi_align: it wants its maps channel by channel, and the copy took 25 ms a frame on a CPU.
    sampled = F.grid_sample(maps[None], grid[None].to(maps.dtype), padding_mode="border", align_corners=False)
    return sampled[0]


def _mean_confidence(logits: Tensor) -> Tensor:
    """(C,) the mean probability of each class over the cells that it wins, 0 where it wins none: stuff's score."""
    best, classes = logits.flatten(1).softmax(dim=0).max(dim=0)
    known = best.isfinite()
    total = best.new_zeros(len(logits)).scatter_add_(0, classes, best.where(known, 0.0))
    count = best.new_zeros(len(logits)).scatter_add_(0, classes, known.to(best.dtype))
    return total / count.clamp(min=1.0)
