"""What every system is to the rest of the house."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from panoptic_ros.labels import LabelSet
from panoptic_ros.letterbox import Letterbox
from panoptic_ros.models.frame_instances import FrameInstances
from panoptic_ros.models.options import DecodeOptions
from panoptic_ros.segmentation import PanopticSegmentation


class PanopticModel(nn.Module, ABC):
    """A panoptic segmentation system.

    `forward` is pure tensor code of fixed output shapes, so that it exports and any engine can run it; `decode` turns
    its outputs into values, on the device, with one copy to the host at its end.

    Attributes
    ----------
    labels:
        The classes; a network's class indices count them.
    output_names:
        The names of what `forward` returns, in order.
    input_multiple:
        Height and width of the input must be multiples of this.
    untrained:
        The parts that still have random weights: empty once weights for all of the system are loaded.
    backbone_part:
        The part (a child of the module) that gives all others their features.
    widening_parts:
        Parts that a training may start from a narrower network's (`StartOptions.widen`): convolutions and batch norms
        that read the channels which are added behind all others.
    weight_formats:
        By suffix, the files of other programs that the system takes weights from.
    semantic_classes:
        The class index that each plane of the output ``semantic_logits`` stands for, the number of classes for none;
        None where the planes are the classes.
    """

    output_names: tuple[str, ...]
    input_multiple: int
    backbone_part: ClassVar[str] = "backbone"
    widening_parts: ClassVar[frozenset[str]] = frozenset()
    weight_formats: ClassVar[Mapping[str, WeightFormat]] = {}
    semantic_classes: tuple[int, ...] | None = None

    def __init__(self, labels: LabelSet) -> None:
        super().__init__()
        self.labels = labels
        self.untrained: frozenset[str] = frozenset()

    def trial_input(self) -> Tensor:
        """(1, 3, H, W) a small input to see what `forward` does, where the parameters are and of their type."""
        first = next(iter(self.parameters()))
        side = 2 * self.input_multiple  # with one, the coarsest map has one cell, of which norms make nothing
        return torch.zeros((1, 3, side, side), device=first.device, dtype=first.dtype)

    @abstractmethod
    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) RGB in [0, 1] to the tensors named in `output_names`, batch first."""

    def fold(self) -> None:
        """Rewrite `forward`, in place, to run faster with the same answers; nothing where a system has no such way.

        Batch norms have been folded before.  What `decode` runs keeps its weights.  Called again it does nothing.
        """

    def proposals_of(self, outputs: dict[str, Tensor]) -> list[Tensor] | None:
        """The regions of each image that the instance branch looks at, whatever it makes of them.

        Parameters
        ----------
        outputs:
            What `forward` returned.

        Returns
        -------
        Of each image (N, 4) x0, y0, x1, y1 in pixels of the network's input; None of a system without such regions, or
        whose regions are not learnt.
        """
        return None

    def instances_of(
        self, outputs: dict[str, Tensor], letterboxes: Sequence[Letterbox], options: Any
    ) -> list[FrameInstances] | None:
        """What the instance branch finds by itself in each frame, to measure its average precision.

        Parameters
        ----------
        outputs, letterboxes, options:
            See `decode`; but for the score and the number of instances, which are those that are `measured`.

        Returns
        -------
        Of each image, a thing once for each class that is certain enough; None of a system that finds no instances
        before it merges them, or that has not learned to.
        """
        return None

    @abstractmethod
    def decode(
        self,
        outputs: dict[str, Tensor],
        letterboxes: Sequence[Letterbox],
        options: Any,
        confidence: bool = False,
    ) -> list[PanopticSegmentation]:
        """One value per image, at its frame's own size.

        Parameters
        ----------
        outputs:
            What `forward` returned, on any device.
        letterboxes:
            How each frame lies in the network's input.
        options:
            Thresholds, the system's `System.decode`.
        confidence:
            Whether the values carry the confidence of each pixel.
        """


@dataclass(frozen=True, slots=True)
class WeightsReport:
    """What was taken of a weights file of another program.

    Attributes
    ----------
    source:
        What the file is, in words.
    taken:
        The tensors of the model that it filled, wholly or in part.
    left:
        The tensors of the file that were not taken, each with the reason.
    random:
        The tensors of the model that keep their random values, wholly or in part.
    """

    source: str
    taken: tuple[str, ...]
    left: Mapping[str, str]
    random: tuple[str, ...]

    def __str__(self) -> str:
        reasons: dict[str, list[str]] = {}
        for name, reason in self.left.items():
            reasons.setdefault(reason, []).append(name)
        lines = [
            f"{self.source}: {len(self.taken)} tensors taken, {len(self.left)} not, {len(self.random)} stay random"
        ]
        lines += [f"not taken, {reason}: {_some(names)}" for reason, names in reasons.items()]
        if self.random:
            lines.append(f"random: {_some(self.random)}")
        return "\n".join(lines)


def _some(names: Sequence[str], shown: int = 6) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


class WeightFormat(Protocol):
    """Weights of another program, for systems that have parts which it knows."""

    def check(self, model: Any, path: Path) -> None:
        """Say what `load` would say of a file, quickly; the model may be on torch's ``meta`` device.

        Raises
        ------
        ValueError
            If the file cannot be used; the message names it and says what it is.
        """

    def load(self, model: Any, path: Path, layers: int | None = None, classes: int | None = None) -> WeightsReport:
        """Load a file, and take the parts that are whole with it out of ``model.untrained``.

        Parameters
        ----------
        layers, classes:
            The file is cut off after so many layers, or of so many classes, where the format knows of that.

        Raises
        ------
        ValueError
            If the file cannot be used; the model is then unchanged.
        """


@dataclass(frozen=True, slots=True)
class System:
    """A system as it is found by name; other packages bring theirs as entry points of the group
    ``panoptic_ros.models``.

    Attributes
    ----------
    model:
        Makes the network of a label set and settings.
    network, decode:
        The dataclasses of the network's settings, with a method ``self_contained`` that puts what is in files into the
        settings themselves, and of the decode's thresholds.
    configurations:
        The folder of model configurations that come with it, found by name like ours; None where ours is meant.
    """

    model: Callable[[LabelSet, Any], PanopticModel]
    network: type
    decode: type = DecodeOptions
    configurations: Path | None = None
