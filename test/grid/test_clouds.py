"""Clouds and depth images in the fixed frame, point by point in float64."""

from __future__ import annotations

import numpy as np
import pytest
from exact_scene import OPTICAL, Box, Scene, pixel_rays, turn
from scipy.spatial.transform import Rotation

from panoptic_ros.grid.cameras import Camera, CameraError
from panoptic_ros.grid.clouds import Cloud, CloudError, deskew, finite
from panoptic_ros.grid.depth import DepthImage, depth_to_cloud
from panoptic_ros.grid.ground import heights_above_ground
from panoptic_ros.grid.poses import NotYetError, Pose, PoseTree

SECOND = 1_000_000_000
LIDAR = Pose(turn(2.0, 1.0, 30.0), np.array([0.4, -0.2, 1.8]))


def driving(start: float = 100.0, end: float = 101.0) -> PoseTree:
    """A vehicle at 15 m/s that turns by 0.8 rad/s, far from the origin; its lidar is turned against it."""
    tree = PoseTree()
    for t in np.arange(start, end + 1e-9, 0.02):
        heading = 0.8 * t
        place = np.array([4e5 + 15 * t, -2e5 + 3 * np.sin(t), 7.0])
        tree.add("odom", "base_link", round(t * SECOND), Pose(turn(yaw=np.rad2deg(heading)), place))
    tree.add("base_link", "lidar", 0, LIDAR, static=True)
    return tree


def test_each_point_gets_the_pose_of_its_own_time() -> None:
    tree, rng = driving(), np.random.default_rng(0)
    xyz = rng.uniform(-40, 40, (300, 3)).astype(np.float32)
    times = rng.uniform(-0.05, 0.06, 300)
    cloud = Cloud(round(100.5 * SECOND), "lidar", xyz, times)
    origin, points = deskew(cloud, tree, "odom")
    np.testing.assert_array_equal(origin, tree.lookup("odom", "lidar", cloud.stamp).translation)
    for point, time, found in zip(xyz.astype(float), times, points, strict=True):
        pose = tree.lookup("odom", "lidar", cloud.stamp + round(time * SECOND))
        exact = pose.rotation @ point + pose.translation - origin
        np.testing.assert_allclose(found, exact, atol=2e-3)  # 16 microradians of the sweep's middle on 60 m
    still = deskew(Cloud(cloud.stamp, "lidar", xyz), tree, "odom")[1]
    assert np.abs(still - points).max() > 0.5, "without times the sweep is bent"


def test_a_sweep_waits_for_the_pose_of_its_last_point() -> None:
    tree = driving(end=100.52)
    xyz = np.ones((2, 3), np.float32)
    deskew(Cloud(round(100.5 * SECOND), "lidar", xyz, np.array([0.0, 0.01])), tree, "odom")
    with pytest.raises(NotYetError):
        deskew(Cloud(round(100.5 * SECOND), "lidar", xyz, np.array([0.0, 0.09])), tree, "odom")


def test_times_that_are_all_the_stamp_bend_nothing() -> None:
    tree = driving()
    xyz = np.random.default_rng(1).normal(size=(20, 3)).astype(np.float32)
    with_times = deskew(Cloud(100 * SECOND, "lidar", xyz, np.zeros(20)), tree, "odom")[1]
    np.testing.assert_array_equal(with_times, deskew(Cloud(100 * SECOND, "lidar", xyz), tree, "odom")[1])


def test_what_is_no_return_is_left_out_with_its_time() -> None:
    xyz = np.array([[1, 2, 3], [np.nan, 0, 1], [0, 0, 0], [np.inf, 1, 1], [0, 0, 4]], np.float32)
    kept = finite(Cloud(0, "lidar", xyz, np.arange(5) / 10))
    np.testing.assert_array_equal(kept.xyz, xyz[[0, 4]])
    np.testing.assert_array_equal(kept.times, [0, 0.4])


@pytest.mark.parametrize(
    ("frame", "xyz", "times", "message"),
    [
        ("", np.zeros((1, 3), np.float32), None, "frame_id"),
        ("lidar", np.zeros((3, 4), np.float32), None, r"expected \(N, 3\) float32 points, got \(3, 4\)"),
        ("lidar", np.zeros((3, 3)), None, "float64"),
        ("lidar", np.zeros((3, 3), np.float32), np.zeros(2), r"3 points with \(2,\) times"),
        ("lidar", np.zeros((2, 3), np.float32), np.array([0, 5e4]), "other units"),
    ],
)
def test_clouds_that_cannot_be_used_say_why(
    frame: str, xyz: np.ndarray, times: np.ndarray | None, message: str
) -> None:
    with pytest.raises(CloudError, match=message):
        Cloud(0, frame, xyz, times)


@pytest.mark.parametrize("stride", [1, 3])
def test_a_depth_image_is_the_points_that_were_met(stride: int) -> None:
    width, height, focal = 90, 60, 50.0
    rays = pixel_rays(width, height, focal)
    origin = np.array([0.0, 0.0, 1.2])
    scene = Scene((Box(26, 1, 6.0, 0.5, 4.0, 1.8, 1.5, 0.4),))
    heading = turn(pitch=5) @ OPTICAL
    distance, _ = scene.cast(origin, rays @ heading.T)
    metres = np.where(distance < 30, distance, 0).astype(np.float32).reshape(height, width)  # a ray has depth 1
    metres[5, 5], metres[40, 40] = np.nan, np.inf
    camera = Camera.from_info(width, height, [focal, 0, (width - 1) / 2, 0, focal, (height - 1) / 2, 0, 0, 1])
    cloud = depth_to_cloud(DepthImage(7, "depth", metres, camera), stride)
    expected = [
        rays[row * width + column] * metres[row, column]
        for row in range(stride // 2, height, stride)
        for column in range(stride // 2, width, stride)
        if metres[row, column] > 0 and np.isfinite(metres[row, column])
    ]
    assert (cloud.stamp, cloud.frame) == (7, "depth")
    np.testing.assert_allclose(cloud.xyz, expected, atol=1e-4)


def test_depth_of_a_distorted_camera_projects_back_to_its_pixels() -> None:
    camera = Camera.from_info(200, 150, [150, 0, 100, 0, 150, 75, 0, 0, 1], [-0.2, 0.05, 0.001, 0.001, 0])
    metres = np.random.default_rng(0).uniform(1, 9, (150, 200)).astype(np.float32)
    cloud = depth_to_cloud(DepthImage(0, "depth", metres, camera), 5)
    uv, depth = camera.project(cloud.xyz)
    rows, columns = np.mgrid[2:150:5, 2:200:5]
    np.testing.assert_allclose(uv, np.stack([columns.ravel(), rows.ravel()], 1), atol=0.15)
    np.testing.assert_allclose(depth, metres[2::5, 2::5].ravel(), rtol=1e-5)


def test_depth_of_another_size_is_refused() -> None:
    camera = Camera.from_info(20, 10, [15, 0, 10, 0, 15, 5, 0, 0, 1])
    with pytest.raises(CameraError, match=r"expected \(10, 20\) float32, got \(20, 10\)"):
        DepthImage(0, "depth", np.zeros((20, 10), np.float32), camera)


def test_heights_follow_a_hill_and_bridge_what_stands_on_it() -> None:
    """A slope of 0.15 with walls, poles and strays: heights against those of the surface itself."""
    rng = np.random.default_rng(0)
    xy = rng.uniform(-30, 30, (60_000, 2))
    surface = 0.15 * xy[:, 0] + 0.8 * np.sin(xy[:, 1] / 12)
    above = np.where(np.abs(xy[:, 0] - 8) < 2.5, rng.uniform(0.5, 3, len(xy)), 0.0)  # a hall that hides its ground
    above[rng.random(len(xy)) < 0.001] = -1.5  # reflections
    points = np.column_stack([xy, surface + above]).astype(np.float32)
    tilt = Rotation.from_euler("z", 0.3).as_matrix().astype(np.float32)
    heights = heights_above_ground(points @ tilt.T)
    flat = above == 0
    assert np.abs(heights[flat]).max() < 0.3
    assert np.abs(heights[flat]).mean() < 0.1
    assert heights[above < 0].max() < -1.0
    tall = above > 0
    assert np.abs(heights[tall] - above[tall]).mean() < 0.4
    assert heights_above_ground(np.zeros((0, 3), np.float32)).shape == (0,)
