"""Selection of detections against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from panoptic_ros.models.layers.nms import MAX_CANDIDATES, Detections, choose, select_detections


def iou(a: list[float], b: list[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def by_loop(
    boxes: Tensor, objectness: Tensor, classes: Tensor, score: float, overlap: float, count: int, multi_label: bool
) -> list[tuple[int, int]]:
    """(box, class) of what is kept, best first."""
    scores = (objectness[:, None] * classes).numpy()
    found = [(scores[n, c], n, c) for n in range(len(boxes)) for c in range(classes.shape[1]) if scores[n, c] > score]
    if not multi_label:
        found = [one for one in found if one[2] == int(classes[one[1]].argmax())]
    kept: list[tuple[int, int]] = []
    for _, n, c in sorted(found, key=lambda one: -one[0]):
        if all(c != d or iou(boxes[n].tolist(), boxes[m].tolist()) <= overlap for m, d in kept):
            kept.append((n, c))
    return kept[:count]


def crowd(count: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes that overlap much, some beyond the left and upper border."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.rand(count, 2, generator=generator) * 200 - 40
    sizes = torch.rand(count, 2, generator=generator) * 80 + 5
    boxes = torch.cat((centres - sizes / 2, centres + sizes / 2), dim=1)
    return boxes, torch.rand(count, generator=generator), torch.rand(count, classes, generator=generator)


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize(("count", "classes"), [(300, 3), (120, 1), (60, 12)])
@pytest.mark.parametrize("limit", [1000, 7])
def test_agrees_with_a_loop(count: int, classes: int, limit: int, multi_label: bool) -> None:
    boxes, objectness, probabilities = crowd(count, classes)
    found = select_detections(boxes, objectness, probabilities, 0.2, 0.45, limit, multi_label)
    expected = by_loop(boxes, objectness, probabilities, 0.2, 0.45, limit, multi_label)
    assert len(expected) >= min(limit, 20)
    indices = [n for n, _ in expected]
    assert found.classes.tolist() == [c for _, c in expected]
    assert torch.equal(found.boxes, boxes[indices])
    assert torch.equal(found.objectness, objectness[indices])
    assert torch.equal(found.scores, objectness[indices] * probabilities[indices, found.classes])
    assert bool((found.scores[:-1] >= found.scores[1:]).all())


def test_classes_do_not_suppress_each_other_beyond_the_border() -> None:
    boxes = torch.tensor([[-100.0, -100, 4, 10], [-100, -100, 4, 10], [10, 0, 20, 10]])
    probabilities = torch.eye(3)
    found = select_detections(boxes, torch.tensor([0.9, 0.8, 0.7]), probabilities, 0.3, 0.01, 10)
    assert found.classes.tolist() == [0, 1, 2]


def test_a_box_has_one_class_unless_asked() -> None:
    boxes, objectness = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([1.0])
    probabilities = torch.tensor([[0.6, 0.1, 0.8]])
    assert select_detections(boxes, objectness, probabilities, 0.3, 0.45, 10).classes.tolist() == [2]
    assert select_detections(boxes, objectness, probabilities, 0.3, 0.45, 10, True).classes.tolist() == [2, 0]


def test_what_is_not_finite_is_dropped() -> None:
    boxes = torch.tensor([[0.0, 0, 9, 9]]).repeat(6, 1) + 20 * torch.arange(6.0)[:, None]
    boxes[0, 2] = float("nan")
    boxes[1, 3] = float("inf")
    objectness = torch.full((6,), 0.9)
    objectness[2] = float("nan")
    objectness[3] = float("inf")
    probabilities = torch.full((6, 2), 0.5)
    probabilities[4, 0] = float("nan")  # its other class may still count
    probabilities[5, 1] = 0.9
    found = select_detections(boxes, objectness, probabilities, 0.2, 0.45, 10)
    assert torch.equal(found.boxes, boxes[[5, 4]])
    assert found.classes.tolist() == [1, 1]
    np.testing.assert_allclose(found.scores.numpy(), [0.81, 0.45], rtol=1e-6)


@pytest.mark.parametrize("count", [0, 5])
def test_nothing_found(count: int) -> None:
    boxes, objectness, probabilities = crowd(count, 4)
    found = select_detections(boxes, objectness, probabilities, 1.0, 0.45, 10)
    assert isinstance(found, Detections)
    assert [tuple(part.shape) for part in found] == [(0, 4), (0,), (0,), (0,)]
    assert found.classes.dtype == torch.int64


def test_an_untrained_network_does_not_stop_the_frame() -> None:
    """Everything is a candidate: the best of them are looked at."""
    boxes, objectness, probabilities = crowd(40_000, 8)
    found = select_detections(boxes, objectness, probabilities, 0.0, 0.45, 100)
    assert len(found.boxes) == 100
    best = (objectness[:, None] * probabilities).max(dim=1).values.topk(MAX_CANDIDATES)
    expected = by_loop(boxes, objectness, probabilities, float(best.values[999]), 0.45, 100, False)
    assert float(found.scores[0]) == float(best.values[0])
    assert found.classes[: len(expected)].tolist() == [c for _, c in expected]


@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.7, 1.0])
def test_things_are_chosen_whatever_their_classes(overlap: float) -> None:
    boxes, scores, _ = crowd(60, 3)
    found = Detections(boxes, torch.arange(60) % 3, scores, torch.zeros(60))
    kept: list[int] = []
    for index in sorted(range(60), key=lambda one: -float(scores[one])):
        if scores[index] > 0.4 and all(iou(boxes[index].tolist(), boxes[one].tolist()) <= overlap for one in kept):
            kept.append(index)
    assert choose(found, 0.4, overlap).tolist() == sorted(kept)
    assert choose(Detections(*(values[:0] for values in found)), 0.4, overlap).tolist() == []
