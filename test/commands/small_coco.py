"""A small data set in COCO's panoptic format and predictions of it, written with Pillow and json alone.

Bright pixels are cars, dark ones road, as `fake_pipeline` has it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from panoptic_ros.labels import LabelSet

CITYSCAPES = LabelSet.load("cityscapes")
ROAD, CAR = 7000, 26001


def ids_of(index: int, height: int = 24, width: int = 32) -> np.ndarray:
    """Road, and on it a car that is another in each image."""
    ids = np.full((height, width), ROAD)
    ids[6 : 12 + index % 5, 3 + index % 7 : 20] = CAR
    return ids


def picture_of(ids: np.ndarray) -> np.ndarray:
    """(H, W, 3) R, G, B."""
    return np.where(ids == CAR, 220, 30)[..., None].repeat(3, axis=2).astype(np.uint8)


def write_ids(path: Path, ids: np.ndarray) -> None:
    """The PNG of panopticapi: id = R + 256 G + 65536 B."""
    rgb = np.stack((ids % 256, ids // 256 % 256, ids // 65536), axis=-1).astype(np.uint8)
    Image.fromarray(rgb).save(path)


def segments_of(ids: np.ndarray, **rest: Any) -> list[dict[str, Any]]:
    """What a JSON says of the segments."""
    return [{"id": id_, "category_id": id_ // 1000, **rest} for id_ in np.unique(ids[ids > 0]).tolist()]


def write_dataset(folder: Path, count: int, categories: list[dict[str, Any]] | None = None) -> Path:
    """The folder of a data set with one split, of lossless pictures."""
    pngs, images = folder / "annotations" / "panoptic_val", folder / "val"
    pngs.mkdir(parents=True)
    images.mkdir()
    content: dict[str, Any] = {
        "categories": categories
        or [{"id": label.id, "name": label.name, "isthing": int(label.is_thing)} for label in CITYSCAPES.labels],
        "images": [],
        "annotations": [],
    }
    for index in range(count):
        ids, name = ids_of(index), f"{index:012d}"
        Image.fromarray(picture_of(ids)).save(images / f"{name}.png")
        write_ids(pngs / f"{name}.png", ids)
        height, width = ids.shape
        content["images"].append({"id": index, "file_name": f"{name}.png", "height": height, "width": width})
        segments = [segment | {"iscrowd": 0, "area": int((ids == segment["id"]).sum())} for segment in segments_of(ids)]
        content["annotations"].append({"image_id": index, "file_name": f"{name}.png", "segments_info": segments})
    pngs.with_suffix(".json").write_text(json.dumps(content))
    return folder


def write_predictions(path: Path, maps: Mapping[int, np.ndarray], **rest: Any) -> Path:
    """Predictions of the images of some numbers; `rest` goes into every segment."""
    folder = path.with_suffix("")
    folder.mkdir(parents=True)
    annotations = []
    for index, ids in maps.items():
        write_ids(folder / f"{index:012d}.png", ids)
        annotations.append(
            {"image_id": index, "file_name": f"{index:012d}.png", "segments_info": segments_of(ids, **rest)}
        )
    path.write_text(json.dumps({"annotations": annotations}))
    return path
