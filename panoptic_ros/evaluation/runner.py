"""Evaluation of a whole data set: by a network in this process, or of stored predictions over all cores.

Workers take stretches of a data set and send back the small states of their metrics, which are merged in the data
set's order. With the sums that do not depend on order (`rows.exact_sum`) the result is the same to the last bit for
any number of workers.  Only so many stretches are under way that memory does not grow with the data set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from panoptic_ros.datasets.dataset import PanopticDataset, Sample
from panoptic_ros.evaluation.metrics import SEMANTIC, STANDARD, MetricName, Metrics
from panoptic_ros.evaluation.overlaps import EvaluationError
from panoptic_ros.evaluation.panoptic_quality import Rule
from panoptic_ros.segmentation import PanopticSegmentation
from panoptic_ros.workers import check_stop, cores, ordered

STRETCH = 16
"""How many images a worker takes at once: many enough that sending their metrics costs nothing beside reading them."""

Progress = Callable[[int], None]
"""Is told how many images have been evaluated so far."""


def evaluate_dataset(
    dataset: PanopticDataset,
    predict: Callable[[Sample], PanopticSegmentation],
    metrics: Sequence[MetricName] = STANDARD,
    rule: Rule = "coco",
    progress: Progress | None = None,
) -> Metrics:
    """Predict every image of a data set and measure the predictions, one after another in this process.

    Parameters
    ----------
    dataset:
        The truth.
    predict:
        Gives the segmentation of a sample's image, with the data set's class ids.
    metrics, rule:
        See `Metrics`.
    progress:
        Called after each image.

    Raises
    ------
    EvaluationError
        If a prediction does not fit its truth, or a metric means nothing on the data set.
    DatasetError
        If a sample cannot be read.
    """
    measured = _metrics(dataset, metrics, rule)
    for index in range(len(dataset)):
        sample = dataset[index]
        measured.update(sample.name, predict(sample), sample.truth)
        if progress is not None:
            progress(index + 1)
    return measured


def evaluate_predictions(
    dataset: PanopticDataset,
    read_prediction: Callable[[str], PanopticSegmentation],
    metrics: Sequence[MetricName] = STANDARD,
    rule: Rule = "coco",
    workers: int | None = None,
    progress: Progress | None = None,
) -> Metrics:
    """Measure stored predictions of a data set, over several processes; no image is read.

    Parameters
    ----------
    dataset:
        The truth; it is sent to the workers.
    read_prediction:
        Gives the prediction of a sample by its name, with the data set's class ids; it is sent to the workers and so
        has to be a function of a module, or an instance of a class of one.
    metrics, rule:
        See `Metrics`.
    workers:
        How many processes; as many as there are cores if None.  With one, everything runs in this process.
    progress:
        Called now and then.

    Raises
    ------
    EvaluationError
        If a prediction does not fit its truth, or a metric means nothing on the data set.
    DatasetError
        If a truth cannot be read.
    OSError
        If a worker has died.
    ValueError
        If there is to be no worker.
    """
    workers = cores() if workers is None else workers
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    measured = _metrics(dataset, metrics, rule)
    stretches = [range(start, min(start + STRETCH, len(dataset))) for start in range(0, len(dataset), STRETCH)]
    start = partial(_evaluator, dataset, read_prediction, measured.names, rule)
    for part in ordered(start, stretches, max(1, min(workers, len(stretches)))):
        measured.merge(part)
        if progress is not None:
            progress(measured.images)
    return measured


def _evaluator(
    dataset: PanopticDataset,
    read_prediction: Callable[[str], PanopticSegmentation],
    names: Sequence[MetricName],
    rule: Rule,
) -> Callable[[range], Metrics]:
    """What measures stretches of a data set in one process."""

    def evaluate(stretch: range) -> Metrics:
        metrics = _metrics(dataset, names, rule)
        for index in stretch:
            check_stop()
            name = dataset.name_of(index)
            metrics.update(name, read_prediction(name), dataset.truth(index))
        return metrics

    return evaluate


def _metrics(dataset: PanopticDataset, names: Sequence[MetricName], rule: Rule) -> Metrics:
    """Metrics for a data set.

    Raises
    ------
    EvaluationError
        If one of them means nothing there.
    """
    senseless = [name for name in names if name not in SEMANTIC]
    if senseless and not dataset.has_instances:
        raise EvaluationError(
            f"{dataset.path}: {dataset.name} has no instances, so {', '.join(senseless)} would mean nothing; "
            f"ask for {' or '.join(SEMANTIC)}"
        )
    return Metrics(dataset.labels, names, rule)
