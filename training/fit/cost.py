"""What training costs: time of its phases, and memory."""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

import lightning.pytorch as pl
import torch

WAITING, STEP, VALIDATION = "waiting for a batch", "training step", "validation"
"""The phases of a training."""


class Cost(pl.Callback):
    """Measures one run.

    Attributes
    ----------
    seconds:
        Of `WAITING`, `STEP` and `VALIDATION`, each in total.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def _end(self, phase: str) -> None:
        """Count the time since the last phase ended to this one."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._since
        self._since = now

    def state_dict(self) -> dict[str, float]:
        """What a checkpoint keeps, so that a training that goes on counts on."""
        return dict(self.seconds)

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Go on from what a checkpoint has kept."""
        self.seconds = dict(state_dict)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin to wait for batches."""
        self._since = time.perf_counter()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """A batch is there."""
        self._end(WAITING)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A step is done."""
        self._end(STEP)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validation, its pictures too, is done."""
        self._end(VALIDATION)

    @staticmethod
    def memory() -> dict[str, int]:
        """Bytes at the highest: ``memory``, of this process or its largest child; ``GPU memory`` if there is a GPU."""
        unit = 1 if sys.platform == "darwin" else 1024  # of getrusage
        usages = (resource.getrusage(who).ru_maxrss * unit for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        found = {"memory": max(usages)}
        if torch.cuda.is_available():
            found["GPU memory"] = torch.cuda.max_memory_reserved()
        return found
