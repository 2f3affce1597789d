"""Values of this package to ROS messages and back, for rclpy's classes and for rosbags' types alike."""

from panoptic_ros.messages.camera import NANOSECONDS, camera_info, make_header, nanoseconds
from panoptic_ros.messages.images import (
    bgr_image,
    check_image,
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
    "NANOSECONDS",
    "BagMessageTypes",
    "MessageTypes",
    "RosMessageTypes",
    "bgr_image",
    "camera_info",
    "check_image",
    "compressed_image",
    "confidence_image",
    "image_to_bgr",
    "instance_image",
    "instances",
    "label_info",
    "make_header",
    "nanoseconds",
    "panoptic_image",
    "result_messages",
    "segmentation_from_messages",
    "semantic_image",
]
