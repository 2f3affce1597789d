"""Sensors at their rates, and odometry that drifts as told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from worlds import BoxWorld, street

from panoptic_training.synthetic.drive import NANOSECONDS, CameraSample, Drive, LidarSample, Odometry, stamp_of
from panoptic_training.synthetic.mounts import CameraMount, DepthMount, Lens, LidarMount
from panoptic_training.synthetic.rig import OdometrySettings, Rig

SMALL = Lens(64, 48, 50.0)
RIG = Rig(
    cameras=(CameraMount("front", (1.0, 0.0, 1.5), rate=7.0, lens=SMALL),),
    lidars=(LidarMount("roof", (0.0, 0.0, 1.9), rings=8, steps=90),),
    depth_cameras=(DepthMount("depth", (1.0, 0.0, 1.0), rate=3.0, lens=SMALL),),
    odometry=OdometrySettings(rate=20.0),
)


def test_events_come_in_time_each_sensor_at_its_rate() -> None:
    events = Drive(street(), RIG, 0, 2.0).events()
    assert [event.ready for event in events] == sorted(event.ready for event in events)
    counts = {name: sum(event.name == name for event in events) for name in ("front", "roof", "depth", "odometry")}
    assert counts == {"front": 15, "roof": 20, "depth": 7, "odometry": 41}  # from 0 to 2 s; a turn takes 0.1 s
    assert all(event.ready - event.stamp == (100_000_000 if event.kind == "lidar" else 0) for event in events)


def test_the_slices_of_a_drive_make_the_whole() -> None:
    drive = Drive(street(), RIG, 0, 2.0)
    step = 137_000_001
    parts = [event for start in range(0, 2 * NANOSECONDS + 1, step) for event in drive.events(start, start + step)]
    assert parts == drive.events()


def test_stamps_do_not_run_away() -> None:
    assert stamp_of(30 * 3600, 30.0) == 3600 * NANOSECONDS


def test_a_measurement_is_the_same_whatever_was_measured_before() -> None:
    one, other = (Drive(street(), RIG, 5, 2.0) for _ in range(2))
    events = [event for event in one.events() if event.kind in ("camera", "lidar")]
    for event in reversed(events[:8]):
        other.measure(event)
    for event in events[:4]:
        first, second = one.measure(event), other.measure(event)
        if isinstance(first, CameraSample) and isinstance(second, CameraSample):
            np.testing.assert_array_equal(first.frame.image, second.frame.image)
        if isinstance(first, LidarSample) and isinstance(second, LidarSample):
            np.testing.assert_array_equal(first.scan.xyz, second.scan.xyz)


def test_ids_are_those_of_the_bodies_and_last() -> None:
    drive = Drive(street(), RIG, 0, 2.0)
    there = {23000, 7000, 11000, 17000} | {body.class_id * 1000 + body.instance for body in drive.world.bodies}
    for event in drive.events():
        if event.kind == "camera":
            sample = drive.measure(event)
            assert isinstance(sample, CameraSample)
            seen = set(np.unique(sample.frame.ids).tolist())
            assert seen <= there
            assert 26001 in seen


def test_a_drive_cannot_outlast_its_world() -> None:
    with pytest.raises(ValueError, match="at most 4 s, got 9"):
        Drive(street(), RIG, 0, 9.0)


def test_odometry_without_errors_is_the_way_itself() -> None:
    world = BoxWorld()
    odometry = Odometry(world, OdometrySettings(rate=10.0), 4.0, 0)
    for number in (0, 7, 40):
        sample = odometry.sample(number)
        np.testing.assert_allclose(sample.odom_from_base, world.ego_pose(number / 10), atol=1e-12)
        np.testing.assert_allclose(sample.map_from_odom, np.eye(4), atol=1e-12)
        assert sample.twist == (5.0, 0.1)


def test_odometry_drifts_and_map_puts_it_right() -> None:
    world = BoxWorld(yaw_rate=0.0)
    settings = OdometrySettings(rate=50.0, speed_scale=0.02, yaw_rate_bias=0.01)
    odometry = Odometry(world, settings, 4.0, 0)
    end = odometry.sample(200)
    # An arc at the speed and rate that are measured.
    yaw = 0.01 * 4
    radius = 5 * 1.02 / 0.01
    expected = [radius * np.sin(yaw), radius * (1 - np.cos(yaw))]
    np.testing.assert_allclose(end.odom_from_base[:2, 3], expected, atol=3e-3)
    np.testing.assert_allclose(np.arctan2(*end.odom_from_base[1::-1, 0]), yaw, atol=1e-12)
    np.testing.assert_allclose(end.map_from_odom @ end.odom_from_base, world.ego_pose(4.0), atol=1e-9)


def test_odometry_noise_has_the_size_it_is_given() -> None:
    """White noise of 0.2 m/s over one second moves the end of 4 s by 0.2 * sqrt(4) m, along the way."""
    world = BoxWorld(yaw_rate=0.0)
    settings = OdometrySettings(rate=50.0, speed_noise=0.2)
    ends = [Odometry(world, settings, 4.0, seed).sample(200).odom_from_base[0, 3] for seed in range(200)]
    assert np.mean(ends) == pytest.approx(20, abs=0.12)
    assert np.std(ends) == pytest.approx(0.4, rel=0.2)
    turning = replace(settings, speed_noise=0.0, yaw_rate_noise=0.05)
    yaws = [
        np.arctan2(*Odometry(world, turning, 4.0, seed).sample(200).odom_from_base[1::-1, 0]) for seed in range(200)
    ]
    assert np.std(yaws) == pytest.approx(0.1, rel=0.2)


def test_a_cameras_own_motion_is_that_of_the_vehicle() -> None:
    """Turning left at 0.1 rad/s a forward camera turns about its -y, and moves at the speed of its place."""
    drive = Drive(BoxWorld(), RIG, 0, 2.0)
    linear, angular = drive._velocity(RIG.cameras[0].base_from_optical, 1.0)
    np.testing.assert_allclose(angular, [0, -0.1, 0], atol=1e-6)
    np.testing.assert_allclose(linear, [-0.1 * 1.0, 0, 5.0], atol=1e-3)  # 1 m ahead of the middle it swings to the left
