"""The Pyramid Pooling Module against PyTorch's adaptive pooling."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from panoptic_ros.models.layers.pyramid_pooling import PyramidPooling, pool_to_grids


@pytest.mark.parametrize("shape", [(6, 6), (13, 17), (96, 160), (5, 4), (1, 1)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_regions_are_those_of_adaptive_pooling(shape: tuple[int, int], layout: torch.memory_format) -> None:
    features = torch.randn((2, 3, *shape), generator=torch.Generator().manual_seed(0)).contiguous(memory_format=layout)
    sizes = (1, 2, 3, 6)
    for size, grid in zip(sizes, pool_to_grids(features, sizes), strict=True):
        torch.testing.assert_close(grid, F.adaptive_avg_pool2d(features, size))


def test_the_module_equals_its_description() -> None:
    module = PyramidPooling(8).eval()
    features = torch.randn((2, 8, 9, 11), generator=torch.Generator().manual_seed(0))
    pooled = module(features)
    assert pooled.shape == (2, 16, 9, 11)
    assert torch.equal(pooled[:, :8], features)
    for index, size in enumerate((1, 2, 3, 6)):
        convolution, norm, _ = module.branches[index]
        branch = F.adaptive_avg_pool2d(features, size)
        branch = F.conv2d(branch, convolution.weight)
        branch = F.batch_norm(branch, norm.running_mean, norm.running_var, norm.weight, norm.bias).relu()
        branch = F.interpolate(branch, size=(9, 11), mode="bilinear", align_corners=False)
        torch.testing.assert_close(pooled[:, 8 + 2 * index : 10 + 2 * index], branch)
