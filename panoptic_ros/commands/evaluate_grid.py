"""``panoptic-ros evaluate-bag --grid``: how good the grid is that is built from a bag, against the truth from above."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import typer

from panoptic_ros.commands.grids import (
    choose_inputs,
    grid_options,
    make_grids,
    network_segments,
    recorded_segments,
)
from panoptic_ros.commands.networks import load_network
from panoptic_ros.commands.terminal import OUT, say, user_errors
from panoptic_ros.evaluation.alignment import align
from panoptic_ros.evaluation.bag import recorded_labels
from panoptic_ros.evaluation.document import ModelDescription
from panoptic_ros.evaluation.grid_bag import TOLERANCE, evaluate_grids, with_truth_cells
from panoptic_ros.evaluation.grid_document import DOCUMENT, grid_document, print_grids, save_grid_document
from panoptic_ros.evaluation.grid_pictures import truth_beside_grid
from panoptic_ros.evaluation.overlaps import EvaluationError
from panoptic_ros.evaluation.recorded_cameras import RecordedCamera
from panoptic_ros.recorded_grid import find_grid_topics, grid_camera

LABELS = ("predictions", "truth")
CELLS = ("truth", "config")


@dataclass(frozen=True, slots=True)
class GridEvaluationWanted:
    """The options of the command that are about grids; `tolerance` in ns, the rest as it was given."""

    inputs: Sequence[str]
    labels_from: str
    config: str
    confusion: str
    cells: str
    extrinsics: Path | None
    label_set: str
    mapping: str
    tolerance: int


def evaluate_grid_of_bag(
    bag: Path,
    cameras: Sequence[RecordedCamera],
    wanted: GridEvaluationWanted,
    network: tuple[str, str, str, str, str, int, str] | None,
    folder: Path,
    progress: Callable[[int, int], None],
) -> None:
    """Build the grids, write ``grid.json`` and their pictures to a folder, and print the tables.

    Parameters
    ----------
    bag, cameras:
        The bag, with the topics of each camera.
    wanted:
        How.
    network:
        What `load_network` takes, where a network segments the bag's images.
    folder:
        Where to.
    progress:
        See `evaluate_grids`.

    Raises
    ------
    typer.BadParameter, typer.Exit
        If options are none, or do not go together.
    EvaluationError, SourceError, ConfigurationError, GridTopicsError, OSError
        If something cannot be read, or does not fit.
    """
    for name, value, known in (("labels", wanted.labels_from, LABELS), ("cells", wanted.cells, CELLS)):
        if value not in known:
            raise typer.BadParameter(f"--grid-{name}: {value}: expected {' or '.join(known)}")
    if network is not None and wanted.labels_from == "truth":
        raise typer.BadParameter("expected either --model or --grid-labels truth")
    labels_from = "model" if network else wanted.labels_from
    sources = _label_topics(bag, cameras, labels_from)
    topics = find_grid_topics(bag, [grid_camera(bag, name, topic) for name, topic in sources.items()])
    inputs = choose_inputs(wanted.inputs, topics)
    true_labels = recorded_labels(bag, [camera.truth for camera in cameras], wanted.label_set)
    described: ModelDescription | None = None
    if network is not None:
        with user_errors(ValueError):  # its own words for a model, weights or a device that cannot be had
            described, pipeline = load_network(*network)
        if pipeline.untrained:
            say(f"note: untrained, and their results mean nothing: {', '.join(pipeline.untrained)}")
        labels, segment = pipeline.labels, network_segments(pipeline)
    else:
        labels = recorded_labels(bag, [camera.labels for camera in topics.cameras], wanted.label_set)
        segment = recorded_segments(labels)
    alignment = align(labels, true_labels, wanted.mapping)
    with user_errors(ValueError):  # of a confusion matrix or extrinsics that cannot be used
        options = grid_options(wanted.config, wanted.confusion)
        if wanted.cells == "truth":
            options = with_truth_cells(bag, options)
        grids = make_grids(inputs, options, alignment.labels, wanted.extrinsics)
    tolerance = max(TOLERANCE, wanted.tolerance)
    evaluation = evaluate_grids(bag, topics, grids, segment, alignment, options, tolerance=tolerance, progress=progress)
    content = grid_document(
        evaluation, bag, labels_from, options, options.classes.confusion, described, command=sys.argv
    )
    for score in evaluation.scores:
        if score.last is not None:
            picture = truth_beside_grid(*score.last, alignment.labels)
            encoded = cv2.imencode(".png", picture)[1]
            (folder / f"grid_{score.name}.png").write_bytes(encoded.tobytes())
    save_grid_document(content, folder / DOCUMENT)
    print_grids(evaluation, bag, labels_from, OUT)


def _label_topics(bag: Path, cameras: Sequence[RecordedCamera], labels_from: str) -> dict[str, str]:
    """By camera, the topic that its labels are made from."""
    topics = {
        camera.name: {"truth": camera.truth, "model": camera.images, "predictions": camera.predictions}[labels_from]
        for camera in cameras
    }
    found = {name: topic for name, topic in topics.items() if topic}
    if not found:
        what = "images for --model" if labels_from == "model" else "predictions"
        raise EvaluationError(f"{bag}: no {what}; --model makes them, and --grid-labels truth takes the true ones")
    return found
