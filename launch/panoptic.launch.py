"""The panoptic node for one camera, or for the cameras that a parameter file names.

    ros2 launch panoptic_ros panoptic.launch.py image_topic:=/camera/image_raw

An argument that is not given leaves the parameter to the parameter file.
"""

from __future__ import annotations

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from panoptic_ros.nodes.launching import dds_profile

CONFIG = Path(__file__).resolve().parents[1] / "config"

PARAMETERS = ("image_topic", "camera_info_topic", "model", "weights", "engine", "device")
"""Arguments that are parameters of the node, all of them text."""

SHOWN_IN_RVIZ = ("overlay", "instance_ids", "semantic")


def generate_launch_description() -> LaunchDescription:
    """Arguments, the DDS profile, then the node."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("image_topic", default_value="", description="Images: raw or compressed."),
            DeclareLaunchArgument("camera_info_topic", default_value="", description="CameraInfo of the images."),
            DeclareLaunchArgument("model", default_value="", description="Name in config/models, or a path."),
            DeclareLaunchArgument("weights", default_value="", description="Path of the weights."),
            DeclareLaunchArgument("engine", default_value="", description="What runs the network."),
            DeclareLaunchArgument("device", default_value="", description="auto, cpu, cuda, cuda:1 …"),
            DeclareLaunchArgument(
                "params_file", default_value=str(CONFIG / "panoptic_node.yaml"), description="Parameter file."
            ),
            DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node."),
            DeclareLaunchArgument("rviz", default_value="false", description="Start RViz beside the node."),
            DeclareLaunchArgument("use_sim_time", default_value="false", description="Take the time from /clock."),
            DeclareLaunchArgument("autostart", default_value="true", description="false waits for a manager."),
            DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn, error."),
            *dds_profile(),
            OpaqueFunction(function=_nodes),
        ]
    )


def _nodes(context: LaunchContext) -> list[Node]:
    """The node with the arguments that were given, and RViz."""

    def given(name: str) -> str:
        return str(LaunchConfiguration(name).perform(context))

    parameters: dict[str, ParameterValue | bool] = {
        name: ParameterValue(given(name), value_type=str) for name in PARAMETERS if given(name)
    }
    for name in ("use_sim_time", "autostart"):
        parameters[name] = given(name).lower() in ("true", "1")
    namespace = given("namespace").strip("/")
    root = f"/{namespace}" if namespace else ""
    return [
        Node(
            package="panoptic_ros",
            executable="panoptic_node",
            name="panoptic_node",
            namespace=namespace,
            parameters=[given("params_file"), parameters],
            arguments=["--ros-args", "--log-level", given("log_level")],
            output="screen",
        ),
        Node(
            package="rviz2",
            executable="rviz2",
            arguments=["-d", str(CONFIG / "rviz" / "panoptic.rviz")],
            remappings=[(f"/panoptic_node/{topic}", f"{root}/panoptic_node/{topic}") for topic in SHOWN_IN_RVIZ],
            parameters=[{"use_sim_time": parameters["use_sim_time"]}],
            condition=IfCondition(given("rviz")),
        ),
    ]
