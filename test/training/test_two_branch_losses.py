"""The losses of Panoptic FPN and JSIS-Net: sums, torchvision's terms, gradients, crowds, and batches of nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
import torch
from networks import CITYSCAPES, batch, picture
from region_networks import NETWORKS, small
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.detection.image_list import ImageList

from panoptic_ros.configuration import from_mapping
from panoptic_ros.labels import LabelSet
from panoptic_ros.letterbox import Letterbox
from panoptic_ros.models import SYSTEMS
from panoptic_ros.models.layers.region_system import RegionSystem
from panoptic_training.losses import LOSSES
from panoptic_training.losses.mask_rcnn import TERMS, MaskRcnnLossOptions
from panoptic_training.losses.two_branches import TwoBranchLoss
from panoptic_training.targets import IGNORE, Targets

SYSTEM_NAMES = sorted(NETWORKS)
PARTS = {"semantic": ("semantic_head",), "instance": ("rpn", "roi_heads")}


def loss_of(system: str, model: RegionSystem, **content: object) -> TwoBranchLoss:
    made, options = LOSSES[system]
    few = {"instance": {"anchors": 32, "regions": 16}}
    loss = made(model, from_mapping(options, {**few, **content}, "test"))
    assert isinstance(loss, TwoBranchLoss)
    return loss


def learned(model: RegionSystem) -> Iterator[str]:
    """Parameters that a gradient reached which is not 0."""
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and bool(parameter.grad.any()):
            yield name


def test_jsis_nets_sum_has_the_weights_of_table_2() -> None:
    terms = loss_of("jsis_net", small("jsis_net")).eval()(*batch(picture(1), picture(2)))
    assert set(terms) == {"semantic", "loss", *TERMS}
    weights = {"rpn_objectness": 1.0, "rpn_box": 1.0, "class": 1.0, "box": 0.15, "mask": 0.3, "semantic": 1.0}
    expected = sum(weight * terms[name].item() for name, weight in weights.items())
    assert terms["loss"].item() == pytest.approx(expected, rel=1e-5)


def test_panoptic_fpns_sum_weighs_its_two_branches() -> None:
    loss = loss_of("panoptic_fpn", small("panoptic_fpn"), semantic_weight=0.25, instance_weight=2.0).eval()
    terms = {name: term.item() for name, term in loss(*batch(picture(1))).items()}
    expected = 0.25 * terms["semantic"] + 2.0 * sum(terms[name] for name in TERMS)
    assert terms["loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("system", SYSTEM_NAMES)
def test_gradients_reach_every_parameter_and_a_branch_that_is_frozen_none(system: str) -> None:
    """Whole; and with one branch and the stem frozen, as pretrained ones are: that branch's terms are left out.

    All anchors are looked at, or the coarsest maps might have none of them.
    """
    images, targets = batch(picture(1), picture(2))
    every = {"anchors": 10000, "regions": 16}
    model = small(system)
    loss_of(system, model, instance=every).train()(images, targets)["loss"].backward()
    assert set(learned(model)) == {name for name, _ in model.named_parameters()}
    assert all(bool(one.grad.isfinite().all()) for one in model.parameters() if one.grad is not None)
    for frozen, left in (("semantic", set(TERMS)), ("instance", {"semantic"})):
        model = small(system)
        for part in (*PARTS[frozen], "backbone.body.conv1"):
            model.get_submodule(part).requires_grad_(False)
        loss = loss_of(system, model, instance=every).train()
        terms = loss(images, targets)
        assert set(terms) == left | {"loss"}
        terms["loss"].backward()
        expected = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert set(learned(model)) == expected


@pytest.mark.parametrize("system", SYSTEM_NAMES)
def test_what_learns_is_not_untrained_any_more(system: str) -> None:
    model = small(system)
    model.untrained = frozenset({"backbone", "rpn", "roi_heads", "semantic_head"})
    model.rpn.requires_grad_(False)
    model.roi_heads.requires_grad_(False)
    loss_of(system, model).train()(*batch(picture(1), picture(2)))
    assert model.untrained == {"rpn", "roi_heads"}


def truths(targets: Targets) -> list[dict[str, Tensor]]:
    """The targets as torchvision has them, with full-size masks."""
    things = torch.cumsum(torch.tensor([label.is_thing for label in CITYSCAPES.labels]), dim=0)
    return [
        {
            "boxes": boxes,
            "labels": things[classes],
            "masks": torch.stack([instances == row + 1 for row in range(len(boxes))]).to(torch.uint8),
        }
        for boxes, classes, instances in zip(targets.boxes, targets.classes, targets.instances, strict=True)
    ]


def test_the_terms_are_torchvisions() -> None:
    """All anchors and regions are looked at, and nothing is left to chance; masks differ by how a cell is covered."""
    model = small("panoptic_fpn").eval()
    images, targets = batch(picture(1), picture(2))
    options = MaskRcnnLossOptions(anchors=10**6, regions=10**6)
    made, kinds = LOSSES["panoptic_fpn"]
    loss = made(model, kinds(instance=options)).eval()
    with torch.no_grad():
        terms = loss(images, targets)
        features = model.backbone(model.normalize(images))
        sizes = [tuple(images.shape[-2:])] * len(images)
        proposals, _ = model.rpn(ImageList(images, sizes), features)
        model.rpn.training = model.roi_heads.training = True  # these two alone: they then give losses
        model.rpn._pre_nms_top_n = dict.fromkeys(model.rpn._pre_nms_top_n, 1000)
        _, of_proposals = model.rpn(ImageList(images, sizes), features, truths(targets))
        _, of_regions = model.roi_heads(features, proposals, sizes, truths(targets))
    assert terms["rpn_objectness"].item() == pytest.approx(of_proposals["loss_objectness"].item(), rel=1e-5)
    assert terms["rpn_box"].item() == pytest.approx(of_proposals["loss_rpn_box_reg"].item(), rel=1e-5)
    assert terms["class"].item() == pytest.approx(of_regions["loss_classifier"].item(), rel=1e-5)
    assert terms["box"].item() == pytest.approx(of_regions["loss_box_reg"].item(), rel=1e-5)
    assert terms["mask"].item() == pytest.approx(of_regions["loss_mask"].item(), rel=0.02)


def test_panoptic_fpns_things_are_one_class_of_its_semantic_branch() -> None:
    model = small("panoptic_fpn").eval()
    images, targets = batch(picture(1))
    with torch.no_grad():
        terms, outputs = loss_of("panoptic_fpn", model).eval().evaluate(images, targets)
    stuff = [index for index, label in enumerate(CITYSCAPES.labels) if not label.is_thing]
    assert outputs["semantic_logits"].shape[1] == len(stuff) + 1
    labels = targets.semantic.clone()
    for index in range(len(CITYSCAPES.labels)):
        labels[targets.semantic == index] = stuff.index(index) if index in stuff else len(stuff)
    logits = F.interpolate(outputs["semantic_logits"], size=labels.shape[-2:], mode="bilinear", align_corners=False)
    expected = F.cross_entropy(logits, labels, ignore_index=IGNORE)
    assert terms["semantic"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_class_weights_are_of_classes_and_things_share_their_mean() -> None:
    model = small("panoptic_fpn")
    weights = [1.0 + index for index in range(len(CITYSCAPES.labels))]
    loss = loss_of("panoptic_fpn", model, semantic={"class_weights": weights, "step": 3, "dice": 0.5})
    assert (loss.semantic.options.step, loss.semantic.options.dice) == (3, 0.5)  # the others stay
    of_stuff = [weight for weight, label in zip(weights, CITYSCAPES.labels, strict=True) if not label.is_thing]
    of_things = [weight for weight, label in zip(weights, CITYSCAPES.labels, strict=True) if label.is_thing]
    assert loss.semantic.weights.tolist() == pytest.approx([*of_stuff, sum(of_things) / len(of_things), 0.0])
    with pytest.raises(ValueError, match="expected one for each of 19 classes, got 2"):
        loss_of("panoptic_fpn", model, semantic={"class_weights": [1.0, 1.0]})


@pytest.mark.parametrize("system", SYSTEM_NAMES)
def test_batches_with_next_to_nothing_are_finite(system: str) -> None:
    """No instance; nothing labelled; and crowds all over, in which nothing is right or wrong."""
    model = small(system)
    loss = loss_of(system, model).train()
    images, targets = batch(picture(1), picture(2))
    empty = dataclasses.replace(
        targets,
        instances=torch.zeros_like(targets.instances),
        boxes=(torch.zeros((0, 4)),) * 2,
        classes=(torch.zeros(0, dtype=torch.int64),) * 2,
    )
    height, width = images.shape[-2:]
    everywhere = torch.tensor([[-1e4, -1e4, width + 1e4, height + 1e4]])
    crowded = dataclasses.replace(empty, semantic=torch.full_like(targets.semantic, IGNORE), crowds=(everywhere,) * 2)
    for some in (empty, crowded):
        model.zero_grad()
        terms = loss(images, some)
        assert all(bool(term.isfinite()) for term in terms.values())
        terms["loss"].backward()
        assert all(bool(one.grad.isfinite().all()) for one in model.parameters() if one.grad is not None)
        assert (terms["box"].item(), terms["mask"].item()) == (0.0, 0.0)
    assert terms["loss"].item() == 0.0
    assert terms["rpn_objectness"].item() == 0.0


@pytest.mark.parametrize("system", SYSTEM_NAMES)
def test_validation_measures_the_same_each_time_and_draws_nothing_from_others(system: str) -> None:
    model = small(system)
    loss = loss_of(system, model).eval()
    images, targets = batch(picture(1), picture(2))
    with torch.no_grad():
        torch.manual_seed(5)
        first = {name: term.item() for name, term in loss(images, targets).items()}
        after = torch.rand(1)
        second = {name: term.item() for name, term in loss(images, targets).items()}
    torch.manual_seed(5)
    assert first == second
    assert torch.equal(after, torch.rand(1))


@pytest.mark.parametrize("system", SYSTEM_NAMES)
def test_without_things_the_semantic_branch_learns_alone(system: str) -> None:
    labels = LabelSet.load("camvid")
    assert not labels.things
    model = small(system, labels)
    assert not hasattr(model, "rpn")
    semantic = torch.randint(0, len(labels), (2, 64, 96), generator=torch.Generator().manual_seed(0))
    none = (torch.zeros((0, 4)),) * 2
    targets = Targets(
        semantic=semantic,
        instances=torch.zeros((2, 64, 96), dtype=torch.int32),
        boxes=none,
        classes=(torch.zeros(0, dtype=torch.int64),) * 2,
        crowds=none,
        names=("a", "b"),
    )
    terms = loss_of(system, model).train()(torch.rand((2, 3, 64, 96)), targets)
    assert set(terms) == {"semantic", "loss"}
    terms["loss"].backward()
    # The last stage of a C4 network belongs to regions, of which there are none.
    assert set(learned(model)) == {name for name, _ in model.named_parameters()}
    with torch.inference_mode():
        outputs = model.eval()(torch.rand((1, 3, 64, 96)))
        (value,) = model.decode(outputs, [Letterbox.fit(60, 90, 64, 96)], SYSTEMS[system].decode())
    assert list(outputs) == list(model.output_names) == ["semantic_logits"]
    assert all(not segment.is_thing for segment in value.segments)


def test_what_does_not_fit_is_said() -> None:
    model = small("jsis_net")
    loss = loss_of("jsis_net", model).train()
    images, targets = batch(picture(1))
    with pytest.raises(ValueError, match="needs at least 2 images in a batch to be trained, got 1"):
        loss(images, targets)
    with pytest.raises(ValueError, match="targets: semantic is"):
        loss(torch.zeros((2, 3, 32, 32)), targets)
    road = dataclasses.replace(targets, classes=(torch.zeros_like(targets.classes[0]),))
    with pytest.raises(ValueError, match="picture 0: has an instance of 'road', which is stuff"):
        loss.eval()(images, road)
    for part in ("semantic_head", "rpn", "roi_heads"):
        model.get_submodule(part).requires_grad_(False)
    with pytest.raises(ValueError, match="every part of the model is frozen"):
        loss.eval()(images, targets)
    for system, name in (("jsis_net", "mask_weight"), ("panoptic_fpn", "semantic_weight")):
        with pytest.raises(ValueError, match=f"{name} must be positive"):
            LOSSES[system].options(**{name: 0.0})
    with pytest.raises(ValueError, match="regions must be at least 4"):
        MaskRcnnLossOptions(regions=3)
