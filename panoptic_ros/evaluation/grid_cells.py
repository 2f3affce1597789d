"""How good the cells of a grid are: free or occupied, their classes, and how far its probabilities can be trusted.

Cells count where the world is known.  *Coverage* is the share of them that the grid has an opinion on: every other
figure is over those cells alone, so a grid that says little can be right about much, and neither figure means anything
without the other.

- *Occupancy*: intersection over union of occupied and of free cells, over the cells that were observed.
- *Classes*: intersection over union by class over the cells that have one; a class is that of what stands there, else
  of the ground.  The mean is over the classes that occur in truth or grid; macro accuracy is the mean over the classes
  of the truth of the share of their cells that is right.
- *Calibration* of the class's posterior: negative log-likelihood, in nats; Brier score, the sum over all classes of
  (p - truth)², in [0, 2] (Brier 1950); expected calibration error of the most probable class in 15 bins (Guo et al.
  2017).  Of occupancy the same for P(occupied), with the Brier score in [0, 1].

A grid keeps the classes of the ground and those of what stands on it apart, so a cell that is wrongly free has all its
classes wrong, however sure it was of the ground.  Calibration is therefore given twice: over all cells with a class,
and over those whose kind, ground or obstacle, is right, which is what the fusion of labels alone is to blame for.

A probability below `FLOOR` counts as that in the negative log-likelihood: one cell that was ruled out must not make it
infinite.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.evaluation.grid_truth import FREE, OCCUPIED, UNKNOWN
from panoptic_ros.labels import LabelSet

BINS = 15
FLOOR = 1e-6


@dataclass(frozen=True, slots=True)
class ProbabilityScore:
    """How far probabilities can be trusted.

    Attributes
    ----------
    cells:
        How many.
    nll:
        Mean negative log-likelihood of what is true, nats.
    brier:
        Mean squared difference of the probabilities and what is true.
    ece:
        Expected calibration error.
    """

    cells: int
    nll: float
    brier: float
    ece: float


@dataclass(frozen=True, slots=True)
class CellClass:
    """One class from above: its intersection over union, the share of its true cells that is right (None where it has
    none), and its cells in truth and grid.
    """

    class_id: int
    name: str
    is_thing: bool
    iou: float
    accuracy: float | None
    truth_cells: int
    grid_cells: int


@dataclass(frozen=True, slots=True)
class CellResult:
    """The quality of cells; None where there are none to tell from.

    Attributes
    ----------
    known:
        Cells of the world in the grid's windows, over all moments.
    coverage, class_coverage:
        The share of them that is observed, and that has a class.
    free_coverage, occupied_coverage:
        The share of the free and of the occupied ones that is observed.
    occupied_iou, free_iou, mean_occupancy_iou:
        Over the observed ones.
    false_free:
        The share of the occupied ones among the observed that the grid calls free.
    occupancy:
        Of P(occupied).
    mean_iou, macro_accuracy, accuracy:
        Of the classes.
    classes, classes_of_kind:
        Of the classes' posterior, over all cells and over those whose kind is right.
    per_class:
        The classes that occur, by their ids.
    """

    known: int
    coverage: float | None
    class_coverage: float | None
    free_coverage: float | None
    occupied_coverage: float | None
    occupied_iou: float | None
    free_iou: float | None
    mean_occupancy_iou: float | None
    false_free: float | None
    occupancy: ProbabilityScore | None
    mean_iou: float | None
    macro_accuracy: float | None
    accuracy: float | None
    classes: ProbabilityScore | None
    classes_of_kind: ProbabilityScore | None
    per_class: tuple[CellClass, ...]


@dataclass(slots=True)
class Probabilities:
    """Sums that a `ProbabilityScore` is made of.

    Attributes
    ----------
    count, nll, brier:
        Cells, and sums over them.
    bins:
        (3, BINS) float64, of each bin of confidence the cells, the sum of their confidences, and how many were true.
    """

    count: int = 0
    nll: float = 0.0
    brier: float = 0.0
    bins: NDArray[np.float64] = field(default_factory=lambda: np.zeros((3, BINS)))

    def add(
        self,
        of_truth: NDArray[np.float64],
        brier: NDArray[np.float64],
        confidence: NDArray[np.float64],
        true: NDArray[np.bool_],
    ) -> None:
        """Count cells, (M,) each.

        Parameters
        ----------
        of_truth:
            The probability that was given to what is true.
        brier:
            The squared differences.
        confidence, true:
            The probability whose calibration is measured, and whether what it is of is true.
        """
        self.count += len(of_truth)
        self.nll -= float(np.log(np.clip(of_truth, FLOOR, 1.0)).sum())
        self.brier += float(brier.sum())
        places = np.minimum((confidence * BINS).astype(np.intp), BINS - 1)
        for row, weights in enumerate((None, confidence, true.astype(np.float64))):
            self.bins[row] += np.bincount(places, weights=weights, minlength=BINS)

    def merge(self, other: Probabilities) -> None:
        """Add the cells of others."""
        self.count += other.count
        self.nll += other.nll
        self.brier += other.brier
        self.bins += other.bins

    def result(self) -> ProbabilityScore | None:
        """None without cells."""
        if not self.count:
            return None
        # |mean confidence - share of true| weighted by the bin's cells is the difference of the sums.
        ece = float(np.abs(self.bins[1] - self.bins[2]).sum()) / self.count
        return ProbabilityScore(self.count, self.nll / self.count, self.brier / self.count, ece)


class CellMetrics:
    """Counts cells, moment by moment.

    Parameters
    ----------
    labels:
        The classes.
    ground:
        (C,) bool, which of them lie flat.

    Attributes
    ----------
    states:
        (2, 3) int64, rows by the truth, free and occupied; columns by the grid: unknown, free, occupied.
    confusion:
        (C + 1, C + 1) int64, rows by the true class and columns by the grid's; the first of each is of cells without.
    """

    def __init__(self, labels: LabelSet, ground: NDArray[np.bool_]) -> None:
        self.labels = labels
        self._ground = ground
        self.states = np.zeros((2, 3), dtype=np.int64)
        self.confusion = np.zeros((len(labels) + 1, len(labels) + 1), dtype=np.int64)
        self._occupancy, self._classes, self._of_kind = Probabilities(), Probabilities(), Probabilities()

    def update(
        self,
        true_state: NDArray[np.int8],
        true_class: NDArray[np.int16],
        state: NDArray[np.int8],
        classes: NDArray[np.int16],
        occupancy: NDArray[np.float32],
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Count the cells of one moment, (H, W) each.

        Parameters
        ----------
        true_state, state:
            -1 unknown, 0 free, 100 occupied.
        true_class, classes:
            Positions in the label set, -1 for none.
        occupancy:
            P(occupied), NaN where it is unknown.

        Returns
        -------
        rows, columns:
            (M,) the cells that have a class in truth and grid: those whose posterior `update_posterior` wants.
        """
        known = true_state != UNKNOWN
        truth = (true_state[known] == OCCUPIED).astype(np.intp)
        told = np.where(state == UNKNOWN, 0, np.where(state == FREE, 1, 2))[known]
        self.states += np.bincount(truth * 3 + told, minlength=6).reshape(2, 3)
        width = len(self.labels) + 1
        pairs = (true_class[known].astype(np.intp) + 1) * width + classes[known] + 1
        self.confusion += np.bincount(pairs, minlength=width * width).reshape(width, width)
        seen = known & (state != UNKNOWN) & np.isfinite(occupancy)
        probability = occupancy[seen].astype(np.float64)
        occupied = true_state[seen] == OCCUPIED
        self._occupancy.add(
            np.where(occupied, probability, 1 - probability), (probability - occupied) ** 2, probability, occupied
        )
        rows, columns = np.nonzero(known & (true_class >= 0) & (classes >= 0))
        return rows, columns

    def update_posterior(self, posterior: NDArray[np.float32], true_class: NDArray[np.int16]) -> None:
        """Count what the cells of `update` are said to be.

        Parameters
        ----------
        posterior:
            (M, C) the probability of each class.
        true_class:
            (M,) positions in the label set, none of them -1.
        """
        if not len(posterior):
            return
        told = posterior.astype(np.float64)
        of_truth = told[np.arange(len(told)), true_class]
        brier = np.square(told).sum(axis=1) - 2 * of_truth + 1
        best = told.argmax(axis=1)
        scores = (of_truth, brier, told[np.arange(len(told)), best], best == true_class)
        self._classes.add(*scores)
        same = self._ground[best] == self._ground[true_class]
        self._of_kind.add(scores[0][same], scores[1][same], scores[2][same], scores[3][same])

    def merge(self, other: CellMetrics) -> None:
        """Add the cells of other moments."""
        self.states += other.states
        self.confusion += other.confusion
        self._occupancy.merge(other._occupancy)
        self._classes.merge(other._classes)
        self._of_kind.merge(other._of_kind)

    def result(self) -> CellResult:
        """The quality over all moments so far."""
        known = int(self.states.sum())
        free, occupied = self.states.sum(axis=1).tolist()
        seen = self.states[:, 1:]
        free_iou, occupied_iou = (
            _share(seen[one, one], seen[one].sum() + seen[:, one].sum() - seen[one, one]) for one in (0, 1)
        )
        both = [iou for iou in (free_iou, occupied_iou) if iou is not None]
        counts = self.confusion[1:, 1:]
        right, truth, told = np.diagonal(counts), counts.sum(axis=1), counts.sum(axis=0)
        per_class = tuple(
            CellClass(
                label.id,
                label.name,
                label.is_thing,
                float(right[index] / (truth[index] + told[index] - right[index])),
                _share(right[index], truth[index]),
                int(truth[index]),
                int(told[index]),
            )
            for index, label in sorted(enumerate(self.labels.labels), key=lambda item: item[1].id)
            if truth[index] + told[index]
        )
        accuracies = [one.accuracy for one in per_class if one.accuracy is not None]
        return CellResult(
            known=known,
            coverage=_share(seen.sum(), known),
            class_coverage=_share(self.confusion[:, 1:].sum(), known),
            free_coverage=_share(seen[0].sum(), free),
            occupied_coverage=_share(seen[1].sum(), occupied),
            occupied_iou=occupied_iou,
            free_iou=free_iou,
            mean_occupancy_iou=sum(both) / len(both) if both else None,
            false_free=_share(seen[1, 0], seen[1].sum()),
            occupancy=self._occupancy.result(),
            mean_iou=sum(one.iou for one in per_class) / len(per_class) if per_class else None,
            macro_accuracy=sum(accuracies) / len(accuracies) if accuracies else None,
            accuracy=_share(right.sum(), counts.sum()),
            classes=self._classes.result(),
            classes_of_kind=self._of_kind.result(),
            per_class=per_class,
        )


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None
