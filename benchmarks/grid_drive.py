"""A synthetic drive with its truth from above, ready for grids that differ in their options: what benchmarks share."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from panoptic_ros.commands.grids import grid_options, make_grids, network_segments, recorded_segments
from panoptic_ros.evaluation.alignment import Alignment, align
from panoptic_ros.evaluation.bag import recorded_labels
from panoptic_ros.evaluation.grid_bag import GridEvaluation, evaluate_grids, with_truth_cells
from panoptic_ros.evaluation.recorded_cameras import find_cameras
from panoptic_ros.grid.options import GridOptions
from panoptic_ros.recorded_grid import FedGrid, GridTopics, Segment, find_grid_topics, grid_camera
from panoptic_ros.resources import weights_of

TRUTH, PREDICTIONS = "truth", "predictions"


@dataclass(frozen=True, slots=True, eq=False)
class Drive:
    """A drive with labels.

    Attributes
    ----------
    bag:
        Where it is.
    labels_from:
        Whose labels they are, for people.
    options:
        Of a grid with the truth's cells, and with the confusion matrix of the labels if there is one.
    alignment, topics, segment:
        See `evaluate_grids`.
    """

    bag: Path
    labels_from: str
    options: GridOptions
    alignment: Alignment
    topics: GridTopics
    segment: Segment

    def evaluate(self, grids: Mapping[str, tuple[str, GridOptions]]) -> GridEvaluation:
        """Build grids, of inputs joined by ``+`` and by options, from the same labels in one reading."""
        made = [self._grid(name, *grid) for name, grid in grids.items()]
        return evaluate_grids(self.bag, self.topics, made, self.segment, self.alignment, self.options)

    def _grid(self, name: str, inputs: str, options: GridOptions) -> FedGrid:
        return replace(make_grids([tuple(inputs.split("+"))], options, self.alignment.labels, None)[0], name=name)


def add_drive_options(parser: argparse.ArgumentParser) -> None:
    """``--bag`` and whose labels count in it."""
    parser.add_argument("--bag", type=Path, help="a drive of panoptic-train synthesize, with its truth from above")
    parser.add_argument(
        "--labels", choices=(TRUTH, PREDICTIONS), default=PREDICTIONS, help="of the drive, without --model"
    )
    parser.add_argument("--model", default="", help="what segments the drive's images")
    parser.add_argument("--weights", default="", help="of the model")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--confusion", default="", help="confusion.json that `panoptic-ros evaluate` wrote for the labels"
    )


def load_drive(given: argparse.Namespace) -> Drive:
    """The drive that `add_drive_options` asked for.

    Raises
    ------
    EvaluationError, SourceError, ConfigurationError, FileNotFoundError, ValueError
        If the drive, the network or the confusion matrix cannot be used; the message names it.
    """
    cameras = find_cameras(given.bag)
    true = recorded_labels(given.bag, [camera.truth for camera in cameras])
    if given.model:
        from panoptic_ros.pipeline import Pipeline  # here, because torch takes seconds to import

        pipeline = Pipeline.load(given.model, given.weights, given.device)
        labels, segment = pipeline.labels, network_segments(pipeline)
        topics = {camera.name: camera.images for camera in cameras}
        file = weights_of(given.model, given.weights)
        source = f"{given.model}, {Path(file).name if file else 'random weights'}"
    else:
        of_truth = given.labels == TRUTH
        topics = {camera.name: camera.truth if of_truth else camera.predictions for camera in cameras}
        labels = recorded_labels(given.bag, list(topics.values()))
        segment, source = recorded_segments(labels), f"{given.labels} in the bag"
    options = with_truth_cells(given.bag, grid_options("", given.confusion))
    sensors = find_grid_topics(given.bag, [grid_camera(given.bag, name, topic) for name, topic in topics.items()])
    return Drive(given.bag, source, options, align(labels, true), sensors, segment)
