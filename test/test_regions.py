"""The regions of a label map, against counting pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from panoptic_ros.regions import Regions

MAPS = st.sampled_from([np.uint8, np.uint16, np.int32, np.int64]).flatmap(
    lambda kind: hnp.arrays(
        kind,
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=8),
        elements=st.sampled_from([0, 1, 7, 200, np.iinfo(kind).max]),
    )
)


@given(MAPS)
def test_values_areas_and_boxes(labels: np.ndarray) -> None:
    regions = Regions.of(labels)
    assert regions.shape == labels.shape
    assert regions.values.dtype == labels.dtype
    assert regions.values.tolist() == sorted(set(labels.ravel().tolist()))
    for value, area, box in zip(regions.values, regions.areas, regions.boxes.tolist(), strict=True):
        rows, columns = np.nonzero(labels == value)
        assert area == len(rows)
        assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@given(MAPS)
def test_painting_replaces_values(labels: np.ndarray) -> None:
    regions = Regions.of(labels)
    np.testing.assert_array_equal(regions.paint(regions.values), labels)
    painted = regions.paint(np.arange(len(regions.values), dtype=np.int16))
    assert (painted.dtype, painted.shape) == (np.int16, labels.shape)
    for index, value in enumerate(regions.values):
        np.testing.assert_array_equal(painted == index, labels == value)


@pytest.mark.parametrize("turned", [np.transpose, np.flipud, np.asfortranarray])
def test_memory_in_another_order(turned: object) -> None:
    labels = turned(np.random.default_rng(0).integers(0, 3, (5, 9)))  # type: ignore[operator]
    regions = Regions.of(labels)
    np.testing.assert_array_equal(regions.paint(regions.values), labels)
