"""CamVid (Brostow, Fauqueur and Cipolla 2009): driving frames with semantic labels and no instances.

It is around in two forms: with the official colours of 32 classes (label set ``camvid_32``), and with the numbers of
the 11 classes that SegNet and most papers since use (label set ``camvid``), where 11 is unlabelled and class n has
class id n + 1 here, because 0 is void.  As nothing is counted, every class is stuff.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.datasets.dataset import PanopticDataset, Truth
from panoptic_ros.datasets.faults import Fault, Report
from panoptic_ros.datasets.panoptic_png import ids_of_rgb
from panoptic_ros.datasets.pictures import PICTURE_SUFFIXES, list_files, read_indices, read_rgb
from panoptic_ros.datasets.truths import build_truth
from panoptic_ros.labels import LabelSet
from panoptic_ros.regions import Regions

UNLABELLED = 11
OFFICIAL_PICTURES, OFFICIAL_LABELS, OFFICIAL_ENDING = "701_StillsRaw_full", "LabeledApproved_full", "_L.png"
OFFICIAL_SPLIT = "all"

FRAME_NAME = re.compile(r"(0001TP|0006R0|0016E5|Seq05VD)_f?(\d+)")
"""The four drives, and the number of a frame in each."""


class CamVid(PanopticDataset):
    """One split of CamVid.

    It lies as ``<split>/`` with a JPEG and a PNG of numbers of each frame, as ``<split>/`` and ``<split>annot/`` with
    PNGs of one name (SegNet), or as the official ``701_StillsRaw_full`` and ``LabeledApproved_full`` with PNGs of
    colours, which is split ``all``.

    Parameters
    ----------
    path:
        The folder above.
    split:
        ``train``, ``val``, ``test`` or ``all``.
    labels:
        What the class ids mean; without, ``camvid_32`` of the official form and else ``camvid``.
    """

    def __init__(self, path: Path, split: str, labels: LabelSet | None = None) -> None:
        self.name = "camvid"
        self.path = path
        self.has_instances = False
        self._in_colors = split == OFFICIAL_SPLIT
        self.labels = labels or LabelSet.load("camvid_32" if self._in_colors else "camvid")
        self._pictures, self._labels, self._ending = _folders(path, split)
        suffixes = PICTURE_SUFFIXES if self._pictures != self._labels else (".jpg", ".jpeg")
        pictures = {file.stem: file.name for file in list_files(self._pictures, "*", suffixes)}
        labelled = {file.name[: -len(self._ending)] for file in list_files(self._labels, "*", self._ending.lower())}
        self._files = tuple((name, pictures.get(name, f"{name}{suffixes[0]}")) for name in sorted(labelled))
        self._unlabelled = tuple(sorted(file for name, file in pictures.items() if name not in labelled))

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self._files)

    def name_of(self, index: int) -> str:
        """See `PanopticDataset.name_of`: ``0001TP_006690``."""
        return self._files[index][0]

    def image_path(self, index: int) -> Path:
        """See `PanopticDataset.image_path`."""
        return self._pictures / self._files[index][1]

    def _read_truth(self, index: int, report: Report) -> Truth | None:
        name = self.name_of(index)
        file = self._labels / f"{name}{self._ending}"
        regions = Regions.of(ids_of_rgb(read_rgb(file)) if self._in_colors else read_indices(file))
        classes, unknown = self._of_colors(regions) if self._in_colors else self._of_numbers(regions)
        for value, area in zip(regions.values[unknown].tolist(), regions.areas[unknown].tolist(), strict=True):
            color = (value & 255, value >> 8 & 255, value >> 16)
            what = f"colour {color}" if self._in_colors else f"class {value}"
            report(Fault.error(file, f"{what} ({area} pixels) is none of label set {self.labels.name!r}"))
        if unknown.any():
            return None
        match = FRAME_NAME.fullmatch(name)
        place = (match[1], int(match[2])) if match else ("", 0)
        return build_truth(regions, classes, np.zeros(len(classes), dtype=bool), self.labels, file, report, place)

    def _of_numbers(self, regions: Regions) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The class id of each region, and whether it has none."""
        values = regions.values.astype(np.int64)
        is_void = values == UNLABELLED
        return np.where(is_void, 0, values + 1), ~is_void & ~np.isin(values + 1, self.labels.class_ids)

    def _of_colors(self, regions: Regions) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        red, green, blue = self.labels.colors[self.labels.class_ids].astype(np.int64).T
        colors = np.concatenate(([0], red + 256 * green + 65536 * blue))  # black is void
        class_ids = np.concatenate(([0], self.labels.class_ids)).astype(np.int64)
        order = np.argsort(colors)
        places = np.minimum(np.searchsorted(colors, regions.values, sorter=order), len(colors) - 1)
        return class_ids[order[places]], colors[order[places]] != regions.values

    def listing_faults(self) -> Iterator[Fault]:
        """See `PanopticDataset.listing_faults`."""
        for file in self._unlabelled:
            yield Fault.warning(self._pictures / file, "has no labels")


def _folders(path: Path, split: str) -> tuple[Path, Path, str]:
    """Where the pictures and the labels of a split lie, and how the names of the labels end."""
    if split == OFFICIAL_SPLIT:
        return path / OFFICIAL_PICTURES, path / OFFICIAL_LABELS, OFFICIAL_ENDING
    beside = path / f"{split}annot"
    return path / split, beside if beside.is_dir() else path / split, ".png"


def find_splits(path: Path) -> list[str]:
    """The splits in a folder that lies as CamVid."""
    names = [OFFICIAL_SPLIT] if (path / OFFICIAL_LABELS).is_dir() else []
    for folder in sorted(path.glob("*/")):
        if folder.name not in (OFFICIAL_PICTURES, OFFICIAL_LABELS) and not folder.name.endswith("annot"):
            labels = _folders(path, folder.name)[1]
            if any(FRAME_NAME.fullmatch(file.stem) for file in labels.glob("*.png")):
                names.append(folder.name)
    return names
