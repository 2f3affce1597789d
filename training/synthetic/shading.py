"""What a picture's rays see: the light of surfaces and of the sky, with shadows and mirrors.

`Shader` sends the rays; `surfaces` holds the light and the looks of single points.
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.lamps import Lamps
from panoptic_training.synthetic.raycast import Hits, Raycaster
from panoptic_training.synthetic.scene import World
from panoptic_training.synthetic.sky import Sky
from panoptic_training.synthetic.surfaces import Light, catch_sun, finish, look_at, mix
from panoptic_training.synthetic.textures import Textures

MIRRORED = 150.0  # metres that a mirrored ray goes


@dataclass(frozen=True, slots=True)
class Quality:
    """What a picture may cost.

    Attributes
    ----------
    shadows, mirrors:
        Whether the sun's shadow is traced, and what glass, paint and water mirror.
    occlusion:
        Rays per coarse point that find how much sky it sees; 0 for none.
    smooth_edges:
        Whether pixels at edges are the mean of several rays.
    threads:
        That share a picture.
    """

    shadows: bool = True
    mirrors: bool = True
    occlusion: int = 4
    smooth_edges: bool = True
    threads: int = 1

    def __post_init__(self) -> None:
        if self.occlusion < 0 or self.threads < 1:
            raise ValueError(f"occlusion must be 0 or more and threads 1 or more, got {self}")


class Shader:
    """Light and surfaces of one world.

    Parameters
    ----------
    world:
        Its weather's seed is also the textures'.
    quality:
        What is traced.
    """

    def __init__(self, world: World, quality: Quality) -> None:
        self.quality = quality
        weather = world.weather
        self.sky = Sky(weather)
        self.textures = Textures(weather.seed)
        self.lamps = Lamps(world)
        self.light = Light(
            direction=self.sky.direction,
            sun=self.sky.sun,
            overhead=self.sky.overhead,
            ground=self.sky.ground,
            haze=self.sky.haze,
            dome=self.sky.dome,
            soft=self.sky.soft,
            fog=max(weather.fog, 1e-4),
            wetness=float(weather.wetness),
            dark=float(np.clip((0.12 - weather.sun_elevation) / 0.2, 0, 1)),
            sunny=bool(self.sky.sun.max() > 0.01),
        )

    def shade(
        self,
        raycaster: Raycaster,
        hits: Hits,
        origins: NDArray[np.float32],
        directions: NDArray[np.float32],
        pixel_angle: float,
        time: float,
        openness: NDArray[np.float32] | None = None,
        mirrors: bool = True,
    ) -> NDArray[np.float32]:
        """(N, 3) linear radiance along each ray.

        Parameters
        ----------
        raycaster:
            Of the world.
        hits:
            What the rays hit.
        origins, directions:
            (N, 3) or (1, 3), and (N, 3); in the world.
        pixel_angle:
            Radians that a pixel covers: finer texture is left out.
        openness:
            (N,) share of the sky's light that reaches the point past its surroundings; 1 if None.
        mirrors:
            Whether surfaces mirror others; mirrored ones do not.
        """
        light, columns = self.light, hits.columns
        points, sun, lit, starts, toward = catch_sun(light, columns, origins, directions)
        if self.quality.shadows and light.sunny:
            sun[lit[raycaster.occluded(starts, toward, time)]] = 0
        if openness is None:
            openness = np.ones(1, dtype=np.float32)
        color, chosen, weights, seen, traced, rays = look_at(
            light,
            self.textures.tables,
            self.lamps.tables(time),
            columns,
            directions,
            points,
            sun,
            openness,
            np.float32(pixel_angle),
            mirrors,
            self.quality.mirrors,
        )
        if len(traced):
            begins = points[chosen[traced]]
            found = raycaster.cast(begins, rays, time, MIRRORED)
            seen[traced] = self.shade(raycaster, found, begins, rays, pixel_angle * 3, time, mirrors=False)
        mix(color, chosen, weights, seen)
        finish(light, columns, directions, color)
        return np.asarray(color)


_shaders: WeakKeyDictionary[Raycaster, dict[Quality, Shader]] = WeakKeyDictionary()


def shader_of(raycaster: Raycaster, quality: Quality) -> Shader:
    """The shader of a world, shared by its cameras; it goes when the raycaster does."""
    known = _shaders.setdefault(raycaster, {})
    if quality not in known:
        known[quality] = Shader(raycaster.world, quality)
    return known[quality]
