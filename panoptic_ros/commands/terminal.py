"""How commands speak: results on stdout, progress and errors on stderr, one line an error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

OUT = Console(highlight=False)
ERR = Console(stderr=True, highlight=False)

USER_ERROR = 1
INTERRUPTED = 130  # as a shell says of a process that SIGINT has ended


def say(text: str) -> None:
    """One line on stderr, as it is."""
    ERR.print(text, markup=False, soft_wrap=True)


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
