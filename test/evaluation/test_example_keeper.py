"""Examples that are kept while frames come are those that would be chosen of all frames at the end."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from panoptic_ros.datasets.dataset import Truth
from panoptic_ros.evaluation.example_keeper import ExampleKeeper
from panoptic_ros.evaluation.examples import choose_examples
from panoptic_ros.segmentation import PanopticSegmentation

NOTHING = PanopticSegmentation.from_ids(np.zeros((1, 1), np.int32), ())


@given(
    scores=st.lists(st.one_of(st.integers(0, 6).map(lambda number: number / 6), st.just(math.nan)), max_size=30),
    count=st.integers(0, 5),
)
def test_they_are_those_that_are_chosen_at_the_end(scores: list[float], count: int) -> None:
    keeper = ExampleKeeper(count)
    for index, score in enumerate(scores):
        keeper.add(str(index), score, NOTHING, Truth(NOTHING))
        assert len(keeper._kept) <= 2 * count
    expected = [(str(index), place) for index, place in choose_examples(np.array(scores, dtype=np.float64), count)]
    assert [(example.name, example.place) for example in keeper.examples()] == expected
    assert all(example.score == scores[int(example.name)] for example in keeper.examples())
