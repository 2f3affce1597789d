"""What each step from sensors to labelled cells is worth, on scenes whose truth is exact.

The table of the design: points painted naively, then with the depth buffer, the height gate and the rejection of
edges; a camera alone by naive inverse perspective mapping and by the contact line, with true and with wrong pitch.
The last rows are of streets whose sidewalks lie `KERB` higher than the road.  Cells count votes.  mIoU is over each
variant's own observed cells, so coverage stands beside it: of the cells that any variant has seen, the share that this
one has.  ``test/grid/exact_scene.py`` has the scenes.

Nobody has painted these scenes, so no network can label them.  ``--bag DRIVE`` has a table of the same steps for a
synthetic drive, with the labels of ``--model NAME --weights FILE``, or those in the bag: true ones, or predictions.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from grid_drive import Drive, add_drive_options, load_drive
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test" / "grid"))
import exact_scene as exact

from panoptic_ros.grid.cameras import Camera
from panoptic_ros.grid.clouds import Cloud
from panoptic_ros.grid.contact_line import observe_contact_line
from panoptic_ros.grid.labelling import CameraView, observe_cloud, visible
from panoptic_ros.grid.observations import Observation
from panoptic_ros.grid.options import ContactLineOptions, GridOptions
from panoptic_ros.grid.poses import Pose, PoseTree
from panoptic_ros.labels import LabelSet
from panoptic_ros.segmentation import PanopticSegmentation

CELL = 0.25
COUNT = 320  # cells a side: 80 m
FIRST = -COUNT // 2
WIDTH, HEIGHT, FOCAL = 1280, 720, 640.0
KERB = 0.12  # metres
FAR = 1e6  # metres, farther than anything hides
CAMERA_AT = np.array([0.5, 0.0, 1.6])
LIDAR_AT = np.array([0.0, 0.0, 1.9])
YAWS = (0.0, 90.0, 180.0, -90.0)
UNLABELLED = 0
"""What stands there, but no camera has named it."""

CLASSES = (exact.ROAD, exact.SIDEWALK, exact.BUILDING, exact.POLE, exact.VEGETATION, exact.PERSON, exact.CAR)

Points = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]
"""x y (N, 2) in the fixed frame, class ids (N,) and weights (N,)."""


class Recording:
    """One exact scene, with a kerb so high, as four cameras around the vehicle and a lidar see it."""

    def __init__(self, seed: int, labels: LabelSet, kerb: float = 0.0) -> None:
        self.scene = exact.street(seed, kerb=kerb)
        self.labels = labels
        rays = exact.lidar_rays()
        distance, _ = self.scene.cast(LIDAR_AT, rays)
        hit = distance < 70
        self.cloud = Cloud(0, "lidar", (rays[hit] * distance[hit, None]).astype(np.float32))
        camera = Camera.from_info(WIDTH, HEIGHT, [FOCAL, 0, (WIDTH - 1) / 2, 0, FOCAL, (HEIGHT - 1) / 2, 0, 0, 1])
        optical = exact.pixel_rays(WIDTH, HEIGHT, FOCAL)
        things = [label.id for label in labels.things]
        self.views = []
        for index, yaw in enumerate(YAWS):
            turned = exact.turn(yaw=yaw)
            position = turned @ CAMERA_AT
            true = turned @ exact.OPTICAL
            ids = self.scene.cast(position, np.einsum("ij,nj->ni", true, optical))[1].reshape(HEIGHT, WIDTH)
            segmentation = PanopticSegmentation.from_ids(ids, things)
            self.views.append(CameraView(0, f"camera_{index}", camera, segmentation, f"camera_{index}", index))
        self.tree = self.poses()

    def poses(self, pitch: float = 0.0, yaw: float = 0.0) -> PoseTree:
        """The poses, with cameras that are believed to be turned by so many degrees more than they are."""
        tree = PoseTree()
        tree.add("odom", "base_link", 0, Pose.identity(), static=True)
        tree.add("base_link", "lidar", 0, Pose(np.eye(3), LIDAR_AT), static=True)
        for index, heading in enumerate(YAWS):
            believed = exact.turn(yaw=heading + yaw) @ exact.turn(pitch=pitch) @ exact.OPTICAL
            tree.add(
                "base_link", f"camera_{index}", 0, Pose(believed, exact.turn(yaw=heading) @ CAMERA_AT), static=True
            )
        return tree


def of_observation(observation: Observation, labels: LabelSet) -> Points:
    """The points that count in an observation: with a label, or of something that stands."""
    known = (observation.classes >= 0) | observation.obstacle
    xy = observation.origin[:2] + observation.points[known, :2]
    ids = np.where(observation.classes[known] >= 0, labels.class_ids[observation.classes[known]], UNLABELLED)
    return xy, ids, observation.weights[known].astype(float)


def options(**changes: object) -> GridOptions:
    """The defaults at the table's cell size, with other settings of labelling."""
    plain = GridOptions(resolution=CELL, size=COUNT)
    return replace(plain, labelling=replace(plain.labelling, **changes))


def plain_painting(depth_buffer: bool) -> Callable[[Recording], Points]:
    """Each lidar point takes its pixel's label, however high it is, and, without the buffer, whatever hides it."""

    def points(recording: Recording) -> Points:
        plain = options(buffer_scale=4)
        xyz = recording.cloud.xyz + LIDAR_AT.astype(np.float32)
        found_xy, found_ids = [], []
        for view in recording.views:
            optical = recording.tree.lookup(view.frame, "odom", 0).apply(xyz)
            if depth_buffer:
                seen, rows, columns = visible(view.camera, optical, np.ones(len(xyz), dtype=np.bool_), plain)
            else:
                seen, rows, columns = view.camera.pixels(view.camera.project(optical)[0])
            ids = view.segmentation.ids[rows, columns] // 1000
            kept = (xyz[seen, 2] <= plain.obstacle_height[1]) & (ids != exact.SKY)
            found_xy.append(xyz[seen[kept], :2])
            found_ids.append(ids[kept])
        xy = np.concatenate(found_xy)
        return xy, np.concatenate(found_ids), np.ones(len(xy))

    return points


def gated_painting(edge_margin: int, buffer_scale: int = 4) -> Callable[[Recording], Points]:
    """Our labelling, with a margin and blocks of the depth buffer in pixels."""

    def points(recording: Recording) -> Points:
        chosen = options(edge_margin=edge_margin, buffer_scale=buffer_scale)
        seen = observe_cloud(recording.cloud, recording.views, recording.tree, recording.labels, chosen)
        return of_observation(seen, recording.labels)

    return points


def naive_mapping(recording: Recording) -> Points:
    """Every cell within range takes the label of the pixel that its middle on the ground falls into."""
    reach = options().contact_line.maximum_range
    middle = (FIRST + np.arange(COUNT) + 0.5) * CELL
    x, y = (axis.ravel() for axis in np.meshgrid(middle, middle))
    ground = np.stack([x, y, np.zeros_like(x)], axis=1)
    found_xy, found_ids = [], []
    ignored = recording.labels.class_ids[options().is_ignored(recording.labels)]
    for view in recording.views:
        pose = recording.tree.lookup(view.frame, "odom", 0)
        seen, rows, columns = view.camera.pixels(view.camera.project(pose.apply(ground.astype(np.float32)))[0])
        ids = view.segmentation.ids[rows, columns] // 1000
        near = np.hypot(*(ground[seen, :2] - pose.inverse.translation[:2]).T) < reach
        near &= ~np.isin(ids, ignored)
        found_xy.append(ground[seen[near], :2])
        found_ids.append(ids[near].astype(np.int64))
    xy = np.concatenate(found_xy)
    return xy, np.concatenate(found_ids), np.ones(len(xy))


def contact_line(kerb: float = 0.0, body: float = 0.0) -> Callable[[Recording], Points]:
    """Our contact line, of all cameras, where kerbs are believed to be so high, and bodies so deep."""

    def points(recording: Recording) -> Points:
        chosen = replace(options(), contact_line=ContactLineOptions(kerb_height=kerb, body_depth=body))
        parts = [
            of_observation(observe_contact_line(view, recording.tree, recording.labels, chosen), recording.labels)
            for view in recording.views
        ]
        xy, ids, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
        return xy, ids, weights

    return points


def vote(points: Points, stands_first: bool) -> NDArray[np.int64]:
    """(COUNT, COUNT) class ids with most weight, 0 where nothing was seen.

    With `stands_first` a cell in which anything stands is what stands there, and unknown where no camera has named it:
    what a grid with an occupancy layer says.
    """
    xy, ids, weights = points
    cells = np.floor(xy / CELL).astype(int) - FIRST
    inside = ((cells >= 0) & (cells < COUNT)).all(axis=1)
    order = np.sort((UNLABELLED, *CLASSES))
    votes = np.zeros((COUNT, COUNT, len(order)))
    np.add.at(votes, (cells[inside, 1], cells[inside, 0], np.searchsorted(order, ids[inside])), weights[inside])
    winner = votes.argmax(axis=2)
    if stands_first:
        stands = np.where(np.isin(order, (exact.ROAD, exact.SIDEWALK)), 0, votes)
        stands[:, :, 0] = np.where(stands[:, :, 1:].any(axis=2), 0, stands[:, :, 0])
        winner = np.where(stands.any(axis=2), stands.argmax(axis=2), winner)
    return np.where(votes.any(axis=2), order[winner], 0)


VARIANTS: dict[str, tuple[Callable[[Recording], Points], bool, dict[str, float]]] = {
    "naive point painting": (plain_painting(False), False, {}),
    "+ depth buffer": (plain_painting(True), False, {}),
    "+ height gate": (gated_painting(0), True, {}),
    "+ 2 px edge rejection": (gated_painting(2), True, {}),
    "+ depth buffer with blocks of 8 px": (gated_painting(2, 8), True, {}),
    "height gate, yaw wrong by 0.2°": (gated_painting(0), True, {"yaw": 0.2}),
    "+ 2 px edge rejection, yaw wrong by 0.2°": (gated_painting(2), True, {"yaw": 0.2}),
    "naive inverse perspective mapping": (naive_mapping, False, {}),
    "contact line": (contact_line(), True, {}),
    "contact line, bodies of 1 m": (contact_line(body=1.0), True, {}),
    "contact line, pitch wrong by 0.25°": (contact_line(), True, {"pitch": 0.25}),
    "contact line, pitch wrong by 0.5°": (contact_line(), True, {"pitch": 0.5}),
}
"""How points are made, whether what stands comes before what lies, and how wrong the cameras' attitude is, degrees."""


WITH_KERBS: dict[str, tuple[Callable[[Recording], Points], bool, dict[str, float]]] = {
    "contact line, kerbs": (contact_line(KERB), True, {}),
    "contact line, kerbs left out": (contact_line(), True, {}),
}
"""The same in streets with kerbs."""


def main(scenes: int = 3) -> dict[str, object]:
    """Run all variants on some scenes; the counts of all scenes are added up before any ratio is taken."""
    labels = LabelSet.load("cityscapes")
    order = np.sort((UNLABELLED, *CLASSES))
    variants = VARIANTS | WITH_KERBS
    confusion = {name: np.zeros((len(order), len(order)), dtype=np.int64) for name in variants}
    covered = dict.fromkeys(variants, 0)
    whole = 0
    for seed in range(scenes):
        seen = np.zeros((COUNT, COUNT), dtype=bool)
        for kerb, group in ((0.0, VARIANTS), (KERB, WITH_KERBS)):
            recording = Recording(seed, labels, kerb)
            truth = recording.scene.truth((FIRST, FIRST), COUNT, CELL)
            for name, (points, stands_first, error) in group.items():
                recording.tree = recording.poses(**error)
                found = vote(points(recording), stands_first)
                known = found > 0
                seen |= known
                covered[name] += int(known.sum())
                pair = (np.searchsorted(order, truth[known]), np.searchsorted(order, found[known]))
                np.add.at(confusion[name], pair, 1)
        whole += int(seen.sum())
    table = Table("variant", "mIoU", "car", "person", "accuracy", "coverage", title=f"{scenes} scenes, {CELL} m cells")
    figures: dict[str, object] = {}
    for name, counts in confusion.items():
        union = counts.sum(axis=0) + counts.sum(axis=1) - np.diag(counts)
        iou = np.where(union > 0, np.diag(counts) / np.maximum(union, 1), np.nan)
        by_class = {labels.name_of(int(class_id)): float(value) for class_id, value in zip(order, iou, strict=True)}
        row = {
            "miou": float(np.nanmean(iou)),
            "accuracy": float(np.diag(counts).sum() / counts.sum()),
            "coverage": covered[name] / whole,
            "iou": by_class,
        }
        figures[name] = row
        cells = (row["miou"], by_class["car"], by_class["person"], row["accuracy"], row["coverage"])
        table.add_row(name, *(f"{value:.3f}" for value in cells))
    Console(width=110).print(table)
    return figures


def drive_variants(options: GridOptions) -> dict[str, tuple[str, GridOptions]]:
    """The inputs and options of each row of a drive's table."""
    labelling, line = options.labelling, options.contact_line

    def lidar(**changes: Any) -> tuple[str, GridOptions]:
        return "lidar", replace(options, labelling=replace(labelling, **changes))

    def camera(**changes: Any) -> tuple[str, GridOptions]:
        return "camera", replace(options, contact_line=replace(line, **changes))

    return {
        "lidar: height gate alone": lidar(buffer_absolute=FAR, edge_margin=0),
        "+ depth buffer, blocks of 4 px": lidar(buffer_scale=4, edge_margin=0),
        "+ 2 px edge rejection": lidar(buffer_scale=4),
        "+ blocks of 8 px": lidar(buffer_scale=8),
        "blocks of 8 px, no edge rejection": lidar(buffer_scale=8, edge_margin=0),
        "contact line": camera(),
        "contact line, kerbs left out": camera(kerb_height=0.0),
        "contact line, no bodies": camera(body_depth=0.0),
    }


def of_drive(drive: Drive) -> dict[str, object]:
    """Build a grid for each variant from the same labels, and print the table."""
    variants = drive_variants(drive.options)
    evaluation = drive.evaluate(variants)
    title = f"{drive.bag.name}, labels of {drive.labels_from}; %"
    names = ("mIoU", "macro accuracy", "accuracy", "class coverage", "IoU occupied", "called free", "coverage")
    table = Table("variant", *names, title=title)
    figures: dict[str, object] = {}
    for score in evaluation.scores:
        cells = score.quality.cells
        row = {
            "miou": cells.mean_iou,
            "macro_accuracy": cells.macro_accuracy,
            "accuracy": cells.accuracy,
            "class_coverage": cells.class_coverage,
            "occupied_iou": cells.occupied_iou,
            "false_free": cells.false_free,
            "coverage": cells.coverage,
        }
        figures[score.name] = row
        table.add_row(score.name, *("–" if value is None else f"{100 * value:.1f}" for value in row.values()))
    Console(width=130).print(table)
    for note in evaluation.notes():
        print(f"note: {note}")
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--scenes", type=int, default=3, help="exact scenes, without --bag (default: %(default)s)")
    add_drive_options(parser)
    given = parser.parse_args()
    if given.bag is None:
        main(given.scenes)
    else:
        of_drive(load_drive(given))
