"""Mask R-CNN (He et al. 2017) of torchvision's parts, in steps: what exports is apart from what works on regions.

torchvision runs backbone, proposals and heads in one call.  Here the network gives the region proposal network's maps,
`propose` makes boxes of them, and `detect` classifies, moves and segments these.  Boxes are in pixels of the network's
input.  With the same weights each step gives what torchvision's own model gives there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead, concat_box_prediction_layers
from torchvision.ops import (
    Conv2dNormActivation,
    MultiScaleRoIAlign,
    batched_nms,
    clip_boxes_to_image,
    remove_small_boxes,
)

from panoptic_ros.models.layers.region_align import SingleMapAlign

RATIOS = (0.5, 1.0, 2.0)
LEAST_SIDE = 1e-2
"""Boxes of which a side is shorter, in pixels, are dropped, as torchvision does."""


class Proposals(NamedTuple):
    """What the region proposal network says of a batch.

    Attributes
    ----------
    anchors:
        Of each image (A, 4) x0, y0, x1, y1 in pixels of the input.
    objectness, deltas:
        (B · A, 1) logits and (B · A, 4), of all levels, as torchvision orders them.
    boxes:
        Of each image the (N, 4) proposals, best first, without gradient.
    """

    anchors: list[Tensor]
    objectness: Tensor
    deltas: Tensor
    boxes: list[Tensor]


class Instances(NamedTuple):
    """What is found in one image, best score first.

    Attributes
    ----------
    boxes:
        (N, 4) x0, y0, x1, y1 in pixels of the network's input.
    classes:
        (N,) int64, counts the things from 0.
    scores:
        (N,) the probability of the class.
    masks:
        (N, S, S) probabilities over the box.
    """

    boxes: Tensor
    classes: Tensor
    scores: Tensor
    masks: Tensor


class RegionHeads(RoIHeads):  # type: ignore[misc]
    """torchvision's RoI heads, run in steps; regions are pooled in float32 whatever the heads compute in."""

    def box_features(self, features: Mapping[str, Tensor], boxes: list[Tensor], size: tuple[int, int]) -> Tensor:
        """What the class and the box of each region are read from: (R, …)."""
        found: Tensor = self.box_head(self._pooled(self.box_roi_pool, features, boxes, size))
        return found

    def mask_logits(
        self,
        features: Mapping[str, Tensor],
        boxes: list[Tensor],
        size: tuple[int, int],
        box_features: Tensor | None = None,
    ) -> Tensor:
        """(R, 1 + T, S, S) of each region; the first plane is the background's and means nothing.

        Parameters
        ----------
        box_features:
            `box_features` of the same boxes, if they are there already.
        """
        found: Tensor = self.mask_predictor(self.mask_head(self._pooled(self.mask_roi_pool, features, boxes, size)))
        return found

    def _pooled(self, pool: Any, features: Mapping[str, Tensor], boxes: list[Tensor], size: tuple[int, int]) -> Tensor:
        maps = OrderedDict((name, features[name].float()) for name in features)
        pooled: Tensor = pool(maps, boxes, [size] * len(boxes))
        return pooled.to(next(self.box_predictor.parameters()).dtype)


class SharedRegionHeads(RegionHeads):
    """RoI heads whose boxes and masks are read from one stage of the backbone ("C4"); see `c4_heads`."""

    def mask_logits(
        self,
        features: Mapping[str, Tensor],
        boxes: list[Tensor],
        size: tuple[int, int],
        box_features: Tensor | None = None,
    ) -> Tensor:
        """See `RegionHeads.mask_logits`."""
        if box_features is None:
            box_features = self.box_features(features, boxes, size)
        found: Tensor = self.mask_predictor(self.mask_head(box_features))
        return found


def proposal_network(
    head: nn.Module,
    anchors: AnchorGenerator,
    testing: tuple[int, int],
    training: tuple[int, int],
) -> RegionProposalNetwork:
    """A region proposal network with Faster R-CNN's settings, those of torchvision.

    Parameters
    ----------
    testing, training:
        How many boxes of each level enter the suppression, and how many proposals come out.
    """
    return RegionProposalNetwork(
        anchors,
        head,
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=256,
        positive_fraction=0.5,
        pre_nms_top_n={"training": training[0], "testing": testing[0]},
        post_nms_top_n={"training": training[1], "testing": testing[1]},
        nms_thresh=0.7,
    )


def fpn_proposals(channels: int, sizes: Sequence[int], candidates: int, proposals: int) -> RegionProposalNetwork:
    """The region proposal network of a feature pyramid: one anchor size a level (Lin et al. 2017, section 4.1).

    Of each level `candidates` boxes enter the suppression; while training both numbers are doubled, as in torchvision.
    """
    anchors = AnchorGenerator(tuple((size,) for size in sizes), (RATIOS,) * len(sizes))
    return proposal_network(
        RPNHead(channels, len(RATIOS)), anchors, (candidates, proposals), (2 * candidates, 2 * proposals)
    )


def c4_proposals(
    in_channels: int, channels: int, sizes: Sequence[int], candidates: int, proposals: int
) -> RegionProposalNetwork:
    """The region proposal network of one map: all anchor sizes there; `channels` is its convolution's depth."""
    anchors = AnchorGenerator((tuple(sizes),), (RATIOS,))
    head = RPNHead(channels, len(RATIOS) * len(sizes))
    head.conv[0] = Conv2dNormActivation(in_channels, channels, kernel_size=3, norm_layer=None)
    nn.init.normal_(head.conv[0][0].weight, std=0.01)
    nn.init.zeros_(head.conv[0][0].bias)
    return proposal_network(head, anchors, (candidates, proposals), (candidates, proposals))


def fpn_heads(channels: int, classes: int, width: int, mask_channels: int) -> RegionHeads:
    """Mask R-CNN's heads on a feature pyramid.

    Parameters
    ----------
    channels:
        Of the pyramid.
    classes:
        How many things there are.
    width:
        Of the two fully connected layers, 1024 in Mask R-CNN.
    mask_channels:
        Of the mask head's convolutions, 256 in Mask R-CNN.
    """
    maps = ["0", "1", "2", "3"]
    return RegionHeads(
        **_SETTINGS,
        box_roi_pool=MultiScaleRoIAlign(maps, output_size=7, sampling_ratio=2),
        box_head=TwoMLPHead(channels * 7**2, width),
        box_predictor=FastRCNNPredictor(width, 1 + classes),
        mask_roi_pool=MultiScaleRoIAlign(maps, output_size=14, sampling_ratio=2),
        mask_head=MaskRCNNHeads(channels, (mask_channels,) * 4, 1),
        mask_predictor=MaskRCNNPredictor(mask_channels, mask_channels, 1 + classes),
    )


def c4_heads(
    stage: nn.Module, channels: int, classes: int, crop: int, mask_channels: int, mask_size: int
) -> RegionHeads:
    """Mask R-CNN's heads on one map, C4 style: crops go through the backbone's last stage.

    Parameters
    ----------
    stage, channels:
        The stage and the depth of what it gives.
    classes:
        How many things there are.
    crop:
        Side of the crops, which are max-pooled by 2 before the stage.
    mask_channels, mask_size:
        Depth of the mask head's convolutions, and the side of masks.
    """
    return SharedRegionHeads(
        **_SETTINGS,
        box_roi_pool=SingleMapAlign("0", crop),
        box_head=_RegionStage(stage),
        box_predictor=_MeanPredictor(channels, 1 + classes),
        mask_roi_pool=None,
        mask_head=_mask_head(channels, mask_channels, mask_size),
        mask_predictor=nn.Conv2d(mask_channels, 1 + classes, 3, padding=1),
    )


_SETTINGS: dict[str, Any] = {
    "fg_iou_thresh": 0.5,
    "bg_iou_thresh": 0.5,
    "batch_size_per_image": 512,
    "positive_fraction": 0.25,
    "bbox_reg_weights": None,
    # The decode's options say these for each frame.
    "score_thresh": 0.0,
    "nms_thresh": 0.5,
    "detections_per_img": 100,
}


class _RegionStage(nn.Module):
    """Crops, pooled to half their side, through the backbone's last stage."""

    def __init__(self, layer4: nn.Module) -> None:
        super().__init__()
        self.layer4 = layer4

    def forward(self, crops: Tensor) -> Tensor:
        """(R, C, S, S) to (R, D, S / 2, S / 2)."""
        found: Tensor = self.layer4(F.max_pool2d(crops, 2))
        return found


class _MeanPredictor(FastRCNNPredictor):  # type: ignore[misc]
    """Class and box from the mean of a region's features."""

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(R, D, s, s) to (R, 1 + T) and (R, 4 · (1 + T))."""
        found: tuple[Tensor, Tensor] = super().forward(features.mean(dim=(2, 3)))
        return found


def _mask_head(in_channels: int, channels: int, size: int) -> nn.Sequential:
    """Reduced depth, the masks' size, two convolutions."""
    head = nn.Sequential(
        nn.Conv2d(in_channels, channels, 1),
        nn.Upsample(size=(size, size), mode="bilinear", align_corners=False),
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.ReLU(inplace=True),
    )
    for layer in head:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return head


def propose(
    network: RegionProposalNetwork, objectness: Sequence[Tensor], deltas: Sequence[Tensor], size: tuple[int, int]
) -> Proposals:
    """The proposals of a batch from the maps of each level.

    Parameters
    ----------
    objectness, deltas:
        (B, A, h, w) and (B, 4 · A, h, w) of each level.
    size:
        Height and width of the network's input.
    """
    objectness, deltas = [one.float() for one in objectness], [one.float() for one in deltas]
    count = len(objectness[0])
    # The generator reads the sizes of images and maps, and no value of either.
    images = ImageList(objectness[0].new_empty((count, 0, *size)), [size] * count)
    anchors: list[Tensor] = network.anchor_generator(images, objectness)
    numbers = [one[0].numel() for one in objectness]
    flat_objectness, flat_deltas = concat_box_prediction_layers(objectness, deltas)
    with torch.no_grad():
        boxes = network.box_coder.decode(flat_deltas, anchors).view(count, -1, 4)
        found, _ = network.filter_proposals(boxes, flat_objectness, images.image_sizes, numbers)
    return Proposals(anchors, flat_objectness, flat_deltas, found)


def detect(
    heads: RegionHeads,
    features: Mapping[str, Tensor],
    proposals: list[Tensor],
    size: tuple[int, int],
    score_threshold: float,
    nms_threshold: float,
    max_detections: int,
) -> list[Instances]:
    """The instances of each image of a batch.

    Parameters
    ----------
    features:
        The maps that regions are cropped from, by torchvision's names.
    proposals:
        Of each image (N, 4).
    size:
        Height and width of the network's input.
    score_threshold, nms_threshold, max_detections:
        A class of a region needs a higher probability; of two boxes of a class whose IoU is higher the better one
        stays; and how many are kept of an image.
    """
    logits, deltas = heads.box_predictor(heads.box_features(features, proposals, size))
    scores = logits.float().softmax(dim=1)
    boxes = heads.box_coder.decode(deltas.float(), proposals).reshape(*scores.shape, 4)  # flat where there are none
    counts = [len(some) for some in proposals]
    found = [
        _select(*one, size, score_threshold, nms_threshold, max_detections)
        for one in zip(torch.split(boxes, counts), torch.split(scores, counts), strict=True)
    ]
    masks = heads.mask_logits(features, [kept for kept, _, _ in found], size)
    classes = torch.cat([chosen for _, chosen, _ in found])
    planes = masks[torch.arange(len(masks), device=masks.device), classes + 1].float().sigmoid()
    parts = torch.split(planes, [len(kept) for kept, _, _ in found])
    return [Instances(*one, part) for one, part in zip(found, parts, strict=True)]


def _select(
    boxes: Tensor,
    scores: Tensor,
    size: tuple[int, int],
    score_threshold: float,
    nms_threshold: float,
    max_detections: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, classes and scores of one image that stay, of (R, 1 + T, 4) and (R, 1 + T) with the background first."""
    boxes = clip_boxes_to_image(boxes, size)[:, 1:]
    region, classes = (scores[:, 1:] > score_threshold).nonzero(as_tuple=True)
    boxes, chosen = boxes[region, classes], scores[region, 1 + classes]
    large = remove_small_boxes(boxes, LEAST_SIDE)
    boxes, classes, chosen = boxes[large], classes[large], chosen[large]
    kept = batched_nms(boxes, chosen, classes, nms_threshold)[:max_detections]
    return boxes[kept], classes[kept], chosen[kept]
