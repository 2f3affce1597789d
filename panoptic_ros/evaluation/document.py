"""The document of an evaluation: what was measured, of what, by what, and where, in one JSON file.

Evaluations of data sets, of bags and of a live run have one form, so that tables, the report and the comparison read
them all.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np

from panoptic_ros import __version__
from panoptic_ros.configuration import ConfigurationError, from_mapping
from panoptic_ros.confusion import ClassConfusion
from panoptic_ros.evaluation.columns import (
    ConfusionColumns,
    QualityColumns,
    WrongColumnsError,
    confusion_columns,
    confusion_of,
    qualities_of,
    quality_columns,
)
from panoptic_ros.evaluation.metrics import EvaluationResult, Metrics
from panoptic_ros.evaluation.panoptic_quality import ImageQualities
from panoptic_ros.files import written_whole
from panoptic_ros.labels import LabelSet

FORMAT = 1
"""The number of this form; it rises when a reader of the one before could misunderstand it."""

PACKAGES = ("torch", "numpy", "opencv-python-headless")
"""Whose versions may change what is measured."""


class DocumentError(ValueError):
    """A file is no document of an evaluation, or not a whole one; the message names the file, the key and what was
    expected.
    """


@dataclass(frozen=True, slots=True)
class Source:
    """What was evaluated.

    Attributes
    ----------
    kind:
        Where the truth is from.
    path:
        The data set, the bag, or the name of the node.
    name:
        What kind of data set it is (``coco``), or what the bag or run is called.
    labels:
        The classes that were measured.
    images:
        How many.
    has_instances:
        Whether the truth tells instances apart; if not, only semantic metrics mean something.
    mapping:
        Which label mapping lay between the classes of prediction and truth; empty without.
    predictions:
        The file of stored predictions; empty where they were made or recorded.
    """

    kind: Literal["dataset", "bag", "live"]
    path: str
    name: str
    labels: LabelSet
    images: int
    has_instances: bool = True
    mapping: str = ""
    predictions: str = ""


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """What made the predictions.

    Attributes
    ----------
    name, weights:
        As they were asked for; weights are empty where they are random.
    weights_sha256:
        Of the file, hexadecimal; empty without one.
    engine, device, precision:
        What the network ran on.
    untrained:
        The parts with random weights.
    config:
        The model's configuration, as plain values.
    """

    name: str
    weights: str
    weights_sha256: str
    engine: str
    device: str
    precision: str
    untrained: tuple[str, ...]
    config: Any = None


@dataclass(frozen=True, slots=True)
class StageSeconds:
    """How long one stage took per image, in seconds, over so many images."""

    p50: float
    p99: float
    mean: float
    images: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> StageSeconds:
        """Of one duration per image, at least one."""
        p50, p99 = np.percentile(seconds, (50, 99)).tolist()
        return cls(p50, p99, float(np.mean(seconds)), len(seconds))


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationDocument:
    """An evaluation, whole.

    Attributes
    ----------
    source, model:
        What was evaluated; None for a model whose predictions were stored or recorded.
    metrics:
        What was measured.
    names:
        The images, in order.
    qualities:
        Panoptic quality's counts of each image, in the order of `names`; None where it was not measured.
    confusion:
        P(predicted class | true class); None where semantic IoU was not measured.
    seconds:
        By stage (``prepare``, ``network``, ``decode``); None where nothing was timed.
    recording:
        Latency, drops and frames without a partner of a recorded run, as plain values; None elsewhere.
    notes:
        What a reader has to know before the figures mean something to him.
    command, created, environment, version:
        The arguments, when in UTC, on what, and the version of this package.
    """

    source: Source
    model: ModelDescription | None
    metrics: EvaluationResult
    names: tuple[str, ...]
    qualities: ImageQualities | None
    confusion: ClassConfusion | None
    seconds: dict[str, StageSeconds] | None = None
    recording: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    created: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))
    environment: dict[str, str] = field(default_factory=lambda: environment())
    version: str = __version__

    @classmethod
    def of(
        cls,
        metrics: Metrics,
        source: Source,
        names: Sequence[str],
        model: ModelDescription | None = None,
        **rest: Any,
    ) -> EvaluationDocument:
        """Of metrics that have taken every image.

        Parameters
        ----------
        metrics:
            What was measured.
        source, names, model, rest:
            See the attributes.

        Raises
        ------
        ValueError
            If they are of other images than `names`.
        """
        result = metrics.result()
        qualities = metrics.per_image() if result.panoptic_quality is not None else None
        if result.images != len(names) or (qualities is not None and qualities.names != tuple(names)):
            raise ValueError(f"metrics of {result.images} images cannot be documented as those of {len(names)}")
        confusion = metrics.confusion() if result.semantic_iou is not None else None
        return cls(source, model, result, tuple(names), qualities, confusion, **rest)

    def remarks(self) -> tuple[str, ...]:
        """What has to be said beside the figures: `notes`, and what follows from the other attributes."""
        remarks = []
        if self.model is not None and self.model.untrained:
            parts = ", ".join(self.model.untrained)
            remarks.append(f"Untrained, so that the figures say nothing about the model's quality: {parts}.")
        if not self.source.has_instances:
            remarks.append("The data set does not tell instances apart: only semantic metrics mean something.")
        if self.source.mapping:
            remarks.append(f"Classes were mapped: {self.source.mapping}.")
        return (*remarks, *self.notes)

    def to_json(self) -> dict[str, Any]:
        """The document as plain values."""
        return {
            "format": FORMAT,
            "panoptic_ros": self.version,
            "command": list(self.command),
            "created": self.created,
            "environment": self.environment,
            "source": asdict(self.source),
            "model": None if self.model is None else asdict(self.model),
            "notes": list(self.notes),
            "metrics": self.metrics.to_json(),
            "seconds": None if self.seconds is None else {name: asdict(one) for name, one in self.seconds.items()},
            "recording": self.recording,
            "confusion": None if self.confusion is None else confusion_columns(self.confusion),
            "images": {
                "names": list(self.names),
                "pq": None if self.qualities is None else quality_columns(self.qualities),
            },
        }

    def save(self, path: Path) -> None:
        """Write the document as JSON, whole or not at all.

        Raises
        ------
        OSError
            If the file cannot be written.
        ValueError
            If a figure is not finite.
        """
        # One line for each key of the first level: to be read by people, and no line for each of a million counts.
        lines = [f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in self.to_json().items()]
        with written_whole(path) as unfinished:
            unfinished.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> EvaluationDocument:
        """Read what `save` wrote.

        Raises
        ------
        OSError
            If the file cannot be read.
        DocumentError
            If it is no document of an evaluation, of another format, or not whole.
        """
        try:
            content = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
        except ValueError as error:
            raise DocumentError(f"{path}: is no whole JSON: {error}") from error
        if not isinstance(content, dict) or "format" not in content or "metrics" not in content:
            raise DocumentError(f"{path}: is no document of an evaluation (`panoptic-ros evaluate` writes them)")
        if content["format"] != FORMAT:
            raise DocumentError(f"{path}: is of format {content['format']!r}, expected {FORMAT}")
        try:
            return _document(content, str(path))
        except (ConfigurationError, WrongColumnsError) as error:
            raise DocumentError(str(error)) from error


def environment(device: str = "cpu") -> dict[str, str]:
    """What the figures and times depend on beside data and model: versions, the processor and the device."""
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "cpu": _processor(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "device": device,
    }


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, hexadecimal.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # a robot has OpenCV from its distribution
        return "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


# --- reading


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


@dataclass(frozen=True, slots=True)
class _Images:
    names: tuple[str, ...]
    pq: QualityColumns | None


@dataclass(frozen=True, slots=True)
class _Content:
    """The keys of the file and what they hold."""

    format: int
    panoptic_ros: str
    command: tuple[str, ...]
    created: str
    environment: Any
    source: Source
    model: ModelDescription | None
    notes: tuple[str, ...]
    metrics: EvaluationResult
    seconds: Any
    recording: Any
    confusion: ConfusionColumns | None
    images: _Images


def _document(content: Mapping[str, Any], where: str) -> EvaluationDocument:
    read = from_mapping(_Content, content, where)
    for key in ("environment", "seconds", "recording"):
        if not isinstance(value := getattr(read, key), dict) and (value is not None or key == "environment"):
            raise WrongColumnsError(f"{where}: {key}: expected keys with values, got {value!r}")
    names, labels = read.images.names, read.source.labels
    if not len(names) == read.source.images == read.metrics.images:
        counts = f"{len(names)} names, {read.source.images} of the source, {read.metrics.images} of the metrics"
        raise WrongColumnsError(f"{where}: its numbers of images differ, it is not whole: {counts}")
    if len(set(names)) < len(names):
        raise WrongColumnsError(f"{where}: images: a name occurs twice")
    seconds = None
    if read.seconds is not None:
        seconds = {}
        for stage, value in read.seconds.items():
            if not isinstance(value, dict):
                raise WrongColumnsError(f"{where}: seconds: {stage}: expected p50, p99, mean and images")
            seconds[stage] = from_mapping(StageSeconds, value, f"{where}: seconds: {stage}")
    pq, confusion = read.images.pq, read.confusion
    return EvaluationDocument(
        source=read.source,
        model=read.model,
        metrics=read.metrics,
        names=names,
        qualities=None if pq is None else qualities_of(pq, names, labels, f"{where}: images: pq"),
        confusion=None if confusion is None else confusion_of(confusion, labels, f"{where}: confusion"),
        seconds=seconds,
        recording=read.recording,
        notes=read.notes,
        command=read.command,
        created=read.created,
        environment=read.environment,
        version=read.panoptic_ros,
    )
