"""The grid live and the one from a bag: the same messages, over DDS or read from the file, make the same cells."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from node_harness import RecordingLogger, Ros
from rclpy.parameter import Parameter
from rclpy.serialization import deserialize_message, serialize_message

pytest.importorskip("tf2_msgs", reason="needs tf2_msgs: tools/build_interfaces.py makes it")

sys.path.append(str(Path(__file__).resolve().parents[1] / "evaluation"))

from grid_stand_in import CITYSCAPES, TYPES, latched, matched
from grid_street import write_street
from rosbags.highlevel import AnyReader

from panoptic_ros.bags import BagMessage
from panoptic_ros.commands.grids import make_grids, recorded_segments
from panoptic_ros.grid.options import load_grid_options
from panoptic_ros.messages import nanoseconds
from panoptic_ros.messages.grid import grid_messages
from panoptic_ros.messages.topics import GRID_TOPICS
from panoptic_ros.nodes.semantic_grid_node import SemanticGridNode
from panoptic_ros.recorded_grid import RecordedFeed, find_grid_topics, grid_camera

MASKS, INFOS, CLOUDS = "/truth/front/panoptic", "/truth/front/camera_info", "/lidar/points"
COMPARED = frozenset(GRID_TOPICS) - {"grid_map", "top_view"}


class LiveNode(SemanticGridNode):
    def __init__(self, **options: Any) -> None:
        self.log = RecordingLogger()
        super().__init__(**options)

    def get_logger(self) -> Any:
        return self.log


@pytest.mark.parametrize("inputs", [("lidar", "depth"), ("camera",)])
def test_the_live_grid_is_the_replayed_one(ros: Ros, tmp_path: Path, inputs: tuple[str, ...]) -> None:
    """Every message of every topic, field by field; the live node gets each input when it has done with the last."""
    path = write_street(tmp_path / "street.mcap", 0.6)
    topics = find_grid_topics(path, [grid_camera(path, "", MASKS)])
    (grid,) = make_grids([inputs], load_grid_options("semantic_grid"), CITYSCAPES, None, as_node=True)
    feed = RecordedFeed(topics, [grid], recorded_segments(CITYSCAPES))

    given = {"labels": "cityscapes", "panoptic_topic": MASKS, "depth_rectified": False}
    given |= {"clouds": [CLOUDS]} if "lidar" in inputs else {}
    given |= {"depths": list(topics.depths)} if "depth" in inputs else {}
    overrides = [Parameter(name, value=value) for name, value in given.items()]
    node = LiveNode(context=ros.context, parameter_overrides=overrides, use_global_arguments=False)
    ros.spin_node(node)
    live = {
        name: ros.listen(type(TYPES.make(GRID_TOPICS[name])), f"/semantic_grid_node/{name}")
        for name in sorted(COMPARED)
    }
    ends = {one.topic_name.rpartition("/")[2]: one for one in node.publishers}
    ros.until(lambda: all(ends[name].get_subscription_count() for name in live), "listeners")

    replayed: list[dict[str, Any]] = []
    sent: dict[str, int] = {}
    with AnyReader([path]) as reader:
        wanted = topics.of_sensors(inputs) | topics.of_labels()
        connections = [one for one in reader.connections if one.topic in wanted]
        publishers = {
            one.topic: latched(ros, type(TYPES.make(one.msgtype)), one.topic)
            if one.topic == "/tf_static"
            else ros.publisher(type(TYPES.make(one.msgtype)), one.topic, depth=50)
            for one in connections
        }
        matched(ros, node, *publishers.values())
        for connection, time, raw in reader.messages(connections):
            topic = connection.topic
            made = feed.take(BagMessage(topic, time, reader.deserialize(raw, connection.msgtype)))
            for _, one in made:
                values = one.snapshot, one.objects, CITYSCAPES, one.observation
                replayed.append(grid_messages(TYPES, *values, COMPARED))
            publishers[topic].publish(bytes(raw))
            sent[topic] = sent.get(topic, 0) + 1

            def is_done() -> bool:
                summary = node.host.statistics.summary()
                came = topic not in summary.received or summary.received[topic] == sent[topic]  # noqa: B023
                return came and summary.results == len(replayed)

            if topic.endswith("camera_info"):
                ros.spin(0.05)  # which the node does not count
            ros.until(is_done, f"{topic} {sent[topic]}; {node.host.statistics.summary()}")
    assert not feed.problems
    assert len(replayed) >= 5
    assert node.host.statistics.summary().dropped == {}
    for name, messages in live.items():
        ros.until(lambda: len(messages) >= len(replayed), name)  # noqa: B023
        assert len(messages) == len(replayed)
        for live_one, replayed_one in zip(messages, (made[name] for made in replayed), strict=True):
            assert live_one == deserialize_message(serialize_message(replayed_one), type(live_one)), name
    stamps = [nanoseconds(one.header.stamp) for one in live["nav_grid"]]
    assert len(set(stamps)) > 4
    assert {-1, 0, 100} == set(live["nav_grid"][-1].data)
