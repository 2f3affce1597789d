"""Poses over time, against scipy's slerp and against a chain of matrices written out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation, Slerp

from panoptic_ros.grid.poses import (
    NotYetError,
    Pose,
    PoseJumpError,
    PoseTree,
    TooOldError,
    UnknownFrameError,
)

SECOND = 1_000_000_000


def some_pose(rng: np.random.Generator, far: float = 1.0) -> Pose:
    return Pose(Rotation.random(random_state=rng).as_matrix(), rng.normal(size=3) * far)


def matrix(pose: Pose) -> np.ndarray:
    return np.block([[pose.rotation, pose.translation[:, None]], [np.zeros((1, 3)), np.ones((1, 1))]])


def test_compose_inverse_and_apply_are_those_of_matrices() -> None:
    rng = np.random.default_rng(0)
    one, other = some_pose(rng), some_pose(rng)
    np.testing.assert_allclose(matrix(one.compose(other)), matrix(one) @ matrix(other), atol=1e-12)
    np.testing.assert_allclose(matrix(one.inverse), np.linalg.inv(matrix(one)), atol=1e-12)
    points = rng.normal(size=(50, 3)).astype(np.float32) * 30
    literal = [(matrix(one) @ [*point, 1.0])[:3] for point in points.astype(float)]
    np.testing.assert_allclose(one.apply(points), literal, atol=2e-5)
    assert one.apply(np.zeros((0, 3), np.float32)).shape == (0, 3)


def test_far_from_the_origin_an_anchor_keeps_millimetres() -> None:
    rng = np.random.default_rng(1)
    far = Pose(some_pose(rng).rotation, np.array([4.2e6, -3.1e6, 120.0]))
    points = rng.normal(size=(100, 3)).astype(np.float32) * 30
    anchor = far.translation + np.array([3.0, -2.0, 1.0])
    exact = points.astype(float) @ far.rotation.T + (far.translation - anchor)
    np.testing.assert_allclose(far.relative_to(anchor).apply(points), exact, atol=1e-4)
    back = far.inverse.taking(anchor).apply(far.relative_to(anchor).apply(points))
    np.testing.assert_allclose(back, points, atol=1e-4)


def test_between_samples_it_is_linear_and_slerp() -> None:
    rng = np.random.default_rng(2)
    stamps = [0, SECOND // 10, SECOND // 4, SECOND // 3]
    poses = [some_pose(rng, 0.5) for _ in stamps]
    tree = PoseTree()
    for index in (2, 0, 3, 1):  # late samples find their place
        tree.add("odom", "base", stamps[index], poses[index])
    slerp = Slerp(stamps, Rotation.from_matrix([pose.rotation for pose in poses]))
    for stamp in np.linspace(0, stamps[-1], 37).astype(int).tolist():
        found = tree.lookup("odom", "base", stamp)
        np.testing.assert_allclose(found.rotation, slerp(stamp).as_matrix(), atol=1e-9)
        place = [np.interp(stamp, stamps, [pose.translation[axis] for pose in poses]) for axis in range(3)]
        np.testing.assert_allclose(found.translation, place, atol=1e-9)


def test_a_chain_through_a_common_ancestor() -> None:
    rng = np.random.default_rng(3)
    base, lidar, camera, optical = (some_pose(rng) for _ in range(4))
    tree = PoseTree()
    tree.add("odom", "base", 5, base)
    tree.add("base", "/lidar", 0, lidar, static=True)
    tree.add("base", "camera", 0, camera, static=True)
    tree.add("camera", "optical", 0, optical, static=True)
    expected = np.linalg.inv(matrix(camera) @ matrix(optical)) @ matrix(lidar)
    # Between two frames of the vehicle nothing of its motion is needed, whatever the stamp.
    np.testing.assert_allclose(matrix(tree.lookup("optical", "lidar", 10**15)), expected, atol=1e-12)
    np.testing.assert_allclose(
        matrix(tree.lookup("odom", "optical", 5)), matrix(base) @ matrix(camera) @ matrix(optical), atol=1e-12
    )
    np.testing.assert_allclose(matrix(tree.lookup("lidar", "lidar", 7)), np.eye(4), atol=1e-12)


def test_nothing_is_extrapolated() -> None:
    tree = PoseTree()
    tree.add("odom", "base", 10 * SECOND, Pose.identity())
    tree.add("odom", "base", 11 * SECOND, Pose.identity())
    with pytest.raises(NotYetError, match=r"base in odom at 11\.000"):
        tree.lookup("odom", "base", 11 * SECOND + 1)
    with pytest.raises(TooOldError, match=r"oldest that is kept is at 10\.000"):
        tree.lookup("odom", "base", 10 * SECOND - 1)
    with pytest.raises(UnknownFrameError, match=r"'camera'; known: base, odom"):
        tree.lookup("odom", "camera", 10 * SECOND)
    tree.add("elsewhere", "camera", 10 * SECOND, Pose.identity())
    with pytest.raises(UnknownFrameError, match="nothing connects"):
        tree.lookup("odom", "camera", 10 * SECOND)


def test_history_is_bounded_to_ten_seconds() -> None:
    tree = PoseTree()
    for step in range(3000):
        tree.add("odom", "base", step * SECOND // 100, Pose.identity())
    tree.lookup("odom", "base", 20 * SECOND)
    with pytest.raises(TooOldError):
        tree.lookup("odom", "base", 18 * SECOND)


def at(x: float) -> Pose:
    return Pose(np.eye(3), np.array([x, 0.0, 0.0]))


def test_a_jump_is_refused_where_it_is_and_nowhere_else() -> None:
    tree = PoseTree(maximum_jump=2.0, maximum_speed=60.0)
    for step in range(20):
        tree.add("odom", "base", step * SECOND // 10, at(step * 3.0 + (500.0 if step == 10 else 0.0)))
    for stamp in (SECOND - 1, SECOND, SECOND + 1, SECOND - SECOND // 20):
        with pytest.raises(PoseJumpError, match="pose jump"):
            tree.lookup("odom", "base", stamp)
    for stamp in (SECOND * 8 // 10, SECOND * 12 // 10, SECOND * 15 // 10):
        assert tree.lookup("odom", "base", stamp).translation[0] == pytest.approx(stamp / SECOND * 30)


def test_a_clock_that_jumps_back_clears_what_moves() -> None:
    tree = PoseTree()
    tree.add("base", "lidar", 0, at(1.0), static=True)
    assert not tree.add("odom", "base", 100 * SECOND, at(5.0))
    assert not tree.add("odom", "base", 100 * SECOND - SECOND // 2, at(5.0))  # only late
    assert tree.add("odom", "base", 3 * SECOND, at(7.0))
    assert tree.lookup("odom", "lidar", 3 * SECOND).translation[0] == 8.0
    with pytest.raises(NotYetError):
        tree.lookup("odom", "base", 100 * SECOND)


@pytest.mark.parametrize(
    ("parent", "child", "pose", "message"),
    [
        ("", "b", at(0), "two frames"),
        ("a", "/a", at(0), "two frames"),
        ("a", "b", Pose(np.diag([1.0, 1.0, -1.0]), np.zeros(3)), "determinant -1"),
        ("a", "b", Pose(np.eye(3) * 1.1, np.zeros(3)), "not a rotation"),
        ("a", "b", at(np.nan), "not finite"),
        ("c", "a", at(0), "loop"),
    ],
)
def test_bad_transforms_are_refused_and_change_nothing(parent: str, child: str, pose: Pose, message: str) -> None:
    tree = PoseTree()
    tree.add("a", "c", 0, at(1.0), static=True)
    with pytest.raises(ValueError, match=message):
        tree.add(parent, child, 0, pose)
    assert tree.lookup("a", "c", 0).translation[0] == 1.0


def test_a_quaternion_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="length 1"):
        Pose.from_quaternion(np.zeros(4), np.zeros(3))
    with pytest.raises(ValueError, match="finite"):
        Pose.from_quaternion(np.array([0, 0, 0, 1.0]), np.array([0, np.inf, 0]))
    turned = Pose.from_quaternion(np.array([0, 0, np.sqrt(0.5), np.sqrt(0.5)]), np.zeros(3))
    np.testing.assert_allclose(turned.rotation @ [1, 0, 0], [0, 1, 0], atol=1e-12)
