"""Pictures of a data set as arrays, with errors that name the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.datasets.faults import DatasetError
from panoptic_ros.encodings import ImageError, decompress


def read_picture(path: Path) -> NDArray[np.uint8]:
    """A JPEG or PNG as (H, W, 3) uint8, B, G, R; a rotation in EXIF is not followed.

    Raises
    ------
    DatasetError
        If it cannot be read, is neither JPEG nor PNG, or is truncated or corrupt.
    """
    try:
        return decompress(path.read_bytes(), path.suffix)
    except OSError as error:
        raise DatasetError.of(path, f"the picture cannot be read: {error.strerror}") from error
    except ImageError as error:
        raise DatasetError.of(path, str(error)) from error
