"""What is trained on: data sets, each mapped to the network's classes, and several of them as one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np

from panoptic_ros.datasets import DatasetError, PanopticDataset, Sample, Truth, open_dataset
from panoptic_ros.label_mapping import LabelMapping
from panoptic_ros.labels import LabelSet


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """One data set of a training.

    Attributes
    ----------
    path:
        Its folder or file; a relative one lies in the folder of data sets that is given with the configuration.
    kind, split, image_folder, annotations, labels:
        See `panoptic_ros.datasets.open_dataset`.
    mapping:
        How its classes become the network's: a name in ``config/label_mappings`` or a path.  Empty: they are the
        same, or the mapping is found by the names of the two label sets.
    weight:
        How often each of its samples is drawn in an epoch; positive.

    Raises
    ------
    ValueError
        If the weight is not positive.
    """

    path: str
    kind: str = "auto"
    split: str = ""
    image_folder: str = ""
    annotations: str = ""
    labels: str = ""
    mapping: str = ""
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.weight > 0.0:
            raise ValueError(f"weight must be positive, got {self.weight}")


@dataclass(frozen=True, slots=True)
class Source:
    """A data set whose samples are in the network's classes.

    Attributes
    ----------
    dataset:
        As it was opened.
    mapping:
        To the network's classes; None where they are its own.
    weight:
        See `SourceOptions`.
    """

    dataset: PanopticDataset
    mapping: LabelMapping | None
    weight: float

    @classmethod
    def open(cls, options: SourceOptions, root: Path, labels: LabelSet) -> Source:
        """Open a data set and find out how its classes become the network's.

        Raises
        ------
        DatasetError
            If it cannot be opened, is empty, or is of other classes and nothing maps them.
        FileNotFoundError, ConfigurationError
            If its label set or mapping is not there or broken.
        """
        path = root / Path(options.path).expanduser()
        dataset = open_dataset(
            path, options.kind, options.split, options.image_folder, options.annotations, options.labels
        )
        if not len(dataset):
            raise DatasetError(path, "has no samples")
        if options.mapping:
            mapping: LabelMapping | None = LabelMapping.load(options.mapping)
        else:
            try:
                mapping = LabelMapping.between(dataset.labels, labels)
            except FileNotFoundError as error:
                raise DatasetError(
                    path,
                    f"is labelled with {dataset.labels.name!r}, the network's label set is {labels.name!r}, and no "
                    f"mapping leads from one to the other: {error}",
                ) from error
        if mapping is not None and (mapping.source, mapping.target) != (dataset.labels, labels):
            raise DatasetError(
                path,
                f"the mapping {options.mapping} leads from {mapping.source.name!r} to {mapping.target.name!r}, but is "
                f"wanted from {dataset.labels.name!r} to {labels.name!r}",
            )
        return cls(dataset, mapping, options.weight)

    def truth(self, truth: Truth) -> Truth:
        """A truth of the data set in the network's classes."""
        return truth if self.mapping is None else self.mapping.truth(truth)

    def class_id(self, class_id: int) -> int:
        """What a class of the data set is to the network; 0 for nothing."""
        return class_id if self.mapping is None else int(self.mapping.table[class_id])


class Mixture:
    """Several data sets as one.

    Parameters
    ----------
    sources:
        At least one.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = tuple(sources)
        self._ends = list(accumulate(len(source.dataset) for source in self.sources))

    def __len__(self) -> int:
        return self._ends[-1]

    def place(self, index: int) -> tuple[Source, int]:
        """Which data set a sample is of, and its number there."""
        number = bisect_right(self._ends, index)
        return self.sources[number], index - (self._ends[number - 1] if number else 0)

    def name_of(self, index: int) -> str:
        """The name of a sample; with several data sets, the number of its own goes before it."""
        source, inner = self.place(index)
        name = source.dataset.name_of(inner)
        return name if len(self.sources) == 1 else f"{self.sources.index(source)}:{name}"

    def has_instances(self, index: int) -> bool:
        """Whether things are told apart in a sample's data set."""
        return self.place(index)[0].dataset.has_instances

    def another(self, index: int, rng: np.random.Generator) -> int:
        """A sample at random, of the data sets that tell things apart if this one's does, of the others if not.

        One picture of both could not say which of its things are told apart.
        """
        told_apart = self.has_instances(index)
        alike = [
            range(end - len(source.dataset), end)
            for end, source in zip(self._ends, self.sources, strict=True)
            if source.dataset.has_instances == told_apart
        ]
        ends = list(accumulate(map(len, alike)))
        number = int(rng.integers(ends[-1]))
        place = bisect_right(ends, number)
        return alike[place][number - ends[place]]

    def __getitem__(self, index: int) -> Sample:
        """Read a sample, in the network's classes.

        Raises
        ------
        DatasetError
            If its files are missing, damaged or contradict each other.
        """
        source, inner = self.place(index)
        sample = source.dataset[inner]
        try:
            return Sample(self.name_of(index), sample.image, source.truth(sample.truth))
        except ValueError as error:
            raise DatasetError(source.dataset.image_path(inner), str(error)) from error
