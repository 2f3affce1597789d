"""Small data sets, written with Pillow and json alone, and what reading them must give, worked out slowly."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from panoptic_ros.datasets import Truth

HEIGHT, WIDTH = 40, 60


def picture(seed: int) -> np.ndarray:
    """(H, W, 3) uint8, R, G, B."""
    return np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def save(path: Path, pixels: np.ndarray, palette: list[int] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    if palette is not None:
        image = image.convert("P") if image.mode != "L" else image
        image.putpalette(palette)
    image.save(path)


def street(shift: int = 0) -> np.ndarray:
    """Ids as in Cityscapes' instanceIds: (H, W) uint16."""
    ids = np.full((HEIGHT, WIDTH), 23, np.uint16)
    ids[20:] = 7
    ids[18:30, 5 + shift : 20 + shift] = 26000
    ids[18:30, 30:40] = 26001
    ids[22:36, 45:50] = 24000
    ids[19:24, 52:58] = 24  # a group of people
    ids[25:27, 52:58] = 33  # a group of bicycles
    ids[10:20, 0:4] = 29000  # a caravan, which is not evaluated
    ids[36:] = 1  # the ego vehicle
    ids[0, :10] = 0
    return ids


def make_cityscapes(folder: Path, splits: tuple[str, ...] = ("val",)) -> list[str]:
    """Two frames of each split, as label images; their names."""
    names = ["aachen_000000_000019", "bochum_000001_000004"]
    for split in splits:
        for number, name in enumerate(names):
            city = name.partition("_")[0]
            ids = street(number)
            fine = folder / "gtFine" / split / city
            save(folder / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png", picture(number))
            save(fine / f"{name}_gtFine_instanceIds.png", ids)
            save(fine / f"{name}_gtFine_labelIds.png", np.where(ids < 1000, ids, ids // 1000).astype(np.uint8))
    return names


COCO_CATEGORIES = [
    {"id": 1, "name": "person", "isthing": 1, "color": [220, 20, 60]},
    {"id": 17, "name": "cat", "isthing": 1, "color": [255, 77, 255]},
    {"id": 187, "name": "sky", "isthing": 0, "color": [70, 130, 180]},
    {"id": 193, "name": "grass", "isthing": 0, "color": [152, 251, 152]},
]


def coco_ids() -> np.ndarray:
    """Ids of 24 bits as COCO's PNGs have them: (H, W) int64."""
    ids = np.full((HEIGHT, WIDTH), 11829830, np.int64)  # sky
    ids[20:] = 10025880  # grass
    ids[10:30, 5:15] = 3937500  # a person
    ids[12:28, 20:30] = 260  # a person; its id needs two bytes only
    ids[5:35, 40:55] = 65536 * 200 + 7  # people
    ids[30:34, 2:9] = 5  # a cat
    ids[:3] = 0
    return ids


COCO_SEGMENTS = {
    11829830: (187, 0),
    10025880: (193, 0),
    3937500: (1, 0),
    260: (1, 0),
    65536 * 200 + 7: (1, 1),
    5: (17, 0),
}
"""Category and crowd by id."""


def coco_png(ids: np.ndarray) -> np.ndarray:
    return np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)


def make_coco(folder: Path, count: int = 2) -> dict[str, Any]:
    """`count` pictures; what the JSON says of them."""
    ids = coco_ids()
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": COCO_CATEGORIES}
    for number in range(count):
        name = f"{number + 7:012d}"
        save(folder / "val2017" / f"{name}.jpg", picture(number))
        save(folder / "annotations" / "panoptic_val2017" / f"{name}.png", coco_png(ids))
        content["images"].append({"id": number + 7, "file_name": f"{name}.jpg", "height": HEIGHT, "width": WIDTH})
        segments = []
        for id_, (category, crowd) in COCO_SEGMENTS.items():
            rows, columns = np.nonzero(ids == id_)
            box = [int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]
            area = len(rows)
            segments.append({"id": id_, "category_id": category, "area": area, "bbox": box, "iscrowd": crowd})
        content["annotations"].append({"image_id": number + 7, "file_name": f"{name}.png", "segments_info": segments})
    write_json(folder / "annotations" / "panoptic_val2017.json", content)
    return content


def write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))


def change_json(path: Path, change: Callable[[Any], None]) -> None:
    """Apply a change to what a JSON holds."""
    content = json.loads(path.read_text())
    change(content)
    write_json(path, content)


def change_png(path: Path, change: Callable[[np.ndarray], None]) -> None:
    """Apply a change to the numbers in an image."""
    with Image.open(path) as image:
        mode, palette = image.mode, image.getpalette()
        pixels = np.array(image)
    change(pixels)
    save(path, pixels, palette if mode == "P" else None)


def check_truth(
    truth: Truth, raw: np.ndarray, classes: Mapping[int, int], things: set[int], crowd: set[int] = frozenset()
) -> None:
    """Compare a truth with a label map, pixel by pixel and region by region.

    Parameters
    ----------
    raw:
        (H, W) the label map's own numbers.
    classes:
        The class of each number that is not void.
    things:
        The classes that are things.
    crowd:
        The numbers that are crowds.
    """
    value = truth.segmentation
    expected = np.zeros(raw.shape, np.int32)
    instance, crowds = 0, set()
    for number in sorted(classes):
        if not (raw == number).any():
            continue
        id_ = classes[number] * 1000
        if classes[number] in things:
            instance += 1
            id_ += instance
        if number in crowd:
            crowds.add(id_)
        expected[raw == number] = id_
    assert value.ids.dtype == np.int32
    np.testing.assert_array_equal(value.ids, expected)
    assert {segment.id for segment in value.segments} == set(np.unique(expected).tolist()) - {0}
    assert len({segment.id for segment in value.segments}) == len(value.segments)
    for segment in value.segments:
        rows, columns = np.nonzero(expected == segment.id)
        assert segment.area == len(rows)
        assert segment.bbox == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert (segment.class_id, segment.instance) == divmod(segment.id, 1000)
        assert (segment.is_thing, segment.score) == (segment.class_id in things, 1.0)
    assert truth.crowd == crowds


def voc_palette() -> list[int]:
    """VOC's palette, by its rule: the bits of a number, three at a time, from the highest of R, G, B down."""
    colors = []
    for number in range(256):
        channels = [0, 0, 0]
        for place in range(8):
            for channel in range(3):
                channels[channel] |= (number >> (3 * place + channel) & 1) << (7 - place)
        colors += channels
    return colors


def make_voc(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Two pictures; the classes and the objects of both."""
    classes, objects = np.zeros((HEIGHT, WIDTH), np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)
    for number, (class_id, left) in enumerate([(15, 5), (15, 20), (7, 35)], start=1):
        classes[10:30, left : left + 10], objects[10:30, left : left + 10] = class_id, number
    edge = np.zeros_like(classes, dtype=bool)
    edge[10:30, [5, 14, 20, 29, 35, 44]] = True
    classes[edge] = objects[edge] = 255
    for name in ("2007_000032", "2008_000001"):
        save(folder / "JPEGImages" / f"{name}.jpg", picture(1))
        save(folder / "SegmentationClass" / f"{name}.png", classes, voc_palette())
        save(folder / "SegmentationObject" / f"{name}.png", objects, voc_palette())
    lists = folder / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("2007_000032\n2008_000001\n")
    return classes, objects


MAPILLARY_CONFIG = {
    "labels": [
        {"name": "a--bird", "readable": "Bird", "instances": True, "evaluate": True, "color": [165, 42, 42]},
        {"name": "a--road", "readable": "Road", "instances": False, "evaluate": True, "color": [128, 64, 128]},
        {"name": "a--group", "readable": "Group", "instances": True, "evaluate": False, "color": [1, 2, 3]},
        {"name": "a--car", "readable": "Car", "instances": True, "evaluate": True, "color": [0, 0, 142]},
        {"name": "void", "readable": "Unlabeled", "instances": False, "evaluate": False, "color": [0, 0, 0]},
    ]
}


def vistas() -> np.ndarray:
    """Label * 256 + instance: (H, W) uint16."""
    ids = np.full((HEIGHT, WIDTH), 1 * 256, np.uint16)
    ids[:10] = 4 * 256
    ids[12:20, 4:12] = 0 * 256  # a bird; its number is 0
    ids[22:30, 4:30] = 3 * 256 + 1
    ids[22:30, 32:50] = 3 * 256 + 0
    ids[32:36] = 2 * 256 + 5
    return ids


def make_mapillary(folder: Path, version: str = "", split: str = "validation") -> None:
    """One picture, its annotations in a folder of their own if a version is given."""
    save(folder / split / "images" / "key.jpg", picture(2))
    annotations = folder / split / version
    ids = vistas()
    save(annotations / "instances" / "key.png", ids)
    colors = [channel for label in MAPILLARY_CONFIG["labels"] for channel in label["color"]]  # type: ignore[attr-defined]
    save(annotations / "labels" / "key.png", (ids // 256).astype(np.uint8), colors)
    write_json(folder / (f"config_{version}.json" if version else "config.json"), MAPILLARY_CONFIG)


def make_camvid(folder: Path, split: str = "val") -> np.ndarray:
    """Two frames in SegNet's numbers, beside their pictures; the numbers."""
    numbers = np.kron(np.arange(12, dtype=np.uint8).reshape(3, 4), np.ones((12, 15), np.uint8))
    for name in ("0001TP_006690", "Seq05VD_f00030"):
        save(folder / split / f"{name}.jpg", picture(3)[:36])
        save(folder / split / f"{name}.png", numbers)
    return numbers
