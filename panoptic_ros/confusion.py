"""What a network takes the classes of the world for, in a file: evaluation writes it, the grid believes by it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.files import written_whole
from panoptic_ros.labels import LabelSet
from panoptic_ros.segmentation import VOID


@dataclass(frozen=True, slots=True, eq=False)
class ClassConfusion:
    """What a class of the world is predicted as.

    Attributes
    ----------
    label_set:
        The name of the label set.
    class_ids:
        (C,) int32, the true classes.
    predicted_ids:
        (C + 1,) int32, the predicted ones: void and then `class_ids`.
    probabilities:
        (C, C + 1) float64, P(predicted | true).  Each row sums to 1; that of a class without pixels is 0 throughout.
    pixels:
        (C,) int64, how many pixels of each true class that rests on.
    """

    label_set: str
    class_ids: NDArray[np.int32]
    predicted_ids: NDArray[np.int32]
    probabilities: NDArray[np.float64]
    pixels: NDArray[np.int64]

    def save(self, path: Path) -> None:
        """Write it as JSON.

        ``label_set``: its name; ``predicted``: the ids of the columns; ``true``: by the id of each class that has
        pixels, its ``pixels`` and its row of ``probabilities``.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        rows = {
            str(class_id): {"pixels": int(pixels), "probabilities": row.tolist()}
            for class_id, pixels, row in zip(self.class_ids, self.pixels, self.probabilities, strict=True)
            if pixels
        }
        content = {"label_set": self.label_set, "predicted": self.predicted_ids.tolist(), "true": rows}
        with written_whole(path) as unfinished:
            unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path, labels: LabelSet) -> ClassConfusion:
        """Read what `save` wrote.

        Parameters
        ----------
        labels:
            The label set that it is expected for.

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If it is no such file, or is for other classes; the message names the file and the key.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return _parsed(content, labels)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: is no JSON: {error}") from error
        except _WrongContentError as error:
            raise ValueError(f"{path}: {error}") from error


class _WrongContentError(Exception):
    """What is wrong in a file of a confusion matrix, and where."""


def _parsed(content: Any, labels: LabelSet) -> ClassConfusion:
    if not isinstance(content, dict) or content.keys() != {"label_set", "predicted", "true"}:
        raise _WrongContentError("expected the keys label_set, predicted and true")
    if content["label_set"] != labels.name:
        raise _WrongContentError(f"label_set is {content['label_set']!r}, expected {labels.name!r}")
    class_ids = labels.class_ids
    predicted_ids = np.concatenate(([VOID], class_ids)).astype(np.int32)
    if content["predicted"] != predicted_ids.tolist():
        raise _WrongContentError(f"predicted must be void, 0, and the ids of {labels.name!r} in their order")
    probabilities, pixels = np.zeros((len(class_ids), len(class_ids) + 1)), np.zeros(len(class_ids), dtype=np.int64)
    place = {str(class_id): index for index, class_id in enumerate(class_ids.tolist())}
    if not isinstance(content["true"], dict):
        raise _WrongContentError("true must be a mapping from class ids")
    for key, row in content["true"].items():
        where = f"true.{key}"
        if key not in place:
            raise _WrongContentError(f"{where}: {labels.name!r} has no class {key}")
        if not isinstance(row, dict) or row.keys() != {"pixels", "probabilities"}:
            raise _WrongContentError(f"{where}: expected the keys pixels and probabilities")
        if type(row["pixels"]) is not int or row["pixels"] < 1:
            raise _WrongContentError(f"{where}.pixels must be a positive whole number, got {row['pixels']!r}")
        values = row["probabilities"]
        if not isinstance(values, list) or len(values) != len(predicted_ids):
            raise _WrongContentError(f"{where}.probabilities must be a list of {len(predicted_ids)} numbers")
        if not all(isinstance(value, int | float) and 0 <= value <= 1 for value in values):
            raise _WrongContentError(f"{where}.probabilities must be numbers in [0, 1]")
        if abs(sum(values) - 1) > 1e-6:
            raise _WrongContentError(f"{where}.probabilities must sum to 1, they sum to {sum(values)}")
        probabilities[place[key]], pixels[place[key]] = values, row["pixels"]
    return ClassConfusion(labels.name, class_ids, predicted_ids, probabilities, pixels)
