"""The world from above: boxes in closed form, and what counts as an obstacle."""

from __future__ import annotations

import numpy as np
import pytest
from worlds import BUILDING, CAR, PERSON, POLE, ROAD, BoxBody, BoxWorld, at, box, plane

from panoptic_training.synthetic.ground_plan import clip_triangles, majority, stamp_triangles
from panoptic_training.synthetic.mesh import Mesh
from panoptic_training.synthetic.top_view import TopView, TopViewTruth


def from_above(world: BoxWorld, cell: float = 0.25, size: float = 40.0, **more: object) -> TopView:
    return TopViewTruth(world, cell, size)(0.0, **more)  # type: ignore[arg-type]


def cell_at(view: TopView, x: float, y: float) -> tuple[int, int]:
    return int((y - view.origin[1]) / view.cell), int((x - view.origin[0]) / view.cell)


def test_a_box_along_the_cells_covers_exactly_its_cells() -> None:
    view = from_above(BoxWorld(bodies=[BoxBody(7, CAR, (4.0, 2.0, 1.5), at(6.0, 3.0))]))
    expected = np.zeros_like(view.occupied)
    row, column = cell_at(view, 4.0 + 0.01, 2.0 + 0.01)
    expected[row : row + 8, column : column + 16] = True
    np.testing.assert_array_equal(view.coverage, expected)
    np.testing.assert_array_equal(view.obstacle, np.where(expected, CAR, 0))
    np.testing.assert_array_equal(view.instance, np.where(expected, 7, 0))
    assert (view.ground == ROAD).all()
    assert view.known.all()


@pytest.mark.parametrize("yaw", [0.3, 1.2, 2.9])
@pytest.mark.parametrize("cell", [0.1, 0.25, 0.5])
def test_a_turned_box_has_its_area_and_its_place(yaw: float, cell: float) -> None:
    view = from_above(BoxWorld(bodies=[BoxBody(1, CAR, (4.4, 1.8, 1.5), at(5.03, -3.11, yaw))]), cell)
    assert view.coverage.sum() * cell**2 == pytest.approx(4.4 * 1.8, rel=0.02)
    rows, columns = np.nonzero(view.occupied)
    weights = view.coverage[rows, columns]
    x = np.average(columns + 0.5, weights=weights) * cell + view.origin[0]
    y = np.average(rows + 0.5, weights=weights) * cell + view.origin[1]
    np.testing.assert_allclose([x, y], [5.03, -3.11], atol=0.02)
    # Each cell's middle that is well inside or outside the rectangle says so.
    middle = (np.stack(np.meshgrid(*[np.arange(view.ground.shape[0]) + 0.5] * 2), -1) * cell) + view.origin
    own = (middle - (5.03, -3.11)) @ np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
    beyond = np.maximum(np.abs(own[..., 0]) - 2.2, np.abs(own[..., 1]) - 0.9)
    assert (view.coverage[beyond < -0.75 * cell] == 1).all()
    assert (view.coverage[beyond > 0.75 * cell] == 0).all()


def test_a_building_is_solid_and_a_window_shows_the_right_part_of_it() -> None:
    world = BoxWorld(Mesh.join([plane(), box((10.0, 6.0, 9.0), BUILDING).moved(at(12.0, 8.0, 0.4))]))
    view = from_above(world)
    assert 60 < (view.obstacle == BUILDING).sum() * 0.25**2 < 60 + 32 * 0.25  # its outline lies in half-covered cells
    assert view.coverage.sum() * 0.25**2 == pytest.approx(60, rel=0.04)
    assert view.coverage[cell_at(view, 12.0, 8.0)] == 1


def test_only_what_stands_between_knee_and_roof_is_an_obstacle() -> None:
    canopy = box((4.0, 4.0, 1.0), 21).moved(at(5.0, 5.0, z=2.6))
    trunk = box((0.3, 0.3, 2.7), 21).moved(at(5.0, 5.0))
    kerb = box((4.0, 0.3, 0.15), 8).moved(at(-5.0, 5.0))
    fence = box((4.0, 0.05, 1.2), 13).moved(at(-5.0, -5.0, 0.1))
    pole = box((0.12, 0.12, 5.0), POLE).moved(at(5.0, -5.0))
    view = from_above(BoxWorld(Mesh.join([plane(), canopy, trunk, kerb, fence, pole])))
    assert (view.obstacle == 21).sum() in range(1, 10)
    assert view.occupied[cell_at(view, 5.0, 5.0)]
    assert not view.occupied[cell_at(view, 6.5, 6.5)]
    assert view.ground[cell_at(view, -5.0, 5.05)] == 8
    assert not view.occupied[cell_at(view, -5.0, 5.05)]
    length = 16 / np.cos(0.1)  # cells along the fence; each column has one
    assert (view.obstacle == 13).any(axis=0).sum() == pytest.approx(length, abs=1)
    assert view.occupied[cell_at(view, 5.0, -5.0)]
    assert view.obstacle[cell_at(view, 5.0, -5.0)] == POLE


def test_a_roof_that_juts_out_leaves_the_street_free() -> None:
    house = box((6.0, 6.0, 3.0), BUILDING)
    roof = box((9.0, 9.0, 0.3), BUILDING).moved(at(0, 0, z=3.0))
    world = BoxWorld(Mesh.join([plane(), Mesh.join([house, roof]).moved(at(8.0, 0.0))]))
    view = from_above(world)
    assert view.coverage.sum() * 0.25**2 == pytest.approx(36, rel=0.06)


def test_what_is_not_there_is_unknown() -> None:
    view = from_above(BoxWorld(plane(20.0)))
    assert view.known.sum() * 0.25**2 == pytest.approx(400, rel=0.02)


def test_a_person_on_a_car_wins_where_it_is_higher() -> None:
    bodies = [BoxBody(2, PERSON, (1.0, 1.0, 1.9), at(4, 0)), BoxBody(1, CAR, (4.0, 2.0, 1.5), at(4, 0))]
    view = from_above(BoxWorld(bodies=bodies))
    assert view.instance[cell_at(view, 4.1, 0.1)] == 2
    assert view.instance[cell_at(view, 5.1, 0.1)] == 1


def test_the_frame_of_the_grid_turns_the_world() -> None:
    """A car 6 m ahead lies on the other axis of a frame that is turned by a quarter."""
    world = BoxWorld(bodies=[BoxBody(1, CAR, (4.0, 2.0, 1.5), at(6.0, 0.0))])
    view = from_above(world, world_from_frame=at(0.0, 1.0, np.pi / 2))
    rows, columns = np.nonzero(view.occupied)
    assert (np.array([columns.min(), columns.max() + 1]) * 0.25 + view.origin[0]).tolist() == [-2.0, 0.0]
    assert (np.array([rows.min(), rows.max() + 1]) * 0.25 + view.origin[1]).tolist() == [-8.0, -4.0]


def test_the_window_moves_by_whole_cells() -> None:
    one, other = (TopViewTruth(BoxWorld(), 0.25, 20.0)(time) for time in (0.0, 0.33))
    shift = (np.array(other.origin) - one.origin) / 0.25
    np.testing.assert_array_equal(shift, np.round(shift))
    assert one.origin == (-10.0, -10.0)


def test_clipping_keeps_the_area_above_a_plane() -> None:
    rng = np.random.default_rng(0)
    triangles = rng.uniform(-1, 1, (200, 3, 3)).astype(np.float32)
    normal = np.array([0.0, 0.6, 0.8])

    def area(some: np.ndarray) -> float:
        return float(np.linalg.norm(np.cross(some[:, 1] - some[:, 0], some[:, 2] - some[:, 0]), axis=1).sum() / 2)

    above, owners = clip_triangles(triangles, normal, 0.1)
    below, _ = clip_triangles(triangles, -normal, -0.1)
    assert area(above) + area(below) == pytest.approx(area(triangles), rel=1e-4)
    assert (above @ normal >= 0.1 - 1e-5).all()
    assert set(owners) <= set(range(200))


@pytest.mark.parametrize("yaw", [0.0, 0.4, 0.8])
def test_triangles_are_stamped_on_every_cell_that_they_cover(yaw: float) -> None:
    """Cells whose middle lies in the triangle, by the signs of areas; and none whose middle is a cell away from it."""
    corners = np.array([[0.3, 0.2, 0], [9.1, 1.0, 0], [7.0, 6.5, 0]])
    side, count = 0.1, 120
    turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
    to_grid = np.concatenate([turn, [[3.0], [1.0]]], axis=1)
    cells = np.zeros((count, count), np.uint8)
    ground = np.array([[-1.0, -1.0], [-5.0, -5.0]])  # the triangle is too high over its farther half
    stamp_triangles(cells, corners[None], np.array([7], np.uint8), to_grid, side, ground, (0.5, 2.0))
    own = corners[:, :2] @ turn.T + [3.0, 1.0]
    x, y = np.meshgrid(*[(np.arange(count) + 0.5) * side] * 2)
    away = []
    for first, second in zip(own, np.roll(own, -1, axis=0), strict=True):
        edge = (second - first) / np.linalg.norm(second - first)
        away.append((x - first[0]) * edge[1] - (y - first[1]) * edge[0])
    outside = np.max(away, axis=0)
    low = y < count * side / 2
    assert (outside[low] < 0).sum() > 500
    assert (cells[low & (outside < 0)] == 7).all()
    assert (cells[~low | (outside > side)] == 0).all()


def test_majority_counts_what_is_there() -> None:
    values = np.zeros((4, 4), np.int32)
    values[0, 0:2], values[1, 0] = 5, 9
    values[2:, 2:] = 3
    share, winner = majority(values, 2)
    np.testing.assert_array_equal(share, [[0.75, 0], [0, 1]])
    np.testing.assert_array_equal(winner, [[5, 0], [0, 3]])
