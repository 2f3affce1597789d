"""A YOLO-Panoptic small enough to be exported in a test: every part there is, few channels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from panoptic_ros.models import build_model, load_model_config
from panoptic_ros.models.weights import save_weights
from panoptic_ros.models.yolo_panoptic import YoloPanoptic

HEIGHT, WIDTH = 96, 128
ANCHORS = "6,8, 10,20, 16,12,  20,32, 32,20, 28,44,  56,40, 40,64, 72,64"

_CONVOLUTION = "[convolutional]\nbatch_normalize=1\nfilters={}\nsize=3\nstride={}\npad=1\nactivation=leaky\n"
_HEAD = "[convolutional]\nfilters=39\nactivation=linear\n[yolo]\nmask={}\nanchors={}\nclasses=8\n"
_MODEL = """
system: yolo_panoptic
labels: {labels}
input_height: {height}
input_width: {width}
network: {{cfg: tiny.cfg, taps: [1, 3, 5, 7], detail_channels: 8}}
decode: {{score_threshold: 0.2}}
"""


def write_network(folder: Path, labels: str = "cityscapes", height: int = HEIGHT, width: int = WIDTH) -> Path:
    """The model's YAML, beside its cfg: two convolutions a stride, heads of strides 32, 16 and 8."""
    text = f"[net]\nwidth={WIDTH}\nheight={HEIGHT}\n"
    for depth in (8, 16, 32, 32, 48):
        text += _CONVOLUTION.format(depth, 2) + _CONVOLUTION.format(depth, 1)
    text += _HEAD.format("6,7,8", ANCHORS)
    text += "[route]\nlayers=9\n[upsample]\nstride=2\n[route]\nlayers=-1,7\n" + _CONVOLUTION.format(32, 1)
    text += _HEAD.format("3,4,5", ANCHORS)
    text += "[route]\nlayers=-3\n[upsample]\nstride=2\n[route]\nlayers=-1,5\n" + _CONVOLUTION.format(32, 1)
    text += _HEAD.format("0,1,2", ANCHORS)
    (folder / "tiny.cfg").write_text(text)
    path = folder / f"{labels}_{width}x{height}.yaml"
    path.write_text(_MODEL.format(labels=labels, height=height, width=width))
    return path


def write_weights(folder: Path) -> Path:
    """The whole network as exported weights; nothing in it counts as untrained."""
    config = load_model_config(str(write_network(folder)))
    model = build_model(config)
    model.untrained = frozenset()
    assert isinstance(model, YoloPanoptic)
    assert model.detail is not None
    for layer in (model.detail.logits, model.detail.instances):  # which start from nothing
        assert layer is not None
        torch.nn.init.normal_(layer.weight, std=0.1, generator=torch.Generator().manual_seed(0))
    path = folder / "tiny.safetensors"
    save_weights(model, path, config)
    return path


def real_frames(shared_data: Path, count: int) -> list[NDArray[np.uint8]]:
    """Photographs of streets, BGR, made small."""
    files = sorted((shared_data / "camvid" / "val").glob("*.jpg"))[:count]
    assert len(files) == count
    return [cv2.resize(cv2.imread(str(file)), (240, 180), interpolation=cv2.INTER_AREA) for file in files]  # type: ignore[misc]


def drawn_frames(count: int) -> list[NDArray[np.uint8]]:
    """Smooth random pictures of two sizes."""
    random = np.random.default_rng(0)
    sizes = [(90, 120), (60, 150)]
    small = [random.integers(0, 256, (9, 12, 3), dtype=np.uint8) for _ in range(count)]
    return [cv2.resize(picture, sizes[i % 2][::-1], interpolation=cv2.INTER_CUBIC) for i, picture in enumerate(small)]  # type: ignore[misc]
