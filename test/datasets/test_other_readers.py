"""Pascal VOC, CamVid and Mapillary Vistas, against slow readings of small sets and of real files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_sets import (
    HEIGHT,
    MAPILLARY_CONFIG,
    WIDTH,
    change_png,
    check_truth,
    make_camvid,
    make_mapillary,
    make_voc,
    picture,
    save,
    vistas,
    voc_palette,
    write_json,
)

from panoptic_ros.datasets import DatasetError, open_dataset
from panoptic_ros.datasets.faults import Fault, Severity
from panoptic_ros.labels import LabelSet

THINGS = set(range(1, 21))


def test_voc_keeps_its_numbers_and_colours() -> None:
    labels = LabelSet.load("voc")
    colors = np.array(voc_palette()).reshape(256, 3)
    for label in labels.labels:
        number = 0 if label.name == "background" else label.id
        assert label.color == tuple(colors[number])
    assert [label.id for label in labels.things] == list(range(1, 21))
    assert [(label.id, label.name) for label in labels.stuff] == [(21, "background")]
    assert (labels.name_of(1), labels.name_of(15), labels.name_of(20)) == ("aeroplane", "person", "tvmonitor")


@pytest.mark.parametrize("year", ["", "VOC2012", "VOCdevkit/VOC2012"])
def test_voc(tmp_path: Path, year: str) -> None:
    classes, objects = make_voc(tmp_path / year)
    dataset = open_dataset(tmp_path)
    assert (dataset.name, len(dataset), dataset.name_of(1), dataset.has_instances) == ("voc", 2, "2008_000001", True)
    raw = classes.astype(int) * 1000 + objects
    meaning = {0: 21, 15001: 15, 15002: 15, 7003: 7}
    check_truth(dataset[0].truth, raw, meaning, THINGS)
    assert not list(dataset.listing_faults())


def test_voc_where_class_and_object_contradict_each_other_is_void(tmp_path: Path) -> None:
    classes, objects = make_voc(tmp_path)
    classes[12:14, 8:10] = 7  # part of object 1 is of another class
    objects[12:14, 22:24] = 0  # part of a person is no object
    classes[0, :5] = 255  # void in the classes alone
    save(tmp_path / "SegmentationClass" / "2007_000032.png", classes, voc_palette())
    save(tmp_path / "SegmentationObject" / "2007_000032.png", objects, voc_palette())
    dataset = open_dataset(tmp_path)
    faults: list[Fault] = []
    truth = dataset.read_truth(0, faults.append)
    assert truth is not None
    raw = classes.astype(int) * 1000 + objects
    check_truth(truth, raw, {0: 21, 15001: 15, 15002: 15, 7003: 7}, THINGS)
    assert [fault.severity for fault in faults] == [Severity.WARNING]
    assert "contradicts the class of 13 pixels" in faults[0].message


def test_voc_of_an_unknown_class_or_another_size_is_refused(tmp_path: Path) -> None:
    classes, objects = make_voc(tmp_path)
    classes[0, 0] = 21
    save(tmp_path / "SegmentationClass" / "2007_000032.png", classes, voc_palette())
    dataset = open_dataset(tmp_path)
    with pytest.raises(DatasetError, match=r"SegmentationClass/2007_000032.png: class 21 \(1 pixels\)"):
        dataset.truth(0)
    save(tmp_path / "SegmentationObject" / "2007_000032.png", objects[:-1], voc_palette())
    with pytest.raises(DatasetError, match=r"is 60x39, but the classes are 60x40"):
        dataset.truth(0)


def test_colours_without_a_palette_are_refused(tmp_path: Path) -> None:
    """VOC's PNGs are often kept as colours, in which the numbers are lost."""
    make_voc(tmp_path)
    path = tmp_path / "SegmentationClass" / "2007_000032.png"
    with Image.open(path) as image:
        image.convert("RGB").save(path)
    with pytest.raises(DatasetError, match="mode RGB, expected one number a pixel"):
        open_dataset(tmp_path).truth(0)


def test_a_jpeg_keeps_no_numbers(tmp_path: Path) -> None:
    make_voc(tmp_path)
    path = tmp_path / "SegmentationClass" / "2007_000032.png"
    with Image.open(path) as image:
        image.convert("L").save(path, "jpeg")
    with pytest.raises(DatasetError, match="is a JPEG, which keeps no numbers"):
        open_dataset(tmp_path).truth(0)


CAMVID = {number: number + 1 for number in range(11)}


def test_camvid_in_eleven_classes(tmp_path: Path) -> None:
    numbers = make_camvid(tmp_path)
    dataset = open_dataset(tmp_path)
    assert (dataset.name, len(dataset), dataset.has_instances, dataset.labels.name) == ("camvid", 2, False, "camvid")
    check_truth(dataset[0].truth, numbers, CAMVID, set())
    places = [(truth.sequence, truth.frame) for truth in map(dataset.truth, range(2))]
    assert places == [("0001TP", 6690), ("Seq05VD", 30)]


def test_camvid_as_segnet_has_it(tmp_path: Path) -> None:
    numbers = make_camvid(tmp_path / "other")
    for name in ("0001TP_006690", "0016E5_000001"):
        save(tmp_path / "train" / f"{name}.png", picture(4)[:36])
    save(tmp_path / "trainannot" / "0001TP_006690.png", numbers)
    dataset = open_dataset(tmp_path, "camvid", "train")
    check_truth(dataset[0].truth, numbers, CAMVID, set())
    assert [str(fault.file) for fault in dataset.listing_faults()] == [str(tmp_path / "train" / "0016E5_000001.png")]


def test_camvid_in_its_own_colours(tmp_path: Path) -> None:
    labels = LabelSet.load("camvid_32")
    assert (len(labels), len(labels.things)) == (31, 0)
    numbers = np.kron(np.arange(32).reshape(4, 8), np.ones((10, 7), int))
    colors = np.array([(0, 0, 0), *(label.color for label in labels.labels)], np.uint8)
    save(tmp_path / "701_StillsRaw_full" / "0006R0_f00930.png", picture(5)[:, :56])
    save(tmp_path / "LabeledApproved_full" / "0006R0_f00930_L.png", colors[numbers])
    dataset = open_dataset(tmp_path)
    meaning = {number: label.id for number, label in enumerate(labels.labels, start=1)}
    check_truth(dataset[0].truth, numbers, meaning, set())
    assert (dataset.name_of(0), dataset.truth(0).frame) == ("0006R0_f00930", 930)

    def damage(pixels: np.ndarray) -> None:
        pixels[0, :3] = (1, 2, 3)

    change_png(tmp_path / "LabeledApproved_full" / "0006R0_f00930_L.png", damage)
    with pytest.raises(DatasetError, match=r"colour \(1, 2, 3\) \(3 pixels\) is none of label set 'camvid_32'"):
        dataset.truth(0)


def test_camvid_of_an_unknown_number_is_refused(tmp_path: Path) -> None:
    make_camvid(tmp_path)

    def damage(pixels: np.ndarray) -> None:
        pixels[0, :2] = 12

    change_png(tmp_path / "val" / "0001TP_006690.png", damage)
    with pytest.raises(DatasetError, match=r"0001TP_006690.png: class 12 \(2 pixels\)"):
        open_dataset(tmp_path).truth(0)


def test_real_camvid(shared_data: Path) -> None:
    dataset = open_dataset(shared_data / "camvid", split="val")
    assert (len(dataset), len(open_dataset(shared_data / "camvid", split="train"))) == (101, 367)
    for index in (0, 50, 100):
        sample = dataset[index]
        with Image.open(shared_data / "camvid" / "val" / f"{sample.name}.png") as image:
            check_truth(sample.truth, np.array(image), CAMVID, set())


MEANING = {0: 1, 256: 2, 3 * 256: 4, 3 * 256 + 1: 4}


@pytest.mark.parametrize(("version", "name"), [("", "v1.2"), ("v1.2", "v1.2"), ("v2.0", "v2.0")])
def test_mapillary_by_its_own_configuration(tmp_path: Path, version: str, name: str) -> None:
    make_mapillary(tmp_path, version)
    dataset = open_dataset(tmp_path)
    assert (dataset.name, len(dataset), dataset.name_of(0)) == (f"mapillary_{name}", 1, "key")
    assert [(label.id, label.name, label.is_thing) for label in dataset.labels.labels] == [
        (1, "Bird", True),
        (2, "Road", False),
        (4, "Car", True),
    ]
    check_truth(dataset[0].truth, vistas(), MEANING, {1, 4})
    assert not list(dataset.listing_faults())


def test_mapillary_of_both_versions(tmp_path: Path) -> None:
    make_mapillary(tmp_path, "v1.2")
    make_mapillary(tmp_path, "v2.0")
    assert open_dataset(tmp_path).name == "mapillary_v2.0"
    assert open_dataset(tmp_path, "mapillary_v1.2").labels.name == "mapillary_v1.2"


def test_mapillary_without_its_configuration(tmp_path: Path) -> None:
    make_mapillary(tmp_path)
    (tmp_path / "config.json").unlink()
    dataset = open_dataset(tmp_path)
    assert dataset.labels == LabelSet.load("mapillary_v1.2")
    # Ours: 1 is Bird, 2 Ground Animal, 3 Curb, 4 Fence, 5 Guard Rail.
    meaning = {0: 1, 256: 2, 2 * 256 + 5: 3, 3 * 256: 4, 3 * 256 + 1: 4, 4 * 256: 5}
    ids = vistas()
    ids[ids == 3 * 256 + 1] = 3 * 256  # fences are not counted
    check_truth(dataset.truth(0), ids, meaning, {1, 2})


def test_mapillary_that_contradicts_itself(tmp_path: Path) -> None:
    make_mapillary(tmp_path)

    def damage(ids: np.ndarray) -> None:
        ids[0, :7] = 256

    change_png(tmp_path / "validation" / "instances" / "key.png", damage)
    with pytest.raises(DatasetError, match="differs from the labels in the class of 7 pixels"):
        open_dataset(tmp_path).truth(0)

    def invent(ids: np.ndarray) -> None:
        ids[0, :7] = 5 * 256

    change_png(tmp_path / "validation" / "instances" / "key.png", invent)
    with pytest.raises(DatasetError, match=r"label 5 \(7 pixels\) is none of 0 … 4"):
        open_dataset(tmp_path).truth(0)


@pytest.mark.parametrize("broken", [{}, {"labels": [{"readable": "Bird"}]}, {"labels": 3}, []])
def test_a_configuration_that_is_none(tmp_path: Path, broken: object) -> None:
    make_mapillary(tmp_path)
    write_json(tmp_path / "config.json", broken)
    with pytest.raises(DatasetError, match=r"config.json: is no configuration of Mapillary Vistas"):
        open_dataset(tmp_path)


def test_mapillary_panoptic_has_crowds(tmp_path: Path) -> None:
    make_mapillary(tmp_path)
    ids = np.zeros((HEIGHT, WIDTH), int)
    ids[10:20] = 300
    ids[22:30] = 70000
    save(
        tmp_path / "validation" / "panoptic" / "key.png",
        np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8),
    )
    segments = [{"id": 300, "category_id": 2, "iscrowd": 0}, {"id": 70000, "category_id": 4, "iscrowd": 1}]
    categories = [
        {"id": index, "name": label["readable"], "isthing": int(label["instances"]), "color": label["color"]}
        for index, label in enumerate(MAPILLARY_CONFIG["labels"], start=1)
        if label["evaluate"]
    ]
    write_json(
        tmp_path / "validation" / "panoptic" / "panoptic_2018.json",
        {
            "images": [{"id": "key", "file_name": "key.jpg", "height": HEIGHT, "width": WIDTH}],
            "annotations": [{"image_id": "key", "file_name": "key.png", "segments_info": segments}],
            "categories": categories,
        },
    )
    dataset = open_dataset(tmp_path)
    assert dataset.name == "mapillary_v1.2_panoptic"
    check_truth(dataset[0].truth, ids, {300: 2, 70000: 4}, {1, 4}, {70000})
    assert not list(dataset.listing_faults())
    assert open_dataset(tmp_path, "mapillary_v1.2").name == "mapillary_v1.2"


@pytest.mark.parametrize(("name", "things", "stuff"), [("mapillary_v1.2", 37, 28), ("mapillary_v2.0", 70, 46)])
def test_mapillary_label_sets_have_the_published_numbers(name: str, things: int, stuff: int) -> None:
    labels = LabelSet.load(name)
    assert (len(labels.things), len(labels.stuff)) == (things, stuff)
    assert (labels.labels[0].id, labels.labels[0].name) == (1, "Bird")
