"""The panoptic node for several cameras, which one network serves.

    ros2 launch panoptic_ros cameras.launch.py cameras_file:=/path/of/cameras.yaml

All other arguments are those of panoptic.launch.py.
"""

from __future__ import annotations

from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

SHARE = Path(__file__).resolve().parents[1]


def generate_launch_description() -> LaunchDescription:
    """panoptic.launch.py with the cameras' file as its parameter file."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "cameras_file",
                default_value=str(SHARE / "config" / "cameras.yaml"),
                description="Parameter file with the cameras and their topics; see config/cameras.yaml.",
            ),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(SHARE / "launch" / "panoptic.launch.py")),
                launch_arguments={"params_file": LaunchConfiguration("cameras_file")}.items(),
            ),
        ]
    )
