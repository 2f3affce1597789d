"""What a finished training says of itself: ``result.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from panoptic_ros.configuration import ConfigurationError, from_mapping
from panoptic_ros.files import written_whole

RESULT = "result.json"


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """A training that has come to its end.

    Attributes
    ----------
    steps:
        Of the optimiser.
    parameters:
        Of the network, frozen ones too.
    measures:
        Of the last validation, by their names without ``val/``; ``pq`` and the like in [0, 1].
    best:
        The measure that chooses the best checkpoint, at its best.
    seconds:
        See `Cost`; over all parts of a training that went on after an interruption, from the checkpoints on that it
        went on from.
    """

    steps: int
    parameters: int
    measures: Mapping[str, float]
    best: Mapping[str, float]
    seconds: Mapping[str, float]

    def save(self, path: Path) -> None:
        """Write it, whole.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        with written_whole(path) as file:
            file.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> TrainingResult:
        """Read it.

        Raises
        ------
        OSError
            If it cannot be read.
        ConfigurationError
            If it is not one.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ConfigurationError(f"{path}: is no result of a training: {error}") from error
        if not isinstance(content, dict):
            raise ConfigurationError(f"{path}: is no result of a training: expected keys with values")
        return from_mapping(cls, content, str(path))
