"""The loader of training batches, which can go on in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
from torch.utils.data import DataLoader

from panoptic_training.data.order import EpochOrder
from panoptic_training.data.samples import Batch, TrainingSample, TrainingSet, batch_of


def quiet_worker(number: int) -> None:
    """One thread for each process that loads: several processes share the cores already."""
    cv2.setNumThreads(0)


def worker_options(workers: int, on_gpu: bool) -> dict[str, Any]:
    """What both loaders have in common, as arguments of `DataLoader`.

    Parameters
    ----------
    workers:
        Processes that load; 0: the training's own.
    on_gpu:
        Whether batches go to a GPU.
    """
    options: dict[str, Any] = {"num_workers": workers, "collate_fn": batch_of, "pin_memory": on_gpu}
    if workers:
        # Spawned: a forked process would share locks and a GPU with this one.
        options |= {
            "multiprocessing_context": "spawn",
            "persistent_workers": True,
            "worker_init_fn": quiet_worker,
        }
    return options


class ResumableLoader(DataLoader[TrainingSample]):
    """Batches in the order of an `EpochOrder`; Lightning keeps its state in checkpoints.

    Parameters
    ----------
    samples, order, batch:
        What is loaded, in which order, and how many make a batch.
    workers, on_gpu:
        See `worker_options`.
    """

    def __init__(self, samples: TrainingSet, order: EpochOrder, batch: int, workers: int, on_gpu: bool) -> None:
        super().__init__(samples, batch_size=batch, sampler=order, **worker_options(workers, on_gpu))
        self._order = order
        self._given = 0
        self._resume: tuple[int, int] | None = None

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        """The batches of the order's epoch.

        Nothing happens before the first batch is asked for: Lightning makes the iterator before it sets the epoch.
        """
        epoch, given = self._resume or (-1, 0)
        self._resume = None
        self._order.start = self._given = given if epoch == self._order.epoch else 0
        for batch in super().__iter__():
            self._given += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The epoch, and how many of its batches were given away."""
        return {"epoch": self._order.epoch, "batches": self._given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Begin where another loader was; an epoch that it had finished is followed by the next."""
        self._resume = (state["epoch"], state["batches"])
