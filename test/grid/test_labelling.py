"""Labels of points, against a float64 transcription point by point, and on scenes whose truth is exact."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from exact_scene import CAR, OPTICAL, PERSON, ROAD, SKY, Box, Scene, lidar_rays, pixel_rays, street, turn

from panoptic_ros.grid.cameras import Camera, CameraError
from panoptic_ros.grid.clouds import Cloud, CloudError
from panoptic_ros.grid.depth import DepthImage
from panoptic_ros.grid.labelling import CameraView, label_points, near_edge, observe_cloud, observe_depth
from panoptic_ros.grid.options import GridOptions, LabellingOptions
from panoptic_ros.grid.poses import Pose, PoseTree
from panoptic_ros.labels import LabelSet
from panoptic_ros.segmentation import PanopticSegmentation

LABELS = LabelSet.load("cityscapes")
WIDTH, HEIGHT, FOCAL = 320, 200, 160.0
CAMERA = Camera.from_info(WIDTH, HEIGHT, [FOCAL, 0, (WIDTH - 1) / 2, 0, FOCAL, (HEIGHT - 1) / 2, 0, 0, 1])
LIDAR = np.array([0.0, 0.0, 1.9])
ODOM = np.array([3e5, -2e5, 0.0])
OPTIONS = GridOptions()


def index_of(class_id: int) -> int:
    return LABELS.class_ids.tolist().index(class_id)


def looking(scene: Scene, yaw: float, position: np.ndarray, index: int = 0) -> tuple[CameraView, Pose]:
    """A view of the scene and the pose of its optical frame in the vehicle's."""
    rotation = turn(yaw=yaw) @ turn(pitch=8) @ OPTICAL
    ids = scene.cast(position, np.einsum("ij,nj->ni", rotation, pixel_rays(WIDTH, HEIGHT, FOCAL)))[1]
    segmentation = PanopticSegmentation.from_ids(ids.reshape(HEIGHT, WIDTH), LABELS.thing_ids)
    return CameraView(0, f"optical_{index}", CAMERA, segmentation, f"camera_{index}", index), Pose(rotation, position)


def setting(scene: Scene, yaws: tuple[float, ...] = (0.0, 120.0)) -> tuple[Cloud, list[CameraView], PoseTree]:
    """A lidar and cameras far from the origin of odom."""
    tree = PoseTree()
    tree.add("odom", "base_link", 0, Pose(turn(yaw=25), ODOM), static=True)
    tree.add("base_link", "lidar", 0, Pose(np.eye(3), LIDAR), static=True)
    rays = lidar_rays(32, 360)
    distance, _ = scene.cast(LIDAR, rays)
    xyz = (rays * np.where(distance < 60, distance, np.nan)[:, None]).astype(np.float32)
    views = []
    for index, yaw in enumerate(yaws):
        view, pose = looking(scene, yaw, np.array([0.5, 0.1 * index, 1.5]), index)
        tree.add("base_link", view.frame, 0, pose, static=True)
        views.append(view)
    return Cloud(0, "lidar", xyz), views, tree


def literal(cloud: Cloud, views: list[CameraView], tree: PoseTree, options: GridOptions) -> list[tuple[int, int, int]]:
    """Class, instance and camera of each point, one at a time, in float64."""
    ground = {label.id for label in LABELS.labels if label.name in ("road", "sidewalk", "terrain")}
    chosen: list[tuple[int, int, int]] = [(-1, 0, -1)] * len(cloud.xyz)
    numbers = options.labelling
    for view in reversed(views):
        pose = tree.lookup(view.frame, "lidar", 0)
        projected: dict[int, tuple[int, int, float]] = {}
        nearest: dict[tuple[int, int], float] = {}
        for number, point in enumerate(cloud.xyz.astype(float)):
            x, y, z = pose.rotation @ point + pose.translation
            if not z > 0:
                continue
            u, v = FOCAL * x / z + (WIDTH - 1) / 2, FOCAL * y / z + (HEIGHT - 1) / 2
            column, row = int(np.floor(u + 0.5)), int(np.floor(v + 0.5))
            if 0 <= column < WIDTH and 0 <= row < HEIGHT:
                projected[number] = (row, column, z)
                if chosen[number][0] < 0:
                    chosen[number] = (-1, 0, view.index)  # in its image
                block = (row // numbers.buffer_scale, column // numbers.buffer_scale)
                if float(cloud.xyz[number, 2]) + LIDAR[2] > numbers.gate_height:
                    nearest[block] = min(nearest.get(block, np.inf), z)
        ids = view.segmentation.ids
        for number, (row, column, z) in projected.items():
            block = (row // numbers.buffer_scale, column // numbers.buffer_scale)
            if z > (1 + numbers.buffer_relative) * nearest.get(block, np.inf) + numbers.buffer_absolute:
                continue
            m = numbers.edge_margin
            window = ids[max(0, row - m) : row + m + 1, max(0, column - m) : column + m + 1]
            if (window != ids[row, column]).any():
                continue
            class_id = int(ids[row, column]) // 1000
            height = float(cloud.xyz[number, 2]) + LIDAR[2]
            if class_id == SKY or (class_id in ground) != (height <= numbers.gate_height):
                continue
            thing = class_id in LABELS.thing_ids
            chosen[number] = (index_of(class_id), int(ids[row, column]) if thing else 0, view.index)
    return chosen


@pytest.mark.parametrize("margin", [0, 2])
def test_labels_are_those_of_the_literal_transcription(margin: int) -> None:
    cloud, views, tree = setting(street(3))
    cloud = Cloud(0, "lidar", cloud.xyz[np.isfinite(cloud.xyz).all(axis=1)])
    options = replace(OPTIONS, labelling=LabellingOptions(edge_margin=margin))
    pose = tree.lookup("odom", "lidar", 0)
    points = pose.relative_to(pose.translation).apply(cloud.xyz)
    posed = [(view, tree.lookup(view.frame, "odom", 0)) for view in views]
    heights = cloud.xyz[:, 2] + np.float32(LIDAR[2])
    found = label_points(pose.translation, points, heights, posed, LABELS, options)
    expected = np.array(literal(cloud, views, tree, options))
    agree = (np.stack(found[:3], axis=1) == expected).all(axis=1)
    # float32 moves a few points over the border of a pixel, and with one a block's nearest depth.
    assert agree.mean() > 0.998
    assert (expected[:, 0] >= 0).sum() > 2000
    assert (found[3] == 1).all()


def test_order_of_points_and_views_does_not_matter() -> None:
    cloud, views, tree = setting(street(1))
    one = observe_cloud(cloud, views, tree, LABELS, OPTIONS)
    order = np.random.default_rng(0).permutation(len(cloud.xyz))
    two = observe_cloud(Cloud(0, "lidar", cloud.xyz[order]), views[::-1], tree, LABELS, OPTIONS)
    rows = [
        np.column_stack([seen.points, seen.classes, seen.instances, seen.cameras, seen.obstacle]) for seen in (one, two)
    ]
    for row in rows:
        row[:] = row[np.lexsort(row.T)]
    np.testing.assert_array_equal(rows[0], rows[1])


def test_what_is_hidden_from_the_camera_takes_no_label() -> None:
    """The lidar looks over a person at a car behind; the camera's pixel there is the person."""
    person = Box(PERSON, 1, 6.0, 0.0, 0.6, 0.6, 1.3, 0.0)
    car = Box(CAR, 2, 12.0, 0.0, 2.0, 4.0, 1.75, 0.0)
    scene = Scene((person, car))
    view, pose = looking(scene, 0.0, np.array([0.0, 0.0, 0.9]))
    tree = PoseTree()
    tree.add("odom", "base_link", 0, Pose.identity(), static=True)
    tree.add("base_link", "lidar", 0, Pose(np.eye(3), np.array([0, 0, 2.6])), static=True)
    tree.add("base_link", view.frame, 0, pose, static=True)
    rays = lidar_rays(200, 1500, -25, 0)
    distance, ids = scene.cast(np.array([0, 0, 2.6]), rays)
    met = distance < 50
    cloud = Cloud(0, "lidar", (rays[met] * distance[met, None]).astype(np.float32))
    seen = observe_cloud(cloud, [view], tree, LABELS, replace(OPTIONS, minimum_range=0.0))
    near = ids[met]
    assert len(seen) == len(near)
    painted = seen.instances == person.id
    assert painted.sum() > 20
    assert (near[painted] == person.id).all()
    uv = view.camera.project(tree.lookup(view.frame, "odom", 0).taking(seen.origin).apply(seen.points))[0]
    hidden = np.flatnonzero(near == car.id)
    _, rows, columns = view.camera.pixels(uv[hidden])
    assert (view.segmentation.ids[rows, columns] == person.id).sum() > 20, "some of the car is behind the person"


def test_ground_takes_only_ground_and_what_stands_only_what_stands() -> None:
    cloud, views, tree = setting(street(2))
    seen = observe_cloud(cloud, views, tree, LABELS, OPTIONS)
    ground = np.append(OPTIONS.is_ground(LABELS), False)
    labelled = seen.classes >= 0
    low = seen.heights <= OPTIONS.labelling.gate_height
    assert labelled[low].sum() > 500
    assert labelled[~low].sum() > 200
    assert (ground[seen.classes] == low)[labelled].all()
    assert (seen.heights <= OPTIONS.obstacle_height[1]).all()
    assert seen.obstacle[seen.heights > OPTIONS.obstacle_height[0]].all()
    assert not seen.obstacle[low].any()


def test_near_edge_is_a_window_of_the_image() -> None:
    rng = np.random.default_rng(0)
    ids = np.repeat(np.repeat(rng.integers(0, 3, (6, 7)), 9, axis=0), 8, axis=1).astype(np.int32)
    rows, columns = (axis.ravel() for axis in np.mgrid[0 : ids.shape[0], 0 : ids.shape[1]])
    for margin in (1, 3):
        found = near_edge(ids, rows, columns, margin)
        for row, column, near in zip(rows, columns, found, strict=True):
            window = ids[max(0, row - margin) : row + margin + 1, max(0, column - margin) : column + margin + 1]
            assert near == (window != ids[row, column]).any()


def test_the_surer_camera_is_believed_and_then_the_first() -> None:
    scene = Scene((Box(CAR, 1, 8.0, 0.0, 2.0, 6.0, 1.5, 0.0),))
    cloud, views, tree = setting(scene, (0.0, 0.0))
    seen = observe_cloud(cloud, views, tree, LABELS, OPTIONS)
    cameras = seen.cameras[seen.classes >= 0]
    # The second sees a few points that are hidden from the first.
    assert (cameras == 0).sum() > 10 * (cameras == 1).sum()
    sure = [
        replace(view, segmentation=replace(view.segmentation, confidence=np.full((HEIGHT, WIDTH), level, np.uint8)))
        for view, level in zip(views, (100, 180), strict=True)
    ]
    seen = observe_cloud(cloud, sure, tree, LABELS, OPTIONS)
    cameras = seen.cameras[seen.classes >= 0]
    assert (cameras == 1).sum() > 10 * (cameras == 0).sum()


def test_the_vehicles_own_points_are_left_out() -> None:
    xyz = np.array([[1.0, 0.2, -1.0], [2.5, 0.0, -1.0], [-0.9, -0.6, -1.2]], np.float32)
    tree = setting(Scene(()))[2]
    boxed = replace(OPTIONS, labelling=LabellingOptions(ego_box=((-2.0, -1.0, 0.0), (2.0, 1.0, 2.0))))
    seen = observe_cloud(Cloud(0, "lidar", xyz), [], tree, LABELS, boxed)
    assert len(seen) == 1
    np.testing.assert_allclose(seen.points[0], turn(yaw=25) @ xyz[1].astype(float), atol=1e-5)
    assert seen.obstacle[0]
    assert seen.classes[0] == -1


def test_a_cloud_without_a_finite_point_is_an_error() -> None:
    tree = setting(Scene(()))[2]
    with pytest.raises(CloudError, match="lidar in lidar: no point is finite"):
        observe_cloud(Cloud(0, "lidar", np.full((9, 3), np.nan, np.float32)), [], tree, LABELS, OPTIONS)


def test_depth_takes_the_same_path() -> None:
    scene = Scene((Box(CAR, 4, 7.0, 0.5, 4.0, 2.0, 1.5, 0.3),))
    _, views, tree = setting(scene, (0.0,))
    rotation = tree.lookup("base_link", views[0].frame, 0)
    rays = np.einsum("ij,nj->ni", rotation.rotation, pixel_rays(WIDTH, HEIGHT, FOCAL))
    distance = scene.cast(rotation.translation, rays)[0]
    metres = np.where(distance < 40, distance, 0).astype(np.float32).reshape(HEIGHT, WIDTH)
    seen = observe_depth(DepthImage(0, views[0].frame, metres, CAMERA), views, tree, LABELS, OPTIONS)
    assert seen.source == "depth"
    on_car = seen.instances == CAR * 1000 + 4
    assert on_car.sum() > 100
    in_base = tree.lookup("base_link", "odom", 0).taking(seen.origin).apply(seen.points)
    grown = replace(scene.boxes[0], length=4.01, width=2.01)
    assert grown.covers(*in_base[on_car, :2].T.astype(float)).all()
    road = seen.classes == index_of(ROAD)
    assert np.abs(seen.heights[road]).max() < 0.26


def test_views_that_do_not_fit_are_refused() -> None:
    segmentation = PanopticSegmentation.from_ids(np.zeros((10, 10), np.int32), ())
    with pytest.raises(CameraError, match="the mask is 10x10, its geometry is of 320x200"):
        CameraView(0, "optical", CAMERA, segmentation, "front", 0)
