"""The value that everything in this package produces or consumes.

A panoptic segmentation gives every pixel of a frame a class and, for things, an instance (Kirillov et al. 2018;
Diaz-Zapata 2020, section 2.1).  It is one id map and one list of segments, with the class ids of the data set,
so that the tools of the data sets read what we publish.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.regions import Regions

VOID = 0
"""The id of a pixel that has no label."""

INSTANCE_DIVISOR = 1000
"""``id = class_id * INSTANCE_DIVISOR + instance``, as Cityscapes has it."""

MAX_INSTANCES = INSTANCE_DIVISOR - 1
"""The most instances one frame can hold: instances are numbered 1 to 999 over the whole frame."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of a frame: a region of stuff or one instance of a thing.

    Attributes
    ----------
    id:
        The value of its pixels in the id map, ``class_id * 1000 + instance``.
    class_id:
        The data set's id of its class (Cityscapes labelId, COCO category id).
    is_thing:
        Whether its class is countable.
    score:
        Confidence in [0, 1].
    area:
        Number of its pixels.
    bbox:
        ``(x0, y0, x1, y1)`` in pixels around its pixels, half open.
    instance:
        0 for stuff; for things a number from 1 to 999, unique in the frame over all classes.
    """

    id: int
    class_id: int
    is_thing: bool
    score: float
    area: int
    bbox: tuple[int, int, int, int]
    instance: int


@dataclass(frozen=True, slots=True, eq=False)
class PanopticSegmentation:
    """The panoptic segmentation of one frame.

    Attributes
    ----------
    ids:
        (H, W) int32, the segment id of each pixel; 0 is void.
    segments:
        The segments whose ids occur in `ids`, each once.  Their areas sum to the number of non-void pixels.
    confidence:
        (H, W) uint8, the probability of each pixel's label times 255, or None where nobody asked for it.
    """

    ids: NDArray[np.int32]
    segments: tuple[Segment, ...]
    confidence: NDArray[np.uint8] | None = None

    @property
    def height(self) -> int:
        return int(self.ids.shape[0])

    @property
    def width(self) -> int:
        return int(self.ids.shape[1])

    @property
    def things(self) -> tuple[Segment, ...]:
        """The segments that are instances of things."""
        return tuple(segment for segment in self.segments if segment.is_thing)

    def classes(self) -> NDArray[np.int32]:
        """(H, W) int32, the class id of each pixel; 0 is void."""
        classes: NDArray[np.int32] = self.ids // np.int32(INSTANCE_DIVISOR)
        return classes

    def instances(self) -> NDArray[np.int32]:
        """(H, W) int32, the instance number of each pixel; 0 is stuff or void."""
        # The remainder by way of the quotient: numpy divides by a constant six times as fast as it takes remainders.
        first = self.classes()
        np.multiply(first, np.int32(INSTANCE_DIVISOR), out=first)
        return np.subtract(self.ids, first, out=first)

    @classmethod
    def from_ids(
        cls,
        ids: NDArray[np.int32],
        thing_classes: Collection[int],
        scores: dict[int, float] | None = None,
    ) -> PanopticSegmentation:
        """Describe the segments of an id map.

        Parameters
        ----------
        ids:
            (H, W) int32 id map.
        thing_classes:
            The class ids that are things.
        scores:
            Confidence by segment id; 1 where it is absent.

        Raises
        ------
        ValueError
            If `ids` is not a two-dimensional int32 array or holds a negative id.
        """
        if ids.ndim != 2 or ids.dtype != np.int32:
            raise ValueError(f"ids must be a (H, W) int32 array, got {ids.shape} {ids.dtype}")
        regions = Regions.of(ids)
        if len(regions.values) and regions.values[0] < 0:
            raise ValueError(f"ids must not be negative, got {regions.values[0]}")
        thing_classes = frozenset(thing_classes)
        segments = tuple(
            Segment(
                id=value,
                class_id=value // INSTANCE_DIVISOR,
                is_thing=value // INSTANCE_DIVISOR in thing_classes,
                score=(scores or {}).get(value, 1.0),
                area=area,
                bbox=(x0, y0, x1, y1),
                instance=value % INSTANCE_DIVISOR,
            )
            for value, area, (x0, y0, x1, y1) in zip(
                regions.values.tolist(), regions.areas.tolist(), regions.boxes.tolist(), strict=True
            )
            if value != VOID
        )
        return cls(ids=ids, segments=segments)
