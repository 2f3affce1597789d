"""Video: STQ (Weber et al. 2021, STEP, section 4) and VPQ (Kim et al. 2020, section 3.2), where ids are tracked.

Both follow from how many pixels each pair of segments shares in each frame, which is all that is kept of it.  Frames
may come in any order and from several processes.

**STQ** is the geometric mean of two parts.  Segmentation quality is the mean IoU of classes over all frames.
Association quality looks at tubes, the pixels of one id in a whole drive: for each true tube g the sum over predicted
tubes p of TPA(p, g) * IoU(p, g), by g's pixels; then the mean over the true tubes.  Classes do not have to agree
there.  As in the authors' code what lies on a crowd does not count, what lies on void counts to the predicted tube.
Unlike there, predicted void is a miss and not another class whose IoU is 0.

**VPQ** is panoptic quality by COCO's rules where segments are tubes of so many frames that follow each other, for each
such stretch of a drive; then the mean over the lengths of stretches.  Lengths count the frames that are evaluated:
where every fifth has a truth, as in Cityscapes-VPS, the paper's 1, 5, 10 and 15 are 1, 2, 3 and 4 here.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.evaluation.overlaps import EvaluationError, Overlaps
from panoptic_ros.evaluation.panoptic_quality import PanopticQuality, PanopticQualityResult
from panoptic_ros.evaluation.rows import ImageNames, exact_sum
from panoptic_ros.labels import LabelSet
from panoptic_ros.segmentation import INSTANCE_DIVISOR, VOID

WINDOWS = (1, 5, 10, 15)


@dataclass(frozen=True, slots=True)
class TrackingQuality:
    """STQ and its parts, in [0, 1]; None where there is nothing that they could be of.

    Attributes
    ----------
    stq:
        The geometric mean of the two.
    association:
        Over the tubes of things.
    segmentation:
        The mean IoU of classes.
    """

    stq: float | None
    association: float | None
    segmentation: float | None


@dataclass(frozen=True, slots=True)
class SequenceQuality:
    """The quality in one drive, and how many frames it has."""

    sequence: str
    frames: int
    quality: TrackingQuality


@dataclass(frozen=True, slots=True)
class WindowQuality:
    """Panoptic quality of tubes of so many frames."""

    frames: int
    quality: PanopticQualityResult


@dataclass(frozen=True, slots=True)
class VideoResult:
    """Video quality over a set of drives.

    Attributes
    ----------
    tracking:
        STQ over all drives.
    vpq, vpq_things, vpq_stuff:
        The means over those windows that fit into a drive; None where no class of the group occurs.
    sequences:
        STQ of each drive, by name.
    windows:
        The parts of VPQ.
    """

    tracking: TrackingQuality
    vpq: float | None
    vpq_things: float | None
    vpq_stuff: float | None
    sequences: tuple[SequenceQuality, ...]
    windows: tuple[WindowQuality, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """The pairs of ids that share pixels in a frame, (N,) each, and the ids that are crowds."""

    truth: NDArray[np.int32]
    prediction: NDArray[np.int32]
    counts: NDArray[np.int64]
    crowd: NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class _Drive:
    """The frames of a drive in order, over all T true and P predicted ids that occur in it.

    Attributes
    ----------
    name:
        The drive's.
    truth, prediction:
        (T,) and (P,) int32 ids.
    counts:
        (F, 1 + T, 1 + P) would be the pixels of each pair in each frame; here its entries as four arrays.
    crowd:
        (F, T) bool.
    """

    name: str
    truth: NDArray[np.int32]
    prediction: NDArray[np.int32]
    frames: tuple[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int64]], ...]
    crowd: NDArray[np.bool_]

    def windows(self, length: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
        """For each stretch of so many frames, the (1 + T, 1 + P) pixels of each pair and the (T,) crowds."""
        sums = np.zeros((1 + len(self.truth), 1 + len(self.prediction)), dtype=np.int64)
        for last, (rows, columns, counts) in enumerate(self.frames):
            sums[rows, columns] += counts
            first = last + 1 - length
            if first >= 0:
                yield sums, np.logical_or.reduce(self.crowd[first : last + 1], axis=0)
                rows, columns, counts = self.frames[first]
                sums[rows, columns] -= counts


class VideoQuality:
    """Collects the frames of drives and evaluates them as videos.

    Parameters
    ----------
    labels:
        The classes.
    windows:
        The lengths of VPQ's stretches, in evaluated frames.

    Raises
    ------
    ValueError
        If there is no window, or one below a frame.
    """

    def __init__(self, labels: LabelSet, windows: Sequence[int] = WINDOWS) -> None:
        if not windows or min(windows) < 1:
            raise ValueError(f"windows must be lengths of at least 1 frame, got {tuple(windows)}")
        self.labels = labels
        self.windows = tuple(sorted(set(windows)))
        self._names = ImageNames()
        self._frames: dict[tuple[str, int], _Frame] = {}

    def update(self, overlaps: Overlaps) -> None:
        """Take one frame into account.

        Raises
        ------
        EvaluationError
            If it was taken already, or belongs to no drive.
        """
        if not overlaps.sequence:
            raise EvaluationError(f"{overlaps.name}: belongs to no sequence; video metrics need drives")
        place = (overlaps.sequence, overlaps.frame)
        if place in self._frames:
            raise EvaluationError(f"{overlaps.name}: frame {place[1]} of {place[0]} is evaluated twice")
        self._names.add(overlaps.name)
        rows, columns = np.nonzero(overlaps.counts)
        truth, prediction = overlaps.truth, overlaps.prediction
        self._frames[place] = _Frame(
            truth=np.concatenate(([VOID], truth.ids)).astype(np.int32)[rows],
            prediction=np.concatenate(([VOID], prediction.ids)).astype(np.int32)[columns],
            counts=overlaps.counts[rows, columns],
            crowd=truth.ids[truth.crowd],
        )

    def merge(self, other: VideoQuality) -> None:
        """Take over other frames, also of the same drives.

        Raises
        ------
        EvaluationError
            If a frame is in both, or the other's windows are of other lengths.
        """
        if other.windows != self.windows:
            raise EvaluationError(f"windows of {self.windows} and {other.windows} frames cannot be merged")
        repeated = self._frames.keys() & other._frames.keys()
        if repeated:
            sequence, frame = min(repeated)
            raise EvaluationError(f"frame {frame} of {sequence} is evaluated twice")
        self._names.add(*other._names)
        self._frames.update(other._frames)

    def result(self) -> VideoResult:
        """The quality over all drives so far."""
        drives = list(self._drives())
        tubes = [self._association(drive) for drive in drives]
        confusions = [self._confusion(drive) for drive in drives]
        windows = [self._window(drives, length) for length in self.windows]
        means = {
            group: [mean.pq for window in windows if (mean := getattr(window.quality, group)) is not None]
            for group in ("all", "things", "stuff")
        }
        return VideoResult(
            tracking=_tracking([tube for drive in tubes for tube in drive], sum(confusions, self._no_confusion())),
            vpq=_mean(means["all"]),
            vpq_things=_mean(means["things"]),
            vpq_stuff=_mean(means["stuff"]),
            sequences=tuple(
                SequenceQuality(drive.name, len(drive.frames), _tracking(associations, confusion))
                for drive, associations, confusion in zip(drives, tubes, confusions, strict=True)
            ),
            windows=tuple(windows),
        )

    def _drives(self) -> Iterator[_Drive]:
        by_sequence: dict[str, list[_Frame]] = defaultdict(list)
        for sequence, frame in sorted(self._frames):
            by_sequence[sequence].append(self._frames[sequence, frame])
        for sequence, frames in by_sequence.items():
            truth = np.unique(np.concatenate([[VOID], *(frame.truth for frame in frames)])).astype(np.int32)
            prediction = np.unique(np.concatenate([[VOID], *(frame.prediction for frame in frames)])).astype(np.int32)
            yield _Drive(
                name=sequence,
                truth=truth[1:],
                prediction=prediction[1:],
                frames=tuple(
                    (
                        np.searchsorted(truth, frame.truth),
                        np.searchsorted(prediction, frame.prediction),
                        frame.counts,
                    )
                    for frame in frames
                ),
                crowd=np.stack([np.isin(truth[1:], frame.crowd) for frame in frames]),
            )

    def _window(self, drives: Sequence[_Drive], length: int) -> WindowQuality:
        metric = PanopticQuality(self.labels)
        for drive in drives:
            truth, prediction = drive.truth // INSTANCE_DIVISOR, drive.prediction // INSTANCE_DIVISOR
            for number, (counts, crowd) in enumerate(drive.windows(length)):
                there, predicted = counts[1:].any(axis=1), counts[:, 1:].any(axis=0)
                chosen = counts[np.ix_(np.append(True, there), np.append(True, predicted))]
                metric.count(f"{drive.name} {number}", truth[there], crowd[there], prediction[predicted], chosen)
        return WindowQuality(length, metric.result())

    def _association(self, drive: _Drive) -> list[float]:
        """The association quality of each true tube of a thing."""
        things = np.array(sorted(self.labels.thing_ids), dtype=np.int32)
        is_true = np.isin(drive.truth // INSTANCE_DIVISOR, things)
        is_predicted = np.isin(drive.prediction // INSTANCE_DIVISOR, things)
        shared = np.zeros((1 + len(drive.truth), 1 + len(drive.prediction)), dtype=np.int64)
        for (rows, columns, counts), crowd in zip(drive.frames, drive.crowd, strict=True):
            counted = ~np.append(False, crowd & is_true)[rows]
            shared[rows[counted], columns[counted]] += counts[counted]
        areas = shared[1:].sum(axis=1)[is_true]
        predicted_areas = shared[:, 1:].sum(axis=0)[is_predicted]
        pairs = shared[1:, 1:][np.ix_(is_true, is_predicted)]
        unions = areas[:, None] + predicted_areas - pairs
        weighted = pairs * (pairs / np.maximum(unions, 1))
        return [exact_sum(row) / int(area) for row, area in zip(weighted, areas, strict=True) if area]

    def _no_confusion(self) -> NDArray[np.int64]:
        """(256, 256) zeros: pixels by true class and predicted one, by their ids."""
        size = int(self.labels.class_ids.max()) + 1
        return np.zeros((size, size), dtype=np.int64)

    def _confusion(self, drive: _Drive) -> NDArray[np.int64]:
        confusion = self._no_confusion()
        truth = np.append(VOID, drive.truth // INSTANCE_DIVISOR)
        prediction = np.append(VOID, drive.prediction // INSTANCE_DIVISOR)
        for rows, columns, counts in drive.frames:
            np.add.at(confusion, (truth[rows], prediction[columns]), counts)
        return confusion


def _tracking(tubes: Sequence[float], confusion: NDArray[np.int64]) -> TrackingQuality:
    labelled = confusion[1:]
    right = np.diagonal(labelled, offset=1)
    unions = labelled.sum(axis=1) + labelled[:, 1:].sum(axis=0) - right
    association, segmentation = _mean(tubes), _mean((right[unions > 0] / unions[unions > 0]).tolist())
    if association is None or segmentation is None:
        return TrackingQuality(None, association, segmentation)
    return TrackingQuality(math.sqrt(association * segmentation), association, segmentation)


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
