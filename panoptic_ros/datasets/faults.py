"""What is wrong with a data set, as values.

An *error* is what a reader refuses: the frame cannot be read as its files say.  A *warning* is what it mends or leaves
out, in the way that the message says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path


class Severity(Enum):
    """Whether a reader refuses what is wrong or mends it."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a data set, and the file that it is wrong with."""

    severity: Severity
    file: Path
    message: str

    def __str__(self) -> str:
        return f"{self.severity.value}: {self.file}: {self.message}"


class DatasetError(ValueError):
    """A data set, or a frame of it, cannot be read; the message names the file and what was expected."""

    @classmethod
    def of(cls, file: Path, message: str) -> DatasetError:
        """What is wrong with a file."""
        return cls(f"{file}: {message}")


Report = Callable[[Fault], None]
"""Takes each fault that a reader meets; it may raise, which ends the reading."""


def refuse_errors(fault: Fault) -> None:
    """The `Report` of who wants to read: errors are raised, warnings passed over.

    Raises
    ------
    DatasetError
        If the fault is an error.
    """
    if fault.severity is Severity.ERROR:
        raise DatasetError.of(fault.file, fault.message)
