"""Video quality against published values and literal transcriptions over tubes of pixels."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from evaluation_cases import LABELS, Case, cases
from hypothesis import given, settings
from hypothesis import strategies as st
from literal_metrics import associations, mean, panoptic_counts, panoptic_quality, regions, tubes

from panoptic_ros.evaluation.overlaps import EvaluationError
from panoptic_ros.evaluation.panoptic_quality import PanopticQuality
from panoptic_ros.evaluation.video import VideoQuality, VideoResult

SYMBOLS = {"s": 23000, "v": 7000, "c": 24999, "1": 24001, "2": 24002, "3": 24003, "4": 24004, "5": 24005}
CROWD = 24999
WINDOWS = (1, 2, 3)


def drawn(rows: str) -> np.ndarray:
    """Sky, vegetation (as the other stuff), crowd and tracked ids of one class, row by row."""
    return np.array([[SYMBOLS[symbol] for symbol in row] for row in rows.split()], dtype=np.int32)


def evaluated(frames: list[Case], sequence: str = "drive", windows: tuple[int, ...] = WINDOWS) -> VideoResult:
    metric = VideoQuality(LABELS, windows)
    for number, case in enumerate(frames):
        metric.update(case.overlaps(f"{sequence} {number}", sequence, number))
    return metric.result()


@pytest.mark.parametrize(
    ("truth", "prediction", "expected"),
    [
        ("11111", "11111", (1.0, 1.0, 1.0)),
        ("11111", "11222", (0.72111026, 0.52, 1.0)),
        ("11111", "12222", (0.82462113, 0.68, 1.0)),
        ("11111", "12345", (0.447213596, 0.2, 1.0)),
        ("11111", "12122", (0.72111026, 0.52, 1.0)),
        ("11111", "s1111", (0.50596443, 0.64, 0.4)),
        ("c11111", "111111", (1.0, 1.0, 1.0)),
        ("c11111", "222211", (0.72111026, 0.52, 1.0)),
        ("c11111", "22s111", (0.40824829, 0.4, 5.0 / 12.0)),
        ("s1111", "11111", (0.56568542, 0.8, 0.4)),
        ("s1111", "22211", (0.42426407, 0.45, 0.4)),
        ("s1111", "22s11", (0.3, 0.3, 0.3)),
    ],
)
def test_published_values_of_stq(truth: str, prediction: str, expected: tuple[float, float, float]) -> None:
    """The basic examples of deeplab2's segmentation_and_tracking_quality_test.py: STQ, association, segmentation."""
    case = Case(drawn(truth), drawn(prediction), frozenset({CROWD} if "c" in truth else ()))
    quality = evaluated([case]).tracking
    assert (quality.stq, quality.association, quality.segmentation) == pytest.approx(expected, abs=1e-7)


def test_published_values_of_stq_over_three_frames() -> None:
    """Its complex example."""
    frames = [
        Case(drawn(truth), drawn(prediction))
        for truth, prediction in (
            (
                "ssssssss ssssssss sss2svvv s2222vvv 222222vv 2222222v 2222222v 222222vv",
                "ssssssss ssssssss sssssvss sss22vvv s22221vv 2222211v 2222111v 2222111v",
            ),
            (
                "ssssssss ssssssss s2ssvvss 222vvvvs 2222vvvv 22222vvv 22222vvv 2222vvvv",
                "ssssssss ssssssss ssssvvss s222vvvv 2222vvvv 22222vvv 222211vv 22221vvv",
            ),
            (
                "ssssssss ssssssss ssssssss 2svvvsss 22vvvvss 222vvvvs 222vvvvv 222vvvvv",
                "ssssssss ssssssss ssssvsss ssvvvvss 222vvvss 222vvvvv 2222vvvv 2222vvvv",
            ),
        )
    ]
    result = evaluated(frames)
    quality = result.tracking
    assert (quality.stq, quality.association, quality.segmentation) == pytest.approx(
        (0.66841773352, 0.55366581415, 0.8069529580309542), abs=1e-9
    )
    assert [(part.sequence, part.frames, part.quality) for part in result.sequences] == [("drive", 3, quality)]


def same_size(frames: list[Case]) -> list[Case]:
    """The frames, all as large as the first."""
    shape = frames[0].truth.shape
    resized = []
    for case in frames:
        truth = np.resize(case.truth, shape)
        resized.append(Case(truth, np.resize(case.prediction, shape), case.crowd & set(truth.flat)))
    return resized


drives = st.lists(cases(), min_size=1, max_size=5).map(same_size)


@settings(max_examples=60, deadline=None)
@given(frames=drives)
def test_stq_is_what_a_literal_transcription_says(frames: list[Case]) -> None:
    quality = evaluated(frames).tracking
    truth, prediction = tubes(case.truth for case in frames), tubes(case.prediction for case in frames)
    crowd = frozenset(
        pixel
        for number, case in enumerate(frames)
        for id_, region in regions(case.truth, number).items()
        if id_ in case.crowd and id_ // 1000 in LABELS.thing_ids
        for pixel in region
    )
    expected = mean(float(value) for value in associations(prediction, truth, crowd, set(LABELS.thing_ids)))
    assert quality.association == (None if expected is None else pytest.approx(expected, abs=1e-12))
    classes = [
        {
            class_id: frozenset(pixel for id_, region in of.items() if id_ // 1000 == class_id for pixel in region)
            for class_id in LABELS.class_ids.tolist()
        }
        for of in (truth, prediction)
    ]
    labelled = frozenset().union(*truth.values())
    ious = [
        len(true & predicted) / len(true | predicted)
        for true, predicted in ((classes[0][c], classes[1][c] & labelled) for c in classes[0])
        if true | predicted
    ]
    segmentation = mean(ious)
    assert quality.segmentation == (None if segmentation is None else pytest.approx(segmentation, abs=1e-12))
    if expected is not None and segmentation is not None:
        assert quality.stq == pytest.approx(math.sqrt(expected * segmentation), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(frames=drives)
def test_vpq_is_panoptic_quality_over_tubes(frames: list[Case]) -> None:
    result = evaluated(frames)
    means = []
    for window in result.windows:
        stretches = [frames[first : first + window.frames] for first in range(len(frames) - window.frames + 1)]
        expected = panoptic_counts(
            (
                (
                    tubes(case.prediction for case in stretch),
                    tubes(case.truth for case in stretch),
                    frozenset().union(*(case.crowd for case in stretch)),
                )
                for stretch in stretches
            ),
            "coco",
        )
        assert {part.class_id: (part.tp, part.fp, part.fn) for part in window.quality.per_class} == {
            class_id: tuple(counts[1:]) for class_id, counts in expected.items()
        }
        quality = mean(panoptic_quality(counts)[0] for counts in expected.values())
        assert (window.quality.all is None) == (quality is None)
        if window.quality.all is not None and quality is not None:
            assert window.quality.all.pq == pytest.approx(quality, abs=1e-12)
            means.append(quality)
    assert result.vpq == (pytest.approx(np.mean(means), abs=1e-12) if means else None)


def test_vpq_over_one_frame_is_panoptic_quality() -> None:
    frames = [Case(drawn("1122 ssvv"), drawn("1112 ssss")), Case(drawn("1222 ssvv"), drawn("3322 ssvv"))]
    metric = PanopticQuality(LABELS)
    for number, case in enumerate(frames):
        metric.update(case.overlaps(str(number)))
    assert evaluated(frames).windows[0].quality == metric.result()


def test_a_changed_identity_costs_vpq_only_over_several_frames() -> None:
    frames = [Case(drawn("11ss"), drawn("11ss")), Case(drawn("11ss"), drawn("22ss"))]
    result = evaluated(frames, windows=(1, 2, 15))
    assert [window.quality.all and window.quality.all.pq for window in result.windows] == [1, 0.5, None]
    assert (result.vpq, result.vpq_things, result.vpq_stuff) == (0.75, 0.5, 1)


@settings(max_examples=40, deadline=None)
@given(frames=st.lists(drives, min_size=1, max_size=3), data=st.data())
def test_frames_may_come_in_any_order_from_any_process(frames: list[list[Case]], data: st.DataObject) -> None:
    every = [
        (f"drive {drive}", number, case) for drive, cases_ in enumerate(frames) for number, case in enumerate(cases_)
    ]
    whole = VideoQuality(LABELS, WINDOWS)
    for sequence, number, case in every:
        whole.update(case.overlaps(f"{sequence} {number}", sequence, number))
    parts = [VideoQuality(LABELS, WINDOWS), VideoQuality(LABELS, WINDOWS)]
    for place, (sequence, number, case) in enumerate(data.draw(st.permutations(every))):
        parts[place % 2].update(case.overlaps(f"{sequence} {number}", sequence, number))
    merged = pickle.loads(pickle.dumps(parts[0]))
    merged.merge(parts[1])
    assert merged.result() == whole.result()


def test_bad_input_is_refused() -> None:
    case = Case(drawn("11"), drawn("11"))
    metric = VideoQuality(LABELS)
    with pytest.raises(EvaluationError, match="street 1: belongs to no sequence"):
        metric.update(case.overlaps("street 1"))
    metric.update(case.overlaps("street 1", "drive", 4))
    with pytest.raises(EvaluationError, match="street 2: frame 4 of drive is evaluated twice"):
        metric.update(case.overlaps("street 2", "drive", 4))
    with pytest.raises(EvaluationError, match="frame 4 of drive is evaluated twice"):
        metric.merge(metric)
    for windows in ((), (0, 5)):
        with pytest.raises(ValueError, match="windows must be lengths of at least 1 frame"):
            VideoQuality(LABELS, windows)
    with pytest.raises(EvaluationError, match=r"windows of \(1, 5, 10, 15\) and \(1, 2\) frames"):
        metric.merge(VideoQuality(LABELS, (1, 2)))
