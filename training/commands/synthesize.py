"""``panoptic-train synthesize``: pictures and drives of a street that does not exist, with their truth."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from panoptic_ros import __version__
from panoptic_ros.commands.terminal import ERR, INTERRUPTED, OUT, say, user_errors
from panoptic_ros.configuration import ConfigurationError
from panoptic_ros.workers import check_stop, cores, ordered

if TYPE_CHECKING:
    from panoptic_training.synthetic.production import WorldMaker
    from panoptic_training.synthetic.rig import Rig

PART_SLICES = 4  # slices of a drive between two points where it can be taken up again

synthesize = typer.Typer(help="Make images or drives of a synthetic street, with their truth.", no_args_is_help=True)


class Layouts(str, Enum):
    """The folder layouts of data sets."""

    COCO = "coco"
    CITYSCAPES = "cityscapes"


class Transport(str, Enum):
    """How images lie in a bag."""

    COMPRESSED = "compressed"
    RAW = "raw"


class Labelling(str, Enum):
    """What the labels of images say of gaps in foreground objects."""

    EXACT = "exact"
    ANNOTATED = "annotated"


LabellingOption = Annotated[
    Labelling,
    typer.Option(
        help="Of images: exact is what the ray through each pixel meets; annotated has no holes in foreground objects, "
        "such as between leaves, bars and spokes, as people draw them by Cityscapes' policy."
    ),
]
RigOption = Annotated[str, typer.Option(help="A name in config/rigs, or a path.")]
SeedOption = Annotated[int, typer.Option(min=0, max=(1 << 31) - 1, help="The same seed makes the same bytes.")]
WeatherOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KIND[=SHARE]",
        help="Light and air: clear, overcast, low_sun, dusk, rain or fog; given several times, several kinds, each as "
        "often as its share says, as in fog=0.2; random, which is the default: all of them.",
    ),
]
DensityOption = Annotated[float, typer.Option(min=0.0, max=5.0, help="How much traffic: 1 is a usual street.")]
WorkersOption = Annotated[int, typer.Option(min=0, help="Processes; 0: as many as there are cores.")]
RestartOption = Annotated[bool, typer.Option(help="Begin anew: discard an unfinished run, replace a finished one.")]


@synthesize.command()
def drive(
    out: Annotated[Path, typer.Argument(metavar="OUT.mcap", help="The bag to make.")],
    rig: RigOption = "street",
    seed: SeedOption = 0,
    duration: Annotated[float, typer.Option(min=0.1, max=3600.0, help="Seconds.")] = 60.0,
    weather: WeatherOption = None,
    density: DensityOption = 1.0,
    images: Annotated[Transport, typer.Option(help="How images lie in the bag.")] = Transport.COMPRESSED,
    labelling: LabellingOption = Labelling.EXACT,
    workers: WorkersOption = 0,
    restart: RestartOption = False,
) -> None:
    """Record a drive: images, lidar, depth, odometry, tf and the truth about all of it.

    OUT.mcap appears when it is complete.  A run that was interrupted goes on with the same command.
    """
    from panoptic_ros.messages import BagMessageTypes
    from panoptic_ros.recording import Recording, RecordingError
    from panoptic_training.synthetic.bag import LATCHED
    from panoptic_training.synthetic.production import SLICE, DrivePlan

    with _user_errors(RecordingError):
        plan = DrivePlan(
            make_world=_world_maker(),
            rig=_load(rig),
            seed=seed,
            duration=duration,
            weather=_shares(weather),
            density=density,
            compressed=images is Transport.COMPRESSED,
            annotated=labelling is Labelling.ANNOTATED,
        )
        identity = _identity(rig, plan.rig, seed, plan.weather, density, labelling) | {
            "--duration": str(duration),
            "--images": images.value,
        }
        started = time.perf_counter()
        with (
            Recording(out, BagMessageTypes(), identity, LATCHED, restart, PART_SLICES) as recording,
            _progress() as progress,
        ):
            if recording.frames:
                say(f"going on after {recording.frames * SLICE / 1e9:g} s of an earlier run")
            task = progress.add_task(out.name, total=plan.parts, completed=recording.frames)
            try:
                parts = range(recording.frames, plan.parts)
                for made in ordered(partial(plan.maker, check_stop), parts, workers or cores()):
                    recording.add(made)
                    progress.update(task, completed=recording.frames)
            except KeyboardInterrupt:
                recording.commit()
                raise
            recording.finish()
        _say_done(f"{out}: {duration:g} s, {out.stat().st_size / 1e6:.1f} MB", started)


@synthesize.command()
def dataset(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to make; several splits may share it.")],
    layout: Annotated[Layouts, typer.Option(help="How the files lie.")] = Layouts.COCO,
    images: Annotated[int, typer.Option(min=1, max=10_000_000, help="How many.")] = 1000,
    split: Annotated[str, typer.Option(help="train, val …; another split has other streets.")] = "train",
    images_per_street: Annotated[int, typer.Option(min=1, max=1000, help="Pictures of one street.")] = 10,
    rig: RigOption = "single",
    variation: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="How far cameras and colours differ between streets.")
    ] = 0.0,
    minimum_height: Annotated[
        int, typer.Option(min=0, help="Things that show fewer pixels of height are crowds; 25 in KITTI's benchmarks.")
    ] = 0,
    labelling: LabellingOption = Labelling.ANNOTATED,
    seed: SeedOption = 0,
    weather: WeatherOption = None,
    density: DensityOption = 1.0,
    workers: WorkersOption = 0,
    restart: RestartOption = False,
) -> None:
    """Make labelled images in the folder layout of COCO panoptic or of Cityscapes.

    A run that was interrupted goes on with the same command.
    """
    from panoptic_ros.labels import LabelSet
    from panoptic_training.synthetic.datasets import LAYOUTS, DatasetError, DatasetFolder
    from panoptic_training.synthetic.production import LABELS, DatasetPlan
    from panoptic_training.synthetic.randomisation import check_variation

    with _user_errors(DatasetError):
        if not split.isalnum():
            raise ConfigurationError(f"--split: expected letters and digits, got {split!r}")
        plan = DatasetPlan(
            make_world=_world_maker(),
            rig=_load(rig),
            seed=seed,
            split=split,
            images=images,
            images_per_street=images_per_street,
            weather=_shares(weather),
            density=density,
            variation=variation,
            minimum_height=minimum_height,
            annotated=labelling is Labelling.ANNOTATED,
        )
        try:
            check_variation(plan.rig, variation)
        except ValueError as error:
            raise ConfigurationError(f"--variation {variation:g}: {rig}: {error}") from None
        if not plan.rig.cameras:
            raise ConfigurationError(f"{rig}: has no cameras, of which a data set's images are")
        identity = _identity(rig, plan.rig, seed, plan.weather, density, labelling) | {
            "--layout": layout.value,
            "--images": str(images),
            "--images-per-street": str(images_per_street),
            "--variation": str(variation),
            "--minimum-height": str(minimum_height),
        }
        started = time.perf_counter()
        kind = LAYOUTS[layout.value](split, LabelSet.load(LABELS))
        with DatasetFolder(out, kind, identity, restart) as folder, _progress() as progress:
            done = sum(folder.files.has(index) for index in range(images))
            if done:
                say(f"going on after {done} images of an earlier run")
            task = progress.add_task(out.name, total=images, completed=done)
            missing = [street for street in range(plan.parts) if not all(map(folder.files.has, plan.indices(street)))]
            for made in ordered(partial(plan.maker, folder.files, check_stop), missing, workers or cores()):
                progress.advance(task, made)
            folder.finish(images)
        _say_done(f"{out}: {images} images of {plan.parts} streets", started)


def _world_maker() -> WorldMaker:
    from panoptic_training.synthetic.city import make_world  # here, because help needs no Embree

    return make_world


def _load(name: str) -> Rig:
    from panoptic_training.synthetic.rig import Rig

    return Rig.load(name)


def _shares(words: list[str] | None) -> dict[str, float]:
    from panoptic_training.synthetic.weather import weather_shares

    try:
        return weather_shares(words or ["random"])
    except ValueError as error:
        raise ConfigurationError(f"--weather: {error}") from None


def _identity(
    name: str, rig: Rig, seed: int, weather: Mapping[str, float], density: float, labelling: Labelling
) -> dict[str, str]:
    """What the result depends on; all numbers of the rig are in its representation."""
    identity = {
        "--rig": f"{name} ({hashlib.sha256(repr(rig).encode()).hexdigest()[:16]})",
        "--seed": str(seed),
        "--weather": " ".join(f"{kind}={share:.6g}" for kind, share in weather.items()),
        "--density": str(density),
        "panoptic_ros": __version__,
    }
    if labelling is not Labelling.EXACT:  # so that runs from before there was a choice are exact ones
        identity["--labelling"] = labelling.value
    return identity


@contextmanager
def _user_errors(*kinds: type[Exception]) -> Iterator[None]:
    """One line for what the user can mend."""
    with user_errors(ConfigurationError, *kinds):
        try:
            yield
        except KeyboardInterrupt:
            say("interrupted: resume with the same command")
            raise typer.Exit(INTERRUPTED) from None


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=ERR, disable=not ERR.is_terminal)


def _say_done(what: str, started: float) -> None:
    OUT.print(f"{what}, in {time.perf_counter() - started:.0f} s", markup=False, soft_wrap=True)
