"""Forms of submissions, as the official evaluation of Cityscapes and a slow reading take them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cityscapesscripts.evaluation import (
    evalInstanceLevelSemanticLabeling,
    evalPanopticSemanticLabeling,
    evalPixelLevelSemanticLabeling,
)
from cityscapesscripts.preparation.createPanopticImgs import convert2panoptic
from PIL import Image
from small_sets import make_cityscapes

from panoptic_ros.datasets import PanopticDataset, open_dataset
from panoptic_ros.datasets.writers import PanopticResults, write_cityscapes_instances, write_cityscapes_labels
from panoptic_ros.segmentation import PanopticSegmentation


def as_prediction(dataset: PanopticDataset, index: int) -> PanopticSegmentation:
    """The truth as a perfect network would say it: groups, which are not to be found, are left out."""
    truth = dataset.truth(index)
    ids = truth.segmentation.ids.copy()
    ids[np.isin(ids, list(truth.crowd))] = 0
    return PanopticSegmentation.from_ids(ids, dataset.labels.thing_ids)


@pytest.fixture
def dataset(tmp_path: Path) -> PanopticDataset:
    make_cityscapes(tmp_path / "set", ("train", "val", "test"))
    return open_dataset(tmp_path / "set", split="val")


@pytest.fixture
def old_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names that cityscapesScripts 1.5 asks NumPy for and that NumPy has no more."""
    for name, value in {"float": float, "bool": bool, "in1d": np.isin}.items():
        monkeypatch.setattr(np, name, value, raising=False)


def test_a_perfect_panoptic_result_scores_one(tmp_path: Path, dataset: PanopticDataset) -> None:
    convert2panoptic(str(tmp_path / "set" / "gtFine"))
    truth = tmp_path / "set" / "gtFine" / "cityscapes_panoptic_val"
    with PanopticResults(tmp_path / "results", "cityscapes_panoptic_val") as results:
        for index in range(len(dataset)):
            results.add(dataset.name_of(index), as_prediction(dataset, index))
    measured = evalPanopticSemanticLabeling.evaluatePanoptic(
        f"{truth}.json", str(truth), str(results.json_path), str(results.png_folder), str(tmp_path / "scores.json")
    )
    assert (measured["All"]["pq"], measured["All"]["n"]) == (1.0, 4)  # road, sky, car, person
    assert (measured["Things"]["n"], measured["Stuff"]["n"]) == (2, 2)


def test_a_result_that_misses_a_car_scores_as_much(tmp_path: Path, dataset: PanopticDataset) -> None:
    convert2panoptic(str(tmp_path / "set" / "gtFine"))
    truth = tmp_path / "set" / "gtFine" / "cityscapes_panoptic_val"
    with PanopticResults(tmp_path / "results", "x") as results:
        for index in range(len(dataset)):
            value = as_prediction(dataset, index)
            if not index:
                car = next(thing for thing in value.things if thing.class_id == 26)
                value = PanopticSegmentation.from_ids(
                    np.where(value.ids == car.id, np.int32(0), value.ids), dataset.labels.thing_ids
                )
            results.add(dataset.name_of(index), value)
    measured = evalPanopticSemanticLabeling.evaluatePanoptic(
        f"{truth}.json", str(truth), str(results.json_path), str(results.png_folder), str(tmp_path / "scores.json")
    )
    assert measured["per_class"][26]["pq"] == pytest.approx(3 / 3.5)  # 3 found, 1 missed
    assert measured["per_class"][24]["pq"] == 1.0


def test_results_are_what_coco_asks_for(tmp_path: Path) -> None:
    ids = np.array([[0, 187000, 187000], [1001, 1002, 70003]], np.int32)
    value = PanopticSegmentation.from_ids(ids, {1, 70})
    with PanopticResults(tmp_path, "panoptic_val2017_ours_results") as results:
        results.add(139, value)
        assert not results.json_path.exists()
    content = json.loads((tmp_path / "panoptic_val2017_ours_results.json").read_text())
    (annotation,) = content["annotations"]
    assert (annotation["image_id"], annotation["file_name"]) == (139, "000000000139.png")
    with Image.open(tmp_path / "panoptic_val2017_ours_results" / "000000000139.png") as image:
        colours = np.array(image).astype(int)
    found = colours[..., 0] + 256 * colours[..., 1] + 65536 * colours[..., 2]
    assert {segment["id"]: segment["category_id"] for segment in annotation["segments_info"]} == {
        id_: id_ // 1000 for id_ in np.unique(found).tolist() if id_
    }
    np.testing.assert_array_equal(found, ids)


def test_results_are_listed_at_the_end_or_not_at_all(tmp_path: Path) -> None:
    value = PanopticSegmentation.from_ids(np.array([[7000]], np.int32), ())
    with pytest.raises(RuntimeError, match="stopped"), PanopticResults(tmp_path, "x") as results:  # noqa: PT012
        results.add("a", value)
        raise RuntimeError("stopped")
    assert not results.json_path.exists()
    with PanopticResults(tmp_path, "x") as results:
        results.add("a", value)
        with pytest.raises(ValueError, match="image 'a' has results already"):
            results.add("a", value)
    with pytest.raises(FileExistsError, match=r"x.json: exists already"):
        PanopticResults(tmp_path, "x")
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".part")]


@pytest.mark.usefixtures("old_numpy")
def test_a_perfect_pixel_level_result_scores_one(tmp_path: Path, dataset: PanopticDataset) -> None:
    files = [
        write_cityscapes_labels(tmp_path / "pixels", dataset.name_of(index), dataset.truth(index).segmentation)
        for index in range(len(dataset))
    ]
    arguments = evalPixelLevelSemanticLabeling.args
    arguments.predictionPath, arguments.predictionWalk = str(tmp_path / "pixels"), None
    arguments.JSONOutput, arguments.quiet = False, True
    truths = sorted(str(path) for path in (tmp_path / "set" / "gtFine" / "val").glob("*/*labelIds.png"))
    assert [evalPixelLevelSemanticLabeling.getPrediction(arguments, truth) for truth in truths] == list(map(str, files))
    matrix = evalPixelLevelSemanticLabeling.evaluateImgLists(list(map(str, files)), truths, arguments)
    scores = matrix["classScores"]
    present = {"road", "sky", "car", "person", "bicycle"}
    assert {name: scores[name] for name in present} == dict.fromkeys(present, 1.0)


@pytest.mark.usefixtures("old_numpy")
def test_a_perfect_instance_level_result_scores_one(tmp_path: Path, dataset: PanopticDataset) -> None:
    folder = tmp_path / "instances"
    files = [
        str(write_cityscapes_instances(folder, dataset.name_of(index), as_prediction(dataset, index)))
        for index in range(len(dataset))
    ]
    evaluation = evalInstanceLevelSemanticLabeling
    arguments = evaluation.args
    arguments.predictionPath, arguments.predictionWalk = str(folder), None
    arguments.gtInstancesFile = str(tmp_path / "gtInstances.json")
    arguments.JSONOutput, arguments.quiet = False, True
    truths = sorted(str(path) for path in (tmp_path / "set" / "gtFine" / "val").glob("*/*instanceIds.png"))
    assert [evaluation.getPrediction(truth, arguments) for truth in truths] == files
    evaluation.setInstanceLabels(arguments)  # its steps one by one, because it would write to the current folder
    truth_instances = evaluation.getGtInstances(truths, arguments)
    matches = evaluation.matchGtWithPreds(files, truths, truth_instances, arguments)
    measured = evaluation.computeAverages(evaluation.evaluateMatches(matches, arguments), arguments)
    assert measured["classes"]["car"]["ap"] == 1.0
    lines = Path(files[0]).read_text().splitlines()
    assert lines == [
        "masks/aachen_000000_000019_003.png 24 1.000000",
        "masks/aachen_000000_000019_004.png 26 1.000000",
        "masks/aachen_000000_000019_005.png 26 1.000000",
    ]


def test_a_frame_without_things_has_an_empty_list(tmp_path: Path) -> None:
    value = PanopticSegmentation.from_ids(np.array([[7000]], np.int32), ())
    assert write_cityscapes_instances(tmp_path, "a_000000_000000", value).read_text() == ""
