"""What surfaces look like, point by point: sun, sky, lamps, what they mirror, wet roads, air.

Loops over rays, compiled.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.compiled import compiled, inlined
from panoptic_training.synthetic.lamps import POLE, LampTables, lamplight
from panoptic_training.synthetic.mesh import Material
from panoptic_training.synthetic.sky import look
from panoptic_training.synthetic.textures import TextureTables, factors, spot
from panoptic_training.synthetic.tracing import Columns

F = np.float32
BUILDING, VEGETATION = 11, 21
LAMP_LEVEL = F(0.09)  # of lamps beside the sun
PENUMBRA = F(0.0018)  # radians: half the width of the sun, and of what thin leaves scatter
FAINT, TRACED = 0.015, 0.03  # strengths of mirrors from which on they count, and rays are traced
MIRRORS_WITHIN = 80.0  # metres

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
_WET = np.zeros(len(Material), dtype=np.float32)  # how much water a surface that faces up holds
for _material, _holds in (
    (Material.ASPHALT, 1.0),
    (Material.MARKING, 0.9),
    (Material.PAVING, 0.8),
    (Material.CONCRETE, 0.7),
    (Material.SOIL, 0.3),
):
    _WET[_material] = _holds
_FOLIAGE, _GLASS, _LIGHT = int(Material.FOLIAGE), int(Material.GLASS), int(Material.LIGHT)


class Light(NamedTuple):
    """The light of a world.

    Attributes
    ----------
    direction, sun, overhead, ground, haze, dome, soft:
        Of its `Sky`.
    fog, wetness:
        Of its `Weather`.
    dark:
        1 when lamps are lit, 0 by day.
    sunny:
        Whether the sun gives light.
    """

    direction: NDArray[np.float32]
    sun: NDArray[np.float32]
    overhead: NDArray[np.float32]
    ground: NDArray[np.float32]
    haze: NDArray[np.float32]
    dome: NDArray[np.float32]
    soft: NDArray[np.float32]
    fog: float
    wetness: float
    dark: float
    sunny: bool


@inlined
def _clip(value: Any) -> Any:
    return min(max(value, F(0)), F(1))


@inlined
def _dot(first: Any, second: Any) -> Any:
    return first[0] * second[0] + first[1] * second[1] + first[2] * second[2]


@inlined
def _chance(point: Any, x: Any, y: Any, z: Any) -> Any:
    """In [-0.5, 0.5), as good as random but always the same at a place."""
    value = F(43758.547) * np.sin(point[0] * x + point[1] * y + point[2] * z)
    return value - np.floor(value) - F(0.5)


@inlined
def _first_chance(point: Any) -> Any:
    return _chance(point, F(12.9898), F(78.233), F(37.719))


@compiled
def catch_sun(
    light: Any,
    hits: Columns,
    origins: Any,
    directions: Any,
) -> Any:
    """Points a little above the surfaces, and the sun's light on them before shadows.

    Returns
    -------
    points, sun:
        (N, 3), and (N,) share of the sun's light that the surface catches.
    lit, starts, toward:
        (L,) rays whose `sun` is not 0; (L, 3) from where, and (L, 3) to which place on the sun, to look for shadows.
    """
    count = len(directions)
    points, sun = np.empty((count, 3), dtype=np.float32), np.zeros(count, dtype=np.float32)
    lit = np.empty(count, dtype=np.int64)
    starts, toward = np.empty((count, 3), dtype=np.float32), np.empty((count, 3), dtype=np.float32)
    way = light.direction
    flat = max(np.sqrt(way[0] * way[0] + way[1] * way[1]), F(1e-6))
    side_x, side_y = way[1] / flat, -way[0] / flat
    over = (side_y * way[2], -side_x * way[2], side_x * way[1] - side_y * way[0])
    found = 0
    for ray in range(count):
        if hits.face[ray] < 0:
            points[ray] = 0
            continue
        origin = origins[ray if len(origins) > 1 else 0]
        above = F(0.003) + hits.distance[ray] * F(1e-4)  # as `raycast.lift`
        for axis in range(3):
            points[ray, axis] = (
                origin[axis] + directions[ray, axis] * hits.distance[ray] + hits.normal[ray, axis] * above
            )
        leaf = hits.material[ray] == _FOLIAGE or hits.class_id[ray] == VEGETATION
        direct = _dot(hits.smooth[ray], way)
        if leaf:  # leaves let some through
            direct = max(direct, F(-0.55) * direct) * F(0.8) + F(0.2)
        elif _dot(hits.normal[ray], way) <= 0:
            direct = F(0)
        if direct <= 0:
            continue
        sun[ray] = direct
        point = points[ray]
        inside = F(0.25) if leaf else F(0)  # a leaf's own neighbours would darken the whole crown
        for axis in range(3):
            starts[found, axis] = point[axis] + way[axis] * inside
        # Another place on the sun from each point, so that shadows have soft edges.
        across = _first_chance(starts[found]) * (2 * PENUMBRA)
        along = _chance(starts[found], F(39.346), F(11.135), F(83.155)) * (2 * PENUMBRA)
        x = way[0] + across * side_x + along * over[0]
        y = way[1] + across * side_y + along * over[1]
        z = way[2] + along * over[2]
        scale = F(1) / np.sqrt(x * x + y * y + z * z)
        toward[found, 0], toward[found, 1], toward[found, 2] = x * scale, y * scale, z * scale
        lit[found] = ray
        found += 1
    return points, sun, lit[:found], starts[:found], toward[:found]


@inlined
def _water(light: Any, textures: Any, material: Any, point: Any, up: Any) -> Any:
    """0 dry, 0.5 wet, 1 under water."""
    if light.wetness <= 0 or _WET[material] <= 0:
        return F(0)
    puddle = _clip((spot(textures, point[0], point[1]) - F(1 - 0.3 * light.wetness)) * F(12))
    film = F(0.5 * min(1.0, 1.6 * light.wetness))
    flat = _clip((up - F(0.8)) * F(8))
    return (film + (F(1) - film) * puddle) * flat * _WET[material]


@inlined
def _highlight(light: Any, material: Any, along: Any, normal: Any) -> Any:
    """How much of the sun itself a surface mirrors."""
    x, y, z = light.direction[0] - along[0], light.direction[1] - along[1], light.direction[2] - along[2]
    length = np.sqrt(max(x * x + y * y + z * z, F(1e-6)))
    peak = max((x * normal[0] + y * normal[1] + z * normal[2]) / length, F(0))
    return peak ** _GLOSS[material] * _SHINE[material]


@compiled
def look_at(
    light: Any,
    textures: TextureTables,
    lamps: LampTables,
    hits: Columns,
    directions: Any,
    points: Any,
    sun: Any,
    openness: Any,
    pixel_angle: Any,
    mirrors: bool,
    trace: bool,
) -> Any:
    """Radiance of surfaces by the light that falls on them, and what they mirror.

    Returns
    -------
    radiance:
        (N, 3).
    chosen, weights, seen:
        (M,) rays whose surface mirrors, how strongly, and (M, 3) what an unknown street would show there.
    traced, rays:
        (T,) which of `chosen` should see the world instead, and (T, 3) along which rays.
    """
    count = len(directions)
    radiance = np.zeros((count, 3), dtype=np.float32)
    chosen, traced = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    weights = np.empty(count, dtype=np.float32)
    seen, rays = np.empty((count, 3), dtype=np.float32), np.empty((count, 3), dtype=np.float32)
    mirroring = tracing = 0
    for ray in range(count):
        if hits.face[ray] < 0:
            continue
        kind, along, up = hits.material[ray], directions[ray], hits.smooth[ray, 2]
        facing = max(-_dot(along, hits.smooth[ray]), F(0.02))
        footprint = hits.distance[ray] * pixel_angle / np.sqrt(max(facing, F(0.08)))
        water = _water(light, textures, kind, points[ray], up)
        share = openness[ray if len(openness) > 1 else 0]
        above = (F(0.5) + F(0.5) * up) * share
        below = (F(0.5) - F(0.5) * up) * (F(0.35) + F(0.65) * share)
        shine = _highlight(light, kind, along, hits.smooth[ray]) if light.sunny and sun[ray] > 0 else F(0)
        lamp = (F(0), F(0), F(0))
        if light.dark > 0:
            lamp = lamplight(lamps, points[ray], hits.smooth[ray])
        factor = factors(textures, kind, hits.uv[ray, 0], hits.uv[ray, 1], footprint)
        dull = F(1) - F(0.45) * min(water * 2, F(1))
        for band in range(3):
            albedo = min(hits.color[ray, band] * factor[band], F(0.92)) * dull
            total = light.sun[band] * sun[ray] + light.overhead[band] * above + light.ground[band] * below
            total += lamp[band] * F(light.dark) * LAMP_LEVEL
            radiance[ray, band] = albedo * total + light.sun[band] * shine
        if not mirrors:
            continue
        grazing = (F(1) - facing) ** 5
        base = _MIRROR[kind]
        strength = base + (F(0.9) - base) * grazing if base > 0 else F(0)
        strength = max(strength, (F(0.025) + F(0.75) * grazing) * _clip(water * F(1.7) - F(0.45)))
        if strength <= FAINT:
            continue
        x, y, z = hits.smooth[ray, 0], hits.smooth[ray, 1], hits.smooth[ray, 2]
        if light.wetness > 0 and base <= 0:
            # A film over asphalt is rough: what it mirrors is drawn out towards the eye.
            rough = _first_chance(points[ray]) * (F(1) - water) * F(0.10)
            x, y = x + along[0] * rough, y + along[1] * rough
            scale = F(1) / np.sqrt(x * x + y * y + z * z)
            x, y, z = x * scale, y * scale, z * scale
        twice = 2 * (along[0] * x + along[1] * y + along[2] * z)
        x, y, z = along[0] - twice * x, along[1] - twice * y, along[2] - twice * z
        if hits.normal[ray, 2] > F(0.5):
            z = abs(z) + F(1e-3)
        chosen[mirroring], weights[mirroring] = ray, strength
        if trace and hits.distance[ray] < MIRRORS_WITHIN and strength > TRACED:
            rays[tracing, 0], rays[tracing, 1], rays[tracing, 2] = x, y, z
            traced[tracing] = mirroring
            tracing += 1
        else:  # an unknown street: ground below, houses in its lower part, sky above
            sky, rise = look(light.soft, x, y, z), _clip(z * 5)
            for band in range(3):
                ground = light.ground[band] * F(0.8)
                seen[mirroring, band] = ground + (sky[band] - ground) * rise
        mirroring += 1
    return radiance, chosen[:mirroring], weights[:mirroring], seen[:mirroring], traced[:tracing], rays[:tracing]


@compiled
def mix(radiance: Any, chosen: Any, weights: Any, seen: Any) -> None:
    """Put what surfaces mirror over their own radiance; arguments as `look_at` returns them."""
    for mirror in range(len(chosen)):
        weight, ray = weights[mirror], chosen[mirror]
        for band in range(3):
            radiance[ray, band] += (min(seen[mirror, band], F(3)) - radiance[ray, band]) * weight


@inlined
def _glow(light: Any, material: Any, class_id: Any, face: Any, own: Any, band: int) -> Any:
    """Lamps shine, and after dark some windows have light behind them."""
    if material == _LIGHT:
        return own * F(0.55 if light.dark == 0 else 0.6 + 0.6 * light.dark)
    if light.dark > 0 and material == _GLASS:
        if class_id == POLE:
            return own * F(2.0 * light.dark)
        if class_id == BUILDING:
            number = (np.uint32(face // 2) * np.uint32(2654435761)) & np.uint32(0xFFFFFFFF)
            chance = F(number >> np.uint32(16)) * F(1 / 65536)
            level = (chance + F(0.05)) * F(0.55 * light.dark) if chance < F(0.3) else F(0)
            return level * (F(0.9) if band == 0 else F(0.62) if band == 1 else F(0.3))
    return F(0)


@compiled
def finish(
    light: Any,
    hits: Columns,
    directions: Any,
    radiance: Any,
) -> None:
    """Add to (N, 3) radiance what shines by itself and the air between; rays that hit nothing see the sky."""
    for ray in range(len(directions)):
        along = directions[ray]
        if hits.face[ray] < 0:
            sky = look(light.dome, along[0], along[1], along[2])
            for band in range(3):
                radiance[ray, band] = sky[band]
            continue
        through = np.exp(hits.distance[ray] * F(-light.fog))
        toward = max(_dot(along, light.direction), F(0)) ** 6 * F(0.18) if light.sunny else F(0)
        for band in range(3):
            glow = _glow(light, hits.material[ray], hits.class_id[ray], hits.face[ray], hits.color[ray, band], band)
            haze = light.haze[band] + light.sun[band] * toward
            radiance[ray, band] = (radiance[ray, band] + glow - haze) * through + haze
