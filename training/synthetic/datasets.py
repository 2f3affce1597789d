"""Labelled images in the folder layouts of COCO panoptic and Cityscapes.

Each file appears whole or not at all, and the record of a frame after its images, so a run that was interrupted goes on
with the frames that have no record.  The annotations are written at the end, from the records.

Category ids are Cityscapes labelIds.  A thing is a crowd segment where `with_crowds` has taken its instance away.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic_ros.datasets.panoptic_png import bgr_of_ids
from panoptic_ros.files import lock_file
from panoptic_ros.labels import LabelSet
from panoptic_ros.segmentation import INSTANCE_DIVISOR, PanopticSegmentation

JPEG_QUALITY = 95


@dataclass(frozen=True, slots=True, eq=False)
class LabelledFrame:
    """One image of a data set.

    Attributes
    ----------
    index:
        Its number in the data set.
    camera, street, moment:
        What took it, in which world, and which of its pictures there it is.
    image:
        (H, W, 3) uint8, BGR.
    segmentation:
        Its truth.
    """

    index: int
    camera: str
    street: int
    moment: int
    image: NDArray[np.uint8]
    segmentation: PanopticSegmentation


class Layout(Protocol):
    """Where the files of one split of a data set lie, and what is in them."""

    split: str

    def files(self, frame: LabelledFrame) -> Mapping[str, bytes]:
        """The images of a frame by their paths below the data set's folder."""
        ...

    def record(self, frame: LabelledFrame) -> dict[str, Any]:
        """What the annotations will say of a frame: ``image`` and ``annotation``."""
        ...

    def annotations(self, records: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """What is to be written as JSON at the end, by paths below the data set's folder."""
        ...


class CocoPanoptic:
    """The layout of COCO panoptic (Kirillov et al. 2018; panopticapi).

    ``<split>/*.jpg``, ``annotations/panoptic_<split>.json`` and ``annotations/panoptic_<split>/*.png``, where a pixel's
    segment id is R + 256 G + 65536 B; 0 is void.
    """

    def __init__(self, split: str, labels: LabelSet) -> None:
        self.split = split
        self.labels = labels

    def files(self, frame: LabelledFrame) -> Mapping[str, bytes]:
        """See `Layout.files`."""
        name = f"{frame.index:012d}"
        return {
            f"{self.split}/{name}.jpg": encode(".jpg", frame.image, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY)),
            f"annotations/panoptic_{self.split}/{name}.png": encode(".png", bgr_of_ids(frame.segmentation.ids)),
        }

    def record(self, frame: LabelledFrame) -> dict[str, Any]:
        """See `Layout.record`."""
        name, segmentation = f"{frame.index:012d}", frame.segmentation
        size = {"width": segmentation.width, "height": segmentation.height}
        return {
            "image": {"id": frame.index, "file_name": f"{name}.jpg", **size},
            "annotation": {
                "image_id": frame.index,
                "file_name": f"{name}.png",
                "segments_info": segments_info(segmentation, lambda id_: id_),
            },
        }

    def annotations(self, records: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """See `Layout.annotations`."""
        return {f"annotations/panoptic_{self.split}.json": panoptic_json(records, self.labels)}


class Cityscapes:
    """The layout of Cityscapes (Cordts et al. 2016; cityscapesScripts).

    ``leftImg8bit/<split>/<city>/<city>_<street>_<moment>_leftImg8bit.png``, where the city is the camera's name;
    ``gtFine/…_gtFine_labelIds.png``; ``…_gtFine_instanceIds.png`` (16 bits: things labelId * 1000 + instance, stuff
    labelId); ``gtFine/cityscapes_panoptic_<split>.json`` and its folder of PNGs with the ids of instanceIds.
    """

    def __init__(self, split: str, labels: LabelSet) -> None:
        self.split = split
        self.labels = labels

    def _name(self, frame: LabelledFrame) -> str:
        return f"{self._city(frame)}_{frame.street:06d}_{frame.moment:06d}"

    def _city(self, frame: LabelledFrame) -> str:
        return frame.camera.replace("_", "")  # the parts of a name lie between _

    def files(self, frame: LabelledFrame) -> Mapping[str, bytes]:
        """See `Layout.files`."""
        name, city, split = self._name(frame), self._city(frame), self.split
        ids = instance_ids(frame.segmentation)
        return {
            f"leftImg8bit/{split}/{city}/{name}_leftImg8bit.png": encode(".png", frame.image),
            f"gtFine/{split}/{city}/{name}_gtFine_labelIds.png": encode(
                ".png", frame.segmentation.classes().astype(np.uint8)
            ),
            f"gtFine/{split}/{city}/{name}_gtFine_instanceIds.png": encode(".png", ids.astype(np.uint16)),
            f"gtFine/cityscapes_panoptic_{split}/{name}_gtFine_panoptic.png": encode(".png", bgr_of_ids(ids)),
        }

    def record(self, frame: LabelledFrame) -> dict[str, Any]:
        """See `Layout.record`."""
        name, segmentation = self._name(frame), frame.segmentation
        size = {"width": segmentation.width, "height": segmentation.height}
        return {
            "image": {"id": name, "file_name": f"{name}_leftImg8bit.png", **size},
            "annotation": {
                "image_id": name,
                "file_name": f"{name}_gtFine_panoptic.png",
                "segments_info": segments_info(segmentation, cityscapes_id),
            },
        }

    def annotations(self, records: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """See `Layout.annotations`."""
        return {f"gtFine/cityscapes_panoptic_{self.split}.json": panoptic_json(records, self.labels)}


LAYOUTS: dict[str, Callable[[str, LabelSet], Layout]] = {"coco": CocoPanoptic, "cityscapes": Cityscapes}


class DatasetError(ValueError):
    """A data set cannot be begun or gone on with; the message names the file and what can be done."""


class FrameFiles:
    """The files of frames, each complete when its record is there; several processes may write other frames.

    Parameters
    ----------
    folder:
        The data set's.
    layout:
        How it lies there.
    """

    def __init__(self, folder: Path, layout: Layout) -> None:
        self.folder = folder
        self.layout = layout
        self.records = folder / f".unfinished_{layout.split}"

    def has(self, index: int) -> bool:
        """Whether a frame is complete."""
        return self.record(index).is_file()

    def write(self, frame: LabelledFrame) -> None:
        """Write a frame, its record last."""
        for name, content in self.layout.files(frame).items():
            write_whole(self.folder / name, content)
        write_whole(self.record(frame.index), as_json(self.layout.record(frame)))

    def record(self, index: int) -> Path:
        """The record of a frame."""
        return self.records / f"{index:08d}.json"


class DatasetFolder:
    """Writes one split of a data set; several splits may share a folder.

    Parameters
    ----------
    folder:
        The data set's.
    layout:
        How it lies there.
    identity:
        What the images depend on; a run goes on only where that is the same.
    restart:
        Discard an unfinished run, replace a finished one.

    Raises
    ------
    DatasetError
        If the split is there already, or an unfinished one is of another identity or being written by another process.
    """

    def __init__(self, folder: Path, layout: Layout, identity: Mapping[str, str], restart: bool = False) -> None:
        self.files = FrameFiles(folder, layout)
        self._identity = dict(identity)
        self._done = folder / f"synthesis_{layout.split}.json"
        self._records = self.files.records
        self._restart = restart
        self._lock: IO[bytes] | None = None
        if self._done.exists() and not restart:
            raise DatasetError(f"{self._done}: this split exists already; remove it, or give --restart to replace it")
        if folder.exists() and not folder.is_dir():
            raise DatasetError(f"{folder}: is no folder")

    def __enter__(self) -> DatasetFolder:
        self._records.mkdir(parents=True, exist_ok=True)
        try:
            self._lock = lock_file(self._records / "lock")
        except BlockingIOError as error:
            raise DatasetError(f"{self._records}: another process is writing there") from error
        try:
            self._resume()
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.close()

    def _resume(self) -> None:
        """Take over what an earlier run has left, or begin."""
        state = self._records / "state.json"
        if self._restart:
            for file in self._records.glob("*.json"):
                file.unlink()
            self._done.unlink(missing_ok=True)
        if state.exists():
            identity = json.loads(state.read_text(encoding="utf-8"))
            different = [key for key in {**identity, **self._identity} if identity.get(key) != self._identity.get(key)]
            if different:
                changes = "; ".join(f"{key} was {identity.get(key)}, is {self._identity.get(key)}" for key in different)
                raise DatasetError(
                    f"{self._records}: holds an unfinished run of another kind ({changes}); "
                    "give the same again to go on with it, or --restart to begin anew"
                )
        else:
            write_whole(state, as_json(self._identity))

    def finish(self, count: int) -> None:
        """Write the annotations of frames 0 to `count` - 1, say of what they are made, and remove the records."""
        records = [json.loads(self.files.record(index).read_text(encoding="utf-8")) for index in range(count)]
        for name, content in self.files.layout.annotations(records).items():
            write_whole(self.files.folder / name, as_json(content))
        write_whole(self._done, as_json(self._identity))
        shutil.rmtree(self._records)


def with_crowds(segmentation: PanopticSegmentation, minimum_height: int) -> PanopticSegmentation:
    """The same with the things that show less of themselves than a height as crowds, one of each class.

    Crowds are what nobody is asked to tell apart, and neither right nor wrong where it is done.  KITTI leaves out
    things below 25 pixels, in pictures of a like focal length (moderate difficulty; Geiger et al. 2012).

    Parameters
    ----------
    minimum_height:
        Of the box around its visible pixels, in pixels.
    """
    small = [segment.id for segment in segmentation.things if segment.bbox[3] - segment.bbox[1] < minimum_height]
    if not small:
        return segmentation
    ids = segmentation.ids.copy()
    found = np.isin(ids, small)
    ids[found] -= ids[found] % INSTANCE_DIVISOR
    things = {segment.class_id for segment in segmentation.things}
    return PanopticSegmentation.from_ids(ids, things)


def segments_info(segmentation: PanopticSegmentation, id_of: Callable[[int], int]) -> list[dict[str, Any]]:
    """COCO's description of each segment; boxes are x, y, width, height."""
    return [
        {
            "id": id_of(segment.id),
            "category_id": segment.class_id,
            "area": segment.area,
            "bbox": [
                segment.bbox[0],
                segment.bbox[1],
                segment.bbox[2] - segment.bbox[0],
                segment.bbox[3] - segment.bbox[1],
            ],
            "iscrowd": int(segment.is_thing and not segment.instance),
        }
        for segment in segmentation.segments
    ]


def panoptic_json(records: Sequence[Mapping[str, Any]], labels: LabelSet) -> dict[str, Any]:
    """The annotations of a data set in COCO's panoptic format."""
    return {
        "images": [record["image"] for record in records],
        "annotations": [record["annotation"] for record in records],
        "categories": [
            {
                "id": label.id,
                "name": label.name,
                "supercategory": "thing" if label.is_thing else "stuff",
                "isthing": int(label.is_thing),
                "color": list(label.color),
            }
            for label in labels.labels
        ],
    }


def cityscapes_id(id_: int) -> int:
    """A panoptic id as Cityscapes has it: stuff is the labelId alone."""
    return id_ if id_ % INSTANCE_DIVISOR else id_ // INSTANCE_DIVISOR


def instance_ids(segmentation: PanopticSegmentation) -> NDArray[np.int32]:
    """(H, W) int32 ids as in Cityscapes' instanceIds."""
    ids = segmentation.ids
    return np.where(segmentation.instances() > 0, ids, segmentation.classes())


def encode(suffix: str, image: NDArray[Any], options: Sequence[int] = ()) -> bytes:
    """An image file's bytes."""
    return bytes(cv2.imencode(suffix, image, list(options))[1].tobytes())


def as_json(content: Any) -> bytes:
    """JSON, the same bytes for the same content."""
    return (json.dumps(content, separators=(",", ":")) + "\n").encode()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, its folders too, so that it is there whole or not at all.

    Raises
    ------
    OSError
        If it cannot be written; nothing is left of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        unfinished.write_bytes(content)
        os.replace(unfinished, path)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink()
        raise OSError(error.errno, f"{path}: cannot be written: {error.strerror}") from error
