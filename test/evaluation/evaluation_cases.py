"""Small id maps for the tests of metrics: drawn by hypothesis, and perturbed as a network would."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from panoptic_ros.datasets.dataset import PanopticDataset, Truth
from panoptic_ros.datasets.faults import Fault, Report
from panoptic_ros.evaluation.overlaps import Overlaps, overlaps
from panoptic_ros.labels import Label, LabelSet
from panoptic_ros.segmentation import PanopticSegmentation

# Not in the order of their ids, and with the largest there can be.
LABELS = LabelSet(
    "test",
    (
        Label(255, "tram", True, (1, 0, 0)),
        Label(7, "road", False, (2, 0, 0)),
        Label(26, "car", True, (3, 0, 0)),
        Label(23, "sky", False, (4, 0, 0)),
        Label(24, "person", True, (5, 0, 0)),
    ),
)
IDS = (0, 7000, 23000, 24001, 24002, 26003, 26004, 255005, 255999)


@dataclass(frozen=True)
class Case:
    """The id maps of one image, (H, W) int32, and which ids of the truth are crowds."""

    truth: np.ndarray
    prediction: np.ndarray
    crowd: frozenset[int] = frozenset()
    scores: tuple[tuple[int, float], ...] = ()

    def values(self, sequence: str = "", frame: int = 0) -> tuple[PanopticSegmentation, Truth]:
        return (
            segmentation(self.prediction, dict(self.scores)),
            Truth(segmentation(self.truth), self.crowd, sequence, frame),
        )

    def overlaps(self, name: str = "image", sequence: str = "", frame: int = 0) -> Overlaps:
        return overlaps(name, *self.values(sequence, frame), LABELS)


def segmentation(ids: np.ndarray, scores: dict[int, float] | None = None) -> PanopticSegmentation:
    return PanopticSegmentation.from_ids(ids.astype(np.int32), LABELS.thing_ids, scores)


@st.composite
def cases(draw: st.DrawFn, ids: Sequence[int] = IDS, crowds: bool = True, score_steps: int = 4) -> Case:
    """Images of 1 to 40 pixels in a few blocks, so that segments of one pixel, matches and misses are all common."""
    height, width = draw(st.integers(1, 5)), draw(st.integers(1, 8))

    def some_ids() -> np.ndarray:
        count = draw(st.integers(1, height * width))
        return np.resize(
            np.repeat(draw(st.lists(st.sampled_from(ids), min_size=count, max_size=count)), draw(st.integers(1, 3))),
            (height, width),
        )

    truth = some_ids()
    prediction = np.where(some_ids() % 3 == 0, truth, some_ids()) if draw(st.booleans()) else some_ids()
    present = sorted(set(truth[truth > 0].tolist()))
    crowd = draw(st.sets(st.sampled_from(present))) if crowds and present else set()
    scores = tuple(
        (int(id_), draw(st.integers(1, score_steps)) / score_steps) for id_ in np.unique(prediction[prediction > 0])
    )
    return Case(truth.astype(np.int32), prediction.astype(np.int32), frozenset(crowd), scores)


def renamed(ids: np.ndarray, offset: int, keep: Collection[int] = ()) -> np.ndarray:
    """Other instance numbers for the same segments of things: ``n`` becomes ``offset - n``."""
    instance = ids % 1000
    new = np.where(instance > 0, ids - instance + (offset - instance), ids)
    return np.where(np.isin(ids, list(keep)), ids, new).astype(np.int32)


def perturbed(ids: np.ndarray, labels: LabelSet, generator: np.random.Generator) -> np.ndarray:
    """A truth as a network might predict it: shifted, classes confused, instances joined, split and lost."""
    shift = generator.integers(-2, 3, size=2)
    moved = np.roll(ids, tuple(shift), axis=(0, 1))
    things = labels.thing_ids
    result = moved.copy()
    free = 900
    for id_ in np.unique(moved):
        where = moved == id_
        class_id = int(id_) // 1000
        chance = generator.random()
        if id_ == 0 or chance < 0.5:
            continue
        if class_id not in things:
            if chance > 0.9:
                result[where] = 0
            elif chance > 0.8:
                result[where] = int(generator.choice([label.id for label in labels.stuff])) * 1000
            continue
        if chance < 0.65:
            columns = np.flatnonzero(where.any(axis=0))
            right = where & (np.arange(where.shape[1]) > columns[int(len(columns) * generator.random())])
            result[right] = class_id * 1000 + free
            free += 1
        elif chance < 0.8:
            result[where] = int(generator.choice(sorted(things))) * 1000 + free
            free += 1
        elif chance < 0.9:
            result[where] = 0
        else:
            others = [other for other in np.unique(moved) if other // 1000 == class_id and other != id_]
            if others:
                result[where] = others[0]
    blobs = generator.integers(0, [ids.shape[0] - 8, ids.shape[1] - 12], size=(4, 2))
    for y, x in blobs:
        result[y : y + 8, x : x + 12] = int(generator.choice(sorted(things))) * 1000 + free
        free += 1
    return result.astype(np.int32)


class DrawnDataset(PanopticDataset):
    """Images that are drawn when they are asked for, as frames of two drives."""

    def __init__(self, count: int, height: int = 48, width: int = 64) -> None:
        self.name, self.path, self.labels = "drawn", Path("/drawn"), LABELS
        self.count, self.height, self.width = count, height, width

    def __len__(self) -> int:
        return self.count

    def name_of(self, index: int) -> str:
        return f"drawn/{index:05d}"

    def image_path(self, index: int) -> Path:
        return self.path / f"{index:05d}.png"

    def image(self, index: int) -> np.ndarray:
        return np.full((self.height, self.width, 3), index % 256, dtype=np.uint8)

    def _read_truth(self, index: int, report: Report) -> Truth:
        generator = np.random.default_rng(index)
        blocks = generator.choice(IDS, (self.height // 8, self.width // 8)).astype(np.int32)
        ids = np.kron(blocks, np.ones((8, 8), dtype=np.int32))
        crowd = frozenset({24002} & set(ids.flat))
        return Truth(segmentation(ids), crowd, f"drive {index % 2}", index // 2)

    def listing_faults(self) -> Iterator[Fault]:
        return iter(())


@dataclass(frozen=True)
class Predictor:
    """Perturbs the truth of a drawn data set; what a worker is sent."""

    dataset: DrawnDataset

    def __call__(self, name: str) -> PanopticSegmentation:
        index = int(name.partition("/")[2])
        generator = np.random.default_rng(1_000_000 + index)
        seen = perturbed(self.dataset.truth(index).segmentation.ids, LABELS, generator)
        scores = {int(id_): float(generator.random()) for id_ in np.unique(seen) if id_}
        confidence = generator.integers(0, 256, seen.shape).astype(np.uint8)
        return replace(segmentation(seen, scores), confidence=confidence)


@dataclass(frozen=True)
class Failing(Predictor):
    """Goes wrong at one image: ``raise`` gives a prediction of another size, ``die`` ends the process."""

    at: str
    how: str

    def __call__(self, name: str) -> PanopticSegmentation:
        if name != self.at:
            return super().__call__(name)
        if self.how == "die":
            os._exit(1)
        return segmentation(np.full((2, 2), 7000))
