"""Boxes, velocities and visibility against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from worlds import CAR, PERSON, BoxBody, BoxWorld, at, box, plane, street

from panoptic_training.synthetic.camera import Camera, Intrinsics
from panoptic_training.synthetic.frames import OPTICAL_AXES
from panoptic_training.synthetic.mesh import Mesh
from panoptic_training.synthetic.raycast import Raycaster
from panoptic_training.synthetic.truth import ViewTruth, object_of, objects_near

LENS = Intrinsics(400, 300, np.array([[300.0, 0, 199.5], [0, 300.0, 149.5], [0, 0, 1]]))
EYE = at(0, 0, z=1.0) @ OPTICAL_AXES


def view(world: BoxWorld, time: float = 0.0, lens: Intrinsics = LENS) -> dict[int, object]:
    ids, _ = Camera(lens).trace(Raycaster(world), EYE, time)
    return {seen.truth.instance: seen for seen in ViewTruth(world, lens)(ids, EYE, time)}


def test_a_box_and_its_motion() -> None:
    body = BoxBody(3, CAR, (4.0, 2.0, 1.5), at(10, 5, math.pi / 2), speed=2.0)
    truth = object_of(body, 1.0)
    assert truth.id == 26003
    np.testing.assert_allclose(truth.center, [10, 7, 0.75], atol=1e-12)
    np.testing.assert_allclose(truth.velocity, [0, 2, 0], atol=1e-12)
    np.testing.assert_allclose(truth.corners[0], [9, 9, 0], atol=1e-12)  # front left of what looks along y
    np.testing.assert_allclose(np.ptp(truth.corners, axis=0), [2, 4, 1.5], atol=1e-12)


def test_objects_near_are_those_in_reach_in_order() -> None:
    bodies = [BoxBody(n, CAR, (4, 2, 1.5), at(x, 0)) for n, x in ((5, 10), (2, 30), (9, 90))]
    world = BoxWorld(bodies=bodies)
    assert [one.instance for one in objects_near(world, 0.0, np.zeros(2), 50.0)] == [2, 5]


def test_a_free_thing_is_fully_visible_with_the_pixels_of_its_face() -> None:
    """A face of 2 m x 1.5 m at 10 m has 60 x 45 pixels."""
    seen = view(BoxWorld(bodies=[BoxBody(1, CAR, (4.0, 2.0, 1.5), at(12, 0))]))[1]
    assert seen.unoccluded == seen.visible
    assert seen.visible == pytest.approx(60 * 45, rel=0.05) or seen.visible > 60 * 45  # its top shows too
    assert seen.visibility == 1
    assert not seen.truncated


def test_half_hidden_is_half_visible() -> None:
    """A wall that ends on the optical axis hides the left half of a thing."""
    wall = box((0.1, 10.0, 5.0), 12).moved(at(5.0, 5.0))
    world = BoxWorld(Mesh.join([plane(), wall]), [BoxBody(1, CAR, (4.0, 2.0, 1.5), at(12, 0))])
    seen = view(world)[1]
    assert seen.visibility == pytest.approx(0.5, abs=0.02)


def test_what_is_wholly_hidden_is_listed_with_no_pixels() -> None:
    wall = box((0.1, 20.0, 5.0), 12).moved(at(5.0, 0.0))
    world = BoxWorld(Mesh.join([plane(), wall]), [BoxBody(1, PERSON, (0.5, 0.5, 1.8), at(12, 0))])
    seen = view(world)[1]
    assert (seen.visible, seen.visibility) == (0, 0.0)
    assert seen.unoccluded == pytest.approx(0.5 / 11.75 * 300 * 1.8 / 11.75 * 300, rel=0.1)


def test_things_behind_or_beside_the_camera_are_not_in_view() -> None:
    bodies = [BoxBody(1, CAR, (4, 2, 1.5), at(-12, 0)), BoxBody(2, CAR, (4, 2, 1.5), at(5, 40))]
    assert not view(BoxWorld(bodies=bodies))


def test_a_thing_that_leaves_the_image_is_truncated_and_counted_within() -> None:
    seen = view(BoxWorld(bodies=[BoxBody(1, CAR, (4.0, 2.0, 1.5), at(6, 3.0))]))[1]
    assert seen.truncated
    assert seen.visibility == pytest.approx(1, abs=0.02)


def test_a_large_thing_is_counted_on_a_lattice_to_two_percent() -> None:
    seen = view(BoxWorld(bodies=[BoxBody(1, CAR, (4.0, 2.0, 1.5), at(5, 0.3, 0.5))]))[1]
    assert seen.visible > 20_000
    assert seen.unoccluded == pytest.approx(seen.visible, rel=0.02)


def test_visibility_with_a_distorted_lens() -> None:
    lens = Intrinsics(400, 300, LENS.matrix, (-0.25, 0.06, 0.0, 0.0, 0.0))
    bodies = [BoxBody(n, CAR, (4.0, 2.0, 1.5), at(14, y, 0.3 * n)) for n, y in ((1, 7.5), (2, 0), (3, -7.5), (4, 30))]
    seen = view(BoxWorld(bodies=bodies), lens=lens)
    assert set(seen) == {1, 2, 3}
    for one in seen.values():
        assert one.unoccluded == pytest.approx(one.visible, rel=0.02, abs=4)


def test_what_a_thing_has_alone_is_what_a_world_of_its_own_shows() -> None:
    """Against pictures of worlds that hold nothing but one thing each; all in full detail, on every pixel."""
    world = street()
    ids, _ = Camera(LENS).trace(Raycaster(world), EYE, 0.5)
    compared = 0
    for seen in ViewTruth(world, LENS)(ids, EYE, 0.5):
        body = next(one for one in world.bodies if one.instance == seen.truth.instance)
        alone, _ = Camera(LENS).trace(Raycaster(BoxWorld(Mesh.join([]), [body])), EYE, 0.5)
        expected = int((alone == seen.truth.id).sum())
        assert seen.visible <= seen.unoccluded
        assert seen.unoccluded == pytest.approx(expected, rel=0.02, abs=2)
        compared += expected > 100
    assert compared >= 3
