"""The entry of ``panoptic-ros``: what commands there are."""

from __future__ import annotations

from typing import Annotated

import typer

from panoptic_ros.commands.benchmark import benchmark
from panoptic_ros.commands.compare import compare
from panoptic_ros.commands.data import data
from panoptic_ros.commands.evaluate import evaluate
from panoptic_ros.commands.evaluate_bag import evaluate_bag
from panoptic_ros.commands.export import export
from panoptic_ros.commands.info import info
from panoptic_ros.commands.replay import replay
from panoptic_ros.commands.terminal import version_option
from panoptic_ros.workers import wait_passively

app = typer.Typer(
    help="Panoptic perception for robots, without ROS: camera frames in, panoptic segmentation out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(replay)
app.command()(evaluate)
app.command()(evaluate_bag)
app.command()(compare)
app.command()(benchmark)
app.command()(export)
app.command()(info)
app.add_typer(data, name="data")


@app.callback()
def _options(version: Annotated[bool, version_option("panoptic-ros")] = False) -> None:
    """What goes before a command; the version has been printed when this runs."""


def main() -> None:
    """Run the command line.

    It ends with 0; 1 for an error of the user's, said in one line; 2 for arguments that are none; 130 after Ctrl-C.
    """
    wait_passively()
    app()
