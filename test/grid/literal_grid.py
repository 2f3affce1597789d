"""A literal transcription of the grid: float64, a dictionary of cells, one point and one cell at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from panoptic_ros.grid.observations import Observation
from panoptic_ros.grid.options import GridOptions
from panoptic_ros.labels import LabelSet

Cell = tuple[int, int]  # column and row in the fixed frame


@dataclass
class LiteralCell:
    seen: int
    log_odds: float = 0.0
    watched: float = 0.0  # the log-odds without points where no camera looks
    met: int = 0  # when the last such point came
    freed: int = -1  # when it was last seen free
    thing: float = 0.0
    thing_stamp: int | None = None
    instance: int = 0
    blocks: dict[str, dict[int, float]] = field(default_factory=dict)
    block_stamps: dict[str, int] = field(default_factory=dict)


def decayed(value: float, nanoseconds: int, time_constant: float) -> float:
    return value * math.exp(-nanoseconds * 1e-9 / time_constant)


def at_border(turn: float) -> bool:
    """Whether float32 may put a direction on the other side of the border of its sector."""
    return abs(turn - round(turn)) < 1e-4


class LiteralGrid:
    """As `SemanticGrid`, for observations in the order of their stamps.

    Which sector a direction at a border between two falls to is left open, as it is by `sectors`: cells that hang on
    it, by their own direction or by that of a point, are `borderline`.
    """

    def __init__(self, options: GridOptions, labels: LabelSet, confusion: np.ndarray | None) -> None:
        self.options, self.labels, self.confusion = options, labels, confusion
        self.cells: dict[Cell, LiteralCell] = {}
        self.first: Cell = (0, 0)
        self.borderline: set[Cell] = set()  # cells whose being free hangs on the last bits
        flags = {"ground": options.is_ground(labels), "obstacle": options.is_obstacle(labels)}
        self.members = {name: [int(c) for c in np.flatnonzero(which)] for name, which in flags.items()}

    def move(self, x: float, y: float) -> None:
        resolution, size = self.options.resolution, self.options.size
        self.first = (math.floor(x / resolution) - size // 2, math.floor(y / resolution) - size // 2)
        self.cells = {cell: state for cell, state in self.cells.items() if self.inside(cell)}

    def inside(self, cell: Cell) -> bool:
        return all(0 <= index - first < self.options.size for index, first in zip(cell, self.first, strict=True))

    def cell_of(self, x: float, y: float) -> Cell:
        return math.floor(x / self.options.resolution), math.floor(y / self.options.resolution)

    def turn(self, x: float, y: float) -> float:
        """How many sectors a direction is from that of -x."""
        return (math.atan2(y, x) + math.pi) / (2 * math.pi) * self.options.occupancy.azimuth_bins

    def sector(self, x: float, y: float) -> int:
        return min(int(self.turn(x, y)), self.options.occupancy.azimuth_bins - 1)

    def unsure_sectors(self, observation: Observation, counted: list[int]) -> set[int]:
        """The sectors whose free space hangs on points at a border, with those that are bridged from them."""
        bins, bridged = self.options.occupancy.azimuth_bins, self.options.occupancy.bridged_bins
        found = set()
        for i in counted:
            turn = self.turn(*map(float, observation.points[i, :2]))
            if at_border(turn):
                found |= {(round(turn) + k) % bins for k in range(-1 - bridged, 1 + bridged)}
        return found

    def free(self, observation: Observation, counted: list[int]) -> dict[Cell, float]:
        """How surely cells are free whose centres lie before the first obstacle and farthest return of their sector."""
        resolution = self.options.resolution
        limits: dict[int, list[float]] = {}
        for i in counted:
            x, y, _ = map(float, observation.points[i])
            reach = max(0.0, math.hypot(x, y) - resolution / math.sqrt(float(observation.weights[i])))
            limit = limits.setdefault(self.sector(x, y), [0.0, math.inf, 1.0])
            limit[2] = min(limit[2], float(observation.weights[i]))
            limit[0] = max(limit[0], reach)
            if observation.obstacle[i]:
                limit[1] = min(limit[1], reach)
        bins, bare = self.options.occupancy.azimuth_bins, dict(limits)
        for sector in set(range(bins)) - set(bare):
            right = next(k for k in range(1, bins) if (sector + k) % bins in bare)
            left = next(k for k in range(1, bins) if (sector - k) % bins in bare)
            if left + right - 1 <= self.options.occupancy.bridged_bins:
                beside = (bare[(sector + right) % bins], bare[(sector - left) % bins])
                limits[sector] = [min(a, b) for a, b in zip(*beside, strict=True)]
                limits[sector][0] = min(min(one[:2]) for one in beside)
        found, unsure = {}, self.unsure_sectors(observation, counted)
        for column in range(self.first[0], self.first[0] + self.options.size):
            for row in range(self.first[1], self.first[1] + self.options.size):
                x = (column + 0.5) * resolution - float(observation.origin[0])
                y = (row + 0.5) * resolution - float(observation.origin[1])
                *ends, certainty = limits.get(self.sector(x, y), [0.0, 0.0])
                limit = min(ends)
                if math.hypot(x, y) < limit:
                    found[column, row] = certainty
                hangs = at_border(self.turn(x, y)) or self.sector(x, y) in unsure
                if hangs or abs(math.hypot(x, y) - limit) < 1e-4:
                    self.borderline.add((column, row))
        return found

    def update(self, observation: Observation) -> None:
        options, stamp = self.options, observation.stamp
        counted = [
            i
            for i, (x, y, _) in enumerate(observation.points.astype(float))
            if options.minimum_range <= math.hypot(x, y) <= options.maximum_range
            and float(observation.heights[i]) <= options.obstacle_height[1]
        ]
        free = self.free(observation, counted)
        points: dict[Cell, list[int]] = {}
        for i in counted:
            x, y, _ = (float(a) + float(b) for a, b in zip(observation.origin, observation.points[i], strict=True))
            if self.inside(self.cell_of(x, y)):
                points.setdefault(self.cell_of(x, y), []).append(i)
        hits = {cell for cell, members in points.items() if any(observation.obstacle[i] for i in members)}
        for cell in free.keys() - hits:
            state = self.touched(cell, stamp)
            certainty = max(free[cell], *(float(observation.weights[i]) for i in points.get(cell, [])), 0.0)
            state.log_odds = max(state.log_odds - options.occupancy.miss * certainty, -options.occupancy.clip)
            state.watched = max(state.watched - options.occupancy.miss * certainty, -options.occupancy.clip)
            if certainty >= 0.5:
                state.thing, state.freed = 0.0, stamp
        for cell, members in points.items():
            self.tell(self.touched(cell, stamp), observation, members)

    def touched(self, cell: Cell, stamp: int) -> LiteralCell:
        state = self.cells.setdefault(cell, LiteralCell(stamp))
        state.log_odds = decayed(state.log_odds, stamp - state.seen, self.options.occupancy.static_time_constant)
        state.watched = decayed(state.watched, stamp - state.seen, self.options.occupancy.static_time_constant)
        state.seen = stamp
        return state

    def tell(self, state: LiteralCell, observation: Observation, members: list[int]) -> None:
        occupancy, stamp = self.options.occupancy, observation.stamp
        standing = [i for i in members if observation.obstacle[i]]
        if standing:
            weight_of = {True: 0.0, False: 0.0}
            instances: dict[int, float] = {}
            for i in standing:
                label = int(observation.classes[i])
                if label in self.members["obstacle"]:
                    weight_of[self.labels.labels[label].is_thing] += float(observation.weights[i])
                if observation.instances[i] > 0:
                    instance = int(observation.instances[i])
                    instances[instance] = instances.get(instance, 0.0) + float(observation.weights[i])
            evidence = occupancy.hit * max(float(observation.weights[i]) for i in standing)
            if weight_of[True] > weight_of[False]:
                if state.thing_stamp is not None:
                    state.thing = decayed(state.thing, stamp - state.thing_stamp, occupancy.dynamic_time_constant)
                state.thing = min(state.thing + evidence, occupancy.clip)
                state.thing_stamp = stamp
                heaviest = max(instances.values(), default=0.0)
                state.instance = min((name for name, w in instances.items() if w == heaviest), default=0)
            else:
                state.log_odds = min(state.log_odds + evidence, occupancy.clip)
                of_obstacles = self.members["obstacle"]
                alone = all(camera < 0 for camera in observation.cameras)
                if alone or any(
                    int(observation.classes[i]) in of_obstacles or observation.cameras[i] >= 0 for i in standing
                ):
                    state.watched = min(state.watched + evidence, occupancy.clip)
                else:
                    state.met = stamp
        for name, classes in self.members.items():
            labelled = [
                i
                for i in members
                if bool(observation.obstacle[i]) == (name == "obstacle") and int(observation.classes[i]) in classes
            ]
            if labelled:
                self.label(state, name, observation, labelled)

    def label(self, state: LiteralCell, name: str, observation: Observation, labelled: list[int]) -> None:
        options, classes = self.options.classes, self.members[name]
        since = observation.stamp - state.block_stamps.get(name, observation.stamp)
        before = state.blocks.get(name, dict.fromkeys(classes, 0.0))
        n = sum(float(observation.weights[i]) for i in labelled)
        share = 1 / (1 + max(n - 1, 0) * options.correlation)
        after = {c: decayed(value, since, options.time_constant) for c, value in before.items()}
        for i in labelled:
            z, weight = int(observation.classes[i]), float(observation.weights[i])
            for c in classes:
                if self.confusion is None:
                    after[c] += share * weight * (c == z)
                else:
                    row = sum(float(self.confusion[c, other]) for other in classes)
                    likelihood = float(self.confusion[c, z]) / row
                    likelihood = (1 - options.smoothing) * likelihood + options.smoothing / len(classes)
                    after[c] += share * weight * math.log(likelihood)
        if self.confusion is None:
            total = sum(after.values())
            after = {c: value * min(1.0, options.count_clip / total) for c, value in after.items()}
        else:
            best = max(after.values())
            after = {c: max(value - best, -options.clip) for c, value in after.items()}
        state.blocks[name] = after
        state.block_stamps[name] = observation.stamp

    def occupancy(self, cell: Cell, stamp: int) -> float:
        """The probability at a stamp."""
        options, state = self.options.occupancy, self.cells[cell]
        log_odds = decayed(state.log_odds, stamp - state.seen, options.static_time_constant)
        watched = decayed(state.watched, stamp - state.seen, options.static_time_constant)
        moved_in = 0.0
        if 1 / (1 + math.exp(-watched)) <= options.free_below and log_odds > watched:  # it has moved in
            if state.freed <= state.met:
                moved_in = decayed(log_odds - watched, stamp - state.met, options.dynamic_time_constant)
            log_odds = watched
        standing = 1 - (1 - 1 / (1 + math.exp(-log_odds))) * (1 - math.tanh(moved_in / 2))
        if state.thing_stamp is None:
            return standing
        thing = decayed(state.thing, stamp - state.thing_stamp, options.dynamic_time_constant)
        return 1 - (1 - standing) * (1 - math.tanh(thing / 2))

    def posterior(self, cell: Cell, name: str, stamp: int) -> dict[int, float] | None:
        """The probability of each class of a block at a stamp, None without labels."""
        state = self.cells[cell]
        if name not in state.blocks:
            return None
        since = stamp - state.block_stamps[name]
        values = {c: decayed(v, since, self.options.classes.time_constant) for c, v in state.blocks[name].items()}
        if self.confusion is None:
            weights = {c: value + 1 / len(values) for c, value in values.items()}
        else:
            weights = {c: math.exp(value) for c, value in values.items()}
        return {c: weight / sum(weights.values()) for c, weight in weights.items()}
