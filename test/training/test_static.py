"""What stands along the streets: exact heights, closed solids, real holes, all classes, the same for the same seed."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

trimesh = pytest.importorskip("trimesh")
pytest.importorskip("embreex")

from panoptic_training.synthetic.barriers import railing  # noqa: E402
from panoptic_training.synthetic.facades import Frame, Openings, wall  # noqa: E402
from panoptic_training.synthetic.facets import Facets, surface_uvs  # noqa: E402
from panoptic_training.synthetic.lettering import SHOPS, cells  # noqa: E402
from panoptic_training.synthetic.mesh import Material, Mesh  # noqa: E402
from panoptic_training.synthetic.roofs import gable_roof, hip_roof  # noqa: E402
from panoptic_training.synthetic.signs import SignKind, sign_face  # noqa: E402
from panoptic_training.synthetic.static import build_static  # noqa: E402
from panoptic_training.synthetic.street import KERB_HEIGHT, Layout  # noqa: E402
from panoptic_training.synthetic.vegetation import SPECIES, grow_tree, pruned  # noqa: E402

STATIC = {7, 8, 11, 12, 13, 17, 19, 20, 21, 22}
RED = (0.3, 0.1, 0.1)


class Rays:
    """Nearest hits by Embree, for questions to a mesh."""

    def __init__(self, mesh: Mesh) -> None:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        self.mesh, self.scene = mesh, EmbreeScene()
        self.corners = mesh.vertices[mesh.faces]
        TriangleMesh(self.scene, self.corners)

    def cast(self, origins: ArrayLike, directions: ArrayLike) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Faces hit (-1: none) and distances."""
        origins = np.asarray(origins, dtype=np.float32)
        directions = np.broadcast_to(np.asarray(directions, dtype=np.float32), origins.shape)
        found = self.scene.run(origins, np.ascontiguousarray(directions), output=1)
        return found["primID"], found["tfar"]

    def normals(self, faces: NDArray[np.int32]) -> NDArray[np.float32]:
        corners = self.corners[faces]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        return normals / np.linalg.norm(normals, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def layout() -> Layout:
    return Layout.make(1, 110.0)


@pytest.fixture(scope="module")
def rays(layout: Layout) -> Rays:
    return Rays(build_static(layout, 1))


def solid(mesh: Mesh) -> trimesh.Trimesh:
    return trimesh.Trimesh(mesh.vertices.astype(np.float64), mesh.faces, process=True)


@pytest.mark.parametrize("seed", [9, 11])
def test_short_drives_have_every_static_class(seed: int) -> None:
    assert set(np.unique(build_static(Layout.make(seed, 50.0), seed).classes).tolist()) == STATIC


def test_every_static_class_occurs_and_every_number_is_sane(rays: Rays) -> None:
    mesh = rays.mesh
    assert set(np.unique(mesh.classes).tolist()) == STATIC
    assert np.isfinite(mesh.vertices).all()
    assert np.isfinite(mesh.uvs).all()
    assert mesh.colors.min() >= 0
    assert mesh.colors.max() <= 1
    assert set(np.unique(mesh.materials).tolist()) <= {int(material) for material in Material}
    edges = np.linalg.norm(np.cross(*np.diff(rays.corners.astype(np.float64), axis=1).swapaxes(0, 1)), axis=1)
    assert (edges > 0).mean() > 0.999  # hardly a triangle without an area


def test_the_same_seed_gives_the_same_triangles() -> None:
    seed = 7
    layout = Layout.make(seed, 60.0)
    first, second = build_static(layout, seed), build_static(Layout.make(seed, 60.0), seed)
    other = build_static(layout, seed + 1)
    for name in ("vertices", "faces", "classes", "materials", "colors", "uvs"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()
    assert first.vertices.tobytes() != other.vertices.tobytes()


def test_a_street_of_300_m_stays_within_its_triangles() -> None:
    mesh = build_static(Layout.make(1, 300.0), 1)
    assert 5e5 < len(mesh.faces) < 1.6e6


def test_kerbs_are_twelve_centimetres_high(layout: Layout, rays: Rays) -> None:
    down = (0.0, 0.0, -1.0)
    for block in layout.blocks:
        s = np.linspace(block.s0 + 8, block.s1 - 8, 60)
        s = s[[min((abs(x - c.s) for c in layout.crossings if c.road == 0), default=9) > 4 for x in s]]
        kerb = layout.main.place(s, block.side * (block.kerb + 0.08), 0.3)
        faces, distance = rays.cast(kerb, down)
        np.testing.assert_allclose(0.3 - distance, KERB_HEIGHT, atol=1e-3)
        assert (rays.mesh.classes[faces] == 8).all()
        road = layout.main.place(s, block.side * (block.kerb - 0.5), 0.3)
        faces, distance = rays.cast(road, down)
        assert (rays.mesh.classes[faces] == 7).all()
        assert np.abs(0.3 - distance).max() < 0.006


def test_kerbs_are_lowered_at_crossings(layout: Layout, rays: Rays) -> None:
    for crossing in layout.crossings:
        kerb, path = np.array(crossing.points)[1], np.array(crossing.points)[0]
        inside = kerb + 0.08 * (path - kerb) / np.linalg.norm((path - kerb)[:2])
        _, distance = rays.cast([[*inside[:2], 0.3]], (0, 0, -1))
        assert 0.3 - distance[0] == pytest.approx(0.02, abs=1e-3)


def test_what_lies_on_the_road_is_apart_by_more_than_a_lidar_can_mix_up(layout: Layout, rays: Rays) -> None:
    corners = rays.corners[(rays.mesh.classes == 7)]
    flat = corners[np.ptp(corners[..., 2], axis=1) < 1e-6]
    levels = np.unique(np.round(flat[:, 0, 2].astype(np.float64), 5))
    assert np.diff(levels).min() > 9e-4
    centre = flat[np.abs(flat[:, 0, 2] - 0.005) < 1e-6].mean(axis=1)
    faces, distance = rays.cast(np.add(centre, [0, 0, 0.5]), (0, 0, -1))
    on_top = rays.mesh.classes[faces] == 7
    assert on_top.mean() > 0.9
    np.testing.assert_allclose(distance[on_top], 0.5, atol=1e-3)
    assert (rays.mesh.materials[faces[on_top]] == Material.MARKING).all()


def test_the_ground_has_no_holes(layout: Layout, rays: Rays) -> None:
    rng = np.random.default_rng(0)
    points = layout.main.place(rng.uniform(-80, 190, 20000), rng.uniform(-60, 60, 20000), 100.0)
    faces, _ = rays.cast(points, (0, 0, -1))
    assert (faces >= 0).all()
    low = layout.main.place(rng.uniform(-80, 190, 20000), rng.uniform(-12, 12, 20000), 0.3)
    faces, distance = rays.cast(low, (0, 0, -1))
    on_ground = np.isin(rays.mesh.classes[faces], (7, 8, 22))
    assert (0.3 - distance[on_ground] > -0.011).all()
    assert (rays.normals(faces[on_ground])[:, 2] > 0).mean() > 0.999


def test_a_driver_sees_no_face_from_behind(layout: Layout, rays: Rays) -> None:
    rng = np.random.default_rng(3)
    directions = rng.standard_normal((30000, 3)) * [1, 1, 0.25]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    seen = behind = 0
    for s in (10.0, 60.0, 100.0):
        eye = layout.main.place(s, -1.7, 1.4)
        faces, _ = rays.cast(np.repeat(eye[None], len(directions), 0), directions)
        hit = (faces >= 0) & (rays.mesh.classes[faces] != 21)  # leaves have two sides
        facing = (rays.normals(faces[hit]) * directions[hit]).sum(axis=1)
        seen += hit.sum()
        behind += (facing > 1e-4).sum()
    assert seen > 40000
    assert behind / seen < 2e-4


def test_boxes_bars_and_prisms_are_closed_and_face_outwards() -> None:
    frame = np.linalg.qr(np.random.default_rng(2).standard_normal((3, 3)))[0]
    frame[2] = np.cross(frame[0], frame[1])
    boxes = Facets()
    boxes.boxes([[0, 0, 0], [5, 0, 0]], [[1, 2, 3], [0.5, 0.5, 4]], 11, Material.BRICK, RED, frame)
    assert solid(boxes.mesh()).is_watertight
    assert solid(boxes.mesh()).volume == pytest.approx(6 + 1, rel=1e-6)
    bars = Facets()
    bars.bars([[0, 0, 0], [3, 0, 0]], [[0, 0, 2], [4, 1, 1]], [0.5, 0.2], 17, Material.METAL, RED, sides=12)
    regular = 12 / 2 * np.sin(2 * np.pi / 12)
    assert solid(bars.mesh()).is_watertight
    assert solid(bars.mesh()).volume == pytest.approx(regular * (0.25 * 2 + 0.04 * np.sqrt(3)), rel=1e-5)
    prism = Facets()
    prism.prism([[0, 0], [2, 0], [0, 1]], [1, 2, 3], frame, 3.0, 11, Material.ROOF, RED)
    assert solid(prism.mesh()).is_watertight
    assert solid(prism.mesh()).volume == pytest.approx(3.0, rel=1e-6)


def test_a_box_without_its_back_lacks_only_that() -> None:
    frame = Frame(np.zeros(3), np.array([1.0, 0.0, 0.0]), 4.0)
    facets = Facets()
    frame.boxes(facets, 1, 2, 0, 1, 0, 0.1, Material.WOOD, RED, flush=True)
    mesh = solid(facets.mesh())
    assert not mesh.is_watertight
    assert mesh.area == pytest.approx(1.0 + 4 * 0.1, rel=1e-5)
    assert mesh.face_normals[:, 1].max() < 0.5  # none towards the wall, which looks along -y


@pytest.mark.parametrize("across", [False, True])
def test_a_gable_roof_is_closed_and_as_high_as_its_pitch(across: bool) -> None:
    front = Frame(np.zeros(3), np.array([1.0, 0.0, 0.0]), 8.0)
    facets = Facets()
    gable_roof(facets, front, 10.0, 6.0, 0.8, np.array(RED), (Material.BRICK, RED), across)
    roof = solid(facets.mesh())
    assert roof.is_watertight
    assert roof.volume > 0
    slopes = roof.vertices[roof.vertices[:, 2] > 8]
    assert slopes[:, 2].max() == pytest.approx(6 + 0.8 * (4 if across else 5), abs=0.1)


@pytest.mark.parametrize(("width", "depth"), [(12.0, 9.0), (8.0, 11.0)])
def test_a_hip_roof_is_closed(width: float, depth: float) -> None:
    front = Frame(np.array([3.0, 4.0, 0.0]), np.array([0.0, 1.0, 0.0]), width)
    facets = Facets()
    hip_roof(facets, front, depth, 5.0, 0.7, np.array(RED))
    parts = solid(facets.mesh()).split(only_watertight=False)
    roof = max(parts, key=lambda part: part.area)
    assert roof.is_watertight
    w, d = width + 0.8, depth + 0.8
    rise = 0.7 * (min(width, depth) / 2 + 0.4)
    ridge = abs(width - depth)
    # a wedge: base area times height over 6, times (2 * base length + ridge) by the formula of the prismatoid
    expected = min(w, d) * rise / 6 * (2 * max(w, d) + ridge)
    assert roof.volume == pytest.approx(expected, rel=1e-4)


def test_walls_have_holes_where_their_openings_are() -> None:
    frame = Frame(np.zeros(3), np.array([1.0, 0.0, 0.0]), 6.0)
    openings = Openings.grid([1.5, 4.5], [1.0, 4.0], 1.0, 1.5)
    facets = Facets()
    wall(facets, frame, 0.0, 7.0, openings, 0.2, Material.BRICK, np.array(RED))
    mesh = solid(facets.mesh())
    front = mesh.face_normals @ frame.out > 0.99
    assert mesh.area_faces[front].sum() == pytest.approx(6 * 7 - 4 * 1.5, rel=1e-6)
    assert mesh.area_faces[~front].sum() == pytest.approx(4 * 2 * (1.0 + 1.5) * 0.2, rel=1e-5)
    rays = Rays(facets.mesh())
    rng = np.random.default_rng(0)
    u, z = rng.uniform(0, 6, 4000), rng.uniform(0, 7, 4000)
    faces, _ = rays.cast(frame.place(u, z, 5.0), -frame.out)
    bounds = openings.bounds
    in_u = (u[:, None] > bounds[:, 0]) & (u[:, None] < bounds[:, 1])
    in_z = (z[:, None] > bounds[:, 2]) & (z[:, None] < bounds[:, 3])
    inside = (in_u & in_z).any(axis=1)
    assert ((faces >= 0) == ~inside).all()
    # the sides of the holes are seen from the street
    faces, _ = rays.cast(frame.place(bounds[:, 0] + 0.5, bounds[:, 2] + 0.75, 0.0), [0.9, 0.1, 0.0])
    assert (rays.normals(faces) @ [0.9, 0.1, 0.0] < 0).all()


def test_light_passes_through_railings_and_crowns_but_not_all_of_it() -> None:
    rng = np.random.default_rng(0)
    facets = Facets()
    railing(facets, Frame(np.zeros(3), np.array([1.0, 0.0, 0.0]), 4.0), 1.5, np.array(RED), plinth=0.3)
    origins = np.c_[rng.uniform(0.1, 3.9, 3000), np.full(3000, -3.0), rng.uniform(0.5, 1.2, 3000)]
    faces, _ = Rays(facets.mesh()).cast(origins, (0, 1, 0))
    assert 0.6 < (faces < 0).mean() < 0.95
    for name, species in SPECIES.items():
        rays = Rays(grow_tree(species, np.random.default_rng(1)))
        z = rng.uniform(species.clear + 1, species.height - 1.5, 3000)
        origins = np.c_[np.full(3000, -20.0), rng.uniform(-0.35, 0.35, 3000) * species.reach, z]
        faces, _ = rays.cast(origins, (1, 0, 0))
        assert 0.02 < (faces < 0).mean() < 0.9, name


def test_buses_pass_below_trees_beside_the_road() -> None:
    species = pruned(SPECIES["linden"])
    mesh = grow_tree(species, np.random.default_rng(0))
    away = np.linalg.norm(mesh.vertices[:, :2], axis=1) > 1.0
    assert np.quantile(mesh.vertices[away, 2], 0.01) > 2.8


@pytest.mark.parametrize("kind", get_args(SignKind))
def test_signs_face_who_they_are_for(kind: SignKind) -> None:
    toward = np.array([0.6, -0.8, 0.0])
    facets = Facets()
    sign_face(facets, np.array([2.0, 1.0, 3.0]), toward, kind)
    rays = Rays(facets.mesh())
    assert (rays.mesh.classes == 20).all()
    faces, distance = rays.cast([[2.0, 1.0, 3.0] + 5 * toward], -toward)
    assert faces[0] >= 0
    assert rays.normals(faces)[0] @ toward == pytest.approx(1.0, abs=1e-5)
    assert distance[0] == pytest.approx(5.0, abs=0.03)
    assert rays.mesh.materials[faces[0]] == Material.SIGN
    faces, _ = rays.cast([[2.0, 1.0, 3.0] - 5 * toward], toward)
    assert rays.mesh.materials[faces[0]] == Material.METAL  # grey from behind


def test_nothing_stands_on_the_carriageway(layout: Layout, rays: Rays) -> None:
    rng = np.random.default_rng(5)
    for road in layout.roads:
        s = rng.uniform(road.curve.start + 2, road.curve.end - 2, 4000)
        d = rng.uniform(-road.lane_width, road.lane_width, 4000)
        faces, distance = rays.cast(road.place(s, d, 2.2), (0, 0, -1))
        kinds = rays.mesh.classes[faces]
        standing = (distance < 2.15) & (kinds != 21)
        assert not standing.any(), np.unique(kinds[standing])


def test_people_can_walk_the_paths(layout: Layout, rays: Rays) -> None:
    blocked = total = 0
    for walk in layout.walks:
        for s in np.arange(1.0, walk.length - 1.0, 0.5):
            place = walk.pose(float(s))[:3, 3]
            _, distance = rays.cast([[*place[:2], 1.9]], (0, 0, -1))
            total += 1
            blocked += bool(distance[0] < 1.9 - KERB_HEIGHT - 0.03)
    assert blocked / total < 0.01


def test_letters_are_drawn_once_each_cell() -> None:
    for text in (*SHOPS, "0123456789"):
        rectangles = cells(text)
        area = ((rectangles[:, 1] - rectangles[:, 0]) * (rectangles[:, 3] - rectangles[:, 2])).sum()
        covered = {(u, v) for u0, u1, v, _ in rectangles for u in np.arange(u0, u1)}
        assert area == len(covered)
    assert len({cells(digit).tobytes() for digit in "0123456789"}) == 10


def test_textures_continue_over_a_plane_in_metres() -> None:
    rng = np.random.default_rng(0)
    right = np.array([0.6, 0.8, 0.0])
    u = np.array([[0, 0], [1, 0], [1, 2], [0, 2]]) + rng.uniform(-5, 5, (50, 1, 2))
    corners = u[..., :1] * right + u[..., 1:] * [0, 0, 1]
    uvs = surface_uvs(corners)
    np.testing.assert_allclose(uvs - uvs[:1, :1], u - u[:1, :1], atol=1e-9)
