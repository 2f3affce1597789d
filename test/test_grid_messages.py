"""What the grid publishes, of both kinds of messages, against literal readings of the conventions of each type."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent / "grid"))

from grid_boxes import FAR, LABELS, observed
from grid_pictures import STAMP, snapshot, tracked

from panoptic_ros.grid.snapshot import GridSnapshot
from panoptic_ros.labels import Label, LabelSet
from panoptic_ros.messages import BagMessageTypes, MessageTypes, RosMessageTypes
from panoptic_ros.messages.grid import grid_messages
from panoptic_ros.messages.topics import GRID_LATCHED, GRID_TOPICS

CAR = 26
CLOSE = np.array([100.0, -50.0, 1.0])


@pytest.fixture(scope="module", params=["rclpy", "rosbags"])
def types(request: pytest.FixtureRequest) -> MessageTypes:
    if request.param == "rosbags":
        return BagMessageTypes()
    ros = RosMessageTypes()
    for name in GRID_TOPICS.values():
        if not ros.has(name):
            pytest.skip(f"needs the ROS message {name}, which is not installed")
    return ros


@pytest.fixture(scope="module")
def observation() -> Any:
    generator = np.random.default_rng(3)
    car, road = (generator.uniform(-20, 20, (count, 3)).astype(np.float32) for count in (5, 7))
    one = observed((car, "car", 41, 0), (road, "road", 0, 0), origin=CLOSE, stamp=STAMP)
    one.obstacle[5:] = False
    one.classes[-1] = -1
    return one


@pytest.fixture(scope="module")
def grid() -> GridSnapshot:
    return snapshot()


@pytest.fixture(scope="module")
def made(types: MessageTypes, grid: GridSnapshot, observation: Any) -> dict[str, Any]:
    return grid_messages(types, grid, [tracked()], LABELS, observation)


def by_place(message: Any) -> dict[tuple[float, float], int]:
    """The cells of an OccupancyGrid by the middle of each, as its definition says: row-major from the origin."""
    info = message.info
    cells = {}
    for index, value in enumerate(message.data):
        row, column = divmod(index, info.width)
        x = info.origin.position.x + (column + 0.5) * info.resolution
        y = info.origin.position.y + (row + 0.5) * info.resolution
        cells[round(x, 6), round(y, 6)] = int(value)
    return cells


def layer_by_place(message: Any, name: str) -> dict[tuple[float, float], float]:
    """A layer of a GridMap by the middle of each cell, as grid_map_core reads it.

    Column-major in its own two indices, of which the first falls with x and the second with y from the corner at the
    positive ends of both (getPositionFromIndex).
    """
    data = message.data[message.layers.index(name)]
    outer, inner = data.layout.dim
    assert (outer.label, inner.label) == ("column_index", "row_index")
    assert inner.stride == inner.size
    assert outer.stride == outer.size * inner.size == len(data.data)
    assert (message.outer_start_index, message.inner_start_index) == (0, 0)
    info, centre = message.info, message.info.pose.position
    cells = {}
    for second in range(outer.size):
        for first in range(inner.size):
            x = centre.x + info.length_x / 2 - (first + 0.5) * info.resolution
            y = centre.y + info.length_y / 2 - (second + 0.5) * info.resolution
            cells[round(x, 6), round(y, 6)] = float(data.data[second * inner.size + first])
    return cells


def test_all_topics_are_made_and_only_those_that_are_wanted(
    types: MessageTypes, grid: GridSnapshot, observation: Any, made: dict[str, Any]
) -> None:
    assert made.keys() == GRID_TOPICS.keys()
    assert set(GRID_LATCHED) < GRID_TOPICS.keys()
    assert grid_messages(types, grid, [], LABELS, observation, {"nav_grid", "markers"}).keys() == {
        "nav_grid",
        "markers",
    }
    for topic, message in made.items():
        if topic == "markers":
            continue
        assert (message.header.stamp.sec, message.header.stamp.nanosec) == divmod(STAMP, 10**9), topic
        assert message.header.frame_id == "odom"


def test_grid_map_and_occupancy_grid_say_the_same_of_every_place(made: dict[str, Any], grid: GridSnapshot) -> None:
    percent, layer = by_place(made["occupancy"]), layer_by_place(made["grid_map"], "occupancy")
    assert percent.keys() == layer.keys()
    assert len(percent) == 64
    for place, value in layer.items():
        assert percent[place] == (-1 if np.isnan(value) else round(100 * value)), place
    assert len(set(percent.values())) > 20
    classes, ids = by_place(made["semantic_grid"]), layer_by_place(made["grid_map"], "class")
    for place, value in ids.items():
        assert classes[place] == (-1 if np.isnan(value) else value), place
    # And of one cell, by hand: row 2 is the third from the lowest y, column 5 the sixth from the lowest x.
    place = (10.0 + 5.5 * 0.5, -20.0 + 2.5 * 0.5)
    assert by_place(made["nav_grid"])[place] == grid.occupied[2, 5]
    assert layer_by_place(made["grid_map"], "entropy")[place] == pytest.approx(grid.entropy[2, 5], nan_ok=True)


@pytest.mark.parametrize(
    ("layer", "unknown"),
    [
        ("probability", lambda grid: grid.classes < 0),
        ("entropy", lambda grid: grid.classes < 0),
        ("instance", lambda grid: np.isnan(grid.age)),
        ("age", lambda grid: np.isnan(grid.age)),
    ],
)
def test_layers_are_nan_where_nothing_is_known(made: dict[str, Any], grid: GridSnapshot, layer: str, unknown) -> None:
    cells = layer_by_place(made["grid_map"], layer)
    for (row, column), is_unknown in np.ndenumerate(unknown(grid)):
        value = cells[10.25 + 0.5 * column, -19.75 + 0.5 * row]
        expected = np.nan if is_unknown else float(getattr(grid, layer)[row, column])
        assert value == pytest.approx(expected, nan_ok=True)
    assert made["grid_map"].basic_layers == ["occupancy"]


def test_class_ids_over_127_are_bytes(types: MessageTypes, observation: Any) -> None:
    labels = LabelSet("big", (Label(7, "road", False, (1, 2, 3)), Label(200, "car", True, (4, 5, 6))))
    classes = np.array([[0, 1], [-1, 1]], np.int16)
    message = grid_messages(types, snapshot(2, classes=classes), [], labels, observation, {"semantic_grid"})[
        "semantic_grid"
    ]
    assert np.asarray(message.data, dtype=np.int8).view(np.uint8).tolist() == [7, 200, 255, 200]
    with pytest.raises(ValueError, match=r"the grid has class 2, big only 2 classes"):
        grid_messages(types, snapshot(2, classes=classes + 1), [], labels, observation, {"semantic_grid"})


def test_nav_grid_has_three_values(made: dict[str, Any], grid: GridSnapshot) -> None:
    assert sorted(set(np.asarray(made["nav_grid"].data).tolist())) == [-1, 0, 100]
    assert np.asarray(made["nav_grid"].data).reshape(8, 8).tolist() == grid.occupied.tolist()
    assert made["nav_grid"].info.map_load_time == made["nav_grid"].header.stamp


def test_objects(made: dict[str, Any]) -> None:
    (found,) = made["objects"].detections
    (guess,) = found.results
    assert (found.id, guess.hypothesis.class_id, guess.hypothesis.score) == ("70001", "car", 0.625)
    size, centre = found.bbox.size, found.bbox.center
    assert (size.x, size.y, size.z) == (1.5, 0.75, 1.5)
    assert (centre.position.x, centre.position.y, centre.position.z) == (11.5, -18.25, 0.75)
    assert 2 * np.arctan2(centre.orientation.z, centre.orientation.w) == pytest.approx(2.0)
    covariance = np.asarray(guess.pose.covariance).reshape(6, 6)
    assert covariance[:2, :2].tolist() == [[0, 1], [4, 5]]
    assert not covariance[2:].any()
    assert found.header == made["objects"].header


def table_of(message: Any) -> list[dict[str, Any]]:
    """The points of a cloud, field by field and byte by byte."""
    codes = {2: "B", 4: "H", 6: "I", 7: "f"}
    assert message.row_step == message.point_step * message.width
    assert len(message.data) == message.row_step * message.height
    data = bytes(message.data)
    return [
        {
            field.name: struct.unpack_from(
                "<" + codes[field.datatype], data, index * message.point_step + field.offset
            )[0]
            for field in message.fields
        }
        for index in range(message.width * message.height)
    ]


def test_object_states_have_what_boxes_cannot(made: dict[str, Any]) -> None:
    (row,) = table_of(made["object_states"])
    assert row == {
        **{"x": 11.5, "y": -18.25, "z": 0.75, "length": 1.5, "width": 0.75, "height": 1.5},
        **{"yaw": 2.0, "vx": -1.0, "vy": 2.0, "vz": 0.0, "label": CAR, "instance": 70001},
    }


def test_markers_replace_those_before(made: dict[str, Any]) -> None:
    first, box, name, arrow = made["markers"].markers
    assert first.action == 3
    assert [(one.ns, one.type, one.id, one.action) for one in (box, name, arrow)] == [
        ("boxes", 1, 70001, 0),
        ("names", 9, 70001, 0),
        ("velocities", 0, 70001, 0),
    ]
    assert name.text == "car 70001, 2.2 m/s"
    assert (arrow.points[1].x - arrow.points[0].x, arrow.points[1].y - arrow.points[0].y) == (-1.0, 2.0)
    assert box.color.b == pytest.approx(142 / 255)
    assert all(one.header.frame_id == "odom" for one in (first, box, name, arrow))


def test_obstacle_points_are_where_they_are_in_the_fixed_frame(made: dict[str, Any], observation: Any) -> None:
    rows = table_of(made["obstacle_points"])
    expected = observation.points[:5].astype(np.float64) + CLOSE
    assert np.array([[row[axis] for axis in "xyz"] for row in rows]) == pytest.approx(expected, abs=1e-4)


def test_labelled_points_have_colours_as_rviz_reads_them(made: dict[str, Any], observation: Any) -> None:
    rows = table_of(made["points"])
    assert len(rows) == 12
    assert [row["label"] for row in rows] == [CAR] * 5 + [7] * 6 + [0]
    assert [row["instance"] for row in rows] == [41] * 5 + [0] * 7
    packed = [struct.unpack("<I", struct.pack("<f", row["rgb"]))[0] for row in rows]
    assert {f"{value:06x}" for value in packed} == {"00008e", "804080", "606060"}
    assert [row["height"] for row in rows] == pytest.approx(observation.heights.tolist())


def test_the_top_view_has_x_to_the_right_and_y_up(made: dict[str, Any]) -> None:
    message = made["top_view"]
    assert (message.encoding, message.height, message.width, message.step) == ("bgr8", 800, 800, 2400)


def test_live_and_bag_messages_are_the_same(grid: GridSnapshot, observation: Any) -> None:
    serialization = pytest.importorskip("rclpy.serialization", reason="needs rclpy")
    ros, bag = RosMessageTypes(), BagMessageTypes()
    if not all(ros.has(kind) for kind in GRID_TOPICS.values()):
        pytest.skip("needs grid_map_msgs and vision_msgs: tools/build_interfaces.py makes them")
    live = grid_messages(ros, grid, [tracked()], LABELS, observation)
    stored = grid_messages(bag, grid, [tracked()], LABELS, observation)
    for topic, kind in GRID_TOPICS.items():
        read = bag.store.deserialize_cdr(serialization.serialize_message(live[topic]), kind)
        # Written anew, because rclpy leaves the bytes between two fields as they happen to be.
        assert bytes(bag.store.serialize_cdr(read, kind)) == bytes(bag.store.serialize_cdr(stored[topic], kind)), topic


def test_far_from_the_origin_points_keep_their_centimetres(types: MessageTypes) -> None:
    """float32 has steps of 3 cm at 500 km; the sum is made in float64 before."""
    points = np.array([[0.25, 0.5, 0.125]] * 3, np.float32)
    one = observed((points, "car", 1, 0), origin=FAR)
    (row, *_) = table_of(grid_messages(types, snapshot(), [], LABELS, one, {"obstacle_points"})["obstacle_points"])
    assert row["x"] == np.float32(FAR[0] + 0.25)
    assert row["y"] == np.float32(FAR[1] + 0.5)
