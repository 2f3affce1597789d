"""Augmentation: random changes of an image, its ids and so its boxes together (`yolo_panoptic` thesis, 3.2.1).

The thesis scales, turns, blurs, flips and crops; light, mosaic and copy-paste are options beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from panoptic_ros.labels import LabelSet
from panoptic_training.augmentation.affine import AffineOptions, random_affine, warp
from panoptic_training.augmentation.blur import blur
from panoptic_training.augmentation.flip import flip
from panoptic_training.augmentation.labelled_image import LabelledImage
from panoptic_training.augmentation.mosaic import random_mosaic
from panoptic_training.augmentation.paste import PasteOptions, paste
from panoptic_training.augmentation.photometric import PhotometricOptions, random_light

__all__ = ["Augmentation", "AugmentationOptions", "LabelledImage"]

OTHERS = 3
"""How many further images a mosaic takes."""


@dataclass(frozen=True, slots=True)
class AugmentationOptions:
    """What training images go through.

    Attributes
    ----------
    affine:
        Scale, rotation and crop.
    blur, flip, mosaic:
        The probability of each, in [0, 1].  The thesis blurs with a "random probability" that it does not name.
    photometric:
        Changes of light; null for none.
    paste:
        Things of other pictures laid over this one; null for none.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    affine: AffineOptions = field(default_factory=AffineOptions)
    blur: float = 0.5
    flip: float = 0.5
    photometric: PhotometricOptions | None = None
    mosaic: float = 0.0
    paste: PasteOptions | None = None

    def __post_init__(self) -> None:
        for name in ("blur", "flip", "mosaic"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is a probability, in [0, 1], got {getattr(self, name)}")


class Augmentation:
    """Changes images at random; the same state of the generator gives the same image.

    Parameters
    ----------
    options:
        Which changes.
    labels:
        The classes of the images.

    Raises
    ------
    ValueError
        If a class that is to be pasted is none of their things.
    """

    def __init__(self, options: AugmentationOptions, labels: LabelSet) -> None:
        self._options = options
        self._pasted_classes = frozenset[int]() if options.paste is None else options.paste.class_ids(labels)

    def __call__(
        self,
        labelled: LabelledImage,
        another: Callable[[], LabelledImage],
        rng: np.random.Generator,
        donor: Callable[[], LabelledImage] | None = None,
    ) -> LabelledImage:
        """A random view of an image, of the size of the crop.

        Parameters
        ----------
        labelled:
            The image.
        another:
            Gives one more image of the data set, drawn at random; it is called for mosaics only.
        rng:
            Decides everything.
        donor:
            Gives a whole picture to paste things from, of a kind that tells them apart; None if there is none, or if
            `labelled` does not.
        """
        options = self._options
        view = self._view(labelled, rng, donor)
        if rng.random() < options.mosaic:
            view = random_mosaic([view, *(self._view(another(), rng, donor) for _ in range(OTHERS))], rng)
        image = blur(view.image) if rng.random() < options.blur else view.image
        if options.photometric is not None:
            image = random_light(image, options.photometric, rng)
        return LabelledImage(image, view.ids, view.crowd)

    def _view(
        self, labelled: LabelledImage, rng: np.random.Generator, donor: Callable[[], LabelledImage] | None = None
    ) -> LabelledImage:
        """A piece of one image, perhaps with things of another."""
        options = self._options
        matrix = random_affine(options.affine, labelled.height, labelled.width, rng)
        view = warp(labelled, matrix, *options.affine.crop)
        if options.paste is not None and donor is not None and rng.random() < options.paste.probability:
            other = donor()
            fitted = matrix.copy()
            fitted[:, :2] *= labelled.height / other.height  # pictures of another size show as much
            view = paste(view, other, fitted, self._pasted_classes, options.paste.least_area, rng)
        return flip(view) if rng.random() < options.flip else view
