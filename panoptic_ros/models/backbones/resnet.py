"""torchvision's ResNets (He et al. 2016) as backbones: with a feature pyramid, or cut before their last stage.

Parts are named as torchvision's Mask R-CNN names them (``body.layer1``, ``fpn.inner_blocks``), so that its weights fit.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

ResnetName = Literal["resnet18", "resnet18_half", "resnet34", "resnet50", "resnet101"]

_LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet18_half": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
}

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pictures, RGB in [0, 1]: what weights of torchvision want their input normalised by."""


class _Half(ResNet):  # type: ignore[misc]
    """A ResNet whose stages have half the channels; its stem is whole."""

    def _make_layer(self, block: Any, planes: int, *arguments: Any, **options: Any) -> nn.Sequential:
        layer: nn.Sequential = super()._make_layer(block, planes // 2, *arguments, **options)
        return layer


class Normalize(nn.Module):
    """(B, 3, H, W) RGB in [0, 1] to what ImageNet's weights expect."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(1, 3, 1, 1), persistent=False)
        self.mean: Tensor
        self.deviation: Tensor

    def forward(self, images: Tensor) -> Tensor:
        """The same shape."""
        return (images - self.mean) / self.deviation


def resnet(name: ResnetName, stride: Literal[8, 16, 32] = 32) -> ResNet:
    """A ResNet with random weights.

    Parameters
    ----------
    name:
        ``resnet18_half`` is ResNet-18 with half the channels in each stage, for machines without a GPU.
    stride:
        Of the third stage's map (``layer3``): 16 as it is; 8 with holes in place of the step (atrous rate 2).  32 is
        the whole network's, as it is.

    Raises
    ------
    ValueError
        If the network's blocks cannot have holes.
    """
    block, layers = _LAYERS[name]
    if stride == 8 and block is BasicBlock:
        raise ValueError(f"stride 8 needs blocks with holes, which {name} does not have; use 16, resnet50 or resnet101")
    made = _Half if name.endswith("_half") else ResNet
    return made(block, list(layers), replace_stride_with_dilation=[False, stride == 8, False])


def out_channels(stage: nn.Module) -> int:
    """The depth of what a stage of a ResNet gives."""
    last: Any = stage[-1]  # type: ignore[index]
    normalization = last.bn3 if isinstance(last, Bottleneck) else last.bn2
    return int(normalization.num_features)


def pyramid(name: ResnetName, channels: int) -> BackboneWithFPN:
    """A ResNet with a feature pyramid (Lin et al. 2017) of maps ``0`` to ``3`` (strides 4 to 32) and ``pool`` (64)."""
    body = resnet(name)
    stages = [f"layer{number}" for number in range(1, 5)]
    return BackboneWithFPN(
        body,
        {stage: str(number) for number, stage in enumerate(stages)},
        [out_channels(getattr(body, stage)) for stage in stages],
        channels,
    )


class C4(nn.Module):
    """A ResNet as far as its third stage ("C4"); the fourth is given back for the regions.

    Attributes
    ----------
    out_channels:
        Of the map.
    """

    def __init__(self, network: ResNet) -> None:
        super().__init__()
        self.body = IntermediateLayerGetter(network, {"layer3": "0"})
        self.out_channels = out_channels(network.layer3)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, C, H / s, W / s)."""
        features: Tensor = self.body(images)["0"]
        return features


def region_stage(network: ResNet) -> nn.Sequential:
    """The fourth stage of a ResNet without its step and without holes: it keeps the size of a region's crop."""
    stage: nn.Sequential = network.layer4
    first: Any = stage[0]
    (first.conv2 if isinstance(first, Bottleneck) else first.conv1).stride = (1, 1)
    first.downsample[0].stride = (1, 1)
    for layer in stage.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
            layer.dilation, layer.padding = (1, 1), (1, 1)
    return stage
