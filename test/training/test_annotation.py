"""Labels without holes, against what the same objects would be if they had none."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("embreex", reason="the synthetic world needs embreex")

from scenes import SmallWorld, box, ground

from panoptic_training.synthetic.annotation import as_annotated
from panoptic_training.synthetic.camera import Camera, Intrinsics, look
from panoptic_training.synthetic.mesh import Mesh
from panoptic_training.synthetic.raycast import Raycaster

ROAD, BUILDING, FENCE, POLE, VEGETATION, SKY = 7, 11, 13, 17, 21, 23
PERSON, BICYCLE = 24001, 33001
ANGLE = 0.002
CAMERA = Camera(Intrinsics.from_field_of_view(960, 544, 70))

Ids = NDArray[np.int32]
Depth = NDArray[np.float32]


def seen(*parts: Mesh) -> tuple[Ids, Depth]:
    wall = box((1.0, 60.0, 12.0), (40.0, 0.0, 0.0), BUILDING)
    return CAMERA.trace(Raycaster(SmallWorld(Mesh.join([ground(200), wall, *parts]))), look((0, 0, 1.5)), 0.0)


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("distance", [4.0, 10.0, 20.0])
@pytest.mark.parametrize(("bar", "pitch"), [(0.085, 0.15), (0.018, 0.125), (0.04, 0.24)])
def test_a_fence_of_bars_is_labelled_as_one_of_boards(distance: float, bar: float, pitch: float) -> None:
    places = np.arange(-2.0, 2.0, pitch)
    width, middle = float(np.ptp(places)) + bar, float(places[0] + places[-1]) / 2
    bars = [box((0.03, bar, 1.2), (distance, place, 0.0), FENCE) for place in places]
    rails = [box((0.03, width, 0.05), (distance, middle, height), FENCE) for height in (0.0, 1.15)]
    boards = box((0.03, width, 1.2), (distance, middle, 0.0), FENCE)
    ids, depth = seen(*bars, *rails)
    solid, _ = seen(boards)
    expected = solid == FENCE * 1000
    assert overlap(ids == FENCE * 1000, expected) < 0.7
    found = as_annotated(ids, depth, CAMERA.intrinsics.pixel_angle)
    assert overlap(found == FENCE * 1000, expected) > 0.97
    np.testing.assert_array_equal(found[~expected], solid[~expected])


def test_a_gate_that_stands_open_stays_open() -> None:
    parts = [box((0.03, 1.0, 1.2), (8.0, y, 0.0), FENCE) for y in (-1.2, 1.2)]  # 1.4 m between them
    ids, depth = seen(*parts)
    np.testing.assert_array_equal(as_annotated(ids, depth, CAMERA.intrinsics.pixel_angle), ids)


def bars(first: int = 34, pitch: int = 8, depth: float = 5.0) -> tuple[Ids, Depth]:
    """Bars of one pixel before a building at 30 m; the gaps are 0.07 m wide."""
    ids, away = np.full((80, 120), BUILDING * 1000, dtype=np.int32), np.full((80, 120), 30.0, dtype=np.float32)
    ids[30:50, first:86:pitch], away[30:50, first:86:pitch] = FENCE * 1000, depth
    return ids, away


def test_gaps_show_what_is_nearer_and_things_behind_stay() -> None:
    ids, depth = bars()
    ids[:, 50:54], depth[:, 50:54] = POLE * 1000, 4.0
    behind = np.zeros(ids.shape, dtype=bool)
    behind[32:48, 63:69] = True
    behind &= ids != FENCE * 1000
    ids[behind], depth[behind] = PERSON, 9.0
    found = as_annotated(ids, depth, ANGLE)
    kept = (ids == POLE * 1000) | behind
    np.testing.assert_array_equal(found[kept], ids[kept])
    fence, inner = np.zeros((2, *ids.shape), dtype=bool)
    fence[30:50, 34:83], inner[33:47, 34:83] = True, True  # what is closed has round corners
    assert (found[inner & ~kept] == FENCE * 1000).all()
    np.testing.assert_array_equal(found[~fence], ids[~fence])


@pytest.mark.parametrize("first", [3, 6])
def test_a_fence_that_the_border_cuts_goes_on_to_the_border(first: int) -> None:
    ids, depth = bars(first)
    for turned in range(4):
        found = as_annotated(np.rot90(ids, turned), np.rot90(depth, turned), ANGLE)
        assert (np.rot90(found, -turned)[33:47, :first] == FENCE * 1000).all()


@pytest.mark.parametrize(("metres", "closed"), [(0.3, True), (0.49, True), (0.9, False)])
@pytest.mark.parametrize("depth", [8.0, 20.0, 40.0])
def test_gaps_between_leaves_are_as_wide_as_half_a_metre(depth: float, metres: float, closed: bool) -> None:
    pitch = round(metres / ANGLE / depth) + 1
    ids, away = np.full((40, 160), SKY * 1000, dtype=np.int32), np.full((40, 160), np.inf, dtype=np.float32)
    ids[:, 20:140:pitch], away[:, 20:140:pitch] = VEGETATION * 1000, depth
    found = as_annotated(ids, away, ANGLE)[20, 21 : 20 + pitch]
    assert (found == (VEGETATION if closed else SKY) * 1000).all()


def wheel(hub: float = 6.0) -> tuple[Ids, Depth, NDArray[np.bool_]]:
    """A bicycle's tyre of one pixel on the road, and what is inside it."""
    rows, columns = np.mgrid[:40, :40]
    radius = np.hypot(rows - 19.5, columns - 19.5)
    ids = np.full((40, 40), ROAD * 1000, dtype=np.int32)
    depth = (7.0 - rows / 40).astype(np.float32)
    tyre = abs(radius - 14) < 0.8
    ids[tyre], depth[tyre] = BICYCLE, hub
    return ids, depth, radius < 13


def test_a_wheel_is_a_disc_but_for_what_is_before_it() -> None:
    ids, depth, inside = wheel()
    found = as_annotated(ids, depth, ANGLE)
    assert (found[inside] == BICYCLE).all()
    np.testing.assert_array_equal(found[ids == BICYCLE], ids[ids == BICYCLE])
    assert (found[:4] == ROAD * 1000).all()
    ids[15:25, 15:25], depth[15:25, 15:25] = PERSON, 5.9  # a leg on this side
    before = ids == PERSON
    found = as_annotated(ids, depth, ANGLE)
    assert (found[before] == PERSON).all()
    assert (found[inside & ~before] == BICYCLE).all()
    depth[before] = 8.0  # somebody behind it
    assert (as_annotated(ids, depth, ANGLE)[inside] == BICYCLE).all()


def test_an_open_outline_is_not_filled() -> None:
    ids, depth, _ = wheel()
    ids[20:], depth[20:] = ROAD * 1000, 7.0
    found = as_annotated(ids, depth, ANGLE)
    assert 0 <= (found == BICYCLE).sum() - (ids == BICYCLE).sum() < 20  # gaps of one pixel at most
    assert (found[10:20, 14:26] == ROAD * 1000).all()


def test_what_has_no_gaps_stays_as_it_is() -> None:
    blocks = [box((0.2, 0.2, 3.0), (9.0, -2.0, 0.0), POLE), box((4.0, 1.8, 1.5), (14.0, 2.0, 0.0), VEGETATION)]
    ids, depth = seen(*blocks)
    given = ids.copy()
    np.testing.assert_array_equal(as_annotated(ids, depth, CAMERA.intrinsics.pixel_angle), given)
    np.testing.assert_array_equal(ids, given)  # and the argument too
