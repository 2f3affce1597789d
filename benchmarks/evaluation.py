"""Evaluation of a whole data set over all cores: images a second, and how memory grows with their number.

Truths and predictions are made in the workers, of COCO's usual size, with some 30 things each, stuff and void.  Making
them is part of the time, as reading them would be.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from panoptic_ros.datasets.dataset import PanopticDataset, Truth
from panoptic_ros.datasets.faults import Fault, Report
from panoptic_ros.evaluation.metrics import STANDARD, MetricName
from panoptic_ros.evaluation.runner import evaluate_predictions
from panoptic_ros.labels import LabelSet
from panoptic_ros.segmentation import PanopticSegmentation

HEIGHT, WIDTH, BLOCK = 480, 640, 80
NAMES: tuple[MetricName, ...] = (*STANDARD, "cityscapes_average_precision", "proposal_recall")


class Blocks(PanopticDataset):
    """Images of blocks of things and stuff."""

    def __init__(self, count: int) -> None:
        self.name, self.path, self.labels, self.count = "blocks", Path("blocks"), LabelSet.load("coco"), count

    def __len__(self) -> int:
        return self.count

    def name_of(self, index: int) -> str:
        return f"{index:012d}"

    def image_path(self, index: int) -> Path:
        return self.path / f"{index:012d}.jpg"

    def ids(self, index: int) -> np.ndarray:
        """The id map of an image."""
        generator = np.random.default_rng(index)
        classes = generator.choice(np.append(0, self.labels.class_ids), (HEIGHT // BLOCK, WIDTH // BLOCK))
        instances = np.where(
            np.isin(classes, list(self.labels.thing_ids)), 1 + np.arange(classes.size).reshape(classes.shape), 0
        )
        return np.kron(classes * 1000 + instances, np.ones((BLOCK, BLOCK), dtype=np.int32)).astype(np.int32)

    def _read_truth(self, index: int, report: Report) -> Truth:
        return Truth(PanopticSegmentation.from_ids(self.ids(index), self.labels.thing_ids))

    def listing_faults(self) -> Iterator[Fault]:
        return iter(())


@dataclass(frozen=True)
class Shifted:
    """Predicts the truth a few pixels aside."""

    dataset: Blocks

    def __call__(self, name: str) -> PanopticSegmentation:
        return PanopticSegmentation.from_ids(
            np.roll(self.dataset.ids(int(name)), 5, axis=1), self.dataset.labels.thing_ids
        )


def evaluated(count: int) -> dict[str, float]:
    """Images a second, what this process keeps of them and the most memory that one of its workers took, in MB."""
    dataset, before = Blocks(count), resident_mb()
    started = time.perf_counter()
    metrics = evaluate_predictions(dataset, Shifted(dataset), NAMES)
    kept = resident_mb() - before
    metrics.result()
    return {
        "images": count,
        "images_per_s": count / (time.perf_counter() - started),
        "kept_mb": kept,
        "worker_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    }


def resident_mb() -> float:
    """The memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def main(*counts: int) -> dict[str, object]:
    table = Table("images", "images/s", "MB kept", "MB of a worker", title=f"evaluation, {os.cpu_count()} cores")
    figures = []
    for count in counts or (500, 5000):
        # Each in a process of its own: the most memory of a worker is that of all that a process had.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            figure = pool.submit(evaluated, count).result()
        table.add_row(f"{count}", *(f"{figure[key]:.0f}" for key in ("images_per_s", "kept_mb", "worker_mb")))
        figures.append(figure)
    Console().print(table)
    return {"evaluation": figures}


if __name__ == "__main__":
    main()
