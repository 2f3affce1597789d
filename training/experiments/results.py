"""What an experiment's trainings have found, over seeds: means, deviations, orderings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from panoptic_ros.evaluation.recall import SIZES
from panoptic_ros.files import written_whole
from panoptic_training.experiments.configuration import Experiment, Ordering
from panoptic_training.experiments.inference import INFERENCE_MEASURES, load_inference
from panoptic_training.experiments.trials import folder_of
from panoptic_training.fit.cost import STEP, WAITING
from panoptic_training.fit.result import RESULT, TrainingResult

RESULTS = "results.json"
SECONDS, PARAMETERS, STEPS, BEST = "seconds", "parameters", "steps", "best"
COSTS = frozenset({SECONDS, PARAMETERS, STEPS, *INFERENCE_MEASURES})
"""Measures that are not of what was learned."""

QUALITIES = (
    frozenset(
        {BEST, "semantic_iou", "instance_iou", "mask_ap", "mask_ap50", "box_ap", "detection_ap", "detection_ap50"}
    )
    | {f"{what}{group}" for what in ("pq", "sq", "rq") for group in ("", "_things", "_stuff")}
    | {"proposal_recall", *(f"proposal_recall_{size}" for size in SIZES)}
)
"""Measures of which more is more; what else validation logs are a system's losses."""

BySeed = Mapping[int, Mapping[str, float]]
"""Measures by their names, of each seed."""

Values = Mapping[str, BySeed]
"""Measures by their names, of each seed of each run."""


def collect(experiment: Experiment, out: Path) -> Values:
    """The results that there are, of all seeds, by runs in the experiment's order.

    Raises
    ------
    ConfigurationError
        If a result is damaged.
    """
    found: dict[str, dict[int, Mapping[str, float]]] = {}
    for run in experiment.runs:
        paths = folder_of(out, run.name, 0).parent.glob(f"seed_*/{RESULT}")
        by_seed = {int(path.parent.name.removeprefix("seed_")): TrainingResult.load(path) for path in paths}
        found[run.name] = {seed: _values(by_seed[seed]) for seed in sorted(by_seed)}
    seed, costs = load_inference(out)
    for name, of_seed in costs.items():
        if seed in found.get(name, {}):
            found[name][seed] = {**found[name][seed], **of_seed}
    return found


def _values(result: TrainingResult) -> dict[str, float]:
    values = dict(result.measures)
    values[SECONDS] = result.seconds.get(WAITING, 0.0) + result.seconds.get(STEP, 0.0)
    values[PARAMETERS], values[STEPS] = float(result.parameters), float(result.steps)
    values.update((BEST, value) for value in result.best.values())
    return values


def save(values: Values, path: Path) -> None:
    """Write results as JSON, whole.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    content = {run: {str(seed): dict(of_seed) for seed, of_seed in seeds.items()} for run, seeds in values.items()}
    with written_whole(path) as file:
        file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def lower_is_better(measure: str) -> bool:
    """Whether less of a measure is more."""
    return measure not in QUALITIES


@dataclass(frozen=True, slots=True)
class Spread:
    """A measure over seeds.

    Attributes
    ----------
    mean:
        Over the seeds.
    deviation:
        The sample standard deviation (n - 1); None of one seed.
    count:
        Of the seeds.
    """

    mean: float
    deviation: float | None
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        """Of some values; None of none."""
        array = np.fromiter(values, dtype=np.float64)
        if not array.size:
            return None
        return cls(float(array.mean()), float(array.std(ddof=1)) if array.size > 1 else None, array.size)


def spread(values: Values, run: str, measure: str) -> Spread | None:
    """A measure of a run over the seeds that have it; None if none has."""
    return Spread.of(of_seed[measure] for of_seed in values[run].values() if measure in of_seed)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs, seed by seed.

    Attributes
    ----------
    better, worse:
        The run (or measure) that is, or is said to be, the better one, and the other.
    holds:
        In how many seeds it is the better one.
    seeds:
        How many seeds both have.
    lead:
        By how much it is better, in the measure's unit; None without a common seed.
    """

    better: str
    worse: str
    holds: int
    seeds: int
    lead: Spread | None


def compare(values: Values, measure: str, runs: Sequence[str]) -> list[Comparison]:
    """Each run with the next of a row that has the best first."""
    sign = -1.0 if lower_is_better(measure) else 1.0
    return [
        _comparison((one, other), values[one], values[other], (measure, measure), sign) for one, other in pairwise(runs)
    ]


def compare_measures(values: Values, run: str, measures: Sequence[str]) -> list[Comparison]:
    """Each measure of a run with the next of a row that has the highest first."""
    return [_comparison(pair, values[run], values[run], pair, 1.0) for pair in pairwise(measures)]


def compare_with(values: Values, ordering: Ordering) -> list[Comparison]:
    """What was found, held against what somebody else has."""
    if ordering.run:
        return compare_measures(values, ordering.run, ordering.measures)
    return compare(values, ordering.measure, ordering.runs)


def _comparison(
    names: tuple[str, str], one: BySeed, other: BySeed, measures: tuple[str, str], sign: float
) -> Comparison:
    """The first of two with the second, in the seeds that have both."""
    first, second = measures
    common = [seed for seed in one if seed in other and first in one[seed] and second in other[seed]]
    leads = [sign * (one[seed][first] - other[seed][second]) for seed in common]
    return Comparison(*names, sum(lead > 0.0 for lead in leads), len(leads), Spread.of(leads))


def by_mean(values: Values, measure: str, runs: Sequence[str]) -> list[str]:
    """Those of some runs that have a measure, the best first."""
    means = {run: found.mean for run in runs if (found := spread(values, run, measure)) is not None}
    return sorted(means, key=means.__getitem__, reverse=not lower_is_better(measure))
