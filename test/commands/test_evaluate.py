"""``panoptic-ros evaluate`` from end to end, on data sets whose figures are known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from evaluating import COUNT, described, invoke, load
from fake_pipeline import FakePipeline
from PIL import Image
from small_coco import CAR, CITYSCAPES, ROAD, ids_of, write_dataset, write_predictions

from panoptic_ros import __version__
from panoptic_ros.commands import evaluate
from panoptic_ros.labels import LabelSet
from panoptic_ros.segmentation import PanopticSegmentation
from panoptic_training.synthetic.datasets import Cityscapes, DatasetFolder, LabelledFrame


def test_the_truth_itself_is_perfect(data: Path, truth: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = invoke("evaluate", "--data", data, "--predictions", truth, "--out", out)
    assert result.exit_code == 0, result.output
    assert {path.name for path in out.iterdir()} == {"evaluation.json", "report.html", "confusion.json"}
    document = load(out)
    quality = document.metrics.panoptic_quality
    assert quality is not None
    assert quality.all is not None
    assert (quality.all.pq, quality.all.classes) == (1, 2)
    assert [(one.name, one.tp, one.fp, one.fn) for one in quality.per_class] == [
        ("road", COUNT, 0, 0),
        ("car", COUNT, 0, 0),
    ]
    assert document.metrics.semantic_iou is not None
    assert document.metrics.semantic_iou.mean_iou == 1
    assert (document.model, document.seconds, document.version) == (None, None, __version__)
    assert (document.source.predictions, document.source.labels.name) == (str(truth), "cityscapes")
    assert document.names == tuple(f"{index:012d}" for index in range(COUNT))
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["all", "100.0", "100.0", "100.0", "2"] in lines
    assert ["car", "thing", "100.0", "100.0", "100.0", "8", "0", "0", "100.0"] in lines
    assert f"report: {out / 'report.html'}" in result.stdout


def test_figures_that_are_worked_out_by_hand(data: Path, tmp_path: Path) -> None:
    """In the first image the car is missed; in the second it has a twin in the corner; the rest is right."""
    maps = {index: ids_of(index) for index in range(COUNT)}
    cars = [int((ids_of(index) == CAR).sum()) for index in range(COUNT)]
    maps[0][:] = ROAD
    maps[1][:2, :2] = 26002
    size = 24 * 32
    predictions = write_predictions(tmp_path / "predictions.json", maps)
    invoke("evaluate", "--data", data, "--predictions", predictions, "--out", tmp_path / "out", "--examples", 1)
    document = load(tmp_path / "out")
    quality = document.metrics.panoptic_quality
    assert quality is not None
    road, car = quality.per_class
    # The road that was there and the road that was seen share what the car or its twin leaves.
    ious = [(size - cars[0]) / size, (size - cars[1] - 4) / (size - cars[1]), *[1.0] * (COUNT - 2)]
    assert (road.tp, road.fp, road.fn) == (COUNT, 0, 0)
    assert road.pq == pytest.approx(sum(ious) / COUNT, abs=1e-15)
    assert (car.tp, car.fp, car.fn) == (COUNT - 1, 1, 1)
    assert car.pq == pytest.approx((COUNT - 1) / COUNT, abs=1e-15)
    confusion = json.loads((tmp_path / "out" / "confusion.json").read_text())
    row = dict(zip(confusion["predicted"], confusion["true"]["26"]["probabilities"], strict=True))
    assert row[7] == pytest.approx(cars[0] / sum(cars))
    report = (tmp_path / "out" / "report.html").read_text()
    assert "Among the worst: 000000000000, PQ" in report
    assert report.count("data:image/jpeg") == 2 * 4


def test_a_network_is_timed_and_described(pipeline: FakePipeline, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = invoke("evaluate", "--data", data, "--model", "fake", "--out", out, "--limit", 5, "--examples", 1)
    assert result.exit_code == 0, result.output
    document = load(out)
    assert document.metrics.panoptic_quality is not None
    assert document.metrics.panoptic_quality.all is not None
    assert document.metrics.panoptic_quality.all.pq == 1
    assert document.metrics.calibration is not None, "a network has confidence"
    assert document.seconds is not None
    assert {stage: (one.p50, one.images) for stage, one in document.seconds.items()} == {
        "prepare": (0.001, 4),
        "network": (0.002, 4),
        "decode": (0.003, 4),
    }
    assert document.model == described()
    assert document.source.images == 5
    assert "Only the first 5 of 8 images." in document.notes
    assert pipeline.calls == 5 + 2, "the images that are shown are predicted again"
    for line in ("network 2.0 2.0 2.0", "note: Only the first 5 of 8 images."):
        assert line in " ".join(result.stdout.split())


def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", 40)
    generator = np.random.default_rng(0)
    maps = {index: np.where(generator.random((24, 32)) < 0.3, ROAD, ids_of(index)) for index in range(40)}
    predictions = write_predictions(tmp_path / "predictions.json", maps)
    documents = []
    for workers in (1, 2):
        out = tmp_path / str(workers)
        arguments = ("--data", data, "--predictions", predictions, "--metrics", "all", "--workers", workers)
        assert invoke("evaluate", *arguments, "--out", out).exit_code == 0
        documents.append(json.loads((out / "evaluation.json").read_text()))
    for key in ("metrics", "images", "confusion"):
        assert documents[0][key] == documents[1][key]
    assert {"average_precision", "proposal_recall"} <= documents[0]["metrics"].keys()
    assert "video" not in documents[0]["metrics"]


def test_the_submission_of_coco_comes_back(pipeline: FakePipeline, data: Path, tmp_path: Path) -> None:
    invoke("evaluate", "--data", data, "--model", "fake", "--out", tmp_path / "a", "--submission")
    submission = tmp_path / "a" / "submission" / "panoptic_val_fake_results.json"
    ids = [one["image_id"] for one in json.loads(submission.read_text())["annotations"]]
    assert ids == list(range(COUNT))
    again = invoke("evaluate", "--data", data, "--predictions", submission, "--out", tmp_path / "b")
    assert again.exit_code == 0, again.output
    assert load(tmp_path / "a").metrics.panoptic_quality == load(tmp_path / "b").metrics.panoptic_quality


def _write_cityscapes(folder: Path) -> Path:
    with DatasetFolder(folder, Cityscapes("val", CITYSCAPES), {"seed": "0"}) as files:
        for index in range(2):
            ids = ids_of(index, 40, 60).astype(np.int32)
            image = np.where(ids == CAR, 220, 30)[..., None].repeat(3, axis=2).astype(np.uint8)
            value = PanopticSegmentation.from_ids(ids, CITYSCAPES.thing_ids)
            files.files.write(LabelledFrame(index, "camera", 3, index, image, value))
        files.finish(2)
    return folder


def test_cityscapes_and_its_three_submissions(pipeline: FakePipeline, tmp_path: Path) -> None:
    data = _write_cityscapes(tmp_path / "data")
    for kind in ("cityscapes", "cityscapes_panoptic"):
        out = tmp_path / kind
        result = invoke("evaluate", "--data", data, "--kind", kind, "--model", "fake", "--out", out, "--submission")
        assert result.exit_code == 0, result.output
        names = load(out).names
        submission = out / "submission"
        files = {path.relative_to(submission).as_posix() for path in submission.rglob("*") if path.is_file()}
        assert f"cityscapes_panoptic_val/{names[0]}.png" in files
        assert f"cityscapes_labels/{names[0]}_labelIds.png" in files
        assert f"cityscapes_instances/{names[0]}.txt" in files
        for predictions in (submission / "cityscapes_panoptic_val.json", data / "gtFine/cityscapes_panoptic_val.json"):
            arguments = ("--data", data, "--kind", kind, "--predictions", predictions, "--rule", "cityscapes")
            assert invoke("evaluate", *arguments, "--out", tmp_path / "again").exit_code == 0
            quality = load(tmp_path / "again").metrics.panoptic_quality
            assert quality is not None
            assert quality.all is not None
            assert (quality.rule, quality.all.pq) == ("cityscapes", 1)


def test_the_small_network_untrained(data: Path, tmp_path: Path) -> None:
    """Its figures mean nothing, and that is said; but everything runs."""
    out = tmp_path / "out"
    arguments = ("--model", "yolo_panoptic_small", "--device", "cpu", "--limit", 2, "--examples", 1)
    result = invoke("evaluate", "--data", data, *arguments, "--out", out)
    assert result.exit_code == 0, result.output
    document = load(out)
    assert document.model is not None
    assert "semantic_head" in document.model.untrained
    assert document.model.config["input_width"] == 640
    assert "say nothing about the model's quality" in " ".join(result.stdout.split())
    assert "say nothing about the model" in (out / "report.html").read_text()
    assert document.seconds is not None
    assert list(document.seconds) == ["prepare", "network", "decode"]
    assert all(one.images == 1 and one.p50 > 0 for one in document.seconds.values())


class _CamVidPipeline(FakePipeline):
    """Sees the sky above and road below, of CamVid's classes."""

    def __init__(self) -> None:
        super().__init__()
        self.labels = LabelSet.load("camvid")

    def segment(self, frame: np.ndarray, confidence: bool) -> PanopticSegmentation:
        ids = np.where(frame[:, :, 1] > 127, 1000, 4000).astype(np.int32)
        value = PanopticSegmentation.from_ids(ids, self.labels.thing_ids)
        return PanopticSegmentation(value.ids, value.segments, frame[:, :, 0].copy() if confidence else None)


def _write_camvid(folder: Path) -> Path:
    """CamVid's class n is n + 1 here; the sky is 0, the road 3, and 11 is void. Each picture is wrong in a row more."""
    for part in ("val", "valannot"):
        (folder / part).mkdir(parents=True)
    for index in range(6):
        picture = np.full((20, 20, 3), 200, np.uint8)
        picture[10 + index :] = 20
        numbers = np.zeros((20, 20), np.uint8)
        numbers[10:] = 3
        numbers[-1] = 11
        Image.fromarray(picture).save(folder / "val" / f"0001TP_{index:06d}.png")
        Image.fromarray(numbers).save(folder / "valannot" / f"0001TP_{index:06d}.png")
    return folder


def test_without_instances_only_semantic_metrics_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "load_network", lambda *_: (described(), _CamVidPipeline()))
    data, outs = _write_camvid(tmp_path / "data"), [tmp_path / "a", tmp_path / "b"]
    for out in outs:
        result = invoke("evaluate", "--data", data, "--model", "fake", "--out", out, "--examples", 1)
        assert result.exit_code == 0, result.output
    document = load(outs[0])
    assert document.metrics.panoptic_quality is None
    assert document.metrics.semantic_iou is not None
    ious = {one.name: one.iou for one in document.metrics.semantic_iou.per_class}
    wrong = sum(range(6)) * 20  # pixels of road that are taken for sky
    sky, road = 6 * 200, 6 * 180
    assert ious == pytest.approx({"sky": sky / (sky + wrong), "road": (road - wrong) / road})
    assert "PQ" not in result.stdout
    assert "only semantic metrics mean something" in " ".join(result.stdout.split())
    report = (outs[0] / "report.html").read_text()
    assert f'Among the worst: 0001TP_000005, pixel accuracy <data value="{(380 - 100) / 380}">' in report
    compared = invoke("compare", *(out / "evaluation.json" for out in outs))
    assert compared.exit_code == 0, compared.output
    assert ["sky", "80.0", "80.0", "+0.0"] in [line.split() for line in compared.stdout.splitlines()]
    assert "no intervals" in compared.stdout
    refused = invoke("evaluate", "--data", data, "--model", "fake", "--out", outs[0], "--metrics", "panoptic_quality")
    assert (refused.exit_code, "has no instances" in refused.stderr) == (1, True)


def test_classes_are_mapped_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of COCO's classes on a data set of Cityscapes'."""

    class Coco(FakePipeline):
        def __init__(self) -> None:
            super().__init__()
            self.labels = LabelSet.load("coco")

        def segment(self, frame: np.ndarray, confidence: bool) -> PanopticSegmentation:
            ids = np.where(frame[:, :, 1] > 127, 3001, 149000).astype(np.int32)  # car, road
            value = PanopticSegmentation.from_ids(ids, self.labels.thing_ids)
            return PanopticSegmentation(value.ids, value.segments, frame[:, :, 0].copy() if confidence else None)

    monkeypatch.setattr(evaluate, "load_network", lambda *_: (described(), Coco()))
    data = write_dataset(tmp_path / "data", COUNT)
    result = invoke("evaluate", "--data", data, "--model", "fake", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    document = load(tmp_path / "out")
    assert document.metrics.panoptic_quality is not None
    assert document.metrics.panoptic_quality.all is not None
    assert document.metrics.panoptic_quality.all.pq == 1
    assert document.source.mapping == "coco_to_cityscapes"
    assert "rider" in " ".join(document.remarks())

    maps = {index: np.where(ids_of(index) == CAR, 3001, 149000) for index in range(COUNT)}
    stored = write_predictions(tmp_path / "coco.json", maps)
    arguments = ("--data", data, "--predictions", stored, "--mapping", "coco_to_cityscapes", "--out", tmp_path / "b")
    assert invoke("evaluate", *arguments).exit_code == 0
    assert load(tmp_path / "b").metrics.panoptic_quality == document.metrics.panoptic_quality


# --- what is wrong with what is given
