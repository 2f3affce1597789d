"""YOLO-Panoptic: its parts against the thesis, its decode against a literal transcription."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import literal
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from panoptic_ros.labels import LabelSet
from panoptic_ros.letterbox import Letterbox
from panoptic_ros.models import build_model, load_model_config
from panoptic_ros.models.layers.instance_heads import InstanceHead
from panoptic_ros.models.layers.semantic_heads import FeatureFusion
from panoptic_ros.models.options import DecodeOptions
from panoptic_ros.models.yolo_panoptic import YoloPanoptic, YoloPanopticConfig
from panoptic_ros.segmentation import PanopticSegmentation

CITYSCAPES = LabelSet.load("cityscapes")


@pytest.fixture(scope="module")
def small() -> YoloPanoptic:
    model = build_model(load_model_config("yolo_panoptic_small"))
    assert isinstance(model, YoloPanoptic)
    return model


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_full_network_has_the_sizes_of_the_thesis() -> None:
    with torch.device("meta"):
        model = YoloPanoptic(CITYSCAPES, YoloPanopticConfig()).eval()
        outputs = model(torch.zeros((1, 3, 640, 640)))
    assert isinstance(model.fusion, FeatureFusion)
    assert model.fusion.out_channels == 1024
    assert (model.fusion.widen.in_channels, model.fusion.widen.out_channels) == (128, 256)
    assert model.pooling.out_channels == 2048
    assert outputs["semantic_logits"].shape == (1, 19, 160, 160)
    assert outputs["instance_features"].shape == (1, 256, 320, 320)
    anchors = 3 * (20 * 20 + 40 * 40 + 80 * 80)
    assert outputs["boxes"].shape == (1, anchors, 4)
    assert outputs["objectness"].shape == (1, anchors)
    assert outputs["class_probabilities"].shape == (1, anchors, 8)
    assert tuple(outputs) == model.output_names


@pytest.mark.parametrize(
    ("features", "taps"), [("before_stride", (11, 36, 61)), ("after_stride", (5, 12, 37))]
)  # the thesis' [12, 37, 62] and [6, 13, 38], counted from 1
def test_the_features_are_those_of_the_thesis(features: str, taps: tuple[int, ...]) -> None:
    with torch.device("meta"):
        model = YoloPanoptic(CITYSCAPES, YoloPanopticConfig(features=features))  # type: ignore[arg-type]
    assert tuple(model.detector.taps) == taps
    assert [model.detector.config.out_channels[tap] for tap in taps] == [128, 256, 512]


def test_the_small_variant_has_about_four_million_parameters(small: YoloPanoptic) -> None:
    assert 3.5e6 < count(small) < 5e6


@pytest.mark.parametrize(("kind", "size", "convolutions"), [("deep", 20, 3), ("shallow", 40, 1)])
def test_the_instance_heads_are_those_of_figure_3_9(kind: str, size: int, convolutions: int) -> None:
    torch.manual_seed(0)
    head = InstanceHead(16, kind).eval()  # type: ignore[arg-type]
    kernels = [layer.kernel_size for layer in head.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert kernels == [(3, 3)] * convolutions + [(1, 1)]
    assert head.crop_size == size
    masks = head(torch.randn(3, 17, size, size))
    assert masks.shape == (3, size, size)
    assert float(head.mask.bias.detach().sigmoid()) == pytest.approx(0.6)  # the box's usual share
    weights = head.mask.weight.detach()
    assert 0.3 < float((weights < 0).float().mean()) < 0.7  # some channels can speak for what is beside the object
    assert 0.5 < float(weights.abs().max()) / (6 / 17) ** 0.5 <= 1.0


def test_crops_sample_their_box_and_the_plane_of_their_class() -> None:
    """On maps that are linear in x and y a crop's cells hold the coordinates of their centres."""
    head = InstanceHead(2, "deep")
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(96.0), indexing="ij")  # stride 2 of a 128x192 input
    features = torch.stack((x, y)).mul(2).add(1)
    semantic = torch.arange(3.0).view(3, 1, 1) * 10 + torch.zeros(3, 32, 48)
    boxes = torch.tensor([[20.0, 30.0, 60.0, 110.0], [40.0, 20.0, 100.0, 40.0]])
    crops = head.crop(features, semantic, boxes, torch.tensor([2, 1]), 128, 192)
    assert crops.shape == (2, 3, 20, 20)
    centres = (torch.arange(20) + 0.5) / 20
    for crop, (x0, y0, x1, y1) in zip(crops, boxes.tolist(), strict=True):
        torch.testing.assert_close(crop[0], (x0 + centres * (x1 - x0)).expand(20, 20))
        torch.testing.assert_close(crop[1], (y0 + centres * (y1 - y0))[:, None].expand(20, 20))
    assert crops[0, 2].eq(20).all()
    assert crops[1, 2].eq(10).all()


def slow_decode(
    model: YoloPanoptic, outputs: dict[str, Tensor], index: int, box: Letterbox, options: DecodeOptions
) -> tuple[np.ndarray, dict[int, float]]:
    """Section 3.4.1 as a person would do it: one detection after the other, full-size masks; the scores by instance."""
    labels = model.labels.labels
    things = [number for number, label in enumerate(labels) if label.is_thing]
    height, width = box.frame_height, box.frame_width
    scores = outputs["objectness"][index][:, None] * outputs["class_probabilities"][index]
    candidates = []
    for anchor in range(len(scores)):
        class_index = int(scores[anchor].argmax())
        score = float(scores[anchor, class_index])
        if score >= options.score_threshold:
            candidates.append(
                (score, class_index, float(outputs["objectness"][index][anchor]), outputs["boxes"][index][anchor])
            )
    candidates.sort(key=lambda candidate: -candidate[0])
    kept: list[tuple[float, int, float, Tensor]] = []
    for candidate in candidates:
        if all(candidate[1] != other[1] or iou(candidate[3], other[3]) <= options.nms_threshold for other in kept):
            kept.append(candidate)
    kept = kept[: options.max_detections]
    kept.sort(key=lambda candidate: -candidate[2])  # overlaps go to the higher objectness

    seen = []
    for score, class_index, _, corners in kept:
        low, high = (
            torch.tensor([box.left, box.top] * 2),
            torch.tensor([box.left + box.width, box.top + box.height] * 2),
        )
        clipped = torch.minimum(torch.maximum(corners, low), high)
        if (clipped[2:] - clipped[:2]).min() < 1:
            continue
        crop = model.instance_head.crop(
            outputs["instance_features"][index],
            outputs["semantic_logits"][index],
            clipped[None],
            torch.tensor([things[class_index]]),
            96,
            128,
        )
        mask = model.instance_head(crop)[0].sigmoid()
        seen.append(
            (score * expected_iou(mask, options) if options.scores == "masks" else score, class_index, clipped, mask)
        )

    chosen: list[Tensor] = []
    for score, _, clipped, _ in sorted(seen, key=lambda one: -one[0]):
        if score > options.score_threshold and all(
            iou(clipped, other) <= options.agnostic_nms_threshold for other in chosen
        ):
            chosen.append(clipped)

    ids = np.zeros((height, width), dtype=np.int64)
    surest = np.full((height, width), options.mask_threshold)
    number, scored = 0, {}
    for score, class_index, clipped, mask in seen:
        if not any(clipped is one for one in chosen):
            continue
        number += 1
        scored[number] = score
        x0, y0, x1, y1 = (
            (clipped - torch.tensor([box.left, box.top] * 2)) / torch.tensor([box.scale_x, box.scale_y] * 2)
        ).tolist()
        (plane,) = literal.pasted(mask[None].numpy(), np.array([(x0, y0, x1, y1)]), height, width)
        if options.overlaps == "objectness":
            won = (plane > options.mask_threshold) & (ids == 0)
        else:
            won = plane > surest
            surest = np.maximum(surest, plane)
        ids[won] = labels[things[class_index]].id * 1000 + number

    stride = 96 // outputs["semantic_logits"].shape[2]
    logits = outputs["semantic_logits"][index, :, box.top // stride : (box.top + box.height) // stride]
    logits = logits[:, :, box.left // stride : (box.left + box.width) // stride]
    scaled = F.interpolate(logits[None], size=(height, width), mode="bilinear", align_corners=False)[0]
    if options.uncovered_things == "stuff":
        scaled[things] = -torch.inf
    winner = scaled.argmax(dim=0).numpy()
    for class_index, label in enumerate(labels):
        region = (winner == class_index) & (ids == 0)
        if not label.is_thing and region.sum() >= options.stuff_area_fraction * height * width:
            ids[region] = label.id * 1000
    return ids, scored


def expected_iou(mask: Tensor, options: DecodeOptions) -> float:
    inside, cells, outside = 0.0, 0, 0.0
    for probability in mask.flatten().tolist():
        if probability > options.mask_threshold:
            inside, cells = inside + probability, cells + 1
        else:
            outside += probability
    return inside / (cells + outside)


def iou(a: Tensor, b: Tensor) -> float:
    width = max(float(min(a[2], b[2]) - max(a[0], b[0])), 0.0)
    height = max(float(min(a[3], b[3]) - max(a[1], b[1])), 0.0)
    areas = [float((box[2] - box[0]) * (box[3] - box[1])) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def scene(model: YoloPanoptic, seed: int, images: int) -> dict[str, Tensor]:
    """Outputs as a trained network has them: few confident boxes, smooth logits, varied masks; input 96x128."""
    generator = torch.Generator().manual_seed(seed)
    anchors = 40
    low = torch.rand((images, anchors, 2), generator=generator) * torch.tensor([120.0, 90.0]) - 10
    size = torch.rand((images, anchors, 2), generator=generator) * 60 + 2
    features = model.instance_head.convolutions[0].in_channels - 1
    stride = model.semantic_stride
    return {
        "boxes": torch.cat((low, low + size), dim=2),
        "objectness": torch.rand((images, anchors), generator=generator),
        "class_probabilities": torch.rand((images, anchors, 8), generator=generator) ** 2,
        "semantic_logits": torch.randn((images, 19, 96 // stride, 128 // stride), generator=generator) * 2,
        "instance_features": torch.randn((images, features, 48, 64), generator=generator),
    }


@pytest.fixture(scope="module")
def decoder() -> YoloPanoptic:
    return varied("ppm")


def varied(semantic: str, detail_channels: int | None = None) -> YoloPanoptic:
    """A model whose masks vary, as those of a trained one do, and whose parts count as trained."""
    config = YoloPanopticConfig(
        cfg="darknet53_yolov3_quarter",
        semantic=semantic,  # type: ignore[arg-type]
        detail_channels=detail_channels,
    )
    torch.manual_seed(5)
    model = YoloPanoptic(CITYSCAPES, config).eval()
    torch.nn.init.normal_(model.instance_head.mask.weight, std=0.5)
    return model


@pytest.mark.parametrize("uncovered", ["void", "stuff"])
@pytest.mark.parametrize("seed", range(3))
@torch.inference_mode()
def test_decode_equals_a_literal_transcription(decoder: YoloPanoptic, seed: int, uncovered: str) -> None:
    check_decode(decoder, seed, uncovered)


@pytest.mark.parametrize("semantic", ["segnet", "segnet_multi", "fpn"])
@torch.inference_mode()
def test_decode_reads_logits_of_the_inputs_size(semantic: str) -> None:
    check_decode(varied(semantic), 0, "void")


@torch.inference_mode()
def test_overlaps_can_be_the_surest_masks(decoder: YoloPanoptic) -> None:
    check_decode(decoder, 0, "void", overlaps="probability")
    outputs, boxes = scene(decoder, 0, images=1), [Letterbox.fit(96, 128, 96, 128)]
    one, other = (
        decoder.decode(outputs, boxes, DecodeOptions(overlaps=rule))[0].ids  # type: ignore[arg-type]
        for rule in ("objectness", "probability")
    )
    assert (one != other).any()


@torch.inference_mode()
def test_decode_reads_logits_of_stride_2() -> None:
    model = varied("ppm", detail_channels=4)
    assert scene(model, 0, images=1)["semantic_logits"].shape[2:] == (48, 64)
    check_decode(model, 0, "void")


@torch.inference_mode()
@pytest.mark.parametrize("seed", range(3))
def test_scores_of_masks_and_suppression_across_classes(decoder: YoloPanoptic, seed: int) -> None:
    ways: tuple[dict[str, Any], ...] = (
        {},
        {"scores": "masks"},
        {"agnostic_nms_threshold": 0.2},
        {"scores": "masks", "agnostic_nms_threshold": 0.2},
    )
    for way in ways:
        check_decode(decoder, seed, "void", score_threshold=0.15, **way)
    outputs, boxes = scene(decoder, seed, images=1), [Letterbox.fit(96, 128, 96, 128)]
    counts = [len(decoder.decode(outputs, boxes, DecodeOptions(score_threshold=0.15, **way))[0].things) for way in ways]
    assert counts[3] < counts[1] < counts[0] > counts[2]


def check_decode(
    decoder: YoloPanoptic, seed: int, uncovered: str, overlaps: str = "objectness", **more: object
) -> None:
    outputs = scene(decoder, seed, images=2)
    boxes = [Letterbox.fit(72, 128, 96, 128), Letterbox.fit(150, 130, 96, 128)]
    given: dict[str, Any] = {"score_threshold": 0.25, "uncovered_things": uncovered, "overlaps": overlaps, **more}
    options = DecodeOptions(max_detections=12, **given)
    values = decoder.decode(outputs, boxes, options, confidence=True)
    for index, (value, box) in enumerate(zip(values, boxes, strict=True)):
        expected, scores = slow_decode(decoder, outputs, index, box, options)
        assert value.ids.shape == (box.frame_height, box.frame_width)
        # Interpolation rounds differently in its last bit, which decides ties on a threshold.
        assert np.mean(value.ids != expected) < 2e-4
        assert {segment.id for segment in value.segments} == set(np.unique(value.ids).tolist()) - {0}
        assert len(value.things) > 3
        for segment in value.things:
            assert segment.score == pytest.approx(scores[segment.instance], rel=1e-4)
        assert value.confidence is not None
        assert (value.confidence[value.ids == 0] == 0).all()
        assert_consistent(value)


def assert_consistent(value: PanopticSegmentation) -> None:
    described = PanopticSegmentation.from_ids(
        value.ids, CITYSCAPES.thing_ids, {segment.id: segment.score for segment in value.segments}
    )
    key = "id"
    assert sorted(map(dataclasses.asdict, value.segments), key=lambda entry: entry[key]) == sorted(
        map(dataclasses.asdict, described.segments), key=lambda entry: entry[key]
    )


@torch.inference_mode()
def test_no_detections_no_things(decoder: YoloPanoptic) -> None:
    outputs = scene(decoder, 0, images=1)
    value = decoder.decode(outputs, [Letterbox.fit(96, 128, 96, 128)], DecodeOptions(score_threshold=1.0))[0]
    assert value.things == ()
    assert value.segments


@torch.inference_mode()
def test_a_detector_alone_leaves_stuff_void_and_masks_their_boxes(small: YoloPanoptic) -> None:
    outputs = scene(small, 0, images=1)
    untrained = small.untrained
    small.untrained = untrained - {"detector"}
    options = DecodeOptions(max_detections=1, mask_threshold=0.9)
    try:
        value = small.decode(outputs, [Letterbox.fit(96, 128, 96, 128)], options)[0]
    finally:
        small.untrained = untrained
    (thing,) = value.segments
    assert thing.is_thing
    x0, y0, x1, y1 = thing.bbox
    assert thing.area == (x1 - x0) * (y1 - y0)


@torch.inference_mode()
def test_scores_and_confidence_of_stuff_speak_of_the_same_choice(decoder: YoloPanoptic) -> None:
    """Car is the most probable everywhere, road the second: of stuff alone, road is nearly certain."""
    outputs = scene(decoder, 0, images=1)
    outputs["semantic_logits"][:] = -9.0
    outputs["semantic_logits"][:, 13], outputs["semantic_logits"][:, 0] = 5.0, 3.0
    options = DecodeOptions(max_detections=0, uncovered_things="stuff")
    value = decoder.decode(outputs, [Letterbox.fit(96, 128, 96, 128)], options, confidence=True)[0]
    (road,) = value.segments
    assert road.class_id == 7
    assert value.confidence is not None
    assert abs(road.score - value.confidence[0, 0] / 255) < 0.01
    assert road.score > 0.99


@torch.inference_mode()
def test_stuff_of_which_little_iou_can_be_expected_is_void(decoder: YoloPanoptic) -> None:
    """Sky is sure above.  Below, road and pole win every other column, and have less in the others."""
    outputs = scene(decoder, 0, images=1)
    logits = outputs["semantic_logits"]
    logits[:] = -30.0
    road, pole, sky = 0, 5, 10
    half = logits.shape[2] // 2
    logits[:, sky, :half] = 0.0
    for first, shares in ((0, (0.6, 0.4)), (1, (0.4999, 0.5001))):
        for plane, share in zip((road, pole), shares, strict=True):
            logits[:, plane, half:, first::2] = math.log(share)
    found = {}
    for threshold in (0.0, 0.35, 0.39, 0.41, 0.9):
        options = DecodeOptions(max_detections=0, stuff_area_fraction=0.0, stuff_iou_threshold=threshold)
        value = decoder.decode(outputs, [Letterbox.fit(96, 128, 96, 128)], options)[0]
        found[threshold] = {segment.class_id for segment in value.segments}
        assert set(np.unique(value.ids // 1000).tolist()) - {0} == found[threshold]
    # 0.6 / (1 + 0.5) is the road's 0.4, 0.5 / (1 + 0.4) the pole's 0.357
    assert found == {0.0: {7, 17, 23}, 0.35: {7, 17, 23}, 0.39: {7, 23}, 0.41: {23}, 0.9: {23}}


@torch.inference_mode()
@pytest.mark.parametrize("uncovered", ["void", "stuff"])
def test_semantic_logits_that_are_not_finite_are_void(decoder: YoloPanoptic, uncovered: str) -> None:
    outputs = scene(decoder, 0, images=1)
    outputs["semantic_logits"][:, :, :, :16] = torch.nan
    options = DecodeOptions(max_detections=0, stuff_area_fraction=0.0, uncovered_things=uncovered)  # type: ignore[arg-type]
    value = decoder.decode(outputs, [Letterbox.fit(96, 128, 96, 128)], options, confidence=True)[0]
    assert (value.ids[:, :64] == 0).all()
    assert (value.ids[:, 70:] != 0).any()
    assert all(np.isfinite(segment.score) for segment in value.segments)


@torch.inference_mode()
def test_labels_without_things_leave_the_semantic_network() -> None:
    torch.manual_seed(0)
    labels = LabelSet("stuff only", CITYSCAPES.stuff)
    model = YoloPanoptic(labels, YoloPanopticConfig(cfg="darknet53_yolov3_quarter")).eval()
    # The backbone ends with the last map that is read, layer 61, and so does what the input must divide by.
    assert (len(model.detector.layers), model.input_multiple) == (62, 16)
    assert {name for name, part in model.named_children() if list(part.parameters())} == {
        "detector",
        "fusion",
        "pooling",
        "semantic_head",
    }
    outputs = model(torch.rand(1, 3, 80, 112))
    assert tuple(outputs) == model.output_names == ("semantic_logits",)
    value = model.decode(outputs, [Letterbox.fit(80, 112, 80, 112)], DecodeOptions(stuff_area_fraction=0.0))[0]
    scaled = torch.nn.functional.interpolate(outputs["semantic_logits"], scale_factor=4.0, mode="bilinear")[0]
    best = scaled.topk(2, dim=0)
    clear = (best.values[0] - best.values[1] > 1e-4).numpy()
    assert clear.mean() > 0.99
    assert (value.ids == labels.class_ids[best.indices[0].numpy()] * 1000)[clear].all()


@torch.inference_mode()
def test_beside_a_detector_that_has_not_learned_things_are_a_class(decoder: YoloPanoptic) -> None:
    outputs = scene(decoder, 0, images=1)
    outputs["semantic_logits"] -= 100.0
    outputs["semantic_logits"][:, CITYSCAPES.class_ids.tolist().index(26), :, :16] = 100.0
    box = [Letterbox.fit(96, 128, 96, 128)]
    try:
        decoder.untrained = frozenset({"detector", "instance_features", "instance_head"})
        value = decoder.decode(outputs, box, DecodeOptions())[0]
    finally:
        decoder.untrained = frozenset()
    (cars,) = [segment for segment in value.segments if segment.class_id == 26]
    assert (cars.id, cars.is_thing, cars.area) == (26_000, False, (value.ids == 26_000).sum())
    assert (value.ids[:, :62] == 26_000).all()
    assert not value.things


@torch.inference_mode()
def test_non_finite_outputs_are_no_detections(decoder: YoloPanoptic) -> None:
    outputs = scene(decoder, 0, images=1)
    outputs["boxes"][0, :20] = torch.nan
    outputs["boxes"][0, 20:] = torch.inf
    value = decoder.decode(outputs, [Letterbox.fit(96, 128, 96, 128)], DecodeOptions(score_threshold=0.0))[0]
    assert value.things == ()


def test_forward_is_the_composition_of_its_parts(small: YoloPanoptic) -> None:
    images = torch.rand((1, 3, 64, 96), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        outputs = small(images)
        _, (first, second, third) = small.detector(images)
        second = F.interpolate(second, size=first.shape[-2:], mode="bilinear", align_corners=False)
        third = F.interpolate(third, size=first.shape[-2:], mode="bilinear", align_corners=False)
        assert isinstance(small.fusion, FeatureFusion)
        pooled = small.pooling(torch.cat((small.fusion.widen(first), second, third), dim=1))
        torch.testing.assert_close(outputs["semantic_logits"], small.semantic_head(pooled))
        reduced = small.instance_features.reduce(pooled)
        upsampled = F.interpolate(reduced, scale_factor=2.0, mode="bilinear", align_corners=False)
        torch.testing.assert_close(outputs["instance_features"], upsampled)
    assert first.shape[-2:] == (16, 24)


def test_random_weights_are_the_same_every_time(small: YoloPanoptic) -> None:
    again = build_model(load_model_config("yolo_panoptic_small"))
    for name, tensor in small.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_untrained_outputs_are_not_saturated(small: YoloPanoptic) -> None:
    images = torch.rand((1, 3, 96, 96), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        detections, _ = small.detector(images)
    for raw in detections:
        assert 0.1 < float(raw.std()) < 10
