"""Values of this package to ROS messages and back, for rclpy's classes and for rosbags' types alike."""

from panoptic_ros.messages.camera import camera_info, make_header
from panoptic_ros.messages.images import (
    bgr_image,
    compressed_image,
    confidence_image,
    image_to_bgr,
    instance_image,
    panoptic_image,
    semantic_image,
)
from panoptic_ros.messages.instances import instances, label_info, segmentation_from_messages
from panoptic_ros.messages.results import result_messages
from panoptic_ros.messages.types import BagMessageTypes, MessageTypes, RosMessageTypes

__all__ = [
    "BagMessageTypes",
    "MessageTypes",
    "RosMessageTypes",
    "bgr_image",
    "camera_info",
    "compressed_image",
    "confidence_image",
    "image_to_bgr",
    "instance_image",
    "instances",
    "label_info",
    "make_header",
    "panoptic_image",
    "result_messages",
    "segmentation_from_messages",
    "semantic_image",
]
