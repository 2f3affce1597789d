"""YOLO-Panoptic: Diaz-Zapata, "YOLO-Based Panoptic Segmentation", 2020 (hal-02884735), chapter 3.

=======================  ===============================================================================
section                  here
=======================  ===============================================================================
3.1 YOLOv3, Darknet-53   `Darknet` of a cfg (`backbones/darknet.py`): detections and three feature maps
3.2 semantic networks    four choices (`layers/semantic_heads.py`): *SegNet* on one map, *SegNet multi-feature*, *FPN*,
                         and the default *PPM* with `PyramidPooling`
3.3 instance network     `InstanceFeatures` (fig. 3.8) and `InstanceHead`, *deep* or *shallow* (fig. 3.9)
3.4.1 merging            `YoloPanoptic.decode` with `fusion`
=======================  ===============================================================================

`forward` holds everything whose shapes do not depend on what is seen; the instance head runs on the boxes that survive
non-maximum suppression and so belongs to `decode`.

Where the thesis is silent, the choice and its reason:

- Depth of the first 3x3 convolution of the semantic head, with C the depth of the fused map: C / 4, the reduction that
  the PPM's branches have, and C for the FPN, whose C is small already (`semantic_channels`).
- "Features from the PPM" that the instance network reduces: the concatenation before the semantic head's 3x3
  convolution, the one whose depth (2 C) calls for a reduction.  They are reduced to C / 4 (`instance_channels`) and
  upsampled to stride 2 (`instance_upsample`).
- Features for the instance network beside the other semantic networks, of which section 3.3 does not speak: likewise
  the map that the semantic head reads.  That is the one map, at stride 4, for SegNet; the reduced concatenation for
  SegNet multi-feature; the sum at stride 2 for the FPN, whose depth stays C.
- Semantic logits have the PPM's stride 4 or, where the network upsamples itself (SegNet, FPN), the input's size.
  `detail_channels`, which the thesis has not and which is off by default, gives the PPM's stride 2 and corrects them,
  and the instance features, by the backbone's map of that stride (`layers/detail.py`).
- Boxes as attention masks: a crop holds exactly its box, and the head's convolutions pad it with zeros.  That is what
  multiplying the features by the box's mask and cropping would give, without N full-size products.
- Between the convolutions of the instance head: batch norm, and ReLU6 after each (two convolutions without a
  non-linearity between them would be one).
- The mask's last bias starts at the logit of 0.6, about the share of its box that an object covers, its weights at
  Glorot's.  The masks of an untrained head are their boxes.
- Small stuff is a class whose whole area is small, not each of its regions: a class of stuff is one segment.
- A label set without things leaves nothing to detect: the network is then the semantic network of section 3.2 alone, on
  the backbone as far as its last feature map.
- Beside a semantic head that has learned and a detector that has not, things are a class and not told apart.
- Overlaps are resolved by objectness as the thesis says, or by each pixel's mask probability (`overlaps`); a segment's
  published score is objectness x class probability, or that and the IoU that its mask lets one expect (`scores`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from panoptic_ros import fusion
from panoptic_ros.labels import LabelSet
from panoptic_ros.letterbox import Letterbox
from panoptic_ros.models.backbones.darknet import Darknet, YoloDecoder
from panoptic_ros.models.backbones.darknet_cfg import DarknetConfig, cfg_text
from panoptic_ros.models.backbones.darknet_format import DarknetFormat
from panoptic_ros.models.frame_instances import FrameInstances, boxes_in_frame
from panoptic_ros.models.layers.detail import STRIDE as DETAIL_STRIDE
from panoptic_ros.models.layers.detail import Detail
from panoptic_ros.models.layers.folded_pyramid import FoldedPyramid, pyramid_maps
from panoptic_ros.models.layers.instance_heads import InstanceFeatures, InstanceHead, expected_ious
from panoptic_ros.models.layers.nms import Detections, choose, nothing_detected, select_detections
from panoptic_ros.models.layers.pyramid_pooling import PyramidPooling
from panoptic_ros.models.layers.semantic_heads import (
    FeatureFusion,
    SemanticHead,
    SemanticNetworkName,
    default_channels,
    semantic_network,
)
from panoptic_ros.models.layers.semantic_planes import SemanticMap, best_planes, inside, void_map
from panoptic_ros.models.model import PanopticModel, System, WeightFormat
from panoptic_ros.models.options import DecodeOptions
from panoptic_ros.segmentation import PanopticSegmentation

INSTANCE_STRIDE = 2
"""What the instance network's features are upsampled to."""

OUTPUT_NAMES = ("boxes", "objectness", "class_probabilities", "semantic_logits", "instance_features")

SEGNET_STRIDE = 16
"""The map of the single-feature SegNet that the thesis found best: its layer 62."""


@dataclass(frozen=True)
class YoloPanopticConfig:
    """The network of YOLO-Panoptic.

    Attributes
    ----------
    cfg:
        The detector: a name in ``config/cfg``, the path of a Darknet cfg, or a cfg's text.
    features:
        ``before_stride``, the thesis' [12, 37, 62], or ``after_stride``, its [6, 13, 38].
    taps:
        The feature maps as indices of cfg layers (from 0), instead of `features`: for detectors of another build, whose
        layers before a stride are not the ones to take.  Strides 4, 8 and 16; 2, 4, 8 and 16 for ``fpn`` and with
        `detail_channels`; the one map for ``segnet``.
    semantic:
        ``ppm``, ``fpn``, ``segnet`` (one feature map) or ``segnet_multi`` (three).
    segnet_stride:
        The one map of ``segnet``: 4, 8 or 16, with ``before_stride`` the thesis' layer 12, 37 or 62; null is 16.
    instance_head:
        ``deep`` or ``shallow``.
    semantic_channels, instance_channels, instance_upsample:
        See the head of this file; null takes what is said there.
    detail_channels:
        Depth of the `Detail` at stride 2 that corrects the logits of ``ppm`` and the instance features; null for none.
    """

    cfg: str = "darknet53_yolov3"
    features: Literal["before_stride", "after_stride"] = "before_stride"
    taps: tuple[int, ...] | None = None
    semantic: SemanticNetworkName = "ppm"
    segnet_stride: Literal[4, 8, 16] | None = None
    instance_head: Literal["deep", "shallow"] = "deep"
    semantic_channels: int | None = None
    instance_channels: int | None = None
    instance_upsample: int | None = None
    detail_channels: int | None = None

    def __post_init__(self) -> None:
        for name in ("semantic_channels", "instance_channels", "instance_upsample", "detail_channels"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be positive, got {value}")
        if self.segnet_stride is not None and self.semantic != "segnet":
            raise ValueError(f"segnet_stride chooses the map of 'segnet', but semantic is {self.semantic!r}")
        if self.detail_channels is not None and self.semantic != "ppm":
            raise ValueError(f"detail_channels corrects the logits of 'ppm', but semantic is {self.semantic!r}")
        if self.detail_channels is not None and self.instance_upsample not in (None, INSTANCE_STRIDE):
            raise ValueError(
                f"detail_channels wants instance features of stride {INSTANCE_STRIDE}, but instance_upsample is "
                f"{self.instance_upsample}, expected null or {INSTANCE_STRIDE}"
            )

    @property
    def tap_strides(self) -> tuple[int, ...]:
        """The strides of the feature maps that the semantic network takes."""
        if self.semantic == "segnet":
            return (self.segnet_stride or SEGNET_STRIDE,)
        return (2, 4, 8, 16) if self.semantic == "fpn" or self.detail_channels is not None else (4, 8, 16)

    def self_contained(self) -> YoloPanopticConfig:
        """The same, with the cfg's text in place of its name."""
        return replace(self, cfg=cfg_text(self.cfg))


class YoloPanopticMaps(NamedTuple):
    """What the network gives before its boxes are decoded; losses are taken here.

    Attributes
    ----------
    detections:
        The raw map (B, A · (5 + T), h, w) of each detection head, as `Darknet` gives them; none without things.
    semantic_logits:
        (B, C, H / s, W / s), s = `YoloPanoptic.semantic_stride`.
    instance_features:
        (B, F, H / 2, W / 2) by default; None without things.
    """

    detections: tuple[Tensor, ...]
    semantic_logits: Tensor
    instance_features: Tensor | None


class YoloPanoptic(PanopticModel):
    """The whole system.

    Parameters
    ----------
    labels:
        All classes; the detector's classes are the things among them, in order.  Without things there is neither a
        detector nor an instance network.
    config:
        The network.

    Raises
    ------
    ValueError
        If the cfg cannot be the detector; the message names the file.
    FileNotFoundError
        If there is no such cfg.
    """

    backbone_part = "detector"
    widening_parts = frozenset({"semantic_head", "detail"})
    weight_formats: ClassVar[Mapping[str, WeightFormat]] = {".weights": DarknetFormat()}

    def __init__(self, labels: LabelSet, config: YoloPanopticConfig) -> None:
        super().__init__(labels)
        detector_config = DarknetConfig.load(config.cfg)
        taps = config.taps or detector_config.feature_taps(config.features, config.tap_strides)
        self.detects = bool(labels.things)
        if self.detects:
            detector_config = detector_config.with_classes(len(labels.things))
            self.output_names = OUTPUT_NAMES
        else:
            detector_config = detector_config.up_to(max(taps))
            self.output_names = ("semantic_logits",)
        self.detector = Darknet(detector_config, taps=taps)
        strides = tuple(detector_config.strides[tap] for tap in taps)
        if strides != config.tap_strides:
            raise ValueError(f"taps {list(taps)} of {config.cfg} have strides {strides}, expected {config.tap_strides}")
        self.input_multiple = self.detector.input_multiple
        depths = [detector_config.out_channels[tap] for tap in taps]
        fine = None if config.detail_channels is None else depths.pop(0)
        self.fusion, self.pooling, self.semantic_head = semantic_network(
            config.semantic, depths, config.tap_strides[0], config.semantic_channels, len(labels)
        )
        self.pyramid: FoldedPyramid | None = None
        self.semantic_stride = self.fusion.stride // self.semantic_head.upsampling
        instance_channels = None
        if self.detects:
            self.yolo = YoloDecoder(detector_config)
            channels = self.fusion.out_channels
            read = self.pooling.out_channels if isinstance(self.pooling, PyramidPooling) else channels
            instance_channels = config.instance_channels or default_channels(config.semantic, channels)
            upsample = config.instance_upsample or self.fusion.stride // INSTANCE_STRIDE
            self.instance_features = InstanceFeatures(read, instance_channels, upsample)
            self.instance_head = InstanceHead(instance_channels, config.instance_head)
        self.detail: Detail | None = None
        if fine is not None and config.detail_channels is not None:
            self.detail = Detail(fine, config.detail_channels, len(labels), instance_channels)
            self.semantic_stride = DETAIL_STRIDE
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

    def maps(self, images: Tensor) -> YoloPanopticMaps:
        """Run the network on (B, 3, H, W) RGB in [0, 1], without decoding boxes."""
        detections, taps = self.detector(images)
        if self.detail is None:
            return YoloPanopticMaps(detections, *self._semantic_maps(taps))
        return YoloPanopticMaps(detections, *self.detail(taps[0], *self._semantic_maps(taps[1:])))

    def _semantic_maps(self, taps: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        """The semantic logits and the instance features of the thesis' network."""
        if self.pyramid is not None:
            folded: tuple[Tensor, Tensor | None] = self.pyramid(taps)
            return folded
        if self.training and isinstance(self.pooling, PyramidPooling):  # the same from two thirds of the work
            return pyramid_maps(taps, *self._pyramid_parts(self.pooling))
        features = self.pooling(self.fusion(taps))
        return self.semantic_head(features), self.instance_features(features) if self.detects else None

    def fold(self) -> None:
        """See `PanopticModel.fold`: what is around the Pyramid Pooling Module becomes one `FoldedPyramid`."""
        if self.pyramid is not None or not isinstance(self.pooling, PyramidPooling):
            return
        self.pyramid = FoldedPyramid(*self._pyramid_parts(self.pooling))
        del self.fusion, self.pooling, self.semantic_head
        if self.detects:
            del self.instance_features

    def _pyramid_parts(
        self, pooling: PyramidPooling
    ) -> tuple[FeatureFusion, PyramidPooling, SemanticHead, InstanceFeatures | None]:
        assert isinstance(self.fusion, FeatureFusion)
        assert isinstance(self.semantic_head, SemanticHead)
        return self.fusion, pooling, self.semantic_head, self.instance_features if self.detects else None

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """See `PanopticModel.forward`.

        Returns
        -------
        ``boxes`` (B, A, 4) x0, y0, x1, y1 in pixels of the input, ``objectness`` (B, A) and ``class_probabilities``
        (B, A, T) in [0, 1] of all anchors; ``semantic_logits`` and ``instance_features`` of `YoloPanopticMaps`.
        Without things ``semantic_logits`` alone.
        """
        return self.outputs(self.maps(images))

    def outputs(self, maps: YoloPanopticMaps) -> dict[str, Tensor]:
        """What `forward` gives for an input, from its maps."""
        detections, semantic_logits, instance_features = maps
        if instance_features is None:
            return {"semantic_logits": semantic_logits}
        boxes, objectness, class_probabilities = self.yolo([raw.float() for raw in detections])
        return {
            "boxes": boxes,
            "objectness": objectness,
            "class_probabilities": class_probabilities,
            "semantic_logits": semantic_logits,
            "instance_features": instance_features,
        }

    @torch.inference_mode()
    def instances_of(
        self, outputs: dict[str, Tensor], letterboxes: Sequence[Letterbox], options: DecodeOptions
    ) -> list[FrameInstances] | None:
        """See `PanopticModel.instances_of`."""
        if self._semantic_alone or self.untrained & {"detector", "instance_head"}:
            return None
        detections, masks = self._instances(outputs, letterboxes, options.measured(), multi_label=True)
        return [
            FrameInstances(
                boxes_in_frame(found.boxes, box),
                self.thing_classes[found.classes],
                found.scores,
                mask,
                options.mask_threshold,
            )
            for found, mask, box in zip(detections, masks, letterboxes, strict=True)
        ]

    @torch.inference_mode()
    def decode(
        self,
        outputs: dict[str, Tensor],
        letterboxes: Sequence[Letterbox],
        options: DecodeOptions,
        confidence: bool = False,
    ) -> list[PanopticSegmentation]:
        """See `PanopticModel.decode`."""
        logits = outputs["semantic_logits"]
        if self._semantic_alone:
            detections = [nothing_detected(logits)] * len(letterboxes)
            masks: Sequence[Tensor] = [logits.new_zeros((0, 1, 1), dtype=torch.float32)] * len(letterboxes)
        else:
            detections, masks = self._instances(outputs, letterboxes, options)
        return [
            self._merge(logits[index], found, mask, box, options, confidence)
            for index, (found, mask, box) in enumerate(zip(detections, masks, letterboxes, strict=True))
        ]

    @property
    def _semantic_alone(self) -> bool:
        """Whether there is no detector, or one that has learned nothing beside a semantic head that has."""
        return not self.detects or ("detector" in self.untrained and "semantic_head" not in self.untrained)

    def _instances(
        self,
        outputs: dict[str, Tensor],
        letterboxes: Sequence[Letterbox],
        options: DecodeOptions,
        multi_label: bool = False,
    ) -> tuple[list[Detections], Sequence[Tensor]]:
        """The detections of each image and their masks (N, S, S)."""
        detections = [self._detect(outputs, index, box, options, multi_label) for index, box in enumerate(letterboxes)]
        masks = self._masks(outputs, detections)
        if options.scores == "boxes" and options.agnostic_nms_threshold == 1.0:
            return detections, masks
        pairs = [_chosen(*one, options) for one in zip(detections, masks, strict=True)]
        return [found for found, _ in pairs], [mask for _, mask in pairs]

    def _detect(
        self, outputs: dict[str, Tensor], index: int, box: Letterbox, options: DecodeOptions, multi_label: bool
    ) -> Detections:
        """The detections of one image, inside its frame, most certain object first (section 3.4.1)."""
        found = select_detections(
            outputs["boxes"][index].float(),
            outputs["objectness"][index].float(),
            outputs["class_probabilities"][index].float(),
            options.score_threshold,
            options.nms_threshold,
            options.max_detections,
            multi_label,
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
        if "instance_head" in self.untrained:  # its masks are noise, and the box is what is known
            return tuple(
                found.boxes.new_ones((len(found.boxes), head.crop_size, head.crop_size)) for found in detections
            )
        height, width = (self.semantic_stride * size for size in outputs["semantic_logits"].shape[-2:])
        crops = [
            head.crop(
                outputs["instance_features"][index],
                outputs["semantic_logits"][index],
                found.boxes,
                self.thing_classes[found.classes],
                height,
                width,
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
        semantic = self._segment(inside(logits, box, self.semantic_stride), box, options, confidence)
        paste = fusion.paste_by_rank if options.overlaps == "objectness" else fusion.paste_by_probability
        winners = paste(masks, boxes_in_frame(found.boxes, box), height, width, options.mask_threshold)
        return fusion.merge(
            semantic.classes,
            winners,
            class_ids=self.class_ids,
            class_scores=semantic.scores.confidence,
            is_thing=torch.zeros_like(self.is_thing) if self._semantic_alone else self.is_thing,
            instance_classes=self.thing_classes[found.classes],
            instance_scores=found.scores,
            minimum_stuff_area=math.ceil(options.stuff_area_fraction * height * width),
            unlikely=semantic.scores.iou < options.stuff_iou_threshold,
            confidence=semantic.certainty,
        )

    def _segment(self, logits: Tensor, box: Letterbox, options: DecodeOptions, confidence: bool) -> SemanticMap:
        """The semantic segmentation of one image, from the logits of its frame."""
        count = len(self.labels)
        only_stuff = options.uncovered_things == "stuff" and not self._semantic_alone
        only_detector = "semantic_head" in self.untrained and "detector" not in self.untrained
        if only_detector or (only_stuff and not len(self.stuff_classes)):
            # Only a detector was loaded: what an untrained head says is noise, and void is the honest label.
            return void_map(logits, count, box, confidence)
        if only_stuff:
            return best_planes(logits[self.stuff_classes], self.stuff_classes, count, box, confidence)
        return best_planes(logits, None, count, box, confidence)


def _chosen(found: Detections, masks: Tensor, options: DecodeOptions) -> tuple[Detections, Tensor]:
    """Of one image, the detections that stay once their masks (N, S, S) are known, and these."""
    if options.scores == "masks":
        found = found._replace(scores=found.scores * expected_ious(masks, options.mask_threshold))
    kept = choose(found, options.score_threshold, options.agnostic_nms_threshold)
    return Detections(*(values[kept] for values in found)), masks[kept]


SYSTEM = System(YoloPanoptic, YoloPanopticConfig)
