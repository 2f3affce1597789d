"""Region pooling by matrix products against torchvision's kernel."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import MultiScaleRoIAlign

from panoptic_ros.models.layers import region_align
from panoptic_ros.models.layers.region_align import SingleMapAlign

STRIDE = 16


def regions(count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Boxes of any size, also less than a cell, and some that hang out of the picture."""
    corners = torch.rand((count, 2, 2), generator=generator) * 1.3 - 0.15
    corners[: count // 4, 1] = corners[: count // 4, 0] + 0.01
    corners = corners * torch.tensor((width, height)) * STRIDE
    return torch.cat((corners.amin(dim=1), corners.amax(dim=1)), dim=1)


def pooled(pool: torch.nn.Module, cells: Tensor, boxes: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The crops, and the map's gradient of their sum weighted by numbers of their own."""
    cells = cells.clone().requires_grad_()
    size = (STRIDE * cells.shape[-2], STRIDE * cells.shape[-1])
    crops = pool({"map": cells}, boxes, [size] * len(boxes))
    weights = torch.rand(crops.shape, generator=torch.Generator().manual_seed(5))
    (gradient,) = torch.autograd.grad((crops * weights).sum(), cells)
    return crops.detach(), gradient


@given(st.integers(1, 9), st.integers(1, 13), st.integers(1, 8), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_crops_and_gradients_are_those_of_torchvision(height: int, width: int, size: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    cells = torch.randn((2, 5, height, width), generator=generator)
    boxes = [regions(12, height, width, generator), regions(3, height, width, generator)]
    crops, gradient = pooled(SingleMapAlign("map", size), cells, boxes)
    expected, expected_gradient = pooled(MultiScaleRoIAlign(["map"], size, sampling_ratio=2), cells, boxes)
    torch.testing.assert_close(crops, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-4)


def test_an_image_without_regions_has_no_crops() -> None:
    generator = torch.Generator().manual_seed(0)
    cells = torch.randn((3, 4, 6, 8), generator=generator)
    some = regions(5, 6, 8, generator)
    pool = SingleMapAlign("map", 4)
    sizes = [(6 * STRIDE, 8 * STRIDE)] * 3
    crops = pool({"map": cells}, [some[:0], some, some[:0]], sizes)
    expected = pool({"map": cells[1:2]}, [some], sizes[1:2])
    torch.testing.assert_close(crops, expected)
    assert pool({"map": cells}, [some[:0]] * 3, sizes).shape == (0, 4, 4, 4)


def test_mixed_precision_rounds_no_weight() -> None:
    generator = torch.Generator().manual_seed(0)
    cells, boxes = torch.randn((1, 4, 6, 8), generator=generator), [regions(5, 6, 8, generator)]
    plain, _ = pooled(SingleMapAlign("map", 4), cells, boxes)
    with torch.autocast("cpu", torch.bfloat16):
        mixed, _ = pooled(SingleMapAlign("map", 4), cells, boxes)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, plain)


def test_a_large_map_is_read_by_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    cells, boxes = torch.randn((1, 4, 6, 8), generator=generator), [regions(5, 6, 8, generator)]
    products, _ = pooled(SingleMapAlign("map", 4), cells, boxes)
    monkeypatch.setattr(region_align, "PRODUCT_CELLS", 47)
    kernel, _ = pooled(SingleMapAlign("map", 4), cells, boxes)
    expected, _ = pooled(MultiScaleRoIAlign(["map"], 4, sampling_ratio=2), cells, boxes)
    assert torch.equal(kernel, expected)
    assert not torch.equal(products, expected)
