"""The frames that are benchmarked: read from a file or folder, or a street drawn here; and their JPEGs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic_ros.bags import open_source
from panoptic_ros.frames import SourceError

MOST_FRAMES = 32
"""As many are read, and then used again and again: enough that none stays in the processor's caches."""

QUALITY = 90  # of the JPEGs, as camera drivers have it

Frame = NDArray[np.uint8]  # (H, W, 3) B, G, R


def read_frames(path: Path, most: int = MOST_FRAMES) -> list[Frame]:
    """The first frames of a folder of images, a video or a bag; those that cannot be decoded are passed over.

    Raises
    ------
    SourceError
        If there is no such file, it is not what it should be, or no frame of it can be decoded.
    """
    frames: list[Frame] = []
    reason = "it is empty"
    for frame in open_source(path).frames():
        if isinstance(frame.image, np.ndarray):
            frames.append(frame.image)
        else:
            reason = str(frame.image)
        if len(frames) == most:
            break
    if not frames:
        raise SourceError(f"{path}: none of its frames could be read: {reason}")
    return frames


def to_jpeg(frame: Frame) -> bytes:
    """A frame as a camera's driver would send it."""
    encoded = cv2.imencode(".jpg", frame, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))[1]
    return encoded.tobytes()


def drawn_street(width: int = 1280, height: int = 720) -> Frame:
    """(height, width, 3) uint8 B, G, R: a street with houses, trees, cars and people, always the same.

    What a JPEG and a resize take depends little on what is seen, but a picture of one colour would be too easy.
    """
    generator = np.random.default_rng(0)
    picture = np.empty((height, width, 3), dtype=np.float32)
    horizon = int(0.45 * height)
    shade = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    picture[:] = np.array((235, 206, 170), dtype=np.float32) * (1 - 0.4 * shade)
    left = 0
    while left < width:
        right = left + int(generator.uniform(0.05, 0.12) * width)
        top = int(generator.uniform(0.1, 0.35) * height)
        wall = generator.uniform(70, 190, 3)
        cv2.rectangle(picture, (left, top), (right, horizon + height // 20), wall.tolist(), cv2.FILLED)
        for x in range(left + width // 100, right - width // 80, width // 50):
            for y in range(top + height // 40, horizon, height // 18):
                window = (x, y), (x + width // 100, y + height // 30)
                cv2.rectangle(picture, *window, (0.4 * wall).tolist(), cv2.FILLED)
        left = right
    for trunk in generator.uniform(0, width, 5).astype(int).tolist():
        cv2.line(picture, (trunk, height // 4), (trunk, height // 2), (50, 70, 90), max(1, width // 160))
        cv2.circle(picture, (trunk, height // 4), height // 10, (60, 130, 70), cv2.FILLED)
    road = np.array([(0, height), (width, height), (int(0.58 * width), horizon), (int(0.42 * width), horizon)])
    picture[horizon + height // 20 :] = (150, 150, 160)
    cv2.fillPoly(picture, [road], (96, 92, 90))
    for size in np.geomspace(0.03, 0.16, 8) * width:  # the near ones last
        across, middle = generator.uniform(0.05, 0.95) * width, horizon + 0.55 * size + 0.02 * height
        color = generator.uniform(20, 230, 3)
        body = (int(across - size / 2), int(middle - size / 5)), (int(across + size / 2), int(middle + size / 5))
        cv2.rectangle(picture, *body, color.tolist(), cv2.FILLED)
        cv2.ellipse(
            picture, (int(across), body[0][1]), (int(size / 3), int(size / 5)), 0, 180, 360, (60, 60, 60), cv2.FILLED
        )
        for wheel in (-0.3, 0.3):
            cv2.circle(
                picture, (int(across + wheel * size), body[1][1]), max(1, int(size / 10)), (20, 20, 20), cv2.FILLED
            )
    for x in generator.uniform(0, width, 4):
        feet = int(0.62 * height)
        clothes = generator.uniform(30, 160, 3).tolist()
        cv2.ellipse(picture, (int(x), feet), (width // 90, height // 14), 0, 0, 360, clothes, cv2.FILLED)
        cv2.circle(picture, (int(x), feet - height // 12), width // 160, (130, 160, 200), cv2.FILLED)
    picture += generator.normal(0, 4, picture.shape).astype(np.float32)  # a sensor's noise, which JPEGs have to carry
    street: Frame = np.clip(picture, 0, 255).astype(np.uint8)
    return street
