"""``panoptic-ros replay --grid``: from a recording and what was segmented in it, what the grid's node would publish.

The grid is built after the network has gone over all frames, from the messages that it left.  It costs little beside
the network, so that a run that is interrupted while the grid is built begins the grid anew, and it is the same grid.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer
from numpy.typing import NDArray

from panoptic_ros import messages
from panoptic_ros.commands.grids import choose_inputs, grid_options, make_grids, recorded_segments
from panoptic_ros.commands.terminal import OUT, progress_bar, say
from panoptic_ros.drawing import OverlayPainter
from panoptic_ros.encodings import ImageError
from panoptic_ros.evaluation.bag import recorded_labels
from panoptic_ros.evaluation.recorded_cameras import find_cameras
from panoptic_ros.frames import FrameSource
from panoptic_ros.grid.drawing import TopViewPainter
from panoptic_ros.labels import LabelSet
from panoptic_ros.messages import BagMessageTypes, nanoseconds
from panoptic_ros.messages.grid import grid_messages
from panoptic_ros.messages.topics import GRID_LATCHED, GRID_TOPICS, LABEL_TOPIC, LABEL_TYPE, info_topic_of
from panoptic_ros.recorded_grid import (
    GridCamera,
    GridTopics,
    RecordedFeed,
    Segment,
    find_grid_topics,
    grid_camera,
    merged_messages,
)
from panoptic_ros.recorded_grid.topics import CAMERA, COMPANIONS, RECTIFIED
from panoptic_ros.recorded_grid.video import GridVideo
from panoptic_ros.recording import Message, Recording
from panoptic_ros.segmentation import PanopticSegmentation

if TYPE_CHECKING:
    from panoptic_ros.grid.mapper import GridResult

NODE = "/semantic_grid_node"
LATCHED = tuple(f"{NODE}/{topic}" for topic in (*GRID_LATCHED, LABEL_TOPIC))
LABELS = ("network", "truth")
MOST_IMAGES = 16
"""Images of a camera that may wait for what was segmented in them."""


@dataclass(frozen=True, slots=True)
class GridReplay:
    """The options of the command that are about the grid, as they were given."""

    inputs: Sequence[str]
    labels_from: str
    config: str
    confusion: str
    extrinsics: Path | None
    topics_out: tuple[str, ...]
    video: Path | None

    def identity(self) -> dict[str, str]:
        """What the grid's messages depend on."""
        return {
            "--grid-input": ",".join(self.inputs) or "all",
            "--grid-labels": self.labels_from,
            "--grid-config": self.config,
            "--grid-confusion": self.confusion or "none",
            "--grid-extrinsics": str(self.extrinsics),
            "--grid-topics-out": ",".join(sorted(self.topics_out)),
            "--grid-video": str(self.video),
        }

    def check(self, topics_out: frozenset[str]) -> None:
        """Refuse what cannot be, before the network has run.

        Raises
        ------
        typer.BadParameter
            See there.
        """
        if self.labels_from not in LABELS:
            raise typer.BadParameter(f"--grid-labels: {self.labels_from}: expected {' or '.join(LABELS)}")
        if unknown := sorted(set(self.topics_out) - GRID_TOPICS.keys()):
            raise typer.BadParameter(f"--grid-topics-out: {', '.join(unknown)}: expected some of {_known()}")
        if self.labels_from == "network" and "panoptic" not in topics_out:
            raise typer.BadParameter("--grid is built from panoptic, which has to be among --topics-out")
        if self.video is not None and self.video.suffix != ".mp4":
            raise typer.BadParameter(f"--grid-video: {self.video}: expected a name that ends in .mp4")


def find_replay_topics(
    source: FrameSource, names: Mapping[str, str], wanted: GridReplay, node: str, topics_out: frozenset[str]
) -> tuple[GridTopics, dict[str, str]]:
    """What the grid is built from.

    Parameters
    ----------
    source:
        The bag.
    names:
        The camera of each of its image topics.
    wanted, topics_out:
        The options.
    node:
        What the topics of the network lie below.

    Returns
    -------
    topics:
        The grid's inputs.
    images:
        The camera of each topic of images, to be seen in the video.

    Raises
    ------
    GridTopicsError, EvaluationError
        If something is missing.
    typer.BadParameter
        If an input is asked for that is not there.
    """
    if wanted.labels_from == "truth":
        of_truth = find_cameras(source.path)
        cameras = [grid_camera(source.path, one.name, one.truth) for one in of_truth]
        images = {one.images: one.name for one in of_truth if one.images}
    else:
        cameras, images = [], dict(names)
        for topic, name in names.items():
            prefix = f"{node}/{name}" if name else node
            companions = {kind: f"{prefix}/{kind}" for kind in COMPANIONS if kind in topics_out}
            rectified = RECTIFIED in topic.removesuffix("/compressed").rpartition("/")[2]
            cameras.append(GridCamera(name, f"{prefix}/panoptic", info_topic_of(topic), rectified, companions))
    topics = find_grid_topics(source.path, cameras)
    choose_inputs(wanted.inputs, topics)
    return topics, images


def replay_grid(
    source: FrameSource,
    topics: GridTopics,
    images: Mapping[str, str],
    wanted: GridReplay,
    labels: LabelSet,
    recording: Recording,
    types: BagMessageTypes,
) -> None:
    """Build the grid and append its messages to a recording; say what came of it.

    Parameters
    ----------
    source, topics, images, wanted:
        See `find_replay_topics`.
    labels:
        The classes of the network.
    recording:
        Of all frames.
    types:
        The types of the messages.

    Raises
    ------
    EvaluationError, SourceError, ConfigurationError, ValueError, OSError
        If something cannot be read, or a message does not fit.
    """
    of_truth = wanted.labels_from == "truth"
    if of_truth:
        labels = recorded_labels(source.path, [camera.labels for camera in topics.cameras])
    recording.commit()
    options = grid_options(wanted.config, wanted.confusion)
    # One grid of all inputs: those that measure, or a camera alone where there are none.
    chosen = [name for inputs in choose_inputs(wanted.inputs, topics) for name in inputs]
    inputs = tuple(dict.fromkeys(name for name in chosen if wanted.inputs or name != CAMERA)) or (CAMERA,)
    (grid,) = make_grids([inputs], options, labels, wanted.extrinsics, as_node=not wanted.inputs)
    pictures = _Pictures(labels, images, topics, recorded_segments(labels))
    feed = RecordedFeed(topics, [grid], pictures.segment)
    painter, topics_out, done = TopViewPainter(labels), set(wanted.topics_out), 0
    own = set(topics.of_sensors(inputs)) | (set(topics.of_labels()) if of_truth else set())
    seen = set(images) if wanted.video is not None else set()
    sources: list[tuple[Sequence[Path], set[str]]] = [((source.path,), own | seen)]
    if not of_truth:
        # First, so that labels are there before the cloud that was logged with their image: the grid cannot wait for a
        # camera that it has not heard of.
        sources.insert(0, (recording.parts, set(topics.of_labels())))
    with ExitStack() as stack:
        video = None if wanted.video is None else stack.enter_context(GridVideo(wanted.video))
        progress = stack.enter_context(progress_bar(Path(f"grid of {source.path.name}")))

        def write(results: Sequence[tuple[str, GridResult]], log_time: int) -> int:
            for _, result in results:
                values = result.snapshot, result.objects, labels, result.observation
                made = grid_messages(types, *values, topics_out, painter)
                recording.append(
                    Message(f"{NODE}/{topic}", GRID_TOPICS[topic], log_time, content) for topic, content in made.items()
                )
                if video is not None and (count := video.due(result.stamp)):
                    top_view = painter(result.snapshot, result.objects, result.observation.origin)
                    video.write(count, pictures.overlays(), top_view)
            return len(results)

        log_time = 0
        for message in merged_messages(sources):
            if not log_time:
                header = messages.make_header(types, message.log_time, "")
                info = messages.label_info(types, header, labels)
                recording.append([Message(f"{NODE}/{LABEL_TOPIC}", LABEL_TYPE, message.log_time, info)])
            log_time = message.log_time
            if message.topic in seen:
                pictures.add(message.topic, message.content)
            if count := write(feed.take(message), log_time):
                done += count
                progress(done, 0)
        done += write(feed.finish(), log_time)
    _say_what_came(grid.name, done, grid.builder.dropped, feed.problems)


class _Pictures:
    """The newest picture of each camera, with what was segmented in it."""

    def __init__(self, labels: LabelSet, names: Mapping[str, str], topics: GridTopics, segment: Segment) -> None:
        self._segment = segment
        self._names = names
        self._painters = {camera.name: OverlayPainter(labels) for camera in topics.cameras}
        self._images: dict[str, deque[tuple[int, Any]]] = {name: deque(maxlen=MOST_IMAGES) for name in names.values()}
        self._seen: dict[str, tuple[int, PanopticSegmentation]] = {}
        self._drawn: dict[str, tuple[int, NDArray[np.uint8]]] = {}

    def add(self, topic: str, message: Any) -> None:
        """Take an image of a camera."""
        self._images[self._names[topic]].append((nanoseconds(message.header.stamp), message))

    def segment(self, camera: GridCamera, parts: Mapping[str, Any]) -> PanopticSegmentation:
        """See `Segment`; what comes out is kept for the picture."""
        seen = self._segment(camera, parts)
        self._seen[camera.name] = nanoseconds(parts["labels"].header.stamp), seen
        return seen

    def overlays(self) -> dict[str, NDArray[np.uint8]]:
        """By the name of each camera, its picture with its labels."""
        for name, (stamp, seen) in self._seen.items():
            image = next((one for at, one in self._images.get(name, ()) if at == stamp), None)
            if image is None or self._drawn.get(name, (None,))[0] == stamp:
                continue
            try:
                self._drawn[name] = stamp, self._painters[name](messages.image_to_bgr(image), seen).copy()
            except ImageError:  # the network could not read it either, and that was said
                continue
        return {name: picture for name, (_, picture) in self._drawn.items()}


def _say_what_came(name: str, done: int, dropped: Mapping[str, int], problems: Counter[str]) -> None:
    OUT.print(f"grid of {name}: {done} times", markup=False, soft_wrap=True)
    for reason, count in [*dropped.items(), *problems.items()]:
        say(f"grid: {count} dropped: {reason}")
    if not done:
        say("note: no grid was made, and no message of it is written")


def _known() -> str:
    return ", ".join(GRID_TOPICS)
