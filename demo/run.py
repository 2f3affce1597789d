"""``make demo``: the real node on driving frames, over DDS, and what it publishes in files to look at.

It starts the node as a user would, publishes a drawn street (or a video) as a camera does, records every topic that
the node publishes, and writes pictures, a bag and a table of times.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from operator import itemgetter
from pathlib import Path

import cv2
import numpy as np
import rclpy
from exchange import (
    IMAGE_TOPIC,
    LABEL_INFO,
    NODE,
    OUTPUTS,
    DemoError,
    NodeProcess,
    Peer,
    Record,
    header_stamp,
    percentiles,
    use_own_network,
)
from numpy.typing import NDArray
from rclpy.serialization import deserialize_message
from rich.console import Console
from rich.table import Table
from sensor_msgs.msg import Image
from street import FOCAL, HORIZON, RATE, WIDTH, frames

from panoptic_ros import messages
from panoptic_ros.bags import BagWriter, read_frames
from panoptic_ros.drawing import OverlayPainter
from panoptic_ros.encodings import ImageError
from panoptic_ros.frames import SourceError
from panoptic_ros.labels import LabelSet
from panoptic_ros.resources import share_directory
from panoptic_ros.segmentation import PanopticSegmentation

OVERLAY = f"/{NODE}/overlay"
FILES = {
    "overlay.png": "some frames beside what the node published for them",
    "overlay.mp4": "the overlays that the node published",
    "demo.mcap": "everything that the node published, a rosbag2",
    "latency.txt": "the tables above",
    "latency.json": "their figures",
    "node.log": "what the node said",
}
LOADING_PATIENCE, DRAINING_PATIENCE = 60.0, 20.0  # seconds
SHEET_ROWS, SHEET_WIDTH = 4, 640

console = Console()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=60, help="how many frames to publish (default: %(default)s)")
    parser.add_argument("--video", type=Path, help="publish a video (or bag, or folder) instead of the drawn street")
    parser.add_argument("--model", default="yolo_panoptic_small", help="the node's model (default: %(default)s)")
    parser.add_argument("--weights", default="", help="the node's weights (default: random ones)")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="folder to write (default: %(default)s)")
    options = parser.parse_args()
    if options.frames < 1:
        parser.error(f"--frames must be at least 1, got {options.frames}")
    return options


def read(path: Path, count: int) -> list[NDArray[np.uint8]]:
    """The first `count` images of a video, a bag or a folder; raises DemoError where there are none."""
    try:
        images = [frame.image for frame in islice(read_frames(path), count)]
    except (SourceError, OSError) as error:
        raise DemoError(str(error)) from error
    pictures = [image for image in images if not isinstance(image, ImageError)]
    if not pictures:
        raise DemoError(f"{path}: no image can be read")
    return pictures


def drive(node: NodeProcess, peer: Peer, pictures: Sequence[NDArray[np.uint8]]) -> None:
    """Wait for the node, publish the frames at `RATE`, and wait until it has answered or dropped each."""

    def ready() -> bool:
        node.check()
        model = peer.record.status("model")
        if model.is_error:
            raise DemoError(f"the node cannot run {model.values.get('model')}: {model.sentence}")
        return peer.connected() and "untrained" in model.values

    if not peer.spin(LOADING_PATIENCE, until=ready):
        sentence = peer.record.status("model").sentence
        raise DemoError(f"the node was not ready within {LOADING_PATIENCE:.0f} s: {sentence}")
    console.print(f"[bold]3[/] publishing {len(pictures)} frames on {IMAGE_TOPIC}, {RATE} a second")
    start = time.monotonic()
    for index, picture in enumerate(pictures):
        peer.spin(start + index / RATE - time.monotonic())
        node.check()
        peer.send(picture)

    def settled() -> bool:
        node.check()
        values = peer.record.status("camera").values
        received, processed = int(values.get("received", 0)), int(values.get("processed", 0))
        told = 0 < received <= processed + sum(dropped(values).values())
        return told and len(peer.record.received[OVERLAY]) >= processed

    peer.spin(2.0)  # two diagnostics, so that the last one has seen the last frame
    if not peer.spin(DRAINING_PATIENCE, until=settled):
        console.print("[yellow]the node did not account for every frame in time; the table says what is known[/]")


def dropped(values: Mapping[str, str]) -> dict[str, int]:
    """Drops by reason, of a camera's diagnostics."""
    return {key.removeprefix("dropped, "): int(value) for key, value in values.items() if key.startswith("dropped, ")}


def overlays(record: Record) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """The published overlays, each with the number of the frame that it shows."""
    number_of = {stamp: number for number, (stamp, _) in enumerate(record.sent)}
    for _, data in record.received[OVERLAY]:
        yield number_of[header_stamp(data)], messages.image_to_bgr(deserialize_message(data, Image))


def write_video(record: Record, path: Path) -> None:
    """The overlays at the pace of the camera: each stays until the next one."""
    height, width = record.sent[0][1].shape[:2]
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), RATE, (width, height))
    shown, last = 0, None
    for number, overlay in overlays(record):
        for _ in range(number - shown if last is not None else 0):
            video.write(last)
        shown, last = number, overlay
    for _ in range(len(record.sent) - shown):
        video.write(last)
    video.release()


def training(model: Mapping[str, str]) -> str:
    """What the network's weights are worth, in two words, from the values of the node's diagnostics."""
    untrained = model.get("untrained", "nothing")
    if untrained == "nothing":
        return "trained network"
    return "untrained network" if "detector" in untrained else "untrained heads"


def write_sheet(record: Record, truths: Sequence[NDArray[np.int32]], path: Path) -> None:
    """Some frames in rows: the camera's picture, the published overlay, and the labels the street was drawn with."""
    shown = np.linspace(0, len(record.received[OVERLAY]) - 1, SHEET_ROWS).astype(int).tolist()
    labels = LabelSet.load("cityscapes")
    titles = ["the camera's frame", f"what the node published ({training(record.status('model').values)})"]
    titles += ["what was drawn: a perfect network's answer"] * bool(truths)
    rows = []
    for index, (number, overlay) in enumerate(overlays(record)):
        if index in shown:
            frame = record.sent[number][1]
            columns = [frame, overlay]
            if truths:
                truth = PanopticSegmentation.from_ids(truths[number], labels.thing_ids)
                columns.append(OverlayPainter(labels)(frame, truth))
            size = (SHEET_WIDTH, round(SHEET_WIDTH * frame.shape[0] / frame.shape[1]))
            rows.append(np.hstack([cv2.resize(column, size, interpolation=cv2.INTER_AREA) for column in columns]))
    header = np.full((32, rows[0].shape[1], 3), 32, dtype=np.uint8)
    for column, title in enumerate(titles):
        where = (column * SHEET_WIDTH + 10, 22)
        cv2.putText(header, title, where, cv2.FONT_HERSHEY_SIMPLEX, 0.55, (255, 255, 255), 1, cv2.LINE_AA)
    cv2.imwrite(str(path), np.vstack([header, *rows]))


def write_bag(record: Record, path: Path) -> None:
    """Everything that was received, as it came over the wire."""
    arrivals = [(arrival, topic, data) for topic, received in record.received.items() for arrival, data in received]
    with BagWriter(path, messages.BagMessageTypes(), latched=(LABEL_INFO,)) as bag:
        for arrival, topic, data in sorted(arrivals, key=itemgetter(0)):
            bag.write_raw(topic, OUTPUTS[topic], arrival, data)


def latencies(record: Record) -> dict[str, object]:
    """Counts and times, from the node's diagnostics and from what arrived here."""
    values = record.status("camera").values
    result: dict[str, object] = {
        "frames sent": len(record.sent),
        "frames received by the node": int(values.get("received", 0)),
        "frames processed": int(values.get("processed", 0)),
        "overlays received": len(record.received[OVERLAY]),
    }
    result |= {f"dropped, {reason}": count for reason, count in dropped(values).items()}
    result |= {key: float(value) for key, value in values.items() if key.endswith("(ms)") and value}
    ages = record.ages(OVERLAY)
    if ages:
        p50, p99 = percentiles(ages)
        result |= {"age at the recorder p50 (ms)": p50, "age at the recorder p99 (ms)": p99}
    return result


def report(record: Record, out: Path) -> None:
    """Write the figures, and print them and what they are worth."""
    figures = latencies(record)
    (out / "latency.json").write_text(json.dumps(figures, indent=2) + "\n")
    table = Table(title="What the node did with the frames", title_justify="left")
    table.add_column("frames")
    table.add_column("count", justify="right")
    for key, value in figures.items():
        if isinstance(value, int) and (value or not key.startswith("dropped")):
            table.add_row(key, str(value))
    times = Table(title="Where the time went (ms)", title_justify="left")
    for column in ("", "p50", "p99"):
        times.add_column(column, justify="right" if column else "left")
    for key, value in figures.items():
        if key.endswith(" p50 (ms)"):
            what = key.removesuffix(" p50 (ms)")
            times.add_row(what, f"{value:.1f}", f"{figures[f'{what} p99 (ms)']:.1f}")
    console.print(table, times, sep="\n")
    with (out / "latency.txt").open("w") as file:
        Console(file=file, width=100).print(table, times, sep="\n")
    counts = Table(title="What was published", title_justify="left")
    for column in ("topic", "type", "messages"):
        counts.add_column(column, justify="right" if column == "messages" else "left")
    for topic, kind in OUTPUTS.items():
        counts.add_row(topic, kind.replace("/msg/", "/"), str(len(record.received[topic])))
    console.print(counts)
    model = record.status("model")
    worth = training(model.values)
    if worth != "trained network":
        meaning = (
            "stuff stays void and masks are boxes" if worth == "untrained heads" else "what it finds means nothing"
        )
        console.print(
            f"[bold yellow]{worth.capitalize()}[/] ({model.sentence}): the node, its topics and its times are real, "
            f"but {meaning}."
        )


def exchange(options: argparse.Namespace) -> tuple[Record, list[NDArray[np.int32]]]:
    """Run the node on the frames; returns what it published and, of the drawn street, the ids it was drawn with."""
    log = options.out / "node.log"
    settings = {"image_topic": IMAGE_TOPIC, "model": options.model, "diagnostics_period": 0.5}
    if options.weights:
        settings["weights"] = options.weights
    with NodeProcess(settings, log) as node:
        console.print(f"[bold]1[/] started {NODE} with {options.model}; its log is {log}")
        truths: list[NDArray[np.int32]] = []
        if options.video:
            pictures = read(options.video, options.frames)
            console.print(f"[bold]2[/] read {len(pictures)} frames of {options.video}")
        else:
            drawn = list(frames(options.frames))
            pictures, truths = [frame.image for frame in drawn], [frame.ids for frame in drawn]
            console.print(f"[bold]2[/] drew {len(pictures)} frames of a street")
        rclpy.init()
        peer = Peer(None if options.video else (FOCAL, WIDTH / 2, HORIZON))
        try:
            drive(node, peer, pictures)
            node.stop()
        finally:
            peer.destroy_node()
            rclpy.try_shutdown()
    if not peer.record.received[OVERLAY]:
        raise DemoError(f"the node published no overlay; its log is {log}")
    return peer.record, truths


def main() -> int:
    """Run the demo; returns the exit status."""
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (options.out / name).unlink(missing_ok=True)  # nothing of an earlier run is taken for this one's
    try:
        with tempfile.TemporaryDirectory() as logs:
            use_own_network(share_directory() / "config" / "fastdds.xml", logs)
            record, truths = exchange(options)
    except DemoError as error:
        console.print("[bold red]The demo failed:[/]")
        console.print(str(error), highlight=False, markup=False)
        return 1
    write_video(record, options.out / "overlay.mp4")
    write_bag(record, options.out / "demo.mcap")
    write_sheet(record, truths, options.out / "overlay.png")
    report(record, options.out)
    console.print("Look at:", *(f"  {options.out / name}: {what}" for name, what in FILES.items()), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
