"""The folded pyramid against the parts that it is made of, which have tests of their own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from panoptic_ros.models.layers.folded_pyramid import FoldedPyramid, pyramid_maps
from panoptic_ros.models.layers.instance_heads import InstanceFeatures
from panoptic_ros.models.layers.pyramid_pooling import PyramidPooling
from panoptic_ros.models.layers.semantic_heads import FeatureFusion, SemanticHead

CHANNELS = (3, 4, 8)


def parts() -> tuple[FeatureFusion, PyramidPooling, SemanticHead, InstanceFeatures]:
    """Random, with statistics and biases that are not the identity."""
    generator = torch.Generator().manual_seed(0)
    fusion = FeatureFusion(CHANNELS)
    pooling = PyramidPooling(fusion.out_channels)
    head = SemanticHead(pooling.out_channels, 6, 5)
    made = fusion, pooling, head, InstanceFeatures(pooling.out_channels, 7, 2)
    for part in made:
        for tensor in (*part.eval().parameters(), *part.buffers()):
            if tensor.is_floating_point():
                tensor.data.uniform_(0.2, 1.0, generator=generator)
                tensor.data *= 0.5 if tensor.ndim == 1 else torch.randn(tensor.shape, generator=generator)
    return made


def folded(
    fusion: FeatureFusion, pooling: PyramidPooling, head: SemanticHead, features: InstanceFeatures | None
) -> FoldedPyramid:
    pooling, head = copy.deepcopy((pooling, head))
    for pair in (*pooling.branches, head):
        assert isinstance(pair, nn.Sequential)
        convolution, norm = pair[0], pair[1]
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        pair[0], pair[1] = fuse_conv_bn_eval(convolution, norm), nn.Identity()
    return FoldedPyramid(fusion, pooling, head, features)


@pytest.mark.parametrize(
    "sizes",
    [
        [(24, 40), (12, 20), (6, 10)],
        [(13, 17), (7, 9), (4, 5)],  # sides that are no multiples of each other
        [(8, 8), (4, 4), (2, 2)],  # fewer cells than the finest grid has
        [(4, 4), (2, 2), (1, 1)],
    ],
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_answers_are_those_of_the_parts(sizes: list[tuple[int, int]], layout: torch.memory_format) -> None:
    fusion, pooling, head, features = parts()
    generator = torch.Generator().manual_seed(1)
    maps = [
        torch.randn((2, depth, *size), generator=generator).contiguous(memory_format=layout)
        for depth, size in zip(CHANNELS, sizes, strict=True)
    ]
    with torch.inference_mode():
        pooled = pooling(fusion(maps))
        expected = head(pooled), features(pooled)
        found = folded(fusion, pooling, head, features)(maps)
        alone, none = folded(fusion, pooling, head, None)(maps)
    for one, other in zip(found, expected, strict=True):
        assert other.std() > 0.1
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    assert none is None
    torch.testing.assert_close(alone, found[0])


def test_all_parts_learn_from_it_as_from_the_plain_form() -> None:
    made = parts()
    fusion, pooling, head, features = made
    generator = torch.Generator().manual_seed(2)
    maps = [
        torch.randn((3, depth, *size), generator=generator)
        for depth, size in zip(CHANNELS, [(12, 20), (6, 10), (3, 5)], strict=True)
    ]
    for part in made:
        part.train()
    gradients = []
    statistics = []
    for form in ("plain", "folded"):
        ours = copy.deepcopy(made)
        fusion, pooling, head, features = ours
        inputs = [one.clone().requires_grad_() for one in maps]
        if form == "plain":
            pooled = pooling(fusion(inputs))
            answers = head(pooled), features(pooled)
        else:
            answers = pyramid_maps(inputs, fusion, pooling, head, features)
        # Weighed unevenly: batch norm takes the gradient out of a plain sum.
        loss = sum((answer * torch.linspace(-1.0, 2.0, answer.numel()).view_as(answer)).sum() for answer in answers)
        learning = [tensor for part in ours for tensor in part.parameters()]
        gradients.append(torch.autograd.grad(loss, [*inputs, *learning]))
        statistics.append([tensor for part in ours for tensor in part.buffers()])
    for one, other in zip(*gradients, strict=True):
        assert other.abs().max() > 1e-3
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 * float(other.abs().max()))
    for one, other in zip(*statistics, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
