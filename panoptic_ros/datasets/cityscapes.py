"""Cityscapes (Cordts et al. 2016; cityscapesScripts), from its label images or from its panoptic PNGs.

The classes are those of the label set, by labelId: of ``cityscapes`` the 19 that are evaluated.  All others (caravan,
trailer, ego vehicle …) are void.  In the label images an id below 1000 of a class of things is a group, which is a
crowd here, and 24000 is a person: numbers start at 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from panoptic_ros.datasets.coco import CocoPanoptic
from panoptic_ros.datasets.dataset import PanopticDataset, Truth
from panoptic_ros.datasets.faults import Fault, Report
from panoptic_ros.datasets.pictures import list_files, read_indices
from panoptic_ros.datasets.truths import build_truth, class_table
from panoptic_ros.labels import LabelSet
from panoptic_ros.regions import Regions
from panoptic_ros.segmentation import INSTANCE_DIVISOR

MAX_LABEL_ID = 33
"""The highest labelId; that of licence plates is -1, and they are not drawn."""

PICTURE = "_leftImg8bit.png"
LABEL_IDS = "_gtFine_labelIds.png"
INSTANCE_IDS = "_gtFine_instanceIds.png"


def place_of_name(name: str) -> tuple[str, int]:
    """The drive and the frame's number in ``<city>_<sequence>_<frame>``."""
    sequence, _, frame = name.rpartition("_")
    return (sequence, int(frame)) if frame.isdecimal() else ("", 0)


class Cityscapes(PanopticDataset):
    """One split, from ``gtFine/<split>/<city>/*_gtFine_labelIds.png`` and ``…_instanceIds.png``.

    Parameters
    ----------
    path:
        The folder that has ``gtFine`` and ``leftImg8bit``.
    split:
        ``train``, ``val`` …
    labels:
        The classes that count; ``cityscapes`` without.
    """

    def __init__(self, path: Path, split: str, labels: LabelSet | None = None) -> None:
        self.name = "cityscapes"
        self.path = path
        self.split = split
        self.labels = labels or LabelSet.load("cityscapes")
        self._known = class_table(self.labels)
        files = list_files(path / "gtFine" / split, "*/*", (LABEL_IDS.lower(), INSTANCE_IDS.lower()))
        names = {f"{file.parent.name}/{file.name.rpartition('_gtFine_')[0]}" for file in files}
        self._names = tuple(sorted(names))

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self._names)

    def name_of(self, index: int) -> str:
        """See `PanopticDataset.name_of`: ``<city>_<sequence>_<frame>``."""
        return self._names[index].rpartition("/")[2]

    def image_path(self, index: int) -> Path:
        """See `PanopticDataset.image_path`."""
        return self.path / "leftImg8bit" / self.split / f"{self._names[index]}{PICTURE}"

    def _read_truth(self, index: int, report: Report) -> Truth | None:
        stem = str(self.path / "gtFine" / self.split / self._names[index])
        file = Path(stem + INSTANCE_IDS)
        ids, label_ids = read_indices(file), read_indices(Path(stem + LABEL_IDS))
        if ids.shape != label_ids.shape:
            message = (
                f"is {ids.shape[1]}x{ids.shape[0]}, but the labelIds are {label_ids.shape[1]}x{label_ids.shape[0]}"
            )
            report(Fault.error(file, message))
            return None
        regions = Regions.of(ids)
        values = regions.values.astype(np.int64)
        is_instance = values >= INSTANCE_DIVISOR
        classes = np.where(is_instance, values // INSTANCE_DIVISOR, values)
        unknown = (classes < 0) | (classes > MAX_LABEL_ID)
        for value, area in zip(values[unknown].tolist(), regions.areas[unknown].tolist(), strict=True):
            report(Fault.error(file, f"id {value} ({area} pixels) is of no label; labelIds are 0 … {MAX_LABEL_ID}"))
        if unknown.any():
            return None
        if differing := int(np.count_nonzero(regions.paint(classes.astype(np.uint8)) != label_ids)):
            report(Fault.error(file, f"differs from the labelIds in the class of {differing} pixels"))
            return None
        classes[~self._known[classes]] = 0
        place = place_of_name(self.name_of(index))
        is_group = np.isin(classes, sorted(self.labels.thing_ids)) & ~is_instance
        return build_truth(regions, classes, is_group, self.labels, file, report, place)

    def listing_faults(self) -> Iterator[Fault]:
        """See `PanopticDataset.listing_faults`."""
        return unlabelled_pictures(
            self.path / "leftImg8bit" / self.split, {name.rpartition("/")[2] for name in self._names}
        )


class CityscapesPanoptic(CocoPanoptic):
    """One split, from ``gtFine/cityscapes_panoptic_<split>.json`` and its folder of PNGs.

    Parameters
    ----------
    path:
        The folder that has ``gtFine`` and ``leftImg8bit``.
    split:
        ``train``, ``val`` …
    labels:
        What the category ids mean; ``cityscapes`` without.

    Raises
    ------
    DatasetError
        See `CocoPanoptic`.
    """

    def __init__(self, path: Path, split: str, labels: LabelSet | None = None) -> None:
        annotations = path / "gtFine" / f"cityscapes_panoptic_{split}.json"
        pictures = path / "leftImg8bit" / split
        super().__init__(annotations, pictures, labels=labels or LabelSet.load("cityscapes"))
        self.name = "cityscapes_panoptic"

    def name_of(self, index: int) -> str:
        """See `PanopticDataset.name_of`: ``<city>_<sequence>_<frame>``."""
        return str(self.image_ids[index])

    def image_path(self, index: int) -> Path:
        """See `PanopticDataset.image_path`; the JSON's own names of the pictures are not those of the files."""
        name = self.name_of(index)
        return self.image_folder / name.partition("_")[0] / f"{name}{PICTURE}"

    def place_of(self, index: int) -> tuple[str, int]:
        """See `CocoPanoptic.place_of`."""
        return place_of_name(self.name_of(index))

    def _unnamed_pictures(self) -> Iterator[Fault]:
        return unlabelled_pictures(self.image_folder, set(map(str, self.image_ids)))


def unlabelled_pictures(folder: Path, names: set[str]) -> Iterator[Fault]:
    """The pictures of a split that have no labels."""
    for path in list_files(folder, "*/*", PICTURE.lower()):
        if path.name[: -len(PICTURE)] not in names:
            yield Fault.warning(path, "has no labels")


def find_label_images(path: Path) -> list[str]:
    """The splits that have label images."""
    folders = sorted((path / "gtFine").glob("*/"))
    return [folder.name for folder in folders if next(folder.glob(f"*/*{INSTANCE_IDS}"), None) is not None]


def find_panoptic(path: Path) -> list[str]:
    """The splits that have panoptic PNGs."""
    files = list_files(path, "gtFine/cityscapes_panoptic_*.json", ".json")
    return [file.stem.removeprefix("cityscapes_panoptic_") for file in files]
