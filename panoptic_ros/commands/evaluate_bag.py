"""``panoptic-ros evaluate-bag``: how good what a bag holds is, or a network on its images, against the truth in it."""

from __future__ import annotations

import sys
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from panoptic_ros.commands.evaluate import RULES
from panoptic_ros.commands.evaluate_grid import GridEvaluationWanted, evaluate_grid_of_bag
from panoptic_ros.commands.grids import GRID_CONFIG
from panoptic_ros.commands.networks import load_network
from panoptic_ros.commands.terminal import (
    ENGINE_HELP,
    INTERRUPTED,
    OUT,
    PRECISION_HELP,
    SIZE_HELP,
    progress_bar,
    say,
    user_errors,
)
from panoptic_ros.configuration import ConfigurationError
from panoptic_ros.evaluation.bag import (
    CONFIDENT,
    BagEvaluation,
    Comparison,
    EvaluatedFrame,
    evaluate_images,
    evaluate_recorded,
)
from panoptic_ros.evaluation.document import EvaluationDocument, ModelDescription, StageSeconds, environment
from panoptic_ros.evaluation.examples import Example, choose_examples, image_scores, spread_examples
from panoptic_ros.evaluation.grid_document import DOCUMENT as GRID_DOCUMENT
from panoptic_ros.evaluation.metrics import METRIC_NAMES, STANDARD, MetricName
from panoptic_ros.evaluation.outputs import REPORT, output_folder, write_outputs
from panoptic_ros.evaluation.overlaps import EvaluationError
from panoptic_ros.evaluation.recorded_cameras import RecordedCamera, find_cameras
from panoptic_ros.evaluation.run_document import document_run, print_run
from panoptic_ros.evaluation.tables import print_tables
from panoptic_ros.frames import SourceError
from panoptic_ros.messages import NANOSECONDS
from panoptic_ros.recorded_grid.topics import GridTopicsError
from panoptic_ros.segmentation import PanopticSegmentation

if TYPE_CHECKING:
    from panoptic_ros.pipeline import Pipeline


def evaluate_bag(
    bag: Annotated[Path, typer.Argument(metavar="BAG", help="A rosbag2 folder, .mcap or .db3, or a ROS 1 .bag.")],
    model: Annotated[
        str, typer.Option(help="Segment the bag's images: a name in config/models, or a path. Else its predictions.")
    ] = "",
    weights: Annotated[str, typer.Option(help="A file of weights; random without.")] = "",
    truth: Annotated[
        list[str] | None, typer.Option(metavar="TOPIC", help="May be repeated; /truth/[<camera>/]panoptic without.")
    ] = None,
    predictions: Annotated[
        list[str] | None, typer.Option(metavar="TOPIC", help="One for each truth; found by the camera's name without.")
    ] = None,
    images: Annotated[
        list[str] | None, typer.Option(metavar="TOPIC", help="One for each truth; found by the camera's name without.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0.0, help="Seconds that the stamps of prediction and truth may differ.")
    ] = 0.0,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the results go.")] = Path("evaluation"),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    engine: Annotated[str, typer.Option(help=ENGINE_HELP)] = "",
    precision: Annotated[str, typer.Option(help=PRECISION_HELP)] = "",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads of the network; 0 is the engine's choice.")] = 0,
    size: Annotated[str, typer.Option(metavar="WxH", help=SIZE_HELP)] = "",
    labels: Annotated[
        str, typer.Option(help="Label set, or its file, of topics without a label_info, or with one of your own.")
    ] = "",
    mapping: Annotated[
        str, typer.Option(help="In config/label_mappings, or a path; found by itself where classes differ.")
    ] = "",
    rule: Annotated[str, typer.Option(help=f"Whose panoptic quality: {', '.join(RULES)}.")] = "coco",
    metrics: Annotated[
        str, typer.Option(metavar="NAME,...", help=f"Some of {', '.join(METRIC_NAMES)}; the usual ones without.")
    ] = "",
    examples: Annotated[int, typer.Option(min=0, max=50, help="Worst and best frames in the report, of each.")] = 4,
    grid: Annotated[
        bool, typer.Option("--grid", help="Measure the grid that is built from the bag, against its truth from above.")
    ] = False,
    grid_input: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="lidar, depth or camera; repeat to compare, join by + for one grid. All."),
    ] = None,
    grid_labels: Annotated[
        str, typer.Option(help="What labels the grid: predictions (or the model), or truth.")
    ] = "predictions",
    grid_config: Annotated[str, typer.Option(help="A name in config/grid, or a path.")] = GRID_CONFIG,
    grid_confusion: Annotated[
        str, typer.Option(metavar="FILE", help="confusion.json of the labels, in place of the configuration's.")
    ] = "",
    grid_cells: Annotated[
        str, typer.Option(help="Cells of the size of the truth's, or of the configuration's: truth or config.")
    ] = "truth",
    grid_extrinsics: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the sensors are, of a bag without /tf_static.")
    ] = None,
) -> None:
    """Measure the predictions in a bag, or a network on its images, against the truth in it.

    Frames belong together by camera and stamp.  Writes evaluation.json, report.html and confusion.json to DIR when
    everything is done; with --grid, grid.json and a picture of each grid instead.
    """
    by = next((one for one in RULES if one == rule), None)
    if by is None:
        raise typer.BadParameter(f"--rule: {rule}: expected one of {', '.join(RULES)}")
    comparison = Comparison(_choose_metrics(metrics), by, round(tolerance * NANOSECONDS), labels, mapping)
    if weights and not model:
        raise typer.BadParameter("--weights are for a --model")
    if model and predictions:
        raise typer.BadParameter("expected either --model or --predictions")
    with user_errors(SourceError, ConfigurationError, EvaluationError, GridTopicsError), ExitStack() as stack:
        try:
            cameras = find_cameras(bag, truth or (), predictions or (), images or ())
            if grid:
                folder = stack.enter_context(output_folder(out, GRID_DOCUMENT))
                wanted = GridEvaluationWanted(
                    tuple(grid_input or ()),
                    grid_labels,
                    grid_config,
                    grid_confusion,
                    grid_cells,
                    grid_extrinsics,
                    labels,
                    mapping,
                    comparison.tolerance,
                )
                network = (model, weights, device, engine, precision, threads, size) if model else None
                with progress_bar(bag) as progress:
                    evaluate_grid_of_bag(bag, cameras, wanted, network, folder, progress)
                stack.close()
                OUT.print(f"grid: {out / GRID_DOCUMENT}", markup=False, soft_wrap=True)
                return
            folder = stack.enter_context(output_folder(out))
            described, seconds = None, None
            if model:
                with user_errors(ValueError):  # its own words for a model, weights or a device that cannot be had
                    described, pipeline = load_network(model, weights, device, engine, precision, threads, size)
                evaluation, seconds = _segment(bag, cameras, pipeline, comparison)
            else:
                with progress_bar(bag) as progress:
                    evaluation = evaluate_recorded(bag, cameras, comparison, progress)
            document = _document(bag, evaluation, described, seconds)
            write_outputs(document, _examples(document, evaluation, examples), folder)
            stack.close()
        except KeyboardInterrupt:
            say("interrupted: nothing is written")
            raise typer.Exit(INTERRUPTED) from None
    print_tables(document, OUT)
    print_run(document.recording or {}, OUT)
    OUT.print(f"report: {out / REPORT}", markup=False, soft_wrap=True)


def _segment(
    bag: Path, cameras: tuple[RecordedCamera, ...], pipeline: Pipeline, comparison: Comparison
) -> tuple[BagEvaluation, dict[str, StageSeconds] | None]:
    """Evaluate a network on the bag's images; also how long its stages took, the first image left out."""
    if pipeline.untrained:
        say(f"note: untrained, and their results mean nothing: {', '.join(pipeline.untrained)}")
    durations: dict[str, list[float]] = defaultdict(list)
    confidence = bool(set(comparison.metrics) & set(CONFIDENT))

    def predict(image: NDArray[np.uint8]) -> PanopticSegmentation:
        segmentation = pipeline([image], confidence=confidence)[0]
        for stage, seconds in pipeline.timings.items():
            durations[stage].append(seconds)
        return segmentation

    with progress_bar(bag) as progress:
        evaluation = evaluate_images(bag, cameras, predict, pipeline.labels, comparison, progress)
    # The first pays for what is made once.
    stages = {stage: StageSeconds.of(seconds[1:]) for stage, seconds in durations.items() if len(seconds) > 1}
    return evaluation, stages or None


def _document(
    bag: Path,
    evaluation: BagEvaluation,
    model: ModelDescription | None,
    seconds: dict[str, StageSeconds] | None,
) -> EvaluationDocument:
    return document_run(
        evaluation.metrics,
        evaluation.run,
        "bag",
        str(bag),
        bag.name,
        evaluation.alignment.name,
        model=model,
        seconds=seconds,
        notes=evaluation.notes(),
        command=tuple(sys.argv),
        environment=environment(model.device if model else "cpu"),
    )


def _examples(document: EvaluationDocument, evaluation: BagEvaluation, count: int) -> list[Example]:
    """The frames to show, read once more: to keep them all until now would take the memory."""
    scores = None if document.qualities is None else image_scores(document.qualities)
    chosen = spread_examples(len(document.names), count) if scores is None else choose_examples(scores, count)
    found: dict[str, EvaluatedFrame] = {}
    if chosen:
        names = {document.names[index] for index, _ in chosen}
        found = {frame.name: frame for frame in evaluation.again(names)}
    examples = []
    for index, place in chosen:
        frame = found[document.names[index]]
        score = None if scores is None else float(scores[index])
        examples.append(Example(frame.name, place, score, frame.image, frame.prediction, frame.truth))
    return examples


def _choose_metrics(text: str) -> tuple[MetricName, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in METRIC_NAMES]:
        raise typer.BadParameter(f"--metrics: {', '.join(unknown)}: expected some of {', '.join(METRIC_NAMES)}")
    return tuple(name for name in METRIC_NAMES if name in names) or STANDARD
