"""Augmentation against closed forms: what a square, an impulse or a grey picture must become."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from panoptic_ros.labels import LabelSet
from panoptic_ros.letterbox import FILL
from panoptic_training.augmentation import Augmentation, AugmentationOptions, LabelledImage
from panoptic_training.augmentation.affine import AffineOptions, affine, random_affine, warp
from panoptic_training.augmentation.blur import blur
from panoptic_training.augmentation.flip import flip
from panoptic_training.augmentation.mosaic import mosaic
from panoptic_training.augmentation.photometric import PhotometricOptions, relight

LABELS = LabelSet.load("cityscapes")
ROAD, CAR, PERSON = 7000, 26_000, 24_000


def scene(seed: int = 0, height: int = 90, width: int = 120) -> LabelledImage:
    """Noise over road, sky above, and overlapping rectangles that are cars and persons."""
    rng = np.random.default_rng(seed)
    ids = np.full((height, width), ROAD, dtype=np.int32)
    ids[: height // 3] = 0
    for instance in range(1, 7):
        top, left = rng.integers(height - 12), rng.integers(width - 12)
        size = rng.integers(4, 30, 2)
        ids[top : top + size[0], left : left + size[1]] = (CAR if instance % 2 else PERSON) + instance
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return LabelledImage(image, ids, frozenset({CAR + 3}))


def in_square(points: NDArray[np.float64], low: float, high: float) -> NDArray[np.bool_]:
    return ((points >= low) & (points < high)).all(axis=-1)


@pytest.mark.parametrize("degrees", [-10.0, 3.5, 10.0, 90.0])
@pytest.mark.parametrize("scale", [0.25, 0.7, 1.0, 4.0])
def test_a_square_turns_and_grows_as_geometry_says(degrees: float, scale: float) -> None:
    side, low, high = 80, 20, 60
    ids = np.zeros((side, side), dtype=np.int32)
    ids[low:high, low:high] = CAR + 1
    image = np.where(ids[..., None] > 0, 255, 0).astype(np.uint8).repeat(3, axis=2)
    out = 320
    angle = math.radians(degrees)
    corner = scale * side / 2 - out / 2, scale * side / 2 - out / 2  # the middles of both lie on one another
    turned = warp(LabelledImage(image, ids), affine(scale, angle, (out / 2, out / 2), corner), out, out)

    # The way back, by hand: from the middle of a pixel, turn by minus the angle, shrink, move to the square's middle.
    y, x = np.mgrid[:out, :out] + 0.5 - out / 2
    cosine, sine = math.cos(angle), math.sin(angle)
    points = np.stack((cosine * x + sine * y, -sine * x + cosine * y), axis=-1) / scale + side / 2
    margin = 0.02  # OpenCV counts positions in 1/1024 of a pixel
    inside, outside = in_square(points, low + margin, high - margin), ~in_square(points, low - margin, high + margin)
    assert inside.sum() > 0.9 * (scale * 40) ** 2 - 8 * scale * 40
    assert (turned.ids[inside] == CAR + 1).all()
    assert (turned.ids[outside] == 0).all()
    # The image has gone the same way: more than two pixels of either size from the edge it is still white or black.
    far = 2.0 + 2.0 / scale
    assert (turned.image[in_square(points, low + far, high - far)] >= 250).all()
    in_picture = in_square(points, far, side - far)
    assert (turned.image[in_picture & ~in_square(points, low - far, high + far)] <= 5).all()
    beyond = ~in_square(points, -far, side + far)
    assert (turned.image[beyond] == FILL).all()
    assert (turned.ids[~in_square(points, -margin, side + margin)] == 0).all()


def test_twice_the_size_repeats_each_pixels_id() -> None:
    before = scene()
    after = warp(before, affine(2.0, 0.0, (0.0, 0.0), (0.0, 0.0)), 180, 240)
    np.testing.assert_array_equal(after.ids, before.ids.repeat(2, axis=0).repeat(2, axis=1))


def test_a_piece_cut_out_at_whole_pixels_is_a_slice() -> None:
    before = scene()
    after = warp(before, affine(1.0, 0.0, (20.0, 16.0), (13.0, 21.0)), 32, 40)
    np.testing.assert_array_equal(after.ids, before.ids[21:53, 13:53])
    np.testing.assert_array_equal(after.image, before.image[21:53, 13:53])


def test_shrinking_averages_what_it_leaves_out() -> None:
    """A board of single black and white pixels becomes grey; sampling alone would make it black, white or stripes."""
    board = (np.indices((128, 128)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    small = warp(LabelledImage(board, np.zeros((128, 128), dtype=np.int32)), affine(0.25, 0.0, (0, 0), (0, 0)), 32, 32)
    assert abs(small.image.astype(int) - 127).max() <= 2


def test_scales_and_angles_are_drawn_as_promised() -> None:
    options = AffineOptions(scale=(0.25, 4.0), rotation=10.0, crop=(64, 64))
    rng = np.random.default_rng(1)
    matrices = np.array([random_affine(options, 100, 200, rng) for _ in range(4000)])
    scales = np.sqrt(np.linalg.det(matrices[:, :, :2]))
    angles = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    assert 0.25 <= scales.min() < 0.26
    assert 3.9 < scales.max() <= 4.0
    assert abs((scales < 1.0).mean() - 0.5) < 0.03  # even by the logarithm
    assert -10 <= angles.min() < -9.9
    assert 9.9 < angles.max() <= 10
    # Without a turn the crop lies in the scaled image, or holds it.
    straight = AffineOptions(scale=(0.25, 4.0), rotation=0.0, crop=(64, 64))
    for _ in range(500):
        matrix = random_affine(straight, 100, 200, rng)
        for axis, size in enumerate((200, 100)):
            start, end = matrix[axis, 2], matrix[axis, 2] + matrix[axis, axis] * size
            assert (start <= 1e-9 and end >= 64 - 1e-9) or (start >= -1e-9 and end <= 64 + 1e-9)


def test_a_flip_is_exact_and_undoes_itself() -> None:
    before = scene()
    after = flip(before)
    for y in range(before.height):
        for x in range(before.width):
            assert after.ids[y, x] == before.ids[y, before.width - 1 - x]
            assert (after.image[y, x] == before.image[y, before.width - 1 - x]).all()
    np.testing.assert_array_equal(flip(after).image, before.image)
    np.testing.assert_array_equal(flip(after).ids, before.ids)


def test_blur_spreads_a_point_as_a_gaussian() -> None:
    image = np.zeros((11, 11, 3), dtype=np.uint8)
    image[5, 5] = 255
    weights = np.exp(-(np.arange(-2, 3) ** 2) / (2 * 1.1**2))
    weights /= weights.sum()
    expected = np.zeros((11, 11))
    expected[3:8, 3:8] = 255 * np.outer(weights, weights)
    assert abs(blur(image)[..., 1] - expected).max() <= 1
    flat = np.full((9, 9, 3), 77, dtype=np.uint8)
    np.testing.assert_array_equal(blur(flat), flat)


@pytest.mark.parametrize(("brightness", "contrast"), [(0.0, 1.0), (0.1, 1.0), (-0.2, 1.0), (0.0, 1.5), (0.05, 0.5)])
def test_light_on_grey_follows_the_formula(brightness: float, contrast: float) -> None:
    """Grey has no hue, so that the way through HSV changes nothing, and saturation and hue must not either."""
    grey = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    expected = [min(255, max(0, (value - 127.5) * contrast + 127.5 + 255 * brightness)) for value in range(256)]
    lit = relight(grey, brightness, contrast, saturation=1.4, hue=25.0)
    assert abs(lit.reshape(256, 3) - np.array(expected)[:, None]).max() <= 0.5 + 1e-9


def test_hue_turns_red_to_green_and_no_saturation_is_grey() -> None:
    red = np.zeros((2, 2, 3), dtype=np.uint8)
    red[..., 2] = 255
    assert relight(red, 0.0, 1.0, 1.0, 120.0)[0, 0].tolist() == [0, 255, 0]
    assert relight(red, 0.0, 1.0, 1.0, -120.0)[0, 0].tolist() == [255, 0, 0]
    assert relight(red, 0.0, 1.0, 0.0, 0.0)[0, 0].tolist() == [255, 255, 255]
    assert cv2.cvtColor(relight(red, 0.0, 1.0, 0.5, 0.0), cv2.COLOR_BGR2HSV)[0, 0].tolist() == [0, 128, 255]


def test_a_mosaic_is_four_corners_with_things_numbered_anew() -> None:
    quarters = [scene(seed) for seed in range(4)]
    row, column = 37, 71
    whole = mosaic(quarters, row, column)
    origin: dict[int, tuple[int, int]] = {}
    for y in range(whole.height):
        for x in range(whole.width):
            number = 2 * (y >= row) + (x >= column)
            before, after = int(quarters[number].ids[y, x]), int(whole.ids[y, x])
            assert (whole.image[y, x] == quarters[number].image[y, x]).all()
            assert after // 1000 == before // 1000
            if before % 1000:
                assert after % 1000
                assert origin.setdefault(after % 1000, (number, before)) == (number, before)
            else:
                assert after == before
    assert len(set(origin.values())) == len(origin), "two things share a number"
    assert whole.crowd == {id_ for id_ in np.unique(whole.ids).tolist() if origin.get(id_ % 1000, (0, 0))[1] == CAR + 3}


def test_a_mosaic_of_too_many_things_keeps_what_can_be_numbered() -> None:
    ids = np.arange(64 * 128, dtype=np.int32).reshape(64, 128) % 999 + CAR + 1
    many = LabelledImage(np.zeros((64, 128, 3), dtype=np.uint8), ids)
    whole = mosaic([many] * 4, 32, 64)
    assert np.unique(whole.ids % 1000).tolist() == [0, *range(1, 1000)]
    assert set(whole.ids[whole.ids % 1000 == 0].tolist()) == {0}


def test_boxes_are_those_of_the_changed_id_map() -> None:
    """The whole chain, against boxes counted pixel by pixel from what came out."""
    options = AugmentationOptions(
        affine=AffineOptions(scale=(0.5, 2.0), crop=(64, 96)), photometric=PhotometricOptions(), mosaic=0.5
    )
    augment = Augmentation(options, LABELS)
    seen = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        view = augment(scene(seed), lambda: scene(99), rng)
        assert (view.image.shape, view.ids.shape) == ((64, 96, 3), (64, 96))
        truth = view.truth(LABELS)
        assert truth.crowd <= {segment.id for segment in truth.segmentation.segments}
        for segment in truth.segmentation.segments:
            rows, columns = np.nonzero(view.ids == segment.id)
            assert segment.bbox == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert segment.area == len(rows)
            seen += segment.is_thing
    assert seen > 60


def test_the_generator_decides_everything() -> None:
    augment = Augmentation(AugmentationOptions(photometric=PhotometricOptions(), mosaic=0.5), LABELS)
    views = [augment(scene(), lambda: scene(5), np.random.default_rng(seed)) for seed in (3, 3, 4)]
    np.testing.assert_array_equal(views[0].image, views[1].image)
    np.testing.assert_array_equal(views[0].ids, views[1].ids)
    assert (views[0].image != views[2].image).any()


def test_probabilities_are_kept() -> None:
    """With a whole-pixel crop, flip and blur can be told from the result."""
    plain = AffineOptions(scale=(1.0, 1.0), rotation=0.0, crop=(90, 120))
    before = scene()
    augment = Augmentation(AugmentationOptions(affine=plain, blur=0.25, flip=0.75), LABELS)
    rng = np.random.default_rng(0)
    views = [augment(before, scene, rng) for _ in range(400)]
    flipped = np.mean([(view.ids == before.ids[:, ::-1]).all() for view in views])
    sharp = np.mean(
        [any((view.image == image).all() for image in (before.image, before.image[:, ::-1])) for view in views]
    )
    assert abs(flipped - 0.75) < 0.08
    assert abs(sharp - 0.75) < 0.08


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: AffineOptions(scale=(0.0, 1.0)), "scale must be two positive factors"),
        (lambda: AffineOptions(scale=(2.0, 1.0)), "the lower first"),
        (lambda: AffineOptions(rotation=-1.0), "rotation must be in 0 to 180"),
        (lambda: AffineOptions(crop=(0, 5)), "crop must be"),
        (lambda: AugmentationOptions(flip=1.5), r"flip is a probability, in \[0, 1\], got 1.5"),
        (lambda: PhotometricOptions(hue=200.0), "hue must be"),
        (lambda: PhotometricOptions(contrast=-0.1), "contrast must be"),
    ],
)
def test_values_out_of_range_are_refused(make: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()  # type: ignore[operator]
