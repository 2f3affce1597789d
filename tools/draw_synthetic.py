"""Draws the pictures of docs/synthetic.md from what the package makes.

``python tools/draw_synthetic.py docs/images`` draws all, and with names behind the folder only those.

``synthetic.jpg`` shows streets in four kinds of weather, each as image, labels and depth; ``synthetic_lidar.jpg`` shows
one moment from above: the lidar's points by class with the things' boxes, and the truth of the same square;
``synthetic_labels.png`` shows a street's exact labels and those that people would draw.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic_ros.drawing import OverlayPainter
from panoptic_ros.labels import LabelSet
from panoptic_ros.segmentation import PanopticSegmentation
from panoptic_training.synthetic.annotation import as_annotated
from panoptic_training.synthetic.city import make_world
from panoptic_training.synthetic.drive import CameraSample, Drive, LidarSample, TruthSample
from panoptic_training.synthetic.rig import Rig
from panoptic_training.synthetic.weather import random_weather

STREETS = (("clear", 1, 4.0), ("low_sun", 4, 6.0), ("rain", 9, 3.0), ("dusk", 6, 8.0))  # weather, seed, second
FROM_ABOVE = (3, 6.0)  # seed, second
GAPS = ("clear", 17, 3.0)  # weather, seed, second
PANEL = 720  # pixels of the picture from above
FARTHEST = 80.0  # metres, the darkest depth
Picture = NDArray[np.uint8]


def drive_of(seed: int, weather: str, second: float) -> Drive:
    """A drive that goes on for two seconds more."""
    drawn = random_weather(np.random.default_rng(seed), {weather: 1.0})
    return Drive(make_world(seed, second + 2.0, drawn), Rig.load("street"), seed)


def moment(drive: Drive, second: float, kinds: tuple[type, ...]) -> dict[type, object]:
    """The first sample of each kind from a second of a drive on."""
    found: dict[type, object] = {}
    for event in drive.events(round(second * 1e9)):
        sample = drive.measure(event)
        if isinstance(sample, kinds):
            found.setdefault(type(sample), sample)
        if len(found) == len(kinds):
            break
    return found


def depth_picture(depth: NDArray[np.float32]) -> Picture:
    """(H, W, 3): near is bright, the sky black."""
    near = np.clip(1 - np.log(np.maximum(depth, 2.0) / 2.0) / np.log(FARTHEST / 2.0), 0, 1)
    colored = cv2.applyColorMap((near * 255).astype(np.uint8), cv2.COLORMAP_MAGMA)
    colored[~np.isfinite(depth)] = 0
    return np.asarray(colored, dtype=np.uint8)


def streets(labels: LabelSet) -> Picture:
    """Image, labels and depth of each of `STREETS`."""
    rows = []
    for weather, seed, second in STREETS:
        sample = moment(drive_of(seed, weather, second), second, (CameraSample,))[CameraSample]
        assert isinstance(sample, CameraSample)
        frame = sample.frame
        truth = PanopticSegmentation.from_ids(frame.ids, labels.thing_ids)
        rows.append(
            np.hstack([frame.image, OverlayPainter(labels, 0.75)(frame.image, truth), depth_picture(frame.depth)])
        )
    return np.asarray(cv2.resize(np.vstack(rows), None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def gaps(labels: LabelSet) -> Picture:
    """Image, exact labels and annotated labels of `GAPS`, the middle half of the rows."""
    weather, seed, second = GAPS
    sample = moment(drive_of(seed, weather, second), second, (CameraSample,))[CameraSample]
    assert isinstance(sample, CameraSample)
    frame, angle = sample.frame, sample.camera.lens.intrinsics.pixel_angle
    drawn = [labels.colors[ids // 1000, ::-1] for ids in (frame.ids, as_annotated(frame.ids, frame.depth, angle))]
    return np.hstack([frame.image, *drawn])[frame.ids.shape[0] // 4 : -frame.ids.shape[0] // 4]


def from_above(labels: LabelSet) -> Picture:
    """The lidar's points with boxes, and the truth, of the same square around the vehicle."""
    seed, second = FROM_ABOVE
    drive = drive_of(seed, "clear", second)
    found = moment(drive, second, (LidarSample, TruthSample))
    scan, truth = found[LidarSample], found[TruthSample]
    assert isinstance(scan, LidarSample)
    assert isinstance(truth, TruthSample)
    odom_from_map = np.linalg.inv(drive.odometry.map_from_odom(truth.stamp))
    view, side = truth.top_view, truth.top_view.classes.shape[0]
    scale = PANEL / (side * view.cell)

    def place(points: NDArray[np.floating]) -> NDArray[np.int32]:
        """(N, 3) points of the world to (N, 2) pixels; north is up."""
        odom = points @ odom_from_map[:3, :3].T + odom_from_map[:3, 3]
        column, row = (odom[:, 0] - view.origin[0]) * scale, PANEL - (odom[:, 1] - view.origin[1]) * scale
        return np.stack([column, row], axis=1).astype(np.int32)

    base = scan.lidar.base_from_sensor
    times = scan.stamp / 1e9 + scan.scan.time_offset
    left = np.zeros((PANEL, PANEL, 3), dtype=np.uint8)
    for time in np.unique(times):  # where the vehicle was when each column of points was measured
        pose = drive.world.ego_pose(float(time)) @ base
        chosen = times == time
        points = scan.scan.xyz[chosen] @ pose[:3, :3].T + pose[:3, 3]
        columns, rows = place(points).T
        inside = (columns >= 0) & (columns < PANEL) & (rows >= 0) & (rows < PANEL)
        left[rows[inside], columns[inside]] = labels.colors[scan.scan.class_id[chosen][inside], ::-1]
    for thing in truth.objects:
        cv2.polylines(left, [place(thing.corners[:4])], True, (255, 255, 255), 1, cv2.LINE_AA)
    classes = labels.colors[view.classes[::-1], ::-1]
    right = cv2.resize(classes, (PANEL, PANEL), interpolation=cv2.INTER_NEAREST)
    free = cv2.resize((~view.occupied[::-1]).astype(np.uint8), (PANEL, PANEL), interpolation=cv2.INTER_NEAREST) > 0
    right[free] //= 2
    return np.hstack([left, np.full((PANEL, 8, 3), 255, np.uint8), right])


def main() -> None:
    """Write the pictures into the folder that is given."""
    folder, labels = Path(sys.argv[1]), LabelSet.load("cityscapes")
    pictures = {"synthetic.jpg": streets, "synthetic_lidar.jpg": from_above, "synthetic_labels.png": gaps}
    for name in sys.argv[2:] or pictures:
        cv2.imwrite(str(folder / name), pictures[name](labels), [cv2.IMWRITE_JPEG_QUALITY, 82])


if __name__ == "__main__":
    main()
