"""Predictions and truth in the same classes: as they are, or one of them through a label mapping."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from panoptic_ros.datasets.dataset import PanopticDataset, Truth
from panoptic_ros.datasets.faults import DatasetError, Fault, Report
from panoptic_ros.evaluation.overlaps import EvaluationError
from panoptic_ros.label_mapping import LabelMapping
from panoptic_ros.labels import LabelSet
from panoptic_ros.resources import share_directory
from panoptic_ros.segmentation import PanopticSegmentation


@dataclass(frozen=True, slots=True)
class Alignment:
    """In which classes is measured, and how predictions and truth get there.

    Attributes
    ----------
    labels:
        The classes that are measured: those of the truth, or, where the truth is mapped, those of the predictions.
    predictions, truth:
        What is applied to them; one of them is None, or both.
    name:
        Of the mapping; empty without.
    """

    labels: LabelSet
    predictions: LabelMapping | None = None
    truth: LabelMapping | None = None
    name: str = ""

    def prediction(self, segmentation: PanopticSegmentation) -> PanopticSegmentation:
        """A prediction in the classes that are measured."""
        return segmentation if self.predictions is None else self.predictions.segmentation(segmentation)

    def notes(self) -> tuple[str, ...]:
        """What a reader of the figures has to know of the mapping."""
        if self.predictions is not None:
            reached = set(self.predictions.table.tolist())
            never = [label.name for label in self.labels.labels if label.id not in reached]
            source = self.predictions.source.name
            return (f"No class of {source} becomes {', '.join(never)}: never predicted.",) if never else ()
        if self.truth is not None:
            void = [label.name for label in self.truth.source.labels if not self.truth.table[label.id]]
            names = ", ".join(void[:8]) + (f" and {len(void) - 8} more" if len(void) > 8 else "")
            return (f"Classes of the truth that are void here: {names}.",) if void else ()
        return ()


def align(predicted: LabelSet, true: LabelSet, name: str = "") -> Alignment:
    """Bring two label sets together.

    Parameters
    ----------
    predicted, true:
        The classes of the predictions and of the truth.
    name:
        Of a mapping, or its path; without, nothing is mapped where the classes are the same, and else by the mapping
        that comes with the package, of predictions or, if there is none, of the truth.

    Raises
    ------
    EvaluationError
        If the mapping is for other label sets, or there is none and the classes differ.
    FileNotFoundError, ConfigurationError
        If there is no mapping of that name, or it is broken.
    """
    if not name:
        if same_classes(predicted, true):
            return Alignment(true)
        for candidate in (f"{predicted.name}_to_{true.name}", f"{true.name}_to_{predicted.name}"):
            if (share_directory() / "config" / "label_mappings" / f"{candidate}.yaml").is_file():
                name = candidate
                break
        else:
            common = {label.name for label in predicted.labels} & {label.name for label in true.labels}
            overlap = f"{len(common)} names in common" if common else "no class in common"
            raise EvaluationError(
                f"predictions are of label set {predicted.name!r}, the truth of {true.name!r}: {overlap}, and no "
                f"{predicted.name}_to_{true.name} in config/label_mappings; the path of a mapping can be given"
            )
    mapping = LabelMapping.load(name)
    if same_classes(mapping.source, predicted) and same_classes(mapping.target, true):
        return Alignment(true, predictions=mapping, name=name)
    if same_classes(mapping.source, true) and same_classes(mapping.target, predicted):
        return Alignment(predicted, truth=mapping, name=name)
    raise EvaluationError(
        f"the mapping {name} is from {mapping.source.name!r} to {mapping.target.name!r}, "
        f"but predictions are of {predicted.name!r} and the truth of {true.name!r}"
    )


def same_classes(one: LabelSet, other: LabelSet) -> bool:
    """Whether two label sets have the same ids, names, things and stuff, in whatever order and colours."""
    first, second = ({(label.id, label.name, label.is_thing) for label in labels.labels} for labels in (one, other))
    return first == second


class AlignedDataset(PanopticDataset):
    """The samples of a data set that are evaluated, in the classes that are measured.

    Parameters
    ----------
    dataset:
        Where they are from.
    alignment:
        The classes.
    limit:
        The first so many samples; all if None.
    """

    def __init__(self, dataset: PanopticDataset, alignment: Alignment, limit: int | None = None) -> None:
        self.name = dataset.name
        self.path = dataset.path
        self.labels = alignment.labels
        self.has_instances = dataset.has_instances
        self._dataset = dataset
        self._mapping = alignment.truth
        self._length = len(dataset) if limit is None else min(limit, len(dataset))

    def __len__(self) -> int:
        """How many samples there are."""
        return self._length

    def name_of(self, index: int) -> str:
        """See `PanopticDataset.name_of`."""
        return self._dataset.name_of(index)

    def image_path(self, index: int) -> Path:
        """See `PanopticDataset.image_path`."""
        return self._dataset.image_path(index)

    def _read_truth(self, index: int, report: Report) -> Truth | None:
        truth = self._dataset.read_truth(index, report)
        if truth is None or self._mapping is None:
            return truth
        try:
            return self._mapping.truth(truth)
        except ValueError as error:
            raise DatasetError(self.image_path(index), f"its truth cannot be mapped: {error}") from error

    def listing_faults(self) -> Iterator[Fault]:
        """See `PanopticDataset.listing_faults`."""
        return self._dataset.listing_faults()
