"""``panoptic-train export``: a checkpoint as weights that the pipeline and the node read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from panoptic_ros.commands.terminal import OUT, user_errors


def export(
    checkpoint: Annotated[Path, typer.Argument(help="best.ckpt or last.ckpt of a run.")],
    out: Annotated[Path, typer.Option(help="The .safetensors file to write.")],
    half: Annotated[
        bool, typer.Option("--half", help="Convolutions in half precision: half the file; computed with as before.")
    ] = False,
    size: Annotated[
        str, typer.Option(metavar="WxH", help="Network's input in place of the training's, as 640x384.")
    ] = "",
    decode: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A threshold of the decode, as score_threshold=0.6; may be repeated."),
    ] = None,
) -> None:
    """Write a checkpoint's weights, averaged ones if the run averages, with configuration and label set inside."""
    with user_errors(ValueError):
        from panoptic_ros.configuration import parse_size
        from panoptic_ros.resources import WEIGHTS_SUFFIX
        from panoptic_training.fit.export import export_checkpoint

        if out.suffix != WEIGHTS_SUFFIX:
            raise ValueError(f"{out}: weights are written to a {WEIGHTS_SUFFIX} file")
        export_checkpoint(checkpoint, out, half, parse_size(size, "--size"), _thresholds(decode or []))
        OUT.print(f"{out}: {out.stat().st_size / 2**20:.1f} MiB", markup=False, soft_wrap=True)


def _thresholds(given: list[str]) -> dict[str, Any]:
    """The values of ``NAME=VALUE``, written as in YAML.

    Raises
    ------
    ValueError
        If one is not of that form.
    """
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--decode {text}: expected a name and a value, as score_threshold=0.6")
        try:
            found[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ValueError(f"--decode {text}: expected a value as in YAML: {error}") from error
    return found
