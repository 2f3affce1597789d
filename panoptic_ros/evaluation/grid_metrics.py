"""How good a grid and its objects are against the world from above: cells and objects, moment by moment."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.evaluation.grid_cells import CellMetrics, CellResult
from panoptic_ros.evaluation.grid_objects import ObjectMetrics, ObjectResult
from panoptic_ros.evaluation.grid_truth import GridTruth
from panoptic_ros.evaluation.overlaps import EvaluationError
from panoptic_ros.evaluation.rows import ImageNames
from panoptic_ros.labels import LabelSet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from panoptic_ros.grid.snapshot import GridSnapshot
    from panoptic_ros.grid.tracking import TrackedObject


@dataclass(frozen=True, slots=True)
class GridQuality:
    """The quality of a grid over some moments."""

    moments: int
    cells: CellResult
    objects: ObjectResult

    def to_json(self) -> dict[str, Any]:
        """Everything that was measured, in dictionaries, lists, numbers, strings and None."""
        return asdict(self)


class GridMetrics:
    """Measures a grid, moment by moment.

    Parameters
    ----------
    labels:
        The classes of both grid and truth.
    ground:
        (C,) bool, which of them lie flat.
    """

    def __init__(self, labels: LabelSet, ground: NDArray[np.bool_]) -> None:
        self.labels = labels
        self.cells = CellMetrics(labels, ground)
        self.objects = ObjectMetrics(labels)
        self._names = ImageNames()

    def update(self, name: str, snapshot: GridSnapshot, objects: Sequence[TrackedObject], truth: GridTruth) -> None:
        """Take one moment into account.

        The truth is looked up at the centres of the grid's cells; of equal cells those are the cells themselves.

        Parameters
        ----------
        name:
            The moment's, another for each one.
        snapshot, objects:
            What the grid says.
        truth:
            In the same frame.

        Raises
        ------
        EvaluationError
            If the frames differ, or the moment was taken already.
        """
        if snapshot.frame != truth.frame:
            raise EvaluationError(f"{name}: the grid is in {snapshot.frame!r}, its truth in {truth.frame!r}")
        self._names.add(name)
        origin, shape = (float(snapshot.origin[0]), float(snapshot.origin[1])), snapshot.occupied.shape
        state, classes = truth.at_cells(origin, snapshot.resolution, (shape[0], shape[1]))
        rows, columns = self.cells.update(state, classes, snapshot.occupied, snapshot.classes, snapshot.occupancy)
        self.cells.update_posterior(snapshot.posterior(rows, columns), classes[rows, columns])
        reach = shape[1] * snapshot.resolution, shape[0] * snapshot.resolution

        def inside(x: float, y: float) -> bool:
            within = 0 <= x - origin[0] < reach[0] and 0 <= y - origin[1] < reach[1]
            return within and truth.contains(x, y)

        self.objects.update(
            truth.stamp,
            [one for one in objects if inside(float(one.centre[0]), float(one.centre[1]))],
            [thing for thing in truth.objects if inside(float(thing.centre[0]), float(thing.centre[1]))],
        )

    def merge(self, other: GridMetrics) -> None:
        """Take over the moments of another drive.

        Raises
        ------
        EvaluationError
            If the classes are others, or a moment is in both.
        """
        if other.labels != self.labels:
            raise EvaluationError(f"grids of {self.labels.name} and {other.labels.name} cannot be measured together")
        self._names.add(*other._names)
        self.cells.merge(other.cells)
        self.objects.merge(other.objects)

    def result(self) -> GridQuality:
        """The quality over all moments so far."""
        return GridQuality(len(self._names), self.cells.result(), self.objects.result())
