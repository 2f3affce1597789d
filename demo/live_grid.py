"""What the demo shows of the grid that the live node made: a picture, a video, and figures beside the truth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from inputs import Input
from numpy.typing import NDArray
from peer import GRID, NAV_GRID, SEMANTIC_GRID, TOP_VIEW, Record
from report import HEADER, LABELS, Picture, overlay_topics, read, write_titles
from rich.table import Table

from panoptic_ros import messages
from panoptic_ros.evaluation.grid_bag import TOLERANCE
from panoptic_ros.evaluation.grid_cells import CellMetrics
from panoptic_ros.evaluation.grid_pictures import differences
from panoptic_ros.evaluation.grid_truth import OCCUPANCY, UNKNOWN, GridTruth
from panoptic_ros.labels import LabelSet
from panoptic_ros.messages import NANOSECONDS
from panoptic_ros.recorded_grid.video import GridVideo, tile

CAMERAS_WIDTH = 640  # of the picture's part with the cameras, pixels


class Truths:
    """The world from above at the moments that a bag has it of.

    Parameters
    ----------
    bag:
        With `OCCUPANCY`; without it there is no truth of any moment.
    """

    def __init__(self, bag: Path) -> None:
        self._truths = [_truth(message) for _, _, message in read(bag, [OCCUPANCY])]
        self._stamps = np.array([truth.stamp for truth in self._truths], dtype=np.int64)

    def near(self, stamp: int) -> GridTruth | None:
        """The truth nearest to a stamp, None where it is not of about that time."""
        if not self._truths:
            return None
        index = int(np.abs(self._stamps - stamp).argmin())
        return self._truths[index] if abs(self._stamps[index] - stamp) <= TOLERANCE else None


def write_grid_picture(bag: Path, source: Input, path: Path) -> None:
    """The last grid that has a truth, or else the last: cameras, the published top view, and what is right in it."""
    truths = Truths(bag)
    chosen, state = 0, None
    for _, _, message in read(bag, [NAV_GRID]):
        stamp = messages.nanoseconds(message.header.stamp)
        if state is None or truths.near(stamp) is not None or truths.near(chosen) is None:
            chosen, state = stamp, message
    pictures, view = _moment(bag, source, chosen)
    if state is None or view is None:
        return
    side = view.shape[0]
    panels = [tile(list(pictures.items()), CAMERAS_WIDTH, side), view]
    titles = ["what the node published for the cameras", "its grid from above: light free, dark occupied, grey unknown"]
    truth = truths.near(chosen)
    if truth is not None:
        told = cells(state)
        true, _ = truth.at_cells(_origin(state), _resolution(state), (told.shape[0], told.shape[1]))
        compared = np.ascontiguousarray(differences(true, told)[::-1])
        panels.append(np.asarray(cv2.resize(compared, (side, side), interpolation=cv2.INTER_NEAREST), np.uint8))
        titles.append("the truth: green right, red called free, orange called occupied")
    header = np.full((HEADER, sum(panel.shape[1] for panel in panels), 3), 32, dtype=np.uint8)
    write_titles(header, titles, [panel.shape[1] for panel in panels])
    cv2.imwrite(str(path), np.vstack([header, np.hstack(panels)]))


def write_grid_video(bag: Path, source: Input, path: Path) -> None:
    """The overlays of all cameras beside the top view, on the time of the grid's stamps."""
    shown: dict[str, Picture] = {}
    cameras = overlay_topics(source)
    if next(read(bag, [TOP_VIEW]), None) is None:
        return
    with GridVideo(path) as video:
        for topic, _, message in read(bag, (*cameras, TOP_VIEW)):
            if topic != TOP_VIEW:
                shown[cameras[topic]] = messages.image_to_bgr(message)
            elif count := video.due(messages.nanoseconds(message.header.stamp)):
                ordered = {name: shown[name] for name in source.cameras if name in shown}
                video.write(count, ordered, messages.image_to_bgr(message))


def measure_grid(bag: Path, source: Input, record: Record, path: Path) -> dict[str, float]:
    """Counts, times and shares of the grid, from the node's diagnostics, from what arrived here and from the truth.

    They are written to a file, too.  Cells count as `panoptic_ros.evaluation.grid_cells` says.
    """
    values = record.status(GRID).values
    figures: dict[str, float] = {
        "clouds sent": sum(record.sent[topic] for topic in source.clouds),
        "clouds received by the node": sum(int(values.get(f"received, {topic}", 0)) for topic in source.clouds),
        "grids made by the node": int(values.get("grids", 0)),
        "grids received": len(record.grid_ages),
        "masks that labelled an earlier cloud": int(values.get("labelled late", 0)),
    }
    figures |= {key: int(value) for key, value in values.items() if key.startswith("dropped, ")}
    arrivals = record.grid_arrivals
    if len(arrivals) > 1 and arrivals[-1] > arrivals[0]:
        figures["rate (Hz)"] = (len(arrivals) - 1) * NANOSECONDS / (arrivals[-1] - arrivals[0])
    figures |= {
        f"{'age at the node' if key.startswith('age') else 'processing'} {key.split(maxsplit=1)[1]}": float(value)
        for key, value in values.items()
        if key.startswith(("age p", "processing p")) and value
    }
    if record.grid_ages:
        p50, p99 = np.percentile(np.asarray(record.grid_ages) * 1e3, (50, 99))
        figures |= {"age at the recorder p50 (ms)": float(p50), "age at the recorder p99 (ms)": float(p99)}
    figures |= _shares(bag)
    path.write_text(json.dumps(figures, indent=2) + "\n")
    return figures


def grid_table(figures: Mapping[str, float]) -> Table:
    """What `measure_grid` found."""
    table = Table("", title="The grid of the lidar, the poses and what the network says", title_justify="left")
    table.add_column("", justify="right")
    for key, value in figures.items():
        if key in PERCENT:
            table.add_row(f"{key} (percent)", f"{100 * value:.1f}")
        else:
            table.add_row(key, str(value) if isinstance(value, int) else f"{value:.1f}")
    return table


PERCENT = (
    "observed, of the window's cells",
    "with a class, of the window's cells",
    "coverage: observed, of the cells with a truth",
    "of the free ones",
    "of the occupied ones",
    "IoU of free, of the observed",
    "IoU of occupied, of the observed",
    "occupied that are called free, of the observed",
)


def _shares(bag: Path) -> dict[str, float]:
    """How much the grids knew, and how much of it was right."""
    labels = LabelSet.load(LABELS)  # of which nothing is asked here but what is free
    truths, metrics = Truths(bag), CellMetrics(labels, np.zeros(len(labels), dtype=bool))
    observed: list[float] = []
    labelled: list[float] = []
    moments = 0
    for topic, _, message in read(bag, [NAV_GRID, SEMANTIC_GRID]):
        told = cells(message)
        if topic == SEMANTIC_GRID:
            labelled.append(float(np.mean(told != UNKNOWN)))
            continue
        observed.append(float(np.mean(told != UNKNOWN)))
        truth = truths.near(messages.nanoseconds(message.header.stamp))
        if truth is not None:
            shape = told.shape[0], told.shape[1]
            true, _ = truth.at_cells(_origin(message), _resolution(message), shape)
            no_class, no_chance = np.full(shape, -1, dtype=np.int16), np.full(shape, np.nan, dtype=np.float32)
            metrics.update(true, no_class, told, no_class, no_chance)
            moments += 1
    if not observed:
        return {}
    result = metrics.result()
    shares = (
        *(float(np.mean(observed)), float(np.mean(labelled)) if labelled else None),
        *(result.coverage, result.free_coverage, result.occupied_coverage),
        *(result.free_iou, result.occupied_iou, result.false_free),
    )
    found = {name: share for name, share in zip(PERCENT, shares, strict=True) if share is not None}
    return found | ({"moments with a truth": moments} if moments else {})


def _moment(bag: Path, source: Input, stamp: int) -> tuple[dict[str, Picture], Picture | None]:
    """The overlay of each camera that is nearest to a stamp, and the top view of that stamp."""
    cameras = overlay_topics(source)
    nearest: dict[str, tuple[int, Any]] = {}
    view = None
    for topic, _, message in read(bag, (*cameras, TOP_VIEW)):
        apart = abs(messages.nanoseconds(message.header.stamp) - stamp)
        if topic == TOP_VIEW:
            view = messages.image_to_bgr(message) if apart == 0 else view
        elif cameras[topic] not in nearest or apart < nearest[cameras[topic]][0]:
            nearest[cameras[topic]] = apart, message
    found = {name: messages.image_to_bgr(nearest[name][1]) for name in source.cameras if name in nearest}
    return found, view


def cells(message: Any) -> NDArray[np.int8]:
    """(H, W) int8 of a ``nav_msgs/OccupancyGrid``, rows along y."""
    return np.asarray(message.data, dtype=np.int8).reshape(message.info.height, message.info.width)


def _origin(message: Any) -> tuple[float, float]:
    return float(message.info.origin.position.x), float(message.info.origin.position.y)


def _resolution(message: Any) -> float:
    return float(f"{message.info.resolution:.7g}")  # float32 in the message: 0.2 is 0.2 again


def _truth(message: Any) -> GridTruth:
    occupied = cells(message)
    classes = np.full(occupied.shape, -1, dtype=np.int16)  # of which the demo asks nothing
    stamp = messages.nanoseconds(message.header.stamp)
    return GridTruth(stamp, message.header.frame_id, _resolution(message), _origin(message), occupied, classes, ())
