"""People: a clothed surface on a skeleton.

The surface is lofted around a person who stands upright. Each vertex follows one bone, or two near a joint (linear
blend skinning); a `Stance` says where each bone is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.compiled import compiled
from panoptic_training.synthetic.dress import Clothes, Dress
from panoptic_training.synthetic.mesh import Mesh
from panoptic_training.synthetic.skeleton import Build, Stance, rest_joints
from panoptic_training.synthetic.solids import Color, of_class

PERSON, RIDER = 24, 25
FOLLOWED = 3  # bones that a vertex follows at most

SKINS: tuple[Color, ...] = (
    (0.58, 0.36, 0.27),
    (0.62, 0.42, 0.32),
    (0.5, 0.29, 0.19),
    (0.28, 0.14, 0.08),
    (0.12, 0.06, 0.035),
)

HAIRS: tuple[Color, ...] = (
    (0.015, 0.011, 0.009),
    (0.04, 0.022, 0.013),
    (0.11, 0.06, 0.03),
    (0.4, 0.27, 0.12),
    (0.35, 0.34, 0.33),
)

# Most wear dark and quiet colours; some do not.
TOPS: tuple[Color, ...] = (
    (0.015, 0.016, 0.018), (0.02, 0.025, 0.05), (0.06, 0.06, 0.065), (0.16, 0.16, 0.17), (0.65, 0.65, 0.63),
    (0.3, 0.02, 0.025), (0.04, 0.12, 0.35), (0.06, 0.1, 0.05), (0.35, 0.26, 0.16), (0.6, 0.4, 0.04),
    (0.1, 0.3, 0.28), (0.45, 0.16, 0.22), (0.03, 0.03, 0.03), (0.1, 0.075, 0.05),
)  # fmt: skip

TROUSERS: tuple[Color, ...] = (
    (0.012, 0.012, 0.014), (0.02, 0.03, 0.065), (0.05, 0.08, 0.16), (0.04, 0.04, 0.043), (0.14, 0.14, 0.14),
    (0.3, 0.24, 0.16), (0.03, 0.045, 0.09), (0.5, 0.48, 0.44),
)  # fmt: skip

SHOES: tuple[Color, ...] = ((0.012, 0.012, 0.012), (0.07, 0.04, 0.02), (0.6, 0.6, 0.58), (0.03, 0.03, 0.035))


class Figure:
    """The surface of one person.

    Parameters
    ----------
    build, clothes:
        Shape and looks.
    class_id:
        24 a person, 25 a rider.
    coarse:
        With fewer triangles, to be seen from afar; otherwise the figure holds such a one as its `coarse`.
    """

    def __init__(self, build: Build, clothes: Clothes, class_id: int = PERSON, coarse: bool = False) -> None:
        self.coarse = self if coarse else Figure(build, clothes, class_id, coarse=True)
        self.build = build
        self.clothes = clothes
        self.rest = rest_joints(build)
        meshes: list[Mesh] = []
        weights: list[NDArray[np.float32]] = []
        for mesh, weight in Dress(build, clothes, coarse).parts():
            meshes.append(mesh)
            weights.append(weight)
        self._mesh = of_class(Mesh.join(meshes), class_id)
        blend = np.concatenate(weights)
        self._bones = np.argsort(-blend, axis=1)[:, :FOLLOWED].astype(np.int32)
        self._shares = np.take_along_axis(blend, self._bones, axis=1)

    def posed(self, stance: Stance) -> Mesh:
        """The surface in a stance, in the body's frame."""
        offsets = stance.joints - np.einsum("bij,bj->bi", stance.rotations, self.rest)
        matrices = np.concatenate([stance.rotations, offsets[:, :, None]], axis=2).astype(np.float32)
        vertices = _skinned(self._mesh.vertices, self._bones, self._shares, matrices)
        mesh = self._mesh
        return Mesh(vertices, mesh.faces, mesh.classes, mesh.materials, mesh.colors, mesh.uvs)


@compiled
def _skinned(points: Any, bones: Any, shares: Any, matrices: Any) -> Any:
    """(V, 3) points (V, 3) moved by the mean of their bones' (BONES, 3, 4) matrices, (V, FOLLOWED) weighted."""
    moved = np.zeros_like(points)
    for vertex in range(len(points)):
        for follows in range(FOLLOWED):
            share = shares[vertex, follows]
            if share == 0:
                continue
            matrix, point = matrices[bones[vertex, follows]], points[vertex]
            for axis in range(3):
                row = matrix[axis]
                moved[vertex, axis] += share * (row[0] * point[0] + row[1] * point[1] + row[2] * point[2] + row[3])
    return moved


def random_figure(
    rng: np.random.Generator, class_id: int = PERSON, child: bool | None = None, helmet: bool = False
) -> Figure:
    """Somebody."""
    child = bool(rng.random() < 0.1) if child is None else child
    height = rng.uniform(1.05, 1.5) if child else np.clip(rng.normal(1.72, 0.09), 1.5, 1.97)
    girth = float(rng.uniform(0.86, 1.05) if child else np.clip(rng.normal(1.05, 0.13), 0.85, 1.45))

    def tint(colors: tuple[Color, ...]) -> Color:
        color = np.array(colors[int(rng.integers(len(colors)))]) * rng.uniform(0.75, 1.25) * rng.uniform(0.9, 1.1, 3)
        red, green, blue = np.clip(color, 0.008, 0.8)
        return float(red), float(green), float(blue)

    warm = rng.random() < 0.3
    skirt = rng.random() < 0.13
    coat = float(rng.choice([0.0, 0.12, 0.35, 0.5], p=[0.55, 0.2, 0.15, 0.1]))
    top = tint(TOPS)
    clothes = Clothes(
        skin=tint(SKINS),
        hair=tint(HAIRS),
        top=top,
        trousers=tint(TROUSERS),
        shoes=tint(SHOES),
        sleeves=0.42 if warm else 1.0,
        legs=0.45 if (warm and rng.random() < 0.4) or skirt else 1.0,
        coat=0.0 if class_id == RIDER else (0.42 if skirt else 0.0 if warm else coat),
        hat="helmet" if helmet else str(rng.choice(["", "cap", "beanie", "hood"], p=[0.72, 0.1, 0.1, 0.08])),
        long_hair=bool(rng.random() < 0.35),
        bag=str(rng.choice(["", "backpack", "handbag", "shopping"], p=[0.55, 0.2, 0.15, 0.1]))
        if class_id != RIDER
        else str(rng.choice(["", "backpack"], p=[0.65, 0.35])),
        accent=tint(TOPS),
    )
    return Figure(Build(float(height), girth), clothes, class_id)
