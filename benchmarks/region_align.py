"""Crops of regions from one map: our matrix products beside torchvision's kernel, forward and with the gradient.

The maps are of stride 16: of a batch in training (8 pictures of 192x320, 24 regions each), and of a node's frame
(640x384), with the 128 channels and 100 regions of a small network and with the 1024 and 300 of a ResNet-50.  Run
``python benchmarks/region_align.py [THREADS]``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import torch
from timing import measure, report
from torch import Tensor, nn
from torchvision.ops import MultiScaleRoIAlign

from panoptic_ros.models.layers.region_align import PRODUCT_CELLS, SingleMapAlign

STRIDE, BINS, RUNS = 16, 14, 10
SHAPES = {
    "training": (128, 12, 20, 8, 24),
    "a frame": (128, 24, 40, 1, 100),
    "a frame, ResNet-50": (1024, 24, 40, 1, 300),
}
"""Channels, rows and columns of the map, pictures, and regions of each."""


def regions(count: int, height: int, width: int) -> Tensor:
    corners = torch.rand((count, 2, 2)) * torch.tensor((width, height)) * STRIDE
    return torch.cat((corners.amin(dim=1), corners.amax(dim=1)), dim=1)


def alternatives(channels: int, height: int, width: int, pictures: int, count: int) -> dict[str, Callable[[], object]]:
    """Both ways to crop the same regions, with and without the gradient."""
    assert height * width <= PRODUCT_CELLS
    torch.manual_seed(0)
    cells = torch.randn((pictures, channels, height, width)).to(memory_format=torch.channels_last)
    boxes = [regions(count, height, width) for _ in range(pictures)]
    sizes = [(STRIDE * height, STRIDE * width)] * pictures

    def crop(pool: nn.Module) -> None:
        with torch.inference_mode():
            pool({"0": cells}, boxes, sizes)

    def learn(pool: nn.Module) -> None:
        leaf = cells.detach().requires_grad_()
        pool({"0": leaf}, boxes, sizes).sum().backward()

    theirs, ours = MultiScaleRoIAlign(["0"], BINS, sampling_ratio=2), SingleMapAlign("0", BINS)
    return {
        "torchvision": partial(crop, theirs),
        "ours": partial(crop, ours),
        "torchvision, with gradient": partial(learn, theirs),
        "ours, with gradient": partial(learn, ours),
    }


def main(threads: int = 1) -> dict[str, object]:
    """Time `RUNS` calls of each for each shape."""
    torch.set_num_threads(threads)
    return {
        name: report(f"RoIAlign, {name}, {threads} threads", measure(alternatives(*shape), repeats=RUNS))
        for name, shape in SHAPES.items()
    }


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
