"""``panoptic-ros evaluate``: how good a network or stored predictions are on a data set."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from panoptic_ros.commands.data import AnnotationsOption, ImageFolderOption, KindOption, LabelsOption
from panoptic_ros.commands.networks import load_network
from panoptic_ros.commands.terminal import (
    ENGINE_HELP,
    ERR,
    INTERRUPTED,
    OUT,
    PRECISION_HELP,
    SIZE_HELP,
    say,
    user_errors,
)
from panoptic_ros.configuration import ConfigurationError
from panoptic_ros.datasets import DatasetError, PanopticDataset, Sample, open_dataset
from panoptic_ros.evaluation.alignment import AlignedDataset, Alignment, align
from panoptic_ros.evaluation.document import (
    EvaluationDocument,
    ModelDescription,
    Source,
    StageSeconds,
    environment,
)
from panoptic_ros.evaluation.examples import Example, choose_examples, image_scores, spread_examples
from panoptic_ros.evaluation.metrics import METRIC_NAMES, STANDARD, MetricName, Metrics
from panoptic_ros.evaluation.outputs import REPORT, output_folder, write_outputs
from panoptic_ros.evaluation.overlaps import EvaluationError
from panoptic_ros.evaluation.panoptic_quality import Rule
from panoptic_ros.evaluation.runner import evaluate_dataset, evaluate_predictions
from panoptic_ros.evaluation.stored import StoredPredictions
from panoptic_ros.evaluation.submission import Submission
from panoptic_ros.evaluation.tables import print_tables
from panoptic_ros.label_mapping import LabelMapping
from panoptic_ros.segmentation import PanopticSegmentation

if TYPE_CHECKING:
    from panoptic_ros.pipeline import Pipeline

CHOICES: tuple[MetricName, ...] = tuple(name for name in METRIC_NAMES if name != "video")
"""Metrics of data sets: their readers number instances anew in each image, so that none can be followed in a video."""

RULES: tuple[Rule, ...] = get_args(Rule)
ALL = "all"
SUBMISSION = "submission"


def evaluate(
    data: Annotated[Path, typer.Option(metavar="PATH", help="The data set's folder, or a JSON in COCO's format.")],
    model: Annotated[str, typer.Option(help="A name in config/models, or a path.")] = "",
    weights: Annotated[str, typer.Option(help="A file of weights; random without.")] = "",
    predictions: Annotated[
        Path | None, typer.Option(metavar="JSON", help="In place of a model: predictions in COCO's panoptic format.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the results go.")] = Path("evaluation"),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    engine: Annotated[str, typer.Option(help=ENGINE_HELP)] = "",
    precision: Annotated[str, typer.Option(help=PRECISION_HELP)] = "",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads of the network; 0 is the engine's choice.")] = 0,
    size: Annotated[str, typer.Option(metavar="WxH", help=SIZE_HELP)] = "",
    kind: KindOption = "auto",
    split: Annotated[str, typer.Option(help="Which, if there are several.")] = "",
    image_folder: ImageFolderOption = "",
    annotations: AnnotationsOption = "",
    labels: LabelsOption = "",
    mapping: Annotated[
        str, typer.Option(help="In config/label_mappings, or a path; found by itself where classes differ.")
    ] = "",
    rule: Annotated[str, typer.Option(help=f"Whose panoptic quality: {', '.join(RULES)}.")] = "coco",
    metrics: Annotated[
        str, typer.Option(metavar="NAME,...", help=f"{ALL}, or some of {', '.join(CHOICES)}; the usual ones without.")
    ] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first images.")] = None,
    workers: Annotated[
        int, typer.Option(min=0, help="Processes for stored predictions; 0: as many as there are cores.")
    ] = 0,
    examples: Annotated[int, typer.Option(min=0, max=50, help="Worst and best images in the report, of each.")] = 4,
    submission: Annotated[bool, typer.Option(help="Write the predictions in the official form too.")] = False,
) -> None:
    """Measure a network, or stored predictions, on a data set.

    Writes evaluation.json, report.html and confusion.json to DIR when everything is done.
    """
    chosen = _choose_metrics(metrics)
    by = next((one for one in RULES if one == rule), None)
    if by is None:
        raise typer.BadParameter(f"--rule: {rule}: expected one of {', '.join(RULES)}")
    if bool(model) == (predictions is not None):
        raise typer.BadParameter("expected either --model or --predictions")
    if predictions is not None and (weights or submission):
        raise typer.BadParameter("--weights and --submission are for a --model")
    with user_errors(DatasetError, ConfigurationError, EvaluationError), ExitStack() as stack:
        dataset = open_dataset(data, kind, split, image_folder, annotations, labels)
        if not len(dataset):
            raise DatasetError(dataset.path, "has no samples")
        try:
            folder = stack.enter_context(output_folder(out))
            if predictions is not None:
                run = _evaluate_stored(dataset, predictions, mapping, chosen, by, limit, workers)
            else:
                with user_errors(ValueError):  # its own words for a model, weights or a device that cannot be had
                    described, pipeline = load_network(model, weights, device, engine, precision, threads, size)
                to = folder / SUBMISSION if submission else None
                run = _evaluate_network(dataset, pipeline, described, mapping, chosen, by, limit, to)
            document = run.document(dataset, str(predictions or ""))
            write_outputs(document, run.examples(examples), folder)
            stack.close()
        except KeyboardInterrupt:
            say("interrupted: nothing is written")
            raise typer.Exit(INTERRUPTED) from None
    print_tables(document, OUT)
    OUT.print(f"report: {out / REPORT}", markup=False, soft_wrap=True)


@dataclass(slots=True)
class _Run:
    """What an evaluation gave, and how to have a prediction again.

    Attributes
    ----------
    samples:
        What was evaluated.
    predict:
        The prediction of the sample of an index, and its picture if it is there.
    scores:
        (N,) what the images shown are chosen by; None where nothing is known of single images.
    """

    samples: AlignedDataset
    alignment: Alignment
    metrics: Metrics
    predict: Callable[[int], tuple[PanopticSegmentation, NDArray[np.uint8] | None]]
    scores: NDArray[np.float64] | None
    model: ModelDescription | None = None
    seconds: dict[str, StageSeconds] | None = None

    def document(self, dataset: PanopticDataset, predictions: str) -> EvaluationDocument:
        samples = self.samples
        source = Source(
            "dataset",
            str(dataset.path),
            dataset.name,
            samples.labels,
            len(samples),
            samples.has_instances,
            self.alignment.name,
            predictions,
        )
        notes = list(self.alignment.notes())
        if len(samples) < len(dataset):
            notes.append(f"Only the first {len(samples)} of {len(dataset)} images.")
        return EvaluationDocument.of(
            self.metrics,
            source,
            [samples.name_of(index) for index in range(len(samples))],
            self.model,
            seconds=self.seconds,
            notes=tuple(notes),
            command=("panoptic-ros", *sys.argv[1:]),
            environment=environment(self.model.device if self.model else "cpu"),
        )

    def examples(self, count: int) -> Iterator[Example]:
        """The images to show, predicted or read once more: to keep them all until now would take the memory."""
        chosen = spread_examples(len(self.samples), count)
        if self.scores is not None:
            chosen = choose_examples(self.scores, count)
        for index, place in chosen:
            prediction, picture = self.predict(index)
            score = None if self.scores is None else float(self.scores[index])
            yield Example(self.samples.name_of(index), place, score, picture, prediction, self.samples.truth(index))


def _evaluate_stored(
    dataset: PanopticDataset,
    path: Path,
    mapping: str,
    chosen: Sequence[MetricName] | None,
    rule: Rule,
    limit: int | None,
    workers: int,
) -> _Run:
    predicted = dataset.labels
    if mapping:
        # What the categories of stored predictions mean cannot be seen; the mapping says it: they are its other side.
        loaded = LabelMapping.load(mapping)
        predicted = loaded.target if loaded.source == dataset.labels else loaded.source
    alignment = align(predicted, dataset.labels, mapping)
    samples = AlignedDataset(dataset, alignment, limit)
    stored = StoredPredictions(path, predicted, alignment.predictions)
    names = [samples.name_of(index) for index in range(len(samples))]
    stored.check(names, [dataset.name_of(index) for index in range(len(dataset))])
    wanted = _sensible(chosen, samples, confidence=False)
    try:
        with _progress(samples) as progress:
            measured = evaluate_predictions(samples, stored, wanted, rule, workers or None, progress)
    except EvaluationError as error:
        at_fault = next((name for name in names if str(error).startswith(f"{name}: ")), None)
        raise EvaluationError(f"{stored.file_of(at_fault)}: {error}" if at_fault else str(error)) from error

    _check_overlap(measured, path)

    def again(index: int) -> tuple[PanopticSegmentation, NDArray[np.uint8] | None]:
        picture = samples[index].image if samples.image_path(index).is_file() else None
        return stored(names[index]), picture

    scores = image_scores(measured.per_image()) if "panoptic_quality" in wanted else None
    return _Run(samples, alignment, measured, again, scores)


def _check_overlap(measured: Metrics, path: Path) -> None:
    """Refuse predictions of other classes than those that occur: their numbers must mean something else.

    Raises
    ------
    EvaluationError
        If no class is both true and predicted.
    """
    classes = result.per_class if (result := measured.result().semantic_iou) is not None else ()
    if classes and not any(one.truth_pixels and one.predicted_pixels for one in classes):
        predicted = ", ".join(one.name for one in classes if one.predicted_pixels) or "nothing"
        true = ", ".join(one.name for one in classes if one.truth_pixels) or "nothing"
        raise EvaluationError(
            f"{path}: no class is both true and predicted: predicted are {predicted}, true {true}; "
            f"category ids must be those of label set {measured.labels.name!r}"
        )


def _evaluate_network(
    dataset: PanopticDataset,
    pipeline: Pipeline,
    model: ModelDescription,
    mapping: str,
    chosen: Sequence[MetricName] | None,
    rule: Rule,
    limit: int | None,
    submission: Path | None,
) -> _Run:
    if pipeline.untrained:
        say(f"note: untrained, and their results mean nothing: {', '.join(pipeline.untrained)}")
    alignment = align(pipeline.labels, dataset.labels, mapping)
    samples = AlignedDataset(dataset, alignment, limit)
    wanted = _sensible(chosen, samples, confidence=True)
    with ExitStack() as stack:
        writer = None
        if submission is not None:
            if alignment.truth is not None:
                raise EvaluationError(f"--submission: predictions are not in the classes of {dataset.path}")
            submission.mkdir()
            writer = stack.enter_context(Submission(dataset, submission, model.name))
        network = _Network(pipeline, alignment, "calibration" in wanted, writer)
        progress = stack.enter_context(_progress(samples))
        measured = evaluate_dataset(samples, network, wanted, rule, progress)

    def again(index: int) -> tuple[PanopticSegmentation, NDArray[np.uint8] | None]:
        sample = samples[index]
        return network.predict(sample), sample.image

    accuracies = np.array(network.accuracies)
    scores = image_scores(measured.per_image()) if "panoptic_quality" in wanted else accuracies
    return _Run(samples, alignment, measured, again, scores, model, network.durations())


@dataclass(slots=True)
class _Network:
    """Predicts samples, and keeps what the metrics do not."""

    pipeline: Pipeline
    alignment: Alignment
    confidence: bool
    submission: Submission | None
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    accuracies: list[float] = field(default_factory=list)

    def __call__(self, sample: Sample) -> PanopticSegmentation:
        prediction = self.predict(sample)
        for stage, seconds in self.pipeline.timings.items():
            self.seconds[stage].append(seconds)
        if self.submission is not None:
            self.submission.add(sample.name, prediction)
        truth = sample.truth.segmentation.classes()
        right = np.count_nonzero((truth == prediction.classes()) & (truth > 0))
        self.accuracies.append(right / count if (count := np.count_nonzero(truth)) else np.nan)
        return prediction

    def predict(self, sample: Sample) -> PanopticSegmentation:
        return self.alignment.prediction(self.pipeline([sample.image], confidence=self.confidence)[0])

    def durations(self) -> dict[str, StageSeconds] | None:
        """The first image is left out: it pays for what is made once."""
        stages = {stage: StageSeconds.of(seconds[1:]) for stage, seconds in self.seconds.items() if len(seconds) > 1}
        return stages or None


def _choose_metrics(text: str) -> tuple[MetricName, ...] | None:
    """What was asked for, or None."""
    if text == ALL:
        return CHOICES
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in CHOICES]:
        raise typer.BadParameter(f"--metrics: {', '.join(unknown)}: expected {ALL} or some of {', '.join(CHOICES)}")
    return tuple(name for name in CHOICES if name in names) or None


def _sensible(chosen: Sequence[MetricName] | None, samples: PanopticDataset, confidence: bool) -> list[MetricName]:
    """The metrics to take: those asked for, or the usual ones that the data set and the predictions allow.

    All means all of these.
    """
    if chosen is not None and tuple(chosen) != CHOICES:
        return list(chosen)
    names: list[MetricName] = list(chosen or (*STANDARD, "calibration"))
    if not samples.has_instances:
        names = [name for name in names if name in ("semantic_iou", "calibration")]
    return [name for name in names if confidence or name != "calibration"]


@contextmanager
def _progress(samples: PanopticDataset) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=ERR, disable=not ERR.is_terminal) as progress:
        task = progress.add_task(samples.name, total=len(samples))
        yield lambda done: progress.update(task, completed=done)
