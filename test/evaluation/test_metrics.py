"""Several metrics at once, over a whole data set, in one process and in several."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_cases import LABELS, Case, DrawnDataset, Failing, Predictor, segmentation

from panoptic_ros.datasets import PanopticDataset, Sample, Truth, open_dataset
from panoptic_ros.evaluation import runner
from panoptic_ros.evaluation.metrics import METRIC_NAMES, EvaluationResult, MetricName, Metrics
from panoptic_ros.evaluation.overlaps import EvaluationError
from panoptic_ros.evaluation.panoptic_quality import PanopticQuality
from panoptic_ros.evaluation.runner import evaluate_dataset, evaluate_predictions
from panoptic_ros.evaluation.semantic_iou import SemanticIou
from panoptic_ros.segmentation import PanopticSegmentation

pytest.importorskip("pycocotools", reason="needs pycocotools: pip install -e '.[evaluation]'")


def numbers(value: Any) -> Iterator[float]:
    """All numbers in a value of JSON."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from numbers(part)
    elif isinstance(value, int | float):
        yield float(value)


def test_each_metric_says_in_company_what_it_says_alone() -> None:
    dataset = DrawnDataset(12)
    together = evaluate_predictions(dataset, Predictor(dataset), METRIC_NAMES, workers=1)
    for name in METRIC_NAMES:
        alone = evaluate_predictions(dataset, Predictor(dataset), (name,), workers=1).result()
        assert getattr(alone, name) == getattr(together.result(), name) is not None
        assert [other for other in METRIC_NAMES if getattr(alone, other) is not None] == [name]
    qualities, semantic = PanopticQuality(LABELS), SemanticIou(LABELS)
    for index in range(12):
        truth, name = dataset.truth(index), dataset.name_of(index)
        seen = Predictor(dataset)(name)
        case = Case(truth.segmentation.ids, seen.ids, truth.crowd)
        qualities.update(case.overlaps(name))
        semantic.update(case.overlaps(name))
    assert together.result().panoptic_quality == qualities.result()
    assert together.result().semantic_iou == semantic.result()
    assert (together.per_image().tp == qualities.per_image().tp).all()
    assert (together.confusion().probabilities == semantic.confusion().probabilities).all()


@pytest.mark.parametrize("workers", [2, 3])
def test_the_number_of_workers_changes_no_bit(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = DrawnDataset(21)
    one = evaluate_predictions(dataset, Predictor(dataset), METRIC_NAMES, workers=1)
    monkeypatch.setattr(runner, "STRETCH", 4)
    done: list[int] = []
    several = evaluate_predictions(dataset, Predictor(dataset), METRIC_NAMES, workers=workers, progress=done.append)
    assert done == [4, 8, 12, 16, 20, 21]
    assert json.dumps(several.result().to_json()) == json.dumps(one.result().to_json())
    for key in ("names", "tp", "fp", "fn", "iou"):
        assert np.array_equal(getattr(several.per_image(), key), getattr(one.per_image(), key))


def test_predictions_made_on_the_way_give_the_same() -> None:
    dataset, seen = DrawnDataset(5), []

    def predict(sample: Sample) -> PanopticSegmentation:
        seen.append(int(sample.image[0, 0, 0]))
        return Predictor(dataset)(sample.name)

    done: list[int] = []
    result = evaluate_dataset(dataset, predict, progress=done.append).result()
    assert result == evaluate_predictions(dataset, Predictor(dataset), workers=1).result()
    assert seen == [0, 1, 2, 3, 4]
    assert done == [1, 2, 3, 4, 5]


@dataclass(frozen=True)
class Itself:
    """Predicts the truth of a data set, without its crowds."""

    dataset: PanopticDataset

    def __call__(self, name: str) -> PanopticSegmentation:
        truth = next(self.dataset.truth(i) for i in range(len(self.dataset)) if self.dataset.name_of(i) == name)
        ids = np.where(np.isin(truth.segmentation.ids, list(truth.crowd)), 0, truth.segmentation.ids)
        return PanopticSegmentation.from_ids(ids, self.dataset.labels.thing_ids)


def test_the_coco_sample_from_its_files_is_its_own_perfect_prediction(shared_data: Path) -> None:
    dataset = open_dataset(shared_data / "coco_panoptic_sample" / "panoptic_examples.json")
    names: tuple[MetricName, ...] = ("panoptic_quality", "average_precision", "cityscapes_average_precision")
    result = evaluate_predictions(dataset, Itself(dataset), names, workers=1).result()
    assert result.panoptic_quality is not None
    assert result.average_precision is not None
    assert result.cityscapes_average_precision is not None
    assert len(result.panoptic_quality.per_class) == 8
    assert all((part.pq, part.sq, part.rq) == (1, 1, 1) for part in result.panoptic_quality.per_class)
    assert result.average_precision.masks.ap == pytest.approx(1)
    assert result.average_precision.boxes.ap == pytest.approx(1)
    assert result.cityscapes_average_precision.ap == 1


def test_results_are_plain_json_without_nan() -> None:
    dataset = DrawnDataset(6)
    result = evaluate_predictions(dataset, Predictor(dataset), METRIC_NAMES, workers=1).result()
    content = result.to_json()
    assert list(content) == ["label_set", "images", *METRIC_NAMES]
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert result.panoptic_quality is not None
    assert content["panoptic_quality"]["per_class"][0]["name"] == result.panoptic_quality.per_class[0].name == "road"
    assert sum(1 for _ in numbers(content)) > 100


def test_without_images_nothing_is_measured_and_nothing_fails() -> None:
    result = Metrics(LABELS, METRIC_NAMES).result()
    assert result.images == 0
    assert result.panoptic_quality is not None
    assert result.panoptic_quality.all is None
    json.dumps(result.to_json(), allow_nan=False)


def test_states_are_small() -> None:
    """What a worker sends for an image is a few kB for all metrics together."""
    dataset = DrawnDataset(40, height=240, width=320)
    metrics = evaluate_predictions(dataset, Predictor(dataset), METRIC_NAMES, workers=1)
    empty = len(pickle.dumps(Metrics(LABELS, METRIC_NAMES)))
    assert (len(pickle.dumps(metrics)) - empty) / len(dataset) < 6000


# --- what is refused


@pytest.mark.parametrize("workers", [1, 2])
def test_a_prediction_that_does_not_fit_is_named(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "STRETCH", 2)
    dataset = DrawnDataset(6)
    with pytest.raises(EvaluationError, match="drawn/00003: the prediction is 2x2 pixels, the truth 64x48"):
        evaluate_predictions(dataset, Failing(dataset, "drawn/00003", "raise"), workers=workers)


def test_a_worker_that_dies_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "STRETCH", 2)
    dataset = DrawnDataset(6)
    with pytest.raises(OSError, match="a worker process has ended, for want of memory"):
        evaluate_predictions(dataset, Failing(dataset, "drawn/00003", "die"), workers=2)


def test_metrics_of_instances_mean_nothing_without_them() -> None:
    dataset = DrawnDataset(2)
    dataset.has_instances = False
    names: tuple[MetricName, ...] = ("panoptic_quality", "semantic_iou")
    with pytest.raises(
        EvaluationError, match="drawn has no instances, so panoptic_quality would mean nothing; ask for"
    ):
        evaluate_predictions(dataset, Predictor(dataset), names, workers=1)
    assert evaluate_predictions(dataset, Predictor(dataset), ("semantic_iou",), workers=1).result().images == 2


def test_bad_requests_are_refused() -> None:
    dataset = DrawnDataset(2)
    for names, message in ((("pq",), r"\['pq'\]: expected some of panoptic_quality"), ((), "no metric: expected")):
        with pytest.raises(ValueError, match=message):
            Metrics(LABELS, names)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rule 'own' is not one of coco"):
        Metrics(LABELS, rule="own")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        evaluate_predictions(dataset, Predictor(dataset), workers=0)
    metrics = Metrics(LABELS, ("calibration",))
    with pytest.raises(ValueError, match="panoptic_quality is not among"):
        metrics.per_image()
    with pytest.raises(ValueError, match="semantic_iou is not among"):
        metrics.confusion()
    with pytest.raises(EvaluationError, match="cannot be merged: calibration by coco on test with panoptic_quality"):
        metrics.merge(Metrics(LABELS))
    road = segmentation(np.full((2, 2), 7000))
    with pytest.raises(EvaluationError, match="street 7: calibration needs the prediction's confidence"):
        metrics.update("street 7", road, Truth(road))


def test_an_empty_result_has_only_what_was_asked_for() -> None:
    assert EvaluationResult("test", 0).to_json() == {"label_set": "test", "images": 0}
