"""Plays a bag beside the panoptic node, on the bag's time.

    ros2 launch panoptic_ros bag.launch.py bag:=/path/of/bag image_topic:=/camera/image_raw

All other arguments are those of panoptic.launch.py.
"""

from __future__ import annotations

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

SHARE = Path(__file__).resolve().parents[1]


def generate_launch_description() -> LaunchDescription:
    """The player with its clock, and panoptic.launch.py with use_sim_time."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("bag", description="The bag: a folder, or a file."),
            DeclareLaunchArgument("rate", default_value="1.0", description="How much faster than recorded."),
            DeclareLaunchArgument("loop", default_value="false", description="Begin again at the end."),
            DeclareLaunchArgument("delay", default_value="5.0", description="Seconds that the model has to load."),
            # First, because it also sets the DDS profile for the player.
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(SHARE / "launch" / "panoptic.launch.py")),
                launch_arguments={"use_sim_time": "true"}.items(),
            ),
            OpaqueFunction(function=_player),
        ]
    )


def _player(context: LaunchContext) -> list[ExecuteProcess]:
    def given(name: str) -> str:
        return str(LaunchConfiguration(name).perform(context))

    loop = ["--loop"] if given("loop").lower() in ("true", "1") else []
    options = ["--clock", "--rate", given("rate"), "--delay", given("delay"), *loop]
    return [ExecuteProcess(cmd=["ros2", "bag", "play", given("bag"), *options], output="screen")]
