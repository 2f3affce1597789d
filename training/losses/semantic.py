"""The semantic loss: cross-entropy (thesis, section 3.2.1), or of the hardest pixels alone (its equation 2.7).

Beside it, where it is wanted, the soft Dice loss, of which the thesis does not speak: poles are a hundredth of the
pixels, and cross-entropy is content when they are found about where they are; panoptic quality asks for more than half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from panoptic_ros.models.layers.pyramid_pooling import bilinear_weights
from panoptic_training.losses.class_weights import check_class_weights, weight_of_each
from panoptic_training.losses.counts import shared_count
from panoptic_training.targets import IGNORE


@dataclass(frozen=True, slots=True)
class SemanticLossOptions:
    """How a semantic network learns.

    Attributes
    ----------
    class_weights:
        The weight of each class's pixels, in the order of the label set, not negative and not all 0; null is 1 for
        all.
    hardest:
        The share of an image's labelled pixels that counts, those with the highest loss, in (0, 1]: the bootstrapped
        cross-entropy; DeeperLab takes 0.15.  Null counts all pixels.
    small_instance_weight, small_instance_area:
        Pixels of instances with fewer pixels than the area weigh this much more, to learn from small objects: 3 and
        4096 in DeeperLab.  A weight of 1 is none.
    step:
        Every so manieth row and column counts, from one on that is drawn anew for each batch while training: with 2 a
        quarter of the pixels, chosen so that in the mean all count alike.  On a CPU all pixels are a fifth of the
        work of training a small network.
    dice:
        The weight of the soft Dice loss beside the cross-entropy; 0 is none.  All classes and pixels count alike in it,
        whatever their weights.
    dice_smoothing:
        Pixels of the input that count as found in each class of each image: what is smaller has little weight.  With 0
        a sign of ten pixels has that of a road.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    class_weights: tuple[float, ...] | None = None
    hardest: float | None = None
    small_instance_weight: float = 1.0
    small_instance_area: int = 64 * 64
    step: int = 1
    dice: float = 0.0
    dice_smoothing: float = 1.0

    def __post_init__(self) -> None:
        check_class_weights(self.class_weights)
        if self.step < 1:
            raise ValueError(f"step must be at least 1, got {self.step}")
        if self.hardest is not None and not 0.0 < self.hardest <= 1.0:
            raise ValueError(f"hardest must be in (0, 1], got {self.hardest}")
        if not 0.0 < self.small_instance_weight < float("inf"):
            raise ValueError(f"small_instance_weight must be positive, got {self.small_instance_weight}")
        if self.small_instance_area < 1:
            raise ValueError(f"small_instance_area must be positive, got {self.small_instance_area}")
        for name in ("dice", "dice_smoothing"):
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")


class SemanticLoss(nn.Module):
    """Cross-entropy at the size of the labels, to which the logits are interpolated as the decode does.

    With all pixels it is the weighted mean over the batch.  With the hardest it is equation 2.7 for each image,
    averaged over the images that have a label.  N there is the number of labelled pixels, the only ones whose p(y)
    exists, and which pixels are hardest is decided before they are weighed.

    The soft Dice loss (Milletari et al. 2016, V-Net, section 3, with sums of probabilities instead of their squares) is
    1 - (2 I + s) / (P + T + s) of a class in an image: P the sum of its probabilities over the labelled pixels, I that
    over its own T pixels, s the smoothing.  It is averaged over the classes that each image has.

    Parameters
    ----------
    classes:
        How many there are.
    options:
        See there.

    Raises
    ------
    ValueError
        If there are class weights for another number of classes.
    """

    def __init__(self, classes: int, options: SemanticLossOptions) -> None:
        super().__init__()
        self.options = options
        # One more for pixels without a label, so that every label finds a weight.
        table = torch.tensor([*weight_of_each(options.class_weights, classes), 0.0])
        self.register_buffer("weights", table, persistent=False)
        self.weights: Tensor

    def forward(self, logits: Tensor, labels: Tensor, instances: Tensor) -> Tensor:
        """The loss, a scalar; 0 where no pixel has a label.

        Parameters
        ----------
        logits:
            (B, C, h, w).
        labels:
            (B, H, W) int64 class index, `IGNORE` where there is none.
        instances:
            (B, H, W) int32, positive on instances, as in `Targets`.
        """
        rows, columns = self._rows_and_columns(labels)
        pixels = labels.shape[-2] * labels.shape[-1]
        # In full precision before and after: automatic mixed precision makes the products in between half.
        logits = _interpolated(logits.float(), labels.shape[-2:], rows, columns).float()
        weights = self._pixel_weights(labels, instances)[:, rows, columns]
        labels = labels[:, rows, columns]
        log_probabilities = F.log_softmax(logits, dim=1)
        losses = F.nll_loss(log_probabilities, labels, ignore_index=IGNORE, reduction="none")
        if self.options.hardest is None:
            loss = (losses * weights).sum() / shared_count(weights.sum())
        else:
            labelled = (labels != IGNORE).flatten(1)
            loss = self._of_hardest(losses.flatten(1), weights.flatten(1), labelled, self.options.hardest)
        if self.options.dice:
            share = labels.shape[-2] * labels.shape[-1] / pixels  # of the pixels that count
            smoothing = self.options.dice_smoothing * share
            dice = _dice(log_probabilities.exp().flatten(2), labels.flatten(1), smoothing)
            loss = loss + self.options.dice * dice
        return loss

    def _rows_and_columns(self, labels: Tensor) -> tuple[slice, slice]:
        """Those that count."""
        step = self.options.step
        if step == 1 or not self.training:
            return slice(None), slice(None)
        row, column = (int(torch.randint(min(step, size), ())) for size in labels.shape[-2:])
        return slice(row, None, step), slice(column, None, step)

    def _pixel_weights(self, labels: Tensor, instances: Tensor) -> Tensor:
        """(B, H, W) float32, 0 where there is no label."""
        weights = self.weights[labels.where(labels != IGNORE, len(self.weights) - 1)]
        if self.options.small_instance_weight == 1.0:
            return weights
        numbers = instances.flatten(1).clamp(min=0).long()
        areas = torch.zeros((len(numbers), int(numbers.amax()) + 1), device=numbers.device)
        areas.scatter_add_(1, numbers, torch.ones_like(numbers, dtype=areas.dtype))
        areas[:, 0] = float("inf")  # of no instance
        small = areas.gather(1, numbers).view_as(weights) < self.options.small_instance_area
        return torch.where(small, weights * self.options.small_instance_weight, weights)

    def _of_hardest(self, losses: Tensor, weights: Tensor, labelled: Tensor, share: float) -> Tensor:
        """Equation 2.7 of (B, P) pixels."""
        # Counted in float64: 0.15 of 20 is 3 there, and float32 would make it 4.
        counts = (labelled.sum(dim=1).double() * share).round(decimals=6).ceil().long()
        ranked, order = losses.masked_fill(~labelled, -1.0).topk(max(int(counts.amax()), 1), dim=1)
        chosen = torch.arange(ranked.shape[1], device=losses.device) < counts[:, None]
        each = (ranked * weights.gather(1, order)).where(chosen, 0.0).sum(dim=1) / counts.clamp(min=1)
        return each.sum() / shared_count((counts > 0).sum())


def _dice(probabilities: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """The soft Dice loss of (B, C, P) probabilities and (B, P) labels."""
    labelled = labels != IGNORE
    own = labels.where(labelled, 0)
    sums = (probabilities * labelled[:, None]).sum(dim=2)
    found = probabilities.gather(1, own[:, None])[:, 0] * labelled
    overlaps = torch.zeros_like(sums).scatter_add(1, own, found)
    areas = torch.zeros_like(sums).scatter_add(1, own, labelled.to(sums.dtype))
    losses = 1.0 - (2.0 * overlaps + smoothing) / (sums + areas + smoothing)
    present = areas > 0
    return losses.where(present, 0.0).sum() / shared_count(present.sum())


def _interpolated(logits: Tensor, size: Sequence[int], rows: slice, columns: slice) -> Tensor:
    """Logits (B, C, h, w) bilinearly at some rows and columns of an image of a size: (B, C, R, S)."""
    height, width = size
    if logits.shape[-2:] == (height, width):
        return logits[:, :, rows, columns]
    # Plane by plane in memory, while it is small: on a CPU the rest takes half as long as with channels last.
    planes = logits.contiguous()
    if rows == columns == slice(None):
        return F.interpolate(planes, size=(height, width), mode="bilinear", align_corners=False)
    down = bilinear_weights(height, planes.shape[-2], planes)[rows]
    across = bilinear_weights(width, planes.shape[-1], planes)[columns]
    return down @ (planes @ across.T)
