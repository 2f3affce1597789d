"""Rigs from YAML: what they hold, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from panoptic_ros.configuration import ConfigurationError
from panoptic_training.synthetic.frames import OPTICAL_AXES, mount, rotation
from panoptic_training.synthetic.rig import Rig

LENS = {"width": 64, "height": 48, "fx": 50.0}
CAMERA = {"name": "front", "lens": LENS, "position": [1.0, 0.0, 1.5]}
LIDAR = {"name": "roof", "position": [0.0, 0.0, 1.9]}


def load(folder: Path, content: object) -> Rig:
    path = folder / "rig.yaml"
    path.write_text(yaml.safe_dump(content))
    return Rig.load(path)


@pytest.mark.parametrize("name", ["street", "two_cameras", "single"])
def test_the_rigs_that_come_with_it_are_read(name: str) -> None:
    assert Rig.load(name).cameras


def test_a_lens_has_its_middle_and_square_pixels_unless_told(tmp_path: Path) -> None:
    matrix = load(tmp_path, {"cameras": [CAMERA]}).cameras[0].lens.intrinsics.matrix
    np.testing.assert_array_equal(matrix, [[50, 0, 31.5], [0, 50, 23.5], [0, 0, 1]])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"cameras": [CAMERA | {"colour": "red"}]}, r"cameras\[0\]: unknown key 'colour'"),
        ({"cameras": [CAMERA], "radars": []}, "unknown key 'radars'"),
        ({"cameras": [CAMERA | {"lens": LENS | {"fx": 0.0}}]}, r"cameras\[0\]: lens: fx: .* more than 0 pixels, got 0"),
        ({"cameras": [CAMERA | {"lens": LENS | {"fy": -3}}]}, "fy: .* got -3"),
        ({"cameras": [CAMERA | {"lens": LENS | {"fx": math.nan}}]}, "fx: .* got nan"),
        ({"cameras": [CAMERA | {"lens": LENS | {"cx": 640.0}}]}, "cx: the principal point lies far outside"),
        ({"cameras": [CAMERA | {"lens": LENS | {"cy": -30}}]}, "cy: the principal point lies far outside"),
        ({"cameras": [CAMERA | {"lens": LENS | {"width": 0}}]}, "width: expected 1 to"),
        ({"cameras": [CAMERA | {"lens": LENS | {"distortion": [-9.0, 0.0, 0.0, 0.0]}}]}, "lens: distortion .* folds"),
        ({"cameras": [CAMERA | {"lens": LENS | {"fx": 0.001}}]}, r"lens: fx: .* 0.01 to 175 degrees; .* they span 180"),
        ({"cameras": [CAMERA | {"lens": LENS | {"fx": 1e300}}]}, r"lens: fx: .* they span [0-9.]+e-"),
        ({"cameras": [CAMERA | {"lens": LENS | {"fy": 0.001}}]}, r"lens: fy: .* they span 180"),
        ({"cameras": [CAMERA | {"fov": 90}]}, r"cameras\[0\]: unknown key 'fov'"),
        ({"cameras": [CAMERA | {"lens": LENS | {"distortion": [0.1]}}]}, "plumb_bob takes 0 or 4 or 5"),
        ({"cameras": [CAMERA | {"position": [1.0, 0.0, -0.2]}]}, r"cameras\[0\]: position: is underground: z = -0.2"),
        ({"cameras": [CAMERA | {"position": [1.0, 0.0, math.inf]}]}, "expected finite numbers"),
        ({"cameras": [CAMERA | {"rate": 0}]}, "rate: expected more than 0"),
        ({"cameras": [CAMERA | {"name": "Front Camera"}]}, "name: expected small letters"),
        ({"cameras": [CAMERA | {"name": "odom"}]}, "name: expected small letters"),
        ({"cameras": [CAMERA, CAMERA]}, "must be unique.* front"),
        ({"cameras": [CAMERA], "lidars": [LIDAR | {"name": "front_optical_frame"}]}, "must be unique"),
        ({"cameras": [CAMERA | {"effects": {"noise": -1.0}}]}, "effects: .*noise"),
        ({"lidars": [LIDAR | {"rate": 0}]}, r"lidars\[0\]: rate: expected more than 0"),
        ({"lidars": [LIDAR | {"rings": 0}]}, r"lidars\[0\]: rings"),
        ({"lidars": [LIDAR | {"position": [0, 0, 0]}]}, r"lidars\[0\]: position: is underground"),
        ({"cameras": [CAMERA], "odometry": {"rate": 0.0}}, "odometry: rate"),
        ({"cameras": [CAMERA], "truth": {"cell": 0.0}}, "truth: cell"),
        ({}, "without sensors"),
        ({"cameras": [{"name": "front", "lens": LENS}]}, "key 'position' is missing"),
        ({"cameras": [CAMERA | {"position": [1.0, 2.0]}]}, "position: expected a list of 3 float"),
    ],
)
def test_what_is_impossible_is_refused_by_file_and_key(tmp_path: Path, content: object, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        load(tmp_path, content)
    assert str(caught.value).startswith(f"{tmp_path / 'rig.yaml'}: ")


def test_rotation_is_that_of_rep_103() -> None:
    rpy = (0.1, -0.4, 2.0)
    about = [cv2.Rodrigues(np.eye(3)[axis] * rpy[axis])[0] for axis in range(3)]
    np.testing.assert_allclose(rotation(rpy), about[2] @ about[1] @ about[0], atol=1e-12)


def test_a_camera_looks_down_for_a_positive_pitch_and_to_the_left_for_a_positive_yaw() -> None:
    def forward(*rpy: float) -> np.ndarray:
        return (mount((0, 0, 1), rpy) @ OPTICAL_AXES)[:3, 2]

    np.testing.assert_allclose(forward(0, 0, 0), [1, 0, 0], atol=1e-12)
    assert forward(0, 10, 0)[2] < 0
    assert forward(0, 0, 10)[1] > 0
    np.testing.assert_array_equal(OPTICAL_AXES[:3, 1], [0, 0, -1])  # an image's y is down


def test_transforms_lead_from_base_link_to_every_sensor(tmp_path: Path) -> None:
    rig = load(tmp_path, {"cameras": [CAMERA], "lidars": [LIDAR], "depth_cameras": [CAMERA | {"name": "depth"}]})
    assert set(rig.static_transforms()) == {
        ("base_link", "front"),
        ("front", "front_optical_frame"),
        ("base_link", "roof"),
        ("base_link", "depth"),
        ("depth", "depth_optical_frame"),
    }
