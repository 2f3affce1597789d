"""The two layers of what is occupied: what stands, which fades slowly, and things, which may be gone in a moment.

Evidence is log-odds.  A layer is told of cells at a stamp, fades what it knows of just these to that stamp, and adds;
other cells fade when they are read (lazy decay).  What comes late is faded itself, so that the order in which sensors
arrive does not matter.  The arrays lie as `Window` stores them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NEVER = -(1 << 62)
"""The stamp of a cell of which nothing was said."""


def fading(nanoseconds: NDArray[np.int64], time_constant: float) -> NDArray[np.float32]:
    """The factors exp(-t / time constant) of times, which are 1 for what lies in the future."""
    seconds = np.maximum(nanoseconds, 0) * np.float64(-1e-9 / time_constant)
    factors: NDArray[np.float32] = np.exp(seconds.astype(np.float32))
    return factors


class Evidence:
    """Numbers of each cell that add up and fade.

    Parameters
    ----------
    cells:
        How many cells.
    numbers:
        How many numbers a cell has.
    time_constant:
        Seconds after which they have fallen to 1/e.

    Attributes
    ----------
    values:
        (cells, numbers) float32, as they were at `stamps`.
    stamps:
        (cells,) int64 nanoseconds, when a cell was last told something, `NEVER` for cells that were not.
    """

    def __init__(self, cells: int, numbers: int, time_constant: float) -> None:
        self.time_constant = time_constant
        self.values = np.zeros((cells, numbers), dtype=np.float32)
        self.stamps = np.full(cells, NEVER, dtype=np.int64)

    def added(self, cells: NDArray[np.intp], evidence: NDArray[np.float32], stamp: int) -> NDArray[np.float32]:
        """Note that cells were told something, and return the (M, numbers) they should be given as their values.

        Parameters
        ----------
        cells:
            (M,) intp, each once.
        evidence:
            (M, numbers) float32.
        stamp:
            Nanoseconds.
        """
        before = self.stamps.take(cells)
        since = stamp - before
        sums = _scaled(self.values.take(cells, axis=0), fading(since, self.time_constant))
        if since.size and since.min() < 0:
            sums += _scaled(evidence, fading(-since, self.time_constant))
            self.stamps[cells] = np.maximum(before, stamp)
        else:
            sums += evidence
            self.stamps[cells] = stamp
        return sums

    def faded(self, cells: NDArray[np.intp] | slice, stamp: int) -> NDArray[np.float32]:
        """The (M, numbers) of some cells as they are at a stamp."""
        return _scaled(self.values[cells], fading(stamp - self.stamps[cells], self.time_constant))

    def clear(self, cells: NDArray[np.intp]) -> None:
        """Forget some cells."""
        for column in self.values.T:
            column[cells] = 0
        self.stamps[cells] = NEVER

    @property
    def bytes_per_cell(self) -> float:
        """What a cell takes in memory."""
        return (self.values.nbytes + self.stamps.nbytes) / len(self.stamps)


def _scaled(values: NDArray[np.float32], factors: NDArray[np.float32]) -> NDArray[np.float32]:
    """(M, numbers) float32, the rows of `values` times (M,) `factors`.

    Each column lies in one piece: along rows of so few numbers NumPy's loops are several times as slow.
    """
    scaled: NDArray[np.float32] = np.multiply(values.T, factors, order="C").T
    return scaled


class StandingLayer:
    """What stands: log-odds of every cell, and when each was last seen.

    A cell that was seen but told nothing has log-odds 0, which is not the same as a cell that never was seen.

    What is met where no camera looks may be a wall or a car.  In a cell that is free but for such points it has moved
    in, and may move on where nobody sees it, in its own shadow: there it counts as a thing.  This is decided when a
    cell is read, so that the order of messages does not matter.

    Parameters
    ----------
    cells:
        How many cells.
    time_constant:
        Seconds after which evidence has fallen to 1/e.
    clip:
        The largest log-odds.
    fleeting:
        The time constant of what has moved in.
    free:
        Log-odds up to which a cell is free.

    Attributes
    ----------
    evidence:
        Two numbers a cell: the log-odds, and what they would be without points where no camera looks.
    met:
        (cells,) int64 nanoseconds, when the last such point was met.
    """

    def __init__(self, cells: int, time_constant: float, clip: float, fleeting: float, free: float) -> None:
        self.evidence = Evidence(cells, 2, time_constant)
        self.clip = clip
        self.fleeting = fleeting
        self.free = free
        self.met = np.full(cells, NEVER, dtype=np.int64)

    def add(
        self, cells: NDArray[np.intp], evidence: NDArray[np.float32], unwatched: NDArray[np.bool_], stamp: int
    ) -> None:
        """Tell (M,) cells that were seen, each once, the log-odds that speak for an obstacle in them.

        `unwatched` says in which of them no camera looks at it.
        """
        both = np.stack([evidence, np.where(unwatched, np.float32(0), evidence)]).T
        sums = self.evidence.added(cells, both, stamp)
        np.clip(sums, -self.clip, self.clip, out=sums)
        for column, values in zip(self.evidence.values.T, sums.T, strict=True):
            column[cells] = values
        self.met[cells[unwatched]] = np.maximum(self.met[cells[unwatched]], stamp)

    def at(
        self, stamp: int, freed: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.float32]]:
        """What stands at a stamp.

        Parameters
        ----------
        stamp:
            Nanoseconds.
        freed:
            (cells,) int64 nanoseconds, when each cell was last seen free: that ends what has moved in.

        Returns
        -------
        logs:
            (cells,) float32, log-odds, without what has moved in.
        moved_in:
            (M,) intp, the cells with something that has.
        evidence:
            (M,) float32, log-odds of it as of a thing.
        """
        both = self.evidence.faded(slice(None), stamp)
        logs, watched = both[:, 0].copy(), both[:, 1]
        moved_in = np.flatnonzero((logs > watched) & (watched <= self.free))
        met = self.met[moved_in]
        evidence = (logs[moved_in] - watched[moved_in]) * fading(stamp - met, self.fleeting)
        evidence[freed[moved_in] > met] = 0
        logs[moved_in] = watched[moved_in]
        return logs, moved_in, evidence

    def clear(self, cells: NDArray[np.intp]) -> None:
        """Forget some cells."""
        self.evidence.clear(cells)
        self.met[cells] = NEVER

    @property
    def bytes_per_cell(self) -> float:
        """What a cell takes in memory."""
        return self.evidence.bytes_per_cell + self.met.itemsize


class ThingLayer:
    """Things: log-odds of every cell that are never below 0, fade within a moment and end where a cell is seen free.

    What is seen free at a stamp ends the evidence up to that stamp.  So that a late message ends no newer evidence,
    the share of the newest stamp is kept by itself.  Two messages may therefore come in either order, if they are no
    older than what the cell knew before both.

    Attributes
    ----------
    latest:
        (cells,) float32, the part of the evidence that has come at its stamp.
    earlier:
        (cells,) int64 nanoseconds, the stamp of the evidence before.
    freed:
        (cells,) int64 nanoseconds, when the cell was last seen free.
    instances:
        (cells,) int32, the track of the newest evidence, 0 for none.
    """

    def __init__(self, cells: int, time_constant: float, clip: float) -> None:
        self.evidence = Evidence(cells, 1, time_constant)
        self.clip = clip
        self.latest = np.zeros(cells, dtype=np.float32)
        self.earlier = np.full(cells, NEVER, dtype=np.int64)
        self.freed = np.full(cells, NEVER, dtype=np.int64)
        self.instances = np.zeros(cells, dtype=np.int32)

    def add(
        self,
        cells: NDArray[np.intp],
        evidence: NDArray[np.float32],
        instances: NDArray[np.int32],
        stamp: int,
    ) -> None:
        """Tell (M,) cells, each once, of the things in them."""
        valid = np.flatnonzero(self.freed[cells] <= stamp)
        cells, evidence, instances = cells[valid], evidence[valid], instances[valid]
        before = self.evidence.stamps[cells]
        newer, same = before < stamp, before == stamp
        self.earlier[cells] = np.where(
            newer, before, np.where(same, self.earlier[cells], np.maximum(self.earlier[cells], stamp))
        )
        self.latest[cells] = np.where(newer, evidence, self.latest[cells] + np.where(same, evidence, 0))
        self.instances[cells] = np.where(
            newer, instances, np.where(same, np.maximum(instances, self.instances[cells]), self.instances[cells])
        )
        sums = self.evidence.added(cells, evidence[:, None], stamp)
        self.evidence.values[cells] = np.minimum(sums, self.clip)

    def free(self, cells: NDArray[np.intp], stamp: int) -> None:
        """Tell (M,) cells, each once, that they were seen free."""
        self.freed[cells] = np.maximum(self.freed.take(cells), stamp)
        held = cells[self.evidence.values[:, 0].take(cells) > 0]
        before = self.evidence.stamps[held]
        self.evidence.values[held[before < stamp]] = 0
        partly = held[(before >= stamp) & (self.earlier[held] < stamp)]
        self.evidence.values[partly, 0] = np.minimum(self.latest[partly], self.clip)

    def clear(self, cells: NDArray[np.intp]) -> None:
        """Forget some cells."""
        self.evidence.clear(cells)
        self.latest[cells] = 0
        self.earlier[cells] = NEVER
        self.freed[cells] = NEVER
        self.instances[cells] = 0

    @property
    def bytes_per_cell(self) -> float:
        """What a cell takes in memory."""
        parts = (self.latest, self.earlier, self.freed, self.instances)
        return self.evidence.bytes_per_cell + sum(part.itemsize for part in parts)
