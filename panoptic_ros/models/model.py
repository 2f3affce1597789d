"""What every system is to the rest of the house."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from panoptic_ros.labels import LabelSet
from panoptic_ros.letterbox import Letterbox
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
    """

    output_names: tuple[str, ...]
    input_multiple: int

    def __init__(self, labels: LabelSet) -> None:
        super().__init__()
        self.labels = labels
        self.untrained: frozenset[str] = frozenset()

    @abstractmethod
    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) RGB in [0, 1] to the tensors named in `output_names`, batch first."""

    @abstractmethod
    def decode(
        self,
        outputs: dict[str, Tensor],
        letterboxes: Sequence[Letterbox],
        options: DecodeOptions,
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
            Thresholds.
        confidence:
            Whether the values carry the confidence of each pixel.
        """
