"""What the demo shows of a run: pictures, a video, and tables of counts and times."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from exchange import NODE, DemoError
from inputs import TRUTH, Input
from numpy.typing import NDArray
from peer import GRIDS, Record
from rich.console import Console
from rich.table import Table
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from panoptic_ros import messages
from panoptic_ros.configuration import ConfigurationError
from panoptic_ros.drawing import OverlayPainter
from panoptic_ros.evaluation.bag import evaluate_recorded
from panoptic_ros.evaluation.document import EvaluationDocument
from panoptic_ros.evaluation.overlaps import EvaluationError
from panoptic_ros.evaluation.recorded_cameras import find_cameras
from panoptic_ros.evaluation.run_document import CAMERAS, QUALITY, document_run, result_quality
from panoptic_ros.evaluation.tables import percent
from panoptic_ros.frames import SourceError
from panoptic_ros.labels import LabelSet
from panoptic_ros.messages import NANOSECONDS
from panoptic_ros.messages.topics import CAMERA_TOPICS

LABELS = "cityscapes"  # of the drive's truth
SHEET_ROWS, SHEET_WIDTH = 4, 640
HEADER = 32  # pixels above pictures, for titles
Picture = NDArray[np.uint8]

console = Console()


def read(bag: Path, topics: Collection[str]) -> Iterator[tuple[str, int, Any]]:
    """Topic, log time (ns) and message of everything on some topics."""
    with AnyReader([bag], default_typestore=get_typestore(Stores.ROS2_JAZZY)) as reader:
        wanted = [connection for connection in reader.connections if connection.topic in topics]
        for connection, time, data in reader.messages(connections=wanted) if wanted else ():
            yield connection.topic, time, reader.deserialize(data, connection.msgtype)


def overlay_topics(source: Input) -> dict[str, str]:
    """The camera of each topic with overlays."""
    return {f"/{NODE}/{name}/overlay": name for name in source.cameras}


def write_video(bag: Path, source: Input, path: Path) -> None:
    """The overlays of all cameras side by side, at the pace of the cameras: each stays until the next one."""
    cameras = overlay_topics(source)
    video, frame_time, written, begin = None, NANOSECONDS / source.rate, 0, 0
    shown: dict[str, Picture] = {}
    for topic, time, message in read(bag, cameras):
        if video is not None:
            for _ in range(written, int((time - begin) / frame_time)):
                video.write(np.hstack(list(shown.values())))
                written += 1
        shown[cameras[topic]] = messages.image_to_bgr(message)
        if video is None and len(shown) == len(cameras):
            shown = {name: shown[name] for name in source.cameras}  # from left to right
            height, begin = min(picture.shape[0] for picture in shown.values()), time
            width = sum(picture.shape[1] for picture in shown.values())
            video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), source.rate, (width, height))
    if video is not None:
        video.write(np.hstack(list(shown.values())))
        video.release()


def write_sheet(bag: Path, source: Input, record: Record, path: Path) -> None:
    """Some frames in rows: the camera's picture, the published overlay, and the truth."""
    cameras = overlay_topics(source)
    keys = [(cameras[topic], messages.nanoseconds(message.header.stamp)) for topic, _, message in read(bag, cameras)]
    chosen = [keys[index] for index in np.linspace(0, len(keys) - 1, min(SHEET_ROWS, len(keys))).astype(int)]
    labels = LabelSet.load(LABELS)
    paint = OverlayPainter(labels)
    kinds = {topic: ("image", name) for name, topic in source.cameras.items()}
    kinds |= {topic: ("overlay", name) for topic, name in cameras.items()}
    kinds |= {f"{TRUTH}{name}/panoptic": ("truth", name) for name in source.cameras}
    found: dict[tuple[str, int], dict[str, Any]] = {key: {} for key in chosen}
    for topic, _, message in read(bag, kinds):
        kind, name = kinds[topic]
        key = name, messages.nanoseconds(message.header.stamp)
        if key in found:
            found[key][kind] = message
    titles = ["the camera's frame", f"what the node published ({worth(record.status('model').values)})"]
    titles += ["the truth: a perfect network's answer"] * source.has_truth
    rows = []
    for key in chosen:
        frame = messages.image_to_bgr(found[key]["image"])
        columns = [frame, messages.image_to_bgr(found[key]["overlay"])]
        if source.has_truth:
            columns.append(paint(frame, messages.segmentation_from_messages(found[key]["truth"], None, labels)))
        size = (SHEET_WIDTH, round(SHEET_WIDTH * frame.shape[0] / frame.shape[1]))
        rows.append(np.hstack([cv2.resize(column, size, interpolation=cv2.INTER_AREA) for column in columns]))
    header = np.full((HEADER, rows[0].shape[1], 3), 32, dtype=np.uint8)
    write_titles(header, titles, [SHEET_WIDTH] * len(titles))
    cv2.imwrite(str(path), np.vstack([header, *rows]))


def write_titles(header: Picture, titles: Sequence[str], widths: Sequence[int]) -> None:
    """Write the title of each column, of some width in pixels, into what lies above the columns."""
    for title, left in zip(titles, np.cumsum([0, *widths]).tolist(), strict=False):
        cv2.putText(header, title, (left + 10, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (255, 255, 255), 1, cv2.LINE_AA)


def worth(model: Mapping[str, str]) -> str:
    """What the network's weights are worth, in two words, from the values of the node's diagnostics."""
    if model.get("untrained", "nothing") == "nothing":
        return "trained network"
    return "untrained heads" if model["features"] == "trained" else "untrained network"


def figures_of(record: Record, camera: str) -> dict[str, float]:
    """Counts and times of one camera, from the node's diagnostics and from what arrived here."""
    values = record.status(camera).values
    result: dict[str, float] = {
        "frames sent": record.sent[camera],
        "frames received by the node": int(values.get("received", 0)),
        "frames processed": int(values.get("processed", 0)),
        "overlays received": len(record.ages[camera]),
    }
    result |= {f"dropped, {reason}": count for reason, count in record.dropped(camera).items()}
    result |= {key: float(value) for key, value in values.items() if key.endswith("(ms)") and value}
    if record.ages[camera]:
        p50, p99 = np.percentile(np.asarray(record.ages[camera]) * 1e3, (50, 99))
        result |= {"age at the recorder p50 (ms)": float(p50), "age at the recorder p99 (ms)": float(p99)}
    return result


def measure(bag: Path, out: Path) -> EvaluationDocument:
    """Evaluate what the node published against the drive's truth, as ``panoptic-ros evaluate-bag`` does.

    Raises
    ------
    DemoError
        If that cannot be done; the message says why.
    """
    try:
        evaluation = evaluate_recorded(bag, find_cameras(bag))
    except (EvaluationError, SourceError, ConfigurationError) as error:
        raise DemoError(str(error)) from error
    document = document_run(
        evaluation.metrics,
        evaluation.run,
        "bag",
        str(bag),
        bag.name,
        evaluation.alignment.name,
        notes=evaluation.notes(),
        command=tuple(sys.argv),
    )
    document.save(out / "evaluation.json")
    return document


def report(record: Record, source: Input, out: Path, grid: Table | None = None) -> None:
    """Write the figures, and print them, with the grid's table if there is one, and what they are worth."""
    figures = {name: figures_of(record, name) for name in source.cameras}
    (out / "latency.json").write_text(json.dumps(figures, indent=2) + "\n")
    tables = [_counts(figures), _times(figures)]
    tables += [grid] * (grid is not None)
    if source.has_truth:
        tables.append(_quality(measure(out / "demo.mcap", out)))
    console.print(*tables, sep="\n")
    with (out / "latency.txt").open("w") as file:
        Console(file=file, width=100).print(*tables, sep="\n")
    console.print(_topics(record, source))
    if grid is not None:
        console.print(_grid_topics(record))
    model = record.status("model")
    weights = worth(model.values)
    if weights != "trained network":
        meaning = (
            "stuff stays void and masks are boxes" if weights == "untrained heads" else "what it finds means nothing"
        )
        console.print(
            f"[bold yellow]{weights.capitalize()}[/] ({model.sentence}): the node, its topics and its times are real, "
            f"but {meaning}."
        )
        if grid is not None:
            console.print(
                "The classes and objects of the grid are worth no more. What is free and what is occupied comes from "
                "the lidar and the poses and holds all the same: the grid's table says how much of it is right."
            )


def _counts(figures: Mapping[str, Mapping[str, float]]) -> Table:
    table = Table(title="What the node did with the frames", title_justify="left")
    table.add_column("frames")
    for name in figures:
        table.add_column(name, justify="right")
    keys = dict.fromkeys(key for values in figures.values() for key in values if not key.endswith("(ms)"))
    for key in keys:
        counts = [values.get(key, 0) for values in figures.values()]
        if any(counts) or not key.startswith("dropped"):
            table.add_row(key, *(str(count) for count in counts))
    return table


def _times(figures: Mapping[str, Mapping[str, float]]) -> Table:
    table = Table(title="Where the time went (ms)", title_justify="left")
    table.add_column("")
    for name in figures:
        for share in ("p50", "p99"):
            table.add_column(f"{name}\n{share}", justify="right")
    keys = dict.fromkeys(key for values in figures.values() for key in values if key.endswith(" p50 (ms)"))
    for key in keys:
        pairs = [(values.get(key), values.get(key.replace(" p50 ", " p99 "))) for values in figures.values()]
        table.add_row(
            key.removesuffix(" p50 (ms)"),
            *("-" if value is None else f"{value:.1f}" for pair in pairs for value in pair),
        )
    return table


def _quality(document: EvaluationDocument) -> Table:
    """Panoptic quality of each camera and of all frames together, in percent."""
    table = Table(title="How good it was, against the drive's truth (percent)", title_justify="left")
    for column in ("", "frames", "PQ", "PQ things", "PQ stuff", "mIoU"):
        table.add_column(column, justify="right" if column else "left")
    for camera in (document.recording or {})[CAMERAS]:
        table.add_row(camera["camera"], str(camera["pairs"]), *(percent(value) for value in camera[QUALITY].values()))
    everything = result_quality(document.metrics)
    table.add_row("all", str(document.metrics.images), *(percent(value) for value in everything.values()))
    return table


def _topics(record: Record, source: Input) -> Table:
    table = Table(title=f"What was published below /{NODE}/<camera>", title_justify="left")
    table.add_column("topic")
    table.add_column("type")
    for name in source.cameras:
        table.add_column(name, justify="right")
    for topic, kind in CAMERA_TOPICS.items():
        counts = [str(record.published[f"/{NODE}/{name}/{topic}"]) for name in source.cameras]
        table.add_row(topic, kind.replace("/msg/", "/"), *counts)
    return table


def _grid_topics(record: Record) -> Table:
    table = Table("topic", "type", title=f"What was published of the grid below /{NODE}", title_justify="left")
    table.add_column("messages", justify="right")
    for topic, kind in GRIDS.items():
        name = topic.removeprefix(f"/{NODE}/")
        table.add_row(name, kind.replace("/msg/", "/"), str(record.published[topic]))
    return table
