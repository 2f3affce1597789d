"""``panoptic-train fit``: train a system on data sets."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from enum import Enum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from panoptic_ros.commands.terminal import ERR, INTERRUPTED, OUT, say, user_errors

if TYPE_CHECKING:
    from panoptic_training.fit.configuration import TrainingConfig
    from panoptic_training.fit.run import RunOptions

RUNS = Path("runs")


class Device(str, Enum):
    """Where to train."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


def fit(
    config: Annotated[str, typer.Option(help="A name in config/training, or a path.")],
    out: Annotated[
        Path | None, typer.Option(help="Where checkpoints, weights, logs and pictures go; runs/<config> if not given.")
    ] = None,
    data_root: Annotated[Path, typer.Option(help="Where the configuration's relative paths begin.")] = Path("datasets"),
    weights: Annotated[str, typer.Option(help="Start from these weights, in place of the configuration's.")] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in OUT.")] = False,
    overfit: Annotated[
        int, typer.Option(min=0, help="Learn so many samples by heart, without augmentation: a trial of the set-up.")
    ] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="One batch through everything; say what it takes, and keep nothing.")
    ] = False,
    check: Annotated[bool, typer.Option(help="Look at every sample before the first step.")] = True,
    device: Annotated[Device, typer.Option(help="Where to train.")] = Device.AUTO,
    devices: Annotated[
        int, typer.Option(min=0, help="Processes on this machine; 0: all GPUs, one on the CPU, those of torchrun.")
    ] = 0,
    nodes: Annotated[int, typer.Option(min=1, help="Machines that train together.")] = 1,
) -> None:
    """Train a system on data sets, validate it each epoch, and export its weights.

    OUT gets best.ckpt and last.ckpt, best.safetensors and last.safetensors, logs for TensorBoard and as CSV, and
    pictures.  A run that was killed goes on with --resume.
    """
    with user_errors(ValueError), quiet():
        from panoptic_training.fit.configuration import load_training_config
        from panoptic_training.fit.run import RunOptions

        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # not before its import, which sets it
        training = load_training_config(config)
        if weights:
            training = replace(training, weights=replace(training.weights, path=weights))
        options = RunOptions(
            folder=out or RUNS / Path(config).stem,
            data_root=data_root,
            resume=resume,
            overfit=overfit,
            dry=dry_run,
            check=check,
            device=device.value,
            devices=devices,
            nodes=nodes,
            progress=ERR.is_terminal,
        )
        if dry_run:
            _try(training, options)
        else:
            _train(training, options)


def _train(config: TrainingConfig, options: RunOptions) -> None:
    from panoptic_training.fit.run import Run

    run = Run(config, options, watch)
    if run.report is not None:
        say(str(run.report))
    try:
        run()
    finally:
        if run.trainer.interrupted:
            say("interrupted: go on with the same command and --resume")
    if run.trainer.interrupted:
        raise typer.Exit(INTERRUPTED)
    if run.trainer.is_global_zero:
        say_measures(run.training.measured())
        shared = f" by {run.trainer.world_size} processes" if run.trainer.world_size > 1 else ""
        OUT.print(f"{options.folder}: {run.trainer.global_step} steps{shared}", markup=False, soft_wrap=True)


def _try(config: TrainingConfig, options: RunOptions) -> None:
    """One batch through everything, in a folder that is removed again."""
    from panoptic_training.fit.run import Run

    if options.resume:
        raise ValueError("--dry-run keeps nothing, so that there is nothing to --resume")
    with TemporaryDirectory(prefix="panoptic-train-") as folder:
        run = Run(config, replace(options, folder=Path(folder)), watch)
        run()
        if not run.trainer.is_global_zero:
            return
        say_measures(run.training.measured())
        for phase, seconds in run.cost.seconds.items():
            OUT.print(f"{phase}: {seconds:.2f} s", markup=False)
        for what, number in run.cost.memory().items():
            OUT.print(f"{what}: {number / 2**20:.0f} MiB", markup=False)
        for file in sorted(Path(folder).glob("*.*")):
            if file.is_file():
                OUT.print(f"{file.name}: {file.stat().st_size / 2**20:.1f} MiB", markup=False)


def say_measures(measures: Mapping[str, float]) -> None:
    """Print what a validation has measured."""
    for name, value in sorted(measures.items()):
        OUT.print(f"val/{name}: {value:.4f}", markup=False)


@contextmanager
def watch(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how far something is; see `panoptic_training.data.module.Watch`."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=ERR, disable=not ERR.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)


@contextmanager
def quiet() -> Iterator[None]:
    """Without Lightning's advice on what is meant as it is."""
    with warnings.catch_warnings():
        for advice in (
            r"Found \d+ module\(s\) in eval mode",  # frozen parts
            r"The '\w+' does not have many workers",  # the user's choice
            r"The number of training batches \(\d+\) is smaller than the logging interval",
            r"Checkpoint directory .* exists and is not empty",
            r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning's own call
        ):
            warnings.filterwarnings("ignore", advice)
        yield
