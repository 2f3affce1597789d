"""Work that is spread over processes and comes back in order, and threads that leave the cores to others."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 2  # parts that may be made or wait, for each process

_make: Callable[[Any], Any] | None = None  # of this worker process
_stop: Event | threading.Event | None = None


class Stopped(Exception):  # noqa: N818 - it is no error
    """Somebody has asked to end."""


def check_stop() -> None:
    """End the work at hand if that was asked for; call it between its steps.

    Raises
    ------
    Stopped
        If it was.
    """
    if _stop is not None and _stop.is_set():
        raise Stopped


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def wait_passively() -> None:
    """Let torch's threads sleep while they wait for each other; call it before torch is imported.

    They otherwise spin, and where another process wants a core too, one frame in twenty then took ten times as long.
    What the user has set (``OMP_WAIT_POLICY``) stays.  Processes that this one starts inherit it.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def ordered(start: Callable[[], Callable[[T], R]], parts: Iterable[T], workers: int) -> Iterator[R]:
    """The results of parts, in their order, made by several processes.

    Ctrl-C ends it with `KeyboardInterrupt`, after the steps at hand have ended; a second one at once.

    Parameters
    ----------
    start:
        Called once in each process; gives what makes a part.  It and the parts must be able to be pickled.
    workers:
        Number of processes; with 1 it is this one.

    Raises
    ------
    OSError
        If a process has died.
    """
    global _stop
    if workers == 1:
        _stop = threading.Event()
        with _ctrl_c_sets(_stop):
            make = start()
            try:
                for part in parts:
                    check_stop()
                    yield make(part)
            except Stopped:
                raise KeyboardInterrupt from None
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy locks that threads of libraries hold
    stop = context.Event()
    pending: deque[Future[R]] = deque()
    pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(start, stop))
    with _ctrl_c_sets(stop):
        try:
            for part in parts:
                with _ctrl_c_later():
                    pending.append(pool.submit(_work, part))
                if len(pending) >= AHEAD * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        except Stopped:
            raise KeyboardInterrupt from None
        except BrokenProcessPool as error:
            raise OSError("a worker process has ended, for want of memory? Take fewer workers") from error
        finally:
            stop.set()
            # A process that is only starting still needs `stop`, which goes when this ends.
            pool.shutdown(cancel_futures=True)


def _begin(start: Callable[[], Callable[[Any], Any]], stop: Event) -> None:
    """Make a new process ready to work."""
    global _make, _stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the first one decides
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)  # nobody waits for what this process makes

    threading.Thread(target=follow, daemon=True).start()
    _stop = stop
    _make = start()


def _work(part: Any) -> Any:
    assert _make is not None
    check_stop()
    return _make(part)


@contextmanager
def _ctrl_c_later() -> Iterator[None]:
    """Hold Ctrl-C back for a moment: a process started in it is deaf to it from the first on, before `_begin` too."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _ctrl_c_sets(stop: Event | threading.Event) -> Iterator[None]:
    """Have the first Ctrl-C set an event, so that what is at hand is finished; the second one ends at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, previous)

    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
