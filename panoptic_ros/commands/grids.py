"""What `replay` and `evaluate-bag` share where they build grids: their options, and the grids themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from panoptic_ros.evaluation.bag import confidence_of
from panoptic_ros.labels import LabelSet
from panoptic_ros.messages import image_to_bgr, segmentation_from_messages
from panoptic_ros.recorded_grid import INPUTS, FedGrid, GridCamera, GridTopics, Segment
from panoptic_ros.recorded_grid.topics import CAMERA
from panoptic_ros.segmentation import PanopticSegmentation

if TYPE_CHECKING:
    from panoptic_ros.grid.options import GridOptions
    from panoptic_ros.pipeline import Pipeline

GRID_CONFIG = "semantic_grid"


def choose_inputs(given: Sequence[str], topics: GridTopics) -> list[tuple[str, ...]]:
    """The inputs of each grid that is asked for: one for each option, ``+`` between inputs of one grid.

    Raises
    ------
    typer.BadParameter
        If there is no such input, or the bag does not have it.
    """
    chosen = []
    for text in given or topics.inputs():
        names = tuple(dict.fromkeys(part.strip() for part in text.split("+")))
        for name in names:
            if name not in INPUTS:
                raise typer.BadParameter(f"--grid-input: {text}: expected {', '.join(INPUTS)}, or some joined by +")
            if name not in topics.inputs():
                raise typer.BadParameter(f"--grid-input: {name}: the bag has {', '.join(topics.inputs())}")
        if names not in chosen:
            chosen.append(names)
    return chosen


def grid_options(config: str, confusion: str) -> GridOptions:
    """The options of the grids.

    Raises
    ------
    FileNotFoundError, ConfigurationError
        If the configuration cannot be read.
    """
    from panoptic_ros.grid.options import load_grid_options

    options = load_grid_options(config or GRID_CONFIG)
    return replace(options, classes=replace(options.classes, confusion=confusion)) if confusion else options


def make_grids(
    wanted: Sequence[tuple[str, ...]],
    options: GridOptions,
    labels: LabelSet,
    extrinsics: Path | None,
    as_node: bool = False,
) -> list[FedGrid]:
    """Grids by their inputs.

    Cameras tell where things are by their contact lines if ``camera`` is among the inputs; with `as_node` they do so
    while nothing else does, as in the node.

    Raises
    ------
    ConfigurationError, ValueError, OSError
        If the confusion matrix or the extrinsics cannot be used.
    """
    from panoptic_ros.grid.builder import GridBuilder
    from panoptic_ros.grid.classes import load_confusion
    from panoptic_ros.grid.extrinsics import load_extrinsics

    confusion = load_confusion(options.classes.confusion, labels) if options.classes.confusion else None
    made = []
    for inputs in wanted:
        builder = GridBuilder(options, labels, confusion, None if as_node else CAMERA in inputs)
        if extrinsics is not None:
            for one in load_extrinsics(extrinsics).transforms:
                builder.add_pose(one.parent, one.child, 0, one.pose(), True)
        made.append(FedGrid("+".join(inputs), frozenset(inputs), builder))
    return made


def recorded_segments(labels: LabelSet) -> Segment:
    """Reads the segmentations that a bag holds."""

    def segment(camera: GridCamera, parts: Mapping[str, Any]) -> PanopticSegmentation:
        seen = segmentation_from_messages(parts["labels"], parts.get("instances"), labels)
        if "confidence" not in parts:
            return seen
        return PanopticSegmentation(seen.ids, seen.segments, confidence_of(parts["confidence"], seen))

    return segment


def network_segments(pipeline: Pipeline) -> Segment:
    """Segments the camera's images."""
    return lambda camera, parts: pipeline([image_to_bgr(parts["labels"])], confidence=True)[0]
