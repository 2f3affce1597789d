"""The node's parameters: one table, declared from it, checked against it, and read from one immutable value.

The table is the dataclass `Settings`: name, type, default, description, range and whether it may change while the
node runs stand in one place each.  The worker reads a whole `Settings` per batch, so a change is never seen by halves.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from panoptic_ros.resources import DEFAULT_MODEL

_CAMERA_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")


class ParameterError(ValueError):
    """Parameters that are not what they should be; the message names each and what was expected."""


def parameter(
    default: Any,
    description: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] = (),
    live: bool = False,
    own: bool = False,
) -> Any:
    """One row of the table; `live` rows may change while the node runs, the others are read-only.

    The default of an `own` row is outside its range and stands for what the model brings with it.
    """
    metadata = {
        "description": description,
        "low": low,
        "high": high,
        "choices": tuple(choices),
        "live": live,
        "own": own,
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class CameraTopics:
    """Where one camera's images come from; each of several cameras has these as ``<camera>.image_topic`` …"""

    image_topic: str = parameter(
        "/camera/image_raw", "Topic of the images: sensor_msgs/Image or sensor_msgs/CompressedImage."
    )
    camera_info_topic: str = parameter(
        "", "Topic of the camera's CameraInfo; '' is camera_info beside the image topic. It need not exist."
    )
    transport: str = parameter(
        "auto",
        "Type of the image topic; auto takes what is published there, and raw until a publisher appears.",
        choices=("auto", "raw", "compressed"),
    )


@dataclass(frozen=True)
class Settings(CameraTopics):
    """The values of all parameters of the node but those of the single cameras of a list."""

    autostart: bool = parameter(True, "Configure and activate by itself; false leaves that to a lifecycle manager.")
    model: str = parameter(
        DEFAULT_MODEL,
        "A name that `panoptic-ros info` lists, the path of such a file, or exported .safetensors, .onnx or .xml.",
        live=True,
    )
    weights: str = parameter(
        "",
        "Path of the weights; '' is those of the model, or random ones, which are only good for trying things out.",
        live=True,
    )
    input_size: str = parameter(
        "",
        "Width and height of the network's input, as 640x384; larger sees smaller things and takes longer; "
        "'' is the model's own.",
        live=True,
    )
    engine: str = parameter("", "What runs the network; '' is torch, or what runs an exported model; auto measures.")
    device: str = parameter("auto", "cpu, cuda, cuda:1 …; auto takes a GPU where there is one.")
    precision: str = parameter(
        "",
        "Numbers that the network computes with; '' is fp32, or those of an exported model.",
        choices=("fp32", "fp16", "bf16", "int8"),
        own=True,
    )
    threads: int = parameter(
        0,
        "CPU threads of the network; 0 is the engine's own choice, or beside a grid one less than cores.",
        low=0,
        high=256,
    )
    cameras: tuple[str, ...] = parameter(
        (), "Names of several cameras, each with <camera>.image_topic …; none is the single camera of image_topic."
    )
    batch: int = parameter(
        0,
        "The most waiting frames that go through the network at once; 0 is 8 on a GPU, and 1 on a CPU.",
        low=0,
        high=64,
        live=True,
    )
    score_threshold: float = parameter(
        -1.0,
        "A detection needs at least this score; -1 is the model's own.",
        low=0.0,
        high=1.0,
        live=True,
        own=True,
    )
    nms_threshold: float = parameter(
        -1.0,
        "Of two boxes of one class with a larger IoU the better one stays; -1 is the model's own.",
        low=0.0,
        high=1.0,
        live=True,
        own=True,
    )
    agnostic_nms_threshold: float = parameter(
        -1.0,
        "Of two boxes of any classes with a larger IoU the better one stays; 1 leaves both, -1 is the model's own.",
        low=0.0,
        high=1.0,
        live=True,
        own=True,
    )
    mask_threshold: float = parameter(
        -1.0,
        "A pixel belongs to an instance above this probability; -1 is the model's own.",
        low=0.01,
        high=0.99,
        live=True,
        own=True,
    )
    max_detections: int = parameter(
        -1, "The most instances of one frame; -1 is the model's own.", low=0, high=999, live=True, own=True
    )
    stuff_area_fraction: float = parameter(
        -1.0,
        "Stuff regions smaller than this share of the frame become void; -1 is the model's own.",
        low=0.0,
        high=1.0,
        live=True,
        own=True,
    )
    stuff_iou_threshold: float = parameter(
        -1.0,
        "Stuff of which the probabilities let one expect less IoU with the truth becomes void; -1 is the model's own.",
        low=0.0,
        high=1.0,
        live=True,
        own=True,
    )
    uncovered_things: str = parameter(
        "",
        "What becomes of pixels whose class is a thing that no instance covers: void, or the most probable stuff; "
        "'' is the model's own.",
        choices=("void", "stuff"),
        live=True,
        own=True,
    )
    scores: str = parameter(
        "",
        "Scores of detections: of boxes, objectness times class, or of their masks' certainty, too; "
        "'' is the model's own.",
        choices=("boxes", "masks"),
        live=True,
        own=True,
    )
    overlaps: str = parameter(
        "",
        "Whose a pixel is that several masks cover: the most certain object's, or the one's whose mask is the surest "
        "there; '' is the model's own.",
        choices=("objectness", "probability"),
        live=True,
        own=True,
    )
    overlap_threshold: float = parameter(
        -1.0,
        "An instance is dropped when better ones cover more than this share of it; -1 is the model's own.",
        low=0.0,
        high=1.0,
        live=True,
        own=True,
    )
    max_rate: float = parameter(
        0.0, "The most frames a second of each camera that are looked at; 0 is all.", low=0.0, high=1000.0, live=True
    )
    max_age: float = parameter(
        0.0, "A frame older than this many seconds is dropped unseen; 0 is none.", low=0.0, high=3600.0, live=True
    )
    lazy: bool = parameter(True, "Subscribe to the images only while somebody listens to a result.", live=True)
    overlay_opacity: float = parameter(
        0.5, "Weight of the class colours against the image on the overlay.", low=0.0, high=1.0, live=True
    )
    jpeg_quality: int = parameter(85, "JPEG quality of overlay/compressed.", low=1, high=100, live=True)
    diagnostics_period: float = parameter(1.0, "Seconds between two messages on /diagnostics.", low=0.1, high=60.0)
    silence_timeout: float = parameter(
        5.0, "Seconds without an image after which the log says why.", low=0.5, high=3600.0, live=True
    )

    def thresholds(self) -> dict[str, Any]:
        """The decode options, which may change at any time, that are given; the others are the model's own."""
        return {
            field.name: value
            for field in dataclasses.fields(self)
            if field.metadata["own"]
            and field.metadata["live"]
            and (value := getattr(self, field.name)) != field.default
        }


class NodeParameters:
    """Declares the table on a node and keeps `settings` equal to what the parameters say.

    Parameters
    ----------
    node:
        The node; its overrides (YAML, ``-p``) are taken.
    on_change:
        Called with the settings to come before a change is accepted; a ValueError, OSError or RuntimeError that it
        raises refuses the change, with its message as the reason.
    reserved:
        Names that a camera may not have.

    Raises
    ------
    ParameterError
        If a given value is not what the table says; the message has a line for each such parameter.
    """

    def __init__(self, node: Node, on_change: Callable[[Settings], None], reserved: frozenset[str]) -> None:
        self._node = node
        self._on_change = on_change
        errors: list[str] = []
        values = declare(node, "", Settings, Settings(), errors)
        if not errors:
            check_cameras(values["cameras"], reserved, errors)
        self.settings = Settings(**values) if not errors else Settings()
        self.cameras: dict[str, CameraTopics] = {}
        """The topics of each camera; the single camera's name is ''."""
        for camera in self.settings.cameras:
            default = CameraTopics(image_topic=f"/{camera}/image_raw")
            own = declare(node, f"{camera}.", CameraTopics, default, errors)
            self.cameras[camera] = CameraTopics(**own) if not errors else default
        if not self.cameras:
            topics = {field.name: values[field.name] for field in dataclasses.fields(CameraTopics) if not errors}
            self.cameras[""] = CameraTopics(**topics)
        if errors:
            raise ParameterError("\n".join(errors))
        node.add_on_set_parameters_callback(self._on_set)

    def unknown(self) -> list[str]:
        """A sentence for each value that was given for a parameter that the node does not have."""
        return unknown_parameters(self._node)

    def _on_set(self, parameters: list[Parameter]) -> SetParametersResult:
        """Refuse bad values with the reason; take good ones at once, all or none."""
        fields = {field.name: field for field in dataclasses.fields(Settings)}
        ours = [parameter for parameter in parameters if parameter.name in fields]
        try:
            changes = {
                parameter.name: _convert(
                    fields[parameter.name], parameter.name, fields[parameter.name].default, parameter.value
                )
                for parameter in ours
            }
            candidate = dataclasses.replace(self.settings, **changes)
            if candidate != self.settings:
                self._on_change(candidate)
        except (ValueError, OSError, RuntimeError) as error:
            return SetParametersResult(successful=False, reason=str(error))
        self.settings = candidate
        return SetParametersResult(successful=True)


def declare(node: Node, prefix: str, table: type, defaults: Any, errors: list[str]) -> dict[str, Any]:
    """Declare a table on a node.

    Parameters
    ----------
    node:
        The node; its overrides (YAML, ``-p``) are taken.
    prefix:
        What the names of the parameters begin with.
    table:
        A dataclass whose fields are made by `parameter`.
    defaults:
        Has the default of each field.
    errors:
        Gets a line for each given value that is not what the table says.

    Returns
    -------
    The values by the names of the fields; those at fault are missing.
    """
    values: dict[str, Any] = {}
    for field in dataclasses.fields(table):
        default = getattr(defaults, field.name)
        # rclpy cannot type an empty list
        declared = list(default) or [""] if isinstance(default, tuple) else default
        try:
            made = node.declare_parameter(prefix + field.name, declared, _describe(field, default))
            values[field.name] = _convert(field, prefix + field.name, default, made.value)
        except (InvalidParameterTypeException, InvalidParameterValueException, ParameterError) as error:
            errors.append(str(error))
    return values


def unknown_parameters(node: Node) -> list[str]:
    """A sentence for each value that was given for a parameter that a node does not have."""
    # rclpy ignores such values without a word and has no public way to ask for them.
    given: dict[str, Parameter] = node._parameter_overrides
    known = list(node._parameters)
    sentences = []
    for name in sorted(set(given) - set(known)):
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; is {close[0]!r} meant?" if close else ""
        sentences.append(f"parameter {name!r} is given but unknown and has no effect{hint}")
    return sentences


def check_cameras(cameras: tuple[str, ...], reserved: frozenset[str], errors: list[str]) -> None:
    """Add a line to `errors` for each name of a camera that cannot be one."""
    for camera in cameras:
        if not _CAMERA_NAME.match(camera):
            errors.append(f"cameras: {camera!r} is not a name; expected letters, digits and _, a letter first")
        elif camera in reserved:
            errors.append(f"cameras: {camera!r} is the name of a topic of the node; expected another name")
    repeated = sorted({camera for camera in cameras if cameras.count(camera) > 1})
    if repeated:
        errors.append(f"cameras: {', '.join(repeated)} occurs twice")


def _describe(field: dataclasses.Field[Any], default: Any) -> ParameterDescriptor:
    """What ``ros2 param describe`` shows."""
    row = field.metadata
    descriptor = ParameterDescriptor(description=row["description"], read_only=not row["live"])
    # Dynamic, so that `1` is taken where `1.0` is meant, and an empty list is not an error; `_convert` checks the type.
    descriptor.dynamic_typing = isinstance(default, (float, tuple))
    if row["choices"]:
        descriptor.additional_constraints = "one of " + ", ".join(row["choices"])
    low = default if row["own"] else row["low"]
    if isinstance(default, float):
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=row["high"])]
    elif isinstance(default, int) and not isinstance(default, bool):
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=row["high"])]
    return descriptor


def _convert(field: dataclasses.Field[Any], name: str, default: Any, value: Any) -> Any:
    """The value as `Settings` holds it; raises ParameterError with what was expected."""
    row = field.metadata
    own = f" or {default!r} (the model's own)" if row["own"] else ""
    if isinstance(default, tuple):
        if value is not None and not (
            isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)
        ):
            raise ParameterError(f"{name}: expected a list of names, got {value!r}")
        return tuple(item for item in value or () if item)
    if isinstance(default, float):
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        is_own = row["own"] and value == default
        if not is_number or not (is_own or row["low"] <= value <= row["high"]):
            raise ParameterError(f"{name}: expected a number from {row['low']} to {row['high']}{own}, got {value!r}")
        return float(value)
    if row["choices"] and value not in row["choices"] and not (row["own"] and value == default):
        raise ParameterError(f"{name}: expected one of {', '.join(row['choices'])}{own}, got {value!r}")
    return value
