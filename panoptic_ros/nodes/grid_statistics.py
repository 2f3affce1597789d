"""What the grid's inputs went through, over the last seconds: counts, drops by reason, ages and times.  Free of ROS."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from panoptic_ros.nodes.statistics import Spread, Window

SUPERSEDED = "superseded"
"""The reason of inputs that a newer one of their sensor took the place of; `GridBuilder` names it so, too."""


@dataclass(frozen=True, slots=True)
class GridSummary:
    """Counts since the start, and rates and times over the last `WINDOW` seconds.

    Attributes
    ----------
    received:
        Messages by topic.
    dropped:
        Inputs that did not become part of the grid, by reason.
    results:
        Observations that did.
    late_labels:
        Masks that came when the cloud of their time was part of the grid already, and labelled it then.
    rate:
        Of the results, a second.
    age:
        Seconds between a result's stamp and the end of its publishing; None where that cannot be told.
    processing:
        Seconds that one input took, with the messages that were looked at before, until its result was published.
    objects:
        How many were tracked in the last result.
    silences:
        Seconds since the last message, by topic.
    """

    received: dict[str, int]
    dropped: dict[str, int]
    results: int
    late_labels: int
    rate: float
    age: Spread | None
    processing: Spread | None
    objects: int
    silences: dict[str, float]


class GridStatistics:
    """Counts and times; safe to use from several threads.

    Parameters
    ----------
    clock:
        Steady seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._received: Counter[str] = Counter()
        self._last: dict[str, float] = {}
        self._dropped: Counter[str] = Counter()
        self._built: dict[str, int] = {}
        self._late = self._late_before = 0
        self._before: Counter[str] = Counter()
        self._results = self._objects = 0
        self._outputs, self._ages, self._times = Window(), Window(), Window()

    def listen(self, topic: str) -> None:
        """Silence of a topic counts from here."""
        with self._lock:
            self._last[topic] = self._clock()

    def received(self, topic: str) -> None:
        """A message came."""
        with self._lock:
            self._received[topic] += 1
            self._last[topic] = self._clock()

    def dropped(self, reason: str, count: int = 1) -> None:
        """An input will not become part of the grid."""
        with self._lock:
            self._dropped[reason] += count

    def built(self, dropped: dict[str, int], late_labels: int) -> None:
        """What the builder at work has dropped, and how many masks it has used late, in all its time."""
        with self._lock:
            self._built, self._late = dict(dropped), late_labels

    def begin_anew(self) -> None:
        """Another builder takes over, which counts from 0."""
        with self._lock:
            self._before.update(self._built)
            self._late_before += self._late
            self._built, self._late = {}, 0

    def result(self, age: float | None, objects: int) -> None:
        """A result was published, `age` seconds after its stamp."""
        with self._lock:
            now = self._clock()
            self._results += 1
            self._objects = objects
            self._outputs.add(now, 0.0)
            if age is not None:
                self._ages.add(now, age)

    def processed(self, seconds: float) -> None:
        """A result took so long."""
        with self._lock:
            self._times.add(self._clock(), seconds)

    def summary(self) -> GridSummary:
        with self._lock:
            now = self._clock()
            return GridSummary(
                received=dict(self._received),
                dropped=dict(self._dropped + self._before + Counter(self._built)),
                results=self._results,
                late_labels=self._late_before + self._late,
                rate=self._outputs.rate(now),
                age=self._ages.spread(now),
                processing=self._times.spread(now),
                objects=self._objects,
                silences={topic: now - last for topic, last in self._last.items()},
            )
