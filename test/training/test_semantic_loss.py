"""The semantic loss against the thesis' words, pixel by pixel, and PyTorch's own cross-entropy."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from panoptic_training.losses.semantic import SemanticLoss, SemanticLossOptions
from panoptic_training.targets import IGNORE

CLASSES, HEIGHT, WIDTH = 4, 6, 8


def scene(seed: int, images: int, void: float) -> tuple[Tensor, Tensor, Tensor]:
    """Logits at the labels' size, labels with some void, instances of every area and a crowd."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, (images, HEIGHT, WIDTH))
    labels[random.random(labels.shape) < void] = IGNORE
    instances = random.choice([-1, 0, 0, 1, 2, 2, 2, 3], labels.shape)
    logits = random.normal(0, 2, (images, CLASSES, HEIGHT, WIDTH))
    return torch.from_numpy(logits).float(), torch.from_numpy(labels), torch.from_numpy(instances).int()


def labelled_pixels(logits: Tensor, labels: Tensor) -> Iterator[tuple[int, int, int, list[float]]]:
    """Row, column, label and probabilities of each pixel of an image that has a label."""
    for y in range(HEIGHT):
        for x in range(WIDTH):
            if int(labels[y, x]) != IGNORE:
                values = [math.exp(value) for value in logits[:, y, x].tolist()]
                yield y, x, int(labels[y, x]), [value / sum(values) for value in values]


def slow_loss(logits: Tensor, labels: Tensor, instances: Tensor, options: SemanticLossOptions) -> float:
    """Equation 2.7 of each image, or the weighted mean of all pixels."""
    class_weights = options.class_weights or (1.0,) * CLASSES
    means, total, total_weight = [], 0.0, 0.0
    for image in range(len(labels)):
        pixels = []  # -log p(y), weight
        for y, x, label, probabilities in labelled_pixels(logits[image], labels[image]):
            weight = class_weights[label]
            instance = int(instances[image, y, x])
            if instance > 0 and int((instances[image] == instance).sum()) < options.small_instance_area:
                weight *= options.small_instance_weight
            pixels.append((-math.log(probabilities[label]), weight))
        total += sum(loss * weight for loss, weight in pixels)
        total_weight += sum(weight for _, weight in pixels)
        if options.hardest is not None and pixels:
            k = math.ceil(round(options.hardest * len(pixels), 6))
            pixels.sort(key=lambda pixel: -pixel[0])
            means.append(sum(loss * weight for loss, weight in pixels[:k]) / k)
    if options.hardest is not None:
        return sum(means) / len(means) if means else 0.0
    return total / total_weight if total_weight else 0.0


def slow_dice(logits: Tensor, labels: Tensor, smoothing: float) -> float:
    """The mean of 1 - (2 I + s) / (P + T + s) over the classes that each image has."""
    losses = []
    for image in range(len(labels)):
        overlap, total, area = ([0.0] * CLASSES for _ in range(3))
        for _, _, label, probabilities in labelled_pixels(logits[image], labels[image]):
            for index in range(CLASSES):
                total[index] += probabilities[index]
            overlap[label] += probabilities[label]
            area[label] += 1
        for index in range(CLASSES):
            if area[index]:
                losses.append(1 - (2 * overlap[index] + smoothing) / (total[index] + area[index] + smoothing))
    return sum(losses) / len(losses) if losses else 0.0


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    images=st.integers(1, 3),
    void=st.sampled_from([0.0, 0.3, 0.95, 1.0]),
    hardest=st.sampled_from([None, 0.01, 0.15, 0.5, 1.0]),
    class_weights=st.sampled_from([None, (0.5, 2.0, 0.0, 1.0)]),
    small=st.sampled_from([(1.0, 4096), (3.0, 5), (3.0, 13), (3.0, 4096)]),
)
def test_the_loss_is_that_of_the_thesis(
    seed: int,
    images: int,
    void: float,
    hardest: float | None,
    class_weights: tuple[float, ...] | None,
    small: tuple[float, int],
) -> None:
    options = SemanticLossOptions(class_weights, hardest, small[0], small[1])
    logits, labels, instances = scene(seed, images, void)
    found = SemanticLoss(CLASSES, options)(logits, labels, instances)
    assert float(found) == pytest.approx(slow_loss(logits, labels, instances, options), rel=1e-4, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    images=st.integers(1, 3),
    void=st.sampled_from([0.0, 0.3, 0.95, 1.0]),
    hardest=st.sampled_from([None, 0.15]),
    smoothing=st.sampled_from([0.0, 1.0, 20.0]),
)
def test_dice_beside_the_cross_entropy(
    seed: int, images: int, void: float, hardest: float | None, smoothing: float
) -> None:
    logits, labels, instances = scene(seed, images, void)
    plain = SemanticLossOptions(hardest=hardest)
    both = SemanticLossOptions(hardest=hardest, dice=0.7, dice_smoothing=smoothing)
    found = SemanticLoss(CLASSES, both)(logits, labels, instances)
    expected = slow_loss(logits, labels, instances, plain) + 0.7 * slow_dice(logits, labels, smoothing)
    assert float(found) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_dice_is_nothing_where_every_pixel_is_right() -> None:
    _, labels, instances = scene(9, 2, 0.3)
    logits = 100 * F.one_hot(labels.where(labels != IGNORE, 0), CLASSES).permute(0, 3, 1, 2).float()
    loss = SemanticLoss(CLASSES, SemanticLossOptions(dice=1.0))(logits, labels, instances)
    assert loss.item() == pytest.approx(0.0, abs=1e-6)


def test_dice_teaches_of_labelled_pixels_alone() -> None:
    logits, labels, instances = scene(9, 2, 0.3)
    logits.requires_grad_()
    plain, both = (SemanticLoss(CLASSES, SemanticLossOptions(dice=dice)) for dice in (0.0, 1.0))
    loss = both(logits, labels, instances) - plain(logits, labels, instances)
    gradient = torch.autograd.grad(loss, logits)[0].permute(0, 2, 3, 1)
    assert not gradient[labels == IGNORE].any()
    assert gradient[labels != IGNORE].abs().amax(dim=-1).min() > 0


def test_smoothing_is_of_the_inputs_pixels_also_where_some_are_left_out() -> None:
    """Each of four phases sees a quarter of every class here: a quarter of the smoothing gives the same loss."""
    coarse = [tensor.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2) for tensor in scene(10, 2, 0.2)]
    every = SemanticLoss(CLASSES, SemanticLossOptions(dice=1.0, dice_smoothing=40.0))
    some = SemanticLoss(CLASSES, SemanticLossOptions(dice=1.0, dice_smoothing=40.0, step=2))
    torch.testing.assert_close(some(*coarse), every(*coarse))


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (3, 4)])
def test_mixed_precision_keeps_the_loss_in_full(step: int, training: bool, size: tuple[int, int]) -> None:
    logits, labels, instances = scene(11, 2, 0.2)
    logits = F.adaptive_avg_pool2d(logits, size).bfloat16().float()
    loss = SemanticLoss(CLASSES, SemanticLossOptions(dice=0.7, step=step)).train(training)
    torch.manual_seed(0)
    expected = loss(logits, labels, instances)
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(logits, labels, instances)
    assert found.dtype == torch.float32
    # Products of the interpolation may be half; sums, logarithms and shares of thousands of pixels are not.
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=0)


def test_without_options_it_is_pytorchs_cross_entropy() -> None:
    logits, labels, instances = scene(3, 2, 0.3)
    logits.requires_grad_()
    loss = SemanticLoss(CLASSES, SemanticLossOptions())(logits, labels, instances)
    expected = F.cross_entropy(logits, labels, ignore_index=IGNORE)
    torch.testing.assert_close(loss, expected)
    found = torch.autograd.grad(loss, logits, retain_graph=True)[0]
    torch.testing.assert_close(found, torch.autograd.grad(expected, logits)[0])
    weights = (0.5, 2.0, 0.1, 1.0)
    torch.testing.assert_close(
        SemanticLoss(CLASSES, SemanticLossOptions(weights))(logits, labels, instances),
        F.cross_entropy(logits, labels, torch.tensor(weights), ignore_index=IGNORE),
    )


def test_only_the_hardest_pixels_get_gradient() -> None:
    logits, labels, instances = scene(4, 1, 0.25)
    logits.requires_grad_()
    SemanticLoss(CLASSES, SemanticLossOptions(hardest=0.15))(logits, labels, instances).backward()
    assert logits.grad is not None
    touched = logits.grad[0].abs().sum(dim=0) > 0
    losses = F.cross_entropy(logits.detach(), labels, ignore_index=IGNORE, reduction="none")[0]
    count = math.ceil(0.15 * int((labels != IGNORE).sum()))
    assert int(touched.sum()) == count
    assert float(losses[touched].min()) >= float(losses[~touched].max())


def test_coarse_logits_are_interpolated_as_the_decode_does() -> None:
    """Logits that are right in every cell of a stride-4 map: their interpolation decides each pixel's loss."""
    labels = torch.zeros((1, 16, 16), dtype=torch.int64)
    labels[:, :, 8:] = 1
    logits = torch.full((1, 2, 4, 4), -3.0)
    logits[:, 0, :, :2] = logits[:, 1, :, 2:] = 3.0
    found = SemanticLoss(2, SemanticLossOptions())(logits, labels, torch.zeros((1, 16, 16), dtype=torch.int32))
    # The two centres of cells beside the border are 4 pixels apart; between them a logit falls from 3 to -3.  With
    # half-pixel centres the pixels nearest to the border are 0.5 and 1.5 pixels from it, the other six of a row's half
    # lie beyond a centre.
    margins = [2 * 3 * distance / 2 for distance in (0.5, 1.5)] + [6.0] * 6
    expected = sum(math.log1p(math.exp(-margin)) for margin in margins) / 8
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("hardest", [None, 0.15])
def test_void_images_teach_nothing(hardest: float | None) -> None:
    logits, labels, instances = scene(5, 2, 1.0)
    logits.requires_grad_()
    loss = SemanticLoss(CLASSES, SemanticLossOptions(hardest=hardest))(logits, labels, instances)
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_half_precision_logits_are_counted_in_full() -> None:
    logits, labels, instances = scene(6, 1, 0.0)
    loss = SemanticLoss(CLASSES, SemanticLossOptions())
    found = loss((logits * 20).half(), labels, instances)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, loss((logits * 20).half().float(), labels, instances))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"class_weights": (1.0, -1.0)}, "class_weights must not be negative nor all 0"),
        ({"class_weights": (0.0, 0.0)}, "class_weights must not be negative nor all 0"),
        ({"hardest": 0.0}, r"hardest must be in \(0, 1\], got 0.0"),
        ({"small_instance_weight": 0.0}, "small_instance_weight must be positive, got 0.0"),
        ({"small_instance_area": 0}, "small_instance_area must be positive, got 0"),
        ({"step": 0}, "step must be at least 1, got 0"),
        ({"dice": -0.5}, "dice must not be negative, got -0.5"),
        ({"dice_smoothing": -1.0}, "dice_smoothing must not be negative, got -1.0"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SemanticLossOptions(**options)  # type: ignore[arg-type]


def test_class_weights_for_other_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="class_weights: expected one for each of 4 classes, got 2"):
        SemanticLoss(CLASSES, SemanticLossOptions(class_weights=(1.0, 2.0)))


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (3, 4)])
def test_the_steps_of_all_phases_are_all_pixels_in_the_mean(size: tuple[int, int]) -> None:
    logits, labels, instances = scene(7, 2, 0.0)
    logits = F.adaptive_avg_pool2d(logits, size).requires_grad_()
    every, some = (SemanticLoss(CLASSES, SemanticLossOptions(step=step)) for step in (1, 2))
    expected = every(logits, labels, instances)
    torch.manual_seed(0)
    drawn = [some(logits, labels, instances) for _ in range(60)]
    phases = {round(one.item(), 6): one for one in drawn}
    assert len(phases) == 4
    mean = torch.stack(list(phases.values())).mean()
    torch.testing.assert_close(mean, expected)
    torch.testing.assert_close(torch.autograd.grad(mean, logits)[0], torch.autograd.grad(expected, logits)[0])


def test_validation_counts_every_pixel() -> None:
    logits, labels, instances = scene(8, 2, 0.3)
    every, some = (SemanticLoss(CLASSES, SemanticLossOptions(step=step)).eval() for step in (1, 5))
    torch.testing.assert_close(some(logits, labels, instances), every(logits, labels, instances))
