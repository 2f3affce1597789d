"""Which pixels of a prediction are wrong, and how.

Panoptic quality says how much is wrong; the map of an image shows what: a thing that was missed, one that is not there,
another class, or two instances that were taken for one.
"""

from __future__ import annotations

from enum import IntEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic_ros.evaluation.overlaps import Overlaps
from panoptic_ros.evaluation.panoptic_quality import Rule


class PixelError(IntEnum):
    """What a pixel's prediction is.

    A pixel is of the first kind that holds: `VOID` where the truth says nothing, or a crowd of the predicted class,
    which no instance can match; `MISSED` where nothing is predicted, or stuff where there is a thing; `FALSE` where a
    thing is predicted on stuff; `WRONG_CLASS` where one thing or stuff is taken for another; `WRONG_INSTANCE` on things
    of the right class whose segments do not match; else `RIGHT`.
    """

    RIGHT = 0
    VOID = 1
    WRONG_CLASS = 2
    WRONG_INSTANCE = 3
    MISSED = 4
    FALSE = 5


COLORS: dict[PixelError, tuple[int, int, int]] = {
    PixelError.RIGHT: (225, 232, 228),
    PixelError.VOID: (120, 120, 120),
    PixelError.WRONG_CLASS: (230, 159, 0),
    PixelError.WRONG_INSTANCE: (0, 114, 178),
    PixelError.MISSED: (170, 20, 60),
    PixelError.FALSE: (204, 121, 187),
}
"""R, G, B of each kind, after Okabe and Ito (2008), so that who confuses red and green can tell them apart."""

NAMES: dict[PixelError, str] = {
    PixelError.RIGHT: "right",
    PixelError.VOID: "not evaluated",
    PixelError.WRONG_CLASS: "wrong class",
    PixelError.WRONG_INSTANCE: "wrong instance",
    PixelError.MISSED: "missed",
    PixelError.FALSE: "false",
}

PICTURE_WEIGHT = 0.25
"""How much of the picture's light and dark shows through the colours."""


def pair_errors(overlaps: Overlaps, rule: Rule = "coco") -> NDArray[np.uint8]:
    """What the shared pixels of each pair of segments are.

    Parameters
    ----------
    overlaps:
        The compared segments of an image.
    rule:
        By which segments match; see `panoptic_quality.Rule`.

    Returns
    -------
    (1 + T, 1 + P) uint8 of `PixelError`, void first, as `Overlaps.counts`.
    """
    truth, prediction, shared = overlaps.truth, overlaps.prediction, overlaps.intersections
    on_void = 0 if rule == "void_in_union" else overlaps.prediction_on_void
    unions = truth.areas[:, None] + prediction.areas - on_void - shared
    same_class, is_thing = overlaps.same_class, truth.is_thing[:, None]
    matches = (2 * shared > unions) & same_class
    both = [
        (truth.crowd[:, None] & same_class, PixelError.VOID),
        (is_thing & ~prediction.is_thing, PixelError.MISSED),
        (~is_thing & prediction.is_thing, PixelError.FALSE),
        (~same_class, PixelError.WRONG_CLASS),
        (is_thing & ~matches, PixelError.WRONG_INSTANCE),
    ]
    errors = np.full(overlaps.counts.shape, PixelError.MISSED, dtype=np.uint8)
    errors[0] = PixelError.VOID
    errors[1:, 1:] = np.select([where for where, _ in both], [kind for _, kind in both], PixelError.RIGHT)
    return errors


def error_pixels(overlaps: Overlaps, rule: Rule = "coco") -> dict[PixelError, int]:
    """How many pixels of an image are of each kind."""
    counts = np.bincount(pair_errors(overlaps, rule).ravel(), overlaps.counts.ravel(), minlength=len(PixelError))
    return {kind: int(counts[kind]) for kind in PixelError}


def error_map(overlaps: Overlaps, rule: Rule = "coco") -> NDArray[np.uint8]:
    """The kind of each pixel.

    Parameters
    ----------
    overlaps, rule:
        See `pair_errors`.

    Returns
    -------
    (H, W) uint8 of `PixelError`.
    """
    rows = _places(overlaps.truth.ids, overlaps.truth_map.ids)
    columns = _places(overlaps.prediction.ids, overlaps.prediction_map.ids)
    return pair_errors(overlaps, rule)[rows, columns]


def draw_errors(errors: NDArray[np.uint8], picture: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Colour an error map.

    Parameters
    ----------
    errors:
        (H, W) uint8 of `PixelError`.
    picture:
        (H, W, 3) uint8, B, G, R: its light and dark show through, so that the places can be recognised.

    Returns
    -------
    (H, W, 3) uint8, B, G, R.

    Raises
    ------
    ValueError
        If the picture is of another size.
    """
    table = np.array([COLORS[kind][::-1] for kind in PixelError], dtype=np.uint8)
    colored = table[errors]
    if picture is None:
        return colored
    if picture.shape != colored.shape:
        raise ValueError(f"the picture is {picture.shape}, the error map {errors.shape}: expected one size and B, G, R")
    light = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    return np.asarray(cv2.addWeighted(colored, 1 - PICTURE_WEIGHT, light, PICTURE_WEIGHT, 0), dtype=np.uint8)


def _places(ids: NDArray[np.int32], id_map: NDArray[np.int32]) -> NDArray[np.int16]:
    """(H, W) int16, 1 + the place of each pixel's id among `ids`, 0 for void."""
    table = np.zeros(int(ids.max(initial=0)) + 1, dtype=np.int16)
    table[ids] = np.arange(1, len(ids) + 1)
    return table[id_map]
