"""An experiment's trainings: each run with each seed, with the configuration that it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from panoptic_ros.configuration import ConfigurationError, beside
from panoptic_ros.resources import WEIGHTS_SUFFIX
from panoptic_training.experiments.configuration import Experiment, RunOptions
from panoptic_training.fit.checkpoints import LAST
from panoptic_training.fit.configuration import TrainingConfig, load_training_config, model_config, training_config


@dataclass(frozen=True, slots=True)
class Trial:
    """One run with one seed.

    Attributes
    ----------
    run, seed:
        Which.
    folder:
        Where it goes.
    config:
        The training; or what is validated, where outputs of other networks are merged into its weights'.
    after:
        Names of the runs whose trials of this seed it needs.
    """

    run: str
    seed: int
    folder: Path
    config: TrainingConfig
    after: tuple[str, ...]


def trials(
    experiment: Experiment, path: Path, out: Path, runs: tuple[RunOptions, ...], seeds: tuple[int, ...]
) -> list[Trial]:
    """The trainings of an experiment, those that others start from first.

    Parameters
    ----------
    path:
        The experiment's file, beside which files that it names are looked for.
    out:
        The folder of its results.
    runs, seeds:
        Those that are wanted.

    Raises
    ------
    FileNotFoundError, ConfigurationError
        If a run is no training; the message names it.
    """
    bases: dict[str, dict[str, Any]] = {}
    found = []
    for run in runs:
        trained = run if run.merge is None else experiment.run(run.merge.run)
        base = trained.base or experiment.base
        if base not in bases:
            bases[base] = load_training_config(beside(path.parent, base)).plain()
        content = merged(merged(bases[base], experiment.changes), trained.changes)
        if trained.steps:
            steps = sum(experiment.budgets[name] for name in trained.steps)
            content = merged(content, _one_epoch(trained, content, steps))
        for seed in seeds:
            changes: dict[str, Any] = {"seed": seed}
            if run.merge is not None:
                outputs = {name: _end_of(out, other, seed) for name, other in run.merge.outputs.items()}
                weights = {"path": _end_of(out, run.merge.run, seed), "parts": [], "outputs": outputs}
                changes |= {"frozen": [], "weights": weights}
            elif run.start is not None:
                weights = {"path": _end_of(out, run.start.run, seed), "parts": list(run.start.parts)}
                changes["weights"] = weights
            try:
                config = training_config(merged(content, changes), path)
                model_config(config)
            except ConfigurationError as error:
                raise ConfigurationError(f"run {run.name}: {error}") from error
            found.append(Trial(run.name, seed, folder_of(out, run.name, seed), config, run.after))
    return found


def folder_of(out: Path, run: str, seed: int) -> Path:
    """Where a run with a seed goes."""
    return out / "runs" / run / f"seed_{seed}"


def end_of(out: Path, run: str, seed: int) -> Path:
    """The weights that a run with a seed has at its end."""
    return folder_of(out, run, seed) / f"{LAST}{WEIGHTS_SUFFIX}"


def _end_of(out: Path, run: str, seed: int) -> str:
    return str(end_of(out, run, seed).resolve())


def merged(content: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping with changes: where both have a mapping they are merged, everything else is replaced."""
    found = dict(content)
    for key, value in changes.items():
        before = found.get(key)
        found[key] = merged(before, value) if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    return found


def _one_epoch(run: RunOptions, content: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """What makes a training one epoch of so many steps."""
    try:
        samples = steps * int(content["batch_size"]) * int(content["accumulate"])
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"run {run.name}: batch_size and accumulate must be numbers") from error
    return {"epochs": 1, "validate_every": 1, "data": {"samples_per_epoch": samples}}
