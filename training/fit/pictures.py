"""Pictures of validation samples, truth beside prediction, in the logs of each epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import lightning.pytorch as pl
import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger
from numpy.typing import NDArray

from panoptic_ros.drawing import OverlayPainter
from panoptic_ros.files import written_whole
from panoptic_ros.segmentation import PanopticSegmentation
from panoptic_training.data.samples import Batch
from panoptic_training.data.sources import Mixture
from panoptic_training.fit.module import SEGMENTATIONS, PanopticTraining

WIDTH = 640
"""Width of one of the two pictures, in pixels, at most."""


class Pictures(pl.Callback):
    """Draws the first samples of each validation: as JPEGs in a folder, and for TensorBoard.

    Parameters
    ----------
    mixture:
        The validation data.
    count:
        How many samples.
    folder:
        Where the JPEGs go.
    """

    def __init__(self, mixture: Mixture, count: int, folder: Path) -> None:
        self._mixture = mixture
        self._count = count
        self._folder = folder
        self._drawn: list[tuple[int, NDArray[np.uint8]]] = []

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin anew."""
        self._drawn = []

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the samples of a batch that are wanted; the first process has some of them, and shows those."""
        if not trainer.is_global_zero or len(self._drawn) >= self._count:
            return
        assert isinstance(pl_module, PanopticTraining)
        painter = OverlayPainter(pl_module.model.labels)
        for frame, found in zip(batch.frames, outputs[SEGMENTATIONS], strict=True):
            if len(self._drawn) < self._count:
                image = self._mixture[frame.index].image
                self._drawn.append((frame.index, side_by_side(painter, image, frame.truth.segmentation, found)))

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write what was drawn."""
        for index, picture in self._drawn:
            path = self._folder / f"epoch_{trainer.current_epoch:04d}_sample_{index}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(path) as file:
                file.write_bytes(cv2.imencode(".jpg", picture)[1].tobytes())
            for logger in trainer.loggers:
                if isinstance(logger, TensorBoardLogger):
                    rgb = np.ascontiguousarray(picture[..., ::-1])
                    logger.experiment.add_image(f"sample {index}", rgb, trainer.global_step, dataformats="HWC")


def side_by_side(
    painter: OverlayPainter,
    image: NDArray[np.uint8],
    truth: PanopticSegmentation,
    prediction: PanopticSegmentation,
) -> NDArray[np.uint8]:
    """(h, w, 3) uint8, B, G, R: the truth over an image on the left, a prediction over it on the right."""
    pair = np.concatenate([painter(image, truth), painter(image, prediction)], axis=1)
    scale = min(1.0, 2 * WIDTH / pair.shape[1])
    size = max(1, round(pair.shape[1] * scale)), max(1, round(pair.shape[0] * scale))
    return cv2.resize(pair, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
