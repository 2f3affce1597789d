"""Collecting thousands of quads, boxes, bars and copies at once: arrays in, one mesh out, no loop over triangles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from panoptic_training.synthetic.mesh import Material, Mesh

UP = np.array([0.0, 0.0, 1.0])

# Corners of a unit box, and its faces counter-clockwise from outside: bottom, top, then -y, +x, +y, -x
_CORNERS = np.array([[x, y, z] for z in (-1, 1) for y in (-1, 1) for x in (-1, 1)], dtype=np.float64)
_BOX = np.array([[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [1, 3, 7, 5], [3, 2, 6, 7], [2, 0, 4, 6]])


def srgb(red: float, green: float, blue: float) -> NDArray[np.float64]:
    """(3,) linear albedo of a colour as a screen shows it, each in [0, 255] (IEC 61966-2-1)."""
    c = np.array([red, green, blue]) / 255.0
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def surface_uvs(corners: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N, K, 2) metres along the surface of (N, K, 3) flat polygons: level and uphill, or x and y where it is level.

    Polygons of one plane continue each other's texture.
    """
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = normals / np.where(lengths > 0, lengths, 1.0)
    level = np.stack([-normals[:, 1], normals[:, 0], np.zeros(len(normals))], axis=-1)
    flat = np.abs(normals[:, 2]) > 0.95
    level[flat] = [1.0, 0.0, 0.0]
    level /= np.maximum(np.linalg.norm(level, axis=1, keepdims=True), 1e-12)
    uphill = np.cross(normals, level)
    uphill[flat] = [0.0, 1.0, 0.0]
    return np.stack([np.einsum("nkc,nc->nk", corners, level), np.einsum("nkc,nc->nk", corners, uphill)], axis=-1)


@dataclass(frozen=True, slots=True, eq=False)
class _Polygons:
    """(N, K, 3) flat polygons with (N, 3) colours, and (N, K, 2) texture coordinates or those of their planes."""

    corners: NDArray[np.float64]
    class_id: int
    material: Material
    colors: NDArray[np.float32]
    uvs: NDArray[np.floating] | None


def _triangulate(parts: list[_Polygons]) -> Mesh:
    """Polygons of three or of four corners as triangles; polygons do not share vertices."""
    corners = np.concatenate([part.corners for part in parts])
    counts = [len(part.corners) for part in parts]
    uvs = surface_uvs(corners)
    begin = 0
    for part, count in zip(parts, counts, strict=True):
        if part.uvs is not None:
            uvs[begin : begin + count] = part.uvs
        begin += count
    points = corners.shape[1]
    split = np.array([[0, 1, 2], [0, 2, 3]][: points - 2])
    each = len(split)
    return Mesh(
        vertices=corners.reshape(-1, 3).astype(np.float32),
        faces=(np.arange(begin)[:, None, None] * points + split).reshape(-1, 3).astype(np.int32),
        classes=np.repeat(np.array([part.class_id for part in parts], dtype=np.uint8), np.multiply(counts, each)),
        materials=np.repeat(np.array([part.material for part in parts], dtype=np.uint8), np.multiply(counts, each)),
        colors=np.repeat(np.concatenate([part.colors for part in parts]), each, axis=0),
        uvs=uvs[:, split].reshape(-1, 3, 2).astype(np.float32),
    )


class Facets:
    """A growing set of surfaces; every method takes N of something, and one class, material and colour or N colours.

    Polygons wait until `mesh`, which turns them into triangles all at once.
    """

    def __init__(self) -> None:
        self._parts: list[Mesh] = []
        self._waiting: dict[int, list[_Polygons]] = {3: [], 4: []}

    def add(self, mesh: Mesh) -> None:
        """Take over the triangles of a mesh."""
        self._parts.append(mesh)

    def mesh(self) -> Mesh:
        """All of it."""
        return Mesh.join([*self._parts, *(_triangulate(waiting) for waiting in self._waiting.values() if waiting)])

    def quads(
        self,
        corners: ArrayLike,
        class_id: int,
        material: Material,
        color: ArrayLike,
        uvs: NDArray[np.floating] | None = None,
    ) -> None:
        """(N, 4, 3) or (4, 3) quads, counter-clockwise from outside; `color` is (3,) or (N, 3), `uvs` (N, 4, 2)."""
        corners = np.asarray(corners, dtype=np.float64).reshape(-1, 4, 3)
        self._polygons(corners, class_id, material, color, uvs)

    def triangles(
        self,
        corners: ArrayLike,
        class_id: int,
        material: Material,
        color: ArrayLike,
        uvs: NDArray[np.floating] | None = None,
    ) -> None:
        """(N, 3, 3) or (3, 3) triangles, as `quads`."""
        corners = np.asarray(corners, dtype=np.float64).reshape(-1, 3, 3)
        self._polygons(corners, class_id, material, color, uvs)

    def _polygons(
        self,
        corners: NDArray[np.float64],
        class_id: int,
        material: Material,
        color: ArrayLike,
        uvs: NDArray[np.floating] | None,
    ) -> None:
        if len(corners):
            colors = np.broadcast_to(np.asarray(color, dtype=np.float32), (len(corners), 3))
            self._waiting[corners.shape[1]].append(_Polygons(corners, class_id, material, colors, uvs))

    def boxes(
        self,
        centers: ArrayLike,
        sizes: ArrayLike,
        class_id: int,
        material: Material,
        color: ArrayLike,
        axes: ArrayLike | None = None,
        without: str = "",
    ) -> None:
        """(N, 3) centres and (N, 3) or (3,) whole sizes along (N, 3, 3) or (3, 3) `axes`, whose rows are unit vectors.

        `without` names a face that nobody can see: "bottom" (-row 2) or "back" (+row 1).
        """
        centers = np.asarray(centers, dtype=np.float64).reshape(-1, 3)
        half = np.broadcast_to(np.asarray(sizes, dtype=np.float64) / 2, centers.shape)
        rows = np.broadcast_to(np.eye(3) if axes is None else np.asarray(axes), (len(centers), 3, 3))
        corners = centers[:, None] + np.einsum("nkc,ncx->nkx", _CORNERS[None] * half[:, None], rows)
        sides = np.delete(_BOX, {"": [], "bottom": [0], "back": [4]}[without], axis=0)
        colors = np.repeat(np.broadcast_to(np.asarray(color), (len(centers), 3)), len(sides), axis=0)
        self.quads(corners[:, sides].reshape(-1, 4, 3), class_id, material, colors)

    def bars(
        self,
        starts: ArrayLike,
        ends: ArrayLike,
        radii: ArrayLike,
        class_id: int,
        material: Material,
        color: ArrayLike,
        sides: int = 6,
        capped: bool = True,
        end_radii: ArrayLike | None = None,
    ) -> None:
        """Round bars from (N, 3) to (N, 3) with radii (N,) or one, tapering to `end_radii`."""
        starts = np.asarray(starts, dtype=np.float64).reshape(-1, 3)
        ends = np.asarray(ends, dtype=np.float64).reshape(-1, 3)
        count = len(starts)
        if not count:
            return
        first = np.broadcast_to(np.asarray(radii, dtype=np.float64), count)
        last = first if end_radii is None else np.broadcast_to(np.asarray(end_radii, dtype=np.float64), count)
        along = ends - starts
        lengths = np.linalg.norm(along, axis=1)
        along = along / np.maximum(lengths, 1e-12)[:, None]
        reference = np.where(np.abs(along[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
        left = np.cross(reference, along)
        left /= np.linalg.norm(left, axis=1, keepdims=True)
        up = np.cross(along, left)
        angle = 2 * np.pi * np.arange(sides + 1) / sides
        ring = left[:, None] * np.cos(angle)[:, None] + up[:, None] * np.sin(angle)[:, None]
        ring[:, -1] = ring[:, 0]
        low = starts[:, None] + ring * first[:, None, None]
        high = ends[:, None] + ring * last[:, None, None]
        corners = np.stack([low[:, :-1], low[:, 1:], high[:, 1:], high[:, :-1]], axis=2).reshape(-1, 4, 3)
        u = angle[None] * (first + last)[:, None] / 2
        zero, full = np.zeros((count, sides)), np.broadcast_to(lengths[:, None], (count, sides))
        uvs = np.stack(
            [np.stack([u[:, :-1], u[:, 1:], u[:, 1:], u[:, :-1]], 2), np.stack([zero, zero, full, full], 2)], axis=-1
        ).reshape(-1, 4, 2)
        colors = np.broadcast_to(np.asarray(color, dtype=np.float64), (count, 3))
        self.quads(corners, class_id, material, np.repeat(colors, sides, axis=0), uvs)
        if capped:
            for rim, middle, order in ((low, starts, (0, 2, 1)), (high, ends, (0, 1, 2))):
                fan = np.stack([np.repeat(middle[:, None], sides, 1), rim[:, :-1], rim[:, 1:]], axis=2)
                self.triangles(fan.reshape(-1, 3, 3)[:, order], class_id, material, np.repeat(colors, sides, axis=0))

    def prism(
        self,
        outline: ArrayLike,
        origin: ArrayLike,
        axes: ArrayLike,
        depth: float,
        class_id: int,
        material: Material,
        color: ArrayLike,
        ends: tuple[Material, ArrayLike] | None = None,
    ) -> None:
        """A convex (K, 2) outline in the plane of `axes` rows 0 and 1, counter-clockwise, pushed `depth` along row 2.

        The rows are a right-handed frame; `ends` may be of another material and colour than the sides.
        """
        outline = np.asarray(outline, dtype=np.float64)
        rows, base = np.asarray(axes, dtype=np.float64), np.asarray(origin, dtype=np.float64)
        low = base + outline @ rows[:2]
        high = low + depth * rows[2]
        after = np.roll(np.arange(len(outline)), -1)
        self.quads(np.stack([low, low[after], high[after], high], axis=1), class_id, material, color)
        cap_material, cap_color = (material, color) if ends is None else ends
        inner = np.arange(1, len(outline) - 1)
        first = np.zeros(len(inner), dtype=int)
        self.triangles(np.stack([high[first], high[inner], high[inner + 1]], 1), class_id, cap_material, cap_color)
        self.triangles(np.stack([low[first], low[inner + 1], low[inner]], 1), class_id, cap_material, cap_color)

    def disc(
        self,
        center: ArrayLike,
        normal: ArrayLike,
        radius: float,
        class_id: int,
        material: Material,
        color: ArrayLike,
        sides: int = 16,
        inner: float = 0.0,
        turn: float = 0.0,
    ) -> None:
        """A flat regular polygon that faces `normal`, or the ring outside the radius `inner`."""
        axes = facing(normal)
        angle = turn + 2 * np.pi * np.arange(sides + 1) / sides
        ring = np.cos(angle)[:, None] * axes[0] + np.sin(angle)[:, None] * axes[1]
        middle = np.asarray(center, dtype=np.float64)
        a, b = ring[:-1], ring[1:]
        if inner > 0:
            corners = np.stack([a * inner, a * radius, b * radius, b * inner], axis=1) + middle
            self.quads(corners, class_id, material, color)
        else:
            self.triangles(np.stack([0 * a, a * radius, b * radius], 1) + middle, class_id, material, color)

    def copies(self, mesh: Mesh, transforms: ArrayLike, tints: ArrayLike | None = None) -> None:
        """A mesh at (N, 4, 4) places, its colours multiplied by (N, 3) `tints`."""
        matrices = np.asarray(transforms, dtype=np.float32).reshape(-1, 4, 4)
        count, points = len(matrices), len(mesh.vertices)
        if not count:
            return
        vertices = np.einsum("nij,vj->nvi", matrices[:, :3, :3], mesh.vertices) + matrices[:, None, :3, 3]
        offsets = np.arange(count, dtype=np.int32)[:, None, None] * points
        colors = np.repeat(mesh.colors[None], count, axis=0)
        if tints is not None:
            colors = np.clip(colors * np.asarray(tints, dtype=np.float32)[:, None], 0.0, 1.0)
        self._parts.append(
            Mesh(
                vertices=vertices.reshape(-1, 3),
                faces=(mesh.faces[None] + offsets).reshape(-1, 3),
                classes=np.tile(mesh.classes, count),
                materials=np.tile(mesh.materials, count),
                colors=colors.reshape(-1, 3),
                uvs=np.tile(mesh.uvs, (count, 1, 1)),
            )
        )


def facing(normal: ArrayLike) -> NDArray[np.float64]:
    """(3, 3) rows right, up, normal of a right-handed frame that looks along `normal`, level where that is possible."""
    n = np.asarray(normal, dtype=np.float64)
    n = n / np.linalg.norm(n)
    up = np.array([0.0, 0.0, 1.0]) if abs(n[2]) < 0.99 else np.array([0.0, 1.0, 0.0])
    right = np.cross(up, n)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(n, right), n])


def jitter(rng: np.random.Generator, color: ArrayLike, count: int, amount: float = 0.1) -> NDArray[np.float64]:
    """(count, 3) shades of a colour: lighter and darker by about `amount`, and a little off its hue."""
    light = 1 + amount * rng.standard_normal((count, 1))
    hue = 1 + 0.25 * amount * rng.standard_normal((count, 3))
    shades: NDArray[np.float64] = np.clip(np.asarray(color) * np.clip(light * hue, 0.3, 2.0), 0.0, 1.0)
    return shades
