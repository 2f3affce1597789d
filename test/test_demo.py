"""The demo's drawn street: the same every time, and what its id map says is what stands there."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from panoptic_ros.labels import LabelSet

DEMO = Path(__file__).resolve().parents[1] / "demo"
if not DEMO.is_dir():
    pytest.skip("needs demo/, which is only in a checkout", allow_module_level=True)
sys.path.insert(0, str(DEMO))

import street  # noqa: E402

SKY, ROAD, SIDEWALK, BUILDING, TRAFFIC_LIGHT, CAR, BUS = 23, 7, 8, 11, 19, 26, 28


@pytest.fixture(scope="module")
def drive() -> street.Street:
    return street.Street()


def pixel(x: float, y: float, z: float) -> tuple[int, int]:
    """Row and column of a point x metres right of, y above the road under and z ahead of the camera."""
    return round(335 + 960 * (1.5 - y) / z), round(640 + 960 * x / z)


def test_the_same_seed_draws_the_same_street(drive: street.Street) -> None:
    again = street.Street().frame(12)
    frame = drive.frame(12)
    assert (again.image == frame.image).all()
    assert (again.ids == frame.ids).all()
    assert (street.Street(8).frame(12).image != frame.image).any()


def test_frames_are_what_cameras_give(drive: street.Street) -> None:
    frame = drive.frame(3)
    assert frame.image.shape == (720, 1280, 3)
    assert frame.image.dtype == np.uint8
    assert frame.ids.shape == (720, 1280)
    assert frame.ids.dtype == np.int32


def test_ids_are_of_cityscapes_and_instances_are_unique(drive: street.Street) -> None:
    labels = LabelSet.load("cityscapes")
    seen = set()
    for index in (0, 30, 59):
        values = np.unique(drive.frame(index).ids)
        classes = values // 1000
        assert set(classes.tolist()) <= {0, *labels.class_ids.tolist()}
        instances = values[np.isin(classes, list(labels.thing_ids))] % 1000
        assert len(set(instances.tolist())) == len(instances)
        assert (instances > 0).all()
        seen |= {labels.name_of(int(class_id)) for class_id in classes}
    stuff = {"road", "sidewalk", "building", "pole", "traffic light", "traffic sign", "vegetation", "sky"}
    assert seen == {"void", *stuff, "person", "rider", "bicycle", "car", "truck", "bus"}


def patch(picture: NDArray[np.generic], row: int, column: int) -> NDArray[np.generic]:
    return picture[row - 2 : row + 3, column - 2 : column + 3]


def test_what_the_map_says_stands_in_the_picture(drive: street.Street) -> None:
    seconds = 4.5
    ego = 8.0 * seconds
    image, ids = drive.frame(45)
    places = {
        "sky": (pixel(0, 60, 200), SKY),
        "road": (pixel(0, 0, 9), ROAD),
        "walk": (pixel(-8.4, 0.14, 18), SIDEWALK),
        "house": (pixel(-11, 8, 20), BUILDING),
        "car": (pixel(0.15, 0.6, 17 + 8.6 * seconds - ego), CAR),
        "bus": (pixel(-3.4 + 0.9, 0.62, 82 - 7 * seconds - ego), BUS),
        "green light": (pixel(4.28, 2.8, 58 - ego), TRAFFIC_LIGHT),
    }
    colors = {}
    for name, (place, class_id) in places.items():
        assert (patch(ids, *place) // 1000 == class_id).all(), name
        colors[name] = patch(image, *place).reshape(-1, 3).mean(axis=0)
    blue, green, red = colors["sky"]
    assert blue > green > red
    assert np.ptp(colors["road"]) < 25  # grey
    blue, green, red = colors["bus"]
    assert red > green > 1.5 * blue  # yellow
    blue, green, red = colors["green light"]
    assert green > 1.5 * max(blue, red)


def test_what_stands_comes_nearer(drive: street.Street) -> None:
    areas = [np.count_nonzero(drive.frame(index).ids // 1000 == BUS) for index in (0, 20, 40, 50)]
    assert areas == sorted(areas)
    assert 100 < areas[0] < areas[-1] / 20


def test_stamps_are_read_from_serialized_messages() -> None:
    serialization = pytest.importorskip("rclpy.serialization", reason="needs rclpy")
    import exchange
    from sensor_msgs.msg import Image

    message = Image()
    message.header.stamp.sec, message.header.stamp.nanosec = 1_795_221_764, 178_376_126
    message.header.frame_id = "camera"
    assert exchange.header_stamp(serialization.serialize_message(message)) == 1_795_221_764_178_376_126


def test_a_value_that_left_the_diagnostics_is_the_last_known() -> None:
    pytest.importorskip("rclpy", reason="needs rclpy")
    import exchange
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

    def diagnostics(level: bytes, **values: str) -> DiagnosticArray:
        pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
        return DiagnosticArray(status=[DiagnosticStatus(level=level, name="panoptic_node: camera", values=pairs)])

    record = exchange.Record()
    record.diagnose(diagnostics(DiagnosticStatus.ERROR, processed="1", age="3.5"))
    record.diagnose(diagnostics(DiagnosticStatus.OK, processed="2", age=""))
    status = record.status("camera")
    assert dict(status.values) == {"processed": "2", "age": "3.5"}
    assert not status.is_error
    assert record.status("model").values == {}
