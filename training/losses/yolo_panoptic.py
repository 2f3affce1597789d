"""What YOLO-Panoptic learns by: Diaz-Zapata 2020, section 3.3, equation 3.1, and the detector's terms beside it.

The thesis trains L = L_sem + 0.1 L_inst with backbone and detector frozen and recommends training all of it as future
work.  Which parts learn is not said here: a term is left out when all parts that are its own are frozen (their
parameters ask for no gradient), as below.

===========  ==========================================  ===============================
term         its own parts                               weight
===========  ==========================================  ===============================
semantic     `fusion`, `pooling`, `semantic_head`,       `semantic_weight`
             `detail`
instance     `instance_features`, `instance_head`        `instance_weight`
box          `detector`                                  `detection_weight · box_weight`
objectness   `detector`                                  and so on
class        `detector`
===========  ==========================================  ===============================

The detector's terms weigh 0.01: they are sums over an image, which Darknet learns at a rate of 0.001, and the thesis'
rate for the joint loss is 0.1.

A network of a label set without things has the semantic term alone, for which its backbone (`detector`) learns too.

A training step takes the parts of its terms out of `model.untrained`: the decode leaves untrained heads out, and
validation would measure nothing of what was learnt.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from panoptic_ros.models.layers.pyramid_pooling import PyramidPooling
from panoptic_ros.models.yolo_panoptic import YoloPanoptic, YoloPanopticMaps
from panoptic_training.losses.instances import InstanceLoss, InstanceLossOptions
from panoptic_training.losses.semantic import SemanticLoss, SemanticLossOptions
from panoptic_training.losses.system import SystemLoss
from panoptic_training.losses.yolov3 import YoloV3Loss, YoloV3LossOptions
from panoptic_training.targets import Targets

PARTS = {
    "semantic": ("fusion", "pooling", "semantic_head", "detail"),
    "instance": ("instance_features", "instance_head"),
    "detection": ("detector",),
}
"""The parts of the model whose learning each group of terms is for."""


@dataclass(frozen=True, slots=True)
class YoloPanopticLossOptions:
    """How YOLO-Panoptic learns.

    Attributes
    ----------
    semantic, instance, detection:
        Of each group of terms.
    semantic_weight, instance_weight, detection_weight:
        Their positive weights in the sum.

    Raises
    ------
    ValueError
        If a weight is not positive: a term is left out by freezing its parts.
    """

    semantic: SemanticLossOptions = field(default_factory=SemanticLossOptions)
    instance: InstanceLossOptions = field(default_factory=InstanceLossOptions)
    detection: YoloV3LossOptions = field(default_factory=YoloV3LossOptions)
    semantic_weight: float = 1.0
    instance_weight: float = 0.1
    detection_weight: float = 0.01

    def __post_init__(self) -> None:
        for name in ("semantic_weight", "instance_weight", "detection_weight"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be positive (freeze a part to leave it out), got {getattr(self, name)}")


class YoloPanopticLoss(nn.Module):
    """The loss of YOLO-Panoptic.

    Parameters
    ----------
    model:
        The network, which this runs.
    options:
        See there.

    Raises
    ------
    ValueError
        If an option does not fit the model.
    """

    def __init__(self, model: YoloPanoptic, options: YoloPanopticLossOptions) -> None:
        super().__init__()
        self.model = model
        self.options = options
        self.semantic = SemanticLoss(len(model.labels), options.semantic)
        if model.detects:
            self.instance = InstanceLoss(len(model.labels), options.instance)
            self.detection = YoloV3Loss(model.detector.config, options.detection)
            groups = PARTS
        else:
            groups = {"semantic": ("detector", *PARTS["semantic"])}
        has = dict(model.named_children())
        self.parts = {group: tuple(part for part in parts if part in has) for group, parts in groups.items()}
        # The detector counts the things only.
        number = torch.cumsum(model.is_thing, dim=0) - 1
        self.register_buffer("detector_classes", number.where(model.is_thing, -1), persistent=False)
        self.detector_classes: Tensor

    def learning(self) -> tuple[str, ...]:
        """The groups of terms that have a part (`parts`) which is not frozen."""
        return tuple(
            group
            for group, parts in self.parts.items()
            if any(parameter.requires_grad for part in parts for parameter in getattr(self.model, part).parameters())
        )

    def forward(self, images: Tensor, targets: Targets) -> dict[str, Tensor]:
        """The terms of a batch, unweighted scalars by name, and ``loss``, their weighted sum; see `evaluate`."""
        return self._terms(images, targets)[0]

    def evaluate(self, images: Tensor, targets: Targets) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The terms of a batch as `forward` gives them, and what the model's own forward gives.

        Parameters
        ----------
        images:
            (B, 3, H, W) float32 RGB in [0, 1], H and W multiples of the model's `input_multiple`.
        targets:
            Of these images.

        Raises
        ------
        ValueError
            If images and targets do not fit each other, an instance is of stuff, every part is frozen, or one image
            alone is to train a Pyramid Pooling Module.
        """
        terms, maps = self._terms(images, targets)
        return terms, self.model.outputs(maps)

    def _terms(self, images: Tensor, targets: Targets) -> tuple[dict[str, Tensor], YoloPanopticMaps]:
        self._check(images, targets)
        learning = self.learning()
        if not learning:
            raise ValueError("every part of the model is frozen; there is nothing to learn")
        if self.training:
            # The decode does not ask heads that are untrained; those that learn from here on are not.
            self.model.untrained -= {part for group in learning for part in self.parts[group]}
        maps = self.model.maps(images)
        options = self.options
        terms: dict[str, Tensor] = {}
        weighted: list[Tensor] = []
        if "semantic" in learning:
            terms["semantic"] = self.semantic(maps.semantic_logits, targets.semantic, targets.instances)
            weighted.append(options.semantic_weight * terms["semantic"])
        if "instance" in learning:
            assert maps.instance_features is not None, "a model without things has no instance network"
            terms["instance"] = self.instance(
                self.model.instance_head,
                maps.instance_features,
                maps.semantic_logits,
                targets.instances,
                targets.boxes,
                targets.classes,
            )
            weighted.append(options.instance_weight * terms["instance"])
        if "detection" in learning:
            classes = self._detected_classes(targets)
            found = self.detection(maps.detections, targets.boxes, classes, targets.crowds)
            terms.update(found)
            weighted.append(options.detection_weight * self.detection.weighted(found))
        terms["loss"] = torch.stack(weighted).sum()
        return terms, maps

    def _check(self, images: Tensor, targets: Targets) -> None:
        size = (len(images), *images.shape[-2:])
        for name in ("semantic", "instances"):
            shape = tuple(getattr(targets, name).shape)
            if shape != size:
                raise ValueError(f"targets: {name} is {shape}, expected {size} of the images")
        # Its coarsest branch has one cell an image, of which alone a batch norm can learn nothing.
        pooling = self.model.pooling
        alone = len(images) == 1 and isinstance(pooling, PyramidPooling)
        if alone and any(isinstance(layer, nn.BatchNorm2d) and layer.training for layer in pooling.modules()):
            raise ValueError("the Pyramid Pooling Module needs at least 2 images in a batch to be trained, got 1")

    def _detected_classes(self, targets: Targets) -> list[Tensor]:
        """Of each image the detector's class of each instance."""
        found = [self.detector_classes[classes] for classes in targets.classes]
        if bool((torch.cat(found) < 0).any()):
            name, classes = next(
                (name, classes)
                for name, classes, numbers in zip(targets.names, targets.classes, found, strict=True)
                if bool((numbers < 0).any())
            )
            label = self.model.labels.labels[int(classes[self.detector_classes[classes].argmin()])]
            raise ValueError(f"{name}: has an instance of {label.name!r}, which is stuff; expected things only")
        return found


LOSS = SystemLoss(YoloPanopticLoss, YoloPanopticLossOptions)
