"""``panoptic-train experiment``: trainings that differ in one thing each, over seeds, and their tables and plots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from panoptic_ros.commands.terminal import ERR, INTERRUPTED, OUT, USER_ERROR, say, user_errors
from panoptic_training.commands.fit import Device

if TYPE_CHECKING:
    from panoptic_training.experiments.trials import Trial


def experiment(
    name: Annotated[str, typer.Argument(help="A name in config/experiments, or a path.")],
    out: Annotated[Path, typer.Option(help="Where the runs, results.json, report.md and the plots go.")],
    data_root: Annotated[Path, typer.Option(help="Where relative paths of data sets begin.")] = Path("datasets"),
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="RUN", help="Of the runs only this, and what it starts from; may be repeated."),
    ] = None,
    seed: Annotated[
        list[int] | None, typer.Option(help="In place of the experiment's seeds; may be repeated.", min=0)
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at a time.")] = 1,
    device: Annotated[Device, typer.Option(help="Where to train.")] = Device.AUTO,
    report: Annotated[
        bool, typer.Option("--report", help="Train nothing; make tables and plots of what there is.")
    ] = False,
) -> None:
    """Run an experiment's trainings and make its tables and plots.

    The same command goes on with an experiment that was interrupted: finished runs are left out.
    """
    with user_errors(ValueError):
        from panoptic_training.experiments.configuration import load_experiment
        from panoptic_training.experiments.inference import INFERENCE, measure_inference
        from panoptic_training.experiments.report import write_report
        from panoptic_training.experiments.results import RESULTS, collect, save
        from panoptic_training.experiments.running import Fitting, run, unfinished
        from panoptic_training.experiments.trials import trials

        loaded, path = load_experiment(name)
        runs = loaded.needed_for(tuple(only)) if only else loaded.runs
        failed: list[Trial] = []
        if not report:
            wanted = trials(loaded, path, out, runs, tuple(seed) if seed else loaded.seeds)
            todo = unfinished(wanted)
            with _Progress(len(wanted), len(wanted) - len(todo)) as watch:
                try:
                    failed = run(todo, Fitting(out, data_root, device.value, jobs), watch)
                except KeyboardInterrupt:
                    say("interrupted: go on with the same command")
                    raise typer.Exit(INTERRUPTED) from None
            if loaded.inference is not None and (todo or not (out / INFERENCE).is_file()):
                first = trials(loaded, path, out, loaded.runs, (wanted[0].seed,))
                measure_inference(loaded.inference, first, out, data_root)
        values = collect(loaded, out)
        if not any(values.values()):
            say(f"{out}: there is no result yet")
            raise typer.Exit(USER_ERROR)
        save(values, out / RESULTS)
        written = write_report(loaded, values, out)
        OUT.print(written.read_text(encoding="utf-8"), markup=False, soft_wrap=True)
        OUT.print(f"{written}: {sum(map(len, values.values()))} results", markup=False, soft_wrap=True)
        if failed:
            say(f"{len(failed)} of {len(wanted)} trainings have failed")
            raise typer.Exit(USER_ERROR)


class _Progress:
    """Shows how many trainings are done and which are running; is a `Watch`."""

    def __init__(self, total: int, done: int) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=ERR, disable=not ERR.is_terminal)
        self._task = self._progress.add_task("trainings", total=total, completed=done)
        self._running: list[str] = []

    def __enter__(self) -> _Progress:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def started(self, trial: Trial) -> None:
        self._running.append(_name(trial))
        self._show()

    def ended(self, trial: Trial, error: str) -> None:
        if _name(trial) in self._running:
            self._running.remove(_name(trial))
        say(f"{_name(trial)}: {error or 'done'}")
        if not error:
            self._progress.advance(self._task)
        self._show()

    def _show(self) -> None:
        self._progress.update(self._task, description=", ".join(self._running) or "trainings")


def _name(trial: Trial) -> str:
    return f"{trial.run}, seed {trial.seed}"
