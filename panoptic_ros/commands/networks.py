"""A network by its options on the command line, and the words for it in a document."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoptic_ros.commands.terminal import say
from panoptic_ros.evaluation.document import ModelDescription, file_sha256

if TYPE_CHECKING:
    from panoptic_ros.pipeline import Pipeline


def load_network(
    model: str, weights: str, device: str, engine: str, precision: str, threads: int
) -> tuple[ModelDescription, Pipeline]:
    """Load a network and describe it.

    Parameters and errors are those of `Pipeline.load`.
    """
    from panoptic_ros.models import load_model_config  # here, because torch takes seconds to import
    from panoptic_ros.pipeline import Pipeline

    pipeline = Pipeline.load(model, weights, device, engine, precision, threads)
    if pipeline.weights_report is not None:
        say(str(pipeline.weights_report))
    config: Any = json.loads(json.dumps(dataclasses.asdict(load_model_config(model)), default=str))
    sha256 = file_sha256(Path(weights).expanduser()) if weights else ""
    described = ModelDescription(
        model, weights, sha256, engine, str(pipeline.device), precision, pipeline.untrained, config
    )
    return described, pipeline
