"""The expected calibration error against torchmetrics and a count pixel by pixel."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from evaluation_cases import IDS, LABELS, segmentation

from panoptic_ros.datasets.dataset import Truth
from panoptic_ros.evaluation.calibration import Calibration
from panoptic_ros.evaluation.overlaps import EvaluationError, Overlaps, overlaps


def image(seed: int, name: str = "") -> Overlaps:
    """An image whose confidences are too high, and with void in both maps."""
    generator = np.random.default_rng(seed)
    truth = generator.choice(IDS, (30, 40))
    prediction = np.where(generator.random(truth.shape) < 0.6, truth, generator.choice(IDS, truth.shape))
    # An instance of the right class is right, whichever it is.
    prediction = np.where(prediction == 24001, 24002, prediction)
    confidence = (255 * generator.beta(4, 1.5, truth.shape)).astype(np.uint8)
    confidence[0, :3] = (0, 255, 51)
    return overlaps(
        name or str(seed), replace(segmentation(prediction), confidence=confidence), Truth(segmentation(truth)), LABELS
    )


def confidences(images: list[Overlaps]) -> list[tuple[int, bool]]:
    """The level and the correctness of every pixel that counts."""
    found = []
    for each in images:
        assert each.prediction_map.confidence is not None
        for true, predicted, level in zip(
            each.truth_map.ids.flat, each.prediction_map.ids.flat, each.prediction_map.confidence.flat, strict=True
        ):
            if true and predicted:
                found.append((int(level), int(true) // 1000 == int(predicted) // 1000))
    return found


@pytest.mark.parametrize("bins", [1, 10, 15, 255])
def test_it_is_what_is_counted_pixel_by_pixel(bins: int) -> None:
    images = [image(1), image(2)]
    metric = Calibration()
    for each in images:
        metric.update(each)
    result = metric.result(bins)
    pixels = confidences(images)
    error = Fraction(0)
    for index, part in enumerate(result.bins):
        inside = [
            (Fraction(level, 255), right)
            for level, right in pixels
            if Fraction(index, bins) <= Fraction(level, 255) < Fraction(index + 1, bins)
            or (level == 255 and index == bins - 1)
        ]
        assert part.pixels == len(inside)
        if not inside:
            assert part.confidence is part.accuracy is None
            continue
        confidence = sum(level for level, _ in inside) / len(inside)
        accuracy = Fraction(sum(right for _, right in inside), len(inside))
        assert (part.confidence, part.accuracy) == pytest.approx((float(confidence), float(accuracy)), abs=1e-12)
        error += abs(confidence - accuracy) * len(inside) / len(pixels)
    assert result.expected_error == pytest.approx(float(error), abs=1e-12)
    assert result.pixels == len(pixels)
    assert result.expected_error is not None
    assert result.expected_error > 0.01


def test_torchmetrics_agrees() -> None:
    """With 16 bins, on whose edges no level of 255 lies."""
    functional = pytest.importorskip("torchmetrics.functional.classification", reason="needs torchmetrics")
    torch = pytest.importorskip("torch")
    metric = Calibration()
    metric.update(image(3))
    levels, right = zip(*confidences([image(3)]), strict=True)
    for norm in ("l1", "max"):
        peer = functional.binary_calibration_error(
            torch.tensor(levels, dtype=torch.float64) / 255,
            torch.tensor(right, dtype=torch.int64),
            n_bins=16,
            norm=norm,
        )
        result = metric.result(16)
        ours = result.expected_error if norm == "l1" else result.maximum_error
        assert ours == pytest.approx(float(peer), abs=1e-6)


def test_splitting_changes_nothing() -> None:
    whole, parts = Calibration(), [Calibration(), Calibration()]
    for seed in range(4):
        whole.update(image(seed))
        parts[seed % 2].update(image(seed))
    parts[1].merge(parts[0])
    assert parts[1].result() == whole.result()


def test_without_pixels_there_is_no_figure() -> None:
    result = Calibration().result()
    assert (result.expected_error, result.maximum_error, result.pixels) == (None, None, 0)


def test_what_lacks_confidence_is_refused() -> None:
    good = image(0, "street 4")
    metric = Calibration()
    for confidence, message in (
        (None, "street 4: calibration needs the prediction's confidence"),
        (np.zeros((3, 3), dtype=np.uint8), r"street 4: the confidence must be uint8 \(30, 40\), got uint8 \(3, 3\)"),
        (np.zeros((30, 40)), "got float64"),
    ):
        with pytest.raises(EvaluationError, match=message):
            metric.update(replace(good, prediction_map=replace(good.prediction_map, confidence=confidence)))
    metric.update(good)
    with pytest.raises(EvaluationError, match="street 4: this image is evaluated twice"):
        metric.update(good)
    with pytest.raises(ValueError, match="bins must be in 1 to 255"):
        metric.result(0)
