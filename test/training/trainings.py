"""Trainings small enough for tests: a tiny network, a data set of drawn pictures, a configuration of both."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from panoptic_ros.datasets.panoptic_png import bgr_of_ids
from panoptic_ros.labels import LabelSet
from panoptic_ros.segmentation import PanopticSegmentation
from panoptic_training.synthetic.datasets import cityscapes_id, instance_ids, panoptic_json, segments_info

CITYSCAPES = LabelSet.load("cityscapes")
ROAD, SKY, PERSON, CAR = 7, 23, 24, 26
HEIGHT, WIDTH = 64, 96
ANCHORS = "6,8, 10,20, 16,12,  20,32, 32,20, 28,44,  56,40, 40,64, 72,64"
CONVOLUTION = "[convolutional]\nbatch_normalize=1\nfilters={}\nsize=3\nstride={}\npad=1\nactivation=leaky\n"
HEAD = "[convolutional]\nfilters=39\nactivation=linear\n[yolo]\nmask={}\nanchors={}\nclasses=8\n"


def write_model(folder: Path) -> Path:
    """A YOLO-Panoptic with heads of strides 32, 16 and 8 and one convolution a stride."""
    text = f"[net]\nwidth={WIDTH}\nheight={HEIGHT}\n"
    for depth in (4, 8, 8, 12, 16):
        text += CONVOLUTION.format(depth, 2)
    text += HEAD.format("6,7,8", ANCHORS)
    text += "[route]\nlayers=4\n[upsample]\nstride=2\n[route]\nlayers=-1,3\n" + HEAD.format("3,4,5", ANCHORS)
    text += "[route]\nlayers=-3\n[upsample]\nstride=2\n[route]\nlayers=-1,2\n" + HEAD.format("0,1,2", ANCHORS)
    (folder / "tiny.cfg").write_text(text)
    content = {
        "system": "yolo_panoptic",
        "labels": "cityscapes",
        "input_height": HEIGHT,
        "input_width": WIDTH,
        "network": {"cfg": "tiny.cfg", "taps": [1, 2, 3]},
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def draw(index: int) -> tuple[np.ndarray, np.ndarray]:
    """Sky over a road with two cars and a person: (H, W, 3) uint8 and its (H, W) int32 ids."""
    rng = np.random.default_rng(index)
    ids = np.full((HEIGHT, WIDTH), SKY * 1000, dtype=np.int32)
    ids[24:] = ROAD * 1000
    image = rng.integers(0, 40, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    image[:24] += np.uint8(180)
    for instance, (class_id, height, width) in enumerate([(CAR, 16, 24), (CAR, 12, 18), (PERSON, 22, 8)], start=1):
        top, left = rng.integers(20, HEIGHT - height), rng.integers(0, WIDTH - width)
        place = np.s_[top : top + height, left : left + width]
        ids[place] = class_id * 1000 + instance
        image[place] = rng.integers(60, 255, 3)
    return image, ids


def write_coco(folder: Path, split: str, count: int, first: int = 0) -> Path:
    """A split in COCO's layout, with Cityscapes' classes."""
    records = []
    annotations = folder / "annotations"
    (folder / split).mkdir(parents=True)
    (annotations / f"panoptic_{split}").mkdir(parents=True)
    for index in range(first, first + count):
        image, ids = draw(index)
        segmentation = PanopticSegmentation.from_ids(ids, CITYSCAPES.thing_ids)
        cv2.imwrite(str(folder / split / f"{index:06d}.png"), image)
        cv2.imwrite(str(annotations / f"panoptic_{split}" / f"{index:06d}.png"), bgr_of_ids(instance_ids(segmentation)))
        size = {"width": WIDTH, "height": HEIGHT}
        records.append(
            {
                "image": {"id": index, "file_name": f"{index:06d}.png", **size},
                "annotation": {
                    "image_id": index,
                    "file_name": f"{index:06d}.png",
                    "segments_info": segments_info(segmentation, cityscapes_id),
                },
            }
        )
    (annotations / f"panoptic_{split}.json").write_text(json.dumps(panoptic_json(records, CITYSCAPES)))
    return folder


CAMVID = LabelSet.load("camvid")
TO_CAMVID = {SKY: 0, ROAD: 3, PERSON: 9, CAR: 8}
"""What is drawn in the numbers of SegNet's CamVid label images."""


def write_camvid(folder: Path, split: str, count: int, first: int = 0) -> Path:
    """A split in the form of SegNet's CamVid: the same pictures, their things not told apart."""
    pictures, labels = folder / split, folder / f"{split}annot"
    for path in (pictures, labels):
        path.mkdir(parents=True)
    for index in range(first, first + count):
        image, ids = draw(index)
        numbers = np.zeros(ids.shape, dtype=np.uint8)
        for class_id, number in TO_CAMVID.items():
            numbers[ids // 1000 == class_id] = number
        cv2.imwrite(str(pictures / f"0001TP_{index:06d}.png"), image)
        cv2.imwrite(str(labels / f"0001TP_{index:06d}.png"), numbers)
    return folder


def write_training(folder: Path, **changes: Any) -> Path:
    """The configuration of a training on 8 pictures, validated on 3, with its model and data beside it."""
    if not (folder / "tiny.yaml").exists():
        write_model(folder)
        write_coco(folder / "drawn", "train", 8)
        write_coco(folder / "drawn", "val", 3, first=100)
    content: dict[str, Any] = {
        "model": "tiny.yaml",
        "data": {
            "train": [{"path": "drawn", "split": "train"}],
            "validation": [{"path": "drawn", "split": "val"}],
            "workers": 0,
        },
        "augmentation": {"affine": {"scale": [0.7, 1.5], "crop": [64, 64]}, "photometric": {}},
        "optimizer": {"kind": "sgd", "learning_rate": 0.01},
        "epochs": 2,
        "batch_size": 2,
        "gradient_clip": 5.0,
        "early_stopping": None,
        "log_steps": 1,
        "pictures": 1,
    }
    path = folder / "training.yaml"
    path.write_text(yaml.safe_dump(content | changes))
    return path


def losses(run: Path, version: int = 0) -> dict[int, dict[str, float]]:
    """What a run has logged of each step, as CSV."""
    found = {}
    with (run / "csv" / f"version_{version}" / "metrics.csv").open() as file:
        for row in csv.DictReader(file):
            if row.get("train/loss"):
                found[int(row["step"])] = {
                    key: float(value) for key, value in row.items() if key.startswith("train/") and value
                }
    return found
