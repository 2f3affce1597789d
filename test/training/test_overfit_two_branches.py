"""One picture learnt by heart: losses and decode of Panoptic FPN and JSIS-Net mean the same pixels and classes."""

from __future__ import annotations

import pytest
import torch
from networks import batch
from region_networks import HEIGHT, WIDTH, large_shapes, small
from test_overfit_loss import panoptic_quality

from panoptic_ros.configuration import from_mapping
from panoptic_ros.letterbox import Letterbox
from panoptic_ros.models import SYSTEMS
from panoptic_training.losses import LOSSES


@pytest.mark.parametrize(
    ("system", "images", "steps", "options"),
    [
        # With few regions a step, boxes that are far off would be found with certainty and never be looked at.
        ("panoptic_fpn", 1, 120, {"instance": {"anchors": 64, "regions": 128}}),
        # The boxes' weight in the paper, 0.15, is for longer trainings.
        ("jsis_net", 2, 160, {"instance": {"anchors": 64, "regions": 16}, "box_weight": 1.0}),
    ],
)
def test_a_picture_is_learnt_by_heart(system: str, images: int, steps: int, options: dict[str, object]) -> None:
    """JSIS-Net sees it twice at once, because its Pyramid Pooling Module cannot be trained with one image."""
    model = small(system)
    made, kind = LOSSES[system]
    loss = made(model, from_mapping(kind, options, "test")).train()
    image, truth = large_shapes()
    inputs, targets = batch(*[(image, truth)] * images)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(inputs, targets)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        schedule.step()
    model.eval()
    letterbox = Letterbox.fit(HEIGHT, WIDTH, HEIGHT, WIDTH)
    with torch.inference_mode():
        (value,) = model.decode(model(inputs[:1]), [letterbox], SYSTEMS[system].decode())
    assert panoptic_quality([value], [truth.segmentation]) > 0.95
    assert sorted(thing.class_id for thing in value.things) == sorted(
        thing.class_id for thing in truth.segmentation.things
    )
