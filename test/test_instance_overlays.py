"""Merging rules of Panoptic FPN and JSIS-Net against literal transcriptions, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal import LEVELS, pasted, undecided
from numpy.typing import NDArray

from panoptic_ros import fusion
from panoptic_ros.fusion import pasting

SIDE = 3


@st.composite
def instances(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.float32], int, int]:
    """Masks and boxes in a small frame: they overlap, coincide, leave the frame, and are equally sure."""
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    count = draw(st.integers(0, 5))
    levels = st.sampled_from(LEVELS)
    masks = draw(st.lists(st.lists(levels, min_size=SIDE**2, max_size=SIDE**2), min_size=count, max_size=count))
    edge = st.integers(-4, 20).map(lambda value: value / 2)
    boxes = [sorted([draw(edge), draw(edge)]) + sorted([draw(edge), draw(edge)]) for _ in range(count)]
    ordered = [(x0, y0, max(x1, x0 + 0.5), max(y1, y0 + 0.5)) for x0, x1, y0, y1 in boxes]
    return (
        np.array(masks, dtype=np.float32).reshape(count, SIDE, SIDE),
        np.array(ordered, dtype=np.float32).reshape(count, 4),
        height,
        width,
    )


def literal_visible(probabilities: list[NDArray[np.float64]], size: tuple[int, int], most: float) -> NDArray[np.int16]:
    """Kirillov et al. 2018, section 7, with the instances in the order of their scores."""
    winners = np.full(size, len(probabilities), dtype=np.int16)
    for index, plane in enumerate(probabilities):
        pixels = [(y, x) for y in range(size[0]) for x in range(size[1]) if plane[y, x] > 0.5]
        hidden = [pixel for pixel in pixels if winners[pixel] != len(probabilities)]
        if len(hidden) > most * len(pixels):
            continue
        for pixel in pixels:
            if pixel not in hidden:
                winners[pixel] = index
    return winners


def literal_surest(probabilities: list[NDArray[np.float64]], size: tuple[int, int]) -> NDArray[np.int16]:
    """De Geus et al. 2018, section 2.2.1."""
    winners = np.full(size, len(probabilities), dtype=np.int16)
    for y in range(size[0]):
        for x in range(size[1]):
            claims = [(-plane[y, x], index) for index, plane in enumerate(probabilities) if plane[y, x] > 0.5]
            if claims:
                winners[y, x] = min(claims)[1]
    return winners


@settings(max_examples=40, deadline=None)
@given(instances(), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_panoptic_fpns_overlaps_are_the_literal_ones(
    found: tuple[NDArray[np.float32], NDArray[np.float32], int, int], most: float
) -> None:
    masks, boxes, height, width = found
    probabilities = pasted(masks, boxes, height, width)
    if undecided(np.array(probabilities).reshape(-1, height, width)):
        return
    winners = fusion.paste_visible(torch.from_numpy(masks), torch.from_numpy(boxes), height, width, 0.5, most)
    np.testing.assert_array_equal(winners.numpy(), literal_visible(probabilities, (height, width), most))


@settings(max_examples=40, deadline=None)
@given(instances())
def test_jsis_nets_overlaps_are_the_literal_ones(
    found: tuple[NDArray[np.float32], NDArray[np.float32], int, int],
) -> None:
    masks, boxes, height, width = found
    probabilities = pasted(masks, boxes, height, width)
    if undecided(np.array(probabilities).reshape(-1, height, width)):
        return
    expected = literal_surest(probabilities, (height, width))
    for paste in (fusion.paste_by_probability, pasting._surest_on_device):  # the second is a GPU's
        winners = paste(torch.from_numpy(masks), torch.from_numpy(boxes), height, width, 0.5)
        np.testing.assert_array_equal(winners.numpy(), expected)


def test_a_hidden_instance_leaves_its_pixels_to_those_after_it() -> None:
    """The second is covered by the first for three quarters and dropped; the third takes what the second had left."""
    masks = torch.ones((3, 2, 2))
    boxes = torch.tensor([[0.0, 0, 3, 1], [0, 0, 4, 1], [3, 0, 5, 1]])
    assert fusion.paste_visible(masks, boxes, 1, 6, 0.5, 0.5).tolist() == [[0, 0, 0, 2, 2, 3]]
    assert fusion.paste_visible(masks, boxes, 1, 6, 0.5, 0.75).tolist() == [[0, 0, 0, 1, 2, 3]]
    assert fusion.paste_by_probability(masks, boxes, 1, 6, 0.5).tolist() == [[0, 0, 0, 1, 2, 3]]


def test_the_arithmetic_of_a_gpu_is_that_of_a_cpu() -> None:
    random = np.random.default_rng(0)
    mask = random.random((7, 7), dtype=np.float32)
    rows, columns = (np.sort(random.random(size) * 6).astype(np.float32) for size in (11, 13))
    rows[-1] = columns[-1] = 6.0
    on_device = pasting._scale_on_device(torch.from_numpy(mask), rows, columns)
    np.testing.assert_allclose(on_device.numpy(), pasting._scale_mask(mask, rows, columns), atol=1e-6)


def literal_large(logits: NDArray[np.float32], taken: NDArray[np.bool_], least: int) -> NDArray[np.int16]:
    """De Geus et al. 2018, section 2.2.2, on logits of the frame's size."""
    count, height, width = logits.shape
    first = [[max(range(count), key=lambda k: (logits[k, y, x], -k)) for x in range(width)] for y in range(height)]
    areas = [
        sum(first[y][x] == k and not taken[y, x] for y in range(height) for x in range(width)) for k in range(count)
    ]
    large = [k for k in range(count) if areas[k] >= least]
    found = np.full((height, width), count, dtype=np.int16)
    for y in range(height):
        for x in range(width):
            if first[y][x] in large:
                found[y, x] = first[y][x]
            elif large:
                found[y, x] = max(large, key=lambda k: (logits[k, y, x], -k))
    return found


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(0, 40), st.booleans())
def test_small_stuff_gives_way_to_the_next_best(seed: int, count: int, least: int, things: bool) -> None:
    """Classes of all sizes, ties, none under things, and all of them small."""
    random = np.random.default_rng(seed)
    size = int(random.integers(1, 7)), int(random.integers(1, 7))
    logits = (
        random.integers(0, 4, (count, *size)).astype(np.float32) + np.arange(count, dtype=np.float32)[:, None, None]
    )
    taken = random.random(size) < (0.4 if things else 0.0)
    classes, best = fusion.argmax_of_large(torch.from_numpy(logits), torch.from_numpy(taken), least)
    expected = literal_large(logits, taken, least)
    free = ~taken  # what lies under things is seen by nobody
    np.testing.assert_array_equal(classes.numpy()[free], expected[free])
    known = (expected < count) & free
    rows, columns = np.nonzero(known)
    np.testing.assert_array_equal(best.numpy()[known], logits[expected[known], rows, columns])


def test_without_a_class_there_is_void() -> None:
    classes, _ = fusion.argmax_of_large(torch.zeros((0, 2, 3)), torch.zeros((4, 6), dtype=torch.bool), 1)
    assert classes.tolist() == [[0] * 6] * 4


def test_a_logit_that_is_not_finite_is_void_and_counts_for_nothing() -> None:
    logits = torch.tensor([[[2.0, 2.0, 0.0, float("nan")]], [[1.0, 1.0, 1.0, 5.0]]])
    classes, _ = fusion.argmax_of_large(logits, torch.zeros((1, 4), dtype=torch.bool), 1)
    assert classes.tolist() == [[0, 0, 1, 2]]


@pytest.mark.parametrize("paste", [lambda *a: fusion.paste_visible(*a, 0.5), fusion.paste_by_probability])
def test_nothing_is_pasted_of_nothing(paste: object) -> None:
    winners = paste(torch.zeros((0, 2, 2)), torch.zeros((0, 4)), 3, 4, 0.5)  # type: ignore[operator]
    assert winners.dtype == torch.int16
    assert winners.tolist() == [[0] * 4] * 3
