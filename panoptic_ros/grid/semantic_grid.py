"""The semantic occupancy grid: observations in, snapshots out.

An observation is one sensor's points at one stamp.  In a sector around the sensor what lies before the first obstacle
is free; cells with points of obstacles are occupied, by what stands or by a thing; labels go to the posterior of the
cell's ground or of its obstacle.  Only the cells that an observation speaks of are touched, and the order of points
and of sensors does not matter.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.grid.cell_labels import CellLabels, ObstacleLabels
from panoptic_ros.grid.classes import ClassBlock, entropy
from panoptic_ros.grid.free_space import free_cells, free_ranges
from panoptic_ros.grid.observations import Observation
from panoptic_ros.grid.occupancy import NEVER, StandingLayer, ThingLayer
from panoptic_ros.grid.options import GridOptions
from panoptic_ros.grid.snapshot import ClassPosteriors, GridSnapshot
from panoptic_ros.grid.window import Window
from panoptic_ros.labels import LabelSet

Scalar = TypeVar("Scalar", bound=np.generic)

CERTAIN = 0.5
"""How surely a cell must be free for that to end a thing in it at once; else the thing fades by itself."""


class SemanticGrid:
    """The grid.

    Parameters
    ----------
    options:
        Its settings.
    labels:
        The label set that the classes of observations are positions in.
    confusion:
        (C, C), K[c, z] = P(labelled z | is c), see `load_confusion`; None to count votes.

    Attributes
    ----------
    window:
        Where it is.
    stamp:
        Nanoseconds, the newest that it was told of; None before.

    Raises
    ------
    ValueError
        If `confusion` is not of the label set's size, or holds what is no probability.
    """

    def __init__(self, options: GridOptions, labels: LabelSet, confusion: NDArray[np.floating] | None = None) -> None:
        if confusion is not None:
            _check_confusion(confusion, len(labels))
        self.options = options
        self.labels = labels
        self.confusion = confusion
        # One entry more than classes, so that class -1 finds it.
        self._dynamic = np.append(options.is_dynamic(labels), False)
        ground, obstacle = options.is_ground(labels), options.is_obstacle(labels)
        self._columns = tuple(np.flatnonzero(flags).astype(np.int16) for flags in (ground, obstacle))
        self._column_of = np.full((2, len(labels) + 1), -1, dtype=np.intp)
        for block, columns in enumerate(self._columns):
            self._column_of[block, columns] = np.arange(len(columns))
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        options, cells = self.options, self.options.size**2
        occupancy = options.occupancy
        self.window = Window(options.resolution, options.size)
        self.stamp: int | None = None
        self._placed = False
        self._standing = StandingLayer(
            cells,
            occupancy.static_time_constant,
            occupancy.clip,
            occupancy.dynamic_time_constant,
            math.log(occupancy.free_below / (1 - occupancy.free_below)),
        )
        self._things = ThingLayer(cells, occupancy.dynamic_time_constant, occupancy.clip)
        self._blocks = tuple(ClassBlock(cells, columns, options.classes, self.confusion) for columns in self._columns)
        # Scratch: which cells an observation speaks of, what it says to them, and their rows in its tables.
        self._marked = np.zeros(cells, dtype=np.bool_)
        self._told = np.zeros(cells, dtype=np.float32)
        self._rows = np.zeros(cells, dtype=np.intp)

    @property
    def bytes_per_cell(self) -> float:
        """What a cell takes in memory, without scratch."""
        blocks = sum(block.evidence.bytes_per_cell for block in self._blocks)
        return self._standing.bytes_per_cell + self._things.bytes_per_cell + blocks

    def move(self, x: float, y: float) -> None:
        """Put a position of the fixed frame, metres, into the middle of the window; cells that enter are unknown.

        Raises
        ------
        ValueError
            If the position is not finite.
        """
        columns, rows = self.window.move(x, y)
        every = np.arange(self.window.size)
        entering = np.concatenate(
            [
                (rows[:, None] * self.window.size + every).ravel(),
                (every[:, None] * self.window.size + columns).ravel(),
            ]
        )
        self._standing.clear(entering)
        self._things.clear(entering)
        for block in self._blocks:
            block.clear(entering)
        self._placed = True

    def advance(self, stamp: int) -> None:
        """Let time pass up to a stamp, nanoseconds; cells fade when they are read.  An older stamp changes nothing."""
        self.stamp = stamp if self.stamp is None else max(self.stamp, stamp)

    def update(self, observation: Observation) -> None:
        """Take in what a sensor says.

        A grid that was never moved puts its window around the sensor first.  Points that are not finite, out of the
        range, or higher than obstacles are, count for nothing.

        Raises
        ------
        ValueError
            If the arrays of the observation do not fit together, or a class is not of the label set; the grid is as
            before.
        """
        observation.check(len(self.labels))
        if not self._placed:
            self.move(float(observation.origin[0]), float(observation.origin[1]))
        self.advance(observation.stamp)
        near = self._near(observation)
        # `take` copies rows four times as fast as an index does.
        points, weights = observation.points.take(near, axis=0), observation.weights.take(near)
        obstacle = observation.obstacle.take(near)
        occupancy = self.options.occupancy
        ranges, certainty = free_ranges(
            points, obstacle, weights, self.options.resolution, occupancy.azimuth_bins, occupancy.bridged_bins
        )
        free, sector = free_cells(self.window, observation.origin, ranges)

        inside, cells = self.window.cells(observation.origin, points)
        touched = self._distinct(cells)
        lying, standing = self._labels(observation, near.take(inside), cells, touched)
        # A cell is as surely free as its sector, or as the ground that was seen in the cell itself.
        self._told[free] = certainty.take(sector)
        self._told[touched] = np.maximum(self._told.take(touched), lying.heaviest(len(touched)))
        self._occupy(touched, free, standing, observation.stamp)
        for block, labels in zip(self._blocks, (lying, standing), strict=True):
            self._label(block, touched, labels, observation.stamp)

    def relabel(self, before: Observation, after: Observation) -> None:
        """Take in labels that came after the rest of their observation was taken in.

        What is free and what is occupied was told by then.  The labels become evidence at the observation's stamp, and
        what turns out to be a thing, or to be in no camera's image, is taken back from what stands.  Before any
        evidence is cut off this leads to what `update` with all labels does.

        Parameters
        ----------
        before:
            The observation as it was taken in.
        after:
            The same points with all labels that there are by now; what had one keeps its say.

        Raises
        ------
        ValueError
            See `update`; or if the two are not of the same points.
        """
        for one in (before, after):
            one.check(len(self.labels))
        if len(before) != len(after) or before.stamp != after.stamp:
            raise ValueError(
                f"an observation of {len(before)} points at {before.stamp} ns was taken in, "
                f"its labels are of {len(after)} points at {after.stamp} ns"
            )
        if not self._placed:
            return
        near = self._near(after)
        inside, cells = self.window.cells(after.origin, after.points.take(near, axis=0))
        places, touched = near[inside], self._distinct(cells)
        fresh = replace(after, classes=np.where(before.classes < 0, after.classes, np.int16(-1)))
        (_, old), (_, new) = (self._labels(one, places, cells, touched) for one in (before, after))
        self._reconsider(touched, old, new, after.stamp)
        for block, labels in zip(self._blocks, self._labels(fresh, places, cells, touched), strict=True):
            self._label(block, touched, labels, after.stamp)

    def _reconsider(self, touched: NDArray[np.intp], old: ObstacleLabels, new: ObstacleLabels, stamp: int) -> None:
        """Take back what the old labels made of obstacles, and tell what the new ones do, where these differ."""
        hit = np.float32(self.options.occupancy.hit)
        was, now = old.verdict(len(touched)), new.verdict(len(touched))
        changed = (was.thing != now.thing) | (was.unwatched != now.unwatched) | (was.strength != now.strength)
        for verdict, sign in ((was, -hit), (now, hit)):
            cells = np.flatnonzero(changed & ~verdict.thing & (verdict.strength > 0))
            self._standing.add(touched[cells], sign * verdict.strength[cells], verdict.unwatched[cells], stamp)
        things = np.flatnonzero(now.thing & ~was.thing)
        tracks = new.strongest(now.thing)
        self._things.add(touched[things], hit * now.strength[things], tracks[things], stamp)

    def _near(self, observation: Observation) -> NDArray[np.intp]:
        """Which points count."""
        options = self.options
        x, y = observation.points[:, 0], observation.points[:, 1]
        with np.errstate(over="ignore", invalid="ignore"):
            squares = x * x + y * y
        return np.flatnonzero(
            (squares >= options.minimum_range**2)
            & (squares <= options.maximum_range**2)
            & (observation.heights <= options.obstacle_height[1])
        )

    def _distinct(self, cells: NDArray[np.intp]) -> NDArray[np.intp]:
        """Each of some cells once, rising."""
        self._marked[cells] = True
        distinct = np.flatnonzero(self._marked)
        self._marked[:] = False
        return distinct

    def _labels(
        self, observation: Observation, places: NDArray[np.intp], cells: NDArray[np.intp], touched: NDArray[np.intp]
    ) -> tuple[CellLabels, ObstacleLabels]:
        """Some points of an observation by rows of `touched`, the distinct `cells`: of the ground, and of obstacles."""
        self._rows[touched] = np.arange(len(touched))
        # To be outside of all images tells nothing of a point of a sensor, or a robot, that no camera looks along with.
        looked = bool((observation.cameras >= 0).any())
        obstacle = observation.obstacle.take(places)
        rows = self._rows.take(cells)
        lying, standing = np.flatnonzero(~obstacle), np.flatnonzero(obstacle)
        on_ground, on_obstacles = places.take(lying), places.take(standing)
        classes = observation.classes.take(on_obstacles)
        return CellLabels(
            rows=rows.take(lying),
            columns=self._column_of[0].take(observation.classes.take(on_ground)),
            weights=observation.weights.take(on_ground),
        ), ObstacleLabels(
            rows=rows.take(standing),
            columns=self._column_of[1].take(classes),
            weights=observation.weights.take(on_obstacles),
            dynamic=self._dynamic.take(classes),
            watched=observation.cameras.take(on_obstacles) >= 0 if looked else np.ones(len(classes), dtype=np.bool_),
            instances=observation.instances.take(on_obstacles),
        )

    def _occupy(self, touched: NDArray[np.intp], free: NDArray[np.intp], standing: ObstacleLabels, stamp: int) -> None:
        """Tell both layers what was seen occupied and, as surely as `_told` has it, free."""
        occupancy = self.options.occupancy
        strength, thing, unwatched = standing.verdict(len(touched))
        strength = strength * np.float32(occupancy.hit)

        self._marked[touched[strength > 0]] = True
        free = free.take(np.flatnonzero(~self._marked.take(free)))
        certainty = self._told.take(free)
        self._told[touched] = np.where(thing, np.float32(0), strength)
        self._told[free] = certainty * np.float32(-occupancy.miss)
        self._marked[touched] = True
        self._marked[free] = True
        seen = np.flatnonzero(self._marked)
        self._marked[:] = False
        self._marked[touched[unwatched]] = True
        self._standing.add(seen, self._told.take(seen), self._marked.take(seen), stamp)
        self._told[:] = 0
        self._marked[:] = False
        self._things.free(free.take(np.flatnonzero(certainty >= CERTAIN)), stamp)
        self._things.add(touched[thing], strength[thing], standing.strongest(thing)[thing], stamp)

    def _label(self, block: ClassBlock, touched: NDArray[np.intp], labels: CellLabels, stamp: int) -> None:
        """Tell a block of classes the labels of its points."""
        cells, counts = labels.counts(len(touched), len(block.columns))
        if len(cells):
            block.add(touched[cells], counts, stamp)

    def snapshot(self, stamp: int | None = None) -> GridSnapshot:
        """The grid at a stamp, nanoseconds; by default at the newest that it was told of.

        Raises
        ------
        ValueError
            If there is neither.
        """
        stamp = self.stamp if stamp is None else stamp
        if stamp is None:
            raise ValueError("the grid was told nothing, so that a snapshot needs a stamp")
        occupancy = self.options.occupancy
        seen_at = self._standing.evidence.stamps
        seen = seen_at != NEVER
        logs, moved_in, met = self._standing.at(stamp, self._things.freed)
        probability = _chance(logs)
        instances, dynamic = np.zeros(len(logs), dtype=np.int32), np.zeros(len(logs), dtype=np.bool_)
        held = np.flatnonzero(self._things.evidence.values[:, 0] > 0)
        things = self._things.evidence.faded(held, stamp)[:, 0]
        # A thing is there with probability tanh(l/2), which is 0 where nothing speaks for one, and makes of an even
        # chance the probability that l stands for; a cell is occupied by what stands or by a thing.
        for cells, evidence in ((moved_in, met), (held, things)):
            probability[cells] = 1 - (1 - probability[cells]) * (1 - np.tanh(evidence / 2))
        dynamic[held] = _chance(things) >= occupancy.occupied_above
        instances[dynamic] = self._things.instances[dynamic]
        probability[~seen] = np.nan
        occupied = np.full(len(logs), -1, dtype=np.int8)
        occupied[probability <= occupancy.free_below] = 0
        occupied[probability >= occupancy.occupied_above] = 100
        age: NDArray[np.float32] = (np.maximum(stamp - seen_at, 0) * 1e-9).astype(np.float32)
        age[~seen] = np.nan
        classes = self._classes(occupied == 100, stamp)
        return GridSnapshot(
            stamp=stamp,
            frame=self.options.fixed_frame,
            resolution=self.options.resolution,
            origin=self.window.origin,
            occupancy=self._plane(probability),
            occupied=self._plane(occupied),
            instance=self._plane(instances),
            age=self._plane(age),
            dynamic=self._plane(dynamic),
            **classes,
        )

    def _classes(self, occupied: NDArray[np.bool_], stamp: int) -> dict[str, Any]:
        """The parts of a snapshot that are of classes."""
        count = len(occupied)
        ground, obstacle = self._blocks
        ground_classes, classes = np.full(count, -1, dtype=np.int16), np.full(count, -1, dtype=np.int16)
        every = np.flatnonzero(ground.labelled())
        ground_classes[every] = ground.best(every)
        probability, uncertainty = np.zeros(count, dtype=np.float32), np.full(count, np.nan, dtype=np.float32)
        slots, start, tables = np.full(count, -1, dtype=np.int32), 0, []
        for block, shown in ((ground, ~occupied), (obstacle, occupied)):
            cells = np.flatnonzero(block.labelled() & shown)
            table = block.posterior(cells, stamp)
            best = np.argmax(table, axis=1) if len(cells) else np.zeros(0, dtype=np.intp)
            classes[cells] = block.columns[best]
            probability[cells] = table[np.arange(len(cells)), best]
            uncertainty[cells] = entropy(table)
            slots[cells] = np.arange(start, start + len(cells))
            start += len(cells)
            tables.append(table)
        return {
            "classes": self._plane(classes),
            "ground_classes": self._plane(ground_classes),
            "probability": self._plane(probability),
            "entropy": self._plane(uncertainty),
            "posteriors": ClassPosteriors(
                slots=self._plane(slots),
                ground=tables[0],
                obstacle=tables[1],
                ground_columns=ground.columns,
                obstacle_columns=obstacle.columns,
                count=len(self.labels),
            ),
        }

    def _plane(self, stored: NDArray[Scalar]) -> NDArray[Scalar]:
        return self.window.unrolled(stored.reshape(self.window.size, self.window.size))


def _chance(logs: NDArray[np.float32]) -> NDArray[np.float32]:
    """The probability that log-odds stand for."""
    chance: NDArray[np.float32] = np.reciprocal(1 + np.exp(-logs))
    return chance


def _check_confusion(confusion: NDArray[np.floating], classes: int) -> None:
    if confusion.shape != (classes, classes):
        raise ValueError(f"the confusion matrix must be ({classes}, {classes}), got {confusion.shape}")
    if not (np.isfinite(confusion).all() and (confusion >= 0).all()):
        raise ValueError("the confusion matrix must hold probabilities, none negative or not finite")
