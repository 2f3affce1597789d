"""Region pooling (He et al. 2017, "Mask R-CNN", section 3, RoIAlign) as matrix products."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

SAMPLES = 2
"""Places in each bin along a side, as torchvision's Mask R-CNN has it."""

PRODUCT_CELLS = 1024
"""The largest map that products read, in cells: their work grows with it, that of torchvision's kernel does not."""

BAND_VALUES = 2**24
"""How many numbers may lie between the two products, where regions have their rows and still all columns: 64 MB."""


class SingleMapAlign(nn.Module):
    """RoIAlign of one map, what `torchvision.ops.MultiScaleRoIAlign` does with one, in float32.

    A bin is the mean of bilinear samples on a grid, which is one weighted sum over the map's rows after one over its
    columns.  On a CPU these two products take a fraction of the time of torchvision's kernel on a small map, above all
    backward, and give crops with channels last in memory; elsewhere and for a large map it is torchvision's kernel.

    Parameters
    ----------
    name:
        The map's, by torchvision's names.
    size:
        Side of the crops, in bins.
    """

    def __init__(self, name: str, size: int) -> None:
        super().__init__()
        self._name, self._size = name, size

    def forward(
        self, features: Mapping[str, Tensor], boxes: Sequence[Tensor], sizes: Sequence[tuple[int, int]]
    ) -> Tensor:
        """Crop regions; boxes have no gradient.

        Parameters
        ----------
        features:
            The map (B, C, h, w) by its name.
        boxes:
            Of each image (R, 4) x0, y0, x1, y1 in pixels of the input.
        sizes:
            Height and width of each image in the input, which is as large as the largest.

        Returns
        -------
        (sum of R, C, S, S), of the map's dtype.
        """
        cells = features[self._name]
        # torchvision's rule: a map is smaller than the input by a power of two.
        scale = 2.0 ** round(math.log2(cells.shape[-2] / max(height for height, _ in sizes)))
        # Automatic mixed precision would round the weights.
        with torch.autocast(cells.device.type, enabled=False):
            crops = self._crops(cells.float(), [some.detach().float() for some in boxes], scale)
        return crops.to(cells.dtype)

    def _crops(self, cells: Tensor, boxes: Sequence[Tensor], scale: float) -> Tensor:
        if cells.device.type != "cpu" or cells.shape[-2] * cells.shape[-1] > PRODUCT_CELLS:
            found: Tensor = roi_align(cells, list(boxes), self._size, scale, SAMPLES)
            return found
        at_once = max(1, BAND_VALUES // (self._size * cells.shape[1] * cells.shape[-1]))
        crops = [
            _cropped(one, part * scale, self._size)
            for one, some in zip(cells, boxes, strict=True)
            for part in torch.split(some, at_once)
        ]
        return torch.cat(crops).permute(0, 3, 1, 2)


def _cropped(cells: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Crops (R, S, S, C) of one map (C, h, w), at boxes (R, 4) in cells."""
    channels, height, width = cells.shape
    rows = _bin_weights(boxes[:, 1], boxes[:, 3], height, size).reshape(-1, height)
    bands = rows @ cells.permute(1, 2, 0).reshape(height, width * channels)
    columns = _bin_weights(boxes[:, 0], boxes[:, 2], width, size)
    return columns[:, None] @ bands.reshape(-1, size, width, channels)


def _bin_weights(first: Tensor, last: Tensor, length: int, size: int) -> Tensor:
    """(R, size, length): the weight of each cell of a row of cells in the mean of each bin's samples.

    Parameters
    ----------
    first, last:
        (R,) where regions begin and end, in cells; what is shorter than one is as long as one.
    """
    step = (last - first).clamp(min=1.0) / (size * SAMPLES)
    place = first[:, None] + step[:, None] * (torch.arange(size * SAMPLES, device=first.device) + 0.5)
    cell = torch.arange(length, device=first.device)
    weights = (1.0 - (place.clamp(0.0, length - 1.0)[..., None] - cell).abs()).clamp(min=0.0)
    # Samples more than a cell outside the map count as 0.
    weights = weights * ((place >= -1.0) & (place <= length))[..., None]
    return weights.reshape(-1, size, SAMPLES, length).mean(dim=2)
