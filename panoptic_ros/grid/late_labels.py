"""Clouds that are part of the grid already, kept for masks that come late.

A network that is slower than the sensors answers when the clouds of its image's time have long told what is occupied.
They are kept for a while, so that a late mask labels the one that is nearest to it: the labels become part of the grid
at the stamp of that cloud, as if they had come with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from panoptic_ros.grid.clouds import Cloud
from panoptic_ros.grid.depth import DepthImage
from panoptic_ros.grid.labelling import CameraView

KEPT_CLOUDS = 32
"""The most of each sensor that are kept."""


@dataclass(slots=True, eq=False)
class TakenPoints:
    """A cloud or depth image that is part of the grid.

    Attributes
    ----------
    points:
        The input itself.
    views:
        The masks that have labelled it.
    claimed:
        The cameras whose masks have, or are about to.
    """

    points: Cloud | DepthImage
    views: list[CameraView]
    claimed: set[int] = field(init=False)

    def __post_init__(self) -> None:
        self.claimed = {view.index for view in self.views}


@dataclass(frozen=True, slots=True, eq=False)
class LateLabels:
    """A mask that came when the cloud nearest to it was part of the grid already."""

    taken: TakenPoints
    view: CameraView

    @property
    def stamp(self) -> int:
        """That of the cloud, nanoseconds."""
        return self.taken.points.stamp


class KeptClouds:
    """What late masks may label.

    Parameters
    ----------
    patience:
        Nanoseconds that something is kept; 0 keeps nothing.
    tolerance:
        Nanoseconds between a cloud and the masks that label it, at most.
    """

    def __init__(self, patience: int, tolerance: int) -> None:
        self._patience = patience
        self._tolerance = tolerance
        self._streams: dict[str, list[TakenPoints]] = {}
        self._forgotten: int | None = None

    def __len__(self) -> int:
        return sum(len(kept) for kept in self._streams.values())

    def add(self, stream: str, points: Cloud | DepthImage, views: Sequence[CameraView]) -> None:
        """Keep what a sensor has measured, with the masks that have labelled it."""
        if self._patience:
            self._streams.setdefault(stream, []).append(TakenPoints(points, list(views)))

    def claim(self, view: CameraView, waiting: Iterable[tuple[str, int]]) -> list[LateLabels]:
        """What of each sensor a mask labels late: the nearest, if it is near enough and this camera has not yet.

        Parameters
        ----------
        view:
            The mask that has come.
        waiting:
            Sensor and stamp of all that is not part of the grid yet: what is nearest among that finds the mask itself.
        """
        nearest: dict[str, int] = {}
        for stream, stamp in waiting:
            nearest[stream] = min(abs(stamp - view.stamp), nearest.get(stream, self._tolerance + 1))
        found = []
        for stream, kept in self._streams.items():
            best = min(kept, key=lambda one: abs(one.points.stamp - view.stamp), default=None)
            if best is None or view.index in best.claimed:
                continue
            apart = abs(best.points.stamp - view.stamp)
            if apart <= self._tolerance and apart <= nearest.get(stream, apart):
                best.claimed.add(view.index)
                found.append(LateLabels(best, view))
        return found

    def has_missed(self, view: CameraView) -> bool:
        """Whether clouds of a mask's time were there, and are given up."""
        return self._forgotten is not None and view.stamp + self._tolerance <= self._forgotten

    def forget(self, clock: int) -> None:
        """Give up what is too old when the newest stamp is `clock`, and what is too much."""
        for kept in self._streams.values():
            kept.sort(key=lambda one: one.points.stamp)
            fresh = [one for one in kept if clock - one.points.stamp <= self._patience][-KEPT_CLOUDS:]
            for one in kept[: len(kept) - len(fresh)]:
                self._forgotten = max(one.points.stamp, self._forgotten or one.points.stamp)
            kept[:] = fresh

    def clear(self) -> None:
        self._streams.clear()
        self._forgotten = None
