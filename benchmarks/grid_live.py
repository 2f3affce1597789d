"""How old the grid is when it comes, live: a drive goes over DDS to the node with `grid.enabled`, or to the two nodes.

In one process the panoptic node hands its results to the grid itself; in two, masks and their CameraInfo cross to
`semantic_grid_node`. The drive is played by a process of its own at the times it was measured. A grid's age is the time
from the stamp of its cloud until it is published (the node's own figure), and until it has arrived here. What the
network finds is prepared and takes as long as MODEL says (``delay:0.05``), or is what a real system's name finds.

Run ``python benchmarks/grid_live.py DRIVE [MODEL]`` with a drive of ``panoptic-train synthesize drive`` or of
``make demo``, by itself on a machine that has nothing else to do: it takes the length of the drive twice.
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import rclpy
import traffic
from nav_msgs.msg import OccupancyGrid
from rclpy.serialization import deserialize_message
from rich.console import Console
from rich.table import Table

from panoptic_ros.messages import NANOSECONDS

sys.path.append(str(Path(__file__).parents[1] / "demo"))  # which plays drives to nodes, too

from exchange import NodeProcess
from inputs import DriveInput
from peer import DIAGNOSTICS, GRID, Peer
from stamps import header_stamp

GRID_NODE = "semantic_grid_node"
GRID_TYPE = "nav_msgs/msg/OccupancyGrid"


class Grids:
    """Takes the place of the demo's bag: notes when grids come.

    Attributes
    ----------
    ages:
        Seconds from the stamp of each grid to its arrival.
    arrivals:
        When they came, ns.
    labelled:
        Of the last grid with classes, the share of the cells with one; None before.
    """

    def __init__(self, node: str) -> None:
        self.topics = {f"/{node}/{name}": GRID_TYPE for name in ("nav_grid", "semantic_grid")}
        self.ages: list[float] = []
        self.arrivals: list[int] = []
        self.labelled: float | None = None

    def write_raw(self, topic: str, _: str, time: int, data: bytes) -> None:
        if topic.endswith("/nav_grid") and topic in self.topics:
            self.ages.append((time - header_stamp(data)) / NANOSECONDS)
            self.arrivals.append(time)
        elif topic in self.topics:
            cells = np.array(deserialize_message(data, OccupancyGrid).data, dtype=np.int8)
            self.labelled = float(np.mean(cells != -1))


def play(source: DriveInput, model: str, together: bool) -> dict[str, float]:
    """The figures of one run; ages in ms."""
    names, clouds = f"[{', '.join(source.cameras)}]", f"[{', '.join(source.clouds)}]"
    parameters = {"cameras": names} | {f"{name}.image_topic": topic for name, topic in source.cameras.items()}
    if together:
        parameters |= {"grid.enabled": "true", "grid.clouds": clouds}
    grids = Grids(traffic.NODE if together else GRID_NODE)
    with ExitStack() as stack:
        stand_in = model.startswith("delay:")
        node = stack.enter_context(traffic.NodeProcess(model, stand_in=stand_in, parameters=parameters))
        if not together:
            log = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "log"
            own = {"cameras": names, "clouds": clouds, "diagnostics_period": 0.5}
            stack.enter_context(NodeProcess(own, log, GRID_NODE))
        rclpy.init()
        stack.callback(rclpy.try_shutdown)
        listen = grids.topics | {DIAGNOSTICS: "diagnostic_msgs/msg/DiagnosticArray"}
        peer = Peer(source, grids, listen)
        stack.callback(peer.destroy_node)

        def ready() -> bool:
            return peer.connected() and "untrained" in peer.record.status("model").values

        if not peer.spin(traffic.PATIENCE, until=ready):
            raise TimeoutError(f"the nodes were not ready within {traffic.PATIENCE:.0f} s:\n{node.log()}")
        peer.spin(1.0)
        start = peer.now()
        for shot in source.shots():
            peer.spin((start + shot.when - peer.now()) / NANOSECONDS)
            peer.send(shot, start)
        peer.spin(2.0)
        values = peer.record.status(GRID).values
    if len(grids.ages) < 2:
        raise RuntimeError(f"expected grids, got {len(grids.ages)}; the diagnostics of the grid: {dict(values)}")
    p50, p99 = np.percentile(np.array(grids.ages) * 1e3, (50, 99)).tolist()
    return {
        "clouds": sum(peer.record.sent[topic] for topic in source.clouds),
        "grids": len(grids.ages),
        "rate_hz": (len(grids.ages) - 1) * NANOSECONDS / (grids.arrivals[-1] - grids.arrivals[0]),
        "age_node_p50_ms": float(values["age p50 (ms)"]),
        "age_node_p99_ms": float(values["age p99 (ms)"]),
        "age_arrival_p50_ms": p50,
        "age_arrival_p99_ms": p99,
        "processing_p50_ms": float(values["processing p50 (ms)"]),
        "labelled_share": grids.labelled or 0.0,
    }


def main(drive: str, model: str = "delay:0.05") -> dict[str, object]:
    traffic.use_own_network()
    source = DriveInput(Path(drive))
    load = os.getloadavg()[0]
    figures = {
        "one process": play(source, model, together=True),
        "two processes": play(source, model, together=False),
    }
    table = Table("", *figures, title=f"{source.about}; {model}; load before {load:.1f} on {os.cpu_count()} cores")
    for key in figures["one process"]:
        table.add_row(key, *(f"{row[key]:.2f}" for row in figures.values()))
    Console().print(table)
    return {"load_before": load, "model": model, **figures}


if __name__ == "__main__":
    main(*sys.argv[1:])
