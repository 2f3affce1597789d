"""The part of a training that Lightning steps through: the loss, the optimiser, validation."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.lr_scheduler import LambdaLR

from panoptic_ros.files import written_whole
from panoptic_ros.models import ModelConfig, describe
from panoptic_ros.models.frame_instances import FrameInstances, boxes_in_frame
from panoptic_ros.models.model import PanopticModel
from panoptic_training.data.order import STEP
from panoptic_training.data.samples import Batch
from panoptic_training.fit.configuration import TrainingConfig
from panoptic_training.fit.measures import Measures, semantic_segmentation
from panoptic_training.fit.optimisation import factor, make_optimizer

SEMANTIC_OUTPUT = "semantic_logits"
"""What a system calls the logits of its semantic head, if it has one: (B, P, h, w), of the whole input.  A head that
does not know all classes is not measured alone: the classes of the whole system's segments are."""

SEGMENTATIONS = "segmentations"
"""Under which name a validation step returns the `PanopticSegmentation` of each frame."""


VAL = "val/"
"""Before the names of what validation logs."""


class NotFiniteError(ValueError):
    """A loss that is not finite; the message names the file that tells of its batch."""


class PanopticTraining(pl.LightningModule):
    """Trains one system.

    Parameters
    ----------
    model:
        The system.
    loss:
        What it learns by, which runs the model: images and targets to scalars, of which ``loss`` is minimised.
    config:
        The training.
    model_config:
        What the system was built from; its thresholds are those of validation.
    folder:
        Where a batch that spoils the loss is noted.

    Raises
    ------
    ValueError
        If a part that is to be frozen is none of the model's.
    """

    def __init__(
        self, model: PanopticModel, loss: nn.Module, config: TrainingConfig, model_config: ModelConfig, folder: Path
    ) -> None:
        super().__init__()
        self.loss = loss
        self.config = config
        self._model_config = model_config
        self._folder = folder
        # The loss holds the model; a second name would double it in checkpoints.
        self._model = (model,)
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._measures: Measures | None = None
        self._measured: dict[str, float] = {}
        parts = dict(model.named_modules())
        for name in config.frozen:
            if name not in parts:
                children = ", ".join(child for child, _ in model.named_children())
                raise ValueError(f"frozen: {name!r} is no part of the model; it has {children}")
            parts[name].requires_grad_(False)

    @property
    def model(self) -> PanopticModel:
        """The system."""
        return self._model[0]

    def measured(self) -> dict[str, float]:
        """What the last validation has measured, before an interruption too, by names without ``val/``."""
        now = {name: float(value) for name, value in self.trainer.callback_metrics.items() if name.startswith(VAL)}
        return {name.removeprefix(VAL): value for name, value in now.items()} or self._measured

    def train(self, mode: bool = True) -> PanopticTraining:
        """Set the mode of everything that is not frozen."""
        super().train(mode)
        for name in self.config.frozen:
            self.model.get_submodule(name).eval()
        if self.config.batch_norm == "frozen":
            for layer in self.modules():
                if isinstance(layer, _BatchNorm):
                    layer.eval()
        return self

    def on_fit_start(self) -> None:
        """Begin in training mode; a model is built in evaluation mode."""
        self.train()

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """The optimiser, and a schedule that goes on with each step."""
        optimizer = make_optimizer(self.config.optimizer, self)
        # Not Lightning's estimate, which makes the loader before the state of a resumed one is there to be given to it.
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        steps = self.config.epochs * math.ceil(data.batches_per_epoch() / self.config.accumulate)
        schedule = LambdaLR(optimizer, factor(self.config.schedule, steps, self.config.epochs))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Make the random numbers of a step a function of the step: a run that goes on has those it would have had."""
        key = (self.config.seed, STEP, self.current_epoch, batch_idx, self.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch.

        Raises
        ------
        NotFiniteError
            If it is not finite; the batch is then noted in a file.
        """
        terms = self.loss(batch.inputs(), batch.targets)
        self._check_finite(terms, batch)
        for name, value in terms.items():
            # Each process has its part of the batch: the mean of them is the batch's.
            self.log(f"train/{name}", value.detach(), prog_bar=True, batch_size=len(batch), sync_dist=True)
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        self.log("train/learning_rate", rate, batch_size=len(batch))
        loss: Tensor = terms["loss"]
        return loss

    def _check_finite(self, terms: dict[str, Tensor], batch: Batch) -> None:
        finite = bool(torch.isfinite(terms["loss"].detach()))
        # All processes end together, or the others would wait for this one.
        if self.trainer.strategy.reduce_boolean_decision(finite, all=True):
            return
        path = self._folder / f"not_finite_step_{self.global_step}_process_{self.global_rank}.json"
        values = {name: str(float(value.detach())) for name, value in terms.items()}  # JSON knows no nan
        content = {
            "step": self.global_step,
            "epoch": self.current_epoch,
            "samples": batch.targets.names,
            "terms": values,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as file:
            file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        said = ", ".join(f"{name} {value}" for name, value in values.items())
        raise NotFiniteError(f"the loss of step {self.global_step} is not finite ({said}); its samples are in {path}")

    def on_validation_epoch_start(self) -> None:
        """Begin to measure."""
        self._measures = Measures(self.model.labels)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Take the loss and the predictions of a batch into account, and return these for callbacks."""
        assert self._measures is not None
        images = batch.inputs()
        terms, outputs = self.loss.evaluate(images, batch.targets)  # type: ignore[operator]
        for name, value in terms.items():
            self.log(f"{VAL}{name}", value, batch_size=len(batch), sync_dist=True)
        letterboxes = [frame.letterbox for frame in batch.frames]
        segmentations = self.model.decode(outputs, letterboxes, self._model_config.decode)
        nothing: list[Tensor | None] = [None] * len(batch)
        logits: Iterable[Tensor | None] = nothing
        if self.model.semantic_classes in (None, tuple(range(len(self.model.labels)))):
            logits = outputs.get(SEMANTIC_OUTPUT, nothing)
        regions = self.model.proposals_of(outputs) or nothing
        alone: Sequence[FrameInstances | None] = [None] * len(batch)
        alone = self.model.instances_of(outputs, letterboxes, self._model_config.decode) or alone
        for name, frame, panoptic, plane, boxes, instances in zip(
            batch.targets.names, batch.frames, segmentations, logits, regions, alone, strict=True
        ):
            if not frame.counted:
                continue
            semantic = None
            if plane is not None:
                stride = images.shape[-1] // plane.shape[-1]
                semantic = semantic_segmentation(plane, stride, frame.letterbox, self.model.labels)
            proposals = None if boxes is None else boxes_in_frame(boxes.double(), frame.letterbox).numpy(force=True)
            self._measures.update(name, panoptic, semantic, frame.truth, frame.has_instances, proposals, instances)
        return {SEGMENTATIONS: segmentations}

    def on_validation_epoch_end(self) -> None:
        """Log what was measured."""
        assert self._measures is not None
        for name, value in self._measures.result().items():
            self.log(f"{VAL}{name}", value, prog_bar=name == "pq", sync_dist=True)  # alike in all processes
        self._measures = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the configuration, to compare it when a run goes on, and the model's and what has learned nothing, to
        export it.
        """
        checkpoint["training"] = self.config.plain()
        checkpoint["model"] = describe(self._model_config, self.model.labels)
        checkpoint["measured"] = self.measured()
        checkpoint["untrained"] = sorted(self.model.untrained)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Know again what was measured and what has learned nothing."""
        self._measured = checkpoint.get("measured", {})
        self.model.untrained = frozenset(checkpoint["untrained"])
