"""What augmentation works on: an image and its id map, which go through every change together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.datasets import Sample, Truth
from panoptic_ros.labels import LabelSet
from panoptic_ros.segmentation import PanopticSegmentation


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImage:
    """An image with the segment of each pixel.

    Attributes
    ----------
    image:
        (H, W, 3) uint8, B, G, R.
    ids:
        (H, W) int32, ``class_id * 1000 + instance``, 0 where void.
    crowd:
        The ids of segments that are crowds; some of them may have left the picture.
    """

    image: NDArray[np.uint8]
    ids: NDArray[np.int32]
    crowd: frozenset[int] = frozenset()

    @property
    def height(self) -> int:
        return int(self.ids.shape[0])

    @property
    def width(self) -> int:
        return int(self.ids.shape[1])

    @classmethod
    def of(cls, sample: Sample) -> LabelledImage:
        """What a data set has read."""
        return cls(sample.image, sample.truth.segmentation.ids, sample.truth.crowd)

    def truth(self, labels: LabelSet) -> Truth:
        """What is left to be seen: areas and boxes are counted anew from the pixels."""
        segmentation = PanopticSegmentation.from_ids(self.ids, labels.thing_ids)
        return Truth(segmentation, self.crowd & {segment.id for segment in segmentation.segments})
