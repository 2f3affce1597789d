"""Cameras against OpenCV's projections, and rays against projections."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from panoptic_ros.grid.cameras import Camera, CameraError

K = [800.0, 0, 630.0, 0, 790.0, 350.0, 0, 0, 1]
SIZE = (1280, 720)
POLYNOMIALS = {
    "plumb_bob": [-0.31, 0.12, 0.0011, -0.0007, -0.02],
    "rational_polynomial": [0.4, -0.2, 0.0008, 0.0004, 0.01, 0.6, -0.1, 0.02],
    "thin prism": [0.4, -0.2, 0.0008, 0.0004, 0.01, 0.6, -0.1, 0.02, 0.001, -0.0005, 0.0007, 0.0002],
}
FISHEYE = [-0.02, 0.006, -0.004, 0.0007]


def points_before(rng: np.random.Generator, count: int = 400, spread: float = 0.7) -> np.ndarray:
    z = rng.uniform(0.5, 40, count)
    return np.stack([rng.uniform(-spread, spread, count) * z, rng.uniform(-0.4, 0.4, count) * z, z], 1).astype(
        np.float32
    )


@pytest.mark.parametrize("name", POLYNOMIALS)
def test_polynomials_are_those_of_opencv(name: str) -> None:
    model = "plumb_bob" if name == "plumb_bob" else "rational_polynomial"
    camera = Camera.from_info(*SIZE, K, POLYNOMIALS[name], model=model)
    points = points_before(np.random.default_rng(0))
    uv, depth = camera.project(points)
    expected = cv2.projectPoints(
        points.astype(float), np.zeros(3), np.zeros(3), np.array(K).reshape(3, 3), np.array(POLYNOMIALS[name])
    )[0][:, 0]
    np.testing.assert_allclose(uv, expected, atol=2e-3)
    np.testing.assert_array_equal(depth, points[:, 2])


def test_fisheye_is_that_of_opencv_and_sees_beside_itself() -> None:
    camera = Camera.from_info(*SIZE, [300.0, 0, 640, 0, 301.0, 360, 0, 0, 1], FISHEYE, model="equidistant")
    points = points_before(np.random.default_rng(1), spread=5.0)
    uv, depth = camera.project(points)
    matrix = np.array([[300.0, 0, 640], [0, 301, 360], [0, 0, 1]])
    expected = cv2.fisheye.projectPoints(
        points[:, None].astype(float), np.zeros(3), np.zeros(3), matrix, np.array(FISHEYE)
    )
    np.testing.assert_allclose(uv, expected[0][:, 0], atol=2e-3)
    np.testing.assert_allclose(depth, np.linalg.norm(points, axis=1), rtol=1e-5)
    # A little behind the image's plane: 95 degrees from the axis.
    angle = np.deg2rad(95)
    beside = np.array([[np.sin(angle), 0, np.cos(angle)]], np.float32)
    square = angle**2
    bent = angle * (1 + sum(k * square ** (i + 1) for i, k in enumerate(FISHEYE)))
    np.testing.assert_allclose(camera.project(beside)[0][0], [640 + 300 * bent, 360], atol=1e-2)
    # On the axis and at the centre of projection.
    axis = camera.project(np.array([[0, 0, 2], [0, 0, 0]], np.float32))[0]
    np.testing.assert_allclose(axis[0], [640, 360])
    assert np.isnan(axis[1]).all()


@pytest.mark.parametrize("name", [*POLYNOMIALS, "fisheye", "none"])
def test_rays_lead_back_to_their_pixels(name: str) -> None:
    model = {"plumb_bob": "plumb_bob", "fisheye": "equidistant", "none": ""}.get(name, "rational_polynomial")
    coefficients = POLYNOMIALS.get(name, FISHEYE if name == "fisheye" else [])
    camera = Camera.from_info(*SIZE, K, coefficients, model=model)
    rng = np.random.default_rng(2)
    rows, columns = rng.uniform(0, SIZE[1] - 1, 500), rng.uniform(0, SIZE[0] - 1, 500)
    rays = camera.rays(rows, columns)
    known = np.isfinite(rays).all(axis=1)
    assert known.mean() > 0.95
    np.testing.assert_allclose(np.linalg.norm(rays[known], axis=1), 1, atol=1e-5)
    uv = camera.project(rays[known] * np.float32(7))[0]
    np.testing.assert_allclose(uv, np.stack([columns, rows], 1)[known], atol=0.12)


def test_points_beyond_the_turn_of_a_polynomial_do_not_fold_back() -> None:
    """With k1 = -0.3 the radius r(1 - 0.3 r²) turns back at r = 1/sqrt(0.9): beyond it points would reappear inside."""
    camera = Camera.from_info(*SIZE, K, [-0.3, 0, 0, 0, 0])
    turn = 1 / np.sqrt(0.9)
    x = np.array([0.5 * turn, 0.99 * turn, 1.02 * turn, 1.7 * turn])
    points = np.stack([x, np.zeros(4), np.ones(4)], 1).astype(np.float32)
    uv = camera.project(points)[0]
    assert np.isfinite(uv[:2]).all()
    assert np.isnan(uv[2:]).all()
    folded = cv2.projectPoints(
        points.astype(float), np.zeros(3), np.zeros(3), np.array(K).reshape(3, 3), np.array([-0.3, 0, 0, 0])
    )
    assert 0 < folded[0][3, 0, 0] < SIZE[0], "OpenCV itself folds it into the image"


def test_behind_the_camera_is_nowhere() -> None:
    camera = Camera.from_info(*SIZE, K)
    uv = camera.project(np.array([[0, 0, -1], [0.1, 0, 0], [0, 0, 1]], np.float32))[0]
    assert np.isnan(uv[:2]).all()
    np.testing.assert_allclose(uv[2], [630, 350])


def test_a_rectified_image_takes_r_and_p() -> None:
    """With a baseline in P, as of a right camera, and a rectifying rotation: the projection written out."""
    rotation = cv2.Rodrigues(np.array([0.01, -0.03, 0.02]))[0]
    projection = np.array([[700.0, 0, 600, -700 * 0.12], [0, 700, 340, 0], [0, 0, 1, 0]])
    camera = Camera.from_info(*SIZE, K, [-0.3, 0.1, 0, 0, 0], rotation.ravel(), projection.ravel(), rectified=True)
    points = points_before(np.random.default_rng(3))
    literal = [projection @ [*(rotation @ point), 1.0] for point in points.astype(float)]
    expected = np.array([[w[0] / w[2], w[1] / w[2]] for w in literal])
    uv, depth = camera.project(points)
    np.testing.assert_allclose(uv, expected, atol=2e-3)
    np.testing.assert_allclose(depth, [w[2] for w in literal], rtol=1e-5)
    rays = camera.rays(expected[:, 1], expected[:, 0])
    away = points - camera.centre
    np.testing.assert_allclose(rays, away / np.linalg.norm(away, axis=1, keepdims=True), atol=1e-5)


def test_region_binning_and_resizing_scale_it() -> None:
    """A 640x400 region at (100, 60), binned 2x2 to 320x200, and a mask of half that size: factors of 1/4."""
    camera = Camera.from_info(*SIZE, K, binning=(2, 2), roi=(100, 60, 640, 400), mask_size=(100, 160))
    assert (camera.width, camera.height) == (160, 100)
    whole = Camera.from_info(*SIZE, K)
    points = points_before(np.random.default_rng(4))
    np.testing.assert_allclose(camera.project(points)[0], (whole.project(points)[0] - [100, 60]) / 4, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 0}, "not calibrated"),
        ({"K": [0.0] * 9}, "K is missing"),
        ({"K": [1.0] * 8}, "K must be 3x3"),
        ({"K": [np.nan] * 9}, "finite"),
        ({"rectified": True}, "P must be 3x4"),
        ({"rectified": True, "P": [0.0] * 12}, "P is missing"),
        ({"D": [0.1] * 5, "model": "odd"}, "unknown distortion_model 'odd'"),
        ({"D": [0.1] * 7}, "7 coefficients"),
        ({"D": [0.1] * 5, "model": "equidistant"}, "4 coefficients"),
        ({"mask_size": (720, 720)}, "another size: 1280x720, the mask is 720x720"),
        ({"roi": (1000, 0, 640, 400)}, "does not fit"),
    ],
)
def test_what_is_missing_is_said(change: dict[str, object], message: str) -> None:
    fields: dict[str, object] = {"width": 1280, "height": 720, "K": K} | change
    with pytest.raises(CameraError, match=message):
        Camera.from_info(**fields)  # type: ignore[arg-type]
