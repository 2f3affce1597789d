"""Mean recall of proposals against torchvision's IoU and figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_cases import Case
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_ros.evaluation.overlaps import EvaluationError
from panoptic_ros.evaluation.recall import THRESHOLDS, ProposalRecall, RecallResult


def boxes(generator: np.random.Generator, count: int) -> np.ndarray:
    corner = generator.uniform(0, 50, (count, 2))
    return np.concatenate((corner, corner + generator.uniform(0, 40, (count, 2))), axis=1)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_it_is_what_torchvisions_ious_say(seed: int) -> None:
    torch, ops = pytest.importorskip("torch"), pytest.importorskip("torchvision.ops")
    generator = np.random.default_rng(seed)
    metric, recalls = ProposalRecall(), []
    for index in range(3):
        proposals = boxes(generator, generator.integers(0, 20))
        objects = boxes(generator, generator.integers(0, 6))
        metric.update_boxes(str(index), proposals, objects)
        if len(objects):
            ious = ops.box_iou(torch.from_numpy(objects), torch.from_numpy(proposals)).numpy()
            best = ious.max(axis=1, initial=0)
            recalls.append([np.mean(best >= threshold) for threshold in THRESHOLDS])
    result = metric.result()
    if not recalls:
        assert result == RecallResult(None, None, (), 0, 0)
        return
    expected = np.mean(recalls, axis=0)
    assert [recall for _, recall in result.by_iou] == pytest.approx(expected, abs=1e-12)
    assert (result.mean_recall, result.average_recall) == pytest.approx((expected[0], expected.mean()), abs=1e-12)
    assert result.images == len(recalls)


def test_images_weigh_the_same_and_an_iou_of_one_half_counts() -> None:
    metric = ProposalRecall()
    square = np.array([[0, 0, 10, 10]])
    metric.update_boxes("half", np.array([[0, 0, 10, 5]]), square)
    metric.update_boxes("less", np.array([[0, 0, 10, 4.9]]), np.repeat(square, 3, axis=0))
    metric.update_boxes("nothing there", square, np.zeros((0, 4)))
    result = metric.result()
    assert (result.mean_recall, result.images, result.objects) == (0.5, 2, 4)
    assert result.average_recall == pytest.approx(0.05)


def test_sizes_are_cocos_and_the_mean_is_over_the_images_that_have_such() -> None:
    """Slowly: one object after another, its size by the pixels that it covers and not by its box."""
    generator = np.random.default_rng(1)
    metric, recalls = ProposalRecall(), {"small": [], "medium": [], "large": []}
    for index in range(8):
        corner = generator.uniform(0, 100, (12, 2))
        objects = np.concatenate((corner, corner + generator.uniform(10, 200, (12, 2))), axis=1)
        areas = np.prod(objects[:, 2:] - objects[:, :2], axis=1) * generator.uniform(0.02, 1, 12)
        areas[:3] = 1023, 1024, 9216
        proposals = objects[generator.permutation(12)[:7]] + generator.uniform(-20, 20, (7, 4))
        proposals[:, 2:] = np.maximum(proposals[:, 2:], proposals[:, :2])
        metric.update_boxes(str(index), proposals, objects, areas)
        found = {size: [] for size in recalls}
        for (x0, y0, x1, y1), area in zip(objects, areas, strict=True):
            covered = False
            for u0, v0, u1, v1 in proposals:
                shared = max(0, min(x1, u1) - max(x0, u0)) * max(0, min(y1, v1) - max(y0, v0))
                covered |= shared >= 0.5 * ((x1 - x0) * (y1 - y0) + (u1 - u0) * (v1 - v0) - shared)
            found["small" if area < 32 * 32 else "medium" if area < 96 * 96 else "large"].append(covered)
        for size, some in found.items():
            if some:
                recalls[size].append(np.mean(some))
    assert all(recalls.values())
    by_size = dict(metric.result().by_size)
    assert by_size == pytest.approx({size: np.mean(some) for size, some in recalls.items()}, abs=1e-12)
    alone = ProposalRecall()
    alone.update_boxes("one", np.zeros((0, 4)), np.array([[0, 0, 40, 40]]))
    assert alone.result().by_size == (("medium", 0.0),)


def test_things_of_a_segmentation_are_its_proposals_whatever_their_class() -> None:
    truth = np.array([[26001, 26001, 7000, 24002, 255003]])
    case = Case(truth, np.array([[24001, 24001, 26001, 7000, 23000]]), frozenset({255003}))
    metric = ProposalRecall()
    metric.update(case.overlaps())
    assert (metric.result().mean_recall, metric.result().objects) == (0.5, 2)


def test_splitting_changes_nothing() -> None:
    generator = np.random.default_rng(0)
    whole, parts = ProposalRecall(), [ProposalRecall(), ProposalRecall()]
    for index in range(6):
        pair = boxes(generator, 30), boxes(generator, 5)
        whole.update_boxes(str(index), *pair)
        parts[index % 2].update_boxes(str(index), *pair)
    parts[1].merge(parts[0])
    assert parts[1].result() == whole.result()


@pytest.mark.parametrize(
    ("proposals", "message"),
    [
        (np.zeros((3, 5)), r"street 1: proposals must be \(N, 4\) boxes .* got \(3, 5\)"),
        (np.array([[0, 0, np.nan, 1]]), "street 1: proposals hold a box that is not finite"),
        (np.array([[5, 0, 4, 1]]), "street 1: proposals hold a box that .* ends before it begins"),
    ],
)
def test_bad_boxes_are_refused(proposals: np.ndarray, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        ProposalRecall().update_boxes("street 1", proposals, np.zeros((0, 4)))
