"""A depth camera: the depth of a camera's rays, as such sensors report it (REP-118)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.camera import Camera, Intrinsics
from panoptic_training.synthetic.raycast import Raycaster

ENCODINGS = ("32FC1", "16UC1")


class DepthCamera:
    """A depth camera.

    Parameters
    ----------
    intrinsics:
        Its pixels.
    min_range, max_range:
        Metres along the optical axis; nothing else is measured.
    noise:
        Standard deviation in metres at 1 m; it grows with the square of the depth, as by stereo.
    encoding:
        "32FC1": float32 metres, nan where nothing is measured; "16UC1": uint16 millimetres, 0 there.
    dropout:
        Share of pixels that are not measured.

    Raises
    ------
    ValueError
        For settings that no sensor can have.
    """

    def __init__(
        self,
        intrinsics: Intrinsics,
        min_range: float = 0.3,
        max_range: float = 20.0,
        noise: float = 0.0,
        encoding: str = "32FC1",
        dropout: float = 0.0,
    ) -> None:
        if not 0 <= min_range < max_range:
            raise ValueError(
                f"a depth camera's ranges must be 0 <= min_range < max_range, got {min_range} and {max_range}"
            )
        if encoding not in ENCODINGS:
            raise ValueError(f"depth encoding must be one of {', '.join(ENCODINGS)}, got {encoding!r}")
        if encoding == "16UC1" and max_range > 65.535:
            raise ValueError(f"16UC1 holds depths up to 65.535 m, got max_range {max_range}")
        if noise < 0 or not 0 <= dropout <= 1:
            raise ValueError(f"noise must be 0 or more and dropout 0 to 1, got {noise} and {dropout}")
        self.intrinsics, self.min_range, self.max_range = intrinsics, min_range, max_range
        self.noise, self.encoding, self.dropout = noise, encoding, dropout

    def render(
        self,
        raycaster: Raycaster,
        world_from_optical: NDArray[np.float64],
        time: float,
        rng: np.random.Generator | None = None,
    ) -> NDArray[Any]:
        """(H, W) depth image at a time, from a (4, 4) pose of the optical frame."""
        _, depth = Camera(self.intrinsics).trace(raycaster, world_from_optical, time)
        return self.from_depth(depth, rng)

    def from_depth(self, depth: NDArray[np.float32], rng: np.random.Generator | None = None) -> NDArray[Any]:
        """(H, W) what the sensor makes of the exact (H, W) depth; `rng` of noise and dropouts, seeded 0 if None."""
        rng = rng or np.random.default_rng(0)
        finite = np.where(np.isfinite(depth), depth, np.float32(0))
        measured = finite
        if self.noise:
            measured = finite + rng.standard_normal(depth.shape, dtype=np.float32) * np.float32(self.noise) * finite**2
        valid = (finite > 0) & (measured >= self.min_range) & (measured <= self.max_range)
        if self.dropout:
            valid &= rng.random(depth.shape, dtype=np.float32) >= self.dropout
        if self.encoding == "32FC1":
            return np.where(valid, measured, np.float32(np.nan)).astype(np.float32)
        return np.where(valid, np.rint(measured * 1000), 0).astype(np.uint16)
