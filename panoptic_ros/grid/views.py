"""The masks of cameras that clouds may still need, and how late each camera's network answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from panoptic_ros.grid.labelling import CameraView
from panoptic_ros.grid.poses import NANOSECONDS

ALONE = NANOSECONDS
"""So long after its last mask a camera counts as stopped, and after the last cloud or depth image cameras as alone."""

KEPT_VIEWS = 32  # of each camera


@dataclass(slots=True, eq=False)
class _Camera:
    views: list[CameraView] = field(default_factory=list)  # by stamp
    period: int = 0
    delay: int = 0  # of the newest mask, behind the newest stamp that had come

    def settled(self, stamp: int) -> bool:
        """Whether no mask that is still to come can be nearer to a stamp than those that are here."""
        return self.views[-1].stamp + self.period // 2 >= stamp

    def nearest(self, stamp: int) -> CameraView:
        return min(self.views, key=lambda view: abs(view.stamp - stamp))


class CameraViews:
    """The masks of all cameras.

    Parameters
    ----------
    wait:
        Nanoseconds that a cloud waits for masks, at most.
    tolerance:
        Nanoseconds between a cloud and the masks that label it, at most.
    """

    def __init__(self, wait: int, tolerance: int) -> None:
        self._wait = wait
        self._tolerance = tolerance
        self._cameras: dict[int, _Camera] = {}

    def __len__(self) -> int:
        """How many masks are kept."""
        return sum(len(camera.views) for camera in self._cameras.values())

    def add(self, view: CameraView, clock: int) -> None:
        """Take a mask that has come when the newest stamp was `clock`."""
        camera = self._cameras.setdefault(view.index, _Camera())
        if camera.views:
            camera.period = max(0, view.stamp - camera.views[-1].stamp)
        camera.delay = max(0, clock - view.stamp)
        camera.views.append(view)
        camera.views.sort(key=lambda one: one.stamp)

    def settled(self, stamp: int) -> bool:
        """Whether no mask can be nearer to a stamp than those that are here, if it still comes in time.

        A camera that has stopped is not waited for, nor one whose masks come later than anything waits.
        """
        return all(
            camera.settled(stamp)
            for camera in self._cameras.values()
            if stamp - camera.views[-1].stamp < ALONE and camera.delay <= self._wait
        )

    def near(self, stamp: int) -> Iterator[CameraView]:
        """The mask of each camera that labels a cloud of a stamp."""
        for camera in self._cameras.values():
            view = camera.nearest(stamp)
            if abs(view.stamp - stamp) <= self._tolerance:
                yield view

    @property
    def lateness(self) -> int:
        """Nanoseconds that what is seen may be behind, where masks come later than clouds wait for them; else 0."""
        late = (camera for camera in self._cameras.values() if camera.delay > self._wait)
        return max((camera.delay + camera.period for camera in late), default=0)

    def forget(self, oldest: int) -> None:
        """Keep what is no older than a stamp, and the last of each camera."""
        for camera in self._cameras.values():
            recent = [view for view in camera.views if view.stamp >= oldest - self._tolerance] or camera.views[-1:]
            camera.views[:] = recent[-KEPT_VIEWS:]

    def clear(self) -> None:
        self._cameras.clear()
