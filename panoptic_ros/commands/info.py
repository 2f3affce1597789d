"""``panoptic-ros info``: what is installed here, and what comes with the package."""

from __future__ import annotations

import os
import platform
from importlib import metadata

import cv2
import numpy as np

from panoptic_ros import __version__
from panoptic_ros.commands.terminal import OUT, user_errors
from panoptic_ros.labels import LabelSet
from panoptic_ros.messages import RosMessageTypes
from panoptic_ros.resources import share_directory


def info() -> None:
    """Say which versions, devices, engines, models and label sets there are, and whether ROS is."""
    with user_errors(ValueError):
        for name, value in _facts():
            OUT.print(f"{name:13} {value}", markup=False, soft_wrap=True)


def _facts() -> list[tuple[str, str]]:
    import torch  # here, because torch takes seconds to import, and the help of other commands needs none

    from panoptic_ros.engines import ENGINES
    from panoptic_ros.models import load_model_config, model_files

    devices = [
        f"cuda:{index} {torch.cuda.get_device_name(index)}"
        for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    ]
    config = share_directory() / "config"
    facts = [
        ("panoptic_ros", __version__),
        ("Python", platform.python_version()),
        ("torch", f"{torch.__version__}, CUDA {torch.version.cuda or 'no'}"),
        ("NumPy", np.__version__),
        ("OpenCV", cv2.__version__),
        ("rosbags", metadata.version("rosbags")),
        ("devices", ", ".join(["cpu", *devices])),
        ("engines", ", ".join(sorted(ENGINES))),
        ("ROS", _ros()),
    ]
    for name in model_files():
        model = load_model_config(name)
        size = f"{model.input_width}x{model.input_height}"
        facts.append(("model", f"{name}: {model.system}, labels {model.labels}, input {size}"))
    for path in sorted((config / "labels").glob("*.yaml")):
        labels = LabelSet.load(path.stem)
        facts.append(("labels", f"{path.stem}: {len(labels.things)} things, {len(labels.stuff)} stuff"))
    facts.append(("files", str(share_directory())))
    return facts


def _ros() -> str:
    """Which ROS there is, and whether it has the messages that are published."""
    types = RosMessageTypes()
    if not types.has("sensor_msgs/msg/Image"):
        return "no (bags, videos and images can be replayed)"
    distribution = os.environ.get("ROS_DISTRO", "yes, distribution not set")
    return f"{distribution}, vision_msgs {'yes' if types.has('vision_msgs/msg/Detection2DArray') else 'no'}"
