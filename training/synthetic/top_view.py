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

from panoptic_training.synthetic.mesh import Mesh
from panoptic_training.synthetic.raycast import Raycaster
from panoptic_training.synthetic.scene import World
from panoptic_training.synthetic.truth import MeshWorld, ObjectTruth, objects_near

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
        place = _level(np.eye(4) if world_from_frame is None else world_from_frame)
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
        coarse = SUPERSAMPLING // GROUND_SAMPLING
        for points, owner in sample_triangles(triangles, fine):
            own = (points[:, :2] - place[:2, 2]) @ place[:2, :2]
            cells = np.floor((own - origin) / fine).astype(int)
            inside = ((cells >= 0) & (cells < count)).all(axis=1)
            cells, above, owner = cells[inside], points[inside, 2], owner[inside]
            base = height[cells[:, 1] // coarse, cells[:, 0] // coarse]
            above = above - np.where(np.isfinite(base), base, lowest)
            is_obstacle = (above > OBSTACLE_BOTTOM) & (above < OBSTACLE_TOP)
            cells, owner = cells[is_obstacle], owner[is_obstacle]
            stands[cells[:, 1], cells[:, 0]] = classes[owner]
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
        ends = _cross_sections(own, cut[:, :, 2] - level) / self.cell
        votes = np.zeros((self.count, self.count), dtype=np.uint8)
        for axis in (0, 1):
            inside = _entered(ends[..., axis], ends[..., 1 - axis], -np.sign(facing[:, axis]), self.count)
            votes += (inside if axis == 0 else inside.swapaxes(1, 2)).sum(axis=0, dtype=np.uint8)
        return votes


def _cross_sections(corners: NDArray[np.floating], over: NDArray[np.floating]) -> NDArray[np.float64]:
    """(T, 2, 2) the ends of the lines in which triangles cross a level.

    Parameters
    ----------
    corners:
        (T, 3, 2) on the ground.
    over:
        (T, 3) their heights over the level; each triangle has one below and one that is not.
    """
    above = over >= 0
    # Turned so that the corner that is alone on its side comes first.
    alone = np.where(above.sum(axis=1) == 1, above.argmax(axis=1), (~above).argmax(axis=1))
    order = (alone[:, None] + np.arange(3)) % 3
    turned = np.take_along_axis(corners, order[:, :, None], axis=1).astype(np.float64)
    height = np.take_along_axis(over, order, axis=1).astype(np.float64)
    share = height[:, :1] / (height[:, :1] - height[:, 1:])
    ends: NDArray[np.float64] = turned[:, :1] + share[:, :, None] * (turned[:, 1:] - turned[:, :1])
    return ends


def _entered(
    along: NDArray[np.float64], across: NDArray[np.float64], steps: NDArray[np.floating], count: int
) -> NDArray[np.bool_]:
    """(2, N, N) whether a line along each row of cells is inside at each cell, counted from either end.

    Parameters
    ----------
    along, across:
        (T, 2) the ends of walls, in cells.
    steps:
        (T,) 1 where a line that goes up along the row enters, -1 where it leaves.
    """
    # The rows whose middle a wall crosses.
    low, high = np.sort(across, axis=1).T
    start = np.clip(np.ceil(low - 0.5), 0, count).astype(int)
    stop = np.clip(np.ceil(high - 0.5), 0, count).astype(int)
    number = stop - start
    wall = np.repeat(np.arange(len(number)), number)
    row = np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number) + start[wall]
    share = (row + 0.5 - across[wall, 0]) / (across[wall, 1] - across[wall, 0])
    place = along[wall, 0] + share * (along[wall, 1] - along[wall, 0])
    column = np.clip(np.ceil(place - 0.5), 0, count).astype(int)
    changes = np.zeros((count, count + 1))
    np.add.at(changes, (row, column), steps[wall])
    depth = np.cumsum(changes, axis=1)
    return np.stack([depth[:, :-1] > 0, depth[:, :-1] - depth[:, -1:] > 0])


def paint_box(
    stands: NDArray[np.int32],
    thing: ObjectTruth,
    origin: NDArray[np.float64],
    fine: float,
    place: NDArray[np.float64],
) -> None:
    """Write a thing's id to the samples (M, M) whose middle lies in the ground plan of its box."""
    level = _level(thing.pose)
    turn = place[:2, :2].T @ level[:2, :2]
    middle = (level[:2, 2] - place[:2, 2]) @ place[:2, :2] - origin
    half = np.array(thing.size[:2]) / 2
    reach = np.abs(turn) @ half
    first = np.maximum(np.floor((middle - reach) / fine).astype(int), 0)
    last = np.minimum(np.ceil((middle + reach) / fine).astype(int) + 1, stands.shape[0])
    if (first >= last).any():
        return
    x, y = ((np.arange(first[axis], last[axis]) + 0.5) * fine - middle[axis] for axis in (0, 1))
    own_x = x[None] * turn[0, 0] + y[:, None] * turn[1, 0]
    own_y = x[None] * turn[0, 1] + y[:, None] * turn[1, 1]
    inside = (np.abs(own_x) <= half[0]) & (np.abs(own_y) <= half[1])
    stands[first[1] : last[1], first[0] : last[0]][inside] = thing.id


def majority(values: NDArray[np.int32], fineness: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """For each cell of `fineness` samples a side, the share that is not 0, and the value that most of those have.

    Parameters
    ----------
    values:
        (N * fineness, N * fineness).
    """
    count = values.shape[0] // fineness
    cells = values.reshape(count, fineness, count, fineness).swapaxes(1, 2).reshape(count * count, -1)
    filled = cells != 0
    winner = cells[:, 0].copy()
    mixed = np.flatnonzero((cells != cells[:, :1]).any(axis=1))
    chosen = cells[mixed]
    votes = (chosen[:, :, None] == chosen[:, None, :]).sum(axis=2) * (chosen != 0)
    winner[mixed] = chosen[np.arange(len(mixed)), votes.argmax(axis=1)]
    share = filled.mean(axis=1, dtype=np.float32)
    return share.reshape(count, count), winner.reshape(count, count)


def clip_triangles(
    triangles: NDArray[np.float32], normal: NDArray[np.float64], offset: float
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """The parts of triangles where ``normal · x >= offset``, and the index of the triangle that each is a part of.

    Parameters
    ----------
    triangles:
        (T, 3, 3) corners.
    """
    over = triangles @ normal.astype(np.float32) - np.float32(offset)
    inside = (over >= 0).sum(axis=1)
    whole = np.flatnonzero(inside == 3)
    parts, owners = [triangles[whole]], [whole]
    for kept in (1, 2):
        cut = np.flatnonzero(inside == kept)
        # Turned so that the corner that is alone on its side comes first.
        alone = (over[cut] >= 0).argmax(axis=1) if kept == 1 else (over[cut] < 0).argmax(axis=1)
        order = (alone[:, None] + np.arange(3)) % 3
        corner = np.take_along_axis(triangles[cut], order[:, :, None], axis=1)
        height = np.take_along_axis(over[cut], order, axis=1)
        shares = height[:, :1] / (height[:, :1] - height[:, 1:])
        ends = corner[:, :1] + shares[:, :, None] * (corner[:, 1:] - corner[:, :1])
        if kept == 1:
            parts.append(np.stack([corner[:, 0], ends[:, 0], ends[:, 1]], axis=1))
            owners.append(cut)
        else:
            parts.append(np.stack([ends[:, 0], corner[:, 1], corner[:, 2]], axis=1))
            parts.append(np.stack([ends[:, 0], corner[:, 2], ends[:, 1]], axis=1))
            owners += [cut, cut]
    return np.concatenate(parts), np.concatenate(owners)


def sample_triangles(
    triangles: NDArray[np.float32], spacing: float, block: int = 1 << 21
) -> list[tuple[NDArray[np.float32], NDArray[np.intp]]]:
    """Points on triangles no farther apart than `spacing`, and the triangle of each, in blocks.

    Parameters
    ----------
    triangles:
        (T, 3, 3) corners.
    block:
        About how many points to make at once.
    """
    if not len(triangles):
        return []
    # Turned so that the shortest edge comes second: the triangle is then a fan of long lines from its first corner.
    shortest = np.linalg.norm(np.roll(triangles, -2, axis=1) - np.roll(triangles, -1, axis=1), axis=2).argmin(axis=1)
    order = (shortest[:, None] + np.arange(3)) % 3
    first, second, third = np.moveaxis(np.take_along_axis(triangles, order[:, :, None], axis=1), 1, 0)
    along = np.maximum(np.linalg.norm(second - first, axis=1), np.linalg.norm(third - first, axis=1))
    # Powers of two, so that many triangles have the same lattice and are sampled at once.
    n, m = (
        2 ** np.ceil(np.log2(np.maximum(length / spacing, 1))).astype(int)
        for length in (along, np.linalg.norm(third - second, axis=1))
    )
    made = []
    for steps, fans in np.unique(np.stack([n, m], axis=1), axis=0):
        of_size = np.flatnonzero((n == steps) & (m == fans))
        u, v = (grid.ravel() for grid in np.meshgrid(np.linspace(0, 1, steps + 1), np.linspace(0, 1, fans + 1)))
        weights = np.stack([1 - u, u * (1 - v), u * v], axis=1).astype(np.float32)
        each = max(1, block // len(weights))
        for start in range(0, len(of_size), each):
            chosen = of_size[start : start + each]
            corners = np.stack([first[chosen], second[chosen], third[chosen]], axis=1)
            made.append(((weights @ corners).reshape(-1, 3), np.repeat(chosen, len(weights))))
    return made


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


def _level(pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) in the plane: the place and heading of a pose (4, 4)."""
    yaw = np.arctan2(pose[1, 0], pose[0, 0])
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.array([[cos, -sin, pose[0, 3]], [sin, cos, pose[1, 3]], [0, 0, 1]])
