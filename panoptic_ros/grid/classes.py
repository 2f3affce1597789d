"""Of what class a cell is: a posterior over classes from all labels that it was given.

With a confusion matrix K[c, z] = P(labelled z | is c), a label z adds log K[c, z] to the log-probability of every c
(Bayes' rule, uniform prior).  Points of one observation err together: n of them count as n / (1 + (n - 1) r), with r
the correlation of their errors (the effective sample size of a cluster, Kish 1965).  Without K votes are counted: a
Dirichlet posterior whose prior is worth one vote.  Evidence fades with time, and is bounded, so that a cell can change
its mind.
"""

from __future__ import annotations

from functools import reduce
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.confusion import ClassConfusion
from panoptic_ros.grid.occupancy import NEVER, Evidence
from panoptic_ros.grid.options import ClassOptions
from panoptic_ros.labels import LabelSet


def load_confusion(path: str | Path, labels: LabelSet) -> NDArray[np.float64]:
    """Read K from the ``confusion.json`` that an evaluation wrote.

    Void is left out, since points without a label tell nothing.  A class that the evaluation never met, or that was
    never labelled at all, is taken to be recognised as often as the others are on average, and else to be taken for
    any other.

    Returns
    -------
    (C, C) float64, K[c, z] = P(labelled z | is c, labelled); each row sums to 1.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no such file, is for another label set, or has no class at all; the message names the file.
    """
    matrix = ClassConfusion.load(Path(path).expanduser(), labels).probabilities[:, 1:]
    count, sums = len(labels), matrix.sum(axis=1)
    known = sums > 0
    if not known.any():
        raise ValueError(f"{path}: true: no class was ever labelled")
    rows = matrix[known] / sums[known, None]
    accuracy = float(np.mean(rows[np.arange(len(rows)), np.flatnonzero(known)]))
    result = np.full((count, count), (1 - accuracy) / max(1, count - 1))
    np.fill_diagonal(result, accuracy if count > 1 else 1.0)
    result[known] = rows
    return result


def effective_counts(counts: NDArray[np.float32], correlation: float) -> NDArray[np.float32]:
    """How many independent labels some correlated ones are worth, n / (1 + (n - 1) r); up to one label, itself."""
    effective: NDArray[np.float32] = counts / (1 + np.maximum(counts - 1, 0) * np.float32(correlation))
    return effective


class ClassBlock:
    """The posterior of each cell over some of the classes: those of the ground, or those of obstacles.

    Parameters
    ----------
    cells:
        How many cells.
    columns:
        (B,) int16, the class indices it is about.
    options:
        How labels add up.
    confusion:
        (C, C) K[c, z] over all classes, or None to count votes.
    """

    def __init__(
        self, cells: int, columns: NDArray[np.int16], options: ClassOptions, confusion: NDArray[np.floating] | None
    ) -> None:
        self.columns = columns
        self.options = options
        self.evidence = Evidence(cells, len(columns), options.time_constant)
        self.bayes = confusion is not None
        # What one label z, the row, says of each class, the column.
        self.table = np.eye(len(columns), dtype=np.float32)
        if confusion is not None:
            self.table = _log_likelihoods(np.asarray(confusion, dtype=np.float64), columns, options.smoothing)

    def add(self, cells: NDArray[np.intp], counts: NDArray[np.float32], stamp: int) -> None:
        """Tell cells what was labelled in them in one observation.

        Parameters
        ----------
        cells:
            (M,) intp, each once.
        counts:
            (M, B) float32, the weights of the labels of each class; in each row something.
        stamp:
            Nanoseconds.
        """
        total = _row_sums(counts)
        share = effective_counts(total, self.options.correlation) / total
        # Without optimize, einsum does not call BLAS, whose threads would wait for work between two frames.  Columns in
        # one piece make it, and what follows, several times as fast.
        evidence = np.einsum("mz,zc->mc", counts * share[:, None], self.table, order="F", optimize=False)
        sums = self.evidence.added(cells, evidence, stamp)
        if self.bayes:
            sums -= sums.max(axis=1, keepdims=True)
            np.maximum(sums, np.float32(-self.options.clip), out=sums)
        else:
            total = np.maximum(_row_sums(sums), np.float32(1e-6))
            sums *= np.minimum(1, np.float32(self.options.count_clip) / total)[:, None]
        self.evidence.values[cells] = sums

    def labelled(self) -> NDArray[np.bool_]:
        """(cells,) bool, which cells have ever been given a label."""
        given: NDArray[np.bool_] = self.evidence.stamps != NEVER
        return given

    def best(self, cells: NDArray[np.intp]) -> NDArray[np.int16]:
        """(M,) int16, the most probable class of labelled cells, whenever: fading to a uniform prior keeps the best."""
        if not len(cells):
            return np.zeros(0, dtype=np.int16)
        found: NDArray[np.int16] = self.columns[np.argmax(self.evidence.values[cells], axis=1)]
        return found

    def posterior(self, cells: NDArray[np.intp], stamp: int) -> NDArray[np.float32]:
        """(M, B) float32, the probabilities of the classes in some cells at a stamp."""
        values = self.evidence.faded(cells, stamp)
        if self.bayes:
            np.exp(values, out=values)  # the largest is 0
        else:
            values += np.float32(1 / max(1, len(self.columns)))
        values /= _row_sums(values)[:, None]
        return values

    def clear(self, cells: NDArray[np.intp]) -> None:
        """Forget some cells."""
        self.evidence.clear(cells)


def _log_likelihoods(
    confusion: NDArray[np.float64], columns: NDArray[np.int16], smoothing: float
) -> NDArray[np.float32]:
    """(B, B) float32, log P(labelled z | is c, labelled as one of these), by z and c."""
    part = confusion[np.ix_(columns, columns)]
    sums = part.sum(axis=1, keepdims=True)
    # A class that is always taken for one of the other block says nothing here.
    part = np.where(sums > 0, part / np.where(sums > 0, sums, 1), 1 / max(1, len(columns)))
    table: NDArray[np.float32] = np.log((1 - smoothing) * part + smoothing / max(1, len(columns))).T.astype(np.float32)
    return table


def entropy(posterior: NDArray[np.float32]) -> NDArray[np.float32]:
    """(M,) float32 nats, the entropy of (M, B) probabilities."""
    return np.abs(_row_sums(posterior * np.log(np.maximum(posterior, np.float32(1e-30)))))


def _row_sums(table: NDArray[np.float32]) -> NDArray[np.float32]:
    """(M,) the sum of each row, added up from left to right, so that its last bit does not depend on other rows."""
    return reduce(np.add, table.T, np.zeros(len(table), dtype=np.float32))
