"""The world from above, as a grid should know it: ground, obstacles and things per cell, from the exact geometry.

What stands on a cell has a surface between `OBSTACLE_BOTTOM` and `OBSTACLE_TOP` above the ground there: a canopy or a
bridge above is no obstacle, and neither is a kerb.  The inside of a closed building is occupied.  A thing is a
rectangle, the ground plan of its box.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from panoptic_training.synthetic.ground_plan import (
    clip_triangles,
    cross_sections,
    entered,
    majority,
    on_ground,
    paint_box,
    stamp_triangles,
)
from panoptic_training.synthetic.mesh import Mesh
from panoptic_training.synthetic.raycast import Raycaster
from panoptic_training.synthetic.scene import World
from panoptic_training.synthetic.truth import MeshWorld, objects_near

OBSTACLE_BOTTOM, OBSTACLE_TOP = 0.3, 2.5  # metres above the ground
GROUND_CLASSES = (6, 7, 8, 9, 10, 22)  # Cityscapes: ground, road, sidewalk, parking, rail track, terrain
BUILDING = 11
SUPERSAMPLING = 4  # samples along a cell's side
GROUND_SAMPLING = 2
HIGH = 1000.0  # metres, above everything
OUTLINES = (0.5, 2.8)  # metres above the ground, where the outlines of buildings are taken: beside their windows


@dataclass(frozen=True, slots=True, eq=False)
class TopView:
    """A square window of the world from above, rows along y and columns along x of its frame, from its lower corner.

    Attributes
    ----------
    origin:
        x, y of the outer corner of cell [0, 0] in the frame of the grid, metres; multiples of `cell`.
    cell:
        Side of a cell, metres.
    ground:
        (N, N) uint8, the class of the ground, 0 where there is none.
    coverage:
        (N, N) float32, the share of the cell that obstacles stand on, a multiple of 1/16.
    obstacle:
        (N, N) uint8, the class of what stands on most of the occupied part, 0 where the cell is free.
    instance:
        (N, N) int32, its instance; 0 for stuff and where the cell is free.
    """

    origin: tuple[float, float]
    cell: float
    ground: NDArray[np.uint8]
    coverage: NDArray[np.float32]
    obstacle: NDArray[np.uint8]
    instance: NDArray[np.int32]

    @property
    def occupied(self) -> NDArray[np.bool_]:
        """(N, N) whether anything stands on the cell."""
        return self.coverage > 0

    @property
    def known(self) -> NDArray[np.bool_]:
        """(N, N) whether the cell is part of the world."""
        return (self.coverage > 0) | (self.ground > 0)

    @property
    def classes(self) -> NDArray[np.uint8]:
        """(N, N) uint8, the class of the obstacle, else of the ground."""
        return np.where(self.obstacle > 0, self.obstacle, self.ground)


class TopViewTruth:
    """Makes `TopView`s of a world.

    Parameters
    ----------
    world:
        The world.
    cell:
        Side of a cell, metres.
    size:
        Side of the window, metres, rounded to whole cells.
    """

    def __init__(self, world: World, cell: float = 0.25, size: float = 80.0) -> None:
        self.world = world
        self.cell = cell
        self.count = max(1, round(size / cell))
        static = world.static
        is_ground = np.isin(static.classes, GROUND_CLASSES)
        self._ground_classes = static.classes[is_ground]
        self._ground = Raycaster(MeshWorld(_part(static, is_ground)))
        self._building = static.vertices[static.faces[static.classes == BUILDING]].astype(np.float32)
        self._obstacles = static.vertices[static.faces[~is_ground]].astype(np.float32)
        self._obstacle_classes = static.classes[~is_ground]
        self._low, self._high = self._obstacles.min(axis=1), self._obstacles.max(axis=1)

    def __call__(self, time: float, world_from_frame: NDArray[np.float64] | None = None) -> TopView:
        """The window around the vehicle.

        Parameters
        ----------
        time:
            When.
        world_from_frame:
            (4, 4) pose of the frame that the grid is parallel to (``odom``); the world's own (``map``) if None.  Only
            its place and heading count: the grid is level.
        """
        place = on_ground(np.eye(4) if world_from_frame is None else world_from_frame)
        ego = self.world.ego_pose(time)[:2, 3]
        middle = (ego - place[:2, 2]) @ place[:2, :2]
        first = np.floor(middle / self.cell).astype(int) - self.count // 2
        origin = first * self.cell
        ground, height = self._ground_of(origin, place)
        stands = self._static_of(origin, place, height).astype(np.int32) * 1000
        reach = self.count * self.cell  # more than half the window's diagonal
        for thing in sorted(objects_near(self.world, time, ego, reach + 20), key=lambda one: one.corners[:, 2].max()):
            paint_box(stands, thing, origin, self.cell / SUPERSAMPLING, place)
        coverage, winner = majority(stands, SUPERSAMPLING)
        ground_winner = majority(ground.astype(np.int32), GROUND_SAMPLING)[1]
        return TopView(
            origin=(float(origin[0]), float(origin[1])),
            cell=self.cell,
            ground=ground_winner.astype(np.uint8),
            coverage=coverage,
            obstacle=(winner // 1000).astype(np.uint8),
            instance=winner % 1000,
        )

    def _centers(self, origin: NDArray[np.float64], place: NDArray[np.float64], fineness: int) -> NDArray[np.float64]:
        """(M, M, 2) places in the world of the samples of all cells, rows along y."""
        along = (np.arange(self.count * fineness) + 0.5) * (self.cell / fineness)
        x, y = np.meshgrid(origin[0] + along, origin[1] + along)
        world: NDArray[np.float64] = np.stack([x, y], axis=-1) @ place[:2, :2].T + place[:2, 2]
        return world

    def _ground_of(
        self, origin: NDArray[np.float64], place: NDArray[np.float64]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Class and height of the ground at GROUND_SAMPLING samples a side of a cell; height is nan where none is."""
        centers = self._centers(origin, place, GROUND_SAMPLING)
        shape = centers.shape[:2]
        starts = np.concatenate([centers.reshape(-1, 2), np.full((centers[..., 0].size, 1), HIGH)], axis=1)
        hits = self._ground.cast(starts, np.broadcast_to(np.array([0, 0, -1], np.float32), starts.shape), 0.0)
        found = np.isfinite(hits.distance)
        classes = np.where(found, hits.class_id, 0).astype(np.uint8)
        height = np.where(found, HIGH - hits.distance, np.nan).astype(np.float32)
        return classes.reshape(shape), height.reshape(shape)

    def _static_of(
        self, origin: NDArray[np.float64], place: NDArray[np.float64], height: NDArray[np.float32]
    ) -> NDArray[np.uint8]:
        """(M, M) classes of what stands at SUPERSAMPLING samples a side of a cell, 0 where nothing does."""
        fine = self.cell / SUPERSAMPLING
        count = self.count * SUPERSAMPLING
        stands = np.zeros((count, count), dtype=np.uint8)
        seen = height[np.isfinite(height)]
        lowest, highest = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 0.0)
        corners = np.array([[0, 0], [0, 1], [1, 1], [1, 0]]) * (self.count * self.cell) + origin
        area = corners @ place[:2, :2].T + place[:2, 2]
        near = (self._high[:, :2] >= area.min(axis=0)).all(axis=1) & (self._low[:, :2] <= area.max(axis=0)).all(axis=1)
        near &= (self._high[:, 2] >= lowest + OBSTACLE_BOTTOM) & (self._low[:, 2] <= highest + OBSTACLE_TOP)
        triangles, classes = self._obstacles[near], self._obstacle_classes[near]
        # Beyond the window nothing is sampled, and above and below the slab neither: facades are large.
        bounds = [
            (np.array([0.0, 0, 1]), lowest + OBSTACLE_BOTTOM),
            (np.array([0.0, 0, -1]), -highest - OBSTACLE_TOP),
            (np.array([1.0, 0, 0]), area[:, 0].min()),
            (np.array([-1.0, 0, 0]), -area[:, 0].max()),
            (np.array([0.0, 1, 0]), area[:, 1].min()),
            (np.array([0.0, -1, 0]), -area[:, 1].max()),
        ]
        for normal, offset in bounds:
            triangles, kept = clip_triangles(triangles, normal, offset)
            classes = classes[kept]
        base = np.where(np.isfinite(height), height, np.float32(lowest))
        to_grid = np.concatenate([place[:2, :2].T, -(place[:2, 2] @ place[:2, :2] + origin)[:, None]], axis=1)
        stamp_triangles(stands, triangles, classes, to_grid, fine, base, (OBSTACLE_BOTTOM, OBSTACLE_TOP))
        level = float(np.median(seen)) if seen.size else 0.0
        votes = np.sum([self._votes(origin, place, level + above) for above in OUTLINES], axis=0)
        indoors = cv2.medianBlur((votes > 2 * len(OUTLINES)).astype(np.uint8), 5) > 0
        indoors = np.kron(indoors, np.ones((SUPERSAMPLING, SUPERSAMPLING), dtype=bool))
        stands[indoors & (stands == 0)] = BUILDING
        return stands

    def _votes(self, origin: NDArray[np.float64], place: NDArray[np.float64], level: float) -> NDArray[np.uint8]:
        """(N, N) from how many sides, of four, the middle of a cell is in a building by the outlines at a level.

        A line from outside enters where a wall looks at it and leaves where one looks away.  A sheet that is no closed
        wall misleads single lines, so most must agree.
        """
        heights = self._building[:, :, 2]
        cut = self._building[(heights.min(axis=1) < level) & (heights.max(axis=1) >= level)]
        own = (cut[:, :, :2] - place[:2, 2]) @ place[:2, :2] - origin
        first, second = own[:, 1] - own[:, 0], own[:, 2] - own[:, 0]
        # Which way each wall looks, on the ground.
        rise_first, rise_second = cut[:, 1, 2] - cut[:, 0, 2], cut[:, 2, 2] - cut[:, 0, 2]
        facing = np.stack(
            [
                first[:, 1] * rise_second - rise_first * second[:, 1],
                rise_first * second[:, 0] - first[:, 0] * rise_second,
            ],
            axis=1,
        )
        ends = cross_sections(own, cut[:, :, 2] - level) / self.cell
        votes = np.zeros((self.count, self.count), dtype=np.uint8)
        for axis in (0, 1):
            inside = entered(ends[..., axis], ends[..., 1 - axis], -np.sign(facing[:, axis]), self.count)
            votes += (inside if axis == 0 else inside.swapaxes(1, 2)).sum(axis=0, dtype=np.uint8)
        return votes


def _part(mesh: Mesh, chosen: NDArray[np.bool_]) -> Mesh:
    """Some triangles of a mesh."""
    return Mesh(
        mesh.vertices,
        mesh.faces[chosen],
        mesh.classes[chosen],
        mesh.materials[chosen],
        mesh.colors[chosen],
        mesh.uvs[chosen],
    )
