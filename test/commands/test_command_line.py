"""What ``panoptic-ros`` says of itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from panoptic_ros import __version__
from panoptic_ros.commands.main import app

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("arguments", [["--help"], []])
def test_help_lists_the_commands(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == (0 if arguments else 2)
    for word in ("replay", "evaluate", "compare", "info", "--version"):
        assert word in result.output


def test_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"panoptic-ros {__version__}\n")


@pytest.mark.parametrize(("command", "word"), [("replay", "OUT.mcap"), ("evaluate", "--predictions")])
def test_the_help_needs_no_torch_and_no_ros(command: str, word: str) -> None:
    program = (
        f"import sys; sys.argv[1:] = ['{command}', '--help']\n"
        "from panoptic_ros.commands.main import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'rclpy'} & sys.modules.keys()\n"
        "import os; assert os.environ['OMP_WAIT_POLICY'] == 'PASSIVE'  # and torch, imported later, will obey"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert word in done.stdout


def test_info_names_what_there_is() -> None:
    result = CliRunner().invoke(app, ["info"])
    assert result.exit_code == 0, result.output
    facts = [line.split(maxsplit=1) for line in result.stdout.splitlines()]
    named = {name: [value for key, value in facts if key == name] for name, _ in facts}
    assert named["panoptic_ros"] == [__version__]
    assert named["devices"][0].startswith("cpu")
    assert "torch" in named["engines"][0]
    assert named["ROS"][0].startswith(("no", "yes", "humble", "jazzy", "kilted", "rolling"))
    models = {file.stem for file in (REPOSITORY / "config" / "models").glob("*.yaml")}
    labels = {file.stem for file in (REPOSITORY / "config" / "labels").glob("*.yaml")}
    trained = {file.stem for file in (REPOSITORY / "weights").glob("*.safetensors")}
    assert {model.split(":")[0] for model in named["model"]} == models | trained
    assert {one.split(":")[0] for one in named["labels"]} == labels


@pytest.mark.parametrize("arguments", [["repaly"], ["replay"], ["replay", "a", "b.mcap", "--limit", "0"]])
def test_arguments_that_are_none_end_with_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2
