"""YOLO-Panoptic's loss: its sum, what it leaves out, where its gradients go, and batches that hold next to nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from networks import CITYSCAPES, HEIGHT, WIDTH, batch, picture, tiny
from torch import Tensor

from panoptic_ros.configuration import ConfigurationError, from_mapping
from panoptic_ros.letterbox import Letterbox
from panoptic_ros.models.options import DecodeOptions
from panoptic_ros.models.yolo_panoptic import YoloPanoptic
from panoptic_training.losses import LOSSES
from panoptic_training.losses.yolo_panoptic import PARTS, YoloPanopticLoss, YoloPanopticLossOptions
from panoptic_training.targets import IGNORE, Targets

DETECTOR_TERMS = {"box", "objectness", "class"}
HEADS = ["ppm", "segnet", "segnet_multi", "fpn"]


@pytest.fixture
def model(tmp_path: Path) -> YoloPanoptic:
    """With every part there is; the detail, which starts from nothing, gives gradients to what is before it."""
    made = tiny(tmp_path, detail_channels=6)
    assert made.detail is not None
    for layer in (made.detail.logits, made.detail.instances):
        assert layer is not None
        torch.nn.init.normal_(layer.weight, std=0.1)
    return made


def freeze(model: YoloPanoptic, *parts: str) -> None:
    for part in parts:
        getattr(model, part).requires_grad_(False).eval()


def learned(model: YoloPanoptic) -> Iterator[tuple[str, Tensor]]:
    """Parameters that a gradient reached which is not 0."""
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and bool(parameter.grad.any()):
            yield name, parameter


def test_the_sum_is_the_thesis_equation_with_the_detectors_terms(model: YoloPanoptic) -> None:
    images, targets = batch(picture(1), picture(2))
    options = from_mapping(YoloPanopticLossOptions, {"detection_weight": 0.5, "detection": {"box_weight": 3.0}}, "test")
    terms = {name: term.item() for name, term in YoloPanopticLoss(model, options).eval()(images, targets).items()}
    assert set(terms) == {"semantic", "instance", "loss"} | DETECTOR_TERMS
    detector = 3.0 * terms["box"] + terms["objectness"] + terms["class"]
    assert terms["loss"] == pytest.approx(terms["semantic"] + 0.1 * terms["instance"] + 0.5 * detector, rel=1e-5)


def test_a_frozen_detector_is_the_thesis_and_gets_no_gradient(model: YoloPanoptic) -> None:
    freeze(model, "detector")
    images, targets = batch(picture(1), picture(2))
    loss = YoloPanopticLoss(model, YoloPanopticLossOptions())
    terms = loss(images, targets)
    assert set(terms) == {"semantic", "instance", "loss"}
    assert terms["loss"].item() == pytest.approx(terms["semantic"].item() + 0.1 * terms["instance"].item(), rel=1e-5)
    terms["loss"].backward()
    assert all(parameter.grad is None for parameter in model.detector.parameters())
    reached = dict(learned(model))
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == set(reached)


@pytest.mark.parametrize("semantic", HEADS)
@pytest.mark.parametrize("instance_head", ["deep", "shallow"])
def test_gradients_reach_every_part_that_is_not_frozen(tmp_path: Path, semantic: str, instance_head: str) -> None:
    model = tiny(tmp_path, semantic=semantic, instance_head=instance_head)
    images, targets = batch(picture(1), picture(2))
    terms = YoloPanopticLoss(model, YoloPanopticLossOptions()).train()(images, targets)
    terms["loss"].backward()
    assert {name for name, _ in model.named_parameters()} == {name for name, _ in learned(model)}
    assert all(bool(parameter.grad.isfinite().all()) for _, parameter in learned(model))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("frozen", "terms"),
    [
        (PARTS["semantic"], {"instance", *DETECTOR_TERMS}),
        (PARTS["instance"], {"semantic", *DETECTOR_TERMS}),
        (("fusion", "pooling"), {"semantic", "instance", *DETECTOR_TERMS}),
        ((*PARTS["semantic"], *PARTS["instance"]), DETECTOR_TERMS),
        ((*PARTS["instance"], *PARTS["detection"]), {"semantic"}),
    ],
)
def test_terms_whose_parts_are_all_frozen_are_left_out(
    model: YoloPanoptic, frozen: tuple[str, ...], terms: set[str]
) -> None:
    freeze(model, *frozen)
    images, targets = batch(picture(1), picture(2))
    loss = YoloPanopticLoss(model, YoloPanopticLossOptions())
    found = loss(images, targets)
    assert set(found) == terms | {"loss"}
    found["loss"].backward()
    assert all(not name.startswith(tuple(f"{part}." for part in frozen)) for name, _ in learned(model))
    with torch.no_grad():  # validation measures what training learns
        assert set(loss.eval()(images, targets)) == terms | {"loss"}


def test_without_anything_to_learn_it_says_so(model: YoloPanoptic) -> None:
    freeze(model, *(part for parts in PARTS.values() for part in parts))
    with pytest.raises(ValueError, match="every part of the model is frozen"):
        YoloPanopticLoss(model, YoloPanopticLossOptions())(*batch(picture(1), picture(2)))


def test_every_part_of_the_model_belongs_to_a_term(model: YoloPanoptic) -> None:
    parts = {name for name, part in model.named_children() if any(True for _ in part.parameters())}
    assert parts == {part for some in PARTS.values() for part in some}


def nothing(targets: Targets, semantic: bool) -> Targets:
    """The same without instances and, if asked for, without a single label."""
    images = len(targets)
    return dataclasses.replace(
        targets,
        semantic=torch.full_like(targets.semantic, IGNORE) if semantic else targets.semantic,
        instances=torch.zeros_like(targets.instances),
        boxes=(torch.zeros((0, 4)),) * images,
        classes=(torch.zeros(0, dtype=torch.int64),) * images,
    )


@pytest.mark.parametrize("options", [{}, {"semantic": {"hardest": 0.15, "small_instance_weight": 3.0}}])
@pytest.mark.parametrize("void", [False, True])
def test_a_batch_of_nothing_is_finite_and_every_parameter_takes_part(
    model: YoloPanoptic, void: bool, options: dict[str, object]
) -> None:
    images, targets = batch(picture(1), picture(2))
    loss = YoloPanopticLoss(model, from_mapping(YoloPanopticLossOptions, options, "test")).train()
    terms = loss(images, nothing(targets, void))
    assert all(bool(term.isfinite()) for term in terms.values())
    assert terms["instance"].item() == terms["box"].item() == terms["class"].item() == 0.0
    assert (terms["semantic"].item() == 0.0) == void
    terms["loss"].backward()
    for name, parameter in model.named_parameters():  # processes that average gradients wait for each of them
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name


def test_one_image_without_instances_beside_one_with(model: YoloPanoptic) -> None:
    images, targets = batch(picture(1), picture(2))
    empty = nothing(targets, semantic=False)
    mixed = dataclasses.replace(
        targets,
        instances=torch.stack((targets.instances[0], empty.instances[1])),
        boxes=(targets.boxes[0], empty.boxes[1]),
        classes=(targets.classes[0], empty.classes[1]),
        crowds=(torch.zeros((0, 4)), torch.tensor([[0.0, 0.0, 60.0, 50.0]])),
    )
    terms = YoloPanopticLoss(model, YoloPanopticLossOptions()).train()(images, mixed)
    assert all(bool(term.isfinite()) for term in terms.values())
    assert terms["instance"].item() > 0


def test_boxes_of_one_pixel_are_finite(model: YoloPanoptic) -> None:
    images, targets = batch(picture(1), picture(2))
    instances = torch.zeros_like(targets.instances)
    instances[:, 0, 0], instances[:, HEIGHT - 1, WIDTH - 1] = 1, 2
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [WIDTH - 1.0, HEIGHT - 1.0, WIDTH, HEIGHT]])
    tiny_targets = dataclasses.replace(
        targets, instances=instances, boxes=(boxes, boxes), classes=(torch.tensor([11, 13]),) * 2
    )
    terms = YoloPanopticLoss(model, YoloPanopticLossOptions()).train()(images, tiny_targets)
    terms["loss"].backward()
    assert all(bool(term.isfinite()) for term in terms.values())
    assert all(bool(parameter.grad.isfinite().all()) for _, parameter in learned(model))  # type: ignore[union-attr]


def test_what_learns_is_no_longer_untrained(model: YoloPanoptic) -> None:
    """A detector with weights, frozen: validation has to see the heads that are trained, and only while they are."""
    heads = frozenset((*PARTS["semantic"], *PARTS["instance"]))
    model.untrained = heads
    freeze(model, "detector", *PARTS["instance"])
    images, targets = batch(picture(1), picture(2))
    loss = YoloPanopticLoss(model, YoloPanopticLossOptions())

    def stuff() -> int:
        with torch.inference_mode():
            boxes = [Letterbox.fit(HEIGHT, WIDTH, HEIGHT, WIDTH)] * 2
            values = model.decode(model(images), boxes, DecodeOptions(score_threshold=1.0))
        return sum(len(value.segments) for value in values)

    loss.eval()(images, targets)
    assert model.untrained == heads
    assert stuff() == 0
    loss.train()(images, targets)
    assert model.untrained == frozenset(PARTS["instance"])
    assert stuff() > 0


def test_a_validation_loss_is_the_same_every_time(model: YoloPanoptic) -> None:
    images, targets = batch(picture(1), picture(2))
    loss = YoloPanopticLoss(model, YoloPanopticLossOptions()).eval()
    first, second = loss(images, targets), loss(images, targets)
    assert {name: term.item() for name, term in first.items()} == {name: term.item() for name, term in second.items()}


@pytest.mark.parametrize("options", [{}, {"semantic": {"dice": 1.0}, "instance": {"dice": 1.0}}])
def test_mixed_precision_keeps_the_losses_in_full(model: YoloPanoptic, options: dict[str, object]) -> None:
    images, targets = batch(picture(1), picture(2))
    loss = YoloPanopticLoss(model, from_mapping(YoloPanopticLossOptions, options, "test")).eval()
    full = loss(images, targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = loss(images, targets)
    for name, term in mixed.items():
        assert term.dtype == torch.float32, name
        assert term.item() == pytest.approx(full[name].item(), rel=0.05), name


def test_targets_that_do_not_fit_are_refused(model: YoloPanoptic) -> None:
    images, targets = batch(picture(1), picture(2))
    loss = YoloPanopticLoss(model, YoloPanopticLossOptions())
    with pytest.raises(ValueError, match=r"targets: semantic is \(2, 96, 128\), expected \(2, 64, 128\) of the images"):
        loss(images[:, :, :64], targets)
    road = dataclasses.replace(targets, classes=(targets.classes[0], torch.zeros_like(targets.classes[1])))
    with pytest.raises(ValueError, match="picture 1: has an instance of 'road', which is stuff"):
        loss(images, road)


def test_one_image_cannot_train_the_pyramid_pooling_module(model: YoloPanoptic, tmp_path: Path) -> None:
    images, targets = batch(picture(1))
    with pytest.raises(ValueError, match="needs at least 2 images in a batch to be trained, got 1"):
        YoloPanopticLoss(model.train(), YoloPanopticLossOptions())(images, targets)
    YoloPanopticLoss(model, YoloPanopticLossOptions()).eval()(images, targets)
    YoloPanopticLoss(tiny(tmp_path, semantic="segnet"), YoloPanopticLossOptions()).train()(images, targets)


def test_a_loss_is_found_by_the_name_of_its_system(model: YoloPanoptic) -> None:
    kind, options = LOSSES["yolo_panoptic"]
    made = kind(model, from_mapping(options, {"semantic": {"class_weights": [1.0] * len(CITYSCAPES)}}, "fit.yaml"))
    assert isinstance(made, YoloPanopticLoss)
    with pytest.raises(ConfigurationError, match=r"fit.yaml: semantic_weight must be positive \(freeze a part"):
        from_mapping(options, {"semantic_weight": 0.0}, "fit.yaml")
    with pytest.raises(ConfigurationError, match=r"fit.yaml: detection: unknown key 'ignore'"):
        from_mapping(options, {"detection": {"ignore": 0.5}}, "fit.yaml")
    with pytest.raises(ConfigurationError, match=r"fit.yaml: semantic: hardest must be in"):
        from_mapping(options, {"semantic": {"hardest": 2.0}}, "fit.yaml")
