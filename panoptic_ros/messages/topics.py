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


def info_topic_of(image_topic: str) -> str:
    """Where image_transport looks for the CameraInfo of an image: ``camera_info`` in the same namespace."""
    namespace, slash, _ = image_topic.removesuffix("/compressed").rpartition("/")
    return f"{namespace}{slash}camera_info"
