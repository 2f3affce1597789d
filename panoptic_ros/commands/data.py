"""``panoptic-ros data``: what a data set holds, what is wrong with it, and what it looks like."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Annotated

import cv2
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from panoptic_ros.commands.terminal import ERR, INTERRUPTED, OUT, USER_ERROR, say, user_errors
from panoptic_ros.configuration import ConfigurationError
from panoptic_ros.datasets import DatasetError, PanopticDataset, open_dataset
from panoptic_ros.datasets.check import Summary, check_samples
from panoptic_ros.datasets.faults import Fault, Severity
from panoptic_ros.datasets.opening import LAYOUTS, find_kind
from panoptic_ros.datasets.sheet import contact_sheet, spread
from panoptic_ros.files import written_whole
from panoptic_ros.workers import cores

FAULTS_SAID = 20
NAMES_SAID = 20
PICTURE_QUALITY = 90  # JPEG

data = typer.Typer(help="Check and view data sets.", no_args_is_help=True)

PathArgument = Annotated[
    Path, typer.Argument(metavar="PATH", help="The data set's folder, or a JSON in COCO's panoptic format.")
]
KindOption = Annotated[str, typer.Option(help=f"auto, {', '.join(LAYOUTS)}.")]
ImageFolderOption = Annotated[str, typer.Option(metavar="DIR", help="Of coco: where the pictures are, from PATH.")]
AnnotationsOption = Annotated[str, typer.Option(metavar="JSON", help="Of coco: the annotations, from PATH.")]
LabelsOption = Annotated[str, typer.Option(help="A name in config/labels, or a path, in place of the data set's own.")]


@data.command()
def check(
    path: PathArgument,
    kind: KindOption = "auto",
    split: Annotated[str, typer.Option(help="One split; all without.")] = "",
    image_folder: ImageFolderOption = "",
    annotations: AnnotationsOption = "",
    labels: LabelsOption = "",
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: as many as there are cores.")] = 0,
    every_fault: Annotated[bool, typer.Option(help=f"Say all faults, not {FAULTS_SAID} of a kind.")] = False,
) -> None:
    """Read a data set whole; say what it holds and every fault with its file.

    It ends with 1 if there is an error, and with 0 if there are warnings at most.
    """
    errors = 0
    with user_errors(DatasetError, ConfigurationError):
        splits = [split] if split or annotations or path.suffix == ".json" else find_kind(path, kind)[1]
        for name in splits:
            dataset = open_dataset(path, kind, name, image_folder, annotations, labels)
            summary = _check(dataset, name, workers or cores(), every_fault)
            _print_summary(dataset, name, summary)
            errors += summary.faults[Severity.ERROR] + (not len(dataset))
    if errors:
        raise typer.Exit(USER_ERROR)


@data.command()
def view(
    path: PathArgument,
    out: Annotated[Path, typer.Option(metavar="FILE", help="A JPEG or PNG to write.")] = Path("contact_sheet.jpg"),
    kind: KindOption = "auto",
    split: Annotated[str, typer.Option(help="Which, if there are several.")] = "",
    image_folder: ImageFolderOption = "",
    annotations: AnnotationsOption = "",
    labels: LabelsOption = "",
    count: Annotated[int, typer.Option(min=1, max=1000, help="Samples, evenly over the data set.")] = 8,
    columns: Annotated[int, typer.Option(min=1, max=20, help="Samples in a row.")] = 2,
    width: Annotated[int, typer.Option(min=32, max=4096, help="Of one picture, pixels.")] = 480,
) -> None:
    """Write a contact sheet: pictures beside their truth."""
    with user_errors(DatasetError, ConfigurationError):
        if out.suffix.lower() not in (".jpg", ".jpeg", ".png"):
            raise DatasetError(out, "expected a name that ends in .jpg or .png")
        dataset = open_dataset(path, kind, split, image_folder, annotations, labels)
        if not len(dataset):
            raise DatasetError(dataset.path, "has no samples")
        indices = spread(count, len(dataset))
        sheet = contact_sheet(dataset, indices, columns, width)
        content = cv2.imencode(out.suffix, sheet, (cv2.IMWRITE_JPEG_QUALITY, PICTURE_QUALITY))[1].tobytes()
        with written_whole(out) as unfinished:
            unfinished.write_bytes(content)
    OUT.print(f"{out}: {len(indices)} of {len(dataset)} samples", markup=False, soft_wrap=True)


class _FaultPrinter:
    """Says faults as they come, of each kind the first ones unless all are wanted, and counts the rest."""

    def __init__(self, every: bool) -> None:
        self._every = every
        self._seen: Counter[str] = Counter()

    def say(self, fault: Fault) -> None:
        alike = re.sub(r"\d+", "N", fault.message)
        self._seen[alike] += 1
        if self._every or self._seen[alike] <= FAULTS_SAID:
            OUT.print(str(fault), markup=False, soft_wrap=True)

    def say_rest(self) -> None:
        for alike, count in self._seen.items():
            if not self._every and count > FAULTS_SAID:
                OUT.print(f"and {count - FAULTS_SAID} more: {alike}", markup=False, soft_wrap=True)


def _check(dataset: PanopticDataset, split: str, workers: int, every_fault: bool) -> Summary:
    summary = Summary()
    printer = _FaultPrinter(every_fault)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=ERR, disable=not ERR.is_terminal) as progress:
            task = progress.add_task(f"{dataset.name} {split}".strip(), total=len(dataset))
            for fault in dataset.listing_faults():
                summary.faults[fault.severity] += 1
                printer.say(fault)
            for sample in check_samples(dataset, min(workers, max(1, len(dataset)))):
                summary.add(sample)
                for fault in sample.faults:
                    printer.say(fault)
                progress.advance(task)
    except KeyboardInterrupt:
        say(f"interrupted after {summary.samples} of {len(dataset)} samples")
        raise typer.Exit(INTERRUPTED) from None
    printer.say_rest()
    return summary


def _print_summary(dataset: PanopticDataset, split: str, summary: Summary) -> None:
    labels = dataset.labels
    sizes = ", ".join(f"{width}x{height} ({count})" for (width, height), count in summary.sizes.most_common(3))
    more = f" and {len(summary.sizes) - 3} other sizes" if len(summary.sizes) > 3 else ""
    title = f"{dataset.path}{f' {split}' if split else ''}: {dataset.name}, labels {labels.name}"
    OUT.print(f"{title}{'' if dataset.has_instances else ', no instances'}", markup=False, soft_wrap=True)
    counts = f"{summary.samples} samples, {summary.readable} with labels that can be read"
    OUT.print(f"{counts}{f'; {sizes}{more}' if sizes else ''}", markup=False, soft_wrap=True)
    if summary.classes:
        table = Table("id", "class", "", "pictures", "segments", "crowds", "pixels", box=None, pad_edge=False)
        for column in table.columns[3:]:
            column.justify = "right"
        for class_id in sorted(summary.classes):
            of = summary.classes[class_id]
            numbers = (str(of.pictures), str(of.segments), str(of.crowds), f"{100 * of.pixels / summary.pixels:.2f} %")
            kind = "thing" if class_id in labels.thing_ids else "stuff"
            table.add_row(str(class_id), labels.name_of(class_id), kind, *numbers)
        table.add_row("0", "void", "", "", "", "", f"{100 * summary.void_pixels / summary.pixels:.2f} %")
        OUT.print(table)
        absent = [label.name for label in labels.labels if label.id not in summary.classes]
        if absent:
            names = ", ".join(absent) if len(absent) <= NAMES_SAID else f"{len(absent)} of {len(labels)} classes"
            OUT.print(f"absent: {names}", markup=False, soft_wrap=True)
        OUT.print(f"at most {summary.most_segments} segments in a picture")
    errors, warnings = summary.faults[Severity.ERROR], summary.faults[Severity.WARNING]
    OUT.print(f"errors: {errors}, warnings: {warnings}")
