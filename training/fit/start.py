"""The weights that a training starts from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from panoptic_ros.configuration import beside
from panoptic_ros.models.model import PanopticModel, WeightsReport
from panoptic_ros.models.weights import UNTRAINED_KEY, WeightsError, label_names, load_weights
from panoptic_ros.resources import WEIGHTS_SUFFIX, weights_of


@dataclass(frozen=True, slots=True)
class StartOptions:
    """What training starts from.

    Attributes
    ----------
    path:
        ``.safetensors`` of the whole system, the name of one that comes with the package, or another program's file
        that the system takes parts from; empty for random weights.
    layers:
        Of Darknet's: the file holds so many layers only, as ``darknet53.conv.74`` holds 75, the backbone.
    classes:
        Of Darknet's: the file is of the same detector with so many classes, 80 of COCO.  All is taken but the
        convolutions whose shape depends on that number, which stay random.
    parts:
        Of a whole system's: only these parts (``detector``, ``semantic_head`` …) are taken, and the rest stays random;
        so that networks which differ elsewhere can start from one detector.  Empty for all.
    widen:
        Of parts: those that the model can widen (`PanopticModel.widening_parts`) may have fewer channels than the
        network's.  Those that the file has come first; the others start at random, and what reads them does not listen
        to them yet (zeros), so that the network says what the file's said.

    Raises
    ------
    ValueError
        If the options do not go together.
    """

    path: str = ""
    layers: int | None = None
    classes: int | None = None
    parts: tuple[str, ...] = ()
    widen: bool = False
    outputs: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.parts and (self.layers, self.classes) != (None, None):
            raise ValueError("parts are of a whole system's weights, layers and classes of Darknet's: give one of them")
        if self.widen and not self.parts:
            raise ValueError("widen is of parts: name those that are taken")
        if self.layers is not None and self.classes is not None:
            raise ValueError("layers and classes cannot both be given")
        for name in ("layers", "classes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be positive, got {value}")
        if self.outputs and not self.path:
            raise ValueError("outputs are of other networks than that of path, which is not given")

    def beside(self, folder: Path) -> StartOptions:
        """The same with files that lie in a folder found there; see `configuration.beside`."""
        outputs = {name: beside(folder, path) for name, path in self.outputs.items()}
        return replace(self, path=beside(folder, self.path), outputs=outputs)


def load_start(model: PanopticModel, options: StartOptions) -> WeightsReport | None:
    """Load what training starts from; ``model.untrained`` names the parts that are random after it, wholly or partly,
    but for those that were widened.

    Returns
    -------
    What was taken of another program's file.

    Raises
    ------
    WeightsError
        If the file cannot be used.
    """
    if not options.path:
        if options.layers is not None or options.classes is not None or options.parts:
            what = "parts" if options.parts else "layers and classes"
            raise WeightsError(f"weights: {what} are given, but no file; name it with --weights")
        return None
    path = Path(weights_of(options.path, "") or options.path).expanduser()
    if options.parts:
        _load_parts(model, path, options.parts, options.widen)
        return None
    if (options.layers, options.classes) != (None, None) and path.suffix == WEIGHTS_SUFFIX:
        raise WeightsError(f"{path}: layers and classes are told of Darknet weights, not of a whole system's")
    return load_weights(model, path, options.layers, options.classes)


def _load_parts(model: PanopticModel, path: Path, parts: tuple[str, ...], widen: bool) -> None:
    """Take some parts of a whole system's weights; nothing is taken if one of them cannot be."""
    if path.suffix != WEIGHTS_SUFFIX:
        raise WeightsError(f"{path}: parts are taken of a whole system's weights, expected a {WEIGHTS_SUFFIX} file")
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    children = dict(model.named_children())
    mine = model.state_dict()
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            names = {part: [name for name in file.keys() if name.startswith(f"{part}.")] for part in parts}  # noqa: SIM118
            taken = {name: file.get_tensor(name) for part in parts for name in names[part]}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a whole safetensors file: {error}") from error
    labels = metadata.get("labels")
    if labels is not None and labels != label_names(model):
        raise WeightsError(f"{path}: was made for other labels than {model.labels.name!r}: {labels}")
    random = set(json.loads(metadata.get(UNTRAINED_KEY, "[]")))
    for part in parts:
        if part not in children:
            raise WeightsError(f"weights: {part!r} is no part of the model; it has {', '.join(children)}")
        wanted = {name for name in mine if name.startswith(f"{part}.")}
        if not wanted:
            raise WeightsError(f"weights: part {part!r} of the model has no weights")
        if part in random:
            raise WeightsError(f"{path}: its part {part!r} has learned nothing")
        if odd := sorted(wanted ^ set(names[part])):
            where = "missing" if odd[0] in wanted else "unknown"
            raise WeightsError(f"{path}: part {part!r} is of another network: {odd[0]} is {where}")
    for name, tensor in taken.items():
        part = name.partition(".")[0]
        wider = widen and part in model.widening_parts
        if not (_is_part_of(tensor, mine[name]) if wider else tensor.shape == mine[name].shape):
            raise WeightsError(
                f"{path}: part {part!r} is of another network: {name} is {tuple(tensor.shape)}, "
                f"expected {'at most ' if wider else ''}{tuple(mine[name].shape)}"
            )
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise WeightsError(f"{path}: {name} holds values that are not finite")
    with torch.no_grad():
        for name, tensor in taken.items():
            _put_first(tensor, mine[name])
    model.untrained -= set(parts)


def _is_part_of(tensor: Tensor, whole: Tensor) -> bool:
    """Whether a weight has at most the outputs and inputs of another, and the same kernel."""
    if tensor.ndim != whole.ndim or tensor.shape[2:] != whole.shape[2:]:
        return False
    return all(size <= limit for size, limit in zip(tensor.shape, whole.shape, strict=True))


def _put_first(tensor: Tensor, whole: Tensor) -> None:
    """Copy a weight into the first outputs and inputs of another; these outputs get nothing from further inputs."""
    outputs = whole[: len(tensor)] if tensor.ndim else whole
    if tensor.ndim > 1:
        outputs[:, tensor.shape[1] :] = 0.0
        outputs = outputs[:, : tensor.shape[1]]
    outputs.copy_(tensor)
