"""``panoptic-ros evaluate`` and ``compare`` from end to end, on data sets whose figures are known."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fake_pipeline import FakePipeline
from PIL import Image
from small_coco import CAR, CITYSCAPES, ROAD, ids_of, write_dataset, write_ids, write_predictions
from typer.testing import CliRunner, Result

from panoptic_ros import __version__
from panoptic_ros.commands import evaluate
from panoptic_ros.commands.main import app
from panoptic_ros.evaluation.document import EvaluationDocument, ModelDescription
from panoptic_ros.labels import LabelSet
from panoptic_ros.segmentation import PanopticSegmentation
from panoptic_training.synthetic.datasets import Cityscapes, DatasetFolder, LabelledFrame

Run = Callable[..., Result]
COUNT = 8


def invoke(command: str, *arguments: object) -> Result:
    result = CliRunner().invoke(app, [command, *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def load(out: Path) -> EvaluationDocument:
    return EvaluationDocument.load(out / "evaluation.json")


def described(name: str = "fake") -> ModelDescription:
    return ModelDescription(name, "", "", "torch", "cpu", "fp32", ())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "data", COUNT)


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """Predictions that are the truth."""
    return write_predictions(tmp_path / "truth.json", {index: ids_of(index) for index in range(COUNT)})


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> FakePipeline:
    fake = FakePipeline()
    monkeypatch.setattr(evaluate, "load_network", lambda *_: (described(), fake))
    return fake


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


def _predict(maps: dict[int, np.ndarray], **rest: Any) -> Callable[[Path, Path], Path]:
    return lambda data, folder: write_predictions(folder / "bad.json", maps, **rest)


def _whole() -> dict[int, np.ndarray]:
    return {index: ids_of(index) for index in range(COUNT)}


def _damaged(change: Callable[[Path, Path], None]) -> Callable[[Path, Path], Path]:
    """Good predictions, of which something is then changed, given their JSON and the data set."""

    def make(data: Path, folder: Path) -> Path:
        path = write_predictions(folder / "bad.json", _whole())
        change(path, data)
        return path

    return make


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_predict({**_whole(), 99: ids_of(0)}), "bad.json: predicts '000000000099', which the data set has not"),
        (_predict({index: ids_of(0) for index in (50, 51)}), "bad.json: predicts none of the 8 images"),
        (_predict({0: ids_of(0), 2: ids_of(2)}), "bad.json: has no prediction of '000000000001' and 5 more"),
        (_predict({**_whole(), 3: ids_of(3, 24, 40)}), "bad/000000000003.png: 000000000003: the prediction is 40x24"),
        (_predict(_whole(), score=float("nan")), "segment 7000: the score is nan; it must be in [0, 1]"),
        (_predict(_whole(), score=1.5), "segment 7000: the score is 1.5; it must be in [0, 1]"),
        (_predict({**_whole(), 2: np.full((24, 32), 99000)}), "segment 99000 is of category 99, which label set"),
        (
            _predict({index: np.full((24, 32), 23000) for index in range(COUNT)}),
            "bad.json: no class is both true and predicted: predicted are sky, true road, car;",
        ),
        (_damaged(lambda path, data: _cut(path)), "bad.json: is no JSON"),
        (_damaged(lambda path, data: path.write_text("{}")), "key 'annotations' is missing"),
        (_damaged(lambda path, data: path.write_text("[]")), "bad.json: is no list of panoptic predictions"),
        (_damaged(lambda path, data: path.unlink()), "bad.json: is missing"),
        (_damaged(lambda path, data: _cut(path.with_suffix("") / "000000000004.png")), "bad/000000000004.png: is no"),
        (_damaged(lambda path, data: (path.with_suffix("") / "000000000004.png").unlink()), "4.png: is missing"),
        (
            _damaged(lambda path, data: write_ids(path.with_suffix("") / "000000000004.png", ids_of(4) + 1)),
            "4.png: id 7001 is no segment of the image in bad.json",
        ),
        (
            _damaged(lambda path, data: write_ids(path.with_suffix("") / "000000000004.png", ids_of(4) * 0 + ROAD)),
            "4.png: has no pixel of segment 26001, which bad.json lists",
        ),
        (
            _damaged(lambda path, data: write_ids(data / "annotations/panoptic_val/000000000005.png", ids_of(5).T)),
            "000000000005.png: is 24x32, but panoptic_val.json says 32x24",
        ),
    ],
)
def test_bad_predictions(make: Callable[[Path, Path], Path], message: str, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = invoke("evaluate", "--data", data, "--predictions", make(data, tmp_path), "--out", out, "--workers", 1)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert not out.exists()


def test_stuff_in_two_segments(data: Path, tmp_path: Path) -> None:
    predictions = write_predictions(tmp_path / "bad.json", _whole())
    ids = ids_of(0)
    ids[0] = 12345
    write_ids(tmp_path / "bad" / "000000000000.png", ids)
    content = json.loads(predictions.read_text())
    content["annotations"][0]["segments_info"].append({"id": 12345, "category_id": 7})
    predictions.write_text(json.dumps(content))
    result = invoke("evaluate", "--data", data, "--predictions", predictions, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "000000000000.png: road is stuff in several segments" in result.stderr


def test_scores_and_arbitrary_ids_of_predictions(data: Path, tmp_path: Path) -> None:
    """Official results number segments as they like; a score orders them for average precision."""
    predictions = write_predictions(tmp_path / "p.json", _whole(), score=0.25)
    content = json.loads(predictions.read_text())
    for index, annotation in enumerate(content["annotations"]):
        numbers = {ROAD: 5, CAR: 70000}
        ids = ids_of(index)
        write_ids(tmp_path / "p" / annotation["file_name"], np.where(ids == CAR, numbers[CAR], numbers[ROAD]))
        for segment in annotation["segments_info"]:
            segment["id"] = numbers[segment["id"]]
    predictions.write_text(json.dumps(content))
    result = invoke(
        "evaluate", "--data", data, "--predictions", predictions, "--out", tmp_path / "out", "--metrics", "all"
    )
    assert result.exit_code == 0, result.output
    metrics = load(tmp_path / "out").metrics
    assert metrics.panoptic_quality is not None
    assert metrics.panoptic_quality.all is not None
    assert metrics.panoptic_quality.all.pq == 1
    assert metrics.average_precision is not None
    assert metrics.average_precision.masks.ap == pytest.approx(1)


def test_a_data_set_without_samples(pipeline: FakePipeline, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", 0)
    result = invoke("evaluate", "--data", data, "--model", "fake", "--out", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "panoptic_val.json: has no samples" in result.stderr
    assert not (tmp_path / "out").exists()


def test_classes_that_have_nothing_in_common(pipeline: FakePipeline, tmp_path: Path) -> None:
    categories = [
        {"id": id_, "name": name, "isthing": 0, "color": [id_, 0, 0]} for id_, name in ((7, "soup"), (26, "bread"))
    ]
    data = write_dataset(tmp_path / "data", COUNT, categories)
    result = invoke("evaluate", "--data", data, "--model", "fake", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "'cityscapes', the truth of 'panoptic_val': no class in common" in result.stderr
    wrong = invoke("evaluate", "--data", data, "--model", "fake", "--mapping", "coco_to_cityscapes")
    assert wrong.exit_code == 1
    assert "is from 'coco' to 'cityscapes', but predictions are of 'cityscapes'" in wrong.stderr
    assert not (tmp_path / "out").exists()


def test_a_picture_that_is_not_whole(pipeline: FakePipeline, data: Path, tmp_path: Path) -> None:
    _cut(data / "val" / "000000000006.png")
    out = tmp_path / "out"
    result = invoke("evaluate", "--data", data, "--model", "fake", "--out", out, "--submission")
    assert result.exit_code == 1
    assert "000000000006.png" in result.stderr
    assert not out.exists()
    cv2.imwrite(str(data / "val" / "000000000006.png"), np.zeros((5, 6, 3), np.uint8))
    result = invoke("evaluate", "--data", data, "--model", "fake", "--out", out)
    assert "000000000006.png: the picture is 6x5, but its labels are 32x24" in result.stderr


def test_a_failure_leaves_an_earlier_evaluation_as_it_was(data: Path, truth: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert invoke("evaluate", "--data", data, "--predictions", truth, "--out", out).exit_code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (tmp_path / "truth" / "000000000007.png").unlink()
    assert invoke("evaluate", "--data", data, "--predictions", truth, "--out", out).exit_code == 1
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected either --model or --predictions"),
        (["--model", "a", "--predictions", "b.json"], "expected either --model or --predictions"),
        (["--predictions", "b.json", "--submission"], "are for a --model"),
        (["--model", "a", "--metrics", "pq"], "--metrics: pq: expected all or some of panoptic_quality"),
        (["--model", "a", "--rule", "mine"], "--rule: mine: expected one of coco, cityscapes, void_in_union"),
    ],
)
def test_arguments_that_are_none(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["evaluate", "--data", str(tmp_path), *arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())


def test_a_model_that_is_not_there(data: Path, tmp_path: Path) -> None:
    result = invoke("evaluate", "--data", data, "--model", "nothing", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "nothing.yaml: no such file" in result.stderr
    assert not (tmp_path / "out").exists()


def test_ctrl_c_leaves_nothing(data: Path, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from fake_pipeline import FakePipeline\n"
        "from panoptic_ros.commands import evaluate, main\n"
        "from panoptic_ros.evaluation.document import ModelDescription\n"
        "described = ModelDescription('fake', '', '', 'torch', 'cpu', 'fp32', ())\n"
        "evaluate.load_network = lambda *_: (described, FakePipeline())\n"
        "main.main()"
    )
    out = tmp_path / "out"
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-c", program, "evaluate", "--data", data, "--model", "fake", "--out", out, "--submission"],
        env=os.environ | {"FAKE_SECONDS": "0.5", "PYTHONPATH": paths},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(out.rglob("*.png")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (130, "")
    assert stderr == "interrupted: nothing is written\n"
    assert not out.exists()


# --- comparing


def test_comparing(data: Path, truth: Path, tmp_path: Path) -> None:
    worse = {index: ids_of(index) for index in range(COUNT)}
    for ids in worse.values():
        ids[:, 18:] = ROAD  # a part of the car is missed
    paths = []
    for name, predictions in (("a", write_predictions(tmp_path / "worse.json", worse)), ("b", truth)):
        invoke("evaluate", "--data", data, "--predictions", predictions, "--out", tmp_path / name)
        paths.append(tmp_path / name / "evaluation.json")
    result = invoke("compare", *paths, "--out", tmp_path / "comparison.json", "--resamples", 500)
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "comparison.json").read_text())
    car = next(row for row in content["per_class"] if row["name"] == "car")
    line = next(line.split() for line in result.stdout.splitlines() if line.startswith("car "))
    assert line[:4] == ["car", f"{100 * car['a']:.1f}", "100.0", f"{100 * (1 - car['a']):+.1f}"]
    assert line[-4:] == ["8", "B", "is", "better"]
    assert 0 < car["low"] < 1 - car["a"] < car["high"]
    assert "mIoU" in result.stdout
    assert "500 draws of 8 images" in " ".join(result.stdout.split())


def test_what_is_not_compared(data: Path, truth: Path, tmp_path: Path) -> None:
    for name, limit in (("a", 8), ("b", 6)):
        invoke("evaluate", "--data", data, "--predictions", truth, "--out", tmp_path / name, "--limit", limit)
    a, b = tmp_path / "a" / "evaluation.json", tmp_path / "b" / "evaluation.json"
    result = invoke("compare", a, b)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{a} (A) and {b} (B) cannot be compared: the images are not the same" in result.stderr
    assert "000000000006, 000000000007 only in A" in result.stderr
    _cut(b)
    assert f"error: {b}: is no whole JSON" in invoke("compare", a, b).stderr
    assert "No such file" in invoke("compare", a, tmp_path / "c.json").stderr
    assert "is no document of an evaluation" in invoke("compare", a, tmp_path / "a" / "confusion.json").stderr
