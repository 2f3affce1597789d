"""A contact sheet: pictures of a data set beside their truth."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic_ros.datasets.dataset import PanopticDataset
from panoptic_ros.drawing import OverlayPainter
from panoptic_ros.segmentation import PanopticSegmentation

GAP = 8
PAPER = 255
INK = (60, 60, 60)


def spread(count: int, length: int) -> list[int]:
    """At most `count` indices, evenly over 0 … `length` - 1."""
    count = min(count, length)
    return [index * length // count for index in range(count)]


def contact_sheet(dataset: PanopticDataset, indices: Sequence[int], columns: int, width: int) -> NDArray[np.uint8]:
    """Draw samples side by side, each as its picture, the picture with its truth over it, and its name.

    Parameters
    ----------
    indices:
        Which samples.
    columns:
        How many of them lie in a row.
    width:
        Of one picture, pixels; its height follows.

    Returns
    -------
    (H, W, 3) uint8, B, G, R.

    Raises
    ------
    DatasetError
        If a sample cannot be read.
    ValueError
        If there are no indices.
    """
    if not indices:
        raise ValueError("a contact sheet needs one sample at least")
    painter = OverlayPainter(dataset.labels, scores=False)
    cells = [_cell(dataset, index, painter, width) for index in indices]
    rows = [cells[first : first + columns] for first in range(0, len(cells), columns)]
    return np.vstack([_row(row, min(columns, len(cells))) for row in rows])


def _cell(dataset: PanopticDataset, index: int, painter: OverlayPainter, width: int) -> NDArray[np.uint8]:
    sample = dataset[index]
    ids = sample.truth.segmentation.ids
    size = (width, max(1, round(width * ids.shape[0] / ids.shape[1])))
    picture = np.asarray(cv2.resize(sample.image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    # Scaled before it is drawn, so that lines and letters keep their size.
    small = np.asarray(cv2.resize(ids, size, interpolation=cv2.INTER_NEAREST), dtype=np.int32)
    overlay = painter(picture, PanopticSegmentation.from_ids(small, dataset.labels.thing_ids))
    gap = np.full((size[1], GAP, 3), PAPER, dtype=np.uint8)
    pictures = np.hstack((picture, gap, overlay))
    caption = np.full((24, pictures.shape[1], 3), PAPER, dtype=np.uint8)
    cv2.putText(caption, sample.name, (0, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)
    return np.vstack((pictures, caption))


def _row(cells: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Cells beside each other on paper, room for as many as `columns`."""
    height, width = max(cell.shape[0] for cell in cells), cells[0].shape[1]
    row = np.full((height + GAP, columns * (width + GAP) + GAP, 3), PAPER, dtype=np.uint8)
    for column, cell in enumerate(cells):
        left = GAP + column * (width + GAP)
        row[GAP : GAP + cell.shape[0], left : left + width] = cell
    return row
