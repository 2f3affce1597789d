"""Vehicles, cycles and people by themselves: shape, size, motion of their parts."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("trimesh", reason="the synthetic world is not installed")

from panoptic_training.synthetic import cycles, heavy, people, skeleton, vehicles
from panoptic_training.synthetic.dress import Dress
from panoptic_training.synthetic.mesh import Material, Mesh
from panoptic_training.synthetic.motion import STEP, Path, Track, walker_shape, walker_size
from panoptic_training.synthetic.shells import TAIL_GLOW
from panoptic_training.synthetic.solids import Skin, box, ellipsoid, mirrored, rounded_box, tube, turned

VEHICLES = [
    *[pytest.param(lambda style=style: vehicles.car(style), 26, id=style) for style in vehicles.STYLES],
    *[pytest.param(lambda kind=kind: heavy.truck(kind), 27, id=f"truck{kind}") for kind in range(5)],
    pytest.param(lambda: heavy.bus(1), 28, id="bus"),
    pytest.param(lambda: heavy.tram(2), 31, id="tram"),
    *[pytest.param(lambda kind=kind: cycles.motorcycle(kind).rolling, 32, id=f"motorcycle{kind}") for kind in range(3)],
    *[pytest.param(lambda kind=kind: cycles.bicycle(kind).rolling, 33, id=f"bicycle{kind}") for kind in range(3)],
]
# Lengths and heights in metres between which real ones lie.
REAL = {
    26: ((3.3, 5.6), (1.35, 2.1)),
    27: ((7.0, 10.0), (2.6, 4.0)),
    28: ((11.0, 12.6), (3.0, 3.4)),
    31: ((20.0, 30.0), (3.3, 5.0)),
    32: ((1.7, 2.2), (1.1, 1.4)),
    33: ((1.6, 1.9), (0.95, 1.15)),
}


def volume(mesh: Mesh) -> float:
    """Enclosed by a closed mesh that faces outwards (divergence theorem)."""
    a, b, c = mesh.vertices[mesh.faces].astype(np.float64).transpose(1, 0, 2)
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


@pytest.mark.parametrize(("make", "class_id"), VEHICLES)
def test_vehicle_fills_its_box_and_stands_on_the_ground(make, class_id) -> None:
    model = make()
    for state in (model.mesh, model.rolled(0.37), model.rolled(12.3, braking=True)):
        low, high = state.vertices.min(axis=0), state.vertices.max(axis=0)
        np.testing.assert_allclose(low[2], 0.0, atol=0.015)  # tyres are polygons
        np.testing.assert_allclose(high[2], model.size[2], atol=0.02)
        np.testing.assert_allclose(np.maximum(high, -low)[:2] * 2, model.size[:2], atol=0.02)
        # the origin is below the middle
        np.testing.assert_allclose((high + low)[:2] / 2, 0.0, atol=0.25)
        assert (state.classes == class_id).all()
    length, height = REAL[class_id]
    assert length[0] <= model.size[0] <= length[1]
    assert height[0] <= model.size[2] <= height[1]


@pytest.mark.parametrize("style", list(vehicles.STYLES))
def test_car_shell_is_closed_and_faces_outwards(style: str) -> None:
    shell = vehicles.STYLES[style]
    for coarse in (False, True):
        skin = shell.build(coarse).skin((0.5, 0.5, 0.5))
        mesh = skin.mesh()
        # a car fills roughly half of its box; were a part of it inside out it would not
        assert 0.5 < volume(mesh) / (shell.length * shell.width * shell.height) < 0.85
        edges = np.sort(np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]]), axis=1)
        _, count = np.unique(edges, axis=0, return_counts=True)
        assert (count == 2).mean() > 0.97  # the others are on lines where degenerate triangles were dropped


@pytest.mark.parametrize("style", list(vehicles.STYLES))
def test_cars_outside_hides_its_inside_from_all_around(style: str) -> None:
    """Rays from all around meet the front of a triangle first, never the back of one through a gap."""
    trimesh = pytest.importorskip("trimesh")
    ray = pytest.importorskip("trimesh.ray.ray_pyembree")
    for model in (vehicles.car(style), vehicles.car(style).coarse):
        mesh = trimesh.Trimesh(model.mesh.vertices, model.mesh.faces, process=False)
        rng = np.random.default_rng(0)
        angle, height = rng.uniform(0, 2 * np.pi, 6000), rng.uniform(0.6, 4.0, 6000)
        origins = np.stack([9 * np.cos(angle), 9 * np.sin(angle), height], axis=1)
        targets = rng.uniform(-0.5, 0.5, (6000, 3)) * model.size + [0, 0, model.size[2] / 2]
        directions = (targets - origins) / np.linalg.norm(targets - origins, axis=1, keepdims=True)
        hit = ray.RayMeshIntersector(mesh).intersects_first(origins, directions)
        seen = hit >= 0
        back = np.einsum("ij,ij->i", mesh.face_normals[hit[seen]], directions[seen]) > 1e-6
        assert seen.mean() > 0.5
        assert back.mean() < 2e-3


def test_cars_show_glass_lamps_and_plates() -> None:
    model = vehicles.car("hatchback", lights=True)
    corners = model.mesh.vertices[model.mesh.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    of = {material: area[model.mesh.materials == material].sum() for material in Material}
    assert 2.0 < of[Material.GLASS] < 5.0
    assert of[Material.LIGHT] > 0.05
    assert 0.05 < of[Material.SIGN] < 0.2  # two plates of 0.52 m x 0.11 m
    middle = corners.mean(axis=1)
    red = (model.mesh.colors == np.float32(TAIL_GLOW)).all(axis=1)
    assert red.any()
    assert (middle[red, 0] < -1.5).all()


def test_brake_lights_shine_only_while_braking() -> None:
    model = vehicles.car("sedan")
    assert (model.rolled(1.0).materials != Material.LIGHT).all()
    assert (model.rolled(1.0, braking=True).materials == Material.LIGHT).any()


def test_wheels_roll_without_slipping() -> None:
    """Where a tyre touches the ground, it stands still while the car moves."""
    model = vehicles.car("sedan")
    first, last, _, _, radius = model.wheels[0]
    step = 1e-3
    before, after = model.rolled(5.0).vertices[first:last], model.rolled(5.0 + step).vertices[first:last]
    motion = (after - before) / step + [1.0, 0, 0]  # in the world, for each metre ahead
    lowest, highest = before[:, 2].argmin(), before[:, 2].argmax()
    np.testing.assert_allclose(motion[lowest, 0], 0.0, atol=0.05)
    np.testing.assert_allclose(motion[highest, 0], 2.0, atol=0.05)
    np.testing.assert_allclose(model.rolled(2 * np.pi * radius).vertices, model.mesh.vertices, atol=1e-5)


def test_repainting_changes_only_the_paint() -> None:
    model = vehicles.car("suv")
    red = model.repainted((0.5, 0.0, 0.0))
    paint = model.mesh.materials == Material.CAR_PAINT
    assert (red.mesh.colors[paint] == np.float32((0.5, 0.0, 0.0))).all()
    np.testing.assert_array_equal(red.mesh.colors[~paint], model.mesh.colors[~paint])


def test_models_are_the_same_again() -> None:
    first = vehicles.car("estate", False, 2).mesh
    vehicles.car.cache_clear()
    again = vehicles.car("estate", False, 2).mesh
    np.testing.assert_array_equal(first.vertices, again.vertices)
    np.testing.assert_array_equal(first.colors, again.colors)


def test_coarse_models_have_the_same_size_with_fewer_triangles() -> None:
    for model in (vehicles.car("hatchback"), heavy.bus(0), heavy.truck(0), heavy.tram(0)):
        assert len(model.coarse.mesh.faces) < 0.75 * len(model.mesh.faces)
        np.testing.assert_allclose(model.coarse.size, model.size, rtol=0.03, atol=0.05)


@pytest.mark.parametrize(
    ("solid", "expected"),
    [
        (box((1, 2, 3), (4, 5, 6), Material.METAL, (0, 0, 0)), 6.0),
        (ellipsoid((2, 2, 2), (0, 0, 1), Material.METAL, (0, 0, 0), 40, 60), 4 / 3 * np.pi),
        (tube([(0, 0, 0), (0, 0, 5)], 0.5, 64, Material.METAL, (0, 0, 0)), 5 * np.pi / 4),
        (tube([(0, 0, 0), (3, 0, 0), (5, 0, 0)], 0.5, 64, Material.METAL, (0, 0, 0)), 5 * np.pi / 4),
        (turned([(0, 1), (2, 1)], 64, Material.METAL, (0, 0, 0)), 2 * np.pi),
        (mirrored(box((1, 2, 3), (4, 5, 6), Material.METAL, (0, 0, 0))), 6.0),
        (rounded_box((2, 2, 2), (0, 0, 0), Material.METAL, (0, 0, 0), 0.0001), 8.0),
    ],
)
def test_solids_enclose_what_geometry_says(solid: Mesh, expected: float) -> None:
    assert volume(solid) == pytest.approx(expected, rel=0.01)


def test_paint_covers_its_outline_exactly() -> None:
    skin = Skin(box((2, 2, 2), (0, 0, 0), Material.METAL, (0, 0, 0)))
    hexagon = [(0.6 * np.cos(a), 0.6 * np.sin(a)) for a in np.arange(6) * np.pi / 3]
    skin.paint(hexagon, 0, 1, Material.GLASS, (1, 0, 0))
    mesh = skin.mesh()
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    painted = mesh.materials == Material.GLASS
    assert area[painted].sum() == pytest.approx(1.5 * np.sqrt(3) * 0.36, rel=1e-4)
    assert area.sum() == pytest.approx(24.0, rel=1e-5)
    assert (corners[painted][:, :, 0] == 1.0).all()  # the face that looks along x, not the one behind
    assert volume(mesh) == pytest.approx(8.0, rel=1e-5)


@pytest.fixture(scope="module")
def figures() -> list[people.Figure]:
    rng = np.random.default_rng(5)
    return [people.random_figure(rng, child=index % 4 == 0) for index in range(12)]


def test_people_fill_their_box_and_stand_on_the_ground(figures: list[people.Figure]) -> None:
    for figure in figures:
        size = np.array(walker_size(figure))
        stride = skeleton.stride_length(figure.build)
        reach = np.zeros(3)
        for step in np.arange(24) / 24:
            mesh = figure.posed(skeleton.walking(figure.build, stride * step))
            assert -0.025 < mesh.vertices[:, 2].min() < 0.02
            reach = np.maximum(reach, np.abs(mesh.vertices).max(axis=0))
        reach[:2] *= 2
        np.testing.assert_allclose(reach, size, atol=0.06)
        assert size[2] == pytest.approx(figure.build.height, abs=0.08)
        assert (mesh.classes == people.PERSON).all()
        for kind in range(4):
            low = figure.posed(skeleton.standing(figure.build, kind, 1.0)).vertices[:, 2].min()
            assert -0.02 < low < 0.02


def test_people_are_watertight_limb_by_limb(figures: list[people.Figure]) -> None:
    for figure in figures[:3]:
        mesh = figure.posed(skeleton.standing(figure.build, 0))
        build = figure.build
        # about the volume of a body with its clothes: mass over density
        weight = 19 * build.height**2 * build.girth
        assert 0.5 * weight / 1000 < volume(mesh) < 2.2 * weight / 1000


def test_a_foot_on_the_ground_does_not_slide(figures: list[people.Figure]) -> None:
    """In the world, the planted foot's heel or ball keeps its place."""
    build = figures[1].build
    stride = skeleton.stride_length(build)
    steps = np.linspace(0.0, 0.62, 40)[1:-1]
    heels, balls = [], []
    for phase in steps:
        stance = skeleton.walking(build, phase * stride)
        foot, sole = stance.rotations[skeleton.Bone.FOOT], stance.joints[skeleton.Bone.FOOT]
        body = np.array([phase * stride, 0, 0])
        heels.append(body + sole + foot @ [-build.heel, 0, 0])
        balls.append(body + sole + foot @ [build.ball, 0, 0])
    heels, balls = np.array(heels), np.array(balls)
    flat = (steps > 0.1) & (steps < 0.4)
    assert np.ptp(heels[steps < 0.4], axis=0)[0] < 0.02
    assert np.ptp(balls[steps > 0.1], axis=0)[0] < 0.02
    assert np.abs(balls[flat][:, 2]).max() < 0.01
    assert heels[-1, 2] > 0.05  # the heel has left the ground before the toes do


def test_skin_follows_its_bones(figures: list[people.Figure]) -> None:
    """Linear blend skinning, literally: each vertex is the weighted mean of where its bones would carry it."""
    for figure in figures[:3]:
        stance = skeleton.walking(figure.build, 0.4)
        standing_mesh = figure.posed(skeleton.Stance(np.tile(np.eye(3), (skeleton.BONES, 1, 1)), figure.rest))
        _, weights = zip(*Dress(figure.build, figure.clothes, coarse=False).parts(), strict=True)
        expected = np.zeros((len(standing_mesh.vertices), 3))
        for bone, share in enumerate(np.concatenate(weights).T):
            carried = (standing_mesh.vertices - figure.rest[bone]) @ stance.rotations[bone].T + stance.joints[bone]
            expected += share[:, None] * carried
        np.testing.assert_allclose(figure.posed(stance).vertices, expected, atol=1e-5)


def test_joints_do_not_come_apart(figures: list[people.Figure]) -> None:
    build = figures[2].build
    for distance in np.linspace(0, 3, 30):
        stance = skeleton.walking(build, float(distance))
        np.testing.assert_allclose(
            np.einsum("bij,bkj->bik", stance.rotations, stance.rotations),
            np.tile(np.eye(3), (skeleton.BONES, 1, 1)),
            atol=1e-9,
        )
        for side in (0, 1):
            hip, knee = stance.joints[skeleton.Bone.THIGH + side], stance.joints[skeleton.Bone.SHIN + side]
            sole = stance.joints[skeleton.Bone.FOOT + side]
            ankle = sole + stance.rotations[skeleton.Bone.FOOT + side] @ [0, 0, build.ankle]
            assert np.linalg.norm(knee - hip) == pytest.approx(build.hip - build.knee, abs=1e-6)
            assert np.linalg.norm(ankle - knee) == pytest.approx(build.knee - build.ankle, abs=1e-6)
            # knees bend forwards
            assert knee[0] >= hip[0] + (ankle[0] - hip[0]) * (build.hip - build.knee) / (build.hip - build.ankle) - 0.02


def test_riders_touch_bars_and_pedals() -> None:
    rng = np.random.default_rng(1)
    for cycle in (cycles.bicycle(0), cycles.bicycle(1), cycles.motorcycle(0), cycles.motorcycle(2)):
        figure = people.random_figure(rng, people.RIDER, child=False)
        for distance in np.linspace(0, cycle.seat.gear, 8):
            mesh = figure.posed(cycles.riding(figure.build, cycle.seat, float(distance)))
            grip = np.array(cycle.seat.grip)
            assert np.linalg.norm(mesh.vertices - grip, axis=1).min() < 0.13
            assert 0.0 < mesh.vertices[:, 2].min() < 0.42
            assert (mesh.classes == people.RIDER).all()
        size = cycles.rider_size(figure, cycle.seat)
        assert 1.4 < size[2] < 2.05


def test_pedals_stay_below_the_feet() -> None:
    cycle = cycles.bicycle(2)
    figure = people.random_figure(np.random.default_rng(1), people.RIDER, child=False)
    first, last, *_ = cycle.rolling.wheels[2]
    for distance in np.linspace(0, cycle.seat.gear, 12):
        pedals = cycle.rolling.rolled(float(distance)).vertices[first:last]
        stance = cycles.riding(figure.build, cycle.seat, float(distance))
        left = pedals[pedals[:, 1] > 0.12].mean(axis=0)
        foot = (
            stance.rotations[skeleton.Bone.FOOT] @ [figure.build.ball * 0.8, 0, 0] + stance.joints[skeleton.Bone.FOOT]
        )
        assert np.linalg.norm((foot - left)[[0, 2]]) < 0.05


def test_walking_stops_in_a_stand() -> None:
    figure = people.random_figure(np.random.default_rng(3))
    shape = walker_shape(figure)
    feet = [np.sort(shape(4.2, speed, 0.0, False).vertices[:, 2])[:20].max() for speed in (0.0, 0.001)]
    assert max(feet) < 0.03


def test_path_derivative_and_position_agree() -> None:
    angle = np.linspace(0, 2, 60)
    path = Path(np.stack([20 * np.cos(angle), 20 * np.sin(angle), 0 * angle], axis=1))
    for s in (-3.0, 0.0, 5.3, 20.02, path.length + 2):
        numeric = (path.at(s + 1e-5)[0] - path.at(s - 1e-5)[0]) / 2e-5
        np.testing.assert_allclose(path.at(s)[1], numeric, atol=1e-5)
    inside = [np.linalg.norm(path.at(s)[0]) for s in np.linspace(0, path.length, 333)]
    np.testing.assert_allclose(inside, 20.0, atol=1e-3)


def test_track_speed_is_the_derivative_of_its_way() -> None:
    speed = np.array([0.0, 1.0, 3.0, 2.0, 0.0, 0.0])
    way = np.concatenate([[0.0], np.cumsum((speed[1:] + speed[:-1]) / 2 * STEP)])
    track = Track(Path(np.array([[0.0, 0, 0], [5.0, 0, 0], [10.0, 0, 0]])), way, speed)
    for time in np.linspace(-0.1, 0.7, 33):
        numeric = (track.state(time + 1e-6)[0] - track.state(time - 1e-6)[0]) / 2e-6
        assert track.state(time)[1] == pytest.approx(numeric, abs=1e-3)
