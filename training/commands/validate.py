"""``panoptic-train validate``: measure weights as a training's validation does."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from panoptic_ros.commands.terminal import ERR, OUT, user_errors
from panoptic_training.commands.fit import Device, quiet, say_measures, watch


def validate(
    config: Annotated[str, typer.Option(help="A name in config/training, or a path.")],
    out: Annotated[Path, typer.Option(help="Where result.json and the pictures go.")],
    data_root: Annotated[Path, typer.Option(help="Where the configuration's relative paths begin.")] = Path("datasets"),
    weights: Annotated[str, typer.Option(help="Measure these, in place of the configuration's.")] = "",
    output: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=WEIGHTS",
            help="Take this output of the network from another one, such as semantic_logits; may be repeated.",
        ),
    ] = None,
    device: Annotated[Device, typer.Option(help="Where to run.")] = Device.AUTO,
) -> None:
    """Measure weights on a training's validation data, with its measures, and learn nothing.

    With --output two networks that were trained apart are measured as one.
    """
    with user_errors(ValueError), quiet():
        from panoptic_training.fit.configuration import load_training_config
        from panoptic_training.fit.run import RunOptions
        from panoptic_training.fit.validation import validate

        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # not before its import, which sets it
        training = load_training_config(config)
        start = replace(training.weights, path=weights or training.weights.path)
        if output:
            start = replace(start, outputs=dict(map(_pair, output)))
        options = RunOptions(
            folder=out, data_root=data_root, check=False, device=device.value, progress=ERR.is_terminal
        )
        result = validate(replace(training, weights=start), options, watch)
        say_measures(result.measures)
        OUT.print(f"{out}: {result.parameters} parameters", markup=False, soft_wrap=True)


def _pair(text: str) -> tuple[str, str]:
    name, found, path = text.partition("=")
    if not (name and found and path):
        raise ValueError(f"--output: expected NAME=WEIGHTS, got {text!r}")
    return name, path
