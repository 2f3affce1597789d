"""The grid's node over real DDS: what comes in reaches the builder as it is, what it answers is published, and whatever
is broken is said, counted and kept from the builder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from node_harness import Ros

pytest.importorskip("tf2_msgs", reason="needs tf2_msgs: tools/build_interfaces.py makes it")
pytest.importorskip("grid_map_msgs", reason="needs grid_map_msgs: tools/build_interfaces.py makes it")

from grid_map_msgs.msg import GridMap
from grid_stand_in import (
    CITYSCAPES,
    NOW,
    SECOND,
    TYPES,
    GridNodeUnderTest,
    camera_info,
    cloud,
    depth_image,
    header,
    latched,
    mask,
    matched,
    say_labels,
    start_grid,
    transforms,
)
from nav_msgs.msg import OccupancyGrid, Odometry
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import LabelInfo

from panoptic_ros.labels import LabelSet
from panoptic_ros.messages import nanoseconds
from panoptic_ros.messages.topics import GRID_TOPICS
from panoptic_ros.nodes.parameters import ParameterError


class Robot:
    """Publishes what a robot has: poses, a lidar, and the masks of one camera."""

    def __init__(self, ros: Ros, node: GridNodeUnderTest) -> None:
        self._ros, self._node = ros, node
        self.static = latched(ros, TFMessage, "/tf_static")
        self.static.publish(transforms((0, "base_link", "lidar", 1.0), (0, "base_link", "optical", 2.0)))
        self.tf = ros.publisher(TFMessage, "/tf", depth=50)
        self.lidar = ros.publisher(PointCloud2, "/lidar/points")
        self.masks = ros.publisher(Image, "/panoptic_node/panoptic")
        self.infos = ros.publisher(CameraInfo, "/panoptic_node/camera_info")
        matched(ros, node, self.static, self.tf, self.lidar, self.masks, self.infos)
        ros.until(lambda: node.made and len(node.builder.poses) >= 2, "the static transforms")

    def move(self, *stamps: int) -> None:
        """Say where the robot is at each of some stamps, and wait until that is known."""
        before = len(self._node.builder.poses)
        for stamp in stamps:
            self.tf.publish(transforms((stamp, "odom", "base_link", 0.0)))
        self._ros.until(lambda: len(self._node.builder.poses) >= before + len(stamps), "the poses")


@pytest.fixture
def node(ros: Ros) -> GridNodeUnderTest:
    return start_grid(ros)


@pytest.fixture
def robot(ros: Ros, node: GridNodeUnderTest) -> Robot:
    return Robot(ros, node)


def status(diagnostics: list[DiagnosticArray]) -> tuple[Any, dict[str, str]]:
    """The last status of the grid, and its values."""
    for array in reversed(diagnostics):
        for one in array.status:
            if one.name == "semantic_grid_node: grid":
                return one, {pair.key: pair.value for pair in one.values}
    return None, {}


def kind_of_topic(name: str) -> type:
    return type(TYPES.make(GRID_TOPICS[name]))


def test_all_topics_are_published_with_the_stamp_and_frame_of_their_observation(
    ros: Ros, node: GridNodeUnderTest, robot: Robot
) -> None:
    received = {name: ros.listen(kind_of_topic(name), f"/semantic_grid_node/{name}") for name in GRID_TOPICS}
    diagnostics = ros.listen(DiagnosticArray, "/diagnostics")
    ros.until(lambda: all(ros.peer.count_publishers(f"/semantic_grid_node/{name}") for name in received), "publishers")
    publishers = {one.topic_name.rpartition("/")[2]: one for one in node.publishers}
    ros.until(lambda: all(publishers[name].get_subscription_count() for name in received), "listeners")
    robot.move(NOW - SECOND, NOW + SECOND)
    robot.lidar.publish(cloud(NOW))
    ros.until(lambda: all(received.values()), "all topics")
    for name, found in received.items():
        for message in found[0].markers if name == "markers" else found[:1]:
            assert (nanoseconds(message.header.stamp), message.header.frame_id) == (NOW, "odom"), name
    assert received["objects"][0].detections[0].id == "70001"
    assert len(received["points"][0].data) == 2 * received["points"][0].point_step
    ros.until(lambda: status(diagnostics)[1].get("grids") == "1", "the diagnostics")
    _, values = status(diagnostics)
    assert (values["objects"], values["labels"], values["fixed frame"]) == ("1", "cityscapes", "odom")
    assert values["received, /lidar/points"] == "1"
    assert values["processing p50 (ms)"]


def test_inputs_reach_the_builder_as_they_are(ros: Ros, node: GridNodeUnderTest, robot: Robot) -> None:
    robot.move(NOW - SECOND, NOW + SECOND)
    robot.infos.publish(camera_info(NOW))
    robot.masks.publish(mask(NOW))
    robot.lidar.publish(cloud(NOW))
    ros.until(lambda: node.builder.views and node.builder.clouds, "both")
    (view,) = node.builder.views
    assert (view.stamp, view.frame, view.name, view.index) == (NOW, "optical", "", 0)
    assert (view.segmentation.ids == 7000).all()
    assert view.camera.matrix[0, 0] == 10.0
    (found,) = node.builder.clouds
    assert (found.stamp, found.frame) == (NOW, "lidar")
    assert found.xyz.tolist() == [[1, 2, 3], [4, 5, 6]]
    expected = {("base_link", "lidar", True), ("base_link", "optical", True), ("odom", "base_link", False)}
    assert set(node.builder.poses) == expected
    assert node.builder.labels == CITYSCAPES
    assert (node.builder.confusion, node.builder.contact_line) == (None, None)
    assert node.dropped() == {}


def test_a_pose_that_comes_late_is_waited_for(ros: Ros, node: GridNodeUnderTest, robot: Robot) -> None:
    """The pose at the cloud's own stamp, never the latest that is there."""
    grids = ros.listen(OccupancyGrid, "/semantic_grid_node/occupancy", latched=True)
    robot.move(NOW - SECOND)
    robot.lidar.publish(cloud(NOW))
    ros.until(lambda: node.builder.clouds, "the cloud")
    ros.spin(0.3)
    assert not grids
    robot.move(NOW + SECOND)
    ros.until(lambda: grids, "the grid")


def test_a_map_that_nobody_heard_is_there_for_those_who_come_late(
    ros: Ros, node: GridNodeUnderTest, robot: Robot
) -> None:
    robot.move(NOW - SECOND, NOW + SECOND)
    robot.lidar.publish(cloud(NOW))
    ros.until(lambda: node.host.statistics.summary().results == 1, "the result")
    for name in ("occupancy", "nav_grid", "semantic_grid"):
        late = ros.listen(OccupancyGrid, f"/semantic_grid_node/{name}", latched=True)
        ros.until(lambda: late, name)  # noqa: B023
        ros.spin(0.3)
        assert len(late) == 1
        another = ros.listen(OccupancyGrid, f"/semantic_grid_node/{name}", latched=True)
        ros.until(lambda: another, "the latched one")  # noqa: B023
    unheard = ros.listen(GridMap, "/semantic_grid_node/grid_map")
    ros.spin(0.3)
    assert not unheard


def bad_clouds() -> dict[str, tuple[Any, str, str]]:
    nan = float("nan")
    lacking = cloud(NOW)
    lacking.fields[2].name = "intensity"
    short = cloud(NOW)
    short.data = short.data[:-1]
    return {
        "nan": (cloud(NOW, points=[(nan, 1.0, 1.0)] * 3), "empty cloud", "no point has a position"),
        "no z": (lacking, "bad cloud", "no field z; its fields are x, y, intensity"),
        "short": (short, "bad cloud", "data has 23 bytes, expected 24"),
        "no frame": (cloud(NOW, frame=""), "bad cloud", "cloud without frame_id"),
    }


@pytest.mark.parametrize("case", bad_clouds())
def test_a_bad_cloud_is_said_counted_and_kept_from_the_grid(
    ros: Ros, node: GridNodeUnderTest, robot: Robot, case: str
) -> None:
    bad, reason, words = bad_clouds()[case]
    diagnostics = ros.listen(DiagnosticArray, "/diagnostics")
    for count in range(1, 4):
        robot.lidar.publish(bad)
        ros.until(lambda: node.dropped().get(reason) == count, "the drop")  # noqa: B023
    assert len(node.log.find(reason, "/lidar/points", words, severity="error")) == 1
    assert node.builder.clouds == []
    ros.until(lambda: status(diagnostics)[1].get(f"dropped, {reason}") == "3", "the diagnostics")
    robot.move(NOW - SECOND, NOW + SECOND)
    robot.lidar.publish(cloud(NOW))
    ros.until(lambda: node.host.statistics.summary().results == 1, "the good one")


def test_a_frame_that_nobody_knows_is_said_and_counted(ros: Ros, node: GridNodeUnderTest, robot: Robot) -> None:
    diagnostics = ros.listen(DiagnosticArray, "/diagnostics")
    robot.move(NOW - SECOND, NOW + SECOND)
    for index in range(3):
        robot.lidar.publish(cloud(NOW + index, frame="elsewhere"))
        ros.until(lambda: node.dropped().get("unknown frame") == index + 1, "the drop")  # noqa: B023
    assert len(node.log.find("dropped: unknown frame: no transform names frame 'elsewhere'", severity="error")) == 1
    ros.until(lambda: "unknown frame" in status(diagnostics)[0].message if status(diagnostics)[0] else False, "warning")
    assert node.host.statistics.summary().results == 0


def test_without_camera_info_masks_wait_and_are_then_dropped(ros: Ros, node: GridNodeUnderTest, robot: Robot) -> None:
    robot.masks.publish(mask(NOW))
    ros.until(lambda: node.dropped().get("no CameraInfo") == 1, "the drop")
    assert node.log.find("no CameraInfo on /panoptic_node/camera_info", severity="error")
    assert node.builder.views == []
    robot.masks.publish(mask(NOW + 1))
    robot.infos.publish(camera_info(NOW + 1))  # a moment after its image
    ros.until(lambda: node.builder.views, "the mask that waited")
    assert [view.stamp for view in node.builder.views] == [NOW + 1]


@pytest.mark.parametrize(
    ("info", "words"),
    [
        (camera_info(NOW, 20, 6), "/panoptic_node/camera_info: camera_info is of another size: 20x6, the mask is 8x6"),
        (TYPES.make("sensor_msgs/msg/CameraInfo", width=8, height=6), "K is missing"),
    ],
)
def test_a_camera_info_that_does_not_fit_is_said(
    ros: Ros, node: GridNodeUnderTest, robot: Robot, info: Any, words: str
) -> None:
    robot.infos.publish(info)
    robot.masks.publish(mask(NOW))
    ros.until(lambda: node.dropped().get("bad CameraInfo") == 1, "the drop")
    assert node.log.find("bad CameraInfo on /panoptic_node/panoptic", words, severity="error")
    assert node.builder.views == []
    robot.infos.publish(camera_info(NOW))
    ros.spin(0.1)
    robot.masks.publish(mask(NOW))
    ros.until(lambda: node.builder.views, "the mask with another calibration")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"encoding": "mono8"}, "encoding is 'mono8', expected 32SC1"),
        ({"height": 9}, "a 8x9 32SC1 image has step 32"),
        ({"header": header(NOW, "")}, "the image has no frame_id"),
    ],
)
def test_a_bad_mask_is_said(
    ros: Ros, node: GridNodeUnderTest, robot: Robot, change: dict[str, Any], words: str
) -> None:
    robot.infos.publish(camera_info(NOW))
    bad = mask(NOW)
    for name, value in change.items():
        setattr(bad, name, value)
    robot.masks.publish(bad)
    ros.until(lambda: node.dropped().get("bad mask") == 1, "the drop")
    assert node.log.find("bad mask on /panoptic_node/panoptic", words, severity="error")
    assert node.builder.views == []


def test_a_bad_transform_does_not_cost_the_others(ros: Ros, node: GridNodeUnderTest, robot: Robot) -> None:
    message = transforms(
        (NOW, "odom", "base_link", float("nan")), (NOW, "odom", "base_link", 1.0), (NOW, "a", "a", 0.0)
    )
    message.transforms[2].transform.rotation.w = 2.0
    robot.tf.publish(message)
    ros.until(lambda: node.dropped().get("bad pose") == 2, "the drops")
    assert node.log.find("bad pose on /tf: transform of base_link in odom: expected a finite translation")
    assert node.log.find("bad pose on /tf: transform of a in a: expected a quaternion")
    assert ("odom", "base_link", False) in node.builder.poses


def test_when_the_grid_begins_anew_it_is_said(ros: Ros, node: GridNodeUnderTest, robot: Robot) -> None:
    diagnostics = ros.listen(DiagnosticArray, "/diagnostics")
    node.builder.resets["clock jumped back"] += 1
    words = "everything: clock jumped back"
    ros.until(lambda: node.log.find("the grid begins anew", words, severity="warning"), "the warning")
    ros.until(lambda: status(diagnostics)[1].get(f"dropped, {words}") == "1", "the diagnostics")


def test_labels_are_those_that_are_said_and_a_change_begins_anew(ros: Ros) -> None:
    node = start_grid(ros, labels="", contact_line="never")
    lidar = ros.publisher(PointCloud2, "/lidar/points")
    diagnostics = ros.listen(DiagnosticArray, "/diagnostics")
    said = ros.listen(LabelInfo, "/semantic_grid_node/label_info", latched=True)
    matched(ros, node, lidar)
    lidar.publish(cloud(NOW))
    ros.until(lambda: node.dropped().get("no labels yet") == 1, "the drop")
    ros.until(
        lambda: status(diagnostics)[0] and "waiting for label_info" in status(diagnostics)[0].message, "the warning"
    )
    say_labels(ros, CITYSCAPES)
    ros.until(lambda: node.made, "the builder")
    assert node.builder.labels == CITYSCAPES
    ros.until(lambda: said, "the same labels for the grid")
    coco = LabelSet.load("coco")
    say_labels(ros, coco)
    ros.until(lambda: len(node.made) == 2, "another builder")
    assert node.builder.labels == coco
    assert node.builder.contact_line is False
    assert node.log.find("the classes are now those of coco", severity="warning")


def test_odometry_and_extrinsics_take_the_place_of_tf(ros: Ros, tmp_path: Path) -> None:
    file = tmp_path / "extrinsics.yaml"
    file.write_text(
        "transforms:\n- {parent: base_link, child: lidar, translation: [1.0, 0.0, 2.0], rpy: [0.0, 0.0, 0.0]}\n"
    )
    node = start_grid(ros, odometry="/odom", extrinsics=str(file))
    odometry, lidar = ros.publisher(Odometry, "/odom"), ros.publisher(PointCloud2, "/lidar/points")
    matched(ros, node, odometry, lidar)
    assert "/tf" not in {one.topic_name for one in node.subscriptions}
    grids = ros.listen(OccupancyGrid, "/semantic_grid_node/nav_grid", latched=True)
    for stamp in (NOW - SECOND, NOW + SECOND):
        odometry.publish(TYPES.make("nav_msgs/msg/Odometry", header=header(stamp, "odom"), child_frame_id="base_link"))
        ros.spin(0.05)
    lidar.publish(cloud(NOW))
    ros.until(lambda: grids, "the grid")
    assert ("base_link", "lidar", True) in node.builder.poses
    odometry.publish(TYPES.make("nav_msgs/msg/Odometry", header=header(NOW, "odom")))
    ros.until(lambda: node.dropped().get("bad pose") == 1, "the drop")


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"extrinsics": "missing.yaml"}, "extrinsics: missing.yaml"),
        ({"options": "missing"}, "options: .*missing.yaml: no such file"),
        ({"labels": "missing"}, "labels: .*missing.yaml: no such file"),
        ({"base_frame": "odom"}, "fixed_frame and base_frame must be two names"),
        ({"cameras": ["objects"]}, "cameras: 'objects' is the name of a topic of the node"),
        ({"publish_rate": -1.0}, "publish_rate out of range"),
    ],
)
def test_parameters_that_cannot_be_are_refused(ros: Ros, parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        start_grid(ros, **parameters)


def test_extrinsics_that_are_no_rotation_are_refused(ros: Ros, tmp_path: Path) -> None:
    file = tmp_path / "extrinsics.yaml"
    file.write_text(
        "transforms:\n"
        "- {parent: base_link, child: lidar, translation: [0, 0, 0], matrix: [[1, 0, 0], [0, 1, 0], [0, 0, -1]]}\n"
    )
    with pytest.raises(ParameterError, match="not a rotation"):
        start_grid(ros, extrinsics=str(file))


def test_depth_images_come_with_the_camera_info_beside_them(ros: Ros) -> None:
    node = start_grid(ros, clouds=None, depths=["/depth/image"])
    images, infos = ros.publisher(Image, "/depth/image"), ros.publisher(CameraInfo, "/depth/camera_info")
    matched(ros, node, images, infos)
    ros.until(lambda: node.made, "the builder")
    infos.publish(camera_info(NOW))
    ros.spin(0.1)
    images.publish(depth_image(NOW))
    ros.until(lambda: node.builder.depths, "the depth image")
    assert (node.builder.depths[0].metres == np.float32(2.0)).all()
    assert node.builder.depths[0].camera.model == "pinhole"
    bad = depth_image(NOW)
    bad.encoding = "bgr8"
    images.publish(bad)
    ros.until(lambda: node.dropped().get("bad depth image") == 1, "the drop")
    assert node.log.find("bad depth image on /depth/image: encoding 'bgr8' is no depth image", severity="error")


def test_several_cameras_have_their_own_topics_and_numbers(ros: Ros) -> None:
    node = start_grid(ros, cameras=["front", "rear"], rear__panoptic_topic="/rear/mask", rear__rectified=True)
    topics = {"front": "/panoptic_node/front", "rear": "/rear"}
    names = {"front": "panoptic", "rear": "mask"}
    ros.until(lambda: node.made, "the builder")
    for index, camera in enumerate(topics):
        masks = ros.publisher(Image, f"{topics[camera]}/{names[camera]}")
        infos = ros.publisher(CameraInfo, f"{topics[camera]}/camera_info")
        matched(ros, node, masks, infos)
        infos.publish(camera_info(NOW))
        masks.publish(mask(NOW))
        ros.until(lambda: len(node.builder.views) == index + 1, camera)  # noqa: B023
        assert (node.builder.views[-1].name, node.builder.views[-1].index) == (camera, index)


def test_while_the_grid_is_busy_the_newest_cloud_waits(ros: Ros, node: GridNodeUnderTest, robot: Robot) -> None:
    robot.move(NOW - SECOND, NOW + SECOND)
    node.builder.gate.clear()
    ros.spin(0.3)
    for index in range(9):
        robot.lidar.publish(cloud(NOW + index))
        ros.until(lambda: node.host.statistics.summary().received.get("/lidar/points") == index + 1, "it")  # noqa: B023
    assert node.dropped() == {"superseded": 8}
    node.builder.gate.set()
    ros.until(lambda: node.host.statistics.summary().results == 1, "the newest")
    assert [one.stamp - NOW for one in node.builder.clouds] == [8]


def test_an_error_that_nobody_foresaw_does_not_end_the_grid(ros: Ros, node: GridNodeUnderTest, robot: Robot) -> None:
    robot.move(NOW - SECOND, NOW + SECOND)
    node.builder.trouble = RuntimeError("a surprise")
    robot.lidar.publish(cloud(NOW))
    ros.until(lambda: node.dropped().get("failed") == 1, "the failure")
    assert node.log.find("the grid could not be updated or published: a surprise", "Traceback", severity="error")
    node.builder.trouble = None
    robot.lidar.publish(cloud(NOW + 1))
    ros.until(lambda: node.host.statistics.summary().results == 1, "the next one")


def test_a_topic_that_is_silent_is_explained(ros: Ros) -> None:
    ros.publisher(OccupancyGrid, "/lidar/points")
    # Long enough that the node has met the publisher before it says what is wrong, which it does not soon repeat.
    node = start_grid(ros, silence_timeout=3.0)
    diagnostics = ros.listen(DiagnosticArray, "/diagnostics")
    words = (
        "nothing on /lidar/points for",
        "nav_msgs/msg/OccupancyGrid, but this node expects sensor_msgs/msg/PointCloud2",
    )
    ros.until(lambda: node.log.find(*words, severity="warning"), "the explanation")
    ros.until(lambda: node.log.find("nothing on /tf for", "nobody publishes it"), "the one of poses")
    ros.until(lambda: status(diagnostics)[0] and "nothing on" in status(diagnostics)[0].message, "the diagnostics")


def test_the_published_rate_can_be_bounded_and_nothing_is_lost_of_the_grid(ros: Ros) -> None:
    node = start_grid(ros, publish_rate=1.0)
    robot = Robot(ros, node)
    received = ros.listen(OccupancyGrid, "/semantic_grid_node/occupancy", latched=True)
    robot.move(NOW - SECOND, NOW + SECOND)
    for index in range(6):
        robot.lidar.publish(cloud(NOW + index))
        ros.until(lambda: node.host.statistics.summary().results == index + 1, "it")  # noqa: B023
    assert len(received) < 4
