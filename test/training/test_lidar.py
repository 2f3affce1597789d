"""Lidar scans, against closed forms and the camera's depth."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("embreex", reason="the synthetic world needs embreex")

from scenes import BUILDING, CAR, ROAD, MovingBox, SmallWorld, box, ground

from panoptic_training.synthetic.camera import Camera, Intrinsics, look
from panoptic_training.synthetic.lidar import SLICES, Lidar
from panoptic_training.synthetic.mesh import Material, Mesh
from panoptic_training.synthetic.raycast import Raycaster


def exact(rings: int = 16, steps: int = 360, **settings: float) -> Lidar:
    return Lidar.spinning(rings, -20, 5, steps, range_noise=0.0, dropout=0.0, **settings)


def standing(height: float = 1.8, yaw: float = 0.0) -> np.ndarray:
    pose = np.eye(4)
    pose[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    pose[2, 3] = height
    return pose


def test_points_on_the_ground_lie_on_the_ground() -> None:
    lidar = exact()
    scan = lidar.scan(Raycaster(SmallWorld(ground())), lambda time: standing(), 0.0, np.random.default_rng(0))
    np.testing.assert_allclose(scan.xyz[:, 2], -1.8, atol=2e-4)
    expected = 1.8 / np.sin(-lidar.elevations[scan.ring])
    np.testing.assert_allclose(np.linalg.norm(scan.xyz, axis=1), expected, rtol=1e-5)
    assert (scan.class_id == ROAD).all()
    seen = lidar.elevations < -np.arcsin(1.8 / lidar.max_range)
    assert len(scan.xyz) == seen.sum() * lidar.steps


@pytest.mark.parametrize("clockwise", [True, False])
def test_times_follow_the_turn(clockwise: bool) -> None:
    lidar = exact(clockwise=clockwise)
    scan = lidar.scan(Raycaster(SmallWorld(ground())), lambda time: standing(), 0.0, np.random.default_rng(0))
    angle = np.arctan2(scan.xyz[:, 1], scan.xyz[:, 0])
    turned = np.mod((np.pi - angle) if clockwise else (angle + np.pi), 2 * np.pi)
    late = turned < 2 * np.pi - 0.01  # not the seam
    np.testing.assert_allclose(scan.time_offset[late], turned[late] / (2 * np.pi) * 0.1, atol=1e-5)
    np.testing.assert_allclose(scan.time_offset, scan.azimuth / lidar.steps * 0.1, atol=1e-7)
    assert (np.diff(scan.azimuth) >= 0).all()


def test_each_point_is_seen_from_where_the_sensor_is_at_its_time() -> None:
    """Points of a wall lie on the wall if each is carried to the world by the pose at its time, else not."""

    def pose(time: float) -> np.ndarray:
        moved = standing(yaw=0.6 * time)
        moved[0, 3] = 20.0 * time
        return moved

    world = SmallWorld(Mesh.join([ground(), box((1, 400, 60), (30.5, 0, 0), BUILDING)]))
    scan = exact().scan(Raycaster(world), pose, 3.0e-1, np.random.default_rng(0))
    wall = scan.class_id == BUILDING
    assert wall.sum() > 500
    own = np.stack([pose(0.3 + float(offset)) for offset in scan.time_offset[wall]])
    carried = np.einsum("nij,nj->ni", own[:, :3, :3], scan.xyz[wall]) + own[:, :3, 3]
    np.testing.assert_allclose(carried[:, 0], 30.0, atol=1e-3)
    at_once = scan.xyz[wall] @ pose(0.3)[:3, :3].T + pose(0.3)[:3, 3]
    assert np.abs(at_once[:, 0] - 30.0).max() > 0.5


def test_ranges_equal_depth_along_the_same_rays() -> None:
    """A camera whose pixels are the lidar's beams: one column and a row a ring, through a rotated optical frame."""
    world = SmallWorld(Mesh.join([ground(), box((5, 8, 7), (25, 3, 0), BUILDING)]), [MovingBox(4, (12, -1), yaw=0.3)])
    raycaster, shot = Raycaster(world), Camera(Intrinsics.from_field_of_view(160, 96, 70, (-0.2, 0.05, 0, 0, 0)))
    mount = look((0.0, 0.0, 1.8))
    frame = shot.render(raycaster, mount, 0.0)
    rays = shot.intrinsics.rays().reshape(-1, 3) @ mount[:3, :3].T
    elevation, azimuth = np.arcsin(rays[:, 2]), np.arctan2(rays[:, 1], rays[:, 0])
    chosen = np.random.default_rng(0).choice(len(rays), 40, replace=False)
    compared = 0
    for ray in chosen:
        lidar = Lidar(np.array([elevation[ray]]), steps=1, range_noise=0.0, dropout=0.0, max_range=1e4, min_range=0.0)
        turned = standing(yaw=float(azimuth[ray] - lidar.azimuths[0]))
        scan = lidar.scan(raycaster, lambda time, turned=turned: turned, 0.0, np.random.default_rng(0))
        depth = frame.depth.ravel()[ray]
        assert len(scan.xyz) == int(np.isfinite(depth))
        if len(scan.xyz):
            expected = depth / shot.intrinsics.rays().reshape(-1, 3)[ray, 2]
            if abs(np.linalg.norm(scan.xyz[0]) - expected) < 1e-3 * expected:
                assert int(scan.class_id[0]) * 1000 + int(scan.instance[0]) == frame.ids.ravel()[ray]
                compared += 1
    assert compared > 20


def test_moving_bodies_are_met_where_they_are_when_the_beam_passes() -> None:
    """A car that crosses at 20 m/s: its near side stands where its own time puts it, within half a slice's motion."""
    body = MovingBox(9, (0.0, 12.0), velocity=(20.0, 0.0))
    lidar = exact(rings=32, steps=1440)
    scan = lidar.scan(Raycaster(SmallWorld(ground(), [body])), lambda time: standing(), 0.0, np.random.default_rng(0))
    car = scan.class_id == CAR
    assert car.sum() > 300
    assert set(scan.instance[car].tolist()) == {9}
    local = scan.xyz[car, 0] - 20.0 * scan.time_offset[car]
    assert np.abs(local).max() < 2.0 + 20.0 * 0.1 / SLICES / 2 + 0.01
    assert np.abs(local).max() > 1.9
    side = np.abs(scan.xyz[car, 1] - 11.0) < 1e-3
    assert side.mean() > 0.5


def test_noise_and_dropouts_are_what_they_say() -> None:
    lidar = Lidar.spinning(16, -20, -5, 1000, range_noise=0.05, dropout=0.0)
    raycaster = Raycaster(SmallWorld(ground()))
    scan = lidar.scan(raycaster, lambda time: standing(), 0.0, np.random.default_rng(0))
    error = np.linalg.norm(scan.xyz, axis=1) - 1.8 / np.sin(-lidar.elevations[scan.ring])
    assert abs(error.mean()) < 0.002
    assert error.std() == pytest.approx(0.05, rel=0.05)
    assert len(scan.xyz) == 16000
    lossy = Lidar.spinning(16, -20, -5, 1000, dropout=0.3)
    assert len(lossy.scan(raycaster, lambda time: standing(), 0.0, np.random.default_rng(0)).xyz) < 0.72 * 16000


def test_mirroring_and_grazed_surfaces_return_less() -> None:
    def returned(material: Material) -> float:
        wall = box((1, 60, 30), (20.5, 0, 0), BUILDING, material)
        scan = Lidar.spinning(16, -4, 20, 1000).scan(
            Raycaster(SmallWorld(wall)), lambda time: standing(), 0.0, np.random.default_rng(0)
        )
        return float(len(scan.xyz))

    assert returned(Material.GLASS) < 0.5 * returned(Material.PLASTER)


def test_the_same_seed_gives_the_same_scan() -> None:
    world = SmallWorld(ground(), [MovingBox(1, (10, 2), velocity=(3, 1))])
    scans = [
        Lidar.spinning(16, steps=400).scan(Raycaster(world), lambda time: standing(), 0.4, np.random.default_rng(seed))
        for seed in (5, 5, 6)
    ]
    np.testing.assert_array_equal(scans[0].xyz, scans[1].xyz)
    np.testing.assert_array_equal(scans[0].intensity, scans[1].intensity)
    assert scans[0].xyz.shape != scans[2].xyz.shape or (scans[0].xyz != scans[2].xyz).any()


@pytest.mark.parametrize(
    "settings",
    [
        {"elevations": []},
        {"elevations": [2.0]},
        {"steps": 0},
        {"rate": 0.0},
        {"min_range": 5.0, "max_range": 2.0},
        {"dropout": 1.5},
    ],
)
def test_impossible_lidars_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"lidar|dropout"):
        Lidar(**{"elevations": [0.0], **settings})  # type: ignore[arg-type]
