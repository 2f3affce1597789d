"""Depth images, and the clouds they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.grid.cameras import Camera, CameraError
from panoptic_ros.grid.clouds import Cloud


@dataclass(frozen=True, slots=True, eq=False)
class DepthImage:
    """One depth image.

    Attributes
    ----------
    stamp:
        Nanoseconds.
    frame:
        The optical frame of the depth camera.
    metres:
        (H, W) float32, along the optical axis (REP-118); 0, NaN and infinity are no measurement.
    camera:
        Its geometry, of the same size.

    Raises
    ------
    CameraError
        If the image is not (H, W) float32 of the camera's size, or has no frame.
    """

    stamp: int
    frame: str
    metres: NDArray[np.float32]
    camera: Camera

    def __post_init__(self) -> None:
        if not self.frame:
            raise CameraError("depth image without frame_id: nobody knows where its camera is")
        expected = (self.camera.height, self.camera.width)
        if self.metres.shape != expected or self.metres.dtype != np.float32:
            raise CameraError(
                f"depth image in {self.frame}: expected {expected} float32, got {self.metres.shape} {self.metres.dtype}"
            )


def depth_to_cloud(image: DepthImage, stride: int = 1) -> Cloud:
    """The points of a depth image, in its optical frame.

    Parameters
    ----------
    image:
        The depth image.
    stride:
        Every how many pixels, in rows and in columns, a point is taken.

    Returns
    -------
    cloud:
        Only of pixels that have a measurement.

    Raises
    ------
    ValueError
        If `stride` is less than 1.
    """
    if stride < 1:
        raise ValueError(f"stride: expected at least 1, got {stride}")
    first = stride // 2
    sparse = image.metres[first::stride, first::stride]
    with np.errstate(invalid="ignore"):
        rows, columns = np.nonzero((sparse > 0) & (sparse < np.inf))
    depth = sparse[rows, columns]
    rays = image.camera.rays(rows * stride + first, columns * stride + first)
    # Depth counts along the axis of the image, which a rectified one has turned.
    along = rays @ image.camera.rotation[2].astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        points = rays * (depth / along)[:, None] + image.camera.centre.astype(np.float32)
    good = np.isfinite(points).all(axis=1) & (along > 1e-3)
    return Cloud(image.stamp, image.frame, np.ascontiguousarray(points[good], dtype=np.float32))
