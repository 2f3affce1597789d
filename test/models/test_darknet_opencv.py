"""Networks, boxes and weights files against OpenCV's own importer of Darknet networks.

Where OpenCV differs on purpose, the comparison says so instead of being loose:

- It divides by ``sqrt(variance + 1e-6)`` as Darknet does on a CPU; we use 1e-5 as Darknet does on a GPU, where weights
  are trained.  `reference_outputs` is compared with our network at OpenCV's epsilon.
- Its decoded scores are objectness x class probability, and 0 where that is at most 0.2.  Box and objectness are given
  for every anchor.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torchvision.ops import box_iou

from panoptic_ros.models.backbones.darknet import Boxes, Darknet, YoloDecoder
from panoptic_ros.models.backbones.darknet_weights import load_darknet_weights, save_darknet_weights
from panoptic_ros.models.layers.nms import select_detections

OPENCV_EPSILON = 1e-6
OPENCV_SCORE_THRESHOLD = 0.2
TOLERANCE = 1e-4
PHOTOGRAPHS = ("dog", "eagle", "giraffe", "horses", "kite", "person", "scream")
SMALL_NETWORKS = (
    "yolo-fastest-1.0_coco/yolo-fastest",
    "yolo-fastest-1.0_coco/yolo-fastest-xl",
    "yolo-fastest-1.1_body/yolo-fastest-1.1_body",
    "yolo-fastest-1.1_coco/yolo-fastest-1.1",
    "yolo-fastest-1.1_coco/yolo-fastest-1.1-xl",
)

Array = NDArray[np.float32]


@dataclass
class Reference:
    """A network as OpenCV runs it."""

    net: cv2.dnn.Net
    heads: tuple[int, ...]

    def __call__(self, blob: Array) -> tuple[list[Array], Array]:
        """The raw maps before each head, and the heads' decoded rows of all anchors (N, 5 + C)."""
        self.net.setInput(blob)
        raw = self.net.forward([self._before(head) for head in self.heads])
        self.net.setInput(blob)
        decoded = self.net.forward([f"yolo_{head}" for head in self.heads])
        return list(raw), np.concatenate(decoded)

    def _before(self, head: int) -> str:
        """The name of the step whose output a head takes: the convolution before it, or that one's activation."""
        names = self.net.getLayerNames()
        return str(names[names.index(f"permute_{head}") - 1])


def both(cfg: Path | str, weights: Path) -> tuple[Darknet, YoloDecoder, Reference]:
    """The same files as we and as OpenCV read them."""
    network = Darknet.from_cfg(cfg).eval()
    load_darknet_weights(network, weights)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = OPENCV_EPSILON
    net = cv2.dnn.readNetFromDarknet(network.config.source, str(weights))
    net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    return network, YoloDecoder(network.config), Reference(net, network.config.yolo_layers)


def run(network: Darknet, decoder: YoloDecoder, blob: Array) -> tuple[list[Array], Boxes]:
    with torch.inference_mode():
        detections = network(torch.from_numpy(blob)).detections
        return [raw.numpy() for raw in detections], decoder(detections)


def assert_same_raw(ours: list[Array], theirs: list[Array]) -> None:
    assert len(ours) == len(theirs) > 0
    for mine, reference in zip(ours, theirs, strict=True):
        assert mine.shape == reference.shape
        scale = float(np.abs(reference).max())
        assert 0.01 < scale < 1000  # otherwise the comparison would say little
        assert float(np.abs(mine - reference).max()) <= TOLERANCE * scale


def assert_same_decoded(ours: Boxes, theirs: Array, width: int, height: int) -> None:
    boxes, objectness, classes = (part[0].numpy() for part in ours)
    assert theirs.shape == (len(boxes), 5 + classes.shape[1])
    size = np.array([width, height], dtype=np.float32)
    centres, sizes = (boxes[:, :2] + boxes[:, 2:]) / (2 * size), (boxes[:, 2:] - boxes[:, :2]) / size
    np.testing.assert_allclose(centres, theirs[:, :2], atol=TOLERANCE)
    limited = np.minimum(theirs[:, 2:4], 2 * max(width, height) / size)  # see YoloDecoder; OpenCV has no limit
    np.testing.assert_allclose(sizes, limited, rtol=TOLERANCE, atol=TOLERANCE)
    np.testing.assert_allclose(objectness, theirs[:, 4], atol=TOLERANCE)
    scores = objectness[:, None] * classes
    reported = theirs[:, 5:] > 0
    np.testing.assert_allclose(scores[reported], theirs[:, 5:][reported], atol=TOLERANCE)
    assert float(scores[~reported].max(initial=0.0)) <= OPENCV_SCORE_THRESHOLD + TOLERANCE


def write_random_weights(cfg: Path | str, path: Path) -> None:
    """Random weights whose activations neither vanish nor explode through a hundred layers."""
    torch.manual_seed(0)
    network = Darknet.from_cfg(cfg)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.uniform_(module.weight, 0.4, 0.8)
            nn.init.normal_(module.bias, std=0.1)
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
        elif isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.normal_(module.bias)
    save_darknet_weights(network, path)


def noise(width: int, height: int) -> Array:
    """A picture of smooth noise."""
    image = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    return cv2.dnn.blobFromImage(image, 1 / 255, (width, height), swapRB=True)


@pytest.mark.parametrize(
    ("cfg", "width", "height"), [("darknet53_yolov3_quarter", 416, 256), ("darknet53_yolov3", 320, 256)]
)
def test_shipped_networks_with_random_weights(tmp_path: Path, cfg: str, width: int, height: int) -> None:
    weights = tmp_path / "random.weights"
    write_random_weights(cfg, weights)
    network, decoder, reference = both(cfg, weights)
    blob = noise(width, height)
    raw, decoded = reference(blob)
    ours, boxes = run(network, decoder, blob)
    assert_same_raw(ours, raw)
    assert_same_decoded(boxes, decoded, width, height)


@pytest.mark.parametrize("name", ["yolov3", "yolov3-tiny", "yolov3-spp"])
def test_official_networks_with_random_weights(shared_data: Path, tmp_path: Path, name: str) -> None:
    cfg = shared_data / "darknet_cfg_and_images" / "cfg" / f"{name}.cfg"
    weights = tmp_path / "random.weights"
    write_random_weights(cfg, weights)
    network, decoder, reference = both(cfg, weights)
    blob = photograph(shared_data, "dog")
    raw, decoded = reference(blob)
    ours, boxes = run(network, decoder, blob)
    assert_same_raw(ours, raw)
    assert_same_decoded(boxes, decoded, 320, 320)


EVERY_KIND = """
[net]
width=64
height=64
[convolutional]
filters=8
size=3
stride=2
pad=1
batch_normalize=1
activation=mish
[convolutional]
filters=16
size=1
batch_normalize=1
activation=leaky
[convolutional]
filters=16
size=5
pad=1
groups=8
batch_normalize=1
activation=relu
[dropout]
probability=.3
[convolutional]
filters=16
size=3
padding=1
activation=swish
[shortcut]
from=1
activation=leaky
[route]
layers=-1
groups=2
group_id=1
[maxpool]
size=2
stride=1
[maxpool]
size=2
stride=2
[maxpool]
size=5
stride=1
[route]
layers=-1,-2
[upsample]
stride=2
[route]
layers=-1,5,0
[convolutional]
filters=14
size=3
stride=2
pad=1
activation={activation}
[yolo]
mask=2,0
anchors=9,11, 20,14, 31,47
classes=2
num=3
scale_x_y={scale}
new_coords={new_coords}
"""


@pytest.mark.parametrize(("activation", "scale", "new_coords"), [("linear", 1.2, 0), ("logistic", 2.0, 1)])
def test_every_kind_of_layer(tmp_path: Path, activation: str, scale: float, new_coords: int) -> None:
    cfg, weights = tmp_path / "every.cfg", tmp_path / "every.weights"
    cfg.write_text(EVERY_KIND.format(activation=activation, scale=scale, new_coords=new_coords))
    write_random_weights(cfg, weights)
    network, decoder, reference = both(cfg, weights)
    blob = noise(96, 64)
    raw, decoded = reference(blob)
    ours, boxes = run(network, decoder, blob)
    assert_same_raw(ours, raw)
    assert_same_decoded(boxes, decoded, 96, 64)


def photograph(shared_data: Path, name: str) -> Array:
    image = cv2.imread(str(shared_data / "darknet_cfg_and_images" / "data" / f"{name}.jpg"))
    assert image is not None
    return cv2.dnn.blobFromImage(image, 1 / 255, (320, 320), swapRB=True)


def opencv_detections(decoded: Array, score: float, overlap: float) -> list[tuple[float, int, Array]]:
    """(score, class, box in fractions of the input) after OpenCV's suppression class by class, best first."""
    found = []
    for index in range(decoded.shape[1] - 5):
        scores = decoded[:, 5 + index]
        corners = np.hstack((decoded[:, :2] - decoded[:, 2:4] / 2, decoded[:, 2:4]))
        kept = cv2.dnn.NMSBoxes(corners.tolist(), scores.tolist(), score, overlap)
        found += [(float(scores[one]), index, decoded[one, :4]) for one in np.array(kept, dtype=int).ravel()]
    return sorted(found, key=lambda one: -one[0])


@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_published_networks_on_photographs(shared_data: Path, name: str) -> None:
    cfg = shared_data / "yolo_fastest_darknet" / f"{name}.cfg"
    network, decoder, reference = both(cfg, cfg.with_suffix(".weights"))
    total = 0
    for picture in PHOTOGRAPHS:
        blob = photograph(shared_data, picture)
        raw, decoded = reference(blob)
        ours, boxes = run(network, decoder, blob)
        assert_same_raw(ours, raw)
        assert_same_decoded(boxes, decoded, 320, 320)
        score, overlap = 0.25, 0.45  # above the score below which OpenCV reports nothing
        theirs = opencv_detections(decoded, score, overlap)
        one = (part[0] for part in boxes)
        found = select_detections(*one, score, overlap, max_detections=1000, multi_label=True)
        assert found.classes.tolist() == [label for _, label, _ in theirs]
        if theirs:
            np.testing.assert_allclose(found.scores.numpy(), [best for best, _, _ in theirs], atol=TOLERANCE)
            expected = np.stack([box for _, _, box in theirs])
            corners = np.hstack((expected[:, :2] - expected[:, 2:] / 2, expected[:, :2] + expected[:, 2:] / 2))
            np.testing.assert_allclose(found.boxes.numpy() / 320, corners, atol=TOLERANCE)
        total += len(theirs)
    assert total >= 7


def test_finds_what_is_in_a_photograph(shared_data: Path) -> None:
    """With Darknet's own epsilon: the dog, the bicycle and the vehicle (COCO 80 indices 16, 1, and 2 or 7)."""
    cfg = shared_data / "yolo_fastest_darknet" / "yolo-fastest-1.1_coco" / "yolo-fastest-1.1-xl.cfg"
    network = Darknet.from_cfg(cfg).eval()
    load_darknet_weights(network, cfg.with_suffix(".weights"))
    with torch.inference_mode():
        boxes = YoloDecoder(network.config)(network(torch.from_numpy(photograph(shared_data, "dog"))).detections)
    found = select_detections(*(part[0] for part in boxes), 0.3, 0.45, 100)
    classes = found.classes.tolist()
    assert {16, 1} <= set(classes)
    assert {2, 7} & set(classes)
    dog = found.boxes[classes.index(16)][None]
    shown = 320 * torch.tensor([[0.17, 0.38, 0.41, 0.94]])  # where it is, measured in the photograph
    assert float(box_iou(dog, shown)) > 0.5
