"""Label sets, ours and broken ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from panoptic_ros.labels import Label, LabelSet


def test_cityscapes_has_the_official_numbers() -> None:
    labels = LabelSet.load("cityscapes")
    assert len(labels) == 19
    assert [label.id for label in labels.things] == [24, 25, 26, 27, 28, 31, 32, 33]
    assert labels.class_ids.tolist() == [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    assert labels.name_of(26) == "car"
    assert labels.colors[26].tolist() == [0, 0, 142]
    assert (labels.name_of(0), labels.colors[0].tolist()) == ("void", [0, 0, 0])


def test_coco_equals_the_official_list(shared_data: Path) -> None:
    official = json.loads((shared_data / "coco_panoptic_sample" / "panoptic_coco_categories.json").read_text())
    labels = LabelSet.load("coco")
    assert [(label.id, label.name, label.is_thing, list(label.color)) for label in labels.labels] == [
        (category["id"], category["name"], bool(category["isthing"]), category["color"]) for category in official
    ]


def test_a_missing_set_lists_those_there_are() -> None:
    with pytest.raises(FileNotFoundError, match=r"no_such.*cityscapes, coco"):
        LabelSet.load("no_such")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x", "labels"),
        ("name: x\nlabels: [{id: 1, name: a, is_thing: true}]", "color"),
        ("name: x\nlabels: [{id: 0, name: a, is_thing: true, color: [1, 2, 3]}]", "id 0"),
        ("name: x\nlabels: [{id: 300, name: a, is_thing: true, color: [1, 2, 3]}]", "id 300"),
        ("name: x\nlabels: [{id: 1, name: a, is_thing: true, color: [1, 2, 300]}]", "300"),
        ("name: x\nlabels: []", "empty"),
        ("- 1", "expected keys with values"),
        ("name: [", "cannot be read as YAML"),
        (
            "name: x\nlabels: [{id: 1, name: a, is_thing: 'no', color: [1, 2, 3]}]",
            r"labels\[0\]: is_thing: expected bool",
        ),
        ("name: x\nlabels: [{id: 3.7, name: a, is_thing: true, color: [1, 2, 3]}]", "id: expected int, got 3.7"),
        ("name: x\nlabels: [{id: 1, name: a, is_thing: true, color: [1, 2, 3], colour: 1}]", "unknown key 'colour'"),
    ],
)
def test_a_broken_file_is_named_with_its_fault(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=said) as error:
        LabelSet.load(path)
    assert str(path) in str(error.value)


def test_a_class_occurs_once() -> None:
    car = Label(1, "car", True, (0, 0, 0))
    with pytest.raises(ValueError, match=r"id occurs twice: \[1\]"):
        LabelSet("x", (car, Label(1, "van", True, (0, 0, 0))))
    with pytest.raises(ValueError, match=r"name occurs twice: \['car'\]"):
        LabelSet("x", (car, Label(2, "car", True, (0, 0, 0))))


def test_camvid_has_the_official_colours_in_the_order_of_its_list() -> None:
    labels = LabelSet.load("camvid_32")
    colors = {label.name: label.color for label in labels.labels}
    assert len(labels) == 31
    assert [label.id for label in labels.labels] == [*range(1, 31), 32]  # the 31st is Void
    assert list(colors)[:3] == ["Animal", "Archway", "Bicyclist"]
    assert (colors["Sky"], colors["Wall"], colors["LaneMkgsNonDriv"]) == ((128, 128, 128), (64, 192, 0), (192, 0, 64))
    assert not labels.things
    eleven = LabelSet.load("camvid")
    names = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"]
    assert [label.name for label in eleven.labels] == names  # from 0 in its files
    assert eleven.class_ids.tolist() == list(range(1, 12))
