"""What of a bag reaches a grid, in which order, and the video that shows it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "evaluation"))

from bag_cases import CITYSCAPES, START, TYPES, Bag, stamps
from grid_street import ROWS, WIDTH, transform, write_street

from panoptic_ros import messages
from panoptic_ros.bags import BagMessage, bag_messages
from panoptic_ros.messages import NANOSECONDS, segmentation_from_messages
from panoptic_ros.messages.topics import CAMERA_INFO
from panoptic_ros.recorded_grid import (
    FedGrid,
    GridCamera,
    GridTopics,
    GridTopicsError,
    RecordedFeed,
    find_grid_topics,
    grid_camera,
    merged_messages,
)
from panoptic_ros.recorded_grid.video import HEIGHT, RATE, GridVideo, tile
from panoptic_ros.recorded_grid.video import WIDTH as VIDEO_WIDTH
from panoptic_ros.segmentation import PanopticSegmentation


class Notes:
    """A builder that writes down what it is given, and answers each cloud."""

    def __init__(self) -> None:
        self.given: list[tuple[str, Any]] = []
        self.dropped: dict[str, int] = {}
        self._ready: list[Any] = []

    def add_pose(self, parent: str, child: str, stamp: int, pose: Any, static: bool) -> None:
        self.given.append(("pose", (parent, child, stamp, static, pose)))

    def add_view(self, view: Any) -> None:
        self.given.append(("view", view))

    def add_cloud(self, cloud: Any) -> None:
        self.given.append(("cloud", cloud))
        self._ready.append(cloud.stamp)

    def add_depth(self, image: Any) -> None:
        self.given.append(("depth", image))

    def process(self) -> list[Any]:
        ready, self._ready = self._ready, []
        return ready

    def finish(self) -> list[Any]:
        self.given.append(("finish", None))
        return self.process()

    def of(self, kind: str) -> list[Any]:
        return [what for name, what in self.given if name == kind]


def segment(camera: GridCamera, parts: Mapping[str, Any]) -> PanopticSegmentation:
    return segmentation_from_messages(parts["labels"], parts.get("instances"), CITYSCAPES)


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_street(tmp_path_factory.mktemp("street") / "street.mcap", 0.5)


def fed(path: Path, *inputs: str, labels: str = "/truth/front/panoptic") -> tuple[RecordedFeed, list[Notes], list[Any]]:
    topics = find_grid_topics(path, [grid_camera(path, "front", labels)])
    notes = [Notes() for _ in inputs]
    grids = [FedGrid(name, frozenset(name.split("+")), note) for name, note in zip(inputs, notes, strict=True)]  # type: ignore[arg-type]
    feed = RecordedFeed(topics, grids, segment)
    results = []
    for message in merged_messages([((path,), topics.of_sensors() | topics.of_labels())]):
        results += feed.take(message)
    results += feed.finish()
    assert all(len(note.of("finish")) == 1 for note in notes)
    return feed, notes, results


def test_topics_are_found(street: Path) -> None:
    camera = grid_camera(street, "front", "/panoptic_node/front/panoptic")
    assert camera == GridCamera("front", camera.labels, "/panoptic_node/front/camera_info", False, {})
    topics = find_grid_topics(street, [camera])
    assert topics == GridTopics(
        (camera,), ("/lidar/points",), {"/depth/image_raw": "/depth/camera_info"}, ("/tf", "/tf_static"), ()
    )
    assert topics.inputs() == ("lidar", "depth", "camera")
    assert topics.of_sensors(["camera"]) == {"/tf", "/tf_static", "/panoptic_node/front/camera_info"}


def test_what_a_grid_has_made_is_no_sensor(street: Path, tmp_path: Path) -> None:
    path = tmp_path / "both.mcap"
    with Bag(path) as bag:
        for message in bag_messages(street, ["/lidar/points", "/tf"]):
            bag.add(message.topic, message.content.__msgtype__, message.content, message.log_time)
            if message.topic == "/lidar/points":
                bag.add("/semantic_grid_node/points", message.content.__msgtype__, message.content, message.log_time)
        for message in bag_messages(street, ["/truth/occupancy"]):
            bag.add("/semantic_grid_node/nav_grid", message.content.__msgtype__, message.content, message.log_time)
    assert find_grid_topics(path, []).clouds == ("/lidar/points",)


def test_odometry_stands_in_for_transforms(tmp_path: Path) -> None:
    path = write_street(tmp_path / "street.mcap", 0.2, transforms=False)
    assert find_grid_topics(path, []).odometry == ("/odom",)
    _, (notes,), _ = fed(path, "lidar")
    poses = notes.of("pose")
    assert [(parent, child, static) for parent, child, _, static, _ in poses] == [("odom", "base_link", False)] * 11
    assert poses[-1][4].translation[0] == pytest.approx(0.4)


def test_each_grid_has_its_inputs_and_all_labels(street: Path) -> None:
    feed, (lidar, depth, both), results = fed(street, "lidar", "camera", "lidar+depth")
    assert not feed.problems
    assert [len(notes.of("cloud")) for notes in (lidar, depth, both)] == [6, 0, 6]
    assert [len(notes.of("depth")) for notes in (lidar, depth, both)] == [0, 0, 6]
    for notes in (lidar, depth, both):
        assert [(view.stamp, view.name, view.index, view.frame) for view in notes.of("view")] == [
            (stamp, "front", 0, "optical") for stamp in stamps(6)
        ]
        assert [(parent, child, static) for parent, child, _, static, _ in notes.of("pose")][:3] == [
            ("base_link", "lidar", True),
            ("base_link", "optical", True),
            ("map", "odom", False),
        ]
    assert results == [(name, stamp) for stamp in stamps(6) for name in ("lidar", "lidar+depth")]
    view = lidar.of("view")[0]
    assert (view.camera.width, view.camera.height) == (WIDTH, ROWS)
    expected = next(bag_messages(street, ["/truth/front/panoptic"])).content
    np.testing.assert_array_equal(view.segmentation.ids, segment(view, {"labels": expected}).ids)


def test_a_frame_waits_for_what_belongs_to_it(tmp_path: Path) -> None:
    """Scores come after the ids, the CameraInfo last; scores that are lost do not hold up what follows."""
    path, ids = tmp_path / "bag.mcap", np.full((24, 32), 7000, np.int32)
    ids[:8, :8] = 26001
    with Bag(path) as bag:
        bag.labels("/panoptic_node")
        bag.add("/tf", "tf2_msgs/msg/TFMessage", TYPES.make("tf2_msgs/msg/TFMessage"), START)
        for index, stamp in enumerate(stamps(4)):
            bag.ids("/panoptic_node/front/panoptic", stamp, ids)
            if index != 1:
                bag.instances("/panoptic_node/front/instances", stamp, ids, {26001: 0.1 * index + 0.5}, delay=7)
        info = TYPES.make(
            CAMERA_INFO,
            header=messages.make_header(TYPES, START, "optical"),
            width=32,
            height=24,
            distortion_model="plumb_bob",
            d=np.zeros(5),
            k=np.array([20.0, 0, 16, 0, 20, 12, 0, 0, 1]),
            r=np.eye(3).reshape(-1),
            p=np.array([20.0, 0, 16, 0, 0, 20, 12, 0, 0, 0, 1, 0]),
        )
        bag.add("/panoptic_node/front/camera_info", CAMERA_INFO, info, START + 9)
    feed, (notes,), _ = fed(path, "lidar", labels="/panoptic_node/front/panoptic")
    views = notes.of("view")
    assert [view.stamp for view in views] == stamps(4)
    scores = [next(one.score for one in view.segmentation.segments if one.id == 26001) for view in views]
    assert scores == pytest.approx([0.5, 1.0, 0.7, 0.8])
    assert not feed.problems


def test_a_broken_message_is_counted(street: Path) -> None:
    feed, (notes,), _ = fed(street, "lidar+depth")
    before = len(notes.given)
    message = next(bag_messages(street, ["/lidar/points"])).content
    message.fields = message.fields[:2]
    assert feed.take(BagMessage("/lidar/points", 0, message)) == []
    turned = transform(START, "a", "b", (0.0, 0.0, 0.0), np.eye(3))
    turned.transform.rotation.w = 0.3
    feed.take(BagMessage("/tf", 0, TYPES.make("tf2_msgs/msg/TFMessage", transforms=[turned])))
    image = next(bag_messages(street, ["/depth/image_raw"])).content
    image.encoding = "rgb8"
    feed.take(BagMessage("/depth/image_raw", 0, image))
    assert len(notes.given) == before
    assert sorted(reason.partition(":")[0] for reason in feed.problems) == ["/depth/image_raw", "/lidar/points", "/tf"]
    assert sum(feed.problems.values()) == 3


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        ({"/tf", "/tf_static", "/odom"}, "no poses: expected tf2_msgs/msg/TFMessage or nav_msgs/msg/Odometry"),
        (
            {"/truth/front/camera_info"},
            "/truth/front/panoptic: no sensor_msgs/msg/CameraInfo on /truth/front/camera_in",
        ),
    ],
)
def test_what_is_missing_is_named(street: Path, tmp_path: Path, missing: set[str], expected: str) -> None:
    path = tmp_path / "less.mcap"
    wanted = {"/tf", "/tf_static", "/odom", "/truth/front/panoptic", "/truth/front/camera_info"} - missing
    with Bag(path) as bag:
        for message in bag_messages(street, wanted):
            bag.add(message.topic, message.content.__msgtype__, message.content, message.log_time)
    with pytest.raises(GridTopicsError, match=expected):
        find_grid_topics(path, [grid_camera(path, "front", "/truth/front/panoptic")])


def test_several_bags_are_read_in_the_order_of_their_times(tmp_path: Path) -> None:
    names = ("a", "b", "c")
    for name, times in zip(names, ((1, 4), (6, 8), (4, 5, 7)), strict=True):
        with Bag(tmp_path / f"{name}.mcap") as bag:
            for time in times:
                bag.add(f"/{name}", "std_msgs/msg/Header", messages.make_header(TYPES, time, ""), time)
                bag.add("/unwanted", "std_msgs/msg/Header", messages.make_header(TYPES, time, ""), time)
    first, second, third = (tmp_path / f"{name}.mcap" for name in names)
    merged = merged_messages([((third,), {"/c"}), ((first, second), {"/a", "/b"})])
    assert [(message.topic, message.log_time) for message in merged] == [
        ("/a", 1),
        ("/c", 4),
        ("/a", 4),
        ("/c", 5),
        ("/b", 6),
        ("/c", 7),
        ("/b", 8),
    ]


def test_a_video_keeps_the_time(tmp_path: Path) -> None:
    """A moment is seen until the next one; a gap of minutes is cut short, and a clock that goes back begins anew."""
    path = tmp_path / "grid.mp4"
    grid = np.zeros((400, 400, 3), np.uint8)
    grid[:, :, 2] = 255
    seconds = (100.0, 100.05, 100.1, 100.45, 100.5, 400.0, 50.0)
    counts = []
    with GridVideo(path) as video:
        for at in seconds:
            count = video.due(round(at * NANOSECONDS))
            counts.append(count)
            video.write(count, {"front": np.full((60, 100, 3), (255, 0, 0), np.uint8)}, grid)
        assert not path.exists()
    assert counts == [1, 0, 1, 3, 1, 1, 1]
    assert [file.name for file in tmp_path.iterdir()] == ["grid.mp4"]
    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FPS) == RATE
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1])
    assert len(frames) == sum(counts)
    assert frames[0].shape == (HEIGHT, VIDEO_WIDTH + HEIGHT, 3)
    np.testing.assert_allclose(frames[0][HEIGHT // 2, VIDEO_WIDTH // 2], (255, 0, 0), atol=12)
    np.testing.assert_allclose(frames[0][HEIGHT // 2, VIDEO_WIDTH + HEIGHT // 2], (0, 0, 255), atol=12)


def test_a_video_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), GridVideo(tmp_path / "grid.mp4"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"grid.avi: expected a name that ends in .mp4"):
        GridVideo(tmp_path / "grid.avi")


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6])
def test_all_cameras_are_seen(count: int) -> None:
    """Each picture is there, in its proportions, and none over another."""
    colors = [(40 * index + 40, 255 - 40 * index, 90) for index in range(count)]
    pictures = [(f"camera {index}", np.full((48, 80, 3), colors[index], np.uint8)) for index in range(count)]
    tiled = tile(pictures, 960, 720)
    assert tiled.shape == (720, 960, 3)
    areas = []
    for color in colors:
        rows, columns = np.nonzero((tiled == color).all(axis=2))
        width, height = np.ptp(columns) + 1, np.ptp(rows) + 1
        assert width / height == pytest.approx(80 / 48, rel=0.02)
        areas.append(width * height)
        assert len(rows) > 0.85 * width * height  # the name takes the rest
    assert max(areas) / min(areas) < 1.05
