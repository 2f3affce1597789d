"""Label sets: the classes of a data set, which of them are things, and their colours.

A label set is data, ``config/labels/<name>.yaml``; a network's class indices count its labels in the file's order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.configuration import from_mapping, read_yaml
from panoptic_ros.resources import find_config

VOID_NAME = "void"
MAX_CLASS_ID = 255  # class ids are published as mono8


@dataclass(frozen=True, slots=True)
class Label:
    """One class: the data set's id (1 to 255), its name, whether it is a thing, and its (R, G, B) colour."""

    id: int
    name: str
    is_thing: bool
    color: tuple[int, int, int]


@dataclass(frozen=True)
class LabelSet:
    """The classes of a data set, in the order of a network's outputs.

    Raises
    ------
    ValueError
        If an id or a name occurs twice, an id is outside 1 to 255 (0 is void), or a colour is not three bytes.
    """

    name: str
    labels: tuple[Label, ...]

    def __post_init__(self) -> None:
        if not self.labels:
            raise ValueError(f"label set {self.name!r} is empty")
        for label in self.labels:
            if not 1 <= label.id <= MAX_CLASS_ID:
                raise ValueError(f"label set {self.name!r}: id {label.id} of {label.name!r} is not in 1 to 255")
            if len(label.color) != 3 or not all(0 <= channel <= 255 for channel in label.color):
                raise ValueError(f"label set {self.name!r}: color {label.color} of {label.name!r} is not R, G, B bytes")
        for what in ("id", "name"):
            values = [getattr(label, what) for label in self.labels]
            repeated = {value for value in values if values.count(value) > 1}
            if repeated:
                raise ValueError(f"label set {self.name!r}: {what} occurs twice: {sorted(repeated)}")

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def things(self) -> tuple[Label, ...]:
        """The countable classes, in order: a detector's classes."""
        return tuple(label for label in self.labels if label.is_thing)

    @cached_property
    def stuff(self) -> tuple[Label, ...]:
        return tuple(label for label in self.labels if not label.is_thing)

    @cached_property
    def thing_ids(self) -> frozenset[int]:
        return frozenset(label.id for label in self.things)

    @cached_property
    def _by_id(self) -> dict[int, Label]:
        return {label.id: label for label in self.labels}

    def name_of(self, class_id: int) -> str:
        """The name of a class; ``void`` for 0, the number itself for an id that the set does not have."""
        if class_id == 0:
            return VOID_NAME
        label = self._by_id.get(class_id)
        return label.name if label else str(class_id)

    @cached_property
    def class_ids(self) -> NDArray[np.int32]:
        """(C,) int32, the id of each class index."""
        return np.array([label.id for label in self.labels], dtype=np.int32)

    @cached_property
    def colors(self) -> NDArray[np.uint8]:
        """(256, 3) uint8, the R, G, B colour of each class id; void and unknown ids are black."""
        table = np.zeros((MAX_CLASS_ID + 1, 3), dtype=np.uint8)
        for label in self.labels:
            table[label.id] = label.color
        return table

    @classmethod
    def load(cls, name: str | Path) -> LabelSet:
        """Read a label set by its name (``cityscapes``) or from a path.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ConfigurationError
            If the file is not a label set; the message names the file, the key and what was expected.
        """
        path = find_config("labels", str(name))
        return from_mapping(cls, read_yaml(path), str(path))
