"""``make demo``: the real node on a drive, over DDS, and what it publishes in files to look at.

It makes a drive of a synthetic street with two cameras and a lidar, starts the node as a user would, plays the drive to
it as the vehicle's drivers would, records what the node publishes, the semantic occupancy grid included, and writes
pictures, a bag and tables.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import rclpy
from exchange import NODE, DemoError, NodeProcess, use_own_network
from inputs import LATCHED, DriveInput, Input, VideoInput, make_drive
from live_grid import grid_table, measure_grid, write_grid_picture, write_grid_video
from peer import LABEL_INFO, LATCHED_GRIDS, Peer, Record
from report import console, report, write_sheet, write_video
from rich.markup import escape

from panoptic_ros.bags import BagWriter
from panoptic_ros.messages import NANOSECONDS, BagMessageTypes
from panoptic_ros.resources import DEFAULT_MODEL, share_directory

FILES = {
    "overlay.png": "some frames beside what the node published for them",
    "overlay.mp4": "the overlays that the node published",
    "grid.png": "the semantic occupancy grid from above, as the node published it, beside the cameras and the truth",
    "grid.mp4": "the cameras and the grid side by side",
    "demo.mcap": "everything that the node published, with the cameras' images, /tf and the truth; a rosbag2",
    "latency.txt": "the tables above",
    "latency.json": "the figures of counts and times",
    "grid.json": "the grid's age, rate and coverage, and how right its cells are",
    "evaluation.json": "the figures of its quality, with those of each frame, as panoptic-ros evaluate-bag writes them",
    "node.log": "what the node said",
}
SETTLING = 1.0  # seconds; the node may learn of the cameras later than they of it
LOADING_PATIENCE, DRAINING_PATIENCE = 120.0, 20.0  # seconds


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="of the drive (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the street (default: %(default)s)")
    parser.add_argument("--drive", type=Path, help="play a drive of panoptic-train synthesize instead of making one")
    parser.add_argument("--video", type=Path, help="play a video, a bag or a folder of images instead of a drive")
    parser.add_argument("--frames", type=int, default=60, help="how many of the video's (default: %(default)s)")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="the node's model (default: %(default)s)")
    parser.add_argument("--weights", default="", help="the node's weights (default: the model's)")
    parser.add_argument(
        "--confusion", default="", help="confusion.json that an evaluation of the weights wrote, for the grid's classes"
    )
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="folder to write (default: %(default)s)")
    options = parser.parse_args()
    if options.frames < 1:
        parser.error(f"--frames must be at least 1, got {options.frames}")
    if not 1 <= options.seconds <= 3600:
        parser.error(f"--seconds must be 1 to 3600, got {options.seconds:g}")
    return options


def play(node: NodeProcess, peer: Peer, source: Input) -> None:
    """Wait for the node, send the messages at their times, and wait until each frame is answered or dropped."""

    def ready() -> bool:
        node.check()
        model = peer.record.status("model")
        if model.is_error:
            raise DemoError(f"the node cannot run {model.values.get('model')}: {model.sentence}")
        return peer.connected() and "untrained" in model.values

    if not peer.spin(LOADING_PATIENCE, until=ready):
        sentence = peer.record.status("model").sentence
        raise DemoError(f"the node was not ready within {LOADING_PATIENCE:.0f} s: {sentence}")
    console.print(f"[bold]3[/] playing to {NODE}: {', '.join((*source.cameras.values(), *source.clouds))}")
    peer.spin(SETTLING)
    start = peer.now()
    for shot in source.shots():
        peer.spin((start + shot.when - peer.now()) / NANOSECONDS)
        node.check()
        peer.send(shot, start)

    def settled() -> bool:
        node.check()
        return all(peer.record.settled(name) for name in source.cameras)

    peer.spin(2.0)  # two diagnostics, so that the last one has seen the last frame
    if not peer.spin(DRAINING_PATIENCE, until=settled):
        console.print("[yellow]the node did not account for every frame in time; the table says what is known[/]")


def run(options: argparse.Namespace, source: Input) -> Record:
    """Run the node on what the source sends; returns what came of it, and writes the bag."""
    log = options.out / "node.log"
    settings = {"cameras": f"[{', '.join(source.cameras)}]", "model": options.model, "diagnostics_period": 0.5}
    settings |= {f"{name}.image_topic": topic for name, topic in source.cameras.items()}
    if source.clouds:
        settings |= {"grid.enabled": "true", "grid.clouds": f"[{', '.join(source.clouds)}]"}
        if options.confusion:
            settings["grid.confusion"] = str(Path(options.confusion).resolve())
    if options.weights:
        settings["weights"] = options.weights
    bag = BagWriter(options.out / "demo.mcap", BagMessageTypes(), latched=(LABEL_INFO, *LATCHED, *LATCHED_GRIDS))
    with bag, NodeProcess(settings, log) as node:
        console.print(f"[bold]2[/] started {NODE} with {options.model}; its log is {log}")
        rclpy.init()
        peer = Peer(source, bag)
        try:
            play(node, peer, source)
            node.stop()
        finally:
            peer.destroy_node()
            rclpy.try_shutdown()
        if not peer.record.ages:
            raise DemoError(f"the node published no overlay; its log is {log}")
    return peer.record


def main() -> int:
    """Run the demo; returns the exit status."""
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        (options.out / name).unlink(missing_ok=True)  # nothing of an earlier run is taken for this one's
    try:
        source: Input
        if options.video:
            source = VideoInput(options.video, options.frames)
        else:
            source = DriveInput(options.drive or make_drive(options.out, options.seconds, options.seed))
        console.print(f"[bold]1[/] {source.about}", highlight=False)
        with tempfile.TemporaryDirectory() as logs:
            use_own_network(share_directory() / "config" / "fastdds.xml", logs)
            record = run(options, source)
    except DemoError as error:
        console.print("[bold red]The demo failed:[/]")
        console.print(str(error), highlight=False, markup=False)
        return 1
    write_video(options.out / "demo.mcap", source, options.out / "overlay.mp4")
    write_sheet(options.out / "demo.mcap", source, record, options.out / "overlay.png")
    grid = None
    if source.clouds:
        write_grid_picture(options.out / "demo.mcap", source, options.out / "grid.png")
        write_grid_video(options.out / "demo.mcap", source, options.out / "grid.mp4")
        grid = grid_table(measure_grid(options.out / "demo.mcap", source, record, options.out / "grid.json"))
    try:
        report(record, source, options.out, grid)
    except DemoError as error:
        console.print(f"[bold red]The demo failed:[/] {escape(str(error))}", highlight=False)
        return 1
    there = {name: what for name, what in FILES.items() if (options.out / name).exists()}
    console.print("Look at:", *(f"  {options.out / name}: {what}" for name, what in there.items()), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
