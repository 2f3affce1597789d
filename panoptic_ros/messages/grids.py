"""The semantic occupancy grid as ``nav_msgs/OccupancyGrid`` and ``grid_map_msgs/GridMap``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.grid.snapshot import GridSnapshot
from panoptic_ros.labels import LabelSet
from panoptic_ros.messages.camera import make_header
from panoptic_ros.messages.topics import GRID_MAP, OCCUPANCY_GRID
from panoptic_ros.messages.types import MessageTypes

UNKNOWN = -1


def occupancy_grid(types: MessageTypes, snapshot: GridSnapshot) -> Any:
    """The probability that something stands in a cell, in percent; -1 where nothing was seen."""
    percent = np.full(snapshot.occupancy.shape, UNKNOWN, dtype=np.int8)
    seen = ~np.isnan(snapshot.occupancy)
    percent[seen] = np.rint(100 * snapshot.occupancy[seen])
    return _grid(types, snapshot, percent)


def nav_grid(types: MessageTypes, snapshot: GridSnapshot) -> Any:
    """-1 unknown, 0 free, 100 occupied: Nav2's StaticLayer takes nothing below 100 as lethal unless told to."""
    return _grid(types, snapshot, snapshot.occupied)


def semantic_grid(types: MessageTypes, snapshot: GridSnapshot, labels: LabelSet) -> Any:
    """The data set's id of each cell's class as a byte; -1, the byte 255, without a label.

    A cell of an OccupancyGrid is an int8, so that ids over 127 appear as ``id - 256``; its bytes are the ids.
    """
    return _grid(types, snapshot, class_ids(snapshot, labels).astype(np.uint8).view(np.int8))


def grid_map(types: MessageTypes, snapshot: GridSnapshot, labels: LabelSet) -> Any:
    """All layers as a GridMap; what is not known in a cell is NaN.

    The layers are ``occupancy`` (probability), ``class`` (the data set's id), ``probability`` of that class,
    ``entropy`` (nats), ``instance`` (track, 0 for none) and ``age`` (seconds).  In grid_map the first index falls with
    x, the second with y, and the first runs fastest in memory; its pose is the centre.
    """
    ids = class_ids(snapshot, labels)
    labelled = ids != UNKNOWN
    layers = {
        "occupancy": snapshot.occupancy,
        "class": np.where(labelled, ids, np.nan),
        "probability": np.where(labelled, snapshot.probability, np.nan),
        "entropy": snapshot.entropy,
        "instance": np.where(np.isnan(snapshot.age), np.nan, snapshot.instance),
        "age": snapshot.age,
    }
    rows, columns = snapshot.occupied.shape
    layout = types.make(
        "std_msgs/msg/MultiArrayLayout",
        dim=[
            types.make("std_msgs/msg/MultiArrayDimension", label="column_index", size=rows, stride=rows * columns),
            types.make("std_msgs/msg/MultiArrayDimension", label="row_index", size=columns, stride=columns),
        ],
    )
    x, y = snapshot.centre
    info = types.make(
        "grid_map_msgs/msg/GridMapInfo",
        resolution=float(snapshot.resolution),
        length_x=float(columns * snapshot.resolution),
        length_y=float(rows * snapshot.resolution),
        pose=_pose(types, x, y),
    )
    return types.make(
        GRID_MAP,
        header=make_header(types, snapshot.stamp, snapshot.frame),
        info=info,
        layers=list(layers),
        basic_layers=["occupancy"],
        data=[
            types.make("std_msgs/msg/Float32MultiArray", layout=layout, data=_reversed(values))
            for values in layers.values()
        ],
    )


def class_ids(snapshot: GridSnapshot, labels: LabelSet) -> NDArray[np.int16]:
    """(N, N) int16, the data set's id of each cell's class, -1 without a label.

    Raises
    ------
    ValueError
        If the label set has fewer classes than the grid.
    """
    table = np.append(labels.class_ids, UNKNOWN).astype(np.int16)
    if snapshot.classes.max(initial=-1) >= len(labels):
        raise ValueError(f"the grid has class {snapshot.classes.max()}, {labels.name} only {len(labels)} classes")
    return table[snapshot.classes]


def _reversed(values: NDArray[Any]) -> NDArray[np.float32]:
    return np.ascontiguousarray(values[::-1, ::-1], dtype=np.float32).reshape(-1)


def _grid(types: MessageTypes, snapshot: GridSnapshot, values: NDArray[np.int8]) -> Any:
    rows, columns = values.shape
    header = make_header(types, snapshot.stamp, snapshot.frame)
    info = types.make(
        "nav_msgs/msg/MapMetaData",
        map_load_time=header.stamp,
        resolution=float(snapshot.resolution),
        width=columns,
        height=rows,
        origin=_pose(types, *snapshot.origin),
    )
    return types.make(OCCUPANCY_GRID, header=header, info=info, data=np.ascontiguousarray(values).reshape(-1))


def _pose(types: MessageTypes, x: float, y: float) -> Any:
    return types.make(
        "geometry_msgs/msg/Pose",
        position=types.make("geometry_msgs/msg/Point", x=float(x), y=float(y), z=0.0),
        orientation=types.make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0),
    )
