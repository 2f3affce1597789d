"""Panoptic FPN and JSIS-Net: from outputs to values, against a literal transcription, and what their branches say."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from literal import LEVELS, sample, undecided, upsample
from numpy.typing import NDArray
from region_networks import CONFIGS, NETWORKS, small

from panoptic_ros.configuration import ConfigurationError, from_mapping
from panoptic_ros.labels import Label, LabelSet
from panoptic_ros.letterbox import Letterbox
from panoptic_ros.models import SYSTEMS, build_model, load_model_config
from panoptic_ros.models.jsis_net import JsisNetConfig
from panoptic_ros.models.layers.mask_rcnn import Instances
from panoptic_ros.models.layers.region_system import RegionSystem
from panoptic_ros.models.panoptic_fpn import PanopticFpnConfig, PanopticFpnDecode
from panoptic_ros.segmentation import PanopticSegmentation

CITYSCAPES = LabelSet.load("cityscapes")
SYSTEM_NAMES = sorted(NETWORKS)
MODELS = {name: small(name).eval() for name in SYSTEM_NAMES}
HEIGHT, WIDTH = 8, 16
BOX = Letterbox.fit(HEIGHT, WIDTH, HEIGHT, WIDTH)
COUNT = len(CITYSCAPES.labels)
IDS = [label.id for label in CITYSCAPES.labels]
STUFF = [index for index, label in enumerate(CITYSCAPES.labels) if not label.is_thing]
THINGS = [index for index, label in enumerate(CITYSCAPES.labels) if label.is_thing]


def literal_ids(
    system: str, planes: NDArray[np.float64], found: Instances, least: int
) -> tuple[NDArray[np.int32], bool]:
    """The whole merging, pixel by pixel; and whether rounding may decide somewhere."""
    probabilities = np.full((len(found.masks), HEIGHT, WIDTH), -1.0)
    for index, (mask, (x0, y0, x1, y1)) in enumerate(zip(found.masks.numpy(), found.boxes.tolist(), strict=True)):
        for y in range(HEIGHT):
            for x in range(WIDTH):
                if x0 <= x + 0.5 < x1 and y0 <= y + 0.5 < y1:
                    v, u = ((y + 0.5 - y0) * 2 / (y1 - y0) - 0.5, (x + 0.5 - x0) * 2 / (x1 - x0) - 0.5)
                    probabilities[index, y, x] = sample(mask, v, u)
    ids = np.zeros((HEIGHT, WIDTH), dtype=np.int32)
    owner = np.full((HEIGHT, WIDTH), -1)
    if system == "jsis_net":
        for y in range(HEIGHT):
            for x in range(WIDTH):
                sure = [(-p[y, x], index) for index, p in enumerate(probabilities) if p[y, x] > 0.5]
                owner[y, x] = min(sure)[1] if sure else -1
    else:
        for index, plane in enumerate(probabilities):
            pixels = np.argwhere(plane > 0.5)
            free = [(y, x) for y, x in pixels if owner[y, x] < 0]
            if len(pixels) - len(free) <= 0.5 * len(pixels):
                for y, x in free:
                    owner[y, x] = index
    classes = [*STUFF, COUNT] if system == "panoptic_fpn" else list(range(COUNT))
    of_stuff = [k for k, index in enumerate(classes) if index in STUFF]
    among = range(len(classes)) if system == "panoptic_fpn" else of_stuff

    def best(y: int, x: int, some: list[int] | range) -> int:
        return max(some, key=lambda k: (planes[k, y, x], -k))

    first = {(y, x): best(y, x, among) for y in range(HEIGHT) for x in range(WIDTH)}
    areas = {k: sum(first[place] == k and owner[place] < 0 for place in first) for k in of_stuff}
    large = [k for k in of_stuff if areas[k] >= least]
    for place, plane in first.items():
        if owner[place] >= 0:
            ids[place] = IDS[THINGS[int(found.classes[owner[place]])]] * 1000 + owner[place] + 1
        elif plane in large:
            ids[place] = IDS[classes[plane]] * 1000
        elif system == "jsis_net" and large:
            ids[place] = IDS[classes[best(*place, large)]] * 1000
    stuff = np.sort(planes[list(among)], axis=0)
    return ids, undecided(probabilities) or bool((np.abs(np.diff(stuff, axis=0)) < 1e-5).any())


@settings(max_examples=30, deadline=None)
@given(
    system=st.sampled_from(SYSTEM_NAMES),
    seed=st.integers(0, 2**32 - 1),
    things=st.integers(0, 4),
    least=st.sampled_from([0, 5, 30, 64, HEIGHT * WIDTH]),
    everywhere=st.booleans(),
    kinds=st.integers(1, 4),
)
def test_the_merging_is_the_literal_one(
    system: str, seed: int, things: int, least: int, everywhere: bool, kinds: int
) -> None:
    """No things, only things, overlaps, ties between masks, stuff of all sizes, and all of it small."""
    random = np.random.default_rng(seed)
    model = MODELS[system]
    logits = random.normal(0.0, 1.0, (len(model.semantic_classes or ()), HEIGHT // 4, WIDTH // 4)).astype(np.float32)
    logits[random.permutation(len(logits))[kinds:]] -= 4.0  # few classes win, or none would be large
    corners = random.integers(-4, 2 * WIDTH, (things, 2)) / 2.0
    sizes = random.integers(1, WIDTH, (things, 2)).astype(np.float64)
    boxes = np.concatenate([corners, corners + sizes], axis=1)
    if everywhere:
        boxes[:1] = (0.0, 0.0, WIDTH, HEIGHT)
    found = Instances(
        torch.from_numpy(boxes).float().reshape(-1, 4),
        torch.from_numpy(random.integers(0, len(THINGS), things)),
        torch.from_numpy(np.sort(random.random(things))[::-1].copy()).float(),
        torch.from_numpy(random.choice(LEVELS, (things, 2, 2)).astype(np.float32)),
    )
    planes = np.stack([upsample(plane, HEIGHT, WIDTH) for plane in logits])
    expected, unclear = literal_ids(system, planes, found, least)
    if unclear:
        return
    options = SYSTEMS[system].decode(stuff_area_fraction=least / (HEIGHT * WIDTH))
    assert math.ceil(options.stuff_area_fraction * HEIGHT * WIDTH) == least
    value = model._value(torch.from_numpy(logits), found, BOX, options, True)
    np.testing.assert_array_equal(value.ids, expected)
    check_consistent(value)


def check_consistent(value: PanopticSegmentation) -> None:
    assert {segment.id for segment in value.segments} == set(np.unique(value.ids)) - {0}
    for segment in value.segments:
        assert segment.area == (value.ids == segment.id).sum()
        assert segment.is_thing == (segment.class_id in CITYSCAPES.thing_ids)
        assert 0.0 <= segment.score <= 1.0
    assert value.confidence is not None
    assert (value.confidence[value.ids == 0] == 0).all()


@pytest.mark.parametrize("system", SYSTEM_NAMES)
def test_frames_of_any_size_come_out_at_their_own(system: str) -> None:
    """Two frames in a batch, with letterboxes to both sides, and thresholds so low that much is found."""
    model = MODELS[system]
    boxes = [Letterbox.fit(40, 150, 64, 96), Letterbox.fit(99, 70, 64, 96)]
    with torch.inference_mode():
        outputs = model(torch.rand((2, 3, 64, 96), generator=torch.Generator().manual_seed(0)))
        assert list(outputs) == list(model.output_names)
        options = SYSTEMS[system].decode(score_threshold=0.12, stuff_area_fraction=0.001, max_detections=7)
        values = model.decode(outputs, boxes, options, confidence=True)
        alone = model.decode({name: one[1:] for name, one in outputs.items()}, boxes[1:], options)
    assert [value.ids.shape for value in values] == [(40, 150), (99, 70)]
    for value in values:
        check_consistent(value)
        assert len(value.things) <= 7
    np.testing.assert_array_equal(values[1].ids, alone[0].ids)


@pytest.mark.parametrize("system", SYSTEM_NAMES)
def test_stuff_that_is_unlikely_to_match_can_be_left_out(system: str) -> None:
    """Every class of stuff wins somewhere, the first one surely."""
    model, options = MODELS[system], SYSTEMS[system].decode
    logits = 0.1 * torch.randn((len(planes_of(model)), 16, 24), generator=torch.Generator().manual_seed(4))
    first = next(index for index, label in enumerate(planes_of(model)) if label in CITYSCAPES.stuff)
    logits[first, :8] += 30.0
    nothing = Instances(torch.zeros((0, 4)), torch.zeros(0, dtype=torch.int64), torch.zeros(0), torch.zeros((0, 2, 2)))
    box = Letterbox.fit(64, 96, 64, 96)
    found = {}
    for threshold in (0.0, 0.3):
        given = options(stuff_area_fraction=0.0, stuff_iou_threshold=threshold)
        value = model._value(logits, nothing, box, given, True)
        check_consistent(value)
        found[threshold] = {segment.class_id for segment in value.segments}
    assert len(found[0.0]) == len(CITYSCAPES.stuff)
    assert found[0.3] == {planes_of(model)[first].id}


def planes_of(model: RegionSystem) -> list[Label | None]:
    """What each plane of the semantic logits stands for."""
    classes = model.semantic_classes or range(len(CITYSCAPES))
    return [CITYSCAPES.labels[index] if index < len(CITYSCAPES) else None for index in classes]


@pytest.mark.parametrize("system", SYSTEM_NAMES)
def test_a_branch_that_has_learned_nothing_is_silent_beside_one_that_has(system: str) -> None:
    model = small(system).eval()
    boxes = [Letterbox.fit(64, 96, 64, 96)]
    options = SYSTEMS[system].decode(score_threshold=0.05, stuff_area_fraction=0.0)
    with torch.inference_mode():
        outputs = model(torch.rand((1, 3, 64, 96), generator=torch.Generator().manual_seed(0)))
        model.untrained = frozenset({"semantic_head"})
        (things,) = model.decode(outputs, boxes, options)
        model.untrained = frozenset({"rpn", "roi_heads"})
        (stuff,) = model.decode(outputs, boxes, options)
        model.untrained = frozenset({"rpn", "roi_heads", "semantic_head"})  # ImageNet's stages alone
        (neither,) = model.decode(outputs, boxes, options)
        model.untrained |= {"backbone"}  # all is random: for trying the wiring
        (wiring,) = model.decode(outputs, boxes, options)
    assert things.things
    assert all(segment.is_thing for segment in things.segments)
    assert stuff.segments
    assert not stuff.things
    assert not neither.segments
    assert wiring.things


@pytest.mark.parametrize("system", SYSTEM_NAMES)
def test_outputs_that_are_not_finite_are_void_and_break_nothing(system: str) -> None:
    model = MODELS[system]
    with torch.inference_mode():
        outputs = {name: torch.full_like(one, math.nan) for name, one in model(torch.rand((1, 3, 64, 96))).items()}
        (value,) = model.decode(outputs, [Letterbox.fit(64, 96, 64, 96)], SYSTEMS[system].decode())
    assert not value.segments
    assert not value.ids.any()


@pytest.mark.parametrize("name", ["panoptic_fpn", "panoptic_fpn_small", "jsis_net", "jsis_net_coco", "jsis_net_small"])
def test_each_configuration_of_ours_can_be_built(name: str) -> None:
    config = load_model_config(name)
    with torch.device("meta"):
        model = build_model(config)
        outputs = model(torch.zeros((1, 3, config.input_height, config.input_width)))
    assert list(outputs) == list(model.output_names)
    assert outputs["semantic_logits"].shape[-2:] == (config.input_height // 4, config.input_width // 4)
    assert model.untrained == {"backbone", "rpn", "roi_heads", "semantic_head"}


@pytest.mark.parametrize(
    ("kind", "content", "said"),
    [
        (PanopticFpnConfig, {"backbone": "resnet51"}, "backbone: expected one of 'resnet18'"),
        (PanopticFpnConfig, {"anchor_sizes": [1, 2, 3, 4, 0]}, "anchor_sizes must be positive"),
        (PanopticFpnConfig, {"proposals": 0}, "proposals must be positive, got 0"),
        (PanopticFpnDecode, {"overlap_threshold": 1.5}, r"overlap_threshold must be in \[0, 1\], got 1.5"),
        (PanopticFpnDecode, {"uncovered_things": "stuff"}, "unknown key 'uncovered_things'"),
        (JsisNetConfig, {"deconvolution_kernel": 5}, "deconvolution_kernel must be deconvolution_stride"),
        (JsisNetConfig, {"deconvolution_stride": 3}, "deconvolution_stride must divide the stride 8, got 3"),
        (
            JsisNetConfig,
            {"stride": 16, "deconvolution_stride": 1, "deconvolution_kernel": 3},
            ".*must divide 8, the letterbox",
        ),
        (JsisNetConfig, {"anchor_sizes": []}, "anchor_sizes must name at least one size"),
        (JsisNetConfig, {"crop_size": 7}, "crop_size must be even, got 7"),
        (JsisNetConfig, {"candidates": 0}, "candidates must be positive, got 0"),
        (PanopticFpnConfig, {"candidates": 0}, "candidates must be positive, got 0"),
        (JsisNetConfig, {"mask_size": 1}, "mask_size must be at least 2, got 1"),
        (JsisNetConfig, {"stride": 4}, "stride: expected one of 8, 16"),
    ],
)
def test_settings_that_cannot_be_are_named(kind: type, content: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigurationError, match=f"here: {said}"):
        from_mapping(kind, content, "here")


@pytest.mark.parametrize(("system", "while_training"), [("panoptic_fpn", 2), ("jsis_net", 1)])
def test_candidates_and_proposals_are_what_the_settings_say(system: str, while_training: int) -> None:
    """Before and after the suppression; a pyramid's are twice as many while it learns."""
    network = NETWORKS[system](CITYSCAPES, replace(CONFIGS[system], candidates=50, proposals=30))
    for mode, times in ((False, 1), (True, while_training)):
        rpn = network.train(mode).rpn
        assert (rpn.pre_nms_top_n(), rpn.post_nms_top_n()) == (50 * times, 30 * times)
