"""What Panoptic FPN learns by: Kirillov, Girshick, He and Dollár 2019, section 3.2.

L = lambda_i (L_c + L_b + L_m) + lambda_s L_s, with the two terms of the proposal network among the first, as in Mask
R-CNN.  L_s is the mean cross-entropy over the labelled pixels, L_c and L_b are means over the regions that are looked
at, L_m over those on objects.  The paper tunes both weights for each data set; 1 and 0.5 are what its authors' later
code (Detectron2) takes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from panoptic_ros.models.panoptic_fpn import PanopticFpn
from panoptic_training.losses.mask_rcnn import TERMS, MaskRcnnLossOptions
from panoptic_training.losses.semantic import SemanticLossOptions
from panoptic_training.losses.system import SystemLoss
from panoptic_training.losses.two_branches import TwoBranchLoss, check_weights


@dataclass(frozen=True, slots=True)
class PanopticFpnLossOptions:
    """How Panoptic FPN learns.

    Attributes
    ----------
    semantic, instance:
        Of each branch.
    semantic_weight, instance_weight:
        lambda_s and lambda_i, positive.

    Raises
    ------
    ValueError
        If a weight is not positive: a branch is left out by freezing its parts.
    """

    semantic: SemanticLossOptions = field(default_factory=SemanticLossOptions)
    instance: MaskRcnnLossOptions = field(default_factory=MaskRcnnLossOptions)
    semantic_weight: float = 0.5
    instance_weight: float = 1.0

    def __post_init__(self) -> None:
        check_weights(self)


class PanopticFpnLoss(TwoBranchLoss):
    """The loss of Panoptic FPN; see `TwoBranchLoss`."""

    def __init__(self, model: PanopticFpn, options: PanopticFpnLossOptions) -> None:
        weights = {"semantic": options.semantic_weight, **dict.fromkeys(TERMS, options.instance_weight)}
        super().__init__(model, options.semantic, options.instance, weights)


LOSS = SystemLoss(PanopticFpnLoss, PanopticFpnLossOptions)
