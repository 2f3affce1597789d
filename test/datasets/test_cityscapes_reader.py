"""Cityscapes from both forms, against a slow reading, cityscapesScripts' conversion and the synthetic street."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cityscapesscripts.helpers.labels import labels as official_labels
from cityscapesscripts.preparation.createPanopticImgs import convert2panoptic
from PIL import Image
from small_sets import HEIGHT, WIDTH, change_json, change_png, check_truth, make_cityscapes, picture, save, street

from panoptic_ros.datasets import DatasetError, PanopticDataset, open_dataset
from panoptic_ros.datasets.cityscapes import place_of_name
from panoptic_ros.labels import LabelSet
from panoptic_ros.segmentation import PanopticSegmentation
from panoptic_training.synthetic.datasets import Cityscapes, CocoPanoptic, DatasetFolder, LabelledFrame

LABELS = LabelSet.load("cityscapes")
CLASSES = {23: 23, 7: 7, 26000: 26, 26001: 26, 24000: 24, 24: 24, 33: 33}
GROUPS = {24, 33}


def same(first: PanopticDataset, second: PanopticDataset) -> None:
    """Both have the same samples, to the pixel."""
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.truth.segmentation.ids, other.truth.segmentation.ids)
        assert one.truth.segmentation.segments == other.truth.segmentation.segments
        assert one.truth.crowd == other.truth.crowd


def test_the_label_set_is_what_is_evaluated() -> None:
    evaluated = [label for label in official_labels if not label.ignoreInEval]
    assert [(label.id, label.name, label.hasInstances, label.color) for label in evaluated] == [
        (label.id, label.name, label.is_thing, label.color) for label in LABELS.labels
    ]


def test_a_sample_is_the_picture_and_what_the_label_images_say(tmp_path: Path) -> None:
    names = make_cityscapes(tmp_path)
    dataset = open_dataset(tmp_path)
    assert (dataset.name, len(dataset), dataset.labels, dataset.has_instances) == ("cityscapes", 2, LABELS, True)
    for number, sample in enumerate(dataset):
        assert sample.name == names[number]
        np.testing.assert_array_equal(sample.image, picture(number)[..., ::-1])
        check_truth(sample.truth, street(number), CLASSES, set(LABELS.thing_ids), GROUPS)
    assert (dataset.truth(1).sequence, dataset.truth(1).frame) == ("bochum_000001", 4)
    assert not list(dataset.listing_faults())


def test_both_forms_agree_by_the_official_conversion(tmp_path: Path) -> None:
    make_cityscapes(tmp_path, ("train", "val", "test"))
    convert2panoptic(str(tmp_path / "gtFine"))
    for split in ("train", "val"):
        label_images = open_dataset(tmp_path, "cityscapes", split)
        panoptic = open_dataset(tmp_path, "cityscapes_panoptic", split)
        same(label_images, panoptic)
        assert [panoptic.name_of(index) for index in range(2)] == [label_images.name_of(index) for index in range(2)]
        assert panoptic.truth(1).frame == 4
        assert not list(panoptic.listing_faults())


def test_train_ids_are_not_taken_for_label_ids(tmp_path: Path) -> None:
    make_cityscapes(tmp_path, ("train", "val", "test"))
    convert2panoptic(str(tmp_path / "gtFine"), useTrainId=True)
    with pytest.raises(DatasetError, match="category 7 is 'traffic sign', but 'road' in label set 'cityscapes'"):
        open_dataset(tmp_path, "cityscapes_panoptic", "val_trainId")


def drawn(index: int) -> LabelledFrame:
    """A frame as the synthetic street gives it, of anything anywhere."""
    generator = np.random.default_rng(index)
    blocks = generator.choice([0, 7000, 23000, 24017, 24999, 26001, 33500], size=(8, 12)).astype(np.int32)
    ids = np.kron(blocks, np.ones((5, 5), np.int32))
    return LabelledFrame(
        index, "front_camera", 2, index, picture(index), PanopticSegmentation.from_ids(ids, LABELS.thing_ids)
    )


@pytest.mark.parametrize("layout", [Cityscapes, CocoPanoptic])
def test_what_the_synthetic_street_writes(tmp_path: Path, layout: type) -> None:
    with DatasetFolder(tmp_path, layout("val", LABELS), {"seed": "0"}) as folder:
        for index in range(3):
            folder.files.write(drawn(index))
        folder.finish(3)
    dataset = open_dataset(tmp_path)
    assert dataset.labels == LABELS
    for index in range(3):
        ids = drawn(index).segmentation.ids
        classes = {id_: id_ // 1000 for id_ in np.unique(ids).tolist() if id_}
        if layout is Cityscapes:  # stuff lies before things there
            ids = np.where(ids % 1000, ids, ids // 1000)
            classes = {id_ if id_ % 1000 else id_ // 1000: class_id for id_, class_id in classes.items()}
        check_truth(dataset.truth(index), ids, classes, set(LABELS.thing_ids))
    if layout is Cityscapes:
        same(dataset, open_dataset(tmp_path, "cityscapes_panoptic"))


def test_real_frames_have_the_classes_of_their_colours(shared_data: Path) -> None:
    """Two frames of Cityscapes, whose classes were published as colours and whose segments we have as panoptic PNGs."""
    folder = shared_data / "panoptic_parts_cityscapes_voc_colored"
    dataset = open_dataset(folder / "derived" / "cityscapes_two_frames_panoptic.json", image_folder="../readme")
    assert dataset.labels == LABELS
    counts = []
    for index in range(2):
        truth = dataset.truth(index)
        name = dataset.name_of(index).removesuffix("_panoptic")
        with Image.open(folder / "readme" / f"{name}_uids_cids_colored.png") as image:
            colours = np.array(image.convert("RGB"))
        classes = truth.segmentation.classes()
        labelled = classes > 0
        np.testing.assert_array_equal(LABELS.colors[classes[labelled]], colours[labelled])
        instances = len(truth.segmentation.things) - len(truth.crowd)
        counts.append((len(truth.segmentation.segments), instances, len(truth.crowd)))
    assert counts == [(49, 36, 4), (33, 25, 0)]  # as the NOTE beside the data says


def test_other_classes_can_count(tmp_path: Path) -> None:
    """A label set with caravans makes them a class; what it has not is void."""
    make_cityscapes(tmp_path)
    path = tmp_path / "vehicles.yaml"
    path.write_text(
        "name: vehicles\nlabels:\n"
        "  - {id: 26, name: car, is_thing: true, color: [0, 0, 142]}\n"
        "  - {id: 29, name: caravan, is_thing: true, color: [0, 0, 90]}\n"
    )
    truth = open_dataset(tmp_path, labels=path).truth(0)
    check_truth(truth, street(), {26000: 26, 26001: 26, 29000: 29}, {26, 29})


def test_names_tell_the_drive() -> None:
    assert place_of_name("frankfurt_000001_011835") == ("frankfurt_000001", 11835)
    assert place_of_name("frankfurt_000001") == ("frankfurt", 1)
    assert place_of_name("somewhere") == ("", 0)


def test_pictures_are_found_by_id_and_not_by_the_names_in_the_json(tmp_path: Path) -> None:
    make_cityscapes(tmp_path, ("train", "val", "test"))
    convert2panoptic(str(tmp_path / "gtFine"))
    dataset = open_dataset(tmp_path, "cityscapes_panoptic", "val")
    content = json.loads((tmp_path / "gtFine" / "cityscapes_panoptic_val.json").read_text())
    assert content["images"][0]["file_name"] == "aachen_000000_000019_gtFine_leftImg8bit.png"  # which is no file
    assert dataset.image_path(0).is_file()


FILE = "gtFine/val/aachen/aachen_000000_000019_gtFine_instanceIds.png"


@pytest.mark.parametrize("value", [34, 34000, 65535])
def test_a_label_that_there_is_not(tmp_path: Path, value: int) -> None:
    make_cityscapes(tmp_path)

    def damage(ids: np.ndarray) -> None:
        ids[0, :4] = value

    change_png(tmp_path / FILE, damage)
    with pytest.raises(DatasetError, match=rf"instanceIds.png: id {value} \(4 pixels\) is of no label"):
        open_dataset(tmp_path).truth(0)


def test_label_images_that_contradict_each_other(tmp_path: Path) -> None:
    make_cityscapes(tmp_path)

    def damage(ids: np.ndarray) -> None:
        ids[1, :6] = 7

    change_png(tmp_path / FILE, damage)
    with pytest.raises(DatasetError, match=r"instanceIds.png: differs from the labelIds in the class of 6 pixels"):
        open_dataset(tmp_path).truth(0)
    save(tmp_path / FILE, street()[1:])
    with pytest.raises(DatasetError, match=rf"is {WIDTH}x{HEIGHT - 1}, but the labelIds are {WIDTH}x{HEIGHT}"):
        open_dataset(tmp_path).truth(0)


def test_a_form_can_be_chosen_only_if_it_is_there(tmp_path: Path) -> None:
    make_cityscapes(tmp_path)
    with pytest.raises(DatasetError, match=r"looked for gtFine/cityscapes_panoptic_<split>.json"):
        open_dataset(tmp_path, "cityscapes_panoptic")


def test_a_json_of_other_form_is_refused(tmp_path: Path) -> None:
    make_cityscapes(tmp_path, ("train", "val", "test"))
    convert2panoptic(str(tmp_path / "gtFine"))
    change_json(tmp_path / "gtFine" / "cityscapes_panoptic_val.json", lambda content: content.pop("annotations"))
    with pytest.raises(DatasetError, match="key 'annotations' is missing"):
        open_dataset(tmp_path, "cityscapes_panoptic", "val")
