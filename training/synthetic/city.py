"""A world for one drive: streets, what stands there, who moves, and the weather."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.fleet import WISH
from panoptic_training.synthetic.mesh import Mesh
from panoptic_training.synthetic.scene import Body, Weather
from panoptic_training.synthetic.signals import signal_lamps
from panoptic_training.synthetic.static import build_static
from panoptic_training.synthetic.street import Layout
from panoptic_training.synthetic.traffic import Ego, make_traffic


@dataclass(frozen=True)
class Skies:
    """How often which weather occurs: settings of domain randomisation.

    Attributes
    ----------
    clear, overcast, dusk, fog:
        Shares; they need not sum to 1.
    wet:
        Share of drives on wet roads, likelier under clouds.
    """

    clear: float = 0.45
    overcast: float = 0.3
    dusk: float = 0.15
    fog: float = 0.1
    wet: float = 0.25


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


def random_weather(rng: np.random.Generator, skies: Skies | None = None) -> Weather:
    """Weather as it comes.

    Parameters
    ----------
    skies:
        How often which kind occurs.

    Raises
    ------
    ValueError
        If a share is negative, or all are 0.
    """
    skies = skies or Skies()
    shares = np.array([skies.clear, skies.overcast, skies.dusk, skies.fog])
    if (shares < 0).any() or shares.sum() <= 0 or not 0 <= skies.wet <= 1:
        raise ValueError(f"shares of weather must not be negative, nor all 0, and wet at most 1, got {skies}")
    kind = ("clear", "overcast", "dusk", "fog")[int(rng.choice(4, p=shares / shares.sum()))]
    elevation = {"clear": (0.35, 1.05), "overcast": (0.3, 1.0), "dusk": (-0.07, 0.12), "fog": (0.15, 0.7)}[kind]
    clouds = {"clear": (0.05, 0.5), "overcast": (0.75, 1.0), "dusk": (0.1, 0.8), "fog": (0.7, 1.0)}[kind]
    haze = {"clear": (-4.0, -3.1), "overcast": (-3.7, -2.9), "dusk": (-3.7, -2.9), "fog": (-2.3, -1.65)}[kind]
    cloudiness = float(rng.uniform(*clouds))
    wet = rng.random() < min(skies.wet * (0.4 + 1.2 * cloudiness), 1.0)
    return Weather(
        sun_elevation=float(rng.uniform(*elevation)),
        sun_azimuth=float(rng.uniform(-np.pi, np.pi)),
        cloudiness=cloudiness,
        fog=float(10 ** rng.uniform(*haze)),
        wetness=float(rng.uniform(0.35, 1.0)) if wet else 0.0,
        seed=int(rng.integers(1 << 31)),
    )


def make_world(
    seed: int,
    duration: float = 60.0,
    weather: Weather | None = None,
    density: float = 1.0,
    skies: Skies | None = None,
) -> City:
    """Everything for one drive; the same for the same arguments.

    Parameters
    ----------
    seed:
        Of the streets, the traffic and the weather.
    duration:
        Seconds that the drive lasts at most.
    weather:
        None for a random one.
    density:
        Of traffic and people: 1 is a town on a weekday, 0 is nobody.
    skies:
        How often which weather occurs when it is random.

    Raises
    ------
    ValueError
        If `duration` or `density` is impossible.
    """
    if not (np.isfinite(duration) and duration > 0):
        raise ValueError(f"duration must be a positive number of seconds, got {duration}")
    if weather is None:
        weather = random_weather(np.random.default_rng([seed, 7]), skies)
    layout = Layout.make(seed, max(WISH * duration + 20.0, 60.0))
    dark = weather.sun_elevation < 0.1 or weather.fog > 0.008
    traffic = make_traffic(layout, seed, duration, density, lights=dark)
    bodies = [*traffic.bodies, *signal_lamps(layout)]
    return City(build_static(layout, seed), bodies, weather, duration, layout, traffic.ego)
