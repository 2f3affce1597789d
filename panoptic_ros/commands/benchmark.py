"""``panoptic-ros benchmark``: how fast a model is on this machine, engine beside engine."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from panoptic_ros.commands.terminal import ERR, INTERRUPTED, OUT, USER_ERROR, say, user_errors
from panoptic_ros.files import written_whole
from panoptic_ros.frames import SourceError
from panoptic_ros.resources import DEFAULT_MODEL

if TYPE_CHECKING:
    from panoptic_ros.benchmarking.variants import Publish
    from panoptic_ros.labels import LabelSet

SIZE = re.compile(r"([1-9]\d*)x([1-9]\d*)")


def benchmark(
    model: Annotated[
        str, typer.Option(help="A name in config/models, a path, or exported .safetensors.")
    ] = DEFAULT_MODEL,
    weights: Annotated[str, typer.Option(help="A file of weights; random without.")] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    engine: Annotated[
        list[str] | None, typer.Option(metavar="NAME,...", help="What runs the network; all engines without.")
    ] = None,
    precision: Annotated[list[str] | None, typer.Option(metavar="NAME,...", help="fp32 without.")] = None,
    size: Annotated[
        list[str] | None, typer.Option(metavar="WxH,...", help="Of the network's input; the model's own without.")
    ] = None,
    batch: Annotated[list[str] | None, typer.Option(metavar="N,...", help="Frames at once; 1 without.")] = None,
    frames: Annotated[
        Path | None, typer.Option(metavar="IN", help="A folder of images, a video or a bag; a drawn street without.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each variant is measured, in turns.")] = 30,
    warmup: Annotated[int, typer.Option(min=0, help="Rounds before those that count.")] = 3,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads of the network; 0 is the engine's choice.")] = 0,
    out: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write the figures there.")] = None,
) -> None:
    """Measure a model on this machine, stage by stage, each engine, precision, size and batch beside the others.

    Options with several values take them between commas, or are repeated; every combination is measured.  What cannot
    be had here is told of and left out.  docs/benchmarks.md says how to read the tables.
    """
    with user_errors(SourceError, ValueError):
        from panoptic_ros.benchmarking.frames import drawn_street, read_frames  # here: torch takes seconds to import
        from panoptic_ros.benchmarking.run import load_runners, run_benchmark
        from panoptic_ros.benchmarking.tables import print_benchmark
        from panoptic_ros.benchmarking.variants import Variant
        from panoptic_ros.engines import ENGINES, choose_engine

        engines = _values(engine) or [name for name in ENGINES if name != "auto"]  # torch first: it is compared with
        for name in engines:
            if name not in ENGINES:
                choose_engine(name, device, "")
        sizes: list[tuple[int, int] | None] = [_size(text) for text in _values(size)]
        batches = [_batch(text) for text in _values(batch)] or [1]
        precisions = _values(precision) or ["fp32"]
        variants = [
            Variant(model, weights, device, *chosen)
            for chosen in itertools.product(engines, precisions, [threads], sizes or [None], batches)
        ]
        pictures = [drawn_street()] if frames is None else read_frames(frames)
        runners, skipped = load_runners(variants, pictures, lambda variant: say(f"loading {variant.name} ..."))
        for one in skipped:
            say(f"left out: {one.variant}: {one.reason}")
        if not runners:
            say(f"error: {model}: none of {len(variants)} variants can be had here")
            raise typer.Exit(USER_ERROR)
        if untrained := runners[0].pipeline.untrained:
            say(f"note: random weights ({', '.join(untrained)}): what is found means nothing, and fusing may take less")
        try:
            with ExitStack() as stack:
                publish = stack.enter_context(_publishing(runners[0].pipeline.labels))
                on_round = stack.enter_context(_progress(rounds + warmup))
                figures = run_benchmark(runners, pictures, rounds, warmup, publish, on_round)
        except KeyboardInterrupt:
            say("interrupted: nothing is written")
            raise typer.Exit(INTERRUPTED) from None
        figures["frames"]["source"] = "a drawn street" if frames is None else str(frames)
        figures["skipped"] = [{"name": one.variant, "reason": one.reason} for one in skipped]
        print_benchmark(figures, OUT)
        if out is not None:
            with written_whole(out) as file:
                file.write_text(json.dumps(figures, indent=2), encoding="utf-8")
            OUT.print(f"figures: {out}", markup=False, soft_wrap=True)


def _values(given: Sequence[str] | None) -> list[str]:
    """What options that may be repeated were given, each between commas, without what comes twice."""
    parts = (part.strip() for text in given or () for part in text.split(","))
    return list(dict.fromkeys(part for part in parts if part))


def _size(text: str) -> tuple[int, int]:
    """Height and width of WxH."""
    found = SIZE.fullmatch(text)
    if found is None:
        raise ValueError(f"--size {text}: expected width and height as 640x384")
    return int(found.group(2)), int(found.group(1))


def _batch(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"--batch {text}: expected a number of frames, 1 or more")
    return int(text)


@contextmanager
def _publishing(labels: LabelSet) -> Iterator[Publish | None]:
    """What publishes, or None, said, where there is no ROS."""
    try:
        from panoptic_ros.nodes.audience import Audience
    except ImportError as error:
        say(f"note: publishing is not measured: {error}")
        yield None
        return
    with ExitStack() as stack:
        try:
            audience = stack.enter_context(Audience(labels))
        except TimeoutError as error:
            say(f"note: publishing is not measured: {error}")
            yield None
        else:
            yield audience.publish


@contextmanager
def _progress(rounds: int) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("rounds"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=ERR, disable=not ERR.is_terminal) as progress:
        task = progress.add_task("", total=rounds)
        yield lambda done: progress.update(task, completed=done)
