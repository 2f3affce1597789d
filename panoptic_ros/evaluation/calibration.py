"""How far confidences can be trusted: the expected calibration error (Naeini et al. 2015; Guo et al. 2017, section 2).

Pixels are sorted into bins of equal width by the confidence of their label.  In a bin of a calibrated network the
share of right pixels is the mean confidence; the expected calibration error is the mean of the difference, weighted by
pixels.  A pixel is right if its class is.  What is void in the truth or in the prediction has no label to be confident
of, and does not count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.evaluation.overlaps import EvaluationError, Overlaps
from panoptic_ros.evaluation.rows import ImageNames, exact_sum
from panoptic_ros.segmentation import VOID

LEVELS = 256
"""Confidences are bytes, the probability times 255."""

BINS = 15
"""As in Guo et al.; 255 levels divide into 15 equal parts."""


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Pixels whose confidence is in [`low`, `high`), the last bin with its end.

    Attributes
    ----------
    low, high:
        Probabilities.
    pixels:
        How many there are.
    confidence, accuracy:
        Their mean confidence, and the share whose class is right; None without pixels.
    """

    low: float
    high: float
    pixels: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class CalibrationResult:
    """Calibration over a set of images; None where no pixel counts.

    Attributes
    ----------
    expected_error, maximum_error:
        The mean over the bins of how far accuracy and confidence are apart, weighted by pixels; and the largest.
    pixels:
        How many count.
    bins:
        The reliability table.
    """

    expected_error: float | None
    maximum_error: float | None
    pixels: int
    bins: tuple[ReliabilityBin, ...]


class Calibration:
    """Counts right and wrong pixels by their confidence.

    Attributes
    ----------
    counts:
        (256, 2) int64, by the level of confidence, wrong pixels and right ones.
    """

    def __init__(self) -> None:
        self.counts = np.zeros((LEVELS, 2), dtype=np.int64)
        self._names = ImageNames()

    def update(self, overlaps: Overlaps) -> None:
        """Count one image.

        Raises
        ------
        EvaluationError
            If it was counted already, or the prediction has no confidence, or one of another size or type.
        """
        name, prediction, truth = overlaps.name, overlaps.prediction_map, overlaps.truth_map
        confidence = prediction.confidence
        if confidence is None:
            raise EvaluationError(f"{name}: calibration needs the prediction's confidence, which it does not have")
        if confidence.shape != prediction.ids.shape or confidence.dtype != np.uint8:
            raise EvaluationError(
                f"{name}: the confidence must be uint8 {prediction.ids.shape}, "
                f"got {confidence.dtype} {confidence.shape}"
            )
        self._names.add(name)
        right = prediction.classes() == truth.classes()
        keys = confidence.astype(np.int16) * np.int16(2) + right
        keys = keys[(prediction.ids != VOID) & (truth.ids != VOID)]
        self.counts += np.bincount(keys, minlength=2 * LEVELS).reshape(LEVELS, 2)

    def merge(self, other: Calibration) -> None:
        """Add the counts of other images.

        Raises
        ------
        EvaluationError
            If an image is in both.
        """
        self._names.add(*other._names)
        self.counts += other.counts

    def result(self, bins: int = BINS) -> CalibrationResult:
        """The calibration over all images so far, with 1 to 255 bins.

        Raises
        ------
        ValueError
            If there are to be more bins or fewer.
        """
        if not 0 < bins < LEVELS:
            raise ValueError(f"bins must be in 1 to {LEVELS - 1}, got {bins}")
        levels = np.arange(LEVELS)
        # In whole numbers: the edge 0.2 is the level 51, which 51 / 255 < 0.2 would decide by rounding.
        of_level = np.minimum(levels * bins // (LEVELS - 1), bins - 1)
        table = tuple(
            _bin(index, bins, self.counts[of_level == index], levels[of_level == index]) for index in range(bins)
        )
        gaps = [
            (part.pixels, abs(part.accuracy - part.confidence))
            for part in table
            if part.accuracy is not None and part.confidence is not None
        ]
        pixels = int(self.counts.sum())
        return CalibrationResult(
            expected_error=exact_sum(np.array([count * gap for count, gap in gaps])) / pixels if pixels else None,
            maximum_error=max((gap for _, gap in gaps), default=None),
            pixels=pixels,
            bins=table,
        )


def _bin(index: int, bins: int, counts: NDArray[np.int64], levels: NDArray[np.int64]) -> ReliabilityBin:
    pixels = int(counts.sum())
    return ReliabilityBin(
        low=index / bins,
        high=(index + 1) / bins,
        pixels=pixels,
        confidence=int((counts.sum(axis=1) * levels).sum()) / (pixels * (LEVELS - 1)) if pixels else None,
        accuracy=int(counts[:, 1].sum()) / pixels if pixels else None,
    )
