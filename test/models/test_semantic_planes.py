"""How sure a semantic head is of its classes: scores of stuff, and the IoU that can be expected of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from panoptic_ros.letterbox import Letterbox
from panoptic_ros.models.layers.semantic_planes import class_scores, inside, plane_scores


def literal(cells: np.ndarray) -> tuple[list[float], list[float]]:
    """Cell by cell, what `ClassScores` says, of logits (N, P)."""
    planes = cells.shape[1]
    found, won, everywhere = [0.0] * planes, [0] * planes, [0.0] * planes
    for values in cells.astype(np.float64):
        if not np.isfinite(values).all():
            continue
        probabilities = np.exp(values - values.max())
        probabilities /= probabilities.sum()
        best = int(np.argmax(probabilities))
        won[best] += 1
        found[best] += probabilities[best]
        for plane in range(planes):
            everywhere[plane] += probabilities[plane]
    confidence = [found[plane] / won[plane] if won[plane] else 0.0 for plane in range(planes)]
    iou = [found[plane] / (won[plane] + everywhere[plane] - found[plane]) for plane in range(planes)]
    return confidence, iou


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_equal_the_literal_ones(value: float) -> None:
    cells = 2.0 * torch.randn((400, 5), generator=torch.Generator().manual_seed(0))
    cells[:, 4] -= 20.0  # wins nowhere
    cells[37, 1] = value
    confidence, iou = plane_scores(cells)
    expected = literal(cells.numpy())
    np.testing.assert_allclose(confidence, expected[0], rtol=1e-5)
    np.testing.assert_allclose(iou, expected[1], rtol=1e-5, atol=1e-12)
    assert confidence[4] == iou[4] == 0.0


def test_many_cells_are_added_up_exactly() -> None:
    cells = torch.tensor([[8.0, 0.0]]).repeat(200_000, 1)
    confidence, iou = plane_scores(cells)
    probability = 1.0 / (1.0 + np.exp(-8.0))
    assert float(confidence[0]) == pytest.approx(probability, abs=1e-6)
    assert float(iou[0]) == pytest.approx(probability, abs=1e-6)


def test_the_expected_iou_is_that_of_truths_drawn_from_the_probabilities() -> None:
    cells = 1.5 * torch.randn((4800, 4), generator=torch.Generator().manual_seed(1))
    probabilities = cells.softmax(dim=1)
    best = probabilities.argmax(dim=1)
    generator = torch.Generator().manual_seed(2)
    truths = torch.multinomial(probabilities, 200, replacement=True, generator=generator)  # (cells, draws)
    for plane, expected in enumerate(plane_scores(cells).iou.tolist()):
        own, true = (best == plane)[:, None], truths == plane
        ious = (own & true).sum(dim=0) / (own | true).sum(dim=0)
        assert abs(float(ious.mean()) - expected) < 0.005


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_maps_are_scored_at_stride_4_or_their_own(stride: int, layout: torch.memory_format) -> None:
    """Of a frame with margins in the input, and of another size."""
    box = Letterbox.fit(150, 400, 128, 192)
    assert box.top
    logits = torch.randn((1, 3, 128 // stride, 192 // stride), generator=torch.Generator().manual_seed(3))
    frame = inside(logits.to(memory_format=layout)[0], box, stride)
    step = max(1, 4 // stride)
    sampled = [
        frame[:, step * row + column % step, step * column + row % step]
        for row in range(frame.shape[1] // step)
        for column in range(frame.shape[2] // step)
    ]
    expected = literal(torch.stack(sampled).numpy())
    which = torch.tensor([5, 6, 2])  # the second stands for none of six classes
    for values, planes in zip(class_scores(frame, which, 6, box), expected, strict=True):
        np.testing.assert_allclose(values, [0.0, 0.0, planes[2], 0.0, 0.0, planes[0]], rtol=1e-5)
    for values, planes in zip(class_scores(frame, None, 3, box), expected, strict=True):
        np.testing.assert_allclose(values, planes, rtol=1e-5)


@pytest.mark.parametrize("line", range(20, 24))
@pytest.mark.parametrize("stride", [1, 2])
def test_a_line_one_cell_wide_is_seen_wherever_it_stands(stride: int, line: int) -> None:
    for place in (np.s_[:, line], np.s_[line, :]):
        logits = torch.zeros((2, 64 // stride, 96 // stride))
        logits[0], logits[1][place] = 9.0, 30.0
        scores = class_scores(logits, None, 2, Letterbox.fit(64, 96, 64, 96))
        assert scores.confidence[1] > 0.99
        assert scores.iou[1] > 0.95


def test_no_planes_are_no_classes() -> None:
    box = Letterbox.fit(16, 16, 16, 16)
    found = class_scores(torch.zeros((0, 4, 4)), torch.zeros(0, dtype=torch.int64), 3, box)
    assert found.iou.tolist() == found.confidence.tolist() == [0.0, 0.0, 0.0]
