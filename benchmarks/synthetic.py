"""What the synthetic drive costs: pictures and lidar scans a second, and memory over a long drive.

Run ``python benchmarks/synthetic.py [--seconds S] [--threads N]``.  Sensors are measured one after another in one
process, each on moments it has not seen; the world is that of ``panoptic-train synthesize``.
"""

from __future__ import annotations

import argparse
import gc
import os
import time
from dataclasses import replace

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from panoptic_training.synthetic.city import make_world
from panoptic_training.synthetic.drive import Drive, random_numbers
from panoptic_training.synthetic.mounts import CameraMount, Lens, LidarMount
from panoptic_training.synthetic.rig import Rig

STEP = 0.1  # seconds between two moments


def rig(threads: int) -> Rig:
    """One camera at 640 x 384 with shadows, and a lidar whose scan has about 100 000 rays."""
    camera = CameraMount("camera", (0.6, 0.0, 1.5), lens=Lens(640, 384, 460.0))
    camera = replace(camera, quality=replace(camera.quality, threads=threads))
    return Rig(cameras=(camera,), lidars=(LidarMount("lidar", (0.2, 0.0, 1.9), rings=64, steps=1600),))


def memory() -> float:
    """Resident megabytes of this process."""
    gc.collect()
    return float(psutil.Process().memory_info().rss) / 1e6


def main() -> None:
    """Print a table of rates and of memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of the drive")
    parser.add_argument("--moments", type=int, default=40, help="how many are measured")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of one picture")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()

    started = time.perf_counter()
    world = make_world(given.seed, given.seconds)
    built = time.perf_counter()
    drive = Drive(world, rig(given.threads), given.seed)
    _ = drive.raycaster
    ready = time.perf_counter()
    camera = drive.rig.cameras[0]
    work = {
        "picture 640x384": lambda moment: drive.frame(camera, moment, random_numbers(0, "camera", moment)),
        "picture and visibility": lambda moment: drive.take(camera, moment, random_numbers(0, "camera", moment)),
        "lidar scan": lambda moment: drive.measure(
            next(event for event in drive.events(moment, moment + 200_000_000) if event.kind == "lidar")
        ),
        "top view 80 m at 0.25 m": lambda moment: drive.top_view(moment / 1e9),
    }
    seconds: dict[str, list[float]] = {name: [] for name in work}
    used = []
    moments = np.linspace(0, given.seconds - 0.5, given.moments)
    for number, moment in enumerate(moments):
        for name, call in work.items():
            stamp = round((moment + 0.01 * list(work).index(name)) * 1e9)  # the next one must not find its bodies made
            before = time.perf_counter()
            call(stamp)
            if number:  # the first fills tables
                seconds[name].append(time.perf_counter() - before)
        used.append(memory())

    console = Console()
    console.print(
        f"world of {given.seconds:g} s: {len(world.static.faces)} triangles that stand, {len(world.bodies)} things; "
        f"made in {built - started:.1f} s, its rays ready {ready - built:.1f} s later; "
        f"{given.threads} threads, {os.cpu_count()} cores"
    )
    table = Table("", "median ms", "p90 ms", "a second")
    for name, values in seconds.items():
        median, p90 = np.percentile(np.array(values) * 1e3, (50, 90))
        table.add_row(name, f"{median:.0f}", f"{p90:.0f}", f"{1e3 / median:.1f}")
    console.print(table)
    half = len(used) // 2
    console.print(
        f"memory: {used[1]:.0f} MB after the second moment, {max(used[:half]):.0f} MB at most in the first half, "
        f"{max(used[half:]):.0f} MB in the second"
    )


if __name__ == "__main__":
    main()
