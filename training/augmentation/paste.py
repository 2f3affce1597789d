"""Copy-paste: things of another picture, laid over this one (Ghiasi et al. 2021, "Simple Copy-Paste", section 3).

Rare things, bicycles and their riders, are then seen in more pictures than there are with them.  Unlike in the paper,
what is pasted keeps its height in the picture, and is scaled and turned as the picture is, because a camera on a
vehicle sees the size of a thing go with its place; it moves to the side alone.  What is far may come to lie over what
is near: the pictures have no depth.
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
                raise ValueError(
                    f"paste: {name!r} is no thing of {labels.name!r}, expected one of {', '.join(id_of) or 'none'}"
                )
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
        (H, W) what they are laid over.
    donor:
        The other picture, whole.
    matrix:
        (2, 3) from coordinates of the donor to those of the view (`random_affine`), but for the move to the side.
    class_ids:
        Of the things; crowds are left where they are.
    least_area:
        See `PasteOptions`.
    rng:
        Chooses one of the things that are large enough, and to which column of the view its middle moves.

    Returns
    -------
    (H, W) the view with them, numbered on from the view's own; those beyond the 999th are void.  The view itself if the
    donor has no such thing.
    """
    regions = Regions.of(donor.ids)
    large = np.flatnonzero(_is_pasted(regions.values, donor, class_ids) & (regions.areas >= least_area))
    if not len(large):
        return view
    x0, y0, x1, y1 = regions.boxes[rng.choice(large)].tolist()
    middle = float(matrix[0] @ (0.5 * (x0 + x1), 0.5 * (y0 + y1), 1.0))
    moved = matrix.copy()
    moved[0, 2] += rng.random() * view.width - middle
    warped = warp(donor, moved, view.height, view.width)
    covered = _is_pasted(warped.ids, donor, class_ids)
    old, which = np.unique(warped.ids[covered], return_inverse=True)
    # Crowds that have left the view are still known by their numbers.
    used = max(id_ % INSTANCE_DIVISOR for id_ in (int((view.ids % INSTANCE_DIVISOR).max()), *view.crowd))
    numbers = used + 1 + np.arange(len(old))
    new = np.where(numbers <= MAX_INSTANCES, old // INSTANCE_DIVISOR * INSTANCE_DIVISOR + numbers, VOID)
    image, ids = view.image.copy(), view.ids.copy()
    image[covered] = warped.image[covered]
    ids[covered] = new[which]
    return LabelledImage(image, ids, view.crowd)


def _is_pasted(ids: NDArray[np.int32], donor: LabelledImage, class_ids: frozenset[int]) -> NDArray[np.bool_]:
    """Which of some ids of a picture are things that are pasted."""
    of_class = np.isin(ids // INSTANCE_DIVISOR, list(class_ids))
    return of_class & (ids % INSTANCE_DIVISOR > 0) & ~np.isin(ids, list(donor.crowd))
