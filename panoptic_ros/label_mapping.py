"""Classes of one label set in place of another's, so that a network and a data set of other classes can be compared.

A mapping is data, ``config/label_mappings/<source>_to_<target>.yaml``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.configuration import ConfigurationError, from_mapping, read_yaml
from panoptic_ros.datasets.dataset import Truth
from panoptic_ros.labels import MAX_CLASS_ID, Label, LabelSet
from panoptic_ros.resources import find_config
from panoptic_ros.segmentation import INSTANCE_DIVISOR, MAX_INSTANCES, PanopticSegmentation, Segment


@dataclass(frozen=True, slots=True)
class _ClassMapping:
    """The names of a class and of those that become it."""

    target: str
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _MappingFile:
    """What a file of ``config/label_mappings`` holds: the names of two label sets, and which classes become which."""

    source: str
    target: str
    classes: tuple[_ClassMapping, ...]


@dataclass(frozen=True)
class LabelMapping:
    """Which class of `target` each class of `source` becomes.

    A thing that becomes a thing keeps its instance number; things and stuff that become stuff of one class become one
    segment; stuff that becomes a thing is one segment, which is a crowd in a truth, because nobody has told its
    instances apart.  A class that becomes nothing is void.

    Attributes
    ----------
    class_ids:
        Pairs of class ids, of the source and of the target.
    """

    source: LabelSet
    target: LabelSet
    class_ids: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        known = {label.id for label in self.source.labels}, {label.id for label in self.target.labels}
        for pair in self.class_ids:
            for class_id, ids, labels in zip(pair, known, (self.source, self.target), strict=True):
                if class_id not in ids:
                    raise ValueError(f"label set {labels.name!r} has no class {class_id}")
        if len({source for source, _ in self.class_ids}) < len(self.class_ids):
            raise ValueError("a class becomes several classes")

    @classmethod
    def load(cls, name: str | Path) -> LabelMapping:
        """Read a mapping by its name (``coco_to_cityscapes``) or from a path.

        Raises
        ------
        FileNotFoundError
            If there is no such file, or a label set that it names is not there.
        ConfigurationError
            If it is not a mapping, names a class that there is not, or names one twice.
        """
        path = find_config("label_mappings", str(name))
        content = from_mapping(_MappingFile, read_yaml(path), str(path))
        source, target = LabelSet.load(content.source), LabelSet.load(content.target)
        pairs = [
            (_find(source, name, path).id, _find(target, entry.target, path).id)
            for entry in content.classes
            for name in entry.sources
        ]
        try:
            return cls(source, target, tuple(pairs))
        except ValueError as error:
            raise ConfigurationError(f"{path}: {error}") from error

    @classmethod
    def between(cls, source: LabelSet, target: LabelSet) -> LabelMapping | None:
        """The mapping from one label set to another by their names; None if they are the same.

        Raises
        ------
        FileNotFoundError
            If there is none; the message lists those there are.
        ConfigurationError
            See `load`; also if it is for other label sets of these names.
        """
        if source == target:
            return None
        mapping = cls.load(f"{source.name}_to_{target.name}")
        if (mapping.source, mapping.target) != (source, target):
            raise ConfigurationError(
                f"the mapping {source.name}_to_{target.name} is for the label sets of these names that come with the "
                "package, not for those in use"
            )
        return mapping

    @cached_property
    def table(self) -> NDArray[np.int32]:
        """(256,) int32, the target's class id of each of the source's; 0 for none."""
        table = np.zeros(MAX_CLASS_ID + 1, dtype=np.int32)
        for source, target in self.class_ids:
            table[source] = target
        return table

    def segmentation(self, segmentation: PanopticSegmentation) -> PanopticSegmentation:
        """The same segmentation in the target's classes.

        Joined segments have the mean of their scores, weighted by area; confidence is 0 where void comes about.

        Raises
        ------
        ValueError
            If there are more than 999 things.
        """
        return self._apply(segmentation)[0]

    def truth(self, truth: Truth) -> Truth:
        """The same truth in the target's classes.

        A thing is a crowd if it was one or was stuff; stuff if all of it was stuff and a crowd.

        Raises
        ------
        ValueError
            If there are more than 999 things.
        """
        segmentation, new_ids = self._apply(truth.segmentation)

        def is_group(segment: Segment) -> bool:
            if new_ids[segment.id] % INSTANCE_DIVISOR:
                return segment.id in truth.crowd or not segment.is_thing
            return segment.id in truth.crowd and not segment.is_thing

        all_ids = {segment.id for segment in segmentation.segments}
        crowd = all_ids - {new_ids[segment.id] for segment in truth.segmentation.segments if not is_group(segment)}
        return dataclasses.replace(truth, segmentation=segmentation, crowd=frozenset(crowd))

    def _apply(self, segmentation: PanopticSegmentation) -> tuple[PanopticSegmentation, dict[int, int]]:
        """The mapped segmentation, and what became of each id."""
        new_ids = self._new_ids(segmentation.segments)
        parts: dict[int, list[Segment]] = {}
        for segment in segmentation.segments:
            if new_ids[segment.id]:
                parts.setdefault(new_ids[segment.id], []).append(segment)
        segments = tuple(self._join(id_, parts[id_]) for id_ in sorted(parts))
        lookup = np.zeros((MAX_CLASS_ID + 1) * INSTANCE_DIVISOR, dtype=np.int32)
        lookup[list(new_ids)] = list(new_ids.values())
        ids = lookup[segmentation.ids]
        confidence = segmentation.confidence
        if confidence is not None:
            confidence = np.where(ids > 0, confidence, np.uint8(0))
        return PanopticSegmentation(ids, segments, confidence), new_ids

    def _new_ids(self, segments: Iterable[Segment]) -> dict[int, int]:
        segments = tuple(segments)
        taken = {segment.instance for segment in segments if segment.is_thing}
        free = (number for number in range(1, MAX_INSTANCES + 1) if number not in taken)
        numbers: dict[int, int] = {}  # of stuff that becomes a thing, by the class that it becomes
        new_ids = {}
        for segment in segments:
            class_id = int(self.table[segment.class_id])
            number = 0
            if class_id in self.target.thing_ids:
                number = segment.instance
                if not segment.is_thing:
                    if class_id not in numbers:
                        numbers[class_id] = next(free, 0)
                    number = numbers[class_id]
                if not number:
                    raise ValueError(f"there are more than {MAX_INSTANCES} things")
            new_ids[segment.id] = class_id * INSTANCE_DIVISOR + number
        return new_ids

    def _join(self, id_: int, parts: list[Segment]) -> Segment:
        """One segment for those that became it."""
        class_id, instance = divmod(id_, INSTANCE_DIVISOR)
        area = sum(part.area for part in parts)
        x0, y0, x1, y1 = zip(*(part.bbox for part in parts), strict=True)
        return Segment(
            id=id_,
            class_id=class_id,
            is_thing=class_id in self.target.thing_ids,
            score=sum(part.score * part.area for part in parts) / area,
            area=area,
            bbox=(min(x0), min(y0), max(x1), max(y1)),
            instance=instance,
        )


def _find(labels: LabelSet, name: str, path: Path) -> Label:
    for label in labels.labels:
        if label.name == name:
            return label
    raise ConfigurationError(f"{path}: label set {labels.name!r} has no class {name!r}")
