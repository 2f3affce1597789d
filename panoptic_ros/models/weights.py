"""Weights in and out: safetensors for a whole system, other programs' formats for the parts that they know.

No file is ever unpickled.  A file is checked whole before the first parameter changes.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from panoptic_ros.files import written_whole
from panoptic_ros.models import ModelConfig, describe
from panoptic_ros.models.model import PanopticModel, WeightFormat, WeightsReport

UNTRAINED_KEY = "untrained"
"""Under which key of its metadata a file names the parts of the system that have learned nothing."""

SUFFIX = ".safetensors"

FORMATS = {".weights": "Darknet weights", ".pth": "weights of torchvision", ".pt": "weights of torchvision"}
"""What files of other programs are called where a system takes none of them."""


class WeightsError(ValueError):
    """A weights file that cannot be used; the message names the file and what was expected."""


def load_weights(
    model: PanopticModel, path: Path, layers: int | None = None, classes: int | None = None
) -> WeightsReport | None:
    """Load a file into a system and note in ``model.untrained`` which parts keep their random weights.

    ``.safetensors`` holds the whole system by the names of its ``state_dict`` and says what of it has learned nothing;
    files of other programs (`PanopticModel.weight_formats`) hold some of its parts.

    Parameters
    ----------
    layers, classes:
        Of another program's file; see `WeightFormat.load`.

    Returns
    -------
    What was taken of another program's file; None of a whole system's, of which everything is.

    Raises
    ------
    WeightsError
        If the file is missing, truncated, of another format or of another network; the model is then unchanged.
    """
    if path.suffix != SUFFIX:
        found = _format(model, path)
        try:
            return found.load(model, path, layers, classes)
        except (ValueError, OSError) as error:
            raise WeightsError(str(error)) from error
    check_weights(model, path)
    with safe_open(str(path), framework="pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        untrained = frozenset(json.loads((file.metadata() or {}).get(UNTRAINED_KEY, "[]")))
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise WeightsError(f"{path}: {name} holds values that are not finite")
    model.load_state_dict(state)
    model.untrained = untrained & model.untrained
    return None


def check_weights(model: PanopticModel, path: Path) -> None:
    """Say what `load_weights` would say of a file, from its header and size alone.

    Parameters
    ----------
    model:
        The system; it may be on torch's ``meta`` device.

    Raises
    ------
    WeightsError
        See `load_weights`.
    """
    if path.suffix != SUFFIX:
        try:
            _format(model, path).check(model, path)
        except ValueError as error:
            raise WeightsError(str(error)) from error
        return
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    try:
        with safe_open(str(path), framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            labels = (file.metadata() or {}).get("labels")
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a whole safetensors file: {error}") from error
    if labels is not None and labels != label_names(model):
        raise WeightsError(f"{path}: was made for other labels than {model.labels.name!r}: {labels}")
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    _compare(path, shapes, expected)


def _format(model: PanopticModel, path: Path) -> WeightFormat:
    """The format of another program's file, if there is one and the system takes it."""
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    if path.suffix in model.weight_formats:
        return model.weight_formats[path.suffix]
    suffixes = " or ".join((SUFFIX, *model.weight_formats))
    what = f"{FORMATS[path.suffix]}, but {type(model).__name__} takes none: " if path.suffix in FORMATS else ""
    raise WeightsError(f"{path}: {what}expected a weights file ending in {suffixes}")


def _compare(path: Path, shapes: dict[str, tuple[int, ...]], expected: dict[str, tuple[int, ...]]) -> None:
    missing = sorted(expected.keys() - shapes.keys())
    unknown = sorted(shapes.keys() - expected.keys())
    if missing or unknown:
        raise WeightsError(
            f"{path}: of another network: {len(missing)} tensors are missing (such as {missing[:2]}), "
            f"{len(unknown)} are unknown (such as {unknown[:2]})"
        )
    for name, shape in expected.items():
        if shapes[name] != shape:
            raise WeightsError(f"{path}: of another network: {name} is {shapes[name]}, expected {shape}")


def save_weights(model: PanopticModel, path: Path, config: ModelConfig | None = None, half: bool = False) -> None:
    """Write a whole system as safetensors, with the names of its labels; the file appears whole or not at all.

    What of the system has learned nothing (`PanopticModel.untrained`) is noted in it.

    Parameters
    ----------
    config:
        What the system was built from.  With it the file has configuration and label set inside, and can be named in
        place of a model (`load_model_config`).
    half:
        Whether to write the weights of convolutions and matrices in half precision.  Biases and batch norms, which are
        few and whose statistics may leave its range, stay as they are.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    state: dict[str, Tensor] = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    if half:
        state = {name: tensor.half() if tensor.ndim > 1 else tensor for name, tensor in state.items()}
    metadata = {
        "labels": label_names(model),
        "system": type(model).__name__,
        UNTRAINED_KEY: json.dumps(sorted(model.untrained)),
    }
    if config is not None:
        metadata |= describe(config, model.labels)
    with written_whole(path) as file:
        file.write_bytes(save(state, metadata=metadata))  # its own files are closed to other users


def label_names(model: PanopticModel) -> str:
    """The names of the labels as JSON, which a weights file carries to say what its classes are."""
    return json.dumps([label.name for label in model.labels.labels])
