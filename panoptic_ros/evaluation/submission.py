"""Predictions of a whole data set in the form that its official evaluation takes."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from panoptic_ros.datasets.cityscapes import Cityscapes, CityscapesPanoptic
from panoptic_ros.datasets.coco import CocoPanoptic
from panoptic_ros.datasets.dataset import PanopticDataset
from panoptic_ros.datasets.faults import DatasetError
from panoptic_ros.datasets.writers import PanopticResults, write_cityscapes_instances, write_cityscapes_labels
from panoptic_ros.segmentation import PanopticSegmentation

LABELS_FOLDER = "cityscapes_labels"
INSTANCES_FOLDER = "cityscapes_instances"


class Submission:
    """Writes predictions one after another; in a ``with`` block, which completes it.

    For Cityscapes there are all three tasks: panoptic, labels of pixels, and instances.

    Parameters
    ----------
    dataset:
        What is predicted.
    folder:
        Where to write.
    model:
        The name of what predicts, which COCO wants in the name of the file.

    Raises
    ------
    DatasetError
        If there is no official form for this kind of data set.
    FileExistsError
        If there is one in the folder.
    """

    def __init__(self, dataset: PanopticDataset, folder: Path, model: str) -> None:
        self._folder = folder
        self._is_cityscapes = isinstance(dataset, Cityscapes | CityscapesPanoptic)
        names = [dataset.name_of(index) for index in range(len(dataset))]
        self._image_ids: dict[str, int | str] = dict(zip(names, names, strict=True))
        if isinstance(dataset, Cityscapes):
            name = f"cityscapes_panoptic_{dataset.split}"
        elif isinstance(dataset, CityscapesPanoptic):
            name = dataset.path.stem
        elif isinstance(dataset, CocoPanoptic):
            self._image_ids = dict(zip(names, dataset.image_ids, strict=True))
            name = f"{dataset.path.stem}_{Path(model).stem}_results"
        else:
            raise DatasetError(
                dataset.path, f"is of kind {dataset.name}, which has no form of submission that we write"
            )
        self._panoptic = PanopticResults(folder, name)
        self._stack = ExitStack()

    def add(self, name: str, segmentation: PanopticSegmentation) -> None:
        """Write the prediction of an image, with the data set's class ids.

        Raises
        ------
        OSError
            If a file cannot be written.
        """
        self._panoptic.add(self._image_ids[name], segmentation)
        if self._is_cityscapes:
            write_cityscapes_labels(self._folder / LABELS_FOLDER, name, segmentation)
            write_cityscapes_instances(self._folder / INSTANCES_FOLDER, name, segmentation)

    def __enter__(self) -> Submission:
        self._stack.enter_context(self._panoptic)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
