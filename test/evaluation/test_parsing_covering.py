"""Parsing Covering against a literal transcription and figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_cases import LABELS, Case, cases, renamed
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_metrics import coverings, mean, regions

from panoptic_ros.evaluation.parsing_covering import ParsingCovering, ParsingCoveringResult


def evaluated(images: list[Case]) -> ParsingCoveringResult:
    metric = ParsingCovering(LABELS)
    for index, case in enumerate(images):
        metric.update(case.overlaps(str(index)))
    return metric.result()


@settings(deadline=None)
@given(images=st.lists(cases(), max_size=4))
def test_it_is_what_a_literal_transcription_covers(images: list[Case]) -> None:
    result = evaluated(images)
    expected = coverings((regions(case.prediction), regions(case.truth), case.crowd) for case in images)
    assert {part.class_id: part.covering for part in result.per_class} == pytest.approx(
        {class_id: float(covering) for class_id, covering in expected.items()}, abs=1e-12
    )
    for value, classes in ((result.all, expected), (result.things, {24, 26, 255}), (result.stuff, {7, 23})):
        chosen = mean(float(expected[class_id]) for class_id in sorted(set(expected) & set(classes)))
        assert value == (None if chosen is None else pytest.approx(chosen, abs=1e-12))


@settings(deadline=None)
@given(images=st.lists(cases(), min_size=2, max_size=4))
def test_names_of_instances_order_and_splitting_change_nothing(images: list[Case]) -> None:
    parts = [ParsingCovering(LABELS), ParsingCovering(LABELS)]
    for index, case in reversed(list(enumerate(images))):
        crowd = frozenset(renamed(np.array(sorted(case.crowd)), 1000).tolist())
        other = Case(renamed(case.truth, 1000), renamed(case.prediction, 1000), crowd)
        parts[index % 2].update(other.overlaps(str(index)))
    parts[0].merge(parts[1])
    assert parts[0].result() == evaluated(images)


def test_a_class_is_weighed_by_area_over_the_whole_data_set() -> None:
    """Two images: an area of 6 that is half covered, one of 2 that is covered; not the mean of 1/2 and 1."""
    half = Case(np.full((1, 6), 7000), np.array([[7000] * 3 + [23000] * 3]))
    whole = Case(np.full((1, 2), 7000), np.full((1, 2), 7000))
    assert evaluated([half, whole]).all == (6 * 0.5 + 2 * 1) / 8


def test_one_prediction_covers_several_regions() -> None:
    """There is no matching, unlike in panoptic quality: each of two cars is a half of what is predicted."""
    joined = Case(np.array([[26001, 26001, 26002, 26002]]), np.full((1, 4), 26005))
    assert evaluated([joined]).things == 0.5
