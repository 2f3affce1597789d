"""Labels that come after their cloud: which cloud they find, and what is kept for them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from builder_cases import LABELS, MS, OPTIONS, cloud, drive, grid_of, stand_in_builder, view, with_frames

from panoptic_ros.grid.builder import GridBuilder
from panoptic_ros.grid.options import LabellingOptions


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> GridBuilder:
    return stand_in_builder(monkeypatch)


def relabelled(builder: GridBuilder) -> list[tuple[int, list[int], list[int]]]:
    """Of each cloud that was labelled late: ms, and whose labels it had before and after."""
    found = []
    for name, value in grid_of(builder).calls:
        if name == "relabel":
            before, after = value
            cameras = [sorted(set(one.cameras[one.classes >= 0].tolist())) for one in (before, after)]
            found.append((after.stamp // MS, *cameras))
    return found


def test_a_mask_that_comes_late_labels_the_cloud_nearest_to_it(builder: GridBuilder) -> None:
    drive(builder, *range(900, 2600, 100))
    for time in range(1000, 2300, 100):
        builder.add_cloud(cloud(time))
        assert [result.stamp // MS for result in builder.process()] == [time], "it tells at once what is occupied"
    builder.add_view(view(1030))
    assert builder.process() == []
    assert relabelled(builder) == [(1000, [], [0])]
    _, after = next(value for name, value in grid_of(builder).calls if name == "relabel")
    assert set(after.instances.tolist()) == {0, 101}, "its things have tracks"
    # Another camera's comes even later, and a second one of the first camera, which has labelled that cloud.
    builder.add_view(view(1010, 1))
    builder.add_view(view(980))
    builder.process()
    assert relabelled(builder)[1:] == [(1000, [0], [0])], "both see the same points, of which the first has all"
    assert builder.late_labels == 2
    assert not builder.dropped


@pytest.mark.parametrize(("delay", "at_once"), [(400, False), (600, True)])
def test_clouds_do_not_wait_for_masks_that_come_later_than_they_wait(
    builder: GridBuilder, delay: int, at_once: bool
) -> None:
    drive(builder, *range(900, 2001, 100))
    for time in (1900 - delay, 2000 - delay):  # every 100 ms: the next would be nearer
        builder.add_view(view(time))
    builder.add_cloud(cloud(2080 - delay))
    assert bool(builder.process()) == at_once


def test_a_mask_for_a_cloud_that_still_waits_is_not_late(builder: GridBuilder) -> None:
    drive(builder, 900, 1000, 1070)
    builder.add_cloud(cloud(1000))
    builder.add_cloud(cloud(1080))
    assert len(builder.process()) == 1
    builder.add_view(view(1090))
    drive(builder, 1200)
    (result,) = builder.process()
    assert set(result.observation.cameras.tolist()) == {0}
    assert builder.late_labels == 0


def test_a_mask_whose_clouds_are_given_up_is_counted_and_the_clouds_are_bounded(builder: GridBuilder) -> None:
    for time in range(1000, 6000, 50):
        drive(builder, time)
        builder.add_cloud(cloud(time))
        builder.process()
    assert 0 < len(builder._kept) <= 32
    builder.add_view(view(1500))
    builder.process()
    assert builder.dropped == {"late mask": 1}
    assert builder.last_errors["late mask"] == (
        "camera camera_0 at 1.500 s came 4.450 s late: the clouds of its time are given up"
    )
    assert relabelled(builder) == []


def test_without_patience_no_cloud_is_kept() -> None:
    builder = with_frames(GridBuilder(replace(OPTIONS, labelling=LabellingOptions(patience=0.0)), LABELS))
    drive(builder, 900, 1000, 1100)
    builder.add_cloud(cloud(1000))
    assert len(builder.process()) == 1
    assert len(builder._kept) == 0
    drive(builder, 2000)
    builder.add_view(view(1000))
    assert builder.process() == []
    assert builder.late_labels == 0
