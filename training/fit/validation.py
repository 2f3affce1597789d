"""Weights measured as a training's validation would measure them, and nothing learned."""

from __future__ import annotations

from dataclasses import replace

import lightning.pytorch as pl
from torch import Tensor, nn

from panoptic_ros.configuration import ConfigurationError
from panoptic_ros.models import build_model
from panoptic_ros.models.model import PanopticModel
from panoptic_training.data.module import Loading, PanopticData, Watch
from panoptic_training.fit.configuration import TrainingConfig, model_config
from panoptic_training.fit.cost import Cost
from panoptic_training.fit.merged import merge
from panoptic_training.fit.module import PanopticTraining
from panoptic_training.fit.pictures import Pictures
from panoptic_training.fit.result import RESULT, TrainingResult
from panoptic_training.fit.run import RunOptions, located
from panoptic_training.fit.start import load_start
from panoptic_training.targets import Targets


class WithoutTerms(nn.Module):
    """Stands where a loss does, for a network that learns nothing."""

    def __init__(self, model: PanopticModel) -> None:
        super().__init__()
        self.model = model

    def evaluate(self, images: Tensor, targets: Targets) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """No terms, and what the model gives."""
        return {}, self.model(images)


def validate(config: TrainingConfig, options: RunOptions, watch: Watch) -> TrainingResult:
    """Measure the weights of a training's configuration on its validation data.

    Parameters
    ----------
    config:
        Its ``weights`` are what is measured, with outputs of other networks where it names some; its model, data,
        precision, batches and pictures are as in a training.
    options:
        Folder, data, and device; the rest is a training's.
    watch:
        See `PanopticData`.

    Returns
    -------
    Also written as ``result.json`` into the folder.

    Raises
    ------
    ConfigurationError, DatasetError, FileNotFoundError, WeightsError
        If something of it cannot be; the message says what.
    """
    if not config.weights.path:
        raise ConfigurationError("weights: there is nothing to validate; name a file with --weights")
    place = located(config, options.data_root)
    built = model_config(place)
    network = build_model(built)
    load_start(network, place.weights)
    model = merge(network, place.weights.outputs)
    loading = Loading(model.labels, (built.input_height, built.input_width), config.batch_size)
    sources = replace(config.data, train=config.data.validation, balance=None, balance_area=1)
    data = PanopticData(sources, loading, options.data_root, options.folder, watch, check=False)
    cost = Cost()
    trainer = pl.Trainer(
        accelerator="gpu" if options.device == "cuda" else options.device,
        devices=1,
        precision=config.precision,
        logger=False,
        callbacks=[cost, Pictures(data.validation, config.pictures, options.folder / "pictures")],
        enable_checkpointing=False,
        enable_progress_bar=options.progress,
        enable_model_summary=False,
    )
    # What was frozen is named by the network's parts, and nothing learns here.
    training = PanopticTraining(model, WithoutTerms(model), replace(config, frozen=()), built, options.folder)
    trainer.validate(training, datamodule=data, verbose=False)
    result = TrainingResult(
        steps=0,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        measures=training.measured(),
        best={},
        seconds=cost.seconds,
    )
    options.folder.mkdir(parents=True, exist_ok=True)
    result.save(options.folder / RESULT)
    return result
