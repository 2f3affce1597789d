"""A spinning lidar: rings of beams that turn once a sweep while the sensor moves.

Each azimuth step is fired at its own time from the sensor's pose at that time.  A body stands where it is when the
beams pass over its middle; one so near and so fast that its ends would be off by more than `TOLERANCE` is placed anew
for each of `SLICES` slices of the sweep, with its limbs as they are when its middle is passed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.mesh import Material
from panoptic_training.synthetic.raycast import Hits, Raycaster

SLICES = 24
TOLERANCE = 0.02  # metres
FASTEST = 60.0  # metres per second, of any body
_REFLECTIVITY = np.full(len(Material), 0.0, dtype=np.float32)  # beyond what the colour says
for _material, _extra in (
    (Material.MARKING, 0.35),
    (Material.SIGN, 2.5),
    (Material.METAL, 0.15),
    (Material.FOLIAGE, 0.25),
):
    _REFLECTIVITY[_material] = _extra
_LOST = np.zeros(len(Material), dtype=np.float32)  # share of returns that the material swallows or throws elsewhere
for _material, _share in ((Material.GLASS, 0.7), (Material.CAR_PAINT, 0.06), (Material.RUBBER, 0.1)):
    _LOST[_material] = _share


@dataclass(frozen=True, slots=True)
class LidarScan:
    """One turn; N points, ordered by azimuth step, then ring.

    Attributes
    ----------
    xyz:
        (N, 3) float32 metres in the sensor's frame (x forward, y left, z up) at each point's own time.
    intensity:
        (N,) float32, 0 to 255.
    ring:
        (N,) uint16, index into the lidar's elevations.
    time_offset:
        (N,) float32 seconds from the start of the turn.
    class_id, instance:
        (N,) uint8 and int32, truth.
    azimuth:
        (N,) int32, index of the azimuth step.
    """

    xyz: NDArray[np.float32]
    intensity: NDArray[np.float32]
    ring: NDArray[np.uint16]
    time_offset: NDArray[np.float32]
    class_id: NDArray[np.uint8]
    instance: NDArray[np.int32]
    azimuth: NDArray[np.int32]


class Lidar:
    """A spinning lidar.

    Parameters
    ----------
    elevations:
        (R,) radians above the sensor's x-y plane, one per ring.
    steps:
        Azimuth steps a turn.  The first looks backwards, so that the seam of a turn lies behind the vehicle.
    rate:
        Turns per second.
    min_range, max_range:
        Metres; other returns are not reported.
    range_noise:
        Standard deviation in metres.
    dropout:
        Share of returns lost at random; far, grazing, dark and mirroring surfaces lose more, in proportion.
    clockwise:
        Whether it turns so, seen from above.
    """

    def __init__(
        self,
        elevations: NDArray[np.floating],
        steps: int = 1024,
        rate: float = 10.0,
        min_range: float = 0.5,
        max_range: float = 120.0,
        range_noise: float = 0.02,
        dropout: float = 0.02,
        clockwise: bool = True,
    ) -> None:
        self.elevations = np.asarray(elevations, dtype=np.float64).ravel()
        if not len(self.elevations) or not (np.abs(self.elevations) < np.pi / 2).all():
            raise ValueError(f"a lidar needs elevations between -pi/2 and pi/2 radians, got {self.elevations.tolist()}")
        if steps < 1 or rate <= 0:
            raise ValueError(f"a lidar needs at least 1 step and a rate above 0 Hz, got {steps} and {rate}")
        if not 0 <= min_range < max_range:
            raise ValueError(f"a lidar's ranges must be 0 <= min_range < max_range, got {min_range} and {max_range}")
        if range_noise < 0 or not 0 <= dropout <= 1:
            raise ValueError(f"range_noise must be 0 or more and dropout 0 to 1, got {range_noise} and {dropout}")
        self.steps, self.rate, self.clockwise = int(steps), float(rate), clockwise
        self.min_range, self.max_range = float(min_range), float(max_range)
        self.range_noise, self.dropout = float(range_noise), float(dropout)
        self.time_offsets = np.arange(self.steps) / self.steps / self.rate
        turn = np.arange(self.steps) / self.steps * 2 * np.pi
        self.azimuths = np.pi - turn if clockwise else turn - np.pi
        level = np.cos(self.elevations)
        self.directions = np.empty((self.steps, len(self.elevations), 3))  # in the sensor's frame
        self.directions[..., 0] = np.cos(self.azimuths)[:, None] * level
        self.directions[..., 1] = np.sin(self.azimuths)[:, None] * level
        self.directions[..., 2] = np.sin(self.elevations)

    @classmethod
    def spinning(
        cls,
        rings: int = 64,
        lower_degrees: float = -25.0,
        upper_degrees: float = 3.0,
        steps: int = 1600,
        **settings: float,
    ) -> Lidar:
        """Rings at even angles; `settings` as for the class."""
        return cls(np.radians(np.linspace(lower_degrees, upper_degrees, rings)), steps, **settings)  # type: ignore[arg-type]

    def scan(
        self,
        raycaster: Raycaster,
        sensor_pose: Callable[[float], NDArray[np.float64]],
        time: float,
        rng: np.random.Generator,
    ) -> LidarScan:
        """One turn that starts at `time` seconds.

        Parameters
        ----------
        raycaster:
            The world.
        sensor_pose:
            (4, 4) from the sensor's frame to the world's at a time.
        rng:
            Of noise and dropouts.
        """
        rings = len(self.elevations)
        poses = self._poses(sensor_pose, time)
        passings, again = self._passings(raycaster, poses, time)
        bodies = raycaster.world.bodies
        places = {index: bodies[index].pose(own) for index, own in passings.items()}
        solids = raycaster.solids(passings, places, time)
        once = {index: solid for index, solid in solids.items() if index not in again}
        sweep = raycaster.place(once, places)
        along = self.directions @ poses[:, :3, :3].swapaxes(1, 2)
        origins = np.repeat(poses[:, :3, 3], rings, axis=0)
        hits, along = Hits.blank(len(origins)), along.reshape(-1, 3).astype(np.float32)
        ends = np.linspace(0, self.steps, min(SLICES, self.steps) + 1).astype(int)
        for start, end in pairwise(ends):
            middle = time + (self.time_offsets[start] + self.time_offsets[end - 1]) / 2
            near = [index for index, wedge in again.items() if self._looks_at(start, end, *wedge)]
            there = places | {index: bodies[index].pose(middle) for index in near}
            moment = raycaster.place(once | {index: solids[index] for index in near}, there) if near else sweep
            part = slice(start * rings, end * rings)
            raycaster.cast(origins[part], along[part], middle, self.max_range, moment, into=hits[part])

        distance, material, gray = hits.distance, hits.material, hits.color @ np.full(3, 1 / 3, dtype=np.float32)
        facing = np.abs(
            hits.normal[:, 0] * along[:, 0] + hits.normal[:, 1] * along[:, 1] + hits.normal[:, 2] * along[:, 2]
        )
        measured = distance + rng.normal(0.0, 1.0, len(distance)).astype(np.float32) * np.float32(self.range_noise)
        strength = (gray + _REFLECTIVITY[material]) * (np.float32(0.25) + np.float32(0.75) * facing)
        kept = np.isfinite(distance) & (measured >= self.min_range) & (measured <= self.max_range)
        kept &= rng.random(len(distance), dtype=np.float32) >= self._lost(distance, material, strength, facing)
        chosen = np.flatnonzero(kept)
        step, ring = chosen // rings, chosen % rings
        intensity = 255 * np.clip(strength[chosen] * rng.normal(1.0, 0.06, len(chosen)), 0, 1)
        return LidarScan(
            xyz=(self.directions.reshape(-1, 3)[chosen] * measured[chosen, None]).astype(np.float32),
            intensity=intensity.astype(np.float32),
            ring=ring.astype(np.uint16),
            time_offset=self.time_offsets[step].astype(np.float32),
            class_id=hits.class_id[chosen],
            instance=hits.instance[chosen],
            azimuth=step.astype(np.int32),
        )

    def _poses(self, sensor_pose: Callable[[float], NDArray[np.float64]], time: float) -> NDArray[np.float64]:
        """(steps, 4, 4) the sensor's pose at each step, straight between those of the slices' ends.

        In a slice of 4 ms a vehicle that brakes at 10 m/s² or turns by 1 rad/s leaves the straight by less than 0.02 mm
        and 2 µrad.
        """
        knots = np.linspace(0, 1 / self.rate, SLICES + 1)
        known = np.stack([sensor_pose(time + float(offset)) for offset in knots]).reshape(-1, 16)
        columns = [np.interp(self.time_offsets, knots, column) for column in known.T]
        return np.stack(columns, axis=1).reshape(-1, 4, 4)

    def _passings(
        self, raycaster: Raycaster, poses: NDArray[np.float64], time: float
    ) -> tuple[dict[int, float], dict[int, tuple[float, float]]]:
        """Moving bodies in reach: times at which the beams pass them; and wedges of those that are placed anew.

        A wedge is an azimuth in the sensor's frame, and the half angle that the body may cover.
        """
        sweep = 1 / self.rate
        passings: dict[int, float] = {}
        again: dict[int, tuple[float, float]] = {}
        inverse = np.linalg.inv(poses[self.steps // 2])
        driven = float(np.linalg.norm(poses[-1, :3, 3] - poses[0, :3, 3]))
        movers, bodies = raycaster.movers(time), raycaster.world.bodies
        places = np.array([placed[:3, 3] for placed in movers.values()]).reshape(-1, 3)
        distances = np.linalg.norm((places @ inverse[:3, :3].T + inverse[:3, 3])[:, :2], axis=1)
        for index, place, distance in zip(movers, places, distances.tolist(), strict=True):
            radius = float(np.hypot(*bodies[index].size[:2])) / 2
            if distance - radius - driven > self.max_range + FASTEST * sweep / 2:
                continue
            velocity = bodies[index].velocity(time)
            local = inverse[:3, :3] @ (place + velocity * (sweep / 2)) + inverse[:3, 3]
            speed, away = float(np.linalg.norm(velocity)), float(np.hypot(local[0], local[1]))
            azimuth = float(np.arctan2(local[1], local[0]))
            half = float(np.arcsin(radius / away)) if radius < away else np.pi
            seam = np.pi - abs(azimuth) < half  # seen at both ends of the turn
            turned = (np.pi - azimuth if self.clockwise else azimuth + np.pi) / (2 * np.pi)
            passings[index] = time + turned * sweep
            if speed * (sweep if seam else sweep * half / (2 * np.pi)) > TOLERANCE:
                reach = radius + 0.3 + speed * sweep + driven
                again[index] = azimuth, float(np.arcsin(reach / away)) if reach < away else np.pi
        return passings, again

    def _looks_at(self, start: int, end: int, azimuth: float, half: float) -> bool:
        """Whether steps from `start` to before `end` come within `half` of an azimuth."""
        middle = (self.azimuths[start] + self.azimuths[end - 1]) / 2
        width = abs(self.azimuths[end - 1] - self.azimuths[start]) / 2 + 0.12  # and how far the sensor may turn
        apart = abs((azimuth - middle + np.pi) % (2 * np.pi) - np.pi)
        return bool(apart <= half + width)

    def _lost(
        self,
        distance: NDArray[np.float32],
        material: NDArray[np.uint8],
        strength: NDArray[np.float32],
        facing: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """(N,) probability that no return is seen."""
        if self.dropout == 0:
            return np.zeros(len(distance), dtype=np.float32)
        far = np.clip(distance / np.float32(self.max_range), 0, 1) ** 2
        weak = far * np.exp(strength * np.float32(-6))
        grazing = np.exp(facing * np.float32(-30))
        scale = np.float32(min(self.dropout / 0.02, 1.0))  # the share that surfaces lose, all of it from 2 % on
        gone = 1 - (1 - np.float32(self.dropout)) * (1 - scale * weak) * (1 - scale * grazing) * (
            1 - scale * _LOST[material]
        )
        result: NDArray[np.float32] = np.clip(gone, 0, 1)
        return result
