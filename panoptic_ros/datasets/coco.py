"""COCO panoptic (Kirillov et al. 2018; panopticapi): a JSON of segments and a PNG of their ids for each picture.

Areas are counted from the PNG: with those of the JSON, where one is wrong, a metric can exceed 100 %.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.datasets.dataset import PanopticDataset, Truth
from panoptic_ros.datasets.faults import DatasetError, Fault, Report, Severity
from panoptic_ros.datasets.panoptic_png import read_panoptic_png
from panoptic_ros.datasets.pictures import PICTURE_SUFFIXES, list_files, read_json
from panoptic_ros.datasets.truths import build_truth, class_table
from panoptic_ros.labels import Label, LabelSet
from panoptic_ros.regions import Regions
from panoptic_ros.segmentation import VOID

KNOWN_LABELS = ("coco", "cityscapes", "mapillary_v1.2", "mapillary_v2.0")
"""The label sets that a file's categories are compared with."""


@dataclass(frozen=True, slots=True, eq=False)
class _Segments:
    """What the JSON says of the segments of all pictures, one after another, (S,) each; `first` (N + 1,) parts them."""

    first: NDArray[np.int64]
    ids: NDArray[np.int32]
    categories: NDArray[np.int32]
    areas: NDArray[np.int32]
    crowd: NDArray[np.bool_]


class CocoPanoptic(PanopticDataset):
    """A data set in COCO's panoptic format.

    Parameters
    ----------
    annotations:
        The JSON.
    image_folder:
        Where the pictures lie that it names.
    png_folder:
        Where the PNGs lie; without, the folder of the JSON's own name beside it, or its own folder.
    labels:
        What the category ids mean; without, what the JSON's own categories say, by the names and colours of ours where
        they are the same categories.

    Raises
    ------
    DatasetError
        If the JSON cannot be read or has not this form; the message names the entry and the key.
    """

    def __init__(
        self,
        annotations: Path,
        image_folder: Path,
        png_folder: Path | None = None,
        labels: LabelSet | None = None,
    ) -> None:
        self.name = "coco"
        self.path = annotations
        self.image_folder = image_folder
        beside = annotations.with_suffix("")
        self.png_folder = png_folder or (beside if beside.is_dir() else annotations.parent)
        content = read_json(annotations)
        try:
            self.labels = labels or _labels_of(content["categories"], annotations)
            _compare(content.get("categories", ()), self.labels, annotations)
            self._read(content)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            if isinstance(error, DatasetError):
                raise
            what = f"key {error} is missing" if isinstance(error, KeyError) else str(error)
            raise DatasetError(annotations, f"is no panoptic annotation: {what}") from error
        self._known = class_table(self.labels)

    def _read(self, content: Mapping[str, Any]) -> None:
        """Keep of the JSON what reading a sample needs, in tables."""
        images = {image["id"]: image for image in content["images"]}
        self._listing: list[Fault] = []
        if len(images) < len(content["images"]):
            self._complain(Severity.ERROR, f"{len(content['images']) - len(images)} images have the id of another")
        chosen: dict[Any, Mapping[str, Any]] = {}
        for annotation in content["annotations"]:
            image_id = annotation["image_id"]
            if image_id not in images:
                self._complain(Severity.ERROR, f"image {image_id!r} has an annotation, but is not among the images")
            elif image_id in chosen:
                self._complain(Severity.ERROR, f"image {image_id!r} has several annotations; the first one counts")
            else:
                chosen[image_id] = annotation
        for image_id in images.keys() - chosen.keys():
            self._complain(Severity.WARNING, f"image {image_id!r} has no annotation")
        self.image_ids: tuple[int | str, ...] = tuple(chosen)
        self._pictures = tuple(str(images[image_id]["file_name"]) for image_id in chosen)
        self._pngs = tuple(str(annotation["file_name"]) for annotation in chosen.values())
        sizes = [(images[image_id]["height"], images[image_id]["width"]) for image_id in chosen]
        self._sizes = np.array(sizes, dtype=np.int64).reshape(-1, 2)
        segments = [segment for annotation in chosen.values() for segment in annotation["segments_info"]]
        counts = [len(annotation["segments_info"]) for annotation in chosen.values()]
        self._segments = _Segments(
            first=np.cumsum([0, *counts]),
            ids=np.array([segment["id"] for segment in segments], dtype=np.int32),
            categories=np.array([segment["category_id"] for segment in segments], dtype=np.int32),
            areas=np.array([segment.get("area", -1) for segment in segments], dtype=np.int32),
            crowd=np.array([segment.get("iscrowd", 0) for segment in segments], dtype=bool),
        )

    def _complain(self, severity: Severity, message: str) -> None:
        self._listing.append(Fault(severity, self.path, message))

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self._pictures)

    def name_of(self, index: int) -> str:
        """See `PanopticDataset.name_of`: the name of the PNG, which is that of the picture."""
        return Path(self._pngs[index]).stem

    def image_path(self, index: int) -> Path:
        """See `PanopticDataset.image_path`."""
        return self.image_folder / self._pictures[index]

    def png_path(self, index: int) -> Path:
        """Where the segment ids of a sample lie."""
        return self.png_folder / self._pngs[index]

    def place_of(self, index: int) -> tuple[str, int]:
        """The drive that a sample is from and its number in it; COCO has none."""
        return "", 0

    def _read_truth(self, index: int, report: Report) -> Truth | None:
        png = self.png_path(index)
        ids = read_panoptic_png(png)
        faulty = False

        def refuse(file: Path, message: str) -> None:
            nonlocal faulty
            faulty = True
            report(Fault.error(file, message))

        height, width = self._sizes[index].tolist()
        if ids.shape != (height, width):
            refuse(png, f"is {ids.shape[1]}x{ids.shape[0]}, but {self.path.name} says {width}x{height}")
        regions = Regions.of(ids)
        said = slice(*self._segments.first[index : index + 2].tolist())
        said_ids, order = np.unique(self._segments.ids[said], return_index=True)
        categories = self._segments.categories[said][order]
        where = f"{self.path.name}, annotation of {self.name_of(index)}: "
        if repeated := len(self._segments.ids[said]) - len(said_ids):
            refuse(png, f"{where}{repeated} segments have the id of another")
        for id_, category in zip(said_ids.tolist(), categories.tolist(), strict=True):
            if id_ == VOID:
                refuse(png, f"{where}a segment has the id 0, which is void")
            if not (0 < category < len(self._known) and self._known[category]):
                refuse(png, f"{where}segment {id_} is of category {category}, which label set {self._names} has not")
        labelled = regions.values != VOID
        for id_ in np.setdiff1d(said_ids, regions.values).tolist():
            if id_ != VOID:
                refuse(png, f"segment {id_} of the annotation has no pixel in the PNG")
        unknown = labelled & ~np.isin(regions.values, said_ids)
        for id_, area in zip(regions.values[unknown].tolist(), regions.areas[unknown].tolist(), strict=True):
            refuse(png, f"id {id_} ({area} pixels) is no segment of the annotation")
        if faulty:
            return None
        # Every id but 0 is now in both lists, and both are sorted.
        said_areas = self._segments.areas[said][order]
        areas = regions.areas[labelled]
        for wrong in np.flatnonzero((said_areas != areas) & (said_areas >= 0)):
            message = f"segment {said_ids[wrong]} has {areas[wrong]} pixels, but its area is said to be "
            report(Fault.warning(png, f"{message}{said_areas[wrong]}; the pixels count"))
        classes = np.zeros(len(regions.values), dtype=np.int64)
        crowd = np.zeros(len(regions.values), dtype=bool)
        classes[labelled] = categories
        crowd[labelled] = self._segments.crowd[said][order]
        return build_truth(regions, classes, crowd, self.labels, png, report, self.place_of(index))

    @property
    def _names(self) -> str:
        return repr(self.labels.name)

    def listing_faults(self) -> Iterator[Fault]:
        """See `PanopticDataset.listing_faults`."""
        yield from self._listing
        yield from _unnamed(self.png_folder, self._pngs, (".png",), "no annotation names it")
        yield from self._unnamed_pictures()

    def _unnamed_pictures(self) -> Iterator[Fault]:
        return _unnamed(self.image_folder, self._pictures, PICTURE_SUFFIXES, "no annotation is for it")


def _unnamed(folder: Path, names: Iterable[str], endings: tuple[str, ...], message: str) -> Iterator[Fault]:
    """Files of a folder that should have been named."""
    named = {folder / name for name in names}
    for path in list_files(folder, "*", endings):
        if path not in named:
            yield Fault.warning(path, message)


def _compare(categories: Iterable[Mapping[str, Any]], labels: LabelSet, file: Path) -> None:
    """Refuse a label set by which a category would be taken for another (Cityscapes' trainIds for its labelIds).

    Raises
    ------
    DatasetError
        If an id has another name.
    """
    names = {label.id: label.name for label in labels.labels}
    for category in categories:
        id_, name = category["id"], category["name"]
        if names.get(id_, name) != name:
            raise DatasetError(file, f"category {id_} is {name!r}, but {names[id_]!r} in label set {labels.name!r}")


def _labels_of(categories: list[Mapping[str, Any]], file: Path) -> LabelSet:
    """The label set that a JSON's categories are, or one made of them.

    Raises
    ------
    DatasetError
        If they cannot be one.
    """
    described = {(category["id"], category["name"], bool(category["isthing"])) for category in categories}
    for name in KNOWN_LABELS:
        labels = LabelSet.load(name)
        if described == {(label.id, label.name, label.is_thing) for label in labels.labels}:
            return labels
    try:
        return LabelSet(
            file.stem,
            tuple(
                Label(category["id"], category["name"], bool(category["isthing"]), tuple(category["color"]))
                for category in categories
            ),
        )
    except KeyError as error:
        raise DatasetError(file, f"a category has no {error}; a label set can be given instead") from error
    except ValueError as error:
        raise DatasetError(file, f"its categories are no label set: {error}") from error


def find_annotations(path: Path) -> dict[str, Path]:
    """The annotations of each split in a folder that lies as COCO: ``annotations/panoptic_<split>.json``."""
    files = list_files(path, "annotations/panoptic_*.json", ".json")
    return {file.stem.removeprefix("panoptic_"): file for file in files}


def find_image_folder(path: Path, split: str) -> Path:
    """Where the pictures of a split lie: ``<split>``, ``images/<split>`` or ``images``; the first if there is none."""
    folders = (path / split, path / "images" / split, path / "images")
    return next((folder for folder in folders if folder.is_dir()), folders[0])
