"""What a grid should have known: the world from above, as the synthetic drives record it (docs/synthetic.md).

Of each moment there are ``/truth/occupancy`` and ``/truth/semantic_grid``, of the same cells, and
``/truth/object_states``: the boxes of all things with their velocities.  ``/truth/<camera>/visibility`` says how much
of each thing a camera sees; without it nobody can tell which things could have been found.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.evaluation.overlaps import EvaluationError
from panoptic_ros.label_mapping import LabelMapping
from panoptic_ros.labels import LabelSet
from panoptic_ros.messages import nanoseconds
from panoptic_ros.segmentation import INSTANCE_DIVISOR

if TYPE_CHECKING:
    from panoptic_ros.grid.poses import Pose

OCCUPANCY, SEMANTIC, STATES = "/truth/occupancy", "/truth/semantic_grid", "/truth/object_states"
GRID_TRUTHS = (OCCUPANCY, SEMANTIC, STATES)
"""The topics of one moment, which have one stamp."""

VISIBILITY = "visibility"
"""The last part of the names of the tables of what cameras see, below ``/truth/<camera>/``."""

UNKNOWN, FREE, OCCUPIED = -1, 0, 100
"""What a cell of an occupancy grid may be."""

_DTYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
"""Of sensor_msgs/PointField."""

_STATE_FIELDS = ("x", "y", "z", "length", "width", "height", "yaw", "vx", "vy", "label", "instance")
_VISIBILITY_FIELDS = ("visible", "label", "instance")


@dataclass(frozen=True, slots=True, eq=False)
class TrueObject:
    """A thing as it is.

    Attributes
    ----------
    id:
        ``class_id * 1000 + instance``.
    class_index:
        Position of its class in the label set.
    centre:
        (3,) float64, the middle of its box, metres.
    yaw:
        Its heading, radians, anticlockwise from x.
    extent:
        Length along the heading, width and height of the box, metres.
    velocity:
        (2,) float64, m/s.
    visible:
        The most pixels that a camera has of it; None where no camera says.
    """

    id: int
    class_index: int
    centre: NDArray[np.float64]
    yaw: float
    extent: tuple[float, float, float]
    velocity: NDArray[np.float64]
    visible: int | None


@dataclass(frozen=True, slots=True, eq=False)
class GridTruth:
    """The world from above at one moment.

    Attributes
    ----------
    stamp:
        Nanoseconds.
    frame:
        What everything here is in; the cells are parallel to its axes.
    resolution:
        Side of a cell, metres.
    origin:
        x, y of the outer corner of cell [0, 0], metres.
    occupied:
        (H, W) int8, rows along y and columns along x: -1 where there is no world, 0 free, 100 occupied.
    classes:
        (H, W) int16, the class of what stands on the cell, else of its ground, as a position in the label set; -1 for
        none, or for a class that the label set does not have.
    objects:
        All things that are near.
    """

    stamp: int
    frame: str
    resolution: float
    origin: tuple[float, float]
    occupied: NDArray[np.int8]
    classes: NDArray[np.int16]
    objects: tuple[TrueObject, ...]

    def contains(self, x: float, y: float) -> bool:
        """Whether a place of the frame is inside of the window."""
        height, width = (count * self.resolution for count in self.occupied.shape)
        return bool(0 <= x - self.origin[0] < width and 0 <= y - self.origin[1] < height)

    def at_cells(
        self, origin: tuple[float, float], resolution: float, shape: tuple[int, int]
    ) -> tuple[NDArray[np.int8], NDArray[np.int16]]:
        """What is true at the centres of another grid's cells.

        Of two grids with the same cells these are the cells themselves.

        Parameters
        ----------
        origin, resolution, shape:
            Of the other grid, in the same frame.

        Returns
        -------
        occupied, classes:
            Of `shape`; -1 outside of this window.
        """
        rows, columns = (
            np.floor((origin[axis] + (np.arange(count) + 0.5) * resolution - self.origin[axis]) / self.resolution)
            for axis, count in ((1, shape[0]), (0, shape[1]))
        )
        inside = [(rows >= 0) & (rows < self.occupied.shape[0]), (columns >= 0) & (columns < self.occupied.shape[1])]
        target = np.ix_(np.flatnonzero(inside[0]), np.flatnonzero(inside[1]))
        source = np.ix_(rows[inside[0]].astype(np.intp), columns[inside[1]].astype(np.intp))
        occupied, classes = np.full(shape, UNKNOWN, dtype=np.int8), np.full(shape, -1, dtype=np.int16)
        occupied[target], classes[target] = self.occupied[source], self.classes[source]
        return occupied, classes


class GridTruthReader:
    """Puts together the truths of moments from the messages of a bag.

    Parameters
    ----------
    labels:
        What the class ids mean.
    frame:
        The frame of the truths that it makes: the grid's.
    pose:
        ``pose(target, source, stamp)`` looks up how `source` lies in `target`.
    visibility:
        The topics on which cameras say what they see.
    mapping:
        What makes the ids in the bag to those of `labels`, if they are others.
    """

    def __init__(
        self,
        labels: LabelSet,
        frame: str,
        pose: Callable[[str, str, int], Pose],
        visibility: Collection[str] = (),
        mapping: LabelMapping | None = None,
    ) -> None:
        self._indices = np.full(256, -1, dtype=np.int16)
        self._indices[labels.class_ids] = np.arange(len(labels), dtype=np.int16)
        if mapping is not None:
            self._indices = self._indices[mapping.table]
        self._frame = frame
        self._pose = pose
        self._parts: dict[int, dict[str, Any]] = {}
        self._visible: dict[str, dict[int, int]] = {}
        self._looked = dict.fromkeys(visibility, -1)  # the newest stamp of each

    def take(self, topic: str, message: Any) -> None:
        """Take a message on one of `GRID_TRUTHS`, or a camera's visibility."""
        if topic in GRID_TRUTHS:
            self._parts.setdefault(nanoseconds(message.header.stamp), {})[topic] = message
        else:
            table = cloud_table(message, _VISIBILITY_FIELDS, topic)
            ids = table["label"].astype(np.int64) * INSTANCE_DIVISOR + table["instance"]
            if topic in self._looked:
                self._looked[topic] = nanoseconds(message.header.stamp)
            self._visible[topic] = dict(zip(ids.tolist(), table["visible"].astype(np.int64).tolist(), strict=True))

    def complete(self, ended: bool = False) -> list[int]:
        """The stamps of the moments of which every message is there, the earliest first.

        Until the bag has `ended`, a moment waits for what every camera sees then.
        """
        looked = min(self._looked.values(), default=None)
        return sorted(
            stamp
            for stamp, parts in self._parts.items()
            if len(parts) == len(GRID_TRUTHS) and (ended or looked is None or looked >= stamp)
        )

    def forget(self, stamp: int) -> None:
        """Leave out a moment."""
        del self._parts[stamp]

    def make(self, stamp: int) -> GridTruth:
        """The truth of a moment that is `complete`; it is forgotten here.

        Raises
        ------
        EvaluationError
            If its messages do not fit together; the message names the topic.
        Exception
            What `pose` raises; the moment is then kept and may be asked for again.
        """
        parts = self._parts[stamp]
        states = parts[STATES]
        source = states.header.frame_id
        pose = None if source == self._frame else self._pose(self._frame, source, stamp)
        del self._parts[stamp]
        occupied, semantic = (_cells(parts[topic], topic, self._frame) for topic in (OCCUPANCY, SEMANTIC))
        info, other = parts[OCCUPANCY].info, parts[SEMANTIC].info
        origin = (float(info.origin.position.x), float(info.origin.position.y))
        if (other.resolution, other.origin.position.x, other.origin.position.y) != (info.resolution, *origin) or (
            occupied.shape != semantic.shape
        ):
            raise EvaluationError(f"{SEMANTIC}: its cells are not those of {OCCUPANCY}")
        classes = np.where(semantic >= 0, self._indices[semantic.astype(np.uint8)], np.int16(-1))
        resolution = float(f"{info.resolution:.7g}")  # float32 in the message: 0.2 is 0.2 again, as it is in a grid
        return GridTruth(stamp, self._frame, resolution, origin, occupied, classes, self._objects(states, pose))

    def _objects(self, message: Any, pose: Pose | None) -> tuple[TrueObject, ...]:
        table = cloud_table(message, _STATE_FIELDS, STATES)
        centres = np.stack([table[axis].astype(np.float64) for axis in "xyz"], axis=1)
        velocities = np.stack([table["vx"], table["vy"], np.zeros(len(table))], axis=1).astype(np.float64)
        yaws = table["yaw"].astype(np.float64)
        if pose is not None:
            centres = centres @ pose.rotation.T + pose.translation
            velocities = velocities @ pose.rotation.T
            yaws = yaws + np.arctan2(pose.rotation[1, 0], pose.rotation[0, 0])
        made = []
        for row, centre, velocity, yaw in zip(table, centres, velocities, yaws, strict=True):
            index = int(self._indices[min(int(row["label"]), 255)])
            if index >= 0:
                id_ = int(row["label"]) * INSTANCE_DIVISOR + int(row["instance"])
                extent = (float(row["length"]), float(row["width"]), float(row["height"]))
                visible = max((seen.get(id_, 0) for seen in self._visible.values()), default=None)
                made.append(TrueObject(id_, index, centre, float(yaw), extent, velocity[:2], visible))
        return tuple(made)


def cloud_table(message: Any, wanted: tuple[str, ...], where: str) -> NDArray[np.void]:
    """(N,) structured array of some fields of a ``sensor_msgs/PointCloud2`` of one row.

    Raises
    ------
    EvaluationError
        If a field is missing, or the data are shorter than the message says; it names `where`.
    """
    fields: Mapping[str, Any] = {field.name: field for field in message.fields}
    if missing := [name for name in wanted if name not in fields]:
        raise EvaluationError(f"{where}: no field {', '.join(missing)}; it has {', '.join(fields) or 'none'}")
    count, data = int(message.width) * int(message.height), np.frombuffer(message.data, dtype=np.uint8)
    if len(data) < count * message.point_step:
        raise EvaluationError(f"{where}: {len(data)} bytes, expected {count * message.point_step} of {count} rows")
    order = ">" if message.is_bigendian else "<"
    dtype = np.dtype(
        {
            "names": list(wanted),
            "formats": [order + _DTYPES[fields[name].datatype] for name in wanted],
            "offsets": [fields[name].offset for name in wanted],
            "itemsize": message.point_step,
        }
    )
    return data[: count * message.point_step].view(dtype)


def _cells(message: Any, topic: str, frame: str) -> NDArray[np.int8]:
    """(H, W) int8 of an OccupancyGrid."""
    if message.header.frame_id != frame:
        raise EvaluationError(f"{topic}: is in {message.header.frame_id!r}, the grid in {frame!r}")
    shape = int(message.info.height), int(message.info.width)
    if len(message.data) != shape[0] * shape[1] or not len(message.data):
        raise EvaluationError(f"{topic}: {len(message.data)} cells, expected {shape[0]} rows of {shape[1]}")
    turned = message.info.origin.orientation
    if abs(turned.z) > 1e-9 or abs(turned.x) > 1e-9 or abs(turned.y) > 1e-9:
        raise EvaluationError(f"{topic}: its cells are turned, expected them parallel to the axes of {frame!r}")
    return np.asarray(message.data, dtype=np.int8).reshape(shape)
