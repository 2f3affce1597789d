"""What a camera does to light before it is a picture: lens, shutter, exposure, sensor, tone curve, JPEG."""

from __future__ import annotations

from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]  # (H, W, 3) linear R, G, B
_TONES = 4096
BLUR_SAMPLES = 7


@dataclass(frozen=True, slots=True)
class Effects:
    """How good a camera is; 0 turns an effect off.

    Attributes
    ----------
    exposure_jitter:
        Standard deviation, in stops, of how far the exposure drifts from the metered one over seconds.
    white_balance_jitter:
        Standard deviation of the drift of red against blue, as a share.
    motion_blur:
        Seconds that the shutter is open.
    noise:
        1 is a common sensor by day; the darker the scene, the more it shows.
    vignetting:
        Share of light that the corners lose.
    jpeg_quality:
        1 to 100; 0 for no compression.
    dirt:
        Share of the lens, 0 to 1, that drops and dust cover.
    seed:
        Of the drifts and the dirt: one per camera.
    """

    exposure_jitter: float = 0.0
    white_balance_jitter: float = 0.0
    motion_blur: float = 0.0
    noise: float = 0.0
    vignetting: float = 0.0
    jpeg_quality: int = 0
    dirt: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            highest = {"vignetting": 1, "dirt": 1, "jpeg_quality": 100, "motion_blur": 1}.get(field.name, np.inf)
            if not 0 <= value <= highest:
                raise ValueError(f"effect {field.name} must be 0 to {highest}, got {value}")

    def drift(self, time: float) -> tuple[float, tuple[float, float]]:
        """Exposure factor, and gains of red and blue: functions of the time alone, so that no frame needs another."""
        phases = np.random.default_rng([self.seed, 11]).uniform(0, 2 * np.pi, (2, 2))
        waves = np.sin(2 * np.pi * time / np.array([7.3, 2.9]) + phases).sum(axis=1)  # standard deviation 1
        warm = self.white_balance_jitter * waves[1]
        return float(2.0 ** (self.exposure_jitter * waves[0])), (float(np.exp(warm)), float(np.exp(-warm)))


def blur_motion(picture: Picture, flow: NDArray[np.float32]) -> Picture:
    """The mean of the picture along (H, W, 2) `flow`, pixels that each point moves while the shutter is open."""
    rows, columns = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]].astype(np.float32)
    total = np.zeros_like(picture)
    for share in np.linspace(-0.5, 0.5, BLUR_SAMPLES, dtype=np.float32):
        total += cv2.remap(
            picture,
            columns + flow[..., 0] * share,
            rows + flow[..., 1] * share,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
    result: Picture = total / np.float32(BLUR_SAMPLES)
    return result


def metered_exposure(picture: Picture) -> float:
    """Factor that a camera's metering would choose: it adapts in part, so that dusk stays darker than day."""
    sample = picture[::4, ::4]
    luminance = sample @ np.array([0.25, 0.6, 0.15], dtype=np.float32)
    weight = np.ones(luminance.shape[0], dtype=np.float32)
    weight[: len(weight) // 3] = 0.5  # the sky counts less
    mean = float((np.minimum(luminance, 1.5) * weight[:, None]).mean() / weight.mean())
    result: float = 0.45 * max(mean, 1e-4) ** -0.64
    return result


def lens(picture: Picture, effects: Effects) -> Picture:
    """Vignetting, dirt, and a mild glow about what is much brighter than the rest; takes the exposed picture."""
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (max(width // 8, 1), max(height // 8, 1)), interpolation=cv2.INTER_AREA)
    bright = np.minimum(np.maximum(small - np.float32(1.3), 0), 6)
    if bright.any():
        glow = cv2.GaussianBlur(bright, (0, 0), max(width / 8 / 45, 0.8))
        picture = picture + np.float32(0.22) * cv2.resize(glow, (width, height), interpolation=cv2.INTER_LINEAR)
    if effects.vignetting:
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
        picture = picture * (1 - np.float32(effects.vignetting) * ((x * x + y * y) / 2) ** 1.5)[..., None]
    if effects.dirt:
        cover = _dirt(height, width, effects)[..., None]
        dull = cv2.resize(cv2.blur(small, (5, 5)), (width, height), interpolation=cv2.INTER_LINEAR)
        picture = picture + (dull * np.float32(0.75) - picture) * cover
    return picture


def _dirt(height: int, width: int, effects: Effects) -> NDArray[np.float32]:
    """(H, W) how much of each pixel's light dirt on the lens scatters."""
    rng = np.random.default_rng([effects.seed, 12])
    cover = np.zeros((height, width), dtype=np.float32)
    radius = 0.035 * width
    wanted = int(effects.dirt * height * width / (np.pi * radius**2) * 2.2 + 1)
    for _ in range(wanted):
        center = (int(rng.integers(width)), int(rng.integers(height)))
        axes = (int(radius * rng.uniform(0.2, 1.3)) + 1, int(radius * rng.uniform(0.2, 1.3)) + 1)
        drop = np.zeros_like(cover)
        cv2.ellipse(drop, center, axes, float(rng.uniform(0, 180)), 0, 360, float(rng.uniform(0.3, 0.9)), -1)
        np.maximum(cover, drop, out=cover)
    return np.asarray(cv2.GaussianBlur(cover, (0, 0), max(radius * 0.25, 0.8)), dtype=np.float32)


def add_noise(picture: Picture, amount: float, exposure: float, rng: np.random.Generator) -> Picture:
    """Photon noise, which grows with the root of the light, and reading noise; a long exposure raises both."""
    gain = np.float32(amount * np.clip(exposure / 0.8, 0.6, 6.0) ** 0.5)
    grain = rng.standard_normal(picture.shape, dtype=np.float32)
    grain *= np.sqrt(np.maximum(picture, 0) * np.float32(2.2e-4) + np.float32(6e-6)) * gain
    return picture + grain


def develop(picture: Picture) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 B, G, R of an exposed linear picture: a filmic curve, then sRGB, by table."""
    index = np.sqrt(np.clip(picture, 0, _BRIGHTEST))
    index *= np.float32((_TONES - 1) / np.sqrt(_BRIGHTEST))
    return _CURVE[index[..., ::-1].astype(np.int16)]


def compress(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """The image as JPEG leaves it."""
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"OpenCV could not write an image of {image.shape} as JPEG")
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)


_BRIGHTEST = 8.0


def _tone_curve() -> NDArray[np.uint8]:
    """Display value of every level: dark tones with contrast, bright ones rolled off, white at `_BRIGHTEST`."""
    light = (np.arange(_TONES) / (_TONES - 1)) ** 2 * _BRIGHTEST
    film = light * (2.51 * light * 0.55 + 0.03) / (light * 0.55 * (2.43 * light * 0.55 + 0.59) + 0.14) * 0.55
    film = film / film[-1]
    srgb = np.where(film <= 0.0031308, film * 12.92, 1.055 * np.maximum(film, 1e-9) ** (1 / 2.4) - 0.055)
    result: NDArray[np.uint8] = np.clip(srgb * 255 + 0.5, 0, 255).astype(np.uint8)
    return result


_CURVE = _tone_curve()
