"""What systems of Mask R-CNN and a semantic branch on one backbone have in common.

Their `forward` gives the semantic logits, the maps that regions are cropped from, and the region proposal network's
maps; proposals, heads and merging, whose numbers depend on what is seen, are the decode's.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchvision.models.detection.rpn import RegionProposalNetwork

from panoptic_ros import fusion
from panoptic_ros.labels import LabelSet
from panoptic_ros.letterbox import Letterbox
from panoptic_ros.models.backbones.resnet import Normalize
from panoptic_ros.models.backbones.torchvision_weights import TorchvisionFormat
from panoptic_ros.models.frame_instances import FrameInstances, boxes_in_frame
from panoptic_ros.models.layers.mask_rcnn import Instances, Proposals, RegionHeads, detect, propose
from panoptic_ros.models.layers.semantic_planes import SemanticMap, best_planes, inside, void_map
from panoptic_ros.models.model import PanopticModel, WeightFormat
from panoptic_ros.models.options import InstanceDecodeOptions
from panoptic_ros.segmentation import PanopticSegmentation

INSTANCE_PARTS = ("rpn", "roi_heads")
SEMANTIC_PARTS = ("semantic_head",)


class RegionSystem(PanopticModel):
    """A system of two branches; subclasses make the parts ``backbone``, ``rpn``, ``roi_heads`` and ``semantic_head``.

    Parameters
    ----------
    labels:
        All classes; the heads' classes are the things among them, in order, after the background.  Without things
        there is neither a proposal network nor heads.
    planes:
        The class index that each plane of the semantic head stands for, the number of classes for none.
    feature_names:
        The maps that regions are cropped from, by torchvision's names.
    levels:
        How many maps proposals come from.

    Attributes
    ----------
    detects:
        Whether there are things.
    semantic_stride:
        Pixels of the input for each cell of the semantic logits.
    """

    weight_formats: ClassVar[Mapping[str, WeightFormat]] = {".pth": TorchvisionFormat(), ".pt": TorchvisionFormat()}
    semantic_stride: int
    rpn: RegionProposalNetwork
    roi_heads: RegionHeads

    def __init__(self, labels: LabelSet, planes: Sequence[int], feature_names: Sequence[str], levels: int) -> None:
        super().__init__(labels)
        self.detects = bool(labels.things)
        self.normalize = Normalize()
        self.semantic_classes = tuple(planes)
        self._feature_names, self._levels = tuple(feature_names), levels
        names = ["semantic_logits"]
        if self.detects:
            names += [f"features_{name}" for name in feature_names]
            names += [f"{what}_{level}" for what in ("objectness", "deltas") for level in range(levels)]
        self.output_names = tuple(names)
        things = torch.tensor([label.is_thing for label in labels.labels])
        self.register_buffer("is_thing", things, persistent=False)
        self.register_buffer("class_ids", torch.tensor(labels.class_ids.tolist()), persistent=False)
        self.register_buffer("thing_classes", _indices(labels, True), persistent=False)
        self.register_buffer("planes", torch.tensor(self.semantic_classes, dtype=torch.int64), persistent=False)
        self.is_thing: Tensor
        self.class_ids: Tensor
        self.thing_classes: Tensor
        self.planes: Tensor

    def region_outputs(self, features: Sequence[Tensor], levels: Sequence[Tensor]) -> dict[str, Tensor]:
        """The part of what `forward` returns that is the instance branch's.

        Parameters
        ----------
        features, levels:
            The maps that regions are cropped from, and those that proposals come from.
        """
        if not self.detects:
            return {}
        objectness, deltas = self.rpn.head(list(levels))
        return {
            **{f"features_{name}": one for name, one in zip(self._feature_names, features, strict=True)},
            **{f"objectness_{level}": one for level, one in enumerate(objectness)},
            **{f"deltas_{level}": one for level, one in enumerate(deltas)},
        }

    def input_size(self, outputs: Mapping[str, Tensor]) -> tuple[int, int]:
        """Height and width of the input that outputs are of."""
        height, width = outputs["semantic_logits"].shape[-2:]
        return self.semantic_stride * height, self.semantic_stride * width

    def features(self, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The maps that regions are cropped from, by torchvision's names."""
        return {name: outputs[f"features_{name}"] for name in self._feature_names}

    def proposals(self, outputs: Mapping[str, Tensor]) -> Proposals:
        """What the proposal network says of a batch."""
        objectness, deltas = (
            [outputs[f"{what}_{level}"] for level in range(self._levels)] for what in ("objectness", "deltas")
        )
        return propose(self.rpn, objectness, deltas, self.input_size(outputs))

    @torch.inference_mode()
    def proposals_of(self, outputs: dict[str, Tensor]) -> list[Tensor] | None:
        """See `PanopticModel.proposals_of`."""
        if not self.detects or self._silent(INSTANCE_PARTS):
            return None
        return self.proposals(outputs).boxes

    def instances(self, outputs: Mapping[str, Tensor], options: InstanceDecodeOptions) -> list[Instances]:
        """The instances of each image of a batch, in pixels of the input."""
        return detect(
            self.roi_heads,
            self.features(outputs),
            self.proposals(outputs).boxes,
            self.input_size(outputs),
            options.score_threshold,
            options.nms_threshold,
            options.max_detections,
        )

    @torch.inference_mode()
    def instances_of(
        self, outputs: dict[str, Tensor], letterboxes: Sequence[Letterbox], options: InstanceDecodeOptions
    ) -> list[FrameInstances] | None:
        """See `PanopticModel.instances_of`."""
        if not self.detects or self._silent(INSTANCE_PARTS):
            return None
        return [
            FrameInstances(
                boxes_in_frame(found.boxes, box),
                self.thing_classes[found.classes],
                found.scores,
                found.masks,
                options.mask_threshold,
            )
            for found, box in zip(self.instances(outputs, options.measured()), letterboxes, strict=True)
        ]

    @torch.inference_mode()
    def decode(
        self,
        outputs: dict[str, Tensor],
        letterboxes: Sequence[Letterbox],
        options: Any,
        confidence: bool = False,
    ) -> list[PanopticSegmentation]:
        """See `PanopticModel.decode`."""
        logits = outputs["semantic_logits"]
        if self._silent(INSTANCE_PARTS) or not self.detects:
            found = [_nothing(logits)] * len(letterboxes)
        else:
            found = self.instances(outputs, options)
        return [
            self._value(plane, some, box, options, confidence)
            for plane, some, box in zip(logits, found, letterboxes, strict=True)
        ]

    def _value(
        self, logits: Tensor, found: Instances, box: Letterbox, options: InstanceDecodeOptions, confidence: bool
    ) -> PanopticSegmentation:
        """The value of one image."""
        height, width = box.frame_height, box.frame_width
        minimum = math.ceil(options.stuff_area_fraction * height * width)
        winners = self.overlay(found.masks, boxes_in_frame(found.boxes, box), height, width, options)
        if self._silent(SEMANTIC_PARTS):
            semantic = void_map(logits, len(self.labels), box, confidence)
        else:
            logits = inside(logits, box, self.semantic_stride)
            semantic = self.segment(logits, winners < len(found.masks), box, minimum, confidence)
        return fusion.merge(
            semantic.classes,
            winners,
            class_ids=self.class_ids,
            class_scores=semantic.scores.confidence,
            is_thing=self.is_thing,
            instance_classes=self.thing_classes[found.classes],
            instance_scores=found.scores,
            minimum_stuff_area=minimum,
            unlikely=semantic.scores.iou < options.stuff_iou_threshold,
            confidence=semantic.certainty,
        )

    @abstractmethod
    def overlay(self, masks: Tensor, boxes: Tensor, height: int, width: int, options: Any) -> Tensor:
        """Which instance each pixel of a frame belongs to; see `fusion.paste_by_rank`."""

    def segment(
        self, logits: Tensor, taken: Tensor, box: Letterbox, minimum_area: int, confidence: bool
    ) -> SemanticMap:
        """The stuff of a frame: by default the best plane of each pixel.

        Parameters
        ----------
        logits:
            (P, h, w) of the frame.
        taken:
            (H, W) bool, the pixels of instances.
        box:
            Says the frame's size.
        minimum_area:
            The pixels that a class of stuff must have.
        confidence:
            Whether the certainty is asked for.
        """
        return best_planes(logits, self.planes, len(self.labels), box, confidence)

    def _silent(self, parts: Sequence[str]) -> bool:
        """Whether a branch has learned nothing beside something that has: what it says is noise, and void is honest."""
        others = {"backbone", *INSTANCE_PARTS, *SEMANTIC_PARTS} - set(parts)
        return bool(self.untrained & set(parts)) and bool(others - self.untrained)


def class_indices(labels: LabelSet, things: bool) -> list[int]:
    """The indices of the things, or of the stuff, of a label set."""
    return [index for index, label in enumerate(labels.labels) if label.is_thing == things]


def _indices(labels: LabelSet, things: bool) -> Tensor:
    return torch.tensor(class_indices(labels, things), dtype=torch.int64)


def _nothing(like: Tensor) -> Instances:
    """No instances, on the device of a tensor."""
    none = torch.zeros(0, device=like.device)
    return Instances(none.reshape(0, 4), none.long(), none, none.reshape(0, 2, 2))


def check_positive(config: object, *names: str) -> None:
    """Raise ValueError for the first of some settings, or of their entries, that is not positive."""
    for name in names:
        value = getattr(config, name)
        if min(value if isinstance(value, tuple) else (value,)) < 1:
            raise ValueError(f"{name} must be positive, got {value}")
