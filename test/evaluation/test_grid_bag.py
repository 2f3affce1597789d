"""Grids that are built from a bag by hand, with the real builder, against the truth in the bag."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_cases import CITYSCAPES, Bag
from grid_street import CELL, write_street

from panoptic_ros.bags import bag_messages
from panoptic_ros.commands.grids import grid_options, make_grids, recorded_segments
from panoptic_ros.evaluation.alignment import align
from panoptic_ros.evaluation.grid_bag import GridEvaluation, evaluate_grids, with_truth_cells
from panoptic_ros.evaluation.grid_pictures import truth_beside_grid
from panoptic_ros.evaluation.overlaps import EvaluationError
from panoptic_ros.recorded_grid import find_grid_topics, grid_camera


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_street(tmp_path_factory.mktemp("street") / "street.mcap")


def evaluated(path: Path, *inputs: str, **changes: Any) -> GridEvaluation:
    topics = find_grid_topics(path, [grid_camera(path, "front", "/truth/front/panoptic")])
    options = replace(with_truth_cells(path, grid_options("", "")), **changes)
    grids = make_grids([tuple(name.split("+")) for name in inputs], options, CITYSCAPES, None)
    alignment = align(CITYSCAPES, CITYSCAPES)
    return evaluate_grids(path, topics, grids, recorded_segments(CITYSCAPES), alignment, options)


def test_cells_become_those_of_the_truth(street: Path) -> None:
    given = replace(grid_options("", ""), resolution=0.2, size=400)
    options = with_truth_cells(street, given)
    assert (options.resolution, options.size) == (CELL, 160)


def test_true_labels_make_a_good_grid(street: Path) -> None:
    evaluation = evaluated(street, "lidar", "depth", "camera")
    assert [score.name for score in evaluation.scores] == ["lidar", "depth", "camera"]
    assert (evaluation.moments, evaluation.without_pose, evaluation.problems) == (4, 0, {})
    for score in evaluation.scores:
        assert score.quality.moments == 4, score.name
        assert score.unmatched == 0
        cells = score.quality.cells
        assert cells.false_free is not None
        # Far contact lines are told by few pixels, and weigh little.
        assert cells.false_free < (0.5 if score.name == "camera" else 0.05), score.name
        assert cells.free_iou is not None
        assert cells.free_iou > 0.9, score.name
        assert cells.mean_iou is not None
        assert cells.mean_iou > 0.5, score.name
        assert cells.coverage is not None
        assert 0.02 < cells.coverage < 1
        assert cells.class_coverage is not None
        assert cells.class_coverage <= 1
        assert {one.name for one in cells.per_class} >= {"road", "building", "car"}
    lidar, _, camera = (score.quality for score in evaluation.scores)
    assert lidar.cells.coverage > camera.cells.coverage  # type: ignore[operator]
    car = lidar.objects.all
    assert car.recall == pytest.approx(3 / 4, abs=0.26)  # a track is confirmed by its second measurement
    assert car.centre is not None
    assert car.length is not None
    assert car.width is not None
    # Two measurements of what is seen of a car: its middle is off by half of what is missing of it, and little more.
    assert car.centre < 0.5 * math.hypot(car.length, car.width) + 0.1
    assert car.velocity is not None
    assert car.velocity < 1


def test_the_last_moment_can_be_drawn(street: Path) -> None:
    (score,) = evaluated(street, "lidar").scores
    assert score.last is not None
    snapshot, objects, truth = score.last
    picture = truth_beside_grid(snapshot, objects, truth, CITYSCAPES)
    height, width = picture.shape[:2]
    assert width == pytest.approx(3 * height, abs=20)
    panel = height
    scale = panel // len(snapshot.occupied)
    rows, columns = np.nonzero(snapshot.occupied == 100)
    places = (len(snapshot.occupied) - 1 - rows) * scale, columns * scale
    inside = picture[places[0] + scale // 2, 2 * (panel + 8) + places[1] + scale // 2]
    state, _ = truth.at_cells(snapshot.origin, snapshot.resolution, snapshot.occupied.shape)
    right = state[rows, columns] == 100
    assert (inside[right] == (60, 120, 40)).all()
    assert (inside[state[rows, columns] == 0] == (0, 150, 255)).all()


def test_a_bag_without_truth_from_above(tmp_path: Path) -> None:
    path = write_street(tmp_path / "street.mcap", 0.2, truth=False)
    with pytest.raises(EvaluationError, match="no truth from above: nothing on /truth/occupancy"):
        with_truth_cells(path, grid_options("", ""))


def test_moments_without_a_pose_do_not_count(street: Path, tmp_path: Path) -> None:
    """Of a bag whose transforms end early."""
    path = tmp_path / "less.mcap"
    wanted = {"/tf", "/tf_static", "/lidar/points", "/truth/front/panoptic", "/truth/front/camera_info"}
    wanted |= {"/truth/occupancy", "/truth/semantic_grid", "/truth/object_states"}
    with Bag(path) as bag:
        for index, message in enumerate(bag_messages(street, wanted)):
            if message.topic != "/tf" or index < 60:
                bag.add(message.topic, message.content.__msgtype__, message.content, message.log_time)
    evaluation = evaluated(path, "lidar")
    assert evaluation.without_pose > 0
    assert evaluation.scores[0].quality.moments + evaluation.without_pose == evaluation.moments == 4
    notes = " ".join(evaluation.notes())
    assert f"{evaluation.without_pose} of 4 moments have no pose" in notes
    assert "no camera says which things it sees" in notes


def test_nothing_to_compare_is_explained(street: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.mcap"
    wanted = {"/tf_static", "/lidar/points", "/truth/front/panoptic", "/truth/front/camera_info", "/odom"}
    wanted |= {"/truth/occupancy", "/truth/semantic_grid", "/truth/object_states"}
    with Bag(path) as bag:
        for message in bag_messages(street, wanted):
            if message.topic == "/odom":
                message.content.header.frame_id = "elsewhere"
            bag.add(message.topic, message.content.__msgtype__, message.content, message.log_time)
    with pytest.raises(EvaluationError, match=r"other.mcap: no grid was built: lidar: "):
        evaluated(path, "lidar")
