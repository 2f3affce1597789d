"""Checkpoints: each there whole or not at all, without code in it, the best and the last."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from panoptic_ros.configuration import ConfigurationError, from_mapping
from panoptic_ros.files import written_whole
from panoptic_training.fit.configuration import HIGHER_IS_BETTER, TrainingConfig

BEST, LAST = "best", "last"
SUFFIX = ".ckpt"
MAY_DIFFER = {"workers"}
"""Keys of a configuration that change nothing of what is learned."""


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place, has it reach the disk, and moves it there.

    Lightning's own way leaves what was written to the system's caches, from which a loss of power can take it after the
    file that it replaces is gone.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        """Write one.

        Raises
        ------
        OSError
            If it cannot be written; what was there before is then still there.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as file, file.open("wb") as stream:
            torch.save(checkpoint, stream)
            stream.flush()
            os.fsync(stream.fileno())
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class StepCheckpoint(ModelCheckpoint):
    """Writes a checkpoint every so many steps, but not after the last step of an epoch.

    A run that goes on from there would take the epoch as done and leave out its validation; the checkpoint that follows
    validation is the one to go on from.
    """

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write one where it is time."""
        if batch_idx + 1 < trainer.num_training_batches:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)


def checkpoint_callbacks(config: TrainingConfig, folder: Path) -> list[ModelCheckpoint]:
    """What writes ``best.ckpt`` after each validation that is better than all before, and ``last.ckpt`` after each
    epoch and, if that is asked for, every so many steps.
    """
    common: dict[str, Any] = {"dirpath": folder, "save_top_k": 1, "enable_version_counter": False}
    callbacks = [
        ModelCheckpoint(
            filename=BEST,
            monitor=f"val/{config.best}",
            mode="max" if HIGHER_IS_BETTER[config.best] else "min",
            save_on_train_epoch_end=False,
            **common,
        ),
        ModelCheckpoint(filename=LAST, every_n_epochs=1, save_on_train_epoch_end=True, **common),
    ]
    if config.checkpoint_steps is not None:
        callbacks.append(StepCheckpoint(filename=LAST, every_n_train_steps=config.checkpoint_steps, **common))
    return callbacks


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content, on the CPU; nothing in it is executed.

    Raises
    ------
    ConfigurationError
        If there is none, or it is damaged or of another program.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise ConfigurationError(f"{path}: no such checkpoint") from error
    except Exception as error:  # torch raises whatever reading a damaged archive comes upon
        raise ConfigurationError(f"{path}: is no whole checkpoint: {error}") from error
    if not isinstance(content, dict) or not {"training", "untrained", "state_dict"} <= content.keys():
        raise ConfigurationError(f"{path}: is no checkpoint of panoptic-train")
    return content


def check_resumed(path: Path, config: TrainingConfig) -> None:
    """Refuse to go on with another training than the checkpoint's.

    Raises
    ------
    ConfigurationError
        If there is no checkpoint, or the configuration differs from its; the message names what.
    """
    # Keys that the checkpoint does not know of, because they came later, had their defaults.
    before = from_mapping(TrainingConfig, read_checkpoint(path)["training"], str(path)).plain()
    different = differences(before, config.plain())
    if different:
        raise ConfigurationError(
            f"{path}: is of another training: {', '.join(different)} differ; go on with the same configuration"
        )


def differences(before: Any, now: Any, key: str = "") -> list[str]:
    """The keys of two plain configurations, with those above them, whose values differ; not those of `MAY_DIFFER`."""
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            difference
            for name in sorted(before.keys() | now.keys())
            if name not in MAY_DIFFER
            for difference in differences(before.get(name), now.get(name), f"{key}.{name}" if key else name)
        ]
    return [] if before == now else [key]
