"""Bodies in less detail: never larger than they are, and the same whatever was asked for before."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("embreex", reason="the synthetic world needs embreex")

from scenes import CAR, MovingBox, SmallWorld, box, ground, sphere

from panoptic_training.synthetic.detail import CELLS, BodyShape, shapes_of
from panoptic_training.synthetic.mesh import Material, Mesh
from panoptic_training.synthetic.raycast import Raycaster
from panoptic_training.synthetic.tracing import COLOR, COLUMNS


class Ball(MovingBox):
    """A finely cut ball that is red from its third second on, as a lamp is that goes on, and an egg when it is far."""

    def __init__(self, *args: object, **settings: object) -> None:
        super().__init__(*args, **settings)  # type: ignore[arg-type]
        fine = sphere((0, 0, 1.0), 1.0, 40)
        self.fine = Mesh.of(fine.vertices, fine.faces, CAR, Material.CAR_PAINT, (0.2, 0.2, 0.2))
        rough = sphere((0, 0, 1.0), 1.0, 12)
        self.rough = Mesh.of(rough.vertices, rough.faces, CAR, Material.CAR_PAINT, (0.2, 0.2, 0.2))

    def mesh(self, time: float) -> Mesh:
        mesh = self.rough if time > 6.0 else self.fine
        colors = mesh.colors if time < 3.0 else np.tile(np.float32([[0.9, 0, 0]]), (len(mesh.faces), 1))
        return Mesh(mesh.vertices, mesh.faces, mesh.classes, mesh.materials, colors, mesh.uvs)


def test_coarser_levels_have_fewer_triangles_and_stay_within_the_body() -> None:
    shape = BodyShape(Ball(1, (0, 0)), 10.0)
    counts = []
    for cell in CELLS:
        vertices, level = shape.shape(1.0, cell)
        counts.append(len(level.faces))
        used = vertices[np.unique(level.faces)]
        assert (np.linalg.norm(used - [0, 0, 1.0], axis=1) < 1.0 + 1e-5).all()
        volume = np.einsum(
            "fi,fi->f", vertices[level.faces[:, 0]], np.cross(*(vertices[level.faces[:, k]] for k in (1, 2)))
        )
        lost = 4 / 3 * np.pi - volume.sum() / 6
        assert -1e-3 < lost < 4 * np.pi * max(cell, 0.005), cell  # a layer of one cell at most
        assert level.table.shape == (len(level.faces), COLUMNS)
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] < counts[0] / 20


def test_colours_follow_the_time() -> None:
    shape = BodyShape(Ball(1, (0, 0)), 10.0)
    for time in (1.0, 4.0, 1.0, 8.0):
        _, level = shape.shape(time, 0.05)
        assert (level.table[:, COLOR] == np.float32(0.9 if time > 3 else 0.2)).all()


def test_what_is_hit_does_not_depend_on_what_was_asked_before() -> None:
    def hits(times: list[float]) -> np.ndarray:
        body = Ball(1, (14.0, 0.0), velocity=(4.0, 0.5))
        raycaster = Raycaster(SmallWorld(ground(), [body]))
        aim = np.random.default_rng(0).uniform([1, -0.15, -0.12], [1, 0.25, 0.05], (4000, 3))
        aim /= np.linalg.norm(aim, axis=1, keepdims=True)
        return [raycaster.cast(np.array([0, 0, 1.4]), aim, time).distance for time in times][-1]

    for time in (2.5, 7.0):
        expected = hits([time])
        for before in ([0.0], [9.0, 8.0], [0.1, 6.1, 3.3]):
            np.testing.assert_array_equal(hits([*before, time]), expected)


def test_a_hidden_body_is_still_there() -> None:
    """Behind a wall its shape is the coarsest; rays that go round the wall meet it all the same."""
    wall = box((0.5, 30, 10), (20, 0, 0), 11)
    raycaster = Raycaster(SmallWorld(Mesh.join([ground(), wall]), [Ball(5, (60.0, 0.0), velocity=(1.0, 0.0))]))
    plain = Raycaster(SmallWorld(ground(), [Ball(5, (60.0, 0.0), velocity=(1.0, 0.0))]))
    assert raycaster.moment(1.0).count < plain.moment(1.0).count / 3
    hits = raycaster.cast(np.array([61.0, 0.0, 20.0]), np.array([[0.0, 0.0, -1.0]]), 1.0)
    assert hits.ids.tolist() == [CAR * 1000 + 5]
    assert 18.0 <= hits.distance[0] < 18.6


class Braking(Ball):
    """A ball whose colour tells the time, to a tenth of a second, and that turns as a wheel does."""

    def mesh(self, time: float) -> Mesh:
        colors = np.tile(np.float32([[np.floor(time * 10 + 1e-6) / 100, 0, 0]]), (len(self.fine.faces), 1))
        turn = np.eye(4)
        turn[:2, :2] = [[np.cos(time), -np.sin(time)], [np.sin(time), np.cos(time)]]
        moved = self.fine.moved(turn)
        return Mesh(moved.vertices, moved.faces, moved.classes, moved.materials, colors, moved.uvs)


@pytest.mark.parametrize("away", [6.0, 12.0, 20.0, 30.0, 45.0, 70.0, 110.0])
def test_rays_see_the_colours_of_their_time(away: float) -> None:
    """As brake lights and signals change, in whatever detail the body is seen, and in any order of times."""
    body = Braking(1, (away, 0.0))
    raycaster = Raycaster(SmallWorld(ground(), [body]))
    for time in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 1.6, 1.7, 0.3):
        hits = raycaster.cast(np.array([0.0, 0.0, 1.0]), np.array([[1.0, 0.0, 0.0]]), time)
        assert hits.instance.tolist() == [1]
        assert hits.color[0].tolist() == pytest.approx([time / 10, 0, 0], abs=1e-6)


def test_a_lamp_that_changes_at_its_place_shines_as_it_should() -> None:
    """It moves nothing but its colours, so that what Embree has built of it serves all the time."""

    class Signal(MovingBox):
        def mesh(self, time: float) -> Mesh:
            mesh = self._mesh
            lit = np.full(len(mesh.faces), Material.LIGHT if time >= 5 else Material.PLASTIC, np.uint8)
            colors = np.tile(np.float32([[0.0, 0.9, 0.0] if time >= 5 else [0.9, 0.0, 0.0]]), (len(mesh.faces), 1))
            return Mesh(mesh.vertices, mesh.faces, mesh.classes, lit, colors, mesh.uvs)

    raycaster = Raycaster(SmallWorld(ground(), [Signal(0, (15.0, 0.0), (0.3, 0.3, 1.0), class_id=19)]))
    for time, color, material in ((1.0, [0.9, 0, 0], Material.PLASTIC), (6.0, [0, 0.9, 0], Material.LIGHT)):
        hits = raycaster.cast(np.array([0.0, 0.0, 0.5]), np.array([[1.0, 0.0, 0.0]]), time)
        assert hits.ids.tolist() == [19000]
        assert hits.material.tolist() == [material]
        np.testing.assert_allclose(hits.color, [color], atol=1e-6)
    shape = shapes_of(raycaster.world)[0]
    assert shape.solid(6.0, 0.0).scene is shape.solid(1.0, 0.0).scene
