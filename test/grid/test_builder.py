"""The builder with stand-ins for the grid and the tracker: what waits, what is paired, and what is dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from builder_cases import CAMERA, CAR, MS, cloud, drive, grid_of, stand_in_builder, view

from panoptic_ros.grid import mapper as module
from panoptic_ros.grid.builder import GridBuilder
from panoptic_ros.grid.clouds import Cloud
from panoptic_ros.grid.depth import DepthImage
from panoptic_ros.grid.labelling import CameraView
from panoptic_ros.grid.observations import Observation
from panoptic_ros.grid.poses import Pose


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> GridBuilder:
    return stand_in_builder(monkeypatch)


def test_a_cloud_with_its_image_becomes_a_grid_with_tracks(builder: GridBuilder) -> None:
    drive(builder, 900, 1000, 1100)
    builder.add_view(view(1000))
    builder.add_cloud(cloud(1000))
    (result,) = builder.process()
    assert result.stamp == result.snapshot.stamp == 1000 * MS
    assert result.objects == ((0, CAR),)
    assert set(result.observation.instances.tolist()) == {0, 101}
    names = [name for name, _ in grid_of(builder).calls]
    assert names[:2] == ["move", "update"]
    assert grid_of(builder).calls[0][1] == (10.0, 0.0)
    assert builder.process() == []
    assert not builder.dropped
    assert builder.waiting == 0


def test_a_cloud_waits_for_its_pose_and_is_used_when_it_comes(builder: GridBuilder) -> None:
    drive(builder, 900)
    builder.add_cloud(cloud(1000))
    assert builder.process() == []
    assert builder.waiting == 1
    drive(builder, 1100)
    assert [result.stamp for result in builder.process()] == [1000 * MS]
    np.testing.assert_allclose(grid_of(builder).calls[0][1], (10.0, 0.0), err_msg="its own pose, not the latest")


def test_without_a_pose_it_is_dropped_after_the_wait_and_counted(builder: GridBuilder) -> None:
    drive(builder, 900)
    builder.add_cloud(cloud(1000))
    builder.add_cloud(cloud(1500))
    assert builder.process() == []
    assert builder.waiting == 2
    builder.add_cloud(cloud(1501))
    assert builder.process() == []
    assert builder.dropped == {"no pose": 1}
    assert builder.last_errors["no pose"].startswith("cloud in lidar at 1.000 s: no pose of base_link in odom")
    assert builder.waiting == 2
    assert grid_of(builder).calls == []


def test_the_queue_is_bounded(builder: GridBuilder) -> None:
    for number in range(9):
        builder.add_cloud(cloud(1000 + number))
    assert builder.waiting == 6
    assert builder.dropped == {"queue full": 3}
    drive(builder, 990, 1100)
    assert [result.stamp // MS for result in builder.process()] == [1003, 1004, 1005, 1006, 1007, 1008]


def stamps_of_all(builder: GridBuilder) -> list[int]:
    """What is handled one at a time until nothing is ready, ms."""
    stamps = []
    while (result := builder.process_next()) is not None:
        stamps.append(result.stamp // MS)
    return stamps


def test_what_came_during_work_supersedes_older_inputs_of_its_sensor(builder: GridBuilder) -> None:
    drive(builder, 900, 1000, 1500)
    builder.add_pose("base_link", "second", 0, Pose.identity(), static=True)
    builder.add_cloud(cloud(1000))
    first = builder.process_next()
    assert first is not None
    assert first.stamp == 1000 * MS
    for time in (1100, 1200, 1300):
        builder.add_cloud(cloud(time))
    builder.add_cloud(cloud(1150, "second"))
    builder.add_cloud(cloud(1600))  # has no pose yet, and so does not stand for any other
    assert stamps_of_all(builder) == [1150, 1300]
    assert builder.dropped == {"superseded": 2}
    assert builder.last_errors["superseded"] == "cloud in lidar at 1.200 s: a newer one came before it was begun"
    assert builder.waiting == 1
    drive(builder, 1700)
    assert stamps_of_all(builder) == [1600]
    assert grid_of(builder).updates == [time * MS for time in (1000, 1150, 1300, 1600)]


def test_what_only_waited_for_a_pose_is_worked_off_whole(builder: GridBuilder) -> None:
    drive(builder, 900)
    for time in (1000, 1100, 1200):
        builder.add_cloud(cloud(time))
        assert builder.process_next() is None
    drive(builder, 1250)
    assert stamps_of_all(builder) == [1000, 1100, 1200]
    # One that came in between stands for those that are older, once it is ready itself.
    for time in (1300, 1400):
        builder.add_cloud(cloud(time))
    drive(builder, 1450)
    result = builder.process_next()
    assert result is not None
    assert result.stamp == 1300 * MS
    builder.add_cloud(cloud(1500))
    drive(builder, 1550)
    assert stamps_of_all(builder) == [1500]
    assert builder.dropped == {"superseded": 1}


def test_images_of_a_camera_alone_supersede_each_other_by_camera(builder: GridBuilder) -> None:
    builder.contact_line = True
    drive(builder, 900, 1500)
    builder.add_view(view(1000))
    assert builder.process_next() is not None
    for time, index in ((1100, 0), (1110, 1), (1200, 0), (1210, 1)):
        builder.add_view(view(time, index))
    assert stamps_of_all(builder) == [1200, 1210]
    assert builder.dropped == {"superseded": 2}


def test_an_error_that_nobody_foresaw_costs_its_input_alone(
    builder: GridBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive(builder, 900, 1200)
    work = module.observe_cloud

    def broken(one: Cloud, *others: Any) -> Observation:
        if one.stamp == 1000 * MS:
            raise RuntimeError("a surprise")
        return work(one, *others)

    monkeypatch.setattr(module, "observe_cloud", broken)
    for time in (1000, 1100):
        builder.add_cloud(cloud(time))
    with pytest.raises(RuntimeError, match="a surprise"):
        builder.process_next()
    assert stamps_of_all(builder) == [1100]
    assert builder.waiting == 0


def test_each_camera_gives_its_nearest_image(builder: GridBuilder) -> None:
    drive(builder, 900, 1000, 1100, 1200)
    for time in (930, 990, 1050):
        builder.add_view(view(time, 0))
    builder.add_view(view(1300 - 215, 1))  # 85 ms away
    builder.add_view(view(850, 2))  # 150 ms: too far
    seen: list[list[tuple[int, int]]] = []
    original = module.observe_cloud

    def spy(one: Cloud, views: Sequence[CameraView], *rest: Any) -> Observation:
        seen.append([(chosen.index, chosen.stamp // MS) for chosen in views])
        return original(one, views, *rest)

    builder.add_cloud(cloud(1000))
    module.observe_cloud = spy
    try:
        builder.finish()
    finally:
        module.observe_cloud = original
    assert seen == [[(0, 990), (1, 1085)]]


def test_a_cloud_waits_for_an_image_that_may_be_nearer(builder: GridBuilder) -> None:
    drive(builder, *range(500, 1200, 100))
    builder.add_view(view(800))
    builder.add_view(view(900))  # every 100 ms: the next, at 1000, is nearer to 980
    builder.add_cloud(cloud(980))
    assert builder.process() == []
    builder.add_view(view(1000))
    (result,) = builder.process()
    assert result.observation.classes.max() >= 0
    builder.add_cloud(cloud(1040))  # the next would be at 1100: not nearer
    assert len(builder.process()) == 1


def test_a_camera_that_has_stopped_is_not_waited_for(builder: GridBuilder) -> None:
    drive(builder, *range(500, 4000, 100))
    builder.add_view(view(600))
    builder.add_cloud(cloud(3500))
    (result,) = builder.process()
    assert (result.observation.cameras == -1).all()


def test_a_camera_without_a_pose_does_not_stop_the_lidar(builder: GridBuilder) -> None:
    drive(builder, 900, 1000, 1100)
    builder.add_view(view(1000, 0, frame="nowhere"))
    builder.add_view(view(1000, 1))
    builder.add_cloud(cloud(1000))
    assert builder.process() == []  # its transform may still come
    drive(builder, 1600)
    (result,) = [one for one in builder.process() if one.observation.source == "lidar"]
    assert set(result.observation.cameras.tolist()) == {1}  # which has all of the cloud in its image
    assert builder.dropped["unknown frame"] == 1
    assert "camera camera_0 at 1.000 s: no transform names frame 'nowhere'" in builder.last_errors["unknown frame"]


def test_a_pose_jump_drops_the_frame_and_leaves_the_grid(builder: GridBuilder) -> None:
    drive(builder, 900, 1000)
    drive(builder, 1100, at=700.0)
    drive(builder, 1200, 1300)
    for time in (950, 1050, 1150, 1250):
        builder.add_cloud(cloud(time))
    assert [result.stamp // MS for result in builder.process()] == [950, 1250]
    assert builder.dropped == {"pose jump": 2}
    assert grid_of(builder).updates == [950 * MS, 1250 * MS]
    assert not builder.resets


def test_a_vehicle_that_is_elsewhere_for_good_begins_anew(builder: GridBuilder) -> None:
    drive(builder, 900, 1000)
    drive(builder, 1100, 1200, at=700.0)
    for time in (950, 1050, 1150):
        builder.add_cloud(cloud(time))
    builder.process()
    assert builder.resets == {"pose jump": 1}
    names = [name for name, _ in grid_of(builder).calls]
    assert names == ["move", "update", "advance", "reset", "move", "update", "advance"]


def test_a_clock_that_jumps_back_begins_anew(builder: GridBuilder) -> None:
    drive(builder, 90_000, 90_100)
    builder.add_cloud(cloud(90_050))
    assert len(builder.process()) == 1
    builder.add_cloud(cloud(90_090))
    drive(builder, 1000, 1100)
    builder.add_cloud(cloud(1050))
    assert [result.stamp // MS for result in builder.process()] == [1050]
    assert builder.resets == {"clock jumped back": 1}
    builder.add_cloud(cloud(300))  # only late
    assert builder.resets == {"clock jumped back": 1}
    builder.add_cloud(cloud(9000))
    builder.add_cloud(cloud(100))  # the clouds' own stamps tell too
    assert builder.resets == {"clock jumped back": 2}


def test_cameras_alone_give_contact_lines_after_the_wait(builder: GridBuilder) -> None:
    drive(builder, *range(900, 2500, 100))

    results = []
    for time in range(1000, 2000, 100):
        builder.add_view(view(time))
        results += builder.process()
    assert results
    assert {result.observation.source for result in results} == {"contact_line"}
    assert results[0].stamp == 1000 * MS, "the first ones waited, and are not lost"


def test_where_clouds_come_images_only_label(builder: GridBuilder) -> None:
    drive(builder, *range(900, 4000, 100))
    results = []
    for time in range(1000, 2000, 100):
        builder.add_view(view(time))
        builder.add_cloud(cloud(time + 20))
        results += builder.process()
    assert {result.observation.source for result in results} == {"lidar"}
    for time in range(2000, 3500, 100):  # the lidar has failed
        builder.add_view(view(time))
        results += builder.process()
    assert results[-1].observation.source == "contact_line"


def test_depth_images_are_taken(builder: GridBuilder) -> None:
    drive(builder, 900, 1000, 1100)
    metres = np.full((48, 64), 6.0, np.float32)
    builder.add_depth(DepthImage(1000 * MS, "optical_0", metres, CAMERA))
    (result,) = builder.process()
    assert result.observation.source == "depth"


def test_bad_input_is_counted_and_named(builder: GridBuilder) -> None:
    drive(builder, 900, 1000, 1100)
    builder.add_cloud(Cloud(1000 * MS, "lidar", np.full((5, 3), np.nan, np.float32)))
    builder.add_pose("base_link", "other", 0, Pose(np.eye(3) * 2, np.zeros(3)), static=True)
    builder.add_depth(DepthImage(1010 * MS, "optical_0", np.zeros((48, 64), np.float32), CAMERA))
    assert builder.process() == []
    assert builder.dropped == {"bad input": 2, "bad transform": 1}
    assert "transform of other in base_link: not a rotation" in builder.last_errors["bad transform"]
    assert "depth image in optical_0 at 1.010 s: depth in optical_0: no point" in builder.last_errors["bad input"]
    assert grid_of(builder).calls == []


def test_an_unknown_frame_is_waited_for_and_then_dropped(builder: GridBuilder) -> None:
    drive(builder, 900, 1000, 1100)
    builder.add_cloud(cloud(1000, frame="radar"))
    assert builder.process() == []
    drive(builder, 1501)
    assert builder.process() == []
    assert builder.dropped == {"unknown frame": 1}
    assert "no transform names frame 'radar'" in builder.last_errors["unknown frame"]


def test_what_is_older_than_all_poses_is_dropped(builder: GridBuilder) -> None:
    drive(builder, 900, 1000, 1100)
    builder.add_cloud(cloud(800))
    assert builder.process() == []
    assert builder.dropped == {"too old": 1}


def test_views_do_not_pile_up(builder: GridBuilder) -> None:
    builder.contact_line = False
    for time in range(0, 60_000, 33):
        drive(builder, time)
        builder.add_view(view(time))
        builder.process()
    assert len(builder._views) <= 22  # 0.6 s and a little at 30 Hz


def test_options_without_a_wait_for_images_still_label(builder: GridBuilder) -> None:
    """A cloud that comes before its image, from a bag in the order of stamps."""
    drive(builder, *range(900, 2500, 20))
    labelled = []
    for time in range(1000, 2000, 100):
        builder.add_cloud(cloud(time))
        labelled += builder.process()
        builder.add_view(view(time + 5))
        labelled += builder.process()
    labelled += builder.finish()
    lidar = [result for result in labelled if result.observation.source == "lidar"]
    assert len(lidar) == 10
    assert sum(bool((result.observation.cameras == 0).any()) for result in lidar) >= 9
