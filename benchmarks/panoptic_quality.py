"""Panoptic quality of one image on one core: 1024x2048 pixels, 60 segments in the truth and 60 in the prediction.

The peer is the usual way, one `np.unique` over 64-bit keys of both ids (panopticapi takes two), then a loop over the
pairs.  The *grainy* prediction has a tenth of its pixels flipped, which is the worst case for counting by runs.
"""

from __future__ import annotations

import cv2
import numpy as np
from timing import measure, report

from panoptic_ros.datasets.dataset import Truth
from panoptic_ros.evaluation.overlaps import overlaps
from panoptic_ros.evaluation.panoptic_quality import PanopticQuality
from panoptic_ros.labels import LabelSet
from panoptic_ros.segmentation import PanopticSegmentation

HEIGHT, WIDTH, SEGMENTS = 1024, 2048, 60
LABELS = LabelSet.load("cityscapes")
KEY = 1 << 24


def scene(seed: int, like: np.ndarray | None = None) -> np.ndarray:
    """(HEIGHT, WIDTH) ids of regions with wavy borders; those of `like` shifted by a few pixels if it is given."""
    generator = np.random.default_rng(seed)
    wave = [
        cv2.GaussianBlur(generator.standard_normal((HEIGHT, WIDTH)).astype(np.float32), (0, 0), 8) * 200
        for _ in range(2)
    ]
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    if like is not None:
        return cv2.remap(
            like.astype(np.float32),
            x + wave[0] / 8,
            y + wave[1] / 8,
            cv2.INTER_NEAREST,
            borderMode=cv2.BORDER_REPLICATE,
        ).astype(np.int32)
    ids = np.zeros((HEIGHT, WIDTH), dtype=np.int32)
    nearest = np.full((HEIGHT, WIDTH), np.inf, dtype=np.float32)
    stuff, things = [label.id for label in LABELS.stuff], [label.id for label in LABELS.things]
    for index in range(SEGMENTS + 1):  # the first is void
        distance = (x + wave[0] - generator.uniform(0, WIDTH)) ** 2 + (y + wave[1] - generator.uniform(0, HEIGHT)) ** 2
        closer = distance < nearest
        nearest[closer] = distance[closer]
        place = index - 1 - len(stuff)
        ids[closer] = (
            0 if not index else stuff[index - 1] * 1000 if place < 0 else things[place % len(things)] * 1000 + place + 1
        )
    return ids


def grainy(ids: np.ndarray) -> np.ndarray:
    """A tenth of the pixels take another's id."""
    generator = np.random.default_rng(0)
    flipped = generator.random(ids.shape) < 0.1
    return np.where(flipped, generator.permutation(ids.ravel()).reshape(ids.shape), ids).astype(np.int32)


def ours(prediction: PanopticSegmentation, truth: Truth) -> dict[int, tuple[float, int, int, int]]:
    metric = PanopticQuality(LABELS)
    metric.update(overlaps("image", prediction, truth, LABELS))
    return {part.class_id: (part.sq * part.tp, part.tp, part.fp, part.fn) for part in metric.result().per_class}


def peer(prediction: np.ndarray, truth: np.ndarray) -> dict[int, tuple[float, int, int, int]]:
    keys, counts = np.unique(truth.astype(np.uint64) * KEY + prediction.astype(np.uint64), return_counts=True)
    pairs = {(int(key) // KEY, int(key) % KEY): int(count) for key, count in zip(keys, counts, strict=True)}
    areas: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for pair, shared in pairs.items():
        for side, id_ in enumerate(pair):
            areas[side][id_] = areas[side].get(id_, 0) + shared
    found: dict[int, list[float]] = {}
    matched: tuple[set[int], set[int]] = (set(), set())
    for (true, predicted), shared in pairs.items():
        if not true or not predicted or true // 1000 != predicted // 1000:
            continue
        iou = shared / (areas[0][true] + areas[1][predicted] - shared - pairs.get((0, predicted), 0))
        if iou > 0.5:
            matched[0].add(true)
            matched[1].add(predicted)
            of_class = found.setdefault(true // 1000, [0.0, 0, 0, 0])
            of_class[0] += iou
            of_class[1] += 1
    for side, place in ((1, 2), (0, 3)):
        for id_ in areas[side].keys() - matched[side] - {0}:
            if side == 0 or pairs.get((0, id_), 0) / areas[1][id_] <= 0.5:
                found.setdefault(id_ // 1000, [0.0, 0, 0, 0])[place] += 1
    return {class_id: (iou, int(tp), int(fp), int(fn)) for class_id, (iou, tp, fp, fn) in found.items()}


def main() -> dict[str, object]:
    truth_ids = scene(0)
    assert len(np.unique(truth_ids)) == SEGMENTS + 1
    figures = {}
    for name, prediction_ids in (("smooth", scene(1, truth_ids)), ("grainy", grainy(scene(1, truth_ids)))):
        prediction = PanopticSegmentation.from_ids(prediction_ids, LABELS.thing_ids)
        truth = Truth(PanopticSegmentation.from_ids(truth_ids, LABELS.thing_ids))
        a, b = ours(prediction, truth), peer(prediction_ids, truth_ids)
        assert a.keys() == b.keys()
        assert all(np.allclose(a[class_id], b[class_id]) for class_id in a)
        figures[name] = report(
            f"panoptic quality, {WIDTH}x{HEIGHT}, {SEGMENTS} x {len(prediction.segments)} segments, {name}",
            measure(
                {
                    "ours": lambda prediction=prediction, truth=truth: ours(prediction, truth),
                    "np.unique": lambda ids=prediction_ids: peer(ids, truth_ids),
                },
                repeats=15,
                warmup=2,
            ),
        )
    return figures


if __name__ == "__main__":
    main()
