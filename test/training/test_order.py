"""The order of samples: each as often as it is wanted, the same for any number of processes, and resumable."""

from __future__ import annotations

import math
import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trainings import CITYSCAPES, HEIGHT, WIDTH, draw, write_coco

from panoptic_ros.letterbox import Letterbox
from panoptic_training.augmentation import Augmentation, AugmentationOptions
from panoptic_training.augmentation.affine import AffineOptions
from panoptic_training.data.loading import ResumableLoader
from panoptic_training.data.order import Draw, EpochOrder, drawn
from panoptic_training.data.samples import TrainingSet, ValidationSet
from panoptic_training.data.sources import Mixture, Source, SourceOptions


@given(st.integers(1, 60), st.integers(0, 5), st.integers(0, 3))
def test_with_equal_weights_an_epoch_is_a_permutation(count: int, seed: int, epoch: int) -> None:
    assert sorted(drawn(np.ones(count), count, seed, epoch).tolist()) == list(range(count))


@given(st.lists(st.floats(0.1, 5.0), min_size=1, max_size=30), st.integers(1, 100), st.integers(0, 9))
def test_each_sample_is_drawn_as_often_as_it_is_wanted(repeats: list[float], count: int, seed: int) -> None:
    """Its share of the draws, rounded down or up."""
    found = Counter(drawn(np.array(repeats), count, seed, 0).tolist())
    assert sum(found.values()) == count
    for index, wanted in enumerate(repeats):
        share = wanted * count / math.fsum(repeats)
        assert math.floor(share - 1e-9) <= found[index] <= math.ceil(share + 1e-9)


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = [tuple(drawn(np.ones(50), 50, seed, epoch).tolist()) for seed in range(3) for epoch in range(3)]
    assert len(set(orders)) == 9


@given(st.integers(1, 4), st.integers(1, 4), st.integers(16, 50))
def test_processes_share_each_batch_of_one(processes: int, batch: int, count: int) -> None:
    alone = EpochOrder(np.ones(count), count, batch * processes, seed=3)
    shares = [EpochOrder(np.ones(count), count, batch, 3, rank, processes) for rank in range(processes)]
    parts = [list(share) for share in shares]
    assert {len(part) for part in parts} == {len(share) for share in shares} == {count // (batch * processes) * batch}
    joined = [one for start in range(0, len(parts[0]), batch) for part in parts for one in part[start : start + batch]]
    assert joined == list(alone)


def test_an_epoch_of_less_than_a_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="an epoch draws 5 samples, but one batch takes 6"):
        EpochOrder(np.ones(5), 5, batch=3, seed=0, processes=2)


@pytest.fixture
def mixture(tmp_path: Path) -> Mixture:
    write_coco(tmp_path / "drawn", "train", 6)
    return Mixture([Source.open(SourceOptions("drawn", split="train"), tmp_path, CITYSCAPES)])


def training_set(mixture: Mixture) -> TrainingSet:
    options = AugmentationOptions(affine=AffineOptions(crop=(32, 32)), mosaic=0.5)
    return TrainingSet(mixture, CITYSCAPES, Augmentation(options, CITYSCAPES), (HEIGHT, WIDTH), seed=7, minimum_area=1)


def test_a_sample_is_a_function_of_its_draw(mixture: Mixture) -> None:
    first = training_set(mixture)
    second = pickle.loads(pickle.dumps(first))  # as in another process
    same = [first[Draw(1, 4, 2)], second[Draw(1, 4, 2)]]
    np.testing.assert_array_equal(same[0].image, same[1].image)
    np.testing.assert_array_equal(same[0].targets.instances, same[1].targets.instances)
    for other in (Draw(2, 4, 2), Draw(1, 5, 2)):
        assert (first[other].image != same[0].image).any()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_goes_on_where_another_was(mixture: Mixture, workers: int) -> None:
    def loader() -> ResumableLoader:
        return ResumableLoader(training_set(mixture), EpochOrder(np.ones(6), 6, 2, seed=7), 2, workers, on_gpu=False)

    reference, killed, resumed = loader(), loader(), loader()
    whole = []
    for epoch in range(2):
        reference.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        whole.append(list(reference))
    # The second is stopped after two batches of epoch 1; the third takes over.  Lightning makes the iterator first.
    killed.sampler.set_epoch(1)  # type: ignore[attr-defined]
    batches = iter(killed)
    next(batches), next(batches)
    state = killed.state_dict()
    assert state == {"epoch": 1, "batches": 2}
    resumed.load_state_dict(state)
    rest = iter(resumed)
    resumed.sampler.set_epoch(1)  # type: ignore[attr-defined]
    (last,) = list(rest)
    assert last.targets.names == whole[1][2].targets.names
    assert bool((last.images == whole[1][2].images).all())
    assert len(resumed) == 3
    # The epoch after that is whole.
    resumed.sampler.set_epoch(2)  # type: ignore[attr-defined]
    assert len(list(resumed)) == 3
    # A finished epoch is followed by a whole one.
    reference.load_state_dict({"epoch": 1, "batches": 3})
    reference.sampler.set_epoch(2)  # type: ignore[attr-defined]
    assert len(list(reference)) == 3


def test_validation_shows_what_the_pipeline_shows(mixture: Mixture) -> None:
    """The letterbox of the frame, and each pixel's id in the middle of where it lies."""
    size = (64, 128)
    sample = ValidationSet(mixture, CITYSCAPES, size, 1, count=6)[2]
    image, ids = draw(2)
    box = Letterbox.fit(HEIGHT, WIDTH, *size)
    expected = np.empty((*size, 3), dtype=np.uint8)
    box.draw(image, expected)
    np.testing.assert_array_equal(sample.image, expected)
    np.testing.assert_array_equal(sample.frame.truth.segmentation.classes(), ids // 1000)
    index_of = {label.id: index for index, label in enumerate(CITYSCAPES.labels)}
    for y in range(size[0]):
        for x in range(size[1]):
            row = math.floor((y + 0.5 - box.top) / box.scale_y)
            column = math.floor((x + 0.5 - box.left) / box.scale_x)
            inside = 0 <= row < HEIGHT and 0 <= column < WIDTH
            wanted = index_of[int(ids[row, column]) // 1000] if inside else 255
            assert sample.targets.semantic[y, x] == wanted


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_validation_counts_each_sample_once_over_all_processes(mixture: Mixture, processes: int) -> None:
    parts = [ValidationSet(mixture, CITYSCAPES, (64, 96), 1, 5, rank, processes) for rank in range(processes)]
    assert len({len(part) for part in parts}) == 1
    frames = [part[number].frame for part in parts for number in range(len(part))]
    assert sorted(frame.index for frame in frames if frame.counted) == [0, 1, 2, 3, 4]
