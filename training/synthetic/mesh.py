"""Triangles that know what they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Material(IntEnum):
    """What a surface is made of: how it reflects, and which procedural texture lies on it."""

    ASPHALT = 0
    MARKING = 1
    PAVING = 2
    CONCRETE = 3
    GRASS = 4
    SOIL = 5
    PLASTER = 6
    BRICK = 7
    ROOF = 8
    GLASS = 9
    METAL = 10
    CAR_PAINT = 11
    RUBBER = 12
    PLASTIC = 13
    FABRIC = 14
    SKIN = 15
    BARK = 16
    FOLIAGE = 17
    WOOD = 18
    SIGN = 19
    LIGHT = 20  # shines by itself, with its colour


@dataclass(frozen=True, slots=True)
class Mesh:
    """A set of triangles.

    Attributes
    ----------
    vertices:
        (V, 3) float32, metres.
    faces:
        (F, 3) int32, counter-clockwise seen from outside.
    classes:
        (F,) uint8, the Cityscapes labelId of each triangle.
    materials:
        (F,) uint8, its `Material`.
    colors:
        (F, 3) float32, its linear R, G, B albedo in [0, 1].
    uvs:
        (F, 3, 2) float32, texture coordinates of its corners, metres along the surface.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]
    classes: NDArray[np.uint8]
    materials: NDArray[np.uint8]
    colors: NDArray[np.float32]
    uvs: NDArray[np.float32]

    def __post_init__(self) -> None:
        count = len(self.faces)
        expected = {"classes": (count,), "materials": (count,), "colors": (count, 3), "uvs": (count, 3, 2)}
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} of {count} triangles must be {shape}, got {getattr(self, name).shape}")
        if count and not 0 <= self.faces.min() <= self.faces.max() < len(self.vertices):
            raise ValueError(
                f"faces must index {len(self.vertices)} vertices, got {self.faces.min()} to {self.faces.max()}"
            )

    @classmethod
    def of(
        cls,
        vertices: NDArray[np.floating],
        faces: NDArray[np.integer],
        class_id: int,
        material: Material,
        color: tuple[float, float, float],
        uvs: NDArray[np.floating] | None = None,
    ) -> Mesh:
        """Triangles of one class, material and colour; without `uvs` the texture lies along the triangle's plane.

        Parameters
        ----------
        vertices, faces:
            (V, 3) and (F, 3).
        uvs:
            (F, 3, 2), or None for a box projection: the two axes that the triangle faces least.
        """
        corners, triangles = np.asarray(vertices, dtype=np.float32), np.asarray(faces, dtype=np.int32)
        count = len(triangles)
        return cls(
            vertices=corners,
            faces=triangles,
            classes=np.full(count, class_id, dtype=np.uint8),
            materials=np.full(count, int(material), dtype=np.uint8),
            colors=np.tile(np.asarray(color, dtype=np.float32), (count, 1)),
            uvs=box_projection(corners, triangles) if uvs is None else np.asarray(uvs, dtype=np.float32),
        )

    @classmethod
    def join(cls, meshes: Iterable[Mesh]) -> Mesh:
        """All triangles of several meshes as one; of none, an empty mesh."""
        parts = list(meshes)
        if not parts:
            return cls.of(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int32), 0, Material.ASPHALT, (0, 0, 0))
        offsets = np.cumsum([0, *(len(part.vertices) for part in parts[:-1])])
        return cls(
            vertices=np.concatenate([part.vertices for part in parts]),
            faces=np.concatenate([part.faces + np.int32(offset) for part, offset in zip(parts, offsets, strict=True)]),
            classes=np.concatenate([part.classes for part in parts]),
            materials=np.concatenate([part.materials for part in parts]),
            colors=np.concatenate([part.colors for part in parts]),
            uvs=np.concatenate([part.uvs for part in parts]),
        )

    def moved(self, transform: NDArray[np.floating]) -> Mesh:
        """The mesh in another frame; `transform` is (4, 4), from this frame to the other."""
        vertices = self.vertices @ transform[:3, :3].T.astype(np.float32) + transform[:3, 3].astype(np.float32)
        return Mesh(vertices, self.faces, self.classes, self.materials, self.colors, self.uvs)


def box_projection(vertices: NDArray[np.float32], faces: NDArray[np.int32]) -> NDArray[np.float32]:
    """(F, 3, 2) texture coordinates: each triangle's corners without the axis that its normal is closest to."""
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    kept = np.array([[1, 2], [0, 2], [0, 1]])[np.abs(normals).argmax(axis=1)]
    return np.take_along_axis(corners, kept[:, None, :].repeat(3, axis=1), axis=2)
