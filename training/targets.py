"""What a batch should be answered with: the truth in a network's terms, the same for every system.

A target counts classes by their position in the label set, as a network's outputs do, and instances by their row among
an image's boxes.  It is made after augmentation, from the id map alone, so that its boxes fit what is left of each
instance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from panoptic_ros.datasets import Truth
from panoptic_ros.labels import LabelSet

IGNORE = 255
"""The class index of pixels that no semantic loss may count; label sets have at most 255 classes, 0 to 254."""

NOT_TOLD_APART = -1
"""The instance of pixels of a thing whose instances are not known."""


class TargetError(ValueError):
    """A truth that cannot be a target; the message names the sample and what was expected."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageTargets:
    """What one image should be answered with; see `Targets`.

    Attributes
    ----------
    semantic:
        (H, W) uint8.
    instances:
        (H, W) int32.
    boxes, crowds:
        (N, 4) and (M, 4) float32.
    classes:
        (N,) int64.
    name:
        The sample's.
    """

    semantic: NDArray[np.uint8]
    instances: NDArray[np.int32]
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    crowds: NDArray[np.float32]
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """What a batch should be answered with.

    Attributes
    ----------
    semantic:
        (B, H, W) int64, class index (position in the label set), `IGNORE` where void or a crowd.
    instances:
        (B, H, W) int32, 0 where there is none, k + 1 for row k of that image's boxes, -1 (ignored) on things whose
        instances are not told apart.
    boxes:
        Of each image (N, 4) float32, x0, y0, x1, y1 in pixels of the network's input, half open, tight around the
        instance's visible pixels.
    classes:
        Of each image (N,) int64, class index in the label set, always of a thing.
    crowds:
        Of each image (M, 4) float32 boxes in which detections are neither right nor wrong.
    names:
        The samples' names, for errors.
    """

    semantic: Tensor
    instances: Tensor
    boxes: tuple[Tensor, ...]
    classes: tuple[Tensor, ...]
    crowds: tuple[Tensor, ...]
    names: tuple[str, ...]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Targets:
        """The same on another device."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=non_blocking)

        return Targets(
            semantic=move(self.semantic),
            instances=move(self.instances),
            boxes=tuple(map(move, self.boxes)),
            classes=tuple(map(move, self.classes)),
            crowds=tuple(map(move, self.crowds)),
            names=self.names,
        )

    def pin_memory(self) -> Targets:
        """The same in page-locked memory, from which a GPU copies while it computes; `DataLoader` calls this."""
        return Targets(
            semantic=self.semantic.pin_memory(),
            instances=self.instances.pin_memory(),
            boxes=tuple(boxes.pin_memory() for boxes in self.boxes),
            classes=tuple(classes.pin_memory() for classes in self.classes),
            crowds=tuple(crowds.pin_memory() for crowds in self.crowds),
            names=self.names,
        )

    def __len__(self) -> int:
        return len(self.names)


def targets_of(
    truth: Truth, labels: LabelSet, name: str = "", has_instances: bool = True, minimum_area: int = 1
) -> ImageTargets:
    """The targets of one image.

    Parameters
    ----------
    truth:
        At the size of the network's input, with the class ids of `labels`.
    labels:
        The network's classes.
    name:
        The sample's, for errors.
    has_instances:
        Whether the data set tells things apart.  If not, their pixels have a class and no instance, and their regions
        are crowds.
    minimum_area:
        Instances with fewer visible pixels keep their class, but are not asked for: their pixels have no instance, and
        their boxes are crowds.

    Raises
    ------
    TargetError
        If the truth has a class that is not among `labels`, or has no pixels.
    """
    ids = truth.segmentation.ids
    if not ids.size:
        raise TargetError(f"{name}: the image is empty ({ids.shape[1]}x{ids.shape[0]} pixels)")
    index_of = {label.id: index for index, label in enumerate(labels.labels)}
    segments = truth.segmentation.segments
    largest = max((segment.id for segment in segments), default=0)
    class_of = np.full(largest + 1, IGNORE, dtype=np.uint8)
    instance_of = np.zeros(largest + 1, dtype=np.int32)
    boxes, classes, crowds = [], [], []
    for segment in segments:
        if segment.class_id not in index_of:
            raise TargetError(f"{name}: segment {segment.id} is of class {segment.class_id}, not one of {labels.name}")
        crowd = segment.id in truth.crowd
        if not crowd or not has_instances:
            class_of[segment.id] = index_of[segment.class_id]
        if segment.class_id not in labels.thing_ids:
            continue
        if crowd or not has_instances or not segment.instance or segment.area < minimum_area:
            instance_of[segment.id] = NOT_TOLD_APART
            crowds.append(segment.bbox)
            continue
        boxes.append(segment.bbox)
        classes.append(index_of[segment.class_id])
        instance_of[segment.id] = len(boxes)
    return ImageTargets(
        semantic=np.take(class_of, ids),
        instances=np.take(instance_of, ids),
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        classes=np.array(classes, dtype=np.int64),
        crowds=np.array(crowds, dtype=np.float32).reshape(-1, 4),
        name=name,
    )


def collate(images: Sequence[ImageTargets]) -> Targets:
    """One batch of images of equal size.

    Raises
    ------
    TargetError
        If there are none, or they differ in size.
    """
    if not images:
        raise TargetError("a batch needs at least one image")
    shape = images[0].semantic.shape
    for image in images:
        if image.semantic.shape != shape:
            raise TargetError(f"{image.name}: is of size {image.semantic.shape}, others of its batch of {shape}")
    return Targets(
        semantic=torch.from_numpy(np.stack([image.semantic for image in images])).long(),
        instances=torch.from_numpy(np.stack([image.instances for image in images])),
        boxes=tuple(torch.from_numpy(image.boxes) for image in images),
        classes=tuple(torch.from_numpy(image.classes) for image in images),
        crowds=tuple(torch.from_numpy(image.crowds) for image in images),
        names=tuple(image.name for image in images),
    )
