"""The posterior of classes: Bayes' rule against the closed form, votes, and the confusion matrix that is read."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from grid_cases import CAR, LABELS, PERSON, POLE, ROAD, SECOND, confusion

from panoptic_ros.confusion import ClassConfusion
from panoptic_ros.grid.classes import ClassBlock, effective_counts, entropy, load_confusion
from panoptic_ros.grid.options import ClassOptions

CELL = np.array([0], dtype=np.intp)
THREE = np.array([POLE, PERSON, CAR], dtype=np.int16)


def counts(*values: float) -> np.ndarray:
    return np.array([values], dtype=np.float32)


def test_one_label_is_bayes_rule() -> None:
    matrix = confusion(1)
    block = ClassBlock(1, THREE, ClassOptions(smoothing=1e-9, clip=100.0), matrix)
    block.add(CELL, counts(0, 1, 0), SECOND)
    part = matrix[np.ix_(THREE, THREE)]
    part /= part.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(block.posterior(CELL, SECOND)[0], part[:, 1] / part[:, 1].sum(), rtol=1e-4)
    assert block.best(CELL)[0] == THREE[np.argmax(part[:, 1])]


def test_frames_multiply_until_the_bound() -> None:
    matrix = np.full((19, 19), 0.01)
    np.fill_diagonal(matrix, 0.82)
    options = ClassOptions(smoothing=1e-9, time_constant=1e9, clip=6.0)
    block = ClassBlock(1, THREE, options, matrix)
    ratio = 0.82 / 0.01
    block.add(CELL, counts(0, 1, 0), SECOND)
    assert block.posterior(CELL, SECOND)[0, 1] == pytest.approx(ratio / (ratio + 2), rel=1e-4)
    for _ in range(5):
        block.add(CELL, counts(0, 1, 0), SECOND)
    assert block.posterior(CELL, SECOND)[0, 1] == pytest.approx(1 / (1 + 2 * math.exp(-6.0)), rel=1e-4)
    for _ in range(2):
        block.add(CELL, counts(0, 0, 1), SECOND)
    assert block.best(CELL)[0] == CAR


@pytest.mark.parametrize("correlation", [0.0, 0.6, 1.0])
def test_points_of_one_frame_err_together(correlation: float) -> None:
    """N points weigh n/(1 + (n - 1) r): all of them without correlation, one with full."""
    matrix, options = confusion(2), ClassOptions(correlation=correlation, clip=1e6)
    whole, single = (ClassBlock(1, THREE, options, matrix) for _ in range(2))
    whole.add(CELL, counts(3, 1, 0), SECOND)
    share = 1 / (1 + 3 * correlation)
    for z, times in ((0, 3), (1, 1)):
        # A single label at full weight, as often as the effective size says.
        single.evidence.values[CELL] += share * times * np.float32(single.table[z])
    single.evidence.values[CELL] -= single.evidence.values[CELL].max()
    single.evidence.stamps[CELL] = SECOND
    np.testing.assert_allclose(whole.posterior(CELL, SECOND), single.posterior(CELL, SECOND), rtol=1e-4)


def test_effective_counts() -> None:
    found = effective_counts(np.array([0.1, 1, 2, 1000], dtype=np.float32), 0.6)
    np.testing.assert_allclose(found, [0.1, 1, 2 / 1.6, 1000 / 600.4], rtol=1e-5)


def test_an_old_posterior_grows_uncertain_and_keeps_its_best() -> None:
    block = ClassBlock(1, THREE, ClassOptions(time_constant=10.0), confusion(0))
    block.add(CELL, counts(0, 0, 2), SECOND)
    found = [block.posterior(CELL, SECOND + age * SECOND)[0] for age in (0, 5, 20, 10_000)]
    assert all(np.argmax(row) == 2 for row in found[:3])
    uncertainties = [entropy(row[None])[0] for row in found]
    assert uncertainties == sorted(uncertainties)
    np.testing.assert_allclose(found[-1], 1 / 3, atol=1e-6)


def test_votes_are_a_dirichlet_whose_prior_is_one_vote() -> None:
    options = ClassOptions(time_constant=10.0, count_clip=4.0)
    block = ClassBlock(1, THREE, options, None)
    block.add(CELL, counts(0, 3, 1), SECOND)
    effective = 4 / (1 + 3 * 0.6)
    expected = np.array([0, 0.75, 0.25]) * effective + 1 / 3
    np.testing.assert_allclose(block.posterior(CELL, SECOND)[0], expected / (effective + 1), rtol=1e-5)
    for _ in range(20):
        block.add(CELL, counts(0, 1, 0), SECOND)
    assert block.evidence.values.sum() == pytest.approx(4.0, rel=1e-5)
    for _ in range(6):
        block.add(CELL, counts(1, 0, 0), SECOND)
    assert block.best(CELL)[0] == POLE


def test_entropy_is_that_of_the_distribution() -> None:
    rows = np.array([[1, 0, 0], [0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3]], dtype=np.float32)
    np.testing.assert_allclose(entropy(rows), [0, math.log(2), math.log(3)], atol=1e-6)


def test_a_block_without_classes_says_nothing() -> None:
    """A label set may have no ground."""
    block = ClassBlock(4, np.zeros(0, dtype=np.int16), ClassOptions(), confusion(0))
    none = np.zeros(0, dtype=np.intp)
    assert not block.labelled().any()
    assert block.best(none).shape == (0,)
    assert block.posterior(none, SECOND).shape == (0, 0)


def saved(path: Path, pixels: dict[int, dict[int, int]], void: int = 0) -> Path:
    """A confusion file of some pixels, by true and predicted class index; void once in every row."""
    matrix = np.zeros((len(LABELS), len(LABELS) + 1))
    for true, row in pixels.items():
        matrix[true, 0] = void
        for predicted, count in row.items():
            matrix[true, predicted + 1] = count
    totals = matrix.sum(axis=1)
    ids = LABELS.class_ids
    ClassConfusion(
        label_set=LABELS.name,
        class_ids=ids,
        predicted_ids=np.concatenate(([0], ids)).astype(np.int32),
        probabilities=matrix / np.maximum(totals, 1)[:, None],
        pixels=totals.astype(np.int64),
    ).save(path)
    return path


def test_the_confusion_of_an_evaluation_is_read_without_void(tmp_path: Path) -> None:
    path = saved(tmp_path / "confusion.json", {ROAD: {ROAD: 90, CAR: 10}, CAR: {CAR: 60, PERSON: 40}}, void=25)
    matrix = load_confusion(path, LABELS)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    assert matrix[ROAD, ROAD] == pytest.approx(0.9)
    assert matrix[ROAD, CAR] == pytest.approx(0.1)
    assert matrix[CAR, PERSON] == pytest.approx(0.4)
    # One that was never met is as good as the others on average.
    assert matrix[POLE, POLE] == pytest.approx(0.75)
    assert matrix[POLE, ROAD] == pytest.approx(0.25 / 18)


def test_a_confusion_file_that_says_nothing_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "confusion.json", {ROAD: {}}, void=10)
    with pytest.raises(ValueError, match=r"confusion\.json: true: no class was ever labelled"):
        load_confusion(path, LABELS)
    path.write_text("{}")
    with pytest.raises(ValueError, match=r"confusion\.json: expected the keys"):
        load_confusion(path, LABELS)
