"""Some frames out of a data set, a bag, a video or a folder, evenly over all of it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic_ros.bags import open_source
from panoptic_ros.datasets import Truth, open_dataset
from panoptic_ros.datasets.faults import DatasetError
from panoptic_ros.datasets.opening import find_kind
from panoptic_ros.encodings import ImageError
from panoptic_ros.frames import SourceError
from panoptic_ros.labels import LabelSet

NamedFrame = tuple[str, NDArray[np.uint8], Truth | None]
"""A name, a (h, w, 3) uint8 BGR image, and what is to be seen in it, where that is known."""


def sample_frames(path: Path, split: str, count: int, labels: LabelSet) -> list[NamedFrame]:
    """Read up to `count` frames, evenly spaced.

    Parameters
    ----------
    path:
        A data set that `open_dataset` knows, or a bag, video or folder of images.
    split:
        Of a data set that has several.
    labels:
        Frames of a data set with these very classes come with their truth.

    Raises
    ------
    SourceError, DatasetError
        If there are no frames to be had; the message names the file.
    """
    if path.suffix == ".json" or split or _is_dataset(path):
        dataset = open_dataset(path, split=split)
        wanted = np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int).tolist()
        knows = _names(dataset.labels) == _names(labels)
        found: list[NamedFrame] = []
        for index in wanted:
            if knows:
                sample = dataset[index]
                found.append((sample.name, sample.image, sample.truth))
            else:
                found.append((dataset.name_of(index), dataset.image(index), None))
        return found
    source = open_source(path)
    total = source.count or sum(1 for _ in source.frames())
    chosen = set(np.linspace(0, total - 1, min(count, total)).round().astype(int).tolist())
    frames: list[NamedFrame] = []
    for index, frame in enumerate(source.frames()):
        if index in chosen and not isinstance(frame.image, ImageError):
            frames.append((f"{frame.topic} {index}", frame.image, None))
        if index >= total - 1:
            break
    if not frames:
        raise SourceError(f"{path}: none of its {total} frames can be read")
    return frames


def noise_frames(count: int, height: int, width: int) -> list[NamedFrame]:
    """Random pictures with coarse and fine structure, the same every time: better than nothing to compare on."""
    random = np.random.default_rng(0)
    found: list[NamedFrame] = []
    for index in range(count):
        coarse = cv2.resize(
            random.integers(0, 256, (6, 8, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_CUBIC
        )
        fine = random.integers(-30, 31, (height, width, 3), dtype=np.int16)
        found.append((f"noise {index}", np.clip(coarse + fine, 0, 255).astype(np.uint8), None))
    return found


def _is_dataset(path: Path) -> bool:
    try:
        find_kind(path)
    except DatasetError:
        return False
    return True


def _names(labels: LabelSet) -> list[tuple[int, str]]:
    return [(label.id, label.name) for label in labels.labels]
