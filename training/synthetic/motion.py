"""How things move: paths, positions along them over time, and the bodies that follow."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from math import atan2, cos, sin

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.cycles import Cycle, riding
from panoptic_training.synthetic.mesh import Mesh
from panoptic_training.synthetic.people import Figure
from panoptic_training.synthetic.skeleton import standing, stride_length, walking
from panoptic_training.synthetic.street import Road
from panoptic_training.synthetic.vehicles import Rolling

Array = NDArray[np.float64]
STEP = 0.1  # seconds between the times that motion is computed for
NEAR = 32.0  # metres

Shape = Callable[[float, float, float, bool], Mesh]
"""Triangles from metres along the track, speed, time, and whether it is far."""


class Path:
    """A smooth line through points (cubic Hermite); its parameter is the arc length of the points' polygon.

    Parameters
    ----------
    points:
        (N, 3) metres; beyond both ends it goes on straight.
    """

    def __init__(self, points: Array) -> None:
        steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
        keep = np.concatenate([[True], steps > 1e-6])
        points = points[keep]
        knots = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
        self._lay(knots, points, np.gradient(points, knots, axis=0, edge_order=2))

    def _lay(self, knots: Array, points: Array, slopes: Array) -> None:
        """Take (N,) arc lengths, (N, 3) points there and (N, 3) slopes, as plain numbers."""
        self.length = float(knots[-1])
        self._knots: list[float] = knots.tolist()
        self._nodes: list[list[float]] = np.concatenate([points, slopes], axis=1).tolist()

    @classmethod
    def along(cls, road: Road, offset: float, start: float, end: float) -> Path:
        """A line beside a road's centre line, from one arc length of the road to another (also backwards)."""
        count = max(int(abs(end - start) / 0.5), 2)
        return cls(road.place(np.linspace(start, end, count), offset))

    def at(self, s: float) -> tuple[Array, Array]:
        """Position (3,) and its derivative by `s` (3,)."""
        place = self.place(s)
        return np.array(place[:3]), np.array(place[3:])

    def place(self, s: float) -> tuple[float, float, float, float, float, float]:
        """Position and its derivative by `s`, in plain numbers: hundreds of bodies ask for each time."""
        if s <= 0 or s >= self.length:
            x, y, z, p, q, r = self._nodes[0 if s <= 0 else -1]
            beyond = s if s <= 0 else s - self.length
            return x + beyond * p, y + beyond * q, z + beyond * r, p, q, r
        i = min(bisect_right(self._knots, s) - 1, len(self._knots) - 2)
        h = self._knots[i + 1] - self._knots[i]
        u = (s - self._knots[i]) / h
        ax, ay, az, px, py, pz = self._nodes[i]
        bx, by, bz, qx, qy, qz = self._nodes[i + 1]
        a, b = (1 + 2 * u) * (1 - u) ** 2, u * u * (3 - 2 * u)
        p, q = h * u * (1 - u) ** 2, -h * u * u * (1 - u)
        g, j, k = 6 * u * (1 - u) / h, (1 - u) * (1 - 3 * u), u * (3 * u - 2)
        return (
            a * ax + b * bx + p * px + q * qx,
            a * ay + b * by + p * py + q * qy,
            a * az + b * bz + p * pz + q * qz,
            g * (bx - ax) + j * px + k * qx,
            g * (by - ay) + j * py + k * qy,
            g * (bz - az) + j * pz + k * qz,
        )


class LanePath(Path):
    """A lane's line at a constant distance from its centre, by the lane's own arc length.

    Parameters
    ----------
    road:
        The lane's road.
    direction, offset:
        Of travel along the road's arc length (1 or -1), and metres left of the road's centre line.
    """

    def __init__(self, road: Road, direction: int, offset: float) -> None:
        curve = road.curve
        self._curve = curve
        self._direction = direction
        self._from = curve.start if direction > 0 else curve.end
        # with exact slopes every metre, the cubics between stay within 0.02 mm of its clothoids
        knots = np.linspace(0.0, curve.length, int(curve.length) + 2)
        places = self._from + direction * knots
        _, heading = curve.evaluate(places)
        stretch = direction * (1 - curve.curvature(places) * offset)
        slopes = np.stack([stretch * np.cos(heading), stretch * np.sin(heading), 0 * heading], axis=1)
        # straight beyond the ends, as the road is
        for end in (0, -1):
            slopes[end] /= np.linalg.norm(slopes[end])
        self._lay(knots, road.place(places, offset), slopes)

    def turning(self, s: float) -> float:
        """Radians to the left for each metre of `s`."""
        return self._direction * float(self._curve.curvature(self._from + self._direction * s))


@dataclass(frozen=True, eq=False)
class Track:
    """A place along a path over time.

    Attributes
    ----------
    path:
        Where it leads.
    s, speed:
        (T,) metres along it and metres per second, every `STEP` seconds.
    facing:
        (T,) radians that the thing is turned left against the path, or None.
    """

    path: Path
    s: Array
    speed: Array
    facing: Array | None = None

    def state(self, time: float) -> tuple[float, float]:
        """Metres along the path, and metres per second, by cubic interpolation."""
        i = min(max(int(time / STEP), 0), len(self.s) - 2)
        u = time / STEP - i
        a, b = float(self.s[i]), float(self.s[i + 1])
        p, q = float(self.speed[i]) * STEP, float(self.speed[i + 1]) * STEP
        if u <= 0 or u >= 1:  # before the beginning and after the end it rolls on
            edge, speed, beyond = (a, p, u) if u <= 0 else (b, q, u - 1)
            return edge + beyond * speed, speed / STEP
        s = (1 + 2 * u) * (1 - u) ** 2 * a + u * u * (3 - 2 * u) * b + u * (1 - u) ** 2 * p - u * u * (1 - u) * q
        speed = 6 * u * (1 - u) * (b - a) + (1 - u) * (1 - 3 * u) * p + u * (3 * u - 2) * q
        return s, speed / STEP

    def turned(self, time: float) -> float:
        """Radians that the thing is turned left against the path."""
        if self.facing is None:
            return 0.0
        at = min(max(time / STEP, 0.0), len(self.facing) - 1.001)
        i = int(at)
        return float(self.facing[i] + (at - i) * (self.facing[i + 1] - self.facing[i]))

    def pose(self, time: float) -> Array:
        """(4, 4) of something upright that looks along the path."""
        x, y, z, ahead, aside, _ = self.path.place(self.state(time)[0])
        angle = atan2(aside, ahead) + self.turned(time)
        c, s = cos(angle), sin(angle)
        return np.array([[c, -s, 0.0, x], [s, c, 0.0, y], [0.0, 0.0, 1.0, z], [0.0, 0.0, 0.0, 1.0]])

    def velocity(self, time: float) -> Array:
        """(3,) metres per second in the world."""
        s, speed = self.state(time)
        return speed * self.path.at(s)[1]


@dataclass(frozen=True, eq=False)
class Still:
    """A body that never moves: a parked car or cycle."""

    instance: int
    class_id: int
    size: tuple[float, float, float]
    place: Array
    shape: Mesh
    coarse: Mesh | None = None  # with fewer triangles

    def pose(self, time: float) -> Array:
        """(4, 4) to the world."""
        return self.place

    def velocity(self, time: float) -> Array:
        """(3,) zeros."""
        return np.zeros(3)

    def mesh(self, time: float) -> Mesh:
        """Its triangles, always the same object."""
        return self.shape


@dataclass(frozen=True, eq=False)
class Waiting:
    """Somebody who stands, and moves a little."""

    instance: int
    class_id: int
    size: tuple[float, float, float]
    place: Array
    figure: Figure
    kind: int
    begin: float

    def pose(self, time: float) -> Array:
        """(4, 4) to the world."""
        return self.place

    def velocity(self, time: float) -> Array:
        """(3,) zeros."""
        return np.zeros(3)

    def mesh(self, time: float) -> Mesh:
        """Its triangles."""
        return self.figure.posed(standing(self.figure.build, self.kind, self.begin + time))


@dataclass(frozen=True, eq=False)
class Follower:
    """A body that follows a track.

    Attributes
    ----------
    shape:
        Gives its triangles.
    viewer:
        Where the ego vehicle is; what is farther than `NEAR` from it is shown with fewer triangles.
    """

    instance: int
    class_id: int
    size: tuple[float, float, float]
    track: Track
    shape: Shape
    viewer: Track

    def pose(self, time: float) -> Array:
        """(4, 4) to the world."""
        return self.track.pose(time)

    def velocity(self, time: float) -> Array:
        """(3,) metres per second in the world."""
        return self.track.velocity(time)

    def mesh(self, time: float) -> Mesh:
        """Its triangles; wheels and limbs as far as it has come."""
        s, speed = self.track.state(time)
        own, other = self.track.path.place(s), self.viewer.path.place(self.viewer.state(time)[0])
        far = (own[0] - other[0]) ** 2 + (own[1] - other[1]) ** 2 > NEAR**2
        return self.shape(s, speed, time, bool(far))


Thing = Still | Waiting | Follower


def vehicle_shape(model: Rolling, track: Track) -> Shape:
    """Triangles of a vehicle: wheels turn, and brake lights shine while it slows down or stands."""
    slowing = np.append(np.diff(track.speed) / STEP, 0.0)
    braking = (slowing < -0.35) | (track.speed < 0.15)

    def shape(s: float, speed: float, time: float, far: bool) -> Mesh:
        seen = model.coarse if far and model.coarse is not None else model
        return seen.rolled(s, bool(braking[min(max(int(time / STEP), 0), len(braking) - 1)]))

    return shape


def rider_shape(figure: Figure, cycle: Cycle) -> Shape:
    """Triangles of a rider who pedals as far as the cycle rolls."""

    def shape(s: float, speed: float, time: float, far: bool) -> Mesh:
        return (figure.coarse if far else figure).posed(riding(figure.build, cycle.seat, s))

    return shape


def walker_shape(figure: Figure) -> Shape:
    """Triangles of a walker: steps by the metres walked, smaller ones when slow."""

    def shape(s: float, speed: float, time: float, far: bool) -> Mesh:
        u = min(abs(speed) / 0.6, 1.0)
        vigour = u * u * (3 - 2 * u)
        stance = standing(figure.build, 0, time) if vigour < 1e-3 else walking(figure.build, s, vigour)
        return (figure.coarse if far else figure).posed(stance)

    return shape


def walker_size(figure: Figure) -> tuple[float, float, float]:
    """Length, width and height of the box that a walker keeps within."""
    stride = stride_length(figure.build)
    meshes = [figure.posed(walking(figure.build, stride * step / 12)) for step in range(12)]
    meshes.append(figure.posed(standing(figure.build, 0)))
    points = np.concatenate([mesh.vertices for mesh in meshes])
    reach = 2 * np.abs(points).max(axis=0)
    return float(reach[0]), float(reach[1]), float(points[:, 2].max())


def mesh_size(mesh: Mesh) -> tuple[float, float, float]:
    """Length, width and height of the box around a mesh that stands on its origin."""
    reach = 2 * np.abs(mesh.vertices).max(axis=0)
    return float(reach[0]), float(reach[1]), float(mesh.vertices[:, 2].max())
