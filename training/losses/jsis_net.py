"""What JSIS-Net learns by: de Geus, Meletis and Dubbelman 2018, section 2.1.1, with the weights of table 2.

======================  ==============================================  ========
term                    here                                            weight
======================  ==============================================  ========
1 L_rpn,obj             ``rpn_objectness``                              1.0
2 L_rpn,reg             ``rpn_box``                                     1.0
3 L_det,cls             ``class``                                       1.0
4 L_det,reg             ``box``                                         0.15
5 L_mask                ``mask``                                        0.3
6 L_seg                 ``semantic``                                    1.0
7 R, the L2 term        ``optimizer: {weight_decay: 5.5e-5}``           5.5e-5
======================  ==============================================  ========

The seventh term is the optimiser's weight decay: with SGD its gradient, lambda_7 w, is that of lambda_7 |w|^2 / 2, the
L2 term of the TensorFlow library that the paper's instance branch is described by.  Ours leaves out biases and batch
norms.

Where the text has a softmax over object and background for the proposal network, torchvision has a sigmoid: with the
difference of the two logits that is the same loss.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from panoptic_ros.models.jsis_net import JsisNet
from panoptic_training.losses.mask_rcnn import TERMS, MaskRcnnLossOptions
from panoptic_training.losses.semantic import SemanticLossOptions
from panoptic_training.losses.system import SystemLoss
from panoptic_training.losses.two_branches import TwoBranchLoss, check_weights
from panoptic_training.targets import Targets


@dataclass(frozen=True, slots=True)
class JsisNetInstanceLossOptions(MaskRcnnLossOptions):
    """How the instance branch learns: `MaskRcnnLossOptions` with fewer regions."""

    regions: int = 64

    def __post_init__(self) -> None:
        MaskRcnnLossOptions.__post_init__(self)


@dataclass(frozen=True, slots=True)
class JsisNetLossOptions:
    """How JSIS-Net learns.

    Attributes
    ----------
    semantic, instance:
        Of each branch.
    rpn_objectness_weight, rpn_box_weight, class_weight, box_weight, mask_weight, semantic_weight:
        lambda_1 to lambda_6 of table 2, positive.

    Raises
    ------
    ValueError
        If a weight is not positive: a branch is left out by freezing its parts.
    """

    semantic: SemanticLossOptions = field(default_factory=SemanticLossOptions)
    instance: JsisNetInstanceLossOptions = field(default_factory=JsisNetInstanceLossOptions)
    rpn_objectness_weight: float = 1.0
    rpn_box_weight: float = 1.0
    class_weight: float = 1.0
    box_weight: float = 0.15
    mask_weight: float = 0.3
    semantic_weight: float = 1.0

    def __post_init__(self) -> None:
        check_weights(self)


class JsisNetLoss(TwoBranchLoss):
    """The loss of JSIS-Net; see `TwoBranchLoss`."""

    def __init__(self, model: JsisNet, options: JsisNetLossOptions) -> None:
        weights = {term: getattr(options, f"{term}_weight") for term in ("semantic", *TERMS)}
        super().__init__(model, options.semantic, options.instance, weights)

    def evaluate(self, images: Tensor, targets: Targets) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """See `TwoBranchLoss.evaluate`.

        Raises
        ------
        ValueError
            Also if one image alone is to train the Pyramid Pooling Module, whose coarsest branch has one cell an image.
        """
        pooling = self.model.get_submodule("semantic_head.pooling")
        if len(images) == 1 and any(isinstance(part, nn.BatchNorm2d) and part.training for part in pooling.modules()):
            raise ValueError("the Pyramid Pooling Module needs at least 2 images in a batch to be trained, got 1")
        return super().evaluate(images, targets)


LOSS = SystemLoss(JsisNetLoss, JsisNetLossOptions)
