"""What a data set holds, and everything that is wrong with it.

Each sample is read whole, its picture too, by the same code that evaluation reads it with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from panoptic_ros.datasets.dataset import PanopticDataset, size_mismatch
from panoptic_ros.datasets.faults import DatasetError, Fault, Severity
from panoptic_ros.workers import ordered


@dataclass(frozen=True, slots=True)
class SampleCheck:
    """What one sample holds.

    Attributes
    ----------
    name:
        Which it is.
    faults:
        What is wrong with it.
    size:
        Width and height of its labels; None if they cannot be read.
    segments:
        Class id, number of pixels and whether it is a crowd, of each segment.
    """

    name: str
    faults: tuple[Fault, ...]
    size: tuple[int, int] | None
    segments: tuple[tuple[int, int, bool], ...]


def check_sample(dataset: PanopticDataset, index: int) -> SampleCheck:
    """Read one sample and collect its faults; none is raised."""
    faults: list[Fault] = []
    truth = dataset.read_truth(index, faults.append)
    try:
        image = dataset.image(index)
        if truth is not None and (message := size_mismatch(image, truth)):
            faults.append(Fault.error(dataset.image_path(index), message))
    except DatasetError as error:
        faults.append(Fault.error(error.file, error.message))
    name = dataset.name_of(index)
    if truth is None:
        return SampleCheck(name, tuple(faults), None, ())
    value = truth.segmentation
    segments = tuple((segment.class_id, segment.area, segment.id in truth.crowd) for segment in value.segments)
    return SampleCheck(name, tuple(faults), (value.width, value.height), segments)


def check_samples(dataset: PanopticDataset, workers: int = 1) -> Iterator[SampleCheck]:
    """Check one sample after another, in their order, by several processes.

    Memory does not grow with the number of samples.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C, when the samples at hand are done.
    OSError
        If a process has died.
    """
    return ordered(partial(_checker, dataset), range(len(dataset)), workers)


def _checker(dataset: PanopticDataset) -> Callable[[int], SampleCheck]:
    return partial(check_sample, dataset)


@dataclass(slots=True)
class ClassCount:
    """How often a class occurs: in how many pictures, as how many segments, of them crowds, and in pixels."""

    pictures: int = 0
    segments: int = 0
    crowds: int = 0
    pixels: int = 0


@dataclass(slots=True)
class Summary:
    """What a data set holds, as far as it was checked.

    Attributes
    ----------
    samples, readable:
        How many there are, and of how many the labels can be read.
    sizes:
        How many there are of each width and height.
    classes:
        By class id.
    pixels, void_pixels:
        Of all labels that can be read, and how many of them are void.
    most_segments:
        In one picture.
    faults:
        How many of each severity.
    """

    samples: int = 0
    readable: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    classes: dict[int, ClassCount] = field(default_factory=dict)
    pixels: int = 0
    void_pixels: int = 0
    most_segments: int = 0
    faults: Counter[Severity] = field(default_factory=Counter)

    def add(self, check: SampleCheck) -> None:
        """Count one sample."""
        self.samples += 1
        self.faults.update(fault.severity for fault in check.faults)
        if check.size is None:
            return
        self.readable += 1
        self.sizes[check.size] += 1
        pixels = check.size[0] * check.size[1]
        self.pixels += pixels
        self.void_pixels += pixels - sum(area for _, area, _ in check.segments)
        self.most_segments = max(self.most_segments, len(check.segments))
        for class_id, area, crowd in check.segments:
            count = self.classes.setdefault(class_id, ClassCount())
            count.segments += 1
            count.crowds += crowd
            count.pixels += area
        for class_id in {class_id for class_id, _, _ in check.segments}:
            self.classes[class_id].pictures += 1
