"""Commands run in this process, and what they leave behind."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner, Result

from panoptic_ros.commands.main import app
from panoptic_ros.evaluation.document import EvaluationDocument, ModelDescription

COUNT = 8  # pictures of the data set


def invoke(command: str, *arguments: object) -> Result:
    result = CliRunner().invoke(app, [command, *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def load(out: Path) -> EvaluationDocument:
    return EvaluationDocument.load(out / "evaluation.json")


def described(name: str = "fake") -> ModelDescription:
    return ModelDescription(name, "", "", "torch", "cpu", "fp32", ())


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])
