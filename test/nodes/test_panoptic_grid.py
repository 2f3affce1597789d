"""The panoptic node that makes the grid itself: its results reach the builder without crossing a topic."""

from __future__ import annotations

from typing import Any

import pytest
from node_harness import FakeSource, NodeUnderTest, Ros, picture
from rclpy.parameter import Parameter

pytest.importorskip("tf2_msgs", reason="needs tf2_msgs: tools/build_interfaces.py makes it")

from diagnostic_msgs.msg import DiagnosticArray
from grid_stand_in import CITYSCAPES, SECOND, StandIn, camera_info, cloud, latched, matched, transforms
from nav_msgs.msg import OccupancyGrid
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from tf2_msgs.msg import TFMessage

from panoptic_ros.messages import nanoseconds
from panoptic_ros.nodes.parameters import ParameterError


class Builders:
    """Makes stand-ins and keeps them."""

    def __init__(self) -> None:
        self.made: list[StandIn] = []

    def __call__(self, *arguments: Any) -> StandIn:
        self.made.append(StandIn(*arguments))
        return self.made[-1]


def start(ros: Ros, source: FakeSource, builders: Builders, **parameters: Any) -> NodeUnderTest:
    given = {"model": "fake", "weights": "fake.weights", "grid.enabled": True, "grid.clouds": ["/lidar/points"]}
    overrides = [Parameter(key, value=value) for key, value in (given | parameters).items()]
    node = NodeUnderTest(
        "panoptic_node",
        pipelines=source,
        builders=builders,
        context=ros.context,
        parameter_overrides=overrides,
        use_global_arguments=False,
    )
    ros.spin_node(node)
    return node


def test_results_become_a_grid_while_nobody_listens_to_masks(ros: Ros, source: FakeSource) -> None:
    builders = Builders()
    node = start(ros, source, builders, **{"diagnostics_period": 0.2})
    images, infos = ros.publisher(Image, "/camera/image_raw"), ros.publisher(CameraInfo, "/camera/camera_info")
    lidar, tf = ros.publisher(PointCloud2, "/lidar/points"), ros.publisher(TFMessage, "/tf")
    static = latched(ros, TFMessage, "/tf_static")
    static.publish(transforms((0, "base_link", "lidar", 1.0)))
    grids = ros.listen(OccupancyGrid, "/panoptic_node/occupancy", latched=True)
    diagnostics = ros.listen(DiagnosticArray, "/diagnostics")
    matched(ros, node, images, infos, lidar, tf)
    ros.until(lambda: builders.made and builders.made[0].poses, "the builder and the static transform")
    builder = builders.made[0]
    image = ros.image(picture())
    stamp = nanoseconds(image.header.stamp)
    info = camera_info(stamp, 32, 24)
    infos.publish(info)
    ros.spin(0.2)
    images.publish(image)
    ros.until(lambda: builder.views, "the view")
    (view,) = builder.views
    assert (view.stamp, view.frame, view.index) == (stamp, "camera_optical", 0)
    assert set(view.segmentation.ids[0].tolist()) == {7000, 26001}
    assert view.camera.matrix[0, 2] == 16.0
    assert builder.labels == CITYSCAPES
    for moment in (stamp - SECOND, stamp + SECOND):
        tf.publish(transforms((moment, "odom", "base_link", 0.0)))
        ros.spin(0.1)
    lidar.publish(cloud(stamp))
    ros.until(lambda: grids, "the grid")
    assert nanoseconds(grids[0].header.stamp) == stamp
    names = {one.name for array in diagnostics for one in array.status}
    ros.until(lambda: "panoptic_node: grid" in {one.name for array in diagnostics for one in array.status}, str(names))


def test_without_it_there_is_no_grid(ros: Ros, source: FakeSource) -> None:
    builders = Builders()
    node = start(ros, source, builders, **{"grid.enabled": False})
    ros.until(lambda: source.loaded, "the model")
    ros.spin(0.3)
    assert not builders.made
    topics = {one.topic_name for one in (*node.publishers, *node.subscriptions)}
    assert not topics & {"/panoptic_node/occupancy", "/tf", "/lidar/points", "/camera/image_raw"}


def test_a_parameter_of_the_grid_that_cannot_be_is_refused(ros: Ros, source: FakeSource) -> None:
    with pytest.raises(ParameterError, match=r"grid\.contact_line: expected one of auto, always, never"):
        start(ros, source, Builders(), **{"grid.contact_line": "sometimes"})
    node = start(ros, source, Builders(), **{"grid.options": "missing"})
    assert node.log.find("cannot be configured: options:", "missing.yaml: no such file", severity="error")
