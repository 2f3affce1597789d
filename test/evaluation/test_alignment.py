"""Which mapping is taken between predictions and truth, and what comes out of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluation_cases import LABELS

from panoptic_ros.datasets.dataset import PanopticDataset, Truth
from panoptic_ros.datasets.faults import DatasetError, Fault, Report
from panoptic_ros.evaluation.alignment import AlignedDataset, align, same_classes
from panoptic_ros.evaluation.overlaps import EvaluationError
from panoptic_ros.labels import LabelSet
from panoptic_ros.segmentation import PanopticSegmentation

COCO, CITYSCAPES, MAPILLARY = (LabelSet.load(name) for name in ("coco", "cityscapes", "mapillary_v1.2"))


def id_of(labels: LabelSet, name: str) -> int:
    return next(label.id for label in labels.labels if label.name == name)


class _Streets(PanopticDataset):
    """Two samples of Mapillary's classes: road, a bird and a bicyclist; the second one has too many cars."""

    name = "mapillary"
    path = Path("streets")
    labels = MAPILLARY

    def __len__(self) -> int:
        return 2

    def name_of(self, index: int) -> str:
        return f"street {index}"

    def image_path(self, index: int) -> Path:
        return Path(f"street {index}.jpg")

    def _read_truth(self, index: int, report: Report) -> Truth | None:
        names = ("Road", "Bird", "Bicyclist")
        ids = np.array([[1000 * id_of(MAPILLARY, name) for name in names]], np.int32)
        ids[0, 1:] += 1, 2
        truth = Truth(PanopticSegmentation.from_ids(ids, MAPILLARY.thing_ids), sequence="drive", frame=index)
        if index:
            report(Fault.error(self.image_path(index), "is damaged"))
            return None
        return truth

    def listing_faults(self) -> Iterator[Fault]:
        yield Fault.warning(self.path, "is small")


def test_the_same_classes_need_no_mapping() -> None:
    other_order = LabelSet("mine", tuple(replace(label, color=(9, 9, 9)) for label in reversed(CITYSCAPES.labels)))
    assert same_classes(other_order, CITYSCAPES)
    alignment = align(CITYSCAPES, other_order)
    assert (alignment.labels, alignment.predictions, alignment.truth, alignment.name) == (other_order, None, None, "")
    assert alignment.notes() == ()


def test_predictions_are_mapped_where_there_is_a_mapping() -> None:
    alignment = align(COCO, CITYSCAPES)
    assert (alignment.name, alignment.labels, alignment.truth) == ("coco_to_cityscapes", CITYSCAPES, None)
    ids = np.array([[3001, 149000]], np.int32)  # car, road
    mapped = alignment.prediction(PanopticSegmentation.from_ids(ids, COCO.thing_ids))
    assert mapped.ids.tolist() == [[26001, 7000]]
    (note,) = alignment.notes()
    assert "rider" in note
    assert " car" not in note


def test_the_truth_is_mapped_where_only_that_is_possible() -> None:
    alignment = align(CITYSCAPES, MAPILLARY)
    assert (alignment.name, alignment.labels) == ("mapillary_v1.2_to_cityscapes", CITYSCAPES)
    assert alignment.predictions is None
    (note,) = alignment.notes()
    assert "Bird" in note
    samples = AlignedDataset(_Streets(), alignment)
    truth = samples.truth(0)
    assert truth.segmentation.ids.tolist() == [[7000, 0, 25002]]  # road, void, rider
    assert (truth.sequence, truth.frame) == ("drive", 0)
    assert (samples.labels, samples.name, samples.name_of(1)) == (CITYSCAPES, "mapillary", "street 1")
    assert [fault.message for fault in samples.listing_faults()] == ["is small"]
    with pytest.raises(DatasetError, match=r"street 1\.jpg: is damaged"):
        samples.truth(1)


def test_the_first_samples() -> None:
    alignment = align(MAPILLARY, MAPILLARY)
    assert [len(AlignedDataset(_Streets(), alignment, limit)) for limit in (None, 1, 5)] == [2, 1, 2]
    np.testing.assert_array_equal(
        AlignedDataset(_Streets(), alignment, 1).truth(0).segmentation.ids, _Streets().truth(0).segmentation.ids
    )


def test_what_cannot_be_brought_together() -> None:
    with pytest.raises(EvaluationError, match="'cityscapes', the truth of 'test': 4 names in common, and no"):
        align(CITYSCAPES, LABELS)  # Cityscapes has no tram
    with pytest.raises(EvaluationError, match="no class in common"):
        align(CITYSCAPES, LabelSet("food", (replace(LABELS.labels[0], name="soup"),)))
    with pytest.raises(EvaluationError, match="is from 'coco' to 'cityscapes', but predictions are of 'mapillary"):
        align(MAPILLARY, CITYSCAPES, "coco_to_cityscapes")
    with pytest.raises(FileNotFoundError, match="label_mappings that come with"):
        align(COCO, CITYSCAPES, "nothing")
