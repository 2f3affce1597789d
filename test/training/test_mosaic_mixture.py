"""Mosaics of several data sets: pictures whose things are told apart are not put together with others."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from trainings import CITYSCAPES, HEIGHT, WIDTH, write_camvid, write_coco

from panoptic_training.augmentation import Augmentation, AugmentationOptions
from panoptic_training.augmentation.affine import AffineOptions
from panoptic_training.data.order import Draw
from panoptic_training.data.samples import TrainingSet
from panoptic_training.data.sources import Mixture, Source, SourceOptions


@pytest.fixture
def mixture(tmp_path: Path) -> Mixture:
    """Three pictures with instances, four without, two with."""
    write_coco(tmp_path / "a", "x", 3)
    write_camvid(tmp_path / "b", "train", 4)
    write_coco(tmp_path / "c", "x", 2, first=10)
    return Mixture([Source.open(SourceOptions(name), tmp_path, CITYSCAPES) for name in "abc"])


def test_another_sample_is_of_the_same_kind(mixture: Mixture) -> None:
    """All of a kind are drawn, equally often: 5 and 4 of 4000 draws each, within five standard deviations."""
    rng = np.random.default_rng(0)
    for index, kind in ((1, (0, 1, 2, 7, 8)), (5, (3, 4, 5, 6)), (8, (0, 1, 2, 7, 8))):
        drawn, counts = np.unique([mixture.another(index, rng) for _ in range(4000)], return_counts=True)
        assert tuple(drawn) == kind
        expected = 4000 / len(kind)
        assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_mosaics_keep_their_instances(mixture: Mixture) -> None:
    options = AugmentationOptions(
        affine=AffineOptions(scale=(0.9, 1.1), rotation=0.0, crop=(HEIGHT, WIDTH)), blur=0.0, flip=0.0, mosaic=1.0
    )
    samples = TrainingSet(
        mixture, CITYSCAPES, Augmentation(options, CITYSCAPES), (HEIGHT, WIDTH), seed=0, minimum_area=1
    )
    for index in range(len(mixture)):
        for epoch in range(3):
            targets = samples[Draw(epoch, index, index)].targets
            assert bool(len(targets.boxes)) == mixture.has_instances(index)
            assert bool(len(targets.crowds)) != mixture.has_instances(index)


def test_the_pictures_of_camvids_kind_are_read(mixture: Mixture) -> None:
    """The helper's labels are those of its pictures: cars become crowds of Cityscapes' cars."""
    sample = mixture[4]
    assert sample.truth.crowd
    assert cv2.countNonZero((sample.truth.segmentation.classes() == 26).astype(np.uint8)) > 0
