"""Tables in Markdown and plots of an experiment's results."""

from __future__ import annotations

import math
from pathlib import Path

from matplotlib.figure import Figure

from panoptic_ros.files import written_whole
from panoptic_training.experiments.configuration import Experiment, TableOptions
from panoptic_training.experiments.inference import CPU_MILLISECONDS, FLOPS, MILLISECONDS, NETWORK_FLOPS
from panoptic_training.experiments.results import (
    BEST,
    COSTS,
    PARAMETERS,
    SECONDS,
    STEPS,
    Comparison,
    Spread,
    Values,
    by_mean,
    compare,
    compare_with,
    lower_is_better,
    spread,
)
from panoptic_training.fit.curves import save_figure

REPORT = "report.md"
MISSING = "–"
PANEL_WIDTH, ROW_HEIGHT, MARGIN = 3.6, 0.4, 1.0
"""Inches of a plot's panel, of a row in it, and above and below the rows."""
COLUMNS = 3


def write_report(experiment: Experiment, values: Values, out: Path) -> Path:
    """Write ``report.md`` and a plot for each table that has values.

    Returns
    -------
    The report's path.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    lines = [f"# {experiment.title}", ""]
    if experiment.description:
        lines += [experiment.description.strip(), ""]
    for table in experiment.tables:
        lines += [f"## {table.title}", "", *table_lines(table, values), ""]
        lines += [*ordering_lines(table, values)]
        if plotted(table, values):
            save_figure(plot(table, values), out / f"{table.name}.png")
            lines += [f"![{table.title}]({table.name}.png)", ""]
    path = out / REPORT
    with written_whole(path) as file:
        file.write_text("\n".join(lines), encoding="utf-8")
    return path


def table_lines(table: TableOptions, values: Values) -> list[str]:
    """A table in Markdown: mean ± standard deviation over seeds, and how many seeds each run has."""
    heads = [heading(measure) for measure in table.measures]
    lines = [f"| run | seeds | {' | '.join(heads)} |", "|---|--:|" + "--:|" * len(heads)]
    for run in table.runs:
        cells = [cell(measure, spread(values, run, measure)) for measure in table.measures]
        lines.append(f"| {run} | {len(values[run])} | {' | '.join(cells)} |")
    return lines


def ordering_lines(table: TableOptions, values: Values) -> list[str]:
    """How the runs follow each other, and whether they do so as somebody else has found; in how many of the seeds."""
    lines = []
    for measure in table.measures:
        order = by_mean(values, measure, table.runs)
        if len(order) > 1 and measure not in COSTS:
            steps = [f" > {one.worse} ({one.holds} of {one.seeds})" for one in compare(values, measure, order)]
            lines.append(f"- By {name_of(measure)}: {order[0]}{''.join(steps)}")
    if lines:
        lines = ["The order by the mean, and in how many seeds each step of it holds:", "", *lines, ""]
    for ordering in table.orderings:
        if ordering.run:
            claim = f"of {ordering.run}: {' > '.join(map(name_of, ordering.measures))}"
        else:
            claim = f"by {name_of(ordering.measure)}: {' > '.join(ordering.runs)}"
        lines += [f"{ordering.source}, {claim}. Here:", ""]
        lines += [f"- {said(ordering.measure, one)}" for one in compare_with(values, ordering)]
        lines.append("")
    return lines


def said(measure: str, one: Comparison) -> str:
    """Whether one run is better than another by a measure, in words; without one, whether a measure is higher."""
    better, worse = (one.better, one.worse) if measure else (name_of(one.better), name_of(one.worse))
    pair = f"{better} > {worse}"
    measure = measure or one.better
    if one.lead is None:
        return f"{pair}: not known yet"
    lead = f"by {cell(measure, one.lead)}"
    if one.holds == one.seeds:
        return f"{pair}: holds for every seed of {one.seeds}, {lead}"
    if one.holds == 0:
        return f"{pair}: does not hold, for none of {one.seeds} seeds, {lead}"
    return f"{pair}: holds for {one.holds} of {one.seeds} seeds, {lead}"


def name_of(measure: str) -> str:
    """A measure as a table's head names it, without its unit."""
    names = {
        "pq": "PQ",
        "pq_things": "PQ of things",
        "pq_stuff": "PQ of stuff",
        "sq": "SQ",
        "rq": "RQ",
        "semantic_iou": "semantic mIoU",
        "instance_iou": "instances' mIoU",
        "mask_ap": "mask AP",
        "mask_ap50": "mask AP50",
        "box_ap": "box AP",
        "detection_ap": "AP before merging",
        "detection_ap50": "AP50 before merging",
        "proposal_recall": "proposals' recall",
        "proposal_recall_small": "small objects' recall",
        "proposal_recall_medium": "medium objects' recall",
        "proposal_recall_large": "large objects' recall",
        BEST: "best",
        SECONDS: "training",
        PARAMETERS: "parameters",
        STEPS: "steps",
        MILLISECONDS: "a frame",
        CPU_MILLISECONDS: "a frame, of the processor",
        FLOPS: "a frame",
        NETWORK_FLOPS: "the network alone",
    }
    return names.get(measure, measure)


def unit_of(measure: str) -> tuple[float, str, int]:
    """What a measure is multiplied with to be shown, the unit that it then has, and its digits after the point."""
    if measure in (SECONDS, STEPS):
        return 1.0, "s" if measure == SECONDS else "", 0
    if measure == PARAMETERS:
        return 1e-6, "million", 2
    if measure in (MILLISECONDS, CPU_MILLISECONDS):
        return 1.0, "ms", 0
    if measure in (FLOPS, NETWORK_FLOPS):
        return 1e-9, "GFLOP", 1
    return (1.0, "", 3) if lower_is_better(measure) else (100.0, "%", 1)


def heading(measure: str) -> str:
    """A column's head."""
    unit = unit_of(measure)[1]
    return f"{name_of(measure)} ({unit})" if unit else name_of(measure)


def cell(measure: str, found: Spread | None) -> str:
    """A table's cell, in the unit of its head."""
    if found is None:
        return MISSING
    factor, _, digits = unit_of(measure)
    mean = f"{factor * found.mean:.{digits}f}"
    if found.deviation is None or measure in (PARAMETERS, STEPS):
        return mean
    return f"{mean} ± {factor * found.deviation:.{digits}f}"


def plotted(table: TableOptions, values: Values) -> list[str]:
    """Measures of a table that have values, but for those that no seed changes."""
    return [
        measure
        for measure in table.measures
        if measure not in (PARAMETERS, STEPS) and any(spread(values, run, measure) for run in table.runs)
    ]


def plot(table: TableOptions, values: Values) -> Figure:
    """A panel for each of `plotted`: a dot for each seed, a bar for the mean, a line for the deviation."""
    measures = plotted(table, values)
    columns = min(COLUMNS, len(measures))
    rows = math.ceil(len(measures) / columns)
    size = PANEL_WIDTH * columns + 1.5, rows * (ROW_HEIGHT * len(table.runs) + MARGIN) + 0.3
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for axis in axes[len(measures) :]:
        axis.set_visible(False)
    for axis, measure in zip(axes, measures, strict=False):
        factor = unit_of(measure)[0]
        for row, run in enumerate(table.runs):
            found = spread(values, run, measure)
            if found is None:
                continue
            axis.barh(row, factor * found.mean, height=0.6, color="#9ecae1", zorder=1)
            if found.deviation is not None:
                axis.errorbar(
                    factor * found.mean, row, xerr=factor * found.deviation, color="#08519c", capsize=4, zorder=2
                )
            dots = [factor * of_seed[measure] for of_seed in values[run].values() if measure in of_seed]
            axis.plot(dots, [row] * len(dots), "o", color="black", markersize=3, zorder=3)
        axis.set_xlabel(heading(measure))
        axis.grid(axis="x", alpha=0.4)
        axis.set_axisbelow(True)
    axes[0].set_yticks(range(len(table.runs)), labels=list(table.runs))
    axes[0].invert_yaxis()
    figure.suptitle(table.title)
    return figure
