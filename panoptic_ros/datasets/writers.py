"""Predictions in the forms that the official evaluations of COCO and Cityscapes take.

Each file appears whole or not at all, and what lists the others after them.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic_ros.datasets.panoptic_png import bgr_of_ids
from panoptic_ros.files import written_whole
from panoptic_ros.segmentation import PanopticSegmentation

MASK = 255  # any number but 0 is the instance


class PanopticResults:
    """Results in COCO's panoptic format (panopticapi), also for Cityscapes: ``<name>.json`` and ``<name>/*.png``.

    It is used in a ``with`` block; the JSON is written when the block ends, unless it fails.

    Parameters
    ----------
    folder:
        Where to write; it is made if it is not there.
    name:
        For COCO ``panoptic_<split>_<system>_results``, for Cityscapes ``cityscapes_panoptic_<split>``.

    Raises
    ------
    FileExistsError
        If there are results of this name.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.json_path = folder / f"{name}.json"
        self.png_folder = folder / name
        if self.json_path.exists():
            raise FileExistsError(f"{self.json_path}: exists already")
        self._annotations: dict[int | str, dict[str, Any]] = {}

    def add(self, image_id: int | str, segmentation: PanopticSegmentation) -> None:
        """Write what was seen in one picture.

        Parameters
        ----------
        image_id:
            The data set's: a number for COCO, ``<city>_<sequence>_<frame>`` for Cityscapes.
        segmentation:
            Its class ids are the data set's category ids (for Cityscapes labelIds).

        Raises
        ------
        ValueError
            If the picture has results already.
        OSError
            If the PNG cannot be written.
        """
        if image_id in self._annotations:
            raise ValueError(f"{self.json_path}: image {image_id!r} has results already")
        file_name = f"{image_id:012d}.png" if isinstance(image_id, int) else f"{image_id}.png"
        _write_png(self.png_folder / file_name, bgr_of_ids(segmentation.ids))
        self._annotations[image_id] = {
            "image_id": image_id,
            "file_name": file_name,
            "segments_info": [{"id": segment.id, "category_id": segment.class_id} for segment in segmentation.segments],
        }

    def __enter__(self) -> PanopticResults:
        self.png_folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            content = json.dumps({"annotations": list(self._annotations.values())})
            with written_whole(self.json_path) as unfinished:
                unfinished.write_text(content, encoding="utf-8")


def write_cityscapes_labels(folder: Path, name: str, segmentation: PanopticSegmentation) -> Path:
    """Write one picture's result for Cityscapes' pixel-level task: a PNG of labelIds.

    Parameters
    ----------
    folder:
        Where to write; it must hold no other PNGs that begin as `name`, because the evaluation takes whatever it finds.
    name:
        ``<city>_<sequence>_<frame>``.
    segmentation:
        Its class ids are labelIds.

    Returns
    -------
    The file.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    path = folder / f"{name}_labelIds.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_png(path, segmentation.classes().astype(np.uint8))
    return path


def write_cityscapes_instances(folder: Path, name: str, segmentation: PanopticSegmentation) -> Path:
    """Write one picture's result for Cityscapes' instance-level task: a list of its things and a mask of each.

    Parameters
    ----------
    folder:
        Where to write, ``<name>.txt`` and ``masks/<name>_<instance>.png``.
    name:
        ``<city>_<sequence>_<frame>``.
    segmentation:
        Its class ids are labelIds; the scores of its things are the confidences.

    Returns
    -------
    The list, which is empty where there is no thing.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    (folder / "masks").mkdir(parents=True, exist_ok=True)
    lines = []
    for thing in segmentation.things:
        mask = f"masks/{name}_{thing.instance:03d}.png"
        _write_png(folder / mask, np.where(segmentation.ids == thing.id, np.uint8(MASK), np.uint8(0)))
        lines.append(f"{mask} {thing.class_id} {thing.score:.6f}\n")
    path = folder / f"{name}.txt"
    with written_whole(path) as unfinished:
        unfinished.write_text("".join(lines), encoding="utf-8")
    return path


def _write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    content = cv2.imencode(".png", pixels)[1].tobytes()
    with written_whole(path) as unfinished:
        unfinished.write_bytes(content)
