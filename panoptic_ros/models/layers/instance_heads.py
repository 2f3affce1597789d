"""Instance segmentation of crops: Diaz-Zapata 2020 ("YOLO-Based Panoptic Segmentation"), section 3.3."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CROP_SIZE = {"deep": 20, "shallow": 40}
"""Side of the crops that the two heads work on."""

FOREGROUND_SHARE = 0.6
"""What masks start from: about the share of its box that an object covers."""


class InstanceFeatures(nn.Module):
    """Features for the instance head (fig. 3.8): depth reduced by a 1x1 convolution, upsampled."""

    def __init__(self, in_channels: int, channels: int, upsample: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(in_channels, channels, 1)
        self.upsample = upsample

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) to (B, F, upsample · h, upsample · w)."""
        reduced: Tensor = self.reduce(features)
        if self.upsample == 1:
            return reduced
        upsampled: Tensor = F.interpolate(
            reduced, scale_factor=float(self.upsample), mode="bilinear", align_corners=False
        )
        return upsampled


class InstanceHead(nn.Module):
    """Foreground segmentation of crops (fig. 3.9).

    *shallow*: 40x40 crops, a 3x3 and a 1x1 convolution.  *deep*: 20x20 crops, two 3x3 convolutions and ReLU6 before the
    same two.
    """

    def __init__(self, channels: int, kind: Literal["deep", "shallow"]) -> None:
        super().__init__()
        self.crop_size = CROP_SIZE[kind]
        inputs = channels + 1  # the semantic plane of the detected class
        layers: list[nn.Module] = []
        for index in range(3 if kind == "deep" else 1):
            layers += [
                nn.Conv2d(inputs if index == 0 else channels, channels, 3, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU6(inplace=True),
            ]
        self.convolutions = nn.Sequential(*layers)
        self.mask = nn.Conv2d(channels, 1, 1)
        # Not from zero: objects cover most of their boxes, so the first steps would push all weights the same way,
        # every channel would learn to see the object, and behind ReLU6 none could speak for what is beside it.
        nn.init.xavier_uniform_(self.mask.weight)
        nn.init.constant_(self.mask.bias, math.log(FOREGROUND_SHARE / (1.0 - FOREGROUND_SHARE)))  # type: ignore[arg-type]

    def crop(
        self, features: Tensor, semantic: Tensor, boxes: Tensor, classes: Tensor, height: int, width: int
    ) -> Tensor:
        """The instance input features of one image's detections (fig. 3.8), each box resized bilinearly to S x S.

        Parameters
        ----------
        features:
            (F, h, w) of `InstanceFeatures`.
        semantic:
            (C, h', w') semantic logits.
        boxes, classes:
            (N, 4) x0, y0, x1, y1 in pixels of the input and (N,) the semantic class index of each detection.
        height, width:
            Of the input, in pixels: both maps cover it, whatever their strides.

        Returns
        -------
        (N, F + 1, S, S): the features and, of the semantic logits, the plane of the detection's class.
        """
        count, side = len(boxes), self.crop_size
        x, y = cell_centres(boxes, side)
        x, y = x * (2.0 / width) - 1.0, y * (2.0 / height) - 1.0
        grid = torch.stack((x[:, None].expand(-1, side, -1), y[:, :, None].expand(-1, -1, side)), dim=-1)
        crops = _sample(features, grid.flatten(0, 1)).view(-1, count, side, side)
        planes = _sample(semantic, grid.flatten(0, 1)).view(-1, count, side, side)
        context = planes[classes, torch.arange(count, device=boxes.device)]
        return torch.cat((crops.transpose(0, 1), context[:, None]), dim=1)

    def forward(self, crops: Tensor) -> Tensor:
        """(N, F + 1, S, S) to mask logits (N, S, S)."""
        logits: Tensor = self.mask(self.convolutions(crops))
        return logits[:, 0]


def expected_ious(masks: Tensor, threshold: float) -> Tensor:
    """(N,) the intersection over union that masks may be expected to have with the truth.

    If their probabilities are right: those of the cells above the threshold, by the number of these cells and the
    probabilities of the others together.  0 where no cell is above it.

    Parameters
    ----------
    masks:
        (N, S, S) probabilities; what is no number counts as 0.
    threshold:
        Above which a cell is the thing's.
    """
    masks = masks.float().nan_to_num(0.0)  # half precision cannot count the cells
    covered = masks > threshold
    inside = (masks * covered).sum(dim=(1, 2))
    return inside / (covered.sum(dim=(1, 2)) + masks.sum(dim=(1, 2)) - inside).clamp(min=1e-6)


def cell_centres(boxes: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """The centres of the cells of a grid of ``side x side`` in each box: (N, side) x of its columns, y of its rows."""
    centres = (torch.arange(side, device=boxes.device) + 0.5) / side
    x = boxes[:, :1] + centres * (boxes[:, 2:3] - boxes[:, :1])
    y = boxes[:, 1:2] + centres * (boxes[:, 3:] - boxes[:, 1:2])
    return x, y


def _sample(maps: Tensor, grid: Tensor) -> Tensor:
    """(C, h, w) at points (r, c, 2) with x, y from -1 to 1 between the map's outer edges: (C, r, c)."""
    # Not roi_align: it wants its maps channel by channel, and the copy took 25 ms a frame on a CPU.
    sampled = F.grid_sample(maps[None], grid[None].to(maps.dtype), padding_mode="border", align_corners=False)
    return sampled[0]
