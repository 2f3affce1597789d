"""Samples as a network takes them: augmented for training, letterboxed for validation; and batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from panoptic_ros.datasets import Sample, Truth
from panoptic_ros.labels import LabelSet
from panoptic_ros.letterbox import Letterbox
from panoptic_training.augmentation import Augmentation, LabelledImage
from panoptic_training.augmentation.affine import warp
from panoptic_training.data.order import Draw
from panoptic_training.data.sources import Mixture
from panoptic_training.targets import ImageTargets, Targets, collate, targets_of


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSample:
    """An image of the network's input with its targets.

    Attributes
    ----------
    image:
        (H, W, 3) uint8, B, G, R.
    targets:
        Of the same size.
    """

    image: NDArray[np.uint8]
    targets: ImageTargets


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """What validation knows of a sample beside the network's input.

    Attributes
    ----------
    index:
        Its number in the data.
    letterbox:
        How the frame lies in the network's input.
    truth:
        At the frame's size.
    has_instances:
        Whether things are told apart in its data set.
    counted:
        False for one that only fills the last batch of a process; another process measures it.
    """

    index: int
    letterbox: Letterbox
    truth: Truth
    has_instances: bool
    counted: bool


@dataclass(frozen=True, slots=True, eq=False)
class ValidationSample(TrainingSample):
    """A letterboxed image with its targets, and the frame that it is of."""

    frame: Frame


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Images with what they should be answered with.

    Attributes
    ----------
    images:
        (B, H, W, 3) uint8, B, G, R: a quarter of the bytes that the network's input has, for the way to a GPU.
    targets:
        See `Targets`.
    frames:
        In validation those that the images are of; else empty.
    """

    images: Tensor
    targets: Targets
    frames: tuple[Frame, ...] = ()

    def __len__(self) -> int:
        return len(self.targets)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The same on another device; frames stay on the host."""
        images = self.images.to(device, non_blocking=non_blocking)
        return Batch(images, self.targets.to(device, non_blocking), self.frames)

    def pin_memory(self) -> Batch:
        """The same in page-locked memory; `DataLoader` calls this."""
        return Batch(self.images.pin_memory(), self.targets.pin_memory(), self.frames)

    def inputs(self) -> Tensor:
        """(B, 3, H, W) float32 RGB in [0, 1], the network's input, where the batch is; channels last in memory."""
        return self.images.flip(3).float().div_(255.0).permute(0, 3, 1, 2)


def batch_of(samples: Sequence[TrainingSample]) -> Batch:
    """Join samples of one size.

    Raises
    ------
    TargetError
        If they differ in size.
    """
    targets = collate([sample.targets for sample in samples])
    images = torch.from_numpy(np.stack([sample.image for sample in samples]))
    return Batch(images, targets, tuple(sample.frame for sample in samples if isinstance(sample, ValidationSample)))


def letterboxed(sample: Sample, height: int, width: int) -> tuple[LabelledImage, Letterbox]:
    """A frame as the pipeline would show it to the network, with its ids in the same place."""
    labelled = LabelledImage.of(sample)
    letterbox = Letterbox.fit(labelled.height, labelled.width, height, width)
    image = np.empty((height, width, 3), dtype=np.uint8)
    letterbox.draw(labelled.image, image)
    matrix = np.array([[letterbox.scale_x, 0.0, letterbox.left], [0.0, letterbox.scale_y, letterbox.top]])
    return LabelledImage(image, warp(labelled, matrix, height, width).ids, labelled.crowd), letterbox


class TrainingSet(Dataset[TrainingSample]):
    """Samples by their draws.

    Parameters
    ----------
    mixture:
        The data.
    labels:
        The network's classes.
    augmentation:
        What they go through; None to show them as validation does.
    size:
        Height and width of the network's input, for samples that are not augmented.
    seed:
        Of all random numbers.
    minimum_area:
        See `targets_of`.
    donors:
        The samples from which things are pasted, each as often, on any sample that tells things apart as they do.
    """

    def __init__(
        self,
        mixture: Mixture,
        labels: LabelSet,
        augmentation: Augmentation | None,
        size: tuple[int, int],
        seed: int,
        minimum_area: int,
        donors: Sequence[int] = (),
    ) -> None:
        self._mixture = mixture
        self._labels = labels
        self._augmentation = augmentation
        self._size = size
        self._seed = seed
        self._minimum_area = minimum_area
        self._donors = tuple(donors)

    def __getitem__(self, draw: Draw) -> TrainingSample:
        """Read and augment one sample.

        Raises
        ------
        DatasetError, TargetError
            If it cannot be read, or has a class that the network has not.
        """
        sample = self._mixture[draw.sample]
        told_apart = self._mixture.has_instances(draw.sample)
        if self._augmentation is None:
            view = letterboxed(sample, *self._size)[0]
        else:
            rng = draw.generator(self._seed)

            def another() -> LabelledImage:
                # Targets tell all things of a picture apart or none, and a mosaic is one picture.
                return LabelledImage.of(self._mixture[self._mixture.another(draw.sample, rng)])

            def donor() -> LabelledImage:
                return LabelledImage.of(self._mixture[self._donors[int(rng.integers(len(self._donors)))]])

            given = donor if self._donors and told_apart else None
            view = self._augmentation(LabelledImage.of(sample), another, rng, given)
        targets = targets_of(view.truth(self._labels), self._labels, sample.name, told_apart, self._minimum_area)
        return TrainingSample(view.image, targets)


class ValidationSet(Dataset[ValidationSample]):
    """The samples of one process, as the pipeline shows them to the network.

    All processes have equally many, because a loss may add up over the processes batch by batch; where the samples do
    not go round, the last ones are shown again and not counted.

    Parameters
    ----------
    mixture:
        The data.
    labels:
        The network's classes.
    size:
        Height and width of the network's input.
    minimum_area:
        See `targets_of`.
    count:
        How many samples of the data are taken, from the first on.
    rank, processes:
        Which process this is, and of how many.
    """

    def __init__(
        self,
        mixture: Mixture,
        labels: LabelSet,
        size: tuple[int, int],
        minimum_area: int,
        count: int,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self._mixture = mixture
        self._labels = labels
        self._size = size
        self._minimum_area = minimum_area
        self._count = count
        self._rank = rank
        self._processes = processes

    def __len__(self) -> int:
        return -(-self._count // self._processes)

    def __getitem__(self, number: int) -> ValidationSample:
        """Read one sample.

        Raises
        ------
        DatasetError, TargetError
            If it cannot be read, or has a class that the network has not.
        """
        wanted = number * self._processes + self._rank
        index = min(wanted, self._count - 1)
        sample = self._mixture[index]
        told_apart = self._mixture.has_instances(index)
        view, letterbox = letterboxed(sample, *self._size)
        targets = targets_of(view.truth(self._labels), self._labels, sample.name, told_apart, self._minimum_area)
        frame = Frame(index, letterbox, sample.truth, told_apart, counted=wanted == index)
        return ValidationSample(view.image, targets, frame)
