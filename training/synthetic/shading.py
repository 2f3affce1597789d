"""What surfaces look like: sun with shadows, sky, lamps, mirrors, wet road, air.

Everything works on whole arrays of hits.  Colours and vectors are held as (3, N), so that each component is contiguous.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.lamps import POLE, Lamps
from panoptic_training.synthetic.mesh import Material
from panoptic_training.synthetic.raycast import Hits, Raycaster, lift
from panoptic_training.synthetic.sky import Sky
from panoptic_training.synthetic.textures import Textures

Vector = NDArray[np.float32]  # (3, N)
Scalar = NDArray[np.float32]  # (N,)
BUILDING, VEGETATION = 11, 21
LAMP_LEVEL = 0.09  # of lamps beside the sun
PENUMBRA = 0.0018  # radians: half the width of the sun, and of what thin leaves scatter

# What a surface mirrors when looked at straight, and how sharp and strong its highlight is.
_MIRROR = np.zeros(len(Material), dtype=np.float32)
_MIRROR[[Material.GLASS, Material.CAR_PAINT]] = 0.09, 0.05
_GLOSS = np.full(len(Material), 12, dtype=np.float32)
_SHINE = np.full(len(Material), 0.02, dtype=np.float32)
for _material, _gloss, _shine in (
    (Material.GLASS, 900, 14.0),
    (Material.CAR_PAINT, 420, 6.0),
    (Material.METAL, 50, 0.7),
    (Material.PLASTIC, 60, 0.25),
    (Material.SIGN, 40, 0.15),
    (Material.RUBBER, 15, 0.04),
    (Material.FOLIAGE, 18, 0.10),
    (Material.FABRIC, 6, 0.01),
    (Material.LIGHT, 60, 0.4),
):
    _GLOSS[_material], _SHINE[_material] = _gloss, _shine
_HASHES = ((12.9898, 78.233, 37.719), (39.346, 11.135, 83.155))  # for noise of a point's place
_WET = np.zeros(len(Material), dtype=np.float32)  # how much water a surface that faces up holds
for _material, _holds in (
    (Material.ASPHALT, 1.0),
    (Material.MARKING, 0.9),
    (Material.PAVING, 0.8),
    (Material.CONCRETE, 0.7),
    (Material.SOIL, 0.3),
):
    _WET[_material] = _holds


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
    raycaster:
        The world; its weather's seed is also the textures'.
    """

    def __init__(self, raycaster: Raycaster, quality: Quality) -> None:
        self.raycaster, self.quality = raycaster, quality
        self.weather = raycaster.world.weather
        self.sky = Sky(self.weather)
        self.textures = Textures(self.weather.seed)
        self.lamps = Lamps(raycaster.world)
        self.dark = float(np.clip((0.12 - self.weather.sun_elevation) / 0.2, 0, 1))  # 1 when lamps are lit

    def backdrop(self, directions: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 3) radiance where rays along (N, 3) directions hit nothing."""
        result: NDArray[np.float32] = self.sky.look(np.ascontiguousarray(directions.T)).T
        return result

    def shade(
        self,
        hits: Hits,
        origins: NDArray[np.float32],
        directions: NDArray[np.float32],
        pixel_angle: float,
        time: float,
        openness: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """(N, 3) linear radiance along each ray.

        Parameters
        ----------
        hits:
            What the rays hit, with smooth normals.
        origins, directions:
            (N, 3) or (1, 3), and (N, 3); in the world.
        pixel_angle:
            Radians that a pixel covers: finer texture is left out.
        openness:
            (N,) share of the sky's light that reaches the point past its surroundings; 1 if None.
        """
        result = np.empty((len(directions), 3), dtype=np.float32)
        solid = np.flatnonzero(hits.face >= 0)
        empty = np.flatnonzero(hits.face < 0)
        if len(empty):
            result[empty] = self.backdrop(directions[empty])
        if len(solid):
            part = hits if len(solid) == len(directions) else select(hits, solid)
            starts = origins if len(origins) == 1 else origins[solid]
            open_part = None if openness is None else openness[solid]
            result[solid] = self._solid(part, starts, directions[solid], pixel_angle, time, open_part, True).T
        return result

    def _solid(
        self,
        hits: Hits,
        origins: NDArray[np.float32],
        directions: NDArray[np.float32],
        pixel_angle: float,
        time: float,
        openness: Scalar | None,
        mirrors: bool,
    ) -> Vector:
        """(3, N) radiance of hits; a mirrored one (`mirrors` False) mirrors nothing itself."""
        sky, along = self.sky, np.ascontiguousarray(directions.T)
        normal = np.ascontiguousarray(hits.smooth.T)
        points = lift(origins, directions, hits)
        material = hits.material
        facing = np.maximum(-_dot(along, normal), np.float32(0.02))
        footprint = hits.distance * np.float32(pixel_angle) / np.sqrt(np.maximum(facing, np.float32(0.08)))
        u, v = hits.uv.T
        factor = self.textures.factor(material, np.ascontiguousarray(u), np.ascontiguousarray(v), footprint)
        albedo = hits.color.T * np.stack(factor)
        np.minimum(albedo, np.float32(0.92), out=albedo)
        water = self._water(hits, points, normal)
        if water is not None:
            albedo *= 1 - np.float32(0.45) * np.minimum(water * 2, 1)

        leaves = (material == Material.FOLIAGE) | (hits.class_id == VEGETATION)
        sun = self._sun(hits, points, normal, leaves, time, mirrors)
        up = normal[2]
        open_sky = np.float32(0.5) + np.float32(0.5) * up
        below = np.float32(1) - open_sky
        if openness is not None:
            open_sky = open_sky * openness
            below *= np.float32(0.35) + np.float32(0.65) * openness
        light = sky.sun[:, None] * sun
        light += sky.overhead[:, None] * open_sky
        light += sky.ground[:, None] * below
        if self.dark > 0:
            light += self.lamps.light(points, normal, time) * np.float32(self.dark * LAMP_LEVEL)
        color = albedo * light
        color += self._highlight(hits, along, normal, sun)
        if mirrors:
            self._mirror(color, hits, points, along, normal, facing, water, pixel_angle, time)
        if self.dark > 0:
            self._glow(color, hits)
        else:
            lamp = np.flatnonzero(material == Material.LIGHT)
            if len(lamp):
                color[:, lamp] += hits.color.T[:, lamp] * np.float32(0.55)
        return self._air(color, hits.distance, along)

    def _sun(
        self,
        hits: Hits,
        points: NDArray[np.float32],
        normal: Vector,
        leaves: NDArray[np.bool_],
        time: float,
        trace: bool,
    ) -> Scalar:
        """(N,) share of the sun's light that a surface catches; leaves let some through."""
        direct = _dot(normal, self.sky.direction[:, None])
        direct = np.where(
            leaves, np.maximum(direct, np.float32(-0.55) * direct) * np.float32(0.8) + np.float32(0.2), direct
        )
        flat = _dot(hits.normal.T, self.sky.direction[:, None])
        direct[(flat <= 0) & ~leaves] = 0
        np.maximum(direct, 0, out=direct)
        if self.quality.shadows and self.sky.sun.max() > 0.01:
            lit = np.flatnonzero(direct > 0)
            starts = points[lit]
            # A leaf's own neighbours would darken the whole crown.
            starts += self.sky.direction * np.where(leaves[lit], np.float32(0.25), np.float32(0))[:, None]
            direct[lit[self.raycaster.occluded(starts, self._toward_sun(starts), time)]] = 0
        return direct

    def _toward_sun(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 3) directions to places on the sun, another at each point, so that shadows have soft edges."""
        first, second = (_random(points, way) for way in _HASHES)
        side = np.cross(self.sky.direction, [0.0, 0.0, 1.0]).astype(np.float32)
        side /= max(float(np.linalg.norm(side)), 1e-6)
        over = np.cross(side, self.sky.direction).astype(np.float32)
        toward = self.sky.direction + (first[:, None] * side + second[:, None] * over) * np.float32(2 * PENUMBRA)
        toward /= np.sqrt(np.einsum("ij,ij->i", toward, toward))[:, None]
        result: NDArray[np.float32] = toward.astype(np.float32)
        return result

    def _water(self, hits: Hits, points: NDArray[np.float32], normal: Vector) -> Scalar | None:
        """(N,) 0 dry, 0.5 wet, 1 under water; None in dry weather."""
        wetness = self.weather.wetness
        if wetness <= 0:
            return None
        spots = self.textures.spots(points[:, 0], points[:, 1])
        puddle = np.clip((spots - np.float32(1 - 0.3 * wetness)) * 12, 0, 1)
        film = np.float32(0.5 * min(1.0, 1.6 * wetness))
        flat = np.clip((normal[2] - np.float32(0.8)) * 8, 0, 1)
        result: Scalar = (film + (1 - film) * puddle) * flat * _WET[hits.material]
        return result

    def _highlight(self, hits: Hits, along: Vector, normal: Vector, sun: Scalar) -> Vector:
        """(3, N) the sun's own reflection."""
        if self.sky.sun.max() <= 0.01:
            return np.zeros_like(along)
        half = self.sky.direction[:, None] - along
        half /= np.sqrt(np.maximum(_dot(half, half), np.float32(1e-6)))
        peak = np.maximum(_dot(half, normal), 0) ** _GLOSS[hits.material]
        peak *= _SHINE[hits.material] * (sun > 0)
        result: Vector = self.sky.sun[:, None] * peak
        return result

    def _mirror(
        self,
        color: Vector,
        hits: Hits,
        points: NDArray[np.float32],
        along: Vector,
        normal: Vector,
        facing: Scalar,
        water: Scalar | None,
        pixel_angle: float,
        time: float,
    ) -> None:
        """Add to `color` what glass, paint and water mirror: the world where it matters, else the sky alone."""
        base = _MIRROR[hits.material]
        grazing = (np.float32(1) - facing) ** 5
        strength = np.where(base > 0, base + (np.float32(0.9) - base) * grazing, np.float32(0))
        if water is not None:
            film = (np.float32(0.025) + np.float32(0.75) * grazing) * np.clip(water * 1.7 - 0.45, 0, 1)
            np.maximum(strength, film, out=strength)
        chosen = np.flatnonzero(strength > 0.015)
        if not len(chosen):
            return
        ray, surface = along[:, chosen], normal[:, chosen]
        if water is not None:  # a film over asphalt is rough: what it mirrors is drawn out towards the eye
            rough = np.where(base[chosen] > 0, 0, 1 - water[chosen])
            jitter = _random(points[chosen], _HASHES[0])
            surface = surface + np.stack([ray[0], ray[1], np.zeros_like(jitter)]) * (jitter * rough * np.float32(0.10))
            surface /= np.sqrt(_dot(surface, surface))
        out = ray - 2 * _dot(ray, surface) * surface
        out[2] = np.where(hits.normal[chosen, 2] > 0.5, np.abs(out[2]) + np.float32(1e-3), out[2])
        seen = self._surroundings(out)
        if self.quality.mirrors:
            far = strength[chosen] * (hits.distance[chosen] < 80)
            traced = np.flatnonzero(far > 0.03)
            if len(traced):
                starts, rays = points[chosen[traced]], np.ascontiguousarray(out[:, traced].T)
                found = self.raycaster.cast(starts, rays, time, max_distance=150)
                solid = np.flatnonzero(found.face >= 0)
                seen[:, traced] = self.sky.look(out[:, traced])
                if len(solid):
                    part = select(found, solid)
                    seen[:, traced[solid]] = self._solid(
                        part, starts[solid], rays[solid], pixel_angle * 3, time, None, False
                    )
        weight = strength[chosen]
        color[:, chosen] = color[:, chosen] * (1 - weight) + np.minimum(seen, np.float32(3)) * weight

    def _surroundings(self, out: Vector) -> Vector:
        """(3, N) what an unknown street shows along a ray: ground below, houses in its lower part, sky above."""
        seen = self.sky.look(out, soft=True)
        ground = self.sky.ground[:, None] * np.float32(0.8)
        share = np.clip(out[2] * 5, 0, 1)
        result: Vector = ground + (seen - ground) * share
        return result

    def _glow(self, color: Vector, hits: Hits) -> None:
        """Lamps shine, and some windows have light behind them."""
        lamp = np.flatnonzero(hits.material == Material.LIGHT)
        if len(lamp):
            color[:, lamp] += hits.color.T[:, lamp] * np.float32(0.6 + 0.6 * self.dark)
        lantern = np.flatnonzero((hits.material == Material.GLASS) & (hits.class_id == POLE))
        if len(lantern):
            color[:, lantern] += hits.color.T[:, lantern] * np.float32(2.0 * self.dark)
        window = np.flatnonzero((hits.material == Material.GLASS) & (hits.class_id == BUILDING))
        if len(window):
            number = (hits.face[window] // 2).astype(np.uint32) * np.uint32(2654435761)
            chance = (number >> np.uint32(16)).astype(np.float32) * np.float32(1 / 65536)
            level = np.where(chance < 0.3, (chance + np.float32(0.05)) * np.float32(0.55 * self.dark), np.float32(0))
            color[:, window] += np.array([[0.9], [0.62], [0.3]], dtype=np.float32) * level

    def _air(self, color: Vector, distance: Scalar, along: Vector) -> Vector:
        """What the air leaves of a colour, and the air's own."""
        through = np.exp(distance * np.float32(-max(self.weather.fog, 1e-4)))
        haze = self.sky.haze[:, None]
        if self.sky.sun.max() > 0.01:
            toward = np.maximum(_dot(along, self.sky.direction[:, None]), 0) ** 6
            haze = haze + self.sky.sun[:, None] * (toward * np.float32(0.18))
        color -= haze
        color *= through
        color += haze
        return color


def select(hits: Hits, chosen: NDArray[np.intp]) -> Hits:
    """Some of the hits."""
    return Hits(
        distance=hits.distance[chosen],
        class_id=hits.class_id[chosen],
        instance=hits.instance[chosen],
        material=hits.material[chosen],
        color=hits.color.T[:, chosen].T,
        normal=hits.normal.T[:, chosen].T,
        smooth=hits.smooth.T[:, chosen].T,
        uv=hits.uv.T[:, chosen].T,
        body=hits.body[chosen],
        face=hits.face[chosen],
    )


def _dot(first: Vector, second: Vector) -> Scalar:
    result: Scalar = first[0] * second[0] + first[1] * second[1] + first[2] * second[2]
    return result


def _random(points: NDArray[np.float32], way: tuple[float, float, float]) -> Scalar:
    """(N,) in [-0.5, 0.5), as good as random but always the same at a place, and in whatever part of an array it is."""
    x, y, z = (np.float32(factor) for factor in way)
    value = np.float32(43758.547) * np.sin(points[:, 0] * x + points[:, 1] * y + points[:, 2] * z)
    result: Scalar = value - np.floor(value) - np.float32(0.5)
    return result
