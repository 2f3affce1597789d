"""The panoptic value and its description from an id map."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from panoptic_ros.segmentation import PanopticSegmentation


@given(
    hnp.arrays(
        np.int32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
        elements=st.sampled_from([0, 7000, 26001, 26002, 24003]),
    )
)
def test_segments_describe_the_ids(ids: np.ndarray) -> None:
    value = PanopticSegmentation.from_ids(ids, {24, 26})
    assert {segment.id for segment in value.segments} == set(np.unique(ids).tolist()) - {0}
    assert sum(segment.area for segment in value.segments) == np.count_nonzero(ids)
    for segment in value.segments:
        rows, columns = np.nonzero(ids == segment.id)
        assert segment.area == len(rows)
        assert segment.bbox == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert (segment.class_id, segment.instance) == divmod(segment.id, 1000)
        assert segment.is_thing == (segment.class_id in {24, 26})


def test_class_and_instance_maps() -> None:
    value = PanopticSegmentation.from_ids(np.array([[0, 7000, 26012]], dtype=np.int32), {26}, {26012: 0.5})
    assert value.classes().tolist() == [[0, 7, 26]]
    assert value.instances().tolist() == [[0, 0, 12]]
    assert (value.height, value.width) == (1, 3)
    assert [thing.score for thing in value.things] == [0.5]


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (np.zeros((2, 2), dtype=np.int64), "int64"),
        (np.zeros(4, dtype=np.int32), r"\(4,\)"),
        (np.array([[-1]], dtype=np.int32), "negative"),
    ],
)
def test_wrong_ids_are_refused(ids: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        PanopticSegmentation.from_ids(ids, ())
