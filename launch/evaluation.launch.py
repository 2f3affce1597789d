"""Measures what a panoptic node publishes against the truth that a bag has, while the bag is played.

    ros2 launch panoptic_ros evaluation.launch.py cameras:=front,rear out:=/path/of/results

Start it before the bag (bag.launch.py); the report is written when nothing more comes, and at the end.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from panoptic_ros.nodes.launching import dds_profile

CONFIG = Path(__file__).resolve().parents[1] / "config"

TEXTS = ("predictions", "truth", "labels", "mapping", "rule", "out")
NUMBERS = ("tolerance", "silence")


def generate_launch_description() -> LaunchDescription:
    """Arguments, the DDS profile, then the node."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("cameras", default_value="", description="Names of the cameras, between commas."),
            DeclareLaunchArgument("predictions", default_value="", description="What predictions lie below."),
            DeclareLaunchArgument("truth", default_value="", description="What truths lie below."),
            DeclareLaunchArgument("labels", default_value="", description="Label set of what has no label_info."),
            DeclareLaunchArgument("mapping", default_value="", description="Label mapping where classes differ."),
            DeclareLaunchArgument("rule", default_value="", description="coco, cityscapes or void_in_union."),
            DeclareLaunchArgument("out", default_value="", description="Folder of the report."),
            DeclareLaunchArgument("tolerance", default_value="", description="Seconds that stamps may differ."),
            DeclareLaunchArgument("silence", default_value="", description="Seconds until the report is written."),
            DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node."),
            DeclareLaunchArgument("use_sim_time", default_value="false", description="Take the time from /clock."),
            DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn, error."),
            *dds_profile(),
            OpaqueFunction(function=_nodes),
        ]
    )


def _nodes(context: LaunchContext) -> list[Node]:
    """The node with the arguments that were given."""

    def given(name: str) -> str:
        return str(LaunchConfiguration(name).perform(context)).strip()

    parameters: dict[str, Any] = {name: given(name) for name in TEXTS if given(name)}
    parameters |= {name: float(given(name)) for name in NUMBERS if given(name)}
    parameters["use_sim_time"] = given("use_sim_time").lower() in ("true", "1")
    if cameras := [name.strip() for name in given("cameras").split(",") if name.strip()]:
        parameters["cameras"] = cameras
    return [
        Node(
            package="panoptic_ros",
            executable="evaluation_node",
            name="evaluation_node",
            namespace=given("namespace").strip("/"),
            parameters=[parameters],
            arguments=["--ros-args", "--log-level", given("log_level")],
            output="screen",
        )
    ]
