"""Bags of every format in, and MCAP out as an independent reader sees it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from rosbags import rosbag1, rosbag2
from rosbags.typesys import Stores, get_typestore

from panoptic_ros import messages
from panoptic_ros.bags import BagWriter, copy_messages, open_source, read_frames
from panoptic_ros.encodings import ImageError
from panoptic_ros.frames import SourceError
from panoptic_ros.labels import LabelSet
from panoptic_ros.messages import BagMessageTypes
from panoptic_ros.segmentation import PanopticSegmentation

LABELS = LabelSet.load("cityscapes")
TYPES = BagMessageTypes()
IMAGE, PACKED, INFO = (f"sensor_msgs/msg/{kind}" for kind in ("Image", "CompressedImage", "CameraInfo"))
START = 1_700_000_000_000_000_000
FORMATS = ["mcap", "db3", "folder", "ros1"]


def _picture(value: int) -> np.ndarray:
    return np.full((6, 8, 3), (value, 2 * value, 5), np.uint8)


def _image(index: int, frame_id: str = "optical") -> Any:
    """An image that was taken 5 ms before it is logged."""
    header = messages.make_header(TYPES, START + index * 100_000_000 - 5_000_000, frame_id)
    return messages.bgr_image(TYPES, header, _picture(index))


def _packed(index: int) -> Any:
    header = messages.make_header(TYPES, START + index * 100_000_000, "optical")
    data = cv2.imencode(".png", _picture(index))[1].reshape(-1)
    return TYPES.make(PACKED, header=header, format="bgr8; png compressed bgr8", data=data)


def _info(focal: float) -> Any:
    k = np.array([focal, 0, 4, 0, focal, 3, 0, 0, 1.0])
    header = messages.make_header(TYPES, START, "optical")
    return TYPES.make(INFO, header=header, width=8, height=6, distortion_model="plumb_bob", k=k)


def _write(path: Path, kind: str, records: list[tuple[str, str, int, Any]]) -> Path:
    """Write (topic, type, log time in tenths of a second, message) by rosbags, as bag `kind`."""
    if kind == "ros1":
        return _write_ros1(path.with_suffix(".bag"), records)
    plugin = rosbag2.StoragePlugin.SQLITE3 if kind == "db3" else rosbag2.StoragePlugin.MCAP
    with rosbag2.Writer(path, version=9, storage_plugin=plugin) as writer:
        connections = {}
        for topic, type_, tenths, message in records:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, type_, typestore=TYPES.store)
            data = message if isinstance(message, bytes) else TYPES.store.serialize_cdr(message, type_)
            writer.write(connections[topic], START + tenths * 100_000_000, data)
    return path if kind == "folder" else path / f"{path.name}.{kind}"


def _write_ros1(path: Path, records: list[tuple[str, str, int, Any]]) -> Path:
    store = get_typestore(Stores.ROS1_NOETIC)

    def convert(message: Any) -> Any:
        """The ROS 1 message of the same content: headers have seq, matrices have capital names."""
        name = message.__msgtype__
        values = {key: getattr(message, key) for key in message.__dataclass_fields__ if key != "__msgtype__"}
        if name == INFO:
            values = {key.upper() if len(key) == 1 else key: value for key, value in values.items()}
        if name == "std_msgs/msg/Header":
            values["seq"] = 7
        values = {key: convert(value) if hasattr(value, "__msgtype__") else value for key, value in values.items()}
        return store.types[name](**values)

    with rosbag1.Writer(path) as writer:
        connections = {}
        for topic, type_, tenths, message in records:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, type_, typestore=store)
            data = message if isinstance(message, bytes) else store.serialize_ros1(convert(message), type_)
            writer.write(connections[topic], START + tenths * 100_000_000, data)
    return path


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_of_bag(tmp_path: Path, kind: str) -> None:
    path = _write(
        tmp_path / "bag",
        kind,
        [
            ("/front/image_raw", IMAGE, 1, _image(1)),
            ("/front/camera_info", INFO, 2, _info(100.0)),
            ("/left/image_raw/compressed", PACKED, 2, _packed(2)),
            ("/front/image_raw", IMAGE, 3, _image(3)),
            ("/front/camera_info", INFO, 4, _info(200.0)),
            ("/front/image_raw", IMAGE, 5, _image(5, "other")),
        ],
    )
    source = open_source(path)
    assert (source.topics, source.count) == (("/front/image_raw", "/left/image_raw/compressed"), 4)
    frames = list(source.frames())
    front, left = source.topics
    assert [frame.topic for frame in frames] == [front, left, front, front]
    for frame, index in zip(frames, (1, 2, 3, 5), strict=True):
        np.testing.assert_array_equal(frame.image, _picture(index))
        assert frame.log_time == START + index * 100_000_000
        assert frame.stamp == frame.log_time - (0 if frame.topic == left else 5_000_000)
        assert frame.frame_id == ("other" if index == 5 else "optical")
    # The first image came before its CameraInfo, which is then taken; after that, the latest.
    header = messages.make_header(TYPES, 0, "")
    focal = [frame.info and messages.camera_info(TYPES, header, frame.info, 8, 6).k[0] for frame in frames]
    assert focal == [100.0, None, 100.0, 200.0]


@pytest.mark.parametrize("kind", FORMATS)
def test_frames_from_the_middle_of_a_bag(tmp_path: Path, kind: str) -> None:
    records = [("/front/image_raw", IMAGE, index, _image(index)) for index in range(8)]
    path = _write(tmp_path / "bag", kind, [*records, ("/front/camera_info", INFO, 3, _info(5.0))])
    assert [int(frame.image[0, 0, 0]) for frame in open_source(path).frames(5)] == [5, 6, 7]
    assert list(open_source(path).frames(8)) == []


def test_which_topics_are_read(tmp_path: Path) -> None:
    topics = {
        "/a/image": IMAGE,
        "/a/image/compressed": PACKED,
        "/b/image/compressed": PACKED,
        "/d/image/compressedDepth": PACKED,
        "/a/camera_info": INFO,
    }
    contents = {IMAGE: _image(1), PACKED: _packed(1), INFO: _info(1.0)}
    path = _write(tmp_path / "bag", "mcap", [(topic, type_, 1, contents[type_]) for topic, type_ in topics.items()])
    assert open_source(path).topics == ("/a/image", "/b/image/compressed")
    chosen = open_source(path, ["b/image/compressed", "/a/image/compressed"])
    assert chosen.topics == ("/b/image/compressed", "/a/image/compressed")
    assert {frame.topic for frame in chosen.frames()} == set(chosen.topics)
    with pytest.raises(
        SourceError, match=r"no images on /c/image; its topics are .*/a/image \(sensor_msgs/msg/Image\)"
    ):
        open_source(path, ["/c/image"])
    with pytest.raises(SourceError, match="no images on /a/camera_info"):
        open_source(path, ["/a/camera_info"])


@pytest.mark.parametrize("kind", FORMATS)
def test_one_bad_message_is_one_bad_frame(tmp_path: Path, kind: str) -> None:
    unknown = _image(2)
    unknown.encoding = "bgr9"
    records = [_image(1), unknown, b"\0\1\0\0" + bytes(7), _image(4)]
    path = _write(tmp_path / "bag", kind, [("/c/image", IMAGE, index, one) for index, one in enumerate(records)])
    frames = list(read_frames(path))
    assert [isinstance(frame.image, ImageError) for frame in frames] == [False, True, True, False]
    assert "/c/image: encoding 'bgr9' is not supported" in str(frames[1].image)
    assert f"{path}: /c/image: a message of 11 bytes cannot be read" in str(frames[2].image)


@pytest.mark.parametrize("kind", ["mcap", "db3", "ros1"])
def test_a_truncated_bag_is_named(tmp_path: Path, kind: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    image = messages.bgr_image(TYPES, messages.make_header(TYPES, START, ""), noise)
    path = _write(tmp_path / "bag", kind, [("/c/image", IMAGE, index, image) for index in range(3)])
    whole = path.read_bytes()
    for share in (0.0, 0.001, 0.1, 0.5, 0.9, 0.999):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(SourceError, match=f"{path}: "):
            list(read_frames(path))


@pytest.mark.parametrize("kind", ["mcap", "db3", "ros1"])
def test_a_bag_with_flipped_bytes_raises_nothing_else(tmp_path: Path, kind: str) -> None:
    path = _write(tmp_path / "bag", kind, [("/c/image", IMAGE, index, _image(index)) for index in range(3)])
    whole = path.read_bytes()
    rng = np.random.default_rng(3)
    for _ in range(60):
        broken = bytearray(whole)
        for place in rng.integers(0, len(whole), 8):
            broken[place] = rng.integers(0, 256)
        path.write_bytes(broken)
        try:
            list(read_frames(path))
        except SourceError as error:
            assert str(path) in str(error)  # noqa: PT017 - it may as well be readable


def test_real_ros_1_bags_with_calibration(shared_data: Path) -> None:
    folder = shared_data / "bag_ros1_ubiquity_camera"
    for name, topic, size, focal in (
        ("aruco_images.bag", "/raspicam_node/image/compressed", (960, 1280), 1014.34310),
        ("fiducial_board_611.bag", "/raspicam_node/camera/image/compressed", (720, 1280), 1276.70462),
    ):
        (frame,) = read_frames(folder / name)
        assert (frame.topic, frame.frame_id, frame.image.shape[:2]) == (topic, "raspicam", size)
        info = messages.camera_info(TYPES, messages.make_header(TYPES, 0, ""), frame.info, size[1], size[0])
        assert info.k[0] == pytest.approx(focal)
        assert frame.image.std() > 20  # a photograph, not grey


@pytest.mark.parametrize("name", ["tf_example", "tf_example/tf_example.db3", "tf_example.bag", "nav2_turtlebot.mcap"])
def test_a_real_bag_without_camera_lists_its_topics(shared_data: Path, name: str) -> None:
    with pytest.raises(SourceError, match=rf"{name}: no camera images .*/tf \(tf2_msgs/msg/TFMessage\)"):
        open_source(shared_data / "bag_ros2_evo_tf_odom" / name)


def test_a_folder_of_bags_asks_for_one(tmp_path: Path) -> None:
    (tmp_path / "a.mcap").touch()
    with pytest.raises(SourceError, match=r"has bags but no metadata\.yaml; give one of them: a\.mcap"):
        open_source(tmp_path)


def _segmentation() -> PanopticSegmentation:
    ids = np.full((6, 8), 7000, np.int32)
    ids[2:4, 3:7] = 26001
    return PanopticSegmentation.from_ids(ids, LABELS.thing_ids, {26001: 0.75})


def _fill(writer: BagWriter, times: range) -> None:
    for time in times:
        header = messages.make_header(TYPES, time, "optical")
        value = _segmentation()
        writer.write("/n/panoptic", IMAGE, time, messages.panoptic_image(TYPES, header, value))
        detections = messages.instances(TYPES, header, value, LABELS)
        writer.write("/n/instances", "vision_msgs/msg/Detection2DArray", time, detections)
        if time == 0:
            info = messages.label_info(TYPES, header, LABELS)
            writer.write("/n/label_info", "vision_msgs/msg/LabelInfo", time, info)


def test_an_independent_reader_reads_what_is_written(tmp_path: Path) -> None:
    decoders = pytest.importorskip("mcap_ros2.decoder", reason="needs mcap-ros2-support")
    reading = pytest.importorskip("mcap.reader")
    path = tmp_path / "out.mcap"
    with BagWriter(path, TYPES, latched=["/n/label_info"]) as writer:
        _fill(writer, range(3))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.mcap"]
    with path.open("rb") as file:
        reader = reading.make_reader(file, decoder_factories=[decoders.DecoderFactory()])
        content = [
            (schema.name, channel, log.log_time, data) for schema, channel, log, data in reader.iter_decoded_messages()
        ]
        statistics = reader.get_summary().statistics
    assert (statistics.message_count, statistics.channel_count) == (7, 3)
    times = {topic: [time for _, channel, time, _ in content if channel.topic == topic] for topic in ("/n/panoptic",)}
    assert times == {"/n/panoptic": [0, 1, 2]}
    by_topic = {channel.topic: (schema, channel, data) for schema, channel, _, data in content}
    _, _, image = by_topic["/n/panoptic"]
    np.testing.assert_array_equal(np.frombuffer(image.data, "<i4").reshape(6, 8), _segmentation().ids)
    schema, channel, array = by_topic["/n/instances"]
    assert schema == "vision_msgs/msg/Detection2DArray"
    (detection,) = array.detections
    assert (detection.id, detection.results[0].hypothesis.class_id) == ("1", "car")
    assert detection.results[0].hypothesis.score == 0.75
    assert (detection.bbox.center.position.x, detection.bbox.size_x) == (5.0, 4.0)
    assert yaml.safe_load(channel.metadata["offered_qos_profiles"])[0]["durability"] == "volatile"
    _, channel, info = by_topic["/n/label_info"]
    assert [entry.class_name for entry in info.class_map][:2] == ["void", LABELS.labels[0].name]
    (qos,) = yaml.safe_load(channel.metadata["offered_qos_profiles"])
    assert (qos["durability"], qos["reliability"], qos["depth"]) == ("transient_local", "reliable", 1)


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out.mcap"
    path.write_bytes(b"precious")

    def fail() -> None:
        with BagWriter(path, TYPES) as writer:
            _fill(writer, range(2))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [file.name for file in tmp_path.iterdir()] == ["out.mcap"]
    assert path.read_bytes() == b"precious"


def _content(path: Path) -> list[tuple[str, int, bytes]]:
    with rosbag2.Reader(path) as reader:
        return [(connection.topic, time, bytes(data)) for connection, time, data in reader.messages()]


def test_a_full_disk_leaves_nothing_and_keeps_its_first_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not written yet cannot be when the bag is discarded either, so that closing it fails once more."""

    def fail() -> None:
        with BagWriter(tmp_path / "out.mcap", TYPES) as writer:
            _fill(writer, range(2))
            monkeypatch.setattr(writer._writer, "abort", lambda: os.write(os.open("/dev/full", os.O_WRONLY), b"0"))
            raise OSError(errno.ENOSPC, "the first")

    with pytest.raises(OSError, match="the first"):
        fail()
    assert not list(tmp_path.iterdir())


def test_copies_join_to_the_whole(tmp_path: Path) -> None:
    def write(name: str, fill: Callable[[BagWriter], None]) -> Path:
        path = tmp_path / name
        with BagWriter(path, TYPES) as writer:
            fill(writer)
        return path

    whole = write("whole.mcap", lambda writer: _fill(writer, range(5)))
    parts = [
        write("0.mcap", lambda writer: _fill(writer, range(2))),
        write("1.mcap", lambda writer: None),
        write("2.mcap", lambda writer: _fill(writer, range(2, 5))),
    ]
    joined = write("joined.mcap", lambda writer: [copy_messages(part, writer) for part in parts])  # type: ignore[arg-type,return-value]
    assert _content(joined) == _content(whole)
    assert len(_content(whole)) == 11
    parts[2].write_bytes(parts[2].read_bytes()[:-9])
    with pytest.raises(SourceError, match=r"2\.mcap: cannot be read"):
        write("again.mcap", lambda writer: [copy_messages(part, writer) for part in parts])  # type: ignore[arg-type,return-value]
    assert not (tmp_path / "again.mcap").exists()
