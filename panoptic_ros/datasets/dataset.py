"""One interface for the field's data sets: pictures, and which segment each of their pixels belongs to.

A data set is lazy: opening it lists its files, and a picture or a label map is read when it is asked for.  It holds
paths and small tables only, so that it can be sent to other processes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.datasets.faults import DatasetError, Fault, Report, refuse_errors
from panoptic_ros.datasets.pictures import read_picture
from panoptic_ros.labels import LabelSet
from panoptic_ros.segmentation import PanopticSegmentation

__all__ = ["DatasetError", "PanopticDataset", "Sample", "Truth"]


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What is to be seen in one picture.

    Attributes
    ----------
    segmentation:
        The segments.  Class ids are those of the data set's label set, areas and boxes are counted from the pixels, the
        score is 1, instances are numbered from 1 over all classes, and stuff of one class is one segment.  Void is
        what the data set leaves unlabelled or does not evaluate.
    crowd:
        The ids of those segments that are a crowd or a group: several instances that were not told apart.
    sequence:
        The name of the drive that the picture is from, where the data set tells; otherwise empty.
    frame:
        Its number in that drive.
    """

    segmentation: PanopticSegmentation
    crowd: frozenset[int] = frozenset()
    sequence: str = ""
    frame: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A picture with its truth.

    Attributes
    ----------
    name:
        Which of its data set it is; the same wherever the data set lies.
    image:
        (H, W, 3) uint8, B, G, R.
    truth:
        Of the same height and width.
    """

    name: str
    image: NDArray[np.uint8]
    truth: Truth


class PanopticDataset(ABC):
    """Pictures with their truth, by number.

    Attributes
    ----------
    name:
        What kind of data set it is: ``coco``, ``cityscapes`` …
    path:
        The folder, or the file of annotations, that was opened.
    labels:
        What its class ids mean.
    has_instances:
        Whether things are told apart.  Where they are not, every class is stuff, and only semantic metrics mean
        something.
    """

    name: str
    path: Path
    labels: LabelSet
    has_instances: bool = True

    @abstractmethod
    def __len__(self) -> int:
        """How many samples there are."""

    @abstractmethod
    def name_of(self, index: int) -> str:
        """The name of a sample, without reading a file."""

    @abstractmethod
    def image_path(self, index: int) -> Path:
        """Where the picture of a sample lies, whether it is there or not."""

    @abstractmethod
    def _read_truth(self, index: int, report: Report) -> Truth | None:
        """What `read_truth` does; it may also raise `DatasetError`."""

    @abstractmethod
    def listing_faults(self) -> Iterator[Fault]:
        """What is wrong with the list of samples: files without a partner, entries that occur twice."""

    def image(self, index: int) -> NDArray[np.uint8]:
        """The picture of a sample, (H, W, 3) uint8, B, G, R; a rotation in EXIF is not followed.

        Raises
        ------
        DatasetError
            If it is missing, or no whole JPEG or PNG.
        """
        return read_picture(self.image_path(index))

    def read_truth(self, index: int, report: Report) -> Truth | None:
        """Read the truth of a sample and report everything that is wrong with it.

        Returns
        -------
        The truth; None if there was an error.
        """
        try:
            return self._read_truth(index, report)
        except DatasetError as error:
            report(Fault.error(error.file, error.message))
            return None

    def truth(self, index: int) -> Truth:
        """The truth of a sample.

        Raises
        ------
        DatasetError
            If its files are missing, damaged or contradict each other; the message names the file.
        """
        truth = self._read_truth(index, refuse_errors)
        assert truth is not None, "a reader that has no truth has reported an error"
        return truth

    def __getitem__(self, index: int) -> Sample:
        """Read one sample.

        Raises
        ------
        IndexError
            If there is none of this number.
        DatasetError
            See `image` and `truth`; also if they differ in size.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"{self.path}: sample {index} of {len(self)}")
        image, truth = self.image(index), self.truth(index)
        if message := size_mismatch(image, truth):
            raise DatasetError(self.image_path(index), message)
        return Sample(self.name_of(index), image, truth)

    def __iter__(self) -> Iterator[Sample]:
        """Read one sample after another."""
        return (self[index] for index in range(len(self)))


def size_mismatch(image: NDArray[np.uint8], truth: Truth) -> str:
    """What is wrong where a picture is not of its truth's size; empty where it is."""
    height, width = image.shape[:2]
    ids = truth.segmentation
    if (height, width) == (ids.height, ids.width):
        return ""
    return f"the picture is {width}x{height}, but its labels are {ids.width}x{ids.height}"
