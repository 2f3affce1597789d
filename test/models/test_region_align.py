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


def pooled(
    pool: torch.nn.Module, cells: Tensor, boxes: list[Tensor], sizes: list[tuple[int, int]] | None = None
) -> tuple[Tensor, Tensor]:
    """The crops, and the map's gradient of their sum weighted by numbers of their own."""
    cells = cells.clone().requires_grad_()
    size = (STRIDE * cells.shape[-2], STRIDE * cells.shape[-1])
    crops = pool({"map": cells}, boxes, sizes or [size] * len(boxes))
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


def test_smaller_images_of_a_batch_lie_in_the_input_of_the_largest() -> None:
    generator = torch.Generator().manual_seed(0)
    cells = torch.randn((2, 4, 6, 8), generator=generator)
    boxes = [regions(5, 6, 8, generator), regions(4, 6, 8, generator)]
    sizes = [(40, 50), (6 * STRIDE, 8 * STRIDE)]  # by the first alone the map would be of stride 8
    found = pooled(SingleMapAlign("map", 4), cells, boxes, sizes)
    expected = pooled(MultiScaleRoIAlign(["map"], 4, sampling_ratio=2), cells, boxes, sizes)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_many_regions_are_cropped_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    cells, boxes = torch.randn((1, 4, 6, 8), generator=generator), [regions(9, 6, 8, generator)]
    at_once = pooled(SingleMapAlign("map", 4), cells, boxes)
    monkeypatch.setattr(region_align, "BAND_VALUES", 2 * 4 * 4 * 8)
    for one, other in zip(pooled(SingleMapAlign("map", 4), cells, boxes), at_once, strict=True):
        torch.testing.assert_close(one, other)


def test_mixed_precision_rounds_no_weight() -> None:
    generator = torch.Generator().manual_seed(0)
    cells, boxes = torch.randn((1, 4, 6, 8), generator=generator), [regions(5, 6, 8, generator)]
    plain, _ = pooled(SingleMapAlign("map", 4), cells, boxes)
    with torch.autocast("cpu", torch.bfloat16):
        mixed, _ = pooled(SingleMapAlign("map", 4), cells, boxes)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, plain)


@pytest.mark.parametrize("cells_of_products", [1024, 0])
def test_crops_of_a_half_precision_map_are_rounded_once(
    cells_of_products: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(region_align, "PRODUCT_CELLS", cells_of_products)
    generator = torch.Generator().manual_seed(0)
    cells, boxes = torch.randn((1, 4, 6, 8), generator=generator).bfloat16(), [regions(5, 6, 8, generator)]
    half, _ = pooled(SingleMapAlign("map", 4), cells, boxes)
    full, _ = pooled(SingleMapAlign("map", 4), cells.float(), boxes)
    assert torch.equal(half, full.bfloat16())


def test_a_large_map_is_read_by_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    cells, boxes = torch.randn((1, 4, 6, 8), generator=generator), [regions(5, 6, 8, generator)]
    products, _ = pooled(SingleMapAlign("map", 4), cells, boxes)
    monkeypatch.setattr(region_align, "PRODUCT_CELLS", 47)
    kernel, _ = pooled(SingleMapAlign("map", 4), cells, boxes)
    expected, _ = pooled(MultiScaleRoIAlign(["map"], 4, sampling_ratio=2), cells, boxes)
    assert torch.equal(kernel, expected)
    assert not torch.equal(products, expected)
