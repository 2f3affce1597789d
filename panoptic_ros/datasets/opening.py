"""Which data set a folder holds, by how its files lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from panoptic_ros.datasets import camvid, cityscapes, coco, mapillary, voc
from panoptic_ros.datasets.dataset import PanopticDataset
from panoptic_ros.datasets.faults import DatasetError
from panoptic_ros.labels import LabelSet

AUTO = "auto"
COCO = "coco"


@dataclass(frozen=True, slots=True)
class _Layout:
    """A way in which data sets lie.

    Attributes
    ----------
    looked_for:
        What it is recognised by.
    splits:
        The splits that a folder has in this layout; none where it is another.
    open:
        Opens one, given the folder, the split and a label set or None.
    """

    looked_for: str
    splits: Callable[[Path], list[str]]
    open: Callable[[Path, str, LabelSet | None], PanopticDataset]


def _coco(path: Path, split: str, labels: LabelSet | None) -> PanopticDataset:
    return coco.CocoPanoptic(coco.find_annotations(path)[split], coco.find_image_folder(path, split), labels=labels)


def _mapillary(version: str) -> dict[str, _Layout]:
    def vistas(path: Path, split: str, labels: LabelSet | None) -> PanopticDataset:
        return mapillary.MapillaryVistas(path, split, version, labels)

    def panoptic(path: Path, split: str, labels: LabelSet | None) -> PanopticDataset:
        return mapillary.MapillaryPanoptic(path, split, version, labels)

    folder = f"<split>/[{version}/]"
    return {
        f"mapillary_{version}_panoptic": _Layout(
            f"<split>/images and {folder}panoptic/panoptic_*.json",
            partial(mapillary.find_splits, version=version, what="panoptic"),
            panoptic,
        ),
        f"mapillary_{version}": _Layout(
            f"<split>/images and {folder}instances",
            partial(mapillary.find_splits, version=version, what="instances"),
            vistas,
        ),
    }


LAYOUTS: dict[str, _Layout] = {
    COCO: _Layout("annotations/panoptic_<split>.json", lambda path: [*coco.find_annotations(path)], _coco),
    "cityscapes": _Layout(
        "gtFine/<split>/<city>/*_gtFine_instanceIds.png", cityscapes.find_label_images, cityscapes.Cityscapes
    ),
    "cityscapes_panoptic": _Layout(
        "gtFine/cityscapes_panoptic_<split>.json", cityscapes.find_panoptic, cityscapes.CityscapesPanoptic
    ),
    **_mapillary("v2.0"),
    **_mapillary("v1.2"),
    "voc": _Layout(
        "SegmentationObject and ImageSets/Segmentation/<split>.txt, here or in VOCdevkit/VOC2012",
        lambda path: voc.find_splits(voc.find_year(path)),
        lambda path, split, labels: voc.PascalVoc(voc.find_year(path), split, labels),
    ),
    "camvid": _Layout("<split>[annot]/0001TP_*.png or LabeledApproved_full", camvid.find_splits, camvid.CamVid),
}
"""By the names of the kinds; in this order a folder is compared with them."""


def find_kind(path: Path, kind: str = AUTO) -> tuple[str, list[str]]:
    """What kind of data set lies in a folder, and which splits it has.

    Parameters
    ----------
    path:
        The folder.
    kind:
        One of `LAYOUTS`, or ``auto`` for the first that the folder looks like.

    Raises
    ------
    DatasetError
        If there is no such kind, or the folder is none of it; the message says what was looked for.
    """
    if kind not in (AUTO, *LAYOUTS):
        raise DatasetError(path, f"kind {kind!r} is none of {', '.join((AUTO, *LAYOUTS))}")
    if not path.is_dir():
        raise DatasetError(path, "is no folder")
    kinds = tuple(LAYOUTS) if kind == AUTO else (kind,)
    for name in kinds:
        if splits := LAYOUTS[name].splits(path):
            return name, splits
    looked_for = "; ".join(f"{LAYOUTS[name].looked_for} ({name})" for name in kinds)
    raise DatasetError(path, f"is no data set that is known; looked for {looked_for}")


def open_dataset(
    path: str | Path,
    kind: str = AUTO,
    split: str = "",
    image_folder: str | Path = "",
    annotations: str | Path = "",
    labels: str | Path = "",
) -> PanopticDataset:
    """Open a data set; how its files lie tells what it is.

    Parameters
    ----------
    path:
        Its folder, or a JSON in COCO's panoptic format.
    kind:
        One of `LAYOUTS`, where it is not to be found out.
    split:
        ``val``, ``train2017`` …; it can be left out where there is one only.
    image_folder, annotations:
        Of ``coco`` in another layout: where the pictures and the JSON are, from `path` or absolute.
    labels:
        The name or path of a label set in place of the data set's own.

    Raises
    ------
    DatasetError
        If it is not there or not recognised, has no such split or several to choose from, or cannot be read.
    FileNotFoundError, ConfigurationError
        If there is no such label set, or it is broken.
    """
    path = Path(path).expanduser()
    chosen = LabelSet.load(labels) if labels else None
    if annotations or path.suffix == ".json":
        if kind not in (AUTO, COCO):
            raise DatasetError(path, f"kind {kind!r} takes no file of annotations")
        file = path / annotations if annotations else path
        if split:
            raise DatasetError(file, f"is one split; split {split!r} cannot be chosen of it")
        return coco.CocoPanoptic(file, _pictures_of(path, file, image_folder), labels=chosen)
    kind, splits = find_kind(path, kind)
    if split and split not in splits:
        raise DatasetError(path, f"has no split {split!r}, but {', '.join(splits)} ({kind})")
    if not split and len(splits) > 1:
        raise DatasetError(path, f"has the splits {', '.join(splits)} ({kind}): one of them must be chosen")
    split = split or splits[0]
    if image_folder:
        if kind != COCO:
            raise DatasetError(path, f"kind {kind!r} has its own folder of pictures: image_folder cannot be chosen")
        return coco.CocoPanoptic(coco.find_annotations(path)[split], path / image_folder, labels=chosen)
    return LAYOUTS[kind].open(path, split, chosen)


def _pictures_of(path: Path, annotations: Path, image_folder: str | Path) -> Path:
    """Where the pictures of a JSON are: as was said, from the folder that was opened; else as COCO lies, or beside."""
    if image_folder:
        return (path if path.is_dir() else path.parent) / image_folder
    if annotations.parent.name == "annotations":
        return coco.find_image_folder(annotations.parent.parent, annotations.stem.removeprefix("panoptic_"))
    return path if path.is_dir() else path.parent
