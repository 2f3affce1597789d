"""Pinhole cameras with lens distortion: picture, panoptic ids and depth from the same rays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic import effects as lens_and_sensor
from panoptic_training.synthetic.edges import Edges
from panoptic_training.synthetic.effects import Effects
from panoptic_training.synthetic.occlusion import openness
from panoptic_training.synthetic.raycast import Hits, Raycaster
from panoptic_training.synthetic.shading import Quality, shader_of
from panoptic_training.synthetic.tracing import turned
from panoptic_training.synthetic.workers import Workers

MODELS = {"plumb_bob": (0, 4, 5), "rational_polynomial": (8,)}


@dataclass(frozen=True, slots=True)
class CameraFrame:
    """What one camera saw.

    Attributes
    ----------
    image:
        (H, W, 3) uint8, B, G, R.
    ids:
        (H, W) int32, class * 1000 + instance of what the ray through each pixel's centre hits; sky 23000.
    depth:
        (H, W) float32, metres along the optical axis; infinite for sky.
    """

    image: NDArray[np.uint8]
    ids: NDArray[np.int32]
    depth: NDArray[np.float32]


class Intrinsics:
    """How a camera's pixels look out, by the convention of ROS's CameraInfo and of OpenCV.

    The centre of the pixel in column u and row v lies at (u, v); the picture spans -0.5 to width - 0.5.

    Parameters
    ----------
    width, height:
        Pixels.
    matrix:
        (3, 3) camera matrix K.
    distortion:
        D: none, 4 or 5 numbers of plumb_bob, or 8 of rational_polynomial.
    model:
        Distortion model's name in CameraInfo.

    Raises
    ------
    ValueError
        For what no camera can have: a focal length of zero, a principal point far outside, a distortion that folds the
        picture.
    """

    def __init__(
        self,
        width: int,
        height: int,
        matrix: NDArray[np.floating] | Sequence[Sequence[float]],
        distortion: Sequence[float] = (),
        model: str = "plumb_bob",
    ) -> None:
        if width < 1 or height < 1:
            raise ValueError(f"a camera's size must be at least 1 x 1, got {width} x {height}")
        self.width, self.height, self.model = int(width), int(height), model
        self.matrix = np.asarray(matrix, dtype=np.float64)
        self.distortion = np.asarray(distortion, dtype=np.float64).ravel()
        if self.matrix.shape != (3, 3) or not np.isfinite(self.matrix).all():
            raise ValueError(f"a camera matrix must be 3 x 3 finite numbers, got {self.matrix.tolist()}")
        (fx, skew, cx), (zero, fy, cy), last = self.matrix
        if fx <= 0 or fy <= 0 or skew or zero or last.tolist() != [0, 0, 1]:
            raise ValueError(
                f"a camera matrix must be [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], got {self.matrix.tolist()}"
            )
        if not (-width <= cx <= 2 * width and -height <= cy <= 2 * height):
            raise ValueError(f"principal point ({cx}, {cy}) is far outside of {width} x {height} pixels")
        if model not in MODELS:
            raise ValueError(f"distortion model must be one of {', '.join(MODELS)}, got {model!r}")
        if len(self.distortion) not in MODELS[model] or not np.isfinite(self.distortion).all():
            counts = " or ".join(map(str, MODELS[model]))
            raise ValueError(f"{model} takes {counts} finite coefficients, got {self.distortion.tolist()}")
        self._coefficients = self.distortion if len(self.distortion) else np.zeros(5)
        self._tables: dict[float, NDArray[np.float32]] = {}
        self._check_distortion()

    @classmethod
    def from_field_of_view(
        cls,
        width: int,
        height: int,
        horizontal_degrees: float,
        distortion: Sequence[float] = (),
        model: str = "plumb_bob",
    ) -> Intrinsics:
        """Square pixels and a central principal point; the angle is that without distortion."""
        if not 0 < horizontal_degrees < 180:
            raise ValueError(
                f"a pinhole camera's field of view must be between 0 and 180 degrees, got {horizontal_degrees}"
            )
        focal = width / 2 / np.tan(np.radians(horizontal_degrees) / 2)
        matrix = [[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]]
        return cls(width, height, matrix, distortion, model)

    @property
    def pixel_angle(self) -> float:
        """Radians that a pixel in the middle covers."""
        return float(1 / self.matrix[0, 0])

    def rays(self) -> NDArray[np.float32]:
        """(H, W, 3) unit rays in the optical frame through the pixels' centres."""
        return self._table(0.0, 0)

    def corner_rays(self) -> NDArray[np.float32]:
        """(H + 1, W + 1, 3) unit rays through the pixels' corners."""
        return self._table(-0.5, 1)

    def _table(self, offset: float, more: int) -> NDArray[np.float32]:
        if offset not in self._tables:
            shape = (self.height + more, self.width + more)
            columns, rows = np.meshgrid(np.arange(shape[1]) + offset, np.arange(shape[0]) + offset)
            plane = self._undistort(np.stack([columns.ravel(), rows.ravel()], axis=1))
            rays = np.concatenate([plane, np.ones((len(plane), 1))], axis=1)
            rays /= np.linalg.norm(rays, axis=1, keepdims=True)
            self._tables[offset] = rays.astype(np.float32).reshape(*shape, 3)
        return self._tables[offset]

    def _undistort(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 2) points on the plane at distance 1 that are seen at (N, 2) pixels."""
        enough = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 200, 1e-12)
        points = cv2.undistortPointsIter(pixels[:, None], self.matrix, self._coefficients, np.eye(3), np.eye(3), enough)
        return np.asarray(points[:, 0], dtype=np.float64)

    def project(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N, 2) pixels where (N, 3) points of the optical frame, in front of the camera, are seen."""
        pixels, _ = cv2.projectPoints(
            np.asarray(points, dtype=np.float64)[:, None], np.zeros(3), np.zeros(3), self.matrix, self._coefficients
        )
        return np.asarray(pixels[:, 0], dtype=np.float64)

    def _check_distortion(self) -> None:
        """Refuse a distortion that maps two rays to one pixel: no lens does, and its rays cannot be found."""
        if not self.distortion.any():
            return
        across, down = np.linspace(0, self.width - 1, 33), np.linspace(0, self.height - 1, 33)
        pixels = np.stack(np.meshgrid(across, down), axis=2).reshape(-1, 2)
        plane = self._undistort(pixels)
        error = np.inf
        if np.isfinite(plane).all():
            again = self.project(np.concatenate([plane, np.ones((len(plane), 1))], axis=1))
            error = float(np.abs(again - pixels).max())
            table = plane.reshape(33, 33, 2)
            folded = (np.diff(table[..., 0], axis=1) <= 0).any() or (np.diff(table[..., 1], axis=0) <= 0).any()
            error = np.inf if folded else error
        if not error < 0.05:
            raise ValueError(
                f"distortion {self.distortion.tolist()} folds the picture of {self.width} x {self.height} pixels: "
                "some pixels have no single ray"
            )


class Camera:
    """A camera that can be pointed at a world.

    Parameters
    ----------
    intrinsics:
        Its pixels.
    effects, quality:
        What lens and sensor do, and what a picture may cost.
    """

    def __init__(self, intrinsics: Intrinsics, effects: Effects | None = None, quality: Quality | None = None) -> None:
        self.intrinsics = intrinsics
        self.effects = effects or Effects()
        self.quality = quality or Quality()

    def trace(
        self, raycaster: Raycaster, world_from_optical: NDArray[np.float64], time: float
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Ids and depth of a `CameraFrame`, without the picture."""
        rays = self.intrinsics.rays()
        directions = turned(rays.reshape(-1, 3), world_from_optical[:3, :3].astype(np.float32))
        hits = raycaster.cast(world_from_optical[:3, 3], directions, time)
        return hits.ids.reshape(rays.shape[:2]), hits.distance.reshape(rays.shape[:2]) * rays[..., 2]

    def render(
        self,
        raycaster: Raycaster,
        world_from_optical: NDArray[np.float64],
        time: float,
        rng: np.random.Generator | None = None,
        velocity: tuple[Sequence[float], Sequence[float]] | None = None,
    ) -> CameraFrame:
        """One frame.

        Parameters
        ----------
        raycaster:
            The world.
        world_from_optical:
            (4, 4) pose of the camera; its frame has x right, y down, z forward.
        time:
            Seconds from the start of the drive.
        rng:
            Of the noise; of the effects' seed and the time if None.
        velocity:
            The camera's own (3,) metres and (3,) radians per second in its optical frame, for the motion blur.
        """
        shader = shader_of(raycaster, self.quality)
        rays = self.intrinsics.rays()
        height, width = rays.shape[:2]
        rotation = world_from_optical[:3, :3].astype(np.float32)
        origin = world_from_optical[:3, 3].astype(np.float32)[None]
        directions = turned(rays.reshape(-1, 3), rotation)
        raycaster.moment(time)  # before threads ask for it
        workers = Workers(self.quality.threads)
        hits, light = Hits.blank(len(directions)), np.empty((len(directions), 3), dtype=np.float32)
        workers(lambda part: raycaster.cast(origin, directions[part], time, into=hits[part]), len(directions))
        open_sky = np.ones(len(directions), dtype=np.float32)
        if self.quality.occlusion:
            open_sky = openness(raycaster, hits, origin, directions, (height, width), self.quality.occlusion, time)
        pixel_angle = self.intrinsics.pixel_angle

        def shade(part: slice) -> None:
            light[part] = shader.shade(
                raycaster, hits[part], origin, directions[part], pixel_angle, time, open_sky[part]
            )

        workers(shade, len(directions))
        picture = light.reshape(height, width, 3)
        exposure = lens_and_sensor.metered_exposure(picture)
        if self.quality.smooth_edges:
            edges = Edges(picture, hits, exposure)
            finer = turned(self.intrinsics.corner_rays()[edges.rows, edges.columns], rotation)
            sampled = np.empty((len(finer), 3), dtype=np.float32)

            def sample(part: slice) -> None:
                found = raycaster.cast(origin, finer[part], time)
                share = open_sky[edges.beside[part]]
                sampled[part] = shader.shade(raycaster, found, origin, finer[part], pixel_angle, time, share)

            workers(sample, len(finer))
            edges.smooth(picture, sampled)
        depth = hits.distance.reshape(height, width) * rays[..., 2]
        if self.effects.motion_blur and velocity is not None:
            picture = lens_and_sensor.blur_motion(
                picture,
                self._flow(raycaster, hits, depth, world_from_optical, time, velocity)
                * np.float32(self.effects.motion_blur),
            )
        if rng is None:
            rng = np.random.default_rng([self.effects.seed, round(time * 1e6)])
        return CameraFrame(self._develop(picture, exposure, time, rng), hits.ids.reshape(height, width), depth)

    def _flow(
        self,
        raycaster: Raycaster,
        hits: Hits,
        depth: NDArray[np.float32],
        world_from_optical: NDArray[np.float64],
        time: float,
        velocity: tuple[Sequence[float], Sequence[float]],
    ) -> NDArray[np.float32]:
        """(H, W, 2) pixels per second that the surface seen in each pixel moves over the picture."""
        rays = self.intrinsics.rays()
        plane = rays[..., :2] / rays[..., 2:]
        x, y = plane[..., 0], plane[..., 1]
        linear, (wx, wy, wz) = np.asarray(velocity[0], dtype=np.float32), np.asarray(velocity[1], dtype=np.float32)
        bodies = raycaster.world.bodies
        motion = np.zeros((len(bodies) + 1, 3), dtype=np.float32)  # the last row is for what stands
        for index in np.unique(hits.body[hits.body >= 0]):
            motion[index] = world_from_optical[:3, :3].T @ bodies[index].velocity(time)
        vx, vy, vz = np.moveaxis((motion - linear)[hits.body].reshape(*depth.shape, 3), 2, 0)
        inverse = 1 / np.maximum(depth, np.float32(0.1))
        right = (vx - x * vz) * inverse + x * y * wx - (1 + x * x) * wy + y * wz
        down = (vy - y * vz) * inverse + (1 + y * y) * wx - x * y * wy - x * wz
        return np.stack(
            [right * np.float32(self.intrinsics.matrix[0, 0]), down * np.float32(self.intrinsics.matrix[1, 1])], axis=2
        )

    def _develop(
        self, picture: NDArray[np.float32], exposure: float, time: float, rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        factor, (red, blue) = self.effects.drift(time)
        exposed = lens_and_sensor.lens(
            picture * (np.float32(exposure * factor) * np.array([red, 1, blue], np.float32)), self.effects
        )
        if self.effects.noise:
            exposed = lens_and_sensor.add_noise(exposed, self.effects.noise, exposure * factor, rng)
        image = lens_and_sensor.develop(exposed)
        return lens_and_sensor.compress(image, self.effects.jpeg_quality) if self.effects.jpeg_quality else image


def look(position: Sequence[float], yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> NDArray[np.float64]:
    """(4, 4) from an optical frame to the frame that the camera is mounted in (x forward, y left, z up).

    Parameters
    ----------
    position:
        Metres.
    yaw, pitch, roll:
        Radians, applied in this order: to the left, down, clockwise as seen from behind.
    """
    (cy, sy), (cp, sp), (cr, sr) = ((np.cos(angle), np.sin(angle)) for angle in (yaw, pitch, roll))
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    pose = np.eye(4)
    pose[:3, :3] = about_z @ about_y @ about_x @ np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    pose[:3, 3] = position
    return pose
