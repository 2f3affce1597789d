"""The horizontal flip (`yolo_panoptic` thesis, 3.2.1)."""

from __future__ import annotations

import numpy as np

from panoptic_training.augmentation.labelled_image import LabelledImage


def flip(labelled: LabelledImage) -> LabelledImage:
    """The image and its ids as a mirror shows them, left for right, to the pixel."""
    return LabelledImage(
        np.ascontiguousarray(labelled.image[:, ::-1]), np.ascontiguousarray(labelled.ids[:, ::-1]), labelled.crowd
    )
