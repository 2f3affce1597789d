"""Weights in torchvision's own file formats: ImageNet's ResNets, and whole Mask R-CNNs of COCO.

Files are read with ``weights_only``: tensors alone, nothing is executed.  What fits is taken tensor by tensor, and the
report says what was not:

- of a ResNet, the stages; its ``fc`` belongs to ImageNet.  A system that puts regions through the last stage has it
there.
- of a Mask R-CNN, whatever of backbone, proposal network and heads has the same shape.  The predictors' rows of classes
  are taken by the classes' names: COCO's among the file's 91, for the things of the same name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from panoptic_ros.labels import LabelSet
from panoptic_ros.models.model import WeightsReport

BODY = "backbone.body."
REGION_STAGE = "roi_heads.box_head."
"""Where systems that put regions through the last stage have it."""

PREDICTORS = {
    "roi_heads.box_predictor.cls_score": 1,
    "roi_heads.box_predictor.bbox_pred": 4,
    "roi_heads.mask_predictor.mask_fcn_logits": 1,
}
"""Layers with rows for each class, and how many."""

COCO_CLASSES = 91
"""Of torchvision's Mask R-CNNs: COCO's category ids, with the background as 0 and some that do not exist."""

_NUMBER = ".num_batches_tracked"

_RENAMED = (  # torchvision 0.13 put convolutions into blocks; its older files are still the published ones
    (re.compile(r"^(backbone\.fpn\.(?:inner|layer)_blocks\.\d)\.(weight|bias)$"), r"\1.0.\2"),
    (re.compile(r"^rpn\.head\.conv\.(weight|bias)$"), r"rpn.head.conv.0.0.\1"),
)
_STAGE = re.compile(r"^backbone\.body\.layer[123]\.")
"""Stages that every system has; the fourth may be another's or nobody's."""

_MASK_LAYER = re.compile(r"^roi_heads\.mask_head\.mask_fcn(\d)\.(weight|bias)$")


@dataclass(frozen=True, slots=True)
class _File:
    """A file that can be used: what it is, and its tensors by torchvision's present names."""

    what: str
    state: Mapping[str, Tensor]


class TorchvisionFormat:
    """torchvision's ``.pth`` files for systems of ResNet and Mask R-CNN; see `WeightFormat`."""

    def check(self, model: Any, path: Path) -> None:
        """See `WeightFormat.check`."""
        _plan(model, _read(path), path)

    def load(self, model: Any, path: Path, layers: int | None = None, classes: int | None = None) -> WeightsReport:
        """See `WeightFormat.load`; these files are never cut off, and say themselves of how many classes they are."""
        if (layers, classes) != (None, None):
            raise ValueError(f"{path}: layers and classes are told of Darknet weights, not of torchvision's")
        file = _read(path)
        values, left, partial = _plan(model, file, path)
        state = model.state_dict()
        with torch.no_grad():
            for name, (rows, tensor) in values.items():
                if rows is None:
                    state[name].copy_(tensor)
                else:
                    state[name][rows] = tensor.to(state[name])
        named = {name for name in state if not name.endswith(_NUMBER)}
        random = tuple(sorted((named - values.keys()) | partial))
        parts = {name.partition(".")[0] for name in named}
        model.untrained -= parts - {name.partition(".")[0] for name in random}
        return WeightsReport(f"{path}: {file.what}", tuple(sorted(values)), left, random)


_Values = dict[str, tuple["Tensor | None", Tensor]]


def _plan(model: Any, file: _File, path: Path) -> tuple[_Values, dict[str, str], set[str]]:
    """What of a file goes where in a model, which rows of it; what is left, and what is filled in part only."""
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.endswith(_NUMBER)}
    values: _Values = {}
    left: dict[str, str] = {}
    partial: set[str] = set()
    for name, tensor in file.state.items():
        if name.endswith(_NUMBER):
            continue
        target = _target(name, state)
        if target is None:
            left[name] = "has no place in this system"
        elif (layer := target.rpartition(".")[0]) in PREDICTORS and _classes_differ(layer, tensor, model):
            mine, theirs = _rows(model.labels, PREDICTORS[layer], len(tensor))
            if mine is None:
                left[name] = f"of {len(tensor) // PREDICTORS[layer]} classes whose names the file does not tell"
            elif tensor.shape[1:] != state[target].shape[1:]:
                left[name] = "of another shape than here"
            else:
                values[target] = (mine, tensor[theirs])
                if len(mine) < len(state[target]):
                    partial.add(target)
        elif tensor.shape != state[target].shape:
            left[name] = "of another shape than here"
        else:
            values[target] = (None, tensor)
    if not values:
        raise ValueError(f"{path}: {file.what}, of which nothing fits {type(model).__name__}")
    # A deeper network's first blocks would fit, and mean nothing without the others.
    odd = [name for name in state if name.startswith(BODY) and name not in values]
    odd += [name for name in left if _STAGE.match(name)]
    if odd:
        raise ValueError(
            f"{path}: {file.what}, whose backbone is another than that of this {type(model).__name__} (see {odd[0]})"
        )
    broken = [name for name, (_, tensor) in values.items() if not bool(tensor.isfinite().all())]
    if broken:
        raise ValueError(f"{path}: {broken[0]} holds values that are not finite")
    return values, left, partial


def _target(name: str, state: Mapping[str, Tensor]) -> str | None:
    """Where a tensor of a Mask R-CNN belongs in a model; None if nowhere."""
    if name in state:
        return name
    if name.startswith(f"{BODY}layer4."):
        shared = REGION_STAGE + name.removeprefix(BODY)
        return shared if shared in state else None
    return None


def _classes_differ(layer: str, tensor: Tensor, model: Any) -> bool:
    """Whether the rows of a predictor are other classes than the model's, which must then be found by name."""
    return (
        len(tensor) == COCO_CLASSES * PREDICTORS[layer]
        or len(tensor) != (1 + len(model.labels.things)) * PREDICTORS[layer]
    )


def _rows(labels: LabelSet, per_class: int, count: int) -> tuple[Tensor | None, Tensor]:
    """The rows of a predictor here and in the file that are of the same class; None if the file's have no names."""
    if count != COCO_CLASSES * per_class:
        return None, torch.zeros(0, dtype=torch.int64)
    of_name = {label.name: label.id for label in LabelSet.load("coco").things}
    pairs = [(0, 0)] + [
        (1 + index, of_name[label.name]) for index, label in enumerate(labels.things) if label.name in of_name
    ]
    within = torch.arange(per_class)
    mine, theirs = ((torch.tensor(some)[:, None] * per_class + within).flatten() for some in zip(*pairs, strict=True))
    return mine, theirs


def _read(path: Path) -> _File:
    """A file of torchvision's with its tensors named as in its Mask R-CNN.

    Raises
    ------
    ValueError
        If it cannot be read, or is something else.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever reading a damaged or foreign file comes upon
        raise ValueError(
            f"{path}: cannot be read as weights of torchvision ({_kind(path)}): {_first(error)}"
        ) from error
    if isinstance(content, dict) and isinstance(content.get("model"), dict):
        content = content["model"]  # what torchvision's training scripts write
    if not isinstance(content, dict) or not content or not all(isinstance(one, Tensor) for one in content.values()):
        raise ValueError(f"{path}: holds {_described(content)}, expected tensors by name (a state_dict)")
    state = {_present_name(str(name).removeprefix("module.")): tensor for name, tensor in content.items()}
    names = state.keys()
    if "conv1.weight" in names and "layer1.0.conv1.weight" in names:
        stages = {BODY + name: tensor for name, tensor in state.items()}
        return _File(f"torchvision's {_resnet(state)}", stages)
    if f"{BODY}conv1.weight" in names and any(name.startswith("rpn.") for name in names):
        classes = (
            len(state["roi_heads.box_predictor.cls_score.weight"])
            if "roi_heads.box_predictor.cls_score.weight" in (names)
            else 0
        )
        masks = any(name.startswith("roi_heads.mask_head.") for name in names)
        what = "Mask R-CNN" if masks else "Faster R-CNN"
        return _File(f"torchvision's {what} of {classes} classes", state)
    if f"{BODY}conv1.weight" in names and any(name.startswith("head.classification_head.") for name in names):
        raise ValueError(f"{path}: torchvision's RetinaNet or FCOS, expected a ResNet or a Mask R-CNN")
    raise ValueError(
        f"{path}: weights of something else ({len(names)} tensors such as {', '.join(list(names)[:3])}), expected "
        "torchvision's ResNet or Mask R-CNN"
    )


def _present_name(name: str) -> str:
    """The name that torchvision gives a tensor today."""
    for pattern, now in _RENAMED:
        name = pattern.sub(now, name)
    if match := _MASK_LAYER.match(name):
        name = f"roi_heads.mask_head.{int(match[1]) - 1}.0.{match[2]}"
    return name


def _resnet(state: Mapping[str, Tensor]) -> str:
    """The name of a ResNet, from its blocks."""
    blocks = tuple(len({name.split(".")[1] for name in state if name.startswith(f"layer{n}.")}) for n in range(1, 5))
    bottleneck = "layer1.0.conv3.weight" in state
    known: dict[tuple[tuple[int, ...], bool], str] = {
        ((2, 2, 2, 2), False): "ResNet-18",
        ((3, 4, 6, 3), False): "ResNet-34",
        ((3, 4, 6, 3), True): "ResNet-50",
        ((3, 4, 23, 3), True): "ResNet-101",
        ((3, 8, 36, 3), True): "ResNet-152",
    }
    return known.get((blocks, bottleneck), f"ResNet of {blocks} blocks")


def _kind(path: Path) -> str:
    """What a file is by its first bytes."""
    with path.open("rb") as file:
        start = file.read(16)
    if not start:
        return "it is empty"
    if start.startswith(b"PK"):
        return "it is an archive"
    if start.lstrip()[:1] == b"<":
        return "it is a page of the web, not what was to be downloaded"
    if start[8:9] == b"{":
        return "it looks like safetensors; name it .safetensors"
    return "it is a pickle" if start[:1] == b"\x80" else "it is no archive and no pickle"


def _first(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _described(content: Any) -> str:
    if isinstance(content, dict):
        odd = next((name for name, value in content.items() if not isinstance(value, Tensor)), None)
        return "nothing" if odd is None else f"a mapping with {odd!r} of type {type(content[odd]).__name__}"
    return f"a {type(content).__name__}"
