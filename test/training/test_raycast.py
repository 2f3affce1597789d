"""What rays hit, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("embreex", reason="the synthetic world needs embreex")

from scenes import BUILDING, CAR, ROAD, MovingBox, SmallWorld, box, ground, sphere

from panoptic_training.synthetic import embree
from panoptic_training.synthetic.mesh import Mesh
from panoptic_training.synthetic.raycast import Raycaster, lift


def random_directions(count: int, seed: int = 0) -> np.ndarray:
    directions = np.random.default_rng(seed).standard_normal((count, 3))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def test_distance_to_a_plane_is_exact() -> None:
    directions = random_directions(20000)
    hits = Raycaster(SmallWorld(ground())).cast(np.array([3.0, -2.0, 1.7]), directions, 0.0)
    with np.errstate(divide="ignore"):
        expected = np.where(directions[:, 2] < 0, -1.7 / directions[:, 2], np.inf)
    point = np.array([3.0, -2.0]) + directions[:, :2] * np.where(np.isfinite(expected), expected, 0)[:, None]
    inside = np.isfinite(expected) & (np.abs(point) < 499.9).all(axis=1)
    assert inside.sum() > 9000
    np.testing.assert_allclose(hits.distance[inside], expected[inside], rtol=2e-6)
    assert (hits.class_id[inside] == ROAD).all()
    assert np.isinf(hits.distance[directions[:, 2] > 0]).all()


@pytest.mark.parametrize("place", [0.0, 900.0])
def test_distance_to_a_sphere_is_within_its_facets(place: float) -> None:
    """They lie at most radius * (1 - cos(pi / steps)) below the sphere; 1 mm more for float32, 900 m from zero too."""
    center, radius, steps = np.array([place + 20.0, place + 4.0, 3.0]), 5.0, 200
    world = SmallWorld(Mesh.join([sphere(tuple(center), radius, steps), ground(1500)]))
    origin = np.array([place, place, 1.5])
    aim = center + random_directions(4000) * np.random.default_rng(1).uniform(0, radius, (4000, 1)) * 0.9 - origin
    directions = aim / np.linalg.norm(aim, axis=1, keepdims=True)
    hits = Raycaster(world).cast(origin, directions, 0.0)
    along = directions @ (center - origin)
    square = radius**2 - ((center - origin) ** 2).sum() + along**2
    on_sphere = (hits.class_id == BUILDING) & (square > 4.0)  # not where rays graze it
    assert on_sphere.sum() > 2500
    depth_below = radius * (1 - np.cos(np.pi / steps))
    error = hits.distance[on_sphere] - (along - np.sqrt(np.maximum(square, 0)))[on_sphere]
    assert error.min() > -0.001
    assert error.max() < depth_below * radius / 2.0 + 0.001  # a ray at cosine 2 / radius to the surface


def test_normals_face_the_ray_and_texture_lies_where_it_hits() -> None:
    world = SmallWorld(Mesh.join([box((2, 2, 2), (5, 0, 0), BUILDING), ground(50)]))
    directions = random_directions(5000, 3)
    origin = np.array([0.0, 0.0, 1.0])
    hits = Raycaster(world).cast(origin, directions, 0.0)
    solid = np.isfinite(hits.distance)
    assert (np.einsum("ij,ij->i", hits.normal, directions)[solid] < 0).all()
    np.testing.assert_allclose(np.linalg.norm(hits.smooth[solid], axis=1), 1, atol=1e-5)
    road = hits.class_id == ROAD
    points = origin + directions * np.where(solid, hits.distance, 0)[:, None]
    np.testing.assert_allclose(hits.uv[road], points[road, :2], atol=1e-3)
    np.testing.assert_allclose(hits.smooth[solid], hits.normal[solid], atol=1e-6)  # a box has no round surface


def test_bodies_are_where_their_pose_puts_them() -> None:
    mover, parked = MovingBox(7, (10.0, 0.0), velocity=(5.0, 0.0)), MovingBox(8, (10.0, 5.0))
    raycaster = Raycaster(SmallWorld(ground(), [mover, parked]))
    origin, forward = np.array([[0.0, 0.0, 0.7], [0.0, 5.0, 0.7]]), np.array([[1.0, 0.0, 0.0]] * 2)
    for time in (0.0, 1.5, 0.0, 4.0):
        hits = raycaster.cast(origin, forward, time)
        np.testing.assert_allclose(hits.distance, [8.0 + 5.0 * time, 8.0], atol=1e-4)
        assert hits.instance.tolist() == [7, 8]
        assert hits.body.tolist() == [0, 1]
        assert hits.ids.tolist() == [CAR * 1000 + 7, CAR * 1000 + 8]


def test_a_body_that_moves_between_the_samples_is_still_found() -> None:
    class Startled(MovingBox):
        def pose(self, time: float) -> np.ndarray:
            pose = super().pose(time)
            pose[0, 3] += 3.0 if 1.01 < time < 1.02 else 0.0
            return pose

    raycaster = Raycaster(SmallWorld(ground(), [Startled(1, (10.0, 0.0))]))
    origin, forward = np.array([0.0, 0.0, 0.7]), np.array([[1.0, 0.0, 0.0]])
    distances = [float(raycaster.cast(origin, forward, time).distance[0]) for time in (0.0, 1.015, 2.0)]
    np.testing.assert_allclose(distances, [8.0, 11.0, 8.0], atol=1e-4)


def test_occlusion_agrees_with_what_is_hit() -> None:
    world = SmallWorld(
        Mesh.join([box((3, 3, 6), (8, 1, 0), BUILDING), ground(60)]), [MovingBox(1, (6, -4), velocity=(1, 0))]
    )
    raycaster = Raycaster(world)
    directions = random_directions(6000, 5).astype(np.float32)
    origin = np.array([0.0, 0.0, 1.5])
    hits = raycaster.cast(origin, directions, 2.0)
    for limit in (5.0, 9.0, np.inf):
        blocked = raycaster.occluded(np.broadcast_to(origin, directions.shape), directions, 2.0, limit)
        clear = np.abs(hits.distance - limit) > 1e-3 if np.isfinite(limit) else np.ones(len(blocked), dtype=bool)
        np.testing.assert_array_equal(blocked[clear], (hits.distance < limit)[clear])


def test_lifted_points_do_not_meet_their_own_surface() -> None:
    """The roof of the shadow's rays: on flat ground under an open sky nothing lies in shadow, near or 400 m away."""
    raycaster = Raycaster(SmallWorld(ground(1000)))
    directions = random_directions(20000, 2).astype(np.float32)
    directions[:, 2] = -np.abs(directions[:, 2]) * 0.05 - 0.003
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    origins = np.broadcast_to(np.array([0, 0, 1.5], dtype=np.float32), directions.shape)
    hits = raycaster.cast(origins, directions, 0.0)
    assert np.isfinite(hits.distance).all()
    assert hits.distance.max() > 300
    low_sun = np.array([[np.cos(0.05), 0.0, np.sin(0.05)]], dtype=np.float32)
    assert not raycaster.occluded(lift(origins, directions, hits), low_sun, 0.0).any()


def test_an_empty_world_is_sky() -> None:
    hits = Raycaster(SmallWorld(Mesh.join([]))).cast(np.zeros(3), random_directions(10), 0.0)
    assert np.isinf(hits.distance).all()
    assert (hits.ids == 23000).all()
    assert (hits.body == -1).all()


def first_triangle(corners: np.ndarray, origin: np.ndarray, direction: np.ndarray) -> tuple[float, int, float, float]:
    """Distance, number and barycentric coordinates of the first of (F, 3, 3) triangles on a ray (Moeller, Trumbore)."""
    along, across = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    normal = np.cross(direction, across)
    volume = np.einsum("fi,fi->f", along, normal)
    volume[volume == 0] = np.nan  # a triangle seen from its side, or of no area
    from_corner = origin - corners[:, 0]
    u = np.einsum("fi,fi->f", from_corner, normal) / volume
    side = np.cross(from_corner, along)
    v = side @ direction / volume
    distance = np.einsum("fi,fi->f", across, side) / volume
    distance[~((u >= 0) & (v >= 0) & (u + v <= 1) & (distance > 0))] = np.inf
    first = int(distance.argmin())
    return float(distance[first]), first, float(u[first]), float(v[first])


def test_hits_agree_with_a_literal_search_through_all_triangles() -> None:
    """Distance, body, colour, texture and normal; of what stands, of a body that rests and of one that moves."""
    rng = np.random.default_rng(4)

    def painted(mesh: Mesh) -> Mesh:
        colors, uvs = rng.random((len(mesh.faces), 3)), rng.random((len(mesh.faces), 3, 2))
        return Mesh(mesh.vertices, mesh.faces, mesh.classes, mesh.materials, np.float32(colors), np.float32(uvs))

    world = SmallWorld(
        painted(Mesh.join([ground(40), sphere((8, 3, 2), 2.0, 10)])),
        [MovingBox(5, (9, -4), yaw=0.7), MovingBox(6, (2, 8), velocity=(1.5, -1.0), yaw=-1.1)],
    )
    for body in world.bodies:
        body._mesh = painted(body._mesh)
    time, origin = 1.3, np.array([0.5, -0.2, 1.6])
    parts = [(-1, np.eye(4), world.static)] + [
        (n, one.pose(time), one.mesh(time)) for n, one in enumerate(world.bodies)
    ]
    corners = np.concatenate([(m.vertices @ pose[:3, :3].T + pose[:3, 3])[m.faces] for _, pose, m in parts])
    owner = np.concatenate([np.full(len(mesh.faces), index) for index, _, mesh in parts])
    whole = Mesh.join([mesh for _, _, mesh in parts])
    directions = random_directions(400, 6)
    directions[:, 2] = -np.abs(directions[:, 2]) * 0.3 + 0.05
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    hits = Raycaster(world, detail=0.0).cast(origin, directions, time)
    found = [first_triangle(corners, origin, direction) for direction in directions]
    distance, face, u, v = (np.array(column) for column in zip(*found, strict=True))
    hit = np.isfinite(distance)
    np.testing.assert_array_equal(np.isfinite(hits.distance), hit)
    assert {-1, 0, 1} == set(hits.body[hit].tolist())
    inner = hit & (np.minimum(np.minimum(u, v), 1 - u - v) > 1e-3)
    face = face[inner]
    np.testing.assert_allclose(hits.distance[inner], distance[inner], rtol=1e-4)
    np.testing.assert_array_equal(hits.body[inner], owner[face])
    np.testing.assert_allclose(hits.color[inner], whole.colors[face])
    weights = np.stack([1 - u - v, u, v], axis=1)[inner]
    np.testing.assert_allclose(hits.uv[inner], np.einsum("nc,ncx->nx", weights, whole.uvs[face]), atol=2e-3)
    normal = np.cross(corners[face, 1] - corners[face, 0], corners[face, 2] - corners[face, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    normal *= -np.sign(np.einsum("ni,ni->n", normal, directions[inner]))[:, None]
    np.testing.assert_allclose(hits.normal[inner], normal, atol=1e-4)


def test_rays_do_not_depend_on_their_packet() -> None:
    world = SmallWorld(Mesh.join([ground(60), sphere((9, 1, 2), 2.0, 30)]), [MovingBox(1, (6, -4), velocity=(1, 0))])
    raycaster, directions = Raycaster(world), random_directions(999, 8)
    together = raycaster.cast(np.array([0.0, 0.0, 1.5]), directions, 1.0)
    order = np.random.default_rng(0).permutation(len(directions))
    apart = raycaster.cast(np.array([0.0, 0.0, 1.5]), directions[order], 1.0, coherent=False)
    np.testing.assert_array_equal(apart.distance, together.distance[order])
    np.testing.assert_array_equal(apart.ids, together.ids[order])


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embree.metadata, "files", lambda name: [])
    with pytest.raises(ImportError, match=r"embreex 4\S* has no library embree4"):
        embree._library()
