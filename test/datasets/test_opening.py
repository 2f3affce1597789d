"""Which data set a folder holds, and what opening says where it cannot tell."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from small_sets import make_camvid, make_cityscapes, make_coco, make_mapillary, make_voc

from panoptic_ros.datasets import DatasetError, PanopticDataset, open_dataset
from panoptic_ros.datasets.opening import LAYOUTS


def test_nothing_that_is_known(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as error:
        open_dataset(tmp_path)
    assert str(tmp_path) in str(error.value)
    assert all(layout.looked_for in str(error.value) for layout in LAYOUTS.values())
    with pytest.raises(DatasetError, match=r"no: is no folder"):
        open_dataset(tmp_path / "no")
    with pytest.raises(DatasetError, match=r"kind 'kitti' is none of auto, coco, cityscapes"):
        open_dataset(tmp_path, kind="kitti")


def test_a_split_must_be_there_and_be_chosen_where_there_are_several(tmp_path: Path) -> None:
    make_cityscapes(tmp_path, ("train", "val"))
    with pytest.raises(DatasetError, match=r"has the splits train, val \(cityscapes\): one of them must be chosen"):
        open_dataset(tmp_path)
    with pytest.raises(DatasetError, match=r"has no split 'test', but train, val \(cityscapes\)"):
        open_dataset(tmp_path, split="test")
    assert len(open_dataset(tmp_path, split="train")) == 2


def test_what_has_no_use_is_refused(tmp_path: Path) -> None:
    make_cityscapes(tmp_path)
    make_coco(tmp_path / "coco")
    with pytest.raises(DatasetError, match="image_folder cannot be chosen"):
        open_dataset(tmp_path, image_folder="x")
    with pytest.raises(DatasetError, match="kind 'cityscapes' takes no file of annotations"):
        open_dataset(tmp_path, kind="cityscapes", annotations="x.json")
    with pytest.raises(DatasetError, match="split 'val' cannot be chosen of it"):
        open_dataset(tmp_path / "coco", annotations="annotations/panoptic_val2017.json", split="val")
    with pytest.raises(FileNotFoundError, match="labels that come with panoptic_ros"):
        open_dataset(tmp_path, labels="citiscapes")


def test_a_picture_folder_of_ones_own(tmp_path: Path) -> None:
    make_coco(tmp_path)
    (tmp_path / "val2017").rename(tmp_path / "jpegs")
    assert open_dataset(tmp_path, image_folder="jpegs").image(0).shape == (40, 60, 3)


MAKERS = [make_coco, make_cityscapes, make_voc, make_camvid, make_mapillary]


def read_elsewhere(dataset: PanopticDataset, index: int) -> tuple[int, np.ndarray, np.ndarray, frozenset[int]]:
    sample = dataset[index]
    return os.getpid(), sample.image, sample.truth.segmentation.ids, sample.truth.crowd


@pytest.mark.parametrize("make", MAKERS)
def test_a_data_set_is_small_when_it_is_sent(tmp_path: Path, make: object) -> None:
    make(tmp_path)  # type: ignore[operator]
    dataset = open_dataset(tmp_path)
    content = pickle.dumps(dataset)
    assert len(content) < 30_000
    again = pickle.loads(content)
    np.testing.assert_array_equal(again.truth(0).segmentation.ids, dataset.truth(0).segmentation.ids)


def test_several_processes_read_the_same(tmp_path: Path) -> None:
    for number, make in enumerate(MAKERS):
        make(tmp_path / str(number))
    datasets = [open_dataset(tmp_path / str(number)) for number in range(len(MAKERS))]
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        results = list(pool.map(read_elsewhere, datasets, [0] * len(datasets)))
    for dataset, (process, image, ids, crowd) in zip(datasets, results, strict=True):
        assert process != os.getpid()
        np.testing.assert_array_equal(image, dataset[0].image)
        np.testing.assert_array_equal(ids, dataset[0].truth.segmentation.ids)
        assert crowd == dataset[0].truth.crowd
