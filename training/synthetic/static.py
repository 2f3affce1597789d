"""All that never moves, along the streets of one drive."""

from __future__ import annotations

import numpy as np

from panoptic_training.synthetic.ground import build_ground
from panoptic_training.synthetic.markings import build_markings
from panoptic_training.synthetic.mesh import Mesh
from panoptic_training.synthetic.street import Layout


def build_static(layout: Layout, seed: int) -> Mesh:
    rngs = [np.random.default_rng([seed, 2, k]) for k in range(9)]
    return Mesh.join([build_ground(layout, rngs[0]), build_markings(layout, rngs[1])])
