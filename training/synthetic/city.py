"""A world for one drive: streets, what stands there, who moves, and the weather."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.fleet import WISH
from panoptic_training.synthetic.mesh import Mesh
from panoptic_training.synthetic.randomisation import repainted
from panoptic_training.synthetic.scene import Body, Weather
from panoptic_training.synthetic.signals import signal_lamps
from panoptic_training.synthetic.static import build_static
from panoptic_training.synthetic.street import Layout
from panoptic_training.synthetic.traffic import Ego, make_traffic
from panoptic_training.synthetic.weather import random_weather


@dataclass(frozen=True, eq=False)
class City:
    """A `World`."""

    static: Mesh
    bodies: Sequence[Body]
    weather: Weather
    duration: float
    layout: Layout
    ego: Ego

    def ego_pose(self, time: float) -> NDArray[np.float64]:
        """(4, 4) from base_link to the world."""
        return self.ego.pose(time)

    def ego_velocity(self, time: float) -> tuple[float, float]:
        """Metres per second forward, and radians per second to the left."""
        return self.ego.velocity(time)


def make_world(
    seed: int,
    duration: float = 60.0,
    weather: Weather | None = None,
    density: float = 1.0,
    variation: float = 0.0,
) -> City:
    """Everything for one drive; the same for the same arguments.

    Parameters
    ----------
    seed:
        Of the streets, the traffic and the weather.
    duration:
        Seconds that the drive lasts at most.
    weather:
        None for a random one, see `panoptic_training.synthetic.weather`.
    density:
        Of traffic and people: 1 is a town on a weekday, 0 is nobody.
    variation:
        0 to 1: how far the colours of surfaces are from what they are in towns, see
        `panoptic_training.synthetic.randomisation`.

    Raises
    ------
    ValueError
        If `duration`, `density` or `variation` is impossible.
    """
    if not (np.isfinite(duration) and duration > 0):
        raise ValueError(f"duration must be a positive number of seconds, got {duration}")
    if not 0 <= variation <= 1:
        raise ValueError(f"variation must be 0 to 1, got {variation}")
    if weather is None:
        weather = random_weather(np.random.default_rng([seed, 7]))
    layout = Layout.make(seed, max(WISH * duration + 20.0, 60.0))
    dark = weather.sun_elevation < 0.1 or weather.fog > 0.008
    traffic = make_traffic(layout, seed, duration, density, lights=dark)
    bodies = [*traffic.bodies, *signal_lamps(layout)]
    static = repainted(build_static(layout, seed), seed, variation)
    return City(static, bodies, weather, duration, layout, traffic.ego)
