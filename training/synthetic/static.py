"""All that never moves, along the streets of one drive."""

from __future__ import annotations

import numpy as np

from panoptic_training.synthetic.barriers import build_barrier
from panoptic_training.synthetic.buildings import build_building
from panoptic_training.synthetic.facets import Facets, srgb
from panoptic_training.synthetic.furniture import build_furniture, build_lamps
from panoptic_training.synthetic.ground import build_ground
from panoptic_training.synthetic.lots import Planting, divide
from panoptic_training.synthetic.markings import build_markings
from panoptic_training.synthetic.mesh import Mesh
from panoptic_training.synthetic.street import Layout
from panoptic_training.synthetic.surroundings import build_surroundings
from panoptic_training.synthetic.vegetation import SPECIES, grow_bush, grow_tree

_BUSHES = ([70, 92, 44], [96, 108, 52], [58, 78, 48])


def build_static(layout: Layout, seed: int, lamps: bool = True) -> Mesh:
    """Roads, buildings, barriers, plants, furniture and surroundings in the world frame; the same for the same seed.

    Parameters
    ----------
    lamps:
        Whether the traffic lights shine, as at time 0.  Without, `build_lamps` gives what shines at any time.
    """
    ground, paint, plan, houses, fences, plants, street, horizon = (
        np.random.default_rng([seed, 2, part]) for part in range(8)
    )
    lots = divide(layout, plan)
    facets = Facets()
    facets.add(build_ground(layout, ground))
    facets.add(build_markings(layout, paint))
    for plot in lots.plots:
        build_building(facets, plot, houses)
    for barrier in lots.barriers:
        near = bool(np.abs(layout.main.curve.project(barrier.start[None, :2])[1][0]) < 25)
        build_barrier(facets, barrier, fences, near)
    _plant(facets, lots.plants, plants)
    facets.add(build_furniture(layout, street))
    facets.add(build_surroundings(layout, horizon))
    if lamps:
        facets.add(build_lamps(layout, 0.0))
    return facets.mesh()


def _plant(facets: Facets, plants: list[Planting], rng: np.random.Generator) -> None:
    """Copies of two trees of each kind, turned, scaled and tinted."""
    for kind in sorted({plant.kind for plant in plants}):
        for near in (True, False):
            chosen = [plant for plant in plants if plant.kind == kind and plant.near == near]
            for variant in range(2):
                places = chosen[variant::2]
                if not places:
                    continue
                if kind == "bush":
                    mesh = grow_bush(rng, srgb(*rng.choice(_BUSHES)), 420 if near else 150)
                else:
                    mesh = grow_tree(SPECIES[kind], rng, 1.0 if near else 0.22)
                transforms = np.tile(np.eye(4), (len(places), 1, 1))
                angle = rng.uniform(0, 2 * np.pi, len(places))
                scale = np.array([plant.scale for plant in places])
                transforms[:, 0, 0] = transforms[:, 1, 1] = np.cos(angle)
                transforms[:, 1, 0], transforms[:, 0, 1] = np.sin(angle), -np.sin(angle)
                transforms[:, :3, :3] *= scale[:, None, None]
                transforms[:, :3, 3] = [plant.place for plant in places]
                facets.copies(mesh, transforms, rng.normal(1.0, 0.07, (len(places), 3)))
