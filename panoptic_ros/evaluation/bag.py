"""Evaluation of a bag with truths: of the predictions in it, or of a network on its images."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from panoptic_ros.bags import bag_messages
from panoptic_ros.datasets.dataset import Truth
from panoptic_ros.evaluation.alignment import Alignment, align
from panoptic_ros.evaluation.camera_metrics import CameraMetrics
from panoptic_ros.evaluation.metrics import STANDARD, MetricName
from panoptic_ros.evaluation.overlaps import EvaluationError
from panoptic_ros.evaluation.panoptic_quality import Rule
from panoptic_ros.evaluation.recorded_cameras import RecordedCamera, label_topic_of
from panoptic_ros.evaluation.recorded_labels import classes_of, label_set_of
from panoptic_ros.evaluation.recorded_pairs import RecordedPairs, Roles
from panoptic_ros.evaluation.recorded_run import RunReport, seconds_of
from panoptic_ros.labels import LabelSet
from panoptic_ros.messages import image_to_bgr, segmentation_from_messages
from panoptic_ros.segmentation import PanopticSegmentation

SCORED: tuple[MetricName, ...] = ("average_precision", "cityscapes_average_precision")
"""Metrics that need the scores of instances, which are on a topic of their own."""

CONFIDENT: tuple[MetricName, ...] = ("calibration",)
"""Metrics that need the confidence of pixels, which is on a topic of its own."""

Predict = Callable[[NDArray[np.uint8]], PanopticSegmentation]
"""Segments an image, (H, W, 3) uint8 BGR."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How predictions are compared with truths.

    Attributes
    ----------
    metrics, rule:
        See `panoptic_ros.evaluation.metrics.Metrics`.
    tolerance:
        How far the stamps of a prediction and its truth may differ, ns.
    labels:
        The name or path of the label set of topics that do not say what their ids mean, or say it in classes of the
        user's own.
    mapping:
        See `align`.
    """

    metrics: Sequence[MetricName] = STANDARD
    rule: Rule = "coco"
    tolerance: int = 0
    labels: str = ""
    mapping: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class EvaluatedFrame:
    """A frame that was compared.

    Attributes
    ----------
    camera, name:
        Where it is from, and what it is called in the evaluation.
    prediction, truth:
        In the classes that are measured.
    image:
        (H, W, 3) uint8 BGR; None where it was not read, or the bag does not have it.
    """

    camera: str
    name: str
    prediction: PanopticSegmentation
    truth: Truth
    image: NDArray[np.uint8] | None


Progress = Callable[[int, int], None]
"""Is told how many frames were compared up to now, and how many there are."""


@dataclass(frozen=True, slots=True, eq=False)
class _Comparer:
    """Reads the frames of a bag that belong together and makes them comparable."""

    path: Path
    recorded: RecordedPairs
    roles: Roles
    labels: LabelSet
    alignment: Alignment
    predict: Callable[[Mapping[str, Any]], PanopticSegmentation]

    def frames(self, roles: Roles, wanted: Collection[str] | None = None) -> Iterator[EvaluatedFrame]:
        """The frames, or those whose names are wanted, from the topics of `roles`."""
        for pair, parts in self.recorded.frames(self.path, roles):
            if wanted is not None and pair.name not in wanted:
                continue
            with self._naming(pair.name):
                seen = segmentation_from_messages(parts["truth"], None, self.labels)
                number = self.recorded.numbers[pair.camera, pair.truth_stamp]
                truth = Truth(seen, sequence=pair.camera, frame=number)
                if self.alignment.truth is not None:
                    truth = self.alignment.truth.truth(truth)
                prediction = self.alignment.prediction(self.predict(parts))
                image = image_to_bgr(parts["image"]) if "image" in parts else None
            yield EvaluatedFrame(pair.camera, pair.name, prediction, truth, image)

    def measure(self, comparison: Comparison, roles: Roles, progress: Progress | None) -> CameraMetrics:
        metrics = CameraMetrics(self.alignment.labels, comparison.metrics, comparison.rule)
        done, count = 0, len(self.recorded.pairs)
        for frame in self.frames(roles):
            with self._naming(frame.name):
                metrics.update(frame.camera, frame.name, frame.prediction, frame.truth)
            done += 1
            if progress is not None:
                progress(done, count)
        if done != count:  # a bag that is being written has other frames at the second reading
            raise EvaluationError(f"{self.path}: has changed while it was read: {done} of {count} frames are there")
        return metrics

    @contextmanager
    def _naming(self, name: str) -> Iterator[None]:
        """Say of which bag and frame something is wrong."""
        try:
            yield
        except ValueError as error:
            where = "" if str(error).startswith(f"{name}:") else f"{name}: "
            raise EvaluationError(f"{self.path}: {where}{error}") from error


@dataclass(frozen=True, slots=True, eq=False)
class BagEvaluation:
    """What was measured of a bag.

    Attributes
    ----------
    metrics:
        Of each camera.
    alignment:
        In which classes.
    run:
        How the recorded run went.
    left_out:
        The names of cameras with a truth but nothing to compare with it.
    """

    metrics: CameraMetrics
    alignment: Alignment
    run: RunReport
    left_out: tuple[str, ...]
    _comparer: _Comparer

    def notes(self) -> tuple[str, ...]:
        """What a reader has to know beside the figures, a sentence for each thing."""
        left_out = [f"{name}: has a truth but nothing to compare with it, and is left out." for name in self.left_out]
        return (*self.alignment.notes(), *left_out, *self.run.notes())

    def again(self, names: Collection[str]) -> Iterator[EvaluatedFrame]:
        """Read some frames once more, with their images; a network segments them once more.

        Raises
        ------
        EvaluationError, SourceError
            If the bag is another one now.
        """
        return self._comparer.frames(self._comparer.roles, names)


def evaluate_recorded(
    path: Path,
    cameras: Sequence[RecordedCamera],
    comparison: Comparison | None = None,
    progress: Progress | None = None,
) -> BagEvaluation:
    """Evaluate the predictions in a bag against the truths in it.

    Parameters
    ----------
    path:
        The bag.
    cameras:
        See `find_cameras`.
    comparison:
        How; by default the standard metrics by COCO's rules, of equal stamps.
    progress:
        Is told after each frame.

    Raises
    ------
    EvaluationError
        If there is nothing to compare, a message is no segmentation of the classes that the bag says, or a metric needs
        what the bag does not have.
    SourceError
        If the bag, or a message in it, cannot be read.
    FileNotFoundError, ConfigurationError
        If a label set or a mapping is not to be had.
    """
    comparison = comparison or Comparison()
    kept, left_out = _with(path, cameras, lambda camera: camera.predictions, "predictions")
    labels = recorded_labels(path, [camera.truth for camera in kept], comparison.labels)
    predicted = recorded_labels(path, [camera.predictions for camera in kept], comparison.labels)
    roles: dict[str, tuple[RecordedCamera, str]] = {}
    for camera in kept:
        roles |= {camera.truth: (camera, "truth"), camera.predictions: (camera, "prediction")}
        if set(comparison.metrics) & set(SCORED):
            roles[camera.beside("instances")] = camera, "instances"
        if set(comparison.metrics) & set(CONFIDENT):
            roles[camera.beside("confidence")] = camera, "confidence"
        if camera.images:
            roles[camera.images] = camera, "image"
    recorded = RecordedPairs.read(path, roles, kept, "prediction", comparison.tolerance)
    for topic, (camera, role) in roles.items():
        if role in ("instances", "confidence"):
            _check_companions(path, recorded, topic, camera)

    def predict(parts: Mapping[str, Any]) -> PanopticSegmentation:
        seen = segmentation_from_messages(parts["prediction"], parts.get("instances"), predicted)
        if "confidence" not in parts:
            return seen
        return PanopticSegmentation(seen.ids, seen.segments, confidence_of(parts["confidence"], seen))

    comparer = _Comparer(path, recorded, roles, labels, align(predicted, labels, comparison.mapping), predict)
    without_images = {topic: role for topic, role in roles.items() if role[1] != "image"}
    metrics = comparer.measure(comparison, without_images, progress)
    return BagEvaluation(metrics, comparer.alignment, recorded.run, left_out, comparer)


def evaluate_images(
    path: Path,
    cameras: Sequence[RecordedCamera],
    predict: Predict,
    predicted: LabelSet,
    comparison: Comparison | None = None,
    progress: Progress | None = None,
) -> BagEvaluation:
    """Segment the images in a bag that have a truth, and evaluate that.

    Parameters
    ----------
    predict:
        Segments one image.
    predicted:
        What its class ids mean.
    path, cameras, comparison, progress:
        See `evaluate_recorded`.

    Raises
    ------
    EvaluationError, SourceError, FileNotFoundError, ConfigurationError
        See `evaluate_recorded`; also if an image cannot be decoded.
    """
    comparison = comparison or Comparison()
    kept, left_out = _with(path, cameras, lambda camera: camera.images, "images")
    kept = tuple(RecordedCamera(camera.name, camera.truth, "", camera.images) for camera in kept)
    labels = recorded_labels(path, [camera.truth for camera in kept], comparison.labels)
    roles = {camera.truth: (camera, "truth") for camera in kept} | {camera.images: (camera, "image") for camera in kept}
    recorded = RecordedPairs.read(path, roles, kept, "image", comparison.tolerance)
    alignment = align(predicted, labels, comparison.mapping)
    comparer = _Comparer(path, recorded, roles, labels, alignment, lambda parts: predict(image_to_bgr(parts["image"])))
    metrics = comparer.measure(comparison, roles, progress)
    return BagEvaluation(metrics, alignment, recorded.run, left_out, comparer)


def recorded_labels(path: Path, topics: Sequence[str], labels: str = "") -> LabelSet:
    """What the ids on some topics of a bag mean, by the ``label_info`` in it.

    Parameters
    ----------
    path:
        The bag.
    topics:
        Of panoptic images.
    labels:
        See `Comparison.labels`.

    Raises
    ------
    EvaluationError
        If a topic does not say, its classes are of no label set that is known, or not all are of the same one.
    """
    said = {topic: label_topic_of(path, topic) for topic in topics}
    classes: dict[str, dict[int, str]] = {}
    for message in bag_messages(path, set(said.values()) - {""}):
        found = classes_of(message.content)
        if classes.setdefault(message.topic, found) != found:
            raise EvaluationError(f"{path}: {message.topic}: the classes change during the bag, expected one network's")
    sets: dict[str, LabelSet] = {}
    for topic, source in said.items():
        if source in classes:
            sets[topic] = label_set_of(classes[source], f"{path}: {source}", labels)
        elif labels:
            sets[topic] = LabelSet.load(labels)
        else:
            raise EvaluationError(f"{path}: no label_info says what the ids on {topic} mean; give --labels")
    chosen = next(iter(sets.values()))
    if other := [topic for topic, one in sets.items() if one != chosen]:
        raise EvaluationError(
            f"{path}: {other[0]} has the classes of {sets[other[0]].name}, {topics[0]} of {chosen.name}"
        )
    return chosen


def _with(
    path: Path, cameras: Sequence[RecordedCamera], topic: Callable[[RecordedCamera], str], what: str
) -> tuple[tuple[RecordedCamera, ...], tuple[str, ...]]:
    """The cameras that have a topic, and the names of the others."""
    kept = tuple(camera for camera in cameras if topic(camera))
    if not kept:
        truths = ", ".join(camera.truth for camera in cameras)
        raise EvaluationError(f"{path}: no {what} for the truth on {truths}; give their topics as --{what}")
    return kept, tuple(camera.name or camera.truth for camera in cameras if not topic(camera))


def _check_companions(path: Path, recorded: RecordedPairs, topic: str, camera: RecordedCamera) -> None:
    """Say if a prediction that will be evaluated lacks its scores or its confidence."""
    for pair in recorded.pairs:
        if pair.camera == camera.name and pair.prediction_stamp not in recorded.times[topic]:
            raise EvaluationError(
                f"{path}: {topic}: nothing of {seconds_of(pair.prediction_stamp)} s, which the metrics need that were "
                "chosen; record the topic too, or choose other metrics"
            )


def confidence_of(message: Any, seen: PanopticSegmentation) -> NDArray[np.uint8]:
    """(H, W) uint8, the confidence of a segmentation's pixels times 255, in a mono8 ``sensor_msgs/Image``.

    Raises
    ------
    ValueError
        If it is no such image, or one of another size.
    """
    if message.encoding != "mono8" or (message.height, message.width) != seen.ids.shape:
        raise ValueError(
            f"the confidence is {message.width}x{message.height} {message.encoding}, "
            f"expected {seen.width}x{seen.height} mono8"
        )
    step, height = message.step, message.height
    if step < message.width or len(message.data) < step * height:
        raise ValueError(f"the confidence has step {step} and {len(message.data)} bytes, which is too little")
    rows = np.frombuffer(message.data, dtype=np.uint8)[: step * height].reshape(height, step)
    return np.ascontiguousarray(rows[:, : message.width])
