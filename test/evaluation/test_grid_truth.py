"""The truth from above read out of messages, as the synthetic drives write them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from grid_truth_cases import CAR, CITYSCAPES, PERSON, ROAD, SECOND

from panoptic_ros import messages
from panoptic_ros.evaluation.grid_truth import OCCUPANCY, SEMANTIC, STATES, GridTruthReader, cloud_table
from panoptic_ros.evaluation.overlaps import EvaluationError
from panoptic_ros.label_mapping import LabelMapping
from panoptic_ros.messages import BagMessageTypes

TYPES = BagMessageTypes()
DATATYPES = {"u1": 2, "u2": 4, "u4": 6, "f4": 7}
STATE = [(name, "f4") for name in ("x", "y", "z", "length", "width", "height", "yaw", "vx", "vy", "vz")]
STATE += [("label", "u2"), ("instance", "u2")]
VISIBILITY = [("x", "f4"), ("visible", "u4"), ("label", "u2"), ("instance", "u2")]


@dataclass
class Pose:
    rotation: np.ndarray
    translation: np.ndarray


def cloud(stamp: int, frame: str, dtype: list[tuple[str, str]], rows: list[tuple[float, ...]], order: str = "<") -> Any:
    table = np.array(rows, dtype=[(name, order + kind) for name, kind in dtype])
    fields = [
        TYPES.make(
            "sensor_msgs/msg/PointField",
            name=name,
            offset=table.dtype.fields[name][1],
            datatype=DATATYPES[kind],
            count=1,
        )
        for name, kind in dtype
    ]
    return TYPES.make(
        "sensor_msgs/msg/PointCloud2",
        header=messages.make_header(TYPES, stamp, frame),
        height=1,
        width=len(table),
        fields=fields,
        is_bigendian=order == ">",
        point_step=table.dtype.itemsize,
        row_step=table.nbytes,
        data=np.frombuffer(table.tobytes(), np.uint8),
    )


def grid(stamp: int, values: np.ndarray, origin: tuple[float, float] = (1.0, 2.0), frame: str = "odom") -> Any:
    position = TYPES.make("geometry_msgs/msg/Point", x=origin[0], y=origin[1], z=0.0)
    info = TYPES.make(
        "nav_msgs/msg/MapMetaData",
        resolution=0.2,
        width=values.shape[1],
        height=values.shape[0],
        origin=TYPES.make("geometry_msgs/msg/Pose", position=position),
    )
    return TYPES.make(
        "nav_msgs/msg/OccupancyGrid",
        header=messages.make_header(TYPES, stamp, frame),
        info=info,
        data=values.astype(np.int8).reshape(-1),
    )


def quarter_turn(target: str, source: str, stamp: int) -> Any:
    """The frame odom lies at (10, 0) in front of map and is turned by 90 degrees."""
    assert (target, source, stamp) == ("odom", "map", SECOND)
    return Pose(np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), np.array([10.0, 0.0, 0.0]))


CELLS = np.array([[0, 100, -1], [100, 0, 0]])
IDS = np.array([[7, 26, -1], [24, 6, 7]])  # 6 is of no class of the set
STATES_ROWS = [(3, 4, 0.5, 4.0, 2.0, 1.5, 0.25, 2, 1, 0, 26, 17), (0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 99, 3)]


def taken(reader: GridTruthReader) -> GridTruthReader:
    seen = [(0.0, 250, 26, 17), (0.0, 3, 24, 2)]
    reader.take("/truth/left/visibility", cloud(SECOND - 5, "left", VISIBILITY, [(0.0, 40, 26, 17)]))
    reader.take("/truth/front/visibility", cloud(SECOND - 5, "front", VISIBILITY, seen, order=">"))
    reader.take(OCCUPANCY, grid(SECOND, CELLS))
    assert reader.complete() == []
    reader.take(SEMANTIC, grid(SECOND, IDS))
    reader.take(STATES, cloud(SECOND, "map", STATE, STATES_ROWS))
    return reader


def test_a_moment_is_put_together() -> None:
    reader = taken(GridTruthReader(CITYSCAPES, "odom", quarter_turn))
    assert reader.complete() == [SECOND]
    truth = reader.make(SECOND)
    assert reader.complete() == []
    assert (truth.stamp, truth.frame, truth.resolution, truth.origin) == (SECOND, "odom", 0.2, (1.0, 2.0))
    np.testing.assert_array_equal(truth.occupied, CELLS)
    np.testing.assert_array_equal(truth.classes, [[ROAD, CAR, -1], [PERSON, -1, ROAD]])
    (car,) = truth.objects  # the other is of no class of the set
    assert (car.id, car.class_index, car.visible, car.extent) == (26017, CAR, 250, (4.0, 2.0, 1.5))
    np.testing.assert_allclose(car.centre, [10 - 4, 3, 0.5])
    np.testing.assert_allclose(car.velocity, [-1, 2])
    assert car.yaw == pytest.approx(0.25 + math.pi / 2)


def test_a_moment_waits_for_what_cameras_see() -> None:
    """Their tables may come after the truth of their moment; at the end nothing is waited for."""
    topics = ("/truth/front/visibility", "/truth/left/visibility")
    reader = taken(GridTruthReader(CITYSCAPES, "odom", quarter_turn, topics))
    assert (reader.complete(), reader.complete(ended=True)) == ([], [SECOND])
    for topic, pixels in zip(topics, (70, 300), strict=True):
        assert reader.complete() == []
        reader.take(topic, cloud(SECOND, "front", VISIBILITY, [(0.0, pixels, 26, 17)]))
    assert reader.complete() == [SECOND]
    assert reader.make(SECOND).objects[0].visible == 300


def test_ids_are_mapped() -> None:
    camvid = LabelMapping.load("cityscapes_to_camvid").target
    mapping = LabelMapping.load("cityscapes_to_camvid")
    truth = taken(GridTruthReader(camvid, "odom", quarter_turn, mapping=mapping)).make(SECOND)
    names = [camvid.labels[index].name if index >= 0 else "" for index in truth.classes.reshape(-1)]
    assert [name.lower() for name in names] == ["road", "car", "", "pedestrian", "", "road"]


def test_a_pose_that_is_not_there_yet_keeps_the_moment() -> None:
    def never(target: str, source: str, stamp: int) -> Any:
        raise LookupError("not yet")

    reader = taken(GridTruthReader(CITYSCAPES, "odom", never))
    with pytest.raises(LookupError):
        reader.make(SECOND)
    assert reader.complete() == [SECOND]
    reader.forget(SECOND)
    assert reader.complete() == []


@pytest.mark.parametrize(
    ("topic", "message", "expected"),
    [
        (SEMANTIC, grid(SECOND, IDS, frame="map"), "is in 'map', the grid in 'odom'"),
        (SEMANTIC, grid(SECOND, IDS, origin=(1.2, 2.0)), "its cells are not those of /truth/occupancy"),
        (SEMANTIC, grid(SECOND, IDS[:1]), "its cells are not those of /truth/occupancy"),
        (STATES, cloud(SECOND, "map", STATE[:-1], [STATES_ROWS[0][:-1]]), "no field instance; it has x, y"),
    ],
)
def test_damaged_truths_are_named(topic: str, message: Any, expected: str) -> None:
    reader = taken(GridTruthReader(CITYSCAPES, "odom", quarter_turn))
    reader.take(topic, message)
    with pytest.raises(EvaluationError, match=f"^{topic}: .*{expected}"):
        reader.make(SECOND)


def test_a_table_that_is_too_short() -> None:
    message = cloud(SECOND, "map", STATE, STATES_ROWS)
    message.data = message.data[:-1]
    with pytest.raises(EvaluationError, match="here: 87 bytes, expected 88 of 2 rows"):
        cloud_table(message, ("x",), "here")
