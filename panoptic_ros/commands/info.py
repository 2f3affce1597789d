"""``panoptic-ros info``: what is installed here, and what comes with the package."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Annotated

import cv2
import numpy as np
import typer

from panoptic_ros import __version__
from panoptic_ros.commands.terminal import OUT, user_errors
from panoptic_ros.labels import LabelSet
from panoptic_ros.messages import RosMessageTypes
from panoptic_ros.resources import share_directory, shipped_weights


def info(
    model: Annotated[
        str, typer.Option(help="Measure the engines for this model too, as `engine: auto` does, and say its choice.")
    ] = "",
    weights: Annotated[str, typer.Option(help="A file of weights for it.")] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads of the network; 0 is the engine's choice.")] = 0,
) -> None:
    """Say which versions, devices, engines, models and label sets there are, and whether ROS is."""
    with user_errors(ValueError):
        for name, value in _facts():
            OUT.print(f"{name:13} {value}", markup=False, soft_wrap=True)
        if model:
            from panoptic_ros.pipeline import Pipeline  # here, because torch takes seconds to import

            for note in Pipeline.load(model, weights, device, engine="auto", threads=threads).notes:
                OUT.print(f"{'measured':13} {note}", markup=False, soft_wrap=True)


def _facts() -> list[tuple[str, str]]:
    import torch  # here, because torch takes seconds to import, and the help of other commands needs none

    from panoptic_ros.engines import installed
    from panoptic_ros.models import load_model_config, model_files

    devices = [
        f"cuda:{index} {torch.cuda.get_device_name(index)}"
        for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    ]
    engines = installed()
    config = share_directory() / "config"
    facts = [
        ("panoptic_ros", __version__),
        ("Python", platform.python_version()),
        ("torch", f"{torch.__version__}, CUDA {torch.version.cuda or 'no'}"),
        ("NumPy", np.__version__),
        ("OpenCV", cv2.__version__),
        ("rosbags", metadata.version("rosbags")),
        ("devices", ", ".join(["cpu", *devices])),
        ("engines", ", ".join(name for name, reason in engines.items() if not reason)),
        *(("not here", f"{name}: {reason}") for name, reason in engines.items() if reason),
        ("ROS", _ros()),
    ]
    trained = [(path.stem, str(path)) for path in shipped_weights()]
    for name, model_name in [*((name, name) for name in model_files()), *trained]:
        model = load_model_config(model_name)
        labels = model.labels if isinstance(model.labels, str) else f"{model.labels.name}, trained"
        size = f"{model.input_width}x{model.input_height}"
        facts.append(("model", f"{name}: {model.system}, input {size}, labels {labels}"))
    for path in sorted((config / "labels").glob("*.yaml")):
        label_set = LabelSet.load(path.stem)
        facts.append(("labels", f"{path.stem}: {len(label_set.things)} things, {len(label_set.stuff)} stuff"))
    facts.append(("files", str(share_directory())))
    return facts


def _ros() -> str:
    """Which ROS there is, and whether it has the messages that are published."""
    types = RosMessageTypes()
    if not types.has("sensor_msgs/msg/Image"):
        return "no (bags, videos and images can be replayed)"
    distribution = os.environ.get("ROS_DISTRO", "yes, distribution not set")
    return f"{distribution}, vision_msgs {'yes' if types.has('vision_msgs/msg/Detection2DArray') else 'no'}"
