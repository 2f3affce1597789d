"""The sum of a semantic branch's loss and Mask R-CNN's, of systems that have both on one backbone.

Which parts learn is not said here: a branch's terms are left out when all parts that are its own are frozen (their
parameters ask for no gradient).  The backbone learns from whichever terms are left.  A training step takes the parts of
its terms out of ``model.untrained``: the decode leaves branches out that have learned nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from itertools import chain

import torch
from torch import Tensor, nn

from panoptic_ros.models.layers.region_system import INSTANCE_PARTS, SEMANTIC_PARTS, RegionSystem
from panoptic_training.losses.class_weights import weight_of_each
from panoptic_training.losses.mask_rcnn import MaskRcnnLoss, MaskRcnnLossOptions
from panoptic_training.losses.semantic import SemanticLoss, SemanticLossOptions
from panoptic_training.targets import IGNORE, Targets


class TwoBranchLoss(nn.Module):
    """The loss of a `RegionSystem`.

    Parameters
    ----------
    model:
        The network, which this runs.
    semantic, instance:
        Options of the branches.
    weights:
        Of ``semantic`` and of each of Mask R-CNN's terms.

    Raises
    ------
    ValueError
        If there are class weights for another number of classes than the label set has.
    """

    def __init__(
        self,
        model: RegionSystem,
        semantic: SemanticLossOptions,
        instance: MaskRcnnLossOptions,
        weights: Mapping[str, float],
    ) -> None:
        super().__init__()
        self.model = model
        self.weights = dict(weights)
        planes = model.semantic_classes
        assert planes is not None, "a semantic branch says what its planes are"
        self.semantic = SemanticLoss(len(planes), _of_planes(semantic, planes, len(model.labels)))
        self.parts: Mapping[str, tuple[str, ...]] = {"semantic": SEMANTIC_PARTS}
        if model.detects:
            self.instance = MaskRcnnLoss(model, instance)
            self.parts = {**self.parts, "instance": INSTANCE_PARTS}
        else:
            self.parts = {"semantic": ("backbone", *SEMANTIC_PARTS)}
        # Which plane a class of the truth is: things share the plane of no class, if there is one.
        other = planes.index(len(model.labels)) if len(model.labels) in planes else IGNORE
        table = [planes.index(index) if index in planes else other for index in range(len(model.labels))]
        self.register_buffer("planes", torch.tensor([*table, IGNORE]), persistent=False)
        self.planes: Tensor

    def learning(self) -> tuple[str, ...]:
        """The branches that have a part which is not frozen."""
        return tuple(
            branch
            for branch, parts in self.parts.items()
            if any(p.requires_grad for p in chain(*(getattr(self.model, part).parameters() for part in parts)))
        )

    def forward(self, images: Tensor, targets: Targets) -> dict[str, Tensor]:
        """The terms of a batch, unweighted scalars by name, and ``loss``, their weighted sum; see `evaluate`."""
        return self.evaluate(images, targets)[0]

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
            If images and targets do not fit each other, an instance is of stuff, or every part is frozen.
        """
        self._check(images, targets)
        learning = self.learning()
        if not learning:
            raise ValueError("every part of the model is frozen; there is nothing to learn")
        if self.training:
            self.model.untrained -= {"backbone", *chain(*(self.parts[branch] for branch in learning))}
        outputs: dict[str, Tensor] = self.model(images)
        terms: dict[str, Tensor] = {}
        if "semantic" in learning:
            labels = targets.semantic.where(targets.semantic != IGNORE, len(self.model.labels))
            terms["semantic"] = self.semantic(outputs["semantic_logits"], self.planes[labels], targets.instances)
        if "instance" in learning:
            terms.update(self.instance(self.model, outputs, targets))
        terms["loss"] = torch.stack([self.weights[name] * term for name, term in terms.items()]).sum()
        return terms, outputs

    def _check(self, images: Tensor, targets: Targets) -> None:
        size = (len(images), *images.shape[-2:])
        for name in ("semantic", "instances"):
            shape = tuple(getattr(targets, name).shape)
            if shape != size:
                raise ValueError(f"targets: {name} is {shape}, expected {size} of the images")
        for name, classes in zip(targets.names, targets.classes, strict=True):
            if bool((~self.model.is_thing[classes]).any()):
                label = self.model.labels.labels[int(classes[self.model.is_thing[classes].int().argmin()])]
                raise ValueError(f"{name}: has an instance of {label.name!r}, which is stuff; expected things only")


def check_weights(options: object) -> None:
    """Raise ValueError for the first weight of some loss options (fields ``*_weight``) that is not positive."""
    for name in (field.name for field in dataclasses.fields(options) if field.name.endswith("_weight")):  # type: ignore[arg-type]
        if not 0.0 < getattr(options, name) < float("inf"):
            raise ValueError(f"{name} must be positive (freeze a part to leave it out), got {getattr(options, name)}")


def _of_planes(options: SemanticLossOptions, planes: tuple[int, ...], count: int) -> SemanticLossOptions:
    """Options whose class weights are those of planes; a plane of no class has the mean weight of the classes in it."""
    if options.class_weights is None or planes == tuple(range(count)):
        return options
    weights = weight_of_each(options.class_weights, count)
    others = [weights[index] for index in range(count) if index not in planes]
    of_planes = tuple(weights[plane] if plane < count else sum(others) / len(others) for plane in planes)
    return dataclasses.replace(options, class_weights=of_planes)
