"""What an experiment is: ``config/experiments/*.yaml``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from panoptic_ros.configuration import ConfigurationError, from_mapping, read_yaml
from panoptic_ros.resources import find_config

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
class MergeOptions:
    """Networks of other runs of the same seed, at their ends, validated as one and not trained.

    Attributes
    ----------
    run:
        Whose network it is, and whose configuration; it stands before this one.
    outputs:
        Outputs of that network (``semantic_logits`` …) that the network of another run before this one gives in its
        place, each with that run's name.

    Raises
    ------
    ValueError
        If there is no output.
    """

    run: str
    outputs: Mapping[str, str]

    def __post_init__(self) -> None:
        if not self.outputs:
            raise ValueError("outputs must name at least one output and the run that it is taken from")

    @property
    def runs(self) -> tuple[str, ...]:
        """All runs that it is of, each once."""
        return tuple(dict.fromkeys((self.run, *self.outputs.values())))


@dataclass(frozen=True, slots=True)
class RunOptions:
    """One training of an experiment, which is run once for each seed; or what others have trained, merged.

    Attributes
    ----------
    name:
        Letters, digits and ``_ . + -``.
    base:
        The training that it changes, in place of the experiment's.
    steps:
        The budgets that are added up to the number of its steps, which are then one epoch, validated at its end;
        empty: the epochs of the configuration.
    start:
        What it starts from; null for what the configuration says.
    changes:
        Of the training's configuration; mappings are merged key by key, everything else is replaced.
    merge:
        What is validated where nothing is trained; null for a training.

    Raises
    ------
    ValueError
        If the name cannot be a folder's, or what is merged is to be trained too.
    """

    name: str
    base: str = ""
    steps: tuple[str, ...] = ()
    start: StartFrom | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    merge: MergeOptions | None = None

    def __post_init__(self) -> None:
        _check_name(self.name)
        if self.merge is not None and (self.base or self.steps or self.start or self.changes):
            raise ValueError(
                f"run {self.name}: what is merged is not trained: it has no base, steps, start or changes of its own"
            )

    @property
    def after(self) -> tuple[str, ...]:
        """The runs whose ends it needs."""
        if self.merge is not None:
            return self.merge.runs
        return (self.start.run,) if self.start is not None else ()


@dataclass(frozen=True, slots=True)
class Ordering:
    """What somebody else has found: runs by one measure, or measures of one run.

    Attributes
    ----------
    source:
        Who, and where it is written.
    measure, runs:
        By which measure; and at least two runs, the best first.
    run, measures:
        In place of these, of which run; and at least two measures of one kind, that with the highest value first.

    Raises
    ------
    ValueError
        If it is neither, or of fewer.
    """

    source: str
    measure: str = ""
    runs: tuple[str, ...] = ()
    run: str = ""
    measures: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.measure) + bool(self.run) != 1:
            raise ValueError("an ordering is of runs by a measure, or of measures of a run: give one of both")
        what, row, other = (
            ("runs", self.runs, self.measures) if self.measure else ("measures", self.measures, self.runs)
        )
        if len(row) < 2 or other:
            raise ValueError(f"an ordering is of at least two {what}, got {list(row)}")


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
        at its best), ``seconds`` (of training, without validation), ``parameters``, ``steps``, or a measure of
        `InferenceOptions`.
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
class InferenceOptions:
    """What the networks cost, which is measured after the trainings: all of them in turns on the same frames.

    They are the ``last.safetensors`` of the first seed, in torch with float32 on the CPU, frame by frame.  Measures:
    ``milliseconds`` from a frame to its result, the median, and ``cpu_milliseconds``, those of the processor in all
    threads, which other programs change little; ``flops`` of a frame with everything that depends on what is seen,
    the mean, and ``network_flops``, those of the network without it.

    Attributes
    ----------
    runs:
        The trainings whose networks are measured.
    threads:
        Of the processor.
    frames:
        How many of the validation data, the first ones.
    rounds:
        How often each network is called.

    Raises
    ------
    ValueError
        If a number is not positive, or there is no run.
    """

    runs: tuple[str, ...]
    threads: int = 2
    frames: int = 8
    rounds: int = 24

    def __post_init__(self) -> None:
        if not self.runs:
            raise ValueError("runs must name at least one")
        for name in ("threads", "frames", "rounds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


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
    inference:
        See there; null for not.

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
    inference: InferenceOptions | None = None

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
            for needed in run.after:
                if needed not in before:
                    key = "start" if run.merge is None else "merge"
                    raise ValueError(f"run {run.name}: {key}: no run {needed!r} stands before it")
                if run.merge is not None and self.run(needed).merge is not None:
                    raise ValueError(f"run {run.name}: merge: run {needed!r} is merged itself; name what is trained")
            before.add(run.name)
        for table in self.tables:
            ordered = [name for one in table.orderings for name in (*one.runs, *([one.run] if one.run else []))]
            for name in (*table.runs, *ordered):
                if name not in before:
                    raise ValueError(f"table {table.name}: there is no run {name!r}; there are {', '.join(before)}")
        for name in self.inference.runs if self.inference is not None else ():
            if name not in before or self.run(name).merge is not None:
                trained = ", ".join(run.name for run in self.runs if run.merge is None)
                raise ValueError(f"inference: there is no training {name!r}; there are {trained}")

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
        """Some runs and those whose ends they need, in order.

        Raises
        ------
        ConfigurationError
            If there is no such run.
        """
        needed: set[str] = set()
        looked_at = list(names)
        while looked_at:
            run = self.run(looked_at.pop())
            needed.add(run.name)
            looked_at += run.after
        return tuple(run for run in self.runs if run.name in needed)


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


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise ValueError(f"a name of letters, digits and _ . + - is expected, got {name!r}")
