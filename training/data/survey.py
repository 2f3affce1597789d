"""A look at every sample before the first step: its faults, and which classes it holds.

The faults are those of ``panoptic-ros data check``, found by the same code.  What is counted on the way, balanced
sampling, class weights and pasting need.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.configuration import ConfigurationError
from panoptic_ros.datasets import DatasetError
from panoptic_ros.datasets.check import SampleCheck, check_samples
from panoptic_ros.datasets.faults import Severity
from panoptic_ros.files import written_whole
from panoptic_ros.labels import LabelSet
from panoptic_training.data.sources import Mixture, Source

SHOWN = 10
"""How many faults a message names."""

CLASS_WEIGHT_OFFSET = 1.02
"""ENet's c in 1 / ln(c + p): no class weighs more than 1 / ln 1.02, about 50."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What the samples of a mixture hold, in the network's classes.

    Attributes
    ----------
    identity:
        Which data it is of.
    classes:
        For each sample, its class ids with the pixels of the largest segment of each.
    pixels:
        The number of pixels of each class of the label set, in its order.
    """

    identity: str
    classes: tuple[dict[int, int], ...]
    pixels: tuple[int, ...]

    def save(self, path: Path) -> None:
        """Write it as JSON, whole.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        largest = [list(sample.items()) for sample in self.classes]
        content = {"identity": self.identity, "largest": largest, "pixels": self.pixels}
        with written_whole(path) as file:
            file.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")

    @classmethod
    def load(cls, path: Path, identity: str) -> Survey | None:
        """What was saved; None if there is nothing, or it is of other data."""
        if not path.is_file():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["identity"] != identity or "classes" in content:  # the form before areas were kept
                return None
            classes = tuple({int(class_id): int(area) for class_id, area in sample} for sample in content["largest"])
            return cls(identity, classes, tuple(map(int, content["pixels"])))
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(f"{path}: is no survey of a data set; remove it: {error}") from error


def identity_of(mixture: Mixture, labels: LabelSet) -> str:
    """What a survey depends on, short of the files' content."""
    parts = (f"{source.dataset.path} {source.dataset.name} {_ends(source)}" for source in mixture.sources)
    return "; ".join((labels.name, *parts))


def _ends(source: Source) -> str:
    count = len(source.dataset)
    return f"{count} {source.dataset.name_of(0)} {source.dataset.name_of(count - 1)}"


def survey(mixture: Mixture, labels: LabelSet, workers: int, progress: Callable[[int], None]) -> Survey:
    """Read every sample.

    Parameters
    ----------
    workers:
        Processes that read.
    progress:
        Is told after each sample how many were read.

    Raises
    ------
    DatasetError
        If a sample cannot be read or has a class that there is not, or no sample has a class of the network's; the
        message names the first files.
    """
    index_of = {label.id: index for index, label in enumerate(labels.labels)}
    classes: list[dict[int, int]] = []
    pixels = [0] * len(labels)
    wrong: list[str] = []
    for source in mixture.sources:
        before = len(wrong)
        for check in check_samples(source.dataset, workers):
            wrong += _errors(check, source)
            there: dict[int, int] = {}
            for class_id, area, crowd in check.segments:
                mapped = source.class_id(class_id)
                if mapped in index_of and not crowd:
                    pixels[index_of[mapped]] += area
                    there[mapped] = max(int(area), there.get(mapped, 0))
            classes.append(dict(sorted(there.items())))
            progress(len(classes))
        if len(wrong) == before and not any(classes[-len(source.dataset) :]):
            raise DatasetError(source.dataset.path, f"no sample has a class of the network's label set {labels.name!r}")
    if wrong:
        more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        count = f"{len(wrong)} errors" if len(wrong) > 1 else "1 error"
        raise DatasetError(mixture.sources[0].dataset.path, f"{count} in the data: {'; '.join(wrong[:SHOWN])}{more}")
    return Survey(identity_of(mixture, labels), tuple(classes), tuple(pixels))


def _errors(check: SampleCheck, source: Source) -> list[str]:
    """What is wrong with a sample, one sentence each."""
    found = [f"{fault.file}: {fault.message}" for fault in check.faults if fault.severity is Severity.ERROR]
    if check.size is not None and not min(check.size):
        found.append(f"{check.name}: the image is empty ({check.size[0]}x{check.size[1]} pixels)")
    known = {label.id for label in source.dataset.labels.labels}
    strange = sorted({class_id for class_id, _, _ in check.segments} - known)
    if strange:
        found.append(f"{check.name}: class {strange[0]} is not one of {source.dataset.labels.name}")
    return found


def repeat_factors(classes: Sequence[Mapping[int, int]], threshold: float, least_area: int = 1) -> NDArray[np.float64]:
    """(N,) how often each sample is wanted, so that rare classes are seen more often.

    Repeat factor sampling (Gupta, Dollar and Girshick 2019, LVIS, section 4.3): a class that a share f of the samples
    has is wanted max(1, sqrt(threshold / f)) times, and a sample as often as its rarest class.

    Parameters
    ----------
    classes:
        As of `Survey`.
    threshold:
        Classes that fewer samples have, as a share, are repeated.
    least_area:
        From how many pixels of a segment on a sample has its class.
    """
    there = [[class_id for class_id, area in sample.items() if area >= least_area] for sample in classes]
    ids, counts = np.unique([class_id for sample in there for class_id in sample], return_counts=True)
    factors = np.maximum(1.0, np.sqrt(threshold * len(classes) / counts))
    factor_of = dict(zip(ids.tolist(), factors.tolist(), strict=True))
    return np.array([max((factor_of[class_id] for class_id in sample), default=1.0) for sample in there])


def holding(classes: Sequence[Mapping[int, int]], class_ids: Collection[int], least_area: int) -> list[int]:
    """The samples, ascending, that have a segment of one of some classes with so many pixels.

    Parameters
    ----------
    classes:
        As of `Survey`.
    class_ids:
        Of the network's label set.
    least_area:
        In pixels of the data set's own picture.
    """
    return [
        number
        for number, sample in enumerate(classes)
        if any(sample.get(class_id, 0) >= least_area for class_id in class_ids)
    ]


def class_weights(pixels: Sequence[int]) -> tuple[float, ...]:
    """Weights of the classes in a semantic loss by the share p of pixels that each has: 1 / ln(1.02 + p).

    Paszke et al. 2016, ENet, section 5.2.
    """
    shares = np.asarray(pixels, dtype=np.float64) / max(1, sum(pixels))
    return tuple((1.0 / np.log(CLASS_WEIGHT_OFFSET + shares)).tolist())
