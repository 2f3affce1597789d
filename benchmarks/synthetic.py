"""What the synthetic drive costs: each sensor alone, one second of a drive on two processes, and memory over a drive.

Run ``python benchmarks/synthetic.py [--seconds S] [--long L] [--threads N]``.  The world is that of ``panoptic-train
synthesize``.  Costs are processor seconds, which other programs disturb least.  Sensors alone are measured on moments
far apart, for which most bodies have to be made anew; a drive's second follows the one before.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing as mp
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from panoptic_training.synthetic.annotation import as_annotated
from panoptic_training.synthetic.camera import CameraFrame
from panoptic_training.synthetic.city import make_world
from panoptic_training.synthetic.drive import Drive, random_numbers
from panoptic_training.synthetic.mounts import CameraMount, Lens, LidarMount
from panoptic_training.synthetic.rig import Rig

PICTURES, SCANS = 5, 10  # a second of the drive
WARM = 3  # seconds of the drive before those that are measured


def rig(threads: int) -> Rig:
    """One camera at 640 x 384 with shadows, and a lidar whose scan has 102 400 rays."""
    camera = CameraMount("camera", (0.6, 0.0, 1.5), rate=PICTURES, lens=Lens(640, 384, 460.0))
    camera = replace(camera, quality=replace(camera.quality, threads=threads))
    return Rig(cameras=(camera,), lidars=(LidarMount("lidar", (0.2, 0.0, 1.9), rings=64, steps=1600, rate=SCANS),))


def memory() -> float:
    """Resident megabytes of this process."""
    gc.collect()
    return float(psutil.Process().memory_info().rss) / 1e6


def sense(drive: Drive, kind: str, second: int) -> None:
    """Measure what one kind of sensor does in a second of the drive, the picture alone of a camera."""
    for event in drive.events(second * 10**9, (second + 1) * 10**9):
        if event.kind == kind == "camera":
            drive.frame(drive.rig.cameras[0], event.stamp, random_numbers(0, event.name, event.number))
        elif event.kind == kind:
            drive.measure(event)


def alone(drive: Drive, moments: int, console: Console) -> None:
    """Print what each sensor costs on moments far apart."""
    camera = drive.rig.cameras[0]
    frames: list[CameraFrame] = []  # the last picture

    def picture(moment: int) -> None:
        frames[:] = [drive.frame(camera, moment, random_numbers(0, "camera", moment))]

    work: dict[str, Callable[[int], object]] = {
        "picture 640x384": picture,
        "its labels annotated": lambda _: as_annotated(
            frames[0].ids, frames[0].depth, camera.lens.intrinsics.pixel_angle
        ),
        "picture and visibility": lambda moment: drive.take(camera, moment, random_numbers(0, "camera", moment)),
        "lidar scan": lambda moment: drive.measure(
            next(event for event in drive.events(moment, moment + 200_000_000) if event.kind == "lidar")
        ),
        "top view 80 m at 0.25 m": lambda moment: drive.top_view(moment / 1e9),
    }
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in work}
    for number, moment in enumerate(np.linspace(0, drive.duration - 0.5, moments)):
        for name, call in work.items():
            stamp = round((moment + 0.01 * list(work).index(name)) * 1e9)  # the next one must not find its bodies made
            before, worked = time.perf_counter(), time.process_time()
            call(stamp)
            if number:  # the first compiles, and fills tables
                seconds[name].append((time.process_time() - worked, time.perf_counter() - before))
    table = Table("", "median CPU ms", "p90 CPU ms", "median ms")
    for name, values in seconds.items():
        worked, passed = np.array(values).T * 1e3
        table.add_row(name, f"{np.median(worked):.0f}", f"{np.percentile(worked, 90):.0f}", f"{np.median(passed):.0f}")
    console.print(table)


def follow(kind: str, given: argparse.Namespace, ready: Any, answers: Any) -> None:
    """In a process of its own: one kind of sensor over the drive; answers the CPU and wall seconds of each second."""
    drive = Drive(make_world(given.seed, given.seconds), rig(1), given.seed)
    for second in range(WARM):
        sense(drive, kind, second)
    ready.wait()
    spent = []
    for second in range(WARM, int(given.seconds)):
        before, worked = time.perf_counter(), time.process_time()
        sense(drive, kind, second)
        spent.append((time.process_time() - worked, time.perf_counter() - before))
    answers.put((kind, spent))


def together(given: argparse.Namespace, console: Console) -> None:
    """Print what a second of the drive costs, pictures in one process and scans in another at the same time."""
    context = mp.get_context("spawn")
    ready, answers = context.Barrier(2), context.Queue()
    processes = [context.Process(target=follow, args=(kind, given, ready, answers)) for kind in ("camera", "lidar")]
    for process in processes:
        process.start()
    spent = dict(answers.get() for _ in processes)
    for process in processes:
        process.join()
    camera, lidar = (np.array(spent[kind]) for kind in ("camera", "lidar"))
    table = Table("a second of the drive", "mean CPU s", "most CPU s", "mean wall s")
    for name, values in ((f"{PICTURES} pictures", camera), (f"{SCANS} scans", lidar), ("both", camera + lidar)):
        wall = np.maximum(camera[:, 1], lidar[:, 1]) if name == "both" else values[:, 1]
        table.add_row(name, f"{values[:, 0].mean():.2f}", f"{values[:, 0].max():.2f}", f"{wall.mean():.2f}")
    console.print(table)


def over_time(given: argparse.Namespace, console: Console) -> None:
    """Print memory over a long drive, every moment of which both sensors measure."""
    drive = Drive(make_world(given.seed, given.long), rig(given.threads), given.seed)
    used = []
    for second in range(int(given.long)):
        sense(drive, "camera", second)
        sense(drive, "lidar", second)
        used.append(memory())
    tenths = [f"{used[max(0, len(used) * tenth // 10 - 1)]:.0f}" for tenth in range(1, 11)]
    console.print(f"memory after each tenth of {given.long:g} s of the drive, MB: {', '.join(tenths)}")


def main() -> None:
    """Print tables of costs, and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of the drive that is measured")
    parser.add_argument("--long", type=float, default=120.0, help="seconds of the drive for the memory; 0 for none")
    parser.add_argument("--moments", type=int, default=20, help="how many of each sensor alone are measured")
    parser.add_argument("--threads", type=int, default=1, help="of one picture, where one process works")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.seconds < WARM + 1 or given.moments < 2 or given.long < 0:
        parser.error(f"needs --seconds of at least {WARM + 1}, 2 --moments, and no negative --long")

    started = time.perf_counter()
    world = make_world(given.seed, given.seconds)
    built = time.perf_counter()
    drive = Drive(world, rig(given.threads), given.seed)
    _ = drive.raycaster
    console = Console()
    console.print(
        f"world of {given.seconds:g} s: {len(world.static.faces)} triangles that stand, {len(world.bodies)} things; "
        f"made in {built - started:.1f} s, its rays ready {time.perf_counter() - built:.1f} s later; "
        f"{given.threads} threads, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    alone(drive, given.moments, console)
    del drive, world
    together(given, console)
    if given.long:
        over_time(given, console)


if __name__ == "__main__":
    main()
