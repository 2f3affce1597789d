"""Names of topics and types: those of cameras, and those that results lie on, below a node's name."""

from __future__ import annotations

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"

CAMERA_TOPICS = {
    "panoptic": IMAGE,
    "semantic": IMAGE,
    "confidence": IMAGE,
    "instance_ids": IMAGE,
    "instances": "vision_msgs/msg/Detection2DArray",
    "overlay": IMAGE,
    "overlay/compressed": COMPRESSED_IMAGE,
    "camera_info": CAMERA_INFO,
}
"""Of each camera; of several, below the camera's name."""

LABEL_TOPIC = "label_info"
LABEL_TYPE = "vision_msgs/msg/LabelInfo"

OCCUPANCY_GRID = "nav_msgs/msg/OccupancyGrid"
GRID_MAP = "grid_map_msgs/msg/GridMap"
POINT_CLOUD = "sensor_msgs/msg/PointCloud2"
TRANSFORMS = "tf2_msgs/msg/TFMessage"
ODOMETRY = "nav_msgs/msg/Odometry"

GRID_TOPICS = {
    "occupancy": OCCUPANCY_GRID,
    "nav_grid": OCCUPANCY_GRID,
    "semantic_grid": OCCUPANCY_GRID,
    "grid_map": GRID_MAP,
    "objects": "vision_msgs/msg/Detection3DArray",
    "object_states": POINT_CLOUD,
    "markers": "visualization_msgs/msg/MarkerArray",
    "obstacle_points": POINT_CLOUD,
    "points": POINT_CLOUD,
    "top_view": IMAGE,
}
"""Of the semantic occupancy grid; see docs/grid-ros.md."""

GRID_LATCHED = ("occupancy", "nav_grid", "semantic_grid")
"""Those of `GRID_TOPICS` that late listeners get too, as consumers of maps expect."""


def info_topic_of(image_topic: str) -> str:
    """Where image_transport looks for the CameraInfo of an image: ``camera_info`` in the same namespace."""
    namespace, slash, _ = image_topic.removesuffix("/compressed").rpartition("/")
    return f"{namespace}{slash}camera_info"
