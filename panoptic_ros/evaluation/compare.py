"""Whether two evaluations of the same images differ by more than chance: a paired bootstrap over the images.

As many images as there are are drawn with replacement, the same ones for both evaluations, and their counts give two
panoptic qualities and a difference; over many draws the differences show how far another choice of images would have
moved it (Efron and Tibshirani 1993, chapters 8 and 13: the percentile interval).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.evaluation.document import EvaluationDocument
from panoptic_ros.evaluation.panoptic_quality import ImageQualities
from panoptic_ros.labels import LabelSet

RESAMPLES = 4000
CONFIDENCE = 0.95

MIN_IMAGES = 6
"""From how many images there is an interval.  Were A and B alike, five images would all favour one of them in one case
of 16; six do in one of 32, which is less than the 5 % that an interval may err.
"""

CHUNK = 1 << 22
"""How many drawn images are in memory at once."""

GROUPS = ("all", "things", "stuff")


class ComparisonError(ValueError):
    """Two evaluations cannot be compared; the message says what differs."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The panoptic quality of a group of classes, or of one class, in two evaluations.

    Attributes
    ----------
    name:
        ``all``, ``things``, ``stuff``, or the class.
    a, b:
        The panoptic qualities, in [0, 1]; None where nothing of the kind occurs.
    images:
        In how many images something of the kind occurs in either evaluation.
    low, high:
        The ends of the interval of b - a; None where there are too few images.
    """

    name: str
    a: float | None
    b: float | None
    images: int
    low: float | None
    high: float | None

    @property
    def difference(self) -> float | None:
        """B - a; None where one of them is None."""
        return None if self.a is None or self.b is None else self.b - self.a

    @property
    def verdict(self) -> str:
        """Which is better, as far as the images tell."""
        if self.low is None or self.high is None:
            return "too few images" if self.difference is not None else ""
        if self.low > 0:
            return "B is better"
        return "A is better" if self.high < 0 else "undecided"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two evaluations side by side.

    Attributes
    ----------
    groups:
        Of all classes, things and stuff.
    per_class:
        Of the classes that occur in either, by their ids.
    resamples, confidence:
        How the intervals were made.
    """

    groups: tuple[Difference, ...]
    per_class: tuple[Difference, ...]
    resamples: int
    confidence: float


def check_comparable(a: EvaluationDocument, b: EvaluationDocument) -> None:
    """Refuse evaluations that are not of the same images, classes and rule.

    Raises
    ------
    ComparisonError
        If they are not; the message says what differs.
    """
    if a.source.labels.name != b.source.labels.name or _classes(a.source.labels) != _classes(b.source.labels):
        differing = sorted(name for _, name, _ in _classes(a.source.labels) ^ _classes(b.source.labels))
        what = f"; classes such as {', '.join(differing[:3])}" if differing else ""
        raise ComparisonError(f"the label sets are {a.source.labels.name!r} and {b.source.labels.name!r}{what}")
    if other := set(a.names) ^ set(b.names):
        only_a, only_b = sorted(other & set(a.names)), sorted(other & set(b.names))
        parts = [f"{_some(names)} only in {which}" for names, which in ((only_a, "A"), (only_b, "B")) if names]
        raise ComparisonError(f"the images are not the same: {'; '.join(parts)}")
    rules = [one.metrics.panoptic_quality.rule if one.metrics.panoptic_quality else "none" for one in (a, b)]
    if rules[0] != rules[1]:
        raise ComparisonError(f"panoptic quality is by the rules {rules[0]} and {rules[1]}")
    if _differing_truths(a, b):
        raise ComparisonError(f"the truth of {_differing_truths(a, b)} has other segments in A than in B")


def compare(
    a: EvaluationDocument,
    b: EvaluationDocument,
    resamples: int = RESAMPLES,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Comparison:
    """Compare the panoptic qualities of two evaluations.

    Parameters
    ----------
    a, b:
        The evaluations, of the same images in whatever order.
    resamples:
        How many times images are drawn.
    seed:
        Of the drawing: the same one gives the same intervals.
    confidence:
        Of the intervals, in (0, 1).

    Raises
    ------
    ComparisonError
        See `check_comparable`; also if panoptic quality was not measured.
    ValueError
        If there is no resample, or the confidence is not in (0, 1).
    """
    check_comparable(a, b)
    if a.qualities is None or b.qualities is None:
        raise ComparisonError("panoptic quality was not measured, of which the bootstrap is")
    if resamples < 1 or not 0 < confidence < 1:
        raise ValueError(f"expected resamples of at least 1 and a confidence in (0, 1), got {resamples}, {confidence}")
    # Both in the order of A's images and of A's classes.
    tables = [_table(one, a.names, a.qualities.class_ids) for one in (a.qualities, b.qualities)]
    is_thing = np.isin(a.qualities.class_ids, sorted(a.source.labels.thing_ids))
    masks = [np.ones(len(is_thing), dtype=bool), is_thing, ~is_thing]
    totals = [_qualities(table.sum(axis=0)[None], masks)[0] for table in tables]
    drawn = np.concatenate([_drawn(tables, masks, weights) for weights in _draws(len(a.names), resamples, seed)])
    occurs = (tables[0][..., 1] > 0) | (tables[1][..., 1] > 0)
    images = np.array(
        [*(np.count_nonzero(occurs[:, mask].any(axis=1)) for mask in masks), *np.count_nonzero(occurs, axis=0)]
    )
    names = [*GROUPS, *(a.source.labels.name_of(class_id) for class_id in a.qualities.class_ids.tolist())]
    differences = [
        Difference(name, _or_none(totals[0][column]), _or_none(totals[1][column]), int(images[column]), *interval)
        for column, (name, interval) in enumerate(
            zip(names, _intervals(drawn, images, totals[0] + totals[1], confidence), strict=True)
        )
    ]
    order = [index for index in np.argsort(a.qualities.class_ids) + len(GROUPS) if images[index]]
    return Comparison(
        tuple(differences[: len(GROUPS)]), tuple(differences[index] for index in order), resamples, confidence
    )


def _draws(images: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """(R, N) how often each image is drawn, a stretch of the resamples at a time."""
    generator = np.random.default_rng(seed)
    stretch = max(1, CHUNK // max(1, images))
    for first in range(0, resamples, stretch):
        count = min(stretch, resamples - first)
        chosen = generator.integers(0, images, (count, images))
        chosen += images * np.arange(count)[:, None]
        yield np.bincount(chosen.ravel(), minlength=count * images).reshape(count, images).astype(np.float64)


def _table(qualities: ImageQualities, names: tuple[str, ...], class_ids: NDArray[np.int32]) -> NDArray[np.float64]:
    """(N, C, 2) the sum of IoU, and TP + FP / 2 + FN / 2, of each image and class, in the given orders."""
    places = {name: index for index, name in enumerate(qualities.names)}
    rows = np.array([places[name] for name in names], dtype=np.intp)
    order = np.argsort(qualities.class_ids)
    columns = order[np.searchsorted(qualities.class_ids, class_ids, sorter=order)]
    weights = qualities.tp + qualities.fp / 2 + qualities.fn / 2
    return np.stack((qualities.iou, weights), axis=-1)[rows][:, columns]


def _qualities(sums: NDArray[np.float64], masks: list[NDArray[np.bool_]]) -> NDArray[np.float64]:
    """(R, 3 + C) panoptic qualities of (R, C, 2) sums: of the groups, then of the classes; NaN where nothing occurs."""
    iou, weights = sums[..., 0], sums[..., 1]
    occurs = weights > 0
    per_class = iou / np.where(occurs, weights, 1)
    counts = np.stack([np.count_nonzero(occurs & mask, axis=1) for mask in masks], axis=1)
    means = np.stack([(per_class * mask).sum(axis=1) for mask in masks], axis=1) / np.maximum(counts, 1)
    return np.concatenate((np.where(counts > 0, means, np.nan), np.where(occurs, per_class, np.nan)), axis=1)


def _drawn(
    tables: list[NDArray[np.float64]], masks: list[NDArray[np.bool_]], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(R, 3 + C) the differences b - a in some resamples."""
    images = weights.shape[1]
    a, b = ((weights @ table.reshape(images, -1)).reshape(len(weights), -1, 2) for table in tables)
    return _qualities(b, masks) - _qualities(a, masks)


def _intervals(
    drawn: NDArray[np.float64], images: NDArray[np.intp], defined: NDArray[np.float64], confidence: float
) -> Iterator[tuple[float | None, float | None]]:
    """The percentiles of each column over those resamples in which something of the kind occurs in both."""
    tails = (50 * (1 - confidence), 50 * (1 + confidence))
    for column, count, known in zip(drawn.T, images.tolist(), defined.tolist(), strict=True):
        values = column[~np.isnan(column)]
        if count < MIN_IMAGES or np.isnan(known) or not len(values):
            yield None, None
        else:
            low, high = np.percentile(values, tails).tolist()
            yield low, high


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _classes(labels: LabelSet) -> set[tuple[int, str, bool]]:
    return {(label.id, label.name, label.is_thing) for label in labels.labels}


def _some(names: list[str]) -> str:
    """A few names of many."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _differing_truths(a: EvaluationDocument, b: EvaluationDocument) -> str:
    """An image whose truth has another number of segments of a class, TP + FN; empty if there is none."""
    if a.qualities is None or b.qualities is None:
        return ""
    places = {name: index for index, name in enumerate(b.qualities.names)}
    rows = np.array([places[name] for name in a.qualities.names], dtype=np.intp)
    of_b = np.argsort(b.qualities.class_ids)
    of_a = np.argsort(a.qualities.class_ids)
    first = (a.qualities.tp + a.qualities.fn)[:, of_a]
    second = (b.qualities.tp + b.qualities.fn)[rows][:, of_b]
    differing = np.flatnonzero((first != second).any(axis=1))
    return a.qualities.names[differing[0]] if len(differing) else ""
