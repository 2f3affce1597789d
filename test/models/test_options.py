"""Decode thresholds out of their range."""

from __future__ import annotations

import pytest

from panoptic_ros.models.options import DecodeOptions


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("score_threshold", -0.1),
        ("nms_threshold", 1.1),
        ("mask_threshold", 0.0),
        ("mask_threshold", 1.0),
        ("stuff_area_fraction", float("nan")),
        ("stuff_iou_threshold", 1.5),
        ("agnostic_nms_threshold", -0.5),
        ("max_detections", 1000),
        ("uncovered_things", "sky"),
        ("overlaps", "score"),
        ("scores", "objectness"),
    ],
)
def test_a_value_out_of_range_is_named(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} must be"):
        DecodeOptions(**{name: value})  # type: ignore[arg-type]
