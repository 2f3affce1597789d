"""The weights that a training starts from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from panoptic_ros.models.backbones.darknet import Darknet
from panoptic_ros.models.backbones.darknet_weights import load_darknet_weights
from panoptic_ros.models.model import PanopticModel
from panoptic_ros.models.weights import WeightsError, load_weights


@dataclass(frozen=True, slots=True)
class StartOptions:
    """What training starts from.

    Attributes
    ----------
    path:
        ``.safetensors`` of the whole system, or Darknet ``.weights`` of its detector; empty for random weights.
    layers:
        Of Darknet's: the file holds so many layers only, as ``darknet53.conv.74`` holds 75, the backbone.
    classes:
        Of Darknet's: the file is of the same detector with so many classes, 80 of COCO.  All is taken but the
        convolutions whose shape depends on that number, which stay random.

    Raises
    ------
    ValueError
        If the options do not go together.
    """

    path: str = ""
    layers: int | None = None
    classes: int | None = None

    def __post_init__(self) -> None:
        if self.layers is not None and self.classes is not None:
            raise ValueError("layers and classes cannot both be given")
        for name in ("layers", "classes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be positive, got {value}")


def load_start(model: PanopticModel, options: StartOptions) -> None:
    """Load what training starts from; ``model.untrained`` names the parts that are random after it, wholly or partly.

    Raises
    ------
    WeightsError
        If the file cannot be used.
    """
    if not options.path:
        if options.layers is not None or options.classes is not None:
            raise WeightsError("weights: layers and classes are given, but no file; name it with --weights")
        return
    path = Path(options.path).expanduser()
    if options.layers is None and options.classes is None:
        load_weights(model, path)
        return
    detector = getattr(model, "detector", None)
    if path.suffix == ".safetensors" or not isinstance(detector, Darknet):
        raise WeightsError(f"{path}: layers and classes are told of Darknet weights, for a Darknet detector")
    try:
        if options.layers is not None:
            load_darknet_weights(detector, path, cutoff=options.layers)
            return
        assert options.classes is not None
        other = Darknet(detector.config.with_classes(options.classes), taps=detector.taps)
        load_darknet_weights(other, path)
    except (ValueError, OSError) as error:
        raise WeightsError(str(error)) from error
    mine = detector.state_dict()
    with torch.no_grad():
        for name, tensor in other.state_dict().items():
            if mine[name].shape == tensor.shape:
                mine[name].copy_(tensor)
