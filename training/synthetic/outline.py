"""Lines round a block, from which its kerbs, sidewalks and footpaths are made."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.street import CROSS_LENGTH, Block


def block_outline(
    block: Block, along: float, across: float, radius: float, spacing: float = 0.75
) -> NDArray[np.float64]:
    """The street coordinates of a line round a block, inside its kerb.

    From the far end of the first cross street, round the corner, along the main street, and away again.  Lines of
    one block have the same number of points, so that the strip between two of them is a row of quads.

    Parameters
    ----------
    along, across:
        Distance from the kerbs of the main street and of the cross streets.
    radius:
        Of its corners; 0 for sharp ones.
    spacing:
        Of the points, about, away from the corners.

    Returns
    -------
    NDArray
        (N, 2) of s and d on the main street; d has the block's side.
    """
    inner = block.kerb + along
    first = block.s0 + (across + radius if block.before >= 0 else 0.0)
    last = block.s1 - (across + radius if block.after >= 0 else 0.0)
    count = max(int(np.ceil((block.s1 - block.s0) / spacing)), 2)
    middle = np.stack([np.linspace(first, last, count), np.full(count, inner)], axis=-1)
    arc = np.linspace(0.0, np.pi / 2, 9)
    reach = int(np.ceil((CROSS_LENGTH - block.kerb) / spacing))
    arm = np.linspace(CROSS_LENGTH, inner + radius, reach)
    parts = [middle]
    if block.before >= 0:
        x = block.s0 + across
        corner = np.stack([x + radius * (1 - np.cos(arc)), inner + radius * (1 - np.sin(arc))], axis=-1)
        parts = [np.stack([np.full(reach, x), arm], axis=-1), corner, *parts]
    if block.after >= 0:
        x = block.s1 - across
        corner = np.stack([x - radius * (1 - np.cos(arc)), inner + radius * (1 - np.sin(arc))], axis=-1)
        parts = [*parts, corner[::-1], np.stack([np.full(reach, x), arm[::-1]], axis=-1)]
    outline = np.concatenate(parts)
    outline[:, 1] *= block.side
    return outline
