"""Two pictures learnt by heart: the losses and the decode mean the same pixels, boxes and classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from networks import HEIGHT, WIDTH, batch, picture, tiny

from panoptic_ros.letterbox import Letterbox
from panoptic_ros.models.options import DecodeOptions
from panoptic_ros.segmentation import PanopticSegmentation
from panoptic_training.losses.instances import InstanceLossOptions
from panoptic_training.losses.yolo_panoptic import YoloPanopticLoss, YoloPanopticLossOptions
from panoptic_training.losses.yolov3 import YoloV3Loss, YoloV3LossOptions

STEPS = 240  # with 160 the shallow masks are just about learnt: their last loss was 0.0999 on one thread, 0.1002 on two


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def panoptic_quality(predictions: list[PanopticSegmentation], truths: list[PanopticSegmentation]) -> float:
    """Kirillov et al. 2019, equation 1, over all classes together; nothing is void here."""
    total, found, missed, wrong = 0.0, 0, 0, 0
    for prediction, truth in zip(predictions, truths, strict=True):
        matched = set()
        for segment in truth.segments:
            for other in prediction.segments:
                overlap = iou(truth.ids == segment.id, prediction.ids == other.id)
                if other.class_id == segment.class_id and overlap > 0.5:
                    total, found = total + overlap, found + 1
                    matched.add(other.id)
                    break
            else:
                missed += 1
        wrong += len(prediction.segments) - len(matched)
    return total / (found + 0.5 * missed + 0.5 * wrong)


@pytest.mark.parametrize(
    ("semantic", "instance_head", "coordinates"),
    [
        ("ppm", "deep", "cross_entropy"),
        ("segnet", "deep", "squared"),
        ("segnet_multi", "deep", "cross_entropy"),
        ("fpn", "shallow", "ciou"),
    ],
)
def test_two_pictures_are_learnt_by_heart(tmp_path: Path, semantic: str, instance_head: str, coordinates: str) -> None:
    model = tiny(tmp_path, semantic=semantic, instance_head=instance_head)
    options = YoloPanopticLossOptions(
        instance=InstanceLossOptions(box_jitter=0.05),
        detection=YoloV3LossOptions(coordinates=coordinates),  # type: ignore[arg-type]
    )
    loss = YoloPanopticLoss(model, options).train()
    pictures = [picture(1), picture(2)]
    images, targets = batch(*pictures)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=STEPS)
    first: dict[str, float] = {}
    for _ in range(STEPS):
        terms = loss(images, targets)
        first = first or {name: term.item() for name, term in terms.items()}
        optimizer.zero_grad()
        terms["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        schedule.step()

    loss.eval()
    with torch.inference_mode():
        last = {name: term.item() for name, term in loss(images, targets).items()}
        # The cross-entropy of a centre between cells ends at its entropy; the squared error ends at 0.
        squared = YoloV3Loss(model.detector.config, YoloV3LossOptions(coordinates="squared"))
        classes = [loss.detector_classes[one] for one in targets.classes]
        maps = model.maps(images)
        last["box"] = squared(maps.detections, targets.boxes, classes, targets.crowds)["box"].item()
        letterbox = Letterbox.fit(HEIGHT, WIDTH, HEIGHT, WIDTH)
        values = model.decode(model(images), [letterbox] * 2, DecodeOptions())
    for name, most in {"semantic": 0.15, "instance": 0.1, "box": 0.1, "objectness": 20.0, "class": 0.2}.items():
        assert last[name] < most, (name, last)
        assert last[name] < 0.3 * first[name], (name, first, last)

    truths = [truth.segmentation for _, truth in pictures]
    assert panoptic_quality(values, truths) > 0.9
    for value, truth in zip(values, truths, strict=True):
        assert sorted(thing.class_id for thing in value.things) == sorted(thing.class_id for thing in truth.things)
        for thing in truth.things:
            nearest = min(value.things, key=lambda other: np.abs(np.subtract(other.bbox, thing.bbox)).max())
            assert np.abs(np.subtract(nearest.bbox, thing.bbox)).max() <= 2
            assert nearest.class_id == thing.class_id
            # More than an ellipse covers of its box (0.8): the masks have learnt what is beside an object, too.
            assert iou(value.ids == nearest.id, truth.ids == thing.id) > 0.88
