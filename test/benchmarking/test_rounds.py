"""Rounds in which alternatives are called in turns, and the times that are taken of them."""

from __future__ import annotations

import multiprocessing
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise

import numpy as np

from panoptic_ros.benchmarking.rounds import Spent, Stopwatch, Times, in_rounds, measure


def test_each_round_calls_every_alternative_once_in_changing_orders() -> None:
    called: list[str] = []
    told: list[int] = []
    names = "abcd"
    answers = in_rounds(
        {name: (lambda name=name: called.append(name) or len(called)) for name in names}, 20, 3, told.append
    )
    rounds = [called[start : start + 4] for start in range(0, len(called), 4)]
    assert len(rounds) == 23
    assert all(sorted(each) == list(names) for each in rounds)
    followers = {pair for each in rounds for pair in pairwise(each)}
    assert len(followers) == 12  # each has come right after each other one
    assert told == list(range(1, 24))
    # What is kept is what was answered, without the warm-up's three rounds.
    for name in names:
        assert answers[name] == [place + 1 for place, other in enumerate(called) if other == name][3:]


def test_figures_are_medians_and_percentiles_in_milliseconds() -> None:
    values = np.random.default_rng(0).exponential(size=(31, 2))
    times = Times.of([Spent(*pair) for pair in values])
    wall = np.sort(values[:, 0])
    figures = times.figures()
    assert np.isclose(figures["median_ms"], 1e3 * wall[15])
    assert np.isclose(figures["p99_ms"], 1e3 * (wall[29] + 0.7 * (wall[30] - wall[29])))  # 0.99 * 30 = 29.7
    assert np.isclose(figures["cpu_median_ms"], 1e3 * np.sort(values[:, 1])[15])


def test_a_ratio_is_not_changed_by_what_slows_whole_rounds() -> None:
    slowed = np.array([1.0, 7.0, 2.0, 30.0, 1.0])
    first = Times(0.010 * slowed, np.full(5, 0.004))
    other = Times(0.025 * slowed, np.full(5, 0.006))
    assert np.isclose(other.ratio_to(first), 2.5)
    assert np.isclose(other.cpu_ratio_to(first), 1.5)


def nap_and_work() -> tuple[list[Spent], Spent]:
    """What a stopwatch says of some naps, and of work in another thread of the process."""
    watch = Stopwatch()
    naps = []
    for _ in range(20):
        time.sleep(0.02)
        naps.append(watch.lap())
    ends = time.process_time() + 0.05
    worker = threading.Thread(target=lambda: [None for _ in iter(lambda: time.process_time() < ends, False)])
    worker.start()
    worker.join()
    return naps, watch.lap()


def test_a_stopwatch_tells_waiting_from_working() -> None:
    # In a process of its own: threads that other tests have left here work in the naps too.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        naps, worked = process.submit(nap_and_work).result()
    assert all(nap.wall >= 0.02 for nap in naps)
    assert min(nap.cpu for nap in naps) < 0.01
    assert worked.cpu >= 0.05


def test_measure_times_each_call() -> None:
    times = measure({"long": lambda: time.sleep(0.02), "short": lambda: None}, repeats=4, warmup=1)
    assert times["long"].wall.shape == times["short"].cpu.shape == (4,)
    assert (times["long"].wall >= 0.02).all()
    assert (times["long"].wall > times["short"].wall).all()
