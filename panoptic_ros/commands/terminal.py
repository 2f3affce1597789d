"""How commands speak: results on stdout, progress and errors on stderr, one line an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from panoptic_ros import __version__

OUT = Console(highlight=False)
ERR = Console(stderr=True, highlight=False)

ENGINE_HELP = (
    "What runs the network (`panoptic-ros info`); auto measures; torch without, or what runs an exported model."
)
SIZE_HELP = "Width and height of the network's input as 640x384; the model's own without."
PRECISION_HELP = "fp32, fp16, bf16 or int8; fp32 without, or that of an exported model."

USER_ERROR = 1
INTERRUPTED = 130  # as a shell says of a process that SIGINT has ended


def say(text: str) -> None:
    """One line on stderr, as it is."""
    ERR.print(text, markup=False, soft_wrap=True)


def version_option(program: str) -> Any:
    """The option ``--version`` of a program, which ends it."""

    def show(wanted: bool) -> None:
        if wanted:
            typer.echo(f"{program} {__version__}")
            raise typer.Exit

    return typer.Option("--version", callback=show, is_eager=True, help="Print the version and end.")


@contextmanager
def progress_bar(file: Path) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr for a file; it is told how much is done, and how much there is."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=ERR, disable=not ERR.is_terminal) as progress:
        task = progress.add_task(file.name, total=None)
        yield lambda done, count: progress.update(task, completed=done, total=count)


@contextmanager
def user_errors(*kinds: type[Exception]) -> Iterator[None]:
    """End the program with one line, not a traceback, for errors that are the user's to mend.

    Parameters
    ----------
    kinds:
        Those errors; `OSError` and a device that is out of memory always count.
    """
    try:
        yield
    except typer.Exit:
        raise
    except Exception as error:  # sorted here: what is not the user's goes on with its traceback
        if not (isinstance(error, (OSError, *kinds)) or _is_out_of_memory(error)):
            raise
        say(f"error: {' '.join(str(error).split())}")
        raise typer.Exit(USER_ERROR) from error


def _is_out_of_memory(error: Exception) -> bool:
    if not isinstance(error, RuntimeError):
        return False
    from panoptic_ros.engines import OutOfMemory  # here, because torch takes seconds to import

    return isinstance(error, OutOfMemory)
