"""How sure a semantic head is of its classes: scores of stuff, and the IoU that can be expected of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from panoptic_ros.letterbox import Letterbox
from panoptic_ros.models.layers.semantic_planes import class_certainties, plane_certainties


def literal(logits: np.ndarray) -> tuple[list[float], list[float]]:
    """Cell by cell, what `Certainties` says."""
    planes, height, width = logits.shape
    inside, won, everywhere = [0.0] * planes, [0] * planes, [0.0] * planes
    for y, x in np.ndindex(height, width):
        values = logits[:, y, x].astype(np.float64)
        if not np.isfinite(values).all():
            continue
        probabilities = np.exp(values - values.max())
        probabilities /= probabilities.sum()
        best = int(np.argmax(probabilities))
        won[best] += 1
        inside[best] += probabilities[best]
        for plane in range(planes):
            everywhere[plane] += probabilities[plane]
    confidence = [inside[plane] / won[plane] if won[plane] else 0.0 for plane in range(planes)]
    iou = [inside[plane] / (won[plane] + everywhere[plane] - inside[plane]) for plane in range(planes)]
    return confidence, iou


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_certainties_equal_the_literal_ones(layout: torch.memory_format) -> None:
    logits = 2.0 * torch.randn((1, 5, 16, 24), generator=torch.Generator().manual_seed(0)).to(memory_format=layout)[0]
    logits[4] -= 20.0  # wins nowhere
    logits[1, 3, 4] = torch.nan
    confidence, iou = plane_certainties(logits)
    expected = literal(logits.numpy())
    np.testing.assert_allclose(confidence, expected[0], rtol=1e-5)
    np.testing.assert_allclose(iou, expected[1], rtol=1e-5)
    assert confidence[4] == iou[4] == 0.0


def test_the_expected_iou_is_that_of_truths_drawn_from_the_probabilities() -> None:
    logits = 1.5 * torch.randn((4, 60, 80), generator=torch.Generator().manual_seed(1))
    probabilities = logits.flatten(1).softmax(dim=0)
    best = probabilities.argmax(dim=0)
    generator = torch.Generator().manual_seed(2)
    truths = torch.multinomial(probabilities.T, 200, replacement=True, generator=generator)  # (cells, draws)
    for plane, expected in enumerate(plane_certainties(logits).iou.tolist()):
        own, true = (best == plane)[:, None], truths == plane
        ious = (own & true).sum(dim=0) / (own | true).sum(dim=0)
        assert abs(float(ious.mean()) - expected) < 0.005


def test_maps_finer_than_stride_4_are_asked_at_stride_4() -> None:
    logits = torch.randn((3, 40, 64), generator=torch.Generator().manual_seed(3))
    box = Letterbox.fit(80, 128, 80, 128)
    which = torch.tensor([5, 6, 2])  # the second stands for none of six classes
    found = class_certainties(logits, which, 6, box)
    for values, expected in zip(found, plane_certainties(logits[:, ::2, ::2]), strict=True):
        assert values.tolist() == [0.0, 0.0, expected[2], 0.0, 0.0, expected[0]]


def test_no_planes_are_no_classes() -> None:
    found = class_certainties(
        torch.zeros((0, 4, 4)), torch.zeros(0, dtype=torch.int64), 3, Letterbox.fit(16, 16, 16, 16)
    )
    assert found.iou.tolist() == found.confidence.tolist() == [0.0, 0.0, 0.0]
