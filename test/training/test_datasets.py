"""Folder layouts as the official tools read them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from panoptic_ros.datasets import open_dataset
from panoptic_ros.labels import LabelSet
from panoptic_ros.segmentation import PanopticSegmentation
from panoptic_training.synthetic.datasets import (
    Cityscapes,
    CocoPanoptic,
    DatasetError,
    DatasetFolder,
    LabelledFrame,
    Layout,
    with_crowds,
    write_whole,
)

LABELS = LabelSet.load("cityscapes")


def frame(index: int, minimum_height: int = 0) -> LabelledFrame:
    ids = np.full((40, 60), 23000, np.int32)
    ids[20:] = 7000
    ids[10:30, 5:25] = 26001
    ids[15:18, 30:50] = 26412
    ids[12:35, 50:56] = 24999
    ids[38:, :10] = 0
    image = np.random.default_rng(index).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    seen = with_crowds(PanopticSegmentation.from_ids(ids, LABELS.thing_ids), minimum_height)
    return LabelledFrame(index, "front_camera", 3, index, image, seen)


def write(folder: Path, layout: Layout, count: int = 2, minimum_height: int = 0) -> None:
    with DatasetFolder(folder, layout, {"seed": "0"}) as dataset:
        for index in range(count):
            dataset.files.write(frame(index, minimum_height))
        dataset.finish(count)


def rgb2id(color: np.ndarray) -> np.ndarray:
    """As the description of COCO's format has it, of an RGB image."""
    color = color.astype(np.int64)
    return color[..., 0] + 256 * color[..., 1] + 256 * 256 * color[..., 2]


def read_rgb(path: Path) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def check_panoptic(content: dict, folder: Path, expected: np.ndarray) -> None:
    """What panopticapi asks of ground truth: each id of the PNG described once, with its area; no crowd."""
    categories = {category["id"]: category for category in content["categories"]}
    assert {id_ for id_, category in categories.items() if category["isthing"]} == LABELS.thing_ids
    images = {image["id"]: image for image in content["images"]}
    for annotation in content["annotations"]:
        ids = rgb2id(read_rgb(folder / annotation["file_name"]))
        np.testing.assert_array_equal(ids, expected)
        assert (images[annotation["image_id"]]["height"], images[annotation["image_id"]]["width"]) == ids.shape
        segments = {segment["id"]: segment for segment in annotation["segments_info"]}
        assert len(segments) == len(annotation["segments_info"])
        assert set(segments) == set(np.unique(ids).tolist()) - {0}
        for id_, segment in segments.items():
            rows, columns = np.nonzero(ids == id_)
            assert segment["area"] == len(rows)
            assert segment["bbox"] == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
            assert segment["iscrowd"] == 0
            assert segment["category_id"] in categories


def test_coco_panoptic(tmp_path: Path) -> None:
    write(tmp_path, CocoPanoptic("train", LABELS))
    content = json.loads((tmp_path / "annotations" / "panoptic_train.json").read_text())
    assert [image["id"] for image in content["images"]] == [0, 1]
    check_panoptic(content, tmp_path / "annotations" / "panoptic_train", frame(0).segmentation.ids)
    for image in content["images"]:
        assert cv2.imread(str(tmp_path / "train" / image["file_name"])).shape == (40, 60, 3)
    assert {path.name for path in tmp_path.iterdir()} == {"train", "annotations", "synthesis_train.json"}


def test_cityscapes(tmp_path: Path) -> None:
    write(tmp_path, Cityscapes("val", LABELS))
    ids = frame(0).segmentation.ids
    name = "frontcamera_000003_000001"
    picture = cv2.imread(str(tmp_path / "leftImg8bit" / "val" / "frontcamera" / f"{name}_leftImg8bit.png"))
    np.testing.assert_array_equal(picture, frame(1).image)
    fine = tmp_path / "gtFine" / "val" / "frontcamera"
    classes = cv2.imread(str(fine / f"{name}_gtFine_labelIds.png"), cv2.IMREAD_UNCHANGED)
    assert classes.dtype == np.uint8
    np.testing.assert_array_equal(classes, ids // 1000)
    instances = cv2.imread(str(fine / f"{name}_gtFine_instanceIds.png"), cv2.IMREAD_UNCHANGED)
    assert instances.dtype == np.uint16
    # As cityscapesScripts reads it: labelId * 1000 + instance of things; stuff, and groups, are below 1000.
    assert set(np.unique(instances).tolist()) == {0, 7, 23, 24999, 26001, 26412}
    np.testing.assert_array_equal(np.where(instances < 1000, instances, instances // 1000), classes)
    content = json.loads((tmp_path / "gtFine" / "cityscapes_panoptic_val.json").read_text())
    assert [image["id"] for image in content["images"]] == ["frontcamera_000003_000000", name]
    assert content["images"][1]["file_name"] == f"{name}_leftImg8bit.png"
    check_panoptic(content, tmp_path / "gtFine" / "cityscapes_panoptic_val", instances)


def test_things_that_are_low_are_crowds(tmp_path: Path) -> None:
    """26412 is 3 pixels high and 26001, as much as shows of it, 20; what is there stays in the picture."""
    write(tmp_path / "coco", CocoPanoptic("train", LABELS), minimum_height=20)
    write(tmp_path / "cityscapes", Cityscapes("train", LABELS), minimum_height=20)
    kinds = {
        "coco": ("annotations/panoptic_train", {26000, 26001, 24999}, 26000),
        "cityscapes": ("gtFine/cityscapes_panoptic_train", {26, 26001, 24999}, 26),
    }
    for name, (folder, things, crowd) in kinds.items():
        content = json.loads((tmp_path / name / f"{folder}.json").read_text())
        (first, _) = content["annotations"]
        segments = {segment["id"]: segment for segment in first["segments_info"]}
        assert {id_ for id_, segment in segments.items() if segment["category_id"] in LABELS.thing_ids} == things
        assert {id_ for id_, segment in segments.items() if segment["iscrowd"]} == {crowd}
        assert (segments[crowd]["area"], segments[crowd]["bbox"]) == (60, [30, 15, 20, 3])
        ids = rgb2id(read_rgb(tmp_path / name / folder / first["file_name"]))
        assert ((ids == crowd) == (frame(0).segmentation.ids == 26412)).all()
        read = open_dataset(tmp_path / name, split="train")[0].truth
        crowds = [segment for segment in read.segmentation.segments if segment.id in read.crowd]
        assert [(segment.class_id, segment.area) for segment in crowds] == [(26, 60)]


def test_a_run_goes_on_where_it_was_and_only_of_the_same_kind(tmp_path: Path) -> None:
    layout = CocoPanoptic("train", LABELS)
    with DatasetFolder(tmp_path, layout, {"seed": "0"}) as dataset:
        dataset.files.write(frame(0))
    assert not (tmp_path / "annotations" / "panoptic_train.json").exists()
    with pytest.raises(DatasetError, match="seed was 0, is 1"), DatasetFolder(tmp_path, layout, {"seed": "1"}):
        pass
    with DatasetFolder(tmp_path, layout, {"seed": "0"}) as dataset:
        assert dataset.files.has(0)
        assert not dataset.files.has(1)
        with pytest.raises(DatasetError, match="another process"), DatasetFolder(tmp_path, layout, {"seed": "0"}):
            pass
        dataset.files.write(frame(1))
        dataset.finish(2)
    with pytest.raises(DatasetError, match="exists already"):
        DatasetFolder(tmp_path, layout, {"seed": "0"})
    with DatasetFolder(tmp_path, layout, {"seed": "1"}, restart=True) as dataset:
        assert not dataset.files.has(0)
    write(tmp_path, CocoPanoptic("val", LABELS), 1)  # another split beside it


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    with pytest.raises(OSError, match=r"folder: cannot be written"):
        write_whole(target, b"a folder cannot be replaced by a file")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    write_whole(tmp_path / "a" / "b", b"one")
    write_whole(tmp_path / "a" / "b", b"two")
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "a").iterdir()] == [("b", b"two")]
