"""Publishing to a listener in another process, over DDS."""

from __future__ import annotations

import os

import numpy as np
import pytest

from panoptic_ros.benchmarking.frames import drawn_street
from panoptic_ros.drawing import OverlayPainter
from panoptic_ros.labels import LabelSet
from panoptic_ros.nodes import audience
from panoptic_ros.segmentation import PanopticSegmentation


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("ROS_", "FAST")):
            monkeypatch.setenv(name, os.environ[name])  # restored afterwards


def test_results_are_published_to_somebody_who_listens() -> None:
    labels = LabelSet.load("cityscapes")
    frame = drawn_street(64, 48)
    ids = np.full((48, 64), 7000, dtype=np.int32)
    ids[10:20, 10:30] = 26001
    value = PanopticSegmentation.from_ids(ids, labels.thing_ids)
    with audience.Audience() as listened:
        assert set(listened._publishers) == set(audience.TOPICS)
        listened.publish(labels, value, frame, OverlayPainter(labels)(frame, value))
        assert [each.get_subscription_count() for each in listened._publishers.values()] == [1, 1, 1]
        listener = listened._listener
    assert not listener.is_alive()
    assert listener.exitcode == 0
