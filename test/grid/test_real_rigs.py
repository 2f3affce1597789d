"""Real rigs: nuScenes' six cameras and lidar of one moment, and KITTI's stereo rig, against the boxes that people drew.

Neither has panoptic truth.  For nuScenes the boxes are drawn into each image as masks of instances, the nearest last;
for KITTI the points of a box must fall into its rectangle in the image.
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from panoptic_ros.grid.cameras import Camera
from panoptic_ros.grid.clouds import Cloud
from panoptic_ros.grid.labelling import CameraView, observe_cloud
from panoptic_ros.grid.observations import Observation
from panoptic_ros.grid.options import GridOptions, LabellingOptions
from panoptic_ros.grid.poses import Pose, PoseTree
from panoptic_ros.labels import Label, LabelSet
from panoptic_ros.segmentation import PanopticSegmentation

ALLOWED = {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")} | {
    (f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")
}


NUSCENES = Path("nuscenes_kitti_mmdet3d_demo") / "nuscenes"


class NumbersOnly(pickle.Unpickler):
    """Reads lists, dicts and arrays, and refuses whatever else a pickle might run."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is no array")
        return super().find_class(
            module.replace("numpy.core", "numpy._core") if np.__version__ >= "2" else module, name
        )


def pose_of(matrix: Any) -> Pose:
    """Of a (4, 4) whose rotation is rounded to float32."""
    m = np.array(matrix, dtype=np.float64)
    u, _, v = np.linalg.svd(m[:3, :3])
    return Pose(u @ v, m[:3, 3])


@dataclass(frozen=True)
class Moment:
    """nuScenes' moment: the cloud, the views with their poses, and the boxes (M, 7) in the lidar's frame by id."""

    labels: LabelSet
    cloud: Cloud
    views: list[CameraView]
    tree: PoseTree
    boxes: dict[int, NDArray[np.float64]]

    @classmethod
    def read(cls, folder: Path) -> Moment:
        (path,) = folder.glob("*.pkl")
        content = NumbersOnly(io.BytesIO(path.read_bytes())).load()
        data = content["data_list"][0]
        labels = LabelSet(
            "nuscenes",
            tuple(
                Label(index + 1, name, name not in ("barrier", "traffic_cone"), (0, 0, 0))
                for name, index in content["metainfo"]["categories"].items()
            ),
        )
        boxes = {
            (one["bbox_label_3d"] + 1) * 1000 + number: np.array(one["bbox_3d"])
            for number, one in enumerate(data["instances"], 1)
            if one["bbox_3d_isvalid"]
        }
        lidar = pose_of(data["lidar_points"]["lidar2ego"])
        tree = PoseTree()
        tree.add("base_link", "lidar", 0, lidar, static=True)
        start = int(data["timestamp"])

        def stamp_of(entry: Any) -> int:
            return round((entry["timestamp"] - start) * 1e9)

        ego = pose_of(data["ego2global"])
        tree.add("odom", "base_link", stamp_of(data), ego)
        views = []
        for index, (name, image) in enumerate(data["images"].items()):
            mounted = pose_of(image["cam2ego"])
            tree.add("base_link", name, 0, mounted, static=True)
            # Where the vehicle was when the image was taken: lidar2cam has its motion, cam2ego has not.
            there = ego.compose(lidar).compose(pose_of(image["lidar2cam"]).inverse).compose(mounted.inverse)
            tree.add("odom", "base_link", stamp_of(image), there)
            camera = Camera.from_info(1600, 900, np.array(image["cam2img"]).ravel())
            ids = masks(boxes, pose_of(image["lidar2cam"]), camera)
            segmentation = PanopticSegmentation.from_ids(ids, labels.thing_ids)
            views.append(CameraView(stamp_of(image), name, camera, segmentation, name, index))
        points = np.fromfile(folder / data["lidar_points"]["lidar_path"], np.float32).reshape(-1, 5)
        return cls(labels, Cloud(stamp_of(data), "lidar", points[:, :3].copy()), views, tree, boxes)

    def observe(self, labelling: LabellingOptions) -> Observation:
        options = GridOptions(labelling=labelling, minimum_range=2.0, obstacle_height=(0.3, 6.0))
        return observe_cloud(self.cloud, self.views, self.tree, self.labels, options)

    def in_lidar(self, seen: Observation) -> NDArray[np.float64]:
        to_lidar = self.tree.lookup("lidar", "odom", self.cloud.stamp)
        return to_lidar.taking(seen.origin).apply(seen.points).astype(np.float64)


def corners(box: NDArray[np.float64]) -> NDArray[np.float64]:
    """(8, 3) of a box: its middle, length, width, height, yaw."""
    signs = np.array([[i, j, k] for i in (-0.5, 0.5) for j in (-0.5, 0.5) for k in (-0.5, 0.5)])
    local = signs * box[3:6]
    c, s = np.cos(box[6]), np.sin(box[6])
    return np.asarray(local @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) + box[:3])


def inside(points: NDArray[np.float64], box: NDArray[np.float64], margin: float = 0.0) -> NDArray[np.bool_]:
    c, s = np.cos(box[6]), np.sin(box[6])
    local = (points - box[:3]) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    half = box[3:6] / 2 + margin
    return np.asarray((np.abs(local) <= half).all(axis=1))


def masks(boxes: dict[int, NDArray[np.float64]], optical: Pose, camera: Camera) -> NDArray[np.int32]:
    """The boxes' outlines in an image, near ones over far ones."""
    ids = np.zeros((camera.height, camera.width), np.int32)
    placed = {number: optical.apply(corners(box).astype(np.float32)) for number, box in boxes.items()}
    for number, points in sorted(placed.items(), key=lambda item: -float(item[1][:, 2].mean())):
        if points[:, 2].min() > 0.5:
            outline = cv2.convexHull(np.rint(camera.project(points)[0]).astype(np.int32))
            cv2.fillConvexPoly(ids, outline, number)
    return ids


@pytest.fixture(scope="module")
def moment(shared_data: Path) -> Moment:
    folder = shared_data / NUSCENES
    if not folder.is_dir():
        pytest.skip(f"needs {folder}, which is not here")
    return Moment.read(folder)


def precision(moment: Moment, seen: Observation) -> tuple[float, int]:
    """The share of points with an instance that lie in that instance's box, and their number."""
    points, total, right = moment.in_lidar(seen), 0, 0
    for number, box in moment.boxes.items():
        mine = seen.instances == number
        total += int(mine.sum())
        right += int(inside(points[mine], box, 0.1).sum())
    return right / total, total


def test_six_cameras_label_one_cloud(moment: Moment) -> None:
    seen = moment.observe(LabellingOptions())
    assert {camera for camera in seen.cameras.tolist() if camera >= 0} >= {0, 1, 3}
    share, count = precision(moment, seen)
    assert count > 300
    assert share > 0.6  # the outlines of boxes, as masks, hold much of what is behind
    # Of what the boxes hold within sight, most has been named.
    points = moment.in_lidar(seen)
    named = held = 0
    for number, box in moment.boxes.items():
        mine = inside(points, box) & (seen.heights > 0.3)
        if number // 1000 - 1 not in (8, 9):  # a cone and a barrier are stuff here
            held += int(mine.sum())
            named += int((seen.instances[mine] == number).sum())
    assert named > 0.85 * held


def test_the_depth_buffer_and_the_margin_keep_what_is_behind_out(moment: Moment) -> None:
    naive = precision(moment, moment.observe(LabellingOptions(buffer_absolute=1e3, edge_margin=0)))[0]
    margin = precision(moment, moment.observe(LabellingOptions(buffer_absolute=1e3)))[0]
    # Of 32 beams, 1.3 degrees or 29 pixels apart; blocks as large hide what is between two of them.
    buffered = precision(moment, moment.observe(LabellingOptions(buffer_scale=24)))[0]
    assert buffered > margin + 0.02 > naive + 0.02


def test_each_image_has_the_pose_of_its_own_moment(shared_data: Path, moment: Moment) -> None:
    """The cameras fire up to 43 ms before the lidar; by tf they stand where the data set's own projection has them."""
    (path,) = (shared_data / NUSCENES).glob("*.pkl")
    images = NumbersOnly(io.BytesIO(path.read_bytes())).load()["data_list"][0]["images"]
    lidar = moment.tree.lookup("odom", "lidar", moment.cloud.stamp)
    moved = []
    for view in moment.views:
        expected = pose_of(images[view.name]["lidar2cam"])
        at_its_own = moment.tree.lookup(view.frame, "odom", view.stamp).compose(lidar)
        np.testing.assert_allclose(at_its_own.translation, expected.translation, atol=2e-3)
        np.testing.assert_allclose(at_its_own.rotation, expected.rotation, atol=1e-4)
        at_the_clouds = moment.tree.lookup(view.frame, "odom", moment.cloud.stamp).compose(lidar)
        moved.append(float(np.linalg.norm(at_the_clouds.translation - expected.translation)))
    assert max(moved) > 0.1, "with the pose at the cloud's stamp the vehicle's motion would be lost"


KITTI = {
    "000000": "kitti_scalabel_sample/kitti_sample/detection/training",
    "000001": "kitti_scalabel_sample/kitti_sample/detection/training",
    "000002": "kitti_object_3frames/training",
}


@pytest.mark.parametrize("frame", KITTI)
def test_kitti_points_of_boxes_fall_into_their_rectangles(shared_data: Path, frame: str) -> None:
    """P2 with its baseline and R0_rect, as the rectified CameraInfo of a stereo camera has them."""
    folder = shared_data / KITTI[frame]
    if not folder.is_dir():
        pytest.skip(f"needs {folder}, which is not here")
    calibration = {}
    for line in (folder / "calib" / f"{frame}.txt").read_text().splitlines():
        if ":" in line:
            name, values = line.split(":", 1)
            calibration[name] = np.array(values.split(), float)
    rotation = calibration["R0_rect"]
    (image,) = folder.glob(f"image_2/{frame}.png")
    height, width = cv2.imread(str(image)).shape[:2]
    camera = Camera.from_info(
        width, height, [1, 0, 0, 0, 1, 0, 0, 0, 1], R=rotation, P=calibration["P2"], rectified=True
    )
    velodyne = calibration["Tr_velo_to_cam"].reshape(3, 4)
    xyz = np.fromfile(folder / "velodyne" / f"{frame}.bin", np.float32).reshape(-1, 4)[:, :3]
    optical = Pose(velodyne[:, :3], velodyne[:, 3]).apply(xyz)
    uv = camera.project(optical)[0]
    homogeneous = (
        np.column_stack([optical @ rotation.reshape(3, 3).T, np.ones(len(xyz))]) @ calibration["P2"].reshape(3, 4).T
    )
    before = homogeneous[:, 2] > 0.1
    np.testing.assert_allclose(uv[before], (homogeneous[:, :2] / homogeneous[:, 2:])[before], rtol=1e-3, atol=0.05)
    rectified = (optical @ rotation.reshape(3, 3).T).astype(float)
    checked = 0
    for line in (folder / "label_2" / f"{frame}.txt").read_text().splitlines():
        kind, *numbers = line.split()
        if kind == "DontCare":
            continue
        left, top, right, bottom, tall, wide, long, x, y, z, yaw = map(float, numbers[3:14])
        # KITTI's box stands on (x, y, z), y down, and turns about y; here z is up.
        box = np.array([x, z, tall / 2 - y, long, wide, tall, -yaw])
        mine = inside(rectified[:, [0, 2, 1]] * [1, 1, -1], box)
        if mine.sum() < 5:
            continue
        u, v = uv[mine].T
        within = (u > left - 3) & (u < right + 3) & (v > top - 3) & (v < bottom + 3)
        assert within.mean() > 0.97, f"{kind} of {frame}"
        checked += 1
    assert checked
