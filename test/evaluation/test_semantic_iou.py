"""Semantic quality and the file of the confusion matrix, against torchmetrics and a count pixel by pixel."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_cases import IDS, LABELS, Case, cases
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_ros.confusion import ClassConfusion
from panoptic_ros.evaluation.semantic_iou import SemanticIou


def measured(images: list[Case]) -> SemanticIou:
    metric = SemanticIou(LABELS)
    for index, case in enumerate(images):
        metric.update(case.overlaps(str(index)))
    return metric


def pixels(images: list[Case]) -> Counter[tuple[int, int]]:
    """How many pixels have each pair of true and predicted class."""
    return Counter(
        (int(true) // 1000, int(predicted) // 1000)
        for case in images
        for true, predicted in zip(case.truth.flat, case.prediction.flat, strict=True)
    )


@settings(deadline=None)
@given(images=st.lists(cases(), max_size=4))
def test_it_is_what_is_counted_pixel_by_pixel(images: list[Case]) -> None:
    result = measured(images).result()
    counted = pixels(images)
    ious, frequencies = {}, {}
    for class_id in LABELS.class_ids.tolist():
        right = counted[class_id, class_id]
        false = sum(
            n for (true, predicted), n in counted.items() if predicted == class_id and true not in (0, class_id)
        )
        missed = sum(n for (true, predicted), n in counted.items() if true == class_id != predicted)
        if right + false + missed:
            ious[class_id], frequencies[class_id] = right / (right + false + missed), right + missed
    assert {part.class_id: part.iou for part in result.per_class} == pytest.approx(ious, abs=1e-12)
    labelled = sum(frequencies.values())
    for value, classes in (
        (result.mean_iou, set(ious)),
        (result.things_iou, {24, 26, 255}),
        (result.stuff_iou, {7, 23}),
    ):
        chosen = [iou for class_id, iou in ious.items() if class_id in classes]
        assert value == (pytest.approx(np.mean(chosen), abs=1e-12) if chosen else None)
    if labelled:
        weighted = sum(ious[class_id] * frequencies[class_id] for class_id in ious) / labelled
        assert result.frequency_weighted_iou == pytest.approx(weighted, abs=1e-12)
        accuracy = sum(counted[class_id, class_id] for class_id in ious) / labelled
        assert result.pixel_accuracy == pytest.approx(accuracy, abs=1e-12)
    else:
        assert result.frequency_weighted_iou is result.pixel_accuracy is None


@settings(deadline=None)
@given(images=st.lists(cases(), min_size=2, max_size=4))
def test_order_and_splitting_change_nothing(images: list[Case]) -> None:
    parts = [SemanticIou(LABELS), SemanticIou(LABELS)]
    for index, case in reversed(list(enumerate(images))):
        parts[index % 2].update(case.overlaps(str(index)))
    parts[0].merge(parts[1])
    assert parts[0].result() == measured(images).result()


def test_torchmetrics_agrees() -> None:
    """With the truth's void ignored and void never predicted, which is what it can say."""
    functional = pytest.importorskip("torchmetrics.functional.classification", reason="needs torchmetrics")
    torch = pytest.importorskip("torch")
    generator = np.random.default_rng(1)
    images = [Case(generator.choice(IDS, (20, 30)), generator.choice(IDS[1:], (20, 30))) for _ in range(3)]
    metric = measured(images)
    index = {0: -1, **{class_id: place for place, class_id in enumerate(LABELS.class_ids.tolist())}}
    predicted, true = (
        torch.tensor([index[int(id_) // 1000] for case in images for id_ in getattr(case, name).flat])
        for name in ("prediction", "truth")
    )
    options: dict[str, Any] = {"num_classes": len(LABELS), "ignore_index": -1}
    result = metric.result()
    for average, value in (("macro", result.mean_iou), ("weighted", result.frequency_weighted_iou)):
        peer = functional.multiclass_jaccard_index(predicted, true, average=average, **options)
        assert value == pytest.approx(float(peer), abs=1e-6)
    peer = functional.multiclass_confusion_matrix(predicted, true, normalize="true", **options)
    assert metric.confusion().probabilities[:, 1:] == pytest.approx(peer.numpy(), abs=1e-6)


def test_the_file_says_what_was_counted(tmp_path: Path) -> None:
    truth = np.array([[7000, 7000, 7000, 7000, 26001, 0]])
    case = Case(truth, np.array([[7000, 7000, 23000, 0, 24001, 24001]]))
    path = tmp_path / "confusion.json"
    measured([case]).confusion().save(path)
    assert json.loads(path.read_text()) == {
        "label_set": "test",
        "predicted": [0, 255, 7, 26, 23, 24],
        "true": {
            "7": {"pixels": 4, "probabilities": [0.25, 0, 0.5, 0, 0.25, 0]},
            "26": {"pixels": 1, "probabilities": [0, 0, 0, 0, 0, 1]},
        },
    }
    back = ClassConfusion.load(path, LABELS)
    assert back.pixels.tolist() == [0, 4, 1, 0, 0]
    assert back.probabilities.sum(axis=1).tolist() == [0, 1, 1, 0, 0]
    assert (back.probabilities == measured([case]).confusion().probabilities).all()
    assert [file.name for file in tmp_path.iterdir()] == ["confusion.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_set": "coco"}, "label_set is 'coco', expected 'test'"),
        ({"predicted": [0, 7]}, "predicted must be void, 0, and the ids of 'test'"),
        ({"more": 1}, "expected the keys label_set, predicted and true"),
        ({"true": []}, "true must be a mapping"),
        ({"true": {"9": {}}}, "true.9: 'test' has no class 9"),
        ({"true": {"7": {"pixels": 1}}}, "true.7: expected the keys pixels and probabilities"),
        ({"true": {"7": {"pixels": 0, "probabilities": [1, 0, 0, 0, 0, 0]}}}, "true.7.pixels must be a positive"),
        ({"true": {"7": {"pixels": 1, "probabilities": [1, 0]}}}, "true.7.probabilities must be a list of 6"),
        ({"true": {"7": {"pixels": 1, "probabilities": [1.5, -0.5, 0, 0, 0, 0]}}}, r"must be numbers in \[0, 1\]"),
        ({"true": {"7": {"pixels": 1, "probabilities": [float("nan"), 0, 0, 0, 0, 1]}}}, "must be numbers in"),
        ({"true": {"7": {"pixels": 1, "probabilities": [0.5, 0, 0, 0, 0, 0]}}}, "must sum to 1, they sum to 0.5"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "confusion.json"
    measured([Case(np.full((1, 1), 7000), np.full((1, 1), 7000))]).confusion().save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=f"confusion.json: .*{message}"):
        ClassConfusion.load(path, LABELS)


def test_a_file_that_is_no_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "confusion.json"
    path.write_text("class: road")
    with pytest.raises(ValueError, match=r"confusion.json: is no JSON"):
        ClassConfusion.load(path, LABELS)
