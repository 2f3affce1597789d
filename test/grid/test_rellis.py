"""A real frame of RELLIS-3D: labels that points take from the true image against the true label of each point.

Both truths were drawn by people, independently: the image's pixels and the points of the lidar.  Off the road no plane
is the ground, so heights are estimated.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from panoptic_ros.grid.cameras import Camera
from panoptic_ros.grid.clouds import Cloud
from panoptic_ros.grid.labelling import CameraView, observe_cloud
from panoptic_ros.grid.observations import Observation
from panoptic_ros.grid.options import GridOptions, LabellingOptions
from panoptic_ros.grid.poses import Pose, PoseTree
from panoptic_ros.labels import Label, LabelSet
from panoptic_ros.segmentation import PanopticSegmentation

NAMES = {
    3: "grass",
    4: "tree",
    7: "sky",
    8: "vehicle",
    9: "object",
    17: "person",
    18: "fence",
    19: "bush",
    23: "concrete",
    31: "puddle",
    33: "mud",
}
LABELS = LabelSet(
    "rellis", tuple(Label(number, name, name in ("person", "vehicle"), (0, 0, 0)) for number, name in NAMES.items())
)
GROUND = ("grass", "concrete", "puddle", "mud")
DISTORTION = (-0.134313, -0.025905, 0.002181, 0.00084, 0.0)  # of the data set's own projection script


@dataclass(frozen=True)
class Frame:
    """The frame: lidar points (N, 3), the class id of each, the image's labels, and where the camera is."""

    xyz: NDArray[np.float32]
    truth: NDArray[np.int64]
    ids: NDArray[np.int32]
    optical: Pose
    intrinsics: tuple[float, float, float, float]

    @classmethod
    def read(cls, folder: Path) -> Frame:
        transform = yaml.safe_load((folder / "transforms.yaml").read_text())["os1_cloud_node-pylon_camera_node"]
        quaternion = np.array([transform["q"][axis] for axis in "xyzw"])
        optical = Pose.from_quaternion(quaternion, np.array([transform["t"][axis] for axis in "xyz"]))
        labels = cv2.imread(str(folder / "frame000104-1581624663_149.png"), cv2.IMREAD_UNCHANGED)
        ids = labels.astype(np.int32) * 1000
        for number in (8, 17):
            _, parts = cv2.connectedComponents((labels == number).astype(np.uint8))
            ids += parts
        fx, fy, cx, cy = map(float, (folder / "camera_info.txt").read_text().split())
        return cls(
            np.fromfile(folder / "000104.bin", np.float32).reshape(-1, 4)[:, :3].copy(),
            (np.fromfile(folder / "000104.label", np.uint32) & 0xFFFF).astype(np.int64),
            ids,
            optical,
            (fx, fy, cx, cy),
        )

    def observe(self, labelling: LabellingOptions) -> tuple[Observation, NDArray[np.int64]]:
        """What the grid is told, and the true class id of each of its points."""
        tree = PoseTree()
        tree.add("odom", "base_link", 0, Pose.identity(), static=True)
        tree.add("base_link", "lidar", 0, Pose.identity(), static=True)
        tree.add("lidar", "optical", 0, self.optical, static=True)
        fx, fy, cx, cy = self.intrinsics
        height, width = self.ids.shape
        camera = Camera.from_info(width, height, [fx, 0, cx, 0, fy, cy, 0, 0, 1], DISTORTION)
        segmentation = PanopticSegmentation.from_ids(self.ids, LABELS.thing_ids)
        view = CameraView(0, "optical", camera, segmentation, "pylon", 0)
        options = GridOptions(ground=GROUND, labelling=labelling, minimum_range=1.0, obstacle_height=(0.3, 20.0))
        seen = observe_cloud(Cloud(0, "lidar", self.xyz), [view], tree, LABELS, options)
        where = {point.tobytes(): index for index, point in enumerate(self.xyz)}
        return seen, self.truth[[where[point.tobytes()] for point in seen.points]]


@pytest.fixture(scope="module")
def frame(shared_data: Path) -> Frame:
    folder = shared_data / "rellis3d_example" / "example"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}, which is not here")
    return Frame.read(folder)


def agreement(seen: Observation, truth: NDArray[np.int64]) -> tuple[float, int]:
    """The share of labelled points whose class is the true one, where people have drawn both, and their number."""
    known = (seen.classes >= 0) & (truth > 0)
    return float((LABELS.class_ids[seen.classes[known]] == truth[known]).mean()), int(known.sum())


def test_labels_from_the_image_are_those_of_the_points(frame: Frame) -> None:
    """Most of what differs is drawn differently: the image's puddle has its muddy banks, the points' is the water."""
    seen, truth = frame.observe(LabellingOptions(ground_height="estimated"))
    accuracy, count = agreement(seen, truth)
    assert count > 6000
    assert accuracy > 0.8
    wet = {31: 3, 33: 3}
    known = (seen.classes >= 0) & (truth > 0)
    found, true = (
        np.array([wet.get(number, number) for number in ids.tolist()])
        for ids in (LABELS.class_ids[seen.classes[known]], truth[known])
    )
    assert (found == true).mean() > 0.95


def test_rejecting_edges_is_worth_its_points(frame: Frame) -> None:
    plain, plain_count = agreement(*frame.observe(LabellingOptions(ground_height="estimated", edge_margin=0)))
    careful, count = agreement(*frame.observe(LabellingOptions(ground_height="estimated")))
    assert careful > plain + 0.005
    assert count > 0.95 * plain_count


def test_the_person_is_one_instance_where_the_lidar_has_it(frame: Frame) -> None:
    seen, truth = frame.observe(LabellingOptions(ground_height="estimated"))
    person = seen.instances // 1000 == 17
    assert len(np.unique(seen.instances[person])) == 1
    assert person.sum() > 100
    assert (truth[person] == 17).mean() > 0.8
    middle = np.median(seen.points[person], axis=0)
    before = (frame.truth == 17) & (frame.xyz[:, 0] < -5)  # another one stands behind the camera
    true_middle = np.median(frame.xyz[before], axis=0)
    assert np.linalg.norm(middle - true_middle) < 0.3
