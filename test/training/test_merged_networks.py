"""Networks as one, the regions that a network looks at, and what validation says of these."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from networks import CITYSCAPES, batch, picture, tiny
from region_networks import NETWORKS, small

from panoptic_ros.labels import LabelSet
from panoptic_ros.letterbox import Letterbox
from panoptic_ros.models.frame_instances import boxes_in_frame
from panoptic_ros.models.jsis_net import JsisNetDecode
from panoptic_training.fit.measures import Measures
from panoptic_training.fit.merged import MergedNetworks

STUFF = LabelSet("stuff", tuple(label for label in CITYSCAPES.labels if not label.is_thing))


@pytest.mark.parametrize("system", sorted(NETWORKS))
def test_outputs_come_from_their_networks(system: str) -> None:
    one, other = small(system).eval(), small(system).eval()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.1)
        images, _ = batch(picture(1))
        merged = MergedNetworks(one, {"semantic_logits": other})
        found, mine, others = merged(images), one(images), other(images)
    assert tuple(found) == one.output_names == merged.output_names
    assert not torch.equal(mine["semantic_logits"], others["semantic_logits"])
    for name, value in found.items():
        assert torch.equal(value, others[name] if name == "semantic_logits" else mine[name]), name


def test_what_one_of_them_has_learned_is_learned() -> None:
    one, other = small("jsis_net"), small("jsis_net")
    one.untrained, other.untrained = frozenset({"semantic_head"}), frozenset({"rpn", "roi_heads"})
    merged = MergedNetworks(one, {"semantic_logits": other})
    assert merged.network.untrained == frozenset()
    outputs, boxes = one(batch(picture(1))[0]), [Letterbox.fit(96, 128, 96, 128)]
    assert merged.proposals_of(outputs) is not None
    assert merged.instances_of(outputs, boxes, JsisNetDecode()) is not None
    one, other = small("jsis_net"), small("jsis_net")
    one.untrained = other.untrained = frozenset({"rpn", "roi_heads"})
    merged = MergedNetworks(one, {"semantic_logits": other})
    outputs = one(batch(picture(1))[0])
    assert merged.proposals_of(outputs) is None
    assert merged.instances_of(outputs, boxes, JsisNetDecode()) is None


def test_networks_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    one = small("jsis_net")
    with pytest.raises(ValueError, match="'logits' is no output of the network; it has semantic_logits, features_0"):
        MergedNetworks(one, {"logits": one})
    with pytest.raises(ValueError, match="semantic_logits: is of a network for 'stuff', not 'cityscapes'"):
        MergedNetworks(one, {"semantic_logits": small("jsis_net", STUFF)})
    with pytest.raises(ValueError, match=r"semantic_logits: the other network gives \(1, 12, .* where \(1, 19, "):
        MergedNetworks(one, {"semantic_logits": small("panoptic_fpn")})
    with pytest.raises(ValueError, match="objectness_0: the other network gives nothing where"):
        MergedNetworks(one, {"objectness_0": tiny(tmp_path)})


def test_systems_without_proposals_say_so(tmp_path: Path) -> None:
    for model in (tiny(tmp_path), small("jsis_net", STUFF)):
        assert model.eval().proposals_of(model(batch(picture(1))[0])) is None


def test_boxes_are_taken_back_to_the_frame() -> None:
    letterbox = Letterbox.fit(512, 1024, 384, 640)
    frame = np.array([[0.0, 0.0, 1024.0, 512.0], [100.0, 50.0, 180.0, 400.0]])
    x, y = letterbox.width / 1024, letterbox.height / 512
    boxes = torch.tensor(
        [
            [x0 * x + letterbox.left, y0 * y + letterbox.top, x1 * x + letterbox.left, y1 * y + letterbox.top]
            for x0, y0, x1, y1 in frame.tolist()
        ]
    )
    assert boxes_in_frame(boxes, letterbox).numpy() == pytest.approx(frame, abs=1e-3)


def test_validation_measures_proposals_where_there_are_some() -> None:
    """Three of four objects are covered; those of two sizes are told apart."""
    _, truth = picture(3)
    segmentation = truth.segmentation
    things = [segment for segment in segmentation.segments if segment.instance]
    boxes = np.array([segment.bbox for segment in things], dtype=np.float64)
    measures = Measures(CITYSCAPES)
    measures.update("with", segmentation, None, truth, True, boxes[1:])
    found = measures.result()
    assert found["proposal_recall"] == 3 / 4
    small_ones = [segment.area < 32**2 for segment in things]
    covered = np.array([False, True, True, True])
    assert found["proposal_recall_small"] == pytest.approx(covered[small_ones].mean())
    assert "proposal_recall_large" not in found
    without = Measures(CITYSCAPES)
    without.update("without", segmentation, None, truth, True)
    assert not any(name.startswith("proposal") for name in without.result())
