"""Mapillary Vistas 1.2 and 2.0 (Neuhold et al. 2017), from its instance PNGs or from its panoptic ones.

A pixel of ``instances`` is label * 256 + instance, of ``labels`` the label, which counts the list in the data set's own
configuration.  Class ids here are one more, as they are in its panoptic annotations, because 0 is void; what is not
evaluated is void.  Only the panoptic annotations know crowds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from panoptic_ros.datasets.coco import CocoPanoptic
from panoptic_ros.datasets.dataset import PanopticDataset, Truth
from panoptic_ros.datasets.faults import DatasetError, Fault, Report
from panoptic_ros.datasets.pictures import list_files, read_indices, read_json
from panoptic_ros.datasets.truths import build_truth, class_table
from panoptic_ros.labels import Label, LabelSet
from panoptic_ros.regions import Regions

VERSIONS = ("v2.0", "v1.2")


def _folder_of(path: Path, split: str, version: str) -> Path:
    """Where the annotations lie: 2.0 keeps both versions in folders of their own."""
    versioned = path / split / version
    return versioned if versioned.is_dir() else path / split


def load_labels(path: Path, version: str) -> tuple[LabelSet, int]:
    """The classes of a copy of the data set, and how many labels it has, those that are not evaluated too.

    They are what its own ``config_<version>.json`` or ``config.json`` says, and else ours.

    Raises
    ------
    DatasetError
        If the configuration is not what it should be.
    """
    for file in (path / f"config_{version}.json", path / "config.json"):
        if file.is_file():
            return _labels_of(read_json(file), file, version)
    labels = LabelSet.load(f"mapillary_{version}")
    return labels, {"v1.2": 66, "v2.0": 124}[version]


def _labels_of(content: Any, file: Path, version: str) -> tuple[LabelSet, int]:
    try:
        entries: list[Mapping[str, Any]] = content["labels"]
        labels = tuple(
            Label(index + 1, str(entry["readable"]), bool(entry["instances"]), tuple(entry["color"]))
            for index, entry in enumerate(entries)
            if entry["evaluate"]
        )
        return LabelSet(f"mapillary_{version}", labels), len(entries)
    except (KeyError, TypeError, ValueError) as error:
        what = f"key {error} is missing" if isinstance(error, KeyError) else str(error)
        raise DatasetError(file, f"is no configuration of Mapillary Vistas: {what}") from error


class MapillaryVistas(PanopticDataset):
    """One split, from ``<split>/[<version>/]instances`` and ``labels``.

    Parameters
    ----------
    path:
        The folder that has ``training``, ``validation``.
    split:
        One of these.
    version:
        ``v1.2`` or ``v2.0``.
    labels:
        What the class ids mean; without, what the data set's configuration says.

    Raises
    ------
    DatasetError
        See `load_labels`.
    """

    def __init__(self, path: Path, split: str, version: str, labels: LabelSet | None = None) -> None:
        self.name = f"mapillary_{version}"
        self.path = path
        own, self._count = load_labels(path, version)
        self.labels = labels or own
        self._known = class_table(self.labels)
        self._pictures = path / split / "images"
        self._folder = _folder_of(path, split, version)
        files = list_files(self._folder, "instances/*", ".png") + list_files(self._folder, "labels/*", ".png")
        self._names = tuple(sorted({file.stem for file in files}))

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self._names)

    def name_of(self, index: int) -> str:
        """See `PanopticDataset.name_of`: the key of the picture."""
        return self._names[index]

    def image_path(self, index: int) -> Path:
        """See `PanopticDataset.image_path`."""
        return self._pictures / f"{self._names[index]}.jpg"

    def _read_truth(self, index: int, report: Report) -> Truth | None:
        file = self._folder / "instances" / f"{self._names[index]}.png"
        ids, label_map = read_indices(file), read_indices(self._folder / "labels" / f"{self._names[index]}.png")
        if ids.shape != label_map.shape:
            size, other = (f"{image.shape[1]}x{image.shape[0]}" for image in (ids, label_map))
            report(Fault.error(file, f"is {size}, but the labels are {other}"))
            return None
        regions = Regions.of(ids)
        label_of = regions.values.astype(np.int64) >> 8
        unknown = label_of >= self._count
        for value, area in zip(label_of[unknown].tolist(), regions.areas[unknown].tolist(), strict=True):
            report(Fault.error(file, f"label {value} ({area} pixels) is none of 0 … {self._count - 1}"))
        if unknown.any():
            return None
        if differing := int(np.count_nonzero(regions.paint(label_of) != label_map)):
            report(Fault.error(file, f"differs from the labels in the class of {differing} pixels"))
            return None
        classes = label_of + 1
        classes[~self._known[classes]] = 0
        return build_truth(regions, classes, np.zeros(len(classes), dtype=bool), self.labels, file, report)

    def listing_faults(self) -> Iterator[Fault]:
        """See `PanopticDataset.listing_faults`."""
        names = set(self._names)
        for path in list_files(self._pictures, "*", ".jpg"):
            if path.stem not in names:
                yield Fault.warning(path, "has no labels")


class MapillaryPanoptic(CocoPanoptic):
    """One split, from ``<split>/[<version>/]panoptic/panoptic_*.json`` and the PNGs beside it, where crowds are known.

    Parameters
    ----------
    path, split, version, labels:
        See `MapillaryVistas`; the labels without are those of the JSON's categories.

    Raises
    ------
    DatasetError
        See `CocoPanoptic`; also if there is no JSON.
    """

    def __init__(self, path: Path, split: str, version: str, labels: LabelSet | None = None) -> None:
        folder = _folder_of(path, split, version) / "panoptic"
        files = list_files(folder, "panoptic_*.json", ".json")
        if not files:
            raise DatasetError(folder, "has no panoptic_*.json")
        super().__init__(files[-1], path / split / "images", png_folder=folder, labels=labels)
        self.name = f"mapillary_{version}_panoptic"


def find_splits(path: Path, version: str, what: str) -> list[str]:
    """The splits that have ``instances`` or ``panoptic`` of a version.

    A folder without folders of versions is 2.0 where there is ``config_v2.0.json`` and no other, else 1.2.
    """
    found = []
    for images in sorted(path.glob("*/images")):
        folder = images.parent
        if (folder / version / what).is_dir():
            found.append(folder.name)
        elif (folder / what).is_dir() and not any((folder / other).is_dir() for other in VERSIONS):
            newest = (path / "config_v2.0.json").is_file() and not (path / "config_v1.2.json").is_file()
            if version == ("v2.0" if newest else "v1.2"):
                found.append(folder.name)
    return found
