"""Predictions that were stored in the form that COCO's and Cityscapes' panoptic evaluations take.

A JSON lists, for each image, the segments of a PNG: ``{"annotations": [{"image_id", "file_name", "segments_info":
[{"id", "category_id"}]}]}``; the PNGs (id = R + 256 G + 65536 B) lie in the folder of the JSON's own name beside it, or
beside it.  A segment may have a ``score``, which the official evaluations do not know; it is 1 where there is none.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from panoptic_ros.datasets.faults import DatasetError
from panoptic_ros.datasets.panoptic_png import read_panoptic_png
from panoptic_ros.datasets.pictures import read_json
from panoptic_ros.label_mapping import LabelMapping
from panoptic_ros.labels import LabelSet
from panoptic_ros.regions import Regions
from panoptic_ros.segmentation import INSTANCE_DIVISOR, MAX_INSTANCES, VOID, PanopticSegmentation, Segment

CITYSCAPES_ENDING = "_gtFine_panoptic"
"""What cityscapesScripts appends to an image's name in the names of its own panoptic PNGs."""


class StoredPredictions:
    """Gives the prediction of an image by its name; can be sent to other processes.

    Parameters
    ----------
    path:
        The JSON.
    labels:
        What its category ids mean.
    mapping:
        Turns them into the classes that are measured; None if they are those.

    Raises
    ------
    DatasetError
        If the JSON cannot be read or has not this form; the message names the entry and the key.
    """

    def __init__(self, path: Path, labels: LabelSet, mapping: LabelMapping | None = None) -> None:
        self.path = path
        self.labels = labels
        self.mapping = mapping
        beside = path.with_suffix("")
        self._folder = beside if beside.is_dir() else path.parent
        self._known = frozenset(labels.class_ids.tolist())
        self._files: dict[str, str] = {}
        self._segments: dict[str, tuple[tuple[int, int, float], ...]] = {}
        content = read_json(path)
        try:
            for index, annotation in enumerate(content["annotations"]):
                self._add(f"annotation {index}", annotation)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, DatasetError):
                raise
            what = f"key {error} is missing" if isinstance(error, KeyError) else str(error)
            raise DatasetError(path, f"is no list of panoptic predictions: {what}") from error

    def _add(self, where: str, annotation: Mapping[str, Any]) -> None:
        file = str(annotation["file_name"])
        name = Path(file).stem.removesuffix(CITYSCAPES_ENDING)
        if name in self._files:
            raise DatasetError(self.path, f"{where}: image {name!r} is predicted twice")
        segments = []
        for entry in annotation["segments_info"]:
            id_, category, score = int(entry["id"]), int(entry["category_id"]), float(entry.get("score", 1.0))
            what = f"{where} ({file}): segment {id_}"
            if id_ == VOID:
                raise DatasetError(self.path, f"{what} has the id 0, which is void")
            if not (math.isfinite(score) and 0 <= score <= 1):
                raise DatasetError(self.path, f"{what}: the score is {score}; it must be in [0, 1]")
            if category not in self._known:
                raise DatasetError(
                    self.path, f"{what} is of category {category}, which label set {self.labels.name!r} has not"
                )
            segments.append((id_, category, score))
        if len({id_ for id_, _, _ in segments}) < len(segments):
            raise DatasetError(self.path, f"{where} ({file}): two segments have one id")
        self._files[name] = file
        self._segments[name] = tuple(segments)

    def __len__(self) -> int:
        """How many images have a prediction."""
        return len(self._files)

    def check(self, names: Collection[str], known: Collection[str]) -> None:
        """Refuse predictions that are not of the images to be evaluated.

        Parameters
        ----------
        names:
            The images that need a prediction.
        known:
            Those that may have one: all of the data set.

        Raises
        ------
        DatasetError
            If one is missing, or is of an image that is not known; the message names it.
        """
        if not self._files.keys() & set(names):
            example = f", but for example {min(self._files)!r}" if self._files else ""
            raise DatasetError(self.path, f"predicts none of the {len(names)} images{example}")
        if strangers := self._files.keys() - set(known):
            rest = f" and {len(strangers) - 1} more" if len(strangers) > 1 else ""
            raise DatasetError(self.path, f"predicts {min(strangers)!r}{rest}, which the data set has not")
        if missing := set(names) - self._files.keys():
            rest = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise DatasetError(self.path, f"has no prediction of {min(missing)!r}{rest}")

    def file_of(self, name: str) -> Path:
        """The PNG of an image."""
        return self._folder / self._files[name]

    def __call__(self, name: str) -> PanopticSegmentation:
        """Read the prediction of an image.

        Raises
        ------
        DatasetError
            If the PNG is missing or damaged, or does not hold the segments that the JSON lists.
        """
        file = self.file_of(name)
        regions = Regions.of(read_panoptic_png(file))
        listed = {id_: (category, score) for id_, category, score in self._segments[name]}
        there = set(regions.values.tolist()) - {VOID}
        if unlisted := there - listed.keys():
            raise DatasetError(file, f"id {min(unlisted)} is no segment of the image in {self.path.name}")
        if absent := listed.keys() - there:
            raise DatasetError(file, f"has no pixel of segment {min(absent)}, which {self.path.name} lists")
        ids = np.zeros(len(regions.values), dtype=np.int32)
        segments: list[Segment] = []
        seen: set[int] = set()
        instances = 0
        for index, (value, area, box) in enumerate(
            zip(regions.values.tolist(), regions.areas.tolist(), regions.boxes.tolist(), strict=True)
        ):
            if value == VOID:
                continue
            category, score = listed[value]
            is_thing = category in self.labels.thing_ids
            instances += is_thing
            id_ = category * INSTANCE_DIVISOR + (instances if is_thing else 0)
            if id_ in seen:
                name_ = self.labels.name_of(category)
                raise DatasetError(file, f"{name_} is stuff in several segments; stuff of one class is one segment")
            seen.add(id_)
            ids[index] = id_
            segments.append(Segment(id_, category, is_thing, score, area, tuple(box), id_ % INSTANCE_DIVISOR))
        if instances > MAX_INSTANCES:
            raise DatasetError(file, f"holds {instances} things, of which a frame can have {MAX_INSTANCES}")
        segmentation = PanopticSegmentation(regions.paint(ids), tuple(segments))
        return segmentation if self.mapping is None else self.mapping.segmentation(segmentation)
