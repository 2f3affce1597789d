"""The instance loss: binary cross-entropy between each mask and its ground truth (thesis, section 3.3).

Where the thesis is silent, the choice and its reason:

- The boxes that are cropped are those of the truth, moved and scaled at random while training (`box_jitter`), because
  the detector's boxes, which are cropped later, are never exact.  Its own detections would leave nothing to learn
  from while it is still wrong, and no ground truth for those that are.
- A cell's target is the share of it that the instance covers, from `POINTS` x `POINTS` points of the id map: the mask
  is above a half where the instance has the greater part, at any size of box.  Points on a crowd do not count.
- Every instance weighs the same, whatever its size; `class_weights` weigh those of some classes more.
- Of a bicycle seen from its side little of the box is bicycle, and a mask that is empty everywhere has a low
  cross-entropy: `dice` adds the soft Dice loss (Milletari et al. 2016, V-Net, section 3, with sums of probabilities
  instead of their squares), 1 - (2 I + 1) / (P + T + 1), with the sums P of the probabilities of a mask's cells, T of
  its targets and I of their products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from panoptic_ros.models.layers.instance_heads import InstanceHead, cell_centres
from panoptic_training.losses.class_weights import check_class_weights, weight_of_each
from panoptic_training.losses.counts import shared_count

POINTS = 4


@dataclass(frozen=True, slots=True)
class InstanceLossOptions:
    """How an instance network learns.

    Attributes
    ----------
    box_jitter:
        While training, boxes are moved and scaled by up to this share of their size, in [0, 0.5).
    max_instances:
        The most instances of one image that are cropped, to bound the memory: at random while training, else the first.
    dice:
        Weight of the soft Dice loss beside the cross-entropy; 0 for none.
    class_weights:
        Of an instance by its class, in the order of the label set, not negative nor all 0; stuff's are never asked
        for.  Null: all alike.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    box_jitter: float = 0.1
    max_instances: int = 64
    dice: float = 0.0
    class_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.box_jitter < 0.5:
            raise ValueError(f"box_jitter must be in [0, 0.5), got {self.box_jitter}")
        if self.max_instances < 1:
            raise ValueError(f"max_instances must be positive, got {self.max_instances}")
        if not 0.0 <= self.dice < float("inf"):
            raise ValueError(f"dice must not be negative, got {self.dice}")
        check_class_weights(self.class_weights)


class InstanceLoss(nn.Module):
    """The mask term of an instance head on crops of the truth's boxes.

    Parameters
    ----------
    classes:
        How many the label set has.
    options:
        See there.

    Raises
    ------
    ValueError
        If there are class weights for another number of classes.
    """

    def __init__(self, classes: int, options: InstanceLossOptions) -> None:
        super().__init__()
        self.options = options
        self.register_buffer("weights", torch.tensor(weight_of_each(options.class_weights, classes)), persistent=False)
        self.weights: Tensor

    def forward(
        self,
        head: InstanceHead,
        features: Tensor,
        semantic: Tensor,
        instances: Tensor,
        boxes: Sequence[Tensor],
        classes: Sequence[Tensor],
    ) -> Tensor:
        """The loss, a scalar; 0 where there is no instance.

        Parameters
        ----------
        head:
            The instance head.
        features, semantic:
            (B, F, h, w) instance features and (B, C, h', w') semantic logits.
        instances, boxes, classes:
            Of `Targets`.
        """
        height, width = instances.shape[-2:]
        # float32 whatever the network runs in: float16 grids hold no pixel of a large input exactly.
        # Unbound: the gradient of an index would be as large as the batch, and adding them up 8 % of a step on a CPU.
        all_features, all_semantic = features.float().unbind(), semantic.float().unbind()
        crops, shares, counts, importance = [], [], [], []
        for index, (all_boxes, all_classes) in enumerate(zip(boxes, classes, strict=True)):
            if not len(all_boxes):
                continue
            rows = self._chosen(len(all_boxes), all_boxes.device)
            chosen = self._moved(all_boxes[rows], height, width)
            crops.append(head.crop(all_features[index], all_semantic[index], chosen, all_classes[rows], height, width))
            share, count = mask_targets(instances[index], rows, chosen, head.crop_size)
            shares.append(share)
            counts.append(count)
            importance.append(self.weights[all_classes[rows]])
        if not crops:
            shared_count(features.new_zeros(()))  # other processes may have instances, and wait for this one's count
            return _nothing(head, features)
        logits = head(torch.cat(crops)).float()
        targets, known = torch.cat(shares), torch.cat(counts)
        losses = F.binary_cross_entropy_with_logits(logits, targets, known, reduction="none")
        each = losses.flatten(1).sum(dim=1) / known.flatten(1).sum(dim=1).clamp(min=1e-6)
        if self.options.dice:
            each = each + self.options.dice * _dice(logits.sigmoid(), targets, known)
        weights = torch.cat(importance)
        return (each * weights).sum() / shared_count(weights.sum())

    def _chosen(self, count: int, device: torch.device) -> Tensor:
        """Which instances of an image are cropped."""
        most = self.options.max_instances
        if count > most and self.training:
            return torch.randperm(count, device=device)[:most]
        return torch.arange(min(count, most), device=device)

    def _moved(self, boxes: Tensor, height: int, width: int) -> Tensor:
        """Boxes as a detector might find them, inside the input as the decode has them."""
        if not (self.training and self.options.box_jitter):
            return boxes
        extents = boxes[:, 2:] - boxes[:, :2]
        move, scale = self.options.box_jitter * (2.0 * torch.rand((2, *extents.shape), device=boxes.device) - 1.0)
        centres = 0.5 * (boxes[:, 2:] + boxes[:, :2]) + move * extents
        half = 0.5 * (1.0 + scale) * extents
        limit = boxes.new_tensor((width, height) * 2)
        return torch.minimum(torch.cat((centres - half, centres + half), dim=1).clamp(min=0.0), limit)


def mask_targets(instances: Tensor, rows: Tensor, boxes: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """What the masks in some boxes of an image should be.

    Parameters
    ----------
    instances:
        (H, W) int32 as in `Targets`: k + 1 on instance k, -1 on crowds.
    rows, boxes:
        (N,) int64 the instance that each box (N, 4) is of.
    side:
        Of the masks, in cells.

    Returns
    -------
    (N, side, side) float32 the share of each cell's points that lie on the instance, and the share of its points that
    count.
    """
    height, width = instances.shape
    x, y = cell_centres(boxes, side * POINTS)
    columns = x.floor().long().clamp(0, width - 1)
    lines = y.floor().long().clamp(0, height - 1)
    found = instances[lines[:, :, None], columns[:, None, :]]
    inside = F.avg_pool2d((found == rows[:, None, None] + 1).float()[:, None], POINTS)[:, 0]
    known = F.avg_pool2d((found >= 0).float()[:, None], POINTS)[:, 0]
    return inside / known.clamp(min=1.0 / POINTS**2), known


def _dice(masks: Tensor, targets: Tensor, known: Tensor) -> Tensor:
    """(N,) the soft Dice loss of masks (N, S, S), whose cells count as far as their truth is known."""
    overlaps = (masks * targets * known).flatten(1).sum(dim=1)
    sums = ((masks + targets) * known).flatten(1).sum(dim=1)
    return 1.0 - (2.0 * overlaps + 1.0) / (sums + 1.0)


def _nothing(head: InstanceHead, features: Tensor) -> Tensor:
    """0 that still depends on all that the instance network learns, for processes that average their gradients."""
    parameters = [parameter.sum() for parameter in head.parameters()]
    return (torch.stack(parameters).sum() + features.sum()) * 0.0
