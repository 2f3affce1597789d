"""What Mask R-CNN learns by (He et al. 2017, section 3; Ren et al. 2015, Faster R-CNN, sections 3.1.2 and 3.1.3).

The assignment of truth to anchors and regions, the sampling of both and the terms are torchvision's.  Beside it:

- Anchors and regions of which more than half lies in a crowd are neither right nor wrong.
- A mask's target is the share of each cell that the instance covers, as for the other systems (`losses/instances.py`);
  torchvision reads full-size masks of every instance there.  Cells on crowds do not count.
- Each process divides by its own samples, whose number is the same in all of them but for images without enough.
- In validation the samples are drawn with the same random numbers each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler
from torchvision.models.detection.roi_heads import fastrcnn_loss

from panoptic_ros.models.layers.region_system import RegionSystem
from panoptic_training.losses.anchors import largest_overlap
from panoptic_training.losses.instances import mask_targets
from panoptic_training.targets import Targets

CROWD_SHARE = 0.5
SEED = 0

TERMS = ("rpn_objectness", "rpn_box", "class", "box", "mask")


@dataclass(frozen=True, slots=True)
class MaskRcnnLossOptions:
    """How an instance branch learns.

    Attributes
    ----------
    anchors:
        How many anchors of an image are looked at, half of them on objects if there are as many; 256 in Faster R-CNN.
    regions:
        How many regions of an image are looked at, a quarter of them on objects; 512 with a feature pyramid, 64 in the
        TensorFlow configuration that JSIS-Net follows.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    anchors: int = 256
    regions: int = 512

    def __post_init__(self) -> None:
        for name in ("anchors", "regions"):
            if getattr(self, name) < 4:
                raise ValueError(f"{name} must be at least 4, got {getattr(self, name)}")


class MaskRcnnLoss(nn.Module):
    """The five terms of an instance branch.

    Parameters
    ----------
    model:
        The network; its samplers are set to what the options say.
    options:
        See there.
    """

    def __init__(self, model: RegionSystem, options: MaskRcnnLossOptions) -> None:
        super().__init__()
        model.rpn.fg_bg_sampler = BalancedPositiveNegativeSampler(options.anchors, 0.5)
        model.roi_heads.fg_bg_sampler = BalancedPositiveNegativeSampler(options.regions, 0.25)
        # The heads count the things from 1, after the background.
        numbers = torch.cumsum(model.is_thing, dim=0)
        self.register_buffer("numbers", numbers, persistent=False)
        self.numbers: Tensor

    def forward(self, model: RegionSystem, outputs: Mapping[str, Tensor], targets: Targets) -> dict[str, Tensor]:
        """The terms of a batch, unweighted: `TERMS`.

        Parameters
        ----------
        model:
            The network that was given before.
        outputs:
            What its forward gave for the images.
        targets:
            Of the images.
        """
        with _same_random_numbers(not self.training, targets.instances.device):
            proposals = model.proposals(outputs)
            labels, matched = model.rpn.assign_targets_to_anchors(
                proposals.anchors, [{"boxes": boxes} for boxes in targets.boxes]
            )
            labels = [_without_crowds(*one) for one in zip(labels, proposals.anchors, targets.crowds, strict=True)]
            if any(bool((one >= 0).any()) for one in labels):
                deltas = model.rpn.box_coder.encode(matched, proposals.anchors)
                objectness, box = model.rpn.compute_loss(proposals.objectness, proposals.deltas, labels, deltas)
            else:
                objectness, box = proposals.objectness.sum() * 0.0, proposals.deltas.sum() * 0.0
            return {
                "rpn_objectness": objectness,
                "rpn_box": box,
                **self._of_regions(model, outputs, proposals.boxes, targets),
            }

    def _of_regions(
        self, model: RegionSystem, outputs: Mapping[str, Tensor], proposals: Sequence[Tensor], targets: Targets
    ) -> dict[str, Tensor]:
        heads, size, features = model.roi_heads, model.input_size(outputs), model.features(outputs)
        truths, numbers = list(targets.boxes), [self.numbers[classes] for classes in targets.classes]
        regions = heads.add_gt_proposals(list(proposals), truths)
        rows, labels = heads.assign_targets_to_proposals(regions, truths, numbers)
        labels = [_without_crowds(*one) for one in zip(labels, regions, targets.crowds, strict=True)]
        sampled = heads.subsample(labels)
        regions, rows, labels = (
            [one[chosen] for one, chosen in zip(all_of, sampled, strict=True)] for all_of in (regions, rows, labels)
        )
        if not any(map(len, regions)):  # batch norms cannot learn from none
            nothing = torch.stack([one.float().sum() for one in features.values()]).sum() * 0.0
            return dict.fromkeys(("class", "box", "mask"), nothing)
        boxes = [
            truth[row] if len(truth) else torch.zeros_like(region)
            for truth, row, region in zip(truths, rows, regions, strict=True)
        ]
        read = heads.box_features(features, regions, size)
        logits, deltas = heads.box_predictor(read)
        wanted = list(heads.box_coder.encode(boxes, regions))
        classes, box = fastrcnn_loss(logits.float(), deltas.float(), labels, wanted)
        found = [label > 0 for label in labels]
        regions, rows, labels = (
            [one[chosen] for one, chosen in zip(all_of, found, strict=True)] for all_of in (regions, rows, labels)
        )
        masks = heads.mask_logits(features, regions, size, read[torch.cat(found)]).float()
        return {"class": classes, "box": box, "mask": _mask_term(masks, regions, rows, labels, targets.instances)}


def _mask_term(
    masks: Tensor, regions: Sequence[Tensor], rows: Sequence[Tensor], labels: Sequence[Tensor], instances: Tensor
) -> Tensor:
    """The mean over regions (R) of the binary cross-entropy of the class's plane of (R, 1 + T, S, S) logits."""
    if not len(masks):
        return masks.sum() * 0.0
    made = [mask_targets(*one, masks.shape[-1]) for one in zip(instances, rows, regions, strict=True)]
    shares, weights = (torch.cat(some) for some in zip(*made, strict=True))
    planes = masks[torch.arange(len(masks), device=masks.device), torch.cat(tuple(labels))]
    losses = F.binary_cross_entropy_with_logits(planes, shares, weights, reduction="none")
    each = losses.flatten(1).sum(dim=1) / weights.flatten(1).sum(dim=1).clamp(min=1e-6)
    return each.mean()


def _without_crowds(labels: Tensor, boxes: Tensor, crowds: Tensor) -> Tensor:
    """The same labels, -1 (ignored) for what is background (0) and lies in a crowd."""
    if not len(crowds):
        return labels
    inside = largest_overlap(boxes[None], [crowds], of_union=False)[0] > CROWD_SHARE
    return labels.masked_fill((labels == 0) & inside, -1)


@contextmanager
def _same_random_numbers(fixed: bool, device: torch.device) -> Iterator[None]:
    """Draw the same random numbers each time inside, and leave those outside as they would have been."""
    if not fixed:
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(SEED)
        yield
