"""Evaluation of grids that are built from a bag, against the truth from above in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from panoptic_ros.bags import BagMessage, bag_messages, bag_topics
from panoptic_ros.evaluation.alignment import Alignment
from panoptic_ros.evaluation.grid_metrics import GridMetrics, GridQuality
from panoptic_ros.evaluation.grid_truth import GRID_TRUTHS, OCCUPANCY, VISIBILITY, GridTruth, GridTruthReader
from panoptic_ros.evaluation.matching import Pair, StampMatcher
from panoptic_ros.evaluation.overlaps import EvaluationError
from panoptic_ros.evaluation.recorded_cameras import TRUTH
from panoptic_ros.grid.poses import NotYetError, PoseError, PoseTree
from panoptic_ros.messages.grid import transforms_from
from panoptic_ros.recorded_grid import FedGrid, GridTopics, RecordedFeed, Segment, merged_messages
from panoptic_ros.recorded_grid.topics import CLOUD, STATIC

if TYPE_CHECKING:
    from panoptic_ros.grid.mapper import GridResult
    from panoptic_ros.grid.options import GridOptions
    from panoptic_ros.grid.snapshot import GridSnapshot
    from panoptic_ros.grid.tracking import TrackedObject

TOLERANCE = 50_000_000
"""How far the stamps of a grid and its truth may differ, ns, unless said otherwise: half a turn of a usual lidar."""

Progress = Callable[[int, int], None]
"""Is told how many moments were compared up to now, and how many there are."""


@dataclass(frozen=True, slots=True, eq=False)
class GridScore:
    """What was measured of one grid.

    Attributes
    ----------
    name, inputs:
        Of the grid.
    quality:
        Of all moments.
    results:
        How often the grid was brought up to date.
    unmatched:
        Moments of the truth near which it was not.
    dropped:
        What it could not use, by the reason.
    last:
        The last moment that was compared, to be drawn: snapshot, objects and truth; None without.
    """

    name: str
    inputs: tuple[str, ...]
    quality: GridQuality
    results: int
    unmatched: int
    dropped: dict[str, int]
    last: tuple[GridSnapshot, Sequence[TrackedObject], GridTruth] | None


@dataclass(frozen=True, slots=True, eq=False)
class GridEvaluation:
    """What was measured of a bag.

    Attributes
    ----------
    alignment:
        In which classes.
    resolution:
        The side of the truth's cells, metres.
    scores:
        By grid.
    moments:
        How many truths there are.
    without_pose:
        How many of them could not be brought into the grid's frame.
    problems:
        Messages that could not be used, by the reason.
    """

    alignment: Alignment
    resolution: float
    scores: tuple[GridScore, ...]
    moments: int
    without_pose: int
    problems: dict[str, int]

    def notes(self) -> tuple[str, ...]:
        """What a reader has to know beside the figures, a sentence for each thing."""
        notes = [*self.alignment.notes()]
        if self.without_pose:
            notes.append(f"{self.without_pose} of {self.moments} moments have no pose and do not count.")
        for score in self.scores:
            if score.unmatched:
                notes.append(f"{score.name}: {score.unmatched} of {self.moments} moments have no grid near them.")
            if not score.quality.objects.by_visibility:
                notes.append(f"{score.name}: no camera says which things it sees, so all in the window count.")
            notes += [f"{score.name}: dropped {count}: {reason}." for reason, count in score.dropped.items()]
        return (*notes, *(f"{count} messages: {reason}." for reason, count in self.problems.items()))


def with_truth_cells(path: Path, options: GridOptions) -> GridOptions:
    """Options whose cells are those of a bag's truth, in a window of the same size, so that each cell has its truth.

    Raises
    ------
    EvaluationError
        If the bag has no truth from above.
    """
    resolution = _resolution(path)
    size = max(2, 2 * round(options.size * options.resolution / resolution / 2))
    return replace(options, resolution=resolution, size=size)


def evaluate_grids(
    path: Path,
    topics: GridTopics,
    grids: Sequence[FedGrid],
    segment: Segment,
    alignment: Alignment,
    options: GridOptions,
    labels_paths: Sequence[Path] = (),
    tolerance: int = TOLERANCE,
    progress: Progress | None = None,
) -> GridEvaluation:
    """Build grids from a bag and compare them with the truth from above in it.

    Parameters
    ----------
    path:
        The bag of sensors and truths.
    topics:
        What the grids are built from.
    grids:
        Each with its inputs; all get the same labels, in the classes of `alignment`.
    segment:
        See `RecordedFeed`.
    alignment:
        Between the labels and the truth.
    options:
        Of the grids.
    labels_paths:
        Where the labels are, if they are in other bags.
    tolerance:
        How far stamps may differ, ns.
    progress:
        Is told after each moment.

    Raises
    ------
    EvaluationError
        If the bag has no truth from above, a truth is damaged, or no grid was built.
    SourceError, OSError
        If a bag, or a message in it, cannot be read.
    """
    resolution, there = _resolution(path), bag_topics(path)
    visibility = {
        name
        for name, topic in there.items()
        if name.startswith(TRUTH) and name.endswith(f"/{VISIBILITY}") and topic.kind == CLOUD
    }
    truths = {*GRID_TRUTHS, *visibility}
    judge = _Judge(alignment, options, grids, visibility, tolerance, there[OCCUPANCY].messages, progress)

    def aligned(*arguments: Any) -> Any:
        return alignment.prediction(segment(*arguments))

    feed = RecordedFeed(topics, grids, aligned)
    inputs = {one for grid in grids for one in grid.inputs}
    own = {*topics.of_sensors(inputs), *truths, *(() if labels_paths else topics.of_labels())}
    sources: list[tuple[Sequence[Path], set[str]]] = [((path,), own)]
    if labels_paths:
        sources.append((labels_paths, set(topics.of_labels())))
    for message in merged_messages(sources):
        if message.topic in truths:
            judge.take_truth(path, message)
        else:
            if message.topic in topics.transforms:
                judge.take_transforms(message)
            judge.take_results(feed.take(message))
    return judge.finish(path, resolution, feed)


class _Judge:
    """Brings results and truths together."""

    def __init__(
        self,
        alignment: Alignment,
        options: GridOptions,
        grids: Sequence[FedGrid],
        visibility: Collection[str],
        tolerance: int,
        moments: int,
        progress: Progress | None,
    ) -> None:
        self._alignment = alignment
        self._grids = grids
        self._tree = PoseTree()
        labels = alignment.labels
        self._reader = GridTruthReader(labels, options.fixed_frame, self._tree.lookup, visibility, alignment.truth)
        self._metrics = {grid.name: GridMetrics(labels, options.is_ground(labels)) for grid in grids}
        self._matcher: StampMatcher[GridResult, GridTruth] = StampMatcher(tolerance)
        self._results: Counter[str] = Counter()
        self._last: dict[str, Pair[GridResult, GridTruth]] = {}
        self._moments, self._truths, self._without_pose = moments, 0, 0
        self._progress = progress

    def take_transforms(self, message: BagMessage) -> None:
        static = message.topic.rpartition("/")[2] == STATIC
        for parent, child, stamp, pose in transforms_from(message.content):
            self._tree.add(parent, child, stamp, pose, static)
        self._settle()

    def take_truth(self, path: Path, message: BagMessage) -> None:
        try:
            self._reader.take(message.topic, message.content)
        except EvaluationError as error:
            raise EvaluationError(f"{path}: {error}") from error
        self._settle()

    def take_results(self, results: Sequence[tuple[str, GridResult]]) -> None:
        for name, result in results:
            self._results[name] += 1
            self._measure(self._matcher.add_prediction(name, result.stamp, result))

    def _settle(self, ended: bool = False) -> None:
        """Make the truths whose poses are there."""
        for stamp in self._reader.complete(ended):
            try:
                truth = self._reader.make(stamp)
            except NotYetError:
                if not ended:
                    continue
                self._without_pose += 1
            except PoseError:
                self._without_pose += 1
                self._reader.forget(stamp)
            else:
                self._truths += 1
                for grid in self._grids:
                    self._measure(self._matcher.add_truth(grid.name, stamp, truth))
                if self._progress is not None:
                    self._progress(self._truths, self._moments)

    def _measure(self, pairs: Sequence[Pair[GridResult, GridTruth]]) -> None:
        for pair in pairs:
            result = pair.prediction
            self._metrics[pair.camera].update(pair.name, result.snapshot, result.objects, pair.truth)
            self._last[pair.camera] = pair

    def finish(self, path: Path, resolution: float, feed: RecordedFeed) -> GridEvaluation:
        self.take_results(feed.finish())
        self._settle(ended=True)
        self._measure(self._matcher.flush())
        if not self._last:
            raise EvaluationError(f"{path}: {self._why_none(feed)}")
        scores = []
        for grid in self._grids:
            quality, last = self._metrics[grid.name].result(), self._last.get(grid.name)
            scores.append(
                GridScore(
                    grid.name,
                    tuple(sorted(grid.inputs)),
                    quality,
                    self._results[grid.name],
                    self._moments - self._without_pose - quality.moments,
                    dict(grid.builder.dropped),
                    None if last is None else (last.prediction.snapshot, last.prediction.objects, last.truth),
                )
            )
        return GridEvaluation(
            self._alignment, resolution, tuple(scores), self._moments, self._without_pose, dict(feed.problems)
        )

    def _why_none(self, feed: RecordedFeed) -> str:
        """Why nothing could be compared."""
        dropped = [f"{grid.name}: {reason}" for grid in self._grids for reason in grid.builder.dropped]
        reasons = [*dropped, *feed.problems] or ["no grid is near the stamp of a truth (--tolerance)"]
        what = "no grid was built" if not self._results else "no grid could be compared"
        return f"{what}: {'; '.join(reasons[:3])}"


def _resolution(path: Path) -> float:
    """The side of the truth's cells."""
    there = bag_topics(path)
    if missing := [topic for topic in GRID_TRUTHS if topic not in there or not there[topic].messages]:
        raise EvaluationError(
            f"{path}: no truth from above: nothing on {', '.join(missing)}; `panoptic-train synthesize drive` makes it"
        )
    message = next(islice(bag_messages(path, [OCCUPANCY]), 1))
    return float(f"{message.content.info.resolution:.7g}")  # float32 in the message: 0.2 is 0.2 again
