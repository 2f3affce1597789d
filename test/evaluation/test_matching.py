"""Matching by stamp against a literal search of all pairs, however the frames of the two topics arrive."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptic_ros.evaluation.matching import TIME_JUMP, Side, StampMatcher, frame_name, match_stamps

STAMPS = st.sets(st.integers(0, 60), max_size=14)
CAMERAS = ("front", "rear")


def literal_pairs(predictions: set[int], truths: set[int], tolerance: int) -> set[tuple[int, int]]:
    """The nearest pair, without its two the nearest of the rest, and so on."""
    found = set()
    predictions, truths = set(predictions), set(truths)
    while True:
        near = [(abs(p - t), t, p) for p in predictions for t in truths if abs(p - t) <= tolerance]
        if not near:
            return found
        _, truth, prediction = min(near)
        found.add((prediction, truth))
        predictions.remove(prediction)
        truths.remove(truth)


@given(predictions=STAMPS, truths=STAMPS, tolerance=st.integers(0, 12), data=st.data())
def test_any_interleaving_gives_the_pairs_of_a_search_of_all(
    predictions: set[int], truths: set[int], tolerance: int, data: st.DataObject
) -> None:
    """Each topic in its own order, the two mixed at will; also what is left over, and that nothing is lost."""
    matcher: StampMatcher[str, str] = StampMatcher(tolerance)
    waiting = {Side.PREDICTION: sorted(predictions), Side.TRUTH: sorted(truths)}
    pairs = []
    while any(waiting.values()):
        side = data.draw(st.sampled_from([side for side, stamps in waiting.items() if stamps]))
        stamp = waiting[side].pop(0)
        add = matcher.add_prediction if side is Side.PREDICTION else matcher.add_truth
        pairs += add("front", stamp, f"{side.value} {stamp}")
    pairs += matcher.flush()
    expected = literal_pairs(predictions, truths, tolerance)
    assert {(pair.prediction_stamp, pair.truth_stamp) for pair in pairs} == expected
    assert len(pairs) == len(expected)
    assert all(pair.prediction == f"prediction {pair.prediction_stamp}" for pair in pairs)
    assert all(pair.truth == f"truth {pair.truth_stamp}" for pair in pairs)
    if predictions or truths:
        left = matcher.unmatched["front"]
        assert left.predictions == sorted(predictions - {prediction for prediction, _ in expected})
        assert left.truths == sorted(truths - {truth for _, truth in expected})
        assert matcher.waiting("front") == left.repeated == 0


@given(
    predictions=st.lists(st.tuples(st.sampled_from(CAMERAS), st.integers(0, 40)), max_size=20),
    truths=st.lists(st.tuples(st.sampled_from(CAMERAS), st.integers(0, 40)), max_size=20),
    tolerance=st.integers(0, 8),
)
def test_known_frames_are_matched_in_any_order_camera_by_camera(
    predictions: list[tuple[str, int]], truths: list[tuple[str, int]], tolerance: int
) -> None:
    pairs, unmatched = match_stamps(predictions, truths, tolerance)
    for camera in CAMERAS:
        mine = [stamp for name, stamp in predictions if name == camera]
        true = [stamp for name, stamp in truths if name == camera]
        expected = literal_pairs(set(mine), set(true), tolerance)
        assert {(pair.prediction_stamp, pair.truth_stamp) for pair in pairs if pair.camera == camera} == expected
        if mine or true:
            assert unmatched[camera].repeated == len(mine) + len(true) - len(set(mine)) - len(set(true))
    assert [(pair.camera, pair.truth_stamp) for pair in pairs] == sorted((one.camera, one.truth_stamp) for one in pairs)


def test_equal_stamps_are_a_pair_at_once() -> None:
    matcher: StampMatcher[int, int] = StampMatcher(tolerance=50)
    assert matcher.add_truth("", 100, 1) == []
    (pair,) = matcher.add_prediction("", 100, 2)
    assert (pair.prediction, pair.truth, pair.name) == (2, 1, "100")


def test_near_stamps_wait_until_no_nearer_can_come() -> None:
    matcher: StampMatcher[str, str] = StampMatcher(tolerance=50)
    matcher.add_truth("", 100, "truth")
    assert matcher.add_prediction("", 90, "near") == []
    assert matcher.add_prediction("", 105, "nearer") == []
    (pair,) = matcher.add_truth("", 111, "next")
    assert (pair.prediction, pair.truth) == ("nearer", "truth")
    assert [(pair.prediction, pair.truth) for pair in matcher.flush()] == [("near", "next")]


def test_a_frame_without_a_partner_is_let_go_when_none_can_come() -> None:
    matcher: StampMatcher[int, int] = StampMatcher(tolerance=5)
    matcher.add_truth("", 100, 1)
    matcher.add_prediction("", 104, 2)
    matcher.add_truth("", 200, 3)
    assert matcher.unmatched[""].truths == []
    matcher.add_prediction("", 206, 4)
    assert matcher.unmatched[""].truths == [200]


def test_what_waits_is_bounded() -> None:
    matcher: StampMatcher[int, int] = StampMatcher(most_waiting=3)
    for stamp in range(10):
        matcher.add_truth("", stamp, stamp)
        assert matcher.waiting("") <= 3
    assert matcher.unmatched[""].truths == list(range(7))
    assert [pair.truth for pair in matcher.add_prediction("", 8, 0)] == [8]


def test_a_bag_that_is_played_again_counts_once() -> None:
    matcher: StampMatcher[int, int] = StampMatcher()
    for _ in range(2):
        for stamp in (10, 20, 30):
            matcher.add_truth("", stamp, 0)
            matcher.add_prediction("", stamp, 0)
    assert matcher.unmatched[""].repeated == 6
    assert matcher.unmatched[""].truths == matcher.unmatched[""].predictions == []


def test_after_a_jump_back_of_time_frames_find_each_other_again() -> None:
    """Without a new start, each earlier frame would be given up as it comes."""
    matcher: StampMatcher[int, int] = StampMatcher()
    for stamp in (5 * TIME_JUMP, 6 * TIME_JUMP):
        matcher.add_truth("", stamp, 0)
        assert matcher.add_prediction("", stamp, 0)
    for stamp in (1, 2):
        assert matcher.add_truth("", stamp, 0) == []
        assert len(matcher.add_prediction("", stamp, 0)) == 1
    assert matcher.unmatched[""].truths == []


@pytest.mark.parametrize(("arguments", "words"), [({"tolerance": -1}, "-1 ns"), ({"most_waiting": 0}, "got 0")])
def test_what_cannot_be_is_refused(arguments: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        StampMatcher(**arguments)


def test_names_of_frames() -> None:
    assert (frame_name("front", 12), frame_name("", 12)) == ("front/12", "12")
