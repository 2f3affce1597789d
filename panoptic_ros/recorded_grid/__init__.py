"""A bag's sensors, poses and labels into a grid, message by message, as the node has them; without ROS."""

from panoptic_ros.recorded_grid.feed import GridFeed, merged_messages
from panoptic_ros.recorded_grid.topics import INPUTS, GridCamera, GridTopics, GridTopicsError, find_grid_topics

__all__ = [
    "INPUTS",
    "GridCamera",
    "GridFeed",
    "GridTopics",
    "GridTopicsError",
    "find_grid_topics",
    "merged_messages",
]
