"""Labels into a cell's class: Bayes' rule with a confusion matrix against counting votes, over a drive.

``python benchmarks/grid_fusion.py`` makes labels up: cells of known classes are seen in frame after frame, and the
label of each point is drawn from a confusion matrix, the same for two points of a cell with probability r, since a
network errs on regions.  With ``--bag`` and a network the labels are real ones, of a synthetic drive with its truth.
Both fusions are `SemanticGrid` itself.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import numpy as np
from grid_drive import Drive, add_drive_options, load_drive
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from panoptic_ros.evaluation.grid_cells import CellMetrics, CellResult
from panoptic_ros.grid.classes import load_confusion
from panoptic_ros.grid.observations import Observation
from panoptic_ros.grid.options import ClassOptions, GridOptions
from panoptic_ros.grid.semantic_grid import SemanticGrid
from panoptic_ros.labels import LabelSet
from panoptic_ros.messages import NANOSECONDS

CELLS = 60
"""A side; each cell has a class."""

FRAMES, RATE = 8, 10.0
POINTS = 6.0
"""Of a cell in a frame, on average."""

CORRELATION = 0.6
WRONG = 0.4
"""The share of a confusion matrix that is made another one."""


def made_up_confusion(generator: np.random.Generator, count: int) -> NDArray[np.float64]:
    """(C, C) a network that is good at some classes, poor at others and takes each for a few that are like it.

    How often a class is right is from 0.2 to 0.95; the rest goes to its neighbours on a random line.
    """
    right = generator.uniform(0.2, 0.95, count)
    line = generator.uniform(0, 1, count)
    alike = np.exp(-np.abs(line[:, None] - line) / 0.08) * (1 - np.eye(count))
    matrix: NDArray[np.float64] = alike / alike.sum(axis=1, keepdims=True) * (1 - right)[:, None] + np.diag(right)
    return matrix


def draw_labels(
    generator: np.random.Generator, classes: NDArray[np.intp], confusion: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """What points of cells with these classes (M,) are labelled in one frame.

    Returns
    -------
    cells, labels:
        (P,) which cell each point is in, and its label.
    """
    counts = 1 + generator.poisson(POINTS - 1, len(classes))
    cells = np.repeat(np.arange(len(classes)), counts)
    sums = confusion.cumsum(axis=1)
    common = (generator.random(len(classes))[:, None] > sums[classes]).sum(axis=1)
    own = (generator.random(len(cells))[:, None] > sums[classes[cells]]).sum(axis=1)
    # Two points agree beyond chance where both follow the cell, with probability r.
    follows = generator.random(len(cells)) < np.sqrt(CORRELATION)
    return cells, np.minimum(np.where(follows, common[cells], own), confusion.shape[1] - 1)


def simulate(confusion: NDArray[np.float64], labels: LabelSet, seed: int = 0, frames: int = FRAMES) -> dict[str, Any]:
    """The quality of each fusion on labels that are made up; returns `CellResult`s by the fusion's name."""
    generator = np.random.default_rng(seed)
    options = GridOptions(
        resolution=1.0, size=CELLS + 4, minimum_range=0.0, maximum_range=200.0, classes=ClassOptions(time_constant=1e4)
    )
    ground = options.is_ground(labels)
    counted = np.flatnonzero(~options.is_ignored(labels))
    shares = generator.dirichlet(np.full(len(counted), 0.5))  # a few classes fill most of a street
    classes = generator.choice(counted, CELLS * CELLS, p=0.9 * shares + 0.1 / len(counted))
    wrong = (1 - WRONG) * confusion + WRONG * made_up_confusion(generator, len(confusion))
    independent = replace(options, classes=replace(options.classes, correlation=0.0))
    grids = {
        "votes": SemanticGrid(options, labels, None),
        "Bayes": SemanticGrid(options, labels, confusion),
        "Bayes, points independent": SemanticGrid(independent, labels, confusion),
        f"Bayes, {100 * WRONG:.0f} % wrong": SemanticGrid(options, labels, wrong),
    }
    rows, columns = np.divmod(np.arange(CELLS * CELLS), CELLS)
    places = np.stack([columns - CELLS / 2 + 0.5, rows - CELLS / 2 + 0.5], axis=1)
    for grid in grids.values():
        grid.move(0.0, 0.0)
    for frame in range(frames):
        cells, told = draw_labels(generator, classes, confusion)
        flat = ground[classes[cells]]
        told = np.where(ground[told] == flat, told, -1)  # the height gate: the ground takes no labels of obstacles
        points = np.zeros((len(cells), 3), dtype=np.float32)
        points[:, :2] = places[cells]
        observation = Observation(
            stamp=round(frame * NANOSECONDS / RATE),
            source="lidar",
            origin=np.zeros(3),
            points=points,
            heights=np.where(flat, 0.0, 1.0).astype(np.float32),
            classes=told.astype(np.int16),
            instances=np.zeros(len(cells), dtype=np.int32),
            cameras=np.zeros(len(cells), dtype=np.int8),
            obstacle=~flat,
            weights=np.ones(len(cells), dtype=np.float32),
        )
        for grid in grids.values():
            grid.update(observation)
    return {name: score(grid, labels, ground, classes, places) for name, grid in grids.items()}


def score(
    grid: SemanticGrid,
    labels: LabelSet,
    ground: NDArray[np.bool_],
    classes: NDArray[np.intp],
    places: NDArray[np.float64],
) -> CellResult:
    """Compare the cells at some places with their classes; the kind of each is taken from the truth."""
    snapshot = grid.snapshot()
    rows, columns = (
        np.floor((places[:, axis] - snapshot.origin[axis]) / snapshot.resolution).astype(int) for axis in (1, 0)
    )
    told, true = snapshot.classes[rows, columns], classes.astype(np.int16)
    metrics = CellMetrics(labels, ground)
    state = np.where(ground[classes], 0, 100).astype(np.int8)
    seen = metrics.update(state[None], true[None], state[None], told[None], (state / 100).astype(np.float32)[None])[1]
    metrics.update_posterior(snapshot.posterior(rows[seen], columns[seen]), true[seen])
    return metrics.result()


def print_results(title: str, results: dict[str, CellResult]) -> dict[str, dict[str, float | None]]:
    """Print a row for each fusion; returns the figures."""
    table = Table("fusion", "macro accuracy", "mIoU", "NLL", "Brier", "ECE", title=title)
    figures: dict[str, dict[str, float | None]] = {}
    for name, result in results.items():
        told = result.classes_of_kind
        figures[name] = {
            "macro_accuracy": result.macro_accuracy,
            "mean_iou": result.mean_iou,
            "nll": told.nll if told else None,
            "brier": told.brier if told else None,
            "ece": told.ece if told else None,
        }
        table.add_row(name, *("–" if value is None else f"{value:.3f}" for value in figures[name].values()))
    Console().print(table)
    return figures


def of_drive(drive: Drive, source: str) -> dict[str, CellResult]:
    """The quality of votes and of Bayes on one drive, from the same labels.

    Parameters
    ----------
    drive:
        With the confusion matrix of its labels.
    source:
        The input: ``lidar``, ``depth`` or ``camera``, or some joined by ``+``.
    """
    options = drive.options
    voting = replace(options, classes=replace(options.classes, confusion=""))
    evaluation = drive.evaluate({"votes": (source, voting), "Bayes": (source, options)})
    return {one.name: one.quality.cells for one in evaluation.scores}


def main(frames: int = FRAMES, confusion: str = "") -> dict[str, Any]:
    """Labels that are made up, drawn from a confusion matrix of a network or one that is made up too."""
    labels = LabelSet.load("cityscapes")
    matrix = (
        load_confusion(confusion, labels) if confusion else made_up_confusion(np.random.default_rng(1), len(labels))
    )
    title = f"{CELLS * CELLS} cells, {frames} frames, {POINTS:g} points each, r = {CORRELATION}"
    return print_results(title, simulate(matrix, labels, frames=frames))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--frames", type=int, default=FRAMES, help="of labels that are made up")
    parser.add_argument("--input", default="lidar", help="of the drive's grids (default: %(default)s)")
    add_drive_options(parser)
    given = parser.parse_args()
    if given.bag is None:
        main(given.frames, given.confusion)
    elif not given.confusion:
        parser.error("--bag needs the --confusion of what labels")
    else:
        drive = load_drive(given)
        print_results(f"{given.bag}: {given.input}, labels of {drive.labels_from}", of_drive(drive, given.input))
