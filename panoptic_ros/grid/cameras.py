"""A camera's geometry: where a point falls in its mask, and the ray of each of the mask's pixels.

From ``sensor_msgs/CameraInfo``: K and D for raw images, R and P for rectified ones.  Both are given for the whole
sensor; binning, a region of interest and the mask's own size scale them, the principal point with the size, as in
image_geometry and as in our `camera_info` of masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

MODELS = {"plumb_bob": (4, 5), "rational_polynomial": (8, 12), "equidistant": (4,), "fisheye": (4,)}
"""The distortion models of CameraInfo, and how many coefficients each may have; OpenCV's orders."""

WIDEST = np.tan(np.deg2rad(85.0))
"""How far from the axis, as x/z, a pinhole camera is asked for its distortion."""

SIZE_TOLERANCE = 0.02
"""By how much the factors in width and height may differ: masks of a network's stride are rounded."""


class CameraError(ValueError):
    """A camera whose geometry is unknown; the message says what is missing."""


@dataclass(frozen=True, eq=False)
class Camera:
    """Geometry of one mask.

    Attributes
    ----------
    height, width:
        Of the mask, in pixels.  Pixel (row, column) has its centre at v = row, u = column.
    matrix:
        (3, 3) float64, focal lengths and principal point in pixels of the mask.
    model:
        ``pinhole`` (no distortion), ``polynomial`` (plumb_bob, rational_polynomial, with or without thin prism) or
        ``equidistant``.
    distortion:
        (12,) float64 k1 k2 p1 p2 k3 k4 k5 k6 s1 s2 s3 s4, or (4,) of ``equidistant``.
    rotation:
        (3, 3) float64 from the optical frame to the image's axes: R of a rectified image, else 1.
    centre:
        (3,) float64, the centre of projection in the optical frame: not 0 where P has a baseline.
    """

    height: int
    width: int
    matrix: NDArray[np.float64]
    model: str
    distortion: NDArray[np.float64]
    rotation: NDArray[np.float64]
    centre: NDArray[np.float64]

    @classmethod
    def from_info(
        cls,
        width: int,
        height: int,
        K: Sequence[float] | NDArray[np.float64],  # noqa: N803 - CameraInfo's names
        D: Sequence[float] | NDArray[np.float64] = (),  # noqa: N803
        R: Sequence[float] | NDArray[np.float64] = (),  # noqa: N803
        P: Sequence[float] | NDArray[np.float64] = (),  # noqa: N803
        model: str = "plumb_bob",
        binning: tuple[int, int] = (0, 0),
        roi: tuple[int, int, int, int] = (0, 0, 0, 0),
        rectified: bool = False,
        mask_size: tuple[int, int] | None = None,
    ) -> Camera:
        """From the fields of a CameraInfo.

        Parameters
        ----------
        width, height:
            Of the whole sensor.
        K, D, R, P:
            Of the message: 9, any, 9 and 12 numbers.
        model:
            ``distortion_model``; may be empty where D is.
        binning:
            In x and in y; 0 means 1.
        roi:
            x_offset, y_offset, width, height in pixels of the whole sensor; width or height 0 means all of it.
        rectified:
            Whether the mask is of a rectified image: P and R count then, and else K and D.
        mask_size:
            Height and width of the mask; by default those of the image.

        Raises
        ------
        CameraError
            If something is missing or contradicts itself.
        """
        if width <= 0 or height <= 0:
            raise CameraError(f"camera_info has size {width}x{height}: it is not calibrated or not filled in")
        window = (roi[2] or width, roi[3] or height)
        if roi[0] + window[0] > width or roi[1] + window[1] > height:
            raise CameraError(f"camera_info: region of interest {roi} does not fit into {width}x{height}")
        bins = (max(binning[0], 1), max(binning[1], 1))
        image = (window[0] // bins[0], window[1] // bins[1])
        rows, columns = mask_size or (image[1], image[0])
        if min(image) < 1 or min(rows, columns) < 1:
            raise CameraError(f"camera_info: an image of {image[0]}x{image[1]}, a mask of {columns}x{rows}")
        scale_x, scale_y = columns / window[0], rows / window[1]
        if abs(scale_x / scale_y - 1.0) > SIZE_TOLERANCE + 1.0 / min(columns, rows):
            raise CameraError(
                f"camera_info is of another size: {image[0]}x{image[1]}, the mask is {columns}x{rows}, and no resizing "
                "leads from one to the other"
            )
        scale = np.array([[scale_x, 0, -roi[0] * scale_x], [0, scale_y, -roi[1] * scale_y], [0, 0, 1.0]])
        rotation, centre = np.eye(3), np.zeros(3)
        if rectified:
            projection = _matrix("P", P, (3, 4))
            if R is not None and np.any(np.asarray(R, dtype=np.float64)):
                rotation = _matrix("R", R, (3, 3))
                if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3:
                    raise CameraError(f"camera_info: R is not a rotation: {rotation.tolist()}")
            matrix = _intrinsics("P", projection[:, :3])
            centre = -rotation.T @ np.linalg.solve(matrix, projection[:, 3])
            kind, distortion = "pinhole", np.zeros(12)
        else:
            matrix = _intrinsics("K", _matrix("K", K, (3, 3)))
            kind, distortion = _distortion(D, model)
        return cls(rows, columns, scale @ matrix, kind, distortion, rotation, centre)

    @cached_property
    def limit(self) -> float:
        """Up to where the distortion can be trusted: r² = (x² + y²) / z² of a polynomial, θ of ``equidistant``.

        A polynomial turns back somewhere: points beyond would fall into the image a second time.
        """
        if self.model == "pinhole":
            return float("inf")
        if self.model == "equidistant":
            angle = np.linspace(0.0, np.pi, 4001)
            return float(_rises_until(angle, _equidistant(angle, self.distortion)))
        radius = np.linspace(0.0, WIDEST, 8001)
        return float(_rises_until(radius, radius * _radial(radius**2, self.distortion)) ** 2)

    def project(self, points_optical: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Where points fall.

        Parameters
        ----------
        points_optical:
            (N, 3) float32, metres, in the optical frame: x right, y down, z forward.

        Returns
        -------
        uv:
            (N, 2) float32, pixels; NaN where the point is behind the camera or beyond what its model describes.  May be
            outside the mask.
        depth:
            (N,) float32, metres: along the optical axis, or, for ``equidistant``, which sees beside itself, the range.
        """
        points = points_optical
        if self.rotation is not _IDENTITY and not np.array_equal(self.rotation, _IDENTITY):
            points = cv2.transform(np.ascontiguousarray(points)[None], self.rotation)[0] if len(points) else points
        if self.centre.any():
            points = points - (self.rotation @ self.centre).astype(np.float32)
        x, y, z = points[:, 0], points[:, 1], points[:, 2]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            if self.model == "equidistant":
                depth = np.sqrt(x * x + y * y + z * z)
                across = np.sqrt(x * x + y * y)
                angle = np.arctan2(across, z)
                share = np.where(across > 1e-9, _equidistant(angle, self.distortion) / across, 0.0)
                x, y = x * share, y * share
                seen = (angle < self.limit) & (depth > 0)
            else:
                depth = z.copy()
                x, y = x / z, y / z
                seen = z > 0
                if self.model == "polynomial":
                    seen &= x * x + y * y < self.limit
                    x, y = _distort(x, y, self.distortion)
            u = (self.matrix[0, 0] * x + self.matrix[0, 1] * y + self.matrix[0, 2]).astype(np.float32)
            v = (self.matrix[1, 1] * y + self.matrix[1, 2]).astype(np.float32)
        seen &= np.isfinite(u) & np.isfinite(v)
        # Each column lies in one piece, for `pixels`.
        uv: NDArray[np.float32] = np.where(seen, np.stack([u, v]), np.float32(np.nan)).T
        return uv, depth.astype(np.float32, copy=False)

    def pixels(self, uv: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        """Which projections (N, 2) are inside the mask, (M,) positions, and in which rows and columns, (M,) each."""
        u, v = uv[:, 0], uv[:, 1]
        with np.errstate(invalid="ignore"):
            inside = (u >= -0.5) & (u < self.width - 0.5) & (v >= -0.5) & (v < self.height - 0.5)
        found = np.flatnonzero(inside)
        # Just below the border the sum may round up to it.
        rows = np.minimum((v.take(found) + np.float32(0.5)).astype(np.intp), self.height - 1)
        columns = np.minimum((u.take(found) + np.float32(0.5)).astype(np.intp), self.width - 1)
        return found, rows, columns

    def rays(self, rows: NDArray[Any], cols: NDArray[Any]) -> NDArray[np.float32]:
        """The directions in which pixels look.

        Parameters
        ----------
        rows, cols:
            (M,) pixels, of any number type.

        Returns
        -------
        rays:
            (M, 3) float32, unit vectors in the optical frame, from `centre`; NaN where the model describes none.
        """
        v, u = np.asarray(rows, dtype=np.float64), np.asarray(cols, dtype=np.float64)
        y = (v - self.matrix[1, 2]) / self.matrix[1, 1]
        x = (u - self.matrix[0, 2] - self.matrix[0, 1] * y) / self.matrix[0, 0]
        if self.model == "equidistant":
            directions = self._equidistant_rays(x, y)
        else:
            if self.model == "polynomial" and len(x):
                x, y = self._undistorted(x, y)
            directions = np.stack([x, y, np.ones_like(x)], axis=1)
            directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        return (directions @ self.rotation).astype(np.float32)

    def _undistorted(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any]]:
        criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-10)
        pixels = np.stack([x, y], axis=1)[:, None]
        found = cv2.undistortPointsIter(pixels, _IDENTITY, self.distortion, _IDENTITY, _IDENTITY, criteria)[:, 0]
        # The iteration may run away where the polynomial is steep; what does not lead back is no ray.
        with np.errstate(over="ignore", invalid="ignore"):
            back_x, back_y = _distort(found[:, 0], found[:, 1], self.distortion)
            error = np.hypot(back_x - x, back_y - y) * self.matrix[0, 0]
            good = (error < 0.1) & ((found**2).sum(axis=1) < self.limit)
        found[~good] = np.nan
        return found[:, 0], found[:, 1]

    def _equidistant_rays(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        k = self.distortion
        bent = np.hypot(x, y)
        angle = bent.copy()
        for _ in range(20):  # Newton
            square = angle * angle
            slope = 1 + square * (3 * k[0] + square * (5 * k[1] + square * (7 * k[2] + square * 9 * k[3])))
            angle -= (_equidistant(angle, k) - bent) / np.maximum(slope, 1e-3)
            np.clip(angle, 0.0, np.pi, out=angle)
        good = (np.abs(_equidistant(angle, k) - bent) * self.matrix[0, 0] < 0.1) & (angle < self.limit)
        angle[~good] = np.nan
        across = np.where(bent > 1e-12, np.sin(angle) / np.maximum(bent, 1e-12), 1.0)
        return np.stack([x * across, y * across, np.cos(angle)], axis=1)


_IDENTITY = np.eye(3)


def _matrix(name: str, values: Any, shape: tuple[int, int]) -> NDArray[np.float64]:
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.size != shape[0] * shape[1] or not np.isfinite(matrix).all():
        raise CameraError(f"camera_info: {name} must be {shape[0]}x{shape[1]} finite numbers, got {matrix.tolist()}")
    return matrix.reshape(shape)


def _intrinsics(name: str, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    if not (matrix[0, 0] > 0 and matrix[1, 1] > 0) or abs(matrix[2, 2] - 1) > 1e-6:
        raise CameraError(f"camera_info: {name} is missing (all 0) or holds no focal lengths: {matrix.tolist()}")
    return matrix


def _distortion(values: Any, model: str) -> tuple[str, NDArray[np.float64]]:
    coefficients = np.asarray(values, dtype=np.float64).ravel()
    if not np.isfinite(coefficients).all():
        raise CameraError(f"camera_info: D is not finite: {coefficients.tolist()}")
    if model in ("equidistant", "fisheye"):
        if len(coefficients) != 4:
            raise CameraError(f"camera_info: {model} has 4 coefficients, got {len(coefficients)}")
        return "equidistant", coefficients
    if not coefficients.any():
        return "pinhole", np.zeros(12)
    counts = MODELS.get(model)
    if counts is None:
        raise CameraError(f"camera_info: unknown distortion_model {model!r}; expected one of {', '.join(MODELS)}")
    trailing = coefficients[12:]
    if len(coefficients) == 14 and not trailing.any():
        coefficients = coefficients[:12]
    if len(coefficients) not in counts:
        raise CameraError(
            f"camera_info: {model} with {len(coefficients)} coefficients; expected {' or '.join(map(str, counts))}"
        )
    return "polynomial", np.pad(coefficients, (0, 12 - len(coefficients)))


def _radial(square: NDArray[Any], k: NDArray[np.float64]) -> NDArray[Any]:
    above = 1 + square * (k[0] + square * (k[1] + square * k[4]))
    below = 1 + square * (k[5] + square * (k[6] + square * k[7]))
    ratio: NDArray[Any] = above / below
    return ratio


def _distort(x: NDArray[Any], y: NDArray[Any], k: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """OpenCV's model, calib3d's documentation; x and y are x/z and y/z."""
    square = x * x + y * y
    radial = _radial(square, k)
    return (
        x * radial + 2 * k[2] * x * y + k[3] * (square + 2 * x * x) + square * (k[8] + square * k[9]),
        y * radial + k[2] * (square + 2 * y * y) + 2 * k[3] * x * y + square * (k[10] + square * k[11]),
    )


def _equidistant(angle: NDArray[Any], k: NDArray[np.float64]) -> NDArray[Any]:
    """Kannala and Brandt's polynomial, as in OpenCV's fisheye model."""
    square = angle * angle
    bent: NDArray[Any] = angle * (1 + square * (k[0] + square * (k[1] + square * (k[2] + square * k[3]))))
    return bent


def _rises_until(at: NDArray[np.float64], value: NDArray[np.float64]) -> float:
    """The last of `at` up to which `value` rises."""
    falls = np.flatnonzero(~(np.diff(value) > 0))
    return float(at[falls[0]] if len(falls) else at[-1])
