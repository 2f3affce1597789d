"""The instance loss against masks sampled point by point, and its cases without anything to learn."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from panoptic_ros import fusion
from panoptic_ros.models.layers.instance_heads import InstanceHead
from panoptic_training.losses.instances import POINTS, InstanceLoss, InstanceLossOptions, mask_targets

HEIGHT, WIDTH, FEATURES = 32, 48, 3
EXACT = InstanceLossOptions(box_jitter=0.0)


def slow_masks(
    instances: np.ndarray, rows: list[int], boxes: list[list[float]], side: int
) -> tuple[np.ndarray, np.ndarray]:
    shares, counts = np.zeros((len(rows), side, side)), np.zeros((len(rows), side, side))
    for index, (row, (x0, y0, x1, y1)) in enumerate(zip(rows, boxes, strict=True)):
        for v in range(side):
            for u in range(side):
                inside = known = 0
                for dv in range(POINTS):
                    for du in range(POINTS):
                        x = x0 + (u + (du + 0.5) / POINTS) * (x1 - x0) / side
                        y = y0 + (v + (dv + 0.5) / POINTS) * (y1 - y0) / side
                        value = instances[min(int(y), HEIGHT - 1), min(int(x), WIDTH - 1)]
                        known += value >= 0
                        inside += value == row + 1
                shares[index, v, u] = inside / known if known else 0.0
                counts[index, v, u] = known / POINTS**2
    return shares, counts


def scene(seed: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Instances as overlapping ellipses over a crowd, their tight boxes and classes."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    ids = np.zeros((HEIGHT, WIDTH), dtype=np.int32)
    ids[:8, :12] = -1
    for index in range(count):
        middle, radius = random.uniform(0, (WIDTH, HEIGHT)), random.uniform(2, 14, 2)
        ids[((x - middle[0]) / radius[0]) ** 2 + ((y - middle[1]) / radius[1]) ** 2 < 1] = index + 1
    boxes, compact = [], np.where(ids < 0, -1, 0).astype(np.int32)
    for index in range(count):
        lines, columns = np.nonzero(ids == index + 1)
        if len(lines):
            boxes.append([columns.min(), lines.min(), columns.max() + 1, lines.max() + 1])
            compact[ids == index + 1] = len(boxes)
    return (
        torch.from_numpy(compact),
        torch.tensor(np.array(boxes, dtype=np.float32).reshape(-1, 4)),
        torch.from_numpy(random.integers(0, 2, len(boxes))),
    )


def head_of(kind: str = "deep") -> InstanceHead:
    torch.manual_seed(1)
    head = InstanceHead(FEATURES, kind).eval()  # type: ignore[arg-type]
    nn.init.normal_(head.mask.weight, std=0.5)
    return head


def maps(images: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    return (
        torch.randn((images, FEATURES, HEIGHT // 2, WIDTH // 2), generator=generator),
        torch.randn((images, 2, HEIGHT // 4, WIDTH // 4), generator=generator),
    )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 4), side=st.sampled_from([1, 5, 20]))
def test_mask_targets_are_counted_point_by_point(seed: int, count: int, side: int) -> None:
    instances, boxes, _ = scene(seed, count)
    # Shifts by which no point comes to lie on the border of two pixels, where rounding would decide.
    shift = torch.tensor([0.31371, -0.21139, -0.42713, 0.61337])
    limit = torch.tensor([WIDTH, HEIGHT] * 2)
    boxes = torch.minimum((boxes + shift).clamp(min=0), limit)
    rows = torch.arange(len(boxes))
    shares, counts = mask_targets(instances, rows, boxes, side)
    slow = slow_masks(instances.numpy(), rows.tolist(), boxes.tolist(), side)
    for found, expected in zip((shares, counts), slow, strict=True):
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["deep", "shallow"])
def test_a_mask_that_is_its_target_decodes_to_the_instance(kind: str) -> None:
    """The way back: targets pasted as the decode pastes masks give the instance's pixels."""
    for seed in range(5):
        instances, boxes, _ = scene(seed, 1)
        shares, _ = mask_targets(instances, torch.arange(1), boxes, head_of(kind).crop_size)
        pasted = fusion.paste_by_rank(shares, boxes, HEIGHT, WIDTH, 0.5) == 0
        instance = instances == 1
        assert int((pasted & instance).sum()) / int((pasted | instance).sum()) > 0.93


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("deep", {}),
        ("shallow", {}),
        ("deep", {"dice": 0.7}),
        ("deep", {"class_weights": (0.5, 3.0)}),
        ("deep", {"dice": 2.0, "class_weights": (0.0, 1.0)}),
    ],
)
def test_the_loss_is_the_mean_over_instances_of_their_cells(kind: str, options: dict[str, object]) -> None:
    head, (features, semantic) = head_of(kind), maps(2)
    scenes = [scene(7, 3), scene(8, 2)]
    instances = torch.stack([one[0] for one in scenes])
    boxes, classes = [one[1] for one in scenes], [one[2] for one in scenes]
    made = InstanceLoss(2, dataclasses.replace(EXACT, **options))  # type: ignore[arg-type]
    found = made(head, features, semantic, instances, boxes, classes)
    losses, weights = [], []
    for image in range(2):
        for row, box in enumerate(boxes[image]):
            crop = head.crop(features[image], semantic[image], box[None], classes[image][row : row + 1], HEIGHT, WIDTH)
            mask = head(crop)[0].sigmoid().tolist()
            shares, counts = slow_masks(instances[image].numpy(), [row], [box.tolist()], head.crop_size)
            total = weight = overlap = both = 0.0
            for v in range(head.crop_size):
                for u in range(head.crop_size):
                    p, share, count = mask[v][u], shares[0, v, u], counts[0, v, u]
                    total -= count * (share * math.log(p) + (1 - share) * math.log(1 - p))
                    weight += count
                    overlap += count * p * share
                    both += count * (p + share)
            dice = 1.0 - (2.0 * overlap + 1.0) / (both + 1.0)
            losses.append(total / weight + made.options.dice * dice)
            weights.append((made.options.class_weights or (1.0, 1.0))[int(classes[image][row])])
    assert len(losses) > 3
    assert len(set(torch.cat(classes).tolist())) == 2
    assert found.item() == pytest.approx(np.average(losses, weights=weights), rel=1e-4)


def test_boxes_move_while_training_only_and_stay_inside() -> None:
    loss = InstanceLoss(2, InstanceLossOptions(box_jitter=0.2))
    boxes = torch.tensor([[0.0, 0.0, 10.0, 20.0], [40.0, 12.0, 48.0, 32.0], [5.0, 5.0, 6.0, 6.0]])
    assert torch.equal(loss.eval()._moved(boxes, HEIGHT, WIDTH), boxes)
    loss.train()
    torch.manual_seed(0)
    for _ in range(50):
        moved = loss._moved(boxes, HEIGHT, WIDTH)
        assert not torch.equal(moved, boxes)
        assert bool((moved >= 0).all())
        assert bool((moved <= torch.tensor([WIDTH, HEIGHT] * 2)).all())
        extents, before = moved[:, 2:] - moved[:, :2], boxes[:, 2:] - boxes[:, :2]
        assert bool((extents > 0.3 * before).all())
        assert bool((extents <= 1.2 * before + 1e-4).all())
        assert bool(((moved - boxes).abs() <= 0.3 * before.repeat(1, 2) + 1e-4).all())


def test_of_many_instances_some_are_cropped() -> None:
    loss = InstanceLoss(2, InstanceLossOptions(max_instances=3))
    torch.manual_seed(0)
    chosen = {tuple(sorted(loss._chosen(10, torch.device("cpu")).tolist())) for _ in range(20)}
    assert all(len(set(rows)) == 3 for rows in chosen)
    assert len(chosen) > 5
    assert loss.eval()._chosen(10, torch.device("cpu")).tolist() == [0, 1, 2]
    assert loss._chosen(2, torch.device("cpu")).tolist() == [0, 1]


def test_without_instances_the_loss_is_nothing_that_all_parts_take_part_in() -> None:
    head, (features, semantic) = head_of(), maps(2)
    features.requires_grad_()
    empty = [torch.zeros((0, 4))] * 2
    instances = torch.zeros((2, HEIGHT, WIDTH), dtype=torch.int32)
    loss = InstanceLoss(2, EXACT)(head, features, semantic, instances, empty, [torch.zeros(0, dtype=torch.int64)] * 2)
    loss.backward()
    assert loss.item() == 0.0
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in head.parameters())
    assert features.grad is not None


def test_boxes_of_a_pixel_and_instances_within_a_crowd_stay_finite() -> None:
    head, (features, semantic) = head_of(), maps(1)
    instances = torch.full((1, HEIGHT, WIDTH), -1, dtype=torch.int32)
    instances[0, 31, 47] = 1
    instances[0, 3, 4] = instances[0, 20, 40] = 2  # most of this box is the crowd's
    boxes = [torch.tensor([[47.0, 31.0, 48.0, 32.0], [4.0, 3.0, 41.0, 21.0]])]
    for training in (True, False):
        loss = InstanceLoss(2, InstanceLossOptions(box_jitter=0.4)).train(training)
        for _ in range(10):
            total = loss(head, features, semantic, instances, boxes, [torch.tensor([0, 1])])
            assert bool(total.isfinite())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"box_jitter": 0.5}, r"box_jitter must be in \[0, 0.5\), got 0.5"),
        ({"max_instances": 0}, "max_instances must be positive, got 0"),
        ({"dice": -1.0}, "dice must not be negative, got -1.0"),
        ({"class_weights": (0.0, 0.0)}, r"class_weights must not be negative nor all 0, got \[0.0, 0.0\]"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        InstanceLossOptions(**options)  # type: ignore[arg-type]


def test_class_weights_are_one_for_each_class() -> None:
    with pytest.raises(ValueError, match="class_weights: expected one for each of 3 classes, got 2"):
        InstanceLoss(3, InstanceLossOptions(class_weights=(1.0, 2.0)))
