"""Solids that things are put together from, and paint that cuts its outline into their surface."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from panoptic_training.synthetic.mesh import Material, Mesh, box_projection

Color = tuple[float, float, float]
Point = tuple[float, float]

_PLANES = np.array([[1, 2], [0, 2], [0, 1]])  # the two coordinates that are left when one axis is looked along


def quads(rows: int, columns: int, closed: bool = False) -> NDArray[np.int32]:
    """(F, 3) triangles between the points of a grid; they face along rows x columns.

    Parameters
    ----------
    rows, columns:
        Points of the grid, which are numbered row after row.
    closed:
        The last column meets the first.
    """
    row = np.arange(rows - 1)[:, None]
    column = np.arange(columns if closed else columns - 1)[None, :]
    after = (column + 1) % columns
    a, b = row * columns + column, row * columns + after
    c, d = (row + 1) * columns + after, (row + 1) * columns + column
    return np.stack([np.stack([a, d, c], -1), np.stack([a, c, b], -1)], axis=2).reshape(-1, 3).astype(np.int32)


def loft(rings: NDArray[np.floating], material: Material, color: Color) -> Mesh:
    """A closed solid through rings of points, its ends covered.

    Parameters
    ----------
    rings:
        (N, K, 3); each ring runs counter-clockwise seen from where the rings go to.
    """
    count, points = rings.shape[:2]
    ends = np.stack([rings[0].mean(axis=0), rings[-1].mean(axis=0)])
    vertices = np.concatenate([rings.reshape(-1, 3), ends])
    ring = np.arange(points)
    after = (ring + 1) % points
    first, last = count * points, (count - 1) * points
    caps = [
        np.stack([np.full(points, first), after, ring], -1),
        np.stack([np.full(points, first + 1), last + ring, last + after], -1),
    ]
    # `quads` faces along rows x columns, which for such rings is inwards
    faces = np.concatenate([quads(count, points, closed=True)[:, ::-1], *caps])
    return Mesh.of(vertices, faces, 0, material, color)


def box(size: ArrayLike, center: ArrayLike, material: Material, color: Color) -> Mesh:
    """A box along the axes."""
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2
    rings = np.stack([np.c_[corners, np.full(4, end)] for end in (-0.5, 0.5)])
    return loft(rings * np.asarray(size) + np.asarray(center), material, color)


def rounded_box(size: ArrayLike, center: ArrayLike, material: Material, color: Color, edge: float = 0.3) -> Mesh:
    """A box with cut edges; `edge` is the cut's part of each half side."""
    inner = 1 - edge
    ring = np.array(
        [[-inner, -1], [inner, -1], [1, -inner], [1, inner], [inner, 1], [-inner, 1], [-1, inner], [-1, -inner]]
    )
    levels = ((-1.0, inner), (-inner, 1.0), (inner, 1.0), (1.0, inner))
    rings = np.stack([np.c_[ring * scale, np.full(8, z)] for z, scale in levels])
    return loft(rings / 2 * np.asarray(size) + np.asarray(center), material, color)


def tube(points: ArrayLike, radii: ArrayLike, sides: int, material: Material, color: Color) -> Mesh:
    """A round bar along a line of points, with a radius at each (or one for all)."""
    line = np.asarray(points, dtype=np.float64)
    radius = np.broadcast_to(np.asarray(radii, dtype=np.float64), len(line))
    along = np.gradient(line, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    # one direction that no part of the line follows keeps the rings from twisting
    reference = np.eye(3)[np.abs(along).max(axis=0).argmin()]
    left = np.cross(along, reference)
    left /= np.linalg.norm(left, axis=1, keepdims=True)
    up = np.cross(along, left)
    angle = 2 * np.pi * np.arange(sides) / sides
    offset = left[:, None] * np.cos(angle)[None, :, None] + up[:, None] * np.sin(angle)[None, :, None]
    return loft(line[:, None] + offset * radius[:, None, None], material, color)


def ellipsoid(
    size: ArrayLike, center: ArrayLike, material: Material, color: Color, rings: int = 6, sides: int = 8
) -> Mesh:
    """An ellipsoid of a size along the axes."""
    latitude = np.pi * (np.arange(1, rings) / rings - 0.5)
    angle = 2 * np.pi * np.arange(sides) / sides
    shell = np.stack(
        [
            np.cos(latitude)[:, None] * np.cos(angle),
            np.cos(latitude)[:, None] * np.sin(angle),
            np.repeat(np.sin(latitude)[:, None], sides, axis=1),
        ],
        axis=-1,
    )
    mesh = loft(shell, material, color)
    mesh.vertices[-2:] = [[0, 0, -1], [0, 0, 1]]
    return mesh.moved(_placed(np.asarray(size) / 2, center))


def turned(profile: ArrayLike, sides: int, material: Material, color: Color) -> Mesh:
    """A solid of revolution about the y axis; `profile` is (N, 2) of y ascending and radius."""
    outline = np.asarray(profile, dtype=np.float64)
    angle = 2 * np.pi * np.arange(sides) / sides
    y = np.repeat(outline[:, :1], sides, axis=1)
    return loft(np.stack([outline[:, 1:] * np.sin(angle), y, outline[:, 1:] * np.cos(angle)], axis=-1), material, color)


def mirrored(mesh: Mesh) -> Mesh:
    """The mesh on the other side of the x-z plane, still facing outwards."""
    vertices = mesh.vertices * np.array([1, -1, 1], dtype=np.float32)
    return Mesh(vertices, mesh.faces[:, ::-1], mesh.classes, mesh.materials, mesh.colors, mesh.uvs[:, ::-1])


def pair(mesh: Mesh) -> Mesh:
    """The mesh and its mirror image."""
    return Mesh.join([mesh, mirrored(mesh)])


def at(mesh: Mesh, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Mesh:
    """The mesh shifted."""
    return mesh.moved(_placed(np.ones(3), (x, y, z)))


def of_class(mesh: Mesh, class_id: int) -> Mesh:
    """The mesh with every triangle of one class."""
    classes = np.full(len(mesh.faces), class_id, dtype=np.uint8)
    return Mesh(mesh.vertices, mesh.faces, classes, mesh.materials, mesh.colors, mesh.uvs)


def _placed(scale: NDArray[np.floating], center: ArrayLike) -> NDArray[np.float64]:
    transform = np.diag([*scale, 1.0])
    transform[:3, 3] = np.asarray(center)
    return transform


class Skin:
    """A surface to paint on: each polygon of paint cuts the triangles under its outline, so its edges are sharp.

    Attributes
    ----------
    corners:
        (F, 3, 3) float64, the corners of the triangles.
    materials, colors:
        (F,) and (F, 3), as in `Mesh`.
    finest:
        Metres; narrower outlines are not painted, which saves triangles where nobody could see them.
    """

    def __init__(self, mesh: Mesh, finest: float = 0.0) -> None:
        self.finest = finest
        self.corners = mesh.vertices[mesh.faces].astype(np.float64)
        self.materials = mesh.materials.copy()
        self.colors = mesh.colors.copy()

    def paint(
        self,
        polygon: Sequence[Point] | NDArray[np.floating],
        axis: int,
        side: int,
        material: Material,
        color: Color,
        within: tuple[float, float] = (-np.inf, np.inf),
    ) -> None:
        """Paint what is seen inside a convex polygon when looking along an axis.

        Parameters
        ----------
        polygon:
            (K, 2) convex, in the two other coordinates, in their order.
        axis, side:
            Looks against the axis (0 x, 1 y, 2 z) when `side` is 1, along it when it is -1.
        within:
            Range along the axis that the triangles' middles must lie in.
        """
        outline = np.asarray(polygon, dtype=np.float64)
        if np.ptp(outline, axis=0).min() < self.finest:
            return
        ahead = np.roll(outline, -1, axis=0)
        if float((outline[:, 0] * ahead[:, 1] - ahead[:, 0] * outline[:, 1]).sum()) < 0:
            outline = outline[::-1]
        first, second = _PLANES[axis]
        edges = self.corners[:, 1:] - self.corners[:, :1]
        facing = edges[:, 0, first] * edges[:, 1, second] - edges[:, 0, second] * edges[:, 1, first]
        facing = -facing if axis == 1 else facing  # z x x, not x x z, is y
        length = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
        middle = self.corners[:, :, axis].mean(axis=1)
        flat = self.corners[:, :, (first, second)]
        chosen = (
            (facing * side > (0.35 if axis == 1 else 0.08) * length)  # what is on a side does not reach round corners
            & (middle >= within[0])
            & (middle <= within[1])
            & (flat.max(axis=1) > outline.min(axis=0)).all(axis=1)
            & (flat.min(axis=1) < outline.max(axis=0)).all(axis=1)
        )
        if not chosen.any():
            return
        candidates = np.flatnonzero(chosen)
        inside, corners = candidates, self.corners[candidates]
        cut_off, cut_off_corners = [], []
        for start, end in zip(outline, np.roll(outline, -1, axis=0), strict=True):
            normal = np.array([start[1] - end[1], end[0] - start[0]])
            normal /= np.linalg.norm(normal) + 1e-12
            distance = (corners[:, :, (first, second)] - start) @ normal
            corners, within_edge, outer, beyond = _split(corners, distance)
            cut_off.append(inside[beyond])
            cut_off_corners.append(outer)
            inside = inside[within_edge]
        touched = np.zeros(len(chosen), dtype=bool)
        touched[inside] = True  # what was cut without getting any paint stays whole
        rest = np.concatenate(cut_off)
        left = touched[rest]
        source = np.concatenate([np.flatnonzero(~touched), rest[left], inside])
        self.corners = np.concatenate([self.corners[~touched], np.concatenate(cut_off_corners)[left], corners])
        self.materials, self.colors = self.materials[source], self.colors[source]
        if len(inside):
            self.materials[-len(inside) :] = int(material)
            self.colors[-len(inside) :] = color

    def sides(self, polygon: Sequence[Point] | NDArray[np.floating], material: Material, color: Color) -> None:
        """Paint both sides; `polygon` is in x and z."""
        self.paint(polygon, 1, 1, material, color, (0.0, np.inf))
        self.paint(polygon, 1, -1, material, color, (-np.inf, 0.0))

    def both(
        self,
        polygon: Sequence[Point],
        axis: int,
        side: int,
        material: Material,
        color: Color,
        within: tuple[float, float] = (-np.inf, np.inf),
    ) -> None:
        """Paint a polygon on the left half and its mirror image on the right; its first coordinate is y for axis 0."""
        flip = np.array([-1.0, 1.0]) if axis == 0 else np.array([1.0, -1.0])
        self.paint(polygon, axis, side, material, color, within)
        self.paint(np.asarray(polygon) * flip, axis, side, material, color, within)

    def line(
        self,
        points: Sequence[Point],
        width: float,
        color: Color,
    ) -> None:
        """A dark joint on both sides, along points in x and z."""
        if width < self.finest:
            return
        for start, end in pairwise(points):
            a, b = np.asarray(start), np.asarray(end)
            across = np.array([a[1] - b[1], b[0] - a[0]])
            across *= width / 2 / np.linalg.norm(across)
            self.sides(np.stack([a - across, b - across, b + across, a + across]), Material.PLASTIC, color)

    def mesh(self) -> Mesh:
        """The painted surface, with equal corners joined."""
        flat = self.corners.reshape(-1, 3)
        _, first, index = np.unique(np.round(flat, 5), axis=0, return_index=True, return_inverse=True)
        faces = index.reshape(-1, 3).astype(np.int32)
        solid = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
        vertices, faces = flat[first].astype(np.float32), faces[solid]
        return Mesh(
            vertices=vertices,
            faces=faces,
            classes=np.zeros(len(faces), dtype=np.uint8),
            materials=self.materials[solid].astype(np.uint8),
            colors=self.colors[solid].astype(np.float32),
            uvs=box_projection(vertices, faces),
        )


def _split(
    corners: NDArray[np.float64], distance: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Cut triangles along a line that their corners have a signed distance to.

    Returns
    -------
    inner, inner_source, outer, outer_source:
        The triangles on either side, and the index of the triangle that each was cut from.
    """
    above = distance > 1e-7
    count = above.sum(axis=1)
    touching = (distance > -1e-7).sum(axis=1)
    whole, gone = touching == 3, count == 0
    gone &= ~whole
    cut = np.flatnonzero(~whole & ~gone)
    lone = count[cut] == 1  # one corner above: it is the lone one; else the one below is
    apex = np.where(lone, above[cut].argmax(axis=1), distance[cut].argmin(axis=1))
    order = (apex[:, None] + np.arange(3)) % 3
    points = np.take_along_axis(corners[cut], order[:, :, None], axis=1)
    depth = np.take_along_axis(distance[cut], order, axis=1)
    share = np.clip(depth[:, :1] / (depth[:, :1] - depth[:, 1:]), 0, 1)[:, :, None]
    on_edge = points[:, :1] + share * (points[:, 1:] - points[:, :1])
    tip = np.stack([points[:, 0], on_edge[:, 0], on_edge[:, 1]], axis=1)
    rest = np.concatenate(
        [
            np.stack([on_edge[:, 0], points[:, 1], points[:, 2]], axis=1),
            np.stack([on_edge[:, 0], points[:, 2], on_edge[:, 1]], axis=1),
        ]
    )
    twice, lone_twice = np.tile(cut, 2), np.tile(lone, 2)
    inner = np.concatenate([corners[whole], tip[lone], rest[~lone_twice]])
    inner_source = np.concatenate([np.flatnonzero(whole), cut[lone], twice[~lone_twice]])
    outer = np.concatenate([corners[gone], tip[~lone], rest[lone_twice]])
    outer_source = np.concatenate([np.flatnonzero(gone), cut[~lone], twice[lone_twice]])
    return inner, inner_source, outer, outer_source
