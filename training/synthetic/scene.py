"""What stands and moves in the world, as the sensors meet it.

World frame: x and y span the ground, z is up (REP-103), metres; time in seconds from the start of the drive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.mesh import Mesh


class Body(Protocol):
    """Something that changes with time: one countable thing (a vehicle, a cycle, a rider, a person), or stuff.

    Stuff stands still, but its colours and materials change, as those of traffic lights do.

    Attributes
    ----------
    instance:
        Its number, 1 to 999, the same for the whole drive and nobody else's; 0 for stuff, which is no object of the
        truth.
    class_id:
        Its Cityscapes labelId.
    size:
        Length, width, height in metres of its box, which stands on its origin.
    """

    @property
    def instance(self) -> int: ...

    @property
    def class_id(self) -> int: ...

    @property
    def size(self) -> tuple[float, float, float]: ...

    def pose(self, time: float) -> NDArray[np.float64]:
        """(4, 4) from its own frame (x forward, y left, z up, origin on the ground below its middle) to the world."""

    def velocity(self, time: float) -> NDArray[np.float64]:
        """(3,) metres per second in the world."""

    def mesh(self, time: float) -> Mesh:
        """Its triangles in its own frame; limbs and wheels move with time.  All have its class."""


@dataclass(frozen=True, slots=True)
class Weather:
    """Light and air.

    Attributes
    ----------
    sun_elevation, sun_azimuth:
        Radians above the horizon (below -0.1 it is night), and from x towards y.
    cloudiness:
        0 clear to 1 overcast: how much of the light comes from the whole sky.
    fog:
        Extinction per metre; 0.02 hides what is 150 m away.
    wetness:
        0 dry to 1 wet road.
    seed:
        Of the clouds and textures.
    """

    sun_elevation: float = 0.7
    sun_azimuth: float = 0.6
    cloudiness: float = 0.3
    fog: float = 0.0005
    wetness: float = 0.0
    seed: int = 0


class World(Protocol):
    """Everything there is, for one drive.

    Attributes
    ----------
    static:
        What never moves and is not counted (roads, buildings, trees, poles …), in the world frame.
    bodies:
        The things, and what else changes.
    weather:
        Light and air.
    duration:
        Seconds that the drive can last.
    """

    @property
    def static(self) -> Mesh: ...

    @property
    def bodies(self) -> Sequence[Body]: ...

    @property
    def weather(self) -> Weather: ...

    @property
    def duration(self) -> float: ...

    def ego_pose(self, time: float) -> NDArray[np.float64]:
        """(4, 4) from base_link (on the ground below the vehicle's middle, x forward) to the world."""

    def ego_velocity(self, time: float) -> tuple[float, float]:
        """Metres per second forward, and radians per second to the left."""
