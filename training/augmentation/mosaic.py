"""Mosaic: four pictures that meet in a point (Bochkovskiy, Wang and Liao 2020, YOLOv4, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from panoptic_ros.regions import Regions
from panoptic_ros.segmentation import INSTANCE_DIVISOR, MAX_INSTANCES, VOID
from panoptic_training.augmentation.labelled_image import LabelledImage

MARGIN = 0.25
"""The point where they meet is at least this share of the sides away from the edges, so that each can be seen."""


def random_mosaic(quarters: Sequence[LabelledImage], rng: np.random.Generator) -> LabelledImage:
    """Put four images of one size together, each in its own corner, at a random point; see `mosaic`."""
    height, width = quarters[0].height, quarters[0].width
    low, high = MARGIN, 1.0 - MARGIN
    return mosaic(quarters, round(rng.uniform(low, high) * height), round(rng.uniform(low, high) * width))


def mosaic(quarters: Sequence[LabelledImage], row: int, column: int) -> LabelledImage:
    """Put four images of one size together: top left, top right, bottom left and bottom right of a point.

    Each shows what it has at that place.  Things are numbered anew, because two pictures may use one number; things
    beyond the 999th of the whole become void.
    """
    first = quarters[0]
    image = np.empty_like(first.image)
    ids = np.empty_like(first.ids)
    crowd: set[int] = set()
    used = 0
    top, bottom, left, right = slice(row), slice(row, None), slice(column), slice(column, None)
    for labelled, place in zip(quarters, ((top, left), (top, right), (bottom, left), (bottom, right)), strict=True):
        image[place] = labelled.image[place]
        regions = Regions.of(labelled.ids[place])
        values = regions.values
        is_instance = values % INSTANCE_DIVISOR > 0
        numbers = np.where(is_instance, used + np.cumsum(is_instance), 0)
        renumbered = values // INSTANCE_DIVISOR * INSTANCE_DIVISOR + numbers
        renumbered[numbers > MAX_INSTANCES] = VOID
        ids[place] = regions.paint(renumbered.astype(np.int32))
        crowd.update(renumbered[np.isin(values, list(labelled.crowd))].tolist())
        used += int(is_instance.sum())
    return LabelledImage(image, ids, frozenset(crowd - {VOID}))
