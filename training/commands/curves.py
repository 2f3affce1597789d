"""``panoptic-train curves``: learning curves of one run or several."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from panoptic_ros.commands.terminal import OUT, user_errors


def curves(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of panoptic-train fit.")],
    out: Annotated[Path, typer.Option(help="The PNG file to write.")],
    measure: Annotated[
        list[str] | None, typer.Option(help="Such as val/semantic_iou; may be repeated. All that is logged without.")
    ] = None,
) -> None:
    """Draw what runs have logged, a panel for each measure and a line for each run.

    The parts of a run that was resumed are joined.
    """
    with user_errors(ValueError):
        from panoptic_training.fit.curves import common_measures, draw_curves, read_curves, save_figure

        if out.suffix != ".png":
            raise ValueError(f"{out}: curves are written to a .png file")
        found = {str(run): read_curves(run) for run in runs}
        names = {label: label for label in found}
        if len({Path(label).name for label in found}) == len(found):
            names = {label: Path(label).name for label in found}
        by_name = {names[label]: of_run for label, of_run in found.items()}
        save_figure(draw_curves(by_name, measure or common_measures(list(found.values()))), out)
        OUT.print(f"{out}: {len(found)} runs", markup=False, soft_wrap=True)
