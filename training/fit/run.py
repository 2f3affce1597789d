"""A training as a whole: its parts, made of a configuration, and Lightning's Trainer around them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from panoptic_ros.configuration import ConfigurationError, beside, from_mapping
from panoptic_ros.models import build_model
from panoptic_ros.models.model import PanopticModel, WeightsReport
from panoptic_training.data.module import Loading, PanopticData, Watch
from panoptic_training.data.survey import class_weights
from panoptic_training.fit.averaging import ExponentialAverage
from panoptic_training.fit.checkpoints import LAST, SUFFIX, WholeCheckpoints, check_resumed, checkpoint_callbacks
from panoptic_training.fit.configuration import HIGHER_IS_BETTER, OF_INSTANCES, TrainingConfig, model_config
from panoptic_training.fit.cost import Cost
from panoptic_training.fit.export import Export
from panoptic_training.fit.module import PanopticTraining
from panoptic_training.fit.pictures import Pictures
from panoptic_training.fit.result import RESULT, TrainingResult
from panoptic_training.fit.start import StartOptions, load_start
from panoptic_training.losses import find_loss

PART_PROCESSES = "ddp_find_unused_parameters_true"
"""A process whose part of a batch shows no instance leaves the instance head without a gradient."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a training is run; what is learned is in its configuration.

    Attributes
    ----------
    folder:
        Where everything goes that it writes.
    data_root:
        Where relative paths of data sets begin, and those of weights and a cfg that lie there.
    resume:
        Go on from the folder's last checkpoint.
    overfit:
        See `PanopticData`.
    dry:
        One batch through everything.
    check:
        See `PanopticData`.
    device:
        ``auto``, ``cpu`` or ``cuda``.
    devices:
        Processes on this machine; 0: as many as `torchrun` has started, or else one on the CPU, all GPUs.
    nodes:
        Machines.
    progress:
        Whether to show a progress bar.
    """

    folder: Path
    data_root: Path
    resume: bool = False
    overfit: int = 0
    dry: bool = False
    check: bool = True
    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = 0
    nodes: int = 1
    progress: bool = False


class Run:
    """A training that is ready to start.

    Parameters
    ----------
    config:
        What is learned.
    options:
        How it is run.
    watch:
        Shows how far the check of the data is.

    Raises
    ------
    ConfigurationError, DatasetError, FileNotFoundError, WeightsError, ValueError
        If something of it cannot be: before the first step, and saying what.
    """

    def __init__(self, config: TrainingConfig, options: RunOptions, watch: Watch) -> None:
        if config.weights.outputs:
            raise ConfigurationError("weights: outputs: merged networks are validated, not trained")
        self.options = options
        self.config = config = _adapted(config, options)
        self.report: WeightsReport | None = None
        """What was taken of another program's weights."""
        self._checkpoint = options.folder / f"{LAST}{SUFFIX}"
        if options.resume:
            check_resumed(self._checkpoint, config)
        elif self._checkpoint.exists():
            raise ConfigurationError(
                f"{self._checkpoint}: a training is there already; go on with --resume, or choose another --out"
            )
        place = located(config, options.data_root)
        self.model_config = model_config(place)
        self.model = self._build_model(place.weights)
        loading = Loading(
            labels=self.model.labels,
            size=(self.model_config.input_height, self.model_config.input_width),
            batch=config.batch_size,
            seed=config.seed,
            augmentation=config.augmentation,
        )
        self._check_crop()
        self.data = PanopticData(
            config.data, loading, options.data_root, options.folder, watch, options.overfit, options.check
        )
        self._check_measures()
        self.cost = Cost()
        self.trainer = self._make_trainer()
        self.data.look(first=self.trainer.local_rank == 0)
        loss_class, _ = find_loss(self.model_config.system, self.config.model)
        self.training = PanopticTraining(
            self.model, loss_class(self.model, self._loss_options()), config, self.model_config, options.folder
        )
        if config.compile:
            for part in self.model.children():
                part.compile()

    def __call__(self) -> None:
        """Train.

        Raises
        ------
        NotFiniteError
            If a loss is not finite.
        DatasetError, TargetError
            If a sample cannot be read.
        """
        # Whole numbers, strings and tensors are all that there is in a checkpoint: nothing of it is executed.
        self.trainer.fit(
            self.training,
            datamodule=self.data,
            ckpt_path=str(self._checkpoint) if self.options.resume else None,
            weights_only=True,
        )
        if self.trainer.is_global_zero and not self.trainer.interrupted:
            self.result().save(self.options.folder / RESULT)

    def result(self) -> TrainingResult:
        """What there is to say of it when it has ended."""
        best = self.trainer.checkpoint_callbacks[0]
        assert isinstance(best, ModelCheckpoint)
        score = best.best_model_score
        return TrainingResult(
            steps=self.trainer.global_step,
            parameters=sum(parameter.numel() for parameter in self.model.parameters()),
            measures=self.training.measured(),
            best={} if score is None else {self.config.best: float(score)},
            seconds=self.cost.seconds,
        )

    def _build_model(self, start: StartOptions) -> PanopticModel:
        """The system, with the weights that training starts from."""
        find_loss(self.model_config.system, self.config.model)
        model = build_model(self.model_config)
        if not self.options.resume:
            self.report = load_start(model, start)
            if (name := self._random_and_frozen(model)) is not None:
                raise ConfigurationError(
                    f"frozen: {name} has random weights, at least in part, of which nothing can be learned; name "
                    "those of a trained one with --weights"
                )
        return model

    def _random_and_frozen(self, model: PanopticModel) -> str | None:
        """What is to be frozen of the backbone, which gives all others their features, and has random weights in it."""
        for name in self.config.frozen:
            part = name.partition(".")[0]
            if part == model.backbone_part and part in model.untrained:
                random = (name,) if self.report is None else self.report.random
                if any(one == name or one.startswith(f"{name}.") for one in random):
                    return name
        return None

    def _loss_options(self) -> Any:
        content: Mapping[str, Any] = self.config.loss
        if self.config.class_weights:
            semantic = content.get("semantic", {})
            if "class_weights" in semantic:
                raise ConfigurationError("class_weights: are given by loss.semantic.class_weights already")
            weights = list(class_weights(self.data.survey().pixels))
            content = {**content, "semantic": {**semantic, "class_weights": weights}}
        options = find_loss(self.model_config.system, self.config.model).options
        return from_mapping(options, content, f"{self.config.model}: loss")

    def _check_crop(self) -> None:
        multiple, crop = self.model.input_multiple, self.config.augmentation.affine.crop
        if any(side % multiple for side in crop):
            raise ConfigurationError(f"augmentation: affine: crop must be multiples of {multiple}, got {list(crop)}")

    def _check_measures(self) -> None:
        """Refuse to wait for a measure that the validation data cannot give."""
        if any(source.dataset.has_instances for source in self.data.validation.sources):
            return
        if senseless := sorted(self.config.measures & OF_INSTANCES):
            raise ConfigurationError(
                f"best and early_stopping: {', '.join(senseless)} cannot be measured, because the validation data does "
                f"not tell things apart; use some of {', '.join(sorted(HIGHER_IS_BETTER.keys() - OF_INSTANCES))}"
            )

    def _make_trainer(self) -> pl.Trainer:
        config, options = self.config, self.options
        processes = options.devices or int(os.environ.get("LOCAL_WORLD_SIZE", 0))
        shared = processes * options.nodes > 1
        one_batch = 1 if options.dry else None
        return pl.Trainer(
            accelerator="gpu" if options.device == "cuda" else options.device,
            devices=processes or "auto",
            num_nodes=options.nodes,
            strategy=PART_PROCESSES if shared else "auto",
            precision=config.precision,
            logger=[
                CSVLogger(options.folder, name="csv"),
                TensorBoardLogger(options.folder, name="", version="tensorboard"),
            ],
            callbacks=self._callbacks(),
            max_epochs=config.epochs,
            limit_train_batches=one_batch,
            limit_val_batches=one_batch,
            check_val_every_n_epoch=1 if options.dry else config.validate_every,
            num_sanity_val_steps=0,
            log_every_n_steps=config.log_steps,
            enable_progress_bar=options.progress,
            enable_model_summary=False,
            accumulate_grad_batches=config.accumulate,
            gradient_clip_val=config.gradient_clip,
            use_distributed_sampler=False,  # the order knows the processes
            sync_batchnorm=config.batch_norm == "synchronised",
            plugins=[WholeCheckpoints()],
        )

    def _callbacks(self) -> list[pl.Callback]:
        config, folder = self.config, self.options.folder
        callbacks: list[pl.Callback] = [
            self.cost,
            Pictures(self.data.validation, config.pictures, folder / "pictures"),
            Export(folder),
            *checkpoint_callbacks(config, folder),
        ]
        if config.averaging is not None:
            callbacks.append(ExponentialAverage(config.averaging.decay))
        if config.early_stopping is not None:
            callbacks += [
                EarlyStopping(
                    f"val/{measure}",
                    mode="max" if HIGHER_IS_BETTER[measure] else "min",
                    patience=config.early_stopping.patience,
                    check_on_train_epoch_end=False,
                )
                for measure in config.early_stopping.measures
            ]
        if self.options.progress:
            callbacks.append(RichProgressBar())
        return callbacks


def _adapted(config: TrainingConfig, options: RunOptions) -> TrainingConfig:
    """The training that is run: one epoch of a dry run; no end before the last where a few samples are learned."""
    if options.dry:
        return replace(config, epochs=1, early_stopping=None)
    if options.overfit:
        return replace(config, early_stopping=None)
    return config


def located(config: TrainingConfig, root: Path) -> TrainingConfig:
    """The same with weights and files of the network that lie in the folder of data sets found there."""
    return replace(
        config,
        network={key: beside(root, value) for key, value in config.network.items()},
        weights=config.weights.beside(root),
    )
