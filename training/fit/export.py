"""From checkpoints to weights that the pipeline and the node read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from torch import Tensor

from panoptic_ros.configuration import ConfigurationError
from panoptic_ros.models import build_model, changed_config, described_config
from panoptic_ros.models.weights import save_weights
from panoptic_ros.resources import WEIGHTS_SUFFIX
from panoptic_training.fit.checkpoints import BEST, LAST, SUFFIX, read_checkpoint
from panoptic_training.fit.configuration import model_config, training_config

PREFIX = "loss.model."
"""Where the model is in a checkpoint's state: the loss holds it."""


def export_checkpoint(
    checkpoint: Path,
    path: Path,
    half: bool = False,
    size: tuple[int, int] | None = None,
    decode: Mapping[str, Any] | None = None,
) -> None:
    """Write a checkpoint's weights as safetensors, with configuration and label set inside.

    With averaging they are the averaged ones.

    Parameters
    ----------
    half:
        Whether to halve the file, as `save_weights` does.
    size:
        Height and width of the network's input, in place of the training's.
    decode:
        Thresholds of the decode in place of the training's.

    Raises
    ------
    ConfigurationError
        If there is no such checkpoint, or it is damaged or of another network; or if there is no such threshold, or its
        value is out of range.
    OSError
        If the file cannot be written.
    """
    content = read_checkpoint(checkpoint)
    state: dict[str, Tensor] = content["state_dict"]
    if "model" in content:
        config = described_config(content["model"], checkpoint)
    else:  # of a version that has kept the training's configuration alone
        config = model_config(training_config(content["training"], checkpoint))
    config = changed_config(config, {}, decode or {}, str(checkpoint))
    if size is not None:
        config = replace(config, input_height=size[0], input_width=size[1])
    model = build_model(config)
    try:
        model.load_state_dict(
            {name.removeprefix(PREFIX): value for name, value in state.items() if name.startswith(PREFIX)}
        )
    except RuntimeError as error:
        raise ConfigurationError(f"{checkpoint}: is of another network: {error}") from error
    model.untrained = frozenset(content["untrained"])
    save_weights(model, path, config, half)


class Export(pl.Callback):
    """Writes ``best.safetensors`` when there is a new best checkpoint, and ``last.safetensors`` at the end.

    Parameters
    ----------
    folder:
        Where checkpoints are and weights go.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Export the best checkpoint if this epoch's validation has written it."""
        if trainer.is_global_zero:
            self._export(BEST)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Export what there is at the end."""
        if trainer.is_global_zero:
            self._export(BEST)
            self._export(LAST)

    def _export(self, name: str) -> None:
        checkpoint, weights = self._folder / f"{name}{SUFFIX}", self._folder / f"{name}{WEIGHTS_SUFFIX}"
        if not checkpoint.is_file():
            return
        if weights.is_file() and weights.stat().st_mtime_ns >= checkpoint.stat().st_mtime_ns:
            return
        export_checkpoint(checkpoint, weights)
