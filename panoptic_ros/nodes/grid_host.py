"""The grid beside a node: an inbox, one thread that fuses what lies in it, and what is published.

The executor's callbacks put messages into the inbox and never wait.  The thread alone touches builder and feed, so that
nothing needs a lock but the inbox.  It fuses one input at a time and looks into the inbox before the next: of a lidar
or depth camera only the newest message waits there, of masks the newest few, of poses all.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node

from panoptic_ros.configuration import ConfigurationError
from panoptic_ros.grid.options import GridOptions
from panoptic_ros.labels import LabelSet
from panoptic_ros.messages import NANOSECONDS, MessageTypes
from panoptic_ros.nodes.grid_feed import GridFeed, Source
from panoptic_ros.nodes.grid_outputs import GridOutputs
from panoptic_ros.nodes.grid_parameters import GridSettings
from panoptic_ros.nodes.grid_statistics import SUPERSEDED, GridStatistics
from panoptic_ros.nodes.parameters import ParameterError
from panoptic_ros.nodes.reports import Reports
from panoptic_ros.segmentation import PanopticSegmentation

if TYPE_CHECKING:
    from panoptic_ros.grid.builder import GridBuilder

BuilderSource = Callable[[GridOptions, LabelSet, "NDArray[np.float64] | None", "bool | None"], "GridBuilder"]
"""Where builders come from: the class `GridBuilder` itself, or a test's stand-in; see there for the arguments."""

_CONTACT_LINE = {"auto": None, "always": True, "never": False}

_TICK = 0.1  # seconds between two looks at what waits too long and at who listens
_MOST_MASKS = 4  # of one topic: small work each, and clouds of several moments may need them
_MOST_POSES = 4096
HARMLESS = frozenset({SUPERSEDED})
"""Drops that are no trouble: of a sensor that is faster than the grid."""

_CLOCK_TOLERANCE = 0.1  # seconds a stamp may lie ahead: simulated time moves in steps, clocks of two hosts differ


@dataclass(frozen=True, slots=True)
class _Letter:
    """What lies in the inbox: where it came from, and what to do with it."""

    topic: str
    act: Callable[[], None]


class GridHost:
    """Fuses and publishes in a thread of its own.

    Parameters
    ----------
    node:
        The node that publishes.
    settings:
        The parameters of the grid.
    options:
        See `read_options`.
    types:
        Message classes.
    reports:
        Where troubles are said.
    builders:
        Where builders come from; None is `GridBuilder`.

    Raises
    ------
    ParameterError
        If the file of extrinsics is not what it should be.
    """

    def __init__(
        self,
        node: Node,
        settings: GridSettings,
        options: GridOptions,
        types: MessageTypes,
        reports: Reports,
        builders: BuilderSource | None = None,
    ) -> None:
        self.statistics = GridStatistics()
        self.options = options
        self._node = node
        self._settings = settings
        self._reports = reports
        self._builders = builders
        self._feed = GridFeed(
            reports, self.statistics, _static_transforms(settings), settings.deskew, patience=options.poses.wait
        )
        self._outputs = GridOutputs(node, types, reports, settings.top_view_pixels)
        self._condition = threading.Condition()
        self._inbox: deque[_Letter] = deque()
        self._waiting: Counter[str] = Counter()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._builder: GridBuilder | None = None
        self._labels: LabelSet | None = None
        self._said: dict[str, int] = {}  # drops of the builder that were said
        self._published = 0.0  # steady time

    @property
    def labels(self) -> LabelSet | None:
        """What classes are positions in; None until it is known."""
        return self._labels

    # --- the executor's side, and the panoptic worker's

    def start(self) -> None:
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="grid")
        self._thread.start()

    def stop(self) -> None:
        """Finish what is being fused, and end the thread."""
        with self._condition:
            self._stopping = True
            self._inbox.clear()
            self._waiting.clear()
            self._condition.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def close(self) -> None:
        """Stop, and give the topics back."""
        self.stop()
        self._outputs.close()

    def set_labels(self, labels: LabelSet) -> None:
        """What classes are positions in from now on; another set begins the grid anew."""
        self._put("labels", lambda: self._begin(labels), bound=_MOST_POSES)

    def take_transforms(self, source: Source, message: Any, static: bool) -> None:
        """See `GridFeed.transforms`."""
        self._receive(source.topic, lambda: self._feed.transforms(source, message, static), _MOST_POSES)

    def take_odometry(self, source: Source, message: Any) -> None:
        """See `GridFeed.odometry`."""
        self._receive(source.topic, lambda: self._feed.odometry(source, message), _MOST_POSES)

    def take_cloud(self, source: Source, message: Any) -> None:
        """See `GridFeed.cloud`."""
        self._receive(source.topic, lambda: self._feed.cloud(source, message), 1)

    def take_depth(self, source: Source, message: Any) -> None:
        """See `GridFeed.depth`."""
        self._receive(source.topic, lambda: self._feed.depth(source, message), 1)

    def take_info(self, source: Source, message: Any) -> None:
        """See `GridFeed.info`."""
        self._put(source.info_topic, lambda: self._feed.info(source, message))

    def take_mask(self, source: Source, message: Any) -> None:
        """See `GridFeed.mask`."""
        self._receive(source.topic, lambda: self._feed.mask(source, message))

    def take_view(self, source: Source, header: Any, segmentation: PanopticSegmentation) -> None:
        """See `GridFeed.view`."""
        self._receive(source.topic, lambda: self._feed.view(source, header, segmentation))

    def _receive(self, topic: str, act: Callable[[], None], bound: int = _MOST_MASKS) -> None:
        self.statistics.received(topic)
        self._put(topic, act, bound)

    def _put(self, topic: str, act: Callable[[], None], bound: int = _MOST_MASKS) -> None:
        with self._condition:
            if self._stopping:
                return
            if self._waiting[topic] >= bound:
                self._inbox.remove(next(letter for letter in self._inbox if letter.topic == topic))
                self._waiting[topic] -= 1
                self.statistics.dropped(SUPERSEDED)
            self._inbox.append(_Letter(topic, act))
            self._waiting[topic] += 1
            self._condition.notify_all()

    # --- the thread

    def _run(self) -> None:
        fused = False
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._stopping or self._inbox, timeout=0 if fused else _TICK)
                if self._stopping:
                    return
                letters = tuple(self._inbox)
                self._inbox.clear()
                self._waiting.clear()
            started = time.perf_counter()
            for letter in letters:
                try:
                    letter.act()
                except Exception as error:  # a message may be broken in ways that nobody thought of
                    self.statistics.dropped("failed")
                    self._reports.exception(
                        ("letter", letter.topic), f"a message on {letter.topic} cannot be used: {error}", error
                    )
            fused = False
            try:
                self._feed.expire()
                fused = self._fuse(started)
                self._outputs.refresh()
            except Exception as error:  # nothing that an input brings about may end the thread, and with it the grid
                self.statistics.dropped("failed")
                self._reports.exception("fuse", f"the grid could not be updated or published: {error}", error)

    def _begin(self, labels: LabelSet) -> None:
        if self._labels == labels:
            return
        if self._labels is not None:
            self._reports.warning("labels", f"the classes are now those of {labels.name}: the grid begins anew")
        builders = self._builders
        if builders is None:
            from panoptic_ros.grid.builder import GridBuilder  # here, because a node without a grid needs none of it

            builders = GridBuilder
        self.statistics.begin_anew()
        self._said = {}
        contact_line = _CONTACT_LINE[self._settings.contact_line]
        self._builder = builders(self.options, labels, self._confusion(labels), contact_line)
        self._labels = labels
        self._outputs.forget()
        self._feed.attach(self._builder, labels)

    def _confusion(self, labels: LabelSet) -> NDArray[np.float64] | None:
        path = self.options.classes.confusion
        if not path:
            return None
        from panoptic_ros.grid.classes import load_confusion  # here, as above

        try:
            return load_confusion(path, labels)
        except (ConfigurationError, OSError, ValueError) as error:
            self._reports.error("confusion", f"{error}: going on by counting votes")
            return None

    def _fuse(self, started: float) -> bool:
        """Let the builder take an input that is ready, and publish what it becomes; whether there was one."""
        builder = self._builder
        if builder is None or self._labels is None:
            return False
        result = builder.process_next()
        self._say_losses(builder)
        if result is None:
            return False
        if self._is_due():
            self._outputs.publish(result, self._labels)
        self.statistics.result(self._age(result.stamp), len(result.objects))
        self.statistics.processed(time.perf_counter() - started)
        return True

    def _is_due(self) -> bool:
        """Whether publish_rate lets a result through now."""
        now = time.monotonic()
        if self._settings.publish_rate > 0 and now - self._published < 1 / self._settings.publish_rate:
            return False
        self._published = now
        return True

    def _say_losses(self, builder: GridBuilder) -> None:
        dropped = {str(reason): count for reason, count in builder.dropped.items()}
        errors = {str(reason): str(error) for reason, error in builder.last_errors.items()}
        for reason, count in dropped.items():
            if count > self._said.get(reason, 0) and reason not in HARMLESS:
                said = errors.get(reason)
                self._reports.error(("drop", reason), f"dropped: {reason}" + (f": {said}" if said else ""))
        resets = {f"everything: {reason}": count for reason, count in builder.resets.items()}
        for reason, count in resets.items():
            if count > self._said.get(reason, 0):
                self._reports.warning(("reset", reason), f"the grid begins anew, it dropped {reason}")
        self._said = dropped | resets
        self.statistics.built(self._said, builder.late_labels)

    def _age(self, stamp: int) -> float | None:
        age: float = (self._node.get_clock().now().nanoseconds - stamp) / NANOSECONDS
        return max(age, 0.0) if age > -_CLOCK_TOLERANCE else None


def _static_transforms(settings: GridSettings) -> list[tuple[str, str, int, Any]]:
    if not settings.extrinsics:
        return []
    from panoptic_ros.grid.extrinsics import load_extrinsics  # here, because few robots need it

    try:
        extrinsics = load_extrinsics(settings.extrinsics)
    except (ConfigurationError, OSError) as error:
        raise ParameterError(f"extrinsics: {error}") from error
    return [(one.parent, one.child, 0, one.pose()) for one in extrinsics.transforms]
