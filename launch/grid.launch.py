"""The semantic occupancy grid of what a panoptic node publishes, of lidars and of depth cameras.

    ros2 launch panoptic_ros grid.launch.py clouds:=/lidar/points

Start it beside panoptic.launch.py.  An argument that is not given leaves the parameter to the parameter file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from panoptic_ros.nodes.launching import dds_profile

CONFIG = Path(__file__).resolve().parents[1] / "config"

TEXTS = ("options", "fixed_frame", "base_frame", "confusion", "predictions", "labels", "odometry", "extrinsics")
LISTS = ("cameras", "clouds", "depths")

SHOWN_IN_RVIZ = ("semantic_grid", "occupancy", "markers", "points", "top_view")


def generate_launch_description() -> LaunchDescription:
    """Arguments, the DDS profile, then the node."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("cameras", default_value="", description="Names of the cameras, between commas."),
            DeclareLaunchArgument("clouds", default_value="", description="Topics of lidars, between commas."),
            DeclareLaunchArgument("depths", default_value="", description="Topics of depth images, between commas."),
            DeclareLaunchArgument("options", default_value="", description="Name in config/grid, or a path."),
            DeclareLaunchArgument("fixed_frame", default_value="", description="Frame that the grid stands still in."),
            DeclareLaunchArgument("base_frame", default_value="", description="Frame of the vehicle."),
            DeclareLaunchArgument("confusion", default_value="", description="confusion.json of an evaluation."),
            DeclareLaunchArgument("predictions", default_value="", description="What the masks lie below."),
            DeclareLaunchArgument("labels", default_value="", description="Label set of what has no label_info."),
            DeclareLaunchArgument("odometry", default_value="", description="nav_msgs/Odometry in place of /tf."),
            DeclareLaunchArgument("extrinsics", default_value="", description="YAML file of static transforms."),
            DeclareLaunchArgument(
                "params_file", default_value=str(CONFIG / "semantic_grid_node.yaml"), description="Parameter file."
            ),
            DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node."),
            DeclareLaunchArgument("rviz", default_value="false", description="Start RViz beside the node."),
            DeclareLaunchArgument("use_sim_time", default_value="false", description="Take the time from /clock."),
            DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn, error."),
            *dds_profile(),
            OpaqueFunction(function=_nodes),
        ]
    )


def _nodes(context: LaunchContext) -> list[Node]:
    """The node with the arguments that were given, and RViz."""

    def given(name: str) -> str:
        return str(LaunchConfiguration(name).perform(context)).strip()

    parameters: dict[str, Any] = {name: ParameterValue(given(name), value_type=str) for name in TEXTS if given(name)}
    for name in LISTS:
        if entries := [entry.strip() for entry in given(name).split(",") if entry.strip()]:
            parameters[name] = entries
    parameters["use_sim_time"] = given("use_sim_time").lower() in ("true", "1")
    namespace = given("namespace").strip("/")
    root = f"/{namespace}" if namespace else ""
    return [
        Node(
            package="panoptic_ros",
            executable="semantic_grid_node",
            name="semantic_grid_node",
            namespace=namespace,
            parameters=[given("params_file"), parameters],
            arguments=["--ros-args", "--log-level", given("log_level")],
            output="screen",
        ),
        Node(
            package="rviz2",
            executable="rviz2",
            arguments=["-d", str(CONFIG / "rviz" / "grid.rviz")],
            remappings=[
                (f"/semantic_grid_node/{topic}", f"{root}/semantic_grid_node/{topic}") for topic in SHOWN_IN_RVIZ
            ],
            parameters=[{"use_sim_time": parameters["use_sim_time"]}],
            condition=IfCondition(given("rviz")),
        ),
    ]
