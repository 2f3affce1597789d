"""Overlays against literal, slow drawing, and captions found again in the picture."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from panoptic_ros.drawing import HALO, PLATE, OverlayPainter
from panoptic_ros.labels import Label, LabelSet
from panoptic_ros.segmentation import PanopticSegmentation

ROAD, SKY, CAR, PERSON = 7, 23, 26, 24
LABELS = LabelSet(
    name="test",
    labels=(
        Label(ROAD, "road", False, (128, 64, 100)),
        Label(SKY, "sky", False, (70, 130, 180)),
        Label(PERSON, "person", True, (220, 20, 60)),
        Label(CAR, "car", True, (0, 0, 142)),
    ),
)
GRAY = 128


def segment(ids: NDArray[np.int32], score: float = 0.87) -> PanopticSegmentation:
    scores = {int(value): score for value in np.unique(ids)}
    return PanopticSegmentation.from_ids(ids, LABELS.thing_ids, scores)


def gray(height: int, width: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), GRAY, dtype=np.uint8)


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def bgr(class_id: int) -> NDArray[np.float64]:
    color = next(label.color for label in LABELS.labels if label.id == class_id)
    return np.array(color[::-1], dtype=np.float64)


def ink(class_id: int) -> NDArray[np.float64]:
    """The colour of a class's outline: two thirds of the way to white."""
    return bgr(class_id) // 3 + 170


def plates(overlay: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return (overlay == PLATE).all(axis=2)


def plate_box(overlay: NDArray[np.uint8]) -> tuple[slice, slice]:
    rows, columns = np.nonzero(plates(overlay))
    return slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)


@pytest.mark.parametrize("opacity", [0.0, 0.25, 0.5, 0.8, 1.0])
def test_blend_is_that_of_each_pixel(opacity: float) -> None:
    ids = np.random.default_rng(0).choice(np.array([0, ROAD, SKY], dtype=np.int32) * 1000, (24, 32))
    frame = noise(24, 32)
    overlay = OverlayPainter(LABELS, opacity)(frame, segment(ids))
    for y in range(24):
        for x in range(32):
            exact = frame[y, x].astype(float)
            if ids[y, x]:
                exact = (1 - opacity) * exact + opacity * bgr(ids[y, x] // 1000)
            assert np.abs(overlay[y, x] - exact).max() <= 0.501, (y, x)


def test_colors_are_those_of_the_label_set_in_opencv_order() -> None:
    labels = LabelSet.load("cityscapes")
    painter = OverlayPainter(labels, opacity=1.0)
    for label in labels.stuff:
        ids = np.full((4, 4), label.id * 1000, dtype=np.int32)
        overlay = painter(gray(4, 4), PanopticSegmentation.from_ids(ids, labels.thing_ids))
        assert (overlay == label.color[::-1]).all(), label.name


def test_every_instance_number_keeps_its_class() -> None:
    numbers = np.arange(999, dtype=np.int32)
    ids = np.stack([ROAD * 1000 + numbers, SKY * 1000 + numbers])
    overlay = OverlayPainter(LABELS, opacity=1.0)(gray(2, 999), segment(ids))
    assert (overlay[0] == bgr(ROAD)).all()
    assert (overlay[1] == bgr(SKY)).all()


def test_void_is_the_frame_and_the_frame_is_not_changed() -> None:
    frame = noise(60, 80)
    before = frame.copy()
    ids = np.zeros((60, 80), dtype=np.int32)
    nothing = PanopticSegmentation(ids=ids, segments=())
    overlay = OverlayPainter(LABELS)(frame, nothing)
    assert (overlay == before).all()
    assert not np.shares_memory(overlay, frame)
    ids[:30] = SKY * 1000
    OverlayPainter(LABELS)(frame, segment(ids))
    assert (frame == before).all()


def literal_outlines(overlay: NDArray[np.float64], ids: NDArray[np.int32], line: int, halo: int) -> None:
    """Draw lines and halos pixel by pixel; for frames too narrow for captions."""
    height, width = ids.shape

    def around(y: int, x: int, radius: int) -> list[tuple[int, int]]:
        return [
            (v, u)
            for v in range(max(0, y - radius), min(height, y + radius + 1))
            for u in range(max(0, x - radius), min(width, x + radius + 1))
        ]

    def at_edge(y: int, x: int) -> bool:
        beside = ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1))
        return any(0 <= v < height and 0 <= u < width and ids[v, u] != ids[y, x] for v, u in beside)

    thing = np.isin(ids // 1000, list(LABELS.thing_ids))
    for y in range(height):
        for x in range(width):
            if thing[y, x]:
                if any(at_edge(v, u) for v, u in around(y, x, line - 1)):
                    overlay[y, x] = ink(ids[y, x] // 1000)
            elif any(thing[v, u] for v, u in around(y, x, halo)):
                overlay[y, x] = HALO


@pytest.mark.parametrize(("height", "line", "halo"), [(48, 1, 1), (720, 2, 1), (1080, 3, 2)])
def test_outlines_lie_exactly_on_the_borders_of_instances(height: int, line: int, halo: int) -> None:
    width = 30  # no caption fits into it
    ids = np.full((height, width), ROAD * 1000, dtype=np.int32)
    ids[: height // 2] = SKY * 1000  # stuff against stuff has no line
    ids[2:20, 0:9] = CAR * 1000 + 1  # at the frame's edge, which is no border
    ids[10:26, 7:20] = CAR * 1000 + 2  # two of one class touch
    ids[20:40, 18:27] = PERSON * 1000 + 3
    ids[28:31, 21:24] = 0  # a hole
    ids[44:46, 28:30] = PERSON * 1000 + 4
    overlay = OverlayPainter(LABELS, opacity=1.0)(gray(height, width), segment(ids))
    expected = gray(height, width).astype(np.float64)
    for class_id in (ROAD, SKY, CAR, PERSON):
        expected[ids // 1000 == class_id] = bgr(class_id)
    literal_outlines(expected, ids, line, halo)
    assert np.argwhere((overlay != expected).any(axis=2)).tolist() == []


def test_one_pixel_is_outlined_and_has_no_caption() -> None:
    ids = np.zeros((720, 1280), dtype=np.int32)
    ids[300, 500] = CAR * 1000 + 1
    overlay = OverlayPainter(LABELS)(gray(720, 1280), segment(ids))
    assert (overlay[300, 500] == ink(CAR)).all()
    assert np.count_nonzero((overlay == HALO).all(axis=2)) == 8
    assert np.count_nonzero((overlay != GRAY).any(axis=2)) == 9


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 2)])
def test_the_smallest_frames(shape: tuple[int, int]) -> None:
    ids = np.full(shape, CAR * 1000 + 1, dtype=np.int32)
    overlay = OverlayPainter(LABELS, opacity=1.0)(gray(*shape), segment(ids))
    assert (overlay == bgr(CAR)).all()  # a thing that fills the frame has no border in it


@pytest.mark.parametrize("y", [0, 300, 620])
@pytest.mark.parametrize("x", [0, 600, 1180])
def test_captions_are_whole_wherever_the_thing_is(x: int, y: int) -> None:
    painter = OverlayPainter(LABELS)
    ids = np.zeros((720, 1280), dtype=np.int32)
    ids[300:400, 600:700] = CAR * 1000 + 1
    middle = painter(gray(720, 1280), segment(ids))
    caption = middle[plate_box(middle)]
    moved = np.zeros_like(ids)
    moved[y : y + 100, x : x + 100] = CAR * 1000 + 1
    overlay = painter(gray(720, 1280), segment(moved))
    rows, columns = plate_box(overlay)
    assert (overlay[rows, columns] == caption).all()
    # Beside its thing: the plate's middle is within the thing's width, and it touches the thing or lies in it.
    assert x <= (columns.start + columns.stop) / 2 <= x + 100
    assert y - 25 <= rows.start < rows.stop <= y + 125


def test_captions_say_name_and_score() -> None:
    painter = OverlayPainter(LABELS)
    pictures = []
    for class_id, score in ((CAR, 0.87), (CAR, 0.12), (PERSON, 0.87)):
        ids = np.zeros((720, 1280), dtype=np.int32)
        ids[300:400, 600:700] = class_id * 1000 + 1
        overlay = painter(gray(720, 1280), segment(ids, score))
        pictures.append(overlay[plate_box(overlay)])
    assert pictures[0].shape == pictures[1].shape
    half = pictures[0].shape[1] // 2
    assert (pictures[0][:, : half - 6] == pictures[1][:, : half - 6]).all()  # "car"
    assert (pictures[0][:, half:] != pictures[1][:, half:]).any()
    assert pictures[2].shape[1] > pictures[0].shape[1]  # "person" is the longer word
    assert all(picture.max() > 240 for picture in pictures)  # light on dark


def test_without_scores_captions_are_names_alone() -> None:
    ids = np.zeros((200, 300), dtype=np.int32)
    ids[60:160, 80:220] = CAR * 1000 + 1
    value = segment(ids)
    whole, name = (OverlayPainter(LABELS, scores=scores)(gray(200, 300), value) for scores in (True, False))
    (rows, columns), (name_rows, name_columns) = plate_box(whole), plate_box(name)
    width = name_columns.stop - name_columns.start
    assert rows == name_rows
    assert 0 < width < columns.stop - columns.start
    left = whole[rows, columns][:, :width]
    assert (left == name[name_rows, name_columns]).all()
    assert (name == OverlayPainter(LABELS, scores=False)(gray(200, 300), segment(ids, 0.11))).all()


def test_captions_do_not_cover_one_another() -> None:
    painter = OverlayPainter(LABELS)
    ids = np.zeros((720, 1280), dtype=np.int32)
    ids[300:400, 600:700] = CAR * 1000 + 1
    alone = np.count_nonzero(plates(painter(gray(720, 1280), segment(ids))))
    for number in range(2, 12):
        ids[300 + 8 * number : 400 + 8 * number, 600 + 9 * number : 700 + 9 * number] = CAR * 1000 + number
    together = np.count_nonzero(plates(painter(gray(720, 1280), segment(ids))))
    assert together % alone == 0
    assert 3 <= together // alone <= 11


def test_lettering_grows_with_the_frame() -> None:
    heights = []
    for height, width in ((384, 640), (720, 1280), (1024, 2048)):
        ids = np.zeros((height, width), dtype=np.int32)
        ids[height // 2 : height * 2 // 3, width // 2 : width * 2 // 3] = CAR * 1000 + 1
        overlay = OverlayPainter(LABELS)(gray(height, width), segment(ids))
        rows, _ = plate_box(overlay)
        heights.append(rows.stop - rows.start)
    assert heights == sorted(set(heights))
    assert heights[0] >= 12  # still legible on a small frame


def test_large_stuff_is_named_inside_itself() -> None:
    ids = np.zeros((720, 1280), dtype=np.int32)
    ids[100:300, 200:700] = SKY * 1000
    ids[600:640, 1000:1040] = ROAD * 1000  # no room for its name
    overlay = OverlayPainter(LABELS, opacity=1.0)(gray(720, 1280), segment(ids))
    assert (overlay[ids == 0] == GRAY).all()
    assert (overlay[ids == ROAD * 1000] == bgr(ROAD)).all()
    rows, columns = np.nonzero((overlay != bgr(SKY)).any(axis=2) & (ids == SKY * 1000))
    assert 180 <= rows.mean() <= 220  # as far from every border as can be
    assert 290 <= columns.mean() <= 610
    assert overlay[rows, columns].max() == 255


def test_nine_hundred_and_ninety_nine_instances() -> None:
    ids = np.zeros((720, 1280), dtype=np.int32)
    for number in range(1, 1000):
        row, column = divmod(number - 1, 40)
        ids[28 * row : 28 * row + 28, 32 * column : 32 * column + 32] = CAR * 1000 + number
    overlay = OverlayPainter(LABELS)(gray(720, 1280), segment(ids))
    lines = (overlay == ink(CAR)).all(axis=2)
    for number in range(1, 1000):
        assert lines[ids == CAR * 1000 + number].any(), number


def test_a_painter_follows_changes_of_size() -> None:
    painter = OverlayPainter(LABELS)
    for height, width in ((720, 1280), (384, 640), (720, 1280)):
        ids = np.full((height, width), ROAD * 1000, dtype=np.int32)
        ids[height // 3 : height // 2, width // 3 : width // 2] = CAR * 1000 + 1
        frame = noise(height, width)
        assert (painter(frame, segment(ids)) == OverlayPainter(LABELS)(frame, segment(ids))).all()


def test_views_of_messages_are_frames_too() -> None:
    rows = noise(60, 100)
    ids = np.full((60, 80), ROAD * 1000, dtype=np.int32)
    expected = OverlayPainter(LABELS)(rows[:, :80].copy(), segment(ids))
    rows.flags.writeable = False
    for view in (rows[:, :80], rows[:, :80].copy()[..., ::-1].copy()[..., ::-1]):
        assert (OverlayPainter(LABELS)(view, segment(ids)) == expected).all()


def test_a_frame_of_another_size_is_refused_by_both_sizes() -> None:
    segmentation = segment(np.zeros((480, 640), dtype=np.int32))
    with pytest.raises(ValueError, match=r"1280x720.*640x480"):
        OverlayPainter(LABELS)(gray(720, 1280), segmentation)


@pytest.mark.parametrize(
    "frame", [np.zeros((48, 64), np.uint8), np.zeros((48, 64, 4), np.uint8), np.zeros((48, 64, 3), np.float32)]
)
def test_what_is_not_a_color_image_is_refused(frame: NDArray[np.generic]) -> None:
    with pytest.raises(ValueError, match=r"\(H, W, 3\) uint8"):
        OverlayPainter(LABELS)(frame, segment(np.zeros((48, 64), dtype=np.int32)))


@pytest.mark.parametrize("opacity", [-0.1, 1.1, float("nan")])
def test_opacity_is_a_share(opacity: float) -> None:
    with pytest.raises(ValueError, match="opacity"):
        OverlayPainter(LABELS, opacity)
