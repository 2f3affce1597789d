"""Which label set a ``vision_msgs/LabelInfo`` is of: it has ids and names, but not which of them are things."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from panoptic_ros.evaluation.overlaps import EvaluationError
from panoptic_ros.labels import LabelSet
from panoptic_ros.resources import share_directory
from panoptic_ros.segmentation import VOID


def classes_of(info: Any) -> dict[int, str]:
    """The names of the classes in a LabelInfo by their ids, void left out."""
    return {int(one.class_id): str(one.class_name) for one in info.class_map if one.class_id != VOID}


def label_set_of(classes: Mapping[int, str], where: str, labels: str = "") -> LabelSet:
    """The label set that has just these classes.

    Parameters
    ----------
    classes:
        See `classes_of`.
    where:
        The topic, for errors.
    labels:
        The name or path of a label set of the user's, which is tried first.

    Raises
    ------
    EvaluationError
        If no label set has them, or several do that differ in what is a thing.
    FileNotFoundError, ConfigurationError
        If `labels` is given and cannot be read.
    """
    if labels and _has(given := LabelSet.load(labels), classes):
        return given
    there = sorted((share_directory() / "config" / "labels").glob("*.yaml"))
    fitting = [one for one in (LabelSet.load(Path(file).stem) for file in there) if _has(one, classes)]
    if len({one.thing_ids for one in fitting}) == 1:
        return fitting[0]
    names = ", ".join(file.stem for file in there)
    said = ", ".join(f"{id_} {name}" for id_, name in sorted(classes.items())[:4]) or "nothing"
    if fitting:
        alike = ", ".join(one.name for one in fitting)
        raise EvaluationError(f"{where}: its classes are those of {alike}; give one of them as --labels")
    raise EvaluationError(
        f"{where}: its {len(classes)} classes ({said} …) are of no label set that is known ({names}); "
        "give the file that has them as --labels"
    )


def _has(labels: LabelSet, classes: Mapping[int, str]) -> bool:
    return {label.id: label.name for label in labels.labels} == dict(classes)
