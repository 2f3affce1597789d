"""The contact line of exact scenes, with kerbs and without: contacts on footprints, free ground before them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from exact_scene import CAR, OPTICAL, PERSON, ROAD, SIDEWALK, Box, Scene, pixel_rays, street, turn

from panoptic_ros.grid.cameras import Camera, CameraError
from panoptic_ros.grid.contact_line import observe_contact_line
from panoptic_ros.grid.labelling import CameraView
from panoptic_ros.grid.observations import Observation
from panoptic_ros.grid.options import ContactLineOptions, GridOptions
from panoptic_ros.grid.poses import Pose, PoseTree
from panoptic_ros.labels import LabelSet
from panoptic_ros.segmentation import PanopticSegmentation

LABELS = LabelSet.load("cityscapes")
WIDTH, HEIGHT, FOCAL = 640, 400, 320.0
MATRIX = [FOCAL, 0, (WIDTH - 1) / 2, 0, FOCAL, (HEIGHT - 1) / 2, 0, 0, 1]
AT = np.array([1.5, 0.2, 1.6])
ODOM = Pose(turn(yaw=-40), np.array([2e5, 1e5, 30.0]))
OPTIONS = GridOptions(resolution=0.25, size=320, contact_line=ContactLineOptions(kerb_height=0.0, body_depth=0.0))
KERB = 0.15


def seen_from(
    scene: Scene, attitude: np.ndarray, camera: Camera | None = None, rays: np.ndarray | None = None
) -> tuple[CameraView, PoseTree]:
    """The camera's view with `attitude` (3, 3) of the body, and the poses that say so."""
    camera = camera or Camera.from_info(WIDTH, HEIGHT, MATRIX)
    rays = pixel_rays(WIDTH, HEIGHT, FOCAL) if rays is None else rays
    rotation = attitude @ OPTICAL
    ids = scene.cast(AT, np.einsum("ij,nj->ni", rotation, rays))[1]
    tree = PoseTree()
    tree.add("odom", "base_link", 0, ODOM, static=True)
    tree.add("base_link", "optical", 0, Pose(rotation, AT), static=True)
    segmentation = PanopticSegmentation.from_ids(ids.reshape(camera.height, camera.width), LABELS.thing_ids)
    return CameraView(0, "optical", camera, segmentation, "front", 3), tree


def in_base(observation: Observation) -> np.ndarray:
    """The points in the vehicle's frame, float64."""
    return (observation.points.astype(float) + (observation.origin - ODOM.translation)) @ ODOM.rotation


def distance_to(scene: Scene, points: np.ndarray) -> np.ndarray:
    """How far places are from the nearest footprint, metres; 0 on one."""
    found = np.full(len(points), np.inf)
    for box in scene.boxes:
        c, s = np.cos(box.yaw), np.sin(box.yaw)
        x, y = points[:, 0] - box.x, points[:, 1] - box.y
        out = [
            np.maximum(np.abs(c * x + s * y) - box.length / 2, 0),
            np.maximum(np.abs(c * y - s * x) - box.width / 2, 0),
        ]
        found = np.minimum(found, np.hypot(*out))
    return found


ATTITUDES = {"level": turn(pitch=6), "rolled": turn(roll=7, pitch=10, yaw=20)}


def with_kerbs(height: float) -> GridOptions:
    """The options where sidewalks lie so much higher."""
    return replace(OPTIONS, contact_line=ContactLineOptions(kerb_height=height, body_depth=0.0))


@pytest.mark.parametrize("kerb", [0.0, KERB])
@pytest.mark.parametrize("attitude", ATTITUDES)
def test_contacts_lie_on_footprints_and_free_ground_is_what_it_is(attitude: str, kerb: float) -> None:
    scene = street(4, kerb=kerb)
    view, tree = seen_from(scene, ATTITUDES[attitude])
    seen = observe_contact_line(view, tree, LABELS, with_kerbs(kerb))
    assert (seen.source, seen.stamp) == ("contact_line", 0)
    np.testing.assert_allclose(seen.origin, ODOM.rotation @ AT + ODOM.translation, atol=1e-9)
    points = in_base(seen)
    sidewalk = np.abs(points[:, 1]) >= scene.road
    assert (np.abs(points[:, 2] - np.where(sidewalk, kerb, 0)) < 1e-4).mean() > 0.98
    free, hit = points[~seen.obstacle], points[seen.obstacle]
    assert len(hit) > 150
    assert len(free) > 1000
    # A pixel at 20 m is (r² + h²) / (h f) = 0.79 m of ground.
    reach = np.hypot(*(hit[:, :2] - AT[:2]).T)
    pixel = (reach**2 + AT[2] ** 2) / (AT[2] * FOCAL)
    assert (distance_to(scene, hit) <= 1.5 * pixel + 0.05).mean() > 0.98
    truth = scene.ids_from_above(free[:, 0], free[:, 1])
    assert (truth == LABELS.class_ids[seen.classes[~seen.obstacle]] * 1000).mean() > 0.98
    classes = {box.class_id for box in scene.boxes}
    assert set(LABELS.class_ids[seen.classes[seen.obstacle]].tolist()) <= classes
    things = np.isin(seen.instances[seen.obstacle] // 1000, (CAR, PERSON))
    ids = LABELS.class_ids[seen.classes[seen.obstacle]]
    assert (things == np.isin(ids, (CAR, PERSON))).all()
    assert not seen.instances[~seen.obstacle].any()
    assert (seen.cameras == 3).all()


def test_a_kerb_that_is_left_out_puts_things_too_far_away_by_its_share_of_the_camera_s_height() -> None:
    """A wall on the sidewalk, and the sidewalk before it: similar triangles."""
    wall = Box(CAR, 1, 12.0, 9.0, 30.0, 1.0, 3.0, 0.0, KERB)  # its front is at y = 8.5
    view, tree = seen_from(Scene((wall,), kerb=KERB), turn(yaw=60, pitch=6))
    fronts, near_ends = [], []
    for options in (OPTIONS, with_kerbs(KERB)):
        seen = observe_contact_line(view, tree, LABELS, options)
        points = in_base(seen)
        fronts.append(float(np.median(points[seen.obstacle, 1])))
        sidewalk = points[~seen.obstacle & (LABELS.class_ids[seen.classes] == SIDEWALK), 1]
        near_ends.append(float(sidewalk.min()))
    pixel = 0.17  # metres of ground, at 9 m
    assert fronts[1] == pytest.approx(8.5, abs=pixel)
    assert fronts[0] - AT[1] == pytest.approx((8.5 - AT[1]) * AT[2] / (AT[2] - KERB), abs=pixel)
    assert fronts[0] - fronts[1] > 4 * pixel
    # The kerb's face is sidewalk too, and begins where the road ends; the middles of cells are not finer than cells.
    assert near_ends[1] == pytest.approx(5.0, abs=0.25)


def test_a_camera_no_higher_than_a_kerb_takes_the_ground_for_flat() -> None:
    view, tree = seen_from(Scene(()), ATTITUDES["level"])
    flat = observe_contact_line(view, tree, LABELS, OPTIONS)
    high = observe_contact_line(view, tree, LABELS, with_kerbs(AT[2]))
    np.testing.assert_array_equal(high.points, flat.points)
    np.testing.assert_array_equal(high.classes, flat.classes)


def test_nothing_is_said_of_what_is_behind() -> None:
    wall = Box(CAR, 1, 8.0, 0.0, 0.5, 30.0, 1.0, 0.0)  # the camera looks over it: the road behind is in the image
    view, tree = seen_from(Scene((wall,)), ATTITUDES["level"])
    assert (view.segmentation.ids[: HEIGHT // 2] == ROAD * 1000).any() or (view.segmentation.ids == ROAD * 1000).any()
    points = in_base(observe_contact_line(view, tree, LABELS, OPTIONS))
    assert len(points)
    assert points[:, 0].max() < 7.75 + 0.3


@pytest.mark.parametrize("depth", [0.3, 1.0])
def test_a_body_goes_on_behind_its_contact(depth: float) -> None:
    """Each contact of a car has points behind it on its own ray, a person's has none; the others are as without."""
    scene = Scene((Box(CAR, 1, 12.0, 2.0, 4.0, 6.0, 1.5, 0.3), Box(PERSON, 2, 8.0, -3.0, 0.5, 0.5, 1.7, 0.0)))
    view, tree = seen_from(scene, ATTITUDES["rolled"])
    bare = observe_contact_line(view, tree, LABELS, OPTIONS)
    deep = replace(OPTIONS, contact_line=ContactLineOptions(kerb_height=0.0, body_depth=depth))
    seen = observe_contact_line(view, tree, LABELS, deep)
    names = ("points", "heights", "classes", "instances", "cameras", "obstacle", "weights")
    for name in names:
        np.testing.assert_array_equal(getattr(seen, name)[: len(bare)], getattr(bare, name), err_msg=name)
    expected = []
    points, foot = in_base(bare), AT * [1, 1, 0]
    for index in range(len(bare)):
        if bare.obstacle[index] and LABELS.class_ids[bare.classes[index]] == CAR:
            ray = points[index] - foot
            reach = float(np.hypot(ray[0], ray[1]))
            steps = -(-depth // 0.25)  # cells are 0.25 m
            for step in range(1, int(steps) + 1):
                expected.append((*(foot + ray * (reach + depth * step / steps) / reach), bare.weights[index]))
    assert len(expected) > 100
    behind = slice(len(bare), None)
    np.testing.assert_allclose(np.c_[in_base(seen), seen.weights][behind], expected, atol=1e-3)
    assert (LABELS.class_ids[seen.classes[behind]] == CAR).all()
    assert (seen.instances[behind] == 0).all()
    assert seen.obstacle[behind].all()
    assert (distance_to(scene, in_base(seen)[behind]) < 0.3).mean() > 0.95


def test_weights_are_the_error_of_the_range() -> None:
    view, tree = seen_from(Scene((), kerb=KERB), ATTITUDES["level"])
    line = ContactLineOptions(maximum_range=15.0, attitude_sigma=0.5, kerb_height=KERB)
    options = replace(OPTIONS, contact_line=line)
    seen = observe_contact_line(view, tree, LABELS, options)
    points = in_base(seen)
    reach = np.hypot(*(points[:, :2] - AT[:2]).T)
    assert reach.max() <= 15.0
    assert reach.max() > 14.5
    above = AT[2] - np.where(LABELS.class_ids[seen.classes] == SIDEWALK, KERB, 0.0)
    sigma = (reach**2 + above**2) / above * np.deg2rad(0.5)
    np.testing.assert_allclose(seen.weights, np.minimum(1, (0.25 / sigma) ** 2), rtol=1e-3)
    assert seen.weights.min() < 0.1 < 0.9 < seen.weights.max()


def test_free_ground_is_one_point_in_the_middle_of_each_cell_of_the_grid() -> None:
    view, tree = seen_from(Scene(()), ATTITUDES["level"])
    seen = observe_contact_line(view, tree, LABELS, OPTIONS)
    place = (seen.points[:, :2].astype(float) + seen.origin[:2]) / OPTIONS.resolution
    np.testing.assert_allclose(place - np.floor(place), 0.5, atol=1e-3)
    assert len(np.unique(np.floor(place), axis=0)) == len(place)
    # All that the image shows of the ground up to 20 m, cell by cell.
    x, y = np.meshgrid(np.arange(-90, 90), np.arange(-90, 90))
    cells = np.stack([x, y], -1).reshape(-1, 2) + np.floor(seen.origin[:2] / 0.25)
    ground = np.column_stack([(cells + 0.5) * 0.25, np.full(len(cells), ODOM.translation[2])])
    optical = (ground - ODOM.translation) @ ODOM.rotation
    optical = (optical - AT) @ (ATTITUDES["level"] @ OPTICAL)
    with np.errstate(divide="ignore", invalid="ignore"):
        u = FOCAL * optical[:, 0] / optical[:, 2] + (WIDTH - 1) / 2
        v = FOCAL * optical[:, 1] / optical[:, 2] + (HEIGHT - 1) / 2
    near = np.hypot(*(ground[:, :2] - seen.origin[:2]).T) < 20
    shown = (optical[:, 2] > 0) & (u > -0.5) & (u < WIDTH - 0.5) & (v > -0.5) & (v < HEIGHT - 0.5) & near
    assert len(place) == pytest.approx(shown.sum(), rel=0.01)


def test_an_obstacle_that_the_image_cuts_off_has_no_contact() -> None:
    """Its foot is below the image: where it stands is not seen."""
    near = Box(CAR, 1, 4.5, 0.0, 4.0, 6.0, 1.5, 0.0)
    view, tree = seen_from(Scene((near,)), turn(pitch=-5))
    seen = observe_contact_line(view, tree, LABELS, OPTIONS)
    assert not (seen.instances == CAR * 1000 + 1).any()


def test_specks_are_no_obstacles_and_small_gaps_are_bridged() -> None:
    car = Box(CAR, 1, 12.0, 0.0, 4.0, 6.0, 1.5, 0.0)
    view, tree = seen_from(Scene((car,)), ATTITUDES["level"])
    clean = observe_contact_line(view, tree, LABELS, OPTIONS)
    ids = view.segmentation.ids.copy()
    column = WIDTH // 2
    bottom = int(np.flatnonzero(ids[:, column] == CAR * 1000 + 1).max())
    ids[bottom + 1 : bottom + 3] = 0  # the network's void between car and road
    ids[bottom + 20, ::7] = PERSON * 1000 + 9  # specks on the road
    noisy = replace(view, segmentation=PanopticSegmentation.from_ids(ids, LABELS.thing_ids))
    seen = observe_contact_line(noisy, tree, LABELS, OPTIONS)
    assert not (seen.instances == PERSON * 1000 + 9).any()
    assert (seen.instances == CAR * 1000 + 1).sum() > 0.9 * (clean.instances == CAR * 1000 + 1).sum()


def test_the_bonnet_is_no_obstacle() -> None:
    view, tree = seen_from(Scene(()), ATTITUDES["level"])
    ids = view.segmentation.ids.copy()
    ids[-40:] = CAR * 1000 + 1
    masked = replace(view, segmentation=PanopticSegmentation.from_ids(ids, LABELS.thing_ids))
    options = replace(OPTIONS, contact_line=ContactLineOptions(bonnet_rows=40, kerb_height=0.0))
    seen = observe_contact_line(masked, tree, LABELS, options)
    assert not seen.obstacle.any()
    assert len(seen) > 1000


def test_a_distorted_and_a_fisheye_camera_say_the_same() -> None:
    scene = street(4)
    rows, columns = (axis.ravel() for axis in np.mgrid[0:HEIGHT, 0:WIDTH])
    cameras = {
        "polynomial": Camera.from_info(WIDTH, HEIGHT, MATRIX, [-0.15, 0.02, 0.0005, -0.0004, 0.0]),
        "fisheye": Camera.from_info(WIDTH, HEIGHT, MATRIX, [-0.02, 0.005, -0.003, 0.0006], model="equidistant"),
    }
    for camera in cameras.values():
        rays = camera.rays(rows, columns).astype(float)
        rays[~np.isfinite(rays).all(axis=1)] = [0, -1, 0]  # looks up: sky
        view, tree = seen_from(scene, ATTITUDES["level"], camera, rays)
        seen = observe_contact_line(view, tree, LABELS, OPTIONS)
        points = in_base(seen)
        hit = points[seen.obstacle]
        pixel = (np.hypot(*(hit[:, :2] - AT[:2]).T) ** 2 + AT[2] ** 2) / (AT[2] * FOCAL)
        assert len(hit) > 150
        assert (distance_to(scene, hit) <= 2 * pixel + 0.05).mean() > 0.97
        truth = scene.ids_from_above(*points[~seen.obstacle, :2].T)
        assert (truth == LABELS.class_ids[seen.classes[~seen.obstacle]] * 1000).mean() > 0.98


def test_a_camera_that_sees_no_ground_says_nothing() -> None:
    view, tree = seen_from(Scene(()), turn(pitch=-60))
    assert len(observe_contact_line(view, tree, LABELS, OPTIONS)) == 0


def test_a_camera_below_the_ground_is_an_error() -> None:
    view, tree = seen_from(Scene(()), ATTITUDES["level"])
    tree.add("base_link", "optical", 0, Pose(OPTICAL, np.array([1.0, 0, -0.2])), static=True)
    with pytest.raises(CameraError, match=r"camera front: optical is -0.20 m above z = 0 of base_link"):
        observe_contact_line(view, tree, LABELS, OPTIONS)


def test_ground_classes_are_told_apart() -> None:
    view, tree = seen_from(Scene(()), ATTITUDES["level"])
    seen = observe_contact_line(view, tree, LABELS, OPTIONS)
    assert {int(LABELS.class_ids[index]) for index in np.unique(seen.classes)} == {ROAD, SIDEWALK}
