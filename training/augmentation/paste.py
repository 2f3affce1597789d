"""Copy-paste: things of another picture, laid over this one (Ghiasi et al. 2021, "Simple Copy-Paste", section 3).

Rare things, bicycles and their riders, are then seen in more pictures than there are with them.  Unlike in the paper,
what is pasted keeps its height in the picture and the picture's own scale and turn, because a camera on a vehicle sees
the size of a thing go with its place; it moves to the side alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.labels import LabelSet
from panoptic_ros.regions import Regions
from panoptic_ros.segmentation import INSTANCE_DIVISOR, MAX_INSTANCES, VOID
from panoptic_training.augmentation.affine import Matrix, warp
from panoptic_training.augmentation.labelled_image import LabelledImage


@dataclass(frozen=True, slots=True)
class PasteOptions:
    """What is pasted, and how often.

    Attributes
    ----------
    classes:
        Names of the classes of things that are pasted.  All that a picture has of them go together, so that a rider
        keeps the bicycle.
    probability:
        Of a picture to get some, in [0, 1].
    least_area:
        Pixels, in its own picture, of one at least of the things that come together.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    classes: tuple[str, ...]
    probability: float = 0.5
    least_area: int = 600

    def __post_init__(self) -> None:
        if not self.classes:
            raise ValueError("classes must name at least one class of things")
        if not 0.0 <= self.probability <= 1.0:
            raise ValueError(f"probability must be in [0, 1], got {self.probability}")
        if self.least_area < 1:
            raise ValueError(f"least_area must be at least 1 pixel, got {self.least_area}")

    def class_ids(self, labels: LabelSet) -> frozenset[int]:
        """The ids of the classes in a label set.

        Raises
        ------
        ValueError
            If one is none of its things.
        """
        id_of = {label.name: label.id for label in labels.things}
        for name in self.classes:
            if name not in id_of:
                raise ValueError(f"paste: {name!r} is no thing of {labels.name!r}, expected of {', '.join(id_of)}")
        return frozenset(id_of[name] for name in self.classes)


def paste(
    view: LabelledImage,
    donor: LabelledImage,
    matrix: Matrix,
    class_ids: frozenset[int],
    least_area: int,
    rng: np.random.Generator,
) -> LabelledImage:
    """Lay the things of some classes of one picture over a view of another.

    Parameters
    ----------
    view:
        What they are laid over.
    donor:
        The other picture, whole.
    matrix:
        (2, 3) how `view` was cut out of its picture (`random_affine`).
    class_ids:
        Of the things; crowds are left where they are.
    least_area:
        See `PasteOptions`.
    rng:
        Chooses one of the things that are large enough, and to which column of the view its middle moves.

    Returns
    -------
    The view itself if the donor has no such thing.  Things beyond the 999th become void.
    """
    regions = Regions.of(donor.ids)
    wanted = _pasted(regions.values, donor, class_ids)
    large = np.flatnonzero(wanted & (regions.areas >= least_area))
    if not len(large):
        return view
    x0, y0, x1, y1 = regions.boxes[rng.choice(large)].tolist()
    middle = float(matrix[0] @ (0.5 * (x0 + x1), 0.5 * (y0 + y1), 1.0))
    moved = matrix.copy()
    moved[0, 2] += rng.random() * view.width - middle
    things = warp(donor, moved, view.height, view.width)
    covered = _pasted(things.ids, donor, class_ids)
    old = things.ids[covered]
    used = int((view.ids % INSTANCE_DIVISOR).max())
    numbers = np.where(old % INSTANCE_DIVISOR + used <= MAX_INSTANCES, old + used, VOID)
    image, ids = view.image.copy(), view.ids.copy()
    image[covered] = things.image[covered]
    ids[covered] = numbers
    return LabelledImage(image, ids, view.crowd)


def _pasted(ids: NDArray[np.int32], donor: LabelledImage, class_ids: frozenset[int]) -> NDArray[np.bool_]:
    """Which of some ids of a picture are things that are pasted."""
    of_class = np.isin(ids // INSTANCE_DIVISOR, list(class_ids))
    return of_class & (ids % INSTANCE_DIVISOR > 0) & ~np.isin(ids, list(donor.crowd))
