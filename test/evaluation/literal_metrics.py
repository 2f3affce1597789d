"""Literal transcriptions of the metrics' definitions, with sets of pixels and exact fractions, segment by segment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction

import numpy as np

Pixels = frozenset[tuple[int, int, int]]


def regions(ids: np.ndarray, frame: int = 0) -> dict[int, Pixels]:
    """The pixels of each segment; those of a tube over several frames have the frame's number in front."""
    found: dict[int, set[tuple[int, int, int]]] = defaultdict(set)
    for y in range(ids.shape[0]):
        for x in range(ids.shape[1]):
            if ids[y, x] != 0:
                found[int(ids[y, x])].add((frame, y, x))
    return {id_: frozenset(pixels) for id_, pixels in found.items()}


def panoptic_counts(
    images: Iterable[tuple[dict[int, Pixels], dict[int, Pixels], frozenset[int]]], rule: str
) -> dict[int, list[Fraction]]:
    """By class: the sum of the matches' IoU, TP, FP and FN (Kirillov et al. 2018, sections 4.1 and 4.2).

    `images` are the regions of the prediction, those of the truth, and the truth's crowds.
    """
    counts: dict[int, list[Fraction]] = defaultdict(lambda: [Fraction(0)] * 4)

    def add(class_id: int, place: int, value: Fraction = Fraction(1)) -> None:
        counts[class_id] = [old + value * (index == place) for index, old in enumerate(counts[class_id])]

    for prediction, truth, crowd in images:
        labelled = frozenset().union(*truth.values())
        matched_truth, matched_prediction = set(), set()
        for truth_id, region in truth.items():
            for predicted_id, predicted in prediction.items():
                if truth_id in crowd or truth_id // 1000 != predicted_id // 1000:
                    continue
                counted = predicted if rule == "void_in_union" else predicted & labelled
                iou = Fraction(len(region & predicted), len(region | counted))
                if iou > Fraction(1, 2):
                    assert truth_id not in matched_truth
                    assert predicted_id not in matched_prediction
                    matched_truth.add(truth_id)
                    matched_prediction.add(predicted_id)
                    add(truth_id // 1000, 0, iou)
                    add(truth_id // 1000, 1)
        for predicted_id, predicted in prediction.items():
            crowds = [region for id_, region in truth.items() if id_ in crowd and id_ // 1000 == predicted_id // 1000]
            ignored = (predicted - labelled) | (predicted & frozenset().union(*crowds))
            if predicted_id not in matched_prediction and Fraction(len(ignored), len(predicted)) <= Fraction(1, 2):
                add(predicted_id // 1000, 2)
        for truth_id in truth:
            if truth_id not in matched_truth and truth_id not in crowd:
                add(truth_id // 1000, 3)
    return dict(counts)


def panoptic_quality(counts: list[Fraction]) -> tuple[float, float, float]:
    """PQ, SQ and RQ of a class that occurs."""
    iou, tp, fp, fn = counts
    weight = tp + fp / 2 + fn / 2
    return float(iou / weight), float(iou / tp) if tp else 0.0, float(tp / weight)


def coverings(images: Iterable[tuple[dict[int, Pixels], dict[int, Pixels], frozenset[int]]]) -> dict[int, Fraction]:
    """The covering of each class of the truth (Yang et al. 2019)."""
    covered: dict[int, Fraction] = defaultdict(Fraction)
    pixels: dict[int, int] = defaultdict(int)
    for prediction, truth, crowd in images:
        labelled = frozenset().union(*truth.values())
        for truth_id, region in truth.items():
            if truth_id in crowd:
                continue
            ious = [
                Fraction(len(region & predicted), len(region | (predicted & labelled)))
                for predicted_id, predicted in prediction.items()
                if predicted_id // 1000 == truth_id // 1000
            ]
            covered[truth_id // 1000] += len(region) * max(ious, default=Fraction(0))
            pixels[truth_id // 1000] += len(region)
    return {class_id: covered[class_id] / pixels[class_id] for class_id in covered}


def mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None


def tubes(frames: Iterable[np.ndarray]) -> dict[int, Pixels]:
    """The pixels of each id over several frames."""
    found: dict[int, Pixels] = defaultdict(frozenset)
    for number, ids in enumerate(frames):
        for id_, pixels in regions(ids, number).items():
            found[id_] |= pixels
    return dict(found)


def associations(
    prediction: dict[int, Pixels], truth: dict[int, Pixels], crowd: Pixels, things: set[int]
) -> list[Fraction]:
    """The association quality of each true tube (Weber et al. 2021, equation 4); what lies on a crowd does not
    count.
    """
    found = []
    for truth_id, tube in truth.items():
        true = tube - crowd
        if truth_id // 1000 not in things or not true:
            continue
        total = Fraction(0)
        for predicted_id, predicted in prediction.items():
            if predicted_id // 1000 in things:
                seen = predicted - crowd
                shared = len(true & seen)
                total += shared * Fraction(shared, len(true | seen))
        found.append(total / len(true))
    return found
