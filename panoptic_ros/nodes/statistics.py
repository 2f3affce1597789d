"""What a camera's frames went through, over the last seconds: rates, ages, times, and drops by reason.

Free of ROS.  A rate alone hides a node that is seconds behind, so ages are kept at both doors, as percentiles.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

WINDOW = 10.0
"""Seconds that rates and percentiles look back."""

_MOST_SAMPLES = 4096  # bounds the memory of a window whatever the rate


class Drop(Enum):
    """Why a frame that arrived was not published."""

    SUPERSEDED = "superseded"
    RATE = "over max_rate"
    OLD = "older than max_age"
    BAD = "bad image"
    FAILED = "failed"
    MEMORY = "out of memory"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Spread:
    """The median and the 99th percentile of some seconds."""

    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Summary:
    """A camera's counts since its start, and its rates and times over the last `WINDOW` seconds.

    Attributes
    ----------
    received, processed, dropped:
        Counts since the start; ``received - processed - sum(dropped)`` frames are waiting or in the network.
    input_rate, output_rate:
        Frames a second.
    arrival_age, output_age:
        Seconds between a frame's stamp and its arrival, and between its stamp and the end of its publishing; None
        where no frame carried a usable stamp.
    processing:
        Seconds between a frame's leaving its waiting slot and the end of its publishing.
    own:
        The part of `processing` that is not the pipeline: decoding the image, making and publishing messages.
    silence:
        Seconds since the last frame arrived, or since the start.
    """

    received: int
    processed: int
    dropped: dict[Drop, int]
    input_rate: float
    output_rate: float
    arrival_age: Spread | None
    output_age: Spread | None
    processing: Spread | None
    own: Spread | None
    silence: float


class Window:
    """Values of the last `WINDOW` seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=_MOST_SAMPLES)

    def add(self, now: float, value: float) -> None:
        self._samples.append((now, value))

    def _recent(self, now: float) -> list[float]:
        while self._samples and self._samples[0][0] < now - WINDOW:
            self._samples.popleft()
        return [value for _, value in self._samples]

    def spread(self, now: float) -> Spread | None:
        values = sorted(self._recent(now))
        if not values:
            return None
        last = len(values) - 1
        return Spread(p50=values[round(0.5 * last)], p99=values[round(0.99 * last)])

    def rate(self, now: float) -> float:
        if len(self._recent(now)) < 2:
            return 0.0
        span = self._samples[-1][0] - self._samples[0][0]
        return (len(self._samples) - 1) / span if span > 0 else 0.0

    def clear(self) -> None:
        self._samples.clear()


class CameraStatistics:
    """Counts and times one camera's frames; safe to use from several threads.

    Parameters
    ----------
    clock:
        Steady seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._received = 0
        self._processed = 0
        self._dropped: Counter[Drop] = Counter()
        self._last = clock()
        self._arrivals = Window()
        self._outputs = Window()
        self._arrival_age = Window()
        self._output_age = Window()
        self._processing = Window()
        self._own = Window()

    def received(self, age: float | None) -> None:
        """A frame arrived, `age` seconds after its stamp (None: its stamp tells nothing)."""
        with self._lock:
            now = self._last = self._clock()
            self._received += 1
            self._arrivals.add(now, 0.0)
            if age is not None:
                self._arrival_age.add(now, age)

    def dropped(self, reason: Drop) -> None:
        """A frame that had arrived will not be published."""
        with self._lock:
            self._dropped[reason] += 1

    def processed(self, age: float | None, processing: float, own: float) -> None:
        """A frame was published; see `Summary` for the three times."""
        with self._lock:
            now = self._clock()
            self._processed += 1
            self._outputs.add(now, 0.0)
            self._processing.add(now, processing)
            self._own.add(now, own)
            if age is not None:
                self._output_age.add(now, age)

    def listen(self) -> None:
        """Silence counts from here: the camera was just subscribed to."""
        with self._lock:
            self._last = self._clock()

    def silence(self) -> float:
        """`Summary.silence` alone, which costs nothing."""
        return self._clock() - self._last

    def forget_ages(self) -> None:
        """Time jumped: ages of before say nothing about now."""
        with self._lock:
            self._arrival_age.clear()
            self._output_age.clear()

    def summary(self) -> Summary:
        with self._lock:
            now = self._clock()
            return Summary(
                received=self._received,
                processed=self._processed,
                dropped=dict(self._dropped),
                input_rate=self._arrivals.rate(now),
                output_rate=self._outputs.rate(now),
                arrival_age=self._arrival_age.spread(now),
                output_age=self._output_age.spread(now),
                processing=self._processing.spread(now),
                own=self._own.spread(now),
                silence=now - self._last,
            )
