"""Which prediction belongs to which truth, by camera and stamp.

Of all pairs of one camera whose stamps differ by no more than the tolerance, the nearest is taken first, then the
nearest of what is left, and so on; each frame is used once, and of pairs that are as near as each other the earliest
comes first.  Equal stamps therefore always find each other.

`StampMatcher` does that while frames arrive.  A pair is given out as soon as nothing that may still come could be
nearer to one of the two, which supposes that each topic's stamps increase; the two topics may be mixed in any way.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar

from panoptic_ros.messages import NANOSECONDS

P = TypeVar("P")
T = TypeVar("T")

TIME_JUMP = NANOSECONDS
"""How far stamps must go back before it counts as a new start (ns): more than any reordering on the way."""


class Side(Enum):
    """What a frame is."""

    PREDICTION = "prediction"
    TRUTH = "truth"

    @property
    def other(self) -> Side:
        """What it is compared with."""
        return Side.TRUTH if self is Side.PREDICTION else Side.PREDICTION


@dataclass(frozen=True, slots=True)
class Pair(Generic[P, T]):
    """A prediction and its truth, with their stamps in nanoseconds."""

    camera: str
    prediction_stamp: int
    truth_stamp: int
    prediction: P
    truth: T

    @property
    def name(self) -> str:
        """What the frame is called in an evaluation: its camera and the truth's stamp."""
        return frame_name(self.camera, self.truth_stamp)


@dataclass(slots=True)
class Unmatched:
    """The frames of one camera that found no partner.

    Attributes
    ----------
    predictions, truths:
        Their stamps, ns, ascending.
    repeated:
        How many frames came with a stamp that another of their topic had before; they were passed over.
    """

    predictions: list[int] = field(default_factory=list)
    truths: list[int] = field(default_factory=list)
    repeated: int = 0

    def of(self, side: Side) -> list[int]:
        """The stamps of one side."""
        return self.predictions if side is Side.PREDICTION else self.truths


class _Stream:
    """The frames of one topic that wait for their partner."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.waiting: list[int] = []  # stamps, ascending
        self.newest: float = -math.inf  # infinite where the topic has ended

    def near(self, stamp: int, tolerance: int) -> list[int]:
        """The waiting stamps that are no further away than the tolerance."""
        return self.waiting[
            bisect_left(self.waiting, stamp - tolerance) : bisect_left(self.waiting, stamp + tolerance + 1)
        ]


class StampMatcher(Generic[P, T]):
    """Finds pairs while predictions and truths arrive.

    A frame waits until its partner has come, until none can come any more, or until too many wait.  Memory is that of
    the waiting frames, and of all stamps so far.

    Parameters
    ----------
    tolerance:
        The largest difference of two stamps, ns.
    most_waiting:
        How many frames of a camera may wait on either side; the earliest then counts as unmatched.  None is any number.

    Attributes
    ----------
    unmatched:
        By camera, what found no partner up to now; a camera is there from its first frame on.

    Raises
    ------
    ValueError
        If the tolerance is negative, or nothing may wait.
    """

    def __init__(self, tolerance: int = 0, most_waiting: int | None = None) -> None:
        if tolerance < 0:
            raise ValueError(f"the tolerance must not be negative, got {tolerance} ns")
        if most_waiting is not None and most_waiting < 1:
            raise ValueError(f"at least one frame must be able to wait, got {most_waiting}")
        self.unmatched: dict[str, Unmatched] = {}
        self._tolerance = tolerance
        self._most_waiting = most_waiting
        self._streams: dict[str, dict[Side, _Stream]] = {}
        self._predictions: dict[tuple[str, int], P] = {}
        self._truths: dict[tuple[str, int], T] = {}

    def add_prediction(self, camera: str, stamp: int, value: P) -> list[Pair[P, T]]:
        """Take a prediction; returns the pairs that are certain now."""
        if self._register(camera, Side.PREDICTION, stamp):
            self._predictions[camera, stamp] = value
        return self._settle(camera)

    def add_truth(self, camera: str, stamp: int, value: T) -> list[Pair[P, T]]:
        """Take a truth; returns the pairs that are certain now."""
        if self._register(camera, Side.TRUTH, stamp):
            self._truths[camera, stamp] = value
        return self._settle(camera)

    def waiting(self, camera: str) -> int:
        """How many frames of a camera wait for their partner."""
        return sum(len(stream.waiting) for stream in self._streams.get(camera, {}).values())

    def flush(self) -> list[Pair[P, T]]:
        """Pair what waits, since nothing more comes; the rest is unmatched."""
        return [pair for camera in self._streams for pair in self._end(camera)]

    def _register(self, camera: str, side: Side, stamp: int) -> bool:
        """Let a frame wait; returns whether it is a new one."""
        streams = self._streams.setdefault(camera, {side: _Stream() for side in Side})
        unmatched = self.unmatched.setdefault(camera, Unmatched())
        stream = streams[side]
        if stamp in stream.seen:
            unmatched.repeated += 1
            return False
        stream.seen.add(stamp)
        insort(stream.waiting, stamp)
        if stamp < stream.newest - TIME_JUMP:  # begins anew: what is later than it may come still, on both topics
            for one in streams.values():
                one.newest = -math.inf
        stream.newest = max(stream.newest, stamp)
        return True

    def _settle(self, camera: str) -> list[Pair[P, T]]:
        """Give out the pairs that are certain, and what cannot find a partner any more."""
        predictions, truths = self._streams[camera][Side.PREDICTION], self._streams[camera][Side.TRUTH]
        candidates = sorted(
            (abs(prediction - truth), truth, prediction)
            for truth in (truths.waiting if predictions.waiting else ())
            for prediction in predictions.near(truth, self._tolerance)
        )
        used: set[tuple[Side, int]] = set()
        undecided: set[tuple[Side, int]] = set()
        pairs = []
        for apart, truth, prediction in candidates:
            both = {(Side.PREDICTION, prediction), (Side.TRUTH, truth)}
            if both & used:
                continue
            # What comes later is further away from both, if it is later than the newest of its topic.
            certain = predictions.newest >= truth + apart and truths.newest >= prediction + apart
            if not certain or both & undecided:
                undecided |= both
                continue
            used |= both
            predictions.waiting.remove(prediction)
            truths.waiting.remove(truth)
            key = (camera, prediction), (camera, truth)
            pairs.append(Pair(camera, prediction, truth, self._predictions.pop(key[0]), self._truths.pop(key[1])))
        for side in Side:
            self._give_up(camera, side)
        return pairs

    def _give_up(self, camera: str, side: Side) -> None:
        """Count as unmatched what no frame is near that waits or may come, and what is too much."""
        stream, other = self._streams[camera][side], self._streams[camera][side.other]
        surplus = 0 if self._most_waiting is None else max(0, len(stream.waiting) - self._most_waiting)
        lost = stream.waiting[:surplus]
        for stamp in stream.waiting[surplus:]:
            if other.newest < stamp + self._tolerance:
                break
            if not other.near(stamp, self._tolerance):
                lost.append(stamp)
        for stamp in lost:
            stream.waiting.remove(stamp)
            insort(self.unmatched[camera].of(side), stamp)
            (self._predictions if side is Side.PREDICTION else self._truths).pop((camera, stamp))

    def _end(self, camera: str) -> list[Pair[P, T]]:
        streams = self._streams[camera].values()
        newest = [stream.newest for stream in streams]
        for stream in streams:
            stream.newest = math.inf
        pairs = self._settle(camera)
        for stream, before in zip(streams, newest, strict=True):
            stream.newest = before
        return pairs


def match_stamps(
    predictions: Iterable[tuple[str, int]], truths: Iterable[tuple[str, int]], tolerance: int = 0
) -> tuple[list[Pair[None, None]], dict[str, Unmatched]]:
    """Match frames that are all known, in whatever order they come.

    Parameters
    ----------
    predictions, truths:
        The camera and stamp (ns) of each.
    tolerance:
        See `StampMatcher`.

    Returns
    -------
    pairs:
        In the order of cameras and stamps.
    unmatched:
        By camera.
    """
    matcher: StampMatcher[None, None] = StampMatcher(tolerance)
    frames = [(*frame, Side.PREDICTION) for frame in predictions] + [(*frame, Side.TRUTH) for frame in truths]
    pairs = []
    for camera, stamp, side in sorted(frames, key=lambda frame: frame[:2]):
        add = matcher.add_prediction if side is Side.PREDICTION else matcher.add_truth
        pairs += add(camera, stamp, None)
    pairs += matcher.flush()
    return sorted(pairs, key=lambda pair: (pair.camera, pair.truth_stamp)), matcher.unmatched


def frame_name(camera: str, stamp: int) -> str:
    """What a frame of a recording is called: ``<camera>/<stamp in ns>``, the stamp alone where there is one camera."""
    return f"{camera}/{stamp}" if camera else str(stamp)
