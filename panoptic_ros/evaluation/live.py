"""Evaluation of a run while it goes on: messages in, figures at any time, the same document as of a bag."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from panoptic_ros.datasets.dataset import Truth
from panoptic_ros.evaluation.alignment import Alignment, align
from panoptic_ros.evaluation.camera_metrics import CameraMetrics
from panoptic_ros.evaluation.document import EvaluationDocument
from panoptic_ros.evaluation.example_keeper import ExampleKeeper
from panoptic_ros.evaluation.examples import image_scores
from panoptic_ros.evaluation.matching import Pair, Side, StampMatcher, Unmatched
from panoptic_ros.evaluation.metrics import STANDARD
from panoptic_ros.evaluation.overlaps import EvaluationError
from panoptic_ros.evaluation.panoptic_quality import Rule
from panoptic_ros.evaluation.recorded_cameras import RecordedCamera
from panoptic_ros.evaluation.recorded_labels import classes_of, label_set_of
from panoptic_ros.evaluation.recorded_run import CameraRun, RunReport
from panoptic_ros.evaluation.run_document import camera_quality, document_run
from panoptic_ros.label_mapping import LabelMapping
from panoptic_ros.labels import LabelSet
from panoptic_ros.messages import NANOSECONDS, nanoseconds, segmentation_from_messages


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """How a run is evaluated.

    Attributes
    ----------
    rule, tolerance, labels, mapping:
        See `panoptic_ros.evaluation.bag.Comparison`; `labels` holds until a topic says what its ids mean.
    most_waiting:
        How many frames of a camera may wait for their partner.
    examples:
        How many of the worst and of the best frames are kept.
    """

    rule: Rule = "coco"
    tolerance: int = 0
    labels: str = ""
    mapping: str = ""
    most_waiting: int = 50
    examples: int = 4


class LiveEvaluation:
    """Takes messages of predictions and truths as they arrive.

    Parameters
    ----------
    cameras:
        The topics of each camera.
    settings:
        How.

    Attributes
    ----------
    refused:
        By camera, how many pairs could not be evaluated.
    evaluated:
        How many could.

    Raises
    ------
    FileNotFoundError, ConfigurationError, EvaluationError, ValueError
        If `settings` name a label set, mapping or rule that is not to be had.
    """

    def __init__(self, cameras: Sequence[RecordedCamera], settings: LiveSettings) -> None:
        self.cameras = tuple(cameras)
        self.refused: Counter[str] = Counter()
        self.evaluated = 0
        self._settings = settings
        self._matcher: StampMatcher[Any, Any] = StampMatcher(settings.tolerance, settings.most_waiting)
        self._times: dict[tuple[str, Side], dict[int, int]] = {
            (camera.name, side): {} for camera in cameras for side in Side
        }
        given = LabelSet.load(settings.labels) if settings.labels else None
        self._labels: dict[Side, LabelSet | None] = dict.fromkeys(Side, given)
        if settings.mapping:
            LabelMapping.load(settings.mapping)  # says now if it cannot be had
        self._alignment: Alignment | None = None
        self._aligned: tuple[LabelSet, LabelSet] | None = None  # what `_alignment` is for
        self._metrics: CameraMetrics | None = None
        self._waiting: deque[Pair[Any, Any]] = deque()
        self._examples = ExampleKeeper(settings.examples)

    def take_labels(self, side: Side, topic: str, info: Any) -> list[str]:
        """Take a ``vision_msgs/LabelInfo``; returns a sentence for each thing that is wrong."""
        try:
            self._labels[side] = label_set_of(classes_of(info), topic, self._settings.labels)
        except EvaluationError as error:
            self._labels[side] = None
            return [str(error)]
        return self._measure_waiting()

    def take(self, side: Side, camera: str, message: Any, arrival: int) -> list[str]:
        """Take a panoptic ``sensor_msgs/Image`` that arrived at a time, ns.

        Returns
        -------
        A sentence for each pair that could not be evaluated.
        """
        stamp = nanoseconds(message.header.stamp)
        self._times[camera, side].setdefault(stamp, arrival)
        add = self._matcher.add_prediction if side is Side.PREDICTION else self._matcher.add_truth
        self._waiting.extend(add(camera, stamp, message))
        return self._measure_waiting()

    def lacks(self) -> str:
        """Why nothing has been evaluated up to now, a sentence; empty if something has."""
        if self.evaluated:
            return ""
        if missing := [side.value for side in Side if not any(self._times[one.name, side] for one in self.cameras)]:
            return f"no {' and no '.join(missing)} has come"
        if unsaid := [side.value for side in Side if self._labels[side] is None]:
            return f"no label_info says what the ids of {' and '.join(unsaid)} mean"
        if any(self.refused.values()):
            return "no frame could be evaluated"
        return "no prediction has the stamp of a truth"

    def quality(self, camera: str | None = None) -> dict[str, float | None]:
        """See `camera_quality`: of one camera, or of all together."""
        if self._metrics is None:
            return camera_quality(None)
        return camera_quality(self._metrics.combined()[0] if camera is None else self._metrics.by_camera.get(camera))

    def waiting(self, camera: str) -> int:
        """How many frames of a camera wait for their partner."""
        return self._matcher.waiting(camera)

    def run(self) -> RunReport:
        """How the run went up to now."""
        runs = []
        for camera in self.cameras:
            frames = self._metrics.frames.get(camera.name, []) if self._metrics else []
            unmatched = self._matcher.unmatched.get(camera.name, Unmatched())
            truths, predictions = self._times[camera.name, Side.TRUTH], self._times[camera.name, Side.PREDICTION]
            runs.append(CameraRun.of(camera, truths, predictions, None, len(frames), unmatched))
        return RunReport(self._settings.tolerance / NANOSECONDS, tuple(runs))

    def finish(self) -> list[str]:
        """Pair what waits, since nothing more comes for now; returns a sentence for each pair that is refused."""
        self._waiting.extend(self._matcher.flush())
        return self._measure_waiting()

    def document(self, name: str, **rest: Any) -> EvaluationDocument:
        """The document of all frames up to now.

        Parameters
        ----------
        name:
            Of the node.
        rest:
            See `EvaluationDocument`.

        Raises
        ------
        EvaluationError
            If nothing was evaluated; the message says why.
        """
        if self._metrics is None or self._alignment is None or not self.evaluated:
            raise EvaluationError(f"nothing was evaluated: {self.lacks()}")
        run = self.run()
        refused = [
            f"{camera or 'the camera'}: {count} frames could not be evaluated and do not count."
            for camera, count in self.refused.items()
        ]
        silent = [
            f"{camera.camera}: not one frame was evaluated."
            for camera in run.cameras
            if not camera.pairs and camera.camera
        ]
        notes = (*self._alignment.notes(), *silent, *refused, *run.notes())
        return document_run(
            self._metrics, run, "live", name, name.strip("/"), self._alignment.name, notes=notes, **rest
        )

    @property
    def examples(self) -> ExampleKeeper:
        """The worst and best frames up to now."""
        return self._examples

    def _measure_waiting(self) -> list[str]:
        """Measure the pairs whose classes are known."""
        predicted, true = self._labels[Side.PREDICTION], self._labels[Side.TRUTH]
        troubles = []
        if predicted is not None and true is not None:
            while self._waiting:
                pair = self._waiting.popleft()
                try:
                    self._measure(pair, predicted, true)
                except (ValueError, FileNotFoundError) as error:
                    where = "" if str(error).startswith(f"{pair.name}:") else f"{pair.name}: "
                    troubles.append(f"{where}{error}")
                    self.refused[pair.camera] += 1
        while len(self._waiting) > self._settings.most_waiting:
            pair = self._waiting.popleft()
            troubles.append(f"{pair.name}: no label_info says what its ids mean")
            self.refused[pair.camera] += 1
        return troubles

    def _measure(self, pair: Pair[Any, Any], predicted: LabelSet, true: LabelSet) -> None:
        if self._alignment is None or self._metrics is None:
            self._alignment, self._aligned = align(predicted, true, self._settings.mapping), (predicted, true)
            self._metrics = CameraMetrics(self._alignment.labels, STANDARD, self._settings.rule)
        elif self._aligned != (predicted, true):
            raise EvaluationError("the classes are others than those of the first frames: begin a new evaluation")
        alignment = self._alignment
        truth = Truth(segmentation_from_messages(pair.truth, None, true))
        if alignment.truth is not None:
            truth = alignment.truth.truth(truth)
        prediction = alignment.prediction(segmentation_from_messages(pair.prediction, None, predicted))
        frame = self._metrics.update(pair.camera, pair.name, prediction, truth)
        self._examples.add(pair.name, float(image_scores(frame.per_image())[0]), prediction, truth)
        self.evaluated += 1
