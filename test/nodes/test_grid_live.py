"""The grid's node with the real builder over real DDS: a wall is where its map says, through all that goes wrong."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from node_harness import RecordingLogger, Ros
from rclpy.parameter import Parameter

pytest.importorskip("tf2_msgs", reason="needs tf2_msgs: tools/build_interfaces.py makes it")

from grid_stand_in import NOW, SECOND, camera_info, cloud, latched, mask, matched, transforms
from nav_msgs.msg import OccupancyGrid
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from tf2_msgs.msg import TFMessage

from panoptic_ros.grid import mapper as mapper_module
from panoptic_ros.grid.clouds import Cloud
from panoptic_ros.grid.observations import Observation
from panoptic_ros.messages import nanoseconds
from panoptic_ros.nodes.semantic_grid_node import SemanticGridNode

WALL = 8.05  # metres ahead of the lidar, which is 1 m ahead of base_link
LIDAR_HEIGHT = 1.5


class LiveNode(SemanticGridNode):
    def __init__(self, **options: Any) -> None:
        self.log = RecordingLogger()
        super().__init__(**options)

    def get_logger(self) -> Any:
        return self.log

    def dropped(self) -> dict[str, int]:
        return self.host.statistics.summary().dropped


def sweep() -> np.ndarray:
    """The points of a wall across the way, and of the ground before it."""
    across, up = np.meshgrid(np.arange(-4, 4, 0.04), np.arange(0.5, 2.0, 0.25))
    wall = np.column_stack([np.full(across.size, WALL), across.ravel(), up.ravel() - LIDAR_HEIGHT])
    ahead, aside = np.meshgrid(np.arange(2, 8, 0.25), np.arange(-3, 3, 0.1))
    ground = np.column_stack([ahead.ravel(), aside.ravel(), np.full(ahead.size, -LIDAR_HEIGHT)])
    return np.r_[wall, ground]


class Drive:
    """A robot at x = 100 m, with the node that listens to it."""

    def __init__(self, ros: Ros, tmp_path: Path) -> None:
        options = tmp_path / "grid.yaml"
        options.write_text("size: 200\nlabelling: {ego_box: [[-1, -1, 0], [1.5, 1, 2]]}\n")
        given = {
            "options": str(options),
            "labels": "cityscapes",
            "clouds": ["/lidar/points"],
            "diagnostics_period": 0.2,
        }
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        self.node = LiveNode(context=ros.context, parameter_overrides=overrides, use_global_arguments=False)
        ros.spin_node(self.node)
        self.ros = ros
        self.tf = ros.publisher(TFMessage, "/tf", depth=50)
        self.lidar = ros.publisher(PointCloud2, "/lidar/points")
        static = latched(ros, TFMessage, "/tf_static")
        message = transforms((0, "base_link", "lidar", 1.0))
        message.transforms[0].transform.translation.z = LIDAR_HEIGHT
        static.publish(message)
        self.maps = ros.listen(OccupancyGrid, "/semantic_grid_node/nav_grid", latched=True)
        matched(ros, self.node, self.tf, self.lidar, static)

    def move(self, stamp: int, x: float = 100.0) -> None:
        self.tf.publish(transforms((stamp, "odom", "base_link", x)))
        self.ros.spin(0.05)

    def see(self, stamp: int, points: np.ndarray | None = None, frame: str = "lidar") -> None:
        self.lidar.publish(cloud(stamp, frame, sweep() if points is None else points))
        self.ros.spin(0.05)

    def next_map(self) -> OccupancyGrid:
        before = len(self.maps)
        self.ros.until(lambda: len(self.maps) > before, f"a map; {self.node.dropped()}")
        return self.maps[-1]


@pytest.fixture
def drive(ros: Ros, tmp_path: Path) -> Drive:
    return Drive(ros, tmp_path)


def at(message: OccupancyGrid, x: float, y: float) -> int:
    """What a map says of a place in its frame."""
    info = message.info
    column = int((x - info.origin.position.x) / info.resolution)
    row = int((y - info.origin.position.y) / info.resolution)
    return int(message.data[row * info.width + column])


def test_a_wall_is_where_the_lidar_sees_it(drive: Drive) -> None:
    for index in range(3):
        stamp = NOW + index * SECOND // 10
        drive.move(stamp)
        drive.see(stamp)
    found = drive.ros.until(lambda: [one for one in drive.maps if nanoseconds(one.header.stamp) == stamp], "the last")[
        -1
    ]
    assert (found.header.frame_id, found.info.width) == ("odom", 200)
    assert [at(found, 101 + WALL, y) for y in (-2.05, 0.05, 2.05)] == [100, 100, 100]
    assert [at(found, x, 0.05) for x in (104.0, 106.0, 107.5)] == [0, 0, 0]
    assert [at(found, x, 0.05) for x in (101 + WALL + 1, 101 + WALL + 3, 92.0)] == [-1, -1, -1]
    # A cell of the robot's own cannot be an obstacle: a return from inside its box is not believed.
    drive.move(NOW + SECOND)
    own = np.array([[0.2, 0.05 * index, 0.1] for index in range(10)])
    drive.see(NOW + SECOND, np.r_[sweep(), own])
    found = drive.ros.until(
        lambda: [one for one in drive.maps if nanoseconds(one.header.stamp) > NOW + SECOND // 2], "it"
    )
    assert at(found[-1], 101.2, 0.25) != 100


def test_what_has_no_pose_waits_and_is_then_dropped(drive: Drive) -> None:
    drive.move(NOW)
    drive.see(NOW + SECOND // 5)  # newer than any pose
    drive.see(NOW + SECOND // 4, frame="elsewhere")
    drive.ros.spin(0.3)
    assert not drive.maps
    drive.move(NOW + SECOND)
    drive.ros.until(lambda: drive.maps, "the one that had waited")
    assert nanoseconds(drive.maps[0].header.stamp) == NOW + SECOND // 5
    drive.ros.until(lambda: drive.node.dropped() == {"unknown frame": 1}, "the other")
    assert drive.node.log.find("frame 'elsewhere'", severity="error")
    drive.see(NOW + 2 * SECOND)
    drive.see(NOW + 3 * SECOND)
    drive.ros.until(lambda: drive.node.dropped() == {"unknown frame": 1, "no pose": 1}, "the one that waited in vain")
    assert drive.node.log.find("dropped: no pose: cloud in lidar", severity="error")
    assert len(drive.maps) == 1


def test_a_jump_of_the_pose_is_dropped(drive: Drive) -> None:
    drive.move(NOW)
    drive.see(NOW)
    drive.ros.until(lambda: drive.maps, "the first")
    drive.see(NOW + SECOND // 20)
    drive.move(NOW + SECOND // 10, 150.0)
    drive.ros.until(lambda: drive.node.dropped().get("pose jump") == 1, "the jump")
    assert drive.node.log.find("dropped: pose jump", severity="error")
    assert len(drive.maps) == 1


def test_a_bag_that_loops_begins_anew(drive: Drive) -> None:
    for stamp in (NOW, NOW - 100 * SECOND):
        drive.move(stamp)
        drive.see(stamp)
        drive.ros.until(lambda: [one for one in drive.maps if nanoseconds(one.header.stamp) == stamp], "the map")  # noqa: B023
    assert drive.node.dropped() == {"everything: clock jumped back": 1}
    assert drive.node.log.find("the grid begins anew", "clock jumped back", severity="warning")


def test_a_camera_labels_what_the_lidar_sees(ros: Ros, drive: Drive) -> None:
    """With a camera that looks ahead from the lidar's place, all that it sees being building."""
    static = latched(ros, TFMessage, "/tf_static")
    message = transforms((0, "lidar", "optical", 0.0))
    turn = message.transforms[0].transform.rotation
    turn.x, turn.y, turn.z, turn.w = -0.5, 0.5, -0.5, 0.5
    masks, infos = (
        ros.publisher(Image, "/panoptic_node/panoptic"),
        ros.publisher(CameraInfo, "/panoptic_node/camera_info"),
    )
    classes = ros.listen(OccupancyGrid, "/semantic_grid_node/semantic_grid", latched=True)
    matched(ros, drive.node, masks, infos, static)
    static.publish(message)
    infos.publish(camera_info(NOW))
    ros.spin(0.2)
    for index in range(4):
        stamp = NOW + index * SECOND // 10
        drive.move(stamp)
        masks.publish(mask(stamp, value=11000))
        ros.spin(0.05)
        drive.see(stamp)
    drive.move(NOW + SECOND)
    found = ros.until(lambda: [one for one in classes if nanoseconds(one.header.stamp) == stamp], "the last")[-1]
    assert at(found, 101 + WALL, 0.05) == 11


class SlowWork:
    """Clouds are worked off for as long as nobody permits another one to be done."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.permits = threading.Semaphore(0)
        self.work = mapper_module.observe_cloud

    def __call__(self, cloud: Cloud, *others: Any) -> Observation:
        observation = self.work(cloud, *others)  # which fails where a pose is missing
        self.begun.append(cloud.stamp)
        self.permits.acquire()
        return observation


@pytest.fixture
def slow_work(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowWork]:
    slow = SlowWork()
    monkeypatch.setattr(mapper_module, "observe_cloud", slow)
    yield slow
    slow.permits.release(100)  # so that the thread can end


@pytest.mark.parametrize("poses", ["before", "after"])
def test_a_grid_that_is_slower_than_its_lidar_follows_the_newest_cloud(
    slow_work: SlowWork, drive: Drive, poses: str
) -> None:
    """Of three clouds that come during the work on one, with their poses before or after them, the last is next."""
    tenth, node = SECOND // 10, drive.node
    drive.move(NOW - SECOND)
    drive.see(NOW)
    drive.move(NOW + tenth // 2)
    drive.ros.until(lambda: slow_work.begun == [NOW], "the first")
    for turn in range(5):
        stamps = [NOW + (3 * turn + count) * tenth for count in (1, 2, 3)]
        if poses == "before":
            drive.move(stamps[-1])
        for stamp in stamps:
            drive.see(stamp)
        if poses == "after":
            drive.move(stamps[-1])
        received = 1 + 3 * (turn + 1)
        drive.ros.until(
            lambda: node.host.statistics.summary().received.get("/lidar/points") == received,  # noqa: B023
            "all three",
        )
        slow_work.permits.release()
        drive.ros.until(lambda: len(slow_work.begun) == turn + 2, "the next")  # noqa: B023
        assert slow_work.begun[-1] == stamps[-1]
    slow_work.permits.release()
    drive.ros.until(lambda: len(drive.maps) == 6, f"the maps; {node.dropped()}")
    assert [nanoseconds(one.header.stamp) for one in drive.maps] == slow_work.begun
    assert node.dropped() == {"superseded": 10}
    assert not node.log.find("dropped")
