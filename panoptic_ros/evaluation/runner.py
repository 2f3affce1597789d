"""Evaluation of a whole data set: by a network in this process, or of stored predictions over all cores.

Workers take stretches of a data set and send back the small states of their metrics, which are merged in the data
set's order. With the sums that do not depend on order (`rows.exact_sum`) the result is the same to the last bit for
any number of workers.  Only so many stretches are under way that memory does not grow with the data set.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from panoptic_ros.datasets.dataset import PanopticDataset, Sample
from panoptic_ros.evaluation.metrics import SEMANTIC, STANDARD, MetricName, Metrics
from panoptic_ros.evaluation.overlaps import EvaluationError
from panoptic_ros.evaluation.panoptic_quality import Rule
from panoptic_ros.segmentation import PanopticSegmentation

STRETCH = 16
"""How many images a worker takes at once: many enough that sending their metrics costs nothing beside reading them."""

AHEAD = 3
"""How many stretches are under way for each worker: a slow one does not keep the others waiting."""

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
        If a prediction does not fit its truth, a metric means nothing on the data set, or a worker dies.
    DatasetError
        If a truth cannot be read.
    ValueError
        If there is to be no worker.
    """
    workers = _cores() if workers is None else workers
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    measured = _metrics(dataset, metrics, rule)
    stretches = [range(start, min(start + STRETCH, len(dataset))) for start in range(0, len(dataset), STRETCH)]
    if workers == 1 or len(stretches) < 2:
        for stretch in stretches:
            _take(measured, dataset, read_prediction, stretch)
            if progress is not None:
                progress(measured.images)
        return measured
    # Spawned: a forked process would share locks and a GPU with this one.
    with ProcessPoolExecutor(
        min(workers, len(stretches)),
        mp_context=get_context("spawn"),
        initializer=_begin,
        initargs=(dataset, read_prediction, measured.names, rule),
    ) as pool:
        under_way: deque[Future[Metrics]] = deque()
        waiting = iter(stretches)
        try:
            for stretch in waiting:
                under_way.append(pool.submit(_evaluate, stretch))
                if len(under_way) >= AHEAD * workers:
                    _merge(measured, under_way.popleft(), progress)
            while under_way:
                _merge(measured, under_way.popleft(), progress)
        except BrokenProcessPool as error:
            raise EvaluationError(f"{dataset.path}: a worker died, perhaps for want of memory; try fewer") from error
        finally:
            pool.shutdown(cancel_futures=True)
    return measured


def _merge(measured: Metrics, future: Future[Metrics], progress: Progress | None) -> None:
    measured.merge(future.result())
    if progress is not None:
        progress(measured.images)


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


def _take(
    metrics: Metrics,
    dataset: PanopticDataset,
    read_prediction: Callable[[str], PanopticSegmentation],
    stretch: range,
) -> None:
    for index in stretch:
        name = dataset.name_of(index)
        metrics.update(name, read_prediction(name), dataset.truth(index))


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# --- in a worker

_work: tuple[PanopticDataset, Callable[[str], PanopticSegmentation], Sequence[MetricName], Rule] | None = None
"""What a worker works on: sent once, and not with every stretch."""


def _begin(
    dataset: PanopticDataset,
    read_prediction: Callable[[str], PanopticSegmentation],
    names: Sequence[MetricName],
    rule: Rule,
) -> None:
    global _work
    _work = (dataset, read_prediction, names, rule)


def _evaluate(stretch: range) -> Metrics:
    assert _work is not None, "a worker begins before it evaluates"
    dataset, read_prediction, names, rule = _work
    metrics = _metrics(dataset, names, rule)
    _take(metrics, dataset, read_prediction, stretch)
    return metrics
