"""What systems find before they merge it, against what they make of it, and its measure in validation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import CITYSCAPES, batch, picture, tiny
from region_networks import small
from torch import Tensor

from panoptic_ros import fusion
from panoptic_ros.letterbox import Letterbox
from panoptic_ros.models.frame_instances import FrameInstances
from panoptic_ros.models.jsis_net import JsisNetDecode
from panoptic_ros.models.model import PanopticModel
from panoptic_ros.models.options import DecodeOptions, InstanceDecodeOptions
from panoptic_ros.models.panoptic_fpn import PanopticFpnDecode
from panoptic_ros.models.yolo_panoptic import YoloPanoptic
from panoptic_training.fit.measures import Measures

BOX = Letterbox.fit(150, 190, 96, 128)  # margins on both sides

Paste = Callable[[Tensor, Tensor, int, int, float], Tensor]


def visible(masks: Tensor, boxes: Tensor, height: int, width: int, threshold: float) -> Tensor:
    return fusion.paste_visible(masks, boxes, height, width, threshold, 0.5)


SYSTEMS: dict[str, tuple[InstanceDecodeOptions, Paste]] = {
    "jsis_net": (JsisNetDecode(score_threshold=0.5), fusion.paste_by_probability),
    "panoptic_fpn": (PanopticFpnDecode(score_threshold=0.5), visible),
}


@pytest.mark.parametrize("system", sorted(SYSTEMS))
@torch.inference_mode()
def test_what_is_found_makes_the_things_of_a_frame(system: str) -> None:
    """Pasted as the system pastes, with the same thresholds, it covers the pixels that the decode calls things."""
    options, paste = SYSTEMS[system]
    model = small(system).eval()
    outputs = model(batch(picture(1))[0])
    found = model.instances_of(outputs, [BOX], options)
    assert found is not None
    (alone,) = found
    assert len(alone.boxes) >= 5
    assert 0.05 < float(alone.scores.min()) < options.score_threshold
    size = BOX.frame_height, BOX.frame_width
    winners = paste(alone.masks, alone.boxes, *size, alone.mask_threshold).numpy()
    classes = np.append(CITYSCAPES.class_ids[alone.classes], 0)[winners]
    (merged,) = model.decode(outputs, [BOX], replace(options, score_threshold=0.05))
    things = np.isin(merged.ids // 1000, list(CITYSCAPES.thing_ids))
    assert things.any()
    assert np.array_equal(np.where(things, merged.ids // 1000, 0), classes)


@torch.inference_mode()
def test_a_detector_finds_a_thing_once_for_each_class(tmp_path: Path) -> None:
    """As average precision wants it: the best of each class, by objectness times its probability, whatever is asked."""
    model = tiny(tmp_path).eval()
    outputs = model(batch(picture(1))[0])
    found = model.instances_of(outputs, [BOX], DecodeOptions(score_threshold=0.9))
    assert found is not None
    (alone,) = found
    assert 5 <= len(alone.boxes.unique(dim=0)) < len(alone.boxes) <= 100
    assert 0.05 < float(alone.scores.min()) < 0.9
    scores = outputs["objectness"][0, :, None] * outputs["class_probabilities"][0]
    for index in alone.classes.unique().tolist():
        plane = scores[:, model.thing_classes.tolist().index(index)]
        mine = alone.scores[alone.classes == index]
        assert torch.isin(mine, plane).all()
    assert float(alone.scores.max()) == float(scores.max())


@torch.inference_mode()
def test_a_branch_that_has_learned_nothing_finds_nothing(tmp_path: Path) -> None:
    images = batch(picture(1))[0]
    untrained: list[tuple[PanopticModel, set[str]]] = [
        (tiny(tmp_path), {"detector"}),
        (tiny(tmp_path), {"instance_head"}),
        (small("jsis_net"), {"rpn", "roi_heads"}),
    ]
    for model, parts in untrained:
        model.eval().untrained = frozenset(parts)
        options = DecodeOptions() if isinstance(model, YoloPanoptic) else JsisNetDecode()
        assert model.instances_of(model(images), [BOX], options) is None


def test_validation_measures_what_the_branch_finds() -> None:
    """Every object with its own pixels is all there is to find; all of it twice is right half of the time."""
    _, truth = picture(3)
    segmentation = truth.segmentation
    height, width = segmentation.ids.shape
    things = [segment for segment in segmentation.segments if segment.instance]
    masks = torch.stack([torch.from_numpy(segmentation.ids == segment.id).float() for segment in things])
    class_ids = CITYSCAPES.class_ids.tolist()
    found = FrameInstances(
        boxes=torch.tensor([[0.0, 0.0, width, width]]).repeat(len(things), 1),
        classes=torch.tensor([class_ids.index(segment.class_id) for segment in things]),
        scores=torch.linspace(0.9, 0.1, len(things)),
        masks=torch.nn.functional.pad(masks, (0, 0, 0, width - height)),  # as wide as high
        mask_threshold=0.5,
    )
    once = Measures(CITYSCAPES)
    once.update("once", segmentation, None, truth, True, instances=found)
    assert once.result()["detection_ap50"] == once.result()["detection_ap"] == 1.0
    twice = Measures(CITYSCAPES)
    doubled = FrameInstances(*(value.repeat_interleave(2, dim=0) for value in found[:4]), 0.5)
    twice.update("twice", segmentation, None, truth, True, instances=doubled)
    assert 0.0 < twice.result()["detection_ap50"] < 1.0
    without = Measures(CITYSCAPES)
    without.update("without", segmentation, None, truth, True)
    assert not any(name.startswith("detection") for name in without.result())
