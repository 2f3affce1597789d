"""The document of an evaluation comes back as it was written, and what is none is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_cases import LABELS, Case

from panoptic_ros.evaluation.document import (
    DocumentError,
    EvaluationDocument,
    ModelDescription,
    Source,
    StageSeconds,
    file_sha256,
)
from panoptic_ros.evaluation.metrics import STANDARD, Metrics


def _document(generator: np.random.Generator, images: int = 7, **rest: Any) -> EvaluationDocument:
    metrics = Metrics(LABELS, (*STANDARD, "calibration", "proposal_recall"))
    names = [f"b{index}" if index % 2 else f"a{index}" for index in range(images)]
    ids = np.array([0, 7000, 23000, 24001, 26003, 255005])
    for name in names:
        case = Case(ids[generator.integers(0, 6, (6, 9))], ids[generator.integers(0, 6, (6, 9))])
        prediction, truth = case.values()
        confidence = generator.integers(0, 256, (6, 9)).astype(np.uint8)
        metrics.update(name, replace(prediction, confidence=confidence), truth)
    source = Source("dataset", "/data", "coco", LABELS, images)
    return EvaluationDocument.of(metrics, source, names, **rest)


@pytest.fixture
def document() -> EvaluationDocument:
    return _document(
        np.random.default_rng(0),
        model=ModelDescription("small", "", "", "torch", "cpu", "fp32", ("detector", "heads"), {"input": [1, 2]}),
        seconds={"prepare": StageSeconds.of([1.0, 2.0, 9.0])},
        recording={"latency": {"p50": 0.1}},
        notes=("é < & >",),
        command=("panoptic-ros", "evaluate"),
    )


def test_it_comes_back_as_it_was_written(document: EvaluationDocument, tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    document.save(path)
    back = EvaluationDocument.load(path)
    for key in (
        "source",
        "model",
        "metrics",
        "names",
        "seconds",
        "recording",
        "notes",
        "command",
        "created",
        "version",
    ):
        assert getattr(back, key) == getattr(document, key), key
    assert back.environment == document.environment
    assert back.qualities is not None
    assert document.qualities is not None
    assert back.confusion is not None
    assert document.confusion is not None
    for key in ("class_ids", "tp", "fp", "fn", "iou"):
        np.testing.assert_array_equal(getattr(back.qualities, key), getattr(document.qualities, key))
    for key in ("class_ids", "predicted_ids", "probabilities", "pixels"):
        np.testing.assert_array_equal(getattr(back.confusion, key), getattr(document.confusion, key))
    back.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["again.json", "evaluation.json"]


def test_the_counts_of_images_sum_to_the_result(document: EvaluationDocument, tmp_path: Path) -> None:
    document.save(tmp_path / "evaluation.json")
    content = json.loads((tmp_path / "evaluation.json").read_text())
    columns = content["images"]["pq"]
    for one in content["metrics"]["panoptic_quality"]["per_class"]:
        chosen = [index for index, class_id in enumerate(columns["class_ids"]) if class_id == one["class_id"]]
        assert [sum(columns[key][index] for index in chosen) for key in ("tp", "fp", "fn")] == [
            one["tp"],
            one["fp"],
            one["fn"],
        ]
        weight = one["tp"] + one["fp"] / 2 + one["fn"] / 2
        assert sum(columns["iou"][index] for index in chosen) / weight == pytest.approx(one["pq"], abs=1e-15)
    pixels = sum(content["confusion"]["pixels"])
    assert pixels == sum(one["truth_pixels"] for one in content["metrics"]["semantic_iou"]["per_class"])


def test_durations() -> None:
    seconds = StageSeconds.of([0.1 * index for index in range(101)])
    assert (seconds.p50, seconds.p99, seconds.mean) == pytest.approx((5.0, 9.9, 5.0))
    assert seconds.images == 101


def test_remarks_say_what_is_untrained(document: EvaluationDocument) -> None:
    assert "detector, heads" in document.remarks()[0]
    assert document.remarks()[-1] == "é < & >"
    semantic = replace(document, source=replace(document.source, has_instances=False, mapping="coco_to_test"))
    assert "only semantic metrics" in semantic.remarks()[1]
    assert "coco_to_test" in semantic.remarks()[2]


def test_metrics_of_other_images_are_refused(document: EvaluationDocument) -> None:
    metrics = Metrics(LABELS)
    metrics.update("a", *Case(np.full((2, 2), 7000), np.full((2, 2), 7000)).values())
    with pytest.raises(ValueError, match="1 images cannot be documented as those of 2"):
        EvaluationDocument.of(metrics, replace(document.source, images=2), ["a", "b"])
    with pytest.raises(ValueError, match="cannot be documented"):
        EvaluationDocument.of(metrics, replace(document.source, images=1), ["b"])


def test_a_figure_that_is_no_number_is_not_written(document: EvaluationDocument, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        replace(document, recording={"latency": float("nan")}).save(tmp_path / "evaluation.json")
    assert not list(tmp_path.iterdir())


def _cut(content: dict[str, Any]) -> str:
    return json.dumps(content)[:-200]


def _with(path: str, value: Any) -> Callable[[dict[str, Any]], str]:
    """The document with another value at a path; None for value removes the key."""

    def change(content: dict[str, Any]) -> str:
        *parents, last = path.split(".")
        at: Any = content
        for key in parents:
            at = at[key]
        if value is None:
            del at[last]
        else:
            at[last] = value
        return json.dumps(content)

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut, "is no whole JSON"),
        (lambda content: "[]", "is no document of an evaluation"),
        (lambda content: '{"pq": 1}', "is no document of an evaluation"),
        (_with("format", 2), "is of format 2, expected 1"),
        (_with("created", None), "key 'created' is missing"),
        (_with("extra", 1), "unknown key 'extra'"),
        (_with("source.kind", "video"), "source: kind: expected one of 'dataset', 'bag', 'live', got 'video'"),
        (_with("metrics.panoptic_quality.all.pq", "high"), "all: pq: expected float, got 'high'"),
        (_with("metrics.panoptic_quality.all.pq", float("nan")), "NaN is no number of JSON"),
        (_with("source.images", 8), "it is not whole: 7 names, 8 of the source, 7 of the metrics"),
        (_with("images.names", ["a"] * 7), "a name occurs twice"),
        (_with("images.pq.tp", [1]), "images: pq: expected columns of one length"),
        (_with("images.pq.image", None), "key 'image' is missing"),
        (_with("confusion.true", [99]), "confusion: expected columns of one length"),
        (_with("seconds.prepare", 3), "seconds: prepare: expected p50"),
        (_with("environment", 3), "environment: expected keys with values"),
    ],
)
def test_what_is_no_document_is_refused(
    document: EvaluationDocument, tmp_path: Path, damage: Callable[[dict[str, Any]], str], message: str
) -> None:
    path = tmp_path / "evaluation.json"
    document.save(path)
    path.write_text(damage(json.loads(path.read_text())))
    with pytest.raises(DocumentError, match=r"evaluation\.json") as caught:
        EvaluationDocument.load(path)
    assert message in str(caught.value)


@pytest.mark.parametrize(("key", "value"), [("class_ids", 8), ("image", 7), ("image", -1)])
def test_counts_of_classes_and_images_that_are_not_there(
    document: EvaluationDocument, tmp_path: Path, key: str, value: int
) -> None:
    path = tmp_path / "evaluation.json"
    document.save(path)
    content = json.loads(path.read_text())
    content["images"]["pq"][key][-1] = value
    path.write_text(json.dumps(content))
    with pytest.raises(DocumentError, match=f"images: pq: {key}"):
        EvaluationDocument.load(path)


def test_the_digest_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"abc")  # FIPS 180-4's example
    assert file_sha256(tmp_path / "weights") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
