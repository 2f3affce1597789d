"""The entry of ``panoptic-train``: what commands there are."""

from __future__ import annotations

from typing import Annotated

import typer

from panoptic_ros.commands.terminal import version_option
from panoptic_training.commands.curves import curves
from panoptic_training.commands.experiment import experiment
from panoptic_training.commands.export import export
from panoptic_training.commands.fit import fit
from panoptic_training.commands.synthesize import synthesize
from panoptic_training.commands.validate import validate

app = typer.Typer(
    help="Training for panoptic_ros, and the synthetic street that it can learn from.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(synthesize, name="synthesize")
app.command()(fit)
app.command()(validate)
app.command()(experiment)
app.command()(curves)
app.command()(export)


@app.callback()
def _options(version: Annotated[bool, version_option("panoptic-train")] = False) -> None:
    """What goes before a command; the version has been printed when this runs."""


def main() -> None:
    """Run the command line.

    It ends with 0; 1 for an error of the user's, said in one line; 2 for arguments that are none; 130 after Ctrl-C.
    """
    app()


if __name__ == "__main__":
    main()
