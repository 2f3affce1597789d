"""Data sets in a network's classes, and the look at every sample before the first step."""

from __future__ import annotations

import json
import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from trainings import CITYSCAPES, HEIGHT, WIDTH, draw, write_coco

from panoptic_ros.configuration import ConfigurationError
from panoptic_ros.datasets import DatasetError
from panoptic_ros.labels import LabelSet
from panoptic_training.data.module import DataOptions, Loading, PanopticData
from panoptic_training.data.samples import ValidationSet
from panoptic_training.data.sources import Mixture, Source, SourceOptions
from panoptic_training.data.survey import Survey, class_weights, identity_of, repeat_factors, survey
from panoptic_training.targets import IGNORE


def ignore(done: int) -> None:
    """Nobody watches."""


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    return write_coco(tmp_path / "drawn", "train", 5)


def opened(folder: Path, **options: object) -> Source:
    return Source.open(SourceOptions(folder.name, **options), folder.parent, CITYSCAPES)  # type: ignore[arg-type]


def test_a_mixture_is_its_data_sets_one_after_another(tmp_path: Path) -> None:
    first, second = write_coco(tmp_path / "a", "x", 3), write_coco(tmp_path / "b", "x", 2, first=10)
    mixture = Mixture([opened(first), opened(second)])
    assert len(mixture) == 5
    for index, seed in enumerate((0, 1, 2, 10, 11)):
        sample = mixture[index]
        image, ids = draw(seed)
        np.testing.assert_array_equal(sample.image, image)
        np.testing.assert_array_equal(sample.truth.segmentation.classes(), ids // 1000)
    names = [mixture.name_of(index) for index in range(5)]
    assert len(set(names)) == 5
    assert names[0].startswith("0:")
    assert names[4].startswith("1:")


def camvid(folder: Path) -> Path:
    """One frame in SegNet's form: sky (0) over road (3) with a car (8)."""
    (folder / "train").mkdir(parents=True)
    (folder / "trainannot").mkdir()
    labels = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    labels[30:] = 3
    labels[40:50, 20:60] = 8
    cv2.imwrite(str(folder / "train" / "0001TP_006690.png"), np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8))
    cv2.imwrite(str(folder / "trainannot" / "0001TP_006690.png"), labels)
    return folder


def test_without_instances_things_have_a_class_and_no_instance(tmp_path: Path) -> None:
    source = opened(camvid(tmp_path / "camvid"), mapping="camvid_to_cityscapes")
    sample = ValidationSet(Mixture([source]), CITYSCAPES, (HEIGHT, WIDTH), 1, count=1)[0]
    names = [label.name for label in CITYSCAPES.labels]
    assert names[sample.targets.semantic[10, 10]] == "sky"
    assert names[sample.targets.semantic[60, 5]] == "road"
    assert names[sample.targets.semantic[45, 30]] == "car"
    assert not (sample.targets.semantic == IGNORE).any()
    assert sample.targets.boxes.shape == (0, 4)
    assert sample.targets.crowds.tolist() == [[20, 40, 60, 50]]
    assert (sample.targets.instances[40:50, 20:60] == -1).all()
    assert not sample.frame.has_instances


def test_other_labels_without_a_mapping_are_refused(drawn: Path, tmp_path: Path) -> None:
    labels = tmp_path / "mine.yaml"
    content = {"name": "mine", "labels": [{"id": 1, "name": "thing", "is_thing": True, "color": [1, 2, 3]}]}
    labels.write_text(yaml.safe_dump(content))
    with pytest.raises(DatasetError, match=r"drawn: is labelled with '.*', the network's label set is 'mine', and no"):
        Source.open(SourceOptions("drawn"), tmp_path, LabelSet.load(labels))
    with pytest.raises(DatasetError, match=r"the mapping coco_to_cityscapes leads from 'coco' to 'cityscapes', but"):
        opened(drawn, mapping="coco_to_cityscapes")


def test_the_survey_counts_what_was_drawn(drawn: Path, tmp_path: Path) -> None:
    mixture = Mixture([opened(drawn)])
    found = survey(mixture, CITYSCAPES, 1, ignore)
    drawings = [draw(index)[1] // 1000 for index in range(5)]
    assert [list(sample) for sample in found.classes] == [np.unique(classes).tolist() for classes in drawings]
    for sample, (_, ids) in zip(found.classes, map(draw, range(5)), strict=True):
        areas = dict(zip(*(one.tolist() for one in np.unique(ids, return_counts=True)), strict=True))
        assert sample == {id_: max(area for own, area in areas.items() if own // 1000 == id_) for id_ in sample}
    expected = [sum(int((classes == label.id).sum()) for classes in drawings) for label in CITYSCAPES.labels]
    assert list(found.pixels) == expected
    path = tmp_path / "survey.json"
    found.save(path)
    assert Survey.load(path, identity_of(mixture, CITYSCAPES)) == found
    assert Survey.load(path, "other") is None
    path.write_text("{}")
    with pytest.raises(ConfigurationError, match=r"survey\.json: is no survey"):
        Survey.load(path, "other")


def test_a_survey_from_before_areas_were_kept_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "survey.json"
    path.write_text(json.dumps({"identity": "mine", "classes": [[7, 24]], "pixels": [3]}))
    assert Survey.load(path, "mine") is None


def test_faults_are_found_before_the_first_step(drawn: Path) -> None:
    (drawn / "train" / "000002.png").write_bytes(b"no picture")
    annotations = drawn / "annotations" / "panoptic_train.json"
    content = json.loads(annotations.read_text())
    content["annotations"][4]["segments_info"][0]["category_id"] = 199
    annotations.write_text(json.dumps(content))
    with pytest.raises(DatasetError) as caught:
        survey(Mixture([opened(drawn)]), CITYSCAPES, 1, ignore)
    said = str(caught.value)
    assert "000002.png" in said
    assert "199" in said


def test_an_empty_picture_is_found(drawn: Path) -> None:
    mixture = Mixture([opened(drawn)])
    cv2.imwrite(str(drawn / "train" / "000001.png"), np.zeros((2, 2, 3), dtype=np.uint8))
    with pytest.raises(DatasetError, match=r"000001\.png: the picture is 2x2, but its labels are 96x64"):
        survey(mixture, CITYSCAPES, 1, ignore)


def test_rare_classes_are_repeated_as_lvis_says() -> None:
    """Ten samples have class 1, two have 2, one has 3; the threshold is a half."""
    classes = [{1: 9}] * 7 + [{1: 9, 2: 40}, {1: 9, 2: 50}, {1: 9, 3: 60}] + [{}]
    factors = repeat_factors(classes, 0.5)
    total = len(classes)
    second, third = math.sqrt(0.5 / (2 / total)), math.sqrt(0.5 / (1 / total))
    np.testing.assert_allclose(factors, [1.0] * 7 + [second, second, third, 1.0])
    alone = math.sqrt(0.5 / (1 / total))  # one sample has enough of class 2
    np.testing.assert_allclose(repeat_factors(classes, 0.5, 41), [1.0] * 8 + [alone, alone, 1.0])


def test_balance_counts_segments_that_are_large_enough(tmp_path: Path) -> None:
    """Of ten pictures some have no whole car (384 pixels): those with one are drawn more often."""
    write_coco(tmp_path / "drawn", "train", 10)
    sources = (SourceOptions("drawn"),)
    pictures = [draw(index)[1] for index in range(10)]
    whole = sum(bool((ids == 26001).sum() >= 384) for ids in pictures)
    assert 0 < whole < 10

    def drawn(**options: Any) -> int:
        data = PanopticData(
            DataOptions(sources, sources, workers=1, **options),
            Loading(CITYSCAPES, (HEIGHT, WIDTH), 1),
            tmp_path,
            tmp_path / "run",
            lambda name, count: nullcontext(ignore),
        )
        data.look(first=True)
        return data.batches_per_epoch()

    assert drawn(balance=1.0) == 10
    assert drawn(balance=1.0, balance_area=384) == round(10 - whole + whole * math.sqrt(10 / whole))
    with pytest.raises(ValueError, match="balance_area is of balanced sampling, but balance is null, got 384"):
        DataOptions(sources, sources, balance_area=384)
    with pytest.raises(ValueError, match="balance_area must be at least 1 pixel, got 0"):
        DataOptions(sources, sources, balance=0.5, balance_area=0)


def test_class_weights_are_enets() -> None:
    weights = class_weights([300, 100, 0])
    assert weights == pytest.approx([1 / math.log(1.02 + 0.75), 1 / math.log(1.02 + 0.25), 1 / math.log(1.02)])
