"""Classes of one label set in place of another's, against replacing pixel by pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from panoptic_ros.configuration import ConfigurationError
from panoptic_ros.datasets import Truth, open_dataset
from panoptic_ros.label_mapping import LabelMapping
from panoptic_ros.labels import Label, LabelSet
from panoptic_ros.resources import share_directory
from panoptic_ros.segmentation import PanopticSegmentation

SOURCE = LabelSet(
    "source",
    (
        Label(1, "walker", True, (1, 0, 0)),
        Label(2, "sign", True, (2, 0, 0)),
        Label(3, "lane", False, (3, 0, 0)),
        Label(4, "asphalt", False, (4, 0, 0)),
        Label(5, "tram", False, (5, 0, 0)),
        Label(6, "horse", True, (6, 0, 0)),
    ),
)
TARGET = LabelSet(
    "target",
    (
        Label(24, "person", True, (0, 1, 0)),
        Label(20, "sign", False, (0, 2, 0)),
        Label(7, "road", False, (0, 3, 0)),
        Label(31, "train", True, (0, 4, 0)),
    ),
)
MAPPING = LabelMapping(SOURCE, TARGET, ((1, 24), (2, 20), (3, 7), (4, 7), (5, 31)))
IDS = [0, 1001, 1003, 2002, 2004, 3000, 4000, 5000, 6005]
EXPECTED = {1001: 24001, 1003: 24003, 2002: 20000, 2004: 20000, 3000: 7000, 4000: 7000, 6005: 0, 0: 0}

MAPS = hnp.arrays(np.int32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=7), elements=st.sampled_from(IDS))


@given(MAPS)
def test_every_pixel_gets_its_class_and_segments_describe_them(ids: np.ndarray) -> None:
    scores = {id_: 0.1 + 0.1 * number for number, id_ in enumerate(IDS)}
    value = PanopticSegmentation.from_ids(ids, SOURCE.thing_ids, scores)
    mapped = MAPPING.segmentation(value)
    taken = {id_ % 1000 for id_ in ids.ravel().tolist()}
    free = next(number for number in range(1, 10) if number not in taken)
    expected = np.zeros_like(ids)
    for id_ in IDS:
        expected[ids == id_] = EXPECTED.get(id_, 31000 + free)
    np.testing.assert_array_equal(mapped.ids, expected)
    means = {}
    for id_ in np.unique(expected).tolist():
        parts = ids[expected == id_].tolist()
        means[id_] = np.mean([scores[part] for part in parts])
    described = PanopticSegmentation.from_ids(expected, TARGET.thing_ids, means).segments
    for segment, other in zip(mapped.segments, described, strict=True):
        assert segment.score == pytest.approx(other.score)
        assert (segment.id, segment.class_id, segment.is_thing) == (other.id, other.class_id, other.is_thing)
        assert (segment.area, segment.bbox, segment.instance) == (other.area, other.bbox, other.instance)
    numbers = [thing.instance for thing in mapped.things]
    assert len(set(numbers)) == len(numbers)


def truth_of(ids: list[int], crowd: set[int]) -> Truth:
    value = PanopticSegmentation.from_ids(np.array([ids], np.int32), SOURCE.thing_ids)
    return Truth(value, frozenset(crowd), "drive", 5)


@pytest.mark.parametrize(
    ("ids", "crowd", "expected"),
    [
        ([1001, 1003], {1001}, {24001}),  # a crowd of things stays one
        ([2002, 2004], {2002}, set()),  # things that become stuff are one region, crowd or not
        ([2002], {2002}, set()),
        ([5000, 3000], set(), {31001}),  # stuff that becomes a thing: nobody told its instances apart
        ([3000, 4000], {3000, 4000}, {7000}),
        ([3000, 4000], {3000}, set()),
        ([6005, 1001], {6005}, set()),  # a crowd that becomes void
    ],
)
def test_crowds(ids: list[int], crowd: set[int], expected: set[int]) -> None:
    mapped = MAPPING.truth(truth_of(ids, crowd))
    assert mapped.crowd == expected
    assert (mapped.sequence, mapped.frame) == ("drive", 5)


def test_confidence_is_that_of_the_pixels_that_are_left() -> None:
    value = PanopticSegmentation.from_ids(np.array([[1001, 6005, 3000]], np.int32), SOURCE.thing_ids)
    value = PanopticSegmentation(value.ids, value.segments, np.array([[10, 20, 30]], np.uint8))
    confidence = MAPPING.segmentation(value).confidence
    assert confidence is not None
    assert (confidence.tolist(), confidence.dtype) == ([[10, 0, 30]], np.uint8)


def test_a_full_frame_has_no_number_for_one_more() -> None:
    ids = np.array([[*range(1001, 2000), 5000]], np.int32)
    with pytest.raises(ValueError, match="more than 999 things"):
        MAPPING.segmentation(PanopticSegmentation.from_ids(ids, SOURCE.thing_ids))


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (((9, 24),), "'source' has no class 9"),
        (((1, 9),), "'target' has no class 9"),
        (((1, 24), (1, 31)), "becomes several"),
    ],
)
def test_a_mapping_that_cannot_be(pairs: tuple[tuple[int, int], ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LabelMapping(SOURCE, TARGET, pairs)


NAMES = sorted(path.stem for path in (share_directory() / "config" / "label_mappings").glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_those_that_come_with_the_package(name: str) -> None:
    mapping = LabelMapping.load(name)
    assert name == f"{mapping.source.name}_to_{mapping.target.name}"
    assert LabelMapping.between(mapping.source, mapping.target) == mapping


def test_coco_to_cityscapes() -> None:
    """Classes of one name mean the same; Cityscapes' others are named here."""
    mapping = LabelMapping.load("coco_to_cityscapes")
    coco, cityscapes = mapping.source, mapping.target
    names = {coco.name_of(source): cityscapes.name_of(target) for source, target in mapping.class_ids}
    common = {label.name for label in coco.labels} & {label.name for label in cityscapes.labels}
    assert common >= {"person", "car", "road", "bicycle"}
    assert all(names[name] == name for name in common)
    assert names["stop sign"] == "traffic sign"
    assert {label.name for label in cityscapes.labels} - set(names.values()) == {"pole", "rider"}
    for source, target in mapping.class_ids:
        if target in cityscapes.thing_ids:
            assert source in coco.thing_ids


def test_the_real_coco_sample_as_cityscapes(shared_data: Path) -> None:
    folder = shared_data / "coco_panoptic_sample"
    dataset = open_dataset(folder / "panoptic_examples.json", image_folder="input_images")
    mapping = LabelMapping.between(dataset.labels, LabelSet.load("cityscapes"))
    assert mapping is not None
    truth = dataset.truth(0)
    mapped = mapping.truth(truth)
    people = {segment.id: segment.instance for segment in truth.segmentation.segments if segment.class_id == 1}
    for id_, instance in people.items():
        np.testing.assert_array_equal(mapped.segmentation.ids == 24000 + instance, truth.segmentation.ids == id_)
    assert mapped.crowd == {24000 + people[id_] for id_ in truth.crowd}
    assert {segment.class_id for segment in mapped.segmentation.segments} == {24, 21, 22, 23}


def test_the_same_classes_need_no_mapping() -> None:
    assert LabelMapping.between(SOURCE, SOURCE) is None


def test_what_there_is_no_mapping_for() -> None:
    with pytest.raises(FileNotFoundError, match=r"voc_to_coco.*coco_to_cityscapes"):
        LabelMapping.between(LabelSet.load("voc"), LabelSet.load("coco"))
    other = LabelSet("coco", LabelSet.load("coco").labels[:5])
    with pytest.raises(ConfigurationError, match="not for those in use"):
        LabelMapping.between(other, LabelSet.load("cityscapes"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("source: coco\ntarget: cityscapes\nclasses: [{target: road, sources: [rode]}]", "'coco' has no class 'rode'"),
        ("source: coco\ntarget: cityscapes\nclasses: [{target: rode, sources: [road]}]", "has no class 'rode'"),
        ("source: coco\ntarget: cityscapes\nclasses: [{target: road, sources: [road, road]}]", "becomes several"),
        ("source: coco\ntarget: cityscapes\nclasses: {road: road}", "classes: expected a list"),
        ("source: coco\nclasses: []", "key 'target' is missing"),
    ],
)
def test_a_broken_file_is_named_with_its_fault(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=said) as error:
        LabelMapping.load(path)
    assert str(path) in str(error.value)
