from __future__ import annotations

import numpy as np
import pytest

from panoptic_ros.nodes.statistics import WINDOW, CameraStatistics, Drop


class Steady:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_percentiles_agree_with_numpy() -> None:
    clock = Steady()
    statistics = CameraStatistics(clock)
    ages = np.random.default_rng(1).exponential(0.1, 501)
    for age in ages:
        clock.now += 0.01
        statistics.received(float(age))
        statistics.processed(float(age) * 2, float(age) * 3, float(age) * 4)
    summary = statistics.summary()
    for spread, factor in (
        (summary.arrival_age, 1),
        (summary.output_age, 2),
        (summary.processing, 3),
        (summary.own, 4),
    ):
        assert spread is not None
        assert spread.p50 == pytest.approx(factor * np.percentile(ages, 50, method="nearest"))
        assert spread.p99 == pytest.approx(factor * np.percentile(ages, 99, method="nearest"))


def test_rates_and_times_forget_what_is_older_than_the_window_but_counts_do_not() -> None:
    clock = Steady()
    statistics = CameraStatistics(clock)
    for _ in range(21):
        statistics.received(0.5)
        clock.now += 0.1
    assert statistics.summary().input_rate == pytest.approx(10.0)
    clock.now += WINDOW + 1
    summary = statistics.summary()
    assert summary.input_rate == 0
    assert summary.arrival_age is None
    assert summary.received == 21
    assert summary.silence == pytest.approx(WINDOW + 1 + 0.1)


def test_drops_are_counted_by_reason() -> None:
    statistics = CameraStatistics()
    for reason in (Drop.BAD, Drop.OLD, Drop.BAD):
        statistics.dropped(reason)
    assert statistics.summary().dropped == {Drop.BAD: 2, Drop.OLD: 1}


def test_a_jump_of_time_forgets_ages_and_keeps_rates() -> None:
    clock = Steady()
    statistics = CameraStatistics(clock)
    for _ in range(3):
        statistics.received(7.0)
        clock.now += 0.5
    statistics.forget_ages()
    assert statistics.summary().arrival_age is None
    assert statistics.summary().input_rate == pytest.approx(2.0)


def test_a_frame_without_a_usable_stamp_counts_but_has_no_age() -> None:
    statistics = CameraStatistics()
    statistics.received(None)
    statistics.processed(None, 0.1, 0.01)
    summary = statistics.summary()
    assert (summary.received, summary.processed) == (1, 1)
    assert summary.arrival_age is None
    assert summary.output_age is None
