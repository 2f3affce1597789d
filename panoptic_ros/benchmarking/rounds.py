"""Timing of alternatives against each other in rounds, so that what slows the machine slows them all.

Each round calls every alternative once, in an order drawn anew, so that none always follows the same other and finds
the caches as that one leaves them.  Beside the time that passed, the processor time of this process is kept: on a
machine that has other work it changes little, and it tells what a robot's other programs lose.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Answer = TypeVar("Answer")


class Spent(NamedTuple):
    """Seconds that something took: those that passed, and the processor's in all threads of this process."""

    wall: float
    cpu: float


class Stopwatch:
    """Tells, again and again, what was spent since the last time; begins when it is made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def lap(self) -> Spent:
        """What was spent since the last lap."""
        wall, cpu = time.perf_counter(), time.process_time()
        spent = Spent(wall - self._wall, cpu - self._cpu)
        self._wall, self._cpu = wall, cpu
        return spent


@dataclass(frozen=True, slots=True, eq=False)
class Times:
    """What the calls of one alternative took.

    Attributes
    ----------
    wall, cpu:
        (rounds,) seconds of each call: those that passed, and the processor's in all threads of this process.
    """

    wall: NDArray[np.float64]
    cpu: NDArray[np.float64]

    @classmethod
    def of(cls, spent: Sequence[Spent]) -> Times:
        """Those of calls, round by round."""
        wall, cpu = np.array(spent, dtype=np.float64).reshape(-1, 2).T
        return cls(wall, cpu)

    def figures(self) -> dict[str, float]:
        """Medians and 99th percentiles in milliseconds; a percentile of few rounds is close to their maximum."""
        return {
            "median_ms": 1e3 * float(np.median(self.wall)),
            "p99_ms": 1e3 * float(np.quantile(self.wall, 0.99)),
            "cpu_median_ms": 1e3 * float(np.median(self.cpu)),
        }

    def ratio_to(self, other: Times) -> float:
        """How many times as long as the other's, the median of the rounds: what slowed a round slowed both."""
        return float(np.median(self.wall / other.wall))

    def cpu_ratio_to(self, other: Times) -> float:
        """How many times as much of the processor as the other, by the medians."""
        return float(np.median(self.cpu) / np.median(other.cpu))


def in_rounds(
    calls: Mapping[str, Callable[[], Answer]],
    rounds: int,
    warmup: int,
    on_round: Callable[[int], object] = lambda done: None,
) -> dict[str, list[Answer]]:
    """Call alternatives in turns.

    Parameters
    ----------
    calls:
        The alternatives by name.
    rounds, warmup:
        Rounds whose answers are kept, and rounds before them whose are not.
    on_round:
        Told after each round how many have been done.

    Returns
    -------
    What each answered, round by round.
    """
    order = np.random.default_rng(0)
    names = list(calls)
    answers: dict[str, list[Answer]] = {name: [] for name in names}
    for done in range(warmup + rounds):
        for index in order.permutation(len(names)):
            name = names[index]
            answer = calls[name]()
            if done >= warmup:
                answers[name].append(answer)
        on_round(done + 1)
    return answers


def measure(alternatives: Mapping[str, Callable[[], object]], repeats: int = 30, warmup: int = 3) -> dict[str, Times]:
    """What each call of each alternative takes, called in turns."""

    def timed(call: Callable[[], object]) -> Callable[[], Spent]:
        def run() -> Spent:
            watch = Stopwatch()
            call()
            return watch.lap()

        return run

    spent = in_rounds({name: timed(call) for name, call in alternatives.items()}, repeats, warmup)
    return {name: Times.of(each) for name, each in spent.items()}
