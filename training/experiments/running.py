"""An experiment's trainings, each a ``panoptic-train fit`` (or ``validate``) in a process of its own.

A process of its own gives its memory back, and one that fails leaves the others alone.  An experiment that was killed
goes on where it was: finished trainings have their result and are left out, others go on from their last checkpoint.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import yaml

from panoptic_ros.configuration import ConfigurationError, from_mapping, read_yaml
from panoptic_ros.files import lock_file, written_whole
from panoptic_training.experiments.trials import Trial
from panoptic_training.fit.checkpoints import LAST, SUFFIX, differences
from panoptic_training.fit.configuration import TrainingConfig
from panoptic_training.fit.result import RESULT

CONFIG, LOG, LOCK = "training.yaml", "log.txt", ".lock"
SURVEYS = "survey_*.json"
POLL = 0.2  # seconds between two looks at the processes
PATIENCE = 60.0  # seconds that an interrupted training has to write what it keeps


class Watch(Protocol):
    """Is told what happens."""

    def started(self, trial: Trial) -> None:
        """A training begins or goes on."""

    def ended(self, trial: Trial, error: str) -> None:
        """A training has ended, well if the error is empty."""


@dataclass(frozen=True, slots=True)
class Fitting:
    """How trainings are run.

    Attributes
    ----------
    out:
        The experiment's folder.
    data_root:
        Where relative paths of data sets begin.
    device:
        See `panoptic-train fit`.
    jobs:
        How many run at a time.
    """

    out: Path
    data_root: Path
    device: str = "auto"
    jobs: int = 1


def unfinished(trials: Sequence[Trial]) -> list[Trial]:
    """Those of some trainings that have no result yet.

    Raises
    ------
    ConfigurationError
        If one of them was begun with another configuration; the message names what differs.
    """
    for trial in trials:
        path = trial.folder / CONFIG
        if not path.is_file():
            continue
        # Keys that came later than the file had their defaults.
        before = from_mapping(TrainingConfig, read_yaml(path), str(path)).plain()
        if different := differences(before, trial.config.plain()):
            raise ConfigurationError(
                f"{path}: the experiment has changed since this was begun: {', '.join(different)} differ; choose "
                "another --out or remove the folder"
            )
    return [trial for trial in trials if not (trial.folder / RESULT).is_file()]


def run(trials: Sequence[Trial], fitting: Fitting, watch: Watch) -> list[Trial]:
    """Run trainings that are not finished, several at a time; a training waits for the one that it starts from.

    Parameters
    ----------
    trials:
        Those that others start from stand before them.

    Returns
    -------
    Those that have failed, or could not start because another has.

    Raises
    ------
    ConfigurationError
        If another process runs trainings in the same folder.
    OSError
        If a file cannot be written or a process not started.
    """
    waiting = list(trials)
    failed: list[Trial] = []
    running: list[tuple[Trial, subprocess.Popen[bytes]]] = []
    with _lock(fitting.out) as lock:
        try:
            while waiting or running:
                for trial in _ready(waiting, [one for one, _ in running])[: fitting.jobs - len(running)]:
                    waiting.remove(trial)
                    running.append((trial, _start(trial, fitting, lock)))
                    watch.started(trial)
                for trial, process in [pair for pair in running if pair[1].poll() is not None]:
                    running.remove((trial, process))
                    error = _outcome(trial, process.returncode, fitting.out)
                    watch.ended(trial, error)
                    if error:
                        failed.append(trial)
                        for one in list(waiting):  # those that start from others stand behind them
                            if missed := [other.run for other in failed if _needs(one, other)]:
                                watch.ended(one, f"it starts from {missed[0]}, which has failed")
                                waiting.remove(one)
                                failed.append(one)
                if running:
                    time.sleep(POLL)
        finally:
            for _, process in running:  # Ctrl-C has reached them already
                try:
                    process.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    process.terminate()
    return failed


def _ready(waiting: Sequence[Trial], running: Sequence[Trial]) -> list[Trial]:
    """Those that wait for no other."""
    unfinished = (*waiting, *running)
    return [trial for trial in waiting if not any(_needs(trial, other) for other in unfinished)]


def _needs(trial: Trial, other: Trial) -> bool:
    """Whether a trial begins at another's end."""
    return other.run in trial.after and other.seed == trial.seed


def _start(trial: Trial, fitting: Fitting, lock: int) -> subprocess.Popen[bytes]:
    """Start a training, or let it go on from its last checkpoint; what is merged is validated."""
    folder = trial.folder
    folder.mkdir(parents=True, exist_ok=True)
    with written_whole(folder / CONFIG) as file:
        file.write_text(yaml.safe_dump(trial.config.plain(), sort_keys=False), encoding="utf-8")
    for survey in fitting.out.glob(
        SURVEYS
    ):  # of data that another training has looked at; of other data it is not used
        if not (folder / survey.name).exists():
            shutil.copy2(survey, folder / survey.name)
    what = "validate" if trial.config.weights.outputs else "fit"
    command = [sys.executable, "-m", "panoptic_training.commands.main", what, "--config", str(folder / CONFIG)]
    command += ["--out", str(folder), "--data-root", str(fitting.data_root), "--device", fitting.device]
    if (folder / f"{LAST}{SUFFIX}").is_file():
        command.append("--resume")
    with (folder / LOG).open("ab") as log:
        # The processes hold the lock too: while one of them lives, nobody else begins here.
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=[lock])


def _outcome(trial: Trial, status: int, out: Path) -> str:
    """What was wrong with a training; empty for nothing."""
    if status == 0 and (trial.folder / RESULT).is_file():
        for survey in trial.folder.glob(SURVEYS):
            shutil.copy2(survey, out / survey.name)
        return ""
    log = trial.folder / LOG
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"ended with {status}: {lines[-1] if lines else 'it has said nothing'} ({log})"


@contextmanager
def _lock(out: Path) -> Iterator[int]:
    """Hold a folder for this process and those that it starts; the lock goes with the last of them."""
    out.mkdir(parents=True, exist_ok=True)
    try:
        lock = lock_file(out / LOCK)
    except BlockingIOError as error:
        raise ConfigurationError(f"{out}: another process runs trainings there; wait for its end") from error
    with lock:
        yield lock.fileno()
