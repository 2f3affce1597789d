"""``panoptic-train export``: a checkpoint as weights that the pipeline and the node read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from panoptic_ros.commands.terminal import OUT, user_errors


def export(
    checkpoint: Annotated[Path, typer.Argument(help="best.ckpt or last.ckpt of a run.")],
    out: Annotated[Path, typer.Option(help="The .safetensors file to write.")],
    half: Annotated[
        bool, typer.Option("--half", help="Convolutions in half precision: half the file; computed with as before.")
    ] = False,
) -> None:
    """Write a checkpoint's weights, averaged ones if the run averages, with configuration and label set inside."""
    with user_errors(ValueError):
        from panoptic_ros.resources import WEIGHTS_SUFFIX
        from panoptic_training.fit.export import export_checkpoint

        if out.suffix != WEIGHTS_SUFFIX:
            raise ValueError(f"{out}: weights are written to a {WEIGHTS_SUFFIX} file")
        export_checkpoint(checkpoint, out, half)
        OUT.print(f"{out}: {out.stat().st_size / 2**20:.1f} MiB", markup=False, soft_wrap=True)
