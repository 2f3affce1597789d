"""All that never moves, along the streets of one drive."""

from __future__ import annotations

import numpy as np

from panoptic_training.synthetic.barriers import build_barrier
from panoptic_training.synthetic.buildings import build_building
from panoptic_training.synthetic.facets import Facets, srgb
from panoptic_training.synthetic.furniture import build_furniture
from panoptic_training.synthetic.ground import build_ground
from panoptic_training.synthetic.lots import Planting, divide
from panoptic_training.synthetic.markings import build_markings
from panoptic_training.synthetic.mesh import Mesh
from panoptic_training.synthetic.street import Layout, planar_pose
from panoptic_training.synthetic.surroundings import build_surroundings
from panoptic_training.synthetic.vegetation import SPECIES, grow_bush, grow_tree, pruned

_BUSHES = ([70, 92, 44], [96, 108, 52], [58, 78, 48])


def build_static(layout: Layout, seed: int) -> Mesh:
    """Roads, buildings, barriers, plants, furniture and surroundings in the world frame; the same for the same seed.

    The lamps of traffic lights are missing: they change, see `panoptic_training.synthetic.signals`.
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
    return facets.mesh()


def _plant(facets: Facets, plants: list[Planting], rng: np.random.Generator) -> None:
    """Copies of two plants of each kind, turned, scaled and tinted."""
    for kind, near, beside_road in sorted({(plant.kind, plant.near, plant.pruned) for plant in plants}):
        chosen = [p for p in plants if (p.kind, p.near, p.pruned) == (kind, near, beside_road)]
        for places in (chosen[::2], chosen[1::2]):
            if not places:
                continue
            if kind == "bush":
                mesh = grow_bush(rng, srgb(*rng.choice(_BUSHES)), 420 if near else 150)
            else:
                species = pruned(SPECIES[kind]) if beside_road else SPECIES[kind]
                mesh = grow_tree(species, rng, 1.0 if near else 0.22)
            angle = rng.uniform(0, 2 * np.pi, len(places))
            transforms = np.stack([planar_pose(p.place, a) for p, a in zip(places, angle, strict=True)])
            transforms[:, :3, :3] *= np.array([p.scale for p in places])[:, None, None]
            facets.copies(mesh, transforms, rng.normal(1.0, 0.07, (len(places), 3)))
