"""A bag's sensors, poses and labels into a grid, message by message, as the node has them; without ROS."""

from panoptic_ros.recorded_grid.feed import FedGrid, RecordedFeed, Segment, merged_messages
from panoptic_ros.recorded_grid.topics import (
    INPUTS,
    GridCamera,
    GridTopics,
    GridTopicsError,
    find_grid_topics,
    find_image_topics,
    grid_camera,
)

__all__ = [
    "INPUTS",
    "FedGrid",
    "GridCamera",
    "GridTopics",
    "GridTopicsError",
    "RecordedFeed",
    "Segment",
    "find_grid_topics",
    "find_image_topics",
    "grid_camera",
    "merged_messages",
]
