"""The systems, one module each, and how one is found by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from panoptic_ros.configuration import ConfigurationError, beside, from_mapping, plain, read_yaml
from panoptic_ros.labels import LabelSet
from panoptic_ros.models.exported_file import read_metadata
from panoptic_ros.models.model import PanopticModel, System
from panoptic_ros.models.options import DecodeOptions
from panoptic_ros.registry import Registry, RegistryError
from panoptic_ros.resources import EXPORTED_SUFFIXES, find_config, share_directory, weights_of

SEED = 0
"""Networks without weights are random, but the same every time."""

CONFIG_KEY, LABEL_SET_KEY = "config", "label_set"
"""Under which keys of its metadata exported weights keep what `describe` says."""


@dataclass(frozen=True)
class ModelConfig:
    """What ``config/models/*.yaml`` says.

    Attributes
    ----------
    system:
        The name of the system.
    labels:
        Name or path of the label set, or the label set.
    input_height, input_width:
        Size of the network's input, in pixels.
    network:
        The system's own settings.
    decode:
        Thresholds of the decode.
    """

    system: str
    labels: str | LabelSet
    input_height: int
    input_width: int
    network: Any = field(default_factory=dict)
    decode: Any = field(default_factory=DecodeOptions)


SYSTEMS: Registry[System] = Registry(
    "panoptic_ros.models",
    {
        "jsis_net": "panoptic_ros.models.jsis_net:SYSTEM",
        "panoptic_fpn": "panoptic_ros.models.panoptic_fpn:SYSTEM",
        "yolo_panoptic": "panoptic_ros.models.yolo_panoptic:SYSTEM",
    },
    System,
)
"""The systems by name: ours, and those of other packages."""


def model_files() -> dict[str, Path]:
    """The model configurations that are found by name: ours, and those that come with other packages' systems."""
    folders = [system.configurations for system in _outside() if system.configurations is not None]
    files = [file for folder in (*folders, share_directory() / "config" / "models") for file in folder.glob("*.yaml")]
    return {file.stem: file for file in sorted(files, key=lambda file: file.stem)}


def _outside() -> list[System]:
    """Other packages' systems, but for those that are broken."""
    found = []
    for name in SYSTEMS.outside():
        try:
            found.append(SYSTEMS[name])
        except RegistryError:  # told when it is asked for by its name
            continue
    return found


def _model_file(name: str) -> Path:
    """The file that a name or a path of a model configuration stands for; see `load_model_config`."""
    try:
        return find_config("models", name)
    except FileNotFoundError as error:
        files = model_files() if SYSTEMS.outside() else {}
        if name in files:
            return files[name]
        if name in SYSTEMS.outside():
            SYSTEMS[name]  # says so where it is broken
            raise FileNotFoundError(
                f"{name}: this system of another package has no model configuration of its name; name a file"
            ) from error
        if files:
            raise FileNotFoundError(f"{error}; with other packages: {', '.join(files)}") from error
        raise


def find_system(name: str, where: str) -> System:
    """The system of a name.

    Parameters
    ----------
    where:
        Where the name was read, for messages.

    Raises
    ------
    ConfigurationError
        If there is none, or that of another package is broken.
    """
    try:
        return SYSTEMS[name]
    except KeyError:
        raise ConfigurationError(
            f"{where}: system: expected one of {', '.join(sorted(SYSTEMS))}, got {name!r}"
        ) from None
    except RegistryError as error:
        raise ConfigurationError(f"{where}: system: {error}") from error


def load_model_config(name: str) -> ModelConfig:
    """Read a model configuration by its name (``yolo_panoptic_small``), from a path, or from an exported file.

    The name is one of ours, of another package's (`System.configurations`), or of weights that come with the package.
    Files that it names by a relative path are looked for beside it.  A ``.safetensors`` file of `save_weights` has its
    configuration and label set inside, and so have exported networks (``.onnx``, ``.xml``).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ConfigurationError
        If a key is unknown, missing, ill-typed or out of range; the message names it, the file and what was expected.
    """
    if name.endswith(EXPORTED_SUFFIXES):
        return exported_config(Path(name).expanduser())
    if weights := weights_of(name, ""):
        return _exported_config(Path(weights).expanduser())
    path = _model_file(name)
    return _config(read_yaml(path), path)


def _config(content: Mapping[str, Any], path: Path) -> ModelConfig:
    """The configuration that a mapping holds, which was read from `path`."""
    config = from_mapping(ModelConfig, {**content, "network": {}, "decode": {}}, str(path))
    assert isinstance(config.labels, str), "a file names its label set"
    system = find_system(config.system, str(path))
    network, decode = (content.get(key) or {} for key in ("network", "decode"))
    for key, value in (("network", network), ("decode", decode)):
        if not isinstance(value, Mapping):
            raise ConfigurationError(f"{path}: {key}: expected keys with values, got {value!r}")
    return ModelConfig(
        system=config.system,
        labels=beside(path.parent, config.labels),
        input_height=config.input_height,
        input_width=config.input_width,
        network=from_mapping(
            system.network,
            {key: beside(path.parent, value) for key, value in network.items()},
            f"{path}: network",
        ),
        decode=from_mapping(system.decode, decode, f"{path}: decode"),
    )


def _exported_config(path: Path) -> ModelConfig:
    """The configuration inside exported weights, with the label set that is there too."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weights file")
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ConfigurationError(f"{path}: not a whole safetensors file: {error}") from error
    return described_config(metadata, path)


def exported_config(path: Path) -> ModelConfig:
    """The configuration inside an exported network, with the label set that is there too.

    Raises
    ------
    FileNotFoundError, ConfigurationError
        See `read_metadata`; also if the file is another program's.
    """
    metadata = read_metadata(path)
    if CONFIG_KEY not in metadata:
        raise ConfigurationError(f"{path}: was not written by panoptic-ros export: it does not tell its configuration")
    return described_config(metadata, path)


def described_config(description: Mapping[str, str], path: Path) -> ModelConfig:
    """The model configuration that `describe` has described.

    Parameters
    ----------
    path:
        The file that it was read from, for messages.

    Raises
    ------
    ConfigurationError
        If it is not there, or damaged.
    """
    try:
        content, labels = json.loads(description[CONFIG_KEY]), json.loads(description[LABEL_SET_KEY])
    except KeyError as error:
        raise ConfigurationError(
            f"{path}: these weights do not tell their configuration ({error} is missing); name the model beside them"
        ) from error
    except ValueError as error:
        raise ConfigurationError(f"{path}: its description of the model is damaged: {error}") from error
    config = _config({**content, "labels": str(labels.get("name"))}, path)
    return replace(config, labels=from_mapping(LabelSet, labels, f"{path}: {LABEL_SET_KEY}"))


def changed_config(
    config: ModelConfig, network: Mapping[str, Any], decode: Mapping[str, Any], where: str
) -> ModelConfig:
    """A model configuration with some settings of its network and of its decode changed.

    Parameters
    ----------
    network, decode:
        The settings that change, as a file has them.
    where:
        Where they were read, for messages.

    Raises
    ------
    ConfigurationError
        If a setting is unknown, ill-typed, out of range or does not go with the others.
    """
    system = SYSTEMS[config.system]
    return replace(
        config,
        network=from_mapping(system.network, {**plain(asdict(config.network)), **network}, f"{where}: network"),
        decode=from_mapping(system.decode, {**plain(asdict(config.decode)), **decode}, f"{where}: decode"),
    )


def describe(config: ModelConfig, labels: LabelSet) -> dict[str, str]:
    """What exported weights say of their model, so that no other file is needed to run them; JSON by key."""
    content = {
        "system": config.system,
        "input_height": config.input_height,
        "input_width": config.input_width,
        "network": asdict(config.network.self_contained()),
        "decode": asdict(config.decode),
    }
    label_set = {"name": labels.name, "labels": [asdict(label) for label in labels.labels]}
    return {CONFIG_KEY: json.dumps(content), LABEL_SET_KEY: json.dumps(label_set)}


def build_model(config: ModelConfig) -> PanopticModel:
    """The system that a configuration describes, with random weights, in evaluation mode.

    Raises
    ------
    ConfigurationError
        If the input's size does not suit the network.
    ValueError, FileNotFoundError
        If the label set or a file of the network's is not what it should be.
    """
    model_class = SYSTEMS[config.system].model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        labels = config.labels if isinstance(config.labels, LabelSet) else LabelSet.load(config.labels)
        model = model_class(labels, config.network)
    multiple = model.input_multiple
    if min(config.input_height, config.input_width) < multiple or (
        config.input_height % multiple or config.input_width % multiple
    ):
        raise ConfigurationError(
            f"input_height and input_width must be positive multiples of {multiple}, "
            f"got {config.input_height} and {config.input_width}"
        )
    model.untrained = frozenset(name for name, part in model.named_children() if any(True for _ in part.parameters()))
    return model.eval()
