"""Sun and sky: what they look like, and how they light the ground.

The colours follow the sun's elevation by a short table rather than by a model of scattering: what is wanted is the look
of a road camera's sky, not radiometry.  All values are linear R, G, B; a white, sunlit surface at noon has about 1.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.compiled import inlined
from panoptic_training.synthetic.scene import Weather
from panoptic_training.synthetic.textures import noise

WIDTH, HEIGHT = 1536, 448  # texels of the dome: azimuth, and elevation from BOTTOM to the zenith
BOTTOM = -0.1  # radians; below it the dome is not looked at
Color = NDArray[np.float32]

# Sun's elevation in degrees; light of the sun, zenith, horizon away from the sun, horizon below the sun.
_TABLE = np.array(
    [
        [-18, 0.0, 0.0, 0.0, 0.002, 0.004, 0.011, 0.006, 0.009, 0.018, 0.007, 0.010, 0.018],
        [-8, 0.0, 0.0, 0.0, 0.008, 0.018, 0.048, 0.022, 0.032, 0.062, 0.090, 0.060, 0.060],
        [-3, 0.0, 0.0, 0.0, 0.030, 0.060, 0.140, 0.095, 0.105, 0.160, 0.460, 0.220, 0.120],
        [1, 0.22, 0.09, 0.03, 0.085, 0.130, 0.250, 0.260, 0.230, 0.270, 0.850, 0.450, 0.230],
        [5, 0.62, 0.36, 0.17, 0.105, 0.180, 0.340, 0.400, 0.400, 0.420, 0.900, 0.640, 0.420],
        [12, 0.95, 0.70, 0.45, 0.100, 0.205, 0.420, 0.480, 0.560, 0.620, 0.820, 0.740, 0.620],
        [25, 1.05, 0.92, 0.74, 0.090, 0.210, 0.470, 0.460, 0.600, 0.740, 0.660, 0.720, 0.760],
        [45, 1.08, 1.00, 0.88, 0.085, 0.205, 0.480, 0.420, 0.580, 0.760, 0.520, 0.640, 0.770],
        [90, 1.10, 1.04, 0.95, 0.080, 0.200, 0.480, 0.400, 0.560, 0.760, 0.430, 0.580, 0.760],
    ],
    dtype=np.float32,
)


class Sky:
    """The dome of one weather, and the light that it gives.

    Attributes
    ----------
    direction:
        (3,) float32, towards the sun.
    sun:
        (3,) float32, light of the sun on a surface that faces it; zero by night and under a closed cover.
    overhead, ground:
        (3,) float32, light of the whole dome on a surface that faces up, and what the ground throws back up.
    haze:
        (3,) float32, colour of distant air.
    dome, soft:
        (HEIGHT, WIDTH, 3) float32, its radiance, and what a rough surface mirrors of it, for `look`.
    """

    def __init__(self, weather: Weather) -> None:
        self.weather = weather
        elevation, azimuth = weather.sun_elevation, weather.sun_azimuth
        self.direction = np.array(
            [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)],
            dtype=np.float32,
        )
        row = [np.interp(np.degrees(elevation), _TABLE[:, 0], column) for column in _TABLE.T[1:]]
        light, zenith, away, below = np.array(row, dtype=np.float32).reshape(4, 3)
        cover = float(np.clip(weather.cloudiness, 0, 1))
        thick = max(0.0, min(1.0, (cover - 0.5) / 0.35))  # of the light that clouds take from the sun
        mist = float(1 - np.exp(-weather.fog * 250))
        self.sun = (light * 1.55 * (1 - thick) * (1 - 0.8 * mist)).astype(np.float32)
        grey = np.float32(zenith.mean() * 0.9 + light.mean() * 0.5 * max(np.sin(elevation), 0.0))
        cloud_color = (0.86 * grey * np.array([0.97, 1.0, 1.05]) + 0.14 * away).astype(np.float32)
        self.dome = self._paint(zenith, away, below, light, cloud_color, cover, thick, mist)
        self.soft = np.asarray(cv2.blur(self.dome, (41, 41), borderType=cv2.BORDER_REFLECT), dtype=np.float32)
        self.overhead, self.haze = self._integrate()
        # In a street much of the dome's light comes off walls and leaves: it is paler than the dome.
        self.overhead = (0.55 * self.overhead + 0.45 * self.overhead.mean()).astype(np.float32)
        sunlit = self.sun * max(float(self.direction[2]), 0.0)
        self.ground = ((self.overhead + sunlit) * np.array([0.16, 0.15, 0.13])).astype(np.float32)

    def _paint(
        self,
        zenith: Color,
        away: Color,
        below: Color,
        light: Color,
        cloud: Color,
        cover: float,
        thick: float,
        mist: float,
    ) -> NDArray[np.float32]:
        """(HEIGHT, WIDTH, 3) radiance."""
        elevation = np.linspace(BOTTOM, np.pi / 2, HEIGHT, dtype=np.float32)[:, None]
        azimuth = ((np.arange(WIDTH, dtype=np.float32) + 0.5) / WIDTH * 2 * np.pi)[None]
        x, y = np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth)
        z = np.broadcast_to(np.sin(elevation), x.shape)
        cosine = np.clip(x * self.direction[0] + y * self.direction[1] + z * self.direction[2], -1, 1)
        flat = np.clip(
            (x * self.direction[0] + y * self.direction[1]) / max(np.hypot(*self.direction[:2]), 1e-3), -1, 1
        )
        toward = ((0.5 + 0.5 * flat) ** 2)[..., None]
        up = np.clip(z, 0, 1)[..., None]
        sky = zenith + (away * (1 - toward) + below * toward - zenith) * np.exp(-up * 4.2)
        glow = np.exp((cosine - 1) * 14)[..., None] * 0.30 + np.exp((cosine - 1) * 160)[..., None] * 0.7
        sky = sky + glow * light * (1 - 0.7 * thick)
        rng = np.random.default_rng([self.weather.seed, 3])
        sky = self._clouds(sky, x, y, z, cosine, light, cloud, cover, rng)
        if thick < 1 and self.direction[2] > BOTTOM:
            disc = np.clip((cosine - np.cos(0.0085)) / (np.cos(0.0045) - np.cos(0.0085)), 0, 1)[..., None]
            sky = sky + disc * light * 30 * (1 - thick) * (1 - mist)
        veil = mist * np.exp(-up * (6.0 - 5.0 * mist))
        grey = (away * 0.5 + below * 0.5).mean() * 0.55 + cloud * 0.45
        return np.ascontiguousarray((sky + (grey - sky) * veil).astype(np.float32))

    @staticmethod
    def _clouds(
        sky: NDArray[np.float32],
        x: NDArray[np.float32],
        y: NDArray[np.float32],
        z: NDArray[np.float32],
        cosine: NDArray[np.float32],
        light: Color,
        cloud: Color,
        cover: float,
        rng: np.random.Generator,
    ) -> NDArray[np.float32]:
        """The sky with a layer of clouds, flat above the ground, so that they crowd towards the horizon."""
        size = 1024
        field = noise(rng, size, 8, 6, 0.58)
        shifted = np.roll(field, (5, 9), (0, 1))
        reach = 1 / (np.maximum(z, 0) + 0.14)
        scale = np.float32(size * 0.055)
        columns = np.mod(x * reach * scale, size).astype(np.float32)
        rows = np.mod(y * reach * scale, size).astype(np.float32)
        # Wrapped by one texel, so that the interpolation is seamless.
        value = cv2.remap(np.pad(field, (0, 2), mode="wrap"), columns, rows, cv2.INTER_LINEAR)
        beside = cv2.remap(np.pad(shifted, (0, 2), mode="wrap"), columns, rows, cv2.INTER_LINEAR)
        threshold = np.float32(np.interp(cover, [0, 0.3, 0.6, 0.85, 1], [3.2, 0.6, -0.1, -1.4, -3.2]))
        density = 1 - np.exp(-np.maximum(value - threshold, 0) * 1.5)
        low = np.clip(z * 10 - 0.2, 0, 1)  # 0 where clouds would be drawn out to lines
        density = density * (low if cover < 0.85 else 1)
        relief = np.clip(0.5 + (0.35 * (value - beside) + 0.12 * cover * value) * low, 0, 1)
        bright = cloud * (0.72 + 0.5 * relief[..., None])
        silver = light * (0.34 + 0.5 * np.exp((cosine - 1) * 8))[..., None] * (0.35 + 0.65 * relief[..., None])
        lit = bright + silver * np.float32(max(0.0, 1.15 - cover)) * (1.0 - 0.55 * density[..., None])
        result: NDArray[np.float32] = sky + (lit - sky) * density[..., None]
        return result

    def _integrate(self) -> tuple[Color, Color]:
        """Light on a surface that faces up, and the mean colour close above the horizon."""
        elevation = np.linspace(BOTTOM, np.pi / 2, HEIGHT)
        rows = np.minimum(self.dome, 3.0).mean(axis=1)  # the sun itself counts apart
        above = elevation > 0
        weight = np.sin(elevation) * np.cos(elevation) * above
        overhead = (rows * weight[:, None]).sum(axis=0) / weight.sum()
        low = (elevation > 0) & (elevation < 0.09)
        return overhead.astype(np.float32), rows[low].mean(axis=0).astype(np.float32)


@inlined
def look(dome: Any, x: Any, y: Any, z: Any) -> Any:
    """Radiance of a dome along a direction: red, green, blue."""
    elevation = np.arcsin(min(max(z, np.float32(-1)), np.float32(1)))
    row = (elevation - np.float32(BOTTOM)) * np.float32((HEIGHT - 1) / (np.pi / 2 - BOTTOM))
    row = min(max(row, np.float32(0)), np.float32(HEIGHT - 1))
    column = np.arctan2(y, x) * np.float32(WIDTH / (2 * np.pi)) - np.float32(0.5)
    low, left = int(row), int(np.floor(column))
    up, right = row - np.float32(low), column - np.float32(left)
    high = min(low + 1, HEIGHT - 1)
    first, second = left % WIDTH, (left + 1) % WIDTH
    a, b = (np.float32(1) - up) * (np.float32(1) - right), (np.float32(1) - up) * right
    c, d = up * (np.float32(1) - right), up * right
    near, beside, over, across = dome[low, first], dome[low, second], dome[high, first], dome[high, second]
    return (
        a * near[0] + b * beside[0] + c * over[0] + d * across[0],
        a * near[1] + b * beside[1] + c * over[1] + d * across[1],
        a * near[2] + b * beside[2] + c * over[2] + d * across[2],
    )
