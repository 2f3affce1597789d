"""Rows of a table that belong to named images: what metrics keep of each image, small and in order."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.evaluation.overlaps import EvaluationError

IMAGE = "image"

PARTS = 512
"""How many arrays of rows are kept before they are joined."""


class ImageNames:
    """The names of the images that were evaluated, in order, each once."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def add(self, *names: str) -> None:
        """Append names.

        Raises
        ------
        EvaluationError
            If one is there already.
        """
        repeated = self._names.keys() & set(names)
        if repeated or len(set(names)) < len(names):
            which = min(repeated, default="") or max(names, key=names.count)
            raise EvaluationError(f"{which}: this image is evaluated twice; names of images must differ")
        self._names.update(dict.fromkeys(names))


class NamedRows:
    """A growing table; each row is of one image.

    Parameters
    ----------
    columns:
        The names of its columns with their numpy types.

    Attributes
    ----------
    names:
        The images, in the order in which they were added; one may have no rows.
    """

    def __init__(self, *columns: tuple[str, str]) -> None:
        self.names = ImageNames()
        self._type = np.dtype([(IMAGE, "i4"), *columns])
        self._parts: list[NDArray[np.void]] = []

    def add(self, name: str, **values: Any) -> None:
        """Append the rows of an image, by column an array with an entry for each row.

        Raises
        ------
        EvaluationError
            If the image is there already.
        """
        self.names.add(name)
        rows = np.zeros(len(next(iter(values.values()))), dtype=self._type)
        rows[IMAGE] = len(self.names) - 1
        for column, value in values.items():
            rows[column] = value
        self._append(rows)

    def merge(self, other: NamedRows) -> None:
        """Append the rows of other images.

        Raises
        ------
        EvaluationError
            If an image is in both.
        """
        rows = other.table().copy()
        rows[IMAGE] += len(self.names)
        self.names.add(*other.names)
        self._append(rows)

    def _append(self, rows: NDArray[np.void]) -> None:
        self._parts.append(rows)
        if len(self._parts) == PARTS:  # a hundred times the rows' own memory lies in arrays of a few rows
            self.table()

    def table(self) -> NDArray[np.void]:
        """All rows, with the column ``image`` that counts `names`."""
        self._parts = [np.concatenate([np.zeros(0, dtype=self._type), *self._parts])]
        return self._parts[0]

    def by_class(self) -> Iterator[tuple[int, NDArray[np.void]]]:
        """The rows of each class that has any, by the column ``class_id``, in the order of class ids."""
        table = self.table()
        for class_id in np.unique(table["class_id"]):
            yield int(class_id), table[table["class_id"] == class_id]


def exact_sum(values: NDArray[np.float64]) -> float:
    """The sum rounded once, so that it does not depend on the order: of segments, of images, of processes."""
    return math.fsum(values.tolist())
