"""A recorded drive, read back by a reader of MCAP that is not ours, equals what was measured."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from worlds import make_world, street

from panoptic_ros.bags import BagSource
from panoptic_ros.labels import LabelSet
from panoptic_ros.messages import BagMessageTypes, segmentation_from_messages
from panoptic_ros.recording import Recording
from panoptic_training.synthetic.bag import LATCHED, POINT, START, STATE, VISIBILITY, DriveMessages, quaternion
from panoptic_training.synthetic.drive import CameraSample, DepthSample, Drive, LidarSample, OdometrySample, TruthSample
from panoptic_training.synthetic.frames import rotation
from panoptic_training.synthetic.mounts import CameraMount, DepthMount, Lens, LidarMount
from panoptic_training.synthetic.production import SLICE, DrivePlan, weather_of
from panoptic_training.synthetic.rig import OdometrySettings, Rig, TruthSettings
from panoptic_training.synthetic.weather import RANDOM

LENS = Lens(96, 64, 70.0, distortion=(-0.1, 0.02, 0.001, 0.0, 0.0))
RIG = Rig(
    cameras=(
        CameraMount("front", (1.0, 0.0, 1.5), lens=LENS),
        CameraMount("rear", (-1.0, 0, 1.5), (0, 0, 180.0), lens=LENS),
    ),
    lidars=(LidarMount("roof", (0.0, 0.0, 1.9), rings=8, steps=90),),
    depth_cameras=(
        DepthMount("depth", (1.0, 0.0, 1.0), lens=LENS),
        DepthMount("depth_mm", (1.0, 0.0, 1.0), encoding="16UC1", lens=LENS),
    ),
    odometry=OdometrySettings(rate=20.0, speed_scale=0.05, speed_noise=0.1, yaw_rate_noise=0.05),
    truth=TruthSettings(rate=2.0, size=20.0),
)
LABELS = LabelSet.load("cityscapes")
DURATION = 1.2


def make_plan(compressed: bool = False) -> DrivePlan:
    return DrivePlan(make_world, RIG, seed=3, duration=DURATION, compressed=compressed)


def record(path: Path, plan: DrivePlan) -> Path:
    with Recording(path, BagMessageTypes(), {}, LATCHED) as recording:
        make = plan.maker(lambda: None)
        for part in range(plan.parts):
            recording.add(make(part))
        recording.finish()
    return path


def read(path: Path) -> dict[str, list[Any]]:
    found = defaultdict(list)
    with path.open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        for _, channel, message, content in reader.iter_decoded_messages():
            found[channel.topic].append((message.log_time, content))
    return found


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("bag") / "drive.mcap", make_plan())


@pytest.fixture(scope="module")
def topics(bag: Path) -> dict[str, list[Any]]:
    return read(bag)


@pytest.fixture(scope="module")
def samples() -> list[Any]:
    weather = weather_of(3, RANDOM)
    drive, made = Drive(make_world(3, DURATION, weather), RIG, 3, DURATION), []
    for start in range(0, round(DURATION * 1e9) + 1, SLICE):
        drive.raycaster.forget()
        made += drive.samples(start, start + SLICE)
    return made


def of(samples: list[Any], kind: type, name: str = "") -> list[Any]:
    return [one for one in samples if isinstance(one, kind) and (not name or one.camera.name == name)]


def pixels(message: Any, dtype: str, channels: int = 1) -> np.ndarray:
    rows = np.frombuffer(message.data, dtype).reshape(message.height, message.width, channels)
    assert message.step == rows[0].nbytes
    return rows if channels > 1 else rows[..., 0]


def table(message: Any, dtype: np.dtype) -> np.ndarray:
    """A PointCloud2 read by what it says of itself, not by what we know."""
    kinds = {2: "u1", 4: "<u2", 6: "<u4", 7: "<f4"}
    own = np.dtype(
        {
            "names": [field.name for field in message.fields],
            "formats": [kinds[field.datatype] for field in message.fields],
            "offsets": [field.offset for field in message.fields],
            "itemsize": message.point_step,
        }
    )
    assert own.names == dtype.names
    assert message.row_step == message.width * message.point_step == len(message.data)
    return np.frombuffer(bytes(message.data), own)


def nanoseconds(stamp: Any) -> int:
    return stamp.sec * 1_000_000_000 + stamp.nanosec


def matrix_of(transform: Any) -> np.ndarray:
    turn = transform.rotation
    x, y, z, w = turn.x, turn.y, turn.z, turn.w
    angle = 2 * np.arccos(np.clip(w, -1, 1))
    axis = np.array([x, y, z])
    length = np.linalg.norm(axis)
    matrix = np.eye(4)
    matrix[:3, :3] = cv2.Rodrigues(axis / length * angle if length else np.zeros(3))[0]
    matrix[:3, 3] = transform.translation.x, transform.translation.y, transform.translation.z
    return matrix


def test_images_and_their_truth(topics: dict[str, list[Any]], samples: list[Any]) -> None:
    for name in ("front", "rear"):
        expected = of(samples, CameraSample, name)
        assert len(expected) == len(topics[f"/{name}/image_raw"]) == 13
        for index, sample in enumerate(expected):
            log_time, image = topics[f"/{name}/image_raw"][index]
            assert (log_time, nanoseconds(image.header.stamp)) == (START + sample.ready, START + sample.stamp)
            assert (image.header.frame_id, image.encoding) == (f"{name}_optical_frame", "bgr8")
            np.testing.assert_array_equal(pixels(image, "u1", 3), sample.frame.image)
            panoptic = topics[f"/truth/{name}/panoptic"][index][1]
            np.testing.assert_array_equal(pixels(panoptic, "<i4"), sample.frame.ids)
            np.testing.assert_array_equal(
                pixels(topics[f"/truth/{name}/semantic"][index][1], "u1"), sample.frame.ids // 1000
            )
            np.testing.assert_array_equal(
                pixels(topics[f"/truth/{name}/instance_ids"][index][1], "<u2"), sample.frame.ids % 1000
            )
            detections = topics[f"/truth/{name}/instances"][index][1]
            seen = segmentation_from_messages(panoptic, detections, LABELS)
            assert len(seen.things) == len(detections.detections)
            rows = table(topics[f"/truth/{name}/visibility"][index][1], VISIBILITY)
            assert rows["instance"].tolist() == [one.truth.instance for one in sample.objects]
            areas = {segment.instance: segment.area for segment in seen.things}
            assert {row["instance"]: row["visible"] for row in rows if row["visible"]} == areas


def test_camera_info_is_that_of_the_lens(topics: dict[str, list[Any]]) -> None:
    info = topics["/front/camera_info"][0][1]
    assert (info.width, info.height, info.distortion_model) == (96, 64, "plumb_bob")
    assert list(info.k) == [70, 0, 47.5, 0, 70, 31.5, 0, 0, 1]
    assert list(info.d) == list(LENS.distortion)
    assert list(info.p) == [70, 0, 47.5, 0, 0, 70, 31.5, 0, 0, 0, 1, 0]


def test_points(topics: dict[str, list[Any]], samples: list[Any]) -> None:
    expected = of(samples, LidarSample)
    assert len(expected) == len(topics["/roof/points"]) == 12
    for (log_time, message), sample in zip(topics["/roof/points"], expected, strict=True):
        assert (log_time, nanoseconds(message.header.stamp)) == (START + sample.ready, START + sample.stamp)
        assert message.header.frame_id == "roof"
        points, scan = table(message, POINT), sample.scan
        np.testing.assert_array_equal(np.stack([points["x"], points["y"], points["z"]], 1), scan.xyz)
        for field, values in (
            ("intensity", scan.intensity),
            ("ring", scan.ring),
            ("time", scan.time_offset),
            ("label", scan.class_id),
            ("instance", scan.instance),
        ):
            np.testing.assert_array_equal(points[field], values)
        assert points["time"].min() >= 0
        assert points["time"].max() < 0.1


def test_depth(topics: dict[str, list[Any]], samples: list[Any]) -> None:
    for name, encoding, dtype in (("depth", "32FC1", "<f4"), ("depth_mm", "16UC1", "<u2")):
        expected = of(samples, DepthSample, name)
        assert len(expected) == len(topics[f"/{name}/image_raw"]) > 0
        for (_, message), sample in zip(topics[f"/{name}/image_raw"], expected, strict=True):
            assert message.encoding == encoding
            np.testing.assert_array_equal(pixels(message, dtype), sample.depth)


def test_transforms_put_the_vehicle_where_it_is(topics: dict[str, list[Any]], samples: list[Any]) -> None:
    world, expected = make_world(3, DURATION), of(samples, OdometrySample)
    assert len(topics["/tf"]) == len(topics["/odom"]) == len(topics["/clock"]) == len(expected) == 25
    for (log_time, message), (_, odometry), (_, clock), sample in zip(
        topics["/tf"], topics["/odom"], topics["/clock"], expected, strict=True
    ):
        names = [(one.header.frame_id, one.child_frame_id) for one in message.transforms]
        assert names == [("map", "odom"), ("odom", "base_link")]
        assert {nanoseconds(one.header.stamp) for one in message.transforms} == {log_time}
        assert nanoseconds(clock.clock) == log_time
        correction, motion = (matrix_of(one.transform) for one in message.transforms)
        np.testing.assert_allclose(correction @ motion, world.ego_pose(sample.stamp / 1e9), atol=1e-9)
        position = odometry.pose.pose.position
        np.testing.assert_allclose([position.x, position.y, position.z], motion[:3, 3], atol=1e-12)
        assert (odometry.header.frame_id, odometry.child_frame_id) == ("odom", "base_link")
        assert (odometry.twist.twist.linear.x, odometry.twist.twist.angular.z) == sample.twist
    assert abs(correction - np.eye(4)).max() > 1e-3  # it does drift


def test_static_transforms_are_latched(topics: dict[str, list[Any]], bag: Path) -> None:
    ((log_time, message),) = topics["/tf_static"]
    assert log_time == START
    found = {(one.header.frame_id, one.child_frame_id): matrix_of(one.transform) for one in message.transforms}
    expected = RIG.static_transforms()
    assert found.keys() == expected.keys()
    for key, matrix in expected.items():
        np.testing.assert_allclose(found[key], matrix, atol=1e-9)
    with bag.open("rb") as file:
        channels = make_reader(file).get_summary().channels.values()
    qos = {channel.topic: channel.metadata["offered_qos_profiles"] for channel in channels}
    assert "transient_local" in qos["/tf_static"]
    assert "transient_local" not in qos["/tf"]


def test_the_surroundings(topics: dict[str, list[Any]], samples: list[Any]) -> None:
    expected = of(samples, TruthSample)
    assert len(expected) == len(topics["/truth/objects"]) == 3
    for index, sample in enumerate(expected):
        boxes = topics["/truth/objects"][index][1]
        assert boxes.header.frame_id == "map"
        states = table(topics["/truth/object_states"][index][1], STATE)
        for box, state, thing in zip(boxes.detections, states, sample.objects, strict=True):
            assert (box.id, box.results[0].hypothesis.class_id) == (
                str(thing.instance),
                LABELS.name_of(thing.class_id),
            )
            center = box.bbox.center.position
            np.testing.assert_allclose([center.x, center.y, center.z], thing.center)
            assert (box.bbox.size.x, box.bbox.size.y, box.bbox.size.z) == thing.size
            np.testing.assert_allclose([state["vx"], state["vy"], state["vz"]], thing.velocity, rtol=1e-6)
            np.testing.assert_allclose([state["x"], state["y"], state["z"]], thing.center, rtol=1e-6)
        view = sample.top_view
        occupancy = topics["/truth/occupancy"][index][1]
        assert (occupancy.header.frame_id, occupancy.info.resolution) == ("odom", pytest.approx(0.25))
        assert (occupancy.info.origin.position.x, occupancy.info.origin.position.y) == view.origin
        values = np.array(occupancy.data, np.int8).reshape(occupancy.info.height, occupancy.info.width)
        np.testing.assert_array_equal(values == 100, view.occupied)
        np.testing.assert_array_equal(values == -1, ~view.known)
        classes = np.array(topics["/truth/semantic_grid"][index][1].data, np.int8).reshape(values.shape)
        np.testing.assert_array_equal(classes[view.known], view.classes[view.known])
        np.testing.assert_array_equal(pixels(topics["/truth/instance_grid"][index][1], "<u2"), view.instance)


def test_labels_are_named(topics: dict[str, list[Any]]) -> None:
    ((_, message),) = topics["/truth/label_info"]
    assert {one.class_id: one.class_name for one in message.class_map}[26] == "car"


def test_messages_lie_in_the_order_of_their_times(bag: Path) -> None:
    with bag.open("rb") as file:
        times = [message.log_time for _, _, message in make_reader(file).iter_messages(log_time_order=False)]
    assert times == sorted(times)


def test_the_node_finds_the_images_and_their_calibration(bag: Path) -> None:
    frames = list(BagSource(bag, ("/front/image_raw",)).frames())
    assert len(frames) == 13
    assert frames[0].info is not None
    assert frames[0].frame_id == "front_optical_frame"


def test_compressed_images_are_close(tmp_path: Path, samples: list[Any]) -> None:
    found = read(record(tmp_path / "small.mcap", make_plan(compressed=True)))
    assert "/front/image_raw" not in found
    for (_, message), sample in zip(
        found["/front/image_raw/compressed"], of(samples, CameraSample, "front"), strict=True
    ):
        picture = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
        assert np.abs(picture.astype(int) - sample.frame.image).mean() < 5


@pytest.mark.parametrize("rpy", [(0, 0, 0), (0, 0, np.pi), (np.pi, 0, 0), (0.3, -1.2, 3.1), (-2.9, 0.4, -1.6)])
def test_quaternions_turn_as_the_matrix_does(rpy: tuple[float, float, float]) -> None:
    turn = rotation(rpy)
    x, y, z, w = quaternion(turn)
    assert w >= 0
    vector = np.array([x, y, z])
    for axis in np.eye(3):  # v + 2 w (q x v) + 2 q x (q x v)
        crossed = 2 * np.cross(vector, axis)
        np.testing.assert_allclose(axis + w * crossed + np.cross(vector, crossed), turn @ axis, atol=1e-12)


def test_a_drive_without_things_has_empty_tables() -> None:
    world = street()
    world.bodies = ()
    types = BagMessageTypes()
    maker = DriveMessages(types, RIG, LABELS)
    for sample in Drive(world, RIG, 0, 0.1).samples():
        for message in maker.of(sample):
            types.store.serialize_cdr(message.content, message.kind)
