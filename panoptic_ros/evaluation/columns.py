"""Large tables of counts as columns of a JSON: only the entries that are not zero, which are few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.confusion import ClassConfusion
from panoptic_ros.evaluation.panoptic_quality import ImageQualities
from panoptic_ros.labels import LabelSet
from panoptic_ros.segmentation import VOID


class WrongColumnsError(ValueError):
    """Columns that do not fit each other, the images or the classes; the message names the file and the key."""


@dataclass(frozen=True, slots=True)
class QualityColumns:
    """Panoptic quality's counts of those pairs of an image and a class that have any; images are numbers of names."""

    image: tuple[int, ...]
    class_ids: tuple[int, ...]
    tp: tuple[int, ...]
    fp: tuple[int, ...]
    fn: tuple[int, ...]
    iou: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ConfusionColumns:
    """The pixels of those pairs of a true and a predicted class, 0 for void, that have any."""

    true: tuple[int, ...]
    predicted: tuple[int, ...]
    pixels: tuple[int, ...]


def quality_columns(qualities: ImageQualities) -> dict[str, Any]:
    """The fields of `QualityColumns` as lists."""
    images, classes = np.nonzero(qualities.tp + qualities.fp + qualities.fn)
    return {
        "image": images.tolist(),
        "class_ids": qualities.class_ids[classes].tolist(),
        **{key: getattr(qualities, key)[images, classes].tolist() for key in ("tp", "fp", "fn", "iou")},
    }


def qualities_of(columns: QualityColumns, names: tuple[str, ...], labels: LabelSet, where: str) -> ImageQualities:
    """The counts of every image.

    Parameters
    ----------
    names, labels:
        The images and classes that the columns are of.
    where:
        The file and key, for messages.

    Raises
    ------
    WrongColumnsError
        If they do not fit.
    """
    _check_lengths(columns, where)
    rows = np.array(columns.image, dtype=np.int64)
    if rows.size and not (rows.min() >= 0 and rows.max() < len(names)):
        raise WrongColumnsError(f"{where}: image: expected numbers of the {len(names)} names")
    place = (rows, _class_indices(columns.class_ids, labels, f"{where}: class_ids"))
    shape = (len(names), len(labels))
    tp, fp, fn = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    iou = np.zeros(shape)
    for table, values in ((tp, columns.tp), (fp, columns.fp), (fn, columns.fn), (iou, columns.iou)):
        table[place] = values
    return ImageQualities(names=names, class_ids=labels.class_ids, tp=tp, fp=fp, fn=fn, iou=iou)


def confusion_columns(confusion: ClassConfusion) -> dict[str, Any]:
    """The fields of `ConfusionColumns` as lists."""
    # The quotients of whole numbers give them back exactly: they are far below 2^53.
    pixels = np.rint(confusion.probabilities * confusion.pixels[:, None]).astype(np.int64)
    rows, columns = np.nonzero(pixels)
    return {
        "true": confusion.class_ids[rows].tolist(),
        "predicted": confusion.predicted_ids[columns].tolist(),
        "pixels": pixels[rows, columns].tolist(),
    }


def confusion_of(columns: ConfusionColumns, labels: LabelSet, where: str) -> ClassConfusion:
    """P(predicted class | true class).

    Parameters
    ----------
    labels:
        The classes that the columns are of.
    where:
        The file and key, for messages.

    Raises
    ------
    WrongColumnsError
        If they do not fit.
    """
    _check_lengths(columns, where)
    counts = np.zeros((len(labels), len(labels) + 1), dtype=np.int64)
    predicted = np.zeros(len(columns.predicted), dtype=np.intp)
    some = np.array(columns.predicted, dtype=np.int64) != VOID
    labelled = [class_id for class_id in columns.predicted if class_id != VOID]
    predicted[some] = 1 + _class_indices(labelled, labels, f"{where}: predicted")
    counts[_class_indices(columns.true, labels, f"{where}: true"), predicted] = columns.pixels
    pixels = counts.sum(axis=1)
    return ClassConfusion(
        label_set=labels.name,
        class_ids=labels.class_ids,
        predicted_ids=np.concatenate(([VOID], labels.class_ids)).astype(np.int32),
        probabilities=counts / np.maximum(pixels, 1)[:, None],
        pixels=pixels,
    )


def _class_indices(class_ids: Sequence[int], labels: LabelSet, where: str) -> NDArray[np.intp]:
    """The place of each class id in the label set."""
    places = {class_id: index for index, class_id in enumerate(labels.class_ids.tolist())}
    if unknown := set(class_ids) - places.keys():
        raise WrongColumnsError(f"{where}: {min(unknown)} is no class of {labels.name!r}")
    return np.array([places[class_id] for class_id in class_ids], dtype=np.intp)


def _check_lengths(columns: QualityColumns | ConfusionColumns, where: str) -> None:
    lengths = {column.name: len(getattr(columns, column.name)) for column in fields(columns)}
    if len(set(lengths.values())) > 1:
        raise WrongColumnsError(f"{where}: expected columns of one length, got {lengths}")
