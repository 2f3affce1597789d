"""COCO panoptic, against a slow reading and pycocotools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from small_sets import (
    COCO_SEGMENTS,
    HEIGHT,
    WIDTH,
    change_json,
    change_png,
    check_truth,
    coco_ids,
    coco_png,
    make_coco,
    picture,
    save,
)

from panoptic_ros.datasets import DatasetError, open_dataset
from panoptic_ros.datasets.coco import CocoPanoptic
from panoptic_ros.labels import LabelSet

CLASSES = {id_: category for id_, (category, _) in COCO_SEGMENTS.items()}
CROWDS = {id_ for id_, (_, crowd) in COCO_SEGMENTS.items() if crowd}


def test_a_sample_is_the_picture_and_what_the_files_say(tmp_path: Path) -> None:
    make_coco(tmp_path)
    dataset = open_dataset(tmp_path)
    assert (dataset.name, len(dataset), dataset.has_instances) == ("coco", 2, True)
    assert [dataset.name_of(index) for index in range(2)] == ["000000000007", "000000000008"]
    assert [(label.id, label.name, label.is_thing) for label in dataset.labels.labels] == [
        (1, "person", True),
        (17, "cat", True),
        (187, "sky", False),
        (193, "grass", False),
    ]
    sample = dataset[1]
    with Image.open(tmp_path / "val2017" / "000000000008.jpg") as image:
        difference = np.abs(np.array(image).astype(int) - sample.image[..., ::-1])
    assert difference.max() <= 2  # two decoders of one JPEG
    assert sample.name == "000000000008"
    check_truth(sample.truth, coco_ids(), CLASSES, {1, 17}, CROWDS)
    assert (sample.truth.sequence, sample.truth.frame) == ("", 0)
    assert not list(dataset.listing_faults())


def test_an_index_that_there_is_not(tmp_path: Path) -> None:
    make_coco(tmp_path)
    dataset = open_dataset(tmp_path)
    for index in (2, -1):
        with pytest.raises(IndexError, match=f"sample {index} of 2"):
            dataset[index]
    assert [sample.name for sample in dataset] == ["000000000007", "000000000008"]


def test_the_official_categories_are_our_label_set(shared_data: Path) -> None:
    sample = shared_data / "coco_panoptic_sample"
    dataset = open_dataset(sample / "panoptic_examples.json", image_folder="input_images")
    assert dataset.labels == LabelSet.load("coco")


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
def test_the_official_samples_equal_their_detection_form(shared_data: Path) -> None:
    """The same annotations were published as run-length masks, one a segment, which pycocotools decodes."""
    folder = shared_data / "coco_panoptic_sample"
    dataset = open_dataset(folder, annotations="panoptic_examples.json", image_folder="input_images")
    published = json.loads((folder / "panoptic_coco_detection_format.json").read_text())["annotations"]
    for index in range(len(dataset)):
        assert isinstance(dataset, CocoPanoptic)
        truth, image_id = dataset[index].truth, dataset.image_ids[index]
        value = truth.segmentation
        found = {(s.class_id, s.area, s.bbox, s.id in truth.crowd): value.ids == s.id for s in value.segments}
        expected = {}
        for entry in published:
            if entry["image_id"] == image_id:
                rle = entry["segmentation"]
                x, y, width, height = (int(number) for number in coco_mask.toBbox(rle))
                box = (x, y, x + width, y + height)
                key = (entry["category_id"], int(coco_mask.area(rle)), box, bool(entry["iscrowd"]))
                expected[key] = coco_mask.decode(rle).astype(bool)
        assert found.keys() == expected.keys()
        for key, mask in found.items():
            np.testing.assert_array_equal(mask, expected[key])


def test_areas_and_boxes_are_counted_and_not_believed(tmp_path: Path) -> None:
    make_coco(tmp_path)

    def lie(content: Any) -> None:
        for segment in content["annotations"][0]["segments_info"]:
            segment["area"], segment["bbox"] = 1, [0, 0, 1, 1]

    change_json(tmp_path / "annotations" / "panoptic_val2017.json", lie)
    check_truth(open_dataset(tmp_path).truth(0), coco_ids(), CLASSES, {1, 17}, CROWDS)


def test_stuff_in_two_segments_is_joined(tmp_path: Path) -> None:
    make_coco(tmp_path)
    ids = coco_ids()
    ids[20:25, 30:38] = 999

    def split(content: Any) -> None:
        content["annotations"][0]["segments_info"].append({"id": 999, "category_id": 193, "iscrowd": 0})

    change_json(tmp_path / "annotations" / "panoptic_val2017.json", split)
    save(tmp_path / "annotations" / "panoptic_val2017" / "000000000007.png", coco_png(ids))
    ids[ids == 999] = 10025880
    check_truth(open_dataset(tmp_path).truth(0), ids, CLASSES, {1, 17}, CROWDS)


def test_a_frame_of_only_void(tmp_path: Path) -> None:
    make_coco(tmp_path)
    save(tmp_path / "annotations" / "panoptic_val2017" / "000000000007.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))

    def empty(content: Any) -> None:
        content["annotations"][0]["segments_info"] = []

    change_json(tmp_path / "annotations" / "panoptic_val2017.json", empty)
    truth = open_dataset(tmp_path).truth(0)
    assert (truth.segmentation.segments, truth.crowd) == ((), frozenset())
    assert not truth.segmentation.ids.any()


def test_more_things_than_can_be_numbered_are_refused(tmp_path: Path) -> None:
    make_coco(tmp_path, count=1)
    ids = np.zeros((HEIGHT, WIDTH), np.int64)
    ids.ravel()[:1000] = np.arange(1, 1001)

    def crowd(content: Any) -> None:
        content["annotations"][0]["segments_info"] = [{"id": id_, "category_id": 1} for id_ in range(1, 1001)]

    change_json(tmp_path / "annotations" / "panoptic_val2017.json", crowd)
    save(tmp_path / "annotations" / "panoptic_val2017" / "000000000007.png", coco_png(ids))
    with pytest.raises(DatasetError, match=r"000000000007.png: holds 1000 things, of which a frame can have 999"):
        open_dataset(tmp_path).truth(0)


def test_a_rotation_in_exif_is_not_followed(tmp_path: Path) -> None:
    """The PNG's rows are those of the picture's file, as Pillow and panopticapi read it."""
    make_coco(tmp_path)
    path = tmp_path / "val2017" / "000000000007.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.fromarray(picture(0)).save(path, exif=exif, quality=95)
    assert open_dataset(tmp_path)[0].image.shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content.pop("images"), "key 'images' is missing"),
        (lambda content: content["annotations"][0].pop("segments_info"), "key 'segments_info' is missing"),
        (lambda content: content["annotations"][0]["segments_info"][0].pop("category_id"), "key 'category_id'"),
        (lambda content: content["images"][0].update(height="tall"), "tall"),
        (lambda content: content["categories"][0].update(id=300), "id 300"),
        (lambda content: content["categories"][0].pop("color"), "no 'color'; a label set can be given"),
        (lambda content: content.update(annotations=3), "no panoptic annotation"),
        (lambda content: content["annotations"][0]["segments_info"][0].update(id=1 << 70), "no panoptic annotation"),
    ],
)
def test_a_broken_json_is_named_with_its_fault(tmp_path: Path, change: Any, said: str) -> None:
    make_coco(tmp_path)
    path = tmp_path / "annotations" / "panoptic_val2017.json"
    change_json(path, change)
    with pytest.raises(DatasetError) as error:
        open_dataset(tmp_path)
    assert str(path) in str(error.value)
    assert said in str(error.value)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[]"])
def test_what_is_no_json_is_named(tmp_path: Path, content: bytes) -> None:
    make_coco(tmp_path)
    path = tmp_path / "annotations" / "panoptic_val2017.json"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"panoptic_val2017.json: is no"):
        open_dataset(tmp_path)


def test_a_label_set_of_other_names_is_refused(tmp_path: Path) -> None:
    make_coco(tmp_path)
    with pytest.raises(DatasetError, match="category 17 is 'cat', but 'pole' in label set 'cityscapes'"):
        open_dataset(tmp_path, labels="cityscapes")


def test_annotations_and_pictures_somewhere_else(tmp_path: Path) -> None:
    make_coco(tmp_path)
    (tmp_path / "val2017").rename(tmp_path / "pictures")
    (tmp_path / "annotations" / "panoptic_val2017.json").rename(
        tmp_path / "annotations" / "panoptic_val2017" / "a.json"
    )
    file = Path("annotations", "panoptic_val2017", "a.json")
    for dataset in (
        open_dataset(tmp_path, annotations=file, image_folder="pictures"),
        open_dataset(tmp_path / file, image_folder=tmp_path / "pictures"),
    ):
        assert dataset[0].image.shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("place", ["val2017", "images/val2017", "images"])
def test_pictures_where_they_usually_lie(tmp_path: Path, place: str) -> None:
    make_coco(tmp_path)
    (tmp_path / "val2017").rename(tmp_path / "elsewhere")
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / "elsewhere").rename(tmp_path / place)
    for dataset in (open_dataset(tmp_path), open_dataset(tmp_path / "annotations" / "panoptic_val2017.json")):
        assert dataset.image_path(0) == tmp_path / place / "000000000007.jpg"


def test_a_grey_picture_becomes_bgr_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    make_coco(tmp_path)
    path = tmp_path / "val2017" / "000000000007.jpg"
    Image.fromarray(picture(0)[..., 0]).save(path)
    dataset = open_dataset(tmp_path)
    assert dataset.image(0).shape == (HEIGHT, WIDTH, 3)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DatasetError, match=r"000000000007.jpg: truncated or corrupt JPEG"):
        dataset[0]
    path.unlink()
    with pytest.raises(DatasetError, match=r"000000000007.jpg: is missing"):
        dataset[0]


def test_a_picture_of_another_size_is_refused(tmp_path: Path) -> None:
    make_coco(tmp_path)
    change_png(tmp_path / "val2017" / "000000000007.jpg", lambda pixels: None)
    save(tmp_path / "val2017" / "000000000007.jpg", picture(0)[:-1])
    with pytest.raises(DatasetError, match=r"7.jpg: the picture is 60x39, but its labels are 60x40"):
        open_dataset(tmp_path)[0]
