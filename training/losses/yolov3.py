"""The loss of YOLOv3 (Redmon and Farhadi 2018, section 2), with the meaning that Darknet's ``yolo`` layer gives it.

Darknet states no loss but its gradient with respect to the raw map.  With the default coordinates these terms have
exactly that gradient: where the paper speaks of squared error for a centre, Darknet's delta is that of cross-entropy.

- *box*: of the anchors that answer for an object, each weighed by 2 - w h (the object's share of the input), so that
  small objects are not outweighed.
- *objectness*: binary cross-entropy of all anchors, 1 for those that answer for an object, 0 for others.  Others whose
  box overlaps some object by more than the ignore threshold, or lies in a crowd, are neither right nor wrong.
- *class*: binary cross-entropy of each class, of the anchors that answer for an object; a box may have several.

Each term is the sum over an image, averaged over the images, as in Darknet, whose learning rate of 0.001 goes with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import complete_box_iou_loss

from panoptic_ros.models.backbones.darknet import YoloDecoder
from panoptic_ros.models.backbones.darknet_cfg import DarknetConfig
from panoptic_training.losses.anchors import Assignment, assign, largest_overlap

MAX_LOG_SIZE = 10.0
"""A box is decoded for its overlap with at most e^10 times its anchor's size: more overflows and teaches nothing."""


@dataclass(frozen=True, slots=True)
class YoloV3LossOptions:
    """How a YOLOv3 detector learns.

    Attributes
    ----------
    ignore_threshold:
        An anchor whose box overlaps an object by a higher IoU is not told that there is none, in [0, 1].  0.7 as in
        Darknet's yolov3.cfg; the paper says 0.5.
    crowd_threshold:
        An anchor whose box lies with more than this share of its area in a crowd is not told that there is no object,
        in [0, 1]; 0.5 is where COCO's evaluation starts to forgive it.
    answer_threshold:
        An anchor whose width and height fit an object with a higher IoU answers for it beside the best one, in [0, 1].
        1 as in the paper: the best alone.  YOLOv4's cfg has 0.213 (Darknet's ``iou_thresh``), which learns faster.
    coordinates:
        ``cross_entropy``: of the centre, with half the squared error of the logarithm of the size: Darknet's.
        ``squared``: half the squared error of both, the centre's in cells: the paper's words.
        ``ciou``: 1 - complete IoU (Zheng et al. 2020), as YOLOv4 has it, without the weight 2 - w h.
    box_weight, objectness_weight, class_weight:
        Positive weights of the three terms among each other.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    ignore_threshold: float = 0.7
    crowd_threshold: float = 0.5
    answer_threshold: float = 1.0
    coordinates: Literal["cross_entropy", "squared", "ciou"] = "cross_entropy"
    box_weight: float = 1.0
    objectness_weight: float = 1.0
    class_weight: float = 1.0

    def __post_init__(self) -> None:
        for name in ("ignore_threshold", "crowd_threshold", "answer_threshold"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        for name in ("box_weight", "objectness_weight", "class_weight"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.coordinates not in ("cross_entropy", "squared", "ciou"):
            raise ValueError(f"coordinates must be cross_entropy, squared or ciou, got {self.coordinates!r}")


class YoloV3Loss(nn.Module):
    """The terms of a detector.

    Parameters
    ----------
    config:
        The detector.
    options:
        See there.

    Raises
    ------
    ValueError
        If a head has the coordinates of Scaled-YOLOv4 (``new_coords``), which this loss does not describe.
    """

    def __init__(self, config: DarknetConfig, options: YoloV3LossOptions) -> None:
        super().__init__()
        if any(head.new_coords for _, head in config.heads):
            raise ValueError(f"{config.source}: new_coords: the loss of YOLOv3 is for heads without them")
        self.options = options
        self.decoder = YoloDecoder(config)
        self._heads = config.heads

    def forward(
        self,
        detections: Sequence[Tensor],
        boxes: Sequence[Tensor],
        classes: Sequence[Tensor],
        crowds: Sequence[Tensor],
    ) -> dict[str, Tensor]:
        """The terms ``box``, ``objectness`` and ``class``, unweighted scalars.

        Parameters
        ----------
        detections:
            `DarknetOutputs.detections`.
        boxes, classes, crowds:
            Of each image (N, 4) float32 objects, (N,) int64 the detector's classes, and (M, 4) float32 crowds.
        """
        images = len(boxes)
        raw = [one.float() for one in detections]
        logits = torch.cat([self._rows(one) for one in raw], dim=1)
        sizes = [(one.shape[2], one.shape[3]) for one in raw]
        with torch.no_grad():
            found = assign(self._heads, sizes, boxes, classes, self.options.answer_threshold)
            counted = ~self._undecided(raw, boxes, crowds)
            counted[found.images, found.slots] = True
            wanted = torch.zeros_like(logits[..., 4])
            wanted[found.images, found.slots] = 1.0
        rows = logits[found.images, found.slots]
        objectness = F.binary_cross_entropy_with_logits(logits[..., 4], wanted, reduction="none")
        return {
            "box": self._coordinates(rows[:, :4], found, sizes).sum() / images,
            "objectness": objectness.where(counted, 0.0).sum() / images,
            "class": F.binary_cross_entropy_with_logits(rows[:, 5:], found.classes, reduction="sum") / images,
        }

    def weighted(self, terms: dict[str, Tensor]) -> Tensor:
        """Their sum by the options' weights."""
        options = self.options
        box, objectness, class_term = terms["box"], terms["objectness"], terms["class"]
        return options.box_weight * box + options.objectness_weight * objectness + options.class_weight * class_term

    def _rows(self, raw: Tensor) -> Tensor:
        """(B, A · (5 + T), h, w) to (B, h · w · A, 5 + T), the order of `YoloDecoder`."""
        return raw.permute(0, 2, 3, 1).reshape(len(raw), -1, 5 + self.decoder.classes)

    def _undecided(self, raw: Sequence[Tensor], boxes: Sequence[Tensor], crowds: Sequence[Tensor]) -> Tensor:
        """(B, N) whether an anchor's box is nearly right, or in a crowd."""
        predicted = self.decoder(raw).boxes
        nearly = largest_overlap(predicted, boxes) > self.options.ignore_threshold
        return nearly | (largest_overlap(predicted, crowds, of_union=False) > self.options.crowd_threshold)

    def _coordinates(self, raw: Tensor, found: Assignment, sizes: Sequence[tuple[int, int]]) -> Tensor:
        """The box term of each anchor that answers for an object: (P,) or (P, 4)."""
        centre, size = raw[:, :2], raw[:, 2:]
        stride, reach = found.strides[:, None], found.reaches[:, None]
        extent = found.boxes[:, 2:] - found.boxes[:, :2]
        offset = 0.5 * (found.boxes[:, 2:] + found.boxes[:, :2]) / stride - found.cells
        if self.options.coordinates == "ciou":
            middle = (_reached(centre, reach) + found.cells) * stride
            half = 0.5 * found.anchors * size.clamp(-MAX_LOG_SIZE, MAX_LOG_SIZE).exp()
            term: Tensor = complete_box_iou_loss(torch.cat((middle - half, middle + half), dim=1), found.boxes)
            return term
        if self.options.coordinates == "squared":
            centre_term = 0.5 * (_reached(centre, reach) - offset).square()
        else:
            # What the logistic function must say for a centre there, which `scale_x_y` lets reach over the cell's edge.
            share = (offset + 0.5 * (reach - 1.0)) / reach
            centre_term = F.binary_cross_entropy_with_logits(centre, share, reduction="none")
        size_term = 0.5 * (size - (extent / found.anchors).log()).square()
        (height, width), (head_stride, _) = sizes[0], self._heads[0]
        weight = 2.0 - extent.prod(dim=1, keepdim=True) / (height * width * head_stride**2)
        return weight * torch.cat((centre_term, size_term), dim=1)


def _reached(centre: Tensor, reach: Tensor) -> Tensor:
    """The centre that a raw one stands for, in cells from its cell's corner."""
    return centre.sigmoid() * reach - 0.5 * (reach - 1.0)
