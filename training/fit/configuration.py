"""What a training is: ``config/training/*.yaml``."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from panoptic_ros.configuration import beside, from_mapping, plain, read_yaml
from panoptic_ros.models import ModelConfig, changed_config, load_model_config
from panoptic_ros.resources import find_config
from panoptic_training.augmentation import AugmentationOptions
from panoptic_training.data.module import DataOptions
from panoptic_training.fit.optimisation import OptimizerOptions, ScheduleOptions
from panoptic_training.fit.start import StartOptions

Measure = Literal["loss", "semantic_iou", "instance_iou", "pq", "mask_ap"]
HIGHER_IS_BETTER: Mapping[str, bool] = {
    "loss": False,
    "semantic_iou": True,
    "instance_iou": True,
    "pq": True,
    "mask_ap": True,
}
OF_INSTANCES = frozenset({"instance_iou", "pq", "mask_ap"})
"""Measures that need a data set that tells things apart."""


@dataclass(frozen=True, slots=True)
class EarlyStoppingOptions:
    """When training ends before its last epoch: as soon as one of the measures has not improved for so long.

    The thesis stops after 5 or 7 epochs by the loss alone (3.2), after 10 by the loss, the semantic IoU or the
    instances' IoU (3.3).
    """

    measures: tuple[Measure, ...] = ("loss", "semantic_iou", "instance_iou")
    patience: int = 10

    def __post_init__(self) -> None:
        if not self.measures:
            raise ValueError("measures must name at least one measure")
        if self.patience < 1:
            raise ValueError(f"patience must be at least 1 epoch, got {self.patience}")


@dataclass(frozen=True, slots=True)
class AveragingOptions:
    """The exponential moving average of the weights, which validation, the best checkpoint and the export take.

    Attributes
    ----------
    decay:
        See `ExponentialAverage`.
    """

    decay: float = 0.999

    def __post_init__(self) -> None:
        if not 0.0 < self.decay < 1.0:
            raise ValueError(f"decay must be in (0, 1), got {self.decay}")


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """One training.

    Attributes
    ----------
    model:
        A name in ``config/models`` or a path; one beside this file is found there.
    data:
        Data sets.
    weights:
        What training starts from.
    labels:
        Name or path of a label set in place of the model's; empty for the model's.
    network:
        Settings of the network in place of the model's, such as ``semantic: fpn``; keys that are not named stay.
    decode:
        Thresholds of the decode in place of the model's, such as ``score_threshold: 0.3``, which validation and the
        exported weights have then; keys that are not named stay.
    input_height, input_width:
        Of the network's input, in place of the model's; null for the model's.
    frozen:
        Parts of the model (``detector``, ``semantic_head`` …) or of its parts (``backbone.body.layer1``) that do not
        learn: no gradient, and evaluation mode, so that their batch norms keep their statistics.
    batch_norm:
        ``local``: statistics of each process's part of the batch; ``synchronised``: of the whole batch, on GPUs;
        ``frozen``: as they are, which makes a step independent of the number of processes.
    loss:
        Options of the system's loss.
    class_weights:
        Weigh classes in the semantic loss by how rare they are in the training data (`class_weights` of the survey).
    augmentation, optimizer, schedule:
        See there.
    epochs:
        The most.
    batch_size:
        Samples of a step, of all processes together.
    accumulate:
        Batches whose gradients make one step.
    precision:
        ``32-true``; ``bf16-mixed``, of GPUs and of CPUs with AVX-512 BF16 or AMX; or ``16-mixed`` of GPUs.
    gradient_clip:
        The greatest norm of a step's gradient; null for any.
    averaging:
        See there; null for none.
    compile:
        Compile the model's parts with torch.compile: worth it on a GPU and for many epochs.
    early_stopping:
        See there; null for none.
    best:
        By which measure a checkpoint is the best.
    checkpoint_steps:
        Write the last checkpoint every so many steps too, not only after each epoch; null for not.
    validate_every:
        Epochs from one validation to the next; the patience of early stopping counts validations.
    pictures:
        How many validation samples are drawn each time.
    log_steps:
        Losses are logged every so many steps.
    seed:
        Of everything random.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    model: str
    data: DataOptions
    weights: StartOptions = field(default_factory=StartOptions)
    labels: str = ""
    network: Mapping[str, Any] = field(default_factory=dict)
    decode: Mapping[str, Any] = field(default_factory=dict)
    input_height: int | None = None
    input_width: int | None = None
    frozen: tuple[str, ...] = ()
    batch_norm: Literal["local", "synchronised", "frozen"] = "local"
    loss: Mapping[str, Any] = field(default_factory=dict)
    class_weights: bool = False
    augmentation: AugmentationOptions = field(default_factory=AugmentationOptions)
    optimizer: OptimizerOptions = field(default_factory=OptimizerOptions)
    schedule: ScheduleOptions = field(default_factory=ScheduleOptions)
    epochs: int = 100
    batch_size: int = 8
    accumulate: int = 1
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    gradient_clip: float | None = None
    averaging: AveragingOptions | None = None
    compile: bool = False
    early_stopping: EarlyStoppingOptions | None = field(default_factory=EarlyStoppingOptions)
    best: Measure = "pq"
    checkpoint_steps: int | None = None
    validate_every: int = 1
    pictures: int = 4
    log_steps: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate", "log_steps", "checkpoint_steps", "validate_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be positive, got {value}")
        for name in ("pictures", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.gradient_clip is not None and not 0.0 < self.gradient_clip < math.inf:
            raise ValueError(f"gradient_clip must be positive, got {self.gradient_clip}")

    @property
    def measures(self) -> frozenset[str]:
        """What validation must be able to measure."""
        return frozenset({self.best, *(self.early_stopping.measures if self.early_stopping else ())})

    def plain(self) -> dict[str, Any]:
        """Everything in dictionaries, lists, numbers, strings and None, as checkpoints keep it."""
        content: dict[str, Any] = plain(dataclasses.asdict(self))
        return content


def load_training_config(name: str) -> TrainingConfig:
    """Read a training by its name in ``config/training`` or from a path.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ConfigurationError
        If a key is unknown, missing, ill-typed or out of range; the message names it, the file and what was expected.
    """
    path = find_config("training", name)
    return training_config(read_yaml(path), path)


def training_config(content: Mapping[str, Any], path: Path) -> TrainingConfig:
    """The training that a mapping describes; files that it names by a relative path are looked for beside `path`.

    Raises
    ------
    ConfigurationError
        See `load_training_config`.
    """
    config = from_mapping(TrainingConfig, content, str(path))
    return dataclasses.replace(
        config,
        model=beside(path.parent, config.model),
        labels=beside(path.parent, config.labels),
        network={key: beside(path.parent, value) for key, value in config.network.items()},
        weights=config.weights.beside(path.parent),
    )


def model_config(config: TrainingConfig) -> ModelConfig:
    """The model that a training is of: its file's, with what the training puts in place of that.

    Raises
    ------
    FileNotFoundError, ConfigurationError
        See `load_model_config` and `changed_config`.
    """
    model = changed_config(load_model_config(config.model), config.network, config.decode, config.model)
    return dataclasses.replace(
        model,
        labels=config.labels or model.labels,
        input_height=model.input_height if config.input_height is None else config.input_height,
        input_width=model.input_width if config.input_width is None else config.input_width,
    )
