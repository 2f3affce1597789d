"""The topics that results lie on, below a node's name, and their types."""

CAMERA_TOPICS = {
    "panoptic": "sensor_msgs/msg/Image",
    "semantic": "sensor_msgs/msg/Image",
    "confidence": "sensor_msgs/msg/Image",
    "instance_ids": "sensor_msgs/msg/Image",
    "instances": "vision_msgs/msg/Detection2DArray",
    "overlay": "sensor_msgs/msg/Image",
    "overlay/compressed": "sensor_msgs/msg/CompressedImage",
    "camera_info": "sensor_msgs/msg/CameraInfo",
}
"""Of each camera; of several, below the camera's name."""

LABEL_TOPIC = "label_info"
LABEL_TYPE = "vision_msgs/msg/LabelInfo"
