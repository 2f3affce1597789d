"""Pascal VOC 2012 segmentation (Everingham et al. 2015): palette PNGs of classes and of objects.

Classes 1 to 20 keep their numbers.  Background, 0 there, is the only stuff and has class id 21 here, because 0 is void;
255, the border round objects and what is difficult, is void.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from panoptic_ros.datasets.dataset import PanopticDataset, Truth
from panoptic_ros.datasets.faults import DatasetError, Fault, Report
from panoptic_ros.datasets.pictures import list_files, read_indices
from panoptic_ros.datasets.truths import build_truth
from panoptic_ros.labels import LabelSet
from panoptic_ros.regions import Regions

THINGS = 20
BACKGROUND = 21
"""Our class id of what is 0 in the PNGs."""

BORDER = 255


class PascalVoc(PanopticDataset):
    """One split: ``SegmentationClass`` and ``SegmentationObject`` of ``ImageSets/Segmentation/<split>.txt``.

    Where class and object of a pixel contradict each other the pixel is void, and a warning counts them.

    Parameters
    ----------
    path:
        The folder of the year, ``VOC2012``.
    split:
        ``train``, ``val`` or ``trainval``.
    labels:
        What the class ids mean; ``voc`` without.

    Raises
    ------
    DatasetError
        If the list of the split cannot be read.
    """

    def __init__(self, path: Path, split: str, labels: LabelSet | None = None) -> None:
        self.name = "voc"
        self.path = path
        self.labels = labels or LabelSet.load("voc")
        self.list_path = path / "ImageSets" / "Segmentation" / f"{split}.txt"
        try:
            names = self.list_path.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(self.list_path, f"cannot be read: {error}") from error
        self._repeated = tuple(name for name, count in Counter(names).items() if count > 1)
        self._names = tuple(dict.fromkeys(names))

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self._names)

    def name_of(self, index: int) -> str:
        """See `PanopticDataset.name_of`: ``2007_000032``."""
        return self._names[index]

    def image_path(self, index: int) -> Path:
        """See `PanopticDataset.image_path`."""
        return self.path / "JPEGImages" / f"{self._names[index]}.jpg"

    def _read_truth(self, index: int, report: Report) -> Truth | None:
        class_file, object_file = (
            self.path / folder / f"{self._names[index]}.png" for folder in ("SegmentationClass", "SegmentationObject")
        )
        classes, objects = read_indices(class_file), read_indices(object_file)
        if classes.shape != objects.shape:
            size, other = (f"{image.shape[1]}x{image.shape[0]}" for image in (objects, classes))
            report(Fault.error(object_file, f"is {size}, but the classes are {other}"))
            return None
        pairs = Regions.of(classes.astype(np.int64) << 8 | objects)
        class_of, object_of = pairs.values >> 8, pairs.values & 255
        unknown = (class_of > THINGS) & (class_of != BORDER)
        for value, area in zip(class_of[unknown].tolist(), pairs.areas[unknown].tolist(), strict=True):
            report(Fault.error(class_file, f"class {value} ({area} pixels) is none of 0 … {THINGS} and {BORDER}"))
        if unknown.any():
            return None
        is_object = (object_of != 0) & (object_of != BORDER)
        is_thing = (class_of != 0) & (class_of != BORDER)
        kept = np.where(is_object | is_thing, is_object & is_thing, class_of == object_of)
        for number in np.unique(
            object_of[kept & is_object]
        ).tolist():  # an object is of the class of most of its pixels
            own = np.flatnonzero(kept & (object_of == number))
            kept[own] = False
            kept[own[np.argmax(pairs.areas[own])]] = True
        if doubtful := int(pairs.areas[~kept].sum()):
            report(Fault.warning(object_file, f"contradicts the class of {doubtful} pixels, which are void"))
        class_of[class_of == 0] = BACKGROUND
        class_of[~kept | (class_of == BORDER)] = 0
        return build_truth(pairs, class_of, np.zeros(len(class_of), dtype=bool), self.labels, object_file, report)

    def listing_faults(self) -> Iterator[Fault]:
        """See `PanopticDataset.listing_faults`; VOC has many pictures without segmentation, which are no fault."""
        for name in self._repeated:
            yield Fault.error(self.list_path, f"{name} occurs twice; it is read once")
        for folder in ("SegmentationClass", "SegmentationObject"):
            other = "SegmentationObject" if folder == "SegmentationClass" else "SegmentationClass"
            for path in list_files(self.path / folder, "*", ".png"):
                if not (self.path / other / path.name).is_file():
                    yield Fault.error(path, f"has no partner in {other}")


def find_year(path: Path) -> Path:
    """The folder of VOC 2012: `path`, or where it lies in an unpacked archive."""
    years = (path, path / "VOC2012", path / "VOCdevkit" / "VOC2012")
    return next((year for year in years if (year / "SegmentationObject").is_dir()), path)


def find_splits(path: Path) -> list[str]:
    """The splits whose lists lie in a folder of VOC, if it has segmentations."""
    if not (path / "SegmentationObject").is_dir():
        return []
    return [file.stem for file in list_files(path, "ImageSets/Segmentation/*", ".txt")]
