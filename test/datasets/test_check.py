"""Every fault of a data set, made by damaging a good one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_sets import (
    HEIGHT,
    WIDTH,
    change_json,
    change_png,
    coco_ids,
    coco_png,
    make_camvid,
    make_cityscapes,
    make_coco,
    make_mapillary,
    make_voc,
    picture,
    save,
    street,
)

from panoptic_ros.datasets import DatasetError, PanopticDataset, open_dataset
from panoptic_ros.datasets.check import Summary, check_samples
from panoptic_ros.datasets.faults import Fault, Severity

JSON = "annotations/panoptic_val2017.json"
PNG = "annotations/panoptic_val2017/000000000007.png"
JPG = "val2017/000000000007.jpg"
INSTANCES = "gtFine/val/aachen/aachen_000000_000019_gtFine_instanceIds.png"
LABELS = "gtFine/val/aachen/aachen_000000_000019_gtFine_labelIds.png"
CITY_PICTURE = "leftImg8bit/val/aachen/aachen_000000_000019_leftImg8bit.png"


def faults_of(dataset: PanopticDataset) -> list[Fault]:
    return [*dataset.listing_faults(), *(fault for check in check_samples(dataset) for fault in check.faults)]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def in_json(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    """Changes the annotation of the first picture."""
    return lambda folder: change_json(folder / JSON, lambda content: change(content["annotations"][0]))


def first_segment(**values: Any) -> Callable[[Path], None]:
    return in_json(lambda annotation: annotation["segments_info"][0].update(values))


def more_segments(segment: dict[str, Any]) -> Callable[[Path], None]:
    return in_json(lambda annotation: annotation["segments_info"].append(segment))


def paint(file: str, value: Any, pixels: int = 9) -> Callable[[Path], None]:
    def change(values: np.ndarray) -> None:
        values[-1, :pixels] = value

    return lambda folder: change_png(folder / file, change)


def replace(file: str, pixels: np.ndarray) -> Callable[[Path], None]:
    return lambda folder: save(folder / file, pixels)


ERROR, WARNING = Severity.ERROR, Severity.WARNING
TWO_SKIES = coco_ids()
TWO_SKIES[10:20, 20:30] = 99

CASES: dict[str, tuple[Callable[[Path], Any], Callable[[Path], Any], Severity, str, str]] = {
    # what is made, how it is damaged, then the fault's severity, file and message
    "picture missing": (make_coco, lambda folder: (folder / JPG).unlink(), ERROR, JPG, "is missing"),
    "picture unreadable": (make_coco, lambda folder: cut(folder / JPG), ERROR, JPG, "truncated or corrupt JPEG"),
    "picture is text": (
        make_coco,
        lambda folder: (folder / JPG).write_text("no"),
        ERROR,
        JPG,
        "neither JPEG nor PNG",
    ),
    "picture of another size": (
        make_coco,
        replace(JPG, picture(0)[:, :-2]),
        ERROR,
        JPG,
        "the picture is 58x40, but its labels are 60x40",
    ),
    "labels missing": (make_coco, lambda folder: (folder / PNG).unlink(), ERROR, PNG, "is missing"),
    "labels unreadable": (make_coco, lambda folder: cut(folder / PNG), ERROR, PNG, "is no whole image"),
    "labels in grey": (
        make_coco,
        replace(PNG, np.zeros((HEIGHT, WIDTH), np.uint8)),
        ERROR,
        PNG,
        "mode L, expected R, G, B",
    ),
    "labels of another size than the JSON says": (
        make_coco,
        lambda folder: change_json(folder / JSON, lambda content: content["images"][0].update(width=61)),
        ERROR,
        PNG,
        "is 60x40, but panoptic_val2017.json says 61x40",
    ),
    "an id without a segment": (make_coco, paint(PNG, (3, 2, 1)), ERROR, PNG, "id 66051 (9 pixels) is no segment"),
    "a segment without pixels": (
        make_coco,
        more_segments({"id": 66051, "category_id": 1}),
        ERROR,
        PNG,
        "segment 66051 of the annotation has no pixel in the PNG",
    ),
    "an unknown category": (
        make_coco,
        first_segment(category_id=3),
        ERROR,
        PNG,
        "segment 11829830 is of category 3, which label set 'panoptic_val2017' has not",
    ),
    "a category that is no number of ours": (
        make_coco,
        first_segment(category_id=1000),
        ERROR,
        PNG,
        "is of category 1000",
    ),
    "void as a segment": (make_coco, more_segments({"id": 0, "category_id": 1}), ERROR, PNG, "0, which is void"),
    "an id twice": (
        make_coco,
        more_segments({"id": 5, "category_id": 1}),
        ERROR,
        PNG,
        "1 segments have the id of another",
    ),
    "a wrong area": (
        make_coco,
        first_segment(area=3),
        WARNING,
        PNG,
        f"segment 11829830 has {np.count_nonzero(coco_ids() == 11829830)} pixels, but its area is said to be 3",
    ),
    "an area that is too large": (
        make_coco,
        first_segment(area=HEIGHT * WIDTH),
        WARNING,
        PNG,
        f"segment 11829830 has {np.count_nonzero(coco_ids() == 11829830)} pixels, but its area is said to be 2400",
    ),
    "a picture without an annotation": (
        make_coco,
        lambda folder: change_json(folder / JSON, lambda content: content["annotations"].pop()),
        WARNING,
        JSON,
        "image 8 has no annotation",
    ),
    "an annotation without a picture": (
        make_coco,
        in_json(lambda annotation: annotation.update(image_id=99)),
        ERROR,
        JSON,
        "image 99 has an annotation, but is not among the images",
    ),
    "two annotations of a picture": (
        make_coco,
        in_json(lambda annotation: annotation.update(image_id=8)),
        ERROR,
        JSON,
        "image 8 has several annotations",
    ),
    "an image twice": (
        make_coco,
        lambda folder: change_json(folder / JSON, lambda content: content["images"].append(content["images"][0])),
        ERROR,
        JSON,
        "1 images have the id of another",
    ),
    "a PNG that nothing names": (
        make_coco,
        replace("annotations/panoptic_val2017/x.png", coco_png(coco_ids())),
        WARNING,
        "annotations/panoptic_val2017/x.png",
        "no annotation names it",
    ),
    "a picture that nothing names": (
        make_coco,
        replace("val2017/x.jpg", picture(0)),
        WARNING,
        "val2017/x.jpg",
        "no annotation is for it",
    ),
    "Cityscapes: picture missing": (
        make_cityscapes,
        lambda folder: (folder / CITY_PICTURE).unlink(),
        ERROR,
        CITY_PICTURE,
        "is missing",
    ),
    "Cityscapes: picture unreadable": (
        make_cityscapes,
        lambda folder: cut(folder / CITY_PICTURE),
        ERROR,
        CITY_PICTURE,
        "truncated or corrupt PNG",
    ),
    "Cityscapes: labelIds missing": (
        make_cityscapes,
        lambda folder: (folder / LABELS).unlink(),
        ERROR,
        LABELS,
        "is missing",
    ),
    "Cityscapes: instanceIds missing": (
        make_cityscapes,
        lambda folder: (folder / INSTANCES).unlink(),
        ERROR,
        INSTANCES,
        "is missing",
    ),
    "Cityscapes: labels missing": (
        make_cityscapes,
        lambda folder: [(folder / file).unlink() for file in (LABELS, INSTANCES)],
        WARNING,
        CITY_PICTURE,
        "has no labels",
    ),
    "Cityscapes: picture of another size": (
        make_cityscapes,
        replace(CITY_PICTURE, picture(0)[:-1]),
        ERROR,
        CITY_PICTURE,
        "the picture is 60x39",
    ),
    "Cityscapes: label images of two sizes": (
        make_cityscapes,
        replace(INSTANCES, street()[:-1]),
        ERROR,
        INSTANCES,
        "is 60x39, but the labelIds are 60x40",
    ),
    "Cityscapes: an unknown label": (
        make_cityscapes,
        paint(INSTANCES, 77),
        ERROR,
        INSTANCES,
        "id 77 (9 pixels) is of no label",
    ),
    "Cityscapes: label images that differ": (
        make_cityscapes,
        paint(LABELS, 7),
        ERROR,
        INSTANCES,
        "differs from the labelIds in the class of 9 pixels",
    ),
    "VOC: an object twice in the list": (
        make_voc,
        lambda folder: (folder / "ImageSets/Segmentation/val.txt").write_text("2007_000032\n2007_000032\n"),
        ERROR,
        "ImageSets/Segmentation/val.txt",
        "2007_000032 occurs twice",
    ),
    "VOC: objects missing": (
        make_voc,
        lambda folder: (folder / "SegmentationObject/2007_000032.png").unlink(),
        ERROR,
        "SegmentationClass/2007_000032.png",
        "has no partner in SegmentationObject",
    ),
    "VOC: class and object contradict each other": (
        make_voc,
        paint("SegmentationObject/2007_000032.png", 9),
        WARNING,
        "SegmentationObject/2007_000032.png",
        "contradicts the class of 9 pixels",
    ),
    "CamVid: picture missing": (
        make_camvid,
        lambda folder: (folder / "val/0001TP_006690.jpg").unlink(),
        ERROR,
        "val/0001TP_006690.jpg",
        "is missing",
    ),
    "CamVid: labels missing": (
        make_camvid,
        lambda folder: (folder / "val/0001TP_006690.png").unlink(),
        WARNING,
        "val/0001TP_006690.jpg",
        "has no labels",
    ),
    "CamVid: an unknown class": (
        make_camvid,
        paint("val/0001TP_006690.png", 77),
        ERROR,
        "val/0001TP_006690.png",
        "class 77 (9 pixels)",
    ),
    "Mapillary: picture without labels": (
        make_mapillary,
        replace("validation/images/other.jpg", picture(0)),
        WARNING,
        "validation/images/other.jpg",
        "has no labels",
    ),
    "Mapillary: instances missing": (
        make_mapillary,
        lambda folder: (folder / "validation/instances/key.png").unlink(),
        ERROR,
        "validation/instances/key.png",
        "is missing",
    ),
    "Mapillary: labels differ": (
        make_mapillary,
        paint("validation/labels/key.png", 3),
        ERROR,
        "validation/instances/key.png",
        "differs from the labels in the class of 9 pixels",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_fault_is_found_with_its_file(tmp_path: Path, name: str) -> None:
    make, damage, severity, file, message = CASES[name]
    make(tmp_path)
    dataset = open_dataset(tmp_path)
    assert not faults_of(dataset)
    damage(tmp_path)
    dataset = open_dataset(tmp_path)
    faults = faults_of(dataset)
    found = [
        fault
        for fault in faults
        if (fault.severity, fault.file) == (severity, tmp_path / file) and message in fault.message
    ]
    assert len(found) == 1, [str(fault) for fault in faults]
    if severity is WARNING:
        assert {fault.severity for fault in faults} == {WARNING}
        for index in range(len(dataset)):
            dataset[index]  # what is a warning can be read
    elif found[0] not in list(dataset.listing_faults()):
        with pytest.raises(DatasetError) as error:
            list(dataset)
        assert error.value.file == tmp_path / file


def test_stuff_in_two_segments_is_a_warning(tmp_path: Path) -> None:
    make_coco(tmp_path)
    save(tmp_path / PNG, coco_png(TWO_SKIES))
    area = int(np.count_nonzero(TWO_SKIES == 99))
    more_segments({"id": 99, "category_id": 187, "area": area})(tmp_path)
    first_segment(area=int(np.count_nonzero(TWO_SKIES == 11829830)))(tmp_path)
    in_json(lambda annotation: [segment.pop("area") for segment in annotation["segments_info"][2:]])(tmp_path)
    (fault,) = faults_of(open_dataset(tmp_path))
    assert (fault.severity, fault.file) == (WARNING, tmp_path / PNG)
    assert fault.message == "sky is stuff in 2 segments, which are joined"


def test_all_faults_of_a_sample_are_said_at_once(tmp_path: Path) -> None:
    make_coco(tmp_path)
    (tmp_path / JPG).unlink()
    paint(PNG, (3, 2, 1))(tmp_path)
    first_segment(category_id=3)(tmp_path)
    more_segments({"id": 77, "category_id": 1})(tmp_path)
    messages = [fault.message for fault in faults_of(open_dataset(tmp_path))]
    assert len(messages) == 4
    for part in ("category 3", "id 66051", "segment 77", "is missing"):
        assert sum(part in message for message in messages) == 1


def test_a_summary_counts_what_there_is(tmp_path: Path) -> None:
    make_coco(tmp_path, count=3)
    (tmp_path / "annotations/panoptic_val2017/000000000009.png").unlink()
    summary = Summary()
    for check in check_samples(open_dataset(tmp_path)):
        summary.add(check)
    ids = coco_ids()
    assert (summary.samples, summary.readable, summary.sizes) == (3, 2, {(WIDTH, HEIGHT): 2})
    assert (summary.pixels, summary.void_pixels) == (2 * ids.size, 2 * np.count_nonzero(ids == 0))
    assert summary.most_segments == 6
    person = summary.classes[1]
    pixels = 2 * int(np.isin(ids, [3937500, 260, 65536 * 200 + 7]).sum())
    assert (person.pictures, person.segments, person.crowds, person.pixels) == (2, 6, 2, pixels)
    assert set(summary.classes) == {1, 17, 187, 193}
    assert summary.faults == {ERROR: 1}


def test_several_processes_find_the_same_in_the_same_order(tmp_path: Path) -> None:
    make_coco(tmp_path, count=5)
    paint("annotations/panoptic_val2017/000000000009.png", (3, 2, 1))(tmp_path)
    (tmp_path / "val2017/000000000010.jpg").unlink()
    dataset = open_dataset(tmp_path)
    alone = list(check_samples(dataset, 1))
    assert [check.name for check in alone] == [f"{number:012d}" for number in range(7, 12)]
    assert sum(len(check.faults) for check in alone) == 2
    assert list(check_samples(dataset, 2)) == alone
