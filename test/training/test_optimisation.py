"""Schedules against their formulas, optimisers against torch's own settings, measures worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from trainings import CAR, CITYSCAPES, PERSON, ROAD, SKY

from panoptic_ros.datasets import Truth
from panoptic_ros.evaluation.overlaps import overlaps
from panoptic_ros.letterbox import Letterbox
from panoptic_ros.segmentation import PanopticSegmentation
from panoptic_training.fit.measures import Measures, instance_ious, semantic_segmentation
from panoptic_training.fit.optimisation import OptimizerOptions, ScheduleOptions, factor, make_optimizer


def test_poly_is_equation_3_2_as_it_was_meant() -> None:
    at = factor(ScheduleOptions("poly", power=0.9), 200)
    for step in (0, 1, 57, 199):
        assert at(step) == pytest.approx((1 - step / 200) ** 0.9)
    assert at(200) == 0.0


def test_cosine_is_torchs() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.3)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=40)
    at = factor(ScheduleOptions("cosine"), 40)
    for step in range(40):
        assert 0.3 * at(step) == pytest.approx(reference.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        reference.step()


def test_the_rate_rises_evenly_while_it_warms_up() -> None:
    at = factor(ScheduleOptions("constant", warmup_steps=4), 100)
    assert [at(step) for step in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


def test_decay_spares_biases_norms_and_what_is_frozen() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    module[2].requires_grad_(False)
    optimizer = make_optimizer(OptimizerOptions("sgd", 0.1, momentum=0.8, weight_decay=0.01), module)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert decay == {
        id(module[0].weight): 0.01,
        id(module[0].bias): 0.0,
        id(module[1].weight): 0.0,
        id(module[1].bias): 0.0,
    }
    assert {group["momentum"] for group in optimizer.param_groups} == {0.8}
    assert {group["lr"] for group in optimizer.param_groups} == {0.1}
    module.requires_grad_(False)
    with pytest.raises(ValueError, match="every part of the model is frozen"):
        make_optimizer(OptimizerOptions(), module)


def test_steps_fall_after_each_of_their_epochs() -> None:
    """JSIS-Net's schedule: 19 epochs, halved after 7 and 13; of any number of steps an epoch."""
    options = ScheduleOptions("steps", milestones=(7, 13), decay=0.5)
    for steps_of_epoch in (1, 7, 93):
        at = factor(options, 19 * steps_of_epoch, 19)
        found = [at(step) for step in range(19 * steps_of_epoch)]
        assert found == [1.0 if e < 7 else 0.5 if e < 13 else 0.25 for e in range(19) for _ in range(steps_of_epoch)]


@pytest.mark.parametrize(("kind", "expected"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_optimisers_are_torchs(kind: str, expected: type) -> None:
    assert type(make_optimizer(OptimizerOptions(kind), nn.Conv2d(1, 1, 1))) is expected  # type: ignore[arg-type]


def segmentation(*boxes: tuple[int, int, int, int, int]) -> PanopticSegmentation:
    """A road of 20x20 pixels with things on it, as (id, x0, y0, x1, y1)."""
    ids = np.full((20, 20), ROAD * 1000, dtype=np.int32)
    for id_, x0, y0, x1, y1 in boxes:
        ids[y0:y1, x0:x1] = id_
    return PanopticSegmentation.from_ids(ids, CITYSCAPES.thing_ids)


def test_instance_iou_takes_the_best_of_its_class() -> None:
    """One car is found by half (IoU 1/2), one not at all, a person lies where a car is said to be; a crowd is left."""
    truth = segmentation(
        (CAR * 1000 + 1, 0, 0, 4, 4),
        (CAR * 1000 + 2, 10, 0, 14, 4),
        (PERSON * 1000 + 3, 0, 10, 4, 14),
        (CAR * 1000 + 4, 10, 10, 14, 14),
    )
    found = segmentation((CAR * 1000 + 1, 0, 0, 4, 2), (CAR * 1000 + 2, 0, 10, 4, 14), (CAR * 1000 + 3, 10, 10, 14, 14))
    pairs = overlaps("x", found, Truth(truth, frozenset({CAR * 1000 + 4})), CITYSCAPES)
    assert sorted(instance_ious(pairs)) == pytest.approx([0.0, 0.0, 0.5])


def test_measures_are_those_of_the_evaluation_and_leave_out_what_means_nothing() -> None:
    truth = segmentation((CAR * 1000 + 1, 0, 0, 4, 4))
    measures = Measures(CITYSCAPES)
    measures.update("a", truth, None, Truth(truth), has_instances=True)
    found = measures.result()
    for name in ("pq", "semantic_iou", "instance_iou", "mask_ap"):
        assert found[name] == pytest.approx(1.0)
    assert (found["pq_things"], found["pq_stuff"]) == (1.0, 1.0)
    semantic = Measures(CITYSCAPES)
    semantic.update("a", truth, None, Truth(truth), has_instances=False)
    assert semantic.result() == {"semantic_iou": 1.0}


def test_the_semantic_head_alone_is_read_inside_the_letterbox() -> None:
    """A frame of 8x24 pixels at twice its size in a 32x64 input: the margins say sky, the frame road and car."""
    box = Letterbox.fit(8, 24, 32, 64)
    names = [label.name for label in CITYSCAPES.labels]
    logits = torch.full((len(names), 8, 16), -5.0)
    logits[names.index("sky")] = 5.0
    rows = slice(box.top // 4, (box.top + box.height) // 4)
    logits[:, rows] = -5.0
    logits[names.index("road"), rows, :8] = 5.0
    logits[names.index("car"), rows, 8:] = 5.0
    found = semantic_segmentation(logits, 4, box, CITYSCAPES)
    assert found.ids.shape == (8, 24)
    assert (found.ids[:, :11] == ROAD * 1000).all()
    assert (found.ids[:, 13:] == CAR * 1000).all()
    assert SKY * 1000 not in found.ids


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: OptimizerOptions(learning_rate=0.0), "learning_rate must be positive"),
        (lambda: OptimizerOptions(momentum=1.0), "momentum must be in"),
        (lambda: OptimizerOptions(weight_decay=-1.0), "weight_decay must not be negative"),
        (lambda: ScheduleOptions(power=math.inf), "power must be positive"),
        (lambda: ScheduleOptions(warmup_steps=-1), "warmup_steps must not be negative"),
        (lambda: ScheduleOptions("steps"), "'steps' needs them"),
        (lambda: ScheduleOptions(milestones=(3,)), "milestones are of 'steps'"),
        (lambda: ScheduleOptions("steps", milestones=(3, 3)), "milestones must be positive and rising"),
        (lambda: ScheduleOptions("steps", milestones=(3,), decay=1.0), "decay must be in"),
    ],
)
def test_values_out_of_range_are_refused(make: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()  # type: ignore[operator]
