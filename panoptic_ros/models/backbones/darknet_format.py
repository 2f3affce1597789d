"""Darknet's ``.weights`` as the weights of a system's detector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from panoptic_ros.models.backbones.darknet import Darknet
from panoptic_ros.models.backbones.darknet_weights import check_darknet_weights, load_darknet_weights
from panoptic_ros.models.model import WeightsReport

PART = "detector"


class DarknetFormat:
    """Weights of systems whose part ``detector`` is a `Darknet`; see `WeightFormat`."""

    def check(self, model: Any, path: Path) -> None:
        """See `WeightFormat.check`."""
        check_darknet_weights(model.detector.config, path)

    def load(self, model: Any, path: Path, layers: int | None = None, classes: int | None = None) -> WeightsReport:
        """See `WeightFormat.load`.

        Parameters
        ----------
        layers:
            The file holds so many layers only, as ``darknet53.conv.74`` holds 75, the backbone.
        classes:
            The file is of the same detector with so many classes.  All is taken but the convolutions whose shape
            depends on that number.
        """
        detector: Darknet = model.detector
        mine = detector.state_dict()
        if classes is None:
            load_darknet_weights(detector, path, cutoff=layers)
            if layers is None:
                model.untrained -= {PART}
                taken = set(mine)
            else:
                taken = {name for name in mine if int(name.split(".")[1]) < layers}
        else:
            other = Darknet(detector.config.with_classes(classes), taps=detector.taps)
            load_darknet_weights(other, path)
            theirs = other.state_dict()
            taken = {name for name in mine if mine[name].shape == theirs[name].shape}
            with torch.no_grad():
                for name in taken:
                    mine[name].copy_(theirs[name])
        left = {} if classes is None else dict.fromkeys(sorted(set(mine) - taken), f"of {classes} classes")
        return WeightsReport(
            source=f"{path}: Darknet weights",
            taken=tuple(f"{PART}.{name}" for name in sorted(taken)),
            left=left,
            random=tuple(f"{PART}.{name}" for name in sorted(set(mine) - taken)),
        )
