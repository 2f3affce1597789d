"""Training and validation data as Lightning asks for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from panoptic_ros.configuration import ConfigurationError
from panoptic_ros.labels import LabelSet
from panoptic_training.augmentation import Augmentation, AugmentationOptions
from panoptic_training.data.loading import ResumableLoader, worker_options
from panoptic_training.data.order import EpochOrder
from panoptic_training.data.samples import TrainingSet, ValidationSample, ValidationSet
from panoptic_training.data.sources import Mixture, Source, SourceOptions
from panoptic_training.data.survey import Survey, holding, identity_of, repeat_factors, survey

SURVEY = "survey_{}.json"
WAIT = 1.0  # seconds between two looks for what another process makes
Watch = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Shows progress: given what is done and how many there are, it takes how many are done."""


@dataclass(frozen=True, slots=True)
class DataOptions:
    """What is trained on and how it is drawn.

    Attributes
    ----------
    train, validation:
        The data sets; each at least one.
    samples_per_epoch:
        How many samples an epoch draws; null for each as often as its weight says.
    balance:
        Samples with classes that a smaller share of the samples has are drawn more often (`repeat_factors`); null for
        not.
    balance_area:
        With `balance`, from how many pixels of a segment on, in the data set's own picture, a sample has its class: a
        bicycle on the horizon has few.
    minimum_instance_area:
        Instances with fewer visible pixels in the network's input are not asked for (`targets_of`).
    workers:
        Processes that load, of each training process; 0: the training's own.

    Raises
    ------
    ValueError
        If a value is out of its range.
    """

    train: tuple[SourceOptions, ...]
    validation: tuple[SourceOptions, ...]
    samples_per_epoch: int | None = None
    balance: float | None = None
    balance_area: int = 1
    minimum_instance_area: int = 1
    workers: int = 2

    def __post_init__(self) -> None:
        for name in ("train", "validation"):
            if not getattr(self, name):
                raise ValueError(f"{name} must name at least one data set")
        if self.samples_per_epoch is not None and self.samples_per_epoch < 1:
            raise ValueError(f"samples_per_epoch must be positive, got {self.samples_per_epoch}")
        if self.balance is not None and not 0.0 < self.balance <= 1.0:
            raise ValueError(f"balance must be a share in (0, 1], got {self.balance}")
        for name in ("balance_area", "minimum_instance_area"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1 pixel, got {getattr(self, name)}")
        if self.balance_area > 1 and self.balance is None:
            raise ValueError(f"balance_area is of balanced sampling, but balance is null, got {self.balance_area}")
        if self.workers < 0:
            raise ValueError(f"workers must not be negative, got {self.workers}")


@dataclass(frozen=True, slots=True)
class Loading:
    """How samples become batches.

    Attributes
    ----------
    labels:
        The network's classes.
    size:
        Height and width of the network's input.
    batch:
        Samples of a batch, of all processes together.
    seed:
        Of the order and of augmentation.
    augmentation:
        Of training samples.
    """

    labels: LabelSet
    size: tuple[int, int]
    batch: int
    seed: int = 0
    augmentation: AugmentationOptions = field(default_factory=AugmentationOptions)


class PanopticData(pl.LightningDataModule):
    """Data sets as batches.

    Parameters
    ----------
    options:
        Which data.
    loading:
        How it becomes batches.
    root:
        Where relative paths of data sets begin.
    folder:
        Where the survey of the data is kept.
    overfit:
        Train and validate on so many samples of the training data, without augmentation; 0 for all.
    check:
        Whether every sample is looked at before the first step; without, balanced sampling, class weights and
        pasting are not to be had.
    watch:
        Shows how far that is.

    Raises
    ------
    DatasetError, FileNotFoundError, ConfigurationError
        If a data set cannot be opened or is of other classes, or the options do not go together.
    """

    def __init__(
        self,
        options: DataOptions,
        loading: Loading,
        root: Path,
        folder: Path,
        watch: Watch,
        overfit: int = 0,
        check: bool = True,
    ) -> None:
        super().__init__()
        if options.balance is not None and (overfit or not check):
            raise ConfigurationError("balance needs a look at every sample: not with --overfit or --no-check")
        if loading.augmentation.paste is not None and not (overfit or check):
            raise ConfigurationError("augmentation: paste needs a look at every sample: not with --no-check")
        try:
            self._augmentation = None if overfit else Augmentation(loading.augmentation, loading.labels)
        except ValueError as error:
            raise ConfigurationError(f"augmentation: {error}") from error
        self._options = options
        self._loading = loading
        self._folder = folder
        self._watch = watch
        self._overfit = overfit
        self._check = check
        self.train = Mixture([Source.open(source, root, loading.labels) for source in options.train])
        self.validation = (
            self.train
            if overfit
            else Mixture([Source.open(source, root, loading.labels) for source in options.validation])
        )
        if overfit > len(self.train):
            raise ConfigurationError(f"--overfit {overfit}: there are only {len(self.train)} samples")

    def look(self, first: bool) -> None:
        """Look at every sample before the first step; results are kept, and not looked for twice.

        Parameters
        ----------
        first:
            Whether this is the first process of its machine; the others wait for it.

        Raises
        ------
        DatasetError
            See `survey`.
        """
        if not self._check or self._overfit:
            return
        for name, mixture in (("train", self.train), ("validation", self.validation)):
            path = self._folder / SURVEY.format(name)
            while Survey.load(path, identity_of(mixture, self._loading.labels)) is None:
                if not first:
                    time.sleep(WAIT)
                    continue
                with self._watch(f"checking {name}", len(mixture)) as progress:
                    found = survey(mixture, self._loading.labels, max(1, self._options.workers), progress)
                self._folder.mkdir(parents=True, exist_ok=True)
                found.save(path)

    def survey(self) -> Survey:
        """What the training samples hold.

        Raises
        ------
        ConfigurationError
            If nobody has looked at them.
        """
        path = self._folder / SURVEY.format("train")
        found = Survey.load(path, identity_of(self.train, self._loading.labels))
        if found is None:
            raise ConfigurationError(
                f"{path}: the samples were not looked at, which balance, class weights and paste need"
            )
        return found

    def order(self) -> EpochOrder:
        """The order of training samples in this process.

        Raises
        ------
        ConfigurationError
            If the processes cannot share a batch evenly, or an epoch is less than a batch.
        """
        processes, rank = self._processes()
        loading = self._loading
        repeats = self._repeats()
        count = self._options.samples_per_epoch or round(float(repeats.sum()))
        if self._overfit:
            # A step is a whole batch, also of fewer samples than that.
            count = max(self._overfit, loading.batch)
        try:
            return EpochOrder(repeats, count, loading.batch // processes, loading.seed, rank, processes)
        except ValueError as error:
            raise ConfigurationError(f"data: train: {error}") from error

    def batches_per_epoch(self) -> int:
        """How many batches an epoch has, in each process."""
        return self.order().batches

    def train_dataloader(self) -> ResumableLoader:
        """Batches of this process.

        Raises
        ------
        ConfigurationError
            See `order`; or if things are to be pasted and no sample has one that is large enough.
        """
        loading = self._loading
        order = self.order()
        samples = TrainingSet(
            self.train,
            loading.labels,
            self._augmentation,
            loading.size,
            loading.seed,
            self._options.minimum_instance_area,
            self._donors(),
        )
        return ResumableLoader(samples, order, order.batch, self._options.workers, self._on_gpu())

    def val_dataloader(self) -> DataLoader[ValidationSample]:
        """Each sample once, shared by the processes."""
        processes, rank = self._processes()
        loading = self._loading
        samples = ValidationSet(
            self.validation,
            loading.labels,
            loading.size,
            self._options.minimum_instance_area,
            self._overfit or len(self.validation),
            rank,
            processes,
        )
        batch = max(1, loading.batch // processes)
        return DataLoader(samples, batch_size=batch, **worker_options(self._options.workers, self._on_gpu()))

    def _donors(self) -> list[int]:
        """The samples from which things are pasted.

        Raises
        ------
        ConfigurationError
            If things are to be pasted and no sample has one that is large enough.
        """
        options = self._loading.augmentation.paste
        if options is None or self._overfit:
            return []
        found = holding(self.survey().classes, options.class_ids(self._loading.labels), options.least_area)
        donors = [number for number in found if self.train.has_instances(number)]
        if not donors:
            raise ConfigurationError(
                f"augmentation: paste: no sample that tells things apart has one of {', '.join(options.classes)} with "
                f"{options.least_area} pixels"
            )
        return donors

    def _repeats(self) -> NDArray[np.float64]:
        """(N,) how often each training sample is wanted."""
        if self._overfit:
            return np.ones(self._overfit)
        weights = np.concatenate([np.full(len(source.dataset), source.weight) for source in self.train.sources])
        options = self._options
        if options.balance is None:
            return weights
        return weights * repeat_factors(self.survey().classes, options.balance, options.balance_area)

    def _processes(self) -> tuple[int, int]:
        """How many processes train together, and which this is.

        Raises
        ------
        ConfigurationError
            If they cannot share a batch evenly.
        """
        trainer = self.trainer
        processes, rank = (trainer.world_size, trainer.global_rank) if trainer else (1, 0)
        if self._loading.batch % processes:
            raise ConfigurationError(
                f"batch_size {self._loading.batch} cannot be shared evenly by {processes} processes"
            )
        return processes, rank

    def _on_gpu(self) -> bool:
        trainer = self.trainer
        return trainer is not None and trainer.strategy.root_device.type == "cuda"
