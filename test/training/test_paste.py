"""Copy-paste against a transcription pixel by pixel, and where its pictures come from."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from trainings import CITYSCAPES, HEIGHT, WIDTH, draw, write_camvid, write_coco

from panoptic_ros.configuration import ConfigurationError
from panoptic_ros.labels import LabelSet
from panoptic_training.augmentation import Augmentation, AugmentationOptions, LabelledImage
from panoptic_training.augmentation.affine import AffineOptions
from panoptic_training.augmentation.paste import PasteOptions, paste
from panoptic_training.data.module import DataOptions, Loading, PanopticData
from panoptic_training.data.order import Draw
from panoptic_training.data.samples import TrainingSet
from panoptic_training.data.sources import SourceOptions

ROAD, PERSON, CAR, BICYCLE = 7000, 24_000, 26_000, 33_000
IDS = frozenset({24, 33})


class Chosen(np.random.Generator):
    """Random numbers that are known: the first of what there is to choose, and one share of the width."""

    def __init__(self, share: float) -> None:
        super().__init__(np.random.PCG64(0))
        self._share = share

    def choice(self, a: Any, *_: Any, **__: Any) -> Any:
        return a[0]

    def random(self, *_: Any, **__: Any) -> Any:
        return self._share


def picture(
    seed: int, things: dict[int, tuple[int, int, int, int]], crowd: frozenset[int] = frozenset()
) -> LabelledImage:
    """(40, 60) noise with rectangles of things (x0, y0, x1, y1) on a road."""
    image = np.random.default_rng(seed).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    ids = np.full((40, 60), ROAD, dtype=np.int32)
    for id_, (x0, y0, x1, y1) in things.items():
        ids[y0:y1, x0:x1] = id_
    return LabelledImage(image, ids, crowd)


def same_place() -> NDArray[np.float64]:
    """The matrix of a view that is the picture."""
    return np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def test_all_things_of_the_classes_come_with_the_one_that_is_chosen_and_cover_what_is_there() -> None:
    view = picture(0, {CAR + 1: (0, 20, 30, 30), PERSON + 7: (50, 5, 55, 15)})
    things = {
        BICYCLE + 1: (10, 20, 20, 30),
        PERSON + 2: (12, 10, 18, 20),
        PERSON + 3: (56, 0, 60, 4),
        CAR + 4: (0, 0, 9, 9),
    }
    donor = picture(1, {**things, BICYCLE + 5: (30, 20, 40, 30)}, crowd=frozenset({BICYCLE + 5}))
    # The person is the first that is large enough; its middle, 15, moves to 0.75 of the width, 45: 30 to the right.
    found = paste(view, donor, same_place(), IDS, 60, Chosen(0.75))
    numbered = {PERSON + 2: PERSON + 8, BICYCLE + 1: BICYCLE + 9}  # on from the person's 7; the other left the view
    for y in range(40):
        for x in range(60):
            before = int(donor.ids[y, x - 30]) if x >= 30 else 0
            pasted = before in (BICYCLE + 1, PERSON + 2, PERSON + 3)
            assert found.ids[y, x] == (numbered[before] if pasted else view.ids[y, x])
            assert (found.image[y, x] == (donor.image[y, x - 30] if pasted else view.image[y, x])).all()
    assert (found.ids == BICYCLE + 9).sum() == 100
    assert found.crowd == view.crowd


def test_a_view_that_is_scaled_scales_what_is_pasted() -> None:
    """Twice as large and cut out from row 10 on: the thing keeps its rows in the picture."""
    matrix = np.array([[2.0, 0.0, -20.0], [0.0, 2.0, -20.0]])
    donor = picture(1, {BICYCLE + 1: (10, 15, 20, 25)})
    found = paste(picture(0, {}), donor, matrix, IDS, 1, Chosen(0.5))
    rows, columns = np.nonzero(found.ids == BICYCLE + 1)
    assert (rows.min(), rows.max() + 1) == (2 * 15 - 20, 2 * 25 - 20)
    assert (columns.min(), columns.max() + 1) == (20, 40)  # 20 wide around column 30


def test_nothing_large_enough_leaves_the_view_as_it_is() -> None:
    view = picture(0, {CAR + 1: (0, 20, 30, 30)})
    crowd = picture(1, {BICYCLE + 1: (0, 0, 30, 30)}, crowd=frozenset({BICYCLE + 1}))
    rng = np.random.default_rng(0)
    assert paste(view, crowd, same_place(), IDS, 1, rng) is view
    assert paste(view, picture(1, {BICYCLE + 1: (0, 0, 9, 9)}), same_place(), IDS, 82, rng) is view
    assert paste(view, picture(1, {CAR + 1: (0, 0, 9, 9)}), same_place(), IDS, 1, rng) is view


def test_no_number_of_a_crowd_is_taken_that_has_left_the_view() -> None:
    view = picture(0, {CAR + 1: (0, 20, 30, 30)}, crowd=frozenset({BICYCLE + 2, CAR + 5}))
    found = paste(view, picture(1, {BICYCLE + 1: (10, 20, 20, 30)}), same_place(), IDS, 1, Chosen(0.5))
    assert found.ids.max() == BICYCLE + 6
    truth = found.truth(CITYSCAPES)
    assert not truth.crowd
    assert BICYCLE + 6 in {segment.id for segment in truth.segmentation.segments}


def test_a_picture_of_another_size_gives_things_of_the_size_that_they_would_have_here() -> None:
    """Of a picture twice as large: half as large, at half the height."""
    large = LabelledImage(np.zeros((80, 120, 3), dtype=np.uint8), np.full((80, 120), ROAD, dtype=np.int32))
    large.ids[40:60, 20:40] = BICYCLE + 1
    options = AugmentationOptions(
        affine=AffineOptions(scale=(1.0, 1.0), rotation=0.0, crop=(40, 60)),
        paste=PasteOptions(("bicycle",), probability=1.0, least_area=1),
    )
    found = Augmentation(options, CITYSCAPES)(picture(0, {}), lambda: large, Chosen(0.5), lambda: large)
    rows, columns = np.nonzero(found.ids == BICYCLE + 1)
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (20, 30, 25, 35)


def test_every_quarter_of_a_mosaic_can_get_things() -> None:
    view, donor = picture(0, {}), picture(1, {BICYCLE + 1: (0, 0, 60, 40)})  # covers all of it, once it is there
    options = AugmentationOptions(
        affine=AffineOptions(scale=(1.0, 1.0), rotation=0.0, crop=(40, 60)),
        mosaic=1.0,
        paste=PasteOptions(("bicycle",), probability=1.0, least_area=1),
    )
    augment = Augmentation(options, CITYSCAPES)
    found = [augment(view, lambda: view, np.random.default_rng(seed), lambda: donor).ids // 1000 for seed in range(20)]
    rows, columns = (slice(8), slice(-8, None)), (slice(12), slice(-12, None))
    for row in rows:
        for column in columns:
            assert any((ids[row, column] == 33).any() for ids in found)


def test_things_beyond_the_last_number_are_void() -> None:
    view = picture(0, {CAR + 998: (50, 0, 60, 5)})
    donor = picture(1, {BICYCLE + 1: (10, 20, 20, 30), BICYCLE + 2: (20, 20, 30, 30)})
    found = paste(view, donor, same_place(), IDS, 1, Chosen(0.25))
    assert set(np.unique(found.ids).tolist()) == {0, ROAD, CAR + 998, BICYCLE + 999}
    assert (found.ids == 0).sum() == 100


def test_it_happens_as_often_as_asked_and_the_generator_decides_everything() -> None:
    view, donor = picture(0, {}), picture(1, {BICYCLE + 1: (10, 10, 20, 30)})
    options = AugmentationOptions(
        affine=AffineOptions(scale=(1.0, 1.0), rotation=0.0, crop=(40, 60)),
        paste=PasteOptions(("bicycle",), probability=0.25, least_area=1),
    )
    augment = Augmentation(options, CITYSCAPES)
    rng = np.random.default_rng(0)
    pasted = [(augment(view, lambda: view, rng, lambda: donor).ids == BICYCLE + 1).any() for _ in range(400)]
    assert abs(np.mean(pasted) - 0.25) < 0.08
    one, other = (augment(view, lambda: view, np.random.default_rng(5), lambda: donor) for _ in range(2))
    np.testing.assert_array_equal(one.image, other.image)
    assert not (augment(view, lambda: view, rng).ids == BICYCLE + 1).any()  # nothing to paste from


def data(root: Path, names: str, least_area: int, *classes: str, check: bool = True) -> PanopticData:
    sources = tuple(SourceOptions(name) for name in names)
    augmentation = AugmentationOptions(
        affine=AffineOptions(scale=(1.0, 1.0), rotation=0.0, crop=(HEIGHT, WIDTH)),
        blur=0.0,
        paste=PasteOptions(classes, probability=1.0, least_area=least_area),
    )
    made = PanopticData(
        DataOptions(sources, sources, workers=1),
        Loading(CITYSCAPES, (HEIGHT, WIDTH), 1, augmentation=augmentation),
        root,
        root / "run",
        lambda name, count: nullcontext(lambda done: None),
        check=check,
    )
    made.look(first=True)
    return made


def test_pictures_to_paste_from_are_those_with_a_thing_that_is_large_enough(tmp_path: Path) -> None:
    """Of ten pictures those with a whole car (384 pixels), and none whose things are not told apart."""
    write_camvid(tmp_path / "a", "train", 2)
    write_coco(tmp_path / "b", "train", 10)
    whole = [2 + index for index in range(10) if (draw(index)[1] == CAR + 1).sum() >= 384]
    assert 0 < len(whole) < 10
    made = data(tmp_path, "ab", 384, "car")
    assert made._donors() == whole
    samples = made.train_dataloader().dataset
    assert isinstance(samples, TrainingSet)
    for index, pasted in [(0, False), (1, False), *((2 + number, True) for number in range(10))]:
        image = made.train[index].image.astype(int)
        views = [samples[Draw(0, index, index)].image.astype(int), samples[Draw(1, index, index)].image.astype(int)]
        shown = [min(abs(view - image).max(), abs(view - image[:, ::-1]).max()) for view in views]
        assert (max(shown) > 0) == pasted, index


def test_what_cannot_be_pasted_is_said_before_the_first_step(tmp_path: Path) -> None:
    write_coco(tmp_path / "b", "train", 2)
    with pytest.raises(
        ConfigurationError, match="paste: no sample that tells things apart has one of car with 99999 pix"
    ):
        data(tmp_path, "b", 99_999, "car").train_dataloader()
    with pytest.raises(ConfigurationError, match="'road' is no thing of 'cityscapes', expected one of person, rider"):
        data(tmp_path, "b", 1, "road")
    with pytest.raises(ConfigurationError, match="paste needs a look at every sample: not with --no-check"):
        data(tmp_path, "b", 1, "car", check=False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"classes": ()}, "classes must name at least one class of things"),
        ({"classes": ("car",), "probability": 1.5}, r"probability must be in \[0, 1\], got 1.5"),
        ({"classes": ("car",), "least_area": 0}, "least_area must be at least 1 pixel, got 0"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        PasteOptions(**options)


def test_classes_are_those_of_the_label_set() -> None:
    assert PasteOptions(("person", "bicycle")).class_ids(LabelSet.load("cityscapes")) == IDS
