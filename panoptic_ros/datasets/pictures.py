"""The files of a data set as arrays, with errors that name the file."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from panoptic_ros.datasets.faults import DatasetError
from panoptic_ros.encodings import ImageError, check_compressed, decompress

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")

INDEX_MODES = ("L", "P", "I", "I;16", "I;16B")
"""Pillow's names of the images that hold one number a pixel: of 8 bits, a palette's, of 32 and of 16 bits."""


def read_picture(path: Path) -> NDArray[np.uint8]:
    """A JPEG or PNG as (H, W, 3) uint8, B, G, R; a rotation in EXIF is not followed.

    Raises
    ------
    DatasetError
        If it cannot be read, is neither JPEG nor PNG, or is truncated or corrupt.
    """
    try:
        return decompress(_content(path), path.suffix)
    except ImageError as error:
        raise DatasetError(path, str(error)) from error


def read_indices(path: Path) -> NDArray[Any]:
    """The numbers in an image of one channel, (H, W): uint8 of 8 bits or a palette, uint16 or int32 of more.

    Raises
    ------
    DatasetError
        If it cannot be read, is corrupt, or has colours and no palette.
    """
    return _pixels(path, INDEX_MODES, "one number a pixel: 8 or 16 bits, or a palette")


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """An image whose colours mean something, (H, W, 3) uint8, R, G, B.

    Raises
    ------
    DatasetError
        If it cannot be read, is corrupt, or does not have three channels of 8 bits.
    """
    return _pixels(path, ("RGB",), "R, G, B of 8 bits")


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises
    ------
    DatasetError
        If it cannot be read or is no JSON.
    """
    try:
        return json.loads(_content(path))
    except ValueError as error:
        raise DatasetError(path, f"is no JSON: {error}") from error


def list_files(folder: Path, pattern: str, ending: str | tuple[str, ...]) -> list[Path]:
    """The files below a folder that match a pattern and end as given, in order; hidden ones are left out."""
    return sorted(
        path for path in folder.glob(pattern) if path.name.lower().endswith(ending) and not path.name.startswith(".")
    )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DatasetError(path, "is missing") from error
    except OSError as error:
        raise DatasetError(path, f"cannot be read: {error.strerror}") from error


def _pixels(path: Path, modes: tuple[str, ...], expected: str) -> NDArray[Any]:
    content = _content(path)
    try:
        if check_compressed(content, path.suffix) != "PNG":  # Pillow alone would take a PNG without its end
            raise DatasetError(path, "is a JPEG, which keeps no numbers; expected a PNG")
        with Image.open(io.BytesIO(content)) as image:
            if image.mode not in modes:
                raise DatasetError(path, f"is an image of mode {image.mode}, expected {expected}")
            return np.asarray(image)
    except (ImageError, OSError, SyntaxError) as error:  # the last two are Pillow's, of a PNG that is corrupt
        raise DatasetError(path, f"is no whole image: {error}") from error
