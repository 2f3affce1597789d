"""The loss of YOLOv3 against Darknet's `yolo` layer, transcribed cell by cell, anchor by anchor, box by box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from panoptic_ros.models.backbones.darknet import YoloDecoder
from panoptic_ros.models.backbones.darknet_cfg import DarknetConfig
from panoptic_ros.models.backbones.darknet_layers import Yolo
from panoptic_training.losses.anchors import BOXES_AT_ONCE, assign, largest_overlap
from panoptic_training.losses.yolov3 import YoloV3Loss, YoloV3LossOptions

CLASSES = 3
HEIGHT, WIDTH = 64, 96
ANCHORS = "4,5, 6,12, 12,8,  12,24, 24,18, 24,48,  48,36, 60,80, 90,60"
HEAD = "[convolutional]\nfilters=24\nactivation=linear\n[yolo]\nmask={mask}\nanchors={anchors}\nclasses=3\n{more}\n"
DOWN = "[convolutional]\nfilters=8\nsize=3\nstride={stride}\npad=1\nactivation=leaky\n"

Box = tuple[float, float, float, float]


def config_of(tmp: Path, masks: Sequence[str] = ("6,7,8", "3,4,5", "0,1,2"), more: str = "") -> DarknetConfig:
    """Three heads, of strides 32, 16 and 8 as YOLOv3's."""
    text = "[net]\nwidth=96\nheight=64\n" + DOWN.format(stride=8) + DOWN.format(stride=2) + DOWN.format(stride=2)
    for source, mask in zip((2, 1, 0), masks, strict=True):
        if source < 2:
            text += f"[route]\nlayers={source}\n"
        text += HEAD.format(mask=mask, anchors=ANCHORS, more=more)
    path = tmp / "heads.cfg"
    path.write_text(text)
    return DarknetConfig.load(path)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> DarknetConfig:
    return config_of(tmp_path_factory.mktemp("cfg"))


@pytest.fixture(scope="module")
def reaching(tmp_path_factory: pytest.TempPathFactory) -> DarknetConfig:
    return config_of(tmp_path_factory.mktemp("cfg"), more="scale_x_y=1.2")


def raw_maps(config: DarknetConfig, images: int, seed: int, spread: float) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        (spread * torch.randn((images, head.channels, HEIGHT // stride, WIDTH // stride), generator=generator))
        for stride, head in config.heads
    ]


def sigmoid(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value))


def cross_entropy(value: float, target: float) -> float:
    """Of a logit with a target in [0, 1]."""
    return -target * math.log(sigmoid(value)) - (1.0 - target) * math.log(1.0 - sigmoid(value))


def intersection(a: Box, b: Box) -> float:
    return max(min(a[2], b[2]) - max(a[0], b[0]), 0.0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0.0)


def area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def iou(a: Box, b: Box) -> float:
    return intersection(a, b) / (area(a) + area(b) - intersection(a, b))


def complete_iou(box: Box, other: Box) -> float:
    """Zheng et al. 2020, equations 6 to 11."""
    centres = ((box[0] + box[2] - other[0] - other[2]) / 2, (box[1] + box[3] - other[1] - other[3]) / 2)
    enclosing = (max(box[2], other[2]) - min(box[0], other[0]), max(box[3], other[3]) - min(box[1], other[1]))
    distance = (centres[0] ** 2 + centres[1] ** 2) / (enclosing[0] ** 2 + enclosing[1] ** 2)
    angles = [math.atan((one[2] - one[0]) / (one[3] - one[1])) for one in (box, other)]
    shape = 4 / math.pi**2 * (angles[0] - angles[1]) ** 2
    overlap = iou(box, other)
    return overlap - distance - shape * shape / (1 - overlap + shape + 1e-12)


class Darknet:
    """`forward_yolo_layer` of all heads: each anchor's deltas (the negative gradient) and, by them, the terms."""

    def __init__(self, config: DarknetConfig, options: YoloV3LossOptions) -> None:
        self.options = options
        self.heads = config.heads
        flat = [float(number) for number in ANCHORS.split(",")]
        self.biases = list(zip(flat[::2], flat[1::2], strict=True))
        self.terms = {"box": 0.0, "objectness": 0.0, "class": 0.0}
        self.undecided = {"object": 0, "crowd": 0}

    def run(
        self, raw: list[Tensor], boxes: list[list[Box]], classes: list[list[int]], crowds: list[list[Box]]
    ) -> list[Tensor]:
        deltas = [torch.zeros_like(one) for one in raw]
        for image in range(len(boxes)):
            for number, (stride, head) in enumerate(self.heads):
                truth = boxes[image], classes[image], crowds[image]
                self._one(raw[number][image], deltas[number][image], stride, head, truth)
        self.terms = {name: value / len(boxes) for name, value in self.terms.items()}
        return deltas

    def _one(
        self,
        raw: Tensor,
        delta: Tensor,
        stride: int,
        head: Yolo,
        truth: tuple[list[Box], list[int], list[Box]],
    ) -> None:
        (boxes, classes, crowds), anchors, scale = truth, head.anchors, head.scale_x_y
        size = 5 + CLASSES
        answering: dict[tuple[int, int, int], list[int]] = {}
        for index, box in enumerate(boxes):
            width, height = box[2] - box[0], box[3] - box[1]
            column = int((box[0] + box[2]) / 2 / stride)
            row = int((box[1] + box[3]) / 2 / stride)
            best, best_overlap = (0.0, 0.0), 0.0
            for anchor in self.biases:
                shared = min(width, anchor[0]) * min(height, anchor[1])
                overlap = shared / (width * height + anchor[0] * anchor[1] - shared)
                if overlap > best_overlap:
                    best, best_overlap = anchor, overlap
            for which, anchor in enumerate(anchors):
                shared = min(width, anchor[0]) * min(height, anchor[1])
                overlap = shared / (width * height + anchor[0] * anchor[1] - shared)
                if overlap > self.options.answer_threshold or which == (anchors.index(best) if best in anchors else -1):
                    answering.setdefault((row, column, which), []).append(index)
        for row in range(raw.shape[1]):
            for column in range(raw.shape[2]):
                for which, anchor in enumerate(anchors):
                    values = raw[which * size : (which + 1) * size, row, column].tolist()
                    out = delta[which * size : (which + 1) * size, row, column]
                    x = (column + scale * sigmoid(values[0]) - 0.5 * (scale - 1)) * stride
                    y = (row + scale * sigmoid(values[1]) - 0.5 * (scale - 1)) * stride
                    half_width, half_height = anchor[0] * math.exp(values[2]) / 2, anchor[1] * math.exp(values[3]) / 2
                    predicted = (x - half_width, y - half_height, x + half_width, y + half_height)
                    objects = answering.get((row, column, which), [])
                    if objects:
                        self.terms["objectness"] += cross_entropy(values[4], 1.0)
                        out[4] = 1.0 - sigmoid(values[4])
                        seen = {classes[index] for index in objects}
                        for class_index in range(CLASSES):
                            target = float(class_index in seen)
                            self.terms["class"] += cross_entropy(values[5 + class_index], target)
                            out[5 + class_index] = target - sigmoid(values[5 + class_index])
                        self._box(out, values, predicted, boxes[objects[-1]], anchor, row, column, stride, scale)
                        continue
                    if any(iou(predicted, box) > self.options.ignore_threshold for box in boxes):
                        self.undecided["object"] += 1
                        continue
                    if any(
                        intersection(predicted, crowd) / area(predicted) > self.options.crowd_threshold
                        for crowd in crowds
                    ):
                        self.undecided["crowd"] += 1
                        continue
                    self.terms["objectness"] += cross_entropy(values[4], 0.0)
                    out[4] = 0.0 - sigmoid(values[4])

    def _box(
        self,
        out: Tensor,
        values: list[float],
        predicted: Box,
        box: Box,
        anchor: tuple[float, float],
        row: int,
        column: int,
        stride: int,
        scale: float,
    ) -> None:
        if self.options.coordinates == "ciou":
            self.terms["box"] += 1.0 - complete_iou(predicted, box)
            return
        weight = 2.0 - area(box) / (HEIGHT * WIDTH)
        targets = [
            (box[0] + box[2]) / 2 / stride - column,
            (box[1] + box[3]) / 2 / stride - row,
            math.log((box[2] - box[0]) / anchor[0]),
            math.log((box[3] - box[1]) / anchor[1]),
        ]
        for index in (0, 1):
            centre = scale * sigmoid(values[index]) - 0.5 * (scale - 1)
            out[index] = weight * (targets[index] - centre)
            if self.options.coordinates == "squared":
                self.terms["box"] += weight * 0.5 * (targets[index] - centre) ** 2
            else:
                share = (targets[index] + 0.5 * (scale - 1)) / scale
                self.terms["box"] += weight * cross_entropy(values[index], share)
        for index in (2, 3):
            out[index] = weight * (targets[index] - values[index])
            self.terms["box"] += weight * 0.5 * (targets[index] - values[index]) ** 2


@st.composite
def some_boxes(draw: st.DrawFn, most: int = 5) -> list[Box]:
    boxes = []
    for _ in range(draw(st.integers(0, most))):
        x0, y0 = draw(st.integers(0, WIDTH - 1)), draw(st.integers(0, HEIGHT - 1))
        x1, y1 = draw(st.integers(x0 + 1, WIDTH)), draw(st.integers(y0 + 1, HEIGHT))
        boxes.append((float(x0), float(y0), float(x1), float(y1)))
    return boxes


@st.composite
def some_truth(draw: st.DrawFn) -> tuple[list[Box], list[int], list[Box]]:
    boxes = draw(some_boxes())
    boxes += [draw(st.sampled_from(boxes))] if boxes and draw(st.booleans()) else []  # the same box, twice
    classes = [draw(st.integers(0, CLASSES - 1)) for _ in boxes]
    return boxes, classes, draw(some_boxes(2))


def tensors(boxes: list[list[Box]]) -> list[Tensor]:
    return [torch.tensor(one, dtype=torch.float32).reshape(-1, 4) for one in boxes]


def compare(
    config: DarknetConfig,
    options: YoloV3LossOptions,
    raw: list[Tensor],
    truths: list[tuple[list[Box], list[int], list[Box]]],
) -> Darknet:
    boxes, classes, crowds = ([truth[part] for truth in truths] for part in range(3))
    slow = Darknet(config, options)
    deltas = slow.run(raw, boxes, classes, crowds)  # type: ignore[arg-type]
    inputs = [one.clone().requires_grad_() for one in raw]
    loss = YoloV3Loss(config, options)
    terms = loss(
        inputs,
        tensors(boxes),  # type: ignore[arg-type]
        [torch.tensor(one, dtype=torch.int64) for one in classes],
        tensors(crowds),  # type: ignore[arg-type]
    )
    assert set(terms) == set(slow.terms)
    for name, expected in slow.terms.items():
        assert float(terms[name].detach()) == pytest.approx(expected, rel=2e-4, abs=1e-4), name
    if options.coordinates == "cross_entropy" and config.heads[0][1].scale_x_y == 1.0:
        sum(terms.values()).backward()  # type: ignore[union-attr]
        for one, delta in zip(inputs, deltas, strict=True):
            assert one.grad is not None
            torch.testing.assert_close(one.grad, -delta / len(truths), atol=2e-5, rtol=2e-4)
    return slow


@settings(max_examples=25, deadline=None)
@given(
    truths=st.lists(some_truth(), min_size=1, max_size=2),
    seed=st.integers(0, 1000),
    spread=st.sampled_from([0.2, 1.5]),
    ignore=st.sampled_from([0.3, 0.5, 0.7]),
    answer=st.sampled_from([0.213, 0.61, 1.0]),
)
def test_the_loss_and_its_gradient_are_darknets(
    config: DarknetConfig,
    truths: list[tuple[list[Box], list[int], list[Box]]],
    seed: int,
    spread: float,
    ignore: float,
    answer: float,
) -> None:
    options = YoloV3LossOptions(ignore_threshold=ignore, answer_threshold=answer)
    compare(config, options, raw_maps(config, len(truths), seed, spread), truths)


@settings(max_examples=15, deadline=None)
@given(
    truths=st.lists(some_truth(), min_size=1, max_size=2),
    seed=st.integers(0, 1000),
    coordinates=st.sampled_from(["cross_entropy", "squared", "ciou"]),
)
def test_other_coordinates_are_what_they_are_called(
    reaching: DarknetConfig,
    truths: list[tuple[list[Box], list[int], list[Box]]],
    seed: int,
    coordinates: str,
) -> None:
    options = YoloV3LossOptions(coordinates=coordinates)  # type: ignore[arg-type]
    compare(reaching, options, raw_maps(reaching, len(truths), seed, 0.5), truths)


def test_each_rule_decides_something(config: DarknetConfig) -> None:
    """That the comparison above meets nearly right boxes, crowds and objects that share an anchor."""
    raw = raw_maps(config, 1, 0, 0.05)
    boxes: list[Box] = [(20.0, 20.0, 44.0, 38.0), (21.0, 20.0, 45.0, 39.0), (0.0, 0.0, 4.0, 5.0)]
    options = YoloV3LossOptions(ignore_threshold=0.3)
    slow = compare(config, options, raw, [(boxes, [0, 2, 1], [(40.0, 0.0, 96.0, 64.0)])])
    assert slow.undecided["object"] > 1
    assert slow.undecided["crowd"] > 30
    found = assign(config.heads, [(2, 3), (4, 6), (8, 12)], tensors([boxes]), [torch.tensor([0, 2, 1])])
    assert len(found.slots) == 2
    shared = found.anchors[:, 0] == 24
    assert found.boxes[shared].tolist() == [list(boxes[1])]
    assert found.classes[shared].tolist() == [[1.0, 0.0, 1.0]]


def test_a_box_that_is_decoded_from_its_targets_is_the_box(config: DarknetConfig) -> None:
    """What the loss asks of the raw map is what the decoder makes the box of."""
    box = (30.0, 9.0, 55.0, 30.0)
    found = assign(config.heads, [(2, 3), (4, 6), (8, 12)], tensors([[box]]), [torch.tensor([1])])
    raw = [torch.zeros((1, head.channels, HEIGHT // stride, WIDTH // stride)) for stride, head in config.heads]
    loss = YoloV3Loss(config, YoloV3LossOptions())
    inputs = [one.requires_grad_() for one in raw]
    optimizer = torch.optim.LBFGS(inputs, max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        total = loss.weighted(loss(inputs, tensors([[box]]), [torch.tensor([1])], tensors([[]])))
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    boxes, objectness, class_probabilities = YoloDecoder(config)([one.detach() for one in inputs])
    best = int(objectness[0].argmax())
    assert best == int(found.slots[0])
    torch.testing.assert_close(boxes[0, best], torch.tensor(box), atol=0.1, rtol=0)
    assert int(class_probabilities[0, best].argmax()) == 1


def test_anchors_that_fit_well_answer_beside_the_best(config: DarknetConfig) -> None:
    box = (0.0, 0.0, 30.0, 24.0)  # an IoU of 0.6 with the best, of 0.44, 0.42 and 0.4 with the next ones
    sizes = [(2, 3), (4, 6), (8, 12)]
    alone = assign(config.heads, sizes, tensors([[box]]), [torch.tensor([0])])
    assert alone.anchors.tolist() == [[24.0, 18.0]]
    several = assign(config.heads, sizes, tensors([[box]]), [torch.tensor([0])], threshold=0.39)
    assert sorted(several.anchors.tolist()) == [[12.0, 24.0], [24.0, 18.0], [24.0, 48.0], [48.0, 36.0]]
    assert sorted(several.strides.tolist()) == [16, 16, 16, 32]


def test_an_anchor_of_two_heads_answers_in_both(tmp_path: Path) -> None:
    shared = config_of(tmp_path, masks=("5,6,7", "3,4,5", "0,1,2"))
    box = (10.0, 5.0, 34.0, 53.0)  # the sixth anchor's size
    found = assign(shared.heads, [(2, 3), (4, 6), (8, 12)], tensors([[box]]), [torch.tensor([0])])
    assert found.strides.tolist() == [32, 16]
    assert found.anchors.tolist() == [[24.0, 48.0]] * 2


@settings(max_examples=30, deadline=None)
@given(boxes=some_boxes(3), others=st.lists(some_boxes(40), min_size=2, max_size=2), of_union=st.booleans())
def test_the_largest_overlap_is_that_of_a_slow_search(
    boxes: list[Box], others: list[list[Box]], of_union: bool
) -> None:
    found = largest_overlap(torch.stack([*tensors([boxes])] * 2), tensors(others), of_union)
    for image in range(2):
        for index, box in enumerate(boxes):
            measured = [
                iou(box, other) if of_union else intersection(box, other) / area(box) for other in others[image]
            ]
            assert float(found[image, index]) == pytest.approx(max(measured, default=0.0), abs=1e-5)


def test_overlaps_are_found_beyond_one_block_of_boxes() -> None:
    many = torch.tensor([[0.0, 0.0, 1.0, 1.0]] * (2 * BOXES_AT_ONCE) + [[4.0, 4.0, 8.0, 8.0]])
    assert float(largest_overlap(torch.tensor([[[4.0, 4.0, 8.0, 8.0]]]), [many])) == pytest.approx(1.0)


@pytest.mark.parametrize("coordinates", ["cross_entropy", "squared", "ciou"])
def test_extreme_maps_give_finite_terms_and_gradients(config: DarknetConfig, coordinates: str) -> None:
    loss = YoloV3Loss(config, YoloV3LossOptions(coordinates=coordinates))  # type: ignore[arg-type]
    boxes = tensors([[(0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 96.0, 64.0), (95.0, 63.0, 96.0, 64.0)], []])
    classes = [torch.tensor([0, 1, 2]), torch.zeros(0, dtype=torch.int64)]
    for spread in (0.0, 1.0, 100.0):
        inputs = [one.requires_grad_() for one in raw_maps(config, 2, 1, spread)]
        total = loss.weighted(loss(inputs, boxes, classes, tensors([[], [(0.0, 0.0, 50.0, 50.0)]])))
        total.backward()
        assert bool(total.isfinite())
        assert all(one.grad is not None and bool(one.grad.isfinite().all()) for one in inputs)


def test_images_without_objects_say_so(config: DarknetConfig) -> None:
    inputs = [one.requires_grad_() for one in raw_maps(config, 2, 1, 1.0)]
    empty = [torch.zeros((0, 4))] * 2
    terms = YoloV3Loss(config, YoloV3LossOptions())(inputs, empty, [torch.zeros(0, dtype=torch.int64)] * 2, empty)
    assert terms["box"].item() == terms["class"].item() == 0.0
    assert terms["objectness"].item() > 0
    terms["objectness"].backward()
    assert all(one.grad is not None and bool(one.grad[:, 4::8].ge(0).all()) for one in inputs)


def test_weights_of_the_terms_count(config: DarknetConfig) -> None:
    options = YoloV3LossOptions(box_weight=2.0, objectness_weight=3.0, class_weight=5.0)
    terms = {"box": torch.tensor(1.0), "objectness": torch.tensor(10.0), "class": torch.tensor(100.0)}
    assert float(YoloV3Loss(config, options).weighted(terms)) == 532.0


def test_heads_of_another_loss_are_refused(tmp_path: Path) -> None:
    scaled = config_of(tmp_path, more="new_coords=1")
    with pytest.raises(ValueError, match=r"heads.cfg: new_coords: the loss of YOLOv3 is for heads without them"):
        YoloV3Loss(scaled, YoloV3LossOptions())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ignore_threshold": 1.5}, r"ignore_threshold must be in \[0, 1\], got 1.5"),
        ({"crowd_threshold": -1.0}, r"crowd_threshold must be in \[0, 1\], got -1.0"),
        ({"box_weight": 0.0}, "box_weight must be positive, got 0.0"),
        ({"coordinates": "iou"}, "coordinates must be cross_entropy, squared or ciou, got 'iou'"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        YoloV3LossOptions(**options)  # type: ignore[arg-type]
