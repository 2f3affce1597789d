"""``panoptic-ros benchmark``: how fast a model is on this machine, engine beside engine."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from panoptic_ros.commands.terminal import ERR, INTERRUPTED, OUT, USER_ERROR, say, user_errors
from panoptic_ros.configuration import parse_size
from panoptic_ros.files import written_whole
from panoptic_ros.frames import SourceError
from panoptic_ros.resources import DEFAULT_MODEL, EXPORTED_SUFFIXES

if TYPE_CHECKING:
    from panoptic_ros.benchmarking.variants import Publish, Variant


def benchmark(
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME,...",
            help=f"Names in config/models, paths, exported files of weights or for engines; {DEFAULT_MODEL} without.",
        ),
    ] = None,
    weights: Annotated[str, typer.Option(help="A file of weights, for a single model; random without.")] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    engine: Annotated[
        list[str] | None, typer.Option(metavar="NAME,...", help="What runs the network; without, all that can.")
    ] = None,
    precision: Annotated[
        list[str] | None, typer.Option(metavar="NAME,...", help="Without, fp32, and of exported networks their own.")
    ] = None,
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
    """Measure models on this machine, stage by stage, each engine, precision, size and batch beside the others.

    Options with several values take them between commas, or are repeated; every combination is measured.  What cannot
    be had here is told of and left out.  The first variant is what the others are compared with.  docs/benchmarks.md
    says how to read the tables.
    """
    with user_errors(SourceError, ValueError):
        from panoptic_ros.benchmarking.frames import drawn_street, read_frames  # here: torch takes seconds to import
        from panoptic_ros.benchmarking.run import load_runners, run_benchmark
        from panoptic_ros.benchmarking.tables import print_benchmark
        from panoptic_ros.engines import ENGINES, choose_engine

        models = _values(model) or [DEFAULT_MODEL]
        if weights and len(models) > 1:
            raise ValueError(f"--weights {weights}: is for one --model, and there are {len(models)}")
        engines = _values(engine)
        for name in engines:
            if name not in ENGINES:
                choose_engine(name, device, "")
        sizes = [parse_size(text, "--size") for text in _values(size)]
        batches = [_batch(text) for text in _values(batch)] or [1]
        variants = [
            variant
            for name, title in zip(models, _titles(models), strict=True)
            for variant in _variants(
                name, title, weights, device, engines, _values(precision), threads, sizes or [None], batches
            )
        ]
        pictures = [drawn_street()] if frames is None else read_frames(frames)
        runners, skipped = load_runners(variants, pictures, lambda variant: say(f"loading {variant.name} ..."))
        for one in skipped:
            say(f"left out: {one.variant}: {one.reason}")
        if not runners:
            say(f"error: {', '.join(models)}: none of {len(variants)} variants can be had here")
            raise typer.Exit(USER_ERROR)
        random = {runner.variant.model: runner.pipeline.untrained for runner in runners if runner.pipeline.untrained}
        for name, untrained in random.items():
            say(
                f"note: {name} has random weights ({', '.join(untrained)}): what is found means nothing, and fusing "
                "may take less"
            )
        try:
            with ExitStack() as stack:
                publish = stack.enter_context(_publishing())
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


def _titles(models: Sequence[str]) -> list[str]:
    """What models are called beside each other: nothing, their files' names or, where two are the same, their paths."""
    if len(models) == 1:
        return [""]
    names = [Path(model).stem if Path(model).suffix else model for model in models]
    return names if len(set(names)) == len(names) else list(models)


def _variants(
    model: str,
    title: str,
    weights: str,
    device: str,
    engines: Sequence[str],
    precisions: Sequence[str],
    threads: int,
    sizes: Sequence[tuple[int, int] | None],
    batches: Sequence[int],
) -> list[Variant]:
    """All that is wanted of a model; without engines or precisions what suits it, torch first."""
    from panoptic_ros.benchmarking.variants import Variant
    from panoptic_ros.engines import ENGINES
    from panoptic_ros.models.exported import open_exported

    own = "fp32"
    suitable = [name for name in ENGINES if name != "auto"]
    if model.endswith(EXPORTED_SUFFIXES):
        exported = open_exported(Path(model).expanduser())
        own = exported.precision
        suitable = [name for name in suitable if exported.path.suffix in ENGINES[name].suffixes]
    return [
        Variant(model, weights, device, *chosen, title)
        for chosen in itertools.product(engines or suitable, precisions or [own], [threads], sizes, batches)
    ]


def _batch(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"--batch {text}: expected a number of frames, 1 or more")
    return int(text)


@contextmanager
def _publishing() -> Iterator[Publish | None]:
    """What publishes, or None, said, where there is no ROS."""
    try:
        from panoptic_ros.nodes.audience import Audience
    except ImportError as error:
        say(f"note: publishing is not measured: {error}")
        yield None
        return
    with ExitStack() as stack:
        try:
            audience = stack.enter_context(Audience())
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
