"""Extrinsics from a file: three ways to write one rotation, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from panoptic_ros.configuration import ConfigurationError
from panoptic_ros.grid.extrinsics import load_extrinsics
from panoptic_ros.grid.poses import PoseTree

ENTRY = "transforms:\n  - {{parent: base_link, child: camera, translation: [1, 2, 3.5], {rotation}}}\n"
SAME = (
    "rpy: [-1.5707963267948966, 0.0, -1.5707963267948966]",
    "quaternion: [-0.5, 0.5, -0.5, 0.5]",
    "matrix: [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]",
)


@pytest.mark.parametrize("rotation", SAME)
def test_an_optical_frame_is_the_same_in_all_three_forms(tmp_path: Path, rotation: str) -> None:
    path = tmp_path / "extrinsics.yaml"
    path.write_text(ENTRY.format(rotation=rotation))
    tree = PoseTree()
    load_extrinsics(path).add_to(tree)
    pose = tree.lookup("base_link", "camera", 123)
    np.testing.assert_allclose(pose.rotation, [[0, 0, 1], [-1, 0, 0], [0, -1, 0]], atol=1e-9)
    np.testing.assert_array_equal(pose.translation, [1, 2, 3.5])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ENTRY.format(rotation="matrix: [[1, 0, 0], [0, 1, 0], [0, 0, -1]]"), "camera in base_link: not a rotation"),
        (ENTRY.format(rotation="matrix: [[1, 0, 0], [0, 1, 0]]"), "matrix"),
        (ENTRY.format(rotation="quaternion: [0, 0, 0, 0]"), "camera in base_link: expected a quaternion"),
        (ENTRY.format(rotation="rpy: [0, 0, .nan]"), "not finite"),
        (ENTRY.format(rotation="rpy: [0, 0, 0], quaternion: [0, 0, 0, 1]"), "got quaternion and rpy"),
        (ENTRY.format(rotation="yaw: 3"), "unknown key 'yaw'"),
        ("transforms: []\n", "at least one"),
        (ENTRY.format(rotation=SAME[0]) + ENTRY.format(rotation=SAME[1])[12:], "more than one parent"),
        (
            "transforms:\n  - {parent: a, child: b, translation: [0, 0, 0], rpy: [0, 0, 0]}\n"
            "  - {parent: b, child: a, translation: [0, 0, 0], rpy: [0, 0, 0]}\n",
            "loop",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_file(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "extrinsics.yaml"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=message) as caught:
        load_extrinsics(path)
    assert str(path) in str(caught.value)
