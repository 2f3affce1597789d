"""Labels as people draw them: outlines without holes.

Cityscapes' labelling policy (Cordts et al. 2016; "Class Definitions" of the data set's site): a foreground object
never has holes; what is seen through it, as between leaves or spokes, is labelled with the object.  A ray through each
pixel's centre says otherwise, and a network that has to learn it spends itself on bars of one pixel.

A hole is filled by what is around it only where that is nearer than what is seen through it.  Beyond the policy: things
seen through the gaps of stuff stay what they are, because a person behind a railing is a person.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic_ros.segmentation import INSTANCE_DIVISOR

ROAD, SIDEWALK, FENCE, VEGETATION, TERRAIN = 7, 8, 13, 21, 22
GROUND = (ROAD, SIDEWALK, TERRAIN)

GAPS = {FENCE: 0.25, VEGETATION: 0.5}
"""Metres that a gap of stuff may be wide at least: between bars and pickets of fences, between leaves of crowns."""

SLACK = 1.0
"""Pixels more to either side: rays miss bars that are thinner than a pixel."""

RADII = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20)
"""Pixels: half the gaps that are closed together, rounded up to these; the last for what needs more, near by."""


def as_annotated(ids: NDArray[np.int32], depth: NDArray[np.float32], pixel_angle: float) -> NDArray[np.int32]:
    """The ids of a camera's frame with the holes of foreground objects filled.

    Parameters
    ----------
    ids:
        (H, W) int32, class * 1000 + instance; stuff has the instance 0.
    depth:
        (H, W) float32 metres; infinite for sky.
    pixel_angle:
        Radians that a pixel covers.

    Returns
    -------
    (H, W) int32.
    """
    result: NDArray[np.int32] = ids.copy()
    front = depth.copy()
    things = ids % INSTANCE_DIVISOR > 0
    for class_id, gap in GAPS.items():
        near = _closed(ids // INSTANCE_DIVISOR == class_id, depth, gap / 2 / pixel_angle)
        claimed = (near < front) & ~things
        result[claimed], front[claimed] = class_id * INSTANCE_DIVISOR, near[claimed]
    ground = np.isin(ids // INSTANCE_DIVISOR, GROUND)
    for id_ in np.unique(ids[things]).tolist():
        rows, columns = _window(ids == id_, 2)  # beyond which the closing sees it in a mirror
        own, around = ids[rows, columns] == id_, depth[rows, columns]
        nearest, farthest = around[own].min(), around[own].max()
        behind = (around > farthest) | (ground[rows, columns] & (around > nearest))
        claimed = _filled(own) & ~own & behind & (nearest < front[rows, columns])
        result[rows, columns][claimed], front[rows, columns][claimed] = id_, nearest
    return result


def _closed(mask: NDArray[np.bool_], depth: NDArray[np.float32], reach: float) -> NDArray[np.float32]:
    """(H, W) float32 depth of the nearest part of a surface in whose gaps a pixel lies; infinite where it lies in none.

    `reach` is half the widest gap in pixels at a depth of one metre.
    """
    near = np.full(depth.shape, np.inf, dtype=np.float32)
    radius = np.zeros(depth.shape, dtype=np.float32)
    radius[mask] = np.clip(reach / depth[mask] + SLACK, None, RADII[-1])
    for smaller, size in zip((0, *RADII), RADII, strict=False):
        part = radius > smaller
        if not part.any():
            break
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * size + 1, 2 * size + 1))
        rows, columns = _window(part, 2 * size)
        part = part[rows, columns]
        gaps = (_closing(part, kernel) > 0) & ~mask[rows, columns]
        if gaps.any():
            least = cv2.erode(np.where(part, depth[rows, columns], np.float32(np.inf)), kernel)
            near[rows, columns][gaps] = np.minimum(near[rows, columns][gaps], least[gaps])
    return near


def _window(mask: NDArray[np.bool_], more: int) -> tuple[slice, slice]:
    """Rows and columns of the box around a mask, and of some pixels more to all sides as far as there are any."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        slice(max(rows[0] - more, 0), rows[-1] + 1 + more),
        slice(max(columns[0] - more, 0), columns[-1] + 1 + more),
    )


def _filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(h, w) the mask with its gaps of one pixel closed and its holes filled."""
    closed = _closing(mask, np.ones((3, 3), dtype=np.uint8))
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(closed, contours, -1, 1, cv2.FILLED) > 0


def _closing(mask: NDArray[np.bool_], kernel: NDArray[Any]) -> NDArray[np.uint8]:
    """(H, W) the closing of a mask that goes on beyond its border as in a mirror: a gap that the border cuts is one."""
    reach = len(kernel) - 1  # as far as dilation and erosion together see
    wide = cv2.copyMakeBorder(mask.astype(np.uint8), *(reach,) * 4, cv2.BORDER_REFLECT)
    closed = cv2.morphologyEx(wide, cv2.MORPH_CLOSE, kernel)[reach:-reach, reach:-reach]
    return np.ascontiguousarray(closed, dtype=np.uint8)
