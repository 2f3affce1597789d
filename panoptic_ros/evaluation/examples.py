"""The images that a report shows: the worst and the best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.datasets.dataset import Truth
from panoptic_ros.evaluation.panoptic_quality import ImageQualities
from panoptic_ros.segmentation import PanopticSegmentation

Place = Literal["worst", "best", "sample"]
"""Why an image is shown: for its score, or, where images have none, as one of many."""


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """An image to be shown.

    Attributes
    ----------
    name:
        The image's.
    place:
        Why it is shown.
    score:
        What it was chosen by, in [0, 1]: its panoptic quality or, without instances, its pixel accuracy; None where it
        was not.
    picture:
        (H, W, 3) uint8, B, G, R; None where it is not to be had.
    prediction, truth:
        In the classes that were measured.
    """

    name: str
    place: Place
    score: float | None
    picture: NDArray[np.uint8] | None
    prediction: PanopticSegmentation
    truth: Truth


def image_scores(qualities: ImageQualities) -> NDArray[np.float64]:
    """The panoptic quality of each image, over the classes that occur in it.

    Returns
    -------
    (N,) float64 in [0, 1]; NaN for an image in which nothing is counted.
    """
    weights = qualities.tp + qualities.fp / 2 + qualities.fn / 2
    classes = np.count_nonzero(weights, axis=1)
    sums = (qualities.iou / np.where(weights > 0, weights, 1)).sum(axis=1)
    scores: NDArray[np.float64] = np.where(classes > 0, sums / np.maximum(classes, 1), np.nan)
    return scores


def choose_examples(scores: NDArray[np.float64], count: int) -> list[tuple[int, Place]]:
    """The images with the lowest and the highest scores.

    Parameters
    ----------
    scores:
        (N,) float64; an image whose score is NaN is not chosen.
    count:
        How many of each; of fewer than twice as many images each is chosen once, the lower half as the worst.

    Returns
    -------
    The indices, the worst from the lowest score upward, then the best from the highest downward.  Of images with equal
    scores the first one counts as worse.
    """
    order = np.argsort(scores, kind="stable")
    order = order[: np.count_nonzero(~np.isnan(scores))]
    worst = order[: min(count, (len(order) + 1) // 2)]
    best = order[::-1][: min(count, len(order) - len(worst))]
    return [*((int(index), "worst") for index in worst), *((int(index), "best") for index in best)]


def spread_examples(images: int, count: int) -> list[tuple[int, Place]]:
    """Images evenly over all of them, where they have no scores."""
    count = min(count, images)
    return [(index * images // count, "sample") for index in range(count)]
