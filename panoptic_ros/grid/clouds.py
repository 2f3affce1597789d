"""Clouds of points as sensors give them, and how they get into the fixed frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.grid.poses import NANOSECONDS, Pose, PoseTree

KNOT = 0.005
"""Seconds between the poses of a sweep: between them matrices are mixed linearly, which at 1 rad/s errs by 3e-6."""

LONGEST_SWEEP = 1.0
"""Seconds; a point farther than this from its cloud's stamp has a wrong time."""


class CloudError(ValueError):
    """A cloud that cannot be used; the message says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Cloud:
    """One sweep of a lidar.

    Attributes
    ----------
    stamp:
        Nanoseconds.
    frame:
        Of the sensor.
    xyz:
        (N, 3) float32, metres; points that are not finite are no returns.
    times:
        (N,) float64, seconds relative to `stamp`, of either sign; None where the driver gives none.

    Raises
    ------
    CloudError
        If shapes do not fit, there is no frame, or a time is more than a second from the stamp.
    """

    stamp: int
    frame: str
    xyz: NDArray[np.float32]
    times: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if not self.frame:
            raise CloudError("cloud without frame_id: nobody knows where its sensor is")
        if self.xyz.ndim != 2 or self.xyz.shape[1] != 3 or self.xyz.dtype != np.float32:
            raise CloudError(
                f"cloud in {self.frame}: expected (N, 3) float32 points, got {self.xyz.shape} {self.xyz.dtype}"
            )
        if self.times is not None:
            if self.times.shape != (len(self.xyz),):
                raise CloudError(f"cloud in {self.frame}: {len(self.xyz)} points with {self.times.shape} times")
            if len(self.times) and not np.nanmax(np.abs(self.times)) <= LONGEST_SWEEP:
                first, last = np.nanmin(self.times), np.nanmax(self.times)
                raise CloudError(
                    f"cloud in {self.frame}: times reach from {first:.3f} to {last:.3f} s around its stamp, expected "
                    f"at most {LONGEST_SWEEP:g} s; is the time field in other units?"
                )

    def __len__(self) -> int:
        return len(self.xyz)


def deskew(cloud: Cloud, tree: PoseTree, fixed_frame: str) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Put a cloud into the fixed frame, each point with the pose of its own time.

    Parameters
    ----------
    cloud:
        With finite points only, see `finite`.
    tree:
        The poses.
    fixed_frame:
        Usually ``odom``.

    Returns
    -------
    origin:
        (3,) float64, the sensor in the fixed frame at the cloud's stamp, metres.
    points:
        (N, 3) float32 relative to `origin`, axes of the fixed frame.

    Raises
    ------
    PoseError
        If a pose is missing; `NotYetError` also while the sweep's last points are newer than the newest pose.
    """
    pose = tree.lookup(fixed_frame, cloud.frame, cloud.stamp)
    origin = pose.translation
    if cloud.times is None or not len(cloud) or not np.ptp(cloud.times) + np.abs(cloud.times[0]) > 0:
        return origin, pose.relative_to(origin).apply(cloud.xyz)
    first, last = float(cloud.times.min()), float(cloud.times.max())
    count = max(2, int(np.ceil((last - first) / KNOT)) + 1)
    knots = np.linspace(first, last, count)
    poses = [tree.lookup(fixed_frame, cloud.frame, cloud.stamp + round(t * NANOSECONDS)) for t in knots]
    table = np.stack([_flat(knot.relative_to(origin)) for knot in poses])
    at = (cloud.times - first) * ((count - 1) / max(last - first, 1e-9))
    below = np.minimum(at.astype(np.intp), count - 2)
    share = (at - below).astype(np.float32)[:, None]
    mixed = table[below]
    mixed += share * (table[below + 1] - mixed)
    points = np.empty_like(cloud.xyz)
    x, y, z = cloud.xyz.T
    for axis in range(3):
        a, b, c, shift = mixed[:, 4 * axis : 4 * axis + 4].T
        points[:, axis] = a * x + b * y + c * z + shift
    return origin, points


def finite(cloud: Cloud) -> Cloud:
    """The cloud without the points that are not finite, nor those at 0 0 0, by which drivers mark a missing return."""
    x, y, z = cloud.xyz.T
    size = np.abs(x) + np.abs(y) + np.abs(z)  # NaN and infinity stay what they are
    good = (size > 0) & (size < np.inf)
    if cloud.times is not None:
        good &= np.isfinite(cloud.times)
    if good.all():
        return cloud
    kept = np.flatnonzero(good)
    times = None if cloud.times is None else cloud.times[kept]
    return Cloud(cloud.stamp, cloud.frame, cloud.xyz.take(kept, axis=0), times)


def _flat(pose: Pose) -> NDArray[np.float32]:
    return np.hstack([pose.rotation, pose.translation[:, None]]).astype(np.float32).ravel()
