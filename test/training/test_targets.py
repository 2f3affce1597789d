"""Targets against a literal, pixel by pixel reading of the truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from panoptic_ros.datasets import Truth
from panoptic_ros.labels import LabelSet
from panoptic_ros.segmentation import PanopticSegmentation
from panoptic_training.targets import IGNORE, TargetError, collate, targets_of

LABELS = LabelSet.load("cityscapes")
ROAD, SKY, PERSON, CAR = 7, 23, 24, 26
INDEX = {label.id: index for index, label in enumerate(LABELS.labels)}
IDS = (0, ROAD * 1000, SKY * 1000, PERSON * 1000 + 1, PERSON * 1000 + 2, CAR * 1000 + 3, CAR * 1000 + 7)


def truth_of(ids: NDArray[np.int32], crowd: frozenset[int] = frozenset()) -> Truth:
    segmentation = PanopticSegmentation.from_ids(ids, LABELS.thing_ids)
    return Truth(segmentation, crowd & {segment.id for segment in segmentation.segments})


@given(st.data(), st.booleans(), st.integers(1, 4))
def test_targets_are_what_each_pixel_says(data: st.DataObject, has_instances: bool, minimum_area: int) -> None:
    height, width = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    cells = data.draw(st.lists(st.sampled_from(IDS), min_size=height * width, max_size=height * width))
    ids = np.array(cells, dtype=np.int32).reshape(height, width)
    crowd = frozenset(data.draw(st.sets(st.sampled_from(IDS[3:]))))
    found = targets_of(truth_of(ids, crowd), LABELS, "x", has_instances, minimum_area)

    asked, groups = [], []
    for id_ in sorted(set(cells) - {0}):
        rows, columns = np.nonzero(ids == id_)
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        if id_ // 1000 in (PERSON, CAR):
            known = has_instances and id_ not in crowd and len(rows) >= minimum_area
            (asked if known else groups).append((id_, box))
    assert found.boxes.tolist() == [list(box) for _, box in asked]
    assert found.classes.tolist() == [INDEX[id_ // 1000] for id_, _ in asked]
    assert found.crowds.tolist() == [list(box) for _, box in groups]
    for y in range(height):
        for x in range(width):
            id_ = int(ids[y, x])
            nobody_knows = id_ == 0 or (id_ in crowd and has_instances)
            assert found.semantic[y, x] == (IGNORE if nobody_knows else INDEX[id_ // 1000])
            rows_of = [row + 1 for row, (other, _) in enumerate(asked) if other == id_]
            not_told_apart = any(other == id_ for other, _ in groups)
            assert found.instances[y, x] == (-1 if not_told_apart else rows_of[0] if rows_of else 0)


def test_a_batch_has_the_types_of_the_contract() -> None:
    empty, full = np.zeros((4, 6), dtype=np.int32), np.full((4, 6), CAR * 1000 + 1, dtype=np.int32)
    batch = collate([targets_of(truth_of(empty), LABELS, "empty"), targets_of(truth_of(full), LABELS, "full")])
    assert (batch.semantic.dtype, batch.semantic.shape) == (torch.int64, (2, 4, 6))
    assert (batch.instances.dtype, batch.instances.shape) == (torch.int32, (2, 4, 6))
    assert [(boxes.dtype, tuple(boxes.shape)) for boxes in batch.boxes] == [
        (torch.float32, (0, 4)),
        (torch.float32, (1, 4)),
    ]
    assert [classes.tolist() for classes in batch.classes] == [[], [INDEX[CAR]]]
    assert [tuple(crowds.shape) for crowds in batch.crowds] == [(0, 4), (0, 4)]
    assert batch.names == ("empty", "full")
    assert len(batch) == 2
    moved = batch.to("meta")
    assert {moved.semantic.device.type, moved.boxes[1].device.type, moved.crowds[0].device.type} == {"meta"}


def test_a_class_of_another_label_set_is_named() -> None:
    ids = np.full((2, 2), 200_000, dtype=np.int32)
    with pytest.raises(TargetError, match=r"street/1: segment 200000 is of class 200, not one of cityscapes"):
        targets_of(truth_of(ids), LABELS, "street/1")


def test_an_empty_image_is_named() -> None:
    with pytest.raises(TargetError, match=r"street/1: the image is empty \(0x3 pixels\)"):
        targets_of(truth_of(np.zeros((3, 0), dtype=np.int32)), LABELS, "street/1")


def test_a_batch_of_two_sizes_is_refused() -> None:
    first, second = (targets_of(truth_of(np.zeros((4, w), dtype=np.int32)), LABELS, f"w{w}") for w in (4, 5))
    with pytest.raises(TargetError, match=r"w5: is of size \(4, 5\)"):
        collate([first, second])
    with pytest.raises(TargetError, match="at least one"):
        collate([])
