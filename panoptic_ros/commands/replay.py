"""``panoptic-ros replay``: run the pipeline over a recording, into a bag of what the node would publish."""

from __future__ import annotations

import dataclasses
import functools
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Protocol

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from panoptic_ros import __version__, messages
from panoptic_ros.bags import BagSource, open_source
from panoptic_ros.commands.grids import GRID_CONFIG
from panoptic_ros.commands.replay_grid import LATCHED as GRID_LATCHED_TOPICS
from panoptic_ros.commands.replay_grid import GridReplay, find_replay_topics, replay_grid
from panoptic_ros.commands.terminal import (
    ENGINE_HELP,
    ERR,
    INTERRUPTED,
    OUT,
    PRECISION_HELP,
    SIZE_HELP,
    USER_ERROR,
    say,
    user_errors,
)
from panoptic_ros.configuration import ConfigurationError, parse_size
from panoptic_ros.drawing import OverlayPainter
from panoptic_ros.encodings import ImageError
from panoptic_ros.evaluation.overlaps import EvaluationError
from panoptic_ros.frames import Frame, FrameSource, SourceError, camera_names
from panoptic_ros.labels import LabelSet
from panoptic_ros.messages import BagMessageTypes
from panoptic_ros.messages.topics import CAMERA_TOPICS, GRID_TOPICS, LABEL_TOPIC, LABEL_TYPE
from panoptic_ros.recorded_grid import GridTopicsError, find_image_topics
from panoptic_ros.recording import Message, Recording, RecordingError, fingerprint
from panoptic_ros.resources import DEFAULT_MODEL, EXPORTED_SUFFIXES, WEIGHTS_SUFFIX, weights_of
from panoptic_ros.segmentation import PanopticSegmentation

NODE = "/panoptic_node"
"""What the node is called unless told otherwise; its topics lie below."""

DEFAULT_TOPICS = tuple(topic for topic in CAMERA_TOPICS if topic != "overlay")  # the same picture is in its JPEG
OWN = "the model's own"
BAD_FRAMES_SAID = 10
PICTURE_QUALITY = 90  # JPEG


class Segmenter(Protocol):
    """What is asked of a `panoptic_ros.pipeline.Pipeline`."""

    labels: LabelSet
    timings: dict[str, float]
    untrained: tuple[str, ...]
    options: Any

    @property
    def notes(self) -> tuple[str, ...]: ...

    def __call__(self, frames: Sequence[NDArray[np.uint8]], confidence: bool = False) -> list[PanopticSegmentation]: ...


def replay(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN", help="A rosbag2 folder, .mcap or .db3, a ROS 1 .bag, a video, or a folder of images."
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT.mcap", help="The bag to make.")],
    model: Annotated[
        str, typer.Option(help="A name in config/models, a path, or exported .safetensors, .onnx or .xml.")
    ] = DEFAULT_MODEL,
    weights: Annotated[str, typer.Option(help="A file of weights; random without.")] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    engine: Annotated[str, typer.Option(help=ENGINE_HELP)] = "",
    precision: Annotated[str, typer.Option(help=PRECISION_HELP)] = "",
    threads: Annotated[int, typer.Option(min=0, help="CPU threads of the network; 0 is the engine's choice.")] = 0,
    size: Annotated[str, typer.Option(metavar="WxH", help=SIZE_HELP)] = "",
    decode: Annotated[str, typer.Option(metavar="NAME=VALUE,...", help="Thresholds in place of the model's own.")] = "",
    topics: Annotated[str, typer.Option(help="Image topics of a bag, between commas; all without.")] = "",
    topics_out: Annotated[
        str, typer.Option(help=f"What to write, between commas, of {', '.join(CAMERA_TOPICS)}.")
    ] = ",".join(DEFAULT_TOPICS),
    pictures: Annotated[Path | None, typer.Option(metavar="DIR", help="Write the overlays as JPEGs too.")] = None,
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="Frames a second of a video or of a folder of images.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="End after so many frames.")] = None,
    grid: Annotated[
        bool, typer.Option("--grid", help="Write what the semantic grid's node would publish too; IN is a bag.")
    ] = False,
    grid_input: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="lidar, depth or camera, may be repeated; what measures in the bag without."),
    ] = None,
    grid_labels: Annotated[
        str, typer.Option(help="What labels the grid: network, or truth of a synthetic drive.")
    ] = "network",
    grid_config: Annotated[str, typer.Option(help="A name in config/grid, or a path.")] = GRID_CONFIG,
    grid_confusion: Annotated[
        str, typer.Option(metavar="FILE", help="confusion.json of the network, in place of the configuration's.")
    ] = "",
    grid_extrinsics: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the sensors are, of a bag without /tf_static.")
    ] = None,
    grid_topics_out: Annotated[
        str, typer.Option(help=f"What of the grid to write, between commas, of {', '.join(GRID_TOPICS)}.")
    ] = ",".join(GRID_TOPICS),
    grid_video: Annotated[
        Path | None, typer.Option(metavar="FILE.mp4", help="Write a video of cameras and grid side by side.")
    ] = None,
    restart: Annotated[bool, typer.Option(help="Begin anew: discard an unfinished run, replace OUT.mcap.")] = False,
) -> None:
    """Run the pipeline over a recording and write what the node would publish to a new bag.

    OUT.mcap appears when it is complete.  A run that was interrupted goes on with the same command.  With --grid, the
    grid is built from the bag's sensors and the network's results when the network has seen all frames.
    """
    wanted = _choose(topics_out)
    grid_wanted = None
    if grid:
        grid_wanted = GridReplay(
            tuple(grid_input or ()),
            grid_labels,
            grid_config,
            grid_confusion,
            grid_extrinsics,
            _split(grid_topics_out),
            grid_video,
        )
        grid_wanted.check(wanted)
    elif grid_video is not None or grid_input:
        raise typer.BadParameter("--grid-video and --grid-input are for --grid")
    thresholds = _parse_thresholds(decode, model)
    stages: dict[str, list[float]] = defaultdict(list)
    with user_errors(SourceError, RecordingError, EvaluationError, ConfigurationError, GridTopicsError):
        frames = open_source(source, _split(topics), rate)
        if grid:
            if not isinstance(frames, BagSource):
                raise SourceError(f"{source}: is no bag, so it has neither poses nor clouds for --grid")
            frames = BagSource(source, _split(topics) or find_image_topics(source))
        names = camera_names(frames.topics)
        grid_sources = None
        if grid_wanted is not None:
            grid_sources = find_replay_topics(frames, names, grid_wanted, NODE, wanted)
            if grid_confusion and not Path(grid_confusion).is_file():
                raise SourceError(f"{grid_confusion}: no such file")
        identity = {
            "IN": f"{source.resolve()} ({fingerprint(frames.files)})",
            "--model": _identity_of(model),
            "--weights": f"{weights} ({fingerprint([Path(weights).expanduser()])})" if weights else OWN,
            "--engine": engine or OWN,
            "--precision": precision or OWN,
            "--size": size or OWN,
            "--decode": ",".join(f"{name}={value}" for name, value in sorted(thresholds.items())) or OWN,
            "--topics": ",".join(frames.topics),
            "--topics-out": ",".join(sorted(wanted)),
            "--rate": str(rate),
            "--limit": str(limit),
            "--pictures": str(pictures.resolve()) if pictures is not None else "none",
            **(grid_wanted.identity() if grid_wanted is not None else {}),
            "panoptic_ros": __version__,
        }
        types = BagMessageTypes()
        latched = (f"{NODE}/{LABEL_TOPIC}", *(GRID_LATCHED_TOPICS if grid else ()))
        recording = Recording(out, types, identity, latched=latched, restart=restart)
        try:
            with recording:
                earlier = recording.frames
                if earlier:
                    say(f"going on after {earlier} frames of an earlier run")
                with user_errors(ValueError):  # its own words for a model, weights or a device that cannot be had
                    pipeline = _load(model, weights, device, engine, precision, threads, size)
                    pipeline.options = dataclasses.replace(pipeline.options, **thresholds)
                    if pictures is not None:
                        pictures.mkdir(parents=True, exist_ok=True)
                for note in pipeline.notes:
                    say(note)
                if pipeline.untrained:
                    say(f"note: untrained, and their results mean nothing: {', '.join(pipeline.untrained)}")
                maker = _MessageMaker(types, pipeline.labels, wanted, names, pictures)
                with _stop_flag() as stop:
                    _run(frames, limit, pipeline, maker, recording, stages, stop)
                if recording.frames == recording.bad:
                    say(f"error: {source}: none of {recording.frames} frames could be read; {out} is not written")
                    raise typer.Exit(USER_ERROR)
                if grid_wanted is not None and grid_sources is not None:
                    with user_errors(ValueError):  # of options, a confusion matrix or extrinsics that cannot be used
                        replay_grid(frames, *grid_sources, grid_wanted, pipeline.labels, recording, types)
                recording.finish()
        except KeyboardInterrupt:
            say("interrupted: resume with the same command")
            raise typer.Exit(INTERRUPTED) from None
    _summarise(out, recording, earlier, stages)


def _identity_of(model: str) -> str:
    """A model by its name, or by the file that holds its weights."""
    path = Path(weights_of(model, "") or model).expanduser()
    is_file = path.suffix in (WEIGHTS_SUFFIX, *EXPORTED_SUFFIXES) and path.is_file()
    return f"{model} ({fingerprint([path])})" if is_file else model


def _load(model: str, weights: str, device: str, engine: str, precision: str, threads: int, size: str) -> Segmenter:
    from panoptic_ros.pipeline import Pipeline  # here, because torch takes seconds to import

    pipeline = Pipeline.load(model, weights, device, engine, precision, threads, parse_size(size, "--size"))
    if pipeline.weights_report is not None:
        say(str(pipeline.weights_report))
    return pipeline


def _parse_thresholds(text: str, model: str) -> dict[str, Any]:
    """The fields of a model's decode options in ``name=value,...``."""
    if not text:
        return {}
    from panoptic_ros.models import load_model_config  # here, because torch takes seconds to import

    with user_errors(ValueError):
        own = load_model_config(model).decode
    kinds: dict[str, type] = {name: type(value) for name, value in dataclasses.asdict(own).items()}
    given: dict[str, Any] = {}
    for part in _split(text):
        name, _, value = part.partition("=")
        if name not in kinds:
            say(f"error: --decode: {part}: expected name=value with one of {', '.join(kinds)}")
            raise typer.Exit(USER_ERROR)
        try:
            given[name] = kinds[name](value)
            dataclasses.replace(own, **given)
        except ValueError as error:
            say(f"error: --decode: {part}: {error}")
            raise typer.Exit(USER_ERROR) from None
    return given


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _choose(topics_out: str) -> frozenset[str]:
    wanted = frozenset(_split(topics_out))
    if unknown := sorted(wanted - CAMERA_TOPICS.keys()):
        say(f"error: --topics-out: {', '.join(unknown)}: expected some of {', '.join(CAMERA_TOPICS)}")
        raise typer.Exit(USER_ERROR)
    return wanted


@contextmanager
def _stop_flag() -> Iterator[threading.Event]:
    """Set by the first Ctrl-C, so that the frame at hand is finished; the second one ends at once."""
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, previous)

    previous = signal.signal(signal.SIGINT, handle)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, previous)


class _MessageMaker:
    """Makes the messages and pictures of one frame after another."""

    def __init__(
        self,
        types: BagMessageTypes,
        labels: LabelSet,
        wanted: frozenset[str],
        names: dict[str, str],
        pictures: Path | None,
    ) -> None:
        self.wanted = wanted
        self._types = types
        self._labels = labels
        self._names = names
        self._pictures = pictures
        self._painters = {topic: OverlayPainter(labels) for topic in names}
        self._without_info: set[str] = set()

    def label_message(self, frame: Frame) -> Message:
        header = messages.make_header(self._types, frame.stamp, "")
        content = messages.label_info(self._types, header, self._labels)
        return Message(f"{NODE}/{LABEL_TOPIC}", LABEL_TYPE, frame.log_time, content)

    def messages_of(
        self, index: int, frame: Frame, image: NDArray[np.uint8], segmentation: PanopticSegmentation
    ) -> list[Message]:
        name = self._names[frame.topic]
        overlay = functools.cache(lambda: self._painters[frame.topic](image, segmentation))
        if self._pictures is not None:
            picture = cv2.imencode(".jpg", overlay(), (cv2.IMWRITE_JPEG_QUALITY, PICTURE_QUALITY))[1]
            file = self._pictures / f"{name + '_' if name else ''}{index:06d}.jpg"
            file.write_bytes(picture.tobytes())
        made = messages.result_messages(
            self._types,
            self.wanted,
            messages.make_header(self._types, frame.stamp, frame.frame_id),
            segmentation,
            self._labels,
            overlay=overlay,
            info=frame.info,
            on_misfit=lambda error: self._tell_misfit(frame.topic, error),
        )
        prefix = f"{NODE}/{name}/" if name else f"{NODE}/"
        return [Message(prefix + topic, CAMERA_TOPICS[topic], frame.log_time, message) for topic, message in made]

    def _tell_misfit(self, topic: str, error: ImageError) -> None:
        if topic not in self._without_info:
            say(f"{topic}: {error}: its camera_info is not written")
        self._without_info.add(topic)


def _run(
    source: FrameSource,
    limit: int | None,
    pipeline: Segmenter,
    maker: _MessageMaker,
    recording: Recording,
    stages: dict[str, list[float]],
    stop: threading.Event,
) -> None:
    """Record the frames from where the recording is; `stages` gets the seconds that each part of each took.

    Raises
    ------
    KeyboardInterrupt
        When `stop` was set; what was done until then is safe.
    """
    total = min((number for number in (source.count, limit) if number), default=None)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    iterator = source.frames(recording.frames)
    bad_said = 0
    with Progress(*columns, console=ERR, disable=not ERR.is_terminal) as progress:
        task = progress.add_task(source.path.name, total=total, completed=recording.frames)
        while limit is None or recording.frames < limit:
            if stop.is_set():
                recording.commit()
                raise KeyboardInterrupt
            started = time.perf_counter()
            frame = next(iterator, None)
            if frame is None:
                return
            if isinstance(frame.image, ImageError):
                bad_said += 1
                if bad_said <= BAD_FRAMES_SAID:
                    say(f"bad frame: {frame.image}")
                if bad_said == BAD_FRAMES_SAID:
                    say("further bad frames are only counted")
                recording.add((), bad=True)
            else:
                read = time.perf_counter()
                segmentation = pipeline([frame.image], confidence="confidence" in maker.wanted)[0]
                segmented = time.perf_counter()
                made = maker.messages_of(recording.frames, frame, frame.image, segmentation)
                if recording.frames == recording.bad:  # the first that is good
                    made.insert(0, maker.label_message(frame))
                filled = time.perf_counter()
                recording.add(made)
                ended = time.perf_counter()
                stages["read"].append(read - started)
                for stage, seconds in pipeline.timings.items():
                    stages[stage].append(seconds)
                stages["messages"].append(filled - segmented)
                stages["write"].append(ended - filled)
                stages["all"].append(ended - started)
            progress.update(task, completed=recording.frames)


def _summarise(out: Path, recording: Recording, earlier: int, stages: dict[str, list[float]]) -> None:
    before = f" ({earlier} of them in an earlier run)" if earlier else ""
    OUT.print(f"{out}: {recording.frames} frames{before}, {recording.bad} bad", markup=False, soft_wrap=True)
    if not stages:
        return
    table = Table("ms per frame", "p50", "p99")
    for stage, seconds in stages.items():
        p50, p99 = np.percentile(np.array(seconds) * 1e3, (50, 99))
        table.add_row(stage, f"{p50:.1f}", f"{p99:.1f}")
    OUT.print(table)
