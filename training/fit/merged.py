"""Networks that were trained apart, as one: some outputs of one network are taken from others.

The decode of the first makes a result of them, so that they are merged as its own outputs would be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from panoptic_ros.letterbox import Letterbox
from panoptic_ros.models import build_model, load_model_config
from panoptic_ros.models.frame_instances import FrameInstances
from panoptic_ros.models.model import PanopticModel
from panoptic_ros.models.weights import WeightsError, load_weights
from panoptic_ros.segmentation import PanopticSegmentation


class MergedNetworks(PanopticModel):
    """One network, some of whose outputs others give, in evaluation mode.

    A part of the first that has learned nothing counts as learned where it has in another.

    Parameters
    ----------
    network:
        Gives the other outputs, and decodes.
    others:
        Of each output that the first does not give, the network that does.

    Raises
    ------
    ValueError
        If an output is none of a network's, or networks are of other classes or their outputs of another shape.
    """

    def __init__(self, network: PanopticModel, others: Mapping[str, PanopticModel]) -> None:
        super().__init__(network.labels)
        self.network = network
        self.others = nn.ModuleDict(others)
        self.output_names = network.output_names
        self.input_multiple = math.lcm(network.input_multiple, *(other.input_multiple for other in others.values()))
        self.semantic_classes = network.semantic_classes
        self.eval()
        with torch.no_grad():
            trial = self.trial_input()
            expected = {name: tuple(value.shape) for name, value in network(trial).items()}
            for name, other in others.items():
                if name not in expected:
                    raise ValueError(f"{name!r} is no output of the network; it has {', '.join(expected)}")
                if other.labels != network.labels:
                    raise ValueError(f"{name}: is of a network for {other.labels.name!r}, not {network.labels.name!r}")
                found = other(trial)
                if name not in found or tuple(found[name].shape) != expected[name]:
                    shape = tuple(found[name].shape) if name in found else "nothing"
                    raise ValueError(f"{name}: the other network gives {shape} where {expected[name]} is expected")
        for other in others.values():
            network.untrained &= other.untrained

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """See `PanopticModel.forward`; every network is run."""
        return {**self.network(images), **{name: other(images)[name] for name, other in self.others.items()}}

    def proposals_of(self, outputs: dict[str, Tensor]) -> list[Tensor] | None:
        """See `PanopticModel.proposals_of`."""
        return self.network.proposals_of(outputs)

    def instances_of(
        self, outputs: dict[str, Tensor], letterboxes: Sequence[Letterbox], options: Any
    ) -> list[FrameInstances] | None:
        """See `PanopticModel.instances_of`."""
        return self.network.instances_of(outputs, letterboxes, options)

    def decode(
        self, outputs: dict[str, Tensor], letterboxes: Sequence[Letterbox], options: Any, confidence: bool = False
    ) -> list[PanopticSegmentation]:
        """See `PanopticModel.decode`."""
        return self.network.decode(outputs, letterboxes, options, confidence)


def merge(network: PanopticModel, outputs: Mapping[str, str]) -> PanopticModel:
    """A network with outputs of others.

    Parameters
    ----------
    network:
        With its weights.
    outputs:
        Of each output that another gives, that one's weights, ``.safetensors`` with its configuration inside.

    Returns
    -------
    The network itself where there is no other.

    Raises
    ------
    FileNotFoundError, ConfigurationError, WeightsError
        If a file is not there or not what it should be, or does not go with the network.
    """
    if not outputs:
        return network
    others = {}
    for name, path in outputs.items():
        others[name] = build_model(load_model_config(path))
        load_weights(others[name], Path(path).expanduser())
    try:
        return MergedNetworks(network, others)
    except ValueError as error:
        raise WeightsError(f"weights: outputs: {error}") from error
