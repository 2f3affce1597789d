"""What an experiment is: ``config/experiments/*.yaml``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from panoptic_ros.configuration import ConfigurationError, beside, from_mapping, read_yaml
from panoptic_ros.resources import WEIGHTS_SUFFIX, find_config
from panoptic_training.fit.checkpoints import LAST
from panoptic_training.fit.configuration import TrainingConfig, load_training_config, model_config, training_config

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
"""Names of runs and tables, which become those of folders and files."""


@dataclass(frozen=True, slots=True)
class StartFrom:
    """Weights of another run of the same seed, at its end.

    Attributes
    ----------
    run:
        Its name; it stands before this one.
    parts:
        Which of its parts are taken; empty for all.
    """

    run: str
    parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunOptions:
    """One training of an experiment, which is run once for each seed.

    Attributes
    ----------
    name:
        Letters, digits and ``_ . + -``.
    steps:
        The budgets that are added up to the number of its steps, which are then one epoch, validated at its end;
        empty: the epochs of the configuration.
    start:
        What it starts from; null for what the configuration says.
    changes:
        Of the training's configuration; mappings are merged key by key, everything else is replaced.

    Raises
    ------
    ValueError
        If the name cannot be a folder's.
    """

    name: str
    steps: tuple[str, ...] = ()
    start: StartFrom | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_name(self.name)


@dataclass(frozen=True, slots=True)
class Ordering:
    """What somebody else has found.

    Attributes
    ----------
    source:
        Who, and where it is written.
    measure:
        By which measure.
    runs:
        At least two, the best first.

    Raises
    ------
    ValueError
        If there are fewer.
    """

    source: str
    measure: str
    runs: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.runs) < 2:
            raise ValueError(f"an ordering is of at least two runs, got {list(self.runs)}")


@dataclass(frozen=True, slots=True)
class TableOptions:
    """A table, and a plot of the same name.

    Attributes
    ----------
    name:
        Letters, digits and ``_ . + -``.
    title:
        What it is about.
    runs:
        Its rows.
    measures:
        Its columns: what validation measures without ``val/``, ``best`` (the measure that chooses the best checkpoint,
        at its best), ``seconds`` (of training, without validation), ``parameters`` or ``steps``.
    orderings:
        What the results are held against.

    Raises
    ------
    ValueError
        If the name cannot be a file's, or there is no row or column.
    """

    name: str
    title: str
    runs: tuple[str, ...]
    measures: tuple[str, ...]
    orderings: tuple[Ordering, ...] = ()

    def __post_init__(self) -> None:
        _check_name(self.name)
        if not self.runs or not self.measures:
            raise ValueError(f"table {self.name}: runs and measures must name at least one each")


@dataclass(frozen=True, slots=True)
class Experiment:
    """Several trainings and what is asked of them.

    Attributes
    ----------
    title, description:
        What it is about.
    base:
        The training that all runs change: a name in ``config/training`` or a path; one beside this file is found there.
    runs, tables:
        See there.
    budgets:
        Numbers of steps by names of their own.
    changes:
        What all runs change alike; see `RunOptions`.
    seeds:
        Of the trainings, each run once with each.

    Raises
    ------
    ValueError
        If runs, tables, budgets and seeds do not fit together.
    """

    title: str
    base: str
    runs: tuple[RunOptions, ...]
    tables: tuple[TableOptions, ...]
    description: str = ""
    budgets: Mapping[str, int] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        for what, names in (
            ("run", [run.name for run in self.runs]),
            ("table", [table.name for table in self.tables]),
            ("seed", list(map(str, self.seeds))),
        ):
            if not names and what != "table":
                raise ValueError(f"there must be at least one {what}")
            if twice := [name for name, count in Counter(names).items() if count > 1]:
                raise ValueError(f"{what} {twice[0]} is there twice")
        for name, steps in self.budgets.items():
            if steps < 1:
                raise ValueError(f"budget {name} must be positive, got {steps}")
        before: set[str] = set()
        for run in self.runs:
            if strange := [name for name in run.steps if name not in self.budgets]:
                raise ValueError(
                    f"run {run.name}: steps: there is no budget {strange[0]!r}; expected some of "
                    f"{', '.join(self.budgets)}"
                )
            if run.start is not None and run.start.run not in before:
                raise ValueError(f"run {run.name}: start: no run {run.start.run!r} stands before it")
            before.add(run.name)
        for table in self.tables:
            for name in (*table.runs, *(name for ordering in table.orderings for name in ordering.runs)):
                if name not in before:
                    raise ValueError(f"table {table.name}: there is no run {name!r}; there are {', '.join(before)}")

    def run(self, name: str) -> RunOptions:
        """A run by its name.

        Raises
        ------
        ConfigurationError
            If there is none.
        """
        for run in self.runs:
            if run.name == name:
                return run
        raise ConfigurationError(f"there is no run {name!r}; there are {', '.join(run.name for run in self.runs)}")

    def needed_for(self, names: tuple[str, ...]) -> tuple[RunOptions, ...]:
        """Some runs and those that they start from, in order.

        Raises
        ------
        ConfigurationError
            If there is no such run.
        """
        needed: set[str] = set()
        for name in names:
            run: RunOptions | None = self.run(name)
            while run is not None:
                needed.add(run.name)
                run = self.run(run.start.run) if run.start else None
        return tuple(run for run in self.runs if run.name in needed)


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
        The training.
    after:
        Name of the run whose trial of this seed it starts from; None for none.
    """

    run: str
    seed: int
    folder: Path
    config: TrainingConfig
    after: str | None


def load_experiment(name: str) -> tuple[Experiment, Path]:
    """Read an experiment by its name (``thesis_tables``) or from a path; also the path.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ConfigurationError
        If a key is unknown, missing, ill-typed or out of range; the message names it, the file and what was expected.
    """
    path = find_config("experiments", name)
    return from_mapping(Experiment, read_yaml(path), str(path)), path


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
    base = load_training_config(beside(path.parent, experiment.base)).plain()
    found = []
    for run in runs:
        content = merged(merged(base, experiment.changes), run.changes)
        if run.steps:
            steps = sum(experiment.budgets[name] for name in run.steps)
            content = merged(content, _one_epoch(run, content, steps))
        for seed in seeds:
            changes: dict[str, Any] = {"seed": seed}
            if run.start is not None:
                weights = folder_of(out, run.start.run, seed) / f"{LAST}{WEIGHTS_SUFFIX}"
                changes["weights"] = {"path": str(weights.resolve()), "parts": list(run.start.parts)}
            try:
                config = training_config(merged(content, changes), path)
                model_config(config)
            except ConfigurationError as error:
                raise ConfigurationError(f"run {run.name}: {error}") from error
            after = run.start.run if run.start else None
            found.append(Trial(run.name, seed, folder_of(out, run.name, seed), config, after))
    return found


def folder_of(out: Path, run: str, seed: int) -> Path:
    """Where a run with a seed goes."""
    return out / "runs" / run / f"seed_{seed}"


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


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise ValueError(f"a name of letters, digits and _ . + - is expected, got {name!r}")
