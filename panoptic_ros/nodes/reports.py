"""Log lines that come with every frame, said once in a while: the same trouble at 30 Hz must not bury the log."""

from __future__ import annotations

import re
import threading
import time
import traceback
from collections.abc import Callable, Hashable
from typing import Any

PERIOD = 5.0
"""Seconds between two lines about the same thing."""

_MOST_SUBJECTS = 256  # subjects may hold what a broken message says, which has no bounds


def kind_of(text: str) -> str:
    """What two messages that differ in their numbers have in common: a subject."""
    return re.sub(r"\d+", "#", text)


class Reports:
    """A logger that repeats itself at most every `period` seconds per subject, and says how often it held back.

    rclpy's own throttling counts by the line of code, so one camera's trouble would hide another's; this one counts
    by subject.  Safe to use from several threads.

    Parameters
    ----------
    logger:
        rclpy's logger, or anything with its ``error``, ``warning`` and ``info``.
    clock:
        Steady seconds.
    """

    def __init__(self, logger: Any, period: float = PERIOD, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._period = period
        self._clock = clock
        self._lock = threading.Lock()
        self._said: dict[Hashable, float] = {}
        self._held_back: dict[Hashable, int] = {}
        self._traced: set[tuple[type[BaseException], str, int]] = set()

    def error(self, subject: Hashable, text: str, period: float | None = None) -> None:
        self._say("error", subject, text, period)

    def warning(self, subject: Hashable, text: str, period: float | None = None) -> None:
        self._say("warning", subject, text, period)

    def once(self, subject: Hashable, text: str) -> None:
        """A warning that is never repeated."""
        self._say("warning", subject, text, float("inf"))

    def forget(self, subject: Hashable) -> None:
        """The trouble is over: when it comes back, say so at once."""
        with self._lock:
            self._said.pop(subject, None)
            self._held_back.pop(subject, None)

    def exception(self, subject: Hashable, text: str, error: BaseException) -> None:
        """An error that nobody foresaw: with its traceback the first time that it comes from its line of code."""
        frames = traceback.extract_tb(error.__traceback__)
        place = (type(error), frames[-1].filename, frames[-1].lineno or 0) if frames else (type(error), "", 0)
        with self._lock:
            is_new = place not in self._traced
            self._traced.add(place)
        if is_new:
            details = "".join(traceback.format_exception(type(error), error, error.__traceback__))
            self._logger.error(f"{text}\n{details}")
        else:
            self._say("error", subject, text, None)

    def _say(self, severity: str, subject: Hashable, text: str, period: float | None) -> None:
        now = self._clock()
        with self._lock:
            said = self._said.get(subject)
            if said is not None and now - said < (self._period if period is None else period):
                self._held_back[subject] = self._held_back.get(subject, 0) + 1
                return
            self._said.pop(subject, None)  # so that the oldest is first
            self._said[subject] = now
            if len(self._said) > _MOST_SUBJECTS:
                forgotten = next(iter(self._said))
                self._said.pop(forgotten)
                self._held_back.pop(forgotten, None)
            held_back = self._held_back.pop(subject, 0)
        more = f" (and {held_back} more like this since)" if held_back else ""
        # rclpy remembers each calling line's severity and refuses another one, so each has a line of its own.
        if severity == "error":
            self._logger.error(text + more)
        else:
            self._logger.warning(text + more)
