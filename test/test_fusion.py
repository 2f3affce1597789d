"""The merging rules against literal, slow transcriptions of what their docstrings say."""

from __future__ import annotations

import cv2
import literal
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from panoptic_ros import fusion
from panoptic_ros.fusion import pasting, scaling
from panoptic_ros.segmentation import PanopticSegmentation


def slow_merge(
    classes: np.ndarray,
    winners: np.ndarray,
    is_thing: list[bool],
    instance_classes: list[int],
    minimum: int,
    unlikely: list[bool],
) -> np.ndarray:
    """Thesis section 3.4.1, pixel by pixel; class index c has the id c + 1."""
    ids = np.zeros(classes.shape, dtype=np.int64)
    for y, x in np.ndindex(*classes.shape):
        winner, class_index = winners[y, x], classes[y, x]
        if winner < len(instance_classes):
            ids[y, x] = (instance_classes[winner] + 1) * 1000 + winner + 1
        elif class_index < len(is_thing) and not is_thing[class_index]:
            ids[y, x] = (class_index + 1) * 1000
    for value in np.unique(ids):
        if value % 1000 == 0 and value and (unlikely[value // 1000 - 1] or (ids == value).sum() < minimum):
            ids[ids == value] = 0
    return ids


def masks_and_boxes(seed: int, count: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = np.random.default_rng(seed)
    low = generator.uniform(-6, [width, height], size=(count, 2))
    size = generator.uniform(0.2, 18, size=(count, 2))
    masks = generator.uniform(0, 1, size=(count, 5, 5))
    boxes = np.concatenate((low, low + size), axis=1)
    return torch.from_numpy(masks).float(), torch.from_numpy(boxes).float()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 6), threshold=st.sampled_from([0.3, 0.5, 0.8]))
def test_paste_equals_the_literal_rule_on_both_branches(seed: int, count: int, threshold: float) -> None:
    height, width = 17, 23
    masks, boxes = masks_and_boxes(seed, count, height, width)
    expected = literal.paste(masks.numpy(), boxes.numpy(), height, width, threshold)
    for paste in (fusion.paste_by_rank, pasting._paste_flat):
        winners = paste(masks, boxes, height, width, threshold)
        assert winners.dtype == torch.int16
        np.testing.assert_array_equal(winners.numpy(), expected, err_msg=paste.__name__)


def test_flat_paste_in_several_goes_equals_one(monkeypatch: pytest.MonkeyPatch) -> None:
    masks, boxes = masks_and_boxes(3, 6, 40, 40)
    whole = pasting._paste_flat(masks, boxes, 40, 40, 0.5)
    monkeypatch.setattr(pasting, "PIXELS_AT_ONCE", 7)
    assert torch.equal(pasting._paste_flat(masks, boxes, 40, 40, 0.5), whole)


def test_upsampled_argmax_equals_the_literal_one() -> None:
    logits = torch.randn((5, 4, 6), generator=torch.Generator().manual_seed(1))
    scaled = np.stack([literal.upsample(plane, 13, 21) for plane in logits.numpy()])
    classes, best = fusion.upsample_max(logits, 13, 21)
    np.testing.assert_array_equal(classes.numpy(), scaled.argmax(axis=0))
    np.testing.assert_allclose(best.numpy(), scaled.max(axis=0), atol=1e-5)


@pytest.mark.parametrize("tile", [(1, 1), (8, 12), (40, 1000)])
@pytest.mark.parametrize(
    ("size", "scaled"), [((9, 14), (72, 112)), ((10, 16), (45, 72)), ((5, 7), (23, 31)), ((12, 20), (6, 10))]
)
def test_tiles_change_nothing(
    tile: tuple[int, int], size: tuple[int, int], scaled: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(5)
    # Regions, so that most classes are left out of most tiles, with classes that come close to winning.
    regions = np.kron(generator.integers(0, 9, (2, 2)), np.ones((-(-size[0] // 2), -(-size[1] // 2)), dtype=int))
    logits = generator.normal(0, 0.6, (9, *size)).astype(np.float32)
    logits += 2 * (regions[: size[0], : size[1]] == np.arange(9)[:, None, None])
    monkeypatch.setattr(scaling, "TILE", tile)
    channels_last = torch.from_numpy(logits)[None].to(memory_format=torch.channels_last)[0]  # as networks give them
    classes, best = fusion.upsample_max(channels_last, *scaled)
    for layout in (torch.contiguous_format, torch.channels_last):  # and as they lie in the margins of a letterbox
        whole = F.pad(torch.from_numpy(logits)[None], (2, 1, 3, 2), value=50.0).to(memory_format=layout)[0]
        assert torch.equal(fusion.upsample_argmax(whole[:, 3:-2, 2:-1], *scaled), classes)
    planes = [cv2.resize(plane, scaled[::-1], interpolation=cv2.INTER_LINEAR) for plane in logits]
    np.testing.assert_allclose(best.numpy(), np.max(planes, axis=0), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(classes.numpy(), np.argmax(planes, axis=0))
    compared = [len(one.classes) for one in scaling._tiles(logits, *scaled)]
    assert len(compared) < 5 or min(compared) < 9


def test_huge_logits_are_finite_though_their_sum_is_not() -> None:
    logits = torch.full((3, 4, 4), 3e38)
    logits[1] = -3e38
    logits[0, 2:] = 0
    classes = fusion.upsample_argmax(logits, 4, 4)
    assert classes.tolist() == [[0] * 4, [0] * 4, [2] * 4, [2] * 4]


def test_ties_go_to_the_lower_class() -> None:
    classes = fusion.upsample_argmax(torch.ones((3, 2, 2)), 8, 8)
    assert classes.eq(0).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_void_as_far_as_it_reaches(value: float) -> None:
    logits = torch.randn((3, 6, 8), generator=torch.Generator().manual_seed(3))
    clean = fusion.upsample_argmax(logits, 24, 32)
    logits[1, 2, 3] = value
    classes = fusion.upsample_argmax(logits, 24, 32)
    reached = literal.upsample(np.eye(6)[2][:, None] * np.eye(8)[3], 24, 32) > 0
    assert classes.numpy()[reached].tolist() == [3] * reached.sum()
    np.testing.assert_array_equal(classes.numpy()[~reached], clean.numpy()[~reached])


def test_a_small_instance_keeps_its_size() -> None:
    boxes = torch.tensor([[10.9, 10.9, 13.1, 13.1]])
    for paste in (fusion.paste_by_rank, pasting._paste_flat):
        assert int((paste(torch.ones((1, 5, 5)), boxes, 20, 20, 0.5) == 0).sum()) == 4


def test_confidence_is_the_softmax_of_the_scaled_logits() -> None:
    logits = torch.randn((6, 5, 7), generator=torch.Generator().manual_seed(2)) * 9
    scaled = np.stack([literal.upsample(plane, 20, 28) for plane in logits.numpy()])
    exact = (np.exp(scaled) / np.exp(scaled).sum(axis=0)).max(axis=0)
    _, best = fusion.upsample_max(logits, 20, 28)
    np.testing.assert_allclose(fusion.confidence_map(logits, best).numpy(), exact, atol=1e-4)


def merge(
    classes: np.ndarray, winners: np.ndarray, is_thing: list[bool], instance_classes: list[int], minimum: int, **kwargs
) -> PanopticSegmentation:
    count = len(is_thing)
    return fusion.merge(
        torch.from_numpy(classes.astype(np.int16)),
        torch.from_numpy(winners.astype(np.int16)),
        class_ids=torch.arange(1, count + 1),
        class_scores=torch.linspace(0.1, 0.9, count),
        is_thing=torch.tensor(is_thing),
        instance_classes=torch.tensor(instance_classes, dtype=torch.int64),
        instance_scores=torch.linspace(0.9, 0.5, len(instance_classes)),
        minimum_stuff_area=minimum,
        **kwargs,
    )


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_merge_equals_the_literal_rules(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    is_thing = data.draw(st.lists(st.booleans(), min_size=1, max_size=4))
    things = [index for index, thing in enumerate(is_thing) if thing]
    instance_classes = data.draw(st.lists(st.sampled_from(things), max_size=4)) if things else []
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    classes = generator.integers(0, len(is_thing) + 1, size=(height, width))  # the last is void
    winners = generator.integers(0, len(instance_classes) + 1, size=(height, width))
    minimum = data.draw(st.integers(0, 12))
    unlikely = [data.draw(st.booleans()) for _ in is_thing]

    value = merge(classes, winners, is_thing, instance_classes, minimum, unlikely=torch.tensor(unlikely))

    expected = slow_merge(classes, winners, is_thing, instance_classes, minimum, unlikely)
    np.testing.assert_array_equal(value.ids, expected)
    assert value.ids.dtype == np.int32
    thing_ids = {index + 1 for index in things}
    scores = {segment.id: segment.score for segment in value.segments}
    described = PanopticSegmentation.from_ids(value.ids, thing_ids, scores).segments
    assert sorted(value.segments, key=lambda segment: segment.id) == sorted(described, key=lambda segment: segment.id)


def test_scores_and_confidence_are_those_of_the_label_that_won() -> None:
    classes = np.array([[0, 0, 1, 2]])
    winners = np.array([[1, 0, 1, 1]])  # one instance, of class index 1, over the second pixel
    confidence = torch.tensor([[0.5, 0.6, 0.7, 0.8]])
    value = merge(classes, winners, [False, True, False], [1], 1, confidence=confidence)
    assert value.ids.tolist() == [[1000, 2001, 0, 3000]]  # an uncovered thing is void
    assert value.confidence is not None
    assert value.confidence.tolist() == [[128, 230, 0, 204]]
    scores = {segment.id: round(segment.score, 3) for segment in value.segments}
    assert scores == {1000: 0.1, 2001: 0.9, 3000: 0.9}


def test_999_instances_keep_their_numbers() -> None:
    winners = np.arange(1000).reshape(20, 50)  # the last pixel has none
    value = merge(np.zeros((20, 50), dtype=int), winners, [True], [0] * 999, 1)
    np.testing.assert_array_equal(value.instances().ravel(), [*range(1, 1000), 0])
    assert len(value.segments) == 999
