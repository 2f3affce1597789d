"""The folder that an evaluation leaves: all of it, or nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from panoptic_ros.evaluation.document import EvaluationDocument
from panoptic_ros.evaluation.examples import Example
from panoptic_ros.evaluation.report import write_report

DOCUMENT = "evaluation.json"
REPORT = "report.html"
CONFUSION = "confusion.json"


@contextmanager
def output_folder(out: Path, document: str = DOCUMENT) -> Iterator[Path]:
    """A folder to write to; what is in it is moved to `out` when the block ends, and removed if it fails.

    Of an evaluation that lies in `out` the files of the same names are replaced.  The document goes first and comes
    last, so that there is none beside files of another evaluation, even if the moving is interrupted.

    Raises
    ------
    OSError
        If a file cannot be written or moved.
    """
    made = not out.exists()
    unfinished = out / f".evaluation.{os.getpid()}.part"
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        (out / document).unlink(missing_ok=True)
        for entry in sorted(unfinished.iterdir(), key=lambda entry: entry.name == document):
            target = out / entry.name
            if target.is_dir():
                shutil.rmtree(target)
            entry.replace(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        if made and not any(out.iterdir()):
            out.rmdir()


def write_outputs(document: EvaluationDocument, examples: Iterable[Example], folder: Path) -> None:
    """Write the document, the report and, where it was measured, the confusion of classes.

    Parameters
    ----------
    document, examples:
        See `write_report`.
    folder:
        Where to, for example an `output_folder`.

    Raises
    ------
    OSError
        If a file cannot be written.
    ValueError
        If a figure of the document is not finite, or an example does not fit.
    """
    write_report(document, examples, folder / REPORT)
    if document.confusion is not None:
        document.confusion.save(folder / CONFUSION)
    document.save(folder / DOCUMENT)
