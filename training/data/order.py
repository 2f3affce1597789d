"""In which order samples are drawn: a function of the seed and the epoch, the same for any number of processes.

Everything random about a sample is decided by its `Draw`, so a run that goes on in the middle of an epoch sees what it
would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

ORDER, AUGMENTATION, STEP = 0, 1, 2
"""What a stream of random numbers is for; two with one key would go together."""


class Draw(NamedTuple):
    """One draw of a sample.

    Attributes
    ----------
    epoch:
        Counted from 0.
    position:
        Its place in the epoch's order.
    sample:
        Its number in the data.
    """

    epoch: int
    position: int
    sample: int

    def generator(self, seed: int) -> np.random.Generator:
        """The random numbers of this draw."""
        return np.random.default_rng((seed, AUGMENTATION, self.epoch, self.position))


def drawn(repeats: NDArray[np.float64], count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The samples of one epoch, in order.

    Parameters
    ----------
    repeats:
        (N,) positive, how often each sample is wanted, relative to the others.
    count:
        How many are drawn.

    Returns
    -------
    (count,) int64.  A sample with a share of r of them occurs r or r rounded to a neighbour times: the draws are spaced
    evenly over the sum of `repeats`, from a random start, and shuffled.  With equal repeats and as many draws as
    samples, each occurs once.
    """
    rng = np.random.default_rng((seed, ORDER, epoch))
    ends = np.cumsum(repeats)
    points = (np.arange(count) + rng.random()) * (ends[-1] / count)
    indices = np.minimum(np.searchsorted(ends, points, side="right"), len(repeats) - 1)
    return rng.permutation(indices)


class EpochOrder(Sampler[Draw]):
    """The draws of one process, batch by batch.

    A batch of all processes together is a stretch of the epoch's order, of which each process has its own piece, so
    that a step learns from the same samples however many processes share it.  What is left after the last whole batch
    is not drawn in this epoch.

    Parameters
    ----------
    repeats:
        See `drawn`.
    count:
        How many samples an epoch draws; at least one batch.
    batch:
        Samples of a batch in this process.
    seed:
        Of the order.
    rank, processes:
        Which process this is, and of how many.

    Raises
    ------
    ValueError
        If an epoch is less than one batch of all processes.
    """

    def __init__(
        self, repeats: NDArray[np.float64], count: int, batch: int, seed: int, rank: int = 0, processes: int = 1
    ) -> None:
        self._repeats = repeats
        self._count = count
        self.batch = batch
        self._seed = seed
        self._rank = rank
        self._processes = processes
        self.batches = count // (batch * processes)
        self.epoch = 0
        self.start = 0
        if not self.batches:
            raise ValueError(f"an epoch draws {count} samples, but one batch takes {batch * processes}")

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; Lightning calls this before each."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Samples of a whole epoch in this process, wherever it is begun."""
        return self.batches * self.batch

    def __iter__(self) -> Iterator[Draw]:
        """The draws from batch `start` on."""
        indices = drawn(self._repeats, self._count, self._seed, self.epoch).tolist()
        epoch = self.epoch
        for batch in range(self.start, self.batches):
            first = (batch * self._processes + self._rank) * self.batch
            for position in range(first, first + self.batch):
                yield Draw(epoch, position, indices[position])
