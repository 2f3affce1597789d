"""What the launch files share."""

from __future__ import annotations

import os

from launch.actions import SetEnvironmentVariable

from panoptic_ros.resources import share_directory

PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""What names the profile of Fast DDS, formerly and now."""


def dds_profile() -> list[SetEnvironmentVariable]:
    """Actions that set our Fast DDS profile, unless the user has one."""
    if any(os.environ.get(name) for name in PROFILE_VARIABLES):
        return []
    return [
        SetEnvironmentVariable(name, str(share_directory() / "config" / "fastdds.xml")) for name in PROFILE_VARIABLES
    ]
