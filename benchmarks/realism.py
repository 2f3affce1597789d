"""How far a synthetic set is from a real one: how often classes occur, how large their regions are, and colours.

Run ``python benchmarks/realism.py SYNTHETIC REAL [--mapping cityscapes_to_camvid]``.  Both are data sets that
``panoptic-ros data`` reads; the mapping takes the classes of the first to those of the second.  Regions are connected
pixels of one class in both sets, so that sets without instances can be compared; sizes are in percent of the picture's
height, so that pictures of several sizes can be.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from panoptic_ros.datasets import PanopticDataset, open_dataset
from panoptic_ros.label_mapping import LabelMapping
from panoptic_ros.labels import LabelSet

SMALLEST = 0.01  # of the picture's height: the side of the smallest region that counts


@dataclass
class Measured:
    """What was counted over a set.

    Attributes
    ----------
    pictures:
        How many.
    pixels:
        Of each class id.
    present:
        Pictures with it.
    sizes:
        Square roots of the areas of its regions, shares of the picture's height.
    colors:
        Of each picture the mean and deviation of lightness, the mean saturation, the sharpness, and how much of the
        lightness is in the upper half.
    horizon:
        Of each picture with road, the share of its height at which the highest road lies.
    """

    pictures: int = 0
    pixels: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    present: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    sizes: defaultdict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    colors: list[tuple[float, ...]] = field(default_factory=list)
    horizon: list[float] = field(default_factory=list)

    def add(self, image: NDArray[np.uint8], classes: NDArray[np.int32], road: int) -> None:
        """Count one picture (H, W, 3) BGR with its class ids (H, W)."""
        self.pictures += 1
        height = classes.shape[0]
        for class_id, count in zip(*np.unique(classes[classes > 0], return_counts=True), strict=True):
            self.pixels[int(class_id)] += int(count)
            self.present[int(class_id)] += 1
            _, _, regions, _ = cv2.connectedComponentsWithStats((classes == class_id).astype(np.uint8))
            sides = np.sqrt(regions[1:, cv2.CC_STAT_AREA]) / height
            self.sizes[int(class_id)] += sides[sides >= SMALLEST].tolist()
        rows = np.flatnonzero((classes == road).mean(axis=1) > 0.01)
        if len(rows):
            self.horizon.append(rows[0] / height)
        self.colors.append(colors_of(image))


def colors_of(image: NDArray[np.uint8]) -> tuple[float, ...]:
    """Mean and deviation of lightness (0 to 100), mean chroma, and the deviation of neighbours' difference."""
    small = cv2.resize(image, (480, round(480 * image.shape[0] / image.shape[1])), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)
    light = lab[..., 0]
    chroma = np.hypot(lab[..., 1], lab[..., 2])
    return float(light.mean()), float(light.std()), float(chroma.mean()), float(np.diff(light, axis=1).std())


def measure(dataset: PanopticDataset, mapping: LabelMapping | None, labels: LabelSet, limit: int) -> Measured:
    """Count over at most `limit` pictures, spread over a set."""
    found = Measured()
    road = next(label.id for label in labels.labels if label.name == "road")
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(limit, len(dataset))).astype(int))
    for index in track(chosen.tolist(), description=str(dataset.path)):
        sample = dataset[index]
        seen = sample.truth.segmentation
        found.add(sample.image, (mapping.segmentation(seen) if mapping else seen).classes(), road)
    return found


def class_table(synthetic: Measured, real: Measured, labels: LabelSet) -> Table:
    table = Table(title="classes: synthetic | real")
    for name in ("class", "% of pixels", "% of pictures", "regions a picture", "size p10, % of height", "p50", "p90"):
        table.add_column(name, justify="left" if name == "class" else "right")
    totals = [sum(one.pixels.values()) for one in (synthetic, real)]
    for label in labels.labels:
        rows = []
        for one, total in zip((synthetic, real), totals, strict=True):
            sides = np.array(one.sizes[label.id] or [np.nan]) * 100
            rows.append(
                [
                    100 * one.pixels[label.id] / total,
                    100 * one.present[label.id] / one.pictures,
                    len(one.sizes[label.id]) / one.pictures,
                    *np.percentile(sides, (10, 50, 90)),
                ]
            )
        table.add_row(label.name, *(f"{first:.1f} | {second:.1f}" for first, second in zip(*rows, strict=True)))
    return table


def picture_table(synthetic: Measured, real: Measured) -> Table:
    table = Table(title="pictures: mean (deviation between pictures)")
    for name in ("", "synthetic", "real"):
        table.add_column(name, justify="left" if not name else "right")
    names = ("lightness, 0 to 100", "its deviation within a picture", "chroma", "difference of neighbours")
    columns = [np.array(one.colors).T for one in (synthetic, real)]
    for name, *values in zip(names, *columns, strict=True):
        table.add_row(name, *(f"{value.mean():.1f} ({value.std():.1f})" for value in values))
    horizons = [np.array(one.horizon) * 100 for one in (synthetic, real)]
    table.add_row("highest road, % of height", *(f"{value.mean():.0f} ({value.std():.0f})" for value in horizons))
    return table


def main() -> None:
    """Print the two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("synthetic", type=Path)
    parser.add_argument("real", type=Path)
    parser.add_argument("--split", default="", help="of the real set, where it has several")
    parser.add_argument("--mapping", default="cityscapes_to_camvid", help="of class ids; '' if they are the same")
    parser.add_argument("--pictures", type=int, default=200, help="at most, of each set")
    given = parser.parse_args()
    real = open_dataset(given.real, split=given.split)
    mapping = LabelMapping.load(given.mapping) if given.mapping else None
    found = measure(open_dataset(given.synthetic), mapping, real.labels, given.pictures)
    other = measure(real, None, real.labels, given.pictures)
    console = Console(width=140)
    console.print(f"{found.pictures} synthetic pictures, {other.pictures} real ones")
    console.print(class_table(found, other, real.labels), picture_table(found, other), sep="\n")


if __name__ == "__main__":
    main()
