"""A network by its options on the command line, and the words for it in a document."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoptic_ros.commands.terminal import say
from panoptic_ros.configuration import parse_size
from panoptic_ros.evaluation.document import ModelDescription, file_sha256
from panoptic_ros.resources import weights_of

if TYPE_CHECKING:
    from panoptic_ros.pipeline import Pipeline


def load_network(
    model: str, weights: str, device: str, engine: str, precision: str, threads: int, size: str
) -> tuple[ModelDescription, Pipeline]:
    """Load a network and describe it.

    Parameters and errors are those of `Pipeline.load`, but for the size, which is as it is typed.
    """
    from panoptic_ros.pipeline import Pipeline  # here, because torch takes seconds to import

    pipeline = Pipeline.load(model, weights, device, engine, precision, threads, parse_size(size, "--size"))
    for note in pipeline.notes:
        say(note)
    if pipeline.weights_report is not None:
        say(str(pipeline.weights_report))
    config: Any = json.loads(json.dumps(dataclasses.asdict(pipeline.config), default=str))
    file = weights_of(model, weights)
    sha256 = file_sha256(Path(file).expanduser()) if file else ""
    described = ModelDescription(
        model,
        weights,
        sha256,
        pipeline.engine_name,
        str(pipeline.device),
        pipeline.precision,
        pipeline.untrained,
        config,
    )
    return described, pipeline
