"""A system whose `forward` was exported: what goes into the file beside the graph, and the system made of it again.

An exported file is whole: it holds the configuration, the label set, how a frame becomes an input, and the weights of
what `PanopticModel.decode` runs itself, the instance head of YOLO-Panoptic for one.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from panoptic_ros import __version__
from panoptic_ros.configuration import ConfigurationError
from panoptic_ros.labels import LabelSet
from panoptic_ros.letterbox import ALIGNMENT, FILL
from panoptic_ros.models import ModelConfig, build_model, describe, exported_config
from panoptic_ros.models.exported_file import read_metadata
from panoptic_ros.models.model import PanopticModel
from panoptic_ros.models.weights import UNTRAINED_KEY, label_names

INPUT = "images"
"""The name of the only input."""

PRECISION_KEY, DECODE_KEY = "precision", "decode_weights"

PREPROCESSING = {
    "input": INPUT,
    "layout": "NCHW",
    "colours": "RGB",
    "range": [0.0, 1.0],
    "resize": "letterbox, bilinear, centred",
    "alignment": ALIGNMENT,
    "fill": FILL / 255.0,
}
"""How a frame becomes an input, for programs that run the file themselves."""


@dataclass(frozen=True, slots=True)
class Exported:
    """An exported network.

    Attributes
    ----------
    path:
        The file.
    config:
        What the system was built from.
    precision:
        The numbers that it holds: ``fp32``, ``fp16`` or ``int8``.
    untrained:
        The parts that have learned nothing.
    """

    path: Path
    config: ModelConfig
    precision: str
    untrained: frozenset[str]


def exported_metadata(model: PanopticModel, config: ModelConfig, precision: str) -> dict[str, str]:
    """All that a file says of its network, by key."""
    return {
        **describe(config, model.labels),
        "labels": label_names(model),
        "system": type(model).__name__,
        UNTRAINED_KEY: json.dumps(sorted(model.untrained)),
        PRECISION_KEY: precision,
        "preprocessing": json.dumps(PREPROCESSING),
        DECODE_KEY: base64.b64encode(save(decode_state(model))).decode(),
        "panoptic_ros": __version__,
    }


def open_exported(path: Path) -> Exported:
    """Read what an exported file says of itself.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ConfigurationError
        If it is not whole, or was not written by `panoptic-ros export`.
    """
    config, metadata = exported_config(path), read_metadata(path)
    try:
        return Exported(path, config, metadata[PRECISION_KEY], frozenset(json.loads(metadata[UNTRAINED_KEY])))
    except KeyError as error:
        raise ConfigurationError(f"{path}: was not written by panoptic-ros export: {error} is missing") from error


def check_same(exported: Exported, model: str, config: ModelConfig) -> None:
    """Refuse a file that was exported for another label set or input size than a model's configuration has.

    Raises
    ------
    ConfigurationError
        If it was; the message has both.
    """
    labels = config.labels if isinstance(config.labels, LabelSet) else LabelSet.load(config.labels)
    own = exported.config.labels
    assert isinstance(own, LabelSet), "a file that describes itself holds its label set"
    if [label.name for label in own.labels] != [label.name for label in labels.labels]:
        raise ConfigurationError(
            f"{exported.path}: was exported for the {len(own)} labels of {own.name!r}, "
            f"but {model} has the {len(labels)} of {labels.name!r}"
        )
    size = (exported.config.input_width, exported.config.input_height)
    if size != (config.input_width, config.input_height):
        raise ConfigurationError(
            f"{exported.path}: was exported for an input of {size[0]}x{size[1]}, "
            f"but {model} has {config.input_width}x{config.input_height}"
        )


def build_exported(exported: Exported) -> PanopticModel:
    """The system of an exported file, ready to decode; what the file's graph computes has no memory here.

    Raises
    ------
    ConfigurationError
        If the file's weights of the decode are damaged or of another network.
    """
    model = build_model(exported.config)
    try:
        state = load(base64.b64decode(read_metadata(exported.path)[DECODE_KEY], validate=True))
    except (KeyError, binascii.Error, SafetensorError) as error:
        raise ConfigurationError(f"{exported.path}: its weights of the decode are damaged: {error}") from error
    unknown = sorted(state.keys() - model.state_dict().keys())
    if unknown:
        raise ConfigurationError(f"{exported.path}: its weights of the decode are of another network: {unknown[:2]}")
    for prefix, module in model.named_modules():
        own = {name: f"{prefix}.{name}" if prefix else name for name, _ in module.named_parameters(recurse=False)}
        for name, full in own.items():
            # Without memory, and an error for a decode that needs what the file does not have.
            value = state.get(full, module._parameters[name].to("meta"))
            module._parameters[name] = nn.Parameter(value, requires_grad=False)
    model.load_state_dict({name: value for name, value in state.items()}, strict=False)
    model.untrained = exported.untrained & model.untrained
    return model.eval()


def move_decode(model: PanopticModel, device: torch.device) -> None:
    """Move a system to where it shall decode, but for weights without memory (`build_exported`)."""
    model._apply(lambda tensor: tensor if tensor.is_meta else tensor.to(device))  # type: ignore[no-untyped-call]


def decode_state(model: PanopticModel) -> dict[str, Tensor]:
    """The weights of the modules that `forward` does not run, so `decode` does; it is run once, on a small input."""
    ran: set[nn.Module] = set()
    hooks = [module.register_forward_pre_hook(lambda module, _: ran.add(module)) for module in model.modules()]
    try:
        with torch.inference_mode():
            model(model.trial_input())
    finally:
        for hook in hooks:
            hook.remove()
    state = model.state_dict()
    kept: dict[str, Tensor] = {}
    for prefix, module in model.named_modules():
        if module in ran:
            continue
        tensors = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        names = [f"{prefix}.{name}" if prefix else name for name, _ in tensors]
        kept.update({name: state[name].detach().cpu().contiguous().clone() for name in names if name in state})
    return kept
