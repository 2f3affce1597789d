"""What is wrong with a data set, as values.

An *error* is what a reader refuses or leaves out: the sample cannot be had as its files say.  A *warning* is what it
mends, in the way that the message says, or a file that it does not need.
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

    @classmethod
    def error(cls, file: Path, message: str) -> Fault:
        """What a reader refuses."""
        return cls(Severity.ERROR, file, message)

    @classmethod
    def warning(cls, file: Path, message: str) -> Fault:
        """What a reader mends or passes over."""
        return cls(Severity.WARNING, file, message)

    def __str__(self) -> str:
        return f"{self.severity.value}: {self.file}: {self.message}"


class DatasetError(ValueError):
    """A data set, or a sample of it, cannot be read.

    Parameters
    ----------
    file:
        The file or folder that is at fault.
    message:
        What is wrong with it and what was expected.
    """

    def __init__(self, file: Path, message: str) -> None:
        super().__init__(file, message)
        self.file = file
        self.message = message

    def __str__(self) -> str:
        return f"{self.file}: {self.message}"


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
        raise DatasetError(fault.file, fault.message)
